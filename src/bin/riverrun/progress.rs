//! A sign of life on a terminal while a statement runs for long.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use riverrun::engine::ProgressHandle;

/// How long a statement may run before anything is shown.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often what is shown moves on.
const STEP: Duration = Duration::from_millis(100);
/// How many steps the bar has.
const LENGTH: u64 = 1_000;

/// Shows how far a statement has come, from its 300th millisecond until it is dropped.
pub struct Progress {
    /// Dropped to stop the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins, if standard error is a terminal.
    pub fn start(handle: &ProgressHandle) -> Option<Progress> {
        if !stderr().is_terminal() {
            return None;
        }
        let shown = Shown::new(handle.clone());
        let (running, stopped) = channel();
        Some(Progress { running: Some(running), thread: Some(spawn(move || shown.until(&stopped))) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.running = None;
        // The thread only draws; if it has panicked, the statement has lost nothing.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What is shown of one statement.
struct Shown {
    handle: ProgressHandle,
    began: Instant,
    /// How many rows the engine had read before.
    rows_before: u64,
}

impl Shown {
    fn new(handle: ProgressHandle) -> Shown {
        let rows_before = handle.now().rows;
        Shown { handle, began: Instant::now(), rows_before }
    }

    fn until(&self, stopped: &Receiver<()>) {
        if stopped.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let bar = ProgressBar::new(LENGTH);
        bar.set_style(style("{spinner} {msg}, Ctrl-C cancels"));
        let mut known = false;
        while stopped.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
            let progress = self.handle.now();
            if let Some(fraction) = progress.fraction {
                if !std::mem::replace(&mut known, true) {
                    bar.set_style(style("{bar:20} {percent:>3} %, {msg}, Ctrl-C cancels"));
                }
                bar.set_position((fraction * LENGTH as f64) as u64);
            }
            bar.set_message(message(progress.rows - self.rows_before, self.began.elapsed()));
            bar.tick();
        }
        bar.finish_and_clear();
    }
}

/// A line of that form; without one that can be read, the bar's own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How many rows have been read in that time. A statement that reads nothing has only been running.
fn message(rows: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if rows == 0 || seconds <= 0.0 {
        return format!("running for {}", HumanDuration(time));
    }
    let rate = HumanCount((rows as f64 / seconds) as u64);
    format!("{} rows, {rate} rows/s, {}", HumanCount(rows), HumanDuration(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_their_rate_are_told_once_there_are_some() {
        assert_eq!(message(0, Duration::from_secs(2)), "running for 2 seconds");
        assert_eq!(message(3_000_000, Duration::from_secs(2)), "3,000,000 rows, 1,500,000 rows/s, 2 seconds");
    }
}
