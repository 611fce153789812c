//! What DataFusion's SQL planner asks us: which relations and functions there are, and how ours are planned.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, DataFusionError, Result as PlanResult, TableReference};
use datafusion_expr::logical_plan::{LogicalPlan, LogicalPlanBuilder};
use datafusion_expr::planner::{
    ContextProvider, ExprPlanner, PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Spanned, TableFactor};

use super::clauses::{clause_index, sides_of_copies, without_alias};
use super::columns::Naming;
use super::copies;
use super::diagnose::smuggle;
use super::extension::{Machine, Marked, extension};
use super::functions::{self, CLOSE_REASON, COLLECT_MARKER, SAME};
use super::join_markers;
use super::windows::{self, Kind, Marker};
use crate::catalog::{EventTime, Relation, Stream};
use crate::error::{Code, Place, StatementError, did_you_mean};
use crate::operators::logic::LogicRef;
use crate::plan::node::{Bounded, ChangelogMode, Reads};
use crate::plan::{Context, DEAD_LETTERS_PREFIX};
use crate::sql::{self, Clause, Name, TABLE_ARGUMENT};

/// What the name begins with of the relation of late rows.
const LATE_PREFIX: &str = "late:";

/// A relation as DataFusion sees it; the plan's leaves carry it to [`super::lower`].
pub(super) struct RelationSource {
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether it ends by itself.
    pub bounded: Bounded,
    /// Whether its rows are only added.
    pub mode: ChangelogMode,
    /// What it is called in [`crate::plan::node::Source`].
    pub relation: Arc<str>,
    /// The columns in which no two of its rows agree, if that is known.
    pub key: Option<Vec<usize>>,
    /// What is read of it, if it keeps its rows.
    pub reads: Reads,
    /// The columns that carry event time.
    pub event_time: Vec<usize>,
    /// Where its watermark comes from, if it declares one.
    pub watermark: Option<Arc<str>>,
}

impl RelationSource {
    /// A relation whose rows are only added, and of which no more is known.
    fn of(name: &str, schema: &SchemaRef, bounded: Bounded) -> RelationSource {
        RelationSource {
            schema: schema.clone(),
            bounded,
            mode: ChangelogMode::AppendOnly,
            relation: name.into(),
            key: None,
            reads: Reads::Changes,
            event_time: vec![],
            watermark: None,
        }
    }
}

