//! The rows of each group in order of arrival, of groups that merge.
//!
//! ```text
//! slot 0: rows 0 3      slot 1: rows 1 2      1 into 0      slot 0: rows 0 3 1 2, given out as 0 1 2 3
//! ```
//!
//! Rows are kept as they came. A merge puts the shorter list behind the longer one and moves no row;
//! a list is put in order when it is asked for.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{Field, SchemaRef, UInt64Type};

use super::{RowId, RowStore};
use crate::error::{InternalError, Result};

/// Rows of one schema in lists, one a slot.
pub struct RowLists {
    store: RowStore,
    lists: Vec<Vec<Place>>,
    /// How many rows have come: the arrival of the next.
    arrivals: u64,
    /// Bytes of the lists.
    bytes: usize,
}

/// A row, and its place in the order in which rows came.
#[derive(Debug, Clone, Copy)]
struct Place {
    arrival: u64,
    row: RowId,
}

impl RowLists {
    /// Empty lists.
    pub fn new(schema: SchemaRef) -> RowLists {
        RowLists { store: RowStore::new(schema), lists: vec![], arrivals: 0, bytes: 0 }
    }

    /// Makes room for slots below `slots`.
    pub fn grow(&mut self, slots: usize) {
        self.lists.resize_with(slots.max(self.lists.len()), Vec::new);
    }

    /// Takes rows in, each behind those of its slot.
    pub fn push(&mut self, columns: Vec<ArrayRef>, slots: &[u32]) -> Result<()> {
        let arrivals: Vec<u64> = (self.arrivals..self.arrivals + slots.len() as u64).collect();
        self.put(columns, slots, &arrivals)
    }

    fn put(&mut self, columns: Vec<ArrayRef>, slots: &[u32], arrivals: &[u64]) -> Result<()> {
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        let rows = RecordBatch::try_new_with_options(self.store.schema().clone(), columns, &options)?;
        let first = self.store.append(&rows)?;
        self.store.retain(slots.len());
        for (nth, (slot, arrival)) in slots.iter().zip(arrivals).enumerate() {
            let list = &mut self.lists[*slot as usize];
            let room = list.capacity();
            list.push(Place { arrival: *arrival, row: first + nth });
            self.bytes += (list.capacity() - room) * size_of::<Place>();
            self.arrivals = self.arrivals.max(arrival + 1);
        }
        Ok(())
    }

    /// Puts the rows of slot `from` to those of slot `into`.
    pub fn merge(&mut self, into: u32, from: u32) {
        let mut other = std::mem::take(&mut self.lists[from as usize]);
        let own = &mut self.lists[into as usize];
        let room = own.capacity() + other.capacity();
        if own.len() < other.len() {
            std::mem::swap(own, &mut other);
        }
        own.append(&mut other);
        self.bytes = self.bytes + own.capacity() * size_of::<Place>() - room * size_of::<Place>();
    }

