//! How many of the first rows of each partition have been said: all that is kept of rows that stay the first.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt64Array};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};

use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::operators::StateSize;
use crate::state::{Changes, Expiry, GONE, GroupIndex, Snapshot, StateTable, grow_to, table};
use crate::types::{Epoch, Interval, Timestamp};

/// Keys of partitions, when each was last written if it is forgotten for want of it, and how many rows were said.
const COUNTED: &str = "counted";

/// A number for each partition.
pub(super) struct Counts {
    index: GroupIndex,
    counts: Vec<u64>,
    changes: Changes,
    /// Which partitions had no row for so long that they are forgotten.
    expiry: Option<Expiry>,
}

impl Counts {
    /// The numbers that snapshots have left of partitions by those keys.
    pub fn new(partition: &[Expr], ttl: Option<Interval>, snapshots: &[Snapshot]) -> Result<Counts> {
        let types: Vec<DataType> = partition.iter().map(|key| key.data_type().clone()).collect();
        let mut counts = Counts {
            index: GroupIndex::new(&types)?,
            counts: vec![],
            changes: Changes::default(),
            expiry: ttl.map(Expiry::new),
        };
        snapshots.iter().try_for_each(|snapshot| counts.restore(snapshot))?;
        counts.expiry.iter_mut().for_each(Expiry::resumed);
        if !snapshots.is_empty() {
            counts.changes = Changes::resumed(&counts.index.groups_in_order());
        }
        Ok(counts)
    }

    /// The slots of the partitions of some rows, which come at `now`.
    pub fn come(&mut self, keys: &[ArrayRef], rows: usize, now: Timestamp) -> Result<Vec<u32>> {
        let slots = self.slots(keys, rows)?;
        self.touch(&slots, now);
        Ok(slots)
    }

    /// The slots of partitions.
    pub fn slots(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut slots = vec![];
        self.index.intern(keys, rows, &mut slots)?;
        grow_to(&mut self.counts, self.index.slots(), 0);
        Ok(slots)
    }

    /// The number of a partition.
    pub fn count(&self, slot: u32) -> u64 {
        self.counts[slot as usize]
    }

    /// Counts one row more of a partition, and gives the number.
    pub fn add(&mut self, slot: u32) -> u64 {
        self.changes.mark(slot);
        self.counts[slot as usize] += 1;
        self.counts[slot as usize]
    }

    /// Notes that partitions are written at `now`.
    pub fn touch(&mut self, slots: &[u32], now: Timestamp) {
        if let Some(expiry) = &mut self.expiry {
            expiry.touch(slots.iter().copied(), now);
            slots.iter().for_each(|slot| self.changes.mark(*slot));
        }
    }

    /// When the next partitions may be due to be forgotten.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.expiry.as_ref().and_then(Expiry::next)
    }

    /// The partitions that are due.
    pub fn due(&mut self, now: Timestamp) -> Vec<u32> {
        self.expiry.as_mut().map(|expiry| expiry.due(now)).unwrap_or_default()
    }

    /// The keys of partitions, a column each.
    pub fn keys(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.index.keys(slots)
    }

    /// Forgets partitions.
    pub fn forget(&mut self, slots: &[u32]) -> Result<()> {
        self.changes.bury(&self.index, slots)?;
        self.drop(slots);
        Ok(())
    }

    fn drop(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.counts[*slot as usize] = 0);
        self.expiry.iter_mut().for_each(|expiry| expiry.forget(slots));
        self.index.remove(slots);
    }

    /// What has changed since `since`.
    pub fn save(&mut self, since: Epoch) -> Result<Vec<StateTable>> {
        let changed = self.changes.take(&self.index, since)?;
        let mut columns = self.index.keys(&changed.groups)?;
        columns.extend(self.expiry.iter().map(|expiry| Arc::new(expiry.written(&changed.groups)) as ArrayRef));
        let counts = changed.groups.iter().map(|slot| Some(self.count(*slot)));
        columns.push(Arc::new(counts.collect::<UInt64Array>()));
        let counted = table(COUNTED, columns, changed.groups.len())?;
        Ok(changed.gone.into_iter().chain([counted]).collect())
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        if let Some(gone) = snapshot.table(GONE) {
            let slots = self.slots(gone.columns(), gone.num_rows())?;
            self.drop(&slots);
        }
        let Some(saved) = snapshot.table(COUNTED) else { return Ok(()) };
        let wrong = || InternalError::new("the numbers of first rows are not in their form");
        let (counts, keys) = saved.columns().split_last().ok_or_else(wrong)?;
        let counts = counts.as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
        let (written, keys): (Option<&Int64Array>, _) = match &self.expiry {
            Some(_) => {
                let (written, keys) = keys.split_last().ok_or_else(wrong)?;
                (Some(written.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?), keys)
            }
            None => (None, keys),
        };
        let slots = self.slots(keys, saved.num_rows())?;
        if let (Some(expiry), Some(written)) = (&mut self.expiry, written) {
            expiry.resume(&slots, written);
        }
        slots.iter().zip(counts.values()).for_each(|(slot, count)| self.counts[*slot as usize] = *count);
        Ok(())
    }

    /// How much is kept.
    pub fn size(&self) -> StateSize {
        let expiry = self.expiry.as_ref().map_or(0, Expiry::bytes);
        let counts = self.counts.capacity() * size_of::<u64>();
        StateSize { rows: self.index.len(), bytes: self.index.bytes() + counts + self.changes.bytes() + expiry }
    }
}
