//! `GROUP BY` in windows whose bounds follow from each row: TUMBLE, HOP, CUMULATE, and those that rows carry.
//!
//! ```text
//! TUMBLE(at, 10), keys (k), count(*)           panes by end:  10 {a: 2, b: 1}   20 {a: 1}
//! rows in:     a 1 | b 2 | a 12 | a 7
//! watermark 10:                                out: a 0 10 2 | b 0 10 1        the pane is dropped whole
//! ```
//!
//! Each window that is open is a `Pane` of its own: groups and what is computed for them; rows that are in the same
//! windows share one instead where windows overlap and speak once (`sliced`). A row is late for a window if the watermark
//! just before it had reached the window's end, and how long the window is kept longer.

mod late;
mod pane;
mod saved;
mod sliced;

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::compute::interleave_record_batch;

use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::operators::late_rows::highest;
use crate::operators::rows::chosen;
use crate::operators::windows::Shape;
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node::{AggregateEmit, Closing, WindowAggregate, WindowShape};
use crate::state::Snapshot;
use crate::types::{Batch, Epoch, Interval, Tick, Timestamp, ticks};

use pane::{Pane, Panes, Widened};
use saved::Saved;

/// The operator of `node`.
pub fn build(node: &WindowAggregate, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let placing = Placing::of(node)?;
    if node.says_late {
        return Ok(Box::new(late::LateRows::new(node, placing)));
    }
    if let Some(shape) = sliced::applies(node)? {
        return sliced::build(node, placing, shape, snapshots);
    }
    let panes = Panes::new(node);
    let Saved { panes: open, reached, due } = saved::restored(&panes, snapshots)?;
    Ok(Box::new(Window { placing, panes, open, reached, due, emit: node.emit, closing: node.window.closing }))
}

/// The bounds of a window in ticks, its end first: windows close in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bounds {
    end: i64,
    start: i64,
}

/// Which windows rows are in.
struct Placing {
    time: Expr,
    /// Where windows begin, if the rows carry it.
    start: Option<Expr>,
    shape: Option<Shape>,
    tick: Tick,
    /// For how many ticks after its end a window is kept.
    lateness: i64,
}

/// The rows of a batch that are in the same windows, if in any.
struct Class {
    windows: Vec<Bounds>,
    rows: Vec<u32>,
}

impl Placing {
    fn of(node: &WindowAggregate) -> Result<Placing> {
        let window = &node.window;
        let Some(tick) = Tick::of(window.time.data_type()) else {
            return Err(InternalError::new("windows over what is no time").into());
        };
        let start = match &window.shape {
            WindowShape::Given { start } => Some(start.clone()),
            WindowShape::Tumble { .. } | WindowShape::Hop { .. } | WindowShape::Cumulate { .. } => None,
            WindowShape::Session { .. } => {
                return Err(InternalError::new("a session is no window of one row").into());
            }
        };
        let shape = Shape::of(&window.shape);
        Ok(Placing { time: window.time.clone(), start, shape, tick, lateness: window.lateness })
    }

    /// The rows by the windows they are in. Those without a time are counted and left out.
    fn classes(&self, batch: &Batch, out: &mut Output) -> Result<Vec<Class>> {
        let at = ticks(&self.time.evaluate(batch.rows())?)?;
        let mut classes = Classes::default();
        match (self.shape, &self.start) {
            (Some(shape), _) => {
                out.untimed(at.null_count());
                classes.place_all(&at, shape)?;
            }
            (None, Some(start)) => {
                let starts = ticks(&start.evaluate(batch.rows())?)?;
                let bounds = at.iter().zip(&starts).map(|(end, start)| Some(Bounds { end: end?, start: start? }));
                let mut untimed = 0;
                for (row, window) in bounds.enumerate() {
                    match window {
                        Some(window) => classes.add((window.start, window.end), row..row + 1, || vec![window]),
                        None => untimed += 1,
                    }
                }
                out.untimed(untimed);
            }
            (None, None) => return Err(InternalError::new("windows without a beginning").into()),
        }
        Ok(classes.found)
    }

    /// Whether a row before which the watermark was `watermark`, in ticks, is late for a window.
    #[inline]
    fn is_late(&self, watermark: i64, window: Bounds) -> bool {
        watermark >= window.end.saturating_add(self.lateness)
    }

    /// The watermark before a row, in ticks.
    #[inline]
    fn before(&self, batch: &Batch, row: u32) -> i64 {
        self.tick.floor(batch.watermark(row as usize))
    }
}

/// Finds rows that are in the same windows. Rows that follow each other most often are.
#[derive(Default)]
struct Classes {
    found: Vec<Class>,
    /// Which of them are of the times, or of the window, between two bounds.
    places: HashMap<(i64, i64), usize>,
    /// The last that was asked for.
    last: Option<((i64, i64), usize)>,
}

