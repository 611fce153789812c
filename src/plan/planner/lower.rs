//! From DataFusion's settled plan to [`Node`].

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::SortOptions;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, Result as PlanResult, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::logical_plan::{self as logical, Distinct, FetchType, LogicalPlan, SkipType};
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{ColumnarValue, Expr, ExprSchemable, SortExpr};
use datafusion_physical_expr::create_physical_expr;
use datafusion_physical_expr::expressions::Column;

use super::extension::{Keyed, Machine, Marked, downcast};
use super::names::{Names, relation_name};
use super::places::Places;
use super::provider::RelationSource;
use super::{aggregate, asof, collect, join, over, temporal, windows};
use crate::error::{Code, Error, InternalError, Place, StatementError};
use crate::expr::{self, SortKey};
use crate::plan::event_time::sides_closed_by;
use crate::plan::node::{
    Aggregate, AsofJoin, Bounded, ChangelogMode, Collect, Expand, Filter, Join, JoinEmit, JoinSide, KeyedJoin, Limit,
    Logic, LookupJoin, Node, Over, Project, Sort, Source, TopN, Union, Unnest, UnnestColumn, Values, WindowAggregate,
    Windows,
};
use crate::plan::{Context, Plan, bounds, changelog, explain, rules, shared};
use crate::sql::{self, Clause, EmitMode};

/// Why lowering failed: with an error of ours, or one that DataFusion gave.
#[derive(Debug)]
pub(super) enum Failure {
    Ours(Error),
    Plan(DataFusionError),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Ours(error.into())
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Failure::Plan(error)
    }
}

impl Failure {
    /// The failure with a place, if it is an error of ours that has none.
    pub fn placed(self, place: impl FnOnce() -> Place) -> Failure {
        match self {
            Failure::Ours(error) if error.place().is_none() => Failure::Ours(placed(error, place)),
            Failure::Ours(_) | Failure::Plan(_) => self,
        }
    }
}

pub(super) type Lowering<T> = std::result::Result<T, Failure>;

/// A node and what is known of its result.
pub(super) struct Lowered {
    pub node: Node,
    pub bounded: Bounded,
    /// Whether every row comes out at the end of the input.
    pub at_end: bool,
}

/// What is asked of a part of the plan by what is above it.
#[derive(Clone, Copy)]
pub(super) struct Demand<'a> {
    /// The clause that has not found its stateful node yet.
    pub clause: Option<&'a Clause>,
    /// Whether only the result at the end is looked at, so that an aggregate without a clause may be `FINAL`.
    pub only_final: bool,
    /// Whether its rows are those of the result, so that nothing above depends on their order.
    pub outermost: bool,
}

impl<'a> Demand<'a> {
    /// The demand on the inputs of a node that has taken the clause.
    pub fn below(only_final: bool) -> Demand<'a> {
        Demand { clause: None, only_final, outermost: false }
    }
}

/// Makes our plan of DataFusion's.
pub(super) fn lower(plan: &LogicalPlan, query: &sql::Query, context: &Context<'_>) -> Lowering<Plan> {
    let places = Places { query, catalog: context.catalog };
    let lowerer = Lowerer { places, names: Names::of(plan), unordered: context.unordered };
    let lowered = lowerer.node(plan, Demand { outermost: true, ..Demand::below(false) })?;
    let (mode, bounded) = (lowered.mode(), lowered.bounded);
    let root = rules::rewrite(lowered.node, context);
    let plan = Plan { mode, bounded, shared: shared::shared(&root), root };
    match bounds::unbounded(&plan.root) {
        Some((node, error)) if context.require_bounded_state => Err(error.at(places.node(node)).into()),
        Some(_) | None => Ok(plan),
    }
}

pub(super) struct Lowerer<'a> {
    pub places: Places<'a>,
    pub names: Names,
    /// Whether an order of rows that does not choose among them says nothing.
    unordered: bool,
}

