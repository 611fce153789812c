//! What was said of the left rows that are there, so that it can be taken back.
//!
//! ```text
//! left row (a, 1)     said beside  R1 R2      and, as it came once more,  R3
//!          (b, 2)                  -
//! ```
//!
//! A row that is there several times goes as it came: what was said first is taken back first.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::datatypes::{SchemaRef, UInt32Type};

use crate::error::{InternalError, Result};
use crate::operators::rows::record_batch;
use crate::state::{Chains, Changes, GONE, GroupIndex, RowId, RowStore, Snapshot, StateTable, table};
use crate::types::Epoch;

/// For each right row that was said: the left row, which of what was said of that, whether there is a right row at
/// all, and the right row.
const SAID: &str = "said";

/// What was said of each left row.
pub(super) struct Said {
    /// The left rows, by what is in them.
    index: GroupIndex,
    width: usize,
    changes: Changes,
    /// By left row, in the order in which it was said.
    chains: Chains,
    sayings: Vec<Saying>,
    free: Vec<u32>,
    /// The right rows beside which it was said, as they were then.
    rows: RowStore,
    /// The sayings of the left row at hand.
    found: Vec<u32>,
}

/// The right rows beside which a left row was said: they lie one behind the other.
#[derive(Debug, Clone, Copy, Default)]
struct Saying {
    first: RowId,
    rows: u32,
}

impl Said {
    pub fn new(left: &SchemaRef, right: &SchemaRef) -> Result<Said> {
        let types: Vec<_> = left.fields().iter().map(|field| field.data_type().clone()).collect();
        Ok(Said {
            index: GroupIndex::new(&types)?,
            width: types.len(),
            changes: Changes::default(),
            chains: Chains::new(true),
            sayings: vec![],
            free: vec![],
            rows: RowStore::new(right.clone()),
            found: vec![],
        })
    }

    /// The number of each left row, whether it is there or not.
    pub fn number(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let mut numbers = vec![];
        self.index.intern(rows.columns(), rows.num_rows(), &mut numbers)?;
        self.chains.grow(self.index.slots(), self.sayings.len());
        Ok(numbers)
    }

