//! Which session each row is in: sessions grow in both directions, and a row may join two into one.
//!
//! ```text
//! gap 10       key a:   [0 ........ 14)        [22 ..... 37)
//! row a 13              [0 .................. 23)                13 + 10 = 23 reaches 22: both are one,
//!                       [0 .............................. 37)    which keeps the slot of the older one
//! ```
//!
//! What the next row of a key most often touches, its latest session, lies with the key; earlier ones are a chain from
//! there. A session ends a gap after its last row, and what touches it is in it: rows that follow each other within
//! the gap are in one session, also if they are exactly that far apart.
//!
//! A row is late if the session that it would make by itself has ended by the watermark before it, unless it lies within
//! one that has not, and if it is in a session that has ended. So a session that is gone has to be remembered, by its
//! end, only until the watermark is a gap behind it: what could be in it is late by itself from then on, and what is not
//! late by itself begins no session that reaches back to it. A row exactly at the end of a session that has ended is not
//! in it, and begins another.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::compute::kernels::aggregate::{max, min};
use arrow::datatypes::DataType;

use crate::error::{Code, DataError, Result};
use crate::state::{GroupIndex, grow_to};
use crate::types::{Tick, Timestamp};

use super::saved::Dirty;
use super::timers::Timers;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// From the first row to a gap after the last one, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub start: i64,
    pub end: i64,
}

/// What is in no session.
const NOWHERE: Bounds = Bounds { start: i64::MAX, end: i64::MIN };

/// What is known of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Its latest session.
    last: Bounds,
    slot: u32,
    /// The end of the latest of its sessions that are gone.
    pub ended: i64,
}

const UNKNOWN: Key = Key { last: NOWHERE, slot: NONE, ended: i64::MIN };

/// A session.
#[derive(Debug, Clone, Copy)]
struct Slot {
    key: u32,
    /// Its bounds, unless it is the latest of its key, which has them.
    bounds: Bounds,
    /// The session before it or, of one that was merged, that which it is part of.
    before: u32,
    /// The place of its first row in the order in which rows began sessions: what tells sessions apart.
    first: u64,
    /// When it is to be looked at; an entry for another time is an old one.
    timer: i64,
    /// What became of it.
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// It was merged into another, and may still have to be taken back.
    Merged,
    Free,
}

/// What sessions are made by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub gap: i64,
    /// For how long after its end a session is kept.
    pub lateness: i64,
    pub tick: Tick,
    /// Whether anything but the end of the input closes sessions.
    pub closes: bool,
}

/// All sessions that are kept.
pub(super) struct Sessions {
    pub rule: Rule,
    pub index: GroupIndex,
    width: usize,
    keys: Vec<Key>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    open: usize,
    timers: Timers,
    /// Keys without a session, the end of whose last one need not be remembered from that time on.
    forgettable: VecDeque<(i64, u32)>,
    /// Keys that may have been numbered for late rows alone.
    doubtful: Vec<u32>,
    /// Up to where sessions have ended.
    pub reached: i64,
    /// The place of the next session in the order in which they began.
    pub next: u64,
    pub dirty: Dirty,
    touched: Vec<u32>,
}

/// Where the rows of a batch belong.
#[derive(Default)]
pub(super) struct Placed {
    /// The session of each row that is not late.
    pub slots: Vec<u32>,
    /// Its bounds after each of these rows, if they are asked for.
    pub bounds: Vec<Bounds>,
    /// Sessions that became one, in order.
    pub merges: Vec<Merge>,
    pub late: Vec<Late>,
}

impl Placed {
    /// The rows of a batch of so many that are not late; `None` if none is.
    pub fn in_time(&self, rows: usize) -> Option<UInt32Array> {
        let mut late = self.late.iter().map(|late| late.row).peekable();
        late.peek()?;
        Some((0..rows as u32).filter(|row| late.next_if_eq(row).is_none()).collect())
    }
}

/// Session `from` becomes part of session `into`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    /// Before which of the rows that are not late.
    pub before: usize,
    pub into: u32,
    pub from: u32,
}

/// A row that is late.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    pub row: u32,
    pub at: i64,
    /// How long ago what it is late for had ended.
    pub by: i64,
}

