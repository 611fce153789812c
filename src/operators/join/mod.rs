//! The keyed join: two or more sides, one state a key.
//!
//! ```text
//! KEEP LAST EMIT RUNNING, FULL      left  a 1   →   a 1    NULL
//!                                   right a x   →   a 1    x
//!                                   left  a 2   →   a 2    x
//! ```
//!
//! A slot stands for a key. Each side has the rows it keeps for a slot, in a store of its own:
//!
//! ```text
//! key → slot      side 0: slot → row → row        side 1: slot → row
//! ```
//!
//! Rows are taken in order of arrival, so the answer does not depend on how they were cut into batches.

mod combinations;
mod saved;
mod side;

use std::ops::Range;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter;
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{InternalError, Result};
use crate::operators::join::combinations::Combinations;
use crate::operators::join::side::Side;
use crate::operators::rows::{append_only, record_batch};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node;
use crate::plan::node::{JoinEmit, JoinKeep};
use crate::state::{GroupIndex, NONE, Place, Snapshot};
use crate::types::{Batch, Epoch};

/// The operator of `node`.
pub fn build(node: &node::KeyedJoin, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let Some(first) = node.sides.first() else {
        return Err(InternalError::new("a keyed join without sides").into());
    };
    let key_types: Vec<DataType> = first.keys.iter().map(|key| key.data_type().clone()).collect();
    let mut join = KeyedJoin {
        sides: node.sides.iter().map(Side::new).collect(),
        side_schemas: node.sides.iter().map(|side| side.input.schema()).collect(),
        keep: node.keep,
        emit: node.emit,
        required: node.required.clone(),
        schema: node.schema.clone(),
        index: GroupIndex::new(&key_types)?,
        key_types,
        combinations: Combinations::new(node.schema.clone(), node.sides.len()),
        firsts: vec![],
        alone: vec![],
        arrived: 0,
        discarded: vec![],
        saved: 0,
        gone: vec![],
        ended: false,
    };
    snapshots.iter().try_for_each(|snapshot| join.restore(snapshot))?;
    Ok(Box::new(join))
}

struct KeyedJoin {
    sides: Vec<Side>,
    side_schemas: Vec<SchemaRef>,
    keep: JoinKeep,
    emit: JoinEmit,
    required: Vec<bool>,
    schema: SchemaRef,
    key_types: Vec<DataType>,
    index: GroupIndex,
    combinations: Combinations,
    /// By slot: when the key appeared, as a number in the order of arrival.
    firsts: Vec<u64>,
    /// Under FINAL, the rows whose key is NULL.
    alone: Vec<Alone>,
    /// How many rows have come.
    arrived: u64,
    /// Slots discarded in this batch, and whether a snapshot has rows of them.
    discarded: Vec<(u32, bool)>,
    /// Rows that came before this one are in a snapshot, unless discarded since.
    saved: u64,
    /// Keys to be discarded by the next snapshot.
    gone: Vec<RecordBatch>,
    /// Whether everything has been discarded since the last snapshot.
    ended: bool,
}

/// A row that can't match any other.
struct Alone {
    sequence: u64,
    side: usize,
    row: u32,
}

impl Operator for KeyedJoin {
    fn on_batch(&mut self, Port(side): Port, batch: Batch, out: &mut Output) -> Result<()> {
        let rows = append_only(&batch, "a keyed join")?;
        if side >= self.sides.len() {
            return Err(InternalError::new(format!("a keyed join has no side {side}")).into());
        }
        let slots = self.sides[side].find_slots(rows, &mut self.index)?;
        self.grow();
        self.sides[side].store.begin(rows);
        match (self.keep, self.emit) {
            (JoinKeep::Last, JoinEmit::Running) => self.last_running(side, rows, &slots, out)?,
            (JoinKeep::First | JoinKeep::Last | JoinKeep::Product, _) => self.row_by_row(side, &slots, out)?,
        }
        self.arrived += slots.len() as u64;
        self.sides[side].store.commit()?;
        self.forget_discarded()
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        match self.emit {
            JoinEmit::Complete | JoinEmit::Running => Ok(()),
            JoinEmit::Final => {
                self.emit_all(out)?;
                self.clear()
            }
        }
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.save(since == Epoch::ZERO).map(Some)
    }

