//! `DISTINCT` within a call: one index of (group, value) for all groups, before any other accumulator.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt32Array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field};

use super::{argument_type, saved};
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{Absent, GroupAccumulator, Input};
use crate::state::GroupIndex;

/// Lets each value of a group through once, when it first appears: so what is said is in order of appearance.
pub struct Distinct {
    inner: Box<dyn GroupAccumulator>,
    index: GroupIndex,
    /// For each group its entries in the index, in the order in which they came.
    entries: Vec<Vec<u32>>,
    /// Bytes of the inner vectors of `entries`.
    entry_bytes: usize,
    /// Which entries have been given to their group.
    known: Vec<bool>,
    data_type: DataType,
}

impl Distinct {
    /// What `inner` computes, over the distinct values of the call's first argument.
    pub fn new(call: &AggregateCall, inner: Box<dyn GroupAccumulator>) -> Result<Distinct> {
        let data_type = argument_type(call);
        let index = GroupIndex::new(&[DataType::UInt32, data_type.clone()])?;
        Ok(Distinct { inner, index, entries: vec![], entry_bytes: 0, known: vec![], data_type })
    }

    /// Which rows bring a value that their group has not had.
    fn insert(&mut self, groups: ArrayRef, values: ArrayRef) -> Result<Vec<bool>> {
        let mut entries = Vec::new();
        let rows = groups.len();
        self.index.intern(&[groups.clone(), values], rows, &mut entries)?;
        self.known.resize(self.index.slots().max(self.known.len()), false);
        let groups = groups.as_primitive::<arrow::datatypes::UInt32Type>().values();
        let mut new = vec![false; rows];
        for (row, (group, entry)) in groups.iter().zip(entries).enumerate() {
            if !std::mem::replace(&mut self.known[entry as usize], true) {
                let entries = &mut self.entries[*group as usize];
                let before = entries.capacity();
                entries.push(entry);
                self.entry_bytes += (entries.capacity() - before) * size_of::<u32>();
                new[row] = true;
            }
        }
        Ok(new)
    }

    /// The rows that the filter lets through and that bring a new value.
    fn selection(&mut self, input: &Input<'_>) -> Result<BooleanArray> {
        let groups: ArrayRef = Arc::new(UInt32Array::from(input.groups.to_vec()));
        let Some(selection) = input.selection else {
            return Ok(self.insert(groups, input.arguments[0].clone())?.into());
        };
        let new = self.insert(filter(&groups, selection)?, filter(&input.arguments[0], selection)?)?;
        let mut new = new.into_iter();
        let bits = (0..selection.len()).map(|row| selection.value(row) && new.next().unwrap_or(false));
        Ok(bits.collect::<Vec<_>>().into())
    }
}

impl GroupAccumulator for Distinct {
    fn grow(&mut self, slots: usize) {
        self.entries.resize(slots.max(self.entries.len()), vec![]);
        self.inner.grow(slots);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let selection = self.selection(input)?;
        self.inner.update(&Input { selection: Some(&selection), ..*input })
    }

    fn update_running(&mut self, input: &Input<'_>, counts: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let selection = self.selection(input)?;
        self.inner.update_running(&Input { selection: Some(&selection), ..*input }, counts)
    }

    fn read(&mut self, groups: &[u32], rows: &[i64]) -> Result<ArrayRef> {
        self.inner.read(groups, rows)
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            let entries = std::mem::take(&mut self.entries[*group as usize]);
            self.entry_bytes -= entries.capacity() * size_of::<u32>();
            for entry in &entries {
                self.known[*entry as usize] = false;
            }
            self.index.remove(&entries);
        }
        self.inner.reset(groups);
    }

    fn merges(&self) -> bool {
        self.inner.merges()
    }

    fn merge(&mut self, into: u32, from: u32, rows: i64) -> Result<()> {
        let values = self.index.keys(&self.entries[from as usize])?.pop();
        let values = values.ok_or_else(|| InternalError::new("an index of values has no values"))?;
        self.reset(&[from]);
        let groups = vec![into; values.len()];
        let new = self.insert(Arc::new(UInt32Array::from(groups.clone())), values.clone())?;
        // Of the rows of a value one has counted at most; the others are passed over, as they were before.
        self.inner.pass(into, rows - values.len() as i64);
        let (selection, absent) = (BooleanArray::from(new), Absent::Fault);
        let arguments = &[values];
        self.inner.update(&Input { groups: &groups, arguments, selection: Some(&selection), kinds: None, absent })
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let entries: Vec<u32> = groups.iter().flat_map(|group| &self.entries[*group as usize]).copied().collect();
        let mut keys = self.index.keys(&entries)?;
        let values = keys.pop().ok_or_else(|| InternalError::new("an index of values has no values"))?;
        let lengths = groups.iter().map(|group| self.entries[*group as usize].len());
        let field = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        let values = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, None)?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(values)];
        columns.extend(self.inner.save(groups)?);
        Ok(columns)
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("a saved set of values is no list");
        let lists = saved(columns, 0)?.as_list_opt::<i32>().ok_or_else(missing)?;
        for (row, group) in groups.iter().enumerate() {
            let values = lists.value(row);
            self.insert(Arc::new(UInt32Array::from(vec![*group; values.len()])), values)?;
        }
        self.inner.load(groups, &columns[1..])
    }

    fn bytes(&self) -> usize {
        let entries = self.entry_bytes + self.entries.capacity() * size_of::<Vec<u32>>();
        self.inner.bytes() + self.index.bytes() + entries + self.known.capacity()
    }
}
