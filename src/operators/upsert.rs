//! A table with a primary key: rows that come replace the row of their key.
//!
//! ```text
//! in:   +I (1, London)   +I (1, Rome)                   +I (1, Rome)   -D (1)
//! out:  +I (1, London)   -U (1, London) +U (1, Rome)    nothing        -D (1, Rome)
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{SchemaRef, UInt64Type};

use crate::error::{Code, DataError, InternalError, Result};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::state::{GroupIndex, RowId, RowStore, Snapshot, table};
use crate::types::{Batch, Epoch, RowKind, RowKinds};

/// When the key was first inserted, then the row.
const ROWS: &str = "rows";
/// The keys of rows that were deleted.
const GONE: &str = "gone";

/// The rows of a table, one a key.
pub struct Upsert {
    primary_key: Vec<usize>,
    index: GroupIndex,
    rows: Vec<Option<RowId>>,
    store: RowStore,
    dirty: Vec<u32>,
    gone: Vec<Vec<ArrayRef>>,
}

/// A change in the making: what becomes of a row.
enum Change {
    Insert(RowId),
    Update(RowId, RowId),
    Delete(RowId),
}

impl Upsert {
    /// The table of columns `schema` with the key columns `primary_key`, as its snapshots have left it.
    pub fn new(schema: SchemaRef, primary_key: Vec<usize>, snapshots: &[Snapshot]) -> Result<Upsert> {
        let types: Vec<_> = primary_key.iter().map(|column| schema.field(*column).data_type().clone()).collect();
        let mut table = Upsert {
            primary_key,
            index: GroupIndex::new(&types)?,
            rows: vec![],
            store: RowStore::new(schema),
            dirty: vec![],
            gone: vec![],
        };
        for snapshot in snapshots {
            table.restore(snapshot)?;
        }
        Ok(table)
    }

    /// The rows that are there, in the order in which their keys were first inserted.
    pub fn current_rows(&self) -> Result<RecordBatch> {
        let ids: Vec<Option<RowId>> =
            self.index.groups_in_order().into_iter().map(|group| self.rows[group as usize]).collect();
        self.batch(&ids)
    }