    fn state_size(&self) -> StateSize {
        let rows = self.sides.iter().map(|side| side.store.len()).sum();
        let bytes = self.sides.iter().map(|side| side.store.bytes()).sum::<usize>() + self.index.bytes();
        StateSize { rows, bytes }
    }
}

impl KeyedJoin {
    fn row_by_row(&mut self, side: usize, slots: &[u32], out: &mut Output) -> Result<()> {
        for (row, slot) in slots.iter().enumerate() {
            let sequence = self.arrived + row as u64;
            if *slot == NONE {
                self.on_row_alone(side, row, sequence, out)?;
            } else {
                self.on_row(side, *slot, row, sequence, out)?;
            }
        }
        self.combinations.flush(&self.sides, out)
    }

    /// The rule of the keyed join, for one row.
    fn on_row(&mut self, side: usize, slot: u32, row: usize, sequence: u64, out: &mut Output) -> Result<()> {
        let first = &mut self.firsts[slot as usize];
        *first = sequence.min(*first);
        self.sides[side].keep(self.keep, slot, row, sequence)?;
        match self.emit {
            JoinEmit::Complete if self.sides.iter().all(|side| side.has(slot)) => {
                self.combinations.add_all(&self.sides, slot, out)?;
                self.discard(slot);
            }
            JoinEmit::Running if self.is_wanted(slot) => self.combinations.add_all(&self.sides, slot, out)?,
            JoinEmit::Complete | JoinEmit::Running | JoinEmit::Final => {}
        }
        Ok(())
    }

    /// The same for a row whose key is NULL: it is a key of its own.
    fn on_row_alone(&mut self, side: usize, row: usize, sequence: u64, out: &mut Output) -> Result<()> {
        let place = self.sides[side].store.pending(row);
        let speaks = match self.emit {
            // It can never be complete where there is another side, so it need not be kept either.
            JoinEmit::Complete => self.sides.len() == 1,
            JoinEmit::Running => self.is_wanted_alone(side),
            JoinEmit::Final => return self.keep_alone(side, row, sequence),
        };
        if speaks { self.combinations.add_alone(&self.sides, side, place, out) } else { Ok(()) }
    }

    fn keep_alone(&mut self, side: usize, row: usize, sequence: u64) -> Result<()> {
        let row = self.sides[side].keep_alone(row, sequence)?;
        self.alone.push(Alone { sequence, side, row });
        Ok(())
    }

    /// `KEEP LAST EMIT RUNNING` at once for a whole batch: one row out for each row in,
    /// and what the other sides have does not change on the way.
    fn last_running(&mut self, side: usize, rows: &RecordBatch, slots: &[u32], out: &mut Output) -> Result<()> {
        let mut wanted = vec![true; slots.len()];
        let mut columns = vec![];
        for (index, other) in self.sides.iter().enumerate() {
            if index == side {
                columns.extend(rows.columns().iter().cloned());
                continue;
            }
            let places: Vec<Place> = slots.iter().map(|slot| other.first(*slot)).collect();
            if self.required[index] {
                wanted.iter_mut().zip(&places).for_each(|(wanted, place)| *wanted &= *place != Place::MISSING);
            }
            columns.extend(other.store.gather(&places)?);
        }
        out.push(Batch::append_only(self.only_wanted(columns, wanted)?));
        for (row, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let sequence = self.arrived + row as u64;
            self.sides[side].keep(self.keep, *slot, row, sequence)?;
        }
        Ok(())
    }

    fn only_wanted(&self, columns: Vec<ArrayRef>, wanted: Vec<bool>) -> Result<RecordBatch> {
        if wanted.iter().all(|wanted| *wanted) {
            return record_batch(&self.schema, columns, wanted.len());
        }
        // A side that is required may hold no NULL in the result, so what is not wanted goes before the schema is set.
        let mask = BooleanArray::from(wanted);
        let columns = columns.iter().map(|column| filter(column, &mask)).collect::<Result<Vec<_>, _>>()?;
        record_batch(&self.schema, columns, mask.true_count())
    }

