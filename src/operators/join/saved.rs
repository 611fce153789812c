//! Snapshots of a keyed join.
//!
//! | table | columns | says |
//! | --- | --- | --- |
//! | `ended` | a marker | nothing of earlier snapshots counts |
//! | `gone` | the key | the key's rows of earlier snapshots are discarded |
//! | `rows` | the key, the row's and the key's place in the order of arrival, the side, the result's columns | a row is kept |
//!
//! They apply in that order. A row fills the columns of its own side only.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type};

use crate::error::Result;
use crate::operators::join::KeyedJoin;
use crate::operators::join::side::intern_keys;
use crate::operators::rows::record_batch;
use crate::state::{NONE, Place, Snapshot, StateTable};

const ENDED: &str = "ended";
const GONE: &str = "gone";
const ROWS: &str = "rows";

impl KeyedJoin {
    /// The tables of what has changed since the last snapshot, or of everything.
    pub(super) fn save(&mut self, full: bool) -> Result<Snapshot> {
        let mut tables = vec![];
        if full || self.ended {
            let marker: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
            tables.push(StateTable { name: ENDED, rows: RecordBatch::try_from_iter([(ENDED, marker)])? });
        }
        if !full && !self.gone.is_empty() {
            tables.push(StateTable { name: GONE, rows: concat_batches(&self.key_schema(), &self.gone)? });
        }
        let rows = self.rows_since(if full { 0 } else { self.saved })?;
        if rows.num_rows() > 0 {
            tables.push(StateTable { name: ROWS, rows });
        }
        self.gone.clear();
        self.ended = false;
        self.saved = self.arrived;
        Ok(Snapshot { tables })
    }

    /// Applies a snapshot to the state that came of the ones before.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        if snapshot.table(ENDED).is_some() {
            self.clear()?;
        }
        if let Some(gone) = snapshot.table(GONE) {
            let mut slots = vec![];
            self.index.intern(gone.columns(), gone.num_rows(), &mut slots)?;
            self.grow();
            slots.iter().for_each(|slot| self.discard(*slot));
            self.forget_discarded()?;
        }
        if let Some(rows) = snapshot.table(ROWS) {
            self.restore_rows(rows)?;
        }
        self.saved = self.arrived;
        Ok(())
    }

    /// Keys that are discarded and that a snapshot still has.
    pub(super) fn gone_keys(&self, slots: &[u32]) -> Result<RecordBatch> {
        record_batch(&self.key_schema(), self.index.keys(slots)?, slots.len())
    }

    fn key_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.key_fields()))
    }

    fn key_fields(&self) -> Vec<Field> {
        let keys = self.key_types.iter().enumerate();
        keys.map(|(index, data_type)| Field::new(format!("key_{index}"), data_type.clone(), true)).collect()
    }

    fn rows_schema(&self) -> SchemaRef {
        let mut fields = self.key_fields();
        fields.push(Field::new("sequence", DataType::UInt64, false));
        fields.push(Field::new("first", DataType::UInt64, false));
        fields.push(Field::new("side", DataType::UInt32, false));
        let result = self.schema.fields().iter().enumerate();
        fields.extend(result.map(|(index, f)| Field::new(format!("column_{index}"), f.data_type().clone(), true)));
        Arc::new(Schema::new(fields))
    }

    fn rows_since(&self, sequence: u64) -> Result<RecordBatch> {
        let schema = self.rows_schema();
        let sides = (0..self.sides.len())
            .map(|side| self.side_since(side, sequence, &schema))
            .collect::<Result<Vec<RecordBatch>>>()?;
        Ok(concat_batches(&schema, &sides)?)
    }

    fn side_since(&self, side: usize, sequence: u64, schema: &SchemaRef) -> Result<RecordBatch> {
        let kept = &self.sides[side];
        let rows = kept.store.since(sequence);
        let slots: Vec<u32> = rows.iter().map(|row| kept.slot(*row)).collect();
        let sequences = || rows.iter().map(|row| kept.store.sequence(*row));
        let firsts =
            slots.iter().zip(sequences()).map(|(slot, own)| if *slot == NONE { own } else { self.first(*slot) });
        let mut columns = self.keys_or_null(&slots)?;
        columns.push(Arc::new(UInt64Array::from_iter_values(sequences())));
        columns.push(Arc::new(UInt64Array::from_iter_values(firsts)));
        columns.push(Arc::new(UInt32Array::from(vec![side as u32; rows.len()])));
        let places: Vec<Place> = rows.iter().map(|row| kept.store.place(*row)).collect();
        let own = self.columns_of(side);
        let result = self.schema.fields();
        columns.extend(result[..own.start].iter().map(|field| new_null_array(field.data_type(), rows.len())));
        columns.extend(kept.store.gather(&places)?);
        columns.extend(result[own.end..].iter().map(|field| new_null_array(field.data_type(), rows.len())));
        record_batch(schema, columns, rows.len())
    }

    /// The keys of the slots; all NULL for a row without one.
    fn keys_or_null(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let valid: Vec<u32> = slots.iter().copied().filter(|slot| *slot != NONE).collect();
        let keys = self.index.keys(&valid)?;
        if valid.len() == slots.len() {
            return Ok(keys);
        }
        let mut next = 0..;
        let indices: UInt32Array = slots.iter().map(|slot| if *slot == NONE { None } else { next.next() }).collect();
        Ok(keys.iter().map(|key| take(key, &indices, None)).collect::<Result<_, _>>()?)
    }

    fn restore_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        let sides = rows.column(self.key_types.len() + 2).as_primitive::<UInt32Type>().clone();
        for side in 0..self.sides.len() {
            let own: BooleanArray = sides.values().iter().map(|of| Some(*of as usize == side)).collect();
            self.restore_side(side, &filter_record_batch(rows, &own)?)?;
        }
        Ok(())
    }

    fn restore_side(&mut self, side: usize, rows: &RecordBatch) -> Result<()> {
        let keys = self.key_types.len();
        let slots = intern_keys(&rows.columns()[..keys], rows.num_rows(), &mut self.index)?;
        self.grow();
        let sequences = rows.column(keys).as_primitive::<UInt64Type>().values().clone();
        let firsts = rows.column(keys + 1).as_primitive::<UInt64Type>().values().clone();
        let own = self.columns_of(side);
        let columns = rows.columns()[keys + 3 + own.start..keys + 3 + own.end].to_vec();
        self.sides[side].store.begin(&record_batch(&self.side_schemas[side], columns, rows.num_rows())?);
        for (row, slot) in slots.into_iter().enumerate() {
            self.arrived = self.arrived.max(sequences[row] + 1);
            if slot == NONE {
                self.keep_alone(side, row, sequences[row])?;
            } else {
                self.firsts[slot as usize] = firsts[row];
                self.sides[side].keep(self.keep, slot, row, sequences[row])?;
            }
        }
        self.sides[side].store.commit()
    }
}
