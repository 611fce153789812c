//! Small helpers over record batches that the rooms above share.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::Result;

/// A batch of `rows` rows, also of no columns.
pub(crate) fn record_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The rows `indices` of `batch`, copied, so that they do not keep the memory of the others.
pub(crate) fn take_rows(batch: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch> {
    let columns =
        batch.columns().iter().map(|column| Ok(owned(take(column, indices, None)?))).collect::<Result<_>>()?;
    record_batch(&batch.schema(), columns, indices.len())
}

/// The array without what its views do not show: a taken view array keeps every buffer of the one it came from.
pub(crate) fn owned(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        // Arrow's types are not ours to enumerate: all others own what they show.
        _ => array,
    }
}
