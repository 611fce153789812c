//! Aggregates in windows: those that make their windows, and those whose keys are bounds of windows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_expr::Expr as LogicalExpr;
use datafusion_expr::logical_plan as logical;

use super::by_column;
use super::call::{Asked, Length};
use super::lifted::{From, Lifted, lift};
use crate::error::{Code, Result, StatementError};
use crate::expr::{AggregateCall, Expr};
use crate::operators::aggregate::check_call;
use crate::plan::event_time::{Bounds, WINDOW_COLUMNS, window_bounds};
use crate::plan::node::{
    AggregateEmit, Bounded, ChangelogMode, Closing, Node, Project, Window, WindowAggregate, WindowShape,
};
use crate::plan::planner::aggregate::{asked_emit as plain_emit, several_for_a_row};
use crate::plan::planner::lower::{Demand, Lowered, Lowerer, Lowering, at_clause, never_ends, placed};
use crate::sql::{Clause, EmitMode};

/// When an aggregate speaks that may be in windows, if the clause says it.
pub(in crate::plan::planner) fn asked_emit(clause: Option<&Clause>) -> Lowering<Option<AggregateEmit>> {
    match clause.and_then(|clause| clause.emit) {
        Some(EmitMode::OnWindowClose) => Ok(Some(AggregateEmit::Final)),
        Some(EmitMode::EveryAndFinal(interval)) => Ok(Some(AggregateEmit::EveryAndFinal(interval))),
        Some(EmitMode::Final | EmitMode::Changes | EmitMode::Running | EmitMode::Complete | EmitMode::Every(_))
        | None => plain_emit(clause),
    }
}

/// What is grouped, compiled over the input.
pub(super) struct Group<'a> {
    pub keys: Vec<Expr>,
    pub aggregates: Vec<AggregateCall>,
    /// The aggregates as DataFusion has them.
    pub calls: &'a [LogicalExpr],
    pub emit: AggregateEmit,
    /// The columns that are asked for.
    pub output: SchemaRef,
}

/// Lowers an aggregate over `input` if its keys hold the bounds of a window; nothing if they do not.
pub(in crate::plan::planner) fn over_bounds(
    lowerer: &Lowerer<'_>,
    node: &logical::Aggregate,
    input: Lowered,
    demand: Demand<'_>,
) -> Lowering<std::result::Result<Lowered, Lowered>> {
    let is_set = |key: &LogicalExpr| matches!(key, LogicalExpr::GroupingSet(_));
    if node.group_expr.iter().any(is_set) || node.group_expr.len() < 2 {
        return Ok(Err(input));
    }
    let schema = node.input.schema();
    let keys = lowerer.compile_all(&node.group_expr, schema)?;
    let (keys, input) = chosen_below(keys, input);
    let emit = asked_emit(demand.clause)?.unwrap_or(AggregateEmit::Final);
    let mut group =
        Group { keys, aggregates: vec![], calls: &node.aggr_expr, emit, output: lowerer.columns(&node.schema) };
    if bounds_of(&group, &input)?.is_none() {
        return Ok(Err(input));
    }
    group.aggregates = lowerer.calls(&node.aggr_expr, group.keys.len(), schema, &node.schema)?;
    match bounds_of(&group, &input)? {
        Some(found) => found.lower(lowerer, group, input, None, demand).map(Ok),
        None => Ok(Err(input)),
    }
}

/// Keys that are bounds of one side or the other, as those of `FULL JOIN … USING`, become columns behind the others.
fn chosen_below(mut keys: Vec<Expr>, input: Lowered) -> (Vec<Expr>, Lowered) {
    let below = input.node.schema();
    let bounds = window_bounds(&input.node);
    let is_bound = |column: &usize| bounds.iter().any(|bounds| [bounds.start, bounds.end].contains(column));
    let is_chosen = |key: &usize| {
        let choices = keys[*key].choices();
        choices.len() > 1 && choices.iter().all(is_bound)
    };
    let chosen: Vec<usize> = (0..keys.len()).filter(is_chosen).collect();
    if chosen.is_empty() {
        return (keys, input);
    }
    let fields = below.fields().iter().chain(chosen.iter().map(|key| keys[*key].field())).cloned();
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let width = below.fields().len();
    let mut exprs: Vec<Expr> = (0..width).map(|column| Expr::column(&schema, column)).collect();
    for (nth, key) in chosen.into_iter().enumerate() {
        exprs.push(std::mem::replace(&mut keys[key], Expr::column(&schema, width + nth)));
    }
    (keys, input.map(|input| Node::Project(Project { input: Box::new(input), exprs, schema })))
}

