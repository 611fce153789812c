//! When partitions were last written, where those are forgotten that were not for long.
//!
//! A snapshot has that beside the rows: a row that is refused a place renews its partition as well.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::error::{InternalError, Result};
use crate::state::{Changes, Expiry, GroupIndex, StateTable, table};
use crate::types::{Epoch, Interval, Timestamp};

/// Keys of partitions, and when each was last written.
pub(super) const WRITTEN: &str = "written";

/// When partitions were last written.
pub(super) struct Written {
    expiry: Expiry,
    /// Which partitions were written since the last snapshot.
    changes: Changes,
}

impl Written {
    pub fn new(ttl: Interval) -> Written {
        Written { expiry: Expiry::new(ttl), changes: Changes::default() }
    }

    /// Partitions are written at `now`.
    pub fn touch(&mut self, partitions: &[u32], now: Timestamp) {
        self.expiry.touch(partitions.iter().copied(), now);
        partitions.iter().for_each(|partition| self.changes.mark(*partition));
    }

    /// When the next partitions may be due.
    pub fn next(&self) -> Option<Timestamp> {
        self.expiry.next()
    }

    /// The partitions that are due to be forgotten.
    pub fn due(&mut self, now: Timestamp) -> Vec<u32> {
        self.expiry.due(now)
    }

    /// Partitions are about to be forgotten. That they are gone a snapshot says by their rows.
    pub fn forget(&mut self, partitions: &[u32]) {
        self.expiry.forget(partitions);
        self.changes.drop(partitions);
    }

    /// What has been written since `since`.
    pub fn save(&mut self, index: &GroupIndex, since: Epoch) -> Result<StateTable> {
        let written = self.changes.take(index, since)?.groups;
        let mut columns = index.keys(&written)?;
        columns.push(Arc::new(self.expiry.written(&written)));
        table(WRITTEN, columns, written.len())
    }

    /// Takes in what a snapshot says of those partitions.
    pub fn resume(&mut self, partitions: &[u32], saved: &RecordBatch) -> Result<()> {
        let wrong = || InternalError::new("a saved partition does not say when it was written");
        let written = saved.columns().last().and_then(|written| written.as_primitive_opt::<Int64Type>());
        self.expiry.resume(partitions, written.ok_or_else(wrong)?);
        Ok(())
    }

    /// All that is there is in a snapshot.
    pub fn resumed(&mut self, index: &GroupIndex) {
        self.expiry.resumed();
        self.changes = Changes::resumed(&index.groups_in_order());
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.expiry.bytes() + self.changes.bytes()
    }
}
