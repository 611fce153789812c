//! Any aggregate over rows that may be taken back: the rows of each group are kept, and read anew when asked.
//!
//! What a group costs when it changes grows with its rows, so the calls that can take rows back themselves do.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field};

use super::afresh::Afresh;
use super::saved;
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{Absent, GroupAccumulator, Input};
use crate::state::{Chains, GroupIndex, grow_to};

/// Keeps the distinct rows of each group in order of appearance, and how often each is there.
pub struct Replayed {
    /// What the call computes over rows that stay.
    inner: Afresh,
    types: Vec<DataType>,
    /// Group, arguments and keys of the `ORDER BY`.
    index: GroupIndex,
    counts: Vec<u32>,
    chains: Chains,
}

impl Replayed {
    pub fn new(call: &AggregateCall, inner: Afresh) -> Result<Replayed> {
        let order = call.order_by.iter().map(|key| &key.expr);
        let types: Vec<DataType> = call.arguments.iter().chain(order).map(|part| part.data_type().clone()).collect();
        let keys: Vec<DataType> = [DataType::UInt32].into_iter().chain(types.iter().cloned()).collect();
        Ok(Replayed { inner, types, index: GroupIndex::new(&keys)?, counts: vec![], chains: Chains::new(true) })
    }

    /// The entries of rows.
    fn entries(&mut self, groups: &[u32], arguments: &[ArrayRef]) -> Result<Vec<u32>> {
        let groups: ArrayRef = Arc::new(UInt32Array::from(groups.to_vec()));
        let keys: Vec<ArrayRef> = [groups].into_iter().chain(arguments.iter().cloned()).collect();
        let mut entries = vec![];
        self.index.intern(&keys, keys[0].len(), &mut entries)?;
        grow_to(&mut self.counts, self.index.slots(), 0);
        self.chains.grow(0, self.index.slots());
        Ok(entries)
    }

    /// A row of a group comes or goes.
    fn change(&mut self, group: u32, entry: u32, weight: i64, absent: Absent) -> Result<()> {
        let count = &mut self.counts[entry as usize];
        match (weight > 0, *count) {
            (true, 0) => self.chains.push(group, entry),
            (true, _) => {}
            (false, 2..) => {
                // Of rows that are alike the one that came first goes, so those that are left came later.
                self.chains.unlink(group, entry);
                self.chains.push(group, entry);
            }
            (false, 1) => self.chains.unlink(group, entry),
            (false, 0) => return absent.check(),
        }
        *count = count.wrapping_add_signed(weight as i32);
        Ok(())
    }

    /// Frees those entries that are not there any more.
    fn free(&mut self, mut entries: Vec<u32>) {
        entries.retain(|entry| self.counts[*entry as usize] == 0);
        entries.sort_unstable();
        entries.dedup();
        self.index.remove(&entries);
    }

    /// The rows of groups, each as often as it is there, and how many each group has.
    fn rows(&self, groups: &[u32]) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
        let (mut entries, mut chain) = (vec![], vec![]);
        let mut lengths = Vec::with_capacity(groups.len());
        for group in groups {
            let before = entries.len();
            chain.clear();
            self.chains.append_to(*group, &mut chain);
            for entry in chain.iter().copied() {
                entries.extend(std::iter::repeat_n(entry, self.counts[entry as usize] as usize));
            }
            lengths.push(entries.len() - before);
        }
        Ok((self.index.keys(&entries)?.split_off(1), lengths))
    }
}

impl GroupAccumulator for Replayed {
    fn grow(&mut self, slots: usize) {
        self.chains.grow(slots, 0);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let counted: Option<Vec<u32>> =
            input.counted(None).map(|rows| rows.set_indices().map(|row| row as u32).collect());
        let Some(rows) = counted else {
            let entries = self.entries(input.groups, input.arguments)?;
            let changes = input.groups.iter().zip(&entries).enumerate();
            changes
                .into_iter()
                .try_for_each(|(row, (group, entry))| self.change(*group, *entry, input.weight(row), input.absent))?;
            self.free(entries);
            return Ok(());
        };
        let at = UInt32Array::from(rows.clone());
        let groups: Vec<u32> = rows.iter().map(|row| input.groups[*row as usize]).collect();
        let arguments = input.arguments.iter().map(|column| take(column, &at, None)).collect::<Result<Vec<_>, _>>()?;
        let entries = self.entries(&groups, &arguments)?;
        for ((row, group), entry) in rows.iter().zip(groups).zip(&entries) {
            self.change(group, *entry, input.weight(*row as usize), input.absent)?;
        }
        self.free(entries);
        Ok(())
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        super::running_by_reading(self, input)
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let (arguments, lengths) = self.rows(groups)?;
        self.inner.answer(&arguments, &lengths)
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            let mut entries = vec![];
            self.chains.append_to(*group, &mut entries);
            for entry in &entries {
                self.counts[*entry as usize] = 0;
                self.chains.unlink(*group, *entry);
            }
            self.index.remove(&entries);
        }
    }

    fn retracts(&self) -> bool {
        true
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let (arguments, lengths) = self.rows(groups)?;
        let list = |(values, data_type): (ArrayRef, &DataType)| -> Result<ArrayRef> {
            let field = Arc::new(Field::new_list_field(data_type.clone(), true));
            let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
            Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
        };
        arguments.into_iter().zip(&self.types).map(list).collect()
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("the saved rows of a group are no list");
        let first = saved(columns, 0)?.as_list_opt::<i32>().ok_or_else(missing)?;
        let lengths: Vec<usize> = (0..groups.len()).map(|row| first.value_length(row) as usize).collect();
        let owners = groups.iter().zip(lengths).flat_map(|(group, length)| std::iter::repeat_n(*group, length));
        let owners: Vec<u32> = owners.collect();
        let mut arguments = vec![];
        for column in columns {
            let lists = column.as_list_opt::<i32>().ok_or_else(missing)?;
            let parts: Vec<ArrayRef> = (0..groups.len()).map(|row| lists.value(row)).collect();
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            arguments.push(if parts.is_empty() { lists.values().slice(0, 0) } else { concat(&parts)? });
        }
        let entries = self.entries(&owners, &arguments)?;
        owners.iter().zip(entries).try_for_each(|(group, entry)| self.change(*group, entry, 1, Absent::Fault))
    }

    fn bytes(&self) -> usize {
        self.inner.bytes() + self.index.bytes() + self.counts.capacity() * size_of::<u32>() + self.chains.bytes()
    }
}
