//! Sessions in a snapshot: those that changed with what is kept of them, which are gone, and which ends are remembered.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{ArrowPrimitiveType, Int64Type, UInt64Type};

use crate::error::{InternalError, Result};
use crate::operators::aggregate::Accumulators;
use crate::state::{RowLists, Snapshot, table};
use crate::types::{Epoch, Timestamp};

use super::sessions::{Bounds, Sessions};

/// Keys, first row, start and end, then what is kept of the session.
const SESSIONS: &str = "sessions";
/// First rows.
const GONE: &str = "gone";
/// Keys, and the ends that are remembered of them.
const ENDS: &str = "ends";
/// Up to where sessions have ended, how many have begun, and when early results are due.
const REACHED: &str = "reached";

/// What has changed since the last snapshot. Before the first, which holds everything, nothing is noted.
#[derive(Default)]
pub(super) struct Dirty {
    noting: bool,
    slots: Vec<u32>,
    marked: Vec<bool>,
    /// The first rows of sessions that are gone.
    gone: Vec<u64>,
    /// The keys of which another end is remembered.
    ends: Vec<u32>,
}

impl Dirty {
    pub fn mark(&mut self, slots: &[u32], room: usize) {
        if !self.noting {
            return;
        }
        self.marked.resize(room.max(self.marked.len()), false);
        for slot in slots {
            if !std::mem::replace(&mut self.marked[*slot as usize], true) {
                self.slots.push(*slot);
            }
        }
    }

    /// Notes that a session is gone.
    pub fn bury(&mut self, first: u64) {
        if self.noting {
            self.gone.push(first);
        }
    }

    /// Notes that another end is remembered of a key.
    pub fn note_end(&mut self, key: u32) {
        if self.noting {
            self.ends.push(key);
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let gone = self.gone.capacity() * size_of::<u64>();
        gone + (self.slots.capacity() + self.ends.capacity()) * size_of::<u32>() + self.marked.capacity()
    }
}

/// What is kept of each session, in columns by slot.
pub(super) trait Payload {
    /// Makes room for slots below `slots`.
    fn grow(&mut self, slots: usize);
    /// What is kept of sessions, as columns.
    fn save(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>>;
    /// Puts back what was saved, instead of what is there.
    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()>;
    /// Makes slots as new.
    fn reset(&mut self, slots: &[u32]);
}

impl Payload for Accumulators {
    fn grow(&mut self, slots: usize) {
        Accumulators::grow(self, slots);
    }

    fn save(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let rows = Int64Array::from_iter_values(slots.iter().map(|slot| self.rows(*slot)));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(rows)];
        columns.extend(Accumulators::save(self, slots)?);
        Ok(columns)
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (rows, state) = columns.split_first().ok_or_else(misses)?;
        Accumulators::load(self, slots, numbers::<Int64Type>(Some(rows))?, state)
    }

    fn reset(&mut self, slots: &[u32]) {
        Accumulators::reset(self, slots);
    }
}

impl Payload for RowLists {
    fn grow(&mut self, slots: usize) {
        RowLists::grow(self, slots);
    }

    fn save(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        RowLists::save(self, slots)
    }

    fn load(&mut self, slots: &[u32], columns: &[ArrayRef]) -> Result<()> {
        RowLists::reset(self, slots);
        RowLists::load(self, slots, columns)
    }

    fn reset(&mut self, slots: &[u32]) {
        RowLists::reset(self, slots);
    }
}

/// Nothing: sessions that only judge rows.
impl Payload for () {
    fn grow(&mut self, _: usize) {}

    fn save(&mut self, _: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![])
    }

    fn load(&mut self, _: &[u32], _: &[ArrayRef]) -> Result<()> {
        Ok(())
    }

    fn reset(&mut self, _: &[u32]) {}
}

