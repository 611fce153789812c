//! A join in a snapshot: the rows of its sides that have come, changed or gone.
//!
//! Everything else follows from them: a restored join takes them in once more, and says nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};

use crate::error::{InternalError, Result};
use crate::operators::Output;
use crate::operators::rows::{BATCH_ROWS, record_batch};
use crate::state::{Changes, Expiry, GroupIndex, RowId, Snapshot, StateTable, table};
use crate::types::{Batch, Epoch, RowKind, RowKinds};

use super::store::{Counted, Store, keys_of};
use super::{Join, Side};

/// For each side: keys and rows that have come; if they may go, rows, how often they are there, and when they appeared;
/// if they may be forgotten, when they were written and how many they have matched. If the watermark drops them, until
/// when they wait and how many they have matched.
pub(super) const ROWS: [&str; 2] = ["left", "right"];
/// For each side: rows that are gone.
const TAKEN_BACK: [&str; 2] = ["left gone", "right gone"];

impl Join {
    pub(super) fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        if let Some(timed) = &self.timed {
            return self.save_timed(timed);
        }
        let mut tables = vec![];
        for (at, side) in self.sides.iter_mut().enumerate() {
            match &mut side.rows {
                Store::Appended { rows, slots, saved } => {
                    let from = if since == Epoch::ZERO { 0 } else { *saved };
                    let ids: Vec<Option<RowId>> = (from..rows.live()).map(Some).collect();
                    let mut columns = keys_of(&self.index, &slots[from..])?;
                    columns.extend(rows.gather(&ids)?);
                    tables.push(table(ROWS[at], columns, ids.len())?);
                    *saved = rows.live();
                }
                Store::Counted(counted) => {
                    let matches = side.matches.as_deref().unwrap_or_default();
                    let memory = self.forgets.then_some((side.expiry.as_ref(), matches));
                    tables.extend(counted.save(since, at, memory)?);
                }
            }
        }
        Ok(Snapshot { tables })
    }

    pub(super) fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let Some(last) = snapshots.last() else { return Ok(()) };
        if self.timed.is_some() {
            return self.restore_timed(last);
        }
        let mut remembered = vec![];
        for (side, name) in ROWS.into_iter().enumerate() {
            match &mut self.sides[side].rows {
                Store::Appended { rows, .. } => {
                    let schema = rows.schema().clone();
                    for saved in snapshots.iter().filter_map(|snapshot| snapshot.table(name)) {
                        let (keys, columns) = saved.columns().split_at(self.sides[side].keys.len());
                        let rows = record_batch(&schema, columns.to_vec(), saved.num_rows())?;
                        self.take_in(side, keys, &Batch::append_only(rows))?;
                    }
                }
                Store::Counted(counted) => {
                    let (rows, memory) = counted.restored(snapshots, side)?;
                    remembered.push((side, memory));
                    let keys = self.sides[side].keys.iter().map(|key| key.evaluate(&rows));
                    let keys = keys.collect::<Result<Vec<_>>>()?;
                    let kinds = RowKinds::all(RowKind::Insert, rows.num_rows());
                    self.take_in(side, &keys, &Batch::changelog(rows, kinds))?;
                }
            }
        }
        remembered.into_iter().try_for_each(|(side, memory)| self.remember(side, &memory))?;
        for side in &mut self.sides {
            match &mut side.rows {
                Store::Appended { rows, saved, .. } => *saved = rows.live(),
                Store::Counted(counted) => counted.changes = Changes::resumed(&counted.index.groups_in_order()),
            }
        }
        Ok(())
    }

    /// Gives the rows of a side back when they appeared, were last written, and what they have matched: rows that have
    /// been forgotten count.
    fn remember(&mut self, side: usize, memory: &Memory) -> Result<()> {
        let Side { rows: Store::Counted(counted), matches, expiry, .. } = &mut self.sides[side] else { return Ok(()) };
        let mut numbers = vec![];
        counted.index.intern(&memory.rows, memory.sequence.len(), &mut numbers)?;
        counted.index.set_sequence(&numbers, &memory.sequence);
        if let Some(matches) = matches.as_mut().filter(|_| self.forgets) {
            numbers.iter().zip(&memory.matches).for_each(|(number, had)| matches[*number as usize] = *had);
        }
        if let Some(expiry) = expiry {
            expiry.clear();
            expiry.resume(&numbers, &memory.written.iter().copied().collect());
        }
        Ok(())
    }

    /// Takes rows in that had been taken in before: what follows was said then.
    fn take_in(&mut self, side: usize, keys: &[ArrayRef], batch: &Batch) -> Result<()> {
        let mut out = Output::default();
        for from in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            let rows = BATCH_ROWS.min(batch.num_rows() - from);
            let keys: Vec<ArrayRef> = keys.iter().map(|key| key.slice(from, rows)).collect();
            self.arrive(side, &keys, None, &batch.slice(from, rows), &mut out)?;
            out.drain().for_each(drop);
        }
        Ok(())
    }
}

