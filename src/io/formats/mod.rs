//! What files hold: one reader and one writer a format.

mod arrow;
mod csv;
mod json;
mod parquet;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{Schema, SchemaRef};

use super::input::Input;
use super::options::{FileOptions, Format};
use super::output::Output;
use super::rejects::BadRow;
use super::schema::Wanted;
use crate::error::{Code, DataError, Result};

/// After how many bytes of text a batch ends, however few rows it has.
const BATCH_BYTES: usize = 16 << 20;

/// The next rows of a file.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Those that are good.
    pub rows: RecordBatch,
    /// Those that are bad, in order.
    pub bad: Vec<BadRow>,
    /// How many rows of the file these are, both kinds together.
    pub taken: u64,
}

/// Reads one file from its beginning to its end.
pub(crate) trait FileReader: Send {
    /// The next rows; none at the end.
    fn next(&mut self) -> Result<Option<Decoded>>;

    /// Passes over rows, good or bad, without reporting them. Only at the beginning.
    fn skip(&mut self, rows: u64) -> Result<()>;

    /// How much has been read, from 0 to 1, where the bytes that were read don't tell.
    fn progress(&self) -> Option<f64> {
        None
    }
}

/// Writes one file.
pub(crate) trait FileWriter: Send {
    /// Writes rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Passes on what is buffered, as far as the format allows.
    fn flush(&mut self) -> Result<()>;

    /// Writes what a file ends with and gives it its name.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Opens a file to read `wanted` from it.
pub(crate) fn open(input: Input, options: &FileOptions, wanted: &Wanted) -> Result<Box<dyn FileReader>> {
    Ok(match options.format {
        Format::Csv => Box::new(csv::CsvReader::open(input, options, wanted)?),
        Format::Json => Box::new(json::JsonReader::open(input, options, wanted)?),
        Format::Parquet => Box::new(parquet::ParquetReader::open(input, options, wanted)?),
        Format::Arrow => Box::new(arrow::ArrowReader::open(input, options, wanted)?),
    })
}

/// The columns of a file, as far as it tells.
pub(crate) fn infer(input: Input, options: &FileOptions) -> Result<SchemaRef> {
    match options.format {
        Format::Csv => csv::infer(input, options),
        Format::Json => json::infer(input, options),
        Format::Parquet => parquet::infer(input, options),
        Format::Arrow => arrow::infer(input, options),
    }
}

/// Begins to write a file.
pub(crate) fn create(output: Output, options: &FileOptions, schema: &Schema) -> Result<Box<dyn FileWriter>> {
    Ok(match options.format {
        Format::Csv => Box::new(csv::CsvWriter::new(output, options, schema)?),
        Format::Json => Box::new(json::JsonWriter::new(output)),
        Format::Parquet => Box::new(parquet::ParquetWriter::new(output, schema)?),
        Format::Arrow => Box::new(arrow::ArrowWriter::new(output, options, schema)?),
    })
}

/// Calls a reader that may panic on a crafted file, and makes an error of it.
///
/// What panicked is not used again: an error ends the reading of a file.
fn guarded<T>(origin: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(broken(origin, "it can't be decoded").into()))
}

/// A file that is not what it should be.
fn broken(origin: &str, reason: impl std::fmt::Display) -> DataError {
    DataError::new(Code::BadRow, format!("the file is broken: {reason}")).origin(origin)
}
