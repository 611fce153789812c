//! Groups in a snapshot: those that changed with their state, and the keys of those that are gone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::concat;
use arrow::datatypes::{Int64Type, UInt64Type};

use crate::error::{InternalError, Result};
use crate::state::{Expiry, GroupIndex, Snapshot, table};
use crate::types::Epoch;

use super::Groups;

/// Keys, sequence number, number of rows, then the aggregates' state.
const GROUPS: &str = "groups";
/// Keys.
const GONE: &str = "gone";

/// Which groups have changed since the last snapshot.
///
/// Before the first, which holds everything, nothing is noted: where no snapshots are taken, none of this may grow.
#[derive(Default)]
pub(super) struct Dirty {
    noting: bool,
    groups: Vec<u32>,
    marked: Vec<bool>,
    /// The keys of groups that were freed, column by column.
    gone: Vec<Vec<ArrayRef>>,
    /// Bytes of those keys.
    gone_bytes: usize,
}

impl Dirty {
    pub fn mark(&mut self, groups: &[u32]) {
        if !self.noting {
            return;
        }
        for group in groups {
            let at = *group as usize;
            if at >= self.marked.len() {
                self.marked.resize(at + 1, false);
            }
            if !std::mem::replace(&mut self.marked[at], true) {
                self.groups.push(*group);
            }
        }
    }

    /// Remembers the keys of groups that are about to be freed.
    pub fn bury(&mut self, index: &GroupIndex, groups: &[u32]) {
        if groups.is_empty() || !self.noting {
            return;
        }
        // Keys that cannot be read were never numbered.
        if let Ok(keys) = index.keys(groups) {
            self.gone_bytes += keys.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
            self.gone.push(keys);
        }
        for group in groups {
            if let Some(marked) = self.marked.get_mut(*group as usize) {
                *marked = false;
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.gone_bytes + self.groups.capacity() * size_of::<u32>() + self.marked.capacity()
    }

    /// What has changed and what is gone; from now on changes are noted.
    fn take(&mut self) -> (Vec<u32>, Vec<Vec<ArrayRef>>) {
        self.noting = true;
        self.gone_bytes = 0;
        let marked = &mut self.marked;
        // A group that was freed is no longer marked, and one that came again in its place is there twice.
        self.groups.retain(|group| marked.get_mut(*group as usize).is_some_and(std::mem::take));
        (std::mem::take(&mut self.groups), std::mem::take(&mut self.gone))
    }
}

impl Groups {
    /// What has changed since `since`; everything for the first snapshot.
    pub(in crate::operators) fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        let (mut changed, mut gone) = self.dirty.take();
        if since == Epoch::ZERO {
            changed = self.index.groups_in_order();
            gone.clear();
        }
        let (changed, empty): (Vec<u32>, Vec<u32>) = changed.into_iter().partition(|group| self.is_there(*group));
        if !empty.is_empty() && since != Epoch::ZERO {
            gone.push(self.index.keys(&empty)?);
        }
        let mut columns = self.index.keys(&changed)?;
        columns.push(Arc::new(UInt64Array::from(self.index.sequence(&changed))));
        columns.push(Arc::new(changed.iter().map(|group| self.accumulators.rows(*group)).collect::<Int64Array>()));
        columns.extend(self.expiry.iter().map(|expiry| Arc::new(expiry.written(&changed)) as ArrayRef));
        columns.extend(self.accumulators.save(&changed)?);
        let mut tables = Vec::with_capacity(2);
        if let Some(gone) = joined(&gone)? {
            let rows = gone.first().map_or(0, |column| column.len());
            tables.push(table(GONE, gone, rows)?);
        }
        tables.push(table(GROUPS, columns, changed.len())?);
        Ok(Snapshot { tables })
    }

    /// Merges snapshots into empty groups, in order: a later one replaces what an earlier one says of a key.
    pub(in crate::operators) fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        self.dirty.noting = !snapshots.is_empty();
        for snapshot in snapshots {
            if let Some(gone) = snapshot.table(GONE) {
                let mut groups = vec![];
                self.index.intern(gone.columns(), gone.num_rows(), &mut groups)?;
                self.grow();
                self.accumulators.reset(&groups);
                self.index.remove(&groups);
                self.expiry.iter_mut().for_each(|expiry| expiry.forget(&groups));
            }
            if let Some(saved) = snapshot.table(GROUPS) {
                self.restore_groups(saved)?;
            }
        }
        self.expiry.iter_mut().for_each(Expiry::resumed);
        Ok(())
    }

    fn restore_groups(&mut self, saved: &RecordBatch) -> Result<()> {
        let (keys, rest) = saved.columns().split_at(self.keys.len().min(saved.num_columns()));
        let [sequence, rows, state @ ..] = rest else {
            return Err(InternalError::new("a saved group misses its columns").into());
        };
        let mut groups = vec![];
        self.index.intern(keys, saved.num_rows(), &mut groups)?;
        self.grow();
        let (Some(sequence), Some(rows)) =
            (sequence.as_primitive_opt::<UInt64Type>(), rows.as_primitive_opt::<Int64Type>())
        else {
            return Err(InternalError::new("a saved group is not in its form").into());
        };
        self.index.set_sequence(&groups, sequence.values());
        let state = match (&mut self.expiry, state) {
            (Some(expiry), [written, state @ ..]) => {
                let missing = || InternalError::new("a saved group does not say when it was written");
                expiry.resume(&groups, written.as_primitive_opt::<Int64Type>().ok_or_else(missing)?);
                state
            }
            (_, state) => state,
        };
        self.accumulators.load(&groups, rows.values(), state)
    }
}

fn joined(parts: &[Vec<ArrayRef>]) -> Result<Option<Vec<ArrayRef>>> {
    let Some(first) = parts.first() else { return Ok(None) };
    let column = |index: usize| {
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part[index].as_ref()).collect();
        concat(&parts)
    };
    Ok(Some((0..first.len()).map(column).collect::<Result<_, _>>()?))
}
