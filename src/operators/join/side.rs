//! What a keyed join remembers of one side: for each key the rows kept, first to last.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::Expr;
use crate::plan::node::{JoinKeep, JoinSide};
use crate::state::{GroupIndex, NONE, Place, RowStore};

pub(super) struct Side {
    pub(super) keys: Vec<Expr>,
    pub(super) store: RowStore,
    /// By slot: the first row kept, or `NONE`.
    heads: Vec<u32>,
    /// By slot: the last row kept.
    tails: Vec<u32>,
    /// By row: the next row of the slot, or `NONE`.
    nexts: Vec<u32>,
    /// By row: its slot, or `NONE` for a row whose key is NULL.
    slots: Vec<u32>,
}

impl Side {
    pub(super) fn new(node: &JoinSide) -> Side {
        let store = RowStore::new(node.input.schema());
        Side { keys: node.keys.clone(), store, heads: vec![], tails: vec![], nexts: vec![], slots: vec![] }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self, schema: SchemaRef) {
        self.store = RowStore::new(schema);
        self.heads.clear();
        self.tails.clear();
        self.nexts.clear();
        self.slots.clear();
    }

    /// Makes room for slots below `slots`.
    pub(super) fn grow(&mut self, slots: usize) {
        self.heads.resize(slots.max(self.heads.len()), NONE);
        self.tails.resize(slots.max(self.tails.len()), NONE);
    }

    /// Whether the slot has a row.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.heads[slot as usize] != NONE
    }

    /// The slot of a kept row.
    pub(super) fn slot(&self, row: u32) -> u32 {
        self.slots[row as usize]
    }

    /// Where the first row of the slot lies; the only one unless all are kept.
    pub(super) fn first(&self, slot: u32) -> Place {
        match self.heads.get(slot as usize) {
            None | Some(&NONE) => Place::MISSING,
            Some(row) => self.store.place(*row),
        }
    }

    /// The rows of the slot, in stored order.
    pub(super) fn rows(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        let next = |row: u32| (row != NONE).then_some(row);
        std::iter::successors(next(self.heads[slot as usize]), move |row| next(self.nexts[*row as usize]))
    }

    /// Takes row `row` of the pending batch into the slot, as `keep` says.
    pub(super) fn keep(&mut self, keep: JoinKeep, slot: u32, row: usize, sequence: u64) -> Result<()> {
        let head = self.heads[slot as usize];
        match keep {
            JoinKeep::First if head != NONE => {}
            JoinKeep::Last if head != NONE => self.store.replace(head, row, sequence),
            JoinKeep::First | JoinKeep::Last | JoinKeep::Product => {
                let added = self.add(slot, row, sequence)?;
                match head {
                    NONE => self.heads[slot as usize] = added,
                    _ => self.nexts[self.tails[slot as usize] as usize] = added,
                }
                self.tails[slot as usize] = added;
            }
        }
        Ok(())
    }

    /// Keeps a row that no other will ever match.
    pub(super) fn keep_alone(&mut self, row: usize, sequence: u64) -> Result<u32> {
        self.add(NONE, row, sequence)
    }

    fn add(&mut self, slot: u32, row: usize, sequence: u64) -> Result<u32> {
        let added = self.store.add(row, sequence)?;
        self.nexts.resize(self.store.numbers(), NONE);
        self.slots.resize(self.store.numbers(), NONE);
        self.nexts[added as usize] = NONE;
        self.slots[added as usize] = slot;
        Ok(added)
    }

    /// Drops the rows of the slot. Says whether one of them came before `sequence`.
    pub(super) fn discard(&mut self, slot: u32, sequence: u64) -> bool {
        let mut before = false;
        let mut row = std::mem::replace(&mut self.heads[slot as usize], NONE);
        while row != NONE {
            before |= self.store.sequence(row) < sequence;
            self.store.remove(row);
            row = self.nexts[row as usize];
        }
        before
    }

    /// The slot of each row; `NONE` where a key is NULL, which no other row ever equals.
    pub(super) fn find_slots(&self, rows: &RecordBatch, index: &mut GroupIndex) -> Result<Vec<u32>> {
        let keys = self.keys.iter().map(|key| key.evaluate(rows)).collect::<Result<Vec<_>>>()?;
        intern_keys(&keys, rows.num_rows(), index)
    }
}

/// The slot of each key; `NONE` where a column of it is NULL.
pub(super) fn intern_keys(keys: &[ArrayRef], rows: usize, index: &mut GroupIndex) -> Result<Vec<u32>> {
    let nulls = keys.iter().fold(None, |nulls, key| NullBuffer::union(nulls.as_ref(), key.logical_nulls().as_ref()));
    let mut slots = vec![];
    let Some(valid) = nulls.filter(|nulls| nulls.null_count() > 0) else {
        index.intern(keys, rows, &mut slots)?;
        return Ok(slots);
    };
    let mask = valid.inner().clone().into();
    let valid_keys = keys.iter().map(|key| filter(key, &mask)).collect::<Result<Vec<_>, _>>()?;
    index.intern(&valid_keys, rows - valid.null_count(), &mut slots)?;
    let mut slots = slots.into_iter();
    Ok(valid.iter().map(|valid| if valid { slots.next().unwrap_or(NONE) } else { NONE }).collect())
}
