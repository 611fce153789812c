//! Which functions exist: DataFusion's, the JSON functions, and the few that are ours.
//!
//! `now()` and its kin are ours because DataFusion only ever folds its own to the time of planning,
//! and a continuous query outlives that. `close_reason()` and the `COLLECT` key are markers: they are
//! planned like any function and taken out again when the plan becomes a [`crate::plan::Node`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result as PlanResult, ScalarValue, internal_err, not_impl_err};
use datafusion_expr::expr_rewriter::FunctionRewrite;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::planner::ExprPlanner;
use datafusion_expr::registry::FunctionRegistry;
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, HigherOrderUDF, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, WindowUDF,
};

use crate::catalog::Catalog;

use super::windows::Kind;

/// The marker that stands for `COLLECT(…)` among the keys of an aggregate.
pub(super) const COLLECT_MARKER: &str = "__collect";
/// The function that gives what it is given: it keeps expressions apart that DataFusion gives the same name.
pub(super) const SAME: &str = "__same";
/// The marker aggregate that gives why a `COLLECT` window closed.
pub(super) const CLOSE_REASON: &str = "close_reason";

/// The functions by name.
type ByName<F> = HashMap<String, Arc<F>>;

/// DataFusion's and the JSON functions. They are gathered once, because there are hundreds of them.
static BUILT_IN: LazyLock<(ByName<ScalarUDF>, ByName<AggregateUDF>)> = LazyLock::new(|| {
    let mut scalars = datafusion_functions::all_default_functions();
    scalars.extend(datafusion_functions_nested::all_default_nested_functions());
    scalars.extend(json().functions.clone());
    let scalars = scalars.into_iter().flat_map(|function| {
        let names: Vec<String> = function.aliases().iter().cloned().chain([function.name().to_string()]).collect();
        names.into_iter().map(move |name| (name, function.clone()))
    });
    let aggregates =
        datafusion_functions_aggregate::all_default_aggregate_functions().into_iter().flat_map(|function| {
            let names: Vec<String> = function.aliases().iter().cloned().chain([function.name().to_string()]).collect();
            names.into_iter().map(move |name| (name, function.clone()))
        });
    (scalars.collect(), aggregates.collect())
});

/// Puts every built-in function into `catalog`.
pub(super) fn register_builtin(catalog: &mut Catalog) {
    catalog.scalars.extend(BUILT_IN.0.iter().map(|(name, function)| (name.clone(), function.clone())));
    catalog.aggregates.extend(BUILT_IN.1.iter().map(|(name, function)| (name.clone(), function.clone())));
    for (names, kind) in [
        (["now", "current_timestamp", "proctime"].as_slice(), TimeFunction::Now),
        (["current_date", "today"].as_slice(), TimeFunction::Date),
        (["current_time"].as_slice(), TimeFunction::Time),
    ] {
        for name in names {
            let function = EngineTime::new(name, kind, catalog.now.clone());
            catalog.scalars.insert((*name).to_string(), Arc::new(ScalarUDF::new_from_impl(function)));
        }
    }
}

/// What plans the operators and literals that are functions underneath.
pub(super) fn expression_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = json().planners.clone();
    planners.push(Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()));
    planners.push(Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner));
    planners.push(Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner));
    planners.push(Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner));
    planners.push(Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner));
    planners.push(Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner));
    planners.push(Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner));
    planners
}

/// The rewrites that the JSON functions ask of the analyzer.
pub(super) fn function_rewrites() -> Vec<Arc<dyn FunctionRewrite + Send + Sync>> {
    json().rewrites.clone()
}

/// The marker key for a `COLLECT` in `text`.
pub(super) fn collect_marker(text: &Arc<str>) -> Arc<ScalarUDF> {
    let signature = Signature::any(5, Volatility::Volatile);
    Arc::new(ScalarUDF::new_from_impl(CollectMarker { signature, text: text.clone() }))
}

/// The text in which a marker key was written.
pub(super) fn collect_text(marker: &ScalarUDF) -> Option<&Arc<str>> {
    marker.inner().downcast_ref::<CollectMarker>().map(|marker| &marker.text)
}

/// The function that gives its first argument, whatever its second.
pub(super) fn same() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Same { signature: Signature::any(2, Volatility::Immutable) }))
}

