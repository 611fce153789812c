//! State machines that see one row at a time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Feed, Keep, LogicFactory, LogicRef, StatefulBatchLogic};
use crate::error::{Code, DataError, InternalError, Result};
use crate::types::{Row, Timestamp, Value, rows_to_batch};

/// What a logic answers: rows of its output, and whether its state lives on.
pub type Answer = (Vec<Vec<Value>>, Keep);

/// A state machine for one key that sees one row at a time (Bytewax's `StatefulLogic`).
pub trait StatefulLogic: Send {
    /// A row of this key has arrived at `now`.
    fn on_item(&mut self, row: Row<'_>, now: Timestamp) -> Result<Answer>;

    /// The time [`StatefulLogic::notify_at`] asked for has come.
    fn on_notify(&mut self, now: Timestamp) -> Result<Answer> {
        let _ = now;
        Ok((vec![], Keep::Retain))
    }

    /// The input has ended.
    fn on_eof(&mut self) -> Result<Answer> {
        Ok((vec![], Keep::Retain))
    }

    /// When to call [`StatefulLogic::on_notify`]; asked again after every call. `None` withdraws what was asked.
    fn notify_at(&self) -> Option<Timestamp> {
        None
    }

    /// The state, as the builder will get it to resume from.
    fn snapshot(&self) -> Result<Vec<u8>>;

    /// How many bytes it keeps besides itself, for limits of state; asked after every call.
    fn state_bytes(&self) -> usize {
        0
    }
}

/// A logic that sees the rows of a key one by one and gives the columns `output`.
///
/// `build` makes an instance for a key: it gets the key as a row, and what an earlier instance of the key has left.
pub fn per_row<L: StatefulLogic + 'static>(
    output: SchemaRef,
    build: impl Fn(Row<'_>, Option<&[u8]>) -> Result<L> + Send + Sync + 'static,
) -> LogicRef {
    Arc::new(Factory { output, build: Box::new(move |key, snapshot| Ok(Box::new(build(key, snapshot)?))) })
}

/// A logic that keeps a state of type `S` for each key and gives one row for each row.
///
/// `step` gets the state, `None` for a key that has none, and the row; it gives the new state and the values of a row
/// of `output`. A new state of `None` discards the key's state.
///
/// ```
/// use std::sync::Arc;
/// use arrow::datatypes::{DataType, Field, Schema};
/// use riverrun::{Engine, logic::stateful_map};
///
/// let output = Arc::new(Schema::new(vec![
///     Field::new("name", DataType::Utf8, true),
///     Field::new("longest", DataType::Int64, true),
/// ]));
/// let engine = Engine::new();
/// engine.register_logic("longest", stateful_map(output, |longest: Option<i64>, row| {
///     let longest = longest.unwrap_or(0).max(row.get("length")?);
///     Ok((Some(longest), vec![row.get::<String>("name")?.into(), longest.into()]))
/// }));
/// engine.execute("CREATE STREAM calls (name VARCHAR, length BIGINT)")?;
/// let mut query = engine.query("SELECT * FROM longest(TABLE calls PARTITION BY name)")?;
/// engine.execute("INSERT INTO calls VALUES ('ada', 3), ('ada', 2)")?;
/// assert_eq!(query.poll()?.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
/// # Ok::<(), riverrun::Error>(())
/// ```
pub fn stateful_map<S>(
    output: SchemaRef,
    step: impl Fn(Option<S>, Row<'_>) -> Result<(Option<S>, Vec<Value>)> + Send + Sync + 'static,
) -> LogicRef
where
    S: Serialize + DeserializeOwned + Send + 'static,
{
    stateful_flat_map(output, move |state, row| {
        let (state, values) = step(state, row)?;
        Ok((state, vec![values]))
    })
}

/// A logic that keeps a state of type `S` for each key and gives any number of rows for each row.
///
/// As [`stateful_map`], with a list of rows in the place of one.
pub fn stateful_flat_map<S>(
    output: SchemaRef,
    step: impl Fn(Option<S>, Row<'_>) -> Result<(Option<S>, Vec<Vec<Value>>)> + Send + Sync + 'static,
) -> LogicRef
where
    S: Serialize + DeserializeOwned + Send + 'static,
{
    let step: Arc<Step<S>> = Arc::new(step);
    per_row(output, move |_, snapshot| {
        let state = snapshot.map(rmp_serde::from_slice).transpose().map_err(not_saved)?;
        Ok(Stepper { state, step: step.clone() })
    })
}

type Step<S> = dyn Fn(Option<S>, Row<'_>) -> Result<(Option<S>, Vec<Vec<Value>>)> + Send + Sync;

struct Stepper<S> {
    state: Option<S>,
    step: Arc<Step<S>>,
}

impl<S: Serialize + Send> StatefulLogic for Stepper<S> {
    fn on_item(&mut self, row: Row<'_>, _: Timestamp) -> Result<Answer> {
        let (state, rows) = (self.step)(self.state.take(), row)?;
        self.state = state;
        Ok((rows, if self.state.is_some() { Keep::Retain } else { Keep::Discard }))
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        match &self.state {
            Some(state) => rmp_serde::to_vec_named(state).map_err(not_saved),
            None => Err(InternalError::new("a logic without state was asked for it").into()),
        }
    }
}

fn not_saved(error: impl std::fmt::Display) -> crate::Error {
    DataError::new(Code::Value, format!("the state of a logic cannot be saved or read: {error}")).into()
}

type Build = dyn Fn(Row<'_>, Option<&[u8]>) -> Result<Box<dyn StatefulLogic>> + Send + Sync;

struct Factory {
    output: SchemaRef,
    build: Box<Build>,
}

impl LogicFactory for Factory {
    fn output_schema(&self, _: &SchemaRef) -> Result<SchemaRef> {
        Ok(self.output.clone())
    }

    fn build(&self, key: &RecordBatch, snapshot: Option<&[u8]>) -> Result<Box<dyn StatefulBatchLogic>> {
        let logic = (self.build)(only_row(key)?, snapshot)?;
        Ok(Box::new(RowByRow { output: self.output.clone(), logic }))
    }

    fn feed(&self) -> Feed {
        Feed::Rows
    }
}

fn only_row(rows: &RecordBatch) -> Result<Row<'_>> {
    Row::new(rows, 0).ok_or_else(|| InternalError::new("a logic was called without a row").into())
}

/// Hosts a [`StatefulLogic`], which is called with batches of one row.
struct RowByRow {
    output: SchemaRef,
    logic: Box<dyn StatefulLogic>,
}

impl RowByRow {
    fn batches(&self, (rows, keep): Answer) -> Result<(Vec<RecordBatch>, Keep)> {
        Ok(match rows.is_empty() {
            true => (vec![], keep),
            false => (vec![rows_to_batch(&self.output, &rows)?], keep),
        })
    }
}

impl StatefulBatchLogic for RowByRow {
    fn on_batch(&mut self, rows: &RecordBatch, now: Timestamp) -> Result<(Vec<RecordBatch>, Keep)> {
        let answer = self.logic.on_item(only_row(rows)?, now)?;
        self.batches(answer)
    }

    fn on_notify(&mut self, now: Timestamp) -> Result<(Vec<RecordBatch>, Keep)> {
        let answer = self.logic.on_notify(now)?;
        self.batches(answer)
    }

    fn on_eof(&mut self) -> Result<(Vec<RecordBatch>, Keep)> {
        let answer = self.logic.on_eof()?;
        self.batches(answer)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.logic.notify_at()
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        self.logic.snapshot()
    }

    fn state_bytes(&self) -> usize {
        size_of_val(self.logic.as_ref()) + self.logic.state_bytes()
    }
}
