//! What is to be said, as row numbers.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::buffer::NullBuffer;

use crate::operators::matching::NONE;
use crate::types::{RowKind, RowKinds};

/// Rows of the result in the order in which they are said: a row of the arriving batch, a row kept of the other side.
#[derive(Default)]
pub(super) struct Noted {
    own: Vec<u32>,
    other: Vec<u32>,
    kinds: Vec<RowKind>,
    /// Whether the left row has a match, for those who ask.
    marks: Vec<bool>,
    /// Where rows of the other side are said to be alone again, by row: whoever joins one next takes that place.
    parted: HashMap<u32, usize>,
}

impl Noted {
    pub fn len(&self) -> usize {
        self.own.len()
    }

    fn push(&mut self, own: u32, other: u32, kind: RowKind, mark: bool) {
        self.own.push(own);
        self.other.push(other);
        self.kinds.push(kind);
        self.marks.push(mark);
    }

    fn push_copies(&mut self, (own, other): (u32, u32), kind: RowKind, copies: u32, mark: bool) {
        for _ in 0..copies {
            self.push(own, other, kind, mark);
        }
    }

    /// A pair of rows.
    pub fn pair(&mut self, own: u32, other: u32, kind: RowKind, copies: u32) {
        self.push_copies((own, other), kind, copies, true);
    }

    /// Pairs that only come.
    pub fn insert_pairs(&mut self, own: &[u32], other: &[u32]) {
        self.own.extend_from_slice(own);
        self.other.extend_from_slice(other);
        self.kinds.resize(self.own.len(), RowKind::Insert);
        self.marks.resize(self.own.len(), true);
    }

    /// A row of the other side that was alone has `own` beside it now.
    pub fn joined(&mut self, own: u32, other: u32, copies: u32) {
        // An update of the row beside it is one update, without a moment in which it is alone.
        if let Some(at) = self.parted.remove(&other) {
            (self.own[at], self.marks[at]) = (own, true);
            return;
        }
        for _ in 0..copies {
            self.push(NONE, other, RowKind::UpdateBefore, false);
            self.push(own, other, RowKind::UpdateAfter, true);
        }
    }

    /// A row of the other side has lost `own`, and is alone.
    pub fn parted(&mut self, own: u32, other: u32, copies: u32) {
        for _ in 0..copies {
            self.push(own, other, RowKind::UpdateBefore, true);
            self.push(NONE, other, RowKind::UpdateAfter, false);
        }
        if copies == 1 {
            self.parted.insert(other, self.len() - 1);
        }
    }

    /// An arriving row by itself.
    pub fn own(&mut self, own: u32, kind: RowKind, mark: bool) {
        self.push(own, NONE, kind, mark);
    }

    /// A row of the other side by itself.
    pub fn other(&mut self, other: u32, kind: RowKind, copies: u32, mark: bool) {
        self.push_copies((NONE, other), kind, copies, mark);
    }

    /// The rows of the batch, a missing one as NULL.
    pub fn own_rows(&self) -> UInt32Array {
        let missing = self.own.contains(&NONE);
        let nulls = missing.then(|| NullBuffer::from_iter(self.own.iter().map(|row| *row != NONE)));
        UInt32Array::new(self.own.clone().into(), nulls)
    }

    /// The rows of the other side, a missing one as [`NONE`].
    pub fn other_rows(&self) -> &[u32] {
        &self.other
    }

    pub fn kinds(&self) -> RowKinds {
        self.kinds.iter().copied().collect()
    }

    pub fn marks(&self) -> ArrayRef {
        Arc::new(BooleanArray::from(self.marks.clone()))
    }
}
