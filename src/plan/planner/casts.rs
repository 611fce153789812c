//! Refuses the casts from text to numbers and times that DataFusion adds without being asked.
//!
//! Such a cast fails at the first row whose text is no number, and would stop a stream that has run for a year.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result as PlanResult};
use datafusion_expr::expr::Cast;
use datafusion_expr::logical_plan::LogicalPlan;
use datafusion_expr::{Expr, ExprSchemable};

use super::diagnose::only_place;
use super::names::Names;
use crate::error::{Code, Error, Result, StatementError};
use crate::types::type_name;

/// The casts of a plan, by their text.
pub(super) fn casts(plan: &LogicalPlan) -> PlanResult<HashSet<String>> {
    let mut found = HashSet::new();
    each_cast(plan, |cast, _| {
        found.insert(text_of(cast));
    })?;
    Ok(found)
}

/// An error for the first cast from text in `plan` that is not in `asked_for`.
pub(super) fn check(plan: &LogicalPlan, asked_for: &HashSet<String>, text: &Arc<str>) -> Result<()> {
    let mut refused: Option<Error> = None;
    each_cast(plan, |cast, schema| {
        if refused.is_none() && is_silent(cast, schema) && !asked_for.contains(&text_of(cast)) {
            refused = Some(refusal(cast, text));
        }
    })
    .map_err(|error| super::diagnose::diagnose(&error, text, &[]))?;
    refused.map_or(Ok(()), Err)
}

fn text_of(cast: &Cast) -> String {
    format!("{} {}", cast.expr, cast.field.data_type())
}

fn is_silent(cast: &Cast, schema: &DFSchema) -> bool {
    let from_text = match cast.expr.get_type(schema) {
        Ok(data_type) => matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        Err(_) => false,
    };
    let target = cast.field.data_type();
    from_text
        && (target.is_numeric() || target.is_temporal() || *target == DataType::Boolean)
        && !is_literal(&cast.expr)
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::Cast(cast) => is_literal(&cast.expr),
        Expr::Alias(alias) => is_literal(&alias.expr),
        _ => false,
    }
}

fn refusal(cast: &Cast, text: &Arc<str>) -> Error {
    let name = Names::default().text(&cast.expr);
    let target = type_name(cast.field.data_type());
    let message = format!("\"{name}\" is text and is used as {target}");
    let error = StatementError::new(Code::Type, message).hint(format!("Write CAST({name} AS {target})."));
    let column = name.rsplit('.').next().unwrap_or(&name);
    match only_place(&name, text).or_else(|| only_place(column, text)) {
        Some(place) => error.at(place).into(),
        None => error.into(),
    }
}

fn each_cast(plan: &LogicalPlan, mut visit: impl FnMut(&Cast, &DFSchema)) -> PlanResult<()> {
    plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        for input in node.inputs() {
            schema.merge(input.schema());
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr {
                    visit(cast, &schema);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}
