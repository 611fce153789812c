//! What files hold: text that is read row by row, and typed formats that are read batch by batch.

mod columnar;
mod csv;
mod json;
mod text;

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::access::Access;
use super::input::{Input, Meter};
use super::options::{FileOptions, Format};
use super::output::Output;
use super::rejects::BadRow;
use super::schema::{Wanted, plain_schema};
use crate::error::Result;

/// Some rows of a file: the good ones, and the bad ones among them.
pub(crate) struct Rows {
    pub batch: RecordBatch,
    pub bad: Vec<BadRow>,
    /// How many rows of the file that is, bad ones included.
    pub read: u64,
}

/// Reads one file.
pub(crate) trait Reader: Send {
    /// The next rows; none at the end.
    fn next(&mut self) -> Result<Option<Rows>>;

    /// Passes over the next rows without looking at them.
    fn skip(&mut self, rows: u64) -> Result<()>;
}

/// Opens a file to read the wanted columns.
pub(crate) fn open(
    path: &Path,
    options: &FileOptions,
    wanted: &Wanted,
    access: &Access,
    meter: Meter,
) -> Result<(Arc<str>, Box<dyn Reader>)> {
    let input = Input::open(path, options, access, meter)?;
    let origin = input.origin.clone();
    let reader: Box<dyn Reader> = match options.format {
        Format::Csv => csv::open(input.into_text(options)?, options, wanted)?,
        Format::Json => json::open(input.into_text(options)?, options, wanted)?,
        Format::Parquet => columnar::open_parquet(input, options, wanted)?,
        Format::Arrow => columnar::open_arrow(input, options, wanted)?,
    };
    Ok((origin, reader))
}

/// The columns of a file, as far as its first rows tell.
pub(crate) fn infer(path: &Path, options: &FileOptions, access: &Access) -> Result<SchemaRef> {
    let input = Input::peek(path, options, access)?;
    let schema = match options.format {
        Format::Csv => csv::infer(input.into_text(options)?, options)?,
        Format::Json => json::infer(input.into_text(options)?, options)?,
        Format::Parquet => columnar::infer_parquet(input)?,
        Format::Arrow => columnar::infer_arrow(input)?,
    };
    Ok(plain_schema(&schema))
}

/// Writes one file.
pub(crate) trait Writer: Send {
    /// Writes rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Passes on what is buffered, as far as the format allows.
    fn flush(&mut self) -> Result<()>;

    /// Writes what the file ends with.
    fn finish(self: Box<Self>) -> Result<Output>;
}

/// Begins to write a file.
pub(crate) fn create(output: Output, options: &FileOptions, schema: &SchemaRef) -> Result<Box<dyn Writer>> {
    Ok(match options.format {
        Format::Csv => csv::create(output, options, schema)?,
        Format::Json => json::create(output),
        Format::Parquet => columnar::create_parquet(output, schema)?,
        Format::Arrow => columnar::create_arrow(output, schema)?,
    })
}
