//! Windows: `GROUP BY TUMBLE(…)`, `FROM TUMBLE(…)`, and aggregates over what has been put into windows before.
//!
//! 1. [`call`] reads the call of a window function.
//! 2. [`marking`] puts [`markers`] into the syntax tree, so that DataFusion plans the group form as an aggregate.
//! 3. [`assigned`] plans the form in `FROM` as a node of ours.
//! 4. [`grouped`] makes a node of ours of an aggregate with a marker.
//! 5. [`late`] gives the rows that came too late for the windows of a plan.
//! 6. [`aggregate`] lowers both, and finds the windows of an aggregate whose keys are bounds of windows.

mod aggregate;
mod assigned;
mod call;
mod grouped;
mod late;
mod lifted;
mod markers;
mod marking;

pub(super) use aggregate::{asked_emit, distinct_over_bounds, over_bounds, sets_over_bounds};
pub(super) use assigned::{Assigned, lower as lower_assigned, plan_relation};
pub(super) use call::Kind;
pub(super) use grouped::{Grouped, lower as lower_grouped, place};
pub(super) use late::{Late, late_rows, lower as lower_late, no_windows};
pub(super) use markers::{BOUNDS, Marker, bound, function};
pub(super) use marking::{check_marked, mark, mark_order, unwrap_table};

use datafusion_expr::Expr;
use datafusion_expr::logical_plan::LogicalPlan;

use super::functions::is_now;
use crate::expr;
use crate::plan::event_time::{clock_time, event_time};
use crate::plan::node::{Closing, Node};

/// What closes windows over `time`, which is `compiled` over `input`.
fn closing(time: &Expr, plan: &LogicalPlan, compiled: &expr::Expr, input: &Node) -> Closing {
    if is_clock(time, plan) {
        return Closing::Clock;
    }
    by_column(compiled, input)
}

/// What closes windows over a time that is not the clock of this moment.
fn by_column(time: &expr::Expr, input: &Node) -> Closing {
    match time.column_index() {
        Some(column) if event_time(input).contains(&column) => Closing::Watermark,
        Some(column) if clock_time(input).contains(&column) => Closing::Clock,
        Some(_) | None => Closing::End,
    }
}

/// Whether an expression over the result of `plan` is the engine's clock.
pub(super) fn is_clock(expr: &Expr, plan: &LogicalPlan) -> bool {
    match expr {
        Expr::Alias(alias) => is_clock(&alias.expr, plan),
        Expr::Column(column) => {
            let Some(index) = plan.schema().maybe_index_of_column(column) else { return false };
            match plan {
                LogicalPlan::Projection(node) => is_clock(&node.expr[index], &node.input),
                LogicalPlan::SubqueryAlias(node) => {
                    let (qualifier, field) = node.input.schema().qualified_field(index);
                    is_clock(&Expr::from((qualifier, field)), &node.input)
                }
                LogicalPlan::Filter(node) => is_clock(expr, &node.input),
                // The clock of an earlier moment is a time like any other.
                _ => false,
            }
        }
        other => is_now(other),
    }
}

#[cfg(test)]
mod tests;
