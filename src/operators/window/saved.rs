//! Panes in a snapshot: which there are, and the tables of each, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use crate::error::{InternalError, Result};
use crate::state::{Snapshot, StateTable, table};
use crate::types::{Epoch, Timestamp};

use super::Bounds;
use super::pane::{Pane, Panes};

/// What panes are of, in whole numbers, a column each, and last how many tables follow for each pane.
const PANES: &str = "panes";
/// Up to where windows have closed, then when early results are due.
const REACHED: &str = "reached";

/// What a pane is of.
pub(super) trait Place: Copy + Ord {
    /// It in whole numbers.
    fn numbers(self) -> Vec<i64>;
    /// What is of those numbers, if anything is.
    fn of(numbers: &[i64]) -> Option<Self>;
}

/// Panes, up to where windows have closed, and when early results are due.
pub(super) struct Saved<P> {
    pub panes: BTreeMap<P, Pane>,
    pub reached: i64,
    pub due: Option<Timestamp>,
}

/// What has changed since `since`; everything for [`Epoch::ZERO`].
pub(super) fn save<P: Place>(
    panes: &mut BTreeMap<P, Pane>,
    (reached, due): (i64, Option<Timestamp>),
    since: Epoch,
) -> Result<Snapshot> {
    let mut tables = vec![];
    let mut places: Vec<Vec<i64>> = vec![];
    for (place, pane) in panes.iter_mut() {
        let saved = pane.save(since)?;
        places.push(place.numbers().into_iter().chain([saved.tables.len() as i64]).collect());
        tables.extend(saved.tables);
    }
    let width = places.first().map_or(1, Vec::len);
    let column = |index: usize| Arc::new(places.iter().map(|place| place[index]).collect::<Int64Array>()) as ArrayRef;
    let due = Arc::new(Int64Array::from(vec![due.map(Timestamp::nanos)])) as ArrayRef;
    let head = [
        table(PANES, (0..width).map(column).collect(), places.len())?,
        table(REACHED, vec![Arc::new(Int64Array::from(vec![reached])), due], 1)?,
    ];
    Ok(Snapshot { tables: head.into_iter().chain(tables).collect() })
}

/// Opens the panes that the last of the snapshots holds, each from its part of all of them.
pub(super) fn restored<P: Place>(kind: &Panes, snapshots: &[Snapshot]) -> Result<Saved<P>> {
    let mut saved = Saved { panes: BTreeMap::new(), reached: i64::MIN, due: None };
    let mut chains: BTreeMap<P, Vec<Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        let [panes, reached, tables @ ..] = snapshot.tables.as_slice() else { return Err(misses()) };
        let mut known = std::mem::take(&mut chains);
        let mut tables = tables.iter();
        let panes_columns = columns(panes)?;
        for row in 0..panes.rows.num_rows() {
            let numbers: Vec<i64> = panes_columns.iter().map(|column| column.value(row)).collect();
            let (count, place) = numbers.split_last().ok_or_else(misses)?;
            let place = P::of(place).ok_or_else(misses)?;
            let count = usize::try_from(*count).map_err(|_| misses())?;
            let mut chain = known.remove(&place).unwrap_or_default();
            chain.push(Snapshot { tables: tables.by_ref().take(count).cloned().collect() });
            chains.insert(place, chain);
        }
        let reached = columns(reached)?;
        let [reached, due] = reached.as_slice() else { return Err(misses()) };
        saved.reached = reached.values().first().copied().ok_or_else(misses)?;
        saved.due = due.iter().next().flatten().map(Timestamp::from_nanos);
    }
    for (place, chain) in chains {
        saved.panes.insert(place, kind.open(&chain)?);
    }
    Ok(saved)
}

impl Place for Bounds {
    fn numbers(self) -> Vec<i64> {
        vec![self.end, self.start]
    }

    fn of(numbers: &[i64]) -> Option<Bounds> {
        let [end, start] = *numbers else { return None };
        Some(Bounds { end, start })
    }
}

fn columns(table: &StateTable) -> Result<Vec<&Int64Array>> {
    let numbers = table.rows.columns().iter().map(|column| column.as_primitive_opt::<Int64Type>());
    numbers.collect::<Option<_>>().ok_or_else(misses)
}

fn misses() -> crate::error::Error {
    InternalError::new("saved windows are not in their form").into()
}
