//! What is written into a relation: the query's columns fitted to the relation's.

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::Cast;
use datafusion_expr::logical_plan::{LogicalPlan, LogicalPlanBuilder};
use datafusion_expr::{Expr, lit};

use super::{bind, diagnose, finish, functions, planned};
use crate::error::{Code, Error, Place, Result, StatementError};
use crate::plan::{Context, Plan};
use crate::sql;
use crate::types::type_name;

/// Plans what is written into a relation of columns `target`: the result has exactly those columns.
pub(in crate::plan) fn plan_insert(insert: &sql::Insert, target: &SchemaRef, context: &Context<'_>) -> Result<Plan> {
    planned(&insert.query, context, |naming| {
        let plan = bind(&insert.query, context, naming)?;
        let fitted = fit(plan, insert, target, context)?;
        finish(fitted, &insert.query, context)
    })
}

/// Puts a projection on top that gives every column of `target`, in order and of its type.
fn fit(plan: LogicalPlan, insert: &sql::Insert, target: &SchemaRef, context: &Context<'_>) -> Result<LogicalPlan> {
    let failed = |error| diagnose::diagnose(&error, &insert.query.text, &functions::names(context.catalog));
    let places = match insert.columns.is_empty() {
        true => (0..target.fields().len()).collect(),
        false => places_of(&insert.target, &insert.columns, target)?,
    };
    let given = plan.schema().columns();
    if given.len() != places.len() {
        let message =
            format!("{} columns are given for the {} of \"{}\"", given.len(), places.len(), insert.target.value);
        let error = StatementError::new(Code::SchemaMismatch, message).at(insert.target.place.clone());
        let names: Vec<&str> = places.iter().map(|at| target.field(*at).name().as_str()).collect();
        return Err(error.hint(format!("They are {}.", names.join(", "))).into());
    }
    let literal = written_out(&plan);
    let mut exprs: Vec<Expr> = Vec::with_capacity(target.fields().len());
    for (index, field) in target.fields().iter().enumerate() {
        let Some(at) = places.iter().position(|place| *place == index) else {
            let null = lit(ScalarValue::Null);
            exprs.push(cast(null, field.data_type()).alias(field.name()));
            continue;
        };
        let from = plan.schema().field(at).data_type().clone();
        if !fits(&from, field.data_type(), literal) {
            return Err(misfit(&insert.target, &insert.target.place, &from, field));
        }
        let column = Expr::Column(given[at].clone());
        exprs.push(
            if from == *field.data_type() { column } else { cast(column, field.data_type()) }.alias(field.name()),
        );
    }
    LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build).map_err(failed)
}

pub(super) fn cast(expr: Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}

/// Which columns of `relation`, whose columns are `target`, are named.
pub(super) fn places_of<'a>(
    relation: &sql::Name,
    names: impl IntoIterator<Item = &'a sql::Name>,
    target: &SchemaRef,
) -> Result<Vec<usize>> {
    let mut places = vec![];
    for name in names {
        let Some((at, _)) = target.fields().find(&name.value) else {
            let message = format!("\"{}\" has no column \"{}\"", relation.value, name.value);
            let error = StatementError::new(Code::UnknownColumn, message).at(name.place.clone());
            let names = target.fields().iter().map(|field| field.name().as_str());
            return Err(match crate::error::did_you_mean(&name.value, names) {
                Some(hint) => error.hint(hint),
                None => error,
            }
            .into());
        };
        if places.contains(&at) {
            let message = format!("column \"{}\" is named twice", name.value);
            return Err(StatementError::new(Code::Duplicate, message).at(name.place.clone()).into());
        }
        places.push(at);
    }
    Ok(places)
}

/// Whether the rows are written out in the statement: then a text may become any type, and a bad one is found now.
fn written_out(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Values(_) => true,
        LogicalPlan::Projection(node) => written_out(&node.input),
        LogicalPlan::SubqueryAlias(node) => written_out(&node.input),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

/// Whether a value of type `from` can become one of type `to`; what is written out may be a text for any type.
pub(super) fn fits(from: &DataType, to: &DataType, literal: bool) -> bool {
    let text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    from == to
        || *from == DataType::Null
        || (from.is_numeric() && to.is_numeric())
        || (from.is_temporal() && to.is_temporal())
        || (text(from) && text(to))
        || (literal && arrow::compute::can_cast_types(from, to))
        || (from.is_nested() && to.is_nested() && arrow::compute::can_cast_types(from, to))
}

/// A value of type `from` is given, at `place`, for the column `field` of `relation`.
pub(super) fn misfit(relation: &sql::Name, place: &Place, from: &DataType, field: &Field) -> Error {
    let (from, to) = (type_name(from), type_name(field.data_type()));
    let message = format!("column \"{}\" of \"{}\" is {to} and is given {from}", field.name(), relation.value);
    let error = StatementError::new(Code::SchemaMismatch, message).at(place.clone());
    error.hint(format!("Write CAST(… AS {to}).")).into()
}
