//! What one side remembers of each key.

use crate::plan::node::JoinKeep;
use crate::state::{RowId, RowStore};

/// The rows of each key, by slot.
pub(super) enum Kept {
    /// At most one, for `KEEP FIRST` and `KEEP LAST`.
    One(Vec<Option<RowId>>),
    /// All of them in order of arrival, for `KEEP PRODUCT`; and for how many rows the inner vectors have room.
    All(Vec<Vec<RowId>>, usize),
}

impl Kept {
    pub fn new(keep: JoinKeep) -> Kept {
        match keep {
            JoinKeep::First | JoinKeep::Last => Kept::One(vec![]),
            JoinKeep::Product => Kept::All(vec![], 0),
        }
    }

    pub fn grow(&mut self, slots: usize) {
        match self {
            Kept::One(rows) => rows.resize(slots.max(rows.len()), None),
            Kept::All(rows, _) => rows.resize(slots.max(rows.len()), vec![]),
        }
    }

    /// The rows of a key, in order.
    pub fn rows(&self, slot: u32) -> &[RowId] {
        match self {
            Kept::One(rows) => rows[slot as usize].as_slice(),
            Kept::All(rows, _) => &rows[slot as usize],
        }
    }

    /// Offers a row of a key a place: `FIRST` takes it only if there is none, `LAST` in place of the one before,
    /// `PRODUCT` behind the others.
    pub fn offer(&mut self, keep: JoinKeep, slot: u32, row: RowId, store: &mut RowStore) {
        match (self, keep) {
            (Kept::One(rows), JoinKeep::First) => {
                let place = &mut rows[slot as usize];
                if place.is_none() {
                    *place = Some(row);
                    store.retain(1);
                }
            }
            (Kept::One(rows), JoinKeep::Last | JoinKeep::Product) => {
                if rows[slot as usize].replace(row).is_none() {
                    store.retain(1);
                }
            }
            (Kept::All(rows, room), JoinKeep::First | JoinKeep::Last | JoinKeep::Product) => {
                let rows = &mut rows[slot as usize];
                let before = rows.capacity();
                rows.push(row);
                *room += rows.capacity() - before;
                store.retain(1);
            }
        }
    }

    pub fn clear(&mut self, slot: u32, store: &mut RowStore) {
        match self {
            Kept::One(rows) => store.release(usize::from(rows[slot as usize].take().is_some())),
            Kept::All(rows, room) => {
                let rows = std::mem::take(&mut rows[slot as usize]);
                *room -= rows.capacity();
                store.release(rows.len());
            }
        }
    }

    /// The rows of all keys, slot by slot.
    pub fn all(&self) -> Vec<RowId> {
        match self {
            Kept::One(rows) => rows.iter().flatten().copied().collect(),
            Kept::All(rows, _) => rows.iter().flatten().copied().collect(),
        }
    }

    /// Gives the rows of all keys, in the order of [`Kept::all`], the numbers from `next` on.
    pub fn renumber(&mut self, next: &mut RowId) {
        let mut number = |row: &mut RowId| {
            *row = *next;
            *next += 1;
        };
        match self {
            Kept::One(rows) => rows.iter_mut().flatten().for_each(&mut number),
            Kept::All(rows, _) => rows.iter_mut().flatten().for_each(&mut number),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Kept::One(rows) => rows.capacity() * size_of::<Option<RowId>>(),
            Kept::All(rows, room) => rows.capacity() * size_of::<Vec<RowId>>() + room * size_of::<RowId>(),
        }
    }
}
