//! Panes in a snapshot: which windows are open, and the tables of each, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use crate::error::{InternalError, Result};
use crate::state::{Snapshot, StateTable, table};
use crate::types::{Epoch, Timestamp};

use super::{Bounds, Window};

/// The windows that are open: their ends, their beginnings, and how many tables follow for each.
const PANES: &str = "panes";
/// Up to where windows have closed, then when early results are due.
const REACHED: &str = "reached";

impl Window {
    /// What has changed since `since`; everything for [`Epoch::ZERO`].
    pub(super) fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        let (mut tables, mut counts) = (vec![], vec![]);
        for pane in self.open.values_mut() {
            let saved = pane.save(since)?;
            counts.push(saved.tables.len() as i64);
            tables.extend(saved.tables);
        }
        let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let ends = column(self.open.keys().map(|window| window.end).collect());
        let starts = column(self.open.keys().map(|window| window.start).collect());
        let due = Arc::new(Int64Array::from(vec![self.due.map(Timestamp::nanos)])) as ArrayRef;
        let head = [
            table(PANES, vec![ends, starts, column(counts)], self.open.len())?,
            table(REACHED, vec![column(vec![self.reached]), due], 1)?,
        ];
        Ok(Snapshot { tables: head.into_iter().chain(tables).collect() })
    }

    /// Opens the windows that the last of the snapshots holds, each from its part of all of them.
    pub(super) fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let mut chains: BTreeMap<Bounds, Vec<Snapshot>> = BTreeMap::new();
        for snapshot in snapshots {
            let [panes, reached, tables @ ..] = snapshot.tables.as_slice() else { return Err(misses()) };
            let mut known = std::mem::take(&mut chains);
            let mut tables = tables.iter();
            let [ends, starts, counts] = columns(panes)?;
            for row in 0..panes.rows.num_rows() {
                let window = Bounds { end: ends.value(row), start: starts.value(row) };
                let count = usize::try_from(counts.value(row)).map_err(|_| misses())?;
                let mut chain = known.remove(&window).unwrap_or_default();
                chain.push(Snapshot { tables: tables.by_ref().take(count).cloned().collect() });
                chains.insert(window, chain);
            }
            let [reached, due] = columns(reached)?;
            self.reached = reached.values().first().copied().ok_or_else(misses)?;
            self.due = due.iter().next().flatten().map(Timestamp::from_nanos);
        }
        for (window, chain) in chains {
            self.open.insert(window, self.panes.open(&chain)?);
        }
        Ok(())
    }
}

fn columns<const N: usize>(table: &StateTable) -> Result<[&Int64Array; N]> {
    let columns: Option<Vec<&Int64Array>> =
        table.rows.columns().iter().map(|column| column.as_primitive_opt::<Int64Type>()).collect();
    columns.and_then(|columns| columns.try_into().ok()).ok_or_else(misses)
}

fn misses() -> crate::error::Error {
    InternalError::new("saved windows are not in their form").into()
}
