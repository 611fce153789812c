//! `count(*)` and `count(x)`.

use arrow::array::{Array, ArrayRef, PrimitiveArray};
use arrow::datatypes::Int64Type;

use super::{integers, saved, values};
use crate::error::Result;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input};

/// How many rows have come, less those taken back.
#[derive(Default)]
pub struct Count {
    counts: Vec<i64>,
}

impl GroupAccumulator for Count {
    fn grow(&mut self, slots: usize) {
        self.counts.resize(slots.max(self.counts.len()), 0);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let nulls = input.arguments.first().and_then(|argument| argument.logical_nulls());
        let counts = &mut self.counts;
        input.each(nulls.as_ref(), |_, group, weight| {
            counts[group] += weight;
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>) -> Result<ArrayRef> {
        let nulls = input.arguments.first().and_then(|argument| argument.logical_nulls());
        let mut said = Vec::with_capacity(input.groups.len());
        let step = |counts: &mut Vec<i64>, _, group: usize, weight| {
            counts[group] += weight;
            Ok(())
        };
        input.each_running(nulls.as_ref(), &mut self.counts, step, |counts, group| said.push(counts[group]))?;
        Ok(std::sync::Arc::new(PrimitiveArray::<Int64Type>::from(said)))
    }

    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(integers(groups.iter().map(|group| self.counts[*group as usize])))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.counts[*group as usize] = 0;
        }
    }

    fn retracts(&self) -> bool {
        true
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.read(groups)?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (group, count) in groups.iter().zip(values::<Int64Type>(saved(columns, 0)?)?) {
            self.counts[*group as usize] = *count;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}
