//! The rows of a materialized view: what has come and not gone.
//!
//! ```text
//! in:     +I (ada, 5)   +I (bob, 1)   -U (ada, 5) +U (ada, 9)   -D (bob, 1)
//! out:    the same, row for row
//! kept:   (ada, 5)      (ada, 5) (bob, 1)   (ada, 9) (bob, 1)   (ada, 9)
//! ```
//!
//! Rows that only come are kept one behind the other. Of a changelog one row a key is kept, so that a row is found by
//! its key; where no key is known, the whole row is the key, and how often it is there is counted.
//! A key may have two rows for a moment, when the new one comes before the old one goes: the last one to come is kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, SchemaRef, UInt64Type,
};

use crate::error::{InternalError, Result};
use crate::operators::rows::record_batch;
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::ChangelogMode;
use crate::state::{Changes, GONE, GroupIndex, RowId, RowStore, Snapshot, table};
use crate::types::{Batch, Epoch, RowKind};

/// The rows one behind the other; or when a key became present, how often it is there, and its row.
const ROWS: &str = "rows";

/// The rows of a materialized view.
pub struct KeptRows {
    store: RowStore,
    form: Form,
}

/// How rows are found again.
enum Form {
    /// They never are. So many of them are in the last snapshot.
    Appended { saved: RowId },
    /// By their key.
    Keyed(Box<Keyed>),
}

struct Keyed {
    key: Key,
    index: GroupIndex,
    places: Vec<Place>,
    changes: Changes,
}

/// What rows are found by.
enum Key {
    /// Columns in which no two rows agree.
    Columns(Vec<usize>),
    /// The whole row.
    Row,
}

/// What is there of a key.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// How many rows have come and not gone.
    count: i64,
    /// The last one that came.
    row: RowId,
}

impl KeptRows {
    /// Rows of columns `schema`, which `mode` says whether they only come, as their snapshots have left them.
    /// In the columns `key` no two of them agree, if that is known.
    pub fn new(
        schema: SchemaRef,
        mode: ChangelogMode,
        key: Option<&[usize]>,
        snapshots: &[Snapshot],
    ) -> Result<KeptRows> {
        let form = match (key, mode) {
            (Some(key), _) => Form::Keyed(Box::new(Keyed::new(&schema, Key::Columns(key.to_vec()))?)),
            (None, ChangelogMode::Changelog) => Form::Keyed(Box::new(Keyed::new(&schema, Key::Row)?)),
            (None, ChangelogMode::AppendOnly) => Form::Appended { saved: 0 },
        };
        let mut kept = KeptRows { store: RowStore::new(schema), form };
        snapshots.iter().try_for_each(|snapshot| kept.restore(snapshot))?;
        if let (Form::Keyed(keyed), false) = (&mut kept.form, snapshots.is_empty()) {
            keyed.changes = Changes::resumed(&keyed.index.groups_in_order());
        }
        Ok(kept)
    }

    /// The columns of the rows.
    pub fn schema(&self) -> &SchemaRef {
        self.store.schema()
    }

    /// The rows that are there, in the order in which they, or their keys, became present.
    pub fn current_rows(&self) -> Result<RecordBatch> {
        match &self.form {
            Form::Appended { .. } => self.store.rows(),
            Form::Keyed(keyed) => self.batch(&keyed.present()),
        }
    }

    /// Drops all rows, for good: no more will come.
    pub fn clear(&mut self) {
        self.store = RowStore::new(self.store.schema().clone());
        self.form = Form::Appended { saved: 0 };
    }

    /// How many rows are there.
    pub fn count(&self) -> usize {
        match &self.form {
            Form::Appended { .. } => self.store.live(),
            Form::Keyed(keyed) => keyed.places.iter().map(|place| keyed.times(place)).sum(),
        }
    }

