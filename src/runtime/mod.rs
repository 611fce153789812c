//! WHO CALLS WHOM? Dataflows of operators, and the driver that runs them on the caller's thread.

pub mod clock;
mod dataflow;
mod diamond;
mod inline;
mod upserts;
mod watermark;

pub use dataflow::{Dataflow, DataflowSnapshot};
pub(crate) use diamond::{bases, diamonds, settled, single_rows};
pub use inline::Inline;
pub(crate) use inline::panic_message;
pub(crate) use upserts::upserts;
pub use watermark::{Partition, PartitionState};
