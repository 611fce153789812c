//! An embedded streaming SQL engine: what SQLite and DuckDB are to tables, for streams.
//!
//! A program hands [`Engine`] query strings and Arrow batches; it keeps the answers up to date as events arrive.
//! There is no server, no background thread, no async runtime and no clock of its own accord: every call does all that
//! follows from it and returns, so the same input gives the same answer, byte for byte.
//!
//! ```
//! use riverrun::Engine;
//!
//! let engine = Engine::new();
//! engine.execute("CREATE STREAM orders (customer VARCHAR, amount DOUBLE)")?;
//! let mut totals =
//!     engine.query("SELECT customer, sum(amount) AS total FROM orders GROUP BY customer EMIT RUNNING")?;
//! engine.appender("orders")?.append_row(("ada", 9.5))?;
//! assert_eq!(totals.poll()?[0].num_rows(), 1);
//! # Ok::<(), riverrun::Error>(())
//! ```
//!
//! # The life of a statement
//!
//! 1. [`sql`] turns text into a statement. No name is looked up.
//! 2. [`engine`] runs it: it resolves files to columns and asks [`plan`] for a plan.
//! 3. [`plan`] has DataFusion settle names and types, and makes a tree of nodes of the result.
//! 4. [`runtime`] builds [`operators`] from the nodes and connects them.
//!
//! # The life of a row
//!
//! 1. An [`Appender`], an `INSERT` or a file brings a batch; its types are checked once.
//! 2. Every reader of the relation gets it, in the order in which they were created.
//! 3. It is pushed through the operators until nothing is left to do.
//! 4. What comes out waits in a [`Query`], goes on to the readers of a derived stream, or is written to a sink.
//!
//! # The life of a restart
//!
//! 1. `CHECKPOINT` asks every operator for the state that has changed, and keeps it with the clock and all positions.
//! 2. `RESTART` drops every operator and builds each anew from its snapshots, in order.

pub mod engine;

pub mod console;

pub mod sql;

pub mod catalog;

pub mod plan;

pub mod expr;

pub mod types;

pub mod operators;

pub mod state;

pub mod runtime;

pub mod recovery;

pub mod io;

pub mod error;

pub use engine::{Appender, CancelHandle, Engine, EngineBuilder, Outcome, Query, QueryOptions, View};
pub use error::{Code, Error, Result};
pub use io::Access;
pub use operators::{StateSize, logic};
pub use plan::Parameters;
pub use types::{Batch, Epoch, Interval, IntoRow, Row, RowKind, Timestamp, Value};

/// The version of Arrow that batches are made of.
pub use arrow;
/// The version of the types that functions are registered with.
pub use datafusion_expr;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct Embedding;
