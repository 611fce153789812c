//! What has become of each session since it was last said.
//!
//! ```text
//! said:  a [0, 10) 1   a [15, 25) 1        row a 8 joins both
//! out:   -D a [15, 25) 1                   what is part of another is taken back
//!        -U a [0, 10) 1   +U a [0, 25) 3
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, UInt64Array};
use arrow::compute::{filter, interleave, take};
use arrow::datatypes::UInt64Type;

use crate::error::Result;
use crate::operators::Output;
use crate::operators::aggregate::Accumulators;
use crate::operators::aggregate::changes::{Pending, Steps};
use crate::operators::rows::whole_updates;
use crate::plan::node::AggregateEmit;
use crate::state::{Snapshot, StateTable, grow_to, table};
use crate::types::{Batch, RowKinds};

use super::Answer;
use super::saved::{misses, numbers};
use super::sessions::{Bounds, Sessions};

/// Keys, first row, first row of the session that it is part of, whether the session was said, then its bounds and values
/// as they were last said.
const PENDING: &str = "pending";

/// What the answer holds of each session.
pub(super) struct Said {
    /// Whether a session is part of the answer from its first row on, or once it has ended.
    early: bool,
    /// For each slot whether the answer holds a row of it, and its bounds in that row.
    said: Vec<bool>,
    bounds: Vec<Bounds>,
    /// For each slot whether it is pending.
    marked: Vec<bool>,
    pending: Pending,
}

impl Said {
    pub fn new(emit: AggregateEmit) -> Said {
        let early = match emit {
            AggregateEmit::Final => false,
            AggregateEmit::Running
            | AggregateEmit::Changes
            | AggregateEmit::Every(_)
            | AggregateEmit::EveryAndFinal(_) => true,
        };
        Said { early, said: vec![], bounds: vec![], marked: vec![], pending: Pending::default() }
    }

    fn grow(&mut self, slots: usize) {
        grow_to(&mut self.said, slots, false);
        grow_to(&mut self.marked, slots, false);
        grow_to(&mut self.bounds, slots, Bounds { start: 0, end: 0 });
    }

    /// Whether the answer is to hold a row of a session.
    fn wants(&self, sessions: &Sessions, slot: u32) -> bool {
        sessions.is_open(slot) && (self.early || sessions.has_ended(slot))
    }

    /// Notes the rows of sessions as they were last said, before what is kept of them changes.
    pub fn touch(
        &mut self,
        slots: &[u32],
        sessions: &Sessions,
        accumulators: &mut Accumulators,
        answer: &Answer,
    ) -> Result<()> {
        self.grow(sessions.slots());
        let mut known = vec![];
        for slot in slots {
            if std::mem::replace(&mut self.marked[*slot as usize], true) {
                continue;
            }
            let said = self.said[*slot as usize];
            self.pending.groups.push(*slot);
            self.pending.said.push(said);
            if said {
                known.push(*slot);
            }
        }
        if !known.is_empty() {
            let mut before = answer.bounds(known.iter().map(|slot| self.bounds[*slot as usize]))?;
            before.extend(accumulators.read(&known)?);
            self.pending.push_before(before);
        }
        Ok(())
    }

    /// Bounds and values of sessions as they are now.
    fn now(
        slots: &[u32],
        sessions: &Sessions,
        accumulators: &mut Accumulators,
        answer: &Answer,
    ) -> Result<Vec<ArrayRef>> {
        // What is part of another has no bounds of its own, and none are said.
        let bounds = |slot: &u32| match sessions.is_open(*slot) {
            true => sessions.bounds(*slot),
            false => Bounds { start: 0, end: 0 },
        };
        let mut now = answer.bounds(slots.iter().map(bounds))?;
        now.extend(accumulators.read(slots)?);
        Ok(now)
    }

    /// Says what has become of the pending sessions that are `due`, with what has become part of them.
    pub fn flush(
        &mut self,
        sessions: &mut Sessions,
        accumulators: &mut Accumulators,
        answer: &Answer,
        due: impl Fn(&Sessions, u32) -> bool,
        out: &mut Output,
    ) -> Result<()> {
        let pending = self.split(sessions, accumulators, answer, due)?;
        if pending.groups.is_empty() {
            return Ok(());
        }
        let now = Said::now(&pending.groups, sessions, accumulators, answer)?;
        let there: Vec<bool> = pending.groups.iter().map(|slot| self.wants(sessions, *slot)).collect();
        let steps = Steps::of(&pending, &sessions.key_columns(&pending.groups)?, &now, &there)?;
        for part in whole_updates(&steps.kinds) {
            let rows = answer.batch(steps.columns(part.clone()), part.len())?;
            out.push(Batch::changelog(rows, steps.kinds[part].iter().copied().collect::<RowKinds>()));
        }
        for (slot, there) in pending.groups.into_iter().zip(there) {
            self.said[slot as usize] = there;
            self.marked[slot as usize] = false;
            self.bounds[slot as usize] = sessions.bounds(slot);
            sessions.release(slot);
        }
        Ok(())
    }

