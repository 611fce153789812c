//! Keyed joins: two or more sides joined on one key, with what each side remembers and when combinations come out.
//!
//! ```text
//! left:   (a, L1)          (a, L2)                   KEEP LAST EMIT RUNNING, FULL
//! right:           (a, R1)         (b, R2)
//! out:    a L1 -   a L1 R1  a L2 R1  b - R2
//! ```
//!
//! Each row is offered to its side (`Kept::offer`), then the key speaks or stays silent. What comes out is
//! noted as row numbers and gathered column by column when the batch is through.

mod kept;
mod saved;
#[cfg(test)]
mod tests;
mod windows;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::Expr;
use crate::operators::matching::{NONE, Nulls, slots_of_whole};
use crate::operators::rows::{BATCH_ROWS, append_only, record_batch};
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node::{JoinEmit, JoinKeep, JoinSide, KeyedJoin};
use crate::state::{Changes, Expiry, GroupIndex, RowId, RowStore, Snapshot};
use crate::types::{Batch, Epoch, Interval, Timestamp};

use kept::Kept;
use windows::Windows;

/// Builds the operator of a keyed join.
pub fn build(node: &KeyedJoin, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let types: Vec<_> = node.sides[0].keys.iter().map(|key| key.data_type().clone()).collect();
    let side = |side: &JoinSide| {
        Ok(Side {
            keys: side.keys.clone(),
            columns: side.columns.clone(),
            store: RowStore::new(Arc::new(side.input.schema().project(&side.columns)?)),
            kept: Kept::new(node.keep),
            picked: vec![],
        })
    };
    let mut join = Join {
        keep: node.keep,
        emit: node.emit,
        required: node.required.clone(),
        schema: node.schema.clone(),
        index: GroupIndex::new(&types)?,
        sides: node.sides.iter().map(side).collect::<Result<_>>()?,
        appeared: vec![],
        loners: vec![],
        next: 0,
        loners_saved: 0,
        loners_gone: false,
        changes: Changes::default(),
        expiry: node.ttl.map(Expiry::new),
        ttl: node.ttl,
        windows: Windows::of(node)?,
    };
    join.restore(snapshots)?;
    Ok(Box::new(join))
}

/// A keyed join and its state.
struct Join {
    keep: JoinKeep,
    emit: JoinEmit,
    required: Vec<bool>,
    schema: SchemaRef,
    index: GroupIndex,
    sides: Vec<Side>,
    /// For each key when it appeared; nothing while no side has a row of it.
    appeared: Vec<Option<u64>>,
    /// Rows without a key that wait for the end, with when they came, their side and their number.
    loners: Vec<Loner>,
    /// The number of the next key or loner to appear.
    next: u64,
    /// How many of the loners are in a snapshot.
    loners_saved: usize,
    /// Whether the loners of earlier snapshots have come out.
    loners_gone: bool,
    changes: Changes,
    /// Which keys had no row for so long that they are forgotten; and how long that is.
    expiry: Option<Expiry>,
    ttl: Option<Interval>,
    /// The windows that keys are of, if the watermark closes them.
    windows: Option<Windows>,
}

/// A row whose key has a NULL, which is a key of its own.
struct Loner {
    /// The number it appeared under, of which side it is, and where it is kept.
    came: u64,
    side: usize,
    row: RowId,
    at: Timestamp,
    /// When its window ends, if it is in one that the watermark closes.
    end: Option<i64>,
}

struct Side {
    keys: Vec<Expr>,
    /// Which columns are kept and come out.
    columns: Vec<usize>,
    store: RowStore,
    kept: Kept,
    /// What comes out next: the rows of this side, in order.
    picked: Vec<Option<RowId>>,
}

/// Notes the row `at` of the left side with rows of the right one from the `from`th on, as many as a batch has room for,
/// and says how many; a side without rows has one that is missing.
fn pick_pairs(left: &mut Side, right: &mut Side, slot: u32, at: usize, from: usize) -> usize {
    let room = BATCH_ROWS.saturating_sub(right.picked.len()).max(1);
    let rights = right.kept.rows(slot);
    let taken = rights.len().saturating_sub(from).clamp(1, room);
    match rights.get(from..from + taken) {
        Some(rows) => right.picked.extend(rows.iter().copied().map(Some)),
        None => right.picked.push(None),
    }
    let row = left.kept.rows(slot).get(at).copied();
    left.picked.extend(std::iter::repeat_n(row, taken));
    taken
}

/// Whose turn it is at the end.
enum Turn {
    Key(u32),
    Loner(usize, RowId),
}

