//! riverrun: an embedded streaming SQL engine.

pub mod catalog;
pub mod error;
pub mod expr;
pub mod io;
pub mod operators;
pub mod plan;
pub mod sql;
pub mod state;
pub mod types;

pub use error::{Code, Error, Result};
pub use types::{Batch, Epoch, Interval, RowKind, Timestamp};
