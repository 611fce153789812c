//! `array_agg`: the values of each group in order of arrival, or in the order that the call asks for.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat, interleave};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};

use super::{argument_type, running_by_reading, saved};
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input};
use crate::state::owned;

/// Below so many values garbage is not worth collecting.
const GARBAGE_MIN: usize = 8_192;

/// A list of values for each group.
///
/// The values stay in the columns they came in; a group holds where its values are.
/// Columns are rewritten when most of what they hold belongs to no group any more.
pub struct Lists {
    columns: Vec<ArrayRef>,
    /// Bytes of the columns, and of the lists.
    column_bytes: usize,
    list_bytes: usize,
    held: usize,
    live: usize,
    lists: Vec<List>,
    skip_nulls: bool,
    order: Option<RowConverter>,
    element: FieldRef,
}

#[derive(Debug, Clone, Default)]
struct List {
    /// Column and row of each value.
    places: Vec<(usize, usize)>,
    /// The key of each value, if there is an order.
    keys: Vec<Box<[u8]>>,
}

impl List {
    /// Bytes of its vectors, without those of the keys themselves.
    fn room(&self) -> usize {
        self.places.capacity() * size_of::<(usize, usize)>() + self.keys.capacity() * size_of::<Box<[u8]>>()
    }

    /// All its bytes. Looks at every key.
    fn bytes(&self) -> usize {
        self.room() + self.keys.iter().map(|key| key.len()).sum::<usize>()
    }
}

impl Lists {
    pub fn new(call: &AggregateCall) -> Result<Lists> {
        let sorted = call.order_by.iter();
        let sorted = sorted.map(|key| SortField::new_with_options(key.expr.data_type().clone(), key.options));
        let sorted: Vec<SortField> = sorted.collect();
        let order = if sorted.is_empty() { None } else { Some(RowConverter::new(sorted)?) };
        let element = match call.output.data_type() {
            DataType::List(element) => element.clone(),
            _ => Arc::new(Field::new_list_field(argument_type(call), true)),
        };
        let skip_nulls = call.ignore_nulls;
        Ok(Lists {
            columns: vec![],
            column_bytes: 0,
            list_bytes: 0,
            held: 0,
            live: 0,
            lists: vec![],
            skip_nulls,
            order,
            element,
        })
    }

    /// The places of a group's values in the order in which they are given out.
    fn places(&self, group: u32) -> Vec<(usize, usize)> {
        let list = &self.lists[group as usize];
        if self.order.is_none() {
            return list.places.clone();
        }
        let mut order: Vec<usize> = (0..list.places.len()).collect();
        order.sort_by(|a, b| list.keys[*a].cmp(&list.keys[*b]));
        order.into_iter().map(|at| list.places[at]).collect()
    }

    fn gather(&self, places: &[(usize, usize)]) -> Result<ArrayRef> {
        if places.is_empty() {
            return Ok(arrow::array::new_empty_array(self.element.data_type()));
        }
        let columns: Vec<&dyn Array> = self.columns.iter().map(|column| column.as_ref()).collect();
        Ok(interleave(&columns, places)?)
    }

    fn list_array(&self, lists: &[Vec<(usize, usize)>], nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let values = self.gather(&lists.concat())?;
        let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
        Ok(Arc::new(ListArray::try_new(self.element.clone(), offsets, values, nulls)?))
    }

    fn collect_garbage(&mut self) -> Result<()> {
        if self.held < GARBAGE_MIN || self.live * 2 > self.held {
            return Ok(());
        }
        let all: Vec<(usize, usize)> = self.lists.iter().flat_map(|list| list.places.iter().copied()).collect();
        let column = self.gather(&all)?;
        for (row, place) in self.lists.iter_mut().flat_map(|list| list.places.iter_mut()).enumerate() {
            *place = (0, row);
        }
        self.held = column.len();
        self.replace_columns(column);
        Ok(())
    }

    fn push_column(&mut self, column: &ArrayRef) -> Result<()> {
        let column = owned(column)?;
        self.held += column.len();
        self.column_bytes += column.get_array_memory_size();
        self.columns.push(column);
        Ok(())
    }