impl Operator for Join {
    fn on_batch(&mut self, port: Port, batch: Batch, out: &mut Output) -> Result<()> {
        append_only(&batch, "a keyed join")?;
        let (batch, ends) = match &self.windows {
            None => (batch, None),
            Some(windows) => {
                let (batch, ends) = windows.in_time(port.0, batch, out)?;
                (batch, Some(ends))
            }
        };
        let rows = batch.rows();
        let slots = self.number(port.0, rows)?;
        let Side { columns, store, .. } = &mut self.sides[port.0];
        let first = store.append(&rows.project(columns)?)?;
        let mut emptied = vec![];
        if let Some(expiry) = &mut self.expiry {
            expiry.touch(slots.iter().copied().filter(|slot| *slot != NONE), out.now());
        }
        for (row, slot) in slots.into_iter().enumerate() {
            let end = ends.as_ref().filter(|ends| ends.is_valid(row)).map(|ends: &Int64Array| ends.value(row));
            match slot {
                NONE => self.arrive_alone(port.0, (first + row, end), out)?,
                slot => self.arrive(port.0, slot, (first + row, end), &mut emptied, out)?,
            }
        }
        self.say(out)?;
        self.forget(&emptied)?;
        self.compact()
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        if let Some(windows) = &mut self.windows
            && let Some(reached) = windows.reached(watermark)
        {
            let keys = windows.close(reached);
            let loners = self.loners.extract_if(.., |loner| loner.end.is_some_and(|end| end <= reached)).collect();
            self.finish(keys, loners, out)?;
        }
        out.advance(watermark);
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        let due = self.expiry.as_mut().map(|expiry| expiry.due(now)).unwrap_or_default();
        due.iter().for_each(|slot| self.clear(*slot));
        out.expire(due.len() + self.expire_loners(now));
        self.forget(&due)?;
        self.compact()
    }

    fn notify_at(&self) -> Option<Timestamp> {
        let loner = self.loners.first().zip(self.ttl).map(|(loner, ttl)| loner.at + ttl);
        [self.expiry.as_ref().and_then(Expiry::next), loner].into_iter().flatten().min()
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        match self.emit {
            JoinEmit::Final => {
                let keys = match &mut self.windows {
                    Some(windows) => windows.close(i64::MAX),
                    None => self.keys_in_order().map(|key| (i64::MAX, key)).collect(),
                };
                let loners = std::mem::take(&mut self.loners);
                self.finish(keys, loners, out)
            }
            JoinEmit::Complete | JoinEmit::Running => Ok(()),
        }
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.save(since).map(Some)
    }

    fn state_size(&self) -> StateSize {
        let stores: usize = self.sides.iter().map(|side| side.store.bytes() + side.kept.bytes()).sum();
        let rows = self.sides.iter().map(|side| side.store.live()).sum();
        let loners = self.loners.capacity() * size_of::<Loner>();
        let expiry = self.expiry.as_ref().map_or(0, Expiry::bytes);
        let windows = self.windows.as_ref().map_or(0, Windows::bytes);
        let appeared = self.appeared.capacity() * size_of::<Option<u64>>();
        let bytes = self.index.bytes() + stores + loners + appeared + self.changes.bytes() + expiry + windows;
        StateSize { rows, bytes }
    }

    fn waits(&self) -> Waits {
        let slots = self.index.groups_in_order();
        let has = |side: &Side, slot: u32| !side.kept.rows(slot).is_empty();
        let met = |slot: u32| self.sides.iter().all(|side| has(side, slot));
        let alone = |side: &Side| slots.iter().copied().rfind(|slot| has(side, *slot) && !met(*slot));
        Waits {
            unmet: self.sides.iter().map(|side| self.index.key_of(alone(side))).collect(),
            met: slots.iter().any(|slot| met(*slot)),
            open_until: self.windows.as_ref().and_then(Windows::first_open),
        }
    }
}

impl Join {
    /// The slot of each row's key; [`NONE`] for a row whose key has a NULL.
    fn number(&mut self, side: usize, rows: &RecordBatch) -> Result<Vec<u32>> {
        let keys: Vec<ArrayRef> = self.sides[side].keys.iter().map(|key| key.evaluate(rows)).collect::<Result<_>>()?;
        let nulls = Nulls::of(&keys);
        let slots = slots_of_whole(&mut self.index, &keys, rows.num_rows(), |row| !nulls.in_row(row))?;
        self.grow();
        Ok(slots)
    }

