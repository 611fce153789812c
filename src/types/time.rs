//! Points in time, lengths of time, and the numbered steps between snapshots.

use std::fmt;
use std::ops::Add;

/// A point in time: nanoseconds since the Unix epoch, negative before it.
///
/// ```
/// use riverrun::{Interval, Timestamp};
/// assert_eq!(Timestamp::from_millis(1_500) + Interval::from_millis(500), Timestamp::from_millis(2_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before everything.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// After everything: the watermark of an input that has ended.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Timestamp(nanos)
    }

    /// From milliseconds since the Unix epoch; saturates about the years 1677 and 2262.
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }
}

impl Add<Interval> for Timestamp {
    type Output = Timestamp;

    fn add(self, interval: Interval) -> Timestamp {
        Timestamp(self.0.saturating_add(interval.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", chrono::DateTime::from_timestamp_nanos(self.0).format("%Y-%m-%d %H:%M:%S%.f"))
    }
}

/// A length of time in nanoseconds. Never holds months: their length depends on where they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Interval(i64);

impl Interval {
    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Interval(nanos)
    }

    /// From milliseconds; saturates at about 292 years.
    pub const fn from_millis(millis: i64) -> Self {
        Interval(millis.saturating_mul(1_000_000))
    }

    /// The length in nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Interval {
    /// The largest unit that divides it: `5 seconds`, `250 milliseconds`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 7] = [
            (86_400_000_000_000, "day"),
            (3_600_000_000_000, "hour"),
            (60_000_000_000, "minute"),
            (1_000_000_000, "second"),
            (1_000_000, "millisecond"),
            (1_000, "microsecond"),
            (1, "nanosecond"),
        ];
        let (size, unit) =
            UNITS.into_iter().find(|(size, _)| self.0 != 0 && self.0 % size == 0).unwrap_or((1_000_000_000, "second"));
        let count = self.0 / size;
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

/// The number of a snapshot. 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(u64);

impl Epoch {
    /// Before the first snapshot.
    pub const ZERO: Epoch = Epoch(0);

    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
