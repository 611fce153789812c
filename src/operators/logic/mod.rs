//! User-written state machines, one instance a key (Bytewax's `stateful` family).
//!
//! | What is written | sees | Bytewax |
//! | --- | --- | --- |
//! | [`stateful_map`] | a row, and gives one row | `stateful_map` |
//! | [`stateful_flat_map`] | a row, and gives any number | `stateful_flat_map` |
//! | [`StatefulLogic`] | a row; notifications; the end | `StatefulLogic` |
//! | [`StatefulBatchLogic`] | the key's rows of a batch; notifications; the end | `StatefulBatchLogic` |
//!
//! After `Discard` the state is gone and the next row of the key builds anew, also within a batch.
//! A notification that was asked for is due once; not asking again withdraws it.

mod host;
mod rowwise;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::types::Timestamp;

pub use host::build;
pub use rowwise::{Answer, StatefulLogic, per_row, stateful_flat_map, stateful_map};

/// Whether a key's state lives on after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The instance stays.
    Retain,
    /// The instance is dropped; the next row of the key builds anew.
    Discard,
}

/// A state machine for one key that sees its rows batch by batch.
///
/// What it answers may depend on how rows were cut into batches; a [`StatefulLogic`] sees them one by one.
pub trait StatefulBatchLogic: Send {
    /// Rows of this key have arrived at `now`, in order.
    fn on_batch(&mut self, rows: &RecordBatch, now: Timestamp) -> Result<(Vec<RecordBatch>, Keep)>;

    /// The time [`StatefulBatchLogic::notify_at`] asked for has come.
    fn on_notify(&mut self, now: Timestamp) -> Result<(Vec<RecordBatch>, Keep)> {
        let _ = now;
        Ok((vec![], Keep::Retain))
    }

    /// The input has ended.
    fn on_eof(&mut self) -> Result<(Vec<RecordBatch>, Keep)> {
        Ok((vec![], Keep::Retain))
    }

    /// When to call [`StatefulBatchLogic::on_notify`]; asked again after every call. `None` withdraws what was asked.
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

/// How an instance wants to see the rows of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// One at a time, in order of arrival among all keys: a batch of one row a call.
    Rows,
    /// Those of a batch at once, key after key in the order in which the keys come.
    Batches,
}

/// What builds the instances of a registered logic.
pub trait LogicFactory: Send + Sync {
    /// The columns it gives for an input of those columns.
    fn output_schema(&self, input: &SchemaRef) -> Result<SchemaRef>;

    /// A new instance for a key; `key` has one row, `snapshot` what an earlier instance of the key has left.
    fn build(&self, key: &RecordBatch, snapshot: Option<&[u8]>) -> Result<Box<dyn StatefulBatchLogic>>;

    /// How its instances want to see rows.
    fn feed(&self) -> Feed {
        Feed::Batches
    }
}

/// A registered logic.
pub type LogicRef = Arc<dyn LogicFactory>;

/// A logic that sees the rows of a key batch by batch and gives the columns `output`.
///
/// `build` makes an instance for a key: it gets the key's columns, one row, and what an earlier instance has left.
pub fn per_batch<L: StatefulBatchLogic + 'static>(
    output: SchemaRef,
    build: impl Fn(&RecordBatch, Option<&[u8]>) -> Result<L> + Send + Sync + 'static,
) -> LogicRef {
    struct Factory<F> {
        output: SchemaRef,
        build: F,
    }

    impl<L, F> LogicFactory for Factory<F>
    where
        L: StatefulBatchLogic + 'static,
        F: Fn(&RecordBatch, Option<&[u8]>) -> Result<L> + Send + Sync,
    {
        fn output_schema(&self, _: &SchemaRef) -> Result<SchemaRef> {
            Ok(self.output.clone())
        }

        fn build(&self, key: &RecordBatch, snapshot: Option<&[u8]>) -> Result<Box<dyn StatefulBatchLogic>> {
            Ok(Box::new((self.build)(key, snapshot)?))
        }
    }

    Arc::new(Factory { output, build })
}

#[cfg(test)]
mod tests;