    /// The row of a key, one value a column; none if there is no such row, or if rows have no key to be found by.
    pub fn find(&mut self, key: &[ArrayRef]) -> Result<RecordBatch> {
        let found = match &mut self.form {
            Form::Keyed(keyed) if matches!(keyed.key, Key::Columns(_)) => keyed.find(key)?,
            Form::Keyed(_) | Form::Appended { .. } => None,
        };
        self.batch(&Vec::from_iter(found))
    }

    fn batch(&self, rows: &[RowId]) -> Result<RecordBatch> {
        let ids: Vec<Option<RowId>> = rows.iter().copied().map(Some).collect();
        record_batch(self.store.schema(), self.store.gather(&ids)?, ids.len())
    }

    /// The rows with the columns' types and names; what an operator says may differ from its plan in the names of the
    /// parts of lists and structs.
    fn conformed(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let schema = self.store.schema();
        let columns = rows.columns().iter().zip(schema.fields()).map(|(column, field)| {
            let same = column.data_type() == field.data_type();
            Ok(if same { column.clone() } else { cast(column, field.data_type())? })
        });
        record_batch(schema, columns.collect::<Result<_>>()?, rows.num_rows())
    }

    fn keep(&mut self, batch: &Batch) -> Result<()> {
        let KeptRows { store, form } = self;
        match form {
            Form::Appended { .. } => {
                store.append(batch.rows())?;
                store.retain(batch.num_rows());
                Ok(())
            }
            Form::Keyed(keyed) => keyed.keep(batch, store),
        }
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let KeptRows { store, form } = self;
        match form {
            Form::Appended { saved } => {
                let Some(rows) = snapshot.table(ROWS) else { return Ok(()) };
                let rows = record_batch(store.schema(), rows.columns().to_vec(), rows.num_rows())?;
                store.append(&rows)?;
                store.retain(rows.num_rows());
                *saved += rows.num_rows();
                Ok(())
            }
            Form::Keyed(keyed) => keyed.restore(snapshot, store),
        }
    }
}

impl Keyed {
    fn new(schema: &SchemaRef, key: Key) -> Result<Keyed> {
        let empty = RecordBatch::new_empty(schema.clone());
        let types: Vec<DataType> = key.columns(&empty).iter().map(|column| column.data_type().clone()).collect();
        Ok(Keyed { key, index: GroupIndex::new(&types)?, places: vec![], changes: Changes::default() })
    }

    fn number(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut groups = vec![];
        self.index.intern(keys, rows, &mut groups)?;
        self.places.resize(self.index.slots().max(self.places.len()), Place::default());
        Ok(groups)
    }

    fn keep(&mut self, batch: &Batch, store: &mut RowStore) -> Result<()> {
        let groups = self.number(&self.key.columns(batch.rows()), batch.num_rows())?;
        let mut next = store.append(&coming(batch)?)?;
        for (row, group) in groups.iter().enumerate() {
            self.changes.mark(*group);
            let place = &mut self.places[*group as usize];
            match batch.kind(row) {
                // Its `+U` comes next, and takes the row's place by itself.
                RowKind::UpdateBefore if groups.get(row + 1) == Some(group) => place.count -= 1,
                RowKind::UpdateAfter if row > 0 && is_other_half(batch, &groups, row) => {
                    *place = Place { count: place.count + 1, row: next };
                    next += 1;
                }
                RowKind::Insert | RowKind::UpdateAfter => {
                    *place = Place { count: place.count + 1, row: next };
                    if place.count == 1 {
                        // The key may have gone a moment ago: then it is new, wherever the batches were cut.
                        self.index.move_to_end(*group);
                        store.retain(1);
                    }
                    next += 1;
                }
                RowKind::Delete | RowKind::UpdateBefore => {
                    place.count -= 1;
                    store.release(usize::from(place.count == 0));
                }
            }
        }
        self.forget(groups)?;
        self.compact(store)
    }

