//! `count(*)` and `count(x)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};

use super::missing::Missing;
use super::{integers, saved};
use crate::error::Result;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, ROWS};
use crate::state::Records;

/// How many rows have come, less those taken back. That is counted already, so all it keeps is what does not count.
#[derive(Default)]
pub struct Count {
    missing: Missing,
}

fn nulls(input: &Input<'_>) -> Option<NullBuffer> {
    input.arguments.first().and_then(|argument| argument.logical_nulls())
}

impl GroupAccumulator for Count {
    fn grow(&mut self, slots: usize) {
        self.missing.grow(slots);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        self.missing.note(input, input.counted(nulls(input).as_ref()).as_ref());
        Ok(())
    }

    fn update_running(&mut self, input: &Input<'_>, counts: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let counted = input.counted(nulls(input).as_ref());
        if counted.is_none() && self.missing.is_empty() {
            return Ok(Arc::new(Int64Array::new(counts.clone(), None)));
        }
        let mut said = Vec::with_capacity(counts.len());
        for (row, group) in input.groups.iter().enumerate() {
            if counted.as_ref().is_some_and(|counted| !counted.value(row)) {
                self.missing.pass(*group as usize, 1);
            }
            said.push(self.missing.counted(*group, counts[row]));
        }
        Ok(Arc::new(Int64Array::from(said)))
    }

    fn read(&mut self, groups: &[u32], counts: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        if self.missing.is_empty() {
            return Ok(Arc::new(Int64Array::new(counts.clone(), None)));
        }
        Ok(integers(self.missing.counted_each(groups, counts)))
    }

    fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    fn read_whole(&self, records: &Records<i64>) -> Result<ArrayRef> {
        Ok(integers(records.each(ROWS)))
    }

    fn reset(&mut self, groups: &[u32]) {
        self.missing.reset(groups);
    }

    fn retracts(&self) -> bool {
        true
    }

    fn merges(&self) -> bool {
        true
    }

    fn merge(&mut self, into: u32, from: u32, _: i64) -> Result<()> {
        self.missing.merge(into, from);
        Ok(())
    }

    fn pass(&mut self, group: u32, rows: i64) {
        if rows != 0 {
            self.missing.pass(group as usize, rows);
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.missing.save(groups)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.missing.load(groups, saved(columns, 0)?)
    }

    fn bytes(&self) -> usize {
        self.missing.bytes()
    }
}
