//! Small helpers over the rows of a batch that several operators share.

use arrow::array::RecordBatch;

use crate::error::{InternalError, Result};
use crate::operators::Output;
use crate::types::Batch;
pub(crate) use crate::types::{record_batch, take_rows};

/// About how many rows a batch has that an operator makes up itself.
pub(crate) const BATCH_ROWS: usize = 8_192;

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