    /// Frees the keys without a row.
    fn forget(&mut self, mut groups: Vec<u32>) -> Result<()> {
        groups.retain(|group| self.places[*group as usize].count == 0);
        groups.sort_unstable();
        groups.dedup();
        self.changes.bury(&self.index, &groups)?;
        self.index.remove(&groups);
        Ok(())
    }

    fn compact(&mut self, store: &mut RowStore) -> Result<()> {
        if store.wants_compaction() {
            let mut live: Vec<&mut Place> = self.places.iter_mut().filter(|place| place.count > 0).collect();
            let first = store.compact(&live.iter().map(|place| place.row).collect::<Vec<_>>())?;
            live.iter_mut().enumerate().for_each(|(nth, place)| place.row = first + nth);
        }
        Ok(())
    }

    /// How many rows of a key are there.
    fn times(&self, place: &Place) -> usize {
        match self.key {
            Key::Columns(_) => usize::from(place.count > 0),
            Key::Row => usize::try_from(place.count).unwrap_or(0),
        }
    }

    fn present(&self) -> Vec<RowId> {
        let places = self.index.groups_in_order().into_iter().map(|group| &self.places[group as usize]);
        places.flat_map(|place| std::iter::repeat_n(place.row, self.times(place))).collect()
    }

    fn find(&mut self, key: &[ArrayRef]) -> Result<Option<RowId>> {
        let group = self.number(key, 1)?.first().copied().unwrap_or_default();
        let place = self.places[group as usize];
        if place.count == 0 {
            // Asking for a key leaves no trace of it.
            self.index.remove(&[group]);
        }
        Ok((place.count > 0).then_some(place.row))
    }

    fn restore(&mut self, snapshot: &Snapshot, store: &mut RowStore) -> Result<()> {
        if let Some(gone) = snapshot.table(GONE) {
            let groups = self.number(gone.columns(), gone.num_rows())?;
            for group in &groups {
                let place = std::mem::take(&mut self.places[*group as usize]);
                store.release(usize::from(place.count > 0));
            }
            self.index.remove(&groups);
        }
        let Some(saved) = snapshot.table(ROWS) else { return Ok(()) };
        let missing = || InternalError::new("the saved rows of a view are not in their form");
        let [sequence, counts, columns @ ..] = saved.columns() else { return Err(missing().into()) };
        let sequence = sequence.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?;
        let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(missing)?;
        let rows = record_batch(store.schema(), columns.to_vec(), saved.num_rows())?;
        let groups = self.number(&self.key.columns(&rows), rows.num_rows())?;
        self.index.set_sequence(&groups, sequence.values());
        let first = store.append(&rows)?;
        for (row, group) in groups.iter().enumerate() {
            let before = &mut self.places[*group as usize];
            store.retain(usize::from(before.count == 0));
            *before = Place { count: counts.value(row), row: first + row };
        }
        Ok(())
    }

    fn snapshot(&mut self, since: Epoch, store: &RowStore) -> Result<Snapshot> {
        let changed = self.changes.take(&self.index, since)?;
        let places: Vec<Place> = changed.groups.iter().map(|group| self.places[*group as usize]).collect();
        let counts = Int64Array::from_iter_values(places.iter().map(|place| place.count));
        let sequence = UInt64Array::from(self.index.sequence(&changed.groups));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(sequence), Arc::new(counts)];
        columns.extend(store.gather(&places.iter().map(|place| Some(place.row)).collect::<Vec<_>>())?);
        let mut tables = Vec::from_iter(changed.gone);
        tables.push(table(ROWS, columns, places.len())?);
        Ok(Snapshot { tables })
    }
}

impl Key {
    /// The columns by which rows are found.
    fn columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        match self {
            Key::Columns(columns) => columns.iter().map(|column| rows.column(*column).clone()).collect(),
            Key::Row => rows.columns().iter().map(to_the_bit).collect(),
        }
    }
}

