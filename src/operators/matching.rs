//! What joins share: rows by number, the slots of their keys, and pairs of rows for which a condition is true.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;

use crate::error::Result;
use crate::operators::rows::record_batch;
use crate::plan::node::Residual;
use crate::state::GroupIndex;

/// No row, and no key; NULLs are said in its place.
pub(super) const NONE: u32 = u32::MAX;

/// Which rows of keys have a NULL in one of them.
pub(super) struct Nulls(Vec<NullBuffer>);

impl Nulls {
    /// Those of keys.
    pub fn of(keys: &[ArrayRef]) -> Nulls {
        let nulls = keys.iter().filter_map(|key| key.logical_nulls());
        Nulls(nulls.filter(|nulls| nulls.null_count() > 0).collect())
    }

    /// And of what else has to be there.
    pub fn and(&mut self, other: Option<&NullBuffer>) {
        self.0.extend(other.filter(|nulls| nulls.null_count() > 0).cloned());
    }

    /// Whether a row has one.
    #[inline]
    pub fn in_row(&self, row: usize) -> bool {
        self.0.iter().any(|nulls| nulls.is_null(row))
    }
}

/// The slot of each row's key; [`NONE`] for rows that are not whole, as they match nothing.
pub(super) fn slots_of_whole(
    index: &mut GroupIndex,
    keys: &[ArrayRef],
    rows: usize,
    is_whole: impl Fn(usize) -> bool,
) -> Result<Vec<u32>> {
    let mut found = vec![];
    if (0..rows).all(&is_whole) {
        index.intern(keys, rows, &mut found)?;
        return Ok(found);
    }
    let at: UInt32Array = (0..rows as u32).filter(|row| is_whole(*row as usize)).collect();
    let keys = keys.iter().map(|key| take(key, &at, None)).collect::<Result<Vec<_>, _>>()?;
    index.intern(&keys, at.len(), &mut found)?;
    let mut slots = vec![NONE; rows];
    at.values().iter().zip(found).for_each(|(row, slot)| slots[*row as usize] = slot);
    Ok(slots)
}

/// Columns of rows by number, as `gather` gives them of those that are there; [`NONE`] gives NULLs.
pub(super) fn gather_with_nulls(
    rows: &[u32],
    gather: impl FnOnce(&[u32]) -> Result<Vec<ArrayRef>>,
) -> Result<Vec<ArrayRef>> {
    if !rows.contains(&NONE) {
        return gather(rows);
    }
    let there: Vec<u32> = rows.iter().copied().filter(|row| *row != NONE).collect();
    let mut next = 0..;
    let places: UInt32Array = rows.iter().map(|row| if *row == NONE { None } else { next.next() }).collect();
    let columns = gather(&there)?;
    Ok(columns.iter().map(|column| take(column, &places, None)).collect::<Result<_, _>>()?)
}

/// Rows of a batch, each beside a row that is kept of the other side.
#[derive(Default)]
pub(super) struct Pairs {
    pub own: Vec<u32>,
    pub other: Vec<u32>,
}

impl Pairs {
    /// Those for which the rest of a condition is true, with the columns that it looks at.
    pub fn passing(own: &[u32], other: &[u32], residual: &Residual, columns: Vec<ArrayRef>) -> Result<Pairs> {
        let rows = record_batch(&residual.schema, columns, own.len())?;
        let passes = residual.predicate.evaluate_predicate(&rows)?;
        let of = |rows: &[u32]| passes.values().set_indices().map(|at| rows[at]).collect();
        Ok(Pairs { own: of(own), other: of(other) })
    }
}
