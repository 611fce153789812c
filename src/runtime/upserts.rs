//! A changelog by its key: what takes the place of what.
//!
//! ```text
//! said:      +I (ada, 9)   -D (ada, 5)   +I (bob, 1)   -D (bob, 1)   -D (eve, 2)
//! upserts:   -U (ada, 5)   +U (ada, 9)                               -D (eve, 2)
//! ```
//!
//! An operator may say the new row of a key before the old one goes, as what has a key is only known of what holds at
//! the end of an activation. Whoever deletes by key would lose the new row then.

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;

use crate::error::Result;
use crate::types::{Batch, RowKind};

use super::diamond::{net, numbers};

/// What one activation has brought of rows of which no two that are there agree in the columns `key`:
/// for each key at most a row that comes, one that goes, or both as an update. Keys are in the order of their changes.
pub(crate) fn upserts(batches: Vec<Batch>, key: &[usize]) -> Result<Vec<Batch>> {
    let batches = net(batches)?;
    let Some(first) = batches.first() else { return Ok(batches) };
    let schema = first.rows().schema();
    let all = Batch::concat(&schema, &batches)?;
    let keys = all.rows().project(key)?;
    let mut places: Vec<Place> = vec![];
    for (row, key) in numbers(&keys)?.into_iter().enumerate() {
        if places.len() <= key {
            places.resize(key + 1, Place::default());
        }
        match all.kind(row) {
            RowKind::Insert | RowKind::UpdateAfter => places[key].comes = Some(row as u32),
            RowKind::Delete | RowKind::UpdateBefore => places[key].goes = Some(row as u32),
        }
    }
    let said: Vec<(u32, RowKind)> = places.into_iter().flat_map(Place::said).collect();
    let at: UInt32Array = said.iter().map(|(row, _)| *row).collect();
    let rows = take_record_batch(all.rows(), &at)?;
    Ok(vec![Batch::changelog(rows, said.iter().map(|(_, kind)| *kind).collect())])
}

/// What happens to the row of a key.
#[derive(Clone, Copy, Default)]
struct Place {
    goes: Option<u32>,
    comes: Option<u32>,
}

impl Place {
    fn said(self) -> impl Iterator<Item = (u32, RowKind)> {
        let (goes, comes) = match (self.goes, self.comes) {
            (Some(_), Some(_)) => (RowKind::UpdateBefore, RowKind::UpdateAfter),
            (Some(_), None) | (None, Some(_) | None) => (RowKind::Delete, RowKind::Insert),
        };
        self.goes.map(|row| (row, goes)).into_iter().chain(self.comes.map(|row| (row, comes)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;

    use super::*;
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};

    type Said = Vec<(RowKind, i64, i64)>;

    fn batch(rows: &[(RowKind, i64, i64)]) -> Batch {
        let column =
            |of: fn(&(RowKind, i64, i64)) -> i64| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
        let columns = [("k", column(|row| row.1)), ("v", column(|row| row.2))];
        Batch::changelog(RecordBatch::try_from_iter(columns).unwrap(), rows.iter().map(|row| row.0).collect())
    }

    fn said(batches: Vec<Batch>, key: &[usize]) -> Said {
        let batches = upserts(batches, key).unwrap();
        let value = |batch: &Batch, column, row| batch.rows().column(column).as_primitive::<Int64Type>().value(row);
        let rows = |batch: &Batch| -> Said {
            (0..batch.num_rows()).map(|row| (batch.kind(row), value(batch, 0, row), value(batch, 1, row))).collect()
        };
        batches.iter().flat_map(rows).collect()
    }

    #[test]
    fn a_row_that_comes_before_the_old_one_goes_is_an_update() {
        let batches = vec![batch(&[(Insert, 1, 9), (Insert, 2, 1)]), batch(&[(Delete, 1, 5), (Delete, 3, 2)])];
        let expected = [(UpdateBefore, 1, 5), (UpdateAfter, 1, 9), (Insert, 2, 1), (Delete, 3, 2)];
        assert_eq!(said(batches, &[0]), expected);
    }

    #[test]
    fn what_comes_and_goes_within_one_activation_is_not_said() {
        let rows = [(Insert, 1, 7), (Insert, 1, 8), (Delete, 1, 7), (UpdateBefore, 2, 0), (UpdateAfter, 2, 0)];
        assert_eq!(said(vec![batch(&rows)], &[0]), [(Insert, 1, 8)]);
    }

    #[test]
    fn without_key_columns_there_is_one_row() {
        let rows = [(Delete, 1, 7), (Insert, 2, 8)];
        assert_eq!(said(vec![batch(&rows)], &[]), [(UpdateBefore, 1, 7), (UpdateAfter, 2, 8)]);
    }
}