/// Whether the row before `row` is the `-U` of its `+U`, of the same key.
fn is_other_half(batch: &Batch, groups: &[u32], row: usize) -> bool {
    batch.kind(row - 1) == RowKind::UpdateBefore && groups[row - 1] == groups[row]
}

/// The rows of a batch that come.
fn coming(batch: &Batch) -> Result<RecordBatch> {
    match batch.kinds() {
        Some(kinds) if kinds.iter().any(|kind| kind.weight() < 0) => {
            let comes: BooleanArray = kinds.iter().map(|kind| Some(kind.weight() > 0)).collect();
            Ok(filter_record_batch(batch.rows(), &comes)?)
        }
        Some(_) | None => Ok(batch.rows().clone()),
    }
}

/// A column in which -0.0 and 0.0 are two values: of two rows that differ in that alone, the one that goes is the one meant.
fn to_the_bit(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float16 => {
            Arc::new(column.as_primitive::<Float16Type>().unary::<_, Int16Type>(|value| value.to_bits() as i16))
        }
        DataType::Float32 => {
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Int32Type>(|value| value.to_bits() as i32))
        }
        DataType::Float64 => {
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Int64Type>(|value| value.to_bits() as i64))
        }
        // Arrow's types are not ours to enumerate: in all others what is equal is alike.
        _ => column.clone(),
    }
}

