//! `LATE(v)`: the rows that came too late for the windows of a view or stream `v`.
//!
//! It is the plan of `v` up to its windows, over which a node judges the rows and gives those that it leaves out.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit};
use datafusion_common::{Column, DFSchema, DFSchemaRef, Result as PlanResult, plan_err};
use datafusion_expr::logical_plan::{self as logical, LogicalPlan, LogicalPlanBuilder};
use datafusion_expr::{Expr, ExprSchemable, UserDefinedLogicalNodeCore};

use super::assigned::Assigned;
use super::by_column;
use super::call::{Asked, Length};
use super::grouped::marker_of;
use super::markers::Marker;
use crate::error::{Code, StatementError};
use crate::plan::event_time::WINDOW_COLUMNS;
use crate::plan::node::{AggregateEmit, ChangelogMode, Closing, Node, Window, WindowAggregate, WindowShape};
use crate::plan::planner::extension::{by_text, downcast, extension};
use crate::plan::planner::lower::{Demand, Lowered, Lowerer, Lowering, check_unclaimed};
use crate::types::Tick;

/// What `LATE(v)` calls by how much a row was late.
const LATENESS: &str = "lateness";
/// What the columns are called until the row's own of the same names have made room; users see `window_start`, ….
const BOUNDS: [&str; 3] = ["__window_start_late", "__window_end_late", "__lateness"];
/// What the bounds are called that rows carry, where they make room.
const CARRIED: [&str; 2] = ["__window_start_given", "__window_end_given"];
/// What grouping keys and times are called that are no columns of the rows.
const KEY: &str = "__late_key";

/// Rows that are late. The columns are those of the input, then the bounds of the window, and by how much.
#[derive(Debug)]
pub(in crate::plan::planner) struct Late {
    input: LogicalPlan,
    /// The row's time or, of windows that the rows carry, their end.
    time: Expr,
    /// What the windows are grouped by.
    keys: Vec<Expr>,
    windows: LateWindows,
    lateness: Option<Length>,
    schema: DFSchemaRef,
}

/// The windows that rows are late for.
#[derive(Debug, Clone)]
enum LateWindows {
    Asked(Asked),
    /// The rows carry their windows, which begin there.
    Given(Expr),
}

/// The rows that are late for the outermost windows of a plan; nothing if it has none.
pub(in crate::plan::planner) fn late_rows(plan: &LogicalPlan) -> PlanResult<Option<LogicalPlan>> {
    let late = match plan {
        LogicalPlan::Aggregate(node) => late_for(node)?,
        LogicalPlan::Extension(node) => match downcast::<Assigned>(node) {
            Some(node) => late_for_sessions(node, None)?,
            None => None,
        },
        // Others have no windows of their own.
        _ => None,
    };
    if late.is_some() {
        return Ok(late);
    }
    for input in plan.inputs() {
        if let Some(late) = late_rows(input)? {
            return Ok(Some(late));
        }
    }
    Ok(None)
}

/// The rows that are late for the windows of an aggregate, if it has some.
fn late_for(node: &logical::Aggregate) -> PlanResult<Option<LogicalPlan>> {
    let mut lateness = None;
    let mut window = None;
    let mut keys = vec![];
    for key in &node.group_expr {
        match marker_of(key) {
            Some((Marker::Window(asked), Some(time))) => window = Some((asked.clone(), time.clone())),
            Some((Marker::Lateness(length), _)) => lateness = Some(length.clone()),
            Some((Marker::Window(_), None)) => {}
            None => keys.push(key.clone()),
        }
    }
    if let Some((asked, time)) = window {
        let lateness = asked.lateness.clone();
        return room(node.input.as_ref().clone(), time, keys, LateWindows::Asked(asked), lateness).map(Some);
    }
    let named =
        |name: &str| keys.iter().find(|key| matches!(key, Expr::Column(column) if column.name == name)).cloned();
    let [start, end, _] = WINDOW_COLUMNS.map(named);
    match (start, end, puts_into_windows(&node.input)) {
        (Some(start), Some(end), true) => {
            keys.retain(|key| !matches!(key, Expr::Column(column) if WINDOW_COLUMNS.contains(&column.name.as_str())));
            room(node.input.as_ref().clone(), end, keys, LateWindows::Given(start), lateness).map(Some)
        }
        (Some(_), Some(_), false) => match makes_sessions(&node.input).filter(|sessions| is_by(&keys, sessions)) {
            Some(sessions) => late_for_sessions(sessions, lateness),
            None => Ok(None),
        },
        (Some(_), None, _) | (None, _, _) => Ok(None),
    }
}

