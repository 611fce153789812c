//! Answers as files.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch, min};
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::ipc::writer::FileWriter;

use crate::request::Result;

/// The column of a changelog that says how often its row is added.
pub const WEIGHT: &str = "__weight";

/// Writes the named columns of an answer, and says how many rows there are.
///
/// # Errors
///
/// If a column is missing, or the file cannot be written.
pub fn write(batches: &[RecordBatch], columns: &[&str], path: &str) -> Result<usize> {
    let batches = batches.iter().map(|batch| shaped(batch, columns)).collect::<Result<Vec<_>>>()?;
    let first = batches.first().ok_or("the answer is empty")?;
    let file = File::create(path).map_err(|error| format!("{path}: {error}"))?;
    let mut writer = FileWriter::try_new_buffered(file, first.schema_ref())?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    writer.into_inner()?.into_inner()?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

/// A batch with the columns of an answer, and `op` before them if it is a changelog's.
fn shaped(batch: &RecordBatch, columns: &[&str]) -> Result<RecordBatch> {
    let mut shaped: Vec<(&str, ArrayRef)> = vec![];
    if let Some(weights) = batch.column_by_name(WEIGHT) {
        shaped.push(("op", Arc::new(kinds(weights)?)));
    }
    for name in columns {
        let column = batch.column_by_name(name).ok_or_else(|| format!("the answer has no column \"{name}\""))?;
        shaped.push((name, number(column)?));
    }
    let shaped = shaped.into_iter().map(|(name, column)| (name, column, true));
    Ok(RecordBatch::try_from_iter_with_nullable(shaped)?)
}

/// The rows of a stream's batch that are no markers, and whether it has any that are.
///
/// # Errors
///
/// If it has no column `auction`.
pub fn without_markers(batch: RecordBatch) -> Result<(RecordBatch, bool)> {
    let keys = longs(&batch, "auction")?;
    if min(keys).is_none_or(|least| least >= 0) {
        return Ok((batch, false));
    }
    let rows: BooleanArray = keys.iter().map(|key| Some(key.is_some_and(|key| key >= 0))).collect();
    Ok((filter_record_batch(&batch, &rows)?, true))
}

/// A column of whole numbers.
///
/// # Errors
///
/// If there is no such column.
pub fn longs<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    Ok(column.ok_or_else(|| format!("the answer has no column \"{name}\" of whole numbers: {}", batch.schema()))?)
}

/// What the weights of a changelog say; LaminarDB's are those of single rows.
fn kinds(weights: &ArrayRef) -> Result<StringArray> {
    let weights = weights.as_primitive_opt::<Int64Type>().ok_or("weights are no numbers")?;
    weights
        .values()
        .iter()
        .map(|weight| match weight {
            1 => Ok("+I"),
            -1 => Ok("-D"),
            other => Err(format!("a change has the weight {other}").into()),
        })
        .collect::<Result<Vec<_>>>()
        .map(StringArray::from)
}

/// A column as the harness wants it: a time is a number of milliseconds.
fn number(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Timestamp(_, _) => {
            let milliseconds = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
            Ok(cast(&milliseconds, &DataType::Int64)?)
        }
        _ => Ok(column.clone()),
    }
}
