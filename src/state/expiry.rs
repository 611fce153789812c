//! Which slots have not been written for so long that they are forgotten.
//!
//! ```text
//! state_ttl 1 hour, rounded up to 10 s          written   slot 0: 40 s   1: 10 s   2: 40 s
//! wheel   10 s: 0 1   20 s: 0   40 s: 2 0       an entry counts if its slot was not written since: 10 s: 1, 40 s: 2 0
//! ```
//!
//! Times are rounded up to at most a 64th of the length, so a slot lives that much longer at most, is listed once for
//! each round time it is written at, and nothing is sorted. Lengths that people say are rounded to lengths that people
//! say, so that what is written at a full second is forgotten at a full second.

use std::collections::VecDeque;

use arrow::array::Int64Array;

use super::grow_to;
use crate::types::{Interval, Timestamp};

/// The time of a slot that is not in use.
const NEVER: i64 = i64::MIN;
/// Into how many parts the length is divided at least.
const PARTS: i64 = 64;
/// What times are rounded to, in nanoseconds: powers of ten up to ten seconds, then minutes, hours and days.
const ROUND: [i64; 15] = [
    86_400_000_000_000,
    3_600_000_000_000,
    600_000_000_000,
    60_000_000_000,
    10_000_000_000,
    1_000_000_000,
    100_000_000,
    10_000_000,
    1_000_000,
    100_000,
    10_000,
    1_000,
    100,
    10,
    1,
];

/// When slots were last written, and which of them are due.
pub struct Expiry {
    ttl: Interval,
    round: i64,
    /// For each slot the round time at which it was last written, or [`NEVER`].
    written: Vec<i64>,
    /// Slots by the round time at which they were written, the oldest first.
    wheel: VecDeque<(i64, Vec<u32>)>,
    /// For how many slots the wheel has room.
    listed: usize,
}

impl Expiry {
    /// Forgets what was not written for `ttl`, which is more than nothing.
    pub fn new(ttl: Interval) -> Expiry {
        let round = ROUND.into_iter().find(|round| *round <= ttl.nanos() / PARTS).unwrap_or(1);
        Expiry { ttl, round, written: vec![], wheel: VecDeque::new(), listed: 0 }
    }

    /// Slots are written at `now`.
    pub fn touch(&mut self, slots: impl IntoIterator<Item = u32>, now: Timestamp) {
        let over = now.nanos().rem_euclid(self.round);
        let time = if over == 0 { now.nanos() } else { now.nanos().saturating_add(self.round - over) };
        self.list(slots, time);
    }

    fn list(&mut self, slots: impl IntoIterator<Item = u32>, time: i64) {
        let at = match self.wheel.back() {
            Some((last, _)) if *last == time => self.wheel.len() - 1,
            _ => match self.wheel.binary_search_by_key(&time, |(time, _)| *time) {
                Ok(at) => at,
                Err(at) => {
                    self.wheel.insert(at, (time, vec![]));
                    at
                }
            },
        };
        let Expiry { written, wheel, listed, .. } = self;
        let list = &mut wheel[at].1;
        let room = list.capacity();
        for slot in slots {
            grow_to(written, slot as usize + 1, NEVER);
            if std::mem::replace(&mut written[slot as usize], time) != time {
                list.push(slot);
            }
        }
        *listed += list.capacity() - room;
    }