/// The rows that are late for the sessions of a relation, if it makes some: there they are judged, whatever is done
/// with the others.
fn late_for_sessions(node: &Assigned, lateness: Option<Length>) -> PlanResult<Option<LogicalPlan>> {
    let Some((input, time, keys, asked)) = node.sessions() else { return Ok(None) };
    room(input.clone(), time.clone(), keys.to_vec(), LateWindows::Asked(asked.clone()), lateness).map(Some)
}

/// The sessions that rows are put into right below.
fn makes_sessions(plan: &LogicalPlan) -> Option<&Assigned> {
    match plan {
        LogicalPlan::Projection(node) => makes_sessions(&node.input),
        LogicalPlan::SubqueryAlias(node) => makes_sessions(&node.input),
        LogicalPlan::Extension(node) => downcast::<Assigned>(node).filter(|node| node.sessions().is_some()),
        // Behind anything else an aggregate does not make the sessions itself.
        _ => None,
    }
}

/// Whether the keys of an aggregate, besides the bounds, are what sessions are partitioned by: then it makes them itself,
/// and keeps them for as long as it says.
fn is_by(keys: &[Expr], sessions: &Assigned) -> bool {
    let names = |keys: &[Expr]| -> Option<BTreeSet<String>> {
        let name = |key: &Expr| key.try_as_col().map(|column| column.name.clone());
        keys.iter().map(name).collect()
    };
    let bound = |name: &String| WINDOW_COLUMNS.contains(&name.as_str());
    let keys = names(keys).map(|names| names.into_iter().filter(|name| !bound(name)).collect());
    let partition = sessions.sessions().and_then(|(_, _, partition, _)| names(partition));
    keys.is_some() && keys == partition
}

/// Whether rows are put into windows one by one somewhere below, through what goes row by row.
fn puts_into_windows(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(node) => puts_into_windows(&node.input),
        LogicalPlan::Filter(node) => puts_into_windows(&node.input),
        LogicalPlan::SubqueryAlias(node) => puts_into_windows(&node.input),
        LogicalPlan::Extension(node) => downcast::<Assigned>(node).is_some_and(|node| node.sessions().is_none()),
        // Rows that come out of anything else are never late.
        _ => false,
    }
}

/// Late rows under the names of their columns, of which those of a window make room for its own.
fn room(
    input: LogicalPlan,
    time: Expr,
    keys: Vec<Expr>,
    windows: LateWindows,
    lateness: Option<Length>,
) -> PlanResult<LogicalPlan> {
    let taken = |column: &Column| column.name == LATENESS || WINDOW_COLUMNS.contains(&column.name.as_str());
    let kept: Vec<Column> = input.schema().columns().into_iter().filter(|column| !taken(column)).collect();
    let mut exprs: Vec<Expr> = kept.iter().cloned().map(Expr::Column).collect();
    let width = exprs.len();
    let mut carried = |expr: Expr, name: Option<&str>| match expr {
        Expr::Column(column) if !taken(&column) => Expr::Column(column),
        expr => {
            let name = name.map_or_else(|| format!("{KEY}_{}", exprs.len() - width), str::to_string);
            exprs.push(expr.alias(name.clone()));
            Expr::Column(Column::new_unqualified(name))
        }
    };
    let (time, windows) = match windows {
        LateWindows::Asked(asked) => (carried(time, None), LateWindows::Asked(asked)),
        LateWindows::Given(start) => {
            let [start_name, end_name] = CARRIED.map(Some);
            (carried(time, end_name), LateWindows::Given(carried(start, start_name)))
        }
    };
    let keys = keys.into_iter().map(|key| carried(key, None)).collect();
    let below = LogicalPlanBuilder::from(input).project(exprs)?.build()?;
    let above = extension(Late::new(below, time, keys, windows, lateness)?);
    let names = [WINDOW_COLUMNS[0], WINDOW_COLUMNS[1], LATENESS];
    let bounds =
        BOUNDS.iter().zip(names).map(|(bound, name)| Expr::Column(Column::new_unqualified(*bound)).alias(name));
    let columns = kept.into_iter().map(Expr::Column).chain(bounds).collect::<Vec<_>>();
    LogicalPlanBuilder::from(above).project(columns)?.build()
}

