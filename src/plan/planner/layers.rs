//! Which plans gain from a second pass of the rewrites.
//!
//! In a query of one layer, every condition stands on the relations it is about, or on their join, from the start: one
//! pass makes of it what can be made. Where conditions have to come down through a layer first, earlier rules may have
//! something to do with them where they arrive: make keys of equalities, inner joins of outer ones, constants of terms.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{JoinType, Result as PlanResult};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::LogicalPlan;

/// Whether `plan` has more than one layer: a query in a query, a condition on groups, or an outer join.
pub(super) fn any(plan: &LogicalPlan) -> PlanResult<bool> {
    plan.exists(|node| Ok(is_layer(node) || has_subquery(node)?))
}

fn is_layer(node: &LogicalPlan) -> bool {
    use LogicalPlan::{Aggregate, Filter, Join, Projection, Subquery, SubqueryAlias, TableScan, Window};
    match node {
        Subquery(_) => true,
        SubqueryAlias(alias) => !matches!(*alias.input, TableScan(_)),
        Filter(filter) => matches!(*filter.input, Aggregate(_) | Window(_) | Projection(_)),
        Join(join) => join.join_type != JoinType::Inner,
        // Whatever else there is, conditions stay above it or are below it already.
        _ => false,
    }
}

fn has_subquery(node: &LogicalPlan) -> PlanResult<bool> {
    let is_subquery = |expr: &Expr| {
        let found =
            matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_));
        Ok(found)
    };
    let mut found = false;
    node.apply_expressions(|expr| {
        found = expr.exists(is_subquery)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
