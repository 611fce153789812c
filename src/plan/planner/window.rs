//! The functions of an `OVER`: from DataFusion's expressions to [`WindowCall`]s.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DFSchema, DataFusionError, Result as PlanResult, ScalarValue, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::{
    AggregateFunction, NullTreatment, WindowFunction as LogicalCall, WindowFunctionDefinition, WindowFunctionParams,
};
use datafusion_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{
    AggregateUDF, Expr, LimitEffect, PartitionEvaluator, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowUDF,
    lit,
};
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::cast;
use datafusion_physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, StandardWindowFunctionExpr, WindowExpr,
};
use datafusion_physical_expr::{PhysicalExpr, create_physical_sort_exprs};

use super::lower::{Lowerer, Lowering, physical};
use crate::error::{Code, StatementError};
use crate::expr::{RunningCall, Slide, WindowCall, WindowFunction};
use crate::operators::aggregate::check_call;
use crate::plan::node::ChangelogMode;

/// Which function of those that only count a call calls.
pub(super) fn function_of(call: &LogicalCall) -> WindowFunction {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => match function.name() {
            "row_number" => WindowFunction::RowNumber,
            "rank" => WindowFunction::Rank,
            "dense_rank" => WindowFunction::DenseRank,
            _ => WindowFunction::Other,
        },
        WindowFunctionDefinition::AggregateUDF(_) => WindowFunction::Other,
    }
}

/// Whether a frame is the whole partition.
fn is_whole(frame: &WindowFrame) -> bool {
    frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded()
}

/// The frame from the partition's first row to the current one.
pub(super) fn so_far() -> WindowFrame {
    let first = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
    WindowFrame::new_bounds(WindowFrameUnits::Rows, first, WindowFrameBound::CurrentRow)
}

/// As it is after the row, the whole partition is the rows so far.
pub(super) fn as_of_now(call: &LogicalCall) -> LogicalCall {
    let mut call = call.clone();
    if is_whole(&call.params.window_frame) {
        call.params.window_frame = so_far();
    }
    call
}

impl Lowerer<'_> {
    /// A call over the columns of `input`; `output` is its column of the result.
    pub fn window_call(&self, call: &LogicalCall, input: &DFSchema, output: &Field) -> Lowering<WindowCall> {
        let expr = Expr::from(call.clone());
        let name = output.name();
        let lowered = lower(call, input, name)?;
        // What a function does not take it only says when it is to compute.
        if let Err(error) = lowered.create_window_fn() {
            let (name, place) = (call.fun.name(), self.places.call(call.fun.name(), &call.params.args));
            let error = match error.find_root() {
                DataFusionError::NotImplemented(_) => {
                    let message = format!("{name} cannot take a row back that leaves its frame");
                    StatementError::new(Code::Unsupported, message).hint("Begin the frame with UNBOUNDED PRECEDING.")
                }
                _ => StatementError::new(Code::Type, crate::expr::value_error(error).to_string()),
            };
            return Err(error.at(place).into());
        }
        let output = Field::new(self.names.name(name), output.data_type().clone(), true);
        let running = self.running(call, input, &output)?;
        Ok(WindowCall::new(lowered, function_of(call), running, Arc::new(output), self.names.text(&expr)))
    }

    /// How a call is computed where rows are said as they come, which they may be in no other order.
    fn running(&self, call: &LogicalCall, input: &DFSchema, output: &Field) -> Lowering<Option<RunningCall>> {
        let WindowFunctionParams { args, filter, null_treatment, distinct, window_frame: frame, .. } = &call.params;
        let total = |function: Arc<AggregateUDF>, args: Vec<Expr>| -> Lowering<Option<RunningCall>> {
            let filter = filter.clone();
            let total = AggregateFunction::new_udf(function, args, *distinct, filter, vec![], *null_treatment);
            let total = self.call(&Expr::AggregateFunction(total), input, output)?;
            Ok(check_call(&total, ChangelogMode::AppendOnly).is_ok().then(|| RunningCall::Total(Box::new(total))))
        };
        let built_in = |name: &str| self.places.catalog.aggregates.get(name).cloned();
        let ends_here = frame.end_bound == WindowFrameBound::CurrentRow && frame.units == WindowFrameUnits::Rows;
        let from_first = frame.start_bound.is_unbounded();
        match (&call.fun, call.fun.name()) {
            (WindowFunctionDefinition::AggregateUDF(function), _) if from_first && ends_here => {
                total(function.clone(), args.clone())
            }
            (WindowFunctionDefinition::AggregateUDF(function), _) => {
                let slide = slide(function, output.data_type());
                Ok(rows_back(frame).map(|rows| RunningCall::Recent(rows, slide)))
            }
            (WindowFunctionDefinition::WindowUDF(_), "rank" | "dense_rank") => {
                Ok(Some(RunningCall::Recent(0, Slide::Exact)))
            }
            (WindowFunctionDefinition::WindowUDF(_), "lag") => {
                Ok(lag_of(args).map(|rows| RunningCall::Recent(rows, Slide::Exact)))
            }
            (WindowFunctionDefinition::WindowUDF(_), "row_number") => match built_in("count") {
                Some(count) => total(count, vec![lit(1i64)]),
                None => Ok(None),
            },
            (WindowFunctionDefinition::WindowUDF(_), name @ ("first_value" | "last_value" | "nth_value")) => {
                match built_in(name) {
                    Some(first) if name == "first_value" && from_first && ends_here => total(first, args.clone()),
                    Some(_) | None => Ok(rows_back(frame).map(|rows| RunningCall::Recent(rows, Slide::Exact))),
                }
            }
            // The rest looks at how many rows there are in all, or at rows that come later.
            (WindowFunctionDefinition::WindowUDF(_), _) => Ok(None),
        }
    }
}

