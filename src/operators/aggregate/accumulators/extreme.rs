//! `min` and `max`: numbers and times in columns, everything else in Arrow's row format.

use arrow::array::{ArrowNativeTypeOp, downcast_primitive};
use arrow::datatypes::{ArrowPrimitiveType, DataType};
use std::marker::PhantomData;

use super::argument_type;
use super::fold::{Fold, Folded};
use super::ordered::{Pick, Picked};
use crate::error::Result;
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::GroupAccumulator;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extreme {
    Min,
    Max,
}

pub fn create(call: &AggregateCall, extreme: Extreme) -> Result<Option<Box<dyn GroupAccumulator>>> {
    let data_type = argument_type(call);
    if data_type != *call.output.data_type() {
        return Ok(None);
    }
    macro_rules! columnar {
        ($type:ty, $data_type:expr) => {
            return Ok(Some(match extreme {
                Extreme::Min => Folded::boxed(Smallest::<$type>(PhantomData), $data_type.clone()),
                Extreme::Max => Folded::boxed(Largest::<$type>(PhantomData), $data_type.clone()),
            }))
        };
    }
    downcast_primitive! {
        data_type => (columnar, data_type),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary | DataType::Boolean => {
            let pick = match extreme {
                Extreme::Min => Pick::Smallest,
                Extreme::Max => Pick::Largest,
            };
            return Ok(Some(Box::new(Picked::new(call, pick)?)));
        }
        _ => {}
    }
    Ok(None)
}

/// The smallest value of a group. NaN is larger than every number.
struct Smallest<T>(PhantomData<fn() -> T>);

impl<T: ArrowPrimitiveType> Fold for Smallest<T> {
    type Number = T;

    #[inline]
    fn nothing(&self) -> T::Native {
        T::Native::MAX_TOTAL_ORDER
    }

    #[inline]
    fn step(&self, state: &mut T::Native, value: T::Native, _: i64) -> bool {
        *state = if value.is_lt(*state) { value } else { *state };
        true
    }
}

/// The largest value of a group. NaN is larger than every number.
struct Largest<T>(PhantomData<fn() -> T>);

impl<T: ArrowPrimitiveType> Fold for Largest<T> {
    type Number = T;

    #[inline]
    fn nothing(&self) -> T::Native {
        T::Native::MIN_TOTAL_ORDER
    }

    #[inline]
    fn step(&self, state: &mut T::Native, value: T::Native, _: i64) -> bool {
        *state = if value.is_gt(*state) { value } else { *state };
        true
    }
}