/// Where the watermark of a stream comes from, for EXPLAIN.
fn watermark_of(stream: &Stream) -> Option<Arc<str>> {
    let EventTime { watermark, idle_after, .. } = stream.event_time.as_ref()?;
    let idle = idle_after.map(|after| format!(", idle after {after}")).unwrap_or_default();
    let has_files = stream.options.iter().any(|option| option.key.value == "path");
    let partitions = if has_files { ", a partition a file" } else { "" };
    Some(format!("watermark {watermark}{idle}{partitions}").into())
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// A view: it is replaced by the plan of its query.
struct Inlined {
    plan: LogicalPlan,
}

impl TableSource for Inlined {
    fn schema(&self) -> SchemaRef {
        Arc::new(self.plan.schema().as_arrow().clone())
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// Answers DataFusion's questions about one query.
pub(super) struct Provider<'a> {
    context: &'a Context<'a>,
    options: &'a ConfigOptions,
    text: &'a Arc<str>,
    naming: Naming,
    markers: &'a [Marker],
    expression_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

impl<'a> Provider<'a> {
    /// For a query with those markers in it.
    pub fn new(
        context: &'a Context<'a>,
        options: &'a ConfigOptions,
        query: &'a sql::Query,
        naming: Naming,
        markers: &'a [Marker],
    ) -> Self {
        Provider { naming, markers, ..Provider::with_clauses(context, options, &query.text, &query.clauses) }
    }

    /// For expressions that stand alone in a text.
    pub fn of_expressions(context: &'a Context<'a>, options: &'a ConfigOptions, text: &'a Arc<str>) -> Self {
        Provider::with_clauses(context, options, text, &[])
    }

    fn with_clauses(
        context: &'a Context<'a>,
        options: &'a ConfigOptions,
        text: &'a Arc<str>,
        clauses: &[Clause],
    ) -> Self {
        let logics = context.catalog.logics.clone();
        let ours = Relations { clauses: clauses.into(), logics, text: text.clone() };
        Provider {
            context,
            options,
            text,
            naming: Naming::Plain,
            markers: &[],
            expression_planners: functions::expression_planners(),
            relation_planners: vec![Arc::new(ours)],
        }
    }

    fn relation(&self, name: &str) -> PlanResult<Arc<dyn TableSource>> {
        if let Some(schema) = self.context.files.get(name) {
            return Ok(Arc::new(RelationSource::of(name, schema, Bounded::Yes)));
        }
        if let Some(stream) = name.strip_prefix(DEAD_LETTERS_PREFIX) {
            return self.dead_letters(name, stream);
        }
        if let Some(view) = name.strip_prefix(LATE_PREFIX) {
            return self.late(view);
        }
        match self.context.catalog.relations.get(name) {
            Some(relation @ Relation::Stream(stream)) => {
                let source = RelationSource::of(name, &stream.schema, self.bounded(name, stream.bounded));
                let (event_time, watermark) = (relation.event_time(), watermark_of(stream));
                Ok(Arc::new(RelationSource { event_time, watermark, ..source }))
            }
            Some(Relation::Table(table)) => {
                let bounded = self.bounded(name, Bounded::UntilClosed);
                Ok(self.kept(name, &table.schema, bounded, ChangelogMode::Changelog, Some(&table.primary_key)))
            }
            Some(relation @ Relation::Derived(derived)) => {
                let (mode, key, event_time) = (derived.mode, derived.key.clone(), relation.event_time());
                let source = RelationSource::of(name, &derived.schema, self.bounded(name, derived.bounded));
                Ok(Arc::new(RelationSource { mode, key, event_time, ..source }))
            }
            Some(Relation::Materialized(view)) => {
                let bounded = self.bounded(name, view.bounded);
                Ok(self.kept(name, &view.schema, bounded, view.mode, view.key.as_ref()))
            }
            Some(Relation::View(view)) => {
                let plan = super::bind(&view.query, self.context, self.naming).map_err(smuggle)?;
                Ok(Arc::new(Inlined { plan: super::rename(plan, &view.columns)? }))
            }
            None => Err(self.not_found(name)),
        }
    }

    /// A relation that keeps its rows: a query that reads what is there now reads rows that only come, to their end.
    fn kept(
        &self,
        name: &str,
        schema: &SchemaRef,
        bounded: Bounded,
        mode: ChangelogMode,
        key: Option<&Vec<usize>>,
    ) -> Arc<dyn TableSource> {
        let (bounded, mode) = match self.context.reads {
            Reads::Changes => (bounded, mode),
            Reads::Present => (Bounded::Yes, ChangelogMode::AppendOnly),
        };
        let (key, reads) = (key.cloned(), self.context.reads);
        Arc::new(RelationSource { mode, key, reads, ..RelationSource::of(name, schema, bounded) })
    }

    /// Whether a relation ends by itself now, which it does once it is closed.
    fn bounded(&self, name: &str, declared: Bounded) -> Bounded {
        if self.context.closed.contains(name) { Bounded::Yes } else { declared }
    }

    fn dead_letters(&self, name: &str, stream: &str) -> PlanResult<Arc<dyn TableSource>> {
        match self.context.catalog.relations.get(stream) {
            Some(Relation::Stream(_)) => {
                Ok(Arc::new(RelationSource::of(name, &crate::types::dead_letter_schema(), Bounded::Yes)))
            }
            Some(_) | None => Err(self.not_found(stream)),
        }
    }

    /// The rows that are late for the windows of a relation that is defined by a query.
    fn late(&self, name: &str) -> PlanResult<Arc<dyn TableSource>> {
        let query = match self.context.catalog.relations.get(name) {
            Some(Relation::View(view)) => Some(&view.query),
            Some(Relation::Derived(derived)) => Some(&derived.query),
            Some(Relation::Materialized(view)) => Some(&view.query),
            Some(Relation::Stream(_) | Relation::Table(_)) => None,
            None => return Err(self.not_found(name)),
        };
        let plan = query.map(|query| super::bind(query, self.context, self.naming)).transpose().map_err(smuggle)?;
        let late = plan.map(|plan| windows::late_rows(&plan)).transpose()?.flatten();
        let plan = late.ok_or_else(|| smuggle(windows::no_windows(name)))?;
        Ok(Arc::new(Inlined { plan }))
    }

    fn not_found(&self, name: &str) -> DataFusionError {
        let catalog = self.context.catalog;
        let error = StatementError::new(Code::UnknownRelation, format!("relation \"{name}\" not found"));
        if catalog.sinks.contains_key(name) {
            return smuggle(error.hint("It is a sink: it can only be written to."));
        }
        match did_you_mean(name, catalog.relations.keys().map(String::as_str)) {
            Some(hint) => smuggle(error.hint(hint)),
            None => smuggle(error.hint("SHOW ALL lists what there is; a file is named in quotes, as in FROM 'a.csv'.")),
        }
    }
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        match &name {
            TableReference::Bare { table } => self.relation(table),
            TableReference::Partial { schema, table } => self.relation(&format!("{schema}.{table}")),
            TableReference::Full { catalog, schema, table } => self.relation(&format!("{catalog}.{schema}.{table}")),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expression_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        match name {
            COLLECT_MARKER => Some(functions::collect_marker(self.text)),
            SAME => Some(functions::same()),
            _ => (join_markers::function(name, self.text))
                .or_else(|| windows::function(name, self.markers))
                .or_else(|| self.context.catalog.scalars.get(name).cloned()),
        }
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        datafusion_functions_nested::all_default_higher_order_functions()
            .into_iter()
            .find(|function| function.name() == name || function.aliases().iter().any(|alias| alias == name))
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        match name {
            CLOSE_REASON => Some(functions::close_reason()),
            _ => windows::bound(name).or_else(|| self.context.catalog.aggregates.get(name).cloned()),
        }
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        datafusion_functions_window::all_default_window_functions()
            .into_iter()
            .find(|function| function.name() == name || function.aliases().iter().any(|alias| alias == name))
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.context.catalog.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        self.context.catalog.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        vec![]
    }
}

/// Plans the relations of a `FROM` clause that are ours.
struct Relations {
    clauses: Arc<[Clause]>,
    logics: HashMap<String, LogicRef>,
    text: Arc<str>,
}

impl std::fmt::Debug for Relations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relations").field("clauses", &self.clauses).finish_non_exhaustive()
    }
}

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> PlanResult<RelationPlanning> {
        if let Some(clause) = clause_index(&relation).and_then(|index| self.clauses.get(index)) {
            let input = context.plan(without_alias(relation))?;
            let plan = extension(Marked { input, clause: clause.clone() });
            return Ok(planned(plan, None));
        }
        if let Some((operator, [left, right])) = sides_of_copies(&relation) {
            let (left, right) = (context.plan(left)?, context.plan(right)?);
            return Ok(planned(copies::plan(operator, left, right)?, None));
        }
        let Some((name, args, alias)) = called_relation(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let place = sql::place_of(&self.text, name.span);
        if let Some(kind) = Kind::of(&ast::ObjectName::from(vec![name.clone()])) {
            let place = sql::place_of(&self.text, relation.span());
            return Ok(planned(windows::plan_relation(kind, &args, place, &self.text, context)?, alias));
        }
        let called = context.normalize_ident(name);
        match self.logics.get(&called) {
            Some(logic) => self.plan_logic(&Name { value: called, place }, logic, &args, alias, context),
            None if called == "errors" => plan_errors(place, &args, alias, context),
            None if called == "late" => plan_late(place, &args, alias, context),
            None => Err(self.unknown(&Name { value: called, place })),
        }
    }
}

impl Relations {
    fn unknown(&self, name: &Name) -> DataFusionError {
        let message = format!("table function \"{}\" not found", name.value);
        let error = StatementError::new(Code::UnknownFunction, message).at(name.place.clone());
        match did_you_mean(
            &name.value,
            self.logics.keys().map(String::as_str).chain(["errors", "late"]).chain(Kind::NAMES),
        ) {
            Some(hint) => smuggle(error.hint(hint)),
            None => smuggle(error.hint("A table function is a logic that the host program has registered.")),
        }
    }

    fn plan_logic(
        &self,
        name: &Name,
        factory: &LogicRef,
        args: &[FunctionArg],
        alias: Option<ast::TableAlias>,
        context: &mut dyn RelationPlannerContext,
    ) -> PlanResult<RelationPlanning> {
        let [argument] = args else { return Err(bad_logic_argument(name)) };
        let Some((input, partition_by)) = table_argument(argument) else { return Err(bad_logic_argument(name)) };
        let input = context.plan(input)?;
        let keys = partition_by
            .into_iter()
            .map(|key| context.sql_to_expr(key, input.schema()))
            .collect::<PlanResult<Vec<_>>>()?;
        let columns = Arc::new(input.schema().as_arrow().clone());
        let output = factory.output_schema(&columns).map_err(smuggle)?;
        let output = Arc::new(DFSchema::try_from(output)?);
        let (called, place) = (name.value.as_str(), name.place.clone());
        let machine = Machine { input, name: called.into(), keys, factory: factory.clone(), output, place };
        let plan = LogicalPlanBuilder::from(extension(machine)).alias(called)?.build()?;
        Ok(planned(plan, alias))
    }
}

type Called = (Ident, Vec<FunctionArg>, Option<ast::TableAlias>);

/// A relation written as a call: `f(…)` or `TABLE(f(…))`.
fn called_relation(relation: &TableFactor) -> Option<Called> {
    let (name, args, alias) = match relation {
        TableFactor::Table { name, args: Some(args), alias, .. } => (name, args.args.clone(), alias),
        TableFactor::TableFunction { expr: ast::Expr::Function(call), alias } => match &call.args {
            FunctionArguments::List(list) => (&call.name, list.args.clone(), alias),
            FunctionArguments::None | FunctionArguments::Subquery(_) => return None,
        },
        _ => return None,
    };
    let name = name.0.last()?.as_ident()?.clone();
    Some((name, args, alias.clone()))
}

fn planned(plan: LogicalPlan, alias: Option<ast::TableAlias>) -> RelationPlanning {
    RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias)))
}

