//! The conditions and assignments of `UPDATE` and `DELETE`, and watermarks: expressions over the columns of one relation.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::TreeNode;
use datafusion_common::{DFSchema, Result as PlanResult};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::{EmptyRelation, LogicalPlan, LogicalPlanBuilder};
use datafusion_sql::planner::PlannerContext;
use sqlparser::ast;

use super::insert::{cast, fits, misfit, places_of};
use super::{analyze, casts, diagnose, functions, lower, names, parameters, refusals, with_planner};
use crate::error::{Code, InternalError, Place, Result, StatementError};
use crate::expr;
use crate::plan::Context;
use crate::sql;

/// The relation that expressions are about.
struct Over<'a> {
    text: Arc<str>,
    place: Place,
    schema: DFSchema,
    context: &'a Context<'a>,
}

/// Compiles a condition over the columns of one relation.
pub(in crate::plan) fn plan_predicate(
    predicate: &ast::Expr,
    relation: &sql::Name,
    schema: &SchemaRef,
    context: &Context<'_>,
) -> Result<expr::Expr> {
    let over = Over::new(relation, schema, context)?;
    let condition = over.resolve(predicate)?;
    let plan = over.fill(over.rows().filter(condition))?;
    match over.settle(plan)? {
        LogicalPlan::Filter(filter) => over.compile(&filter.predicate),
        _ => Err(StatementError::new(Code::InvalidArgument, "the condition is not understood")
            .at(relation.place.clone())
            .into()),
    }
}

/// Compiles what becomes of each column of the table that is updated, over the row as it was.
pub(in crate::plan) fn plan_update(
    update: &sql::Update,
    target: &SchemaRef,
    context: &Context<'_>,
) -> Result<Vec<expr::Expr>> {
    let over = Over::new(&update.target, target, context)?;
    let places = places_of(&update.target, update.assignments.iter().map(|set| &set.column), target)?;
    let mut values: Vec<Expr> = over.schema.columns().into_iter().map(Expr::Column).collect();
    for (place, set) in places.iter().zip(&update.assignments) {
        values[*place] = over.resolve(&set.value)?.alias(target.field(*place).name());
    }
    // The type of a parameter is that of its value.
    let filled = over.projected(over.fill(over.rows().project(values))?)?;
    let mut fitted = Vec::with_capacity(filled.len());
    for (index, (value, field)) in filled.into_iter().zip(target.fields()).enumerate() {
        let from = over.type_of(&value)?;
        let set = places.iter().position(|place| *place == index).and_then(|nth| update.assignments.get(nth));
        if let Some(set) = set
            && !fits(&from, field.data_type(), matches!(value, Expr::Literal(..)))
        {
            return Err(misfit(&update.target, &set.column.place, &from, field));
        }
        let value = if from == *field.data_type() { value } else { cast(value, field.data_type()) };
        fitted.push(value.alias(field.name()));
    }
    let plan = over.rows().project(fitted).and_then(LogicalPlanBuilder::build);
    let settled = over.settle(plan.map_err(|error| over.failed(&error))?)?;
    over.projected(settled)?.iter().map(|value| over.compile(value)).collect()
}

/// Compiles the watermark that a relation of columns `schema` declares.
pub(in crate::plan) fn plan_watermark(
    watermark: &sql::Watermark,
    relation: &sql::Name,
    schema: &SchemaRef,
    context: &Context<'_>,
) -> Result<expr::Expr> {
    let over = Over::new(relation, schema, context)?;
    let value = over.resolve(&watermark.expr)?;
    let plan = over.fill(over.rows().project(vec![value]))?;
    match over.projected(over.settle(plan)?)?.as_slice() {
        [value] => over.compile(value),
        _ => Err(InternalError::new("a watermark is one expression").into()),
    }
}

impl<'a> Over<'a> {
    fn new(relation: &sql::Name, schema: &SchemaRef, context: &'a Context<'a>) -> Result<Over<'a>> {
        let text: Arc<str> = relation.place.text().into();
        let schema = DFSchema::try_from_qualified_schema(relation.value.as_str(), schema);
        let schema = schema.map_err(|error| diagnose::diagnose(&error, &text, &[]))?;
        Ok(Over { text, place: relation.place.clone(), schema, context })
    }

    fn failed(&self, error: &datafusion_common::DataFusionError) -> crate::Error {
        diagnose::diagnose(error, &self.text, &functions::names(self.context.catalog))
    }

    fn resolve(&self, expr: &ast::Expr) -> Result<Expr> {
        refusals::check_condition(expr, &self.text)?;
        let resolved = with_planner(self.context, &self.text, |planner| {
            planner.sql_to_expr(expr.clone(), &self.schema, &mut PlannerContext::new())
        })?;
        let many = |expr: &Expr| Ok(matches!(expr, Expr::AggregateFunction(_) | Expr::WindowFunction(_)));
        match resolved.exists(many).map_err(|error| self.failed(&error))? {
            false => Ok(resolved),
            true => {
                let message = "UPDATE, DELETE and WATERMARK look at one row at a time, and an aggregate at many";
                let error = StatementError::new(Code::Unsupported, message).at(self.place.clone());
                Err(error.hint("Compute it in a query of its own, and give its value as a parameter.").into())
            }
        }
    }

    /// No rows: expressions are planned over them so that they are settled like any others.
    fn rows(&self) -> LogicalPlanBuilder {
        let schema = Arc::new(self.schema.clone());
        LogicalPlanBuilder::from(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }))
    }

    fn fill(&self, built: PlanResult<LogicalPlanBuilder>) -> Result<LogicalPlan> {
        let plan = built.and_then(LogicalPlanBuilder::build).map_err(|error| self.failed(&error))?;
        parameters::fill(plan, self.context.parameters, &self.text)
    }

    fn settle(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let asked_for = casts::casts(&plan).map_err(|error| self.failed(&error))?;
        let plan = analyze(plan).map_err(|error| self.failed(&error))?;
        casts::check(&plan, &asked_for, &self.text)?;
        Ok(plan)
    }

    /// The expressions of a projection, without their names.
    fn projected(&self, plan: LogicalPlan) -> Result<Vec<Expr>> {
        match plan {
            LogicalPlan::Projection(node) => Ok(node.expr.into_iter().map(Expr::unalias).collect()),
            _ => Err(InternalError::new("an assignment is no projection").into()),
        }
    }

    fn type_of(&self, expr: &Expr) -> Result<arrow::datatypes::DataType> {
        use datafusion_expr::ExprSchemable;
        expr.get_type(&self.schema).map_err(|error| self.failed(&error))
    }

    fn compile(&self, expr: &Expr) -> Result<expr::Expr> {
        lower::compile(expr, &self.schema, &names::Names::default()).map_err(|error| self.failed(&error))
    }
}
