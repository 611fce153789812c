//! `min` and `max`: numbers and times in columns, everything else in Arrow's row format.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::array::{ArrayRef, ArrowNativeTypeOp, BooleanArray, downcast_primitive};
use arrow::datatypes::{ArrowPrimitiveType, DataType};

use super::ordered::{Pick, Picked};
use super::{argument_type, numbers, saved, values};
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, argument_nulls};

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
            return Ok(Some(Box::new(Extremes::<$type>::new(extreme, $data_type.clone()))))
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

/// The smallest or largest value of each group. NULLs are passed over; NaN is larger than every number.
pub struct Extremes<T: ArrowPrimitiveType> {
    extreme: Extreme,
    values: Vec<T::Native>,
    present: Vec<bool>,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> Extremes<T> {
    fn new(extreme: Extreme, data_type: DataType) -> Self {
        Extremes { extreme, values: vec![], present: vec![], data_type }
    }
}

fn step<N: ArrowNativeTypeOp>(wanted: Ordering, best: &mut N, present: &mut bool, value: N) {
    if !*present || value.compare(*best) == wanted {
        *best = value;
        *present = true;
    }
}

fn wanted(extreme: Extreme) -> Ordering {
    match extreme {
        Extreme::Min => Ordering::Less,
        Extreme::Max => Ordering::Greater,
    }
}

impl<T: ArrowPrimitiveType> GroupAccumulator for Extremes<T> {
    fn grow(&mut self, slots: usize) {
        let slots = slots.max(self.values.len());
        self.values.resize(slots, T::Native::ZERO);
        self.present.resize(slots, false);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let given = values::<T>(&input.arguments[0])?;
        let (wanted, best, present) = (wanted(self.extreme), &mut self.values, &mut self.present);
        input.each(argument_nulls(input), |row, group, _| {
            step(wanted, &mut best[group], &mut present[group], given[row]);
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>) -> Result<ArrayRef> {
        let given = values::<T>(&input.arguments[0])?;
        let wanted = wanted(self.extreme);
        let mut state = (std::mem::take(&mut self.values), std::mem::take(&mut self.present));
        let mut said = Vec::with_capacity(input.groups.len());
        let ran = input.each_running(
            argument_nulls(input),
            &mut state,
            |(best, present), row, group, _| {
                step(wanted, &mut best[group], &mut present[group], given[row]);
                Ok(())
            },
            |(best, present), group| said.push(present[group].then(|| best[group])),
        );
        (self.values, self.present) = state;
        ran?;
        Ok(numbers::<T>(said.into_iter(), &self.data_type))
    }

    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |group: &u32| self.present[*group as usize].then(|| self.values[*group as usize]);
        Ok(numbers::<T>(groups.iter().map(value), &self.data_type))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.present[*group as usize] = false;
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let present: BooleanArray = groups.iter().map(|group| Some(self.present[*group as usize])).collect();
        Ok(vec![self.read(groups)?, Arc::new(present)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let best = values::<T>(saved(columns, 0)?)?;
        let Some(present) = saved(columns, 1)?.as_boolean_opt() else {
            return Err(InternalError::new("a saved extreme does not say whether it is there").into());
        };
        for (row, group) in groups.iter().enumerate() {
            self.values[*group as usize] = best[row];
            self.present[*group as usize] = present.is_valid(row) && present.value(row);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.present.capacity()
    }
}
