//! Files, one or several by a pattern, and the process's input and output.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, InternalError, Result};
use crate::io::access::Access;
use crate::io::formats::{self, Reader, Writer};
use crate::io::input::{Input, Meter};
use crate::io::options::{Connector, FileOptions};
use crate::io::output::Output;
use crate::io::rejects::Rejects;
use crate::io::schema::Wanted;
use crate::io::{Position, Sink, Source, SourceCounts};

/// The columns of what `options` names: those of the first file.
pub(crate) fn infer(options: &FileOptions, access: &Access) -> Result<SchemaRef> {
    match paths(options, access)?.first() {
        Some(path) => formats::infer(path, options, access),
        None => Err(InternalError::new("a pattern without a match was not refused").into()),
    }
}

fn paths(options: &FileOptions, access: &Access) -> Result<Vec<PathBuf>> {
    match options.connector {
        Connector::File => access.glob(&options.path),
        Connector::Stdio => Ok(vec![PathBuf::from(&options.path)]),
    }
}

/// Reads files one after the other.
pub(crate) struct FileSource {
    options: FileOptions,
    access: Access,
    wanted: Wanted,
    paths: Vec<PathBuf>,
    position: Position,
    reader: Option<(Arc<str>, Box<dyn Reader>)>,
    rejects: Rejects,
    /// What ends the reading, once the good rows before it were handed out.
    failed: Option<Error>,
    rows: u64,
    meter: Meter,
    bytes_all: Option<u64>,
}

impl FileSource {
    pub fn open(
        options: &FileOptions,
        schema: SchemaRef,
        projection: Option<&[usize]>,
        access: &Access,
    ) -> Result<FileSource> {
        let paths = paths(options, access)?;
        let mut source = FileSource {
            options: options.clone(),
            access: access.clone(),
            wanted: Wanted::new(schema, projection)?,
            bytes_all: bytes_of(&paths, options, access),
            paths,
            position: Position::default(),
            reader: None,
            rejects: Rejects::new(options),
            failed: None,
            rows: 0,
            meter: Meter::default(),
        };
        source.open_next()?;
        Ok(source)
    }

    /// Opens the file at the position, if there is one.
    fn open_next(&mut self) -> Result<()> {
        let at = usize::try_from(self.position.file).unwrap_or(usize::MAX);
        self.reader = match self.paths.get(at) {
            Some(path) => Some(formats::open(path, &self.options, &self.wanted, &self.access, self.meter.clone())?),
            None => None,
        };
        Ok(())
    }
}

fn bytes_of(paths: &[PathBuf], options: &FileOptions, access: &Access) -> Option<u64> {
    if options.connector == Connector::Stdio {
        return None;
    }
    let size = |path: &PathBuf| Input::open(path, options, access, Meter::default()).ok()?.size();
    paths.iter().map(size).sum()
}

impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        self.wanted.schema.clone()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            let Some((origin, reader)) = &mut self.reader else { return Ok(None) };
            let Some(rows) = reader.next()? else {
                self.position = Position { file: self.position.file + 1, row: 0 };
                self.open_next()?;
                continue;
            };
            self.position.row += rows.read;
            let mut batch = rows.batch;
            if let Some(fatal) = self.rejects.take(origin, rows.bad) {
                batch = batch.slice(0, fatal.good_rows.min(batch.num_rows()));
                self.failed = Some(fatal.error);
                if batch.num_rows() == 0 {
                    continue;
                }
            }
            self.rows += batch.num_rows() as u64;
            return Ok(Some(batch));
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        if self.position == *position {
            return Ok(());
        }
        self.position = *position;
        self.failed = None;
        self.open_next()?;
        match &mut self.reader {
            Some((_, reader)) => reader.skip(position.row),
            None => Ok(()),
        }
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts {
            rows: self.rows,
            skipped: self.rejects.skipped,
            dead_lettered: self.rejects.dead_lettered,
            bytes_read: self.meter.bytes(),
        }
    }

    fn progress(&self) -> Option<f64> {
        match (&self.reader, self.bytes_all) {
            (None, _) => Some(1.0),
            (Some(_), Some(all)) if all > 0 => Some((self.meter.bytes() as f64 / all as f64).min(1.0)),
            (Some(_), Some(_) | None) => None,
        }
    }

    fn take_dead_letters(&mut self) -> Result<Option<RecordBatch>> {
        self.rejects.take_letters()
    }
}

/// Writes one file.
pub(crate) struct FileSink {
    writer: Option<Box<dyn Writer>>,
}

impl FileSink {
    pub fn open(options: &FileOptions, schema: SchemaRef, access: &Access) -> Result<FileSink> {
        let output = Output::open(options, access)?;
        Ok(FileSink { writer: Some(formats::create(output, options, &schema)?) })
    }

    fn writer(&mut self) -> Result<&mut Box<dyn Writer>> {
        self.writer.as_mut().ok_or_else(|| InternalError::new("a file was written after its end").into())
    }
}

impl Sink for FileSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer()?.write(batch)
    }

    fn flush(&mut self) -> Result<()> {
        self.writer()?.flush()
    }

    fn finish(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(writer) => writer.finish()?.finish(),
            None => Ok(()),
        }
    }
}
