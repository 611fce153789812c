//! A running query, and the ways to take its answers.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::vec;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::error::{Code, DataError, InternalError, Result, StatementError};
use crate::operators::StateSize;
use crate::plan::{self, ChangelogMode};
use crate::recovery::PipelineId;
use crate::types::Batch;

use super::Engine;
use super::core::{Core, visible_schema};
use super::pipeline::{Destination, Pipeline};

/// A running query. Dropping it stops it.
///
/// As an iterator it gives one batch after the other: over files it reads the next input batch when it is asked, so
/// that no more than the answers to one input batch is ever held. Over an open stream it gives what waits, and then
/// `None` until more has been pushed: ask [`Query::is_finished`] whether there can be more.
#[derive(Debug)]
pub struct Query {
    engine: Engine,
    id: PipelineId,
    schema: SchemaRef,
    mode: ChangelogMode,
    /// Whether it has told of the error that has stopped it, after which nothing follows.
    failed: bool,
}

/// Stops a query from elsewhere.
#[derive(Debug, Clone)]
pub struct CancelQuery {
    engine: Engine,
    id: PipelineId,
}

impl CancelQuery {
    /// The query fails with [`Code::Cancelled`] when it is asked next.
    pub fn cancel(&self) {
        let error = StatementError::new(Code::Cancelled, "cancelled");
        self.engine.lock(|core| core.graph.stop(self.id, error.into()));
    }
}

impl Query {
    pub(super) fn new(engine: Engine, id: PipelineId) -> Result<Query> {
        let (schema, mode) = engine.with_core(|core| match core.graph.pipelines.get(&id) {
            Some(pipeline) => Ok((visible_schema(&pipeline.plan), pipeline.plan.mode)),
            None => Err(InternalError::new("a query is gone before it was handed out").into()),
        })?;
        Ok(Query { engine, id, schema, mode, failed: false })
    }

    /// The columns of its batches; the first is `op` if the result is a changelog.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Whether the result is append-only or a changelog.
    pub fn mode(&self) -> ChangelogMode {
        self.mode
    }

    /// What has been emitted since it was asked last.
    ///
    /// Over files it reads on until there is something to give: an empty answer means that there is nothing left to
    /// read, and that what else comes depends on what is pushed.
    ///
    /// # Errors
    /// What has stopped the query, now and from now on.
    pub fn poll(&mut self) -> Result<Vec<RecordBatch>> {
        let batches = self.engine.with_core(|core| {
            core.tick()?;
            core.read_until_waiting(self.id)?;
            core.take(self.id, None)
        });
        self.note_failure(batches.is_err());
        batches?.into_iter().map(Batch::into_record_batch).collect()
    }

    /// Whether nothing more can come: no row that waits, and no error that has not been told.
    pub fn is_finished(&self) -> bool {
        let finished = |core: &mut Core| core.graph.pipelines.get(&self.id).is_none_or(Pipeline::is_finished);
        self.failed || self.engine.lock(finished)
    }

    /// Whether it comes to an end without anything being closed: it reads files, closed streams, or rows that are there.
    pub fn ends_by_itself(&self) -> bool {
        self.engine.lock(|core| core.ends_by_itself(self.id))
    }

    /// How much its operators keep, as `EXPLAIN ANALYZE` tells it; nothing once it has ended or failed.
    ///
    /// What waits to be polled does not count. Asking takes a step for each operator and for some of their columns, not
    /// for each row.
    pub fn state_size(&self) -> StateSize {
        let size = |core: &mut Core| core.graph.pipelines.get(&self.id).map(Pipeline::state_size);
        self.engine.lock(size).unwrap_or_default()
    }

    /// Its plan as `EXPLAIN ANALYZE` draws it: what each operator has done so far, what it keeps and has forgotten.
    /// Empty once it has failed.
    pub fn explain(&self) -> String {
        let explain = |core: &mut Core| {
            let running = core.graph.pipelines.get(&self.id).filter(|pipeline| pipeline.error.is_none());
            running.map(|pipeline| plan::explain(&pipeline.plan, Some(&pipeline.metrics())))
        };
        self.engine.lock(explain).unwrap_or_default()
    }

    /// The rows as values of `T`, one after the other; as the iterator of batches, but typed.
    ///
    /// The fields of `T` are found by their names among the columns.
    pub fn rows<T: DeserializeOwned>(&mut self) -> Rows<'_, T> {
        Rows { query: self, ready: vec![].into_iter(), row: PhantomData }
    }

    /// The batches as an asynchronous stream: it waits where the iterator would give `None` although more may come.
    pub fn into_stream(self) -> QueryStream {
        QueryStream { query: self }
    }

    /// Stops it from elsewhere.
    pub fn cancel_handle(&self) -> CancelQuery {
        CancelQuery { engine: self.engine.clone(), id: self.id }
    }

    /// After a call that has failed: an error of the query itself is the last thing it says.
    fn note_failure(&mut self, failed: bool) {
        let stopped =
            |core: &mut Core| core.graph.pipelines.get(&self.id).is_none_or(|pipeline| pipeline.error.is_some());
        self.failed |= failed && self.engine.lock(stopped);
    }

    /// The next batch that waits. If there is none and more may come, `waker` is woken when it has.
    fn next_batch(&mut self, waker: Option<&Waker>) -> Result<Option<RecordBatch>> {
        let batch = self.engine.with_core(|core| {
            core.tick()?;
            core.read_until_waiting(self.id)?;
            core.take_batch(self.id, waker)
        });
        self.note_failure(batch.is_err());
        batch?.map(|batch| batch.into_record_batch()).transpose()
    }
}

impl Core {
    /// Reads until something waits or there is nothing left to read.
    fn read_until_waiting(&mut self, id: PipelineId) -> Result<()> {
        while self.waiting(id) == 0 && self.graph.step(id, &self.settings)? {}
        Ok(())
    }

    fn take_batch(&mut self, id: PipelineId, waker: Option<&Waker>) -> Result<Option<Batch>> {
        let Some(pipeline) = self.graph.pipelines.get_mut(&id) else { return Ok(None) };
        if let Some(error) = &pipeline.error {
            return Err(error.clone());
        }
        let Destination::Pending(pending) = &mut pipeline.destination else { return Ok(None) };
        let batch = pending.batches.pop_front();
        match &batch {
            Some(batch) => pending.rows -= batch.num_rows(),
            None => pending.waker = waker.cloned(),
        }
        Ok(batch)
    }
}

impl Iterator for Query {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.next_batch(None).transpose()
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        self.engine.lock(|core| core.stop(self.id));
    }
}

/// The rows of a query as values of `T`.
#[derive(Debug)]
pub struct Rows<'a, T> {
    query: &'a mut Query,
    ready: vec::IntoIter<T>,
    row: PhantomData<T>,
}

impl<T: DeserializeOwned> Iterator for Rows<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(Ok(row));
            }
            let batch = match self.query.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            };
            match serde_arrow::from_record_batch::<Vec<T>>(&batch) {
                Ok(rows) => self.ready = rows.into_iter(),
                Err(error) => return Some(Err(DataError::new(Code::SchemaMismatch, error.to_string()).into())),
            }
        }
    }
}

/// The batches of a query as an asynchronous stream.
#[derive(Debug)]
pub struct QueryStream {
    query: Query,
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let query = &mut self.query;
        if query.failed {
            return Poll::Ready(None);
        }
        match query.next_batch(Some(context.waker())).transpose() {
            Some(batch) => Poll::Ready(Some(batch)),
            None if query.is_finished() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
