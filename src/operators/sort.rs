//! `ORDER BY` of a result that ends: all rows are kept, and come out sorted at the end.
//!
//! Rows that compare equal stay in order of arrival.
//! With a limit only the rows that can still be among the first are kept.
//!
//! A changelog is kept as it comes, and only now and then what was taken back is cancelled against what it takes back.
//! Which rows are left does not depend on how changes were folded, but their order of arrival does:
//! rows that compare equal then come in the order of their values instead.
//!
//! ```text
//! in:   +I c 3   +I a 1   -D c 3   +I b 2
//! out:  a 1   b 2
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Int8Type, SchemaRef};

use crate::error::{InternalError, Result};
use crate::expr::SortKey;
use crate::operators::rows::{BATCH_ROWS, push_sliced, take_rows};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node;
use crate::state::{Snapshot, StateTable, owned_rows, row_converter};
use crate::types::{Batch, Epoch, RowKind, RowKinds};

/// The operator of `node`.
pub fn build(node: &node::Sort, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let (schema, keys) = (node.input.schema(), node.keys.clone());
    let mut sort =
        Sort { schema, keys, fetch: node.fetch, kept: Kept::default(), taken_back: 0, saved: 0, pruned: false };
    for snapshot in snapshots {
        if snapshot.table(PRUNED).is_some() {
            (sort.kept, sort.taken_back) = (Kept::default(), 0);
        }
        if let Some(batch) = restored(snapshot)? {
            sort.keep(batch)?;
        }
    }
    sort.saved = sort.kept.rows;
    Ok(Box::new(sort))
}

/// Rows that have come since the last snapshot.
const ROWS: &str = "rows";
/// For each of them 1, or -1 if it takes one back; missing where rows are only added.
const WEIGHTS: &str = "weights";
/// Its presence says that the rows of earlier snapshots do not count any more.
const PRUNED: &str = "pruned";

struct Sort {
    schema: SchemaRef,
    keys: Vec<SortKey>,
    fetch: Option<usize>,
    /// The rows, in order of arrival.
    kept: Kept,
    /// How many of them take another one back.
    taken_back: usize,
    /// How many of the first rows kept are in a snapshot.
    saved: usize,
    /// Whether rows that are in a snapshot have been dropped.
    pruned: bool,
}

/// Batches, and how much they are in all.
#[derive(Default)]
struct Kept {
    batches: Vec<Batch>,
    rows: usize,
    bytes: usize,
}

impl Kept {
    fn of(batch: Batch) -> Kept {
        let mut kept = Kept::default();
        kept.push(batch);
        kept
    }

    fn push(&mut self, batch: Batch) {
        self.rows += batch.num_rows();
        self.bytes += bytes(&batch);
        self.batches.push(batch);
    }

    fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop()?;
        self.rows -= batch.num_rows();
        self.bytes -= bytes(&batch);
        Some(batch)
    }
}

fn bytes(batch: &Batch) -> usize {
    batch.rows().get_array_memory_size() + batch.kinds().map_or(0, RowKinds::len)
}

impl Operator for Sort {
    fn on_batch(&mut self, _: Port, batch: Batch, _: &mut Output) -> Result<()> {
        let changelog = batch.kinds().is_some();
        self.keep(batch)?;
        self.merge_small()?;
        match self.fetch {
            _ if self.taken_back > BATCH_ROWS && self.taken_back > self.kept.rows / 4 => self.settle(),
            // One of the first rows of a changelog may be taken back, and let a later one in.
            Some(fetch) if !changelog && self.kept.rows > fetch.saturating_mul(2).saturating_add(BATCH_ROWS) => {
                self.prune()
            }
            Some(_) | None => Ok(()),
        }
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        self.settle()?;
        let all = self.all()?;
        let sorted = take_record_batch(all.rows(), &self.sorted(all.rows())?)?;
        self.kept = Kept::default();
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
            snapshot.tables.extend(saved(&all.slice(from, all.num_rows() - from))?);
        }
        self.pruned = false;
        self.saved = all.num_rows();
        Ok(Some(snapshot))
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.kept.rows, bytes: self.kept.bytes }
    }
}

impl Sort {
    fn keep(&mut self, batch: Batch) -> Result<()> {
        self.taken_back += (0..batch.num_rows()).filter(|row| batch.kind(*row).weight() < 0).count();
        self.kept.push(batch.with_rows(owned_rows(batch.rows())?));
        Ok(())
    }

    /// Keeps the number of batches small where rows come a few at a time; each row is copied a few times at most.
    fn merge_small(&mut self) -> Result<()> {
        while let [.., before, last] = self.kept.batches.as_slice() {
            if before.num_rows() > 2 * last.num_rows() || before.num_rows() > BATCH_ROWS {
                break;
            }
            let merged = Batch::concat(&self.schema, &[before.clone(), last.clone()])?;
            self.kept.pop();
            self.kept.pop();
            self.kept.push(merged);
        }
        Ok(())
    }

    /// All rows as one batch, which takes the place of the several.
    fn all(&mut self) -> Result<Batch> {
        let all = Batch::concat(&self.schema, &self.kept.batches)?;
        self.kept = Kept::of(all.clone());
        Ok(all)
    }

