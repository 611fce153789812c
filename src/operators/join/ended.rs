//! What a join need not keep: rows that only wait for rows of a side that has ended.
//!
//! ```text
//! right has been read: R1 R2 R3, and ended
//! left +I L1        out: its pairs with R1 R2 R3; L1 itself is not kept
//! left -D L1        out: the same pairs, taken back; what they are is found among R1 R2 R3 again
//! ```

use arrow::array::ArrayRef;

use crate::error::Result;
use crate::operators::matching::NONE;
use crate::state::Chains;

use super::store::Store;
use super::timed::Waiting;
use super::{Join, Side};

impl Join {
    /// No more rows of `side` will come.
    pub(super) fn end_side(&mut self, side: usize) -> Result<()> {
        self.sides[side].ended = true;
        let other = 1 - side;
        if self.keeps(other) {
            return Ok(());
        }
        (self.met, self.unmet[other]) = (self.met || self.meet(), self.alone(other));
        let Side { rows, chains, matches, waiting, .. } = &mut self.sides[other];
        let unlinks = matches!(rows, Store::Counted(_));
        rows.clear()?;
        *chains = Chains::new(unlinks);
        *matches = matches.take().map(|_| vec![]);
        waiting.iter_mut().for_each(Waiting::clear);
        // Where no row is kept no key is, and dropping them together costs nothing a key.
        match self.sides.iter().all(|side| side.rows.numbers() == 0) {
            true => {
                self.index.clear();
                self.null_slot = None;
            }
            false => self.forget_keys(self.index.groups_in_order()),
        }
        Ok(())
    }

    /// Whether rows of a side are kept: unless the other one has ended, knows nothing of its own matches, and nothing
    /// is to be said of this one later.
    pub(super) fn keeps(&self, side: usize) -> bool {
        let (own, other) = (&self.sides[side], &self.sides[1 - side]);
        !other.ended || other.matches.is_some() || self.forgets || (own.alone && self.waits)
    }

    /// Whether there is a key of which both sides keep a row.
    pub(super) fn meet(&self) -> bool {
        let kept = |slot: u32| self.sides.iter().all(|side| !side.chains.is_empty(slot));
        self.index.groups_in_order().into_iter().any(kept)
    }

    /// The last key of which this side alone keeps a row.
    pub(super) fn alone(&self, side: usize) -> Vec<ArrayRef> {
        let alone =
            |slot: &u32| !self.sides[side].chains.is_empty(*slot) && self.sides[1 - side].chains.is_empty(*slot);
        self.index.key_of(self.index.groups_in_order().into_iter().rfind(alone))
    }

    /// Lets rows of a side go that have been through, with those slots; only EXPLAIN WHY wants to know whether they met any.
    pub(super) fn let_go(&mut self, side: usize, mut slots: Vec<u32>) {
        slots.retain(|slot| *slot != NONE);
        let other = &self.sides[1 - side].chains;
        self.met |= slots.iter().any(|slot| !other.is_empty(*slot));
        if let Some(unmet) = slots.iter().rfind(|slot| other.is_empty(**slot)) {
            self.unmet[side] = self.index.key_of(Some(*unmet));
        }
        slots.sort_unstable();
        slots.dedup();
        self.forget_keys(slots);
    }
}
