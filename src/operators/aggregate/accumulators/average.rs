//! `avg` of floating-point numbers, decimals and durations.

use std::marker::PhantomData;

use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float64Type, TimeUnit, i256,
};

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
        (DataType::Decimal256(_, from), DataType::Decimal256(_, to), _) => {
            let factor = i256::from_i128(10).checked_pow(u32::try_from(i32::from(*to) - i32::from(from)).ok()?)?;
            Some(Folded::boxed(WideAverage { factor }, output))
        }
        (DataType::Duration(from), DataType::Duration(to), _) if from == *to => match from {
            TimeUnit::Second => duration::<DurationSecondType>(output),
            TimeUnit::Millisecond => duration::<DurationMillisecondType>(output),
            TimeUnit::Microsecond => duration::<DurationMicrosecondType>(output),
            TimeUnit::Nanosecond => duration::<DurationNanosecondType>(output),
        },
        _ => None,
    }
}

fn duration<T: ArrowPrimitiveType<Native = i64>>(output: DataType) -> Option<Box<dyn GroupAccumulator>> {
    Some(Folded::boxed(DurationAverage::<T>(PhantomData), output))
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
    fn step(&self, state: &mut f64, value: f64, _: i64) -> bool {
        *state += value;
        true
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
    fn step(&self, state: &mut i128, value: i128, weight: i64) -> bool {
        let (sum, over) = if weight > 0 { state.overflowing_add(value) } else { state.overflowing_sub(value) };
        *state = sum;
        !over
    }

    fn too_large(&self) -> DataError {
        too_large()
    }

    #[inline]
    fn value(&self, state: i128, count: i64) -> Result<i128> {
        let scaled = state.checked_mul(self.factor).ok_or_else(too_large)?;
        Ok(scaled / i128::from(count))
    }
}

/// The mean of decimals of 256 bits.
struct WideAverage {
    factor: i256,
}

impl Fold for WideAverage {
    type Number = Decimal256Type;

    const RETRACTS: bool = true;

    fn nothing(&self) -> i256 {
        i256::ZERO
    }

    fn step(&self, state: &mut i256, value: i256, weight: i64) -> bool {
        let sum = if weight > 0 { state.checked_add(value) } else { state.checked_sub(value) };
        *state = sum.unwrap_or_default();
        sum.is_some()
    }

    fn too_large(&self) -> DataError {
        too_large()
    }

    fn value(&self, state: i256, count: i64) -> Result<i256> {
        let scaled = state.checked_mul(self.factor).ok_or_else(too_large)?;
        scaled.checked_div(i256::from_i128(i128::from(count))).ok_or_else(|| too_large().into())
    }
}

/// The mean of lengths of time, cut to their unit.
struct DurationAverage<T>(PhantomData<fn() -> T>);

impl<T: ArrowPrimitiveType<Native = i64>> Fold for DurationAverage<T> {
    type Number = T;

    const RETRACTS: bool = true;

    fn nothing(&self) -> i64 {
        0
    }

    fn step(&self, state: &mut i64, value: i64, weight: i64) -> bool {
        let (sum, over) = if weight > 0 { state.overflowing_add(value) } else { state.overflowing_sub(value) };
        *state = sum;
        !over
    }

    fn too_large(&self) -> DataError {
        DataError::new(Code::Value, "an average of durations is too large for its type")
    }

    fn value(&self, state: i64, count: i64) -> Result<i64> {
        Ok(state / count)
    }
}