/// As [`over_bounds`] for grouping sets, each of which has to hold the bounds: the keys and aggregates are those over the
/// `input` that gives each row once for each set.
pub(in crate::plan::planner) fn sets_over_bounds(
    lowerer: &Lowerer<'_>,
    node: &logical::Aggregate,
    (keys, aggregates): (Vec<Expr>, Vec<AggregateCall>),
    input: Lowered,
    demand: Demand<'_>,
) -> Lowering<std::result::Result<Lowered, Lowered>> {
    let Node::Expand(expand) = &input.node else { return Ok(Err(input)) };
    let on_all = |column: usize| expand.sets.iter().all(|set| set.holds.get(column) == Some(&true));
    let bounds = window_bounds(&input.node).into_iter().find(|bounds| on_all(bounds.start) && on_all(bounds.end));
    let Some(bounds) = bounds else { return Ok(Err(input)) };
    let emit = asked_emit(demand.clause)?.unwrap_or(AggregateEmit::Final);
    if emit == AggregateEmit::Running {
        return Err(several_for_a_row(demand).into());
    }
    let group = Group { keys, aggregates, calls: &node.aggr_expr, emit, output: lowerer.columns(&node.schema) };
    Found::Given(bounds).lower(lowerer, group, input, None, demand).map(Ok)
}

/// As [`over_bounds`] for `DISTINCT` of all columns: groups without aggregates.
pub(in crate::plan::planner) fn distinct_over_bounds(
    lowerer: &Lowerer<'_>,
    (keys, output): (&[Expr], &SchemaRef),
    input: Lowered,
    demand: Demand<'_>,
) -> Lowering<std::result::Result<Lowered, Lowered>> {
    let emit = asked_emit(demand.clause)?.unwrap_or(AggregateEmit::Final);
    let group = Group { keys: keys.to_vec(), aggregates: vec![], calls: &[], emit, output: output.clone() };
    match bounds_of(&group, &input)? {
        Some(found) => found.lower(lowerer, group, input, None, demand).map(Ok),
        None => Ok(Err(input)),
    }
}

/// The windows of an aggregate whose keys are their bounds.
pub(super) enum Found {
    /// The windows that its input has been put into, which it can make itself.
    Lifted(Box<Lifted>),
    /// The rows carry their windows.
    Given(Bounds),
}

/// The windows whose bounds are among the keys.
pub(super) fn bounds_of(group: &Group<'_>, input: &Lowered) -> Result<Option<Found>> {
    if let Some(lifted) = lift(&input.node).filter(|lifted| can_lift(lifted, group)) {
        return Ok(Some(Found::Lifted(Box::new(lifted))));
    }
    let keys: Vec<usize> = group.keys.iter().filter_map(Expr::column_index).collect();
    let grouped = |bounds: &Bounds| keys.contains(&bounds.start) && keys.contains(&bounds.end);
    Ok(window_bounds(&input.node).into_iter().find(grouped).map(Found::Given))
}

/// Whether the bounds are among the keys, and nothing else looks at them.
fn can_lift(lifted: &Lifted, group: &Group<'_>) -> bool {
    let from = |key: &Expr| key.column_index().map(|column| lifted.columns[column]);
    let (bounds, others): (Vec<&Expr>, Vec<&Expr>) =
        group.keys.iter().partition(|key| !matches!(from(key), Some(From::Below(_)) | None));
    let has = |bound: From| bounds.iter().any(|key| from(key) == Some(bound));
    let below = |expr: &Expr| lifted.below(expr).is_some();
    let calls = group.aggregates.iter().flat_map(parts);
    if !has(From::Start) || !has(From::End) || !others.iter().all(|key| below(key)) || !calls.into_iter().all(below) {
        return false;
    }
    match lifted.window.shape {
        WindowShape::Session { .. } => {
            let columns = |keys: Vec<Option<usize>>| keys.into_iter().collect::<Option<BTreeSet<_>>>();
            let grouped = columns(others.iter().map(|key| lifted.below(key)?.column_index()).collect());
            grouped.is_some() && grouped == columns(lifted.keys.iter().map(Expr::column_index).collect())
        }
        WindowShape::Tumble { .. }
        | WindowShape::Hop { .. }
        | WindowShape::Cumulate { .. }
        | WindowShape::Given { .. } => true,
    }
}

