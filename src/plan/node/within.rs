//! Within what of each other the times of matching rows are.

use std::array;

use crate::types::{Tick, Timestamp};

/// Within what of each other the times of two rows are that match, so that the watermark bounds what a
/// [`Join`](super::Join) keeps.
///
/// ```text
/// right time less left time, from lower to upper      b.at BETWEEN a.at - 2 AND a.at + 5      from -2 to 5
/// a left row of 10 waits for right ones up to 15, a right row of 10 for left ones up to 12
/// ```
///
/// A row is late if the watermark just before it had passed its time: rows that it could match may be gone. One that is
/// not finds all of them. Lengths are in ticks of `tick`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The time of each side.
    pub times: [SideTime; 2],
    /// What the lengths count in: the finer unit of the two times.
    pub tick: Tick,
    /// How long a right row is after a left one that it matches, at least; negative if it may be before.
    pub lower: i64,
    /// And at most.
    pub upper: i64,
}

/// The time of a side of a [`Within`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideTime {
    /// The column of its input. No row is expected to be before the watermark in it.
    pub column: usize,
    /// How many ticks a unit of the column is.
    pub unit: i64,
    /// What the time is of.
    pub of: TimeOf,
}

/// What the time of a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOf {
    /// Something that happened then: it has passed once the watermark is after it.
    Event,
    /// A window that ends then: it has passed once the watermark is there.
    WindowEnd,
}

impl SideTime {
    /// How many ticks before it lies the last that has to pass.
    pub fn before_end(self) -> i64 {
        match self.of {
            TimeOf::Event => 0,
            TimeOf::WindowEnd => 1,
        }
    }
}

impl Within {
    /// How long after its own time a row of a side waits for rows of the other one, both taken as the last tick that
    /// has to pass; negative if they are all before it.
    pub fn reach(&self, side: usize) -> i64 {
        let [left, right] = self.times.map(SideTime::before_end);
        match side {
            0 => self.upper.saturating_add(left - right),
            _ => self.lower.saturating_add(left - right).saturating_neg(),
        }
    }

    /// How far before the watermark the times may be that come out, if those of these sides do.
    ///
    /// ```text
    /// a LEFT JOIN b ON b.at BETWEEN a.at AND a.at + 5      a.at is said up to 5 after it: when b comes, or cannot any more
    /// ```
    pub fn delay(&self, comes_out: [bool; 2]) -> i64 {
        let reaches: [i64; 2] = array::from_fn(|side| if comes_out[side] { self.reach(side) } else { 0 });
        reaches.into_iter().max().unwrap_or_default().max(0)
    }

    /// The watermark of the result, if the times of these sides come out.
    pub fn delayed(&self, watermark: Timestamp, comes_out: [bool; 2]) -> Timestamp {
        let delay = self.delay(comes_out).saturating_mul(self.tick.nanos().unwrap_or(1));
        Timestamp::from_nanos(watermark.nanos().saturating_sub(delay))
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn within(lower: i64, upper: i64, of: [TimeOf; 2]) -> Within {
        let times = of.map(|of| SideTime { column: 0, unit: 1, of });
        Within { times, tick: Tick::of(&DataType::Int64).unwrap(), lower, upper }
    }

    #[test]
    fn a_row_waits_for_the_last_it_can_match() {
        let near = within(-2, 5, [TimeOf::Event; 2]);
        assert_eq!([near.reach(0), near.reach(1)], [5, 2]);
        let before = within(-7, -3, [TimeOf::Event; 2]);
        assert_eq!([before.reach(0), before.reach(1)], [-3, 7]);
    }

    #[test]
    fn a_window_has_passed_when_the_watermark_is_at_its_end() {
        let equal = within(0, 0, [TimeOf::WindowEnd; 2]);
        assert_eq!([equal.reach(0), equal.reach(1)], [0, 0]);
        // The window's last tick is 9, so that an event at 10 is one after it.
        let after = within(0, 3, [TimeOf::WindowEnd, TimeOf::Event]);
        assert_eq!([after.reach(0), after.reach(1)], [4, -1]);
    }

    #[test]
    fn the_watermark_of_the_result_is_behind_by_what_the_longest_wait_is() {
        let near = within(-2, 5, [TimeOf::Event; 2]);
        let delays = [[true, true], [true, false], [false, true], [false, false]].map(|out| near.delay(out));
        assert_eq!(delays, [5, 5, 2, 0]);
        assert_eq!(near.delayed(Timestamp::from_nanos(20), [false, true]), Timestamp::from_nanos(18));
        assert_eq!(near.delayed(Timestamp::MIN, [true, true]), Timestamp::MIN);
    }
}
