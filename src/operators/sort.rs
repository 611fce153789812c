//! `ORDER BY` of a result that ends: all rows are kept, and come out sorted at the end.
//!
//! Rows that compare equal stay in order of arrival.
//! With a limit only the rows that can still be among the first are kept.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::error::{InternalError, Result};
use crate::expr::SortKey;
use crate::operators::rows::{BATCH_ROWS, append_only, push_sliced, take_rows};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node;
use crate::state::{Snapshot, StateTable};
use crate::types::{Batch, Epoch};

/// The operator of `node`.
pub fn build(node: &node::Sort, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let schema = node.input.schema();
    let mut sort = Sort { schema, keys: node.keys.clone(), fetch: node.fetch, kept: vec![], saved: 0, pruned: false };
    for snapshot in snapshots {
        if snapshot.table(PRUNED).is_some() {
            sort.kept.clear();
        }
        sort.kept.extend(snapshot.table(ROWS).cloned());
    }
    sort.saved = sort.rows();
    Ok(Box::new(sort))
}

/// Rows that have come since the last snapshot.
const ROWS: &str = "rows";
/// Its presence says that the rows of earlier snapshots do not count any more.
const PRUNED: &str = "pruned";

struct Sort {
    schema: SchemaRef,
    keys: Vec<SortKey>,
    fetch: Option<usize>,
    /// The rows, in order of arrival.
    kept: Vec<RecordBatch>,
    /// How many of the first rows kept are in a snapshot.
    saved: usize,
    /// Whether rows that are in a snapshot have been dropped.
    pruned: bool,
}

impl Operator for Sort {
    fn on_batch(&mut self, _: Port, batch: Batch, _: &mut Output) -> Result<()> {
        self.kept.push(append_only(&batch, "ORDER BY")?.clone());
        self.merge_small()?;
        match self.fetch {
            Some(fetch) if self.rows() > fetch.saturating_mul(2).saturating_add(BATCH_ROWS) => self.prune(),
            Some(_) | None => Ok(()),
        }
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        let all = self.all()?;
        let sorted = take_record_batch(&all, &self.sorted(&all)?)?;
        self.kept.clear();
        self.forget_saved();
        push_sliced(&sorted, out);
        Ok(())
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let all = self.all()?;
        let full = since == Epoch::ZERO;
        let from = if full { 0 } else { self.saved };
        let mut snapshot = Snapshot::default();
        if self.pruned || full {
            let marker: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
            let rows = RecordBatch::try_from_iter([(PRUNED, marker)])?;
            snapshot.tables.push(StateTable { name: PRUNED, rows });
        }
        if from < all.num_rows() {
            snapshot.tables.push(StateTable { name: ROWS, rows: all.slice(from, all.num_rows() - from) });
        }
        self.pruned = false;
        self.saved = all.num_rows();
        Ok(Some(snapshot))
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.rows(), bytes: self.kept.iter().map(RecordBatch::get_array_memory_size).sum() }
    }
}

impl Sort {
    fn rows(&self) -> usize {
        self.kept.iter().map(RecordBatch::num_rows).sum()
    }

    /// Keeps the number of batches small where rows come a few at a time; each row is copied a few times at most.
    fn merge_small(&mut self) -> Result<()> {
        while let [.., before, last] = self.kept.as_slice() {
            if before.num_rows() > 2 * last.num_rows() || before.num_rows() > BATCH_ROWS {
                break;
            }
            let merged = concat_batches(&self.schema, [before, last])?;
            self.kept.truncate(self.kept.len() - 2);
            self.kept.push(merged);
        }
        Ok(())
    }

    /// All rows as one batch, which takes the place of the several.
    fn all(&mut self) -> Result<RecordBatch> {
        let all = concat_batches(&self.schema, &self.kept)?;
        self.kept = vec![all.clone()];
        Ok(all)
    }

    /// The first rows in order, as row numbers.
    fn sorted(&self, all: &RecordBatch) -> Result<UInt32Array> {
        let rows = u32::try_from(all.num_rows()).map_err(|_| InternalError::new("too many rows to sort"))?;
        let mut columns = (self.keys.iter())
            .map(|key| Ok(SortColumn { values: key.expr.evaluate(all)?, options: Some(key.options) }))
            .collect::<Result<Vec<_>>>()?;
        // Arrow's sort is not stable; the order of arrival as the last key makes it so.
        columns.push(SortColumn { values: Arc::new(UInt32Array::from_iter_values(0..rows)), options: None });
        Ok(lexsort_to_indices(&columns, self.fetch)?)
    }

    /// Drops what can't be among the first rows any more.
    fn prune(&mut self) -> Result<()> {
        let all = self.all()?;
        let mut wanted: Vec<u32> = self.sorted(&all)?.values().to_vec();
        wanted.sort_unstable();
        self.kept = vec![take_rows(&all, &wanted.into())?];
        self.forget_saved();
        Ok(())
    }

    fn forget_saved(&mut self) {
        self.pruned |= self.saved > 0;
        self.saved = 0;
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::SortOptions;

    use super::*;
    use crate::expr::Expr;
    use crate::operators::testing::{check, columns, no_input};

    fn sorted(fetch: Option<usize>, script: &str) {
        let input = columns("name:text n:int");
        let options = SortOptions { descending: false, nulls_first: false };
        let keys = vec![SortKey { expr: Expr::column(&input, 1), options }];
        let node = node::Sort { input: no_input(&input), keys, fetch };
        check(&[input], script, |snapshots| build(&node, snapshots));
    }

    #[test]
    fn equal_rows_stay_in_order_of_arrival() {
        sorted(None, "0: a 2 | b NULL | c 1 ->\n 0: d 2 | e 1 ->\n end -> c 1 | e 1 | a 2 | d 2 | b NULL");
    }

    #[test]
    fn a_limit_gives_the_first_rows() {
        sorted(Some(2), "0: a 2 | b 1 ->\n 0: c 1 | d 1 ->\n end -> b 1 | c 1");
    }

    #[test]
    fn nothing_in_gives_nothing_out() {
        sorted(None, "end ->");
    }

    #[test]
    fn rows_beyond_the_limit_are_dropped_from_the_state() -> Result<()> {
        let input = columns("n:int");
        let keys = vec![SortKey { expr: Expr::column(&input, 0), options: SortOptions::default() }];
        let mut sort = build(&node::Sort { input: no_input(&input), keys, fetch: Some(3) }, &[])?;
        let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values((0..20_000).rev()));
        let rows = RecordBatch::try_new(input, vec![numbers])?;
        sort.on_batch(Port(0), Batch::append_only(rows), &mut Output::default())?;
        assert_eq!(sort.state_size().rows, 3);
        Ok(())
    }
}
