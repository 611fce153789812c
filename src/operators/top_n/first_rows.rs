//! The first rows of each partition as they come, over rows that stay: what is first stays first, so nothing is taken
//! back, and only how many have come is kept.

use std::sync::Arc;

use arrow::array::{AsArray, UInt32Array, UInt64Array};
use arrow::datatypes::{SchemaRef, UInt64Type};

use crate::error::{InternalError, Result};
use crate::expr::{Expr, evaluate_all};
use crate::operators::rows::{append_only, record_batch, take_rows};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node;
use crate::state::{Changes, GroupIndex, Snapshot, grow_to, table};
use crate::types::{Batch, Epoch};

/// Keys of partitions, and how many rows of each have come.
const ARRIVED: &str = "arrived";

pub(super) fn build(node: &node::TopN, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let types: Vec<_> = node.partition.iter().map(|key| key.data_type().clone()).collect();
    let mut first = FirstRows {
        partition: node.partition.clone(),
        skip: node.skip as u64,
        end: node.skip.saturating_add(node.fetch) as u64,
        says_rank: node.says_rank,
        schema: node.schema.clone(),
        index: GroupIndex::new(&types)?,
        arrived: vec![],
        changes: Changes::default(),
    };
    snapshots.iter().try_for_each(|snapshot| first.restore(snapshot))?;
    if !snapshots.is_empty() {
        first.changes = Changes::resumed(&first.index.groups_in_order());
    }
    Ok(Box::new(first))
}

struct FirstRows {
    partition: Vec<Expr>,
    skip: u64,
    /// The number of the last row that is part of the answer.
    end: u64,
    says_rank: bool,
    schema: SchemaRef,
    index: GroupIndex,
    /// For each partition how many rows have come; not counted beyond the last one wanted.
    arrived: Vec<u64>,
    changes: Changes,
}

impl Operator for FirstRows {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let rows = append_only(&batch, "the first rows")?;
        let mut partitions = vec![];
        self.index.intern(&evaluate_all(&self.partition, rows)?, rows.num_rows(), &mut partitions)?;
        grow_to(&mut self.arrived, self.index.slots(), 0);
        let (mut wanted, mut numbers) = (vec![], vec![]);
        for (row, partition) in partitions.iter().enumerate() {
            let arrived = &mut self.arrived[*partition as usize];
            if *arrived >= self.end {
                continue;
            }
            *arrived += 1;
            self.changes.mark(*partition);
            if *arrived > self.skip {
                wanted.push(row as u32);
                numbers.push(*arrived);
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

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let changed = self.changes.take(&self.index, since)?;
        let arrived = changed.groups.iter().map(|partition| Some(self.arrived[*partition as usize]));
        let mut columns = self.index.keys(&changed.groups)?;
        columns.push(Arc::new(arrived.collect::<UInt64Array>()));
        Ok(Some(Snapshot { tables: vec![table(ARRIVED, columns, changed.groups.len())?] }))
    }

    fn state_size(&self) -> StateSize {
        let bytes = self.index.bytes() + self.arrived.capacity() * size_of::<u64>() + self.changes.bytes();
        StateSize { rows: self.index.len(), bytes }
    }
}

impl FirstRows {
    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let Some(saved) = snapshot.table(ARRIVED) else { return Ok(()) };
        let wrong = || InternalError::new("the numbers of first rows are not in their form");
        let (arrived, keys) = saved.columns().split_last().ok_or_else(wrong)?;
        let arrived = arrived.as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
        let mut partitions = vec![];
        self.index.intern(keys, saved.num_rows(), &mut partitions)?;
        grow_to(&mut self.arrived, self.index.slots(), 0);
        for (partition, arrived) in partitions.iter().zip(arrived.values()) {
            self.arrived[*partition as usize] = *arrived;
        }
        Ok(())
    }
}
