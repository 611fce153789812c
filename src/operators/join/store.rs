//! The rows of one side.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::error::{InternalError, Result};
use crate::operators::matching::{NONE, gather_with_nulls};
use crate::operators::rows::record_batch;
use crate::plan::node::ChangelogMode;
use crate::state::{Changes, GroupIndex, RowId, RowStore, canonical, grow_to};
use crate::types::{Batch, RowKind};

/// Rows by number.
pub(in crate::operators) enum Store {
    /// Rows that are only added: as they came.
    Appended {
        rows: RowStore,
        /// The slot of each one's key, which is not kept with it.
        slots: Vec<u32>,
        /// How many of the first are in a snapshot.
        saved: usize,
    },
    /// Rows that may be taken back: each distinct one once, and how often it is there.
    Counted(Box<Counted>),
}

/// Distinct rows, found by what is in them.
pub(in crate::operators) struct Counted {
    pub schema: SchemaRef,
    pub index: GroupIndex,
    pub counts: Vec<u32>,
    pub changes: Changes,
}

/// What has become of a row.
pub(in crate::operators) enum Change {
    /// It was not there.
    Appeared,
    /// It is there more or less often.
    Counted,
    /// It is not there any more.
    Gone,
}

impl Store {
    pub fn new(schema: &SchemaRef, mode: ChangelogMode) -> Result<Store> {
        Ok(match mode {
            ChangelogMode::AppendOnly => {
                Store::Appended { rows: RowStore::new(schema.clone()), slots: vec![], saved: 0 }
            }
            ChangelogMode::Changelog => {
                let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
                let (index, changes) = (GroupIndex::new(&types)?, Changes::default());
                Store::Counted(Box::new(Counted { schema: schema.clone(), index, counts: vec![], changes }))
            }
        })
    }

    /// Whether its rows are only added.
    pub fn appends(&self) -> bool {
        matches!(self, Store::Appended { .. })
    }

    /// Drops all rows, for good: no more will be kept.
    pub fn clear(&mut self) -> Result<()> {
        let mode = match self {
            Store::Appended { .. } => ChangelogMode::AppendOnly,
            Store::Counted(_) => ChangelogMode::Changelog,
        };
        *self = Store::new(&self.schema().clone(), mode)?;
        Ok(())
    }

    /// So many rows are dropped, and will not be asked for any more.
    pub fn release(&mut self, dropped: usize) {
        if let Store::Appended { rows, .. } = self {
            rows.release(dropped);
        }
    }

    /// Whether most of what is held are rows that have been dropped.
    pub fn wants_compaction(&self) -> bool {
        match self {
            Store::Appended { rows, .. } => rows.wants_compaction() || (rows.live() == 0 && rows.held() > 0),
            Store::Counted(_) => false,
        }
    }

    /// Keeps those rows alone, numbered anew in their order.
    pub fn compact(&mut self, kept: &[u32]) -> Result<()> {
        let Store::Appended { rows, slots, saved } = self else { return Ok(()) };
        let ids: Vec<Option<RowId>> = kept.iter().map(|row| Some(*row as RowId)).collect();
        let left = record_batch(rows.schema(), rows.gather(&ids)?, kept.len())?;
        *rows = RowStore::new(rows.schema().clone());
        rows.append(&left)?;
        rows.retain(kept.len());
        *slots = kept.iter().map(|row| slots[*row as usize]).collect();
        *saved = 0;
        Ok(())
    }

    /// The slot of the key of each row that is only added.
    pub fn slots(&self) -> &[u32] {
        match self {
            Store::Appended { slots, .. } => slots,
            Store::Counted(_) => &[],
        }
    }

    /// Rows as they will be given back: who was told of one when it came must know it again when it goes.
    pub fn as_kept(&self, rows: RecordBatch) -> Result<RecordBatch> {
        match self {
            Store::Appended { .. } => Ok(rows),
            Store::Counted(_) => {
                record_batch(&rows.schema(), rows.columns().iter().map(canonical).collect(), rows.num_rows())
            }
        }
    }

    /// Takes rows in, with the slots of their keys, and gives the number of each; [`Store::change`] says whether they
    /// come or go.
    pub fn append(&mut self, batch: &Batch, keys: &[u32]) -> Result<Vec<u32>> {
        match self {
            Store::Appended { rows, slots, .. } => {
                grow_to(slots, slots.len() + keys.len(), NONE);
                let before = slots.len() - keys.len();
                slots[before..].copy_from_slice(keys);
                let first = number(rows.append(batch.rows())?)?;
                let end = number(first as usize + batch.num_rows())?;
                rows.retain(batch.num_rows());
                Ok((first..end).collect())
            }
            Store::Counted(counted) => counted.number(batch.rows()),
        }
    }

