//! WHAT SURVIVES? What `CHECKPOINT` writes and `RESTART` resumes from.
//!
//! A checkpoint is a chain for each operator: a full snapshot, then what has changed with each later checkpoint.
//! A long chain is replaced by a new full snapshot, so that neither memory nor the time to resume grows without end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::Error;
use crate::io;
use crate::runtime::{DataflowSnapshot, PartitionState};
use crate::state::Snapshot;
use crate::types::{Batch, Epoch, Timestamp};

/// After how many increments a full snapshot is taken.
const INCREMENTS_MAX: usize = 8;

/// The number of a pipeline, in the order in which they were created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PipelineId(pub(crate) u64);

/// What a pipeline needs to go on from where it was.
#[derive(Clone, Debug, Default)]
pub struct PipelineSnapshot {
    /// The state of its operators.
    pub dataflow: DataflowSnapshot,
    /// How far it has read what it reads by itself.
    pub feeds: Vec<FeedPosition>,
    /// Which feeds have been read to their end.
    pub finished: Vec<bool>,
    /// What was emitted and not yet asked for.
    pub pending: Vec<Batch>,
    /// The rows that it keeps, if it is a materialized view, as a chain of snapshots.
    pub kept: Vec<Snapshot>,
    /// What had stopped it.
    pub error: Option<Error>,
}

/// How far a feed has been read.
#[derive(Clone, Debug)]
pub enum FeedPosition {
    /// Rows that were there from the start, and whether they have been read.
    Ready {
        /// The rows.
        rows: Batch,
        /// Whether they have been read.
        read: bool,
    },
    /// A position in a file.
    File {
        /// The position.
        position: io::Position,
        /// The file that the last rows came from.
        file: u64,
        /// Its watermark, if somebody judges by it.
        watermark: Option<PartitionState>,
    },
}

/// What a sink needs to go on from where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkSnapshot {
    /// It was open, and had been written up to there; nothing had been written to it without a position.
    Open(Option<io::SinkPosition>),
    /// It was finished or had failed.
    Over,
}

/// Everything as it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Its number.
    pub epoch: Epoch,
    /// The engine's clock.
    pub now: Timestamp,
    /// The relations that were closed.
    pub closed: BTreeSet<Arc<str>>,
    /// The pipelines that were running.
    pub pipelines: BTreeMap<PipelineId, PipelineSnapshot>,
    /// The rows of the tables, as chains of snapshots.
    pub tables: BTreeMap<Arc<str>, Vec<Snapshot>>,
    /// The watermarks of what is fed.
    pub watermarks: BTreeMap<Arc<str>, PartitionState>,
    /// The sinks.
    pub sinks: BTreeMap<Arc<str>, SinkSnapshot>,
}

/// The last checkpoint, in memory.
#[derive(Default)]
pub struct MemoryStore {
    last: Option<Checkpoint>,
    increments: usize,
    /// A checkpoint that failed half way has told some operators that their changes are written.
    interrupted: bool,
}

impl MemoryStore {
    /// The last checkpoint, if there is one.
    pub fn last(&self) -> Option<&Checkpoint> {
        self.last.as_ref()
    }

    /// Since which epoch the next checkpoint needs changes: [`Epoch::ZERO`] if it must be full.
    pub fn since(&self) -> Epoch {
        if self.interrupted || self.increments >= INCREMENTS_MAX {
            return Epoch::ZERO;
        }
        self.last.as_ref().map_or(Epoch::ZERO, |last| last.epoch)
    }

    /// A copy of the last checkpoint with the next number, to be brought up to date and handed to [`MemoryStore::keep`].
    /// Until then the last one stands.
    pub fn begin(&mut self) -> Checkpoint {
        self.interrupted = true;
        let mut next = self.last.clone().unwrap_or_default();
        next.epoch = next.epoch.next();
        next
    }

    /// Makes `checkpoint`, whose changes are since epoch `since`, the last one.
    pub fn keep(&mut self, checkpoint: Checkpoint, since: Epoch) {
        self.increments = if since == Epoch::ZERO { 0 } else { self.increments + 1 };
        self.interrupted = false;
        self.last = Some(checkpoint);
    }

    /// Forgets a relation or sink that was dropped: another one may take its name.
    pub fn forget_relation(&mut self, name: &str) {
        if let Some(last) = &mut self.last {
            last.closed.remove(name);
            last.tables.remove(name);
            last.watermarks.remove(name);
            last.sinks.remove(name);
        }
    }

    /// Forgets a pipeline that was dropped.
    pub fn forget_pipeline(&mut self, id: PipelineId) {
        if let Some(last) = &mut self.last {
            last.pipelines.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_chain_is_replaced_by_a_full_snapshot() {
        let mut store = MemoryStore::default();
        let mut full = 0;
        for _ in 0..20 {
            let since = store.since();
            full += usize::from(since == Epoch::ZERO);
            let next = store.begin();
            store.keep(next, since);
        }
        assert_eq!(full, 3);
    }

    #[test]
    fn after_an_interrupted_checkpoint_the_next_is_full() {
        let mut store = MemoryStore::default();
        let (since, next) = (store.since(), store.begin());
        store.keep(next, since);
        assert_ne!(store.since(), Epoch::ZERO);
        drop(store.begin());
        assert_eq!(store.since(), Epoch::ZERO);
    }
}
