//! `GROUP BY k, TUMBLE(at, …)`: an aggregate with a marker among its keys becomes a node of its own.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DFSchemaRef, Result as PlanResult, plan_err};
use datafusion_expr::logical_plan::{self as logical, LogicalPlan};
use datafusion_expr::{Expr, ExprSchemable, UserDefinedLogicalNodeCore};

use super::aggregate::{Group, aggregated, asked_emit, bounds_of};
use super::call::Asked;
use super::closing;
use super::markers::{BOUNDS, Marker, marker};
use crate::error::{Code, InternalError, StatementError};
use crate::plan::node::{AggregateEmit, Window};
use crate::plan::planner::aggregate::unaliased;
use crate::plan::planner::diagnose::smuggle;
use crate::plan::planner::extension::{by_text, extension};
use crate::plan::planner::lower::{Demand, Lowered, Lowerer, Lowering};

/// An aggregate in windows. Its columns are the keys, the bounds of the window, and the aggregates; without a window
/// of its own, which its keys have then, they are the keys and the aggregates.
#[derive(Debug)]
pub(in crate::plan::planner) struct Grouped {
    input: LogicalPlan,
    keys: Vec<Expr>,
    /// What is windowed, if the marker is a window.
    time: Option<Expr>,
    aggregates: Vec<Expr>,
    marker: Marker,
    schema: DFSchemaRef,
}

/// Replaces every aggregate that has a marker among its keys. It runs after DataFusion's rewrites, so columns that
/// nobody asks for are gone by then.
pub(in crate::plan::planner) fn place(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let placed = plan.transform_up(|plan| {
        let LogicalPlan::Aggregate(node) = &plan else { return Ok(Transformed::no(plan)) };
        match node.group_expr.iter().position(|key| marker_of(key).is_some()) {
            Some(at) => Ok(Transformed::yes(extension(Grouped::new(node, at)?))),
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(placed.data)
}

/// Lowers what [`place`] has put into the plan.
pub(in crate::plan::planner) fn lower(lowerer: &Lowerer<'_>, node: &Grouped, demand: Demand<'_>) -> Lowering<Lowered> {
    let emit = asked_emit(demand.clause)?.unwrap_or(AggregateEmit::Final);
    let input = lowerer.node(&node.input, Demand::below(emit == AggregateEmit::Final))?;
    let schema = node.input.schema();
    let keys = lowerer.compile_all(&node.keys, schema)?;
    let outputs = node.schema.fields().len() - node.aggregates.len();
    let aggregates = lowerer.calls(&node.aggregates, outputs, schema, &node.schema)?;
    let group = Group { keys, aggregates, calls: &node.aggregates, emit, output: lowerer.columns(&node.schema) };
    match (&node.marker, &node.time) {
        (Marker::Window(asked), Some(time)) => {
            let compiled = lowerer.compile(time, schema)?;
            let shape = asked.shape(compiled.data_type())?;
            let lateness = Asked::kept(asked.lateness.as_ref(), compiled.data_type())?;
            let closing = closing(time, &node.input, &compiled, &input.node);
            let window = Window { time: compiled, shape, closing, lateness };
            aggregated(lowerer, group, window, input, asked.lateness.as_ref(), demand)
        }
        (Marker::Lateness(lateness), _) => match bounds_of(&group, &input)? {
            Some(found) => found.lower(lowerer, group, input, Some(lateness), demand),
            None => {
                let error = StatementError::new(Code::InvalidArgument, "ALLOW LATENESS needs a window to group by");
                let error = error.at(lateness.place.clone());
                Err(error.hint("Add TUMBLE(at, …) to the GROUP BY, or window_start and window_end.").into())
            }
        },
        (Marker::Window(_), None) => Err(InternalError::new("a window has no time").into()),
    }
}

impl Grouped {
    fn new(node: &logical::Aggregate, at: usize) -> PlanResult<Grouped> {
        let mut keys = node.group_expr.clone();
        let key = keys.remove(at);
        let unknown = || smuggle(InternalError::new("the marker of a window is not in its form"));
        let Some((marker, time)) = marker_of(&key) else { return Err(unknown()) };
        let time = time.cloned();
        let field = |column: usize| {
            let (qualifier, field) = node.schema.qualified_field(column);
            (qualifier.cloned(), field.clone())
        };
        let width = node.group_expr.len();
        let mut fields: Vec<_> = (0..width).filter(|column| *column != at).map(field).collect();
        if let Some(time) = &time {
            let data_type = time.get_type(node.input.schema())?;
            for bound in BOUNDS {
                // Nobody may ask for a bound; then it has a name that nobody could have given.
                let asked = node.aggr_expr.iter().position(|call| bound_of(call) == Some(bound));
                let unasked = || (None, Arc::new(Field::new(bound, data_type.clone(), false)));
                fields.push(asked.map_or_else(unasked, |call| field(width + call)));
            }
        }
        let plain = |call: &usize| bound_of(&node.aggr_expr[*call]).is_none();
        let calls: Vec<usize> = (0..node.aggr_expr.len()).filter(plain).collect();
        fields.extend(calls.iter().map(|call| field(width + call)));
        Ok(Grouped {
            input: node.input.as_ref().clone(),
            keys,
            time,
            aggregates: calls.iter().map(|call| node.aggr_expr[*call].clone()).collect(),
            marker: marker.clone(),
            schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?),
        })
    }

    fn text(&self) -> String {
        format!("{:?} {:?} {:?} {:?}", self.marker, self.keys, self.time, self.aggregates)
    }
}

/// The marker that a grouping key is, and what it is called with.
pub(super) fn marker_of(key: &Expr) -> Option<(&Marker, Option<&Expr>)> {
    match unaliased(key) {
        Expr::ScalarFunction(call) => marker(&call.func).map(|marker| (marker, call.args.first())),
        _ => None,
    }
}

/// Which bound of the window an aggregate gives.
fn bound_of(call: &Expr) -> Option<&'static str> {
    match unaliased(call) {
        Expr::AggregateFunction(call) => BOUNDS.into_iter().find(|bound| *bound == call.func.name()),
        _ => None,
    }
}

by_text!(Grouped);

impl UserDefinedLogicalNodeCore for Grouped {
    fn name(&self) -> &str {
        "Grouped"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.iter().chain(&self.time).chain(&self.aggregates).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grouped: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, mut keys: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else { return plan_err!("an aggregate has one input") };
        let mut rest = keys.split_off(self.keys.len().min(keys.len()));
        let aggregates = rest.split_off(usize::from(self.time.is_some()).min(rest.len()));
        let (marker, schema) = (self.marker.clone(), self.schema.clone());
        Ok(Grouped { input, keys, time: rest.pop(), aggregates, marker, schema })
    }
}
