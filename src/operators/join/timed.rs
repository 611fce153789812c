//! What a join drops as the watermark passes: rows that no row can match any more that is not late.
//!
//! ```text
//! LEFT JOIN … ON r.at BETWEEN l.at AND l.at + 5
//! left 10 a, left 12 b      wait for right rows up to 15 and 17
//! right 14 a                out: left 10 a beside it; it waits for left rows up to 14
//! watermark 16              left 10 and right 14 go; left 12 waits on
//! watermark 18              out: left 12 b alone
//! right 17 b                late: the watermark just before it had passed its time
//! ```
//!
//! A row that is dropped is left where it is until most of its side is. It stands in nobody's way: whoever is not late
//! does not match it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::kernels::aggregate::min;
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Int64Type, UInt32Type};

use crate::error::{InternalError, Result};
use crate::operators::Output;
use crate::operators::late_rows::{self, highest};
use crate::operators::rows::{append_only, record_batch};
use crate::plan::node::{self, SideTime, Within};
use crate::state::{Snapshot, table};
use crate::types::{Batch, Timestamp, ticks};

use super::saved::ROWS;
use super::store::keys_of;
use super::{Join, Side};

const REACHED: &str = "reached";

/// How far time has come.
pub(super) struct Timed {
    within: Within,
    /// Whether the times of the sides come out.
    comes_out: [bool; 2],
    /// What the watermark has reached, in ticks.
    reached: i64,
}

/// The rows of a side that wait for the watermark.
pub(super) struct Waiting {
    time: SideTime,
    /// How long after its time a row waits.
    reach: i64,
    /// The rows, the first to be passed first: until when each waits, in ticks, and its number.
    queue: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Timed {
    /// Of a join that goes by the watermark.
    pub fn of(node: &node::Join) -> Option<Timed> {
        let comes_out = [0, 1].map(|side| node.time_place(side).is_some());
        Some(Timed { within: node.within.clone()?, comes_out, reached: i64::MIN })
    }

    /// The watermark has come so far; gives what it is for the result.
    pub fn reach(&mut self, watermark: Timestamp) -> Timestamp {
        self.reached = self.reached.max(self.within.tick.floor(watermark));
        self.within.delayed(watermark, self.comes_out)
    }

    /// What the watermark had reached just before a row.
    fn before(&self, batch: &Batch, row: usize) -> i64 {
        self.within.tick.floor(batch.watermark(row)).max(self.reached)
    }

    /// Which rows of a batch with those times are not late; nothing if none is. Late ones are counted.
    fn in_time(&self, times: &Int64Array, before_end: i64, batch: &Batch, out: &mut Output) -> Option<BooleanArray> {
        let most = highest(batch, self.within.tick).max(self.reached);
        if min(times).is_none_or(|first| first >= most) {
            return None;
        }
        let late = |row: usize| {
            let by = self.before(batch, row).saturating_sub(times.value(row));
            (times.is_valid(row) && by > 0).then(|| by.saturating_sub(before_end))
        };
        late_rows::in_time(batch.num_rows(), self.within.tick, late, out)
    }
}

impl Waiting {
    /// Of that side of a join, if it goes by the watermark.
    pub fn of(node: &node::Join, side: usize) -> Option<Waiting> {
        let within = node.within.as_ref()?;
        Some(Waiting { time: within.times[side], reach: within.reach(side), queue: BinaryHeap::new() })
    }

    /// The time of each row, in ticks: the last that has to pass.
    fn times(&self, rows: &RecordBatch) -> Result<Int64Array> {
        let (times, unit, before_end) = (ticks(rows.column(self.time.column))?, self.time.unit, self.time.before_end());
        Ok(match (unit, before_end) {
            (1, 0) => times,
            _ => times.unary(|time: i64| time.saturating_mul(unit).saturating_sub(before_end)),
        })
    }

    /// Until when rows of those times wait.
    pub fn until(&self, times: &Int64Array) -> Vec<i64> {
        times.values().iter().map(|time| time.saturating_add(self.reach)).collect()
    }

    /// Rows of those numbers wait so long.
    pub fn push(&mut self, rows: &[u32], until: &[i64]) {
        self.queue.extend(until.iter().zip(rows).map(|(until, row)| Reverse((*until, *row))));
    }

    /// The rows that have been passed, in the order in which they have.
    fn passed(&mut self, reached: i64) -> Vec<u32> {
        let mut passed = vec![];
        while self.queue.peek().is_some_and(|Reverse((until, _))| *until < reached)
            && let Some(Reverse((_, row))) = self.queue.pop()
        {
            passed.push(row);
        }
        passed
    }

    /// All rows that wait, in the order in which they will be passed.
    pub fn in_order(&self) -> Vec<u32> {
        let mut rows: Vec<(i64, u32)> = self.queue.iter().map(|Reverse(waiting)| *waiting).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// All rows that wait, in the order in which they came, and until when.
    fn as_they_came(&self) -> (Vec<u32>, Vec<i64>) {
        let mut rows: Vec<(u32, i64)> = self.queue.iter().map(|Reverse((until, row))| (*row, *until)).collect();
        rows.sort_unstable();
        rows.into_iter().unzip()
    }

    /// No row waits any more.
    pub fn clear(&mut self) {
        self.queue.clear();
    }

    pub fn bytes(&self) -> usize {
        self.queue.capacity() * size_of::<(i64, u32)>()
    }
}

impl Join {
    /// The rows of a batch that are not late, and their times if the join goes by them. Those are counted that are late,
    /// or have no time and are not said for it.
    pub(super) fn in_time(&self, side: usize, batch: Batch, out: &mut Output) -> Result<(Batch, Option<Int64Array>)> {
        let Some((timed, waiting)) = self.timed.as_ref().zip(self.sides[side].waiting.as_ref()) else {
            return Ok((batch, None));
        };
        let rows = append_only(&batch, "a join that goes by the watermark")?;
        let times = waiting.times(rows)?;
        if !self.sides[side].alone {
            out.untimed(times.null_count());
        }
        match timed.in_time(&times, waiting.time.before_end(), &batch, out) {
            None => Ok((batch, Some(times))),
            Some(kept) => {
                let times = filter(&times, &kept)?.as_primitive::<Int64Type>().clone();
                Ok((Batch::append_only(filter_record_batch(rows, &kept)?), Some(times)))
            }
        }
    }