/// The rows of a batch as sessions see them.
pub(super) struct Rows<'a> {
    pub keys: &'a [ArrayRef],
    /// Their times, none of them NULL.
    pub at: &'a Int64Array,
    /// The watermark before each of them, if rows are judged.
    pub watermarks: Option<&'a [i64]>,
}

/// Whether the bounds after each row are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Bounds,
    Nothing,
}

/// The sessions that a step of the watermark or clock has ended, and those that it lets go, each in the order of their
/// ends, their starts and their first rows.
#[derive(Default)]
pub(super) struct Ended {
    pub closed: Vec<u32>,
    pub gone: Vec<u32>,
}

impl Sessions {
    pub fn new(types: &[DataType], rule: Rule) -> Result<Sessions> {
        Ok(Sessions {
            rule,
            index: GroupIndex::new(types)?,
            width: types.len(),
            keys: vec![],
            slots: vec![],
            free: vec![],
            open: 0,
            timers: Timers::new(rule.gap),
            forgettable: VecDeque::new(),
            doubtful: vec![],
            reached: i64::MIN,
            next: 0,
            dirty: Dirty::default(),
            touched: vec![],
        })
    }

    /// Puts rows into sessions, one after the other.
    pub fn place(&mut self, rows: &Rows<'_>, says: Says) -> Result<Placed> {
        // What lies before the end of a session is said as well.
        let late = max(rows.at).is_some_and(|last| last.checked_add(self.rule.gap).is_none());
        let (gap, before_end) = (self.rule.gap, self.rule.tick.before_end());
        let early = min(rows.at).is_some_and(|first| first.saturating_add(gap).checked_sub(before_end).is_none());
        if late || early {
            return Err(DataError::new(Code::Value, "a time is too far away for the session that it is in").into());
        }
        let mut numbers = vec![];
        self.index.intern(rows.keys, rows.at.len(), &mut numbers)?;
        grow_to(&mut self.keys, self.index.slots(), UNKNOWN);
        let mut placed = Placed { slots: Vec::with_capacity(numbers.len()), ..Placed::default() };
        let (gap, mut seen, mut reached) = (self.rule.gap, i64::MIN, self.reached);
        for (row, (number, at)) in numbers.iter().zip(rows.at.values()).enumerate() {
            if let Some(watermarks) = rows.watermarks
                && watermarks[row] != seen
            {
                seen = watermarks[row];
                reached = self.reached.max(self.rule.tick.floor(Timestamp::from_nanos(seen)));
            }
            let key = &mut self.keys[*number as usize];
            // Most rows are in the latest session of their key.
            if key.last.start <= *at && *at <= key.last.end && key.last.end > reached {
                key.last.end = key.last.end.max(at + gap);
                placed.slots.push(key.slot);
                if says == Says::Bounds {
                    placed.bounds.push(key.last);
                }
                continue;
            }
            match self.join(*number, *at, reached, &mut placed) {
                Ok(slot) => {
                    placed.slots.push(slot);
                    if says == Says::Bounds {
                        placed.bounds.push(self.bounds(slot));
                    }
                }
                Err(ended) => {
                    placed.late.push(Late { row: row as u32, at: *at, by: reached.saturating_sub(ended) });
                    self.doubtful.push(*number);
                }
            }
        }
        Ok(placed)
    }

    /// The session of a row of a key, which may be a new one or join others. If the row is late, the error is when what
    /// it is late for had ended.
    #[inline(never)]
    fn join(&mut self, key: u32, at: i64, reached: i64, placed: &mut Placed) -> std::result::Result<u32, i64> {
        let alone = Bounds { start: at, end: at + self.rule.gap };
        // What has ended by then is gone for this row.
        let kept = reached.saturating_sub(self.rule.lateness);
        let mut touched = std::mem::take(&mut self.touched);
        touched.clear();
        let (mut after, mut slot) = (NONE, self.keys[key as usize].slot);
        let mut ended = self.keys[key as usize].ended;
        while slot != NONE {
            let bounds = self.bounds(slot);
            if bounds.end < alone.start {
                break;
            }
            if bounds.end <= kept {
                ended = ended.max(bounds.end);
                break;
            }
            match bounds.start > alone.end {
                true => after = slot,
                false => touched.push(slot),
            }
            slot = self.slots[slot as usize].before;
        }
        let within = |slot: &u32| self.bounds(*slot).start <= at;
        let late = match alone.end <= kept && !touched.iter().any(within) {
            true => Some(alone.end),
            // Whatever of the key is gone was before all that is kept of it.
            false => (at < ended).then_some(ended),
        };
        let joined = match late {
            Some(ended) => Err(ended),
            None if touched.is_empty() => Ok(self.begin(key, alone, after, slot)),
            None => Ok(self.extend(key, alone, after, slot, &touched, placed)),
        };
        self.touched = touched;
        joined
    }

