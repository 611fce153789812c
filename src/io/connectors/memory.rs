//! Rows that are in memory already: for tests, and for hosts that have them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Code, DataError, Result};
use crate::io::{Position, Source, SourceCounts};

/// Batches that are handed out in order.
#[derive(Debug, Clone)]
pub struct MemorySource {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// The next batch, and how many of its rows are gone already.
    next: usize,
    offset: usize,
    position: Position,
    counts: SourceCounts,
}

impl MemorySource {
    /// A source of these batches. All of them must have the columns of `schema`.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<MemorySource> {
        if let Some(other) = batches.iter().find(|batch| batch.schema().fields() != schema.fields()) {
            let message = format!("a batch has the columns {:?}, not those of its source", other.schema().fields());
            return Err(DataError::new(Code::SchemaMismatch, message).into());
        }
        let (position, counts) = (Position::default(), SourceCounts::default());
        Ok(MemorySource { schema, batches, next: 0, offset: 0, position, counts })
    }

    fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }
}

impl Source for MemorySource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.batches.get(self.next) else { return Ok(None) };
        let batch = batch.slice(self.offset, batch.num_rows() - self.offset);
        (self.next, self.offset) = (self.next + 1, 0);
        self.position.row += batch.num_rows() as u64;
        self.counts.rows += batch.num_rows() as u64;
        Ok(Some(batch))
    }

    fn position(&self) -> Position {
        self.position
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        let mut left = usize::try_from(position.row).unwrap_or(usize::MAX);
        self.next = 0;
        while let Some(batch) = self.batches.get(self.next)
            && batch.num_rows() <= left
        {
            left -= batch.num_rows();
            self.next += 1;
        }
        self.offset = if self.next < self.batches.len() { left } else { 0 };
        self.position = Position { file: 0, row: position.row.min(self.rows()) };
        Ok(())
    }

    fn counts(&self) -> SourceCounts {
        self.counts
    }

    fn progress(&self) -> Option<f64> {
        let rows = self.rows();
        Some(if rows == 0 { 1.0 } else { self.position.row as f64 / rows as f64 })
    }

    fn weight(&self) -> u64 {
        self.batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum::<u64>().max(1)
    }

    fn take_dead_letters(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

    use super::*;

    #[test]
    fn a_seek_gives_exactly_the_rows_that_are_left() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let batch =
            |values: Vec<i64>| RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(values))]).unwrap();
        let mut source =
            MemorySource::new(schema.clone(), vec![batch(vec![1, 2, 3]), batch(vec![]), batch(vec![4])]).unwrap();
        for row in 0..6 {
            source.seek(&Position { file: 0, row }).unwrap();
            let mut left = 0;
            while let Some(batch) = source.next_batch().unwrap() {
                left += batch.num_rows() as u64;
            }
            assert_eq!(left, 4_u64.saturating_sub(row));
            assert_eq!(source.position().row, 4);
        }
        let other = Arc::new(Schema::new(vec![Field::new("b", DataType::Int64, false)]));
        assert!(MemorySource::new(other, vec![batch(vec![1])]).is_err());
    }
}
