//! The first rows of each partition in order of event time, each said once the watermark has reached it: no row that
//! could come before it is expected then.
//!
//! ```text
//! in:   a 7   a 5   b 6      watermark 6              a 8
//! out:                       a 5   b 6                            the first of each partition
//! ```
//!
//! Rows are said in order of their times, and those of one time as they came, wherever the watermark stood between them.
//! Of a partition whose first rows have been said only their number is kept, and under `state_ttl` that is forgotten
//! once no row of the partition has come for so long, and none waits. Rows that are late are counted and left out, and
//! so are rows without a time.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, UInt64Array};
use arrow::compute::kernels::aggregate::min;
use arrow::compute::{and, filter_record_batch, is_not_null};
use arrow::datatypes::SchemaRef;

use crate::error::{InternalError, Result};
use crate::expr::{Expr, evaluate_all};
use crate::operators::difference::Touched;
use crate::operators::late_rows;
use crate::operators::rows::{append_only, push_sliced, record_batch};
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node;
use crate::state::{OrderedRows, Snapshot};
use crate::types::{Batch, Epoch, Tick, Timestamp, ticks, times};

use super::counts::Counts;

pub(super) fn build(node: &node::TopN, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let [order] = node.order.as_slice() else {
        return Err(InternalError::new("rows settle in the order of one time").into());
    };
    let Some(tick) = Tick::of(order.expr.data_type()) else {
        return Err(InternalError::new("rows settle in the order of a time").into());
    };
    let mut waiting = super::empty(node)?;
    waiting.restore(snapshots, |rows| Ok(vec![order.expr.evaluate(rows)?]))?;
    Ok(Box::new(Settled {
        partition: node.partition.clone(),
        time: order.expr.clone(),
        tick,
        skip: node.skip as u64,
        end: node.skip.saturating_add(node.fetch) as u64,
        says_rank: node.says_rank,
        schema: node.schema.clone(),
        waiting,
        next: Some(i64::MIN),
        reached: Counts::new(&node.partition, node.ttl, snapshots)?,
        touched: Touched::default(),
    }))
}

struct Settled {
    partition: Vec<Expr>,
    time: Expr,
    tick: Tick,
    /// How many of the first are passed over.
    skip: u64,
    /// The number of the last row that is part of the answer.
    end: u64,
    says_rank: bool,
    schema: SchemaRef,
    /// Rows that may be among the first, and that the watermark has not reached.
    waiting: OrderedRows,
    /// No waiting row is before it. After a restart that is not known.
    next: Option<i64>,
    /// How many rows of each partition have been reached.
    reached: Counts,
    touched: Touched,
}

impl Operator for Settled {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let at = ticks(&self.time.evaluate(append_only(&batch, "the first rows in order of time")?)?)?;
        let late = |row: usize| {
            let by = self.tick.floor(batch.watermark(row)).saturating_sub(at.value(row));
            (at.is_valid(row) && by > 0).then_some(by)
        };
        out.untimed(at.null_count());
        let timed = is_not_null(&at)?;
        let rows = match late_rows::in_time(at.len(), self.tick, late, out) {
            Some(in_time) => filter_record_batch(batch.rows(), &and(&in_time, &timed)?)?,
            None => filter_record_batch(batch.rows(), &timed)?,
        };
        let keys = evaluate_all(&self.partition, &rows)?;
        let slots = self.reached.come(&keys, rows.num_rows(), out.now())?;
        let wanted: Vec<u64> = slots.iter().map(|slot| self.end.saturating_sub(self.reached.count(*slot))).collect();
        let partitions = self.waiting.partitions(&keys, rows.num_rows())?;
        let encoded = self.waiting.encode(&[self.time.evaluate(&rows)?], &rows)?;
        let mut gone = vec![];
        for (row, partition) in partitions.iter().enumerate() {
            let order = self.waiting.order(*partition);
            let full = order.len() as u64 >= wanted[row];
            // Rows of equal times stand as they came.
            if full && order.last().is_none_or(|last| self.waiting.key(last) <= encoded.key(row)) {
                continue;
            }
            self.waiting.insert(*partition, &encoded, row)?;
            if full {
                gone.extend(self.waiting.pop(*partition));
            }
        }
        self.waiting.free(&gone);
        self.waiting.forget_empty(&self.touched.once(&partitions));
        self.next = self.next.into_iter().chain(min(&at)).min();
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        let reached = self.tick.floor(watermark);
        if self.next.is_some_and(|next| next <= reached) {
            self.settle(reached, out)?;
        }
        out.advance(watermark);
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        self.settle(i64::MAX, out)
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        let due = self.reached.due(now);
        let partitions = self.waiting.partitions(&self.reached.keys(&due)?, due.len())?;
        let waits = |at: &usize| !self.waiting.order(partitions[*at]).is_empty();
        let (waiting, gone): (Vec<usize>, Vec<usize>) = (0..due.len()).partition(waits);
        let slots = |at: Vec<usize>| at.into_iter().map(|at| due[at]).collect::<Vec<u32>>();
        let (waiting, gone) = (slots(waiting), slots(gone));
        self.waiting.forget_empty(&partitions);
        self.reached.touch(&waiting, now);
        out.expire(gone.len());
        self.reached.forget(&gone)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.reached.next_due()
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let mut tables = self.waiting.save(since)?;
        tables.extend(self.reached.save(since)?);
        Ok(Some(Snapshot { tables }))
    }

    fn state_size(&self) -> StateSize {
        let reached = self.reached.size();
        StateSize { rows: self.waiting.num_rows() + reached.rows, bytes: self.waiting.bytes() + reached.bytes }
    }

    fn waits(&self) -> Waits {
        let firsts = self.times(&self.waiting.partitions_in_order()).unwrap_or_default();
        Waits { open_until: firsts.into_iter().flatten().min(), ..Waits::default() }
    }
}

