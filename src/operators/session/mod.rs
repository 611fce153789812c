//! Sessions: the rows of a key that follow each other within a gap.
//!
//! ```text
//! SESSION(at, 10), keys (k), count(*)
//! rows in:     a 1 | a 22 | b 3 | a 12            a [1, 11) [22, 32) until 12 joins both
//! watermark 13:                                   out: b 3 13 1
//! watermark 32:                                   out: a 1 32 3
//! ```
//!
//! `sessions::Sessions` says which session each row is in, and what it says in the order of rows is done to what is
//! kept of sessions in the order of rows: a merge comes after the rows before it. So the answer is the same however the
//! rows are cut into batches.

mod late;
mod rows;
mod said;
mod saved;
mod sessions;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::{concat, filter_record_batch, is_not_null, take};
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::operators::aggregate::{Accumulators, merging_accumulators};
use crate::operators::rows::{BATCH_ROWS, append_only, record_batch, take_rows};
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node::{AggregateEmit, Closing, Window, WindowAggregate, WindowShape};
use crate::state::Snapshot;
use crate::types::{Batch, Epoch, Tick, Timestamp, ticks, times};

use said::Said;
use sessions::{Bounds, Ended, Placed, Rows, Rule, Says, Sessions};

pub use rows::build as build_rows;

/// The operator of a `GROUP BY` in sessions.
pub fn build(node: &WindowAggregate, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    if node.says_late {
        return late::build(node, snapshots);
    }
    let (input, mut sessions) = Input::of(&node.window, &node.keys)?;
    let mut accumulators = merging_accumulators(&node.aggregates)?;
    let (due, slots) = sessions.restored(&mut accumulators, snapshots)?;
    let kind = match node.emit {
        AggregateEmit::Final if node.window.lateness == 0 => Kind::Once,
        AggregateEmit::Running => Kind::Running,
        AggregateEmit::Final | AggregateEmit::Changes | AggregateEmit::Every(_) | AggregateEmit::EveryAndFinal(_) => {
            Kind::Changes(Said::new(node.emit))
        }
    };
    let answer = Answer { schema: node.schema.clone(), time: input.time.data_type().clone(), tick: sessions.rule.tick };
    let mut operator = Session { input, sessions, accumulators, answer, kind, emit: node.emit, due };
    operator.resume(&slots, snapshots)?;
    Ok(Box::new(operator))
}

/// How an operator over sessions reads its rows.
struct Input {
    time: Expr,
    keys: Vec<Expr>,
    closing: Closing,
}

/// Rows that have a time.
struct Timed {
    rows: RecordBatch,
    keys: Vec<ArrayRef>,
    at: Int64Array,
    placed: Placed,
}

impl Input {
    /// How the rows of sessions by `keys` are read, and no sessions yet.
    fn of(window: &Window, keys: &[Expr]) -> Result<(Input, Sessions)> {
        let (WindowShape::Session { gap }, Some(tick)) = (&window.shape, Tick::of(window.time.data_type())) else {
            return Err(InternalError::new("these windows are no sessions").into());
        };
        let types: Vec<DataType> = keys.iter().map(|key| key.data_type().clone()).collect();
        let closes = window.closing != Closing::End;
        let rule = Rule { gap: *gap, lateness: window.lateness, tick, closes };
        let input = Input { time: window.time.clone(), keys: keys.to_vec(), closing: window.closing };
        Ok((input, Sessions::new(&types, rule)?))
    }

    /// Puts the rows of a batch into sessions. Those without a time are counted and left out.
    fn place(&self, batch: &Batch, sessions: &mut Sessions, says: Says, out: &mut Output) -> Result<Timed> {
        append_only(batch, "sessions")?;
        let mut at = ticks(&self.time.evaluate(batch.rows())?)?;
        let mut batch = batch.clone();
        if at.null_count() > 0 {
            out.untimed(at.null_count());
            let timed = is_not_null(&at)?;
            let watermarks = batch.watermarks_of(timed.values().set_indices());
            batch = Batch::append_only(filter_record_batch(batch.rows(), &timed)?).with_watermarks(watermarks);
            at = ticks(&self.time.evaluate(batch.rows())?)?;
        }
        let keys = self.keys.iter().map(|key| key.evaluate(batch.rows())).collect::<Result<Vec<_>>>()?;
        let judged = self.closing == Closing::Watermark;
        let watermarks = batch.watermarks().filter(|_| judged).map(|watermarks| watermarks.as_ref());
        let placed = sessions.place(&Rows { keys: &keys, at: &at, watermarks }, says)?;
        Ok(Timed { rows: batch.rows().clone(), keys, at, placed })
    }

    /// Up to where the watermark ends sessions, if it does.
    fn by_watermark(&self, watermark: Timestamp, rule: Rule) -> Option<i64> {
        (self.closing == Closing::Watermark).then(|| rule.tick.floor(watermark))
    }

    /// Up to where the clock ends sessions, if it does.
    fn by_clock(&self, now: Timestamp, rule: Rule) -> Option<i64> {
        (self.closing == Closing::Clock).then(|| rule.tick.floor(now))
    }