    /// Row `row` comes or goes once.
    pub fn change(&mut self, row: u32, kind: RowKind) -> Result<Change> {
        let Store::Counted(counted) = self else { return Ok(Change::Appeared) };
        let Counted { index, counts, changes, .. } = counted.as_mut();
        changes.mark(row);
        let count = &mut counts[row as usize];
        match (kind.weight() > 0, *count) {
            (true, 0) => {
                index.move_to_end(row);
                *count = 1;
                Ok(Change::Appeared)
            }
            (true, _) => {
                *count += 1;
                Ok(Change::Counted)
            }
            (false, 0) => Err(InternalError::new("a row is taken back that is not there").into()),
            (false, _) => {
                *count -= 1;
                Ok(if *count == 0 { Change::Gone } else { Change::Counted })
            }
        }
    }

    /// Notes that something of row `row` has changed that a snapshot holds.
    #[inline]
    pub fn mark(&mut self, row: u32) {
        if let Store::Counted(counted) = self {
            counted.changes.mark(row);
        }
    }

    /// Those of `rows` that are not there.
    pub fn absent(&self, rows: &[u32]) -> Vec<u32> {
        rows.iter().copied().filter(|row| self.count(*row) == 0).collect()
    }

    /// All rows that are there, in order.
    pub fn all(&self) -> Vec<u32> {
        match self {
            Store::Appended { slots, .. } => (0..slots.len() as u32).collect(),
            Store::Counted(counted) => counted.index.groups_in_order(),
        }
    }

    /// Takes all copies of a row back, and gives how many there were.
    pub fn take_all(&mut self, row: u32) -> u32 {
        match self {
            Store::Appended { .. } => 0,
            Store::Counted(counted) => {
                counted.changes.mark(row);
                std::mem::take(&mut counted.counts[row as usize])
            }
        }
    }

    /// Frees those of `rows` that are not there any more.
    pub fn free(&mut self, rows: Vec<u32>) -> Result<()> {
        let Store::Counted(counted) = self else { return Ok(()) };
        let Counted { index, counts, changes, .. } = counted.as_mut();
        let mut gone: Vec<u32> = rows.into_iter().filter(|row| counts[*row as usize] == 0).collect();
        gone.sort_unstable();
        gone.dedup();
        changes.bury(index, &gone)?;
        index.remove(&gone);
        Ok(())
    }

    /// How often row `row` is there.
    #[inline]
    pub fn count(&self, row: u32) -> u32 {
        match self {
            Store::Appended { .. } => 1,
            Store::Counted(counted) => counted.counts[row as usize],
        }
    }

    /// Columns of rows; [`NONE`] gives NULLs.
    pub fn gather(&self, rows: &[u32], columns: &[usize]) -> Result<Vec<ArrayRef>> {
        match self {
            Store::Appended { rows: store, .. } => {
                store.gather_columns(rows.iter().map(|row| (*row != NONE).then_some(*row as RowId)), columns)
            }
            Store::Counted(counted) => counted.gather(rows, columns),
        }
    }

    /// One more than the largest number of a row.
    pub fn numbers(&self) -> usize {
        match self {
            Store::Appended { slots, .. } => slots.len(),
            Store::Counted(counted) => counted.index.slots(),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Store::Appended { rows, .. } => rows.live(),
            Store::Counted(counted) => counted.index.len(),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Store::Appended { rows, slots, .. } => rows.bytes() + slots.capacity() * size_of::<u32>(),
            Store::Counted(counted) => {
                let Counted { index, counts, changes, .. } = counted.as_ref();
                index.bytes() + counts.capacity() * size_of::<u32>() + changes.bytes()
            }
        }
    }

    pub fn schema(&self) -> &SchemaRef {
        match self {
            Store::Appended { rows, .. } => rows.schema(),
            Store::Counted(counted) => &counted.schema,
        }
    }
}

impl Counted {
    /// The numbers of rows, whether they are there or not.
    pub fn number(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let mut numbers = vec![];
        self.index.intern(rows.columns(), rows.num_rows(), &mut numbers)?;
        grow_to(&mut self.counts, self.index.slots(), 0);
        Ok(numbers)
    }

    fn gather(&self, rows: &[u32], columns: &[usize]) -> Result<Vec<ArrayRef>> {
        let all = keys_of(&self.index, rows)?;
        Ok(columns.iter().map(|column| all[*column].clone()).collect())
    }
}

/// The keys of groups; [`NONE`] gives NULLs.
pub(in crate::operators) fn keys_of(index: &GroupIndex, groups: &[u32]) -> Result<Vec<ArrayRef>> {
    gather_with_nulls(groups, |groups| index.keys(groups))
}

fn number(row: RowId) -> Result<u32> {
    u32::try_from(row)
        .ok()
        .filter(|row| *row != NONE)
        .ok_or_else(|| InternalError::new("a join keeps at most four billion rows a side").into())
}
