//! The sinks that are open, and what has been written to them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::error::{Code, Error, InternalError, Result, StatementError};
use crate::io::{self, Form};
use crate::recovery::SinkSnapshot;
use crate::runtime::upserts;
use crate::types::Batch;

/// The sinks by name.
#[derive(Default)]
pub(super) struct Sinks {
    open: BTreeMap<Arc<str>, OpenSink>,
}

/// A sink and what has been written to it.
pub(super) struct OpenSink {
    /// Opened with the first query that writes to it: only then are its columns known.
    /// One that is finished or has failed is only kept while a restart may go back to a time before.
    writer: Option<Box<dyn io::Sink>>,
    /// The columns of the first query that writes to it.
    schema: Option<SchemaRef>,
    writing: Writing,
    /// How many queries write to it now.
    writers: usize,
    pub(super) rows: u64,
    dirty: bool,
    /// Whether the last checkpoint found it open.
    marked: bool,
    pub(super) state: SinkState,
}

/// How rows are written to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writing {
    /// Whether they say what they do.
    pub(super) form: Form,
    /// The columns of the key in whose place each is put, if that is how.
    pub(super) key: Option<Vec<usize>>,
}

/// Whether a sink can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SinkState {
    Open,
    Finished,
    Failed(Error),
}

impl fmt::Display for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Writing { key: Some(_), .. } => "upserts by that key",
            Writing { form: Form::Op(_) | Form::Debezium, key: None } => "changes",
            Writing { form: Form::Rows, key: None } => "rows that are only added",
        })
    }
}

impl Sinks {
    /// Makes a sink that nothing has been written to.
    pub(super) fn create(&mut self, name: Arc<str>) {
        self.open.insert(name, OpenSink::new());
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
        writing: Writing,
        open: impl FnOnce() -> Result<Box<dyn io::Sink>>,
    ) -> Result<()> {
        let sink = self.find(name)?;
        sink.check_open(name)?;
        if sink.writer.is_some() && sink.writing != writing {
            let message = format!("sink \"{name}\" is being written with {}, not with {}", sink.writing, writing);
            return Err(StatementError::new(Code::EmitMode, message).hint("Create another sink for it.").into());
        }
        if sink.writer.is_none() {
            sink.writing = writing;
            sink.writer = Some(open()?);
            sink.schema = Some(schema.clone());
        }
        sink.writers += 1;
        Ok(())
    }

    /// Writes what one activation has brought, in the form of the sink.
    pub(super) fn write(&mut self, name: &str, batches: Vec<Batch>) -> Result<()> {
        let batches = match &self.find(name)?.writing.key {
            Some(key) => upserts(batches, key)?,
            None => batches,
        };
        batches.iter().try_for_each(|batch| self.write_batch(name, batch))
    }

