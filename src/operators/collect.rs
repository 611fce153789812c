//! `COLLECT`: a count-or-timeout window a key.
//!
//! ```text
//! rows in:  (a, 1) (b, 2) (a, 3)    clock + 5 s      max_rows 2, timeout 5 s
//! out:      a [1, 3] size           b [2] timeout
//! ```
//!
//! A window is a slot of accumulators. Within a batch a key may fill several windows: each row is given its slot
//! first, then all accumulators take the batch in at once, and the windows that are full are read in the order in
//! which they filled.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray, UInt64Array};
use arrow::datatypes::{Int64Type, SchemaRef, UInt64Type};

use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::operators::aggregate::{Accumulators, accumulators};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::{ChangelogMode, Collect};
use crate::state::{Changes, GONE, GroupIndex, Snapshot, table};
use crate::types::{Batch, Epoch, Interval, Timestamp};

/// Keys, then when the window opened (number and time), its last row's time, its rows, then the aggregates' state.
const WINDOWS: &str = "windows";

/// Builds the operator of a `COLLECT`.
pub fn build(node: &Collect, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let types: Vec<_> = node.keys.iter().map(|key| key.data_type().clone()).collect();
    let mut windows = Windows {
        keys: node.keys.clone(),
        schema: node.schema.clone(),
        bounds: Bounds { max_rows: node.max_rows, timeout: node.timeout, max_wait: node.max_wait },
        index: GroupIndex::new(&types)?,
        open: vec![],
        windows: vec![],
        free: vec![],
        accumulators: accumulators(&node.aggregates, ChangelogMode::AppendOnly)?,
        deadlines: BinaryHeap::new(),
        opened: 0,
        changes: Changes::default(),
    };
    for snapshot in snapshots {
        windows.restore(snapshot)?;
    }
    if !snapshots.is_empty() {
        windows.changes = Changes::resumed(&windows.index.groups_in_order());
    }
    windows.forget_stale_deadlines();
    Ok(Box::new(windows))
}

/// When a window closes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    max_rows: Option<u64>,
    timeout: Option<Interval>,
    max_wait: Option<Interval>,
}

/// Why a window has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Size,
    Timeout,
    MaxWait,
    End,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Reason::Size => "size",
            Reason::Timeout => "timeout",
            Reason::MaxWait => "max_wait",
            Reason::End => "end",
        }
    }
}

/// A window that is open, or was a moment ago.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// The number of its key.
    group: u32,
    /// How many windows opened before it.
    opened: u64,
    first: Timestamp,
    last: Timestamp,
    rows: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

impl Window {
    /// When it closes by time and why. Where both are due at once it is the silence that is named.
    fn due(&self, bounds: &Bounds) -> Option<(Timestamp, Reason)> {
        let silence = bounds.timeout.map(|timeout| (self.last + timeout, Reason::Timeout));
        let age = bounds.max_wait.map(|wait| (self.first + wait, Reason::MaxWait));
        match (silence, age) {
            (Some(silence), Some(age)) => Some(if age.0 < silence.0 { age } else { silence }),
            (due, None) | (None, due) => due,
        }
    }
}

struct Windows {
    keys: Vec<Expr>,
    schema: SchemaRef,
    bounds: Bounds,
    index: GroupIndex,
    /// For each key its open window.
    open: Vec<Option<u32>>,
    windows: Vec<Window>,
    free: Vec<u32>,
    accumulators: Accumulators,
    /// When windows may be due, with when they opened and their slot; looked at again when its time comes, because
    /// a later row moves the time on.
    deadlines: BinaryHeap<Reverse<(Timestamp, u64, u32)>>,
    opened: u64,
    /// Which keys' windows have changed since the last snapshot.
    changes: Changes,
}

