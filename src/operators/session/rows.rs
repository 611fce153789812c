//! `FROM SESSION(…)`: each row with the session it is in, once that has ended.
//!
//! ```text
//! a 1 | a 22 | b 3 | a 12   with SESSION(at, 10)      watermark 13:  b 3 | 3 13
//!                                                     watermark 32:  a 1 | 1 32    a 22 | 1 32    a 12 | 1 32
//! ```
//!
//! The rows of a session come together, in the order in which they came.

use arrow::array::ArrayRef;

use crate::error::Result;
use crate::operators::rows::BATCH_ROWS;
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node::Windows;
use crate::state::{RowLists, Snapshot};
use crate::types::{Batch, Epoch, Timestamp};

use super::sessions::{Bounds, Ended, Says, Sessions};
use super::{Answer, Input, advance};

/// The operator of rows in sessions.
pub fn build(node: &Windows, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let (input, mut sessions) = Input::of(&node.window, &node.keys)?;
    let mut rows = RowLists::new(node.input.schema());
    sessions.restored(&mut rows, snapshots)?;
    let answer = Answer { schema: node.schema.clone(), time: input.time.data_type().clone(), tick: sessions.rule.tick };
    Ok(Box::new(SessionRows { input, sessions, rows, answer }))
}

struct SessionRows {
    input: Input,
    sessions: Sessions,
    rows: RowLists,
    answer: Answer,
}

impl SessionRows {
    /// Says the rows of sessions that have ended, and drops them.
    fn close(&mut self, ended: &Ended, out: &mut Output) -> Result<()> {
        let mut rest = ended.gone.as_slice();
        while !rest.is_empty() {
            let mut rows = 0;
            let full = |slot: &u32| {
                rows += self.rows.count(*slot);
                rows >= BATCH_ROWS
            };
            let end = rest.iter().position(full).map_or(rest.len(), |last| last + 1);
            self.say(&rest[..end], out)?;
            rest = &rest[end..];
        }
        self.rows.reset(&ended.gone);
        self.rows.compact()?;
        self.sessions.drop_all(&ended.gone);
        self.sessions.forget();
        Ok(())
    }

    fn say(&self, slots: &[u32], out: &mut Output) -> Result<()> {
        let (mut columns, lengths): (Vec<ArrayRef>, Vec<usize>) = self.rows.gather(slots)?;
        let bounds: Vec<Bounds> = slots.iter().map(|slot| self.sessions.bounds(*slot)).collect();
        let each = bounds.iter().zip(&lengths).flat_map(|(bounds, length)| std::iter::repeat_n(*bounds, *length));
        columns.extend(self.answer.bounds(each)?);
        out.push(Batch::append_only(self.answer.batch(columns, lengths.iter().sum())?));
        Ok(())
    }
}

impl Operator for SessionRows {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let timed = self.input.place(&batch, &mut self.sessions, Says::Nothing, out)?;
        let (rows, _) = timed.in_time(self.sessions.rule.tick, out)?;
        self.rows.grow(self.sessions.slots());
        // A row knows when it came: that sessions are merged after all rows are in makes no difference.
        self.rows.push(rows.columns().to_vec(), &timed.placed.slots)?;
        for merge in &timed.placed.merges {
            self.rows.merge(merge.into, merge.from);
            self.sessions.release(merge.from);
        }
        let room = self.sessions.slots();
        self.sessions.dirty.mark(&timed.placed.slots, room);
        self.sessions.forget();
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        let rule = self.sessions.rule;
        if let Some(reached) = self.input.by_watermark(watermark, rule) {
            let ended = self.sessions.end(reached);
            self.close(&ended, out)?;
        }
        advance(watermark, rule, out);
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        if let Some(reached) = self.input.by_clock(now, self.sessions.rule) {
            let ended = self.sessions.end(reached);
            self.close(&ended, out)?;
        }
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        let ended = self.sessions.end_all();
        self.close(&ended, out)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.input.next_due(&self.sessions)
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.sessions.save(&mut self.rows, since, None).map(Some)
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.rows.total(), bytes: self.sessions.bytes() + self.rows.bytes() }
    }

    fn waits(&self) -> Waits {
        Waits { open_until: self.sessions.first_open(), ..Waits::default() }
    }
}
