//! Parquet and Arrow IPC: typed columns.
//!
//! Their readers may panic on a crafted file, so each is called behind a boundary that makes an error of a panic.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Reader, Rows, Writer};
use crate::error::{Code, DataError, Error, OutsideError, Result};
use crate::io::input::Input;
use crate::io::options::FileOptions;
use crate::io::output::Output;
use crate::io::schema::{Mapping, Wanted};

/// What a file begins with that is an IPC file and no stream.
const ARROW_MAGIC: &[u8] = b"ARROW1";

fn broken(origin: &str, said: impl std::fmt::Display) -> Error {
    DataError::new(Code::BadRow, format!("the file can't be read: {said}")).origin(origin).into()
}

/// Calls a reader that may panic on a crafted file.
fn guarded<T, E: std::fmt::Display>(origin: &str, call: impl FnOnce() -> Result<T, E>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(broken(origin, error)),
        Err(_) => Err(broken(origin, "it is broken")),
    }
}

fn file_of(input: Input) -> Result<File> {
    let origin = input.origin.clone();
    input.into_file().ok_or_else(|| {
        let error = OutsideError::new(Code::Io, format!("{origin}: this format can't be read from standard input"));
        error.hint("Write it to a file first, or send CSV, JSON Lines or an Arrow IPC stream.").into()
    })
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

struct Columnar {
    origin: Arc<str>,
    batches: Batches,
    mapping: Mapping,
    /// For each wanted column its place in the batches.
    places: Vec<usize>,
    left_to_skip: usize,
}

impl Reader for Columnar {
    fn next(&mut self) -> Result<Option<Rows>> {
        loop {
            let batches = &mut self.batches;
            let Some(batch) = guarded(&self.origin, || batches.next().transpose())? else { return Ok(None) };
            if self.left_to_skip >= batch.num_rows() {
                self.left_to_skip -= batch.num_rows();
                continue;
            }
            let batch = batch.slice(self.left_to_skip, batch.num_rows() - self.left_to_skip);
            self.left_to_skip = 0;
            let columns: Vec<&ArrayRef> = self.places.iter().map(|place| batch.column(*place)).collect();
            let read = batch.num_rows() as u64;
            let mapped = self.mapping.apply(&columns, batch.num_rows())?;
            return Ok(Some(Rows { batch: mapped, bad: vec![], read }));
        }
    }

    fn skip(&mut self, rows: u64) -> Result<()> {
        self.left_to_skip += usize::try_from(rows).unwrap_or(usize::MAX);
        Ok(())
    }
}

/// The places of the wanted columns among those that are read, which come in the order of the file.
fn among_read(places: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut read = places.to_vec();
    read.sort_unstable();
    read.dedup();
    let among = places.iter().filter_map(|place| read.binary_search(place).ok()).collect();
    (read, among)
}

fn parquet_builder(origin: &str, file: File) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    guarded(origin, || ParquetRecordBatchReaderBuilder::try_new(file))
}

pub(super) fn infer_parquet(input: Input) -> Result<SchemaRef> {
    let origin = input.origin.clone();
    Ok(parquet_builder(&origin, file_of(input)?)?.schema().clone())
}

pub(super) fn open_parquet(input: Input, options: &FileOptions, wanted: &Wanted) -> Result<Box<dyn Reader>> {
    let origin = input.origin.clone();
    let builder = parquet_builder(&origin, file_of(input)?)?;
    let mapping = Mapping::by_name(builder.schema(), wanted, &origin)?;
    let (read, places) = among_read(&mapping.places);
    let mask = ProjectionMask::roots(builder.parquet_schema(), read);
    let builder = builder.with_projection(mask).with_batch_size(options.batch_rows.max(1));
    let reader: ParquetRecordBatchReader = guarded(&origin, || builder.build())?;
    Ok(Box::new(Columnar { origin, batches: Box::new(reader), mapping, places, left_to_skip: 0 }))
}

