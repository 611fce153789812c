//! The first rows of each partition as they come, over rows that stay: what is first stays first, so nothing is taken
//! back, and only how many have come is kept.

use std::sync::Arc;

use arrow::array::{UInt32Array, UInt64Array};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::{Expr, evaluate_all};
use crate::operators::rows::{append_only, record_batch, take_rows};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node;
use crate::state::Snapshot;
use crate::types::{Batch, Epoch, Timestamp};

use super::counts::Counts;

pub(super) fn build(node: &node::TopN, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    Ok(Box::new(FirstRows {
        partition: node.partition.clone(),
        skip: node.skip as u64,
        end: node.skip.saturating_add(node.fetch) as u64,
        says_rank: node.says_rank,
        schema: node.schema.clone(),
        arrived: Counts::new(&node.partition, node.ttl, snapshots)?,
    }))
}

struct FirstRows {
    partition: Vec<Expr>,
    skip: u64,
    /// The number of the last row that is part of the answer.
    end: u64,
    says_rank: bool,
    schema: SchemaRef,
    /// For each partition how many rows have come; not counted beyond the last one wanted.
    arrived: Counts,
}

impl Operator for FirstRows {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let rows = append_only(&batch, "the first rows")?;
        let keys = evaluate_all(&self.partition, rows)?;
        let partitions = self.arrived.come(&keys, rows.num_rows(), out.now())?;
        let (mut wanted, mut numbers) = (vec![], vec![]);
        for (row, partition) in partitions.iter().enumerate() {
            if self.arrived.count(*partition) >= self.end {
                continue;
            }
            let arrived = self.arrived.add(*partition);
            if arrived > self.skip {
                wanted.push(row as u32);
                numbers.push(arrived);
            }
        }
        // A row goes out as it comes: it is as late as it was.
        let watermarks = batch.watermarks_of(wanted.iter().map(|row| *row as usize));
        let mut columns = take_rows(rows, &UInt32Array::from(wanted))?.columns().to_vec();
        let count = numbers.len();
        if self.says_rank {
            columns.push(Arc::new(UInt64Array::from(numbers)));
        }
        let rows = record_batch(&self.schema, columns, count)?;
        out.push(Batch::append_only(rows).with_watermarks(watermarks));
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        let due = self.arrived.due(now);
        out.expire(due.len());
        self.arrived.forget(&due)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.arrived.next_due()
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        Ok(Some(Snapshot { tables: self.arrived.save(since)? }))
    }

    fn state_size(&self) -> StateSize {
        self.arrived.size()
    }
}
