//! Rows that are kept, as Arrow batches.
//!
//! A row has a number that it keeps for life, and a place that changes when batches are merged:
//!
//! ```text
//! number   0      1      2      3             chunk 0         chunk 1        pending
//! place   (0,1)  (1,0)  (2,0)  free           ─ a ·           ─ b            ─ c d
//! ```
//!
//! An arriving batch is pending while it is worked through: its rows can be kept, given out and dropped again
//! without a copy, and what is still wanted at the end is copied to a chunk of its own.
//! Chunks double in size as rows come, so there are few, and are written anew when more than half is garbage.

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, interleave, take};
use arrow::datatypes::SchemaRef;

use crate::error::{InternalError, Result};
use crate::types::{owned, take_rows};

/// No row, or no group.
pub(crate) const NONE: u32 = u32::MAX;

/// A chunk that is that large is not merged any more.
const CHUNK_ROWS: usize = 65_536;
/// So many rows of garbage are not worth the trouble.
const GARBAGE_ROWS: usize = 8_192;

/// Where a row lies. Good until [`RowStore::commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    chunk: u32,
    row: u32,
}

impl Place {
    /// Where there is no row: all NULL when gathered.
    pub(crate) const MISSING: Place = Place { chunk: NONE, row: NONE };
}

struct Chunk {
    rows: RecordBatch,
    /// Whose row it is, or was: it is garbage if its number has moved on.
    numbers: Vec<u32>,
}

/// Kept rows, by number.
pub(crate) struct RowStore {
    schema: SchemaRef,
    chunks: Vec<Chunk>,
    places: Vec<Place>,
    sequences: Vec<u64>,
    free: Vec<u32>,
}

impl RowStore {
    /// A store for rows of `schema`.
    pub(crate) fn new(schema: SchemaRef) -> RowStore {
        RowStore { schema, chunks: vec![], places: vec![], sequences: vec![], free: vec![] }
    }