impl Classes {
    /// Places rows by their times, if they have one.
    fn place_all(&mut self, at: &Int64Array, shape: Shape) -> Result<()> {
        let times = at.values();
        let mut row = 0;
        while row < times.len() {
            let from = row;
            row += 1;
            if at.is_null(from) {
                continue;
            }
            shape.check(times[from])?;
            let alike = shape.alike(times[from]);
            while row < times.len() && alike.contains(&times[row]) && at.is_valid(row) {
                row += 1;
            }
            self.add((alike.start, alike.end), from..row, || {
                let mut windows = vec![];
                shape.each(times[from], |start, end| windows.push(Bounds { end, start }));
                windows
            });
        }
        Ok(())
    }

    fn add(&mut self, place: (i64, i64), rows: Range<usize>, windows: impl FnOnce() -> Vec<Bounds>) {
        let index = match self.last {
            Some((last, index)) if last == place => index,
            _ => *self.places.entry(place).or_insert_with(|| {
                self.found.push(Class { windows: windows(), rows: vec![] });
                self.found.len() - 1
            }),
        };
        self.last = Some((place, index));
        self.found[index].rows.extend(rows.map(|row| row as u32));
    }

    /// The windows of all rows, each with the classes that are in it.
    fn by_window(found: &[Class]) -> BTreeMap<Bounds, Vec<&Class>> {
        let mut by_window: BTreeMap<Bounds, Vec<&Class>> = BTreeMap::new();
        for class in found {
            for window in &class.windows {
                by_window.entry(*window).or_default().push(class);
            }
        }
        by_window
    }
}

/// Windows of rows.
struct Window {
    placing: Placing,
    panes: Panes,
    /// The windows that are kept.
    open: BTreeMap<Bounds, Pane>,
    /// Up to where windows have closed, in ticks.
    reached: i64,
    /// When early results are due.
    due: Option<Timestamp>,
    emit: AggregateEmit,
    closing: Closing,
}

impl Window {
    /// Which rows of a class are in time for a window, of a batch before whose rows the watermark was at most `most`.
    /// Late ones are counted.
    fn in_time<'a>(
        &self,
        (batch, most): (&Batch, i64),
        class: &'a Class,
        window: Bounds,
        out: &mut Output,
    ) -> Cow<'a, [u32]> {
        // A window that was closed without a watermark of the row's own, by another input, is gone as well.
        let gone = self.closing != Closing::End && self.placing.is_late(self.reached, window);
        let late = |row: &u32| {
            gone || (batch.watermarks().is_some() && self.placing.is_late(self.placing.before(batch, *row), window))
        };
        if !gone && (self.closing != Closing::Watermark || !self.placing.is_late(most, window)) {
            return Cow::Borrowed(&class.rows);
        }
        let kept: Vec<u32> = class.rows.iter().copied().filter(|row| !late(row)).collect();
        out.late(class.rows.len() - kept.len());
        for row in class.rows.iter().filter(|row| late(row)) {
            let before = if batch.watermarks().is_some() { self.placing.before(batch, *row) } else { i64::MIN };
            let by = before.max(self.reached).saturating_sub(window.end);
            out.late_by(self.placing.tick.time(by).nanos());
        }
        Cow::Owned(kept)
    }

    /// `EMIT RUNNING`: a row out for each row that is in time, in the order of the rows.
    fn take_running(&mut self, batch: &Batch, classes: &[Class], out: &mut Output) -> Result<()> {
        let mut parts: Vec<RecordBatch> = vec![];
        let mut places: Vec<(u32, usize, usize)> = vec![];
        let most = highest(batch, self.placing.tick);
        for class in classes {
            for window in &class.windows {
                let rows = self.in_time((batch, most), class, *window, out);
                if rows.is_empty() {
                    continue;
                }
                let pane = pane(&mut self.open, &self.panes, *window)?;
                let said = pane.take_running(&chosen(batch, &rows)?, out.now())?;
                places.extend(rows.iter().enumerate().map(|(place, row)| (*row, parts.len(), place)));
                parts.push(self.panes.widened(said, *window)?);
            }
        }
        places.sort_unstable();
        let places: Vec<(usize, usize)> = places.into_iter().map(|(_, part, place)| (part, place)).collect();
        match parts.as_slice() {
            [] => {}
            [only] => out.push(Batch::append_only(only.clone())),
            parts => {
                let parts: Vec<&RecordBatch> = parts.iter().collect();
                out.push(Batch::append_only(interleave_record_batch(&parts, &places)?));
            }
        }
        Ok(())
    }

    /// Whether a window has said its result, and what comes now corrects it.
    fn has_closed(&self, window: Bounds) -> bool {
        self.closing != Closing::End && self.reached >= window.end
    }

    /// Says what has changed in the panes that have been written.
    fn flush(&mut self, written: &[Bounds], out: &mut Output) -> Result<()> {
        let mut said = Widened::default();
        for window in written {
            if let Some(pane) = self.open.get_mut(window) {
                said.extend(pane.flush(out.now())?, *window);
            }
        }
        self.panes.say(said, out)
    }

    fn flush_all(&mut self, out: &mut Output) -> Result<()> {
        self.due = None;
        let all: Vec<Bounds> = self.open.keys().copied().collect();
        self.flush(&all, out)
    }

    /// Closes the windows that end by `reached`, and drops those that need not be kept longer.
    fn close(&mut self, reached: i64, out: &mut Output) -> Result<()> {
        let before = self.reached;
        self.reached = before.max(reached);
        let mut said = Widened::default();
        let mut gone = 0;
        for (window, pane) in &mut self.open {
            if window.end > reached {
                break;
            }
            let drops = self.placing.is_late(reached, *window);
            let closes = window.end > before;
            if drops || (closes && self.emit.says_close()) {
                said.extend(pane.close(out.now())?, *window);
            }
            gone += usize::from(drops);
        }
        for _ in 0..gone {
            self.open.pop_first();
        }
        self.panes.say(said, out)
    }
}