    fn grow(&mut self) {
        let slots = self.index.slots().max(self.appeared.len());
        self.appeared.resize(slots, None);
        for side in &mut self.sides {
            side.kept.grow(slots);
        }
    }

    /// A row of a key has come, to the window that ends then if there are windows.
    fn arrive(
        &mut self,
        side: usize,
        slot: u32,
        (row, end): (RowId, Option<i64>),
        emptied: &mut Vec<u32>,
        out: &mut Output,
    ) -> Result<()> {
        if self.appeared[slot as usize].is_none() {
            self.appeared[slot as usize] = Some(self.next);
            if let (Some(windows), Some(end)) = (&mut self.windows, end) {
                windows.note(end, (self.next, slot));
            }
            self.next += 1;
        }
        self.changes.mark(slot);
        let Side { kept, store, .. } = &mut self.sides[side];
        kept.offer(self.keep, slot, row, store);
        match self.emit {
            JoinEmit::Final => Ok(()),
            JoinEmit::Running => self.pick(slot, out),
            JoinEmit::Complete => {
                if self.sides.iter().all(|side| !side.kept.rows(slot).is_empty()) {
                    self.pick(slot, out)?;
                    self.clear(slot);
                    emptied.push(slot);
                }
                Ok(())
            }
        }
    }

    /// A row whose key has a NULL: it matches nothing, and is a key of its own.
    fn arrive_alone(&mut self, side: usize, (row, end): (RowId, Option<i64>), out: &mut Output) -> Result<()> {
        let alone = self.required.iter().enumerate().all(|(other, required)| other == side || !required);
        match self.emit {
            JoinEmit::Running if alone => self.pick_alone(side, row, out),
            JoinEmit::Final if alone => {
                self.loners.push(Loner { came: self.next, side, row, at: out.now(), end });
                if let (Some(windows), Some(end)) = (&mut self.windows, end) {
                    windows.note_alone(end);
                }
                self.next += 1;
                self.sides[side].store.retain(1);
                Ok(())
            }
            // It can never be complete, or is filtered by completeness.
            JoinEmit::Complete | JoinEmit::Running | JoinEmit::Final => Ok(()),
        }
    }

    /// Notes all combinations of a key, the leftmost side varying slowest.
    fn pick(&mut self, slot: u32, out: &mut Output) -> Result<()> {
        let missing = |(side, required): (&Side, &bool)| *required && side.kept.rows(slot).is_empty();
        if self.sides.iter().zip(&self.required).any(missing) {
            return Ok(());
        }
        // Nearly all keys of nearly all joins hold at most one row a side.
        if self.sides.iter().all(|side| side.kept.rows(slot).len() <= 1) {
            for Side { kept, picked, .. } in &mut self.sides {
                picked.push(kept.rows(slot).first().copied());
            }
            return self.say_if_full(out);
        }
        self.pick_product(slot, out)
    }

    fn pick_product(&mut self, slot: u32, out: &mut Output) -> Result<()> {
        if let [left, right] = self.sides.as_slice() {
            let (lefts, rights) = (left.kept.rows(slot).len().max(1), right.kept.rows(slot).len().max(1));
            return self.pick_all_pairs(slot, lefts, rights, out);
        }
        let lists: Vec<Vec<Option<RowId>>> = self
            .sides
            .iter()
            .map(|side| match side.kept.rows(slot) {
                [] => vec![None],
                rows => rows.iter().copied().map(Some).collect(),
            })
            .collect();
        let mut at = vec![0; lists.len()];
        loop {
            for ((side, list), at) in self.sides.iter_mut().zip(&lists).zip(&at) {
                side.picked.push(list[*at]);
            }
            self.say_if_full(out)?;
            // Counts up, the rightmost side first.
            let Some(turn) = (0..lists.len()).rev().find(|side| at[*side] + 1 < lists[*side].len()) else {
                return Ok(());
            };
            at[turn] += 1;
            at[turn + 1..].fill(0);
        }
    }

    fn pick_all_pairs(&mut self, slot: u32, lefts: usize, rights: usize, out: &mut Output) -> Result<()> {
        for at in 0..lefts {
            let mut from = 0;
            while from < rights
                && let [left, right] = self.sides.as_mut_slice()
            {
                from += pick_pairs(left, right, slot, at, from);
                self.say_if_full(out)?;
            }
        }
        Ok(())
    }

    fn pick_alone(&mut self, only: usize, row: RowId, out: &mut Output) -> Result<()> {
        for (side, state) in self.sides.iter_mut().enumerate() {
            state.picked.push((side == only).then_some(row));
        }
        self.say_if_full(out)
    }

