//! `GROUP BY`, `DISTINCT` and aggregates without keys.
//!
//! ```text
//! rows in:   (a, 1) (b, 2) | (a, 3)        keys (k), sum(v)
//! FINAL:                                   at the end  a 4, b 2
//! RUNNING:   a 1, b 2      | a 4           a row out for a row in
//! CHANGES:   +I a 1, +I b 2 | -U a 1, +U a 4
//! ```
//!
//! A key becomes a dense group number, and everything else is columns by group number.

pub mod accumulator;
mod accumulators;
pub(super) mod changes;
mod saved;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use crate::error::Result;
use crate::expr::{AggregateCall, Expr};
use crate::operators::rows::without;
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::{Aggregate, AggregateEmit, ChangelogMode};
use crate::state::{Expiry, GroupIndex, Snapshot};
use crate::types::{Batch, Epoch, Interval, RowKind, RowKinds, Timestamp};

pub use accumulator::{Accumulators, accumulators, are_unordered, check_call, merging_accumulators};
pub use accumulators::keeps_values;

use changes::Changes;

/// Results come out in batches of at most so many rows.
const BATCH_ROWS: usize = 8_192;

/// Builds the operator of an aggregate.
pub fn build(node: &Aggregate, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let mut groups = Groups::new(&node.keys, &node.aggregates, node.input_mode, &node.schema)?;
    groups.totals = node.totals.clone();
    if let Some(ttl) = node.ttl {
        groups.expiry = Some(Expiry::new(ttl));
        groups.accumulators.forgive();
    }
    groups.restore(snapshots)?;
    if !groups.index.is_empty() {
        groups.note_totals()?;
    }
    Ok(match node.emit {
        AggregateEmit::Final => Box::new(Final { groups }),
        AggregateEmit::Running => Box::new(Running { groups }),
        AggregateEmit::Changes => Box::new(Changes::new(groups, None, snapshots)?),
        // Without a window there is no end but that of the input, where the former speaks too.
        AggregateEmit::Every(interval) | AggregateEmit::EveryAndFinal(interval) => {
            Box::new(Changes::new(groups, Some(interval), snapshots)?)
        }
    })
}

/// The groups and what is computed for them: what all emit modes share.
pub(super) struct Groups {
    keys: Vec<Expr>,
    schema: SchemaRef,
    index: GroupIndex,
    accumulators: Accumulators,
    dirty: saved::Dirty,
    /// The keys of the groups that are there even without a row, and those groups once they are known.
    totals: RecordBatch,
    always: Vec<u32>,
    /// Whether changes can only be new rows.
    appends: bool,
    /// Whether rows may be taken back, so that a group may lose its last.
    retracts: bool,
    /// Which groups had no row for so long that they are forgotten.
    expiry: Option<Expiry>,
}

/// Aggregates of the rows of each group so far, for an operator that says them beside other things.
pub(super) struct RunningTotals {
    groups: Groups,
}

impl RunningTotals {
    /// The aggregates by those keys, as snapshots have left them; a group is forgotten so long after its last row.
    pub fn new(
        keys: &[Expr],
        calls: &[AggregateCall],
        ttl: Option<Interval>,
        snapshots: &[Snapshot],
    ) -> Result<RunningTotals> {
        let mut groups = Groups::new(keys, calls, ChangelogMode::AppendOnly, &Arc::new(Schema::empty()))?;
        groups.expiry = ttl.map(Expiry::new);
        groups.restore(snapshots)?;
        Ok(RunningTotals { groups })
    }

    /// Takes rows in, and gives for each call its value after each of them.
    pub fn update(&mut self, batch: &Batch, now: Timestamp) -> Result<Vec<ArrayRef>> {
        let (_, numbers) = self.groups.number(batch)?;
        let values = self.groups.accumulators.update_running(batch.rows(), &numbers)?;
        self.groups.touch(&numbers, now);
        Ok(values)
    }

    /// Forgets the groups that are due, and gives how many.
    pub fn forget_due(&mut self, now: Timestamp) -> usize {
        let due = self.groups.due(now);
        self.groups.forget(&due);
        due.len()
    }

    /// When the next groups may be due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.groups.next_due()
    }

    /// What has changed since `since`.
    pub fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        self.groups.save(since)
    }

    /// How much is kept.
    pub fn size(&self) -> StateSize {
        self.groups.size()
    }
}

impl Groups {
    pub fn new(keys: &[Expr], calls: &[AggregateCall], mode: ChangelogMode, schema: &SchemaRef) -> Result<Groups> {
        let types: Vec<_> = keys.iter().map(|key| key.data_type().clone()).collect();
        Ok(Groups {
            keys: keys.to_vec(),
            schema: schema.clone(),
            index: GroupIndex::new(&types)?,
            accumulators: accumulators(calls, mode)?,
            dirty: saved::Dirty::default(),
            totals: RecordBatch::new_empty(Arc::new(Schema::empty())),
            always: vec![],
            appends: calls.is_empty() && mode == ChangelogMode::AppendOnly,
            retracts: mode == ChangelogMode::Changelog,
            expiry: None,
        })
    }

