//! A keyed join in a snapshot: the keys that changed with all their rows, side by side, and the keys that are gone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{Int64Type, UInt64Type};

use crate::error::{InternalError, Result};
use crate::operators::rows::record_batch;
use crate::state::{Changes, GONE, RowId, Snapshot, StateTable, table};
use crate::types::{Epoch, Timestamp, ticks};

use super::{Join, Loner};

/// Keys that have changed, and when each appeared.
const KEYS: &str = "keys";
/// For each side in turn: the row's key, then the row.
const ROWS: &str = "rows";
/// For each side in turn: the number under which a row without a key came, when, and when its window ends; then the row.
const LONERS: &str = "loners";
/// Present if the rows without a key of earlier snapshots are gone.
const LONERS_GONE: &str = "loners_gone";

impl Join {
    pub(super) fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        let changed = self.changes.take(&self.index, since)?;
        let (slots, full) = (changed.groups, since == Epoch::ZERO);
        let mut tables = Vec::from_iter(changed.gone);
        tables.push(self.save_keys(&slots)?);
        if std::mem::take(&mut self.loners_gone) && !full {
            tables.push(table(LONERS_GONE, vec![], 1)?);
        }
        let from = if full { 0 } else { self.loners_saved };
        for side in 0..self.sides.len() {
            tables.push(self.save_rows(side, &slots)?);
            tables.push(self.save_loners(side, from)?);
        }
        self.loners_saved = self.loners.len();
        Ok(Snapshot { tables })
    }

    fn save_keys(&self, slots: &[u32]) -> Result<StateTable> {
        let appeared: UInt64Array = slots.iter().map(|slot| self.appeared[*slot as usize]).collect();
        let mut columns = self.index.keys(slots)?;
        columns.push(Arc::new(appeared));
        columns.extend(self.expiry.iter().map(|expiry| Arc::new(expiry.written(slots)) as ArrayRef));
        table(KEYS, columns, slots.len())
    }

    fn save_rows(&self, side: usize, slots: &[u32]) -> Result<StateTable> {
        let state = &self.sides[side];
        let rows = slots.iter().flat_map(|slot| state.kept.rows(*slot).iter().map(|row| (*slot, Some(*row))));
        let (owners, ids): (Vec<u32>, Vec<Option<RowId>>) = rows.unzip();
        let mut columns = self.index.keys(&owners)?;
        columns.extend(state.store.gather(&ids)?);
        table(ROWS, columns, ids.len())
    }

    fn save_loners(&self, side: usize, from: usize) -> Result<StateTable> {
        let loners = || self.loners.iter().skip(from).filter(|loner| loner.side == side);
        let ids: Vec<Option<RowId>> = loners().map(|loner| Some(loner.row)).collect();
        let came = loners().map(|loner| loner.came).collect::<UInt64Array>();
        let at = loners().map(|loner| loner.at.nanos()).collect::<Int64Array>();
        let end = loners().map(|loner| loner.end).collect::<Int64Array>();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(came), Arc::new(at), Arc::new(end)];
        columns.extend(self.sides[side].store.gather(&ids)?);
        table(LONERS, columns, ids.len())
    }

    pub(super) fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        for snapshot in snapshots {
            if let Some(gone) = snapshot.table(GONE) {
                self.restore_gone(gone)?;
            }
            if let Some(keys) = snapshot.table(KEYS) {
                self.restore_keys(keys)?;
            }
            if snapshot.table(LONERS_GONE).is_some() {
                for Loner { side, .. } in self.loners.drain(..) {
                    self.sides[side].store.release(1);
                }
            }
            for (side, table) in snapshot.tables.iter().filter(|table| table.name == ROWS).enumerate() {
                self.restore_rows(side, &table.rows)?;
            }
            for (side, table) in snapshot.tables.iter().filter(|table| table.name == LONERS).enumerate() {
                self.restore_loners(side, &table.rows)?;
            }
        }
        self.loners.sort_unstable_by_key(|loner| loner.came);
        self.loners_saved = self.loners.len();
        self.restore_windows()?;
        if !snapshots.is_empty() {
            self.changes = Changes::resumed(&self.index.groups_in_order());
        }
        Ok(())
    }

    /// Finds the windows of the keys and of the rows without one.
    fn restore_windows(&mut self) -> Result<()> {
        let keys: Vec<(u64, u32)> = self.keys_in_order().collect();
        let Some(windows) = &mut self.windows else { return Ok(()) };
        let slots: Vec<u32> = keys.iter().map(|(_, slot)| *slot).collect();
        let parts = self.index.keys(&slots)?;
        let ends = parts.get(windows.part).ok_or_else(|| InternalError::new("a key has lost its window"))?;
        for (end, key) in ticks(ends)?.iter().zip(keys) {
            end.into_iter().for_each(|end| windows.note(end, key));
        }
        self.loners.iter().filter_map(|loner| loner.end).for_each(|end| windows.note_alone(end));
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
        self.expiry.iter_mut().for_each(|expiry| expiry.forget(&slots));
        Ok(())
    }

    fn restore_keys(&mut self, keys: &RecordBatch) -> Result<()> {
        let (columns, rest) = keys.columns().split_at(self.sides[0].keys.len());
        let [appeared, written @ ..] = rest else { return Ok(()) };
        let slots = self.slots_of(columns, keys.num_rows())?;
        if let (Some(expiry), [written]) = (&mut self.expiry, written) {
            expiry.resume(&slots, written.as_primitive_opt::<Int64Type>().ok_or_else(no_number)?);
        }
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
        let rows = self.rows_of(side, saved, 3)?;
        let Some(state) = self.sides.get_mut(side) else { return Ok(()) };
        let first = state.store.append(&rows)?;
        state.store.retain(saved.num_rows());
        let at = saved.column(1).as_primitive_opt::<Int64Type>().ok_or_else(no_number)?;
        let ends = saved.column(2).as_primitive_opt::<Int64Type>().ok_or_else(no_number)?;
        for (row, came) in numbers(saved.column(0))?.values().iter().enumerate() {
            let at = Timestamp::from_nanos(at.value(row));
            let end = ends.is_valid(row).then(|| ends.value(row));
            self.loners.push(Loner { came: *came, side, row: first + row, at, end });
            self.next = self.next.max(came + 1);
        }
        Ok(())
    }

    /// The rows of a side behind the first `width` columns of what was saved.
    fn rows_of(&self, side: usize, saved: &RecordBatch, width: usize) -> Result<RecordBatch> {
        let Some(state) = self.sides.get(side) else {
            return Err(InternalError::new("a saved join has more sides than the join").into());
        };
        record_batch(state.store.schema(), saved.columns()[width..].to_vec(), saved.num_rows())
    }
}

fn numbers(column: &ArrayRef) -> Result<&UInt64Array> {
    column.as_primitive_opt::<UInt64Type>().ok_or_else(|| no_number().into())
}

fn no_number() -> InternalError {
    InternalError::new("a saved number is not a number")
}
