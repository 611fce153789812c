//! `LATE(v)` of sessions: the rows that come too late, with the session that each would have made by itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, IntervalMonthDayNano, SchemaRef};

use crate::error::Result;
use crate::operators::rows::record_batch;
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::WindowAggregate;
use crate::state::Snapshot;
use crate::types::{Batch, Epoch, Timestamp, times};

use super::Input;
use super::sessions::{Late, Says, Sessions};

/// The operator of the rows that are late for the sessions of `node`.
pub fn build(node: &WindowAggregate, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let (input, mut sessions) = Input::of(&node.window, &node.keys)?;
    sessions.restored(&mut (), snapshots)?;
    Ok(Box::new(LateRows { input, sessions, schema: node.schema.clone() }))
}

/// Keeps sessions only to judge rows by them.
struct LateRows {
    input: Input,
    sessions: Sessions,
    schema: SchemaRef,
}

impl LateRows {
    /// By how much rows were late, as an interval or, of integers, as a number.
    fn lateness(&self, late: &[Late]) -> ArrayRef {
        match self.sessions.rule.tick.nanos() {
            None => Arc::new(Int64Array::from_iter_values(late.iter().map(|late| late.by))),
            Some(tick) => {
                let by = late.iter().map(|late| IntervalMonthDayNano::new(0, 0, late.by.saturating_mul(tick)));
                Arc::new(IntervalMonthDayNanoArray::from_iter_values(by))
            }
        }
    }

    fn time(&self) -> &DataType {
        self.input.time.data_type()
    }
}

impl Operator for LateRows {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let timed = self.input.place(&batch, &mut self.sessions, Says::Nothing, out)?;
        timed.placed.merges.iter().for_each(|merge| self.sessions.release(merge.from));
        let room = self.sessions.slots();
        self.sessions.dirty.mark(&timed.placed.slots, room);
        self.sessions.forget();
        let late = &timed.placed.late;
        if late.is_empty() {
            return Ok(());
        }
        let rows = UInt32Array::from_iter_values(late.iter().map(|late| late.row));
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in timed.rows.columns() {
            columns.push(take(column, &rows, None)?);
        }
        columns.push(times(late.iter().map(|late| Some(late.at)).collect(), self.time())?);
        let gap = self.sessions.rule.gap;
        columns.push(times(late.iter().map(|late| Some(late.at + gap)).collect(), self.time())?);
        columns.push(self.lateness(late));
        out.push(Batch::append_only(record_batch(&self.schema, columns, late.len())?));
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        if let Some(reached) = self.input.by_watermark(watermark, self.sessions.rule) {
            let ended = self.sessions.end(reached);
            self.sessions.drop_all(&ended.gone);
            self.sessions.forget();
        }
        out.advance(watermark);
        Ok(())
    }

    fn on_eof(&mut self, _: &mut Output) -> Result<()> {
        let ended = self.sessions.end_all();
        self.sessions.drop_all(&ended.gone);
        self.sessions.forget();
        Ok(())
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.sessions.save(&mut (), since, None).map(Some)
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.sessions.len(), bytes: self.sessions.bytes() }
    }
}