fn parts(call: &AggregateCall) -> Vec<&Expr> {
    call.arguments.iter().chain(&call.filter).chain(call.order_by.iter().map(|key| &key.expr)).collect()
}

impl Found {
    /// Lowers the aggregate, and puts its columns in the order that is asked for.
    pub fn lower(
        self,
        lowerer: &Lowerer<'_>,
        group: Group<'_>,
        input: Lowered,
        lateness: Option<&Length>,
        demand: Demand<'_>,
    ) -> Lowering<Lowered> {
        // For each key whether it is a bound, and which.
        let (bounds, mut window, input) = match self {
            Found::Lifted(lifted) => {
                let from = |key: &Expr| key.column_index().map(|column| lifted.columns[column]);
                let bounds = group.keys.iter().map(|key| match from(key) {
                    Some(From::Start) => Some(0),
                    Some(From::End) => Some(1),
                    Some(From::Time) => Some(2),
                    Some(From::Below(_)) | None => None,
                });
                let bounds: Vec<Option<usize>> = bounds.collect();
                let Lowered { bounded, at_end, .. } = input;
                return Found::lifted(lowerer, group, (bounds, *lifted), (bounded, at_end), lateness, demand);
            }
            Found::Given(found) => {
                let bound = |key: &Expr| match key.column_index() {
                    Some(column) if column == found.start => Some(0),
                    Some(column) if column == found.end => Some(1),
                    Some(_) | None => None,
                };
                let bounds: Vec<Option<usize>> = group.keys.iter().map(bound).collect();
                let schema = input.node.schema();
                let (start, time) = (Expr::column(&schema, found.start), Expr::column(&schema, found.end));
                let closing = by_column(&time, &input.node);
                (bounds, Window { time, shape: WindowShape::Given { start }, closing, lateness: 0 }, input)
            }
        };
        window.lateness = Asked::kept(lateness, window.time.data_type())?;
        in_order(lowerer, group, bounds, window, input, lateness, demand)
    }

    fn lifted(
        lowerer: &Lowerer<'_>,
        mut group: Group<'_>,
        (bounds, lifted): (Vec<Option<usize>>, Lifted),
        (bounded, at_end): (Bounded, bool),
        lateness: Option<&Length>,
        demand: Demand<'_>,
    ) -> Lowering<Lowered> {
        for (key, bound) in group.keys.iter_mut().zip(&bounds) {
            if bound.is_none() {
                *key = lifted.below(key).unwrap_or_else(|| key.clone());
            }
        }
        let place = |column: usize| match lifted.columns[column] {
            From::Below(place) => place,
            From::Start | From::End | From::Time => column,
        };
        for call in &mut group.aggregates {
            call.renumber(&place);
        }
        let Lifted { input: node, mut window, .. } = lifted;
        window.lateness = Asked::kept(lateness, window.time.data_type())?;
        in_order(lowerer, group, bounds, window, Lowered { node, bounded, at_end }, lateness, demand)
    }
}

