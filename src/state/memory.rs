//! How much memory columns take, and columns that keep no memory but their own.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{ByteViewType, DataType};

use crate::error::Result;

/// A column whose buffers hold no more than that besides what it shows is not worth a copy.
const SLACK: usize = 4_096;
/// A view column with more buffers than that is copied into one: gathering looks at every buffer.
const VIEW_BUFFERS_MAX: usize = 8;

/// The rows without the memory of others: a slice keeps the whole of what it was cut from, and a view the whole buffer
/// for one value that it shows of it.
pub(crate) fn owned_rows(rows: &RecordBatch) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(owned).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(rows.schema(), columns, &options)?)
}

/// As [`owned_rows`], for one column.
pub(crate) fn owned(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8View => owned_views(column.as_string_view()).unwrap_or_else(|| column.clone()),
        DataType::BinaryView => owned_views(column.as_binary_view()).unwrap_or_else(|| column.clone()),
        // Arrow's types are not ours to enumerate: all others can be told by how much of their buffers they show.
        _ if column.get_buffer_memory_size() > 2 * shown_bytes(column) + SLACK => {
            take(column, &UInt32Array::from_iter_values(0..column.len() as u32), None)?
        }
        _ => column.clone(),
    })
}

/// A copy, where it is worth one.
fn owned_views<T: ByteViewType>(views: &GenericByteViewArray<T>) -> Option<ArrayRef> {
    let held = views.get_buffer_memory_size();
    let shown = views.total_buffer_bytes_used() + views.len() * size_of::<u128>();
    let scattered = views.data_buffers().len() > VIEW_BUFFERS_MAX;
    (held > 2 * shown + SLACK || scattered).then(|| Arc::new(views.gc()) as ArrayRef)
}

/// The bytes of the buffers of a column that it shows; of a nested one all that it has.
fn shown_bytes(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size())
}

/// The bytes that rows take, whatever else is in the buffers that hold them; what a view points to is not counted,
/// because rows that were gathered share it with those they were gathered from.
pub(crate) fn row_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(shown_bytes).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_slice_that_is_kept_does_not_keep_the_rest() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..100_000).map(|n| n.to_string())));
        for column in [numbers, texts] {
            let slice = owned(&column.slice(50_000, 10)).unwrap();
            assert_eq!(&slice, &column.slice(50_000, 10));
            assert!(slice.get_array_memory_size() < 1_000, "{} bytes", slice.get_array_memory_size());
            assert!(Arc::ptr_eq(&owned(&column).unwrap(), &column), "what shows all it holds is not copied");
        }
    }
}
