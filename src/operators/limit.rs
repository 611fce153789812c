//! `LIMIT` and `OFFSET`: some of the first rows, in order of arrival.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::UInt64Type;

use crate::error::Result;
use crate::operators::rows::append_only;
use crate::operators::{Operator, Output, Port};
use crate::plan::node;
use crate::state::{Snapshot, StateTable};
use crate::types::{Batch, Epoch};

/// The operator of `node`.
pub fn build(node: &node::Limit, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let last = snapshots.iter().rev().find_map(|snapshot| snapshot.table(ARRIVED));
    let arrived = last.map_or(0, |rows| rows.column(0).as_primitive::<UInt64Type>().value(0));
    Ok(Box::new(Limit { first: node.skip as u64, rows: node.fetch.map(|rows| rows as u64), arrived, saved: arrived }))
}

const ARRIVED: &str = "arrived";

struct Limit {
    /// The number of the first row wanted.
    first: u64,
    rows: Option<u64>,
    /// How many rows have come; not counted beyond the last one wanted.
    arrived: u64,
    saved: u64,
}

impl Operator for Limit {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        append_only(&batch, "LIMIT")?;
        let rows = batch.num_rows() as u64;
        let end = self.rows.map_or(u64::MAX, |rows| self.first.saturating_add(rows));
        let wanted = |row: u64| row.clamp(self.arrived, self.arrived + rows) - self.arrived;
        let (from, to) = (wanted(self.first), wanted(end));
        self.arrived = (self.arrived + rows).min(end);
        out.push(batch.slice(from as usize, to.saturating_sub(from) as usize));
        Ok(())
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        if since != Epoch::ZERO && self.saved == self.arrived {
            return Ok(Some(Snapshot::default()));
        }
        self.saved = self.arrived;
        let arrived: ArrayRef = Arc::new(UInt64Array::from(vec![self.arrived]));
        let rows = RecordBatch::try_from_iter([(ARRIVED, arrived)])?;
        Ok(Some(Snapshot { tables: vec![StateTable { name: ARRIVED, rows }] }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{check, columns, no_input};

    fn limited(skip: usize, fetch: Option<usize>, script: &str) {
        let input = columns("a:int");
        let node = node::Limit { input: no_input(&input), skip, fetch };
        check(&[input], script, |snapshots| build(&node, snapshots));
    }

    #[test]
    fn the_first_rows_come_and_the_rest_does_not() {
        limited(1, Some(3), "0: 1 | 2 -> 2\n 0: 3 | 4 | 5 -> 3 | 4\n 0: 6 ->");
    }

    #[test]
    fn an_offset_alone_lets_all_the_rest_through() {
        limited(3, None, "0: 1 | 2 ->\n 0: 3 | 4 -> 4\n 0: 5 -> 5");
    }

    #[test]
    fn a_limit_of_none_lets_nothing_through() {
        limited(0, Some(0), "0: 1 | 2 ->");
    }
}