    /// How many rows are kept.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// One more than the largest number in use: the length of arrays by number.
    pub(crate) fn numbers(&self) -> usize {
        self.places.len()
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|c| c.rows.get_array_memory_size() + c.numbers.capacity() * 4).sum();
        chunks + self.places.capacity() * size_of::<Place>() + self.sequences.capacity() * 8
    }

    /// Makes the rows of a batch pending.
    pub(crate) fn begin(&mut self, rows: &RecordBatch) {
        self.chunks.push(Chunk { rows: rows.clone(), numbers: vec![NONE; rows.num_rows()] });
    }

    /// Where row `row` of the pending batch lies.
    pub(crate) fn pending(&self, row: usize) -> Place {
        Place { chunk: self.chunks.len() as u32 - 1, row: row as u32 }
    }

    /// Keeps row `row` of the pending batch under a new number. `sequence` is its place in the order of arrival.
    pub(crate) fn add(&mut self, row: usize, sequence: u64) -> Result<u32> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                let fresh = u32::try_from(self.places.len()).ok().filter(|number| *number != NONE);
                self.places.push(Place::MISSING);
                self.sequences.push(0);
                fresh.ok_or_else(|| InternalError::new("an operator keeps more rows than it can number"))?
            }
        };
        self.replace(number, row, sequence);
        Ok(number)
    }

    /// Puts row `row` of the pending batch in the place of the row `number`.
    pub(crate) fn replace(&mut self, number: u32, row: usize, sequence: u64) {
        self.places[number as usize] = self.pending(row);
        self.sequences[number as usize] = sequence;
        if let Some(pending) = self.chunks.last_mut() {
            pending.numbers[row] = number;
        }
    }

    /// Drops a row; its number may be given to another.
    pub(crate) fn remove(&mut self, number: u32) {
        self.places[number as usize] = Place::MISSING;
        self.free.push(number);
    }

    /// Where the row lies.
    pub(crate) fn place(&self, number: u32) -> Place {
        self.places[number as usize]
    }

    /// The row's place in the order of arrival.
    pub(crate) fn sequence(&self, number: u32) -> u64 {
        self.sequences[number as usize]
    }

    /// The rows that have come at `sequence` or later, in order of arrival.
    pub(crate) fn since(&self, sequence: u64) -> Vec<u32> {
        let kept = |number: &u32| self.place(*number) != Place::MISSING && self.sequence(*number) >= sequence;
        let mut numbers: Vec<u32> = (0..self.places.len() as u32).filter(kept).collect();
        numbers.sort_unstable_by_key(|number| self.sequence(*number));
        numbers
    }

    /// The columns of the rows at `places`, one row a place.
    pub(crate) fn gather(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        match self.chunks.as_slice() {
            [] => Ok(self.schema.fields().iter().map(|f| new_null_array(f.data_type(), places.len())).collect()),
            [chunk] => {
                let rows: UInt32Array =
                    places.iter().map(|place| (*place != Place::MISSING).then_some(place.row)).collect();
                Ok(chunk.rows.columns().iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?)
            }
            chunks => self.interleave(chunks, places),
        }
    }

    fn interleave(&self, chunks: &[Chunk], places: &[Place]) -> Result<Vec<ArrayRef>> {
        let missing = (chunks.len(), 0);
        let at = |place: &Place| (place.chunk as usize, place.row as usize);
        let indices: Vec<(usize, usize)> =
            places.iter().map(|place| if *place == Place::MISSING { missing } else { at(place) }).collect();
        let column = |index: usize| -> Result<ArrayRef> {
            let null = new_null_array(self.schema.field(index).data_type(), 1);
            let chunks = chunks.iter().map(|chunk| chunk.rows.column(index).as_ref());
            let arrays: Vec<&dyn Array> = chunks.chain([null.as_ref()]).collect();
            Ok(interleave(&arrays, &indices)?)
        };
        (0..self.schema.fields().len()).map(column).collect()
    }

    /// Ends the work on the pending batch: copies what is kept of it, and tidies up.
    pub(crate) fn commit(&mut self) -> Result<()> {
        if let Some(pending) = self.chunks.pop() {
            let index = self.chunks.len();
            self.push_live(index, &pending)?;
        }
        while let [.., before, last] = self.chunks.as_slice() {
            if before.numbers.len() > 2 * last.numbers.len() || before.numbers.len() > CHUNK_ROWS {
                break;
            }
            self.merge_last(2)?;
        }
        let stored: usize = self.chunks.iter().map(|chunk| chunk.numbers.len()).sum();
        if stored > 2 * self.len() + GARBAGE_ROWS { self.merge_last(self.chunks.len()) } else { Ok(()) }
    }

    /// Adds what is live of a chunk that was number `was`, as the last chunk.
    fn push_live(&mut self, was: usize, chunk: &Chunk) -> Result<()> {
        let live = |row: &u32| self.is_live(was, chunk, *row);
        let rows: UInt32Array = (0..chunk.numbers.len() as u32).filter(live).collect::<Vec<_>>().into();
        if rows.is_empty() {
            return Ok(());
        }
        let numbers: Vec<u32> = rows.values().iter().map(|row| chunk.numbers[*row as usize]).collect();
        self.place_chunk(take_rows(&chunk.rows, &rows)?, numbers);
        Ok(())
    }

    fn is_live(&self, index: usize, chunk: &Chunk, row: u32) -> bool {
        let number = chunk.numbers[row as usize];
        number != NONE && self.places[number as usize] == Place { chunk: index as u32, row }
    }

    fn place_chunk(&mut self, rows: RecordBatch, numbers: Vec<u32>) {
        let chunk = self.chunks.len() as u32;
        for (row, number) in numbers.iter().enumerate() {
            self.places[*number as usize] = Place { chunk, row: row as u32 };
        }
        self.chunks.push(Chunk { rows, numbers });
    }

    /// Makes one chunk of the last `count`, without their garbage.
    fn merge_last(&mut self, count: usize) -> Result<()> {
        let first = self.chunks.len() - count;
        let chunks = self.chunks.split_off(first);
        let (mut parts, mut numbers) = (vec![], vec![]);
        for (offset, chunk) in chunks.iter().enumerate() {
            let live = |row: &u32| self.is_live(first + offset, chunk, *row);
            let rows: UInt32Array = (0..chunk.numbers.len() as u32).filter(live).collect::<Vec<_>>().into();
            numbers.extend(rows.values().iter().map(|row| chunk.numbers[*row as usize]));
            parts.push(take_rows(&chunk.rows, &rows)?);
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let rows = concat_batches(&self.schema, &parts)?;
        let columns = rows.columns().iter().cloned().map(owned).collect();
        self.place_chunk(crate::types::record_batch(&self.schema, columns, numbers.len())?, numbers);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn store() -> RowStore {
        RowStore::new(Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)])))
    }

    fn begin(store: &mut RowStore, values: Vec<i64>) {
        let rows = RecordBatch::try_new(store.schema.clone(), vec![Arc::new(Int64Array::from(values))]).unwrap();
        store.begin(&rows);
    }

    fn values(store: &RowStore, numbers: &[u32]) -> Vec<Option<i64>> {
        let places: Vec<Place> =
            numbers.iter().map(|number| if *number == NONE { Place::MISSING } else { store.place(*number) }).collect();
        store.gather(&places).unwrap()[0].as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn a_row_keeps_its_number_while_others_come_and_go() -> Result<()> {
        let mut store = store();
        for value in 0..1_000 {
            begin(&mut store, vec![-1, value]);
            let number = store.add(1, value as u64)?;
            store.commit()?;
            if value % 3 == 0 {
                store.remove(number);
            }
        }
        let kept = store.since(0);
        let expected: Vec<Option<i64>> = (0..1_000).filter(|value| value % 3 != 0).map(Some).collect();
        assert_eq!(values(&store, &kept), expected);
        assert!(store.chunks.len() < 20);
        Ok(())
    }

    #[test]
    fn a_replaced_row_does_not_keep_its_memory() -> Result<()> {
        let mut store = store();
        begin(&mut store, vec![0]);
        let number = store.add(0, 0)?;
        store.commit()?;
        for value in 1..100 {
            begin(&mut store, vec![value; 8_192]);
            (0..8_192).for_each(|row| store.replace(number, row, value as u64));
            store.commit()?;
        }
        assert_eq!(values(&store, &[number, NONE]), [Some(99), None]);
        assert!(store.chunks.iter().map(|chunk| chunk.numbers.len()).sum::<usize>() < 10);
        Ok(())
    }
}