impl Lowerer<'_> {
    pub fn node(&self, plan: &LogicalPlan, demand: Demand<'_>) -> Lowering<Lowered> {
        match plan {
            LogicalPlan::Projection(node) => self.projection(node, demand),
            LogicalPlan::Filter(node) => self.filter(node, demand),
            LogicalPlan::SubqueryAlias(node) => self.node(&node.input, demand),
            LogicalPlan::Aggregate(node) => self.aggregate(node, demand),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input, demand),
            LogicalPlan::Distinct(Distinct::On(node)) => over::lower_distinct_on(self, node, demand),
            LogicalPlan::Sort(node) => self.sort(node, demand),
            LogicalPlan::Limit(node) => self.limit(node, demand),
            LogicalPlan::Union(node) => self.union(node, demand),
            LogicalPlan::Unnest(node) => self.unnest(node, demand),
            LogicalPlan::Values(node) => leaf(self.values(node)?, demand),
            LogicalPlan::EmptyRelation(node) => leaf(self.empty(node)?, demand),
            LogicalPlan::TableScan(node) => leaf(self.scan(node)?, demand),
            LogicalPlan::Extension(node) => self.extension(node, demand),
            LogicalPlan::Join(node) => join::lower(self, node, demand),
            LogicalPlan::Window(node) => over::lower(self, node, demand),
            LogicalPlan::Subquery(_) => Err(self.unsupported("a subquery here")),
            LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::RecursiveQuery(_) => Err(self.unsupported("this statement")),
        }
    }

    fn projection(&self, node: &logical::Projection, demand: Demand<'_>) -> Lowering<Lowered> {
        let input = self.node(&node.input, demand)?;
        self.projected(node, input)
    }

    fn projected(&self, node: &logical::Projection, input: Lowered) -> Lowering<Lowered> {
        let exprs = self.compile_all(&node.expr, node.input.schema())?;
        let schema = self.columns(&node.schema);
        Ok(input.map(|input| match says_nothing(&exprs, &schema, &input) {
            true => named(input, schema),
            false => Node::Project(Project { input: Box::new(input), exprs, schema }),
        }))
    }

    fn filter(&self, node: &logical::Filter, demand: Demand<'_>) -> Lowering<Lowered> {
        if let Some(first) = over::lower_filter(self, node, demand)? {
            return Ok(first);
        }
        if let Some(below) = over::filter_below_columns(node)? {
            return self.node(&below, demand);
        }
        let input = self.node(&node.input, demand)?;
        let predicate = self.compile(&node.predicate, node.input.schema())?;
        Ok(match filters_by(&input.node, &predicate) {
            true => input,
            false => input.map(|input| Node::Filter(Filter { input: Box::new(input), predicate })),
        })
    }

    fn sort(&self, node: &logical::Sort, demand: Demand<'_>) -> Lowering<Lowered> {
        let (input, ends) = self.at_its_end(&node.input, demand)?;
        if !ends {
            // Rows that change are put in order by whoever folds them.
            let says_nothing = self.unordered || input.mode() == ChangelogMode::Changelog;
            if says_nothing && demand.outermost && node.fetch.is_none() {
                return Ok(input);
            }
            let error = StatementError::new(Code::EmitMode, "ORDER BY needs a result that ends");
            let error = error.at(self.places.order_by(&node.expr));
            return Err(error.hint("Add EMIT FINAL at the end of the query, or a LIMIT.").into());
        }
        let keys = self.sort_keys(&node.expr, node.input.schema())?;
        Ok(sorted(input, keys, node.fetch))
    }

    /// The input of a node that looks at what is there at the end only, and whether it has an end.
    fn at_its_end(&self, input: &LogicalPlan, demand: Demand<'_>) -> Lowering<(Lowered, bool)> {
        let ended = demand.clause.is_some_and(|clause| clause.emit == Some(EmitMode::Final));
        let input = self.node(input, Demand { only_final: demand.only_final || ended, outermost: false, ..demand })?;
        let ends = ended || input.at_end || input.bounded == Bounded::Yes;
        Ok((input, ends))
    }

    fn limit(&self, node: &logical::Limit, demand: Demand<'_>) -> Lowering<Lowered> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (node.get_skip_type()?, node.get_fetch_type()?)
        else {
            let error = StatementError::new(Code::Unsupported, "LIMIT and OFFSET take numbers");
            return Err(error.at(self.places.limit(node)).hint("Write the number, or give it as a parameter.").into());
        };
        self.first_rows(&node.input, (skip, fetch), demand)
            .map_err(|failure| failure.placed(|| self.places.limit(node)))
    }

    /// Some of the first rows. What does not end and is in an order, or changes, has other first rows as it changes.
    fn first_rows(
        &self,
        plan: &LogicalPlan,
        (skip, fetch): (usize, Option<usize>),
        demand: Demand<'_>,
    ) -> Lowering<Lowered> {
        match plan {
            // The columns of the first rows are the first rows of the columns, and the order is known below.
            LogicalPlan::Projection(node) if in_order(&node.input) => {
                let input = self.first_rows(&node.input, (skip, fetch), demand)?;
                return self.projected(node, input);
            }
            LogicalPlan::Sort(node) => {
                let (input, ends) = self.at_its_end(&node.input, demand)?;
                let keys = self.sort_keys(&node.expr, node.input.schema())?;
                return match ends {
                    true => Ok(sorted(input, keys, node.fetch).map(|input| limited(input, skip, fetch))),
                    false => over::limit(input, keys, skip, fetch),
                };
            }
            // DataFusion's plans are not ours to enumerate.
            _ => {}
        }
        let (mut input, ends) = self.at_its_end(plan, demand)?;
        if input.mode() == ChangelogMode::Changelog {
            // Rows that come and go have no order of arrival: the first ones are those of the least values.
            let schema = input.node.schema();
            let key = |index| SortKey { expr: column(&schema, index), options: SortOptions::default() };
            let keys = (0..schema.fields().len()).map(key).collect();
            match ends {
                true => input = sorted(input, keys, None),
                false => return over::limit(input, keys, skip, fetch),
            }
        }
        Ok(input.map(|input| limited(input, skip, fetch)))
    }

    fn union(&self, node: &logical::Union, demand: Demand<'_>) -> Lowering<Lowered> {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        let (mut bounded, mut at_end) = (Bounded::Yes, true);
        for input in &node.inputs {
            let input = self.node(input, demand)?;
            bounded = longest(bounded, input.bounded);
            at_end &= input.at_end;
            inputs.push(input.node);
        }
        Ok(Lowered { node: Node::Union(Union { inputs, schema: self.columns(&node.schema) }), bounded, at_end })
    }

    fn unnest(&self, node: &logical::Unnest, demand: Demand<'_>) -> Lowering<Lowered> {
        let input = self.node(&node.input, demand)?;
        let unnested = unnest_columns(node);
        let preserve_nulls = node.options.preserve_nulls();
        let schema = self.columns(&node.schema);
        Ok(input
            .map(|input| Node::Unnest(Unnest { input: Box::new(input), columns: unnested, preserve_nulls, schema })))
    }

    fn extension(&self, node: &logical::Extension, demand: Demand<'_>) -> Lowering<Lowered> {
        if let Some(marked) = downcast::<Marked>(node) {
            return self.marked(marked, demand);
        }
        if let Some(keyed) = downcast::<Keyed>(node) {
            return self.keyed(keyed, demand);
        }
        if let Some(matched) = downcast::<asof::Matched>(node) {
            return asof::lower(self, matched, demand);
        }
        if let Some(versioned) = downcast::<temporal::Versioned>(node) {
            return temporal::lower(self, versioned, demand);
        }
        if let Some(collected) = downcast::<collect::Collected>(node) {
            return collect::lower(self, collected, demand);
        }
        if let Some(grouped) = downcast::<windows::Grouped>(node) {
            return windows::lower_grouped(self, grouped, demand);
        }
        if let Some(late) = downcast::<windows::Late>(node) {
            return windows::lower_late(self, late, demand);
        }
        if let Some(assigned) = downcast::<windows::Assigned>(node) {
            return windows::lower_assigned(self, assigned, demand);
        }
        match downcast::<Machine>(node) {
            Some(machine) => self.machine(machine, demand),
            None => Err(self.unsupported("this statement")),
        }
    }

    /// A clause below another one: the inner governs what is below it, the outer finds nothing to govern.
    fn marked(&self, marked: &Marked, demand: Demand<'_>) -> Lowering<Lowered> {
        let only_final = demand.only_final || asks_final(demand.clause);
        check_unclaimed(demand.clause)?;
        self.node(&marked.input, Demand { clause: Some(&marked.clause), only_final, ..demand })
    }

    fn keyed(&self, keyed: &Keyed, demand: Demand<'_>) -> Lowering<Lowered> {
        check_unclaimed(demand.clause)?;
        let mut sides = Vec::with_capacity(keyed.sides.len());
        let mut bounded = Bounded::Yes;
        for (side, keys) in keyed.sides.iter().zip(&keyed.keys) {
            let input = self.node(side, Demand::below(false))?;
            if input.mode() == ChangelogMode::Changelog {
                let place = self.places.relation(&side_name(side)).unwrap_or_else(|| keyed.clause.place.clone());
                let error = StatementError::new(Code::EmitMode, "a keyed join needs append-only sides").at(place);
                let error = error.hint("A side that is updated or deleted belongs in a join without KEEP and EMIT; an aggregate becomes append-only with EMIT FINAL or EMIT RUNNING.");
                return Err(error.into());
            }
            bounded = longest(bounded, input.bounded);
            let keys = self.compile_all(keys, side.schema())?;
            let columns = (0..input.node.schema().fields().len()).collect();
            sides.push(JoinSide { name: side_name(side), keys, columns, input: input.node });
        }
        let closed_by = sides_closed_by(&sides);
        let at_end = keyed.emit == JoinEmit::Final && closed_by.is_none();
        if at_end && keyed.clause.emit == Some(EmitMode::OnWindowClose) {
            let error = StatementError::new(Code::EmitMode, "no part of the key is a window that could close");
            let error = error.at(keyed.clause.place.clone());
            return Err(error.hint("Join by window_start and window_end as well, or use EMIT FINAL.").into());
        }
        if at_end && let Some(side) = sides.iter().find(|side| endless(&side.input).is_some()) {
            return Err(never_ends(&side.input).at(keyed.clause.place.clone()).into());
        }
        let node = Node::KeyedJoin(KeyedJoin {
            sides,
            keep: keyed.keep,
            emit: keyed.emit,
            required: keyed.required.clone(),
            ttl: None,
            closed_by,
            schema: self.columns(datafusion_expr::UserDefinedLogicalNodeCore::schema(keyed)),
        });
        Ok(Lowered { node, bounded, at_end })
    }

    fn machine(&self, machine: &Machine, demand: Demand<'_>) -> Lowering<Lowered> {
        check_unclaimed(demand.clause)?;
        let input = self.node(&machine.input, Demand::below(false))?;
        if input.mode() == ChangelogMode::Changelog {
            let error = StatementError::new(Code::EmitMode, format!("\"{}\" needs an append-only input", machine.name));
            let error = error.at(machine.place.clone());
            return Err(error.hint("Add EMIT FINAL or EMIT RUNNING to the inner query.").into());
        }
        let keys = self.compile_all(&machine.keys, machine.input.schema())?;
        let (name, factory, schema) = (machine.name.clone(), machine.factory.clone(), self.columns(&machine.output));
        let logic = input.map(|input| Node::Logic(Logic { input: Box::new(input), name, keys, factory, schema }));
        Ok(Lowered { at_end: false, ..logic })
    }

    fn aggregate(&self, node: &logical::Aggregate, demand: Demand<'_>) -> Lowering<Lowered> {
        aggregate::lower(self, node, demand)
    }

    fn distinct(&self, input: &LogicalPlan, demand: Demand<'_>) -> Lowering<Lowered> {
        aggregate::lower_distinct(self, input, demand)
    }

    pub fn unsupported(&self, what: &str) -> Failure {
        let error = StatementError::new(Code::Unsupported, format!("{what} is not supported yet"));
        error.at(self.places.query()).into()
    }

    fn scan(&self, node: &logical::TableScan) -> Lowering<Lowered> {
        let Some(source) = node.source.downcast_ref::<RelationSource>() else {
            return Err(InternalError::new("a relation of the plan is none of ours").into());
        };
        let all = || (0..source.schema.fields().len()).collect();
        let projection = node.projection.clone().unwrap_or_else(all);
        let schema = self.columns(&node.projected_schema);
        let (mode, bounded, reads) = (source.mode, source.bounded, source.reads);
        let place = |column: &usize| projection.iter().position(|read| read == column);
        let key = source.key.as_ref().and_then(|key| key.iter().map(place).collect());
        let event_time = source.event_time.iter().filter_map(place).collect();
        let relation = source.relation.clone();
        let node = Node::Source(Source {
            relation,
            projection,
            schema,
            bounded,
            mode,
            key,
            reads,
            only: None,
            event_time,
            watermark: source.watermark.clone(),
            watermarked: false,
            dictionary: vec![],
        });
        Ok(Lowered { node, bounded, at_end: false })
    }

    fn values(&self, node: &logical::Values) -> Lowering<Lowered> {
        let schema = self.columns(&node.schema);
        let mut arrays = Vec::with_capacity(schema.fields().len());
        for (column, field) in schema.fields().iter().enumerate() {
            let cells = node.values.iter().map(|row| constant(&row[column])).collect::<PlanResult<Vec<_>>>()?;
            let array = ScalarValue::iter_to_array(cells)?;
            arrays.push(match array.data_type() == field.data_type() {
                true => array,
                false => arrow::compute::cast(&array, field.data_type())?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(node.values.len()));
        Ok(written(RecordBatch::try_new_with_options(schema, arrays, &options)?))
    }

    fn empty(&self, node: &logical::EmptyRelation) -> Lowering<Lowered> {
        let schema = self.columns(&node.schema);
        let rows = usize::from(node.produce_one_row);
        if !schema.fields().is_empty() {
            return Ok(written(RecordBatch::new_empty(schema)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(written(RecordBatch::try_new_with_options(schema, vec![], &options)?))
    }

    /// Compiles an expression over the columns of `schema`.
    pub fn compile(&self, expr: &Expr, schema: &DFSchema) -> PlanResult<expr::Expr> {
        over::refuse_in(expr, self.places)?;
        compile(expr, schema, &self.names)
    }

    pub fn compile_all(&self, exprs: &[Expr], schema: &DFSchema) -> PlanResult<Vec<expr::Expr>> {
        exprs.iter().map(|expr| self.compile(expr, schema)).collect()
    }

    pub fn sort_keys(&self, keys: &[SortExpr], schema: &DFSchema) -> PlanResult<Vec<SortKey>> {
        let key = |key: &SortExpr| {
            let options = SortOptions { descending: !key.asc, nulls_first: key.nulls_first };
            Ok(SortKey { expr: self.compile(&key.expr, schema)?, options })
        };
        keys.iter().map(key).collect()
    }

    /// The Arrow columns of a plan's result, under the names that users know.
    pub fn columns(&self, schema: &DFSchemaRef) -> SchemaRef {
        let field = |field: &FieldRef| plain(field).as_ref().clone().with_name(self.names.name(field.name()));
        Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
    }
}

impl Lowered {
    /// The same result known, with another node on top.
    pub fn map(self, on_top: impl FnOnce(Node) -> Node) -> Lowered {
        Lowered { node: on_top(self.node), bounded: self.bounded, at_end: self.at_end }
    }

    /// Whether rows are only added.
    pub fn mode(&self) -> ChangelogMode {
        changelog::mode(&self.node)
    }
}

/// What is asked of a leaf: a stateless query has nothing that a clause could govern.
fn leaf(lowered: Lowered, demand: Demand<'_>) -> Lowering<Lowered> {
    check_unclaimed(demand.clause)?;
    if asks_final(demand.clause) && !demand.only_final && lowered.mode() == ChangelogMode::Changelog {
        let error = StatementError::new(Code::EmitMode, "the rows of a table can change, so there is no final one");
        return Err(at_clause(error, demand.clause).hint("Aggregate them, or leave EMIT FINAL out.").into());
    }
    Ok(lowered)
}

/// A query without state speaks at once: `CHANGES` and `FINAL` say no more than that, the rest cannot be honoured.
pub(super) fn check_unclaimed(clause: Option<&Clause>) -> Lowering<()> {
    let Some(Clause { emit: Some(emit), .. }) = clause else { return Ok(()) };
    match emit {
        EmitMode::Final | EmitMode::Changes => Ok(()),
        EmitMode::OnWindowClose
        | EmitMode::Running
        | EmitMode::Complete
        | EmitMode::Every(_)
        | EmitMode::EveryAndFinal(_) => {
            let error = StatementError::new(Code::EmitMode, "there is nothing here that this EMIT could govern");
            let error = at_clause(error, clause);
            Err(error.hint("EMIT belongs behind a GROUP BY, or behind the ON or USING of a join.").into())
        }
    }
}

pub(super) fn at_clause(error: StatementError, clause: Option<&Clause>) -> StatementError {
    match clause {
        Some(clause) => error.at(clause.place.clone()),
        None => error,
    }
}

/// The error of something that has no place of its own.
pub(super) fn placed(error: Error, place: impl FnOnce() -> Place) -> Error {
    match error {
        Error::Statement(error) => error.at(place()).into(),
        other => other,
    }
}

pub(super) fn asks_final(clause: Option<&Clause>) -> bool {
    clause.is_some_and(|clause| matches!(clause.emit, Some(EmitMode::Final | EmitMode::OnWindowClose)))
}

pub(super) fn never_ends(node: &Node) -> StatementError {
    let name = endless(node).unwrap_or_else(|| "its input".into());
    let error = StatementError::new(Code::EmitMode, format!("\"{name}\" never ends, so EMIT FINAL would never speak"));
    error.hint("Use EMIT CHANGES, EMIT RUNNING or EMIT EVERY.")
}

fn endless(node: &Node) -> Option<String> {
    match node {
        Node::Source(source) if source.bounded == Bounded::Never => Some(source.relation.to_string()),
        other => other.inputs().into_iter().find_map(endless),
    }
}

pub(super) fn longest(a: Bounded, b: Bounded) -> Bounded {
    match (a, b) {
        (Bounded::Never, _) | (_, Bounded::Never) => Bounded::Never,
        (Bounded::UntilClosed, _) | (_, Bounded::UntilClosed) => Bounded::UntilClosed,
        (Bounded::Yes, Bounded::Yes) => Bounded::Yes,
    }
}

/// Whether a plan gives its rows in an order.
fn in_order(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(node) => in_order(&node.input),
        // DataFusion's plans are not ours to enumerate.
        _ => false,
    }
}

/// Whether rows have passed that condition already. The optimizer says some conditions once each time it looks at a plan.
fn filters_by(node: &Node, predicate: &expr::Expr) -> bool {
    match node {
        Node::Filter(filter) => filter.predicate == *predicate || filters_by(&filter.input, predicate),
        // Anything else has its own columns.
        _ => false,
    }
}

/// Whether a projection gives all columns of its input in order, under the names that they have anyway.
fn says_nothing(exprs: &[expr::Expr], schema: &Schema, input: &Node) -> bool {
    let same = |(index, (expr, field)): (usize, (&expr::Expr, &FieldRef))| {
        expr.column_index() == Some(index) && explain::is_named(&expr.to_string(), field.name())
    };
    exprs.len() == input.schema().fields().len() && exprs.iter().zip(schema.fields()).enumerate().all(same)
}

/// A node whose columns have the names of `schema`.
fn named(node: Node, schema: SchemaRef) -> Node {
    let below = |input: Box<Node>, schema| Box::new(named(*input, schema));
    match node {
        Node::Source(node) => Node::Source(Source { schema, ..node }),
        Node::Project(node) => Node::Project(Project { schema, ..node }),
        Node::Unnest(node) => Node::Unnest(Unnest { schema, ..node }),
        Node::Expand(node) => Node::Expand(Expand { schema, ..node }),
        Node::Union(node) => Node::Union(Union { schema, ..node }),
        Node::Aggregate(node) => Node::Aggregate(Aggregate { schema, ..node }),
        Node::Join(node) => Node::Join(Join { schema, ..node }),
        Node::KeyedJoin(node) => Node::KeyedJoin(KeyedJoin { schema, ..node }),
        Node::AsofJoin(node) => Node::AsofJoin(AsofJoin { schema, ..node }),
        Node::LookupJoin(node) => Node::LookupJoin(LookupJoin { schema, ..node }),
        Node::Collect(node) => Node::Collect(Collect { schema, ..node }),
        Node::TopN(node) => Node::TopN(TopN { schema, ..node }),
        Node::Over(node) => Node::Over(Over { schema, ..node }),
        Node::Logic(node) => Node::Logic(Logic { schema, ..node }),
        Node::Windows(node) => Node::Windows(Windows { schema, ..node }),
        Node::WindowAggregate(node) => Node::WindowAggregate(WindowAggregate { schema, ..node }),
        Node::Filter(node) => Node::Filter(Filter { input: below(node.input, schema), ..node }),
        Node::Sort(node) => Node::Sort(Sort { input: below(node.input, schema), ..node }),
        Node::Limit(node) => Node::Limit(Limit { input: below(node.input, schema), ..node }),
        // Rows that are written in the statement carry their names themselves.
        Node::Values(node) => Node::Values(match node.rows.clone().with_schema(schema) {
            Ok(rows) => Values { rows },
            Err(_) => node,
        }),
    }
}

pub(super) fn side_name(plan: &LogicalPlan) -> Arc<str> {
    let qualifier = plan.schema().iter().find_map(|(qualifier, _)| qualifier.map(|qualifier| qualifier.to_string()));
    qualifier.map_or_else(|| "a subquery".into(), |qualifier| relation_name(&qualifier)).into()
}

fn sorted(input: Lowered, keys: Vec<SortKey>, fetch: Option<usize>) -> Lowered {
    let sorted = input.map(|input| Node::Sort(Sort { input: Box::new(input), keys, fetch }));
    Lowered { at_end: true, ..sorted }
}

fn limited(input: Node, skip: usize, fetch: Option<usize>) -> Node {
    match input {
        // Only that many of the sorted rows need be kept apart.
        Node::Sort(sort) => {
            let wanted = fetch.map(|fetch| fetch.saturating_add(skip));
            let sort = Node::Sort(Sort { fetch: wanted.into_iter().chain(sort.fetch).min(), ..sort });
            if skip == 0 { sort } else { Node::Limit(Limit { input: Box::new(sort), skip, fetch }) }
        }
        input => Node::Limit(Limit { input: Box::new(input), skip, fetch }),
    }
}

fn written(rows: RecordBatch) -> Lowered {
    let node = Node::Values(Values { rows });
    Lowered { node, bounded: Bounded::Yes, at_end: false }
}

/// The value of an expression without columns.
pub(super) fn constant(expr: &Expr) -> PlanResult<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Ok(value.clone()),
        Expr::Alias(alias) => constant(&alias.expr),
        other => {
            let schema = DFSchema::empty();
            let physical = physical(other, &schema)?;
            let options = RecordBatchOptions::new().with_row_count(Some(1));
            let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
            match physical.evaluate(&row)? {
                ColumnarValue::Scalar(value) => Ok(value),
                ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0),
            }
        }
    }
}

