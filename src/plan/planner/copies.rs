//! `INTERSECT ALL` and `EXCEPT ALL`: the copies of each row are numbered on both sides, and then every copy is a row of
//! its own.
//!
//! ```text
//! a 1   a 2   a 3   b 1      INTERSECT ALL   a 1   a 2   c 1   =   a 1   a 2
//!                            EXCEPT ALL                        =   a 3   b 1
//! ```

use datafusion_common::Result as PlanResult;
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::{LogicalPlan, LogicalPlanBuilder};
use datafusion_expr::{Expr, ExprFunctionExt, WindowFunctionDefinition};
use sqlparser::ast::SetOperator;

use super::names::COPY;

/// The set operation over two plans.
pub(super) fn plan(operator: SetOperator, left: LogicalPlan, right: LogicalPlan) -> PlanResult<LogicalPlan> {
    let width = left.schema().fields().len();
    if width != right.schema().fields().len() {
        // For what it says about that.
        return LogicalPlanBuilder::intersect(left, right, true);
    }
    let (left, right) = (numbered(left)?, numbered(right)?);
    let both = match operator {
        SetOperator::Intersect => LogicalPlanBuilder::intersect(left, right, true)?,
        _ => LogicalPlanBuilder::except(left, right, true)?,
    };
    let columns = both.schema().columns().into_iter().take(width).map(Expr::Column);
    LogicalPlanBuilder::from(both.clone()).project(columns.collect::<Vec<_>>())?.build()
}

/// The rows, and beside each which copy it is.
fn numbered(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let function = WindowFunctionDefinition::WindowUDF(datafusion_functions_window::row_number::row_number_udwf());
    let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = Expr::from(WindowFunction::new(function, vec![])).partition_by(columns).build()?.alias(COPY);
    LogicalPlanBuilder::from(plan).window(vec![number])?.build()
}
