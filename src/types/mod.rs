//! WHAT FLOWS? Batches of rows, points in time, epochs and, at the edge, single values.

mod batch;
mod dead_letter;
#[allow(dead_code)]
mod event_time;
mod names;
mod rows;
mod time;
mod value;

pub(crate) use batch::changelog_schema;
pub use batch::{Batch, OP_COLUMN, RowKind, RowKinds};
pub use dead_letter::dead_letter_schema;
#[allow(unused_imports)]
pub(crate) use event_time::{Tick, ticks, times};
pub use names::type_name;
pub use rows::rows_to_batch;
pub use time::{Epoch, Interval, Timestamp};
pub use value::{ColumnIndex, FromValue, IntoRow, Row, Value};
