//! Columns of event time, whatever they count in: timestamps, dates and integers as 64-bit ticks.

use arrow::array::{Array, ArrayRef, Int64Array, PrimitiveArray, make_array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};

use crate::error::Result;
use crate::types::Timestamp;

const DAY: i64 = 86_400_000_000_000;

/// What one tick of a column of event time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    nanos: Option<i64>,
}

impl Tick {
    /// The tick of a column of that type; `None` if the type is none of time.
    ///
    /// Timestamps with a time zone count as those without one: they are points in time.
    pub fn of(data_type: &DataType) -> Option<Tick> {
        let nanos = match data_type {
            DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
            DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => 1_000_000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
            DataType::Date32 => DAY,
            data_type if data_type.is_integer() => return Some(Tick { nanos: None }),
            _ => return None,
        };
        Some(Tick { nanos: Some(nanos) })
    }

    /// How many nanoseconds a tick is; `None` for integers, which count what they like.
    pub fn nanos(self) -> Option<i64> {
        self.nanos
    }

    /// How long before its end the time of a window is: a millisecond, or a tick where that is longer.
    pub fn before_end(self) -> i64 {
        self.nanos.map_or(1, |nanos| (1_000_000 / nanos).max(1))
    }

    /// The last tick that is not after `time`. Of integer event time a watermark is the number itself.
    pub fn floor(self, time: Timestamp) -> i64 {
        match (time, self.nanos) {
            (Timestamp::MIN | Timestamp::MAX, _) | (_, None) => time.nanos(),
            (time, Some(nanos)) => time.nanos().div_euclid(nanos),
        }
    }

    /// The point in time of a tick; saturates about the years 1677 and 2262.
    pub fn time(self, tick: i64) -> Timestamp {
        Timestamp::from_nanos(tick.saturating_mul(self.nanos.unwrap_or(1)))
    }
}

/// The ticks of a column of event time.
///
/// # Errors
/// An unsigned integer is beyond 64 bits with a sign.
pub fn ticks(times: &ArrayRef) -> Result<Int64Array> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let times = match times.data_type() {
        DataType::Date32 => cast(times, &DataType::Int32)?,
        _ => times.clone(),
    };
    let ticks = cast_with_options(&times, &DataType::Int64, &strict)?;
    Ok(PrimitiveArray::<Int64Type>::from(ticks.to_data()))
}

/// A column of event time of that type.
///
/// # Errors
/// A tick is beyond what the type holds.
pub fn times(ticks: Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Timestamp(_, _) | DataType::Date64 => {
            Ok(make_array(ticks.into_data().into_builder().data_type(data_type.clone()).build()?))
        }
        data_type => {
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            let narrow = if *data_type == DataType::Date32 { &DataType::Int32 } else { data_type };
            Ok(cast(&cast_with_options(&ticks, narrow, &strict)?, data_type)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, TimestampMillisecondArray, UInt64Array};

    use super::*;

    #[test]
    fn ticks_and_times_are_each_other_s_inverse() {
        let columns: [ArrayRef; 3] = [
            Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None, Some(5)]).with_timezone("UTC")),
            Arc::new(Date32Array::from(vec![Some(-1), None, Some(19_000)])),
            Arc::new(UInt64Array::from(vec![Some(1), None, Some(2)])),
        ];
        for column in columns {
            let back = times(ticks(&column).unwrap(), column.data_type()).unwrap();
            assert_eq!(&back, &column);
        }
    }

    #[test]
    fn what_is_no_64_bit_number_is_an_error() {
        let column: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
        assert!(ticks(&column).is_err());
        assert!(times(Int64Array::from(vec![i64::MAX]), &DataType::Date32).is_err());
    }

    #[test]
    fn a_watermark_is_floored_to_ticks() {
        let tick = Tick::of(&DataType::Timestamp(TimeUnit::Second, None)).unwrap();
        assert_eq!(tick.floor(Timestamp::from_millis(-1)), -1);
        assert_eq!(tick.floor(Timestamp::MAX), i64::MAX);
        assert_eq!(tick.time(2), Timestamp::from_millis(2_000));
        assert_eq!(Tick::of(&DataType::Utf8), None);
        let before = |data_type: &DataType| Tick::of(data_type).map(Tick::before_end);
        assert_eq!(before(&DataType::Timestamp(TimeUnit::Microsecond, None)), Some(1_000));
        assert_eq!([before(&DataType::Date32), before(&DataType::Int64)], [Some(1); 2]);
    }
}