fn pane<'a, P: Ord>(open: &'a mut BTreeMap<P, Pane>, panes: &Panes, place: P) -> Result<&'a mut Pane> {
    match open.entry(place) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => Ok(entry.insert(panes.open(&[])?)),
    }
}

impl AggregateEmit {
    /// Whether the close of a window says what has not been said yet.
    fn says_close(self) -> bool {
        match self {
            AggregateEmit::Final | AggregateEmit::EveryAndFinal(_) => true,
            AggregateEmit::Running | AggregateEmit::Changes | AggregateEmit::Every(_) => false,
        }
    }

    fn interval(self) -> Option<Interval> {
        match self {
            AggregateEmit::Every(interval) | AggregateEmit::EveryAndFinal(interval) => Some(interval),
            AggregateEmit::Final | AggregateEmit::Running | AggregateEmit::Changes => None,
        }
    }
}

impl Operator for Window {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let classes = self.placing.classes(&batch, out)?;
        if self.emit == AggregateEmit::Running {
            return self.take_running(&batch, &classes, out);
        }
        let most = highest(&batch, self.placing.tick);
        let mut written = vec![];
        for (window, classes) in Classes::by_window(&classes) {
            let rows = match classes.as_slice() {
                [class] => self.in_time((&batch, most), class, window, out),
                // Within a window rows stand as they came.
                classes => {
                    let rows = classes.iter().map(|class| self.in_time((&batch, most), class, window, out));
                    let mut rows = rows.flat_map(Cow::into_owned).collect::<Vec<u32>>();
                    rows.sort_unstable();
                    Cow::Owned(rows)
                }
            };
            if !rows.is_empty() {
                pane(&mut self.open, &self.panes, window)?.take(chosen(&batch, &rows)?, out)?;
                written.push(window);
            }
        }
        match self.emit.interval() {
            Some(interval) if !written.is_empty() => self.due = self.due.or(Some(out.now() + interval)),
            Some(_) => {}
            None => {
                let says = |window: &Bounds| self.emit == AggregateEmit::Changes || self.has_closed(*window);
                written.retain(says);
                written.sort_unstable();
                written.dedup();
                self.flush(&written, out)?;
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        if self.closing == Closing::Watermark {
            self.close(self.placing.tick.floor(watermark), out)?;
        }
        // What is kept for late rows may still be corrected.
        let kept = self.placing.lateness.saturating_mul(self.placing.tick.nanos().unwrap_or(1));
        out.advance(match watermark {
            Timestamp::MAX => watermark,
            watermark => Timestamp::from_nanos(watermark.nanos().saturating_sub(kept)),
        });
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        if self.due.is_some_and(|due| due <= now) {
            self.flush_all(out)?;
        }
        if self.closing == Closing::Clock {
            self.close(self.placing.tick.floor(now), out)?;
        }
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        let mut said = Widened::default();
        for (window, mut pane) in std::mem::take(&mut self.open) {
            said.extend(pane.close(out.now())?, window);
        }
        self.due = None;
        self.panes.say(said, out)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        let first = self.open.keys().next().filter(|_| self.closing == Closing::Clock);
        first.map(|window| self.placing.tick.time(window.end)).into_iter().chain(self.due).min()
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        saved::save(&mut self.open, (self.reached, self.due), since).map(Some)
    }

    fn state_size(&self) -> StateSize {
        size(&self.open)
    }

    fn waits(&self) -> Waits {
        let mut ends = self.open.keys().map(|window| window.end);
        Waits { open_until: ends.find(|end| self.closing == Closing::End || *end > self.reached), ..Waits::default() }
    }
}

/// How much panes keep.
fn size<P>(panes: &BTreeMap<P, Pane>) -> StateSize {
    let add = |sum: StateSize, pane: StateSize| StateSize {
        rows: sum.rows + pane.rows,
        bytes: sum.bytes + pane.bytes + size_of::<(P, Pane)>(),
    };
    panes.values().map(Pane::size).fold(StateSize::default(), add)
}

/// A column that has the same value in each row.
fn constant(value: i64, rows: usize) -> Int64Array {
    Int64Array::from(vec![value; rows])
}

#[cfg(test)]
mod tests;
