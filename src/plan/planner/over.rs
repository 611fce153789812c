//! What asks for an order: `OVER`, Top-N, `DISTINCT ON`, and `ORDER BY … LIMIT` over what changes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError, Result as PlanResult, ScalarValue};
use datafusion_expr::expr::{Sort as SortExpr, WindowFunction as LogicalCall};
use datafusion_expr::logical_plan::{self as logical, LogicalPlan};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Between, BinaryExpr, Expr, Operator, WindowFrameUnits};

use super::aggregate::{asked_emit, unaliased};
use super::diagnose::smuggle;
use super::extension::{Marked, downcast, extension};
use super::functions::is_now;
use super::lower::{Demand, Lowered, Lowerer, Lowering, at_clause, never_ends, placed};
use super::places::Places;
use super::window::{as_of_now, function_of, so_far};
use super::windows;
use crate::error::{Code, StatementError};
use crate::expr::{self, SortKey, WindowFunction};
use crate::operators::{over as over_operator, top_n};
use crate::plan::event_time::{closed_by, event_time};
use crate::plan::node::{AggregateEmit, Bounded, ChangelogMode, Filter, Node, OrderedEmit, Over, Project, Rank, TopN};

/// An input that is put in order, and when what is made of it speaks.
struct Ordered {
    input: Lowered,
    /// What the clause says.
    asked: Option<OrderedEmit>,
    /// Without a clause and windows that close: `FINAL` over what ends, and `CHANGES` over what does not.
    otherwise: OrderedEmit,
}

impl Ordered {
    /// When partitions speak, and which of their keys is the end of a window that closes: those are final when it does.
    fn emit(
        &self,
        partition: &[expr::Expr],
        settles: bool,
        demand: Demand<'_>,
    ) -> Lowering<(OrderedEmit, Option<usize>)> {
        let closed_by = closed_by(partition, &self.input.node);
        let emit = match (self.asked, closed_by) {
            (Some(emit), _) => emit,
            (None, Some(_)) => OrderedEmit::Final,
            (None, None) => self.otherwise,
        };
        if closed_by.is_none() {
            // For what it says about a window that is not there.
            asked_emit(demand.clause)?;
            if emit == OrderedEmit::Final && self.input.bounded == Bounded::Never && !settles {
                return Err(at_clause(never_ends(&self.input.node), demand.clause).into());
            }
        }
        Ok((emit, closed_by))
    }
}

fn ordered(lowerer: &Lowerer<'_>, plan: &LogicalPlan, demand: Demand<'_>) -> Lowering<Ordered> {
    let asked = match windows::asked_emit(demand.clause)? {
        Some(AggregateEmit::Final) => Some(OrderedEmit::Final),
        Some(AggregateEmit::Running) => Some(OrderedEmit::Running),
        Some(AggregateEmit::Changes) => Some(OrderedEmit::Changes),
        Some(AggregateEmit::Every(_) | AggregateEmit::EveryAndFinal(_)) => {
            let error = StatementError::new(Code::Unsupported, "EMIT EVERY of rows in order is not supported yet");
            return Err(at_clause(error, demand.clause).hint("Use EMIT CHANGES or EMIT FINAL.").into());
        }
        None => None,
    };
    let only_final = asked == Some(OrderedEmit::Final) || (asked.is_none() && demand.only_final);
    let input = lowerer.node(plan, Demand::below(only_final))?;
    let ends = demand.only_final || input.at_end || input.bounded == Bounded::Yes;
    let otherwise = if ends { OrderedEmit::Final } else { OrderedEmit::Changes };
    Ok(Ordered { input, asked, otherwise })
}

/// Lowers an `OVER`: a node for each run of calls over the same order.
pub(super) fn lower(lowerer: &Lowerer<'_>, window: &logical::Window, demand: Demand<'_>) -> Lowering<Lowered> {
    let calls = calls(lowerer, window)?;
    let mut ordered = ordered(lowerer, &window.input, demand)?;
    let mut first = window.input.schema().fields().len();
    for run in calls.chunk_by(same_order) {
        let columns = &window.schema.fields()[first..first + run.len()];
        first += run.len();
        let (asked, otherwise) = (ordered.asked, ordered.otherwise);
        let input = over(lowerer, run, (window.input.schema(), columns), ordered, demand)?;
        ordered = Ordered { input, asked, otherwise };
    }
    Ok(ordered.input)
}

