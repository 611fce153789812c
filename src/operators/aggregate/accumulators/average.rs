//! `avg` of floating-point numbers and decimals.

use arrow::datatypes::{DataType, Decimal128Type, Float64Type};

use super::argument_type;
use super::floats::{Floats, Measure};
use super::fold::{Fold, Folded};
use crate::error::{Code, DataError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::GroupAccumulator;
use crate::plan::node::ChangelogMode;

pub fn create(call: &AggregateCall, mode: ChangelogMode) -> Option<Box<dyn GroupAccumulator>> {
    let output = call.output.data_type().clone();
    match (argument_type(call), &output, mode) {
        (DataType::Float64, DataType::Float64, ChangelogMode::AppendOnly) => Some(Folded::boxed(FloatAverage, output)),
        (DataType::Float64, DataType::Float64, ChangelogMode::Changelog) => {
            Some(Box::new(Floats::new(Measure::Average)))
        }
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to), _) => {
            let factor = 10_i128.checked_pow(u32::try_from(i32::from(*to) - i32::from(from)).ok()?)?;
            Some(Folded::boxed(DecimalAverage { factor }, output))
        }
        _ => None,
    }
}

/// The mean of floating-point numbers.
struct FloatAverage;

impl Fold for FloatAverage {
    type Number = Float64Type;

    #[inline]
    fn nothing(&self) -> f64 {
        0.0
    }

    #[inline]
    fn step(&self, state: &mut f64, value: f64, _: i64) -> Result<()> {
        *state += value;
        Ok(())
    }

    #[inline]
    fn value(&self, state: f64, count: i64) -> Result<f64> {
        Ok(state / count as f64)
    }
}

/// The mean of decimals, with more digits behind the point than they have.
struct DecimalAverage {
    /// What turns a sum into the scale of the result.
    factor: i128,
}

#[cold]
fn too_large() -> DataError {
    DataError::new(Code::Value, "an average of decimals is too large for its type")
}

impl Fold for DecimalAverage {
    type Number = Decimal128Type;

    const RETRACTS: bool = true;

    #[inline]
    fn nothing(&self) -> i128 {
        0
    }

    #[inline]
    fn step(&self, state: &mut i128, value: i128, weight: i64) -> Result<()> {
        let value = if weight > 0 { Some(value) } else { value.checked_neg() };
        *state = value.and_then(|value| state.checked_add(value)).ok_or_else(too_large)?;
        Ok(())
    }

    #[inline]
    fn value(&self, state: i128, count: i64) -> Result<i128> {
        let scaled = state.checked_mul(self.factor).ok_or_else(too_large)?;
        Ok(scaled / i128::from(count))
    }
}