    /// Cancels what was taken back, and puts what is left of a changelog in the order of its values.
    fn settle(&mut self) -> Result<()> {
        let all = self.all()?;
        if all.kinds().is_none() {
            return Ok(());
        }
        let left = left(&all)?;
        let kinds = RowKinds::all(RowKind::Insert, left.len());
        self.kept = Kept::of(Batch::changelog(take_rows(all.rows(), &left.into())?, kinds));
        self.taken_back = 0;
        self.forget_saved();
        Ok(())
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
        let mut wanted: Vec<u32> = self.sorted(all.rows())?.values().to_vec();
        wanted.sort_unstable();
        self.kept = Kept::of(Batch::append_only(take_rows(all.rows(), &wanted.into())?));
        self.forget_saved();
        Ok(())
    }

    fn forget_saved(&mut self) {
        self.pruned |= self.saved > 0;
        self.saved = 0;
    }
}

/// The rows of a changelog that are left of it, in the order of their values.
fn left(all: &Batch) -> Result<Vec<u32>> {
    let rows = u32::try_from(all.num_rows()).map_err(|_| InternalError::new("too many rows to sort"))?;
    let mut order: Vec<u32> = (0..rows).collect();
    let copies = |equal: &[u32]| {
        let weight: i64 = equal.iter().map(|row| all.kind(*row as usize).weight()).sum();
        equal.iter().copied().take(usize::try_from(weight).unwrap_or(0)).collect::<Vec<_>>()
    };
    if all.rows().num_columns() == 0 {
        return Ok(copies(&order));
    }
    let types: Vec<_> = all.rows().columns().iter().map(|column| column.data_type().clone()).collect();
    let values = row_converter(&types)?.convert_columns(all.rows().columns())?;
    let value = |row: &u32| values.row(*row as usize);
    order.sort_by(|a, b| value(a).cmp(&value(b)));
    Ok(order.chunk_by(|a, b| value(a) == value(b)).flat_map(copies).collect())
}

fn saved(rows: &Batch) -> Result<Vec<StateTable>> {
    let mut tables = vec![StateTable { name: ROWS, rows: rows.rows().clone() }];
    if let Some(kinds) = rows.kinds() {
        let weights: ArrayRef = Arc::new(Int8Array::from_iter_values(kinds.iter().map(|kind| kind.weight() as i8)));
        tables.push(StateTable { name: WEIGHTS, rows: RecordBatch::try_from_iter([(WEIGHTS, weights)])? });
    }
    Ok(tables)
}

fn restored(snapshot: &Snapshot) -> Result<Option<Batch>> {
    let Some(rows) = snapshot.table(ROWS) else { return Ok(None) };
    let Some(weights) = snapshot.table(WEIGHTS) else { return Ok(Some(Batch::append_only(rows.clone()))) };
    let Some(weights) = weights.column(0).as_primitive_opt::<Int8Type>() else {
        return Err(InternalError::new("saved weights are not in their form").into());
    };
    let kind = |weight: &i8| if *weight < 0 { RowKind::Delete } else { RowKind::Insert };
    Ok(Some(Batch::changelog(rows.clone(), weights.values().iter().map(kind).collect())))
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
    fn what_was_taken_back_does_not_come_out() {
        sorted(
            None,
            "0: +I a 2 | +I b 1 | +I c 3 ->\n 0: -D c 3 | -U a 2 | +U a 4 ->\n 0: +I d 4 | +I b 1 ->\n 0: -D b 1 ->\n end -> b 1 | a 4 | d 4",
        );
        sorted(None, "0: +I a 1 | -D a 1 ->\n end ->");
    }

    #[test]
    fn equal_rows_of_a_changelog_come_in_the_order_of_their_values() {
        sorted(None, "0: +I b 1 | +I a 1 | +I NULL 1 ->\n end -> NULL 1 | a 1 | b 1");
    }

    #[test]
    fn a_limit_over_a_changelog_lets_later_rows_in() {
        sorted(Some(1), "0: +I b 2 | +I a 1 ->\n 0: -D a 1 ->\n end -> b 2");
    }

    #[test]
    fn rows_that_come_and_go_are_forgotten() -> Result<()> {
        let input = columns("n:int");
        let keys = vec![SortKey { expr: Expr::column(&input, 0), options: SortOptions::default() }];
        let mut sort = build(&node::Sort { input: no_input(&input), keys, fetch: None }, &[])?;
        for round in 0..10 {
            let numbers: ArrayRef =
                Arc::new(arrow::array::Int64Array::from_iter_values(round * 8_192..(round + 1) * 8_192));
            let rows = RecordBatch::try_new(input.clone(), vec![numbers])?;
            for kind in [RowKind::Insert, RowKind::Delete] {
                let batch = Batch::changelog(rows.clone(), RowKinds::all(kind, 8_192));
                sort.on_batch(Port(0), batch, &mut Output::default())?;
            }
            assert!(sort.state_size().rows <= 4 * 8_192, "{}", sort.state_size().rows);
        }
        Ok(())
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
