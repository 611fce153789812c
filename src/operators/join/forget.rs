//! What a join forgets: rows of a side that came longer ago than `state_ttl`.
//!
//! Nothing is said of it. What was said of a row stays said, so its matches keep counting it, and a row that takes a
//! forgotten one back does nothing.
//!
//! ```text
//! LEFT JOIN, right rows are kept for 10 s
//! 0 s    left +I a L1, right +I a R1   out: +I a L1 - | -U a L1 -, +U a L1 a R1
//! 10 s   a R1 is forgotten             out: nothing; a L1 has had a match
//! 11 s   right +I a R2                 out: +I a L1 a R2
//! 12 s   right -D a R1                 out: nothing; one row was ignored
//! ```

use std::collections::HashMap;

use crate::error::Result;
use crate::operators::Output;
use crate::operators::matching::{NONE, Nulls};
use crate::operators::rows::without;
use crate::plan::node::{JoinKind, NullKeys};
use crate::types::{Batch, RowKind, Timestamp};

use super::store::Store;
use super::{Join, Side};

impl Join {
    /// Forgets the rows of a side that are due.
    pub(super) fn expire(&mut self, side: usize, now: Timestamp, out: &mut Output) -> Result<()> {
        let Side { rows, chains, expiry: Some(expiry), slots, .. } = &mut self.sides[side] else { return Ok(()) };
        let mut gone = vec![];
        for row in expiry.due(now) {
            let slot = slots[row as usize];
            out.expire(rows.take_all(row) as usize);
            if slot != NONE {
                chains.unlink(slot, row);
            }
            gone.push((slot, row));
        }
        self.forget(side, gone)
    }

    /// The rows of a batch without those that take back what has been forgotten.
    pub(super) fn admitted(&mut self, side: usize, batch: Batch, out: &mut Output) -> Result<Batch> {
        let Side { rows: Store::Counted(counted), expiry: Some(_), kept, keys, .. } = &mut self.sides[side] else {
            return Ok(batch);
        };
        let Some(kinds) = batch.kinds().filter(|kinds| kinds.iter().any(|kind| kind.weight() < 0)) else {
            return Ok(batch);
        };
        let keys = keys.iter().map(|key| key.evaluate(batch.rows())).collect::<Result<Vec<_>>>()?;
        let nulls = Nulls::of(&keys);
        // A row that can match nothing is not kept, so nothing of it can be forgotten.
        let passes = self.null_keys == NullKeys::Nothing && !self.at_end;
        let lone = |row: usize| passes && nulls.in_row(row);
        let numbers = counted.number(&batch.rows().project(kept)?)?;
        let mut left: HashMap<u32, u32> = HashMap::new();
        let admit = |(row, (number, kind)): (usize, (&u32, RowKind))| {
            if lone(row) {
                return true;
            }
            let copies = left.entry(*number).or_insert_with(|| counted.counts[*number as usize]);
            let there = kind.weight() > 0 || *copies > 0;
            *copies = if there { copies.wrapping_add_signed(kind.weight() as i32) } else { 0 };
            there
        };
        let there: Vec<bool> = numbers.iter().zip(kinds.iter()).enumerate().map(admit).collect();
        self.sides[side].rows.free(numbers)?;
        let (batch, ignored) = without(&batch, &there)?;
        out.ignore(ignored);
        Ok(batch)
    }

    /// Which rows are alike one that is kept and has had a match; nothing where no match is ever forgotten.
    pub(super) fn had_match(&mut self, side: usize, batch: &Batch) -> Result<Option<Vec<bool>>> {
        if self.sides[1 - side].expiry.is_none() {
            return Ok(None);
        }
        let Side { rows: Store::Counted(counted), matches: Some(matches), .. } = &mut self.sides[side] else {
            return Ok(None);
        };
        let numbers = counted.number(batch.rows())?;
        // The last copy that goes takes what is known of the row with it, wherever the batches are cut.
        let mut left: HashMap<u32, u32> = HashMap::new();
        let had = |(row, number): (usize, &u32)| {
            let matched = matches.get(*number as usize).is_some_and(|matches| *matches > 0);
            let copies =
                left.entry(*number).or_insert_with(|| if matched { counted.counts[*number as usize] } else { 0 });
            let had = *copies > 0;
            if had {
                *copies = copies.wrapping_add_signed(batch.kind(row).weight() as i32);
            }
            had
        };
        let had_match = numbers.iter().enumerate().map(had).collect();
        self.sides[side].rows.free(numbers)?;
        Ok(Some(had_match))
    }

    /// Notes an arriving row without a match that is alike one which has had some, all of them forgotten.
    pub(super) fn note_remembered(&mut self, row: u32, kind: RowKind) {
        match (self.kind, kind.weight() > 0) {
            (JoinKind::Semi | JoinKind::Mark, _) => self.noted.own(row, kind, true),
            // It was said beside what has been forgotten, and that stays.
            (JoinKind::Left | JoinKind::Right | JoinKind::Full, false) => {}
            (JoinKind::Left | JoinKind::Right | JoinKind::Full, true) => self.noted.own(row, kind, false),
            (JoinKind::Anti | JoinKind::Inner, _) => {}
        }
    }
}