    fn replace_columns(&mut self, column: ArrayRef) {
        self.column_bytes = column.get_array_memory_size();
        self.columns = vec![column];
    }

    /// Small columns are joined, so that there are few of them to gather from.
    fn join_small(&mut self) -> Result<()> {
        const SMALL_MAX: usize = 64;
        if self.columns.len() < SMALL_MAX || self.held / self.columns.len() >= GARBAGE_MIN {
            return Ok(());
        }
        let mut starts = Vec::with_capacity(self.columns.len());
        let mut start = 0;
        for column in &self.columns {
            starts.push(start);
            start += column.len();
        }
        let columns: Vec<&dyn Array> = self.columns.iter().map(|column| column.as_ref()).collect();
        let joined = concat(&columns)?;
        self.replace_columns(joined);
        for (column, row) in self.lists.iter_mut().flat_map(|list| list.places.iter_mut()) {
            *row += starts[*column];
            *column = 0;
        }
        Ok(())
    }
}

impl GroupAccumulator for Lists {
    fn grow(&mut self, slots: usize) {
        self.lists.resize(slots.max(self.lists.len()), List::default());
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let nulls = if self.skip_nulls { input.arguments[0].logical_nulls() } else { None };
        let keys = self.order.as_ref().map(|order| order.convert_columns(&input.arguments[1..])).transpose()?;
        let column = self.columns.len();
        let Lists { lists, live, list_bytes, .. } = self;
        input.each(nulls.as_ref(), |row, group, _| {
            let list = &mut lists[group];
            let before = list.room();
            list.places.push((column, row));
            if let Some(keys) = &keys {
                let key: Box<[u8]> = keys.row(row).data().into();
                *list_bytes += key.len();
                list.keys.push(key);
            }
            *list_bytes += list.room() - before;
            *live += 1;
            Ok(())
        })?;
        self.push_column(&input.arguments[0])?;
        self.collect_garbage()?;
        self.join_small()
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        running_by_reading(self, input)
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let lists: Vec<Vec<(usize, usize)>> = groups.iter().map(|group| self.places(*group)).collect();
        // The list of nothing is NULL.
        let nulls: NullBuffer = lists.iter().map(|list| !list.is_empty()).collect();
        self.list_array(&lists, Some(nulls))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            let list = std::mem::take(&mut self.lists[*group as usize]);
            self.live -= list.places.len();
            self.list_bytes -= list.bytes();
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let lists: Vec<Vec<(usize, usize)>> =
            groups.iter().map(|group| self.lists[*group as usize].places.clone()).collect();
        let keys: BinaryArray =
            groups.iter().flat_map(|group| &self.lists[*group as usize].keys).map(|key| Some(key.as_ref())).collect();
        let lengths = groups.iter().map(|group| self.lists[*group as usize].keys.len());
        let field = Arc::new(Field::new_list_field(DataType::Binary, true));
        let keys = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), Arc::new(keys), None)?;
        Ok(vec![self.list_array(&lists, None)?, Arc::new(keys)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("a saved list is not in its form");
        let lists = saved(columns, 0)?.as_list_opt::<i32>().ok_or_else(missing)?;
        let keys = saved(columns, 1)?.as_list_opt::<i32>().ok_or_else(missing)?;
        let column = self.columns.len();
        for (row, group) in groups.iter().enumerate() {
            let start = usize::try_from(lists.value_offsets()[row]).map_err(|_| missing())?;
            let length = lists.value(row).len();
            let keys = keys.value(row);
            let keys = keys.as_binary_opt::<i32>().ok_or_else(missing)?;
            let list = List {
                places: (start..start + length).map(|row| (column, row)).collect(),
                keys: keys.iter().map(|key| key.unwrap_or_default().into()).collect(),
            };
            self.list_bytes += list.bytes();
            self.lists[*group as usize] = list;
            self.live += length;
        }
        self.push_column(lists.values())
    }

    fn bytes(&self) -> usize {
        let columns = self.column_bytes + self.columns.capacity() * size_of::<ArrayRef>();
        columns + self.list_bytes + self.lists.capacity() * size_of::<List>()
    }
}
