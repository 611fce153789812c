//! Parquet: columns in a file that is read out of order, so it must be a file.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::arrow::arrow_writer::ArrowWriter;
use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::ParquetMetaData;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};

use super::{Decoded, FileReader, FileWriter, broken, guarded};
use crate::error::{Code, DataError, Error, InternalError, OutsideError, Result};
use crate::io::input::Input;
use crate::io::options::FileOptions;
use crate::io::output::{Ended, Output};
use crate::io::schema::{Mapping, Wanted, plain_schema, plain_type};

type Builder = ParquetRecordBatchReaderBuilder<File>;

/// Reads the rows of one file.
pub(super) struct ParquetReader {
    /// The file, until the first batch is asked for.
    unread: Option<Builder>,
    reader: Option<ParquetRecordBatchReader>,
    mapping: Mapping,
    /// For each wanted column its place among those that are read.
    columns: Vec<usize>,
    origin: Arc<str>,
    rows: u64,
    rows_read: u64,
}

/// What the file says of itself, with the file.
struct Opened {
    file: File,
    metadata: ArrowReaderMetadata,
    origin: Arc<str>,
}

fn opened(input: Input, options: &FileOptions) -> Result<Opened> {
    let origin = input.origin.clone();
    let Some(file) = input.into_file() else {
        let error = options.refuse("Parquet can't be read from the standard input");
        return Err(error.hint("Write it to a file first, or use an Arrow stream.").into());
    };
    let load = || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| failed(&origin, &error));
    let metadata = guarded(&origin, load)?;
    Ok(Opened { file, metadata, origin })
}

impl Opened {
    /// Has the texts that may come in a dictionary, and have one throughout the file, come as numbers into it.
    fn keep_dictionaries(&mut self, wanted: &Wanted, mapping: &mut Mapping) -> Result<()> {
        let (file, metadata) = (self.metadata.schema(), self.metadata.metadata());
        let may = |nth: &usize| wanted.dictionary.contains(&wanted.columns[*nth]);
        let has = |nth: &usize| {
            let (place, wanted) = (mapping.places[*nth], wanted.schema.field(*nth));
            plain_type(file.field(place).data_type()) == *wanted.data_type() && is_in_dictionaries(metadata, place)
        };
        let kept: Vec<usize> = (0..wanted.columns.len()).filter(may).filter(has).collect();
        if kept.is_empty() {
            return Ok(());
        }
        let places: Vec<usize> = kept.iter().map(|nth| mapping.places[*nth]).collect();
        let options = ArrowReaderOptions::new().with_schema(numbered(file, &places));
        let load = || ArrowReaderMetadata::try_new(metadata.clone(), options);
        self.metadata = guarded(&self.origin, || load().map_err(|error| failed(&self.origin, &error)))?;
        mapping.schema = numbered(&mapping.schema, &kept);
        Ok(())
    }
}

/// `schema` with the columns `numbered` as numbers into a dictionary.
fn numbered(schema: &Schema, numbered: &[usize]) -> SchemaRef {
    let field = |(nth, field): (usize, &FieldRef)| match numbered.contains(&nth) {
        true => {
            let values = Box::new(plain_type(field.data_type()));
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), values);
            Arc::new(field.as_ref().clone().with_data_type(dictionary))
        }
        false => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().enumerate().map(field).collect::<Fields>()))
}

/// Whether all values of the file's column `place` are in dictionaries, one a row group. A writer whose dictionary gets
/// too large goes on without it.
fn is_in_dictionaries(metadata: &ParquetMetaData, place: usize) -> bool {
    let schema = metadata.file_metadata().schema_descr();
    let mut leaves = (0..schema.num_columns()).filter(|leaf| schema.get_column_root_idx(*leaf) == place);
    let (Some(leaf), None) = (leaves.next(), leaves.next()) else { return false };
    metadata.row_groups().iter().all(|group| {
        let chunk = group.column(leaf);
        let encodings = chunk.page_encoding_stats_mask();
        chunk.dictionary_page_offset().is_some()
            && encodings.is_some_and(|pages| {
                pages.encodings().all(|of| matches!(of, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY))
            })
    })
}