impl Sessions {
    /// What has changed since `since`; everything for [`Epoch::ZERO`].
    pub fn save(&mut self, payload: &mut impl Payload, since: Epoch, due: Option<Timestamp>) -> Result<Snapshot> {
        self.dirty.noting = true;
        let mut changed = std::mem::take(&mut self.dirty.slots);
        changed.iter().for_each(|slot| self.dirty.marked[*slot as usize] = false);
        let (mut gone, mut keys) = (std::mem::take(&mut self.dirty.gone), std::mem::take(&mut self.dirty.ends));
        if since == Epoch::ZERO {
            (changed, gone, keys) = (self.all(), vec![], self.all_keys());
        }
        changed.retain(|slot| self.is_open(*slot));
        keys.sort_unstable();
        keys.dedup();
        let mut columns = self.key_columns(&changed)?;
        let bounds = || changed.iter().map(|slot| self.bounds(*slot));
        columns.push(Arc::new(UInt64Array::from_iter_values(changed.iter().map(|slot| self.first(*slot)))));
        columns.push(Arc::new(Int64Array::from_iter_values(bounds().map(|bounds| bounds.start))));
        columns.push(Arc::new(Int64Array::from_iter_values(bounds().map(|bounds| bounds.end))));
        columns.extend(payload.save(&changed)?);
        let (numbers, ends): (Vec<u32>, Vec<i64>) = self.ends(&keys).into_iter().unzip();
        let mut remembered = self.index.keys(&numbers)?;
        remembered.push(Arc::new(Int64Array::from(ends)));
        let reached: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![self.reached])),
            Arc::new(UInt64Array::from(vec![self.next])),
            Arc::new(Int64Array::from(vec![due.map(Timestamp::nanos)])),
        ];
        let count = gone.len();
        Ok(Snapshot {
            tables: vec![
                table(GONE, vec![Arc::new(UInt64Array::from(gone))], count)?,
                table(SESSIONS, columns, changed.len())?,
                table(ENDS, remembered, numbers.len())?,
                table(REACHED, reached, 1)?,
            ],
        })
    }

    /// Merges snapshots into empty sessions, in order. Gives when early results are due, and the slots of sessions by
    /// their first rows.
    pub fn restored(
        &mut self,
        payload: &mut impl Payload,
        snapshots: &[Snapshot],
    ) -> Result<(Option<Timestamp>, HashMap<u64, u32>)> {
        self.dirty.noting = !snapshots.is_empty();
        let (mut slots, mut due) = (HashMap::new(), None);
        for snapshot in snapshots {
            if let Some(gone) = snapshot.table(GONE) {
                for first in numbers::<UInt64Type>(gone.columns().first())? {
                    if let Some(slot) = slots.remove(first) {
                        self.undo(slot);
                        payload.reset(&[slot]);
                    }
                }
            }
            if let Some(saved) = snapshot.table(SESSIONS) {
                self.restore_sessions(saved, payload, &mut slots)?;
            }
            if let Some(saved) = snapshot.table(ENDS) {
                let (ends, keys) = saved.columns().split_last().ok_or_else(misses)?;
                let found = self.numbered(keys, saved.num_rows())?;
                for (number, end) in found.into_iter().zip(numbers::<Int64Type>(Some(ends))?) {
                    self.remember(number, *end);
                }
            }
            let [reached, next, soon] = snapshot.table(REACHED).ok_or_else(misses)?.columns() else {
                return Err(misses());
            };
            self.reached = numbers::<Int64Type>(Some(reached))?.first().copied().ok_or_else(misses)?;
            self.next = numbers::<UInt64Type>(Some(next))?.first().copied().ok_or_else(misses)?;
            let nanos = soon.is_valid(0).then(|| numbers::<Int64Type>(Some(soon))).transpose()?;
            due = nanos.and_then(|nanos| nanos.first()).map(|nanos| Timestamp::from_nanos(*nanos));
        }
        self.dirty.forget_all();
        self.link_all();
        Ok((due, slots))
    }

    fn restore_sessions(
        &mut self,
        saved: &RecordBatch,
        payload: &mut impl Payload,
        slots: &mut HashMap<u64, u32>,
    ) -> Result<()> {
        let (keys, rest) = saved.columns().split_at_checked(self.width()).ok_or_else(misses)?;
        let [firsts, starts, ends, kept @ ..] = rest else { return Err(misses()) };
        let found = self.numbered(keys, saved.num_rows())?;
        let firsts = numbers::<UInt64Type>(Some(firsts))?;
        let (starts, ends) = (numbers::<Int64Type>(Some(starts))?, numbers::<Int64Type>(Some(ends))?);
        let mut own = Vec::with_capacity(found.len());
        for (row, number) in found.into_iter().enumerate() {
            let bounds = Bounds { start: starts[row], end: ends[row] };
            let slot = match slots.get(&firsts[row]) {
                Some(slot) => *slot,
                None => self.restore(number, bounds, firsts[row]),
            };
            self.set_bounds(slot, bounds);
            slots.insert(firsts[row], slot);
            own.push(slot);
        }
        payload.grow(self.slots());
        payload.load(&own, kept)
    }

    /// The numbers of keys, all of them grown to.
    pub fn numbered(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut found = vec![];
        self.index.intern(keys, rows, &mut found)?;
        self.grow_keys();
        Ok(found)
    }
}

impl Dirty {
    fn forget_all(&mut self) {
        *self = Dirty { noting: self.noting, ..Dirty::default() };
    }
}

/// The numbers of a saved column.
pub(super) fn numbers<T: ArrowPrimitiveType>(column: Option<&ArrayRef>) -> Result<&[T::Native]> {
    let column = column.and_then(|column| column.as_primitive_opt::<T>());
    Ok(column.ok_or_else(misses)?.values())
}

pub(super) fn misses() -> crate::error::Error {
    InternalError::new("saved sessions are not in their form").into()
}