    /// Takes those that are `due` out of the pending sessions.
    fn split(
        &mut self,
        sessions: &Sessions,
        accumulators: &mut Accumulators,
        answer: &Answer,
        due: impl Fn(&Sessions, u32) -> bool,
    ) -> Result<Pending> {
        let mut all = std::mem::take(&mut self.pending);
        let (chosen, left): (Vec<usize>, Vec<usize>) =
            (0..all.groups.len()).partition(|place| due(sessions, sessions.whole(all.groups[*place])));
        if left.is_empty() {
            return Ok(all);
        }
        if chosen.is_empty() {
            std::mem::swap(&mut self.pending, &mut all);
            return Ok(all);
        }
        let like = Said::now(&[], sessions, accumulators, answer)?;
        let before = all.columns(&like)?;
        // Which row of `before` belongs to each of them.
        let mut next = 0;
        let place = |said: &bool| (next, next += u32::from(*said)).0;
        let rows: Vec<u32> = all.said.iter().map(place).collect();
        let part = |places: Vec<usize>| -> Result<Pending> {
            let said = places.iter().map(|place| all.said[*place]).collect();
            let known = places.iter().filter(|place| all.said[**place]).map(|place| rows[*place]);
            let known = UInt32Array::from_iter_values(known);
            let groups = places.iter().map(|place| all.groups[*place]).collect();
            let mut part = Pending::of(groups, said);
            if !known.is_empty() {
                part.push_before(before.iter().map(|column| take(column, &known, None)).collect::<Result<_, _>>()?);
            }
            Ok(part)
        };
        self.pending = part(left)?;
        part(chosen)
    }

    /// Whether all has been said.
    pub fn is_settled(&self) -> bool {
        self.pending.groups.is_empty()
    }

    /// Sessions are gone; the answer keeps their rows.
    pub fn forget(&mut self, gone: &[u32]) {
        for slot in gone {
            if let Some(said) = self.said.get_mut(*slot as usize) {
                *said = false;
            }
        }
    }

    /// The pending sessions, for a snapshot.
    pub fn save(
        &self,
        sessions: &Sessions,
        accumulators: &mut Accumulators,
        answer: &Answer,
    ) -> Result<Vec<StateTable>> {
        let slots = &self.pending.groups;
        let after = Said::now(slots, sessions, accumulators, answer)?;
        let before = self.pending.columns(&after)?;
        let mut columns = sessions.key_columns(slots)?;
        let firsts = |of: &dyn Fn(u32) -> u32| {
            Arc::new(UInt64Array::from_iter_values(slots.iter().map(|slot| sessions.first(of(*slot)))))
        };
        columns.push(firsts(&|slot| slot));
        columns.push(firsts(&|slot| sessions.whole(slot)));
        columns.push(Arc::new(BooleanArray::from(self.pending.said.clone())));
        // What was never said has no values before; those after stand in.
        let mut known = 0..;
        let place = |(row, said): (usize, &bool)| if *said { (0, known.next().unwrap_or(0)) } else { (1, row) };
        let places: Vec<(usize, usize)> = self.pending.said.iter().enumerate().map(place).collect();
        for (before, after) in before.iter().zip(&after) {
            columns.push(interleave(&[before.as_ref(), after.as_ref()], &places)?);
        }
        Ok(vec![table(PENDING, columns, slots.len())?])
    }

    /// What the answer holds of restored sessions: all of them as they are, but for those that are pending.
    pub fn resume(&mut self, sessions: &mut Sessions, slots: &HashMap<u64, u32>, last: &Snapshot) -> Result<()> {
        self.grow(sessions.slots());
        for slot in sessions.all() {
            self.said[slot as usize] = self.wants(sessions, slot);
            self.bounds[slot as usize] = sessions.bounds(slot);
        }
        let Some(saved) = last.table(PENDING).filter(|saved| saved.num_rows() > 0) else { return Ok(()) };
        let (keys, rest) = saved.columns().split_at_checked(sessions.width()).ok_or_else(misses)?;
        let [firsts, wholes, said, values @ ..] = rest else { return Err(misses()) };
        let said = said.as_boolean_opt().ok_or_else(misses)?;
        let found = sessions.numbered(keys, saved.num_rows())?;
        let mut pending = Pending::of(vec![], said.values().iter().collect());
        let (firsts, wholes) = (numbers::<UInt64Type>(Some(firsts))?, numbers::<UInt64Type>(Some(wholes))?);
        for (number, (first, whole)) in found.into_iter().zip(firsts.iter().zip(wholes)) {
            let slot = match slots.get(first) {
                Some(slot) => *slot,
                None => sessions.restore_merged(number, *first, *slots.get(whole).ok_or_else(misses)?),
            };
            pending.groups.push(slot);
        }
        self.grow(sessions.slots());
        for (slot, said) in pending.groups.iter().zip(&pending.said) {
            self.said[*slot as usize] = *said;
            self.marked[*slot as usize] = true;
        }
        let before: Vec<ArrayRef> = values.iter().map(|column| filter(column, said)).collect::<Result<_, _>>()?;
        if before.first().is_some_and(|column| !column.is_empty()) {
            pending.push_before(before);
        }
        self.pending = pending;
        Ok(())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let slots = self.bounds.capacity() * size_of::<Bounds>() + self.said.capacity() + self.marked.capacity();
        slots + self.pending.bytes()
    }
}
