//! A snapshot: the rows of an operator's state that have changed, as Arrow record batches.

use arrow::array::RecordBatch;

/// What of an operator's state has changed since its last snapshot.
///
/// Restoring is a merge: an operator is built from its snapshots in order, a later row replacing an earlier one
/// of the same key. Each table says by its own columns which rows are gone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The state's tables; an operator names its own.
    pub tables: Vec<StateTable>,
}

/// Some rows of one table of an operator's state.
#[derive(Debug, Clone)]
pub struct StateTable {
    /// The table's name, unique within the operator.
    pub name: &'static str,
    /// The rows: key columns first, then what is kept for the key.
    pub rows: RecordBatch,
}

impl Snapshot {
    /// The rows of table `name`, if this snapshot has any.
    pub fn table(&self, name: &str) -> Option<&RecordBatch> {
        self.tables.iter().find(|table| table.name == name).map(|table| &table.rows)
    }
}