    /// When the clock ends the next session, if it does.
    fn next_due(&self, sessions: &Sessions) -> Option<Timestamp> {
        let next = sessions.next_due().filter(|_| self.closing == Closing::Clock);
        next.map(|next| sessions.rule.tick.time(next))
    }
}

impl Timed {
    /// The rows that are not late, and their keys. Late ones are counted.
    fn in_time(&self, tick: Tick, out: &mut Output) -> Result<(RecordBatch, Vec<ArrayRef>)> {
        let Some(rows) = self.placed.in_time(self.at.len()) else { return Ok((self.rows.clone(), self.keys.clone())) };
        out.late(self.placed.late.len());
        self.placed.late.iter().for_each(|late| out.late_by(tick.time(late.by).nanos()));
        let keys = self.keys.iter().map(|key| take(key, &rows, None)).collect::<Result<_, _>>()?;
        Ok((take_rows(&self.rows, &rows)?, keys))
    }
}

/// What an operator over sessions tells those after it: what is kept for late rows may still be corrected.
fn advance(watermark: Timestamp, rule: Rule, out: &mut Output) {
    let kept = rule.lateness.saturating_mul(rule.tick.nanos().unwrap_or(1));
    out.advance(match watermark {
        Timestamp::MAX => watermark,
        watermark => Timestamp::from_nanos(watermark.nanos().saturating_sub(kept)),
    });
}

/// The form of the answer.
struct Answer {
    schema: SchemaRef,
    time: DataType,
    tick: Tick,
}

impl Answer {
    /// The three columns of the bounds of sessions.
    fn bounds(&self, bounds: impl Iterator<Item = Bounds> + Clone) -> Result<Vec<ArrayRef>> {
        let before_end = self.tick.before_end();
        let column =
            |of: &dyn Fn(Bounds) -> i64| times(Int64Array::from_iter_values(bounds.clone().map(of)), &self.time);
        Ok(vec![
            column(&|bounds| bounds.start)?,
            column(&|bounds| bounds.end)?,
            column(&|bounds| bounds.end.saturating_sub(before_end))?,
        ])
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        record_batch(&self.schema, columns, rows)
    }
}

/// `GROUP BY` in sessions.
struct Session {
    input: Input,
    sessions: Sessions,
    accumulators: Accumulators,
    answer: Answer,
    kind: Kind,
    emit: AggregateEmit,
    /// When early results are due.
    due: Option<Timestamp>,
}

/// How sessions are said.
enum Kind {
    /// Each once, when it has ended.
    Once,
    /// As it is after each row.
    Running,
    /// What has changed since it was last said.
    Changes(Said),
}

impl Session {
    /// What has been said, after a restart.
    fn resume(&mut self, slots: &HashMap<u64, u32>, snapshots: &[Snapshot]) -> Result<()> {
        let Session { sessions, kind, .. } = self;
        if let (Kind::Changes(said), Some(last)) = (kind, snapshots.last()) {
            said.resume(sessions, slots, last)?;
            self.accumulators.grow(sessions.slots());
        }
        Ok(())
    }

    /// Takes rows in, and merges sessions, in the order in which that happens. Gives for each part of the rows the
    /// values after each row, if they are asked for.
    fn take(&mut self, rows: &RecordBatch, placed: &Placed) -> Result<Vec<Vec<ArrayRef>>> {
        let mut parts = vec![];
        let mut from = 0;
        let ends = placed.merges.iter().map(|merge| merge.before).chain([placed.slots.len()]);
        for (nth, end) in ends.enumerate() {
            if end > from {
                let (part, slots) = (rows.slice(from, end - from), &placed.slots[from..end]);
                match self.kind {
                    Kind::Running => parts.push(self.accumulators.update_running(&part, slots)?),
                    Kind::Once | Kind::Changes(_) => self.accumulators.update(&part, slots)?,
                }
                from = end;
            }
            if let Some(merge) = placed.merges.get(nth) {
                self.accumulators.merge(merge.into, merge.from)?;
            }
        }
        Ok(parts)
    }

    /// Says a row for each row.
    fn say_running(
        &mut self,
        mut columns: Vec<ArrayRef>,
        placed: &Placed,
        parts: &[Vec<ArrayRef>],
        out: &mut Output,
    ) -> Result<()> {
        let Some(first) = parts.first() else { return Ok(()) };
        columns.extend(self.answer.bounds(placed.bounds.iter().copied())?);
        for call in 0..first.len() {
            let parts: Vec<&dyn Array> = parts.iter().map(|part| part[call].as_ref()).collect();
            columns.push(if parts.len() == 1 { first[call].clone() } else { concat(&parts)? });
        }
        out.push(Batch::append_only(self.answer.batch(columns, placed.slots.len())?));
        Ok(())
    }

    /// Says sessions, each once.
    fn say_once(&mut self, slots: &[u32], out: &mut Output) -> Result<()> {
        for slots in slots.chunks(BATCH_ROWS) {
            let mut columns = self.sessions.key_columns(slots)?;
            columns.extend(self.answer.bounds(slots.iter().map(|slot| self.sessions.bounds(*slot)))?);
            columns.extend(self.accumulators.read(slots)?);
            out.push(Batch::append_only(self.answer.batch(columns, slots.len())?));
        }
        Ok(())
    }

