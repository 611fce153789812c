//! The only file that reads a clock.
//!
//! The engine reads no clock of its own accord: a host that drives it calls [`Clock::now`] through `tick`, a push or a poll.

use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::{Interval, Timestamp};

/// What time it is.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// The time since some fixed moment, to measure how long something takes.
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.now().nanos()).unwrap_or(0))
    }
}

/// Does some work, and tells how long it took if there is a clock to measure it by.
pub(crate) fn timed<T>(clock: Option<&dyn Clock>, work: impl FnOnce() -> T) -> (T, Option<Duration>) {
    let Some(clock) = clock else { return (work(), None) };
    let began = clock.elapsed();
    let done = work();
    (done, Some(clock.elapsed().saturating_sub(began)))
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        Timestamp::from_nanos(nanos)
    }

    /// The machine's clock may be set back; this one only goes on.
    fn elapsed(&self) -> Duration {
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        FIRST.elapsed()
    }
}

/// A clock that stands still until it is moved: for tests, and for hosts with a time of their own.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> ManualClock {
        ManualClock { now: Mutex::new(now) }
    }

    /// Moves the clock. The engine never goes back: an earlier time than it has seen changes nothing for it.
    pub fn set(&self, now: Timestamp) {
        *self.lock() = now;
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Interval) {
        let mut now = self.lock();
        *now = *now + by;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Timestamp> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::new(Timestamp::from_millis(5));
        clock.advance(Interval::from_millis(7));
        assert_eq!(clock.now(), Timestamp::from_millis(12));
    }

    #[test]
    fn work_is_timed_by_the_clock_that_is_given() {
        let clock = ManualClock::new(Timestamp::from_millis(5));
        let (answer, took) = timed(Some(&clock), || {
            clock.advance(Interval::from_millis(7));
            42
        });
        assert_eq!((answer, took), (42, Some(Duration::from_millis(7))));
        assert_eq!(timed(None, || 1), (1, None));
        assert!(SystemClock.elapsed() <= SystemClock.elapsed());
    }

    #[test]
    fn the_system_clock_is_after_2020() {
        assert!(SystemClock.now() > Timestamp::from_millis(1_577_836_800_000));
    }
}
