//! WHAT FLOWS? Batches of rows, points in time, epochs and, at the edge, single values.

mod arrays;
mod batch;
mod rows;
mod time;
mod value;

pub(crate) use arrays::{owned, record_batch, take_rows};
pub(crate) use batch::changelog_schema;
pub use batch::{Batch, OP_COLUMN, RowKind, RowKinds};
pub use rows::rows_to_batch;
pub use time::{Epoch, Interval, Timestamp};
pub use value::{ColumnIndex, FromValue, IntoRow, Row, Value};
