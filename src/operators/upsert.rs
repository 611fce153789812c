//! A table with a primary key: rows that come replace the row of their key.
//!
//! ```text
//! in:   +I (1, London)   +I (1, Rome)                   +I (1, Rome)   -D (1)
//! out:  +I (1, London)   -U (1, London) +U (1, Rome)    nothing        -D (1, Rome)
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array, make_comparator};
use arrow::compute::{SortOptions, filter_record_batch};
use arrow::datatypes::{SchemaRef, UInt64Type};

use crate::error::{Code, DataError, InternalError, Result};
use crate::operators::rows::record_batch;
use crate::operators::{Operator, Output, Port, StateSize};
use crate::state::{Changes, GONE, GroupIndex, RowId, RowStore, Snapshot, table};
use crate::types::{Batch, Epoch, RowKind, RowKinds};

/// When the key was first inserted, then the row.
const ROWS: &str = "rows";

/// The rows of a table, one a key.
pub struct Upsert {
    primary_key: Vec<usize>,
    index: GroupIndex,
    rows: Vec<Option<RowId>>,
    store: RowStore,
    changes: Changes,
}

/// A change in the making: what becomes of a row.
enum Change {
    Insert(RowId),
    Update(RowId, RowId),
    Delete(RowId),
    /// This row of the batch deletes what is not there.
    Missing(usize),
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
            changes: Changes::default(),
        };
        for snapshot in snapshots {
            table.restore(snapshot)?;
        }
        if !snapshots.is_empty() {
            table.changes = Changes::resumed(&table.index.groups_in_order());
        }
        Ok(table)
    }

    /// The rows that are there, in the order in which their keys were first inserted.
    pub fn current_rows(&self) -> Result<RecordBatch> {
        let ids: Vec<Option<RowId>> =
            self.index.groups_in_order().into_iter().map(|group| self.rows[group as usize]).collect();
        self.batch(&ids)
    }

    /// Does what a batch says without telling anybody. Gives the rows that delete what is not there.
    pub fn load(&mut self, batch: &Batch) -> Result<Vec<usize>> {
        self.apply(batch, |_, changes| {
            let missing = changes.iter().filter_map(|change| match change {
                Change::Missing(row) => Some(*row),
                Change::Insert(_) | Change::Update(..) | Change::Delete(_) => None,
            });
            Ok(missing.collect())
        })
    }

    /// Does what a batch says, and lets `tell` see the changes while the rows of before are still held.
    fn apply<T>(&mut self, batch: &Batch, tell: impl FnOnce(&Upsert, &[Change]) -> Result<T>) -> Result<T> {
        let keys = self.keys_of(batch.rows())?;
        // Whatever can be refused is refused before anything changes.
        let upserted = self.upserted(batch)?;
        let groups = self.number(&keys, batch.num_rows())?;
        let first = self.store.append(&upserted)?;
        let changes = self.changes(batch, &groups, first);
        let told = tell(self, &changes)?;
        self.forget(&groups)?;
        Ok(told)
    }

    /// The row of a key, one value a column; none if there is no such row.
    pub fn find(&mut self, key: &[ArrayRef]) -> Result<RecordBatch> {
        let group = self.number(key, 1)?.first().copied().unwrap_or_default();
        let row = self.rows[group as usize];
        if row.is_none() {
            // Asking for a key leaves no trace of it.
            self.index.remove(&[group]);
        }
        self.batch(&Vec::from_iter(row.map(Some)))
    }

    fn batch(&self, ids: &[Option<RowId>]) -> Result<RecordBatch> {
        record_batch(self.store.schema(), self.store.gather(ids)?, ids.len())
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

    /// The rows of a batch that are to be kept: of one to be deleted only the key is looked at.
    fn upserted(&self, batch: &Batch) -> Result<RecordBatch> {
        let rows = batch.rows();
        let columns = match batch.kinds() {
            Some(kinds) if kinds.iter().any(|kind| kind.weight() < 0) => {
                let comes: BooleanArray = kinds.iter().map(|kind| Some(kind.weight() > 0)).collect();
                filter_record_batch(rows, &comes)?.columns().to_vec()
            }
            Some(_) | None => rows.columns().to_vec(),
        };
        let count = (0..rows.num_rows()).filter(|row| batch.kind(*row).weight() > 0).count();
        record_batch(self.store.schema(), columns, count)
    }

    /// What each row of a batch does, one after the other; `next` is the number of the first row that is kept.
    fn changes(&mut self, batch: &Batch, groups: &[u32], mut next: RowId) -> Vec<Change> {
        let mut changes = Vec::with_capacity(groups.len());
        for (row, group) in groups.iter().enumerate() {
            self.changes.mark(*group);
            let place = &mut self.rows[*group as usize];
            match batch.kind(row) {
                // Its `+U` comes next, and takes the row's place by itself.
                RowKind::UpdateBefore if groups.get(row + 1) == Some(group) => {}
                RowKind::Insert | RowKind::UpdateAfter => {
                    match place.replace(next) {
                        Some(old) => changes.push(Change::Update(old, next)),
                        None => {
                            // The key may have been deleted a moment ago: then it is new, wherever the batches were cut.
                            self.index.move_to_end(*group);
                            self.store.retain(1);
                            changes.push(Change::Insert(next));
                        }
                    }
                    next += 1;
                }
                RowKind::Delete | RowKind::UpdateBefore => {
                    if let Some(old) = place.take() {
                        self.store.release(1);
                        changes.push(Change::Delete(old));
                    } else if batch.kind(row) == RowKind::Delete {
                        changes.push(Change::Missing(row));
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
                Change::Insert(_) | Change::Delete(_) | Change::Missing(_) => None,
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
                Change::Missing(_) => {}
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
        if pairs.is_empty() {
            return Ok(vec![]);
        }
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
        self.changes.bury(&self.index, &gone)?;
        self.index.remove(&gone);
        self.compact()
    }

    fn compact(&mut self) -> Result<()> {
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
        if let Some(gone) = snapshot.table(GONE) {
            let groups = self.number(gone.columns(), gone.num_rows())?;
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
        self.apply(&batch, |table, changes| table.say(changes, out))
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let changed = self.changes.take(&self.index, since)?;
        let ids: Vec<Option<RowId>> = changed.groups.iter().map(|group| self.rows[*group as usize]).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(self.index.sequence(&changed.groups)))];
        columns.extend(self.store.gather(&ids)?);
        let mut tables = Vec::from_iter(changed.gone);
        tables.push(table(ROWS, columns, ids.len())?);
        Ok(Some(Snapshot { tables }))
    }

    fn state_size(&self) -> StateSize {
        StateSize {
            rows: self.store.live(),
            bytes: self.index.bytes()
                + self.store.bytes()
                + self.changes.bytes()
                + self.rows.capacity() * size_of::<Option<RowId>>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::operators::testing::{batch, check, columns, row_texts};

    fn cities() -> SchemaRef {
        columns("id:int city:text")
    }

    fn draws(script: &str) {
        let schema = cities();
        check(std::slice::from_ref(&schema), script, |snapshots| {
            Ok(Box::new(Upsert::new(schema.clone(), vec![0], snapshots)?))
        });
    }

    #[test]
    fn a_row_takes_the_place_of_the_row_of_its_key() {
        draws(
            "
            0: 1 London | 2 Rome | 1 Paris -> +I 1 London | +I 2 Rome | -U 1 London | +U 1 Paris
            0: 1 Paris | 2 NULL | 2 NULL   -> -U 2 Rome | +U 2 NULL
            0: 2 Oslo                      -> -U 2 NULL | +U 2 Oslo
            end ->
            ",
        );
    }

    #[test]
    fn a_delete_carries_the_row_that_was_there() {
        draws(
            "
            0: +I 1 London | -D 1 NULL | -D 1 NULL | +I 1 Rome -> +I 1 London | -D 1 London | +I 1 Rome
            0: -D 2 NULL            ->
            0: -D 1 elsewhere       -> -D 1 Rome
            0: +I 1 Rome            -> +I 1 Rome
            ",
        );
    }

    #[test]
    fn an_update_of_one_key_stays_an_update() {
        draws(
            "
            0: 1 London             -> +I 1 London
            0: -U 1 London | +U 1 Rome -> -U 1 London | +U 1 Rome
            0: -U 1 Rome | +U 2 Rome   -> -D 1 Rome | +I 2 Rome
            ",
        );
    }

    #[test]
    fn several_columns_may_be_the_key_in_any_order() {
        let schema = columns("v:int a:text b:int");
        let script = "
            0: 1 x 1 | 2 x 2 | 3 x 1 -> +I 1 x 1 | +I 2 x 2 | -U 1 x 1 | +U 3 x 1
            0: -D NULL x 1 | +I 5 y 1 -> -D 3 x 1 | +I 5 y 1
        ";
        check(std::slice::from_ref(&schema), script, |snapshots| {
            Ok(Box::new(Upsert::new(schema.clone(), vec![2, 1], snapshots)?))
        });
    }

    /// The host deletes by key alone: the other columns are NULL, whatever they are declared to be.
    #[test]
    fn a_delete_needs_no_more_than_the_key() -> Result<()> {
        let strict = |nullable| {
            let city = cities().field(1).clone().with_nullable(nullable);
            Arc::new(arrow::datatypes::Schema::new(vec![cities().field(0).clone(), city]))
        };
        let mut table = Upsert::new(strict(false), vec![0], &[])?;
        let mut out = Output::default();
        table.on_batch(Port(0), batch(&strict(false), "1 London"), &mut out)?;
        table.on_batch(Port(0), batch(&strict(true), "-D 1 NULL | -D 7 NULL"), &mut out)?;
        table.on_batch(Port(0), batch(&strict(false), "1 Rome | 2 Oslo"), &mut out)?;
        assert!(table.on_batch(Port(0), batch(&strict(true), "2 NULL | 3 NULL"), &mut out).is_err());
        let said: Vec<String> = out.drain().flat_map(|batch| row_texts(&batch)).collect();
        assert_eq!(said, ["+I 1 London", "-D 1 London", "+I 1 Rome", "+I 2 Oslo"]);
        assert_eq!(row_texts(&Batch::append_only(table.current_rows()?)), ["1 Rome", "2 Oslo"]);
        Ok(())
    }

    #[test]
    fn a_null_in_the_key_is_refused_and_changes_nothing() -> Result<()> {
        let mut table = Upsert::new(cities(), vec![0], &[])?;
        let mut out = Output::default();
        let error = table.on_batch(Port(0), batch(&cities(), "1 London | NULL Rome"), &mut out).unwrap_err();
        assert!(matches!(error, crate::error::Error::Data(_)), "{error}");
        assert_eq!(table.current_rows()?.num_rows(), 0);
        assert_eq!(out.drain().count(), 0);
        Ok(())
    }

    #[test]
    fn the_order_of_first_insertion_survives_updates_deletes_and_restarts() -> Result<()> {
        let mut table = Upsert::new(cities(), vec![0], &[])?;
        let mut snapshots = vec![];
        let mut epoch = Epoch::ZERO;
        let steps = [
            ("3 c | 1 a | 2 b", "3 c | 1 a | 2 b"),
            ("1 A | 4 d", "3 c | 1 A | 2 b | 4 d"),
            ("-D 3 NULL", "1 A | 2 b | 4 d"),
            ("3 C | 5 e", "1 A | 2 b | 4 d | 3 C | 5 e"),
            ("-D 1 NULL | +I 1 a", "2 b | 4 d | 3 C | 5 e | 1 a"),
        ];
        for (change, rows) in steps {
            table.on_batch(Port(0), batch(&cities(), change), &mut Output::default())?;
            snapshots.extend(table.snapshot(epoch)?);
            epoch = epoch.next();
            let size = table.state_size().rows;
            table = Upsert::new(cities(), vec![0], &snapshots)?;
            let drawn = row_texts(&Batch::append_only(table.current_rows()?)).join(" | ");
            assert_eq!((drawn.as_str(), table.state_size().rows), (rows, size), "after {change}");
        }
        Ok(())
    }

    #[test]
    fn rows_that_come_and_go_leave_nothing_behind() -> Result<()> {
        let schema = columns("id:int");
        let mut table = Upsert::new(schema.clone(), vec![0], &[])?;
        let mut out = Output::default();
        let mut sizes = vec![];
        for round in 0..20 {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(round * 8_192..(round + 1) * 8_192));
            let rows = RecordBatch::try_new(schema.clone(), vec![ids])?;
            for kind in [RowKind::Insert, RowKind::Delete] {
                table.on_batch(Port(0), Batch::changelog(rows.clone(), RowKinds::all(kind, 8_192)), &mut out)?;
            }
            assert_eq!(out.drain().map(|batch| batch.num_rows()).sum::<usize>(), 2 * 8_192);
            assert_eq!(table.state_size().rows, 0);
            sizes.push(table.state_size().bytes);
        }
        assert!(sizes[19] <= 2 * sizes[1], "{sizes:?}");
        let snapshot = table.snapshot(Epoch::ZERO.next())?.unwrap();
        assert_eq!(snapshot.tables.iter().map(|table| table.rows.num_rows()).sum::<usize>(), 0);
        Ok(())
    }

    #[test]
    fn compaction_keeps_the_rows_that_are_there() -> Result<()> {
        let schema = columns("id:int v:int");
        let mut table = Upsert::new(schema.clone(), vec![0], &[])?;
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5_000));
        for round in 0..8 {
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..5_000).map(|id| id + round)));
            let rows = RecordBatch::try_new(schema.clone(), vec![ids.clone(), values])?;
            table.on_batch(Port(0), Batch::append_only(rows), &mut Output::default())?;
        }
        assert!(table.store.held() <= 15_000, "{} rows are held for 5000", table.store.held());
        let rows = Batch::append_only(table.current_rows()?);
        assert_eq!(row_texts(&rows.slice(4_998, 2)), ["4998 5005", "4999 5006"]);
        Ok(())
    }
}