fn unnest_columns(node: &logical::Unnest) -> Vec<UnnestColumn> {
    let mut columns = Vec::with_capacity(node.dependency_indices.len());
    let mut taken = vec![0usize; node.input.schema().fields().len()];
    for &input in &node.dependency_indices {
        // The outputs of one input column come in order: its lists one after the other, or its fields.
        let lists: Vec<usize> =
            node.list_type_columns.iter().filter(|(column, _)| *column == input).map(|(_, list)| list.depth).collect();
        let nth = taken[input];
        taken[input] += 1;
        columns.push(match lists.get(nth) {
            Some(depth) => UnnestColumn::List(input, *depth),
            None if node.struct_type_columns.contains(&input) => UnnestColumn::StructField(input, nth),
            None => UnnestColumn::Repeat(input),
        });
    }
    columns
}

pub(super) fn physical(expr: &Expr, schema: &DFSchema) -> PlanResult<Arc<dyn datafusion_physical_expr::PhysicalExpr>> {
    create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

/// Compiles an expression over the columns of `schema`.
pub(super) fn compile(expr: &Expr, schema: &DFSchema, names: &Names) -> PlanResult<expr::Expr> {
    let (_, field) = expr.to_field(schema)?;
    Ok(expr::Expr::new(physical(expr, schema)?, plain(&field), names.text(expr)))
}

/// Column `index` of `schema` as an expression.
pub(super) fn column(schema: &Schema, index: usize) -> expr::Expr {
    let field = schema.field(index);
    expr::Expr::new(Arc::new(Column::new(field.name(), index)), plain(&Arc::new(field.clone())), field.name().as_str())
}

/// A field that may be NULL and carries no metadata: NULLs come from outer joins and empty groups,
/// and what DataFusion notes about them is not needed to compute.
fn plain(field: &arrow::datatypes::FieldRef) -> arrow::datatypes::FieldRef {
    Arc::new(arrow::datatypes::Field::new(field.name(), field.data_type().clone(), true))
}
