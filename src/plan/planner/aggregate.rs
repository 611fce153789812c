//! `GROUP BY` and `DISTINCT`: which emit mode holds, and what the aggregates are.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, DFSchemaRef, Result as PlanResult};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::GroupingSet as LogicalSets;
use datafusion_expr::logical_plan::{self as logical, LogicalPlan};
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::utils::{enumerate_grouping_sets, grouping_set_to_exprlist};
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_physical_expr::aggregate::LoweredAggregateBuilder;

use super::lower::{Demand, Lowered, Lowerer, Lowering, at_clause, never_ends, placed};
use super::windows;
use crate::error::{Code, StatementError};
use crate::expr::{self, AggregateCall};
use crate::operators::aggregate::check_call;
use crate::plan::node::{Aggregate, AggregateEmit, Bounded, ChangelogMode, Expand, GroupingSet, Node, Project};
use crate::sql::{Clause, EmitMode};

/// Lowers a `GROUP BY`.
pub(super) fn lower(lowerer: &Lowerer<'_>, node: &logical::Aggregate, demand: Demand<'_>) -> Lowering<Lowered> {
    let asked = windows::asked_emit(demand.clause)?;
    let input = match windows::over_bounds(lowerer, node, input_of(lowerer, &node.input, asked, demand)?, demand)? {
        Ok(windowed) => return Ok(windowed),
        Err(input) => input,
    };
    let (input, parts) = match node.group_expr.first() {
        Some(Expr::GroupingSet(_)) => {
            let (input, parts) = expand(lowerer, input, node)?;
            let group = (parts.keys.clone(), parts.aggregates.clone());
            match windows::sets_over_bounds(lowerer, node, group, input, demand)? {
                Ok(windowed) => return Ok(windowed),
                Err(input) => (input, parts),
            }
        }
        _ => (input, Parts::plain(lowerer, node)?),
    };
    let emit = emit_of(&input, demand)?;
    if parts.expanded && emit == AggregateEmit::Running {
        return Err(several_for_a_row(demand).into());
    }
    check_calls(lowerer, node, &parts.aggregates, &input)?;
    Ok(aggregated(input, parts, emit, lowerer.columns(&node.schema)))
}

/// That grouping sets cannot be asked for a row for each row.
pub(super) fn several_for_a_row(demand: Demand<'_>) -> StatementError {
    let message = "EMIT RUNNING gives one row for each row, and grouping sets give several";
    at_clause(StatementError::new(Code::EmitMode, message), demand.clause).hint("Use EMIT CHANGES or EMIT FINAL.")
}

/// Lowers `SELECT DISTINCT`: groups without aggregates.
pub(super) fn lower_distinct(lowerer: &Lowerer<'_>, plan: &LogicalPlan, demand: Demand<'_>) -> Lowering<Lowered> {
    let input = input_of(lowerer, plan, windows::asked_emit(demand.clause)?, demand)?;
    let schema = lowerer.columns(plan.schema());
    let keys: Vec<expr::Expr> = (0..schema.fields().len()).map(|index| super::lower::column(&schema, index)).collect();
    let input = match windows::distinct_over_bounds(lowerer, (&keys, &schema), input, demand)? {
        Ok(windowed) => return Ok(windowed),
        Err(input) => input,
    };
    let emit = emit_of(&input, demand)?;
    let parts = Parts { keys, aggregates: vec![], expanded: false, totals: no_rows() };
    Ok(aggregated(input, parts, emit, schema))
}

fn aggregated(input: Lowered, parts: Parts, emit: AggregateEmit, schema: SchemaRef) -> Lowered {
    let Parts { keys, aggregates, totals, .. } = parts;
    let (input_mode, bounded) = (input.mode(), input.bounded);
    let node = Aggregate { input: Box::new(input.node), keys, aggregates, emit, input_mode, totals, ttl: None, schema };
    Lowered { node: Node::Aggregate(node), bounded, at_end: emit == AggregateEmit::Final }
}

/// The input of an aggregate that is asked to speak so.
fn input_of(
    lowerer: &Lowerer<'_>,
    plan: &LogicalPlan,
    asked: Option<AggregateEmit>,
    demand: Demand<'_>,
) -> Lowering<Lowered> {
    let only_final = asked == Some(AggregateEmit::Final) || (asked.is_none() && demand.only_final);
    lowerer.node(plan, Demand::below(only_final))
}

