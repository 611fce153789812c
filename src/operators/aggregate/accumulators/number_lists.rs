//! `array_agg` of numbers and times in order of arrival.

use std::sync::Arc;

use arrow::array::downcast_primitive;
use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef};

use super::{argument_type, running_by_reading, saved};
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, argument_nulls};

/// The columnar form of a call, if it has numbers for arguments and no order of its own.
pub fn create(call: &AggregateCall) -> Option<Box<dyn GroupAccumulator>> {
    let data_type = argument_type(call);
    let DataType::List(element) = call.output.data_type() else { return None };
    if !call.order_by.is_empty() || *element.data_type() != data_type {
        return None;
    }
    macro_rules! columnar {
        ($type:ty, $element:expr) => {
            Some(Box::new(NumberLists::<$type>::new($element.clone(), call.ignore_nulls)))
        };
    }
    downcast_primitive! {
        data_type => (columnar, element),
        _ => None,
    }
}

/// The smallest piece.
const PIECE_MIN: usize = 4;

/// A list of numbers for each group, each in one piece of a column that all groups share.
///
/// A piece has room for a power of two of numbers. A list that is full moves to one of twice the size and leaves its
/// own to the next list of that size, so nothing is allocated for a group, and saying a list is one copy.
struct NumberLists<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    /// Which of the values are not NULL; nothing until there is one.
    valid: Vec<bool>,
    lists: Vec<List>,
    /// The starts of pieces that belong to no list, by the binary logarithm of their size.
    free: Vec<Vec<usize>>,
    skip_nulls: bool,
    element: FieldRef,
}

#[derive(Debug, Clone, Copy, Default)]
struct List {
    start: usize,
    length: usize,
}

impl List {
    /// How many numbers its piece has room for.
    fn room(self) -> usize {
        if self.length == 0 { 0 } else { self.length.next_power_of_two().max(PIECE_MIN) }
    }
}

impl<T: ArrowPrimitiveType> NumberLists<T> {
    fn new(element: FieldRef, skip_nulls: bool) -> Self {
        NumberLists { values: vec![], valid: vec![], lists: vec![], free: vec![], skip_nulls, element }
    }

    fn push(&mut self, group: usize, value: T::Native, valid: bool) {
        let list = self.lists[group];
        let start = if list.length == list.room() { self.move_to_larger(list) } else { list.start };
        self.lists[group] = List { start, length: list.length + 1 };
        self.values[start + list.length] = value;
        if !valid && self.valid.is_empty() {
            self.valid.resize(self.values.len(), true);
        }
        if let Some(place) = self.valid.get_mut(start + list.length) {
            *place = valid;
        }
    }

    /// Moves a list that is full, and gives where it starts now.
    fn move_to_larger(&mut self, list: List) -> usize {
        let start = self.piece((list.length + 1).next_power_of_two().max(PIECE_MIN));
        let from = list.start..list.start + list.length;
        self.values.copy_within(from.clone(), start);
        if !self.valid.is_empty() {
            self.valid.copy_within(from, start);
        }
        self.release(list);
        start
    }

    /// Where a piece of that size starts that belongs to nobody.
    fn piece(&mut self, size: usize) -> usize {
        let class = size.trailing_zeros() as usize;
        if let Some(start) = self.free.get_mut(class).and_then(Vec::pop) {
            return start;
        }
        let start = self.values.len();
        self.values.resize(start + size, T::Native::ZERO);
        if !self.valid.is_empty() {
            self.valid.resize(start + size, true);
        }
        start
    }

    fn release(&mut self, list: List) {
        if list.length == 0 {
            return;
        }
        let class = list.room().trailing_zeros() as usize;
        if class >= self.free.len() {
            self.free.resize_with(class + 1, Vec::new);
        }
        self.free[class].push(list.start);
    }

    fn array(&self, groups: &[u32], nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let lists = || groups.iter().map(|group| self.lists[*group as usize]);
        let length = lists().map(|list| list.length).sum();
        let mut values = Vec::with_capacity(length);
        lists().for_each(|list| values.extend_from_slice(&self.values[list.start..list.start + list.length]));
        let mut valid = Vec::new();
        if !self.valid.is_empty() {
            valid.reserve(length);
            lists().for_each(|list| valid.extend_from_slice(&self.valid[list.start..list.start + list.length]));
        }
        let valid = (!valid.is_empty()).then(|| NullBuffer::from(valid));
        let values = PrimitiveArray::<T>::new(ScalarBuffer::from(values), valid);
        let values = values.with_data_type(self.element.data_type().clone());
        let offsets = OffsetBuffer::from_lengths(lists().map(|list| list.length));
        Ok(Arc::new(ListArray::try_new(self.element.clone(), offsets, Arc::new(values), nulls)?))
    }
}

fn numbers<T: ArrowPrimitiveType>(array: &dyn Array) -> Result<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().ok_or_else(|| InternalError::new("a list of numbers was given something else").into())
}

impl<T: ArrowPrimitiveType> GroupAccumulator for NumberLists<T> {
    fn grow(&mut self, slots: usize) {
        self.lists.resize(slots.max(self.lists.len()), List::default());
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let given = numbers::<T>(&input.arguments[0])?;
        let nulls = argument_nulls(input);
        let counted = input.counted(if self.skip_nulls { nulls } else { None });
        input.each_of(counted.as_ref(), |row, group, _| {
            self.push(group, given.values()[row], nulls.is_none_or(|nulls| nulls.is_valid(row)));
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        running_by_reading(self, input)
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        // The list of nothing is NULL.
        let nulls: NullBuffer = groups.iter().map(|group| self.lists[*group as usize].length > 0).collect();
        self.array(groups, Some(nulls).filter(|nulls| nulls.null_count() > 0))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            let list = std::mem::take(&mut self.lists[*group as usize]);
            self.release(list);
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.array(groups, None)?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("a saved list is not in its form");
        let lists = saved(columns, 0)?.as_list_opt::<i32>().ok_or_else(missing)?;
        for (row, group) in groups.iter().enumerate() {
            let values = lists.value(row);
            let values = numbers::<T>(&values)?;
            for at in 0..values.len() {
                self.push(*group as usize, values.values()[at], values.is_valid(at));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|starts| starts.capacity() * size_of::<usize>()).sum();
        let values = self.values.capacity() * size_of::<T::Native>() + self.valid.capacity();
        values + free + self.lists.capacity() * size_of::<List>()
    }
}