impl Operator for KeptRows {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let batch = batch.with_rows(self.conformed(batch.rows())?);
        self.keep(&batch)?;
        out.push(batch);
        Ok(())
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let KeptRows { store, form } = self;
        Ok(Some(match form {
            Form::Keyed(keyed) => keyed.snapshot(since, store)?,
            Form::Appended { saved } => {
                let from = if since == Epoch::ZERO { 0 } else { *saved };
                *saved = store.held();
                let rows = store.gather(&(from..*saved).map(Some).collect::<Vec<_>>())?;
                Snapshot { tables: vec![table(ROWS, rows, *saved - from)?] }
            }
        }))
    }

    fn state_size(&self) -> StateSize {
        let found = match &self.form {
            Form::Appended { .. } => 0,
            Form::Keyed(keyed) => {
                keyed.index.bytes() + keyed.changes.bytes() + keyed.places.capacity() * size_of::<Place>()
            }
        };
        StateSize { rows: self.store.live(), bytes: self.store.bytes() + found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{batch, columns, row_texts};

    const CHANGES: ChangelogMode = ChangelogMode::Changelog;

    /// Feeds each line, restarts, and compares the rows that are there, in order.
    fn keeps(schema: &SchemaRef, mode: ChangelogMode, key: Option<&[usize]>, steps: &[(&str, &str)]) {
        let mut kept = KeptRows::new(schema.clone(), mode, key, &[]).unwrap();
        let (mut snapshots, mut epoch) = (vec![], Epoch::ZERO);
        for (change, rows) in steps {
            let mut out = Output::default();
            kept.on_batch(Port(0), batch(schema, change), &mut out).unwrap();
            let said: Vec<String> = out.drain().flat_map(|batch| row_texts(&batch)).collect();
            assert_eq!(said.join(" | "), *change);
            snapshots.extend(kept.snapshot(epoch).unwrap());
            let before = (kept.count(), kept.state_size().rows);
            kept = KeptRows::new(schema.clone(), mode, key, &snapshots).unwrap();
            epoch = epoch.next();
            let drawn = row_texts(&Batch::append_only(kept.current_rows().unwrap())).join(" | ");
            assert_eq!((drawn.as_str(), (kept.count(), kept.state_size().rows)), (*rows, before), "after {change}");
        }
    }

    #[test]
    fn rows_that_only_come_are_kept_in_order() {
        let steps = [("+I a 1 | +I b 2", "a 1 | b 2"), ("+I a 1", "a 1 | b 2 | a 1")];
        let plain = steps.map(|(change, rows)| (change.replace("+I ", ""), rows));
        let plain: Vec<(&str, &str)> = plain.iter().map(|(change, rows)| (change.as_str(), *rows)).collect();
        keeps(&columns("k:text n:int"), ChangelogMode::AppendOnly, None, &plain);
    }

    #[test]
    fn a_key_keeps_its_place_while_its_row_changes() {
        keeps(
            &columns("k:text n:int"),
            CHANGES,
            Some(&[0]),
            &[
                ("+I a 1 | +I NULL 2", "a 1 | NULL 2"),
                ("-U a 1 | +U a 3 | +I c 4", "a 3 | NULL 2 | c 4"),
                ("-D NULL 2 | -U a 3 | +U a 5", "a 5 | c 4"),
                ("-D a 5 | +I a 6", "c 4 | a 6"),
            ],
        );
    }

    #[test]
    fn the_new_row_of_a_key_may_come_before_the_old_one_goes() {
        keeps(&columns("k:text n:int"), CHANGES, Some(&[0]), &[("+I a 1", "a 1"), ("+I a 2 | -D a 1", "a 2")]);
    }

    #[test]
    fn without_a_key_rows_are_counted() {
        keeps(
            &columns("k:text x:float"),
            CHANGES,
            None,
            &[
                ("+I a 1.0 | +I b 1.0 | +I a 1.0", "a 1.0 | a 1.0 | b 1.0"),
                ("-D a 1.0 | +I a -0.0 | +I a 0.0", "a 1.0 | b 1.0 | a -0.0 | a 0.0"),
                ("-D a 0.0 | -U a 1.0 | +U c NULL", "b 1.0 | a -0.0 | c NULL"),
            ],
        );
    }

    #[test]
    fn without_columns_to_tell_them_apart_there_is_one_row() {
        keeps(&columns("n:int"), CHANGES, Some(&[]), &[("+I 0", "0"), ("-U 0 | +U 4", "4"), ("-D 4", "")]);
    }

    #[test]
    fn a_row_is_found_by_its_key_and_asking_leaves_no_trace() -> Result<()> {
        let schema = columns("n:int k:text");
        let mut kept = KeptRows::new(schema.clone(), CHANGES, Some(&[1]), &[])?;
        kept.on_batch(Port(0), batch(&schema, "+I 1 a | +I 2 b | -U 1 a | +U 3 a | -D 2 b"), &mut Output::default())?;
        let mut found = |key: &str| -> Result<Vec<String>> {
            let key = batch(&columns("k:text"), key);
            Ok(row_texts(&Batch::append_only(kept.find(key.rows().columns())?)))
        };
        assert_eq!((found("a")?, found("b")?, found("z")?), (vec!["3 a".to_owned()], vec![], vec![]));
        assert_eq!((kept.count(), kept.current_rows()?.num_rows()), (1, 1));
        Ok(())
    }

    #[test]
    fn what_has_gone_is_not_held_for_ever() -> Result<()> {
        let schema = columns("k:int n:int");
        let mut kept = KeptRows::new(schema.clone(), CHANGES, Some(&[0]), &[])?;
        for round in 0..8 {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5_000));
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..5_000).map(|id| id + round)));
            let rows = RecordBatch::try_new(schema.clone(), vec![ids, values])?;
            let kinds = if round == 0 { RowKind::Insert } else { RowKind::UpdateAfter };
            let kinds = crate::types::RowKinds::all(kinds, 5_000);
            kept.on_batch(Port(0), Batch::changelog(rows.clone(), kinds), &mut Output::default())?;
            if round > 0 {
                let gone = crate::types::RowKinds::all(RowKind::Delete, 5_000);
                kept.on_batch(Port(0), Batch::changelog(rows, gone), &mut Output::default())?;
            }
        }
        assert!(kept.store.held() <= 20_000, "{} rows are held for 5000", kept.store.held());
        assert_eq!(kept.count(), 5_000);
        Ok(())
    }
}
