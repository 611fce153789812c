//! How far the engine has read, told to whoever shows it from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the engine has read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// How many rows it has read from files and tables since it was built.
    pub rows: u64,
    /// How much of what the running query reads by itself has been read, from 0 to 1, if that can be known.
    pub fraction: Option<f64>,
}

/// Tells how far an engine has read, from another thread and while it is busy.
///
/// It is brought up to date with each batch. Asking takes no lock.
#[derive(Debug, Clone, Default)]
pub struct ProgressHandle(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    rows: AtomicU64,
    /// Millionths and one more; 0 where it is not known.
    fraction: AtomicU64,
}

const MILLION: f64 = 1e6;

impl ProgressHandle {
    /// How far the engine has read.
    pub fn now(&self) -> Progress {
        let known = self.0.fraction.load(Ordering::Relaxed).checked_sub(1);
        Progress {
            rows: self.0.rows.load(Ordering::Relaxed),
            fraction: known.map(|millionths| millionths as f64 / MILLION),
        }
    }

    /// Another statement begins, of which nothing is known.
    pub(super) fn begin(&self) {
        self.0.fraction.store(0, Ordering::Relaxed);
    }

    /// A batch has been read.
    pub(super) fn read(&self, rows: u64, fraction: Option<f64>) {
        let known = fraction.map_or(0, |fraction| 1 + (fraction.clamp(0.0, 1.0) * MILLION) as u64);
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
        self.0.fraction.store(known, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_add_up_and_the_fraction_is_the_last_one_known() {
        let handle = ProgressHandle::default();
        assert_eq!(handle.now(), Progress { rows: 0, fraction: None });
        handle.read(3, Some(0.25));
        handle.clone().read(4, Some(0.5));
        assert_eq!(handle.now(), Progress { rows: 7, fraction: Some(0.5) });
        handle.begin();
        assert_eq!(handle.now(), Progress { rows: 7, fraction: None });
        handle.read(0, Some(f64::NAN));
        assert_eq!(handle.now().fraction, Some(0.0));
    }
}
