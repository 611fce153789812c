//! The sinks that are open, and what has been written to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::error::{Code, Error, InternalError, Result, StatementError};
use crate::io;
use crate::types::Batch;

/// The sinks by name.
#[derive(Default)]
pub(super) struct Sinks {
    open: BTreeMap<Arc<str>, OpenSink>,
}

/// A sink and what has been written to it.
pub(super) struct OpenSink {
    /// Opened with the first query that writes to it: only then are its columns known.
    writer: Option<(Box<dyn io::Sink>, SchemaRef)>,
    /// How many queries write to it now.
    writers: usize,
    pub(super) rows: u64,
    dirty: bool,
    pub(super) state: SinkState,
}

/// Whether a sink can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SinkState {
    Open,
    Finished,
    Failed(Error),
}

impl Sinks {
    /// Makes a sink that nothing has been written to.
    pub(super) fn create(&mut self, name: Arc<str>) {
        let sink = OpenSink { writer: None, writers: 0, rows: 0, dirty: false, state: SinkState::Open };
        self.open.insert(name, sink);
    }

    /// How many rows have been written to it.
    pub(super) fn rows(&self, name: &str) -> u64 {
        self.open.get(name).map_or(0, |sink| sink.rows)
    }

    /// Forgets a sink and what has been written to it.
    pub(super) fn abandon(&mut self, name: &str) {
        self.open.remove(name);
    }

    pub(super) fn get(&self, name: &str) -> Option<&OpenSink> {
        self.open.get(name)
    }

    /// A query of columns `schema` is about to write to sink `name`, which `open` opens if it is the first.
    pub(super) fn writer_starts(
        &mut self,
        name: &str,
        schema: &SchemaRef,
        open: impl FnOnce() -> Result<Box<dyn io::Sink>>,
    ) -> Result<()> {
        let sink = self.find(name)?;
        match &sink.state {
            SinkState::Open => {}
            SinkState::Failed(error) => return Err(error.clone()),
            SinkState::Finished => {
                return Err(StatementError::new(Code::Closed, format!("sink \"{name}\" is finished"))
                    .hint("Create it anew to write it again.")
                    .into());
            }
        }
        if sink.writer.is_none() {
            sink.writer = Some((open()?, schema.clone()));
        }
        sink.writers += 1;
        Ok(())
    }

    /// Writes a batch; a changelog with its kinds in a first column `op`.
    pub(super) fn write(&mut self, name: &str, batch: &Batch) -> Result<()> {
        let sink = self.find(name)?;
        let Some((writer, schema)) = &mut sink.writer else {
            return Err(InternalError::new(format!("sink \"{name}\" is written to before it is open")).into());
        };
        let rows = batch.to_record_batch()?;
        // The names and nullability of the first writer are the file's.
        let rows =
            if rows.schema_ref() == schema { rows } else { rows.clone().with_schema(schema.clone()).unwrap_or(rows) };
        writer.write(&rows)?;
        sink.rows += rows.num_rows() as u64;
        sink.dirty = true;
        Ok(())
    }

    /// A query that wrote to the sink has come to its end; with the last one the sink is finished.
    pub(super) fn writer_ended(&mut self, name: &str) -> Result<()> {
        let sink = self.find(name)?;
        sink.writers = sink.writers.saturating_sub(1);
        if sink.writers == 0 { sink.finish() } else { sink.flush() }
    }

    /// A query that wrote to the sink has failed: what has been written is not a whole result.
    pub(super) fn writer_failed(&mut self, name: &str, error: &Error) {
        if let Some(sink) = self.open.get_mut(name) {
            sink.writer = None;
            sink.state = SinkState::Failed(error.clone());
        }
    }

    /// Makes what has been written visible outside.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.open.values_mut().try_for_each(OpenSink::flush)
    }

    /// Finishes a sink and forgets it.
    pub(super) fn drop(&mut self, name: &str) -> Result<()> {
        self.open.remove(name).map_or(Ok(()), |mut sink| sink.finish())
    }

    /// Finishes all sinks; the first error is returned, and the others are finished all the same.
    pub(super) fn finish(&mut self) -> Result<()> {
        let mut first = Ok(());
        for sink in self.open.values_mut() {
            let finished = sink.finish();
            if first.is_ok() {
                first = finished;
            }
        }
        first
    }

    fn find(&mut self, name: &str) -> Result<&mut OpenSink> {
        self.open.get_mut(name).ok_or_else(|| InternalError::new(format!("sink \"{name}\" is gone")).into())
    }
}

impl OpenSink {
    fn flush(&mut self) -> Result<()> {
        match &mut self.writer {
            Some((writer, _)) if std::mem::take(&mut self.dirty) => writer.flush(),
            Some(_) | None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        let Some((mut writer, _)) = self.writer.take() else { return Ok(()) };
        let finished = writer.finish();
        self.state = match &finished {
            Ok(()) => SinkState::Finished,
            Err(error) => SinkState::Failed(error.clone()),
        };
        finished
    }
}
