//! Any aggregate of groups that merge: the rows of each group are kept in order of arrival, and read when asked.
//!
//! ```text
//! group 0: row 0 "a", row 3 "d"     group 1: row 1 "b"     1 into 0:  "a", "b", "d"
//! ```
//!
//! What is told of rows by their order, as array_agg does, could not be told from what two groups have told apart.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter;
use arrow::datatypes::{Field, Schema};

use super::afresh::Afresh;
use crate::error::Result;
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input};
use crate::state::RowLists;

/// Keeps the rows of each group.
pub struct Kept {
    inner: Afresh,
    /// The arguments and the keys of the `ORDER BY`.
    rows: RowLists,
}

impl Kept {
    pub fn new(call: &AggregateCall, inner: Afresh) -> Result<Kept> {
        let parts = call.arguments.iter().chain(call.order_by.iter().map(|key| &key.expr));
        let fields = parts.enumerate().map(|(nth, part)| Field::new(format!("c{nth}"), part.data_type().clone(), true));
        Ok(Kept { inner, rows: RowLists::new(Arc::new(Schema::new(fields.collect::<Vec<_>>()))) })
    }
}

impl GroupAccumulator for Kept {
    fn grow(&mut self, slots: usize) {
        self.rows.grow(slots);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let Some(selection) = input.selection else {
            self.rows.push(input.arguments.to_vec(), input.groups)?;
            return self.rows.compact();
        };
        let selected = input.arguments.iter().map(|column| filter(column, selection));
        let groups: Vec<u32> = selection.values().set_indices().map(|row| input.groups[row]).collect();
        self.rows.push(selected.collect::<Result<_, _>>()?, &groups)?;
        self.rows.compact()
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        super::running_by_reading(self, input)
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let (arguments, lengths) = self.rows.gather(groups)?;
        self.inner.answer(&arguments, &lengths)
    }

    fn reset(&mut self, groups: &[u32]) {
        self.rows.reset(groups);
    }

    fn merges(&self) -> bool {
        true
    }

    fn merge(&mut self, into: u32, from: u32, _: i64) -> Result<()> {
        self.rows.merge(into, from);
        Ok(())
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.rows.save(groups)
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.rows.load(groups, columns)
    }

    fn bytes(&self) -> usize {
        self.inner.bytes() + self.rows.bytes()
    }
}
