//! Rows kept as they came, under numbers that never change.
//!
//! ```text
//! numbers   0 ............ 8191 | 8192 ..... 9000 | 9001
//! chunks    [ 8192 rows       ] | [ 809 rows    ] | [ 1 ]      a chunk takes in its smaller neighbour
//! ```
//!
//! A row is found by its number: the chunk by binary search, the row in it by subtraction.
//! Chunks grow by doubling, so rows that come one at a time do not leave a chunk each.

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::SchemaRef;

use crate::error::Result;

/// A chunk of so many rows takes no more in.
const CHUNK_ROWS_MAX: usize = 65_536;
/// Below so many rows garbage is not worth collecting.
const GARBAGE_MIN: usize = 8_192;

/// The number of a kept row.
pub type RowId = usize;

/// Rows of one schema.
pub struct RowStore {
    schema: SchemaRef,
    chunks: Vec<Chunk>,
    next: RowId,
    live: usize,
}

struct Chunk {
    start: RowId,
    rows: RecordBatch,
}

impl RowStore {
    /// An empty store.
    pub fn new(schema: SchemaRef) -> RowStore {
        RowStore { schema, chunks: vec![], next: 0, live: 0 }
    }

    /// Takes rows in and gives the number of the first; the others follow. None of them is live yet.
    pub fn append(&mut self, rows: &RecordBatch) -> Result<RowId> {
        let start = self.next;
        if rows.num_rows() == 0 {
            return Ok(start);
        }
        self.next += rows.num_rows();
        self.chunks.push(Chunk { start, rows: rows.clone() });
        while let [.., left, right] = self.chunks.as_slice() {
            let (left_rows, right_rows) = (left.rows.num_rows(), right.rows.num_rows());
            if right_rows < left_rows || left_rows + right_rows > CHUNK_ROWS_MAX {
                break;
            }
            let (start, schema) = (left.start, left.rows.schema());
            let rows = concat_batches(&schema, [&left.rows, &right.rows])?;
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(Chunk { start, rows });
        }
        Ok(start)
    }

    /// Says that so many more rows are referred to.
    pub fn retain(&mut self, rows: usize) {
        self.live += rows;
    }

    /// Says that so many rows are no longer referred to.
    pub fn release(&mut self, rows: usize) {
        self.live = self.live.saturating_sub(rows);
    }

    /// Whether most of what is held is referred to by nobody.
    pub fn wants_compaction(&self) -> bool {
        let held = self.held();
        held >= GARBAGE_MIN && self.live * 2 < held
    }

    /// Keeps the rows `ids` alone: they become the rows from the number that is given back on, in order.
    pub fn compact(&mut self, ids: &[RowId]) -> Result<RowId> {
        let columns = self.gather(&ids.iter().copied().map(Some).collect::<Vec<_>>())?;
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.chunks.clear();
        self.append(&rows)
    }

    /// The columns of rows, in the order asked for; a missing row is NULL in every column.
    pub fn gather(&self, ids: &[Option<RowId>]) -> Result<Vec<ArrayRef>> {
        // Part 0 of every column is one NULL: the missing row.
        let mut places = Vec::with_capacity(ids.len());
        for id in ids {
            places.push(id.map_or((0, 0), |id| self.place(id)));
        }
        let column = |index: usize| -> Result<ArrayRef> {
            let missing = new_null_array(self.schema.field(index).data_type(), 1);
            let mut parts: Vec<&dyn Array> = vec![missing.as_ref()];
            parts.extend(self.chunks.iter().map(|chunk| chunk.rows.column(index).as_ref()));
            Ok(interleave(&parts, &places)?)
        };
        (0..self.schema.fields().len()).map(column).collect()
    }

    fn place(&self, id: RowId) -> (usize, usize) {
        let after = self.chunks.partition_point(|chunk| chunk.start <= id);
        match after.checked_sub(1).map(|at| &self.chunks[at]) {
            Some(chunk) => (after, id - chunk.start),
            None => (0, 0),
        }
    }

    /// How many rows are held, referred to or not.
    pub fn held(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows.num_rows()).sum()
    }

    /// How many rows are referred to.
    pub fn live(&self) -> usize {
        self.live
    }

    /// The columns' schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows.get_array_memory_size()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn store() -> (RowStore, impl Fn(&[i64]) -> RecordBatch) {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
        let batch = {
            let schema = schema.clone();
            move |values: &[i64]| {
                RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap()
            }
        };
        (RowStore::new(schema), batch)
    }

    #[test]
    fn a_row_keeps_its_number_while_chunks_grow() {
        let (mut store, batch) = store();
        for value in 0..1000 {
            assert_eq!(store.append(&batch(&[value])).unwrap(), value as usize);
        }
        assert!(store.chunks.len() < 12);
        let columns = store.gather(&[Some(999), None, Some(0), Some(512)]).unwrap();
        let values: Vec<Option<i64>> = columns[0].as_primitive::<Int64Type>().iter().collect();
        assert_eq!(values, [Some(999), None, Some(0), Some(512)]);
    }

    #[test]
    fn compaction_keeps_the_rows_that_are_named_in_their_order() {
        let (mut store, batch) = store();
        store.append(&batch(&[1, 2, 3])).unwrap();
        let first = store.compact(&[2, 0]).unwrap();
        let columns = store.gather(&[Some(first), Some(first + 1)]).unwrap();
        assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &[3, 1]);
        assert_eq!(store.held(), 2);
    }
}