fn bad_logic_argument(name: &Name) -> DataFusionError {
    let called = &name.value;
    let error = StatementError::new(Code::InvalidArgument, format!("\"{called}\" takes one table"));
    let error = error.at(name.place.clone());
    smuggle(error.hint(format!("Write FROM {called}(TABLE t PARTITION BY k); rows come in order of arrival.")))
}

/// `ERRORS(stream)`: the rows of a stream that could not be read.
fn plan_errors(
    place: Place,
    args: &[FunctionArg],
    alias: Option<ast::TableAlias>,
    context: &mut dyn RelationPlannerContext,
) -> PlanResult<RelationPlanning> {
    let Some(name) = only_name(args) else {
        let error = StatementError::new(Code::InvalidArgument, "ERRORS takes the name of a stream").at(place);
        return Err(smuggle(error.hint("Write FROM ERRORS(my_stream).")));
    };
    plan_prefixed(DEAD_LETTERS_PREFIX, name, "errors", alias, context)
}

/// `LATE(v)`: the rows that are late for the windows of a view or stream.
fn plan_late(
    place: Place,
    args: &[FunctionArg],
    alias: Option<ast::TableAlias>,
    context: &mut dyn RelationPlannerContext,
) -> PlanResult<RelationPlanning> {
    let Some(name) = only_name(args) else {
        let error = StatementError::new(Code::InvalidArgument, "LATE takes the name of a view or stream").at(place);
        return Err(smuggle(error.hint("Write FROM LATE(v), where v is defined by a query with windows.")));
    };
    plan_prefixed(LATE_PREFIX, name, "late", alias, context)
}

