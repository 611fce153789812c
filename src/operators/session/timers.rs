//! When sessions are to be looked at: a queue by time that is not sorted before its time has come.
//!
//! ```text
//! near (sorted)   < 16:  12 a, 14 c        far   [16, 32): 30 b, 17 d     [48, 64): 50 e
//! ```
//!
//! A session is filed once and not moved when it grows: when its time comes, whoever asks looks how long it really is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Times and the slots that are to be looked at then.
pub(super) struct Timers {
    /// How much time a part of `far` spans.
    width: i64,
    /// What is filed before `limit`, the earliest first. Empty only if nothing is filed.
    near: BinaryHeap<Reverse<(i64, u32)>>,
    limit: i64,
    far: BTreeMap<i64, Vec<(i64, u32)>>,
    /// How many are filed in `far`.
    waiting: usize,
}

impl Timers {
    /// An empty queue of times that most often lie `span` ahead.
    pub fn new(span: i64) -> Timers {
        let width = (span / 16).max(1);
        Timers { width, near: BinaryHeap::new(), limit: i64::MIN, far: BTreeMap::new(), waiting: 0 }
    }

    /// Files a slot.
    pub fn file(&mut self, time: i64, slot: u32) {
        if time < self.limit {
            self.near.push(Reverse((time, slot)));
            return;
        }
        self.far.entry(time.div_euclid(self.width)).or_default().push((time, slot));
        self.waiting += 1;
        self.settle();
    }

    /// Whenever nothing is near, the earliest part of what is far is.
    fn settle(&mut self) {
        while self.near.is_empty() {
            let Some((part, filed)) = self.far.pop_first() else { return };
            self.waiting -= filed.len();
            self.limit = part.saturating_add(1).saturating_mul(self.width);
            self.near = filed.into_iter().map(Reverse).collect();
        }
    }

    /// The earliest time.
    pub fn next(&self) -> Option<i64> {
        self.near.peek().map(|Reverse((time, _))| *time)
    }

    /// Takes out the earliest that is filed for `now` or before.
    pub fn pop(&mut self, now: i64) -> Option<(i64, u32)> {
        self.near.peek().filter(|Reverse((time, _))| *time <= now)?;
        let popped = self.near.pop().map(|Reverse(filed)| filed);
        self.settle();
        popped
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.near.capacity() + 2 * self.waiting) * size_of::<(i64, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filed_comes_out_in_order_of_time_whenever_it_was_filed() {
        let mut timers = Timers::new(160);
        for (time, slot) in [(55, 0), (12, 1), (-3, 2), (14, 3), (12, 4), (i64::MAX, 5)] {
            timers.file(time, slot);
        }
        assert_eq!(timers.next(), Some(-3));
        let due = |timers: &mut Timers, now| std::iter::from_fn(|| timers.pop(now)).collect::<Vec<_>>();
        assert_eq!(due(&mut timers, 12), [(-3, 2), (12, 1), (12, 4)]);
        timers.file(13, 6);
        timers.file(2, 7);
        assert_eq!(due(&mut timers, 60), [(2, 7), (13, 6), (14, 3), (55, 0)]);
        assert_eq!(timers.next(), Some(i64::MAX));
        assert_eq!(due(&mut timers, i64::MAX), [(i64::MAX, 5)]);
        assert_eq!(timers.next(), None);
    }
}