/// An aggregate of whose keys some are bounds of the window, and a projection that puts its columns in their order.
fn in_order(
    lowerer: &Lowerer<'_>,
    group: Group<'_>,
    bounds: Vec<Option<usize>>,
    window: Window,
    input: Lowered,
    lateness: Option<&Length>,
    demand: Demand<'_>,
) -> Lowering<Lowered> {
    let schema = group.output.clone();
    let time = window.time.data_type().clone();
    let width = bounds.iter().filter(|bound| bound.is_none()).count();
    let mut keys = 0;
    let mut place = |bound: &Option<usize>| match bound {
        Some(bound) => width + bound,
        None => {
            keys += 1;
            keys - 1
        }
    };
    let first = bounds.len();
    let places: Vec<usize> = bounds.iter().map(&mut place).chain(0..0).collect();
    let places = places.into_iter().chain((0..group.aggregates.len()).map(|call| width + 3 + call));
    let places: Vec<usize> = places.collect();
    let own = |nth: usize| bounds.iter().position(|bound| *bound == Some(nth)).map(|key| schema.field(key).clone());
    let mut fields: Vec<Field> =
        (0..first).filter(|key| bounds[*key].is_none()).map(|key| schema.field(key).clone()).collect();
    for (nth, name) in WINDOW_COLUMNS.iter().enumerate() {
        fields.push(own(nth).unwrap_or_else(|| Field::new(*name, time.clone(), true)));
    }
    fields.extend((first..schema.fields().len()).map(|column| schema.field(column).clone()));
    let output = Arc::new(Schema::new(fields));
    let kept = group.keys.into_iter().zip(&bounds).filter(|(_, bound)| bound.is_none()).map(|(key, _)| key).collect();
    let group = Group { keys: kept, output: output.clone(), ..group };
    let lowered = aggregated(lowerer, group, window, input, lateness, demand)?;
    if places.iter().copied().eq(0..output.fields().len()) {
        return Ok(lowered);
    }
    let exprs = places.iter().map(|column| Expr::column(&output, *column)).collect();
    Ok(lowered.map(|input| Node::Project(Project { input: Box::new(input), exprs, schema })))
}

/// Lowers an aggregate whose columns are its keys, the bounds of its window and its aggregates.
pub(super) fn aggregated(
    lowerer: &Lowerer<'_>,
    group: Group<'_>,
    window: Window,
    input: Lowered,
    lateness: Option<&Length>,
    demand: Demand<'_>,
) -> Lowering<Lowered> {
    let Group { keys, aggregates, calls, emit, output: schema } = group;
    let (input_mode, bounded) = (input.mode(), input.bounded);
    check_emit(emit, &window, &input, demand)?;
    if let Some(lateness) = lateness
        && window.closing != Closing::Watermark
    {
        let error =
            StatementError::new(Code::InvalidArgument, "ALLOW LATENESS needs windows that the watermark closes");
        let error = error.at(lateness.place.clone());
        return Err(error.hint("WATERMARK FOR at AS … declares the event time of a stream.").into());
    }
    for (call, logical) in aggregates.iter().zip(calls) {
        let place = || lowerer.places.call(&call.function, [logical]);
        check_call(call, input_mode).map_err(|error| placed(error, place))?;
    }
    let at_end = emit == AggregateEmit::Final && window.closing == Closing::End;
    let input = Box::new(input.node);
    let node = WindowAggregate { input, keys, aggregates, window, emit, input_mode, says_late: false, schema };
    Ok(Lowered { node: Node::WindowAggregate(node), bounded, at_end })
}

fn check_emit(emit: AggregateEmit, window: &Window, input: &Lowered, demand: Demand<'_>) -> Lowering<()> {
    let error = |message: &str| at_clause(StatementError::new(Code::EmitMode, message), demand.clause);
    if window.is_session() && input.mode() == ChangelogMode::Changelog {
        let error = error("SESSION needs an append-only input: a row that goes might part a session in two");
        return Err(error.hint("Add EMIT FINAL to the inner query.").into());
    }
    match emit {
        AggregateEmit::Running if input.mode() == ChangelogMode::Changelog => {
            let error = error("EMIT RUNNING needs an append-only input");
            Err(error.hint("Use EMIT CHANGES, or add EMIT FINAL to the inner query.").into())
        }
        AggregateEmit::Running => match window.shape {
            WindowShape::Hop { .. } | WindowShape::Cumulate { .. } => {
                let error = error("EMIT RUNNING gives one row for each row, and these windows overlap");
                Err(error.hint("Use EMIT CHANGES, EMIT EVERY or EMIT FINAL.").into())
            }
            WindowShape::Tumble { .. } | WindowShape::Session { .. } | WindowShape::Given { .. } => Ok(()),
        },
        AggregateEmit::Final if window.closing == Closing::End && input.bounded == Bounded::Never => {
            let error = at_clause(never_ends(&input.node), demand.clause);
            Err(error.hint("Declare its event time with WATERMARK FOR at AS …, or use EMIT CHANGES.").into())
        }
        AggregateEmit::Final | AggregateEmit::Changes | AggregateEmit::Every(_) | AggregateEmit::EveryAndFinal(_) => {
            Ok(())
        }
    }
}