fn calls(lowerer: &Lowerer<'_>, window: &logical::Window) -> Lowering<Vec<LogicalCall>> {
    let call = |expr: &Expr| match unaliased(expr) {
        Expr::WindowFunction(call) => Ok(call.as_ref().clone()),
        _ => Err(lowerer.unsupported("this OVER")),
    };
    window.window_expr.iter().map(call).collect()
}

fn same_order(one: &LogicalCall, other: &LogicalCall) -> bool {
    one.params.partition_by == other.params.partition_by && one.params.order_by == other.params.order_by
}

/// A node for calls over one order; `columns` are theirs in the result.
fn over(
    lowerer: &Lowerer<'_>,
    run: &[LogicalCall],
    (input, columns): (&DFSchema, &[FieldRef]),
    ordered: Ordered,
    demand: Demand<'_>,
) -> Lowering<Lowered> {
    let input_mode = ordered.input.mode();
    let run: Vec<LogicalCall> = run.iter().map(|call| by_arrival(call, input_mode)).collect();
    let Some(first) = run.first().map(|call| &call.params) else { return Err(lowerer.unsupported("this OVER")) };
    if let Some(call) = run.iter().find(|call| Expr::from((*call).clone()).is_volatile()) {
        return Err(volatile(lowerer, call).into());
    }
    let order = lowerer.sort_keys(&keys(&first.order_by), input)?;
    let partition = lowerer.compile_all(&first.partition_by, input)?;
    let (asked, closed_by) = ordered.emit(&partition, false, demand)?;
    let can_run = order.is_empty() && input_mode == ChangelogMode::AppendOnly;
    let lower = |as_it_comes: bool| {
        let call = |(call, column): (&LogicalCall, &FieldRef)| match as_it_comes {
            true => lowerer.window_call(&as_of_now(call), input, column),
            false => lowerer.window_call(call, input, column),
        };
        run.iter().zip(columns).map(call).collect::<Lowering<Vec<_>>>()
    };
    let calls = lower(asked == OrderedEmit::Running)?;
    let emit = match (can_run && calls.iter().all(|call| call.running.is_some()), asked) {
        (false, OrderedEmit::Running) => return Err(cannot_run(input_mode, demand).into()),
        (false, emit) => emit,
        // What only looks back never changes, so each row is final as it comes.
        (true, OrderedEmit::Final | OrderedEmit::Changes | OrderedEmit::Running) => OrderedEmit::Running,
    };
    let below = ordered.input.node.schema();
    let outputs = calls.iter().map(|call| call.output.clone());
    let schema = Arc::new(Schema::new(below.fields().iter().cloned().chain(outputs).collect::<Vec<_>>()));
    let closed_by = closed_by.filter(|_| emit != OrderedEmit::Running);
    let place = || lowerer.places.call(run[0].fun.name(), &run[0].params.args);
    let Lowered { node, bounded, at_end } = ordered.input;
    let input = Box::new(node);
    let node = Over { input, partition, order, calls, emit, input_mode, closed_by, ttl: None, schema };
    over_operator::check(&node).map_err(|error| placed(error, place))?;
    let at_end = (emit == OrderedEmit::Final && closed_by.is_none()) || (emit == OrderedEmit::Running && at_end);
    Ok(Lowered { node: Node::Over(node), bounded, at_end })
}

fn cannot_run(input: ChangelogMode, demand: Demand<'_>) -> StatementError {
    let (message, hint) = match input {
        ChangelogMode::Changelog => {
            ("EMIT RUNNING needs an append-only input", "Use EMIT CHANGES, or add EMIT FINAL to the inner query.")
        }
        ChangelogMode::AppendOnly => (
            "EMIT RUNNING gives a row as it comes, and this OVER looks at rows that may come later",
            "Leave the ORDER BY of the OVER out: rows are then in order of arrival; or use EMIT CHANGES.",
        ),
    };
    at_clause(StatementError::new(Code::EmitMode, message), demand.clause).hint(hint)
}

fn volatile(lowerer: &Lowerer<'_>, call: &LogicalCall) -> StatementError {
    let error = StatementError::new(Code::Unsupported, "this OVER has another answer each time it is computed");
    let error = error.at(lowerer.places.call(call.fun.name(), &call.params.args));
    error.hint("Compute now() or random() in an inner query; without ORDER BY rows are in order of arrival.")
}

