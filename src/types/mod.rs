//! WHAT FLOWS? Batches of rows, points in time and epochs.

mod batch;
mod time;
mod value;

pub(crate) use batch::changelog_schema;
pub use batch::{Batch, OP_COLUMN, RowKind, RowKinds};
pub use time::{Epoch, Interval, Timestamp};
pub use value::Value;
