//! What stands for windows while DataFusion plans: a grouping key that is a call of a marker function of the time, and
//! aggregates of it for the bounds of the window.
//!
//! ```text
//! SELECT k, window_end, count(*)                    SELECT k, __window_end(at), count(*)
//! FROM bids GROUP BY k, TUMBLE(at, …)               FROM bids GROUP BY k, __window_0(at)
//! ```

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result as PlanResult, internal_err, not_impl_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::call::{Asked, Length};

/// What the name of a marker begins with.
const PREFIX: &str = "__window_";
/// The aggregates that give the bounds of the window of a group.
pub(in crate::plan::planner) const BOUNDS: [&str; 3] = ["__window_start", "__window_end", "__window_time"];

/// What a marker among the grouping keys stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::plan::planner) enum Marker {
    /// A call of a window function; the marker's argument is the time.
    Window(Asked),
    /// `ALLOW LATENESS` where the windows are those of a relation.
    Lateness(Length),
}

/// The name of marker `index` of a query.
pub(super) fn name(index: usize) -> String {
    format!("{PREFIX}{index}")
}

/// Which marker has that name.
pub(super) fn index(name: &str) -> Option<usize> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// The marker function of that name, if it is one.
pub(in crate::plan::planner) fn function(name: &str, markers: &[Marker]) -> Option<Arc<ScalarUDF>> {
    let marker = markers.get(index(name)?)?.clone();
    let signature = match marker {
        Marker::Window(_) => Signature::any(1, Volatility::Volatile),
        Marker::Lateness(_) => Signature::nullary(Volatility::Volatile),
    };
    Some(Arc::new(ScalarUDF::new_from_impl(MarkerFunction { name: name.into(), signature, marker })))
}

/// What a function of DataFusion's stands for, if it is a marker.
pub(super) fn marker(function: &ScalarUDF) -> Option<&Marker> {
    function.inner().downcast_ref::<MarkerFunction>().map(|function| &function.marker)
}

/// The aggregate of that name, if it gives a bound of the window.
pub(in crate::plan::planner) fn bound(name: &str) -> Option<Arc<AggregateUDF>> {
    let name = BOUNDS.into_iter().find(|bound| *bound == name)?;
    let signature = Signature::any(1, Volatility::Immutable);
    Some(Arc::new(AggregateUDF::new_from_impl(Bound { name, signature })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MarkerFunction {
    name: String,
    signature: Signature,
    marker: Marker,
}

impl ScalarUDFImpl for MarkerFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        internal_err!("a window is made by its own operator")
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bound {
    name: &'static str,
    signature: Signature,
}

impl AggregateUDFImpl for Bound {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> PlanResult<DataType> {
        match arguments.first() {
            Some(time) => Ok(time.clone()),
            None => internal_err!("the bound of a window has a time"),
        }
    }

    /// A row without a time is in no window.
    fn is_nullable(&self) -> bool {
        false
    }

    fn accumulator(&self, _: AccumulatorArgs) -> PlanResult<Box<dyn Accumulator>> {
        not_impl_err!("the bound of a window outside of its aggregate")
    }

    fn state_fields(&self, _: StateFieldsArgs) -> PlanResult<Vec<arrow::datatypes::FieldRef>> {
        Ok(vec![])
    }
}