    /// Slots are no longer in use.
    pub fn forget(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(written) = self.written.get_mut(*slot as usize) {
                *written = NEVER;
            }
        }
    }

    /// When the next slots may be due.
    pub fn next(&self) -> Option<Timestamp> {
        self.wheel.front().map(|(time, _)| Timestamp::from_nanos(*time) + self.ttl)
    }

    /// The slots that were not written for so long, which are no longer in use from now on.
    pub fn due(&mut self, now: Timestamp) -> Vec<u32> {
        let mut due = vec![];
        while self.next().is_some_and(|next| next <= now)
            && let Some((time, slots)) = self.wheel.pop_front()
        {
            self.listed -= slots.capacity();
            for slot in slots {
                let written = &mut self.written[slot as usize];
                if *written == time {
                    *written = NEVER;
                    due.push(slot);
                }
            }
        }
        due
    }

    /// When slots were last written, for a snapshot.
    pub fn written(&self, slots: &[u32]) -> Int64Array {
        slots.iter().map(|slot| self.written.get(*slot as usize).copied().unwrap_or(NEVER)).collect()
    }

    /// Slots were last written at those times.
    pub fn resume(&mut self, slots: &[u32], written: &Int64Array) {
        for (slot, time) in slots.iter().zip(written.values()) {
            self.list([*slot], *time);
        }
    }

    /// Forgets what later snapshots have said otherwise of: nothing is due that a run without a restart would not look at.
    pub fn resumed(&mut self) {
        let Expiry { written, wheel, listed, .. } = self;
        for (time, slots) in wheel.iter_mut() {
            slots.retain(|slot| written[*slot as usize] == *time);
        }
        wheel.retain(|(_, slots)| !slots.is_empty());
        *listed = wheel.iter().map(|(_, slots)| slots.capacity()).sum();
    }

    /// Forgets when anything was written.
    pub fn clear(&mut self) {
        *self = Expiry::new(self.ttl);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lists = self.wheel.capacity() * size_of::<(i64, Vec<u32>)>() + self.listed * size_of::<u32>();
        self.written.capacity() * size_of::<i64>() + lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_slot_is_due_once_it_was_not_written_for_so_long() {
        let mut expiry = Expiry::new(Interval::from_millis(10_000));
        expiry.touch([0, 1, 2], at(0));
        expiry.touch([1, 1], at(4));
        assert_eq!(expiry.next(), Some(at(10)));
        assert_eq!(expiry.due(at(9)), [] as [u32; 0]);
        assert_eq!(expiry.due(at(10)), [0, 2]);
        assert_eq!(expiry.next(), Some(at(14)));
        assert_eq!(expiry.due(at(100)), [1]);
        assert_eq!(expiry.next(), None);
    }

    #[test]
    fn a_slot_that_was_given_up_is_not_due_and_one_that_came_again_is_due_once() {
        let mut expiry = Expiry::new(Interval::from_millis(10_000));
        expiry.touch([0, 1], at(0));
        expiry.forget(&[0, 1]);
        expiry.touch([1], at(0));
        assert_eq!(expiry.due(at(10)), [1]);
    }

    #[test]
    fn times_are_rounded_up_by_a_64th_at_most() {
        for (ttl, written, due) in [(1, 1, 2), (3_600, 11, 3_620), (64, 65, 129), (86_400, 61, 87_000)] {
            let mut expiry = Expiry::new(Interval::from_millis(ttl * 1_000));
            expiry.touch([7], at(written));
            assert_eq!(expiry.next(), Some(at(due)), "{ttl}");
        }
        let mut expiry = Expiry::new(Interval::from_nanos(1));
        expiry.touch([7], Timestamp::from_nanos(-5));
        assert_eq!(expiry.next(), Some(Timestamp::from_nanos(-4)));
        expiry.touch([7], Timestamp::MAX);
        assert_eq!(expiry.next(), Some(Timestamp::from_nanos(-4)));
    }

    #[test]
    fn what_is_resumed_is_due_as_before() {
        let mut expiry = Expiry::new(Interval::from_millis(10_000));
        expiry.touch([0], at(3));
        expiry.touch([1], at(1));
        let mut resumed = Expiry::new(Interval::from_millis(10_000));
        resumed.resume(&[0, 1], &expiry.written(&[0, 1]));
        assert_eq!((resumed.due(at(11)), resumed.due(at(13))), (vec![1], vec![0]));
    }
}
