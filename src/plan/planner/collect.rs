//! `COLLECT`: DataFusion plans it as a marker among the grouping keys, and here it becomes a node of its own.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DFSchemaRef, Result as PlanResult, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::logical_plan::{self as logical, LogicalPlan};
use datafusion_expr::{Expr, UserDefinedLogicalNodeCore};

use super::diagnose::smuggle;
use super::extension::{by_text, extension};
use super::functions::{CLOSE_REASON, COLLECT_MARKER, collect_text};
use super::lower::{Demand, Lowered, Lowerer, Lowering, asks_final, at_clause};
use crate::error::{Code, InternalError, Place, StatementError};
use crate::plan::node::{ChangelogMode, Collect, Node};
use crate::types::Interval;

/// Count-or-timeout windows by key. The columns are the keys, the aggregates, then why the window closed.
#[derive(Debug)]
pub(super) struct Collected {
    input: LogicalPlan,
    keys: Vec<Expr>,
    aggregates: Vec<Expr>,
    marker: Marker,
    schema: DFSchemaRef,
}

/// What the marker among the keys says.
#[derive(Debug, Clone)]
struct Marker {
    max_rows: Option<u64>,
    timeout: Option<Interval>,
    max_wait: Option<Interval>,
    /// Where the `COLLECT` was written.
    place: Place,
}

/// Replaces every aggregate that has the marker among its keys. It runs after DataFusion's rewrites,
/// so columns that nobody asks for are gone by then.
pub(super) fn place(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let placed = plan.transform_up(|plan| {
        let LogicalPlan::Aggregate(node) = &plan else { return Ok(Transformed::no(plan)) };
        match node.group_expr.iter().position(|key| marker_call(key).is_some()) {
            Some(at) => Ok(Transformed::yes(extension(Collected::new(node, at)?))),
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(placed.data)
}

/// Lowers what [`place`] has put into the plan.
pub(super) fn lower(lowerer: &Lowerer<'_>, node: &Collected, demand: Demand<'_>) -> Lowering<Lowered> {
    if let Some(clause) = demand.clause.filter(|clause| clause.emit.is_some()) {
        let error = StatementError::new(Code::EmitMode, "a COLLECT window speaks when it closes");
        return Err(at_clause(error, Some(clause)).hint("Leave EMIT out.").into());
    }
    let input = lowerer.node(&node.input, Demand::below(asks_final(demand.clause)))?;
    if input.mode() == ChangelogMode::Changelog {
        let error = StatementError::new(Code::EmitMode, "COLLECT needs an append-only input");
        let error = error.at(node.marker.place.clone());
        return Err(error.hint("Add EMIT FINAL or EMIT RUNNING to the inner query.").into());
    }
    let keys = lowerer.compile_all(&node.keys, node.input.schema())?;
    let aggregates = lowerer.calls(&node.aggregates, keys.len(), node.input.schema(), &node.schema)?;
    let Marker { max_rows, timeout, max_wait, .. } = node.marker;
    let schema = lowerer.columns(&node.schema);
    let collect = input.map(|input| {
        Node::Collect(Collect { input: Box::new(input), keys, aggregates, max_rows, timeout, max_wait, schema })
    });
    Ok(Lowered { at_end: false, ..collect })
}

impl Collected {
    fn new(node: &logical::Aggregate, marker: usize) -> PlanResult<Collected> {
        let reads = |at: &usize| match at.checked_sub(node.group_expr.len()) {
            None => *at != marker,
            Some(call) => !is_close_reason(&node.aggr_expr[call]),
        };
        let columns: Vec<usize> = (0..node.schema.fields().len()).filter(reads).collect();
        let mut fields: Vec<_> = columns.iter().map(|at| node.schema.qualified_field(*at)).collect();
        let mut keys = node.group_expr.clone();
        let reason = Arc::new(Field::new(format!("{CLOSE_REASON}()"), DataType::Utf8, true));
        fields.push((None, &reason));
        let fields = fields.into_iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        Ok(Collected {
            input: node.input.as_ref().clone(),
            marker: Marker::read(&keys.remove(marker))?,
            keys,
            aggregates: node.aggr_expr.iter().filter(|call| !is_close_reason(call)).cloned().collect(),
            schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?),
        })
    }

    fn text(&self) -> String {
        format!("{:?} {:?} {:?}", self.marker, self.keys, self.aggregates)
    }
}

impl Marker {
    fn read(key: &Expr) -> PlanResult<Marker> {
        let unknown = || smuggle(InternalError::new("the marker of a COLLECT is not in its form"));
        let call = marker_call(key).ok_or_else(unknown)?;
        let numbers = call.args.iter().map(number).collect::<Option<Vec<_>>>().ok_or_else(unknown)?;
        let [max_rows, timeout, max_wait, start, end] = numbers[..] else { return Err(unknown()) };
        let text = collect_text(&call.func).ok_or_else(unknown)?;
        let byte = |at: Option<i64>| at.and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
        Ok(Marker {
            max_rows: max_rows.and_then(|rows| u64::try_from(rows).ok()),
            timeout: timeout.map(Interval::from_nanos),
            max_wait: max_wait.map(Interval::from_nanos),
            place: Place::new(text.clone(), byte(start)..byte(end)),
        })
    }
}

/// An argument of the marker; none for -1.
fn number(argument: &Expr) -> Option<Option<i64>> {
    let Expr::Literal(value, _) = unaliased(argument) else { return None };
    let number: i64 = value.try_as_str()??.parse().ok()?;
    Some(Some(number).filter(|number| *number >= 0))
}

fn marker_call(key: &Expr) -> Option<&ScalarFunction> {
    match unaliased(key) {
        Expr::ScalarFunction(call) if call.func.name() == COLLECT_MARKER => Some(call),
        _ => None,
    }
}

fn is_close_reason(call: &Expr) -> bool {
    matches!(unaliased(call), Expr::AggregateFunction(call) if call.func.name() == CLOSE_REASON)
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

by_text!(Collected);

impl UserDefinedLogicalNodeCore for Collected {
    fn name(&self) -> &str {
        "Collected"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.iter().chain(&self.aggregates).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collected: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, mut keys: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else { return plan_err!("a COLLECT has one input") };
        let aggregates = keys.split_off(self.keys.len().min(keys.len()));
        Ok(Collected { input, keys, aggregates, marker: self.marker.clone(), schema: self.schema.clone() })
    }
}
