//! WHAT IS KEPT? Keyed state over Arrow, and its snapshots.

mod chains;
mod changes;
mod columns;
mod expiry;
mod group_index;
mod memory;
mod ordered_rows;
mod prefetch;
mod records;
mod row_lists;
mod row_store;
mod snapshot;

pub use chains::Chains;
pub use changes::{Changes, GONE};
pub use columns::grow_to;
pub use expiry::Expiry;
pub use group_index::GroupIndex;
pub(crate) use group_index::{canonical, row_converter};
pub(crate) use memory::{owned, owned_rows, row_bytes};
pub use ordered_rows::{Encoded, Equals, KeyType, OrderedRows};
pub use records::Records;
pub use row_lists::RowLists;
pub use row_store::{RowId, RowStore};
pub use snapshot::{Snapshot, StateTable, table};