    /// The group of each row, all of them grown to.
    pub fn number(&mut self, batch: &Batch) -> Result<(Vec<ArrayRef>, Vec<u32>)> {
        let keys = self.keys.iter().map(|key| key.evaluate(batch.rows())).collect::<Result<Vec<_>>>()?;
        let mut groups = Vec::with_capacity(batch.num_rows());
        let ahead = |groups: &[u32]| self.accumulators.prefetch(groups);
        self.index.intern_ahead(&keys, batch.num_rows(), &mut groups, ahead)?;
        self.grow();
        if !groups.is_empty() {
            self.note_totals()?;
        }
        Ok((keys, groups))
    }

    fn grow(&mut self) {
        self.accumulators.grow(self.index.slots());
    }

    pub fn update(&mut self, batch: &Batch, groups: &[u32], now: Timestamp) -> Result<()> {
        match batch.kinds() {
            None => self.accumulators.update(batch.rows(), groups)?,
            Some(_) if self.expiry.is_some() => self.update_forgetful(batch, groups)?,
            Some(kinds) => {
                // A group that had no row left is new, wherever the batches were cut.
                let index = &mut self.index;
                self.accumulators.update_changes(batch.rows(), groups, kinds, |group| index.move_to_end(group))?;
            }
        }
        self.touch(groups, now);
        Ok(())
    }

    /// Takes rows in, and says nothing of them yet.
    pub fn take(&mut self, batch: Batch, out: &mut Output) -> Result<()> {
        let (_, mut groups) = self.number(&batch)?;
        let (batch, admitted) = self.admitted(batch, &groups, out)?;
        self.update(&batch, &admitted, out.now())?;
        if batch.kinds().is_some() {
            groups.retain(|group| !self.is_there(*group));
            groups.sort_unstable();
            groups.dedup();
            self.forget(&groups);
        }
        Ok(())
    }

    /// Adds what other groups of the same calls have seen, over rows that are only added, and leaves them as they are.
    pub fn absorb(&mut self, other: &mut Groups) -> Result<()> {
        let from = other.index.groups_in_order();
        let mut into = Vec::with_capacity(from.len());
        self.index.intern(&other.index.keys(&from)?, from.len(), &mut into)?;
        self.grow();
        self.accumulators.absorb(&into, &mut other.accumulators, &from, self.index.slots())
    }

    /// Takes rows in, and gives for each the row of its group after it.
    pub fn take_running(&mut self, batch: &Batch, now: Timestamp) -> Result<RecordBatch> {
        let (mut columns, groups) = self.number(batch)?;
        columns.extend(self.accumulators.update_running(batch.rows(), &groups)?);
        self.touch(&groups, now);
        self.batch(columns, groups.len())
    }

    /// As [`Groups::update`] where groups are forgotten: what is left of one whose last row goes, because a row was
    /// taken back that is not there any more, goes with it, wherever the batches are cut.
    fn update_forgetful(&mut self, batch: &Batch, groups: &[u32]) -> Result<()> {
        let mut left: HashMap<u32, i64> = HashMap::new();
        let mut from = 0;
        for (row, group) in groups.iter().enumerate() {
            if left.get(group) == Some(&0) {
                self.update_part(&batch.slice(from, row - from), &groups[from..row])?;
                left.clear();
                from = row;
            }
            *left.entry(*group).or_insert_with(|| self.accumulators.rows(*group)) += batch.kind(row).weight();
        }
        self.update_part(&batch.slice(from, groups.len() - from), &groups[from..])
    }

    fn update_part(&mut self, batch: &Batch, groups: &[u32]) -> Result<()> {
        let Some(kinds) = batch.kinds() else { return self.accumulators.update(batch.rows(), groups) };
        let index = &mut self.index;
        self.accumulators.update_changes(batch.rows(), groups, kinds, |group| index.move_to_end(group))?;
        let empty: Vec<u32> = groups.iter().copied().filter(|group| self.accumulators.rows(*group) == 0).collect();
        self.accumulators.reset(&empty);
        Ok(())
    }

    /// Notes that groups have been written.
    fn touch(&mut self, groups: &[u32], now: Timestamp) {
        self.dirty.mark(groups);
        if let Some(expiry) = &mut self.expiry {
            expiry.touch(groups.iter().copied(), now);
        }
    }

