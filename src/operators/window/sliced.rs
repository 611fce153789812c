//! Windows that overlap and speak once: each row is taken in once, and a window that closes is put together.
//!
//! ```text
//! HOP(at, 5, 10), count(*)
//! rows in:     2 | 7 | 8 | 12      panes by the windows of their rows:   [-5 5) [0 10): 1
//!                                                                        [0 10) [5 15): 2
//!                                                                        [5 15) [10 20): 1
//! watermark 10:                    out: -5 5 1 | 0 10 3                  the first pane is in no other, and dropped
//! ```
//!
//! A row that is late for the first of its windows is in the pane of the others. Which pane that is follows from the row
//! and the watermark before it, and a window adds its panes in the order of their windows: so even floats add up to the
//! same however the rows are cut into batches.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::operators::aggregate::are_unordered;
use crate::operators::late_rows::highest;
use crate::operators::rows::chosen;
use crate::operators::windows::Shape;
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node::{AggregateEmit, ChangelogMode, Closing, WindowAggregate};
use crate::state::Snapshot;
use crate::types::{Batch, Epoch, Timestamp};

use super::pane::{Pane, Panes, Widened};
use super::saved::{Place, Saved, restored, save};
use super::{Bounds, Class, Placing, pane, size};

/// The shape of the windows of `node`, if they can be put together.
pub(super) fn applies(node: &WindowAggregate) -> Result<Option<Shape>> {
    let once = node.emit == AggregateEmit::Final && node.window.lateness == 0;
    let adds = node.input_mode == ChangelogMode::AppendOnly && are_unordered(&node.aggregates)?;
    Ok(Shape::of(&node.window.shape).filter(|shape| once && adds && shape.overlaps()))
}

/// The operator of `node`.
pub(super) fn build(
    node: &WindowAggregate,
    placing: Placing,
    shape: Shape,
    snapshots: &[Snapshot],
) -> Result<Box<dyn Operator>> {
    let panes = Panes::new(node);
    let Saved { panes: open, reached, .. } = restored(&panes, snapshots)?;
    Ok(Box::new(Sliced { placing, shape, panes, open, reached, closing: node.window.closing }))
}

/// The windows of a row, from the first to the last. Those that closed before all others come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    last: Bounds,
    first: Bounds,
}

impl Run {
    fn of(windows: &[Bounds]) -> Option<Run> {
        Some(Run { last: *windows.last()?, first: *windows.first()? })
    }

    /// Those that end after `after` and until `until`, the earliest first.
    fn ending(self, shape: Shape, after: i64, until: i64) -> impl Iterator<Item = Bounds> {
        let Run { last, first } = self;
        let (begin, end) = shape.step();
        let gone = if after < first.end { 0 } else { (after - first.end) / end + 1 };
        let until = until.min(last.end);
        (gone..)
            .map(move |nth| Bounds { end: first.end + nth * end, start: first.start + nth * begin })
            .take_while(move |window| window.end <= until)
    }
}

impl Place for Run {
    fn numbers(self) -> Vec<i64> {
        [self.last, self.first].into_iter().flat_map(Place::numbers).collect()
    }

    fn of(numbers: &[i64]) -> Option<Run> {
        let [last, first] = numbers.chunks(2).collect::<Vec<_>>()[..] else { return None };
        Some(Run { last: Place::of(last)?, first: Place::of(first)? })
    }
}

/// Windows that overlap.
struct Sliced {
    placing: Placing,
    shape: Shape,
    panes: Panes,
    /// The rows of the same windows, as long as one of these has not closed.
    open: BTreeMap<Run, Pane>,
    /// Up to where windows have closed, in ticks; before all times if only the end closes them.
    reached: i64,
    closing: Closing,
}

impl Sliced {
    /// The rows of a batch that are in time for a window, by the windows that they are in time for. Late ones are
    /// counted, for each window.
    fn runs(&self, batch: &Batch, classes: Vec<Class>, out: &mut Output) -> BTreeMap<Run, Vec<u32>> {
        let mut runs = BTreeMap::new();
        let judged = self.closing == Closing::Watermark && batch.watermarks().is_some();
        let most = if judged { highest(batch, self.placing.tick).max(self.reached) } else { self.reached };
        for Class { windows, rows } in classes {
            if windows.first().is_none_or(|first| !self.placing.is_late(most, *first)) {
                add(&mut runs, &windows, &rows);
                continue;
            }
            for row in rows {
                let before = if judged { self.placing.before(batch, row).max(self.reached) } else { self.reached };
                let (late, kept) = windows.split_at(windows.partition_point(|end| self.placing.is_late(before, *end)));
                out.late(late.len());
                let by = late.iter().map(|window| before.saturating_sub(window.end));
                by.for_each(|by| out.late_by(self.placing.tick.time(by).nanos()));
                add(&mut runs, kept, &[row]);
            }
        }
        runs
    }

    /// Says the windows that end after `after` and until `until`, and drops the panes that are in no later one.
    fn close(&mut self, after: i64, until: i64, out: &mut Output) -> Result<()> {
        let due: BTreeSet<Bounds> = self.open.keys().flat_map(|run| run.ending(self.shape, after, until)).collect();
        let mut said = Widened::default();
        for window in due {
            let mut whole = self.panes.open(&[])?;
            for (_, part) in self.open.iter_mut().filter(|(run, _)| run.first <= window && window <= run.last) {
                whole.absorb(part)?;
            }
            said.extend(whole.close(out.now())?, window);
        }
        while self.open.first_key_value().is_some_and(|(run, _)| run.last.end <= until) {
            self.open.pop_first();
        }
        self.panes.say(said, out)
    }

    fn close_until(&mut self, reached: i64, out: &mut Output) -> Result<()> {
        let before = self.reached;
        self.reached = before.max(reached);
        self.close(before, reached, out)
    }

    /// The end of the first window that has not closed.
    fn first_open(&self) -> Option<i64> {
        let first = |run: &Run| run.ending(self.shape, self.reached, i64::MAX).next().map(|window| window.end);
        self.open.keys().filter_map(first).min()
    }
}

/// Adds rows to those of the same windows.
fn add(runs: &mut BTreeMap<Run, Vec<u32>>, windows: &[Bounds], rows: &[u32]) {
    let Some(run) = Run::of(windows) else { return };
    match runs.entry(run) {
        Entry::Vacant(entry) => drop(entry.insert(rows.to_vec())),
        Entry::Occupied(entry) => entry.into_mut().extend(rows),
    }
}

impl Operator for Sliced {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let classes = self.placing.classes(&batch, out)?;
        for (run, mut rows) in self.runs(&batch, classes, out) {
            // Rows stand as they came.
            rows.sort_unstable();
            pane(&mut self.open, &self.panes, run)?.take(chosen(&batch, &rows)?, out)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        if self.closing == Closing::Watermark {
            self.close_until(self.placing.tick.floor(watermark), out)?;
        }
        out.advance(watermark);
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        if self.closing == Closing::Clock {
            self.close_until(self.placing.tick.floor(now), out)?;
        }
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        self.close(self.reached, i64::MAX, out)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        let next = self.first_open().filter(|_| self.closing == Closing::Clock);
        next.map(|end| self.placing.tick.time(end))
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        save(&mut self.open, (self.reached, None), since).map(Some)
    }

    fn state_size(&self) -> StateSize {
        size(&self.open)
    }

    fn waits(&self) -> Waits {
        Waits { open_until: self.first_open(), ..Waits::default() }
    }
}
