//! The rows that the right side has now, by key.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;

use crate::error::Result;
use crate::expr::Expr;
use crate::operators::join::store::{Change, Store};
use crate::operators::matching::{NONE, Nulls, Pairs, slots_of_whole};
use crate::operators::rows::{BATCH_ROWS, chosen, record_batch};
use crate::plan::node::{ChangelogMode, LookupJoin, Residual};
use crate::state::{Chains, Changes, GroupIndex, RowId, Snapshot, StateTable, table};
use crate::types::{Batch, Epoch, RowKind, RowKinds};

/// The rows, if they only come.
const ROWS: &str = "held";
/// Under which side the rows that may go are saved.
const RIGHT: usize = 1;

/// The rows of the right side, each in the chain of its key.
pub(super) struct Held {
    keys: [Vec<Expr>; 2],
    residual: Option<Residual>,
    index: GroupIndex,
    rows: Store,
    chains: Chains,
}

impl Held {
    pub fn new(node: &LookupJoin) -> Result<Held> {
        let types: Vec<_> = node.keys[1].iter().map(|key| key.data_type().clone()).collect();
        let mode = node.input_modes[1];
        Ok(Held {
            keys: node.keys.clone(),
            residual: node.residual.clone(),
            index: GroupIndex::new(&types)?,
            rows: Store::new(&node.inputs[1].schema(), mode)?,
            chains: Chains::new(mode == ChangelogMode::Changelog),
        })
    }

