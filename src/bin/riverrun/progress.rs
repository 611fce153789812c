//! A sign of life on a terminal while a statement runs for long.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How long a statement may run before anything is shown.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often the time that is shown moves on.
const STEP: Duration = Duration::from_millis(100);

/// Shows how long a statement has been running, from its 300th millisecond until it is dropped.
pub struct Progress {
    /// Dropped to stop the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins, if standard error is a terminal.
    pub fn start() -> Option<Progress> {
        if !stderr().is_terminal() {
            return None;
        }
        let (running, stopped) = channel();
        Some(Progress { running: Some(running), thread: Some(spawn(move || show(&stopped))) })
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.running = None;
        // The thread only draws; if it has panicked, the statement has lost nothing.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn show(stopped: &Receiver<()>) {
    if stopped.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} running for {elapsed_precise}, Ctrl-C cancels") {
        bar.set_style(style);
    }
    while stopped.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
        bar.tick();
    }
    bar.finish_and_clear();
}