/// Refuses an `OVER` where DataFusion has not made a column of it.
pub(super) fn refuse_in(expr: &Expr, places: Places<'_>) -> PlanResult<()> {
    let mut found = None;
    expr.apply(|part| {
        Ok(match part {
            Expr::WindowFunction(call) => {
                found = Some(call.clone());
                TreeNodeRecursion::Stop
            }
            _ => TreeNodeRecursion::Continue,
        })
    })?;
    let Some(call) = found else { return Ok(()) };
    let error = StatementError::new(Code::InvalidArgument, "OVER cannot stand here");
    let error = error.at(places.call(call.fun.name(), &call.params.args));
    Err(smuggle(error.hint("It belongs among the columns or into the ORDER BY; a condition on it is QUALIFY.")))
}

/// Rows that stay are in order of the clock as they come: `ORDER BY proctime()` says no more than no order.
fn by_arrival(call: &LogicalCall, input: ChangelogMode) -> LogicalCall {
    let mut call = call.clone();
    let order = &mut call.params.order_by;
    let clock = matches!(order.as_slice(), [key] if key.asc && is_now(&key.expr));
    if clock && input == ChangelogMode::AppendOnly {
        order.clear();
        if call.params.window_frame.units == WindowFrameUnits::Range {
            call.params.window_frame = so_far();
        }
    }
    call
}

/// The keys that put rows in an order: a constant does not.
fn keys(order: &[SortExpr]) -> Vec<SortExpr> {
    order.iter().filter(|key| !matches!(key.expr, Expr::Literal(..))).cloned().collect()
}

/// Lowers a filter that asks for the first rows of each partition; nothing for any other.
pub(super) fn lower_filter(
    lowerer: &Lowerer<'_>,
    filter: &logical::Filter,
    demand: Demand<'_>,
) -> Lowering<Option<Lowered>> {
    let LogicalPlan::Window(window) = filter.input.as_ref() else { return Ok(None) };
    let calls = calls(lowerer, window)?;
    let [call] = calls.as_slice() else { return Ok(None) };
    let rank = match function_of(call) {
        WindowFunction::RowNumber => Rank::RowNumber,
        WindowFunction::Rank => Rank::Rank,
        WindowFunction::DenseRank => Rank::DenseRank,
        WindowFunction::Other => return Ok(None),
    };
    let column = window.input.schema().fields().len();
    let (mut first, mut rest) = (None, vec![]);
    for part in split_conjunction(&without_between(&filter.predicate)?) {
        match bound(part, &window.schema, column) {
            Some(Bound::AtMost(rows)) => first = Some(first.map_or(rows, |first: usize| first.min(rows))),
            Some(Bound::Exactly(rows)) => {
                first = Some(first.map_or(rows, |first: usize| first.min(rows)));
                rest.push(part.clone());
            }
            Some(Bound::Always) => {}
            None => rest.push(part.clone()),
        }
    }
    let Some(fetch) = first else { return Ok(None) };
    let ordered = ordered(lowerer, &window.input, demand)?;
    let call = by_arrival(call, ordered.input.mode());
    if Expr::from(call.clone()).is_volatile() {
        return Err(volatile(lowerer, &call).into());
    }
    let schema = window.input.schema();
    let wanted = Wanted {
        partition: lowerer.compile_all(&call.params.partition_by, schema)?,
        order: lowerer.sort_keys(&keys(&call.params.order_by), schema)?,
        rank,
        skip: 0,
        fetch,
        column: Some(lowerer.columns(&window.schema).field(column).clone()),
    };
    let place = || lowerer.places.call(call.fun.name(), &call.params.args);
    let top = first_rows(ordered, wanted, demand).map_err(|failure| failure.placed(place))?;
    Ok(Some(match conjunction(rest) {
        None => top,
        Some(rest) => {
            let predicate = lowerer.compile(&rest, &window.schema)?;
            top.map(|input| Node::Filter(Filter { input: Box::new(input), predicate }))
        }
    }))
}

