//! How many rows of each group a call has passed over.

use arrow::array::ArrayRef;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::Int64Type;

use super::{integers, values};
use crate::error::Result;
use crate::operators::aggregate::accumulator::Input;
use crate::state::grow_to;

/// How many rows of each group a call has not counted, because its filter held them back or its argument was NULL.
///
/// Together with the number of rows that all calls share it gives how many a call has counted. Most calls never meet
/// a NULL, and until the first one nothing is kept.
#[derive(Default)]
pub struct Missing {
    counts: Vec<i64>,
    slots: usize,
}

/// Whether all of those counts are above zero.
///
/// One below one less one is negative, which its highest bit says: so many are looked at at once.
pub fn all_positive(counts: impl Iterator<Item = i64>) -> bool {
    counts.fold(0, |signs, count| signs | count.wrapping_sub(1)) >= 0
}

impl Missing {
    pub fn grow(&mut self, slots: usize) {
        self.slots = slots.max(self.slots);
        if !self.counts.is_empty() {
            grow_to(&mut self.counts, slots, 0);
        }
    }

    /// Whether no row was ever passed over.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Passes over the rows of a batch that do not count; `None` if all do.
    pub fn note(&mut self, input: &Input<'_>, counted: Option<&BooleanBuffer>) {
        let Some(counted) = counted else { return };
        for row in (!counted).set_indices() {
            self.pass(input.groups[row] as usize, input.weight(row));
        }
    }

    /// Passes over a row of a group.
    pub fn pass(&mut self, group: usize, weight: i64) {
        if self.counts.is_empty() {
            self.counts.resize(self.slots, 0);
        }
        self.counts[group] += weight;
    }

    /// How many of the `rows` rows of a group were counted.
    pub fn counted(&self, group: u32, rows: i64) -> i64 {
        rows - self.counts.get(group as usize).copied().unwrap_or(0)
    }

    /// How many rows of each of `groups` were counted, of as many as `rows` has for it.
    pub fn counted_each<'a>(&'a self, groups: &'a [u32], rows: &'a [i64]) -> impl Iterator<Item = i64> + 'a {
        groups.iter().zip(rows).map(|(group, rows)| self.counted(*group, *rows))
    }

    /// Which of `groups`, of which `rows` has how many rows each has, have counted one; `None` if all have.
    pub fn present(&self, groups: &[u32], rows: &[i64]) -> Option<NullBuffer> {
        let present = |count| count > 0;
        if self.is_empty() && all_positive(rows.iter().copied()) {
            return None;
        }
        let all = self.counted_each(groups, rows).all(present);
        (!all).then(|| self.counted_each(groups, rows).map(present).collect())
    }

    /// Puts what was passed over of one group to that of another.
    pub fn merge(&mut self, into: u32, from: u32) {
        if !self.counts.is_empty() {
            self.counts[into as usize] += std::mem::take(&mut self.counts[from as usize]);
        }
    }

    pub fn reset(&mut self, groups: &[u32]) {
        if !self.counts.is_empty() {
            groups.iter().for_each(|group| self.counts[*group as usize] = 0);
        }
    }

    pub fn save(&self, groups: &[u32]) -> ArrayRef {
        integers(groups.iter().map(|group| -self.counted(*group, 0)))
    }

    pub fn load(&mut self, groups: &[u32], saved: &ArrayRef) -> Result<()> {
        for (group, count) in groups.iter().zip(values::<Int64Type>(saved)?) {
            if *count != 0 {
                self.reset(&[*group]);
                self.pass(*group as usize, *count);
            }
        }
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}
