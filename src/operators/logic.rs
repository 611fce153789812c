//! User-written state machines, one instance a key.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::types::Timestamp;

/// Whether a key's state lives on after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The instance stays.
    Retain,
    /// The instance is dropped; the next row of the key builds anew.
    Discard,
}

/// A state machine for one key that sees its rows batch by batch (Bytewax's `StatefulBatchLogic`).
pub trait StatefulBatchLogic: Send {
    /// Rows of this key have arrived, in order.
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

    /// When to call [`StatefulBatchLogic::on_notify`]; asked again after every call.
    fn notify_at(&self) -> Option<Timestamp> {
        None
    }

    /// The state, as the builder will get it to resume from.
    fn snapshot(&self) -> Result<Vec<u8>>;
}

/// What builds the instances of a registered logic.
pub trait LogicFactory: Send + Sync {
    /// The columns it gives for an input of those columns.
    fn output_schema(&self, input: &SchemaRef) -> Result<SchemaRef>;

    /// A new instance for a key; `key` has one row, `snapshot` what an earlier instance of the key has left.
    fn build(&self, key: &RecordBatch, snapshot: Option<&[u8]>) -> Result<Box<dyn StatefulBatchLogic>>;
}

/// A registered logic.
pub type LogicRef = Arc<dyn LogicFactory>;