    /// Drops the rows that the watermark has passed, and says those that have waited for a match in vain.
    pub(super) fn drop_passed(&mut self, out: &mut Output) -> Result<()> {
        let Some(reached) = self.timed.as_ref().map(|timed| timed.reached) else { return Ok(()) };
        for side in 0..2 {
            let passed = self.sides[side].waiting.as_mut().map(|waiting| waiting.passed(reached)).unwrap_or_default();
            if passed.is_empty() {
                continue;
            }
            self.say_alone(side, &passed, out)?;
            self.sides[side].rows.release(passed.len());
            self.compact(side)?;
        }
        Ok(())
    }

    /// Gives up the memory of a side's rows that have been dropped, once it is most of it.
    fn compact(&mut self, side: usize) -> Result<()> {
        if !self.sides[side].rows.wants_compaction() {
            return Ok(());
        }
        let mut slots = self.sides[side].rows.slots().to_vec();
        self.met = self.met || slots.iter().any(|slot| !self.sides[1 - side].chains.is_empty(*slot));
        let Side { rows, chains, matches, waiting: Some(waiting), .. } = &mut self.sides[side] else { return Ok(()) };
        let (kept, until) = waiting.as_they_came();
        rows.compact(&kept)?;
        if let Some(matches) = matches {
            *matches = kept.iter().map(|row| matches[*row as usize]).collect();
        }
        waiting.clear();
        waiting.push(&(0..until.len() as u32).collect::<Vec<_>>(), &until);
        chains.clear(&slots);
        chains.grow(self.index.slots(), rows.numbers());
        rows.slots().iter().zip(0..).for_each(|(slot, row)| chains.push(*slot, row));
        slots.sort_unstable();
        slots.dedup();
        self.forget_keys(slots);
        Ok(())
    }

    /// Everything that is kept. Most of it is new whenever it is asked for, as rows come and go with the watermark.
    pub(super) fn save_timed(&self, timed: &Timed) -> Result<Snapshot> {
        let mut tables = vec![table(REACHED, vec![Arc::new(Int64Array::from(vec![timed.reached]))], 1)?];
        for (side, name) in self.sides.iter().zip(ROWS) {
            let (rows, until) = side.waiting.as_ref().map(Waiting::as_they_came).unwrap_or_default();
            let slots: Vec<u32> = rows.iter().map(|row| side.rows.slots()[*row as usize]).collect();
            let all: Vec<usize> = (0..side.rows.schema().fields().len()).collect();
            let matches = side.matches.as_deref().unwrap_or_default();
            let matched = rows.iter().map(|row| matches.get(*row as usize).copied().unwrap_or(0));
            let matched: ArrayRef = Arc::new(matched.collect::<UInt32Array>());
            let mut columns = keys_of(&self.index, &slots)?;
            columns.extend(side.rows.gather(&rows, &all)?);
            columns.extend([Arc::new(Int64Array::from(until)) as ArrayRef, matched]);
            tables.push(table(name, columns, rows.len())?);
        }
        Ok(Snapshot { tables })
    }

    /// Takes in what the last of the snapshots holds.
    pub(super) fn restore_timed(&mut self, snapshot: &Snapshot) -> Result<()> {
        let misses = || InternalError::new("a saved join is not in its form");
        let reached = snapshot.table(REACHED).and_then(|table| table.columns().first()).ok_or_else(misses)?;
        let reached = reached.as_primitive_opt::<Int64Type>().and_then(|reached| reached.values().first());
        let reached = *reached.ok_or_else(misses)?;
        for (side, name) in ROWS.into_iter().enumerate() {
            let saved = snapshot.table(name).ok_or_else(misses)?;
            let [columns @ .., until, matched] = saved.columns() else { return Err(misses().into()) };
            let (keys, columns) = columns.split_at_checked(self.sides[side].keys.len()).ok_or_else(misses)?;
            let (Some(until), Some(matched)) =
                (until.as_primitive_opt::<Int64Type>(), matched.as_primitive_opt::<UInt32Type>())
            else {
                return Err(misses().into());
            };
            let mut slots = vec![];
            self.index.intern(keys, saved.num_rows(), &mut slots)?;
            let Side { rows, chains, matches, waiting, .. } = &mut self.sides[side];
            let columns = record_batch(rows.schema(), columns.to_vec(), saved.num_rows())?;
            let numbers = rows.append(&Batch::append_only(columns), &slots)?;
            chains.grow(self.index.slots(), rows.numbers());
            slots.iter().zip(&numbers).for_each(|(slot, row)| chains.push(*slot, *row));
            *matches = matches.take().map(|_| matched.values().to_vec());
            if let Some(waiting) = waiting {
                waiting.push(&numbers, until.values());
            }
        }
        if let Some(timed) = &mut self.timed {
            timed.reached = reached;
        }
        Ok(())
    }
}
