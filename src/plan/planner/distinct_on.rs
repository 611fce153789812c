//! `DISTINCT ON` among DataFusion's rules, which have made an aggregate of it before they do anything else. Here it is
//! kept, as a Top-N, because that keeps less and says which row is the first.
//!
//! So two of the rules have to be kept from mistaking it for a DISTINCT of whole rows, below which any condition may go:
//! which row is the first of its key depends on all rows of that key.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, Result as PlanResult};
use datafusion_expr::logical_plan::{Aggregate, Distinct, DistinctOn, Filter, LogicalPlanBuilder};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, ExprFunctionExt, LogicalPlan};
use datafusion_functions_aggregate::first_last::first_value_udaf;
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

/// Makes aggregates of each `DISTINCT ON` below which the condition of a correlated subquery would be pulled out.
pub(super) fn place(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let placed = plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
            let replaced =
                Arc::unwrap_or_clone(subquery.subquery.clone()).transform_down_with_subqueries(as_aggregate)?;
            Ok(replaced.update_data(|plan| LogicalPlan::Subquery(subquery.with_plan(Arc::new(plan)))))
        }
        node => Ok(Transformed::no(node)),
    });
    Ok(placed?.data)
}

/// The first of each column, by the keys: what DataFusion makes of it.
fn as_aggregate(node: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Distinct(Distinct::On(distinct)) = node else { return Ok(Transformed::no(node)) };
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = distinct;
    let keys = on_expr.len();
    let first = select_expr.into_iter().map(|expr| {
        let first = first_value_udaf().call(vec![expr.unalias()]);
        match &sort_expr {
            Some(order) => first.order_by(order.clone()).build(),
            None => Ok(first),
        }
    });
    let first = first.collect::<PlanResult<Vec<_>>>()?;
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(input, on_expr, first)?);
    let columns = plan.schema().columns().into_iter().skip(keys).zip(schema.iter());
    let named = columns.map(|(column, (of, field))| Expr::Column(column).alias_qualified(of.cloned(), field.name()));
    let named: Vec<Expr> = named.collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(plan).project(named)?.build()?))
}

/// Moves conditions towards the sources, as DataFusion's rule does, but not below `DISTINCT ON`.
#[derive(Debug)]
pub(super) struct PushDown(PushDownFilter);

impl PushDown {
    pub fn new() -> PushDown {
        PushDown(PushDownFilter::new())
    }
}

impl OptimizerRule for PushDown {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> PlanResult<Transformed<LogicalPlan>> {
        let mut conditions = vec![];
        match filtered_distinct_on(&plan, &mut conditions) {
            Some(distinct) => match below(distinct, conditions)? {
                Some(moved) => Ok(Transformed::yes(moved)),
                None => Ok(Transformed::no(plan)),
            },
            None => self.0.rewrite(plan, config),
        }
    }
}

/// The `DISTINCT ON` that a plan filters, and by what; the lowest conditions come first.
fn filtered_distinct_on<'a>(plan: &'a LogicalPlan, conditions: &mut Vec<Expr>) -> Option<&'a DistinctOn> {
    let LogicalPlan::Filter(filter) = plan else { return None };
    let found = match filter.input.as_ref() {
        LogicalPlan::Distinct(Distinct::On(distinct)) => distinct,
        below => filtered_distinct_on(below, conditions)?,
    };
    conditions.extend(split_conjunction_owned(filter.predicate.clone()));
    Some(found)
}

/// The plan with what is asked of the keys below; nothing if nothing is.
fn below(distinct: &DistinctOn, conditions: Vec<Expr>) -> PlanResult<Option<LogicalPlan>> {
    let keys = keys(distinct);
    let of_keys = |condition: &Expr| {
        !condition.is_volatile() && condition.column_refs().into_iter().all(|column| keys.contains_key(column))
    };
    let (of_keys, others): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(of_keys);
    let moved = of_keys.into_iter().map(|condition| over_input(condition, &keys)).collect::<PlanResult<Vec<_>>>()?;
    let Some(moved) = conjunction(moved) else { return Ok(None) };
    let mut distinct = distinct.clone();
    distinct.input = Arc::new(LogicalPlan::Filter(Filter::try_new(moved, distinct.input)?));
    let plan = LogicalPlan::Distinct(Distinct::On(distinct));
    Ok(Some(match conjunction(others) {
        Some(others) => LogicalPlan::Filter(Filter::try_new(others, Arc::new(plan))?),
        None => plan,
    }))
}

/// The columns that come out and are keys, and what each is of the input.
fn keys(distinct: &DistinctOn) -> HashMap<Column, &Expr> {
    let selected = distinct.schema.columns().into_iter().zip(&distinct.select_expr);
    let keys = selected.filter_map(|(column, expr)| {
        let expr = expr.clone().unalias();
        distinct.on_expr.iter().find(|key| **key == expr).map(|key| (column, key))
    });
    keys.collect()
}

/// A condition over the columns that come out as one over the input.
fn over_input(condition: Expr, keys: &HashMap<Column, &Expr>) -> PlanResult<Expr> {
    let of_input = |expr: Expr| {
        let key = match &expr {
            Expr::Column(column) => keys.get(column).map(|key| (*key).clone()),
            _ => None,
        };
        Ok(key.map_or(Transformed::no(expr), Transformed::yes))
    };
    Ok(condition.transform_up(of_input)?.data)
}