    /// A new session of a key between two others.
    fn begin(&mut self, key: u32, bounds: Bounds, after: u32, before: u32) -> u32 {
        let new = Slot { key, bounds, before, first: self.next, timer: i64::MAX, state: State::Open };
        let slot = self.put(new);
        self.next += 1;
        self.link(after, slot, bounds);
        self.watch(slot);
        slot
    }

    fn put(&mut self, new: Slot) -> u32 {
        self.open += 1;
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = new;
                slot
            }
            None => {
                self.slots.push(new);
                self.slots.len() as u32 - 1
            }
        }
    }

    /// The oldest of the sessions that a row touches takes the row and the others in.
    fn extend(
        &mut self,
        key: u32,
        alone: Bounds,
        after: u32,
        before: u32,
        touched: &[u32],
        placed: &mut Placed,
    ) -> u32 {
        let all = touched.iter().map(|slot| self.bounds(*slot));
        let bounds = all.fold(alone, |all, one| Bounds { start: all.start.min(one.start), end: all.end.max(one.end) });
        let into = touched.iter().copied().min_by_key(|slot| self.slots[*slot as usize].first).unwrap_or(NONE);
        for from in touched.iter().copied().filter(|slot| *slot != into) {
            placed.merges.push(Merge { before: placed.slots.len(), into, from });
            let slot = &mut self.slots[from as usize];
            self.dirty.bury(slot.first);
            (slot.state, slot.timer, slot.before) = (State::Merged, i64::MAX, into);
            self.open -= 1;
        }
        debug_assert_eq!(self.slots[into as usize].key, key);
        self.slots[into as usize].before = before;
        self.link(after, into, bounds);
        self.watch(into);
        into
    }

    /// Puts a session behind `after` in the chain of its key, or at its head.
    fn link(&mut self, after: u32, slot: u32, bounds: Bounds) {
        let key = &mut self.keys[self.slots[slot as usize].key as usize];
        if after != NONE {
            self.slots[slot as usize].bounds = bounds;
            self.slots[after as usize].before = slot;
            return;
        }
        if key.slot != NONE && key.slot != slot {
            self.slots[key.slot as usize].bounds = key.last;
        }
        (key.last, key.slot) = (bounds, slot);
    }

    /// Sees to it that a session is looked at when it ends or, if it has ended, when it goes.
    fn watch(&mut self, slot: u32) {
        let due = self.due(self.bounds(slot));
        if self.rule.closes && due < self.slots[slot as usize].timer {
            self.slots[slot as usize].timer = due;
            self.timers.file(due, slot);
        }
    }

    fn due(&self, bounds: Bounds) -> i64 {
        if bounds.end > self.reached { bounds.end } else { bounds.end.saturating_add(self.rule.lateness) }
    }

    /// The bounds of a session.
    #[inline]
    pub fn bounds(&self, slot: u32) -> Bounds {
        let session = &self.slots[slot as usize];
        let key = &self.keys[session.key as usize];
        if key.slot == slot { key.last } else { session.bounds }
    }

    /// The numbers of the keys of sessions.
    pub fn keys_of(&self, slots: &[u32]) -> Vec<u32> {
        slots.iter().map(|slot| self.slots[*slot as usize].key).collect()
    }

    /// The key columns of sessions.
    pub fn key_columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.index.keys(&self.keys_of(slots))
    }

    /// What tells a session apart from all others there ever were.
    pub fn first(&self, slot: u32) -> u64 {
        self.slots[slot as usize].first
    }

    /// The session that a session has become part of; itself if that is still there.
    pub fn whole(&self, mut slot: u32) -> u32 {
        while self.slots[slot as usize].state == State::Merged {
            slot = self.slots[slot as usize].before;
        }
        slot
    }

    /// Whether a session is still there, and not part of another.
    pub fn is_open(&self, slot: u32) -> bool {
        self.slots[slot as usize].state == State::Open
    }

    /// Whether a session has ended.
    pub fn has_ended(&self, slot: u32) -> bool {
        self.bounds(slot).end <= self.reached
    }

    /// One more than the largest slot in use.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.open
    }

    /// When the first of those that have not ended does.
    pub fn first_open(&self) -> Option<i64> {
        let open = (0..self.slots.len() as u32).filter(|slot| self.is_open(*slot) && !self.has_ended(*slot));
        open.map(|slot| self.bounds(slot).end).min()
    }

    /// When a session is to be looked at next.
    pub fn next_due(&self) -> Option<i64> {
        self.timers.next()
    }

    /// Ends the sessions that end by `reached`.
    pub fn end(&mut self, reached: i64) -> Ended {
        let before = self.reached;
        if reached <= before {
            return Ended::default();
        }
        self.reached = reached;
        let mut ended = Ended::default();
        while let Some((time, slot)) = self.timers.pop(reached) {
            if self.slots[slot as usize].timer != time {
                continue;
            }
            self.slots[slot as usize].timer = i64::MAX;
            let bounds = self.bounds(slot);
            if bounds.end > before && bounds.end <= reached {
                ended.closed.push(slot);
            }
            match bounds.end.saturating_add(self.rule.lateness) <= reached {
                true => ended.gone.push(slot),
                false => self.watch(slot),
            }
        }
        self.sort(&mut ended.closed);
        self.sort(&mut ended.gone);
        ended
    }

    /// All sessions, as if all had ended.
    pub fn end_all(&mut self) -> Ended {
        self.reached = i64::MAX;
        self.timers = Timers::new(self.rule.gap);
        let mut all = self.all();
        self.sort(&mut all);
        Ended { closed: all.clone(), gone: all }
    }

    fn sort(&self, slots: &mut [u32]) {
        slots.sort_unstable_by_key(|slot| {
            let Bounds { start, end } = self.bounds(*slot);
            (end, start, self.first(*slot))
        });
    }

    /// Lets sessions go, in the order of their ends.
    pub fn drop_all(&mut self, gone: &[u32]) {
        let ends: Vec<(u32, i64)> =
            gone.iter().map(|slot| (self.slots[*slot as usize].key, self.bounds(*slot).end)).collect();
        // The latest first: a session is found in the chain of its key behind those alone that stay.
        for slot in gone.iter().rev().copied() {
            self.dirty.bury(self.slots[slot as usize].first);
            self.unlink(slot);
            self.slots[slot as usize].state = State::Free;
            self.slots[slot as usize].timer = i64::MAX;
            self.free.push(slot);
            self.open -= 1;
        }
        ends.into_iter().for_each(|(key, end)| self.remember(key, end));
    }

    /// Remembers that a session of a key has ended then.
    pub fn remember(&mut self, number: u32, end: i64) {
        let key = &mut self.keys[number as usize];
        key.ended = key.ended.max(end);
        self.dirty.note_end(number);
        if key.slot == NONE {
            self.forgettable.push_back((key.ended.saturating_add(self.rule.gap), number));
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { key, before, .. } = self.slots[slot as usize];
        let mut after = self.keys[key as usize].slot;
        if after == slot {
            let last = if before == NONE { NOWHERE } else { self.slots[before as usize].bounds };
            let key = &mut self.keys[key as usize];
            (key.last, key.slot) = (last, before);
            return;
        }
        while after != NONE && self.slots[after as usize].before != slot {
            after = self.slots[after as usize].before;
        }
        if after != NONE {
            self.slots[after as usize].before = before;
        }
    }

    /// Gives the slot of a session that was merged to others.
    pub fn release(&mut self, slot: u32) {
        if self.slots[slot as usize].state == State::Merged {
            self.slots[slot as usize].state = State::Free;
            self.free.push(slot);
        }
    }

    /// Forgets keys of which nothing is there, and the ends of sessions that no row can be late for any more.
    pub fn forget(&mut self) {
        let mut nothing = std::mem::take(&mut self.doubtful);
        nothing.retain(|key| {
            let key = &self.keys[*key as usize];
            key.slot == NONE && key.ended == i64::MIN
        });
        let kept = self.reached.saturating_sub(self.rule.lateness);
        while let Some((time, number)) = self.forgettable.front().copied().filter(|(time, _)| *time <= kept) {
            self.forgettable.pop_front();
            let key = &self.keys[number as usize];
            if key.slot == NONE && key.ended != i64::MIN && key.ended.saturating_add(self.rule.gap) == time {
                nothing.push(number);
            }
        }
        for number in &nothing {
            self.keys[*number as usize] = UNKNOWN;
        }
        self.index.remove(&nothing);
    }

    /// The ends that are remembered of keys.
    pub fn ends(&self, keys: &[u32]) -> Vec<(u32, i64)> {
        let ended = |number: &u32| self.keys.get(*number as usize).map(|key| (*number, key.ended));
        keys.iter().filter_map(ended).filter(|(_, ended)| *ended != i64::MIN).collect()
    }

    /// All keys there are.
    pub fn all_keys(&self) -> Vec<u32> {
        self.index.groups_in_order()
    }

    /// All sessions there are.
    pub fn all(&self) -> Vec<u32> {
        (0..self.slots.len() as u32).filter(|slot| self.is_open(*slot)).collect()
    }

    /// A session as a snapshot has left it, which is not yet in the chain of its key.
    pub fn restore(&mut self, key: u32, bounds: Bounds, first: u64) -> u32 {
        self.put(Slot { key, bounds, before: NONE, first, timer: i64::MAX, state: State::Open })
    }

    /// The bounds of a session that is not yet in the chain of its key.
    pub fn set_bounds(&mut self, slot: u32, bounds: Bounds) {
        self.slots[slot as usize].bounds = bounds;
    }

    /// A session that was merged into another, and has to be taken back.
    pub fn restore_merged(&mut self, key: u32, first: u64, into: u32) -> u32 {
        let slot = self.restore(key, NOWHERE, first);
        self.open -= 1;
        let merged = &mut self.slots[slot as usize];
        (merged.state, merged.before) = (State::Merged, into);
        slot
    }

    /// A restored session that a later snapshot says is gone.
    pub fn undo(&mut self, slot: u32) {
        self.slots[slot as usize].state = State::Free;
        self.free.push(slot);
        self.open -= 1;
    }

    /// Makes room for all keys that are numbered.
    pub fn grow_keys(&mut self) {
        grow_to(&mut self.keys, self.index.slots(), UNKNOWN);
    }

    /// Puts all restored sessions into the chains of their keys.
    pub fn link_all(&mut self) {
        let mut all = self.all();
        all.sort_by_key(|slot| self.slots[*slot as usize].bounds.start);
        for slot in all {
            let Slot { key, bounds, .. } = self.slots[slot as usize];
            self.slots[slot as usize].before = self.keys[key as usize].slot;
            self.link(NONE, slot, bounds);
            self.watch(slot);
        }
        let keys = self.all_keys();
        let mut ends = self.ends(&keys);
        ends.retain(|(number, _)| self.keys[*number as usize].slot == NONE);
        ends.sort_by_key(|(_, ended)| *ended);
        self.forgettable =
            ends.into_iter().map(|(number, ended)| (ended.saturating_add(self.rule.gap), number)).collect();
        self.doubtful = keys;
        self.forget();
    }

    /// How many columns a key has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let keys = self.keys.capacity() * size_of::<Key>() + self.forgettable.capacity() * size_of::<(i64, u32)>();
        let slots = self.slots.capacity() * size_of::<Slot>() + self.free.capacity() * size_of::<u32>();
        self.index.bytes() + keys + slots + self.timers.bytes() + self.dirty.bytes()
    }
}
