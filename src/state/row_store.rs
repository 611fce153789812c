//! Rows kept as they came, under numbers that never change.
//!
//! ```text
//! numbers   0 ............ 8191 | 8192 ..... 9000 | 9001
//! chunks    [ 8192 rows       ] | [ 809 rows    ] | [ 1 ]      eight small ones of about one size become one
//! ```
//!
//! A row is found by its number: the chunk by binary search, the row in it by subtraction.
//! Rows that come one at a time do not leave a chunk each, and are copied once for each time that chunks grow
//! eightfold. Those of a large batch are not copied.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::SchemaRef;

use super::memory::owned_rows;
use crate::error::Result;

/// Chunks are joined up to so many rows.
const CHUNK_ROWS_MAX: usize = 16_384;
/// So many chunks are joined at once.
const CHUNKS_JOINED: usize = 8;
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
    /// Bytes of all chunks, so that nobody has to look at them to know.
    bytes: usize,
}

struct Chunk {
    start: RowId,
    rows: RecordBatch,
}

impl RowStore {
    /// An empty store.
    pub fn new(schema: SchemaRef) -> RowStore {
        RowStore { schema, chunks: vec![], next: 0, live: 0, bytes: 0 }
    }

    /// Takes rows in and gives the number of the first; the others follow. None of them is live yet.
    pub fn append(&mut self, rows: &RecordBatch) -> Result<RowId> {
        let start = self.next;
        if rows.num_rows() == 0 {
            return Ok(start);
        }
        self.next += rows.num_rows();
        self.push(start, rows)?;
        while let Some(from) = self.joinable() {
            let parts = self.chunks.split_off(from);
            let Some(first) = parts.first() else { break };
            let rows = concat_batches(&first.rows.schema(), parts.iter().map(|chunk| &chunk.rows))?;
            let start = first.start;
            self.bytes -= parts.iter().map(Chunk::bytes).sum::<usize>();
            self.push(start, &rows)?;
        }
        Ok(start)
    }

    fn push(&mut self, start: RowId, rows: &RecordBatch) -> Result<()> {
        let chunk = Chunk { start, rows: owned_rows(rows)? };
        self.bytes += chunk.bytes();
        self.chunks.push(chunk);
        Ok(())
    }

    /// The first of the last chunks, if there are enough of one size to be joined.
    fn joinable(&self) -> Option<usize> {
        let from = self.chunks.len().checked_sub(CHUNKS_JOINED)?;
        let class = |chunk: &Chunk| chunk.rows.num_rows().checked_ilog(CHUNKS_JOINED);
        let last = class(self.chunks.last()?);
        let rows: usize = self.chunks[from..].iter().map(|chunk| chunk.rows.num_rows()).sum();
        (rows <= CHUNK_ROWS_MAX && self.chunks[from..].iter().all(|chunk| class(chunk) <= last)).then_some(from)
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
        self.bytes = 0;
        self.append(&rows)
    }

    /// All rows that are held, in the order of their numbers.
    pub fn rows(&self) -> Result<RecordBatch> {
        Ok(concat_batches(&self.schema, self.chunks.iter().map(|chunk| &chunk.rows))?)
    }

    /// All columns of rows, in the order asked for; a missing row is NULL in every column.
    pub fn gather(&self, ids: &[Option<RowId>]) -> Result<Vec<ArrayRef>> {
        self.gather_columns(ids.iter().copied(), &(0..self.schema.fields().len()).collect::<Vec<_>>())
    }

    /// Those columns of rows, in the order asked for; a missing row is NULL in every column.
    pub fn gather_columns(&self, ids: impl Iterator<Item = Option<RowId>>, columns: &[usize]) -> Result<Vec<ArrayRef>> {
        // Rows that are asked for together often came together. Part 0 of every column is one NULL: the missing row.
        let (mut part, mut chunk) = (0, 0..0);
        let place = |id: Option<RowId>| {
            let Some(id) = id else { return (0, 0) };
            if !chunk.contains(&id) {
                (part, chunk) = self.part(id);
            }
            (part, id - chunk.start)
        };
        let places: Vec<(usize, usize)> = ids.map(place).collect();
        let column = |index: &usize| -> Result<ArrayRef> {
            let index = *index;
            let missing = new_null_array(self.schema.field(index).data_type(), 1);
            let mut parts: Vec<&dyn Array> = vec![missing.as_ref()];
            parts.extend(self.chunks.iter().map(|chunk| chunk.rows.column(index).as_ref()));
            Ok(interleave(&parts, &places)?)
        };
        columns.iter().map(column).collect()
    }

    /// The part of every column that has the row `id`, and the rows that are in it.
    fn part(&self, id: RowId) -> (usize, Range<RowId>) {
        let after = self.chunks.partition_point(|chunk| chunk.start <= id);
        match after.checked_sub(1).map(|at| &self.chunks[at]) {
            Some(chunk) => (after, chunk.start..chunk.start + chunk.rows.num_rows()),
            None => (0, id..id + 1),
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
        self.bytes
    }
}

impl Chunk {
    fn bytes(&self) -> usize {
        self.rows.get_array_memory_size()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringViewArray};
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
        assert!(store.chunks.len() < 32);
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

    #[test]
    fn a_row_does_not_keep_the_text_of_the_others() {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8View, true)]));
        let mut store = RowStore::new(schema.clone());
        for row in 0..100 {
            let texts = (0..1000).map(|text| format!("a text too long for a view, number {row} {text}"));
            let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
            let rows = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
            store.append(&rows.slice(row, 1)).unwrap();
        }
        let buffers = |chunk: &Chunk| chunk.rows.column(0).as_string_view().data_buffers().len();
        assert!(store.chunks.iter().all(|chunk| buffers(chunk) <= 8));
        assert!(store.bytes() < 100_000, "{} bytes for a hundred texts", store.bytes());
        let texts = store.gather(&[Some(77)]).unwrap();
        assert_eq!(texts[0].as_string_view().value(0), "a text too long for a view, number 77 77");
    }
}
