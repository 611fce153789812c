//! WHAT IS KEPT? Keyed state over Arrow, and its snapshots.

mod group_index;
mod snapshot;

pub use group_index::GroupIndex;
pub use snapshot::{Snapshot, StateTable};
