//! A keyed join in a snapshot: the keys that changed with all their rows, side by side, and the keys that are gone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::UInt64Type;

use crate::error::{InternalError, Result};
use crate::state::{GroupIndex, RowId, Snapshot, table};
use crate::types::Epoch;

use super::Join;

/// Keys that have changed, and when each appeared.
const KEYS: &str = "keys";
/// Keys that are gone.
const GONE: &str = "gone";
/// For each side in turn: the row's key, then the row.
const ROWS: &str = "rows";
/// For each side in turn: when a row without a key came, then the row.
const LONERS: &str = "loners";
/// Present if the rows without a key of earlier snapshots are gone.
const LONERS_GONE: &str = "loners_gone";

/// What has changed since the last snapshot.
#[derive(Default)]
pub(super) struct Dirty {
    slots: Vec<u32>,
    marked: Vec<bool>,
    gone: Vec<Vec<ArrayRef>>,
    /// How many of the loners are saved already.
    loners_saved: usize,
    loners_gone: bool,
}

impl Dirty {
    pub fn mark(&mut self, slot: u32) {
        let at = slot as usize;
        if at >= self.marked.len() {
            self.marked.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.marked[at], true) {
            self.slots.push(slot);
        }
    }

    /// Remembers the keys of slots that are about to be freed.
    pub fn bury(&mut self, index: &GroupIndex, slots: &[u32]) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        self.gone.push(index.keys(slots)?);
        for slot in slots {
            if let Some(marked) = self.marked.get_mut(*slot as usize) {
                *marked = false;
            }
        }
        let marked = &self.marked;
        self.slots.retain(|slot| marked[*slot as usize]);
        Ok(())
    }

    pub fn forget_loners(&mut self) {
        self.loners_gone = true;
        self.loners_saved = 0;
    }
}

impl Join {
    pub(super) fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        let mut dirty = std::mem::take(&mut self.dirty);
        if since == Epoch::ZERO {
            dirty.slots = self.index.groups_in_order();
            dirty.gone.clear();
            dirty.loners_saved = 0;
            dirty.loners_gone = false;
        }
        let slots: Vec<u32> = dirty.slots.into_iter().filter(|slot| self.appeared[*slot as usize].is_some()).collect();
        let mut tables = vec![];
        for gone in &dirty.gone {
            tables.push(table(GONE, gone.clone(), gone.first().map_or(0, |column| column.len()))?);
        }
        let appeared: UInt64Array = slots.iter().map(|slot| self.appeared[*slot as usize]).collect();
        let mut keys = self.index.keys(&slots)?;
        keys.push(Arc::new(appeared));
        tables.push(table(KEYS, keys, slots.len())?);
        if dirty.loners_gone {
            tables.push(table(LONERS_GONE, vec![], 1)?);
        }
        for (side, state) in self.sides.iter().enumerate() {
            let rows: Vec<(u32, RowId)> =
                slots.iter().flat_map(|slot| state.kept.rows(*slot).iter().map(|row| (*slot, *row))).collect();
            let ids: Vec<Option<RowId>> = rows.iter().map(|(_, row)| Some(*row)).collect();
            let mut columns = self.index.keys(&rows.iter().map(|(slot, _)| *slot).collect::<Vec<_>>())?;
            columns.extend(state.store.gather(&ids)?);
            tables.push(table(ROWS, columns, rows.len())?);

            let loners = self.loners[dirty.loners_saved..].iter().filter(|(_, of, _)| *of == side);
            let (came, ids): (Vec<u64>, Vec<Option<RowId>>) = loners.map(|(came, _, row)| (*came, Some(*row))).unzip();
            let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(came))];
            columns.extend(state.store.gather(&ids)?);
            tables.push(table(LONERS, columns, ids.len())?);
        }
        self.dirty.loners_saved = self.loners.len();
        Ok(Snapshot { tables })
    }

    pub(super) fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        for snapshot in snapshots {
            for gone in snapshot.tables.iter().filter(|table| table.name == GONE) {
                self.restore_gone(&gone.rows)?;
            }
            if let Some(keys) = snapshot.table(KEYS) {
                self.restore_keys(keys)?;
            }
            if snapshot.table(LONERS_GONE).is_some() {
                self.loners.clear();
            }
            for (side, table) in snapshot.tables.iter().filter(|table| table.name == ROWS).enumerate() {
                self.restore_rows(side, &table.rows)?;
            }
            for (side, table) in snapshot.tables.iter().filter(|table| table.name == LONERS).enumerate() {
                self.restore_loners(side, &table.rows)?;
            }
        }
        self.loners.sort_unstable_by_key(|(came, _, _)| *came);
        self.dirty = Dirty { loners_saved: self.loners.len(), ..Dirty::default() };
        Ok(())
    }

    fn slots_of(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut slots = vec![];
        self.index.intern(keys, rows, &mut slots)?;
        self.grow();
        Ok(slots)
    }

    fn restore_gone(&mut self, gone: &RecordBatch) -> Result<()> {
        let slots = self.slots_of(gone.columns(), gone.num_rows())?;
        slots.iter().for_each(|slot| self.clear(*slot));
        self.index.remove(&slots);
        Ok(())
    }

    fn restore_keys(&mut self, keys: &RecordBatch) -> Result<()> {
        let Some((appeared, keys)) = keys.columns().split_last() else { return Ok(()) };
        let slots = self.slots_of(keys, appeared.len())?;
        for (slot, appeared) in slots.into_iter().zip(numbers(appeared)?.values()) {
            self.clear(slot);
            self.appeared[slot as usize] = Some(*appeared);
            self.next = self.next.max(appeared + 1);
        }
        Ok(())
    }

    fn restore_rows(&mut self, side: usize, saved: &RecordBatch) -> Result<()> {
        let width = self.sides[0].keys.len();
        let slots = self.slots_of(&saved.columns()[..width], saved.num_rows())?;
        let rows = self.rows_of(side, saved, width)?;
        let keep = self.keep;
        let Some(super::Side { store, kept, .. }) = self.sides.get_mut(side) else { return Ok(()) };
        let first = store.append(&rows)?;
        for (row, slot) in slots.into_iter().enumerate() {
            kept.offer(keep, slot, first + row, store);
        }
        Ok(())
    }

    fn restore_loners(&mut self, side: usize, saved: &RecordBatch) -> Result<()> {
        let rows = self.rows_of(side, saved, 1)?;
        let Some(state) = self.sides.get_mut(side) else { return Ok(()) };
        let first = state.store.append(&rows)?;
        state.store.retain(saved.num_rows());
        for (row, came) in numbers(saved.column(0))?.values().iter().enumerate() {
            self.loners.push((*came, side, first + row));
            self.next = self.next.max(came + 1);
        }
        Ok(())
    }

    /// The rows of a side behind the first `width` columns of what was saved.
    fn rows_of(&self, side: usize, saved: &RecordBatch, width: usize) -> Result<RecordBatch> {
        let Some(state) = self.sides.get(side) else {
            return Err(InternalError::new("a saved join has more sides than the join").into());
        };
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(saved.num_rows()));
        let columns = saved.columns()[width..].to_vec();
        Ok(RecordBatch::try_new_with_options(state.store.schema().clone(), columns, &options)?)
    }
}

fn numbers(column: &ArrayRef) -> Result<&UInt64Array> {
    column.as_primitive_opt::<UInt64Type>().ok_or_else(|| InternalError::new("a saved number is not a number").into())
}
