//! `sum` of whole numbers, decimals, lengths of time and floating-point numbers.

use std::marker::PhantomData;

use arrow::array::ArrowNativeTypeOp;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float64Type,
    Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
    UInt64Type,
};

use super::argument_type;
use super::floats::{Floats, Measure};
use super::fold::{Fold, Folded};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::GroupAccumulator;
use crate::plan::node::ChangelogMode;

pub fn create(call: &AggregateCall, mode: ChangelogMode) -> Option<Box<dyn GroupAccumulator>> {
    let output = call.output.data_type().clone();
    match (argument_type(call), &output, mode) {
        (DataType::Int64, DataType::Int64, _) => exact::<Int64Type>(output),
        (DataType::UInt64, DataType::UInt64, _) => exact::<UInt64Type>(output),
        (DataType::Float64, DataType::Float64, ChangelogMode::AppendOnly) => Some(Folded::boxed(FloatSum, output)),
        (DataType::Float64, DataType::Float64, ChangelogMode::Changelog) => Some(Box::new(Floats::new(Measure::Sum))),
        (DataType::Decimal32(_, from), DataType::Decimal32(_, to), _) if from == *to => exact::<Decimal32Type>(output),
        (DataType::Decimal64(_, from), DataType::Decimal64(_, to), _) if from == *to => exact::<Decimal64Type>(output),
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to), _) if from == *to => {
            exact::<Decimal128Type>(output)
        }
        (DataType::Decimal256(_, from), DataType::Decimal256(_, to), _) if from == *to => {
            exact::<Decimal256Type>(output)
        }
        (DataType::Duration(from), DataType::Duration(to), _) if from == *to => match from {
            TimeUnit::Second => exact::<DurationSecondType>(output),
            TimeUnit::Millisecond => exact::<DurationMillisecondType>(output),
            TimeUnit::Microsecond => exact::<DurationMicrosecondType>(output),
            TimeUnit::Nanosecond => exact::<DurationNanosecondType>(output),
        },
        (DataType::Interval(from), DataType::Interval(to), _) if from == *to => match from {
            IntervalUnit::YearMonth => exact::<IntervalYearMonthType>(output),
            IntervalUnit::DayTime => intervals::<IntervalDayTimeType>(output),
            IntervalUnit::MonthDayNano => intervals::<IntervalMonthDayNanoType>(output),
        },
        _ => None,
    }
}

fn exact<T: ArrowPrimitiveType>(output: DataType) -> Option<Box<dyn GroupAccumulator>> {
    Some(Folded::boxed(Sum::<T>(PhantomData), output))
}

fn intervals<T: ArrowPrimitiveType>(output: DataType) -> Option<Box<dyn GroupAccumulator>> {
    Some(Folded::boxed(IntervalSum::<T>(PhantomData), output))
}

/// The sum of whole numbers and decimals. One that leaves the range of its type is an error.
struct Sum<T>(PhantomData<fn() -> T>);

impl<T: ArrowPrimitiveType> Fold for Sum<T> {
    type Number = T;

    const RETRACTS: bool = true;

    #[inline]
    fn nothing(&self) -> T::Native {
        T::Native::ZERO
    }

    #[inline]
    fn step(&self, state: &mut T::Native, value: T::Native, weight: i64) -> bool {
        let before = *state;
        *state = if weight > 0 { before.add_wrapping(value) } else { before.sub_wrapping(value) };
        // One that has gone around the end of its type lies on the wrong side of what it was.
        match value.is_ge(T::Native::ZERO) == (weight > 0) {
            true => state.is_ge(before),
            false => state.is_le(before),
        }
    }
}

/// The sum of lengths of time in several units, each of which has its range.
struct IntervalSum<T>(PhantomData<fn() -> T>);

impl<T: ArrowPrimitiveType> Fold for IntervalSum<T> {
    type Number = T;

    const RETRACTS: bool = true;

    fn nothing(&self) -> T::Native {
        T::Native::ZERO
    }

    fn step(&self, state: &mut T::Native, value: T::Native, weight: i64) -> bool {
        let sum = if weight > 0 { state.add_checked(value) } else { state.sub_checked(value) };
        *state = sum.as_ref().copied().unwrap_or(T::Native::ZERO);
        sum.is_ok()
    }
}

/// The sum of floating-point numbers in order of arrival, as a batch database gives it.
struct FloatSum;

impl Fold for FloatSum {
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
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Int8Type, UInt8Type};

    use super::*;

    /// Every state, value and weight, beside what checked arithmetic says.
    fn steps_fit_as<T: ArrowPrimitiveType>(all: &[T::Native])
    where
        T::Native: PartialEq,
    {
        for (before, value) in all.iter().flat_map(|before| all.iter().map(move |value| (*before, *value))) {
            for (weight, checked) in [(1, before.add_checked(value)), (-1, before.sub_checked(value))] {
                let mut state = before;
                let fits = Sum::<T>(PhantomData).step(&mut state, value, weight);
                assert_eq!(fits.then_some(state), checked.ok(), "{before:?} {value:?} {weight}");
            }
        }
    }

    #[test]
    fn a_sum_knows_when_it_has_left_the_range_of_its_type() {
        steps_fit_as::<Int8Type>(&(i8::MIN..=i8::MAX).collect::<Vec<_>>());
        steps_fit_as::<UInt8Type>(&(u8::MIN..=u8::MAX).collect::<Vec<_>>());
    }
}