/// A filter of ranked rows that only plain columns, names, filters and clauses stand below, one of them further down;
/// nothing for any other. None of them makes a row another one, and what the rows were ranked by need not be among the
/// columns.
pub(super) fn filter_below_columns(filter: &logical::Filter) -> PlanResult<Option<LogicalPlan>> {
    if !is_ranked(&filter.input) {
        return Ok(None);
    }
    let filtered = |predicate: Expr, input: &Arc<LogicalPlan>| {
        Ok::<_, DataFusionError>(LogicalPlan::Filter(logical::Filter::try_new(predicate, input.clone())?))
    };
    Ok(match filter.input.as_ref() {
        LogicalPlan::Projection(columns) => {
            let below = |place: usize| columns.expr.get(place).map(|column| column.clone().unalias());
            let input = Arc::new(filtered(instead(&filter.predicate, &columns.schema, below)?, &columns.input)?);
            let (exprs, schema) = (columns.expr.clone(), columns.schema.clone());
            Some(LogicalPlan::Projection(logical::Projection::try_new_with_schema(exprs, input, schema)?))
        }
        LogicalPlan::SubqueryAlias(named) => {
            let columns = named.input.schema().columns();
            let below = |place: usize| columns.get(place).cloned().map(Expr::Column);
            let input = Arc::new(filtered(instead(&filter.predicate, &named.schema, below)?, &named.input)?);
            Some(LogicalPlan::SubqueryAlias(logical::SubqueryAlias::try_new(input, named.alias.clone())?))
        }
        LogicalPlan::Filter(other) => {
            Some(filtered(other.predicate.clone().and(filter.predicate.clone()), &other.input)?)
        }
        LogicalPlan::Extension(node) => downcast::<Marked>(node)
            .map(|marked| {
                let input = filtered(filter.predicate.clone(), &Arc::new(marked.input.clone()))?;
                Ok::<_, DataFusionError>(extension(Marked { input, clause: marked.clause.clone() }))
            })
            .transpose()?,
        _ => None,
    })
}

/// Whether what is left of ranked rows has plain columns and nothing else above it.
fn is_ranked(plan: &LogicalPlan) -> bool {
    let plain = |expr: &Expr| matches!(expr.clone().unalias(), Expr::Column(_));
    let below = |plan: &LogicalPlan| matches!(plan, LogicalPlan::Window(_)) || is_ranked(plan);
    match plan {
        LogicalPlan::Projection(columns) => columns.expr.iter().all(plain) && below(&columns.input),
        LogicalPlan::SubqueryAlias(named) => below(&named.input),
        LogicalPlan::Filter(filter) => below(&filter.input),
        LogicalPlan::Extension(node) => downcast::<Marked>(node).is_some_and(|marked| below(&marked.input)),
        _ => false,
    }
}

/// A condition with something else in the places of the columns of a schema.
fn instead(condition: &Expr, schema: &DFSchema, other: impl Fn(usize) -> Option<Expr>) -> PlanResult<Expr> {
    let instead = condition.clone().transform(|part| {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        Ok(match schema.maybe_index_of_column(column).and_then(&other) {
            Some(other) => Transformed::yes(other),
            None => Transformed::no(part),
        })
    });
    instead.map(|condition| condition.data)
}

/// The condition with its `BETWEEN` as two conditions.
fn without_between(condition: &Expr) -> PlanResult<Expr> {
    let parts = condition.clone().transform(|part| {
        Ok(match part {
            Expr::Between(Between { expr, negated: false, low, high }) => {
                Transformed::yes(expr.clone().gt_eq(*low).and(expr.lt_eq(*high)))
            }
            part => Transformed::no(part),
        })
    });
    parts.map(|parts| parts.data)
}

/// What a condition says of a rank.
enum Bound {
    AtMost(usize),
    /// That it is this number, which is not the first.
    Exactly(usize),
    /// What is true of every rank.
    Always,
}

fn bound(condition: &Expr, schema: &DFSchema, rank: usize) -> Option<Bound> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (op, number) = match (is_rank(left, schema, rank), is_rank(right, schema, rank)) {
        (true, false) => (*op, whole(right)?),
        (false, true) => (op.swap()?, whole(left)?),
        (true, true) | (false, false) => return None,
    };
    let rows = |number: i64| usize::try_from(number.max(0)).unwrap_or(usize::MAX);
    match (op, number) {
        (Operator::LtEq, number) => Some(Bound::AtMost(rows(number))),
        (Operator::Lt, number) => Some(Bound::AtMost(rows(number.saturating_sub(1)))),
        (Operator::Eq, 1) => Some(Bound::AtMost(1)),
        (Operator::Eq, number) => Some(Bound::Exactly(rows(number))),
        (Operator::GtEq, number) if number <= 1 => Some(Bound::Always),
        (Operator::Gt, number) if number <= 0 => Some(Bound::Always),
        _ => None,
    }
}