/// The error of a relation that has no late rows.
pub(in crate::plan::planner) fn no_windows(name: &str) -> StatementError {
    let message = format!("\"{name}\" has no windows that a row could be late for");
    let error = StatementError::new(Code::InvalidArgument, message);
    error.hint("LATE takes a view or stream that is defined by a query with GROUP BY … TUMBLE(…) or its kin.")
}

/// Lowers late rows.
pub(in crate::plan::planner) fn lower(lowerer: &Lowerer<'_>, node: &Late, demand: Demand<'_>) -> Lowering<Lowered> {
    check_unclaimed(demand.clause)?;
    let input = lowerer.node(&node.input, Demand::below(false))?;
    let schema = node.input.schema();
    let time = lowerer.compile(&node.time, schema)?;
    let closing = by_column(&time, &input.node);
    if closing != Closing::Watermark || input.mode() == ChangelogMode::Changelog {
        let error = StatementError::new(Code::InvalidArgument, "no row is ever late for these windows");
        let error = error.at(lowerer.places.query());
        return Err(error.hint("The watermark of a stream closes windows over its WATERMARK FOR column.").into());
    }
    let shape = match &node.windows {
        LateWindows::Asked(asked) => asked.shape(time.data_type())?,
        LateWindows::Given(start) => WindowShape::Given { start: lowerer.compile(start, schema)? },
    };
    let lateness = Asked::kept(node.lateness.as_ref(), time.data_type())?;
    let window = Window { time, shape, closing, lateness };
    let keys = lowerer.compile_all(&node.keys, schema)?;
    let (input_mode, schema) = (input.mode(), lowerer.columns(&node.schema));
    let late = input.map(|input| {
        Node::WindowAggregate(WindowAggregate {
            input: Box::new(input),
            keys,
            aggregates: vec![],
            window,
            emit: AggregateEmit::Final,
            input_mode,
            says_late: true,
            schema,
        })
    });
    Ok(Lowered { at_end: false, ..late })
}

impl Late {
    fn new(
        input: LogicalPlan,
        time: Expr,
        keys: Vec<Expr>,
        windows: LateWindows,
        lateness: Option<Length>,
    ) -> PlanResult<Late> {
        let data_type = time.get_type(input.schema())?;
        let by = match Tick::of(&data_type).and_then(Tick::nanos) {
            Some(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            None => DataType::Int64,
        };
        let own = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
        let types = [data_type.clone(), data_type, by];
        let bounds = BOUNDS.iter().zip(types).map(|(name, of)| (None, Arc::new(Field::new(*name, of, true))));
        let schema = DFSchema::new_with_metadata(own.chain(bounds).collect(), Default::default())?;
        Ok(Late { input, time, keys, windows, lateness, schema: Arc::new(schema) })
    }

    fn text(&self) -> String {
        format!("{:?} {:?} {:?} {:?}", self.windows, self.lateness, self.time, self.keys)
    }
}

by_text!(Late);

impl UserDefinedLogicalNodeCore for Late {
    fn name(&self) -> &str {
        "Late"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let start = match &self.windows {
            LateWindows::Asked(_) => None,
            LateWindows::Given(start) => Some(start),
        };
        [&self.time].into_iter().chain(start).chain(&self.keys).cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Late: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else { return plan_err!("late rows have one input") };
        let mut exprs = exprs.into_iter();
        let Some(time) = exprs.next() else { return plan_err!("late rows have a time") };
        let windows = match (&self.windows, &mut exprs) {
            (LateWindows::Asked(asked), _) => LateWindows::Asked(asked.clone()),
            (LateWindows::Given(_), exprs) => match exprs.next() {
                Some(start) => LateWindows::Given(start),
                None => return plan_err!("a window has a start"),
            },
        };
        Late::new(input, time, exprs.collect(), windows, self.lateness.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|column| *column < width).collect()])
    }
}