/// What belongs to the relation of a name, as a relation that is called so if it has no alias.
fn plan_prefixed(
    prefix: &str,
    name: Ident,
    called: &str,
    alias: Option<ast::TableAlias>,
    context: &mut dyn RelationPlannerContext,
) -> PlanResult<RelationPlanning> {
    let span = name.span;
    let mut name = Ident::with_quote('"', format!("{prefix}{}", context.normalize_ident(name)));
    name.span = span;
    let plan = context.plan(table_factor(ast::ObjectName::from(vec![name])))?;
    let plan = LogicalPlanBuilder::from(plan).alias(called)?.build()?;
    Ok(planned(plan, alias))
}

/// The name that is the only argument of a call.
fn only_name(args: &[FunctionArg]) -> Option<Ident> {
    match args {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(name)))] => Some(name.clone()),
        _ => None,
    }
}

pub(super) fn table_factor(name: ast::ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// Takes `TABLE t PARTITION BY k`, as the parser carries it, apart: the relation and the keys.
pub(super) fn table_argument(argument: &FunctionArg) -> Option<(TableFactor, Vec<ast::Expr>)> {
    let (FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Function(call)))
    | FunctionArg::Named { arg: FunctionArgExpr::Expr(ast::Expr::Function(call)), .. }) = argument
    else {
        return None;
    };
    if call.name.to_string() != TABLE_ARGUMENT {
        return None;
    }
    let FunctionArguments::List(list) = &call.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(relation))] = list.args.as_slice() else {
        return None;
    };
    let relation = match relation {
        ast::Expr::Identifier(name) => table_factor(ast::ObjectName::from(vec![name.clone()])),
        ast::Expr::CompoundIdentifier(names) => table_factor(ast::ObjectName::from(names.clone())),
        ast::Expr::Subquery(query) => {
            TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None }
        }
        _ => return None,
    };
    let keys = match &call.over {
        // Rows come in order of arrival; another order would have to wait for the end.
        Some(ast::WindowType::WindowSpec(window)) if !window.order_by.is_empty() => return None,
        Some(ast::WindowType::WindowSpec(window)) => window.partition_by.clone(),
        Some(ast::WindowType::NamedWindow(_)) | None => vec![],
    };
    Some((relation, keys))
}
