//! A snapshot: the rows of an operator's state that have changed, as Arrow record batches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};

use crate::error::Result;

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

/// A table of columns that need no names of their own.
pub fn table(name: &'static str, columns: Vec<ArrayRef>, rows: usize) -> Result<StateTable> {
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| Field::new(format!("c{index}"), column.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    Ok(StateTable { name, rows })
}