    /// All combinations of all keys, in the order in which the keys appeared.
    fn emit_all(&mut self, out: &mut Output) -> Result<()> {
        let mut alone = std::mem::take(&mut self.alone);
        alone.sort_unstable_by_key(|alone| alone.sequence);
        let mut alone = alone.into_iter().peekable();
        let mut slots = self.index.groups_in_order();
        slots.sort_unstable_by_key(|slot| self.firsts[*slot as usize]);
        for slot in slots {
            while let Some(row) = alone.next_if(|alone| alone.sequence < self.firsts[slot as usize]) {
                self.emit_alone(&row, out)?;
            }
            if self.is_wanted(slot) {
                self.combinations.add_all(&self.sides, slot, out)?;
            }
        }
        alone.try_for_each(|row| self.emit_alone(&row, out))?;
        self.combinations.flush(&self.sides, out)
    }

    fn emit_alone(&mut self, alone: &Alone, out: &mut Output) -> Result<()> {
        if !self.is_wanted_alone(alone.side) {
            return Ok(());
        }
        let place = self.sides[alone.side].store.place(alone.row);
        self.combinations.add_alone(&self.sides, alone.side, place, out)
    }

    /// Whether every side that a combination needs has a row.
    fn is_wanted(&self, slot: u32) -> bool {
        self.required.iter().zip(&self.sides).all(|(required, side)| !required || side.has(slot))
    }

    fn is_wanted_alone(&self, side: usize) -> bool {
        self.required.iter().enumerate().all(|(index, required)| !required || index == side)
    }

    /// Drops the rows of a slot. The key itself stays until the end of the batch: later rows may be of it.
    fn discard(&mut self, slot: u32) {
        let mut saved = false;
        for side in &mut self.sides {
            saved |= side.discard(slot, self.saved);
        }
        self.firsts[slot as usize] = u64::MAX;
        self.discarded.push((slot, saved));
    }

    /// Forgets the keys that were discarded and have not come again.
    fn forget_discarded(&mut self) -> Result<()> {
        if self.discarded.is_empty() {
            return Ok(());
        }
        let mut discarded = std::mem::take(&mut self.discarded);
        let saved: Vec<u32> = discarded.iter().filter(|(_, saved)| *saved).map(|(slot, _)| *slot).collect();
        if !saved.is_empty() {
            self.gone.push(self.gone_keys(&saved)?);
        }
        discarded.sort_unstable();
        discarded.dedup_by_key(|(slot, _)| *slot);
        let empty = |slot: &u32| self.sides.iter().all(|side| !side.has(*slot));
        let forgotten: Vec<u32> = discarded.iter().map(|(slot, _)| *slot).filter(empty).collect();
        self.index.remove(&forgotten);
        Ok(())
    }

    /// Discards everything.
    fn clear(&mut self) -> Result<()> {
        for (side, schema) in self.sides.iter_mut().zip(&self.side_schemas) {
            side.clear(schema.clone());
        }
        self.index = GroupIndex::new(&self.key_types)?;
        self.firsts.clear();
        self.alone.clear();
        self.gone.clear();
        self.ended = true;
        Ok(())
    }

    /// Makes room for the slots of new keys.
    fn grow(&mut self) {
        let slots = self.index.slots();
        self.sides.iter_mut().for_each(|side| side.grow(slots));
        self.firsts.resize(slots.max(self.firsts.len()), u64::MAX);
    }

    fn first(&self, slot: u32) -> u64 {
        self.firsts[slot as usize]
    }

    /// Which columns of the result are those of `side`.
    fn columns_of(&self, side: usize) -> Range<usize> {
        let start = self.side_schemas[..side].iter().map(|schema| schema.fields().len()).sum();
        start..start + self.side_schemas[side].fields().len()
    }
}

#[cfg(test)]
mod tests;
