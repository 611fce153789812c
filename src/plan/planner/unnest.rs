//! `FROM t, UNNEST(t.list)`: DataFusion plans it as a join with a correlated subquery that it cannot take apart;
//! it is a projection that computes the list, an unnest, and a projection that drops the list again.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DataFusionError, JoinType, Result as PlanResult, UnnestOptions};
use datafusion_expr::expr::Alias;
use datafusion_expr::logical_plan::{Join, LogicalPlan, LogicalPlanBuilder, Projection, Unnest};
use datafusion_expr::{Expr, ident};

use super::diagnose::smuggle;
use super::names::UNNESTED;
use super::places::Places;
use super::refusals::UNNEST_HINT;
use crate::error::{Code, StatementError};

/// Replaces every join with an `UNNEST` of the left side's columns.
pub(super) fn place(plan: LogicalPlan, places: &Places<'_>) -> PlanResult<LogicalPlan> {
    let placed = plan.transform_up_with_subqueries(|plan| match &plan {
        LogicalPlan::Join(join) => match lateral(join, places)? {
            Some(unnested) => Ok(Transformed::yes(unnested)),
            None => Ok(Transformed::no(plan)),
        },
        _ => Ok(Transformed::no(plan)),
    })?;
    Ok(placed.data)
}

fn lateral(join: &Join, places: &Places<'_>) -> PlanResult<Option<LogicalPlan>> {
    let mut right = join.right.as_ref();
    let mut names: Vec<Vec<Expr>> = vec![];
    loop {
        match right {
            LogicalPlan::SubqueryAlias(alias) => right = &alias.input,
            LogicalPlan::Subquery(subquery) => right = &subquery.subquery,
            LogicalPlan::Projection(projection) => {
                names.push(projection.expr.clone());
                right = &projection.input;
            }
            LogicalPlan::Unnest(unnest) => return replace(join, unnest, places).map(Some),
            _ => return Ok(None),
        }
    }
}

fn unsupported(what: &str, places: &Places<'_>) -> DataFusionError {
    let error = StatementError::new(Code::Unsupported, format!("{what} is not supported yet"));
    smuggle(error.at(places.unnest()).hint(UNNEST_HINT))
}

fn replace(join: &Join, unnest: &Unnest, places: &Places<'_>) -> PlanResult<LogicalPlan> {
    let LogicalPlan::Projection(lists) = unnest.input.as_ref() else {
        return Err(unsupported("this UNNEST", places));
    };
    let left = join.left.as_ref().clone();
    let kept = left.schema().fields().len();
    let mut exprs: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
    let mut names = Vec::new();
    for (index, list) in lists.expr.iter().enumerate() {
        let name = format!("{UNNESTED}{index}");
        exprs.push(strip(list.clone())?.alias(name.clone()));
        names.push(Column::from_name(name));
    }
    let input = LogicalPlanBuilder::from(left).project(exprs)?.build()?;
    let options = UnnestOptions::new().with_preserve_nulls(join.join_type == JoinType::Left);
    let unnested = LogicalPlanBuilder::from(input).unnest_columns_with_options(names, options)?.build()?;
    rename(join, unnested, kept, places)
}

/// Gives the elements the names by which the rest of the query knows them.
fn rename(join: &Join, unnested: LogicalPlan, kept: usize, places: &Places<'_>) -> PlanResult<LogicalPlan> {
    let known = join.right.schema();
    let mut exprs: Vec<Expr> = Vec::new();
    for (index, (qualifier, field)) in unnested.schema().iter().enumerate() {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        exprs.push(match index.checked_sub(kept) {
            None => column,
            Some(nth) if nth < known.fields().len() => {
                let (qualifier, known) = known.qualified_field(nth);
                Expr::Alias(Alias::new(ident(field.name()), qualifier.cloned(), known.name().clone()))
            }
            Some(_) => return Err(unsupported("this UNNEST", places)),
        });
    }
    let projected = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(unnested))?);
    match &join.filter {
        Some(filter) if join.join_type == JoinType::Inner => {
            LogicalPlanBuilder::from(projected).filter(filter.clone())?.build()
        }
        Some(Expr::Literal(..)) | None => Ok(projected),
        Some(_) => Err(unsupported("a LEFT JOIN with UNNEST under a condition", places)),
    }
}

/// The list expression as one over the left side's columns.
fn strip(expr: Expr) -> PlanResult<Expr> {
    let stripped = expr.transform(|expr| {
        Ok(match expr {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            other => Transformed::no(other),
        })
    })?;
    Ok(stripped.data)
}