impl Counted {
    pub(in crate::operators) fn save(
        &mut self,
        since: Epoch,
        side: usize,
        memory: Option<(Option<&Expiry>, &[u32])>,
    ) -> Result<Vec<StateTable>> {
        let changed = self.changes.take(&self.index, since)?;
        let counts = changed.groups.iter().map(|row| self.counts[*row as usize]);
        let mut columns = self.index.keys(&changed.groups)?;
        columns.push(Arc::new(counts.collect::<UInt32Array>()));
        columns.push(Arc::new(UInt64Array::from(self.index.sequence(&changed.groups))));
        if let Some((expiry, matches)) = memory {
            let matched = |row: &u32| matches.get(*row as usize).copied().unwrap_or(0);
            let never = || changed.groups.iter().map(|_| 0).collect::<Int64Array>();
            columns.push(Arc::new(expiry.map_or_else(never, |expiry| expiry.written(&changed.groups))));
            columns.push(Arc::new(changed.groups.iter().map(matched).collect::<UInt32Array>()));
        }
        let gone = changed.gone.map(|gone| StateTable { name: TAKEN_BACK[side], ..gone });
        let rows = table(ROWS[side], columns, changed.groups.len())?;
        Ok(gone.into_iter().chain([rows]).collect())
    }

    /// What snapshots hold of a side: its rows, in the order in which they appeared, each as often as it is there, and
    /// what is known of each.
    pub(in crate::operators) fn restored(
        &mut self,
        snapshots: &[Snapshot],
        side: usize,
    ) -> Result<(RecordBatch, Memory)> {
        let types: Vec<_> = self.schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let mut index = GroupIndex::new(&types)?;
        let (mut counts, mut slots) = (vec![], vec![]);
        let (mut written, mut matches) = (vec![], vec![]);
        for snapshot in snapshots {
            if let Some(gone) = snapshot.table(TAKEN_BACK[side]) {
                index.intern(gone.columns(), gone.num_rows(), &mut slots)?;
                index.remove(&slots);
            }
            let Some(rows) = snapshot.table(ROWS[side]) else { continue };
            let (columns, rest) = rows.columns().split_at(types.len().min(rows.num_columns()));
            let [count, sequence, memory @ ..] = rest else {
                return Err(InternalError::new("a saved row has no count").into());
            };
            index.intern(columns, rows.num_rows(), &mut slots)?;
            index.set_sequence(&slots, sequence.as_primitive::<UInt64Type>().values());
            counts.resize(index.slots().max(counts.len()), 0);
            for (slot, count) in slots.iter().zip(count.as_primitive::<UInt32Type>().values()) {
                counts[*slot as usize] = *count;
            }
            if let [when, matched] = memory {
                written.resize(counts.len(), 0);
                matches.resize(counts.len(), 0);
                let (when, matched) = (when.as_primitive::<Int64Type>(), matched.as_primitive::<UInt32Type>());
                for (row, slot) in slots.iter().enumerate() {
                    written[*slot as usize] = when.value(row);
                    matches[*slot as usize] = matched.value(row);
                }
            }
        }
        let rows = index.groups_in_order();
        let copies = rows.iter().zip(0u32..).flat_map(|(row, at)| (0..counts[*row as usize]).map(move |_| at));
        let copies: UInt32Array = copies.collect();
        let columns = index.keys(&rows)?;
        let copied = columns.iter().map(|column| take(column, &copies, None)).collect::<Result<Vec<ArrayRef>, _>>()?;
        let memory = Memory {
            sequence: index.sequence(&rows),
            written: rows.iter().map(|row| written.get(*row as usize).copied().unwrap_or(0)).collect(),
            matches: rows.iter().map(|row| matches.get(*row as usize).copied().unwrap_or(0)).collect(),
            rows: columns,
        };
        Ok((record_batch(&self.schema, copied, copies.len())?, memory))
    }
}

/// What is known of each distinct row of a side besides how often it is there.
pub(in crate::operators) struct Memory {
    pub rows: Vec<ArrayRef>,
    /// When it appeared.
    pub sequence: Vec<u64>,
    /// When it was last written, and how many rows it has matched, if rows may be forgotten.
    written: Vec<i64>,
    matches: Vec<u32>,
}
