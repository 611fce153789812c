//! WHAT IS OUTSIDE? Sources that rows are read from, sinks that they are written to, and the one gate to both.
//!
//! A [`Source`] is pulled: it reads when it is asked for a batch and never before. How rows are cut into batches never
//! changes which rows there are, which are bad, or where an error is met.
//! [`access`] is the only file of the crate that opens files.

pub mod access;
mod changes;
pub mod connectors;
mod formats;
mod input;
pub mod options;
mod output;
mod rejects;
mod schema;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

pub use crate::types::dead_letter_schema;
pub use access::Access;
pub use changes::{ChangeSource, Changes, without_replaced, written, written_schema};
pub use connectors::memory::MemorySource;
pub use connectors::nexmark_options::NexmarkOptions;
pub use options::{FileOptions, Form, OnError, SourceOptions, Takes};
pub use schema::Columns;

use crate::error::Result;
use connectors::file::FileSource;
use connectors::file_sink::FileSink;

/// Where a source stands: in which of its files, and after how many rows of it, bad ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The file, counted from 0 in the sorted order of their names.
    pub file: u64,
    /// The rows of that file that were read.
    pub row: u64,
}

/// Where a sink stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SinkPosition {
    /// How many rows were written.
    pub rows: u64,
    /// How many bytes of the file they make, with what stands before them; 0 where rows alone tell.
    pub bytes: u64,
}

/// What a source has read since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceCounts {
    /// Rows that were handed out.
    pub rows: u64,
    /// Bad rows that were left out.
    pub skipped: u64,
    /// Bad rows that were kept as dead letters.
    pub dead_lettered: u64,
    /// Bytes that were read, before decompression. Parquet counts none: it reads parts of a file as it needs them.
    pub bytes_read: u64,
}

/// Something that rows are read from.
pub trait Source: Send {
    /// The columns of its batches. One that comes in a dictionary is here as what it holds.
    fn schema(&self) -> SchemaRef;

    /// The next rows, in order; none at the end. A batch may be empty: then there may be dead letters.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>>;

    /// Where the next batch begins.
    fn position(&self) -> Position;

    /// Goes to a position that [`Source::position`] gave. The rows before it are not reported again.
    fn seek(&mut self, position: &Position) -> Result<()>;

    /// How many files it reads one after the other.
    fn files(&self) -> u64 {
        1
    }

    /// What was read since it was opened.
    fn counts(&self) -> SourceCounts;

    /// How much of it has been read, from 0 to 1, if that is known.
    fn progress(&self) -> Option<f64>;

    /// About how many bytes there are to be read in all: what counts for how much of several sources.
    fn weight(&self) -> u64 {
        1
    }

    /// The bad rows since the last call, with [`dead_letter_schema`]; none unless `on_error` is `dead_letter`.
    fn take_dead_letters(&mut self) -> Result<Option<RecordBatch>>;
}

/// Something that rows are written to.
///
/// A file appears, or is replaced, when it is finished. Without that it is left as it was.
pub trait Sink: Send {
    /// Writes rows. Their columns must be the sink's.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Passes on what is buffered, as far as the format allows.
    fn flush(&mut self) -> Result<()>;

    /// Notes where it stands, so that [`Sink::rewind`] can go back there.
    fn mark(&mut self) -> Result<SinkPosition>;

    /// Takes back what was written since it was marked there last, also once it is finished: then it goes on with a
    /// new file, which replaces the finished one when it is finished in its turn.
    ///
    /// What has gone to the process's output, a device or a pipe stays there.
    fn rewind(&mut self, position: SinkPosition) -> Result<()>;

    /// Writes what a file ends with and gives it its name. Nothing may be written after it.
    fn finish(&mut self) -> Result<()>;
}

/// The columns of what `options` names, as far as its first rows tell.
///
/// Text is looked at for `infer_rows` rows of the first file. A column without a value is text.
/// The process's input is only looked into: what was looked at is still read.
pub fn infer_schema(options: &FileOptions, access: &Access) -> Result<SchemaRef> {
    connectors::file::infer(options, access)
}

/// Opens what `options` names, to read `columns` of `schema`.
///
/// Without a schema it is inferred. Values of columns that are not read are not checked.
pub fn open_source(
    options: &FileOptions,
    schema: Option<SchemaRef>,
    columns: Columns<'_>,
    access: &Access,
) -> Result<Box<dyn Source>> {
    let schema = match schema {
        Some(schema) => schema,
        None => infer_schema(options, access)?,
    };
    Ok(Box::new(FileSource::open(options, schema, columns, access)?))
}

/// The columns of what a stream reads, as far as that tells them.
pub fn stream_schema(options: &SourceOptions, access: &Access) -> Result<SchemaRef> {
    match options {
        SourceOptions::File(file) => infer_schema(file, access),
        SourceOptions::Nexmark(nexmark) => nexmark_schema(nexmark),
    }
}

/// Refuses columns that what a stream reads is known not to have. A file is looked into only when it is read.
pub fn check_stream(options: &SourceOptions, schema: &SchemaRef) -> Result<()> {
    match options {
        SourceOptions::File(_) => Ok(()),
        SourceOptions::Nexmark(nexmark) => open_nexmark(nexmark, schema.clone(), Columns::default()).map(drop),
    }
}

/// Opens what a stream reads, to read `columns` of `schema`.
pub fn open_stream(
    options: &SourceOptions,
    schema: SchemaRef,
    columns: Columns<'_>,
    access: &Access,
) -> Result<Box<dyn Source>> {
    match options {
        SourceOptions::File(file) => open_source(file, Some(schema), columns, access),
        SourceOptions::Nexmark(nexmark) => open_nexmark(nexmark, schema, columns),
    }
}

#[cfg(feature = "nexmark")]
fn nexmark_schema(options: &NexmarkOptions) -> Result<SchemaRef> {
    Ok(std::sync::Arc::new(connectors::nexmark::columns(options.table)))
}

#[cfg(feature = "nexmark")]
fn open_nexmark(options: &NexmarkOptions, schema: SchemaRef, columns: Columns<'_>) -> Result<Box<dyn Source>> {
    Ok(Box::new(connectors::nexmark::NexmarkSource::open(options, schema, columns)?))
}

#[cfg(not(feature = "nexmark"))]
fn nexmark_schema(_: &NexmarkOptions) -> Result<SchemaRef> {
    Err(without_nexmark())
}

#[cfg(not(feature = "nexmark"))]
fn open_nexmark(_: &NexmarkOptions, _: SchemaRef, _: Option<&[usize]>) -> Result<Box<dyn Source>> {
    Err(without_nexmark())
}

#[cfg(not(feature = "nexmark"))]
fn without_nexmark() -> crate::Error {
    crate::error::OutsideError::new(crate::error::Code::Unsupported, "the connector \"nexmark\" is not built in")
        .hint("Build riverrun with its feature \"nexmark\".")
        .into()
}

/// Begins to write rows of `schema` to what `options` names.
pub fn open_sink(options: &FileOptions, schema: SchemaRef, access: &Access) -> Result<Box<dyn Sink>> {
    Ok(Box::new(FileSink::open(options, schema, access)?))
}

#[cfg(test)]
mod tests;