/// An IPC file or stream, told apart by how it begins.
fn arrow_batches(input: Input) -> Result<(SchemaRef, Batches)> {
    let origin = input.origin.clone();
    let compressed = input.is_compressed();
    if compressed || !input.is_file() {
        let reader = input.into_reader()?;
        let stream = guarded(&origin, || StreamReader::try_new(BufReader::new(reader), None))?;
        return Ok((stream.schema(), Box::new(stream)));
    }
    let mut file = file_of(input)?;
    let mut magic = [0; ARROW_MAGIC.len()];
    let read = file.read(&mut magic).map_err(|error| OutsideError::io(&origin, &error))?;
    file.seek(SeekFrom::Start(0)).map_err(|error| OutsideError::io(&origin, &error))?;
    if magic[..read] == *ARROW_MAGIC {
        let reader = guarded(&origin, || FileReader::try_new(BufReader::new(file), None))?;
        return Ok((reader.schema(), Box::new(reader)));
    }
    let stream = guarded(&origin, || StreamReader::try_new(BufReader::new(file), None))?;
    Ok((stream.schema(), Box::new(stream)))
}

pub(super) fn infer_arrow(input: Input) -> Result<SchemaRef> {
    Ok(arrow_batches(input)?.0)
}

pub(super) fn open_arrow(input: Input, options: &FileOptions, wanted: &Wanted) -> Result<Box<dyn Reader>> {
    let origin = input.origin.clone();
    let (schema, batches) = arrow_batches(input)?;
    let mapping = Mapping::by_name(&schema as &Schema, wanted, &origin)?;
    let places = mapping.places.clone();
    let batches = Box::new(cut(batches, options.batch_rows.max(1)));
    Ok(Box::new(Columnar { origin, batches, mapping, places, left_to_skip: 0 }))
}

/// Batches of at most `most` rows.
fn cut(batches: Batches, most: usize) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send {
    batches.flat_map(move |batch| {
        let parts: Vec<Result<RecordBatch, ArrowError>> = match batch {
            Ok(batch) => {
                let starts = (0..batch.num_rows()).step_by(most);
                starts.map(|start| Ok(batch.slice(start, most.min(batch.num_rows() - start)))).collect()
            }
            Err(error) => vec![Err(error)],
        };
        parts
    })
}

struct ParquetWriter {
    writer: ArrowWriter<Output>,
    shown: String,
}

pub(super) fn create_parquet(output: Output, schema: &SchemaRef) -> Result<Box<dyn Writer>> {
    let shown = output.shown().to_string();
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let writer = ArrowWriter::try_new(output, schema.clone(), Some(properties));
    let writer = writer.map_err(|error| OutsideError::new(Code::Io, format!("{shown}: {error}")))?;
    Ok(Box::new(ParquetWriter { writer, shown }))
}

impl Writer for ParquetWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self.writer.write(batch);
        Ok(written.map_err(|error| OutsideError::new(Code::Io, format!("{}: {error}", self.shown)))?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output> {
        let written = self.writer.into_inner();
        Ok(written.map_err(|error| OutsideError::new(Code::Io, format!("{}: {error}", self.shown)))?)
    }
}

struct ArrowFileWriter {
    writer: FileWriter<Output>,
    shown: String,
}

pub(super) fn create_arrow(output: Output, schema: &SchemaRef) -> Result<Box<dyn Writer>> {
    let shown = output.shown().to_string();
    let writer = FileWriter::try_new_with_options(output, schema, IpcWriteOptions::default())?;
    Ok(Box::new(ArrowFileWriter { writer, shown }))
}

impl Writer for ArrowFileWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(batch)?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Output> {
        self.writer.finish()?;
        let mut output = self.writer.into_inner()?;
        output.flush().map_err(|error| OutsideError::io(&self.shown, &error))?;
        Ok(output)
    }
}