    fn batch(&self, ids: &[Option<RowId>]) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        Ok(RecordBatch::try_new_with_options(self.store.schema().clone(), self.store.gather(ids)?, &options)?)
    }

    fn keys_of(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let mut keys = Vec::with_capacity(self.primary_key.len());
        for column in &self.primary_key {
            let key = rows.column(*column);
            if key.logical_null_count() > 0 {
                let error = DataError::new(Code::Value, "a primary key must not be NULL");
                return Err(error.column(rows.schema().field(*column).name()).into());
            }
            keys.push(key.clone());
        }
        Ok(keys)
    }

    fn number(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut groups = vec![];
        self.index.intern(keys, rows, &mut groups)?;
        self.rows.resize(self.index.slots().max(self.rows.len()), None);
        Ok(groups)
    }

    /// What each row of a batch does, one after the other.
    fn changes(&mut self, batch: &Batch, groups: &[u32], first: RowId) -> Vec<Change> {
        let mut changes = Vec::with_capacity(groups.len());
        for (row, group) in groups.iter().enumerate() {
            let place = &mut self.rows[*group as usize];
            match batch.kind(row) {
                RowKind::Insert | RowKind::UpdateAfter => match place.replace(first + row) {
                    Some(old) => changes.push(Change::Update(old, first + row)),
                    None => {
                        // The key may have been deleted a moment ago: then it is new, wherever the batches were cut.
                        self.index.move_to_end(*group);
                        self.store.retain(1);
                        changes.push(Change::Insert(first + row));
                    }
                },
                RowKind::Delete | RowKind::UpdateBefore => {
                    if let Some(old) = place.take() {
                        self.store.release(1);
                        changes.push(Change::Delete(old));
                    }
                }
            }
        }
        changes
    }

    /// Says the changes; an update that changes nothing is none.
    fn say(&self, changes: &[Change], out: &mut Output) -> Result<()> {
        let updates: Vec<(RowId, RowId)> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Update(old, new) => Some((*old, *new)),
                Change::Insert(_) | Change::Delete(_) => None,
            })
            .collect();
        let mut differs = self.differs(&updates)?.into_iter();
        let (mut ids, mut kinds) = (vec![], vec![]);
        let mut note = |id: RowId, kind: RowKind| {
            ids.push(Some(id));
            kinds.push(kind);
        };
        for change in changes {
            match change {
                Change::Insert(new) => note(*new, RowKind::Insert),
                Change::Delete(old) => note(*old, RowKind::Delete),
                Change::Update(old, new) => {
                    if differs.next() == Some(true) {
                        note(*old, RowKind::UpdateBefore);
                        note(*new, RowKind::UpdateAfter);
                    }
                }
            }
        }
        out.push(Batch::changelog(self.batch(&ids)?, kinds.into_iter().collect::<RowKinds>()));
        Ok(())
    }

    /// For each pair of rows whether they differ.
    fn differs(&self, pairs: &[(RowId, RowId)]) -> Result<Vec<bool>> {
        let (old, new): (Vec<_>, Vec<_>) = pairs.iter().map(|(old, new)| (Some(*old), Some(*new))).unzip();
        let (old, new) = (self.store.gather(&old)?, self.store.gather(&new)?);
        let compare = old.iter().zip(&new).map(|(old, new)| make_comparator(old, new, SortOptions::default()));
        let compare = compare.collect::<Result<Vec<_>, _>>()?;
        Ok((0..pairs.len()).map(|row| compare.iter().any(|compare| compare(row, row).is_ne())).collect())
    }

    /// Frees the keys without a row.
    fn forget(&mut self, groups: &[u32]) -> Result<()> {
        let mut gone: Vec<u32> = groups.iter().copied().filter(|group| self.rows[*group as usize].is_none()).collect();
        gone.sort_unstable();
        gone.dedup();
        if !gone.is_empty() {
            self.gone.push(self.index.keys(&gone)?);
            self.index.remove(&gone);
        }
        if self.store.wants_compaction() {
            let live: Vec<RowId> = self.rows.iter().flatten().copied().collect();
            let first = self.store.compact(&live)?;
            for (nth, row) in self.rows.iter_mut().flatten().enumerate() {
                *row = first + nth;
            }
        }
        Ok(())
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        for gone in snapshot.tables.iter().filter(|table| table.name == GONE) {
            let groups = self.number(gone.rows.columns(), gone.rows.num_rows())?;
            for group in &groups {
                self.store.release(usize::from(self.rows[*group as usize].take().is_some()));
            }
            self.index.remove(&groups);
        }
        let Some(saved) = snapshot.table(ROWS) else { return Ok(()) };
        let (sequence, columns) = saved.columns().split_at(1);
        let missing = || InternalError::new("a saved table is not in its form");
        let sequence =
            sequence.first().and_then(|column| column.as_primitive_opt::<UInt64Type>()).ok_or_else(missing)?;
        let rows = RecordBatch::try_new(self.store.schema().clone(), columns.to_vec())?;
        let keys = self.keys_of(&rows)?;
        let groups = self.number(&keys, rows.num_rows())?;
        self.index.set_sequence(&groups, sequence.values());
        let first = self.store.append(&rows)?;
        for (row, group) in groups.iter().enumerate() {
            if self.rows[*group as usize].replace(first + row).is_none() {
                self.store.retain(1);
            }
        }
        Ok(())
    }
}

impl Operator for Upsert {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let keys = self.keys_of(batch.rows())?;
        let groups = self.number(&keys, batch.num_rows())?;
        let first = self.store.append(batch.rows())?;
        let changes = self.changes(&batch, &groups, first);
        self.say(&changes, out)?;
        self.dirty.extend_from_slice(&groups);
        self.forget(&groups)
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut gone = std::mem::take(&mut self.gone);
        if since == Epoch::ZERO {
            dirty = self.index.groups_in_order();
            gone.clear();
        }
        dirty.sort_unstable();
        dirty.dedup();
        dirty.retain(|group| self.rows[*group as usize].is_some());
        let ids: Vec<Option<RowId>> = dirty.iter().map(|group| self.rows[*group as usize]).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(self.index.sequence(&dirty)))];
        columns.extend(self.store.gather(&ids)?);
        let mut tables = vec![];
        for keys in gone {
            let rows = keys.first().map_or(0, |column| column.len());
            tables.push(table(GONE, keys, rows)?);
        }
        tables.push(table(ROWS, columns, ids.len())?);
        Ok(Some(Snapshot { tables }))
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.store.live(), bytes: self.index.bytes() + self.store.bytes() }
    }
}