    /// Rows of the right side come and go.
    pub fn take_in(&mut self, batch: &Batch) -> Result<()> {
        let batch = batch.with_rows(self.rows.as_kept(batch.rows().clone())?);
        let (batch, slots) = self.matchable(&batch)?;
        let numbers = self.rows.append(&batch, &slots)?;
        self.chains.grow(self.index.slots(), self.rows.numbers());
        let mut gone = vec![];
        for (row, (number, slot)) in numbers.into_iter().zip(slots).enumerate() {
            match self.rows.change(number, batch.kind(row))? {
                Change::Appeared => self.chains.push(slot, number),
                Change::Gone => {
                    self.chains.unlink(slot, number);
                    gone.push((slot, number));
                }
                Change::Counted => {}
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let (slots, numbers) = gone.into_iter().unzip();
        self.rows.free(numbers)?;
        self.forget_keys(slots);
        Ok(())
    }

    /// The rows of a batch of the right side whose key has no NULL, and the slots of their keys.
    fn matchable(&mut self, batch: &Batch) -> Result<(Batch, Vec<u32>)> {
        let mut slots = self.number(RIGHT, batch.rows())?;
        if !slots.contains(&NONE) {
            return Ok((batch.clone(), slots));
        }
        let whole: Vec<u32> = (0..slots.len() as u32).filter(|row| slots[*row as usize] != NONE).collect();
        slots.retain(|slot| *slot != NONE);
        Ok((chosen(batch, &whole)?, slots))
    }

    /// The slot of each row's key; [`NONE`] where a part of it is NULL.
    fn number(&mut self, side: usize, rows: &RecordBatch) -> Result<Vec<u32>> {
        let keys = self.keys[side].iter().map(|key| key.evaluate(rows)).collect::<Result<Vec<_>>>()?;
        let nulls = Nulls::of(&keys);
        slots_of_whole(&mut self.index, &keys, rows.num_rows(), |row| !nulls.in_row(row))
    }

    /// Finds the rows that match those of the left side, in the order of these, and hands them on piece by piece.
    pub fn find(&mut self, rows: &RecordBatch, mut found: impl FnMut(&Held, Pairs) -> Result<()>) -> Result<()> {
        let slots = self.number(0, rows)?;
        let mut pairs = Pairs::default();
        for (row, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            self.chains.append_to(*slot, &mut pairs.other);
            pairs.own.resize(pairs.other.len(), row as u32);
            if pairs.other.len() >= BATCH_ROWS {
                self.hand_on(rows, std::mem::take(&mut pairs), &mut found)?;
            }
        }
        self.hand_on(rows, pairs, &mut found)?;
        // Asking for a key leaves no trace of it.
        self.forget_keys(slots);
        Ok(())
    }

    fn hand_on(
        &self,
        rows: &RecordBatch,
        pairs: Pairs,
        found: &mut impl FnMut(&Held, Pairs) -> Result<()>,
    ) -> Result<()> {
        for (left, right) in pairs.own.chunks(BATCH_ROWS).zip(pairs.other.chunks(BATCH_ROWS)) {
            let pairs = match &self.residual {
                Some(residual) => self.passing(residual, rows, left, right)?,
                None => Pairs { own: left.to_vec(), other: right.to_vec() },
            };
            found(self, self.repeated(pairs))?;
        }
        Ok(())
    }

    /// The pairs for which the rest of the condition is true.
    fn passing(&self, residual: &Residual, rows: &RecordBatch, left: &[u32], right: &[u32]) -> Result<Pairs> {
        let at = UInt32Array::from(left.to_vec());
        let own = residual.columns[0].iter().map(|column| take(rows.column(*column), &at, None));
        let mut columns = own.collect::<Result<Vec<ArrayRef>, _>>()?;
        columns.extend(self.rows.gather(right, &residual.columns[1])?);
        Pairs::passing(left, right, residual, columns)
    }

    /// Each pair as often as its row is held.
    fn repeated(&self, pairs: Pairs) -> Pairs {
        if pairs.other.iter().all(|row| self.rows.count(*row) == 1) {
            return pairs;
        }
        let mut repeated = Pairs::default();
        for (left, right) in pairs.own.into_iter().zip(pairs.other) {
            let rows = repeated.other.len() + self.rows.count(right) as usize;
            repeated.own.resize(rows, left);
            repeated.other.resize(rows, right);
        }
        repeated
    }

    /// All columns of rows that are held; [`NONE`] gives NULLs.
    pub fn gather(&self, rows: &[u32]) -> Result<Vec<ArrayRef>> {
        self.rows.gather(rows, &(0..self.rows.schema().fields().len()).collect::<Vec<_>>())
    }

    /// Frees those of the keys that no row has.
    fn forget_keys(&mut self, mut slots: Vec<u32>) {
        slots.retain(|slot| *slot != NONE && self.chains.is_empty(*slot));
        slots.sort_unstable();
        slots.dedup();
        self.index.remove(&slots);
    }

    pub fn save(&mut self, since: Epoch) -> Result<Vec<StateTable>> {
        match &mut self.rows {
            Store::Appended { rows, saved, .. } => {
                let from = if since == Epoch::ZERO { 0 } else { *saved };
                *saved = rows.live();
                let ids: Vec<Option<RowId>> = (from..*saved).map(Some).collect();
                Ok(vec![table(ROWS, rows.gather(&ids)?, ids.len())?])
            }
            Store::Counted(counted) => counted.save(since, RIGHT, None),
        }
    }

    pub fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let schema = self.rows.schema().clone();
        match &mut self.rows {
            Store::Appended { .. } => {
                for saved in snapshots.iter().filter_map(|snapshot| snapshot.table(ROWS)) {
                    let rows = record_batch(&schema, saved.columns().to_vec(), saved.num_rows())?;
                    self.take_in(&Batch::append_only(rows))?;
                }
            }
            Store::Counted(counted) => {
                let (rows, memory) = counted.restored(snapshots, RIGHT)?;
                let kinds = RowKinds::all(RowKind::Insert, rows.num_rows());
                self.take_in(&Batch::changelog(rows, kinds))?;
                let Store::Counted(counted) = &mut self.rows else { return Ok(()) };
                let mut numbers = vec![];
                counted.index.intern(&memory.rows, memory.sequence.len(), &mut numbers)?;
                counted.index.set_sequence(&numbers, &memory.sequence);
                if !snapshots.is_empty() {
                    counted.changes = Changes::resumed(&counted.index.groups_in_order());
                }
            }
        }
        if let Store::Appended { rows, saved, .. } = &mut self.rows {
            *saved = rows.live();
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn bytes(&self) -> usize {
        self.index.bytes() + self.rows.bytes() + self.chains.bytes()
    }
}
