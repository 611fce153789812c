//! What files hold: one reader and one writer a format.

mod arrow;
mod csv;
mod json;
mod parquet;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::{Schema, SchemaRef};

use super::SinkPosition;
use super::input::Input;
use super::options::{FileOptions, Format};
use super::output::{Ended, Output};
use super::rejects::BadRow;
use super::schema::{Columns, Wanted};
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

    /// Passes on all that has been written, and tells how many bytes of the file [`resume`] needs to go on from here;
    /// 0 for a format that goes on from its rows.
    fn mark(&mut self) -> Result<u64>;

    /// Writes what a file ends with.
    fn end(self: Box<Self>) -> Result<Ended>;
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

/// Begins to write a file with what `from`, another one of the same options, held at `position`.
///
/// Text is copied to the byte. The other formats know where everything lies in them, so their rows are written anew.
pub(crate) fn resume(
    mut output: Output,
    options: &FileOptions,
    schema: &SchemaRef,
    from: File,
    position: SinkPosition,
) -> Result<Box<dyn FileWriter>> {
    match options.format {
        Format::Csv => {
            output.copy(from, position.bytes)?;
            Ok(Box::new(csv::CsvWriter::headless(output, options, schema)?))
        }
        Format::Json => {
            output.copy(from, position.bytes)?;
            Ok(Box::new(json::JsonWriter::new(output)))
        }
        Format::Parquet | Format::Arrow => {
            let mut writer = create(output, options, schema)?;
            copy_rows(writer.as_mut(), options, schema, from, position.rows)?;
            Ok(writer)
        }
    }
}

fn copy_rows(
    writer: &mut dyn FileWriter,
    options: &FileOptions,
    schema: &SchemaRef,
    from: File,
    mut rows: u64,
) -> Result<()> {
    let mut reader = open(Input::of_file(from, options)?, options, &Wanted::new(schema.clone(), Columns::default())?)?;
    while rows > 0 {
        let Some(decoded) = reader.next()? else {
            return Err(broken(&options.path, "it holds fewer rows than were written").into());
        };
        let wanted = usize::try_from(rows).unwrap_or(usize::MAX).min(decoded.rows.num_rows());
        writer.write(&decoded.rows.slice(0, wanted))?;
        rows -= wanted as u64;
    }
    Ok(())
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