fn failed(origin: &str, error: &ParquetError) -> Error {
    broken(origin, error).into()
}

impl ParquetReader {
    pub fn open(input: Input, options: &FileOptions, wanted: &Wanted) -> Result<ParquetReader> {
        let mut opened = opened(input, options)?;
        let mut mapping = Mapping::by_name(opened.metadata.schema(), wanted, &opened.origin)?;
        opened.keep_dictionaries(wanted, &mut mapping)?;
        let Opened { file, metadata, origin } = opened;
        let builder = Builder::new_with_metadata(file, metadata);
        let mut read = mapping.places.clone();
        read.sort_unstable();
        read.dedup();
        let mask = ProjectionMask::roots(builder.parquet_schema(), read.iter().copied());
        let columns = mapping.places.iter().filter_map(|place| read.binary_search(place).ok()).collect();
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let builder = builder.with_projection(mask).with_batch_size(options.batch_rows);
        Ok(ParquetReader { unread: Some(builder), reader: None, mapping, columns, origin, rows, rows_read: 0 })
    }

    /// The next batch as the file has it.
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let origin = self.origin.clone();
        if let Some(builder) = self.unread.take() {
            let reader = guarded(&origin, || builder.build().map_err(|error| failed(&origin, &error)))?;
            self.reader = Some(reader);
        }
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let read = guarded(&origin, || reader.next().transpose().map_err(|error| broken(&origin, error).into()))?;
        self.reader = Some(reader);
        Ok(read)
    }
}

impl FileReader for ParquetReader {
    fn next(&mut self) -> Result<Option<Decoded>> {
        let Some(batch) = self.read()? else { return Ok(None) };
        let columns: Vec<&ArrayRef> = self.columns.iter().map(|column| batch.column(*column)).collect();
        let rows = self.mapping.apply(&columns, batch.num_rows())?;
        let taken = batch.num_rows() as u64;
        self.rows_read += taken;
        Ok(Some(Decoded { rows, bad: Vec::new(), taken }))
    }

    fn skip(&mut self, rows: u64) -> Result<()> {
        let Some(builder) = self.unread.take() else {
            return Err(InternalError::new("a file was skipped in twice").into());
        };
        self.unread = Some(builder.with_offset(usize::try_from(rows).unwrap_or(usize::MAX)));
        self.rows_read = rows;
        Ok(())
    }

    fn progress(&self) -> Option<f64> {
        Some(if self.rows == 0 { 1.0 } else { self.rows_read as f64 / self.rows as f64 })
    }
}

/// The columns of a file.
pub(super) fn infer(input: Input, options: &FileOptions) -> Result<SchemaRef> {
    Ok(plain_schema(opened(input, options)?.metadata.schema()))
}

/// Writes rows as Parquet, its columns compressed with Zstandard.
pub(super) struct ParquetWriter {
    writer: ArrowWriter<Output>,
    shown: String,
}

impl ParquetWriter {
    pub fn new(output: Output, schema: &Schema) -> Result<ParquetWriter> {
        let shown = output.shown().to_string();
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer = ArrowWriter::try_new(output, Arc::new(schema.clone()), Some(properties));
        let writer = writer.map_err(|error| not_written(&shown, error))?;
        Ok(ParquetWriter { writer, shown })
    }
}

fn not_written(shown: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => OutsideError::io(shown, &error).into(),
            Err(error) => DataError::new(Code::Value, error.to_string()).origin(shown).into(),
        },
        error => DataError::new(Code::Value, error.to_string()).origin(shown).into(),
    }
}

impl FileWriter for ParquetWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|error| not_written(&self.shown, error))
    }

    /// Passes on the row groups that are full. A group is not ended early, for small ones make large files.
    fn flush(&mut self) -> Result<()> {
        let flushed = self.writer.inner_mut().flush();
        Ok(flushed.map_err(|error| OutsideError::io(&self.shown, &error))?)
    }

    fn mark(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn end(self: Box<Self>) -> Result<Ended> {
        let output = self.writer.into_inner().map_err(|error| not_written(&self.shown, error))?;
        output.end()
    }
}
