//! Small helpers over the rows of a batch that several operators share.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{SortOptions, filter_record_batch, take};
use arrow::datatypes::SchemaRef;

use crate::error::{InternalError, Result};
use crate::operators::Output;
use crate::state::owned;
use crate::types::{Batch, RowKind, RowKinds};

/// About how many rows a batch has that an operator makes up itself.
pub(crate) const BATCH_ROWS: usize = 8_192;

/// A batch of `rows` rows, also of no columns.
pub(crate) fn record_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The rows `indices` of `batch`, copied, so that they do not keep the memory of the others.
pub(crate) fn take_rows(batch: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| owned(&take(column, indices, None)?)).collect::<Result<_>>()?;
    record_batch(&batch.schema(), columns, indices.len())
}

/// The rows `rows` of a batch, in ascending order, and what they do. They are not copied if they are all that lie between
/// the first and the last.
pub(crate) fn chosen(batch: &Batch, rows: &[u32]) -> Result<Batch> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(batch.slice(0, 0)) };
    if (last - first) as usize + 1 == rows.len() {
        return Ok(batch.slice(*first as usize, rows.len()));
    }
    let taken = take_rows(batch.rows(), &UInt32Array::from(rows.to_vec()))?;
    Ok(match batch.kinds() {
        None => Batch::append_only(taken),
        Some(kinds) => Batch::changelog(taken, rows.iter().map(|row| kinds.get(*row as usize)).collect()),
    })
}

/// Says append-only rows in batches of a usual size.
pub(crate) fn push_sliced(rows: &RecordBatch, out: &mut Output) {
    for offset in (0..rows.num_rows()).step_by(BATCH_ROWS) {
        let length = BATCH_ROWS.min(rows.num_rows() - offset);
        out.push(Batch::append_only(rows.slice(offset, length)));
    }
}

/// Refuses a changelog where the planner should have.
pub(crate) fn append_only<'a>(batch: &'a Batch, operator: &str) -> Result<&'a RecordBatch> {
    match batch.kinds() {
        None => Ok(batch.rows()),
        Some(_) => Err(InternalError::new(format!("a changelog has reached {operator}")).into()),
    }
}

/// Cuts changes into batches of a usual size; an update is never cut in two.
pub(crate) fn whole_updates(kinds: &[RowKind]) -> Vec<Range<usize>> {
    let mut parts = vec![];
    let mut start = 0;
    while start < kinds.len() {
        let mut end = (start + BATCH_ROWS).min(kinds.len());
        if end < kinds.len() && kinds[end - 1] == RowKind::UpdateBefore {
            end -= 1;
        }
        parts.push(start..end);
        start = end;
    }
    parts
}

/// Where two columns differ. Two NULLs do not, and neither do two NaN.
pub(crate) fn differs(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanBuffer> {
    if !before.data_type().is_nested() {
        return Ok(distinct(before, after)?.values().clone());
    }
    let compare = make_comparator(before, after, SortOptions::default())?;
    Ok(BooleanBuffer::collect_bool(before.len(), |row| compare(row, row).is_ne()))
}

/// The rows of a changelog that are `kept`, and how many the others are. The second half of an update whose first is not
/// kept is a row that comes.
pub(crate) fn without(batch: &Batch, kept: &[bool]) -> Result<(Batch, usize)> {
    let gone = kept.iter().filter(|kept| !**kept).count();
    if gone == 0 {
        return Ok((batch.clone(), 0));
    }
    let kind = |row: usize| match batch.kind(row) {
        RowKind::UpdateAfter if row > 0 && !kept[row - 1] => RowKind::Insert,
        kind => kind,
    };
    let kinds: RowKinds = (0..kept.len()).filter(|row| kept[*row]).map(kind).collect();
    let rows = filter_record_batch(batch.rows(), &BooleanArray::from(kept.to_vec()))?;
    Ok((Batch::changelog(rows, kinds), gone))
}