/// Whether an expression is the rank, maybe as another type of number.
fn is_rank(expr: &Expr, schema: &DFSchema, rank: usize) -> bool {
    match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column) == Some(rank),
        Expr::Cast(cast) if is_whole_number(cast.field.data_type()) => is_rank(&cast.expr, schema, rank),
        _ => false,
    }
}

fn is_whole_number(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Decimal128(_, 0))
}

fn whole(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) if is_whole_number(&value.data_type()) => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(number) => number,
            _ => None,
        },
        _ => None,
    }
}

/// Which rows of each partition are wanted.
struct Wanted {
    partition: Vec<expr::Expr>,
    order: Vec<SortKey>,
    rank: Rank,
    skip: usize,
    fetch: usize,
    /// The column of the rank, if it is said.
    column: Option<Field>,
}

fn first_rows(ordered: Ordered, wanted: Wanted, demand: Demand<'_>) -> Lowering<Lowered> {
    let in_time = is_in_time(&wanted, &ordered.input);
    let (emit, closed_by) = ordered.emit(&wanted.partition, in_time, demand)?;
    let settles = in_time && emit == OrderedEmit::Final && closed_by.is_none();
    let (bounded, input_mode) = (ordered.input.bounded, ordered.input.mode());
    let below = ordered.input.node.schema();
    let says_rank = wanted.column.is_some();
    let columns = below.fields().iter().cloned().chain(wanted.column.map(Arc::new));
    let schema: SchemaRef = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
    let Wanted { partition, order, rank, skip, fetch, .. } = wanted;
    let input = Box::new(ordered.input.node);
    let node = TopN {
        input,
        partition,
        order,
        rank,
        skip,
        fetch,
        says_rank,
        emit,
        input_mode,
        closed_by,
        settles,
        ttl: None,
        schema,
    };
    // First rows in order of arrival stay the first, and go out as they come.
    let closed_by = closed_by.filter(|_| !node.by_arrival());
    let node = TopN { closed_by, ..node };
    if emit == OrderedEmit::Running && !node.by_arrival() {
        return Err(cannot_run(input_mode, demand).into());
    }
    top_n::check(&node)?;
    let at_end = emit == OrderedEmit::Final && !node.by_arrival() && closed_by.is_none() && !settles;
    Ok(Lowered { node: Node::TopN(node), bounded, at_end })
}

/// Whether rows are numbered in order of event time, so that the watermark says when a row stays where it is.
fn is_in_time(wanted: &Wanted, input: &Lowered) -> bool {
    let [key] = wanted.order.as_slice() else { return false };
    let times = event_time(&input.node);
    let is_time = key.expr.column_index().is_some_and(|column| times.contains(&column));
    is_time && !key.options.descending && wanted.rank == Rank::RowNumber && input.mode() == ChangelogMode::AppendOnly
}

/// Lowers `DISTINCT ON`: the first row of each key in the order of the query, or else of arrival.
pub(super) fn lower_distinct_on(
    lowerer: &Lowerer<'_>,
    distinct: &logical::DistinctOn,
    demand: Demand<'_>,
) -> Lowering<Lowered> {
    let ordered = ordered(lowerer, &distinct.input, demand)?;
    let below = distinct.input.schema();
    let order = distinct.sort_expr.iter().flatten().filter(|key| !distinct.on_expr.contains(&key.expr));
    let wanted = Wanted {
        partition: lowerer.compile_all(&distinct.on_expr, below)?,
        order: lowerer.sort_keys(&keys(&order.cloned().collect::<Vec<_>>()), below)?,
        rank: Rank::RowNumber,
        skip: 0,
        fetch: 1,
        column: None,
    };
    let exprs = lowerer.compile_all(&distinct.select_expr, below)?;
    let schema = lowerer.columns(&distinct.schema);
    let first = first_rows(ordered, wanted, demand)?;
    Ok(first.map(|input| Node::Project(Project { input: Box::new(input), exprs, schema })))
}

/// The first rows of an input that does not end, as they change.
pub(super) fn limit(input: Lowered, order: Vec<SortKey>, skip: usize, fetch: Option<usize>) -> Lowering<Lowered> {
    let ordered = Ordered { input, asked: None, otherwise: OrderedEmit::Changes };
    let fetch = fetch.unwrap_or(usize::MAX);
    let wanted = Wanted { partition: vec![], order, rank: Rank::RowNumber, skip, fetch, column: None };
    first_rows(ordered, wanted, Demand::below(false))
}
