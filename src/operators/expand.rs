//! `GROUPING SETS`: each row once for each set, keys outside the set as NULL.
//!
//! ```text
//! a 1 7   with sets (k, l), (k), ()   →   a    1    7 | 0
//!                                         a    NULL 7 | 1
//!                                         NULL NULL 7 | 3
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;

use crate::error::{InternalError, Result};
use crate::operators::rows::record_batch;
use crate::operators::{Operator, Output, Port};
use crate::plan::node;
use crate::plan::node::GroupingSet;
use crate::state::Snapshot;
use crate::types::{Batch, RowKind};

/// The operator of `node`.
pub fn build(node: &node::Expand, _: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let Some(id) = node.schema.fields().last() else {
        return Err(InternalError::new("an expansion without a grouping id").into());
    };
    let id_type = id.data_type().clone();
    Ok(Box::new(Expand { keys: node.keys, sets: node.sets.clone(), schema: node.schema.clone(), id_type }))
}

struct Expand {
    keys: usize,
    sets: Vec<GroupingSet>,
    schema: arrow::datatypes::SchemaRef,
    id_type: DataType,
}

impl Operator for Expand {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let rows = u32::try_from(batch.num_rows()).map_err(|_| InternalError::new("a batch of too many rows"))?;
        let repeated: UInt32Array = (0..rows).flat_map(|row| self.sets.iter().map(move |_| row)).collect();
        let mut columns = (batch.rows().columns().iter().enumerate())
            .map(|(index, column)| self.column(index, column, rows, &repeated))
            .collect::<Result<Vec<_>>>()?;
        let ids: UInt64Array = (0..rows).flat_map(|_| self.sets.iter().map(|set| set.id)).collect();
        columns.push(cast(&(Arc::new(ids) as ArrayRef), &self.id_type)?);
        let expanded = record_batch(&self.schema, columns, repeated.len())?;
        let watermarks = batch.watermarks_of(repeated.values().iter().map(|row| *row as usize));
        let expanded = if batch.kinds().is_some() {
            Batch::changelog(expanded, repeated.values().iter().map(|row| apart(batch.kind(*row as usize))).collect())
        } else {
            Batch::append_only(expanded)
        };
        out.push(expanded.with_watermarks(watermarks));
        Ok(())
    }
}

impl Expand {
    fn column(&self, index: usize, column: &ArrayRef, rows: u32, repeated: &UInt32Array) -> Result<ArrayRef> {
        if index >= self.keys {
            return Ok(take(column, repeated, None)?);
        }
        let holds = |set: &GroupingSet| set.holds.get(index).copied().unwrap_or(false);
        let held: UInt32Array =
            (0..rows).flat_map(|row| self.sets.iter().map(move |set| holds(set).then_some(row))).collect();
        Ok(take(column, &held, None)?)
    }
}

/// A row kind that stands alone: the halves of a pair do not stay together where a row becomes several.
pub(crate) fn apart(kind: RowKind) -> RowKind {
    match kind {
        RowKind::Insert | RowKind::UpdateAfter => RowKind::Insert,
        RowKind::UpdateBefore | RowKind::Delete => RowKind::Delete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{check, columns};

    fn rollup(script: &str) {
        let input = columns("k:text l:int v:int");
        let set = |first, second, id| GroupingSet { holds: vec![first, second], id };
        let node = node::Expand {
            input: crate::operators::testing::no_input(&input),
            keys: 2,
            sets: vec![set(true, true, 0), set(true, false, 1), set(false, false, 3)],
            schema: columns("k:text l:int v:int id:u8"),
        };
        check(&[input], script, |snapshots| build(&node, snapshots));
    }

    #[test]
    fn the_rows_of_one_input_row_come_together() {
        rollup("0: a 1 7 | b 2 8 -> a 1 7 0 | a NULL 7 1 | NULL NULL 7 3 | b 2 8 0 | b NULL 8 1 | NULL NULL 8 3");
    }

    #[test]
    fn the_halves_of_an_update_go_apart() {
        rollup(
            "0: -U a 1 7 | +U a 1 8 ->
             -D a 1 7 0 | -D a NULL 7 1 | -D NULL NULL 7 3 | +I a 1 8 0 | +I a NULL 8 1 | +I NULL NULL 8 3",
        );
    }
}