/// When an aggregate without a window speaks: what the clause says or, without one, `FINAL` over what ends and
/// `CHANGES` over what does not.
fn emit_of(input: &Lowered, demand: Demand<'_>) -> Lowering<AggregateEmit> {
    let emit = match asked_emit(demand.clause)? {
        Some(emit) => emit,
        None if demand.only_final || input.bounded == Bounded::Yes => AggregateEmit::Final,
        None => AggregateEmit::Changes,
    };
    if emit == AggregateEmit::Final && input.bounded == Bounded::Never {
        return Err(at_clause(never_ends(&input.node), demand.clause).into());
    }
    if emit == AggregateEmit::Running && input.mode() == ChangelogMode::Changelog {
        let error = StatementError::new(Code::EmitMode, "EMIT RUNNING needs an append-only input");
        let error = at_clause(error, demand.clause);
        return Err(error.hint("Use EMIT CHANGES, or add EMIT FINAL to the inner query.").into());
    }
    Ok(emit)
}

pub(super) fn asked_emit(clause: Option<&Clause>) -> Lowering<Option<AggregateEmit>> {
    let Some(Clause { emit: Some(emit), .. }) = clause else { return Ok(None) };
    let refuse = |message: &str, hint: &str| {
        let error = at_clause(StatementError::new(Code::EmitMode, message), clause);
        Err(error.hint(hint).into())
    };
    match emit {
        EmitMode::Final => Ok(Some(AggregateEmit::Final)),
        EmitMode::Running => Ok(Some(AggregateEmit::Running)),
        EmitMode::Changes => Ok(Some(AggregateEmit::Changes)),
        EmitMode::Every(interval) => Ok(Some(AggregateEmit::Every(*interval))),
        EmitMode::Complete => refuse("EMIT COMPLETE belongs to a join", "Use EMIT FINAL, RUNNING or CHANGES."),
        EmitMode::OnWindowClose => refuse("there is no window here that could close", "Use EMIT FINAL."),
        EmitMode::EveryAndFinal(_) => {
            refuse("EMIT EVERY … AND FINAL needs a window", "Use EMIT EVERY alone: it also speaks at the end.")
        }
    }
}

/// Whether every call can be computed; over rows that are updated or deleted it must find what it has seen again.
fn check_calls(
    lowerer: &Lowerer<'_>,
    node: &logical::Aggregate,
    aggregates: &[AggregateCall],
    input: &Lowered,
) -> Lowering<()> {
    for (call, logical) in aggregates.iter().zip(&node.aggr_expr) {
        let place = || lowerer.places.call(&call.function, [logical]);
        check_call(call, input.mode()).map_err(|error| placed(error, place))?;
    }
    Ok(())
}

/// Keys and aggregates, compiled against the input.
struct Parts {
    keys: Vec<expr::Expr>,
    aggregates: Vec<AggregateCall>,
    expanded: bool,
    /// The keys of groups that are there even without a row.
    totals: RecordBatch,
}

fn no_rows() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(Schema::empty()))
}

impl Parts {
    fn plain(lowerer: &Lowerer<'_>, node: &logical::Aggregate) -> Lowering<Parts> {
        let schema = node.input.schema();
        let keys = lowerer.compile_all(&node.group_expr, schema)?;
        let first = node.group_expr.len();
        let aggregates = lowerer.calls(&node.aggr_expr, first, schema, &node.schema)?;
        let rows = usize::from(keys.is_empty());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let totals = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
        Ok(Parts { keys, aggregates, expanded: false, totals })
    }
}

impl Lowerer<'_> {
    /// The aggregate calls; the result of the first is column `first` of `output`.
    pub fn calls(
        &self,
        exprs: &[Expr],
        first: usize,
        input: &DFSchema,
        output: &DFSchemaRef,
    ) -> Lowering<Vec<AggregateCall>> {
        let mut calls = Vec::with_capacity(exprs.len());
        for (nth, expr) in exprs.iter().enumerate() {
            calls.push(self.call(expr, input, output.field(first + nth))?);
        }
        Ok(calls)
    }

    pub fn call(&self, expr: &Expr, input: &DFSchema, output: &Field) -> Lowering<AggregateCall> {
        let Expr::AggregateFunction(function) = unaliased(expr) else { return Err(self.unsupported("this aggregate")) };
        let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let lowered = LoweredAggregateBuilder::new(expr, input, input.as_arrow(), &props, &planning).build()?;
        let params = &function.params;
        let arguments = self.compile_all(&params.args, input)?;
        let filter = params.filter.as_ref().map(|filter| self.compile(filter, input)).transpose()?;
        let order_by = self.sort_keys(&params.order_by, input)?;
        let output = Field::new(self.names.name(output.name()), output.data_type().clone(), true);
        let text = self.names.text(expr);
        Ok(AggregateCall::new(lowered.aggregate, arguments, filter, order_by, Arc::new(output), text))
    }
}

pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Puts an [`Expand`] below an aggregate with grouping sets.
fn expand(lowerer: &Lowerer<'_>, input: Lowered, node: &logical::Aggregate) -> Lowering<(Lowered, Parts)> {
    let schema = node.input.schema();
    let keys: Vec<Expr> = grouping_set_to_exprlist(&node.group_expr)?.into_iter().cloned().collect();
    let wide = widened(&keys, schema)?;
    let mut exprs = lowerer.compile_all(&keys, schema)?;
    let mut fields: Vec<Field> =
        exprs.iter().map(|key| key.field().as_ref().clone().with_name(key.to_string())).collect();
    let below = lowerer.columns(schema);
    fields.extend(below.fields().iter().map(|field| field.as_ref().clone()));
    exprs.extend((0..below.fields().len()).map(|index| super::lower::column(&below, index)));
    let projected: SchemaRef = Arc::new(Schema::new(fields.clone()));
    let id = node.schema.field(keys.len());
    fields.push(Field::new(lowerer.names.name(id.name()), id.data_type().clone(), true));
    let expanded: SchemaRef = Arc::new(Schema::new(fields));
    let sets = sets_of(lowerer, node, &keys)?;
    let totals = grand_totals(&sets, &projected, id)?;
    let count = keys.len();
    let input = input.map(|input| {
        let input = Box::new(Node::Project(Project { input: Box::new(input), exprs, schema: projected }));
        Node::Expand(Expand { input, keys: count, sets, schema: expanded.clone() })
    });
    let id = expanded.fields().len() - 1;
    let keys = (0..count).chain([id]).map(|index| super::lower::column(&expanded, index)).collect();
    let aggregates = lowerer.calls(&node.aggr_expr, count + 1, &wide, &node.schema)?;
    Ok((input, Parts { keys, aggregates, expanded: true, totals }))
}

/// The keys of the sets that hold none: their only group is there even without a row.
fn grand_totals(sets: &[GroupingSet], keys: &Schema, id: &Field) -> Lowering<RecordBatch> {
    let width = sets.first().map_or(0, |set| set.holds.len());
    let ids: UInt64Array = sets.iter().filter(|set| !set.holds.contains(&true)).map(|set| Some(set.id)).collect();
    let mut fields: Vec<Arc<Field>> = keys.fields().iter().take(width).cloned().collect();
    let mut columns: Vec<ArrayRef> = fields.iter().map(|key| new_null_array(key.data_type(), ids.len())).collect();
    fields.push(Arc::new(Field::new(id.name(), id.data_type().clone(), true)));
    columns.push(arrow::compute::cast(&ids, id.data_type())?);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The columns below the aggregate: the keys under names of our own, then the input's.
fn widened(keys: &[Expr], input: &DFSchema) -> PlanResult<DFSchemaRef> {
    let mut fields = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let field = Field::new(format!("__key_{index}"), key.get_type(input)?, true);
        fields.push((None, Arc::new(field)));
    }
    fields.extend(input.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())));
    Ok(Arc::new(DFSchema::new_with_metadata(fields, Default::default())?))
}

/// Which keys each set holds, and its id: a bit is set for a key that is not in the set, the last key lowest;
/// sets that are written twice are told apart above those bits.
fn sets_of(lowerer: &Lowerer<'_>, node: &logical::Aggregate, keys: &[Expr]) -> Lowering<Vec<GroupingSet>> {
    let enumerated = enumerate_grouping_sets(node.group_expr.clone())?;
    let written: Vec<Vec<Expr>> = match enumerated.first() {
        Some(Expr::GroupingSet(LogicalSets::GroupingSets(sets))) => sets.clone(),
        Some(Expr::GroupingSet(LogicalSets::Rollup(keys))) => {
            (0..=keys.len()).rev().map(|n| keys[..n].to_vec()).collect()
        }
        Some(Expr::GroupingSet(LogicalSets::Cube(keys))) => subsets(keys),
        _ => return Err(lowerer.unsupported("this GROUP BY")),
    };
    let mut sets: Vec<GroupingSet> = Vec::with_capacity(written.len());
    for set in written {
        let holds: Vec<bool> = keys.iter().map(|key| set.contains(key)).collect();
        let bits = holds.iter().fold(0u64, |bits, holds| (bits << 1) | u64::from(!holds));
        let before = sets.iter().filter(|other| other.holds == holds).count() as u64;
        sets.push(GroupingSet { holds, id: bits | (before << keys.len()) });
    }
    Ok(sets)
}

fn subsets(keys: &[Expr]) -> Vec<Vec<Expr>> {
    let count = keys.len();
    (0..1usize << count.min(16))
        .rev()
        .map(|mask| (0..count).filter(|at| mask & (1 << (count - 1 - at)) != 0).map(|at| keys[at].clone()).collect())
        .collect()
}