/// How many rows before the current one a frame reaches back, if it does not reach ahead.
fn rows_back(frame: &WindowFrame) -> Option<usize> {
    let behind = match &frame.end_bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(rows) => !rows.is_null(),
        WindowFrameBound::Following(_) => false,
    };
    match &frame.start_bound {
        _ if !behind || frame.units != WindowFrameUnits::Rows => None,
        WindowFrameBound::Preceding(rows) if rows.is_null() => Some(usize::MAX),
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows))) => usize::try_from(*rows).ok(),
        WindowFrameBound::CurrentRow => Some(0),
        WindowFrameBound::Preceding(_) | WindowFrameBound::Following(_) => None,
    }
}

/// How many rows before the current one `lag` looks at.
fn lag_of(args: &[Expr]) -> Option<usize> {
    match args.get(1) {
        None => Some(1),
        Some(Expr::Literal(value, _)) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(rows)) => rows.map_or(Some(1), |rows| usize::try_from(rows).ok()),
            Ok(_) | Err(_) => None,
        },
        Some(_) => None,
    }
}

/// Whether what a frame gives depends on where the frames before it began.
fn slide(function: &AggregateUDF, output: &DataType) -> Slide {
    match function.name() {
        "count" | "min" | "max" => Slide::Exact,
        "sum" if !output.is_floating() => Slide::Exact,
        _ => Slide::Rounded,
    }
}

/// A call as DataFusion computes it over the rows of a partition in order.
fn lower(call: &LogicalCall, input: &DFSchema, name: &str) -> PlanResult<Arc<dyn WindowExpr>> {
    let WindowFunctionParams { args, partition_by, order_by, window_frame, filter, null_treatment, distinct } =
        &call.params;
    let physicals = |exprs: &[Expr]| exprs.iter().map(|expr| physical(expr, input)).collect::<PlanResult<Vec<_>>>();
    let (args, partition_by) = (physicals(args)?, physicals(partition_by)?);
    let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let order_by = create_physical_sort_exprs(order_by, input, &props, &planning)?;
    if !is_valid(window_frame) {
        return plan_err!("the frame of this OVER begins behind its end");
    }
    let frame = Arc::new(window_frame.clone());
    let ignore_nulls = *null_treatment == Some(NullTreatment::IgnoreNulls);
    let filter = filter.as_ref().map(|filter| physical(filter, input)).transpose()?;
    match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => {
            let args = if *distinct { args } else { wide(function, args, input)? };
            let aggregate = AggregateExprBuilder::new(function.clone(), args).schema(Arc::clone(input.inner()));
            let aggregate = aggregate.alias(name).with_ignore_nulls(ignore_nulls).with_distinct(*distinct).build()?;
            let aggregate = Arc::new(aggregate);
            Ok(match frame.is_ever_expanding() {
                true => Arc::new(PlainAggregateWindowExpr::new(aggregate, &partition_by, &order_by, frame, filter)),
                false => Arc::new(SlidingAggregateWindowExpr::new(aggregate, &partition_by, &order_by, frame, filter)),
            })
        }
        WindowFunctionDefinition::WindowUDF(function) => {
            let fields = args.iter().map(|arg| arg.return_field(input.inner())).collect::<PlanResult<_>>()?;
            let function = Function { function: function.clone(), args, fields, name: name.into(), ignore_nulls };
            Ok(Arc::new(StandardWindowExpr::new(Arc::new(function), &partition_by, &order_by, frame)))
        }
    }
}

/// The arguments of a `sum` of whole numbers as numbers that cannot leave the range of theirs: DataFusion's sums of
/// the others begin anew from the other end.
fn wide(
    function: &AggregateUDF,
    args: Vec<Arc<dyn PhysicalExpr>>,
    input: &DFSchema,
) -> PlanResult<Vec<Arc<dyn PhysicalExpr>>> {
    let widened = |arg: Arc<dyn PhysicalExpr>| match arg.data_type(input.inner())? {
        whole if whole.is_integer() => cast(arg, input.inner(), DataType::Decimal128(20, 0)),
        _ => Ok(arg),
    };
    if function.name() == "sum" { args.into_iter().map(widened).collect() } else { Ok(args) }
}

fn is_valid(frame: &WindowFrame) -> bool {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    match (&frame.start_bound, &frame.end_bound) {
        (Following(_), Preceding(_) | CurrentRow) | (CurrentRow, Preceding(_)) => false,
        (Preceding(start), Preceding(end)) => !end.is_null() && (start.is_null() || start >= end),
        (Following(start), Following(end)) => !start.is_null() && (end.is_null() || start <= end),
        (Preceding(_), CurrentRow | Following(_)) | (CurrentRow, CurrentRow | Following(_)) => true,
    }
}

/// A window function with its arguments: DataFusion's own form of it is part of its physical planner.
#[derive(Debug)]
struct Function {
    function: Arc<WindowUDF>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<FieldRef>,
    name: String,
    ignore_nulls: bool,
}

impl StandardWindowFunctionExpr for Function {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn field(&self) -> PlanResult<FieldRef> {
        self.function.field(WindowUDFFieldArgs::new(&self.fields, &self.name))
    }

    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.function.expressions(ExpressionArgs::new(&self.args, &self.fields))
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn create_evaluator(&self) -> PlanResult<Box<dyn PartitionEvaluator>> {
        let args = PartitionEvaluatorArgs::new(&self.args, &self.fields, false, self.ignore_nulls);
        self.function.partition_evaluator_factory(args)
    }

    fn limit_effect(&self) -> LimitEffect {
        self.function.inner().limit_effect(&self.args)
    }
}
