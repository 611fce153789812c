//! Subqueries as values: each must have one row at most, whatever its relations will hold.

use std::sync::Arc;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Result as PlanResult, Span};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::{LogicalPlan, Subquery};

use super::diagnose::{place_of, smuggle};
use crate::error::{Code, StatementError};

/// Refuses a subquery as a value that may have several rows: DataFusion would join them all.
pub(super) fn check(plan: &LogicalPlan, text: &Arc<str>) -> PlanResult<()> {
    let check_value = |expr: &Expr| match expr {
        Expr::ScalarSubquery(subquery) if may_have_several_rows(subquery) => Err(smuggle(several_rows(subquery, text))),
        // Only subqueries as values are looked for.
        _ => Ok(TreeNodeRecursion::Continue),
    };
    plan.apply_with_subqueries(|node| node.apply_expressions(|expr| expr.apply(check_value)))?;
    Ok(())
}

/// One that refers to the rows around it is checked by DataFusion.
fn may_have_several_rows(subquery: &Subquery) -> bool {
    subquery.outer_ref_columns.is_empty() && subquery.subquery.max_rows().is_none_or(|rows| rows > 1)
}

fn several_rows(subquery: &Subquery, text: &Arc<str>) -> StatementError {
    let error = StatementError::new(Code::Unsupported, "a subquery as a value must have one row at most");
    let error = match Span::union_iter(subquery.spans.iter().copied()) {
        Some(span) => error.at(place_of(text, &span)),
        None => error,
    };
    error.hint("Aggregate its rows, as in SELECT max(v) FROM t, or join with it.")
}
