//! The hand-over: DataFusion settles names, types, coercions and subqueries; the result becomes [`crate::plan::Node`].
//!
//! 1. [`clauses`] readies the syntax tree: what DataFusion cannot plan is carried by aliases and marker functions,
//!    what is not built yet is refused ([`refusals`]), and columns get their names ([`columns`]).
//! 2. [`bind`] has DataFusion resolve it, with [`provider`] answering its questions.
//! 3. [`keyed`] makes keyed joins of the join chains that have a clause, before any filter could be pushed below them.
//! 4. DataFusion's analyzer settles types; [`casts`] refuses what it cast silently.
//! 5. A chosen list of its rewrites runs.
//! 6. [`collect`] takes the markers of `COLLECT` out, [`windows`] those of windows.
//! 7. [`lower`] makes nodes of the result; [`names`] says how users see expressions, [`places`] where they stand.
//!
//! With `expr.rs` and `expr/` this folder is the only place that names DataFusion's planning types.

mod aggregate;
mod asof;
mod casts;
mod clauses;
mod collect;
mod columns;
mod copies;
mod diagnose;
mod distinct_on;
mod extension;
mod functions;
mod insert;
mod join;
mod join_markers;
mod keyed;
mod layers;
mod lower;
mod names;
mod over;
mod parameters;
mod places;
mod provider;
mod refusals;
mod size;
mod subqueries;
mod temporal;
mod unnest;
mod update;
mod window;
mod windows;
mod within;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::Result as PlanResult;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::{LogicalPlan, LogicalPlanBuilder};
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion_sql::planner::SqlToRel;
use sqlparser::ast;

use crate::catalog::Catalog;
use crate::error::{Code, Error, Result, StatementError};
use crate::plan::depth::with_stack;
use crate::plan::{Context, Plan};
use crate::sql;

use columns::Naming;

pub(super) use columns::check_distinct;
pub(super) use insert::plan_insert;
pub(super) use update::{plan_predicate, plan_update, plan_watermark};

static OPTIONS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| {
    let mut options = ConfigOptions::default();
    // What `TIMESTAMP WITH TIME ZONE` is kept in.
    options.execution.time_zone = Some("UTC".to_owned());
    options.sql_parser.collect_spans = true;
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.optimizer.filter_null_join_keys = true;
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    options.optimizer.skip_failed_rules = false;
    Arc::new(options)
});

/// For a plan that is what it will be after one pass: a second, with which DataFusion finds that out, is a sixth of its time.
static ONE_PASS: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| {
    let mut options = ConfigOptions::clone(&OPTIONS);
    options.optimizer.max_passes = 1;
    Arc::new(options)
});

/// Puts every built-in function into `catalog`.
pub(super) fn register_builtin_functions(catalog: &mut Catalog) {
    functions::register_builtin(catalog);
}

/// Plans a query.
pub(super) fn plan_query(query: &sql::Query, context: &Context<'_>) -> Result<Plan> {
    planned(query, context, |naming| finish(bind(query, context, naming)?, query, context))
}

/// Runs the planning of a query with stack enough; an error has a place in the query at least.
fn planned(query: &sql::Query, context: &Context<'_>, plan: impl Fn(Naming) -> Result<Plan>) -> Result<Plan> {
    let places = places::Places { query, catalog: context.catalog };
    let planned = with_stack(|| {
        size::check(query, context.catalog)?;
        plan(Naming::Plain).or_else(|error| {
            if !matches!(error.code(), Code::Duplicate | Code::Ambiguous) {
                return Err(error);
            }
            // If it fails that way too, the first error is about what was written.
            plan(Naming::Apart).map_err(|_| error)
        })
    });
    planned.map_err(|error| match error {
        Error::Statement(error) => places.placed(*error).into(),
        other => other,
    })
}

/// From DataFusion's bound plan to ours.
fn finish(plan: LogicalPlan, query: &sql::Query, context: &Context<'_>) -> Result<Plan> {
    let places = places::Places { query, catalog: context.catalog };
    let settled = || -> PlanResult<LogicalPlan> {
        subqueries::check(&plan, &query.text)?;
        unnest::place(keyed::place(temporal::place(asof::place(distinct_on::place(plan)?)?)?)?, &places)
    };
    let names = || functions::names(context.catalog);
    let failed = |error| diagnose::diagnose(&error, &query.text, &names());
    let plan = settled().map_err(failed)?;
    let plan = parameters::fill(plan, context.parameters, &query.text)?;
    let asked_for = casts::casts(&plan).map_err(failed)?;
    let plan = analyze(plan).map_err(failed)?;
    casts::check(&plan, &asked_for, &query.text)?;
    let plan = optimize(plan).and_then(collect::place).and_then(windows::place).map_err(failed)?;
    lower::lower(&plan, query, context).map_err(|error| match error {
        lower::Failure::Ours(error) => error,
        lower::Failure::Plan(error) => failed(error),
    })
}