impl Operator for Windows {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let now = out.now();
        self.close_due(now, out)?;
        let keys = self.keys.iter().map(|key| key.evaluate(batch.rows())).collect::<Result<Vec<_>>>()?;
        let mut groups = vec![];
        self.index.intern(&keys, batch.num_rows(), &mut groups)?;
        self.open.resize(self.index.slots().max(self.open.len()), None);
        let mut full = vec![];
        let slots: Vec<u32> = groups.into_iter().map(|group| self.enter(group, now, &mut full)).collect();
        self.accumulators.grow(self.windows.len());
        self.accumulators.update(batch.rows(), &slots)?;
        self.say(&full, &vec![Reason::Size; full.len()], out)
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        self.close_due(now, out)
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        let mut open: Vec<u32> = self.open.iter().flatten().copied().collect();
        open.sort_unstable_by_key(|slot| self.windows[*slot as usize].opened);
        self.close(&open);
        self.say(&open, &vec![Reason::End; open.len()], out)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.deadlines.peek().map(|Reverse((due, _, _))| *due)
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.save(since).map(Some)
    }

    fn state_size(&self) -> StateSize {
        let windows = self.windows.capacity() * size_of::<Window>() + self.free.capacity() * size_of::<u32>();
        let open = self.open.capacity() * size_of::<Option<u32>>();
        let deadlines = self.deadlines.capacity() * size_of::<Reverse<(Timestamp, u64, u32)>>();
        let columns = self.index.bytes() + self.accumulators.bytes() + self.changes.bytes();
        // A window that is not free is open: what closes is said and freed in the same call.
        StateSize { rows: self.windows.len() - self.free.len(), bytes: columns + windows + open + deadlines }
    }
}

impl Windows {
    /// Puts a row of a key into the key's window, and gives the window's slot.
    fn enter(&mut self, group: u32, now: Timestamp, full: &mut Vec<u32>) -> u32 {
        let slot = match self.open[group as usize] {
            Some(slot) => slot,
            None => self.open_window(group, now),
        };
        let window = &mut self.windows[slot as usize];
        window.rows += 1;
        window.last = now;
        if self.bounds.max_rows.is_some_and(|rows| window.rows >= rows) {
            window.state = State::Closed;
            self.open[group as usize] = None;
            full.push(slot);
        }
        self.changes.mark(group);
        slot
    }

    fn open_window(&mut self, group: u32, now: Timestamp) -> u32 {
        let window = Window { group, opened: self.opened, first: now, last: now, rows: 0, state: State::Open };
        self.opened += 1;
        self.place(window)
    }

