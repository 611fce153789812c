//! The output of a keyed join: combinations of rows, one of each side, gathered a batch at a time.

use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::operators::Output;
use crate::operators::join::side::Side;
use crate::operators::rows::{BATCH_ROWS, record_batch};
use crate::state::Place;
use crate::types::Batch;

/// Combinations that are not yet said.
pub(super) struct Combinations {
    schema: SchemaRef,
    /// By side: where the row of each combination lies.
    places: Vec<Vec<Place>>,
}

impl Combinations {
    pub(super) fn new(schema: SchemaRef, sides: usize) -> Combinations {
        Combinations { schema, places: vec![vec![]; sides] }
    }

    /// Adds all combinations of the rows of `slot`: the leftmost side varies slowest.
    pub(super) fn add_all(&mut self, sides: &[Side], slot: u32, out: &mut Output) -> Result<()> {
        let choices: Vec<Vec<Place>> = sides.iter().map(|side| choices(side, slot)).collect();
        let mut chosen = vec![0; choices.len()];
        loop {
            let row = choices.iter().zip(&chosen).map(|(places, choice)| places[*choice]);
            self.add(sides, row, out)?;
            if !advance(&mut chosen, &choices) {
                return Ok(());
            }
        }
    }

    /// Adds one combination.
    pub(super) fn add(&mut self, sides: &[Side], row: impl Iterator<Item = Place>, out: &mut Output) -> Result<()> {
        self.places.iter_mut().zip(row).for_each(|(places, place)| places.push(place));
        let full = self.places.first().is_some_and(|places| places.len() >= BATCH_ROWS);
        if full { self.flush(sides, out) } else { Ok(()) }
    }

    /// Adds a row that stands alone, the other sides missing.
    pub(super) fn add_alone(&mut self, sides: &[Side], side: usize, place: Place, out: &mut Output) -> Result<()> {
        let row = (0..sides.len()).map(|other| if other == side { place } else { Place::MISSING });
        self.add(sides, row, out)
    }

    /// Says what has been added. Places are good until the pending batch is committed, so this comes before.
    pub(super) fn flush(&mut self, sides: &[Side], out: &mut Output) -> Result<()> {
        let rows = self.places.first().map_or(0, Vec::len);
        if rows == 0 {
            return Ok(());
        }
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (side, places) in sides.iter().zip(&mut self.places) {
            columns.extend(side.store.gather(places)?);
            places.clear();
        }
        out.push(Batch::append_only(record_batch(&self.schema, columns, rows)?));
        Ok(())
    }
}

/// The rows of a side to choose from; a side without one contributes a single missing row.
fn choices(side: &Side, slot: u32) -> Vec<Place> {
    match side.has(slot) {
        true => side.rows(slot).map(|row| side.store.place(row)).collect(),
        false => vec![Place::MISSING],
    }
}

/// Goes on to the next combination, the last side first; false after the last one.
fn advance(chosen: &mut [usize], choices: &[Vec<Place>]) -> bool {
    for (choice, places) in chosen.iter_mut().zip(choices).rev() {
        *choice += 1;
        if *choice < places.len() {
            return true;
        }
        *choice = 0;
    }
    false
}