    /// Keeps right rows that are about to be said, and gives the number of the first.
    pub fn keep(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<RowId> {
        let rows = record_batch(self.rows.schema(), columns, rows)?;
        self.rows.append(&rows)
    }

    /// A left row is said beside right rows that are kept.
    pub fn say(&mut self, left: u32, right: Range<RowId>) {
        let saying = Saying { first: right.start, rows: right.len() as u32 };
        let number = match self.free.pop() {
            Some(number) => {
                self.sayings[number as usize] = saying;
                number
            }
            None => {
                self.sayings.push(saying);
                self.sayings.len() as u32 - 1
            }
        };
        self.chains.grow(self.index.slots(), self.sayings.len());
        if self.chains.is_empty(left) {
            // It may have gone a moment ago: then it is new, wherever the batches were cut.
            self.index.move_to_end(left);
        }
        self.chains.push(left, number);
        self.rows.retain(right.len());
        self.changes.mark(left);
    }

    /// A left row goes: the right rows beside which it was said first.
    pub fn take_back(&mut self, left: u32) -> Result<Range<RowId>> {
        self.found.clear();
        self.chains.append_to(left, &mut self.found);
        let Some(number) = self.found.first().copied() else {
            return Err(InternalError::new("a row is taken back that is not there").into());
        };
        let Saying { first, rows } = self.drop_saying(left, number);
        Ok(first..first + rows as usize)
    }

    fn drop_saying(&mut self, left: u32, number: u32) -> Saying {
        self.chains.unlink(left, number);
        self.free.push(number);
        self.changes.mark(left);
        let saying = std::mem::take(&mut self.sayings[number as usize]);
        self.rows.release(saying.rows as usize);
        saying
    }

    /// Right rows as they were said; NULLs for `None`.
    pub fn gather(&self, rows: &[Option<RowId>]) -> Result<Vec<ArrayRef>> {
        self.rows.gather(rows)
    }

    /// Frees those of the left rows that are not there any more, and what was said of them.
    pub fn forget(&mut self, mut lefts: Vec<u32>) -> Result<()> {
        lefts.retain(|left| self.chains.is_empty(*left));
        lefts.sort_unstable();
        lefts.dedup();
        self.changes.bury(&self.index, &lefts)?;
        self.index.remove(&lefts);
        self.compact()
    }

    fn compact(&mut self) -> Result<()> {
        if !self.rows.wants_compaction() {
            return Ok(());
        }
        let mut sayings: Vec<&mut Saying> = self.sayings.iter_mut().filter(|saying| saying.rows > 0).collect();
        sayings.sort_unstable_by_key(|saying| saying.first);
        let of = |saying: &Saying| saying.first..saying.first + saying.rows as usize;
        let ids: Vec<RowId> = sayings.iter().flat_map(|saying| of(saying)).collect();
        let mut next = self.rows.compact(&ids)?;
        for saying in sayings {
            saying.first = next;
            next += saying.rows as usize;
        }
        Ok(())
    }

    pub fn save(&mut self, since: Epoch) -> Result<Vec<StateTable>> {
        let changed = self.changes.take(&self.index, since)?;
        let (mut lefts, mut nths, mut rights) = (vec![], vec![], vec![]);
        for left in changed.groups {
            self.found.clear();
            self.chains.append_to(left, &mut self.found);
            for (nth, number) in self.found.iter().enumerate() {
                let Saying { first, rows } = self.sayings[*number as usize];
                let said = (first..first + rows as usize).map(Some);
                rights.extend(said.chain((rows == 0).then_some(None)));
                lefts.resize(rights.len(), left);
                nths.resize(rights.len(), nth as u32);
            }
        }
        let mut columns = self.index.keys(&lefts)?;
        columns.push(Arc::new(UInt32Array::from(nths)));
        columns.push(Arc::new(rights.iter().map(|right| Some(right.is_some())).collect::<BooleanArray>()));
        columns.extend(self.rows.gather(&rights)?);
        Ok(changed.gone.into_iter().chain([table(SAID, columns, rights.len())?]).collect())
    }

    pub fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        for snapshot in snapshots {
            if let Some(gone) = snapshot.table(GONE) {
                let lefts = self.number(gone)?;
                self.clear(&lefts);
                self.index.remove(&lefts);
            }
            if let Some(saved) = snapshot.table(SAID) {
                self.restore_said(saved)?;
            }
        }
        if !snapshots.is_empty() {
            self.changes = Changes::resumed(&self.index.groups_in_order());
        }
        Ok(())
    }

    /// What a snapshot holds of a left row takes the place of what was known of it.
    fn restore_said(&mut self, saved: &RecordBatch) -> Result<()> {
        let missing = || InternalError::new("what a lookup has said is not in its form");
        let (lefts, rest) = saved.columns().split_at(self.width.min(saved.num_columns()));
        let [nths, there, rights @ ..] = rest else { return Err(missing().into()) };
        let nths = nths.as_primitive_opt::<UInt32Type>().ok_or_else(missing)?;
        let there = there.as_boolean_opt().ok_or_else(missing)?;
        let mut numbers = vec![];
        self.index.intern(lefts, saved.num_rows(), &mut numbers)?;
        self.chains.grow(self.index.slots(), self.sayings.len());
        self.clear(&numbers);
        let first = self.keep(rights.to_vec(), saved.num_rows())?;
        let mut from = 0;
        while from < numbers.len() {
            let is_same = |row: &usize| numbers[*row] == numbers[from] && nths.value(*row) == nths.value(from);
            let until = (from..numbers.len()).find(|row| !is_same(row)).unwrap_or(numbers.len());
            let said = if there.value(from) { first + from..first + until } else { first + from..first + from };
            self.say(numbers[from], said);
            from = until;
        }
        Ok(())
    }

    /// Forgets what was said of left rows.
    fn clear(&mut self, lefts: &[u32]) {
        for left in lefts {
            let mut found = std::mem::take(&mut self.found);
            found.clear();
            self.chains.append_to(*left, &mut found);
            for number in &found {
                self.drop_saying(*left, *number);
            }
            self.found = found;
        }
    }

    pub fn len(&self) -> usize {
        self.sayings.len() - self.free.len()
    }

    pub fn bytes(&self) -> usize {
        let sayings = self.sayings.capacity() * size_of::<Saying>() + self.free.capacity() * size_of::<u32>();
        self.index.bytes() + self.changes.bytes() + self.chains.bytes() + sayings + self.rows.bytes()
    }
}
