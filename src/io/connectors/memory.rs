//! Batches that are in memory already, as a source.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::io::{Position, Source, SourceCounts};

/// Some batches, read one after the other.
pub struct MemorySource {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    next: usize,
    offset: usize,
    rows: u64,
}

impl MemorySource {
    /// A source of batches of columns `schema`.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> MemorySource {
        MemorySource { schema, batches, next: 0, offset: 0, rows: 0 }
    }
}

impl Source for MemorySource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.batches.get(self.next) else { return Ok(None) };
        let rest = batch.slice(self.offset, batch.num_rows() - self.offset);
        self.next += 1;
        self.offset = 0;
        self.rows += rest.num_rows() as u64;
        Ok(Some(rest))
    }

    fn position(&self) -> Position {
        let before: usize = self.batches[..self.next].iter().map(RecordBatch::num_rows).sum();
        Position { file: 0, row: (before + self.offset) as u64 }
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
        Ok(())
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts { rows: self.rows, ..SourceCounts::default() }
    }

    fn progress(&self) -> Option<f64> {
        Some(self.next as f64 / self.batches.len().max(1) as f64)
    }

    fn take_dead_letters(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }
}