    fn say_if_full(&mut self, out: &mut Output) -> Result<()> {
        match self.sides[0].picked.len() >= BATCH_ROWS {
            true => self.say(out),
            false => Ok(()),
        }
    }

    /// Gathers what was noted and says it.
    fn say(&mut self, out: &mut Output) -> Result<()> {
        let rows = self.sides[0].picked.len();
        if rows == 0 {
            return Ok(());
        }
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for side in &mut self.sides {
            let picked = std::mem::take(&mut side.picked);
            columns.extend(side.store.gather(&picked)?);
        }
        out.push(Batch::append_only(record_batch(&self.schema, columns, rows)?));
        out.check_room(self.state_size().bytes)
    }

    /// The keys that have rows, each with when it appeared and its slot.
    fn keys_in_order(&self) -> impl Iterator<Item = (u64, u32)> {
        let slots = self.index.groups_in_order().into_iter();
        slots.filter_map(|slot| Some((self.appeared[slot as usize]?, slot)))
    }

    /// The end of these keys, and of rows without a key: the earliest window first, the keys of one in the order in which
    /// they appeared, and rows without a key among them. What speaks before the end is only dropped.
    fn finish(&mut self, keys: Vec<(i64, (u64, u32))>, loners: Vec<Loner>, out: &mut Output) -> Result<()> {
        let is_there = |(_, (appeared, slot)): &(i64, (u64, u32))| self.appeared[*slot as usize] == Some(*appeared);
        let keys = keys.into_iter().filter(is_there);
        let mut order: Vec<_> = keys.map(|(end, (appeared, slot))| (end, appeared, Turn::Key(slot))).collect();
        self.loners_gone |= self.loners_saved > 0 && !loners.is_empty();
        if !loners.is_empty() {
            self.loners_saved = 0;
        }
        let place = |loner: Loner| (loner.end.unwrap_or(i64::MAX), loner.came, Turn::Loner(loner.side, loner.row));
        order.extend(loners.into_iter().map(place));
        order.sort_unstable_by_key(|(end, appeared, _)| (*end, *appeared));
        let mut emptied = vec![];
        for (_, _, key) in order {
            match key {
                Turn::Key(slot) => {
                    if self.emit == JoinEmit::Final {
                        self.pick(slot, out)?;
                    }
                    emptied.push(slot);
                }
                Turn::Loner(side, row) => {
                    self.pick_alone(side, row, out)?;
                    self.sides[side].store.release(1);
                }
            }
        }
        self.say(out)?;
        emptied.iter().for_each(|slot| self.clear(*slot));
        self.forget(&emptied)?;
        self.compact()
    }

    fn clear(&mut self, slot: u32) {
        self.appeared[slot as usize] = None;
        for Side { kept, store, .. } in &mut self.sides {
            kept.clear(slot, store);
        }
    }

    /// Frees the slots of keys that are still without rows.
    fn forget(&mut self, emptied: &[u32]) -> Result<()> {
        let mut gone: Vec<u32> =
            emptied.iter().copied().filter(|slot| self.appeared[*slot as usize].is_none()).collect();
        gone.sort_unstable();
        gone.dedup();
        self.changes.bury(&self.index, &gone)?;
        self.index.remove(&gone);
        if let Some(expiry) = &mut self.expiry {
            expiry.forget(&gone);
        }
        Ok(())
    }

    /// Forgets the rows without a key that are due, and says how many they were. The next snapshot holds all others.
    fn expire_loners(&mut self, now: Timestamp) -> usize {
        let Some(ttl) = self.ttl else { return 0 };
        let due = self.loners.partition_point(|loner| loner.at + ttl <= now);
        for Loner { side, .. } in self.loners.drain(..due) {
            self.sides[side].store.release(1);
        }
        if due > 0 && self.loners_saved > 0 {
            self.loners_gone = true;
            self.loners_saved = 0;
        }
        due
    }

    fn compact(&mut self) -> Result<()> {
        for (side, state) in self.sides.iter_mut().enumerate() {
            if !state.store.wants_compaction() {
                continue;
            }
            let mut ids = state.kept.all();
            ids.extend(self.loners.iter().filter(|loner| loner.side == side).map(|loner| loner.row));
            let mut new = state.store.compact(&ids)?;
            state.kept.renumber(&mut new);
            for loner in self.loners.iter_mut().filter(|loner| loner.side == side) {
                loner.row = new;
                new += 1;
            }
        }
        Ok(())
    }
}