    fn write_batch(&mut self, name: &str, batch: &Batch) -> Result<()> {
        let sink = self.find(name)?;
        sink.check_open(name)?;
        let (Some(writer), Some(schema)) = (&mut sink.writer, &sink.schema) else {
            return Err(InternalError::new(format!("sink \"{name}\" is written to before it is open")).into());
        };
        let rows = match &sink.writing {
            Writing { form: form @ Form::Op(_), key: Some(_) } => io::written(form, &io::without_replaced(batch)?)?,
            Writing { form, .. } => io::written(form, batch)?,
        };
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
            sink.state = SinkState::Failed(error.clone());
            sink.forget_unmarked();
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

    /// What a checkpoint keeps of each sink.
    pub(super) fn mark(&mut self) -> Result<BTreeMap<Arc<str>, SinkSnapshot>> {
        self.open.iter_mut().map(|(name, sink)| Ok((name.clone(), sink.mark()?))).collect()
    }

    /// The checkpoint that has been marked is complete, and nothing goes back to a time before it any more.
    pub(super) fn marked(&mut self) {
        for sink in self.open.values_mut() {
            sink.marked = sink.state == SinkState::Open && sink.writer.is_some();
            if sink.state != SinkState::Open {
                sink.writer = None;
            }
        }
    }

    /// Takes back what was written to sink `name` since the checkpoint that kept `snapshot`.
    ///
    /// `writers` queries will write to it from there. A sink of which the checkpoint knows nothing begins anew with
    /// them; without them it was written by a statement that is over, and stays as it is.
    pub(super) fn rewind(
        &mut self,
        name: &str,
        snapshot: Option<&SinkSnapshot>,
        writers: usize,
        open: impl FnOnce(SchemaRef) -> Result<Box<dyn io::Sink>>,
    ) -> Result<()> {
        let sink = self.find(name)?;
        let position = match snapshot {
            Some(SinkSnapshot::Over) => return Ok(()),
            None if writers == 0 => return Ok(()),
            Some(SinkSnapshot::Open(position)) => *position,
            None => None,
        };
        let rewound = sink.rewind(position, writers, open);
        if let Err(error) = &rewound {
            sink.state = SinkState::Failed(error.clone());
            sink.writer = None;
        }
        rewound
    }

    fn find(&mut self, name: &str) -> Result<&mut OpenSink> {
        self.open.get_mut(name).ok_or_else(|| InternalError::new(format!("sink \"{name}\" is gone")).into())
    }
}

impl OpenSink {
    fn new() -> OpenSink {
        let state = SinkState::Open;
        OpenSink {
            writer: None,
            schema: None,
            writing: Writing { form: Form::Rows, key: None },
            writers: 0,
            rows: 0,
            dirty: false,
            marked: false,
            state,
        }
    }

    fn check_open(&self, name: &str) -> Result<()> {
        match &self.state {
            SinkState::Open => Ok(()),
            SinkState::Failed(error) => Err(error.clone()),
            SinkState::Finished => Err(StatementError::new(Code::Closed, format!("sink \"{name}\" is finished"))
                .hint("Create it anew to write it again.")
                .into()),
        }
    }

    /// The writer, if it can be written to.
    fn open_writer(&mut self) -> Option<&mut Box<dyn io::Sink>> {
        self.writer.as_mut().filter(|_| self.state == SinkState::Open)
    }

    fn flush(&mut self) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        self.open_writer().filter(|_| dirty).map_or(Ok(()), |writer| writer.flush())
    }

    fn finish(&mut self) -> Result<()> {
        let Some(writer) = self.open_writer() else { return Ok(()) };
        let finished = writer.finish();
        self.state = match &finished {
            Ok(()) => SinkState::Finished,
            Err(error) => SinkState::Failed(error.clone()),
        };
        self.forget_unmarked();
        finished
    }

    /// Lets go of the file, unless a restart may need it.
    fn forget_unmarked(&mut self) {
        if !self.marked {
            self.writer = None;
        }
    }

    fn mark(&mut self) -> Result<SinkSnapshot> {
        if self.state != SinkState::Open {
            return Ok(SinkSnapshot::Over);
        }
        Ok(SinkSnapshot::Open(self.writer.as_mut().map(|writer| writer.mark()).transpose()?))
    }

    /// Goes back to `position`, or for none to where nothing had been written.
    fn rewind(
        &mut self,
        position: Option<io::SinkPosition>,
        writers: usize,
        open: impl FnOnce(SchemaRef) -> Result<Box<dyn io::Sink>>,
    ) -> Result<()> {
        match (position, &mut self.writer) {
            (Some(position), Some(writer)) => writer.rewind(position)?,
            (Some(_), None) => return Err(InternalError::new("a sink is gone that is to be rewound").into()),
            (None, _) => {
                self.writer = None;
                self.schema = self.schema.take().filter(|_| writers > 0);
                self.writer = self.schema.clone().map(open).transpose()?;
            }
        }
        self.rows = position.map_or(0, |position| position.rows);
        self.writers = writers;
        self.dirty = false;
        self.state = SinkState::Open;
        Ok(())
    }
}