    /// Says what has become of the pending sessions that are `due`.
    fn flush(&mut self, due: impl Fn(&Sessions, u32) -> bool, out: &mut Output) -> Result<()> {
        let Session { sessions, accumulators, answer, kind, .. } = self;
        if let Kind::Changes(said) = kind {
            said.flush(sessions, accumulators, answer, due, out)?;
        }
        Ok(())
    }

    /// Says what is due of sessions that have ended, and lets those go that need not be kept longer.
    fn close(&mut self, ended: &Ended, out: &mut Output) -> Result<()> {
        match (&mut self.kind, self.emit) {
            (Kind::Once, _) => self.say_once(&ended.gone, out)?,
            (Kind::Running, _) => {}
            (Kind::Changes(said), AggregateEmit::Final) => {
                said.touch(&ended.closed, &self.sessions, &mut self.accumulators, &self.answer)?;
                self.flush(|_, _| true, out)?;
            }
            (Kind::Changes(_), AggregateEmit::EveryAndFinal(_)) if !ended.closed.is_empty() => {
                self.flush(Sessions::has_ended, out)?;
            }
            // What goes has no later time to speak.
            (Kind::Changes(_), _) if !ended.gone.is_empty() => {
                let kept = self.sessions.rule.lateness;
                let goes =
                    |sessions: &Sessions, slot| sessions.bounds(slot).end <= sessions.reached.saturating_sub(kept);
                self.flush(goes, out)?;
            }
            (Kind::Changes(_), _) => {}
        }
        self.settle_due();
        self.accumulators.reset(&ended.gone);
        self.sessions.drop_all(&ended.gone);
        if let Kind::Changes(said) = &mut self.kind {
            said.forget(&ended.gone);
        }
        self.sessions.forget();
        Ok(())
    }

    /// Without anything pending nothing is due.
    fn settle_due(&mut self) {
        if let Kind::Changes(said) = &self.kind
            && said.is_settled()
        {
            self.due = None;
        }
    }

    fn end(&mut self, reached: Option<i64>, out: &mut Output) -> Result<()> {
        let Some(reached) = reached else { return Ok(()) };
        let ended = self.sessions.end(reached);
        self.close(&ended, out)
    }
}

impl Operator for Session {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let says = if matches!(self.kind, Kind::Running) { Says::Bounds } else { Says::Nothing };
        let timed = self.input.place(&batch, &mut self.sessions, says, out)?;
        let (rows, keys) = timed.in_time(self.sessions.rule.tick, out)?;
        let placed = &timed.placed;
        self.accumulators.grow(self.sessions.slots());
        if let Kind::Changes(said) = &mut self.kind {
            let merged: Vec<u32> = placed.merges.iter().map(|merge| merge.from).collect();
            for slots in [&merged, &placed.slots] {
                said.touch(slots, &self.sessions, &mut self.accumulators, &self.answer)?;
            }
        }
        let parts = self.take(&rows, placed)?;
        let room = self.sessions.slots();
        self.sessions.dirty.mark(&placed.slots, room);
        match (&self.kind, self.emit) {
            (Kind::Once, _) => {}
            (Kind::Running, _) => self.say_running(keys, placed, &parts, out)?,
            (Kind::Changes(_), AggregateEmit::Every(interval) | AggregateEmit::EveryAndFinal(interval)) => {
                if !placed.slots.is_empty() {
                    self.due = self.due.or(Some(out.now() + interval));
                }
            }
            (Kind::Changes(_), _) => self.flush(|_, _| true, out)?,
        }
        if !matches!(self.kind, Kind::Changes(_)) {
            placed.merges.iter().for_each(|merge| self.sessions.release(merge.from));
        }
        self.sessions.forget();
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        let rule = self.sessions.rule;
        self.end(self.input.by_watermark(watermark, rule), out)?;
        advance(watermark, rule, out);
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.flush(|_, _| true, out)?;
        }
        self.end(self.input.by_clock(now, self.sessions.rule), out)
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        let ended = self.sessions.end_all();
        self.close(&ended, out)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.input.next_due(&self.sessions).into_iter().chain(self.due).min()
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let mut snapshot = self.sessions.save(&mut self.accumulators, since, self.due)?;
        if let Kind::Changes(said) = &self.kind {
            snapshot.tables.extend(said.save(&self.sessions, &mut self.accumulators, &self.answer)?);
        }
        Ok(Some(snapshot))
    }

    fn state_size(&self) -> StateSize {
        let said = match &self.kind {
            Kind::Once | Kind::Running => 0,
            Kind::Changes(said) => said.bytes(),
        };
        StateSize { rows: self.sessions.len(), bytes: self.sessions.bytes() + self.accumulators.bytes() + said }
    }

    fn waits(&self) -> Waits {
        Waits { open_until: self.sessions.first_open(), ..Waits::default() }
    }
}