/// The marker aggregate `close_reason()`.
pub(super) fn close_reason() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(CloseReason { signature: Signature::nullary(Volatility::Volatile) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CollectMarker {
    signature: Signature,
    text: Arc<str>,
}

impl ScalarUDFImpl for CollectMarker {
    fn name(&self) -> &str {
        COLLECT_MARKER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        internal_err!("COLLECT is evaluated by its own operator")
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Same {
    signature: Signature,
}

impl ScalarUDFImpl for Same {
    fn name(&self) -> &str {
        SAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> PlanResult<DataType> {
        match arguments.first() {
            Some(first) => Ok(first.clone()),
            None => internal_err!("nothing was given to be the same"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        match arguments.args.into_iter().next() {
            Some(first) => Ok(first),
            None => internal_err!("nothing was given to be the same"),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CloseReason {
    signature: Signature,
}

impl AggregateUDFImpl for CloseReason {
    fn name(&self) -> &str {
        CLOSE_REASON
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> PlanResult<Box<dyn Accumulator>> {
        not_impl_err!("close_reason() outside COLLECT")
    }

    fn state_fields(&self, _: StateFieldsArgs) -> PlanResult<Vec<arrow::datatypes::FieldRef>> {
        Ok(vec![])
    }
}

/// What a time function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum TimeFunction {
    Now,
    Date,
    Time,
}

/// `now()` and its kin: the engine's clock as the driver has set it before the batch at hand.
#[derive(Debug)]
struct EngineTime {
    name: &'static str,
    kind: TimeFunction,
    now: Arc<AtomicI64>,
    signature: Signature,
}

impl EngineTime {
    fn new(name: &'static str, kind: TimeFunction, now: Arc<AtomicI64>) -> Self {
        // Volatile, or the planner would fold it to a constant.
        EngineTime { name, kind, now, signature: Signature::nullary(Volatility::Volatile) }
    }
}

/// Whether an expression is the engine's clock, which goes on with each batch.
pub(super) fn is_now(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => {
            let time = call.func.inner().downcast_ref::<EngineTime>();
            time.is_some_and(|time| time.kind == TimeFunction::Now)
        }
        _ => false,
    }
}

impl PartialEq for EngineTime {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for EngineTime {}

impl std::hash::Hash for EngineTime {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for EngineTime {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(match self.kind {
            TimeFunction::Now => DataType::Timestamp(TimeUnit::Nanosecond, None),
            TimeFunction::Date => DataType::Date32,
            TimeFunction::Time => DataType::Time64(TimeUnit::Nanosecond),
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        const NANOS_A_DAY: i64 = 86_400_000_000_000;
        let now = self.now.load(Ordering::Relaxed);
        let day = i32::try_from(now.div_euclid(NANOS_A_DAY)).ok();
        Ok(ColumnarValue::Scalar(match self.kind {
            TimeFunction::Now => ScalarValue::TimestampNanosecond(Some(now), None),
            TimeFunction::Date => ScalarValue::Date32(day),
            TimeFunction::Time => ScalarValue::Time64Nanosecond(Some(now.rem_euclid(NANOS_A_DAY))),
        }))
    }
}

/// What the JSON crate brings; nothing without the feature `json`. It only registers into a registry, so this is one.
#[derive(Default)]
struct Brought {
    functions: Vec<Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    rewrites: Vec<Arc<dyn FunctionRewrite + Send + Sync>>,
}

fn json() -> &'static Brought {
    static BROUGHT: LazyLock<Brought> = LazyLock::new(|| {
        let brought = Brought::default();
        #[cfg(feature = "json")]
        let brought = brought.with_json();
        brought
    });
    &BROUGHT
}

#[cfg(feature = "json")]
impl Brought {
    fn with_json(mut self) -> Brought {
        // It cannot fail: everything is taken.
        let _ = datafusion_functions_json::register_all(&mut self);
        self
    }
}

impl FunctionRegistry for Brought {
    fn udfs(&self) -> HashSet<String> {
        self.functions.iter().map(|function| function.name().to_string()).collect()
    }

    fn higher_order_function_names(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn udafs(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn udwfs(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn udf(&self, name: &str) -> PlanResult<Arc<ScalarUDF>> {
        match self.functions.iter().find(|function| function.name() == name) {
            Some(function) => Ok(function.clone()),
            None => not_impl_err!("{name}"),
        }
    }

    fn higher_order_function(&self, name: &str) -> PlanResult<Arc<HigherOrderUDF>> {
        not_impl_err!("{name}")
    }

    fn udaf(&self, name: &str) -> PlanResult<Arc<AggregateUDF>> {
        not_impl_err!("{name}")
    }

    fn udwf(&self, name: &str) -> PlanResult<Arc<WindowUDF>> {
        not_impl_err!("{name}")
    }

    fn register_udf(&mut self, function: Arc<ScalarUDF>) -> PlanResult<Option<Arc<ScalarUDF>>> {
        self.functions.push(function);
        Ok(None)
    }

    fn register_function_rewrite(&mut self, rewrite: Arc<dyn FunctionRewrite + Send + Sync>) -> PlanResult<()> {
        self.rewrites.push(rewrite);
        Ok(())
    }

    fn register_expr_planner(&mut self, planner: Arc<dyn ExprPlanner>) -> PlanResult<()> {
        self.planners.push(planner);
        Ok(())
    }

    fn expr_planners(&self) -> Vec<Arc<dyn ExprPlanner>> {
        self.planners.clone()
    }
}

/// The names of all functions and aggregates, sorted, without markers.
pub(super) fn names(catalog: &Catalog) -> Vec<String> {
    let mut names: BTreeSet<String> = catalog.scalars.keys().cloned().collect();
    names.extend(catalog.aggregates.keys().cloned());
    names.extend(catalog.logics.keys().cloned());
    names.extend(Kind::NAMES.map(String::from));
    names.into_iter().collect()
}
