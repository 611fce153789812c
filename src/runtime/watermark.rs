//! The watermark of one partition: a stream that the host feeds, or one file.
//!
//! ```text
//! WATERMARK FOR at AS at - INTERVAL '5 seconds'
//! at:                10   20   12   18
//! watermark before:   -    5   15   15        what the rows are judged by
//! watermark after:                  15        what the readers are told
//! ```

use arrow::array::{Array, RecordBatch};
use arrow::buffer::ScalarBuffer;

use crate::catalog::EventTime;
use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::types::{Interval, Tick, Timestamp, ticks};

/// The watermark of one partition.
#[derive(Debug, Clone)]
pub struct Partition {
    expr: Expr,
    tick: Tick,
    idle_after: Option<Interval>,
    state: PartitionState,
}

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionState {
    /// Its watermark.
    pub at: Timestamp,
    /// When its last row came by the engine's clock, and the watermark after it; none before the first.
    pub fed: Option<(Timestamp, Timestamp)>,
}

impl PartitionState {
    /// Of what has had no row yet.
    pub const NEW: PartitionState = PartitionState { at: Timestamp::MIN, fed: None };
}

impl Partition {
    /// Of a relation with that event time, before its first row.
    pub fn new(event_time: &EventTime) -> Result<Partition> {
        let expr = event_time.watermark.clone();
        let Some(tick) = Tick::of(expr.data_type()) else {
            return Err(InternalError::new("a watermark is no time").into());
        };
        Ok(Partition { expr, tick, idle_after: event_time.idle_after, state: PartitionState::NEW })
    }

    /// The same for rows in which the columns have other places.
    #[must_use]
    pub fn renumbered(mut self, place: &dyn Fn(usize) -> usize) -> Partition {
        self.expr.renumber(place);
        self
    }

    /// The columns it is computed from.
    pub fn columns(&self) -> Vec<usize> {
        self.expr.columns()
    }

    /// Its watermark.
    pub fn at(&self) -> Timestamp {
        self.state.at
    }

    /// Where it stands.
    pub fn state(&self) -> PartitionState {
        self.state
    }

    /// Goes to where it stood.
    pub fn resume(&mut self, state: PartitionState) {
        self.state = state;
    }

    /// Takes rows in that come at `now`, and gives the watermark just before each of them.
    ///
    /// # Errors
    /// What the watermark's expression fails with; then nothing has happened.
    pub fn take(&mut self, rows: &RecordBatch, now: Timestamp) -> Result<ScalarBuffer<i64>> {
        let times = ticks(&self.expr.evaluate(rows)?)?;
        let mut at = self.state.at.nanos();
        let nanos = self.tick.nanos().unwrap_or(1);
        let mut before = Vec::with_capacity(times.len());
        let mut see = |tick: i64| {
            before.push(at);
            at = at.max(tick.saturating_mul(nanos));
        };
        match times.nulls() {
            None => times.values().iter().for_each(|tick| see(*tick)),
            // A row without a time says nothing.
            Some(_) => times.iter().for_each(|tick| see(tick.unwrap_or(i64::MIN))),
        }
        let at = Timestamp::from_nanos(at);
        self.state = PartitionState { at, fed: Some((now, at)) };
        Ok(before.into())
    }

    /// Raises the watermark; true if it was lower.
    pub fn raise(&mut self, to: Timestamp) -> bool {
        let raised = to > self.state.at;
        self.state.at = self.state.at.max(to);
        raised
    }

    /// The clock has reached `now`. A partition that has been silent for so long that it is idle goes on with the clock,
    /// by as much as it has moved since the last row; true if that has raised its watermark.
    pub fn idle(&mut self, now: Timestamp) -> bool {
        let Some((fed, at)) = self.state.fed else { return false };
        if at == Timestamp::MIN || self.idle_after.is_none_or(|after| now < fed + after) {
            return false;
        }
        self.raise(at + Interval::from_nanos(now.nanos().saturating_sub(fed.nanos())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, TimestampMillisecondArray};

    use super::*;

    fn partition(rows: &RecordBatch, idle_after: Option<Interval>) -> Partition {
        let watermark = Expr::column(&rows.schema(), 0);
        Partition::new(&EventTime { column: 0, watermark, idle_after }).unwrap()
    }

    fn rows(times: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("at", times)]).unwrap()
    }

    #[test]
    fn a_row_is_judged_by_what_came_before_it() {
        let rows = rows(Arc::new(Int64Array::from(vec![Some(1), Some(3), None, Some(2), Some(4)])));
        let mut partition = partition(&rows, None);
        let before = partition.take(&rows, Timestamp::default()).unwrap();
        assert_eq!(before.as_ref(), [i64::MIN, 1, 3, 3, 3]);
        assert_eq!(partition.at(), Timestamp::from_nanos(4));
    }

    #[test]
    fn a_silent_partition_goes_on_with_the_clock() {
        let second = Timestamp::from_millis(1_000);
        let rows = rows(Arc::new(TimestampMillisecondArray::from(vec![5_000])));
        let mut partition = partition(&rows, Some(Interval::from_millis(10_000)));
        assert!(!partition.idle(Timestamp::from_millis(60_000)), "it has no watermark yet");
        partition.take(&rows, second).unwrap();
        assert!(!partition.idle(Timestamp::from_millis(10_999)));
        assert!(partition.idle(Timestamp::from_millis(11_000)));
        assert_eq!(partition.at(), Timestamp::from_millis(15_000));
        assert!(partition.idle(Timestamp::from_millis(12_000)));
        assert_eq!(partition.at(), Timestamp::from_millis(16_000));
    }
}
