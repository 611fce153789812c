//! Writing a file, or to the process's output.

use std::fs::File;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{InternalError, Result};
use crate::io::access::Access;
use crate::io::formats::{self, FileWriter};
use crate::io::options::{Connector, FileOptions};
use crate::io::output::Output;
use crate::io::schema::batch_of;
use crate::io::{Sink, SinkPosition};

/// Writes one file, or to the process's output.
pub(crate) struct FileSink {
    options: FileOptions,
    access: Access,
    schema: SchemaRef,
    /// None once it is finished.
    writer: Option<Box<dyn FileWriter>>,
    rows: u64,
    /// Where it was marked last.
    marked: Option<SinkPosition>,
    /// What was finished after it was marked: it may have to go back there. Whatever its name names meanwhile,
    /// this is the file that was written.
    finished: Option<File>,
}

impl FileSink {
    pub fn open(options: &FileOptions, schema: SchemaRef, access: &Access) -> Result<FileSink> {
        let writer = Some(begin(options, &schema, access)?);
        let (options, access) = (options.clone(), access.clone());
        Ok(FileSink { options, access, schema, writer, rows: 0, marked: None, finished: None })
    }

    fn writer(&mut self) -> Result<&mut Box<dyn FileWriter>> {
        self.writer.as_mut().ok_or_else(|| InternalError::new("a finished sink was written to").into())
    }

    /// What has been written so far, whether it was finished or not; none if it cannot be read back.
    fn written(&mut self) -> Result<Option<File>> {
        match self.writer.take() {
            Some(writer) => writer.end()?.read_back(),
            None => Ok(self.finished.take()),
        }
    }
}

fn begin(options: &FileOptions, schema: &SchemaRef, access: &Access) -> Result<Box<dyn FileWriter>> {
    formats::create(Output::open(options, access)?, options, schema)
}

impl Sink for FileSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let types =
            |schema: &SchemaRef| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        if types(&batch.schema()) != types(&self.schema) {
            return Err(InternalError::new("a batch does not have the columns of its sink").into());
        }
        // The names are the sink's: a query may have called its columns otherwise.
        let batch = batch_of(&self.schema, batch.columns().to_vec(), batch.num_rows())?;
        self.writer()?.write(&batch)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.writer()?.flush()
    }

    fn mark(&mut self) -> Result<SinkPosition> {
        let rows = self.rows;
        // Where nothing has been written since, a compressed file needs no new piece.
        if let Some(marked) = self.marked.filter(|marked| marked.rows == rows) {
            return Ok(marked);
        }
        let position = SinkPosition { rows, bytes: self.writer()?.mark()? };
        self.marked = Some(position);
        Ok(position)
    }

    fn rewind(&mut self, position: SinkPosition) -> Result<()> {
        // What has gone to the process's output cannot be taken back.
        if self.options.connector == Connector::Stdio && self.writer.is_some() {
            return Ok(());
        }
        let written = self.written()?;
        self.writer = Some(match written {
            Some(from) => {
                let output = Output::open(&self.options, &self.access)?;
                formats::resume(output, &self.options, &self.schema, from, position)?
            }
            None => begin(&self.options, &self.schema, &self.access)?,
        });
        self.rows = position.rows;
        self.marked = Some(position);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let ended = writer.end()?;
        self.finished = self.marked.map(|_| ended.read_back()).transpose()?.flatten();
        ended.commit()
    }
}