    /// The rows of a batch and their groups, without those that take back a row of a group that has been forgotten.
    fn admitted(&self, batch: Batch, groups: &[u32], out: &mut Output) -> Result<(Batch, Vec<u32>)> {
        let whole = (batch, groups.to_vec());
        let Some(kinds) = whole.0.kinds().filter(|_| self.expiry.is_some()) else { return Ok(whole) };
        if kinds.iter().all(|kind| kind.weight() > 0) {
            return Ok(whole);
        }
        let mut left: HashMap<u32, i64> = HashMap::new();
        let admit = |(group, kind): (&u32, RowKind)| {
            let rows = left.entry(*group).or_insert_with(|| self.accumulators.rows(*group));
            let there = kind.weight() > 0 || *rows > 0;
            *rows += if there { kind.weight() } else { 0 };
            there
        };
        let there: Vec<bool> = groups.iter().zip(kinds.iter()).map(admit).collect();
        let (batch, ignored) = without(&whole.0, &there)?;
        out.ignore(ignored);
        Ok((batch, groups.iter().zip(there).filter(|(_, there)| *there).map(|(group, _)| *group).collect()))
    }

    /// The groups that are due to be forgotten. The totals are there for good.
    fn due(&mut self, now: Timestamp) -> Vec<u32> {
        let mut due = self.expiry.as_mut().map(|expiry| expiry.due(now)).unwrap_or_default();
        due.retain(|group| !self.always.contains(group));
        due
    }

    /// Forgets the groups that are due: nothing is said of it, and their next rows begin anew.
    fn expire(&mut self, now: Timestamp, out: &mut Output) {
        let due = self.due(now);
        out.expire(due.len());
        self.forget(&due);
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.expiry.as_ref().and_then(Expiry::next)
    }

    /// The groups that are there even without a row, made if they are not there yet.
    fn note_totals(&mut self) -> Result<()> {
        if self.always.is_empty() && self.totals.num_rows() > 0 {
            self.index.intern(self.totals.columns(), self.totals.num_rows(), &mut self.always)?;
            self.grow();
        }
        Ok(())
    }

    /// Whether a group is part of the answer: a total always is, another group while it has rows.
    #[inline]
    pub fn is_there(&self, group: u32) -> bool {
        self.accumulators.rows(group) > 0 || self.always.contains(&group)
    }

    fn columns(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = self.index.keys(groups)?;
        columns.extend(self.accumulators.read(groups)?);
        Ok(columns)
    }

    pub fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    /// Says all groups that are there, in the order in which they first appeared.
    pub fn say_all(&mut self, kind: Option<RowKind>, out: &mut Output) -> Result<()> {
        self.note_totals()?;
        let groups: Vec<u32> = self.index.groups_in_order().into_iter().filter(|group| self.is_there(*group)).collect();
        for groups in groups.chunks(BATCH_ROWS) {
            let columns = self.columns(groups)?;
            let rows = self.batch(columns, groups.len())?;
            out.push(match kind {
                Some(kind) => Batch::changelog(rows, RowKinds::all(kind, groups.len())),
                None => Batch::append_only(rows),
            });
        }
        Ok(())
    }

    fn forget_all(&mut self) {
        let groups = self.index.groups_in_order();
        self.dirty.mark(&groups);
        self.forget(&groups);
    }

    /// Frees groups that have no rows any more.
    pub fn forget(&mut self, groups: &[u32]) {
        self.dirty.bury(&self.index, groups);
        self.accumulators.reset(groups);
        self.index.remove(groups);
        if let Some(expiry) = &mut self.expiry {
            expiry.forget(groups);
        }
        self.always.retain(|group| !groups.contains(group));
    }

    pub fn size(&self) -> StateSize {
        let expiry = self.expiry.as_ref().map_or(0, Expiry::bytes);
        let bytes = self.index.bytes() + self.accumulators.bytes() + self.dirty.bytes() + expiry;
        StateSize { rows: self.index.len(), bytes }
    }
}

/// `EMIT FINAL`: each group once, at the end.
struct Final {
    groups: Groups,
}

impl Operator for Final {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        self.groups.take(batch, out)
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        self.groups.expire(now, out);
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        self.groups.say_all(None, out)?;
        self.groups.forget_all();
        Ok(())
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.groups.next_due()
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.groups.save(since).map(Some)
    }

    fn state_size(&self) -> StateSize {
        self.groups.size()
    }
}

/// `EMIT RUNNING`: a row out for every row in.
struct Running {
    groups: Groups,
}

impl Operator for Running {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let rows = self.groups.take_running(&batch, out.now())?;
        out.push(Batch::append_only(rows));
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        self.groups.expire(now, out);
        Ok(())
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.groups.next_due()
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        out.advance(watermark);
        Ok(())
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.groups.save(since).map(Some)
    }

    fn state_size(&self) -> StateSize {
        self.groups.size()
    }
}

#[cfg(test)]
mod tests;