/// Has DataFusion resolve a query, and marks its outermost clause.
///
/// This is the only place that names `SqlToRel`: it is generic, and costs seconds of compilation wherever it is.
fn bind(query: &sql::Query, context: &Context<'_>, naming: Naming) -> Result<LogicalPlan> {
    let clauses::Ready { ast, clause, markers } = clauses::ready(query, context.catalog, naming)?;
    let provider = provider::Provider::new(context, &OPTIONS, query, naming, &markers);
    let planner = SqlToRel::new(&provider);
    let plan = planner
        .sql_statement_to_plan(ast::Statement::Query(Box::new(ast)))
        .map_err(|error| diagnose::diagnose(&error, &query.text, &functions::names(context.catalog)))?;
    Ok(match clause.and_then(|index| query.clauses.get(index)) {
        Some(clause) => extension::extension(extension::Marked { input: plan, clause: clause.clone() }),
        None => plan,
    })
}

/// Resolves a lone expression over the columns of a relation, and the types of columns.
fn with_planner<T>(
    context: &Context<'_>,
    text: &Arc<str>,
    run: impl FnOnce(&SqlToRel<'_, provider::Provider<'_>>) -> PlanResult<T>,
) -> Result<T> {
    with_stack(|| {
        let provider = provider::Provider::of_expressions(context, &OPTIONS, text);
        run(&SqlToRel::new(&provider))
            .map_err(|error| diagnose::diagnose(&error, text, &functions::names(context.catalog)))
    })
}

/// The columns that a `CREATE` declares.
pub(super) fn declared_columns(columns: &[sql::ColumnDef], context: &Context<'_>) -> Result<SchemaRef> {
    let mut fields = Vec::with_capacity(columns.len());
    for column in columns {
        let text: Arc<str> = column.place.text().into();
        let schema = with_planner(context, &text, |planner| planner.build_schema(vec![column.ast.clone()]));
        let schema = schema.map_err(|error| match error {
            crate::Error::Statement(inner) => inner.at(column.place.clone()).into(),
            other => other,
        })?;
        for field in schema.fields() {
            if fields.iter().any(|other: &arrow::datatypes::FieldRef| other.name() == field.name()) {
                let error = StatementError::new(Code::Duplicate, format!("two columns are named \"{}\"", field.name()));
                return Err(error.at(column.place.clone()).into());
            }
            fields.push(field.clone());
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Gives the columns of a view the names it declares.
fn rename(plan: LogicalPlan, columns: &[sql::Name]) -> PlanResult<LogicalPlan> {
    if columns.is_empty() {
        return Ok(plan);
    }
    let named = plan.schema().columns().into_iter().zip(columns);
    let exprs: Vec<Expr> = named.map(|(column, name)| Expr::Column(column).alias(name.value.clone())).collect();
    if exprs.len() != plan.schema().fields().len() {
        let message =
            format!("the view names {} columns and its query has {}", columns.len(), plan.schema().fields().len());
        let error = StatementError::new(Code::SchemaMismatch, message).at(columns[0].place.clone());
        return Err(diagnose::smuggle(error));
    }
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

fn analyze(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let mut analyzer = Analyzer::new();
    for rewrite in functions::function_rewrites() {
        analyzer.add_function_rewrite(rewrite);
    }
    analyzer.execute_and_check(plan, &OPTIONS, |_, _| {})
}

/// The rewrites that are right for streams. What is left out either changes when results come out,
/// or drops columns and rows that a changelog needs.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    use datafusion_optimizer as rule;
    vec![
        Arc::new(rule::rewrite_set_comparison::RewriteSetComparison::new()),
        Arc::new(rule::optimize_unions::OptimizeUnions::new()),
        Arc::new(rule::simplify_expressions::SimplifyExpressions::new()),
        Arc::new(rule::decorrelate_predicate_subquery::DecorrelatePredicateSubquery::new()),
        Arc::new(rule::scalar_subquery_to_join::ScalarSubqueryToJoin::new()),
        Arc::new(rule::decorrelate_lateral_join::DecorrelateLateralJoin::new()),
        Arc::new(rule::extract_equijoin_predicate::ExtractEquijoinPredicate::new()),
        Arc::new(rule::eliminate_duplicated_expr::EliminateDuplicatedExpr::new()),
        Arc::new(rule::eliminate_filter::EliminateFilter::new()),
        Arc::new(rule::eliminate_cross_join::EliminateCrossJoin::new()),
        Arc::new(rule::propagate_empty_relation::PropagateEmptyRelation::new()),
        Arc::new(rule::filter_null_join_keys::FilterNullJoinKeys::default()),
        Arc::new(rule::eliminate_outer_join::EliminateOuterJoin::new()),
        Arc::new(distinct_on::PushDown::new()),
        Arc::new(rule::eliminate_group_by_constant::EliminateGroupByConstant::new()),
        Arc::new(rule::optimize_projections::OptimizeProjections::new()),
    ]
}

fn optimize(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let options = if layers::any(&plan)? { OPTIONS.clone() } else { ONE_PASS.clone() };
    let context = OptimizerContext::new_with_config_options(options).without_query_execution_start_time();
    Optimizer::with_rules(rules()).optimize(plan, &context, |_, _| {})
}

#[cfg(test)]
mod tests;