impl Settled {
    /// Says the rows that are not behind `last`, and counts them.
    fn settle(&mut self, last: i64, out: &mut Output) -> Result<()> {
        let partitions = self.waiting.partitions_in_order();
        let (mut due, mut of) = (vec![], vec![]);
        let firsts = self.times(&partitions)?;
        for (partition, first) in partitions.iter().zip(&firsts) {
            if first.is_some_and(|first| first <= last) {
                of.push(*partition);
            }
        }
        let bound = self.bound(last)?;
        for partition in &of {
            let is_due = |row: &u32| bound.as_ref().is_none_or(|bound| self.waiting.key(*row) <= bound.as_slice());
            let rows: Vec<u32> = self.waiting.order(*partition).iter().take_while(is_due).collect();
            rows.iter().for_each(|_| _ = self.waiting.pop_first(*partition));
            due.extend(rows.into_iter().map(|row| (row, *partition)));
        }
        due.sort_by(|(one, _), (other, _)| self.waiting.compare(*one, *other));
        self.say(&due, &of, out)?;
        self.waiting.free(&due.iter().map(|(row, _)| *row).collect::<Vec<_>>());
        self.waiting.forget_empty(&of);
        let left = self.waiting.partitions_in_order();
        self.next = self.times(&left)?.into_iter().flatten().min();
        Ok(())
    }

    /// The time of the first waiting row of each partition.
    fn times(&self, partitions: &[u32]) -> Result<Vec<Option<i64>>> {
        let firsts: Vec<u32> =
            partitions.iter().filter_map(|partition| self.waiting.order(*partition).iter().next()).collect();
        let rows = record_batch(self.waiting.schema(), self.waiting.gather(&firsts)?, firsts.len())?;
        Ok(ticks(&self.time.evaluate(&rows)?)?.iter().collect())
    }

    /// What a row of time `last` is sorted by; nothing if that is behind all times.
    fn bound(&self, last: i64) -> Result<Option<Vec<u8>>> {
        match times(Int64Array::from(vec![last]), self.time.data_type()) {
            Ok(last) => Ok(Some(self.waiting.encode_keys(&[last])?.key(0).to_vec())),
            Err(_) => Ok(None),
        }
    }

    /// Says those of the rows that are among the first of their partition; `of` are the partitions.
    fn say(&mut self, due: &[(u32, u32)], of: &[u32], out: &mut Output) -> Result<()> {
        let slots = self.reached.slots(&self.waiting.keys(of)?, of.len())?;
        let slot_of: std::collections::HashMap<u32, u32> = of.iter().copied().zip(slots).collect();
        let (mut rows, mut ranks) = (vec![], vec![]);
        for (row, partition) in due {
            let reached = self.reached.add(slot_of[partition]);
            if reached > self.skip {
                rows.push(*row);
                ranks.push(reached);
            }
        }
        let mut columns = self.waiting.gather(&rows)?;
        if self.says_rank {
            columns.push(Arc::new(UInt64Array::from(ranks)));
        }
        push_sliced(&record_batch(&self.schema, columns, rows.len())?, out);
        Ok(())
    }
}
