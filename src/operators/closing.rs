//! Partitions by the end of a window, which the watermark closes.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::aggregate::min;

use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::operators::Output;
use crate::operators::late_rows::{self, highest};
use crate::state::OrderedRows;
use crate::types::{Batch, Tick, Timestamp, ticks};

/// The rows of a batch that are not late for their windows, which end then. Late ones are counted.
pub(super) fn in_time(batch: Batch, ends: &Int64Array, tick: Tick, out: &mut Output) -> Result<Batch> {
    let most = highest(&batch, tick);
    if batch.watermarks().is_none() || min(ends).is_none_or(|first| most < first) {
        return Ok(batch);
    }
    let late = |row: usize| {
        let by = tick.floor(batch.watermark(row)).saturating_sub(ends.value(row));
        (ends.is_valid(row) && by >= 0).then_some(by)
    };
    match late_rows::in_time(batch.num_rows(), tick, late, out) {
        None => Ok(batch),
        Some(kept) => Ok(Batch::append_only(filter_record_batch(batch.rows(), &kept)?)),
    }
}

/// The ends of the windows that partitions are of.
pub(super) struct WindowEnds {
    end: Expr,
    /// Which key of a partition it is.
    key: usize,
    tick: Tick,
    /// No partition ends before it. After a restart that is not known.
    next: Option<i64>,
}

impl WindowEnds {
    /// Those of partitions of which key `closed_by` is the end of a window; nothing if there is no such key.
    pub fn of(partition: &[Expr], closed_by: Option<usize>) -> Result<Option<WindowEnds>> {
        let Some(key) = closed_by else { return Ok(None) };
        let unknown = || InternalError::new("the end of a window is no time");
        let end = partition.get(key).ok_or_else(unknown)?.clone();
        let tick = Tick::of(end.data_type()).ok_or_else(unknown)?;
        Ok(Some(WindowEnds { end, key, tick, next: Some(i64::MIN) }))
    }

    /// The rows that are not late for their window. Late ones are counted.
    pub fn in_time(&mut self, batch: Batch, out: &mut Output) -> Result<Batch> {
        let ends = ticks(&self.end.evaluate(batch.rows())?)?;
        self.next = self.next.into_iter().chain(min(&ends)).min();
        in_time(batch, &ends, self.tick, out)
    }

    /// The partitions whose window the watermark has closed, the earliest first.
    pub fn closed(&mut self, rows: &OrderedRows, watermark: Timestamp) -> Result<Vec<u32>> {
        let reached = self.tick.floor(watermark);
        if self.next.is_none_or(|next| next > reached) {
            return Ok(vec![]);
        }
        let ends = self.ends(rows)?;
        self.next = ends.iter().map(|(end, _)| *end).filter(|end| *end > reached).min();
        Ok(ends.into_iter().take_while(|(end, _)| *end <= reached).map(|(_, partition)| partition).collect())
    }

    /// The end of the first window that has not closed.
    pub fn first_open(&self, rows: &OrderedRows) -> Option<i64> {
        let ends = self.ends(rows).unwrap_or_default();
        ends.first().map(|(end, _)| *end)
    }

    /// All partitions, the earliest window first, those without one last.
    pub fn in_order(&self, rows: &OrderedRows) -> Result<Vec<u32>> {
        let mut partitions: Vec<u32> = self.ends(rows)?.into_iter().map(|(_, partition)| partition).collect();
        let known: HashSet<u32> = partitions.iter().copied().collect();
        partitions.extend(rows.partitions_in_order().into_iter().filter(|other| !known.contains(other)));
        Ok(partitions)
    }

    /// The partitions that have a window, with its end, the earliest first.
    fn ends(&self, rows: &OrderedRows) -> Result<Vec<(i64, u32)>> {
        let partitions = rows.partitions_in_order();
        let keys: Vec<ArrayRef> = rows.keys(&partitions)?;
        let ends = keys.get(self.key).ok_or_else(|| InternalError::new("a partition has lost its window"))?;
        let ends = ticks(ends)?;
        let valid = ends.iter().zip(partitions).filter_map(|(end, partition)| Some((end?, partition)));
        let mut ends: Vec<(i64, u32)> = valid.collect();
        // Those of one end stay in the order in which they appeared.
        ends.sort_by_key(|(end, _)| *end);
        Ok(ends)
    }
}