    fn place(&mut self, window: Window) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.windows[slot as usize] = window;
                slot
            }
            None => {
                self.windows.push(window);
                (self.windows.len() - 1) as u32
            }
        };
        self.open[window.group as usize] = Some(slot);
        if let Some((due, _)) = window.due(&self.bounds) {
            self.deadlines.push(Reverse((due, window.opened, slot)));
        }
        slot
    }

    /// Closes every window that is due, in the order of their times, and of equals in the order of their first rows.
    fn close_due(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        let (mut due, mut reasons) = (vec![], vec![]);
        while let Some(Reverse((at, opened, slot))) = self.deadlines.peek().copied() {
            let window = self.windows[slot as usize];
            if at > now && window.opened == opened && window.state == State::Open {
                break;
            }
            self.deadlines.pop();
            if window.opened != opened || window.state == State::Closed {
                continue;
            }
            match window.due(&self.bounds) {
                Some((moved, _)) if moved > at => self.deadlines.push(Reverse((moved, opened, slot))),
                Some((_, reason)) => {
                    self.close(&[slot]);
                    due.push(slot);
                    reasons.push(reason);
                }
                None => {}
            }
        }
        self.say(&due, &reasons, out)
    }

    fn close(&mut self, slots: &[u32]) {
        for slot in slots {
            let window = &mut self.windows[*slot as usize];
            window.state = State::Closed;
            self.open[window.group as usize] = None;
        }
    }

    /// Says closed windows and frees their slots.
    fn say(&mut self, slots: &[u32], reasons: &[Reason], out: &mut Output) -> Result<()> {
        const BATCH_ROWS: usize = 8_192;
        for (slots, reasons) in slots.chunks(BATCH_ROWS).zip(reasons.chunks(BATCH_ROWS)) {
            let groups: Vec<u32> = slots.iter().map(|slot| self.windows[*slot as usize].group).collect();
            let mut columns = self.index.keys(&groups)?;
            columns.extend(self.accumulators.read(slots)?);
            columns.push(Arc::new(StringArray::from_iter_values(reasons.iter().map(|reason| reason.as_str()))));
            let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
            out.push(Batch::append_only(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?));
        }
        self.accumulators.reset(slots);
        self.free.extend_from_slice(slots);
        self.forget_keys(slots)
    }

    /// Frees the numbers of keys that have no window any more. A key of which several windows have closed is gone once,
    /// however often it is named.
    fn forget_keys(&mut self, slots: &[u32]) -> Result<()> {
        let groups = slots.iter().map(|slot| self.windows[*slot as usize].group);
        let gone: Vec<u32> = groups.filter(|group| self.open[*group as usize].is_none()).collect();
        self.changes.bury(&self.index, &gone)?;
        self.index.remove(&gone);
        Ok(())
    }

    fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        let changed = self.changes.take(&self.index, since)?;
        let slots: Vec<u32> = changed.groups.iter().filter_map(|group| self.open[*group as usize]).collect();
        let windows: Vec<Window> = slots.iter().map(|slot| self.windows[*slot as usize]).collect();
        let mut columns = self.index.keys(&windows.iter().map(|window| window.group).collect::<Vec<_>>())?;
        let times = |time: fn(&Window) -> Timestamp| -> ArrayRef {
            Arc::new(windows.iter().map(|window| time(window).nanos()).collect::<Int64Array>())
        };
        columns.push(Arc::new(windows.iter().map(|window| window.opened).collect::<UInt64Array>()));
        columns.push(times(|window| window.first));
        columns.push(times(|window| window.last));
        columns.push(Arc::new(windows.iter().map(|window| window.rows).collect::<UInt64Array>()));
        columns.extend(self.accumulators.save(&slots)?);
        let mut tables = Vec::from_iter(changed.gone);
        tables.push(table(WINDOWS, columns, slots.len())?);
        Ok(Snapshot { tables })
    }

    fn groups_of(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut groups = vec![];
        self.index.intern(keys, rows, &mut groups)?;
        self.open.resize(self.index.slots().max(self.open.len()), None);
        Ok(groups)
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        if let Some(gone) = snapshot.table(GONE) {
            let groups = self.groups_of(gone.columns(), gone.num_rows())?;
            groups.iter().for_each(|group| self.drop_window(*group));
            self.index.remove(&groups);
        }
        match snapshot.table(WINDOWS) {
            Some(saved) => self.restore_windows(saved),
            None => Ok(()),
        }
    }

    /// Drops the deadlines of windows that an earlier snapshot had open and a later one did not:
    /// they would wake the operator for nothing.
    fn forget_stale_deadlines(&mut self) {
        let open = self.open.iter().flatten().map(|slot| (*slot, self.windows[*slot as usize]));
        let due = open.filter_map(|(slot, window)| Some(Reverse((window.due(&self.bounds)?.0, window.opened, slot))));
        self.deadlines = due.collect();
    }

    fn drop_window(&mut self, group: u32) {
        if let Some(slot) = self.open[group as usize].take() {
            self.windows[slot as usize].state = State::Closed;
            self.accumulators.reset(&[slot]);
            self.free.push(slot);
        }
    }

    fn restore_windows(&mut self, saved: &RecordBatch) -> Result<()> {
        let missing = || InternalError::new("a saved window is not in its form");
        let (keys, rest) = saved.columns().split_at(self.keys.len().min(saved.num_columns()));
        let [opened, first, last, rows, state @ ..] = rest else { return Err(missing().into()) };
        let opened = opened.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?;
        let first = first.as_primitive_opt::<Int64Type>().ok_or_else(missing)?;
        let last = last.as_primitive_opt::<Int64Type>().ok_or_else(missing)?;
        let rows = rows.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?;
        let groups = self.groups_of(keys, saved.num_rows())?;
        let mut slots = Vec::with_capacity(groups.len());
        for (row, group) in groups.into_iter().enumerate() {
            self.drop_window(group);
            let window = Window {
                group,
                opened: opened.value(row),
                first: Timestamp::from_nanos(first.value(row)),
                last: Timestamp::from_nanos(last.value(row)),
                rows: rows.value(row),
                state: State::Open,
            };
            self.opened = self.opened.max(window.opened + 1);
            slots.push(self.place(window));
        }
        self.accumulators.grow(self.windows.len());
        let counts: Vec<i64> = rows.values().iter().map(|rows| *rows as i64).collect();
        self.accumulators.load(&slots, &counts, state)
    }
}

#[cfg(test)]
mod tests;