    /// The rows of slots, one slot after the other, and how many each has.
    pub fn gather(&self, slots: &[u32]) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
        let (places, lengths) = self.places(slots);
        let rows: Vec<Option<RowId>> = places.iter().map(|place| Some(place.row)).collect();
        Ok((self.store.gather(&rows)?, lengths))
    }

    fn places(&self, slots: &[u32]) -> (Vec<Place>, Vec<usize>) {
        let mut places: Vec<Place> = vec![];
        let mut lengths = Vec::with_capacity(slots.len());
        for slot in slots {
            let list = &self.lists[*slot as usize];
            let start = places.len();
            places.extend_from_slice(list);
            places[start..].sort_by_key(|place| place.arrival);
            lengths.push(list.len());
        }
        (places, lengths)
    }

    /// How many rows a slot has.
    pub fn count(&self, slot: u32) -> usize {
        self.lists[slot as usize].len()
    }

    /// How many rows there are.
    pub fn total(&self) -> usize {
        self.store.live()
    }

    /// Drops the rows of slots.
    pub fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            let list = std::mem::take(&mut self.lists[*slot as usize]);
            self.bytes -= list.capacity() * size_of::<Place>();
            self.store.release(list.len());
        }
    }

    /// Gives the memory of dropped rows back, if there are many.
    pub fn compact(&mut self) -> Result<()> {
        if self.store.wants_compaction() {
            let mut places: Vec<&mut Place> = self.lists.iter_mut().flatten().collect();
            places.sort_by_key(|place| place.arrival);
            let first = self.store.compact(&places.iter().map(|place| place.row).collect::<Vec<_>>())?;
            places.into_iter().enumerate().for_each(|(nth, place)| place.row = first + nth);
        }
        Ok(())
    }

    /// The rows of slots for a snapshot: a list a column, then the list of arrivals.
    pub fn save(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let (places, lengths) = self.places(slots);
        let rows: Vec<Option<RowId>> = places.iter().map(|place| Some(place.row)).collect();
        let mut columns = self.store.gather(&rows)?;
        columns.push(Arc::new(UInt64Array::from_iter_values(places.iter().map(|place| place.arrival))));
        let list = |values: ArrayRef| -> Result<ArrayRef> {
            let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
            Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
        };
        columns.into_iter().map(list).collect()
    }

    /// Puts saved rows back: row `n` of the columns is the list of `slots[n]`, which has no rows.
    pub fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("the saved rows of a group are no list");
        let mut flat = vec![];
        for column in columns {
            let lists = column.as_list_opt::<i32>().ok_or_else(missing)?;
            let parts: Vec<ArrayRef> = (0..slots.len()).map(|row| lists.value(row)).collect();
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            flat.push(if parts.is_empty() { lists.values().slice(0, 0) } else { concat(&parts)? });
        }
        let arrivals = flat.pop().ok_or_else(missing)?;
        let arrivals = arrivals.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?;
        let lists = columns.last().and_then(|column| column.as_list_opt::<i32>()).ok_or_else(missing)?;
        let owners = slots.iter().enumerate();
        let owners = owners.flat_map(|(row, slot)| std::iter::repeat_n(*slot, lists.value_length(row) as usize));
        self.put(flat, &owners.collect::<Vec<_>>(), arrivals.values())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.store.bytes() + self.bytes + self.lists.capacity() * size_of::<Vec<Place>>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Int64Type, Schema};

    use super::*;

    fn lists() -> RowLists {
        let schema = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
        let mut lists = RowLists::new(Arc::new(schema));
        lists.grow(3);
        lists
    }

    fn push(lists: &mut RowLists, rows: &[(u32, i64)]) {
        let (slots, values): (Vec<u32>, Vec<i64>) = rows.iter().copied().unzip();
        lists.push(vec![Arc::new(Int64Array::from(values))], &slots).unwrap();
    }

    fn rows(lists: &RowLists, slots: &[u32]) -> (Vec<i64>, Vec<usize>) {
        let (columns, lengths) = lists.gather(slots).unwrap();
        (columns[0].as_primitive::<Int64Type>().values().to_vec(), lengths)
    }

    #[test]
    fn rows_of_merged_slots_are_in_the_order_in_which_they_came() {
        let mut lists = lists();
        push(&mut lists, &[(0, 10), (1, 11), (2, 12)]);
        push(&mut lists, &[(1, 13), (0, 14), (1, 15)]);
        lists.merge(0, 1);
        push(&mut lists, &[(0, 16)]);
        assert_eq!(rows(&lists, &[2, 0, 1]), (vec![12, 10, 11, 13, 14, 15, 16], vec![1, 6, 0]));
    }

    #[test]
    fn the_order_survives_a_snapshot_and_garbage_is_collected() {
        let mut lists = lists();
        push(&mut lists, &[(0, 10), (1, 11), (0, 12)]);
        let mut restored = self::lists();
        restored.load(&[1, 0], &lists.save(&[1, 0]).unwrap()).unwrap();
        restored.merge(1, 0);
        for value in 0..20_000 {
            push(&mut restored, &[(2, value)]);
        }
        restored.reset(&[2]);
        restored.compact().unwrap();
        push(&mut restored, &[(1, 13)]);
        assert_eq!(rows(&restored, &[1]), (vec![10, 11, 12, 13], vec![4]));
        assert!(restored.bytes() < 100_000, "{} bytes for four rows", restored.bytes());
    }
}
