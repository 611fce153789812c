//! What a benchmark is doing, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// One line on standard error that says what is being done; nothing where that is no terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins to show.
    pub fn start() -> Progress {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// Shows nothing.
    #[cfg(test)]
    pub fn hidden() -> Progress {
        Progress(ProgressBar::hidden())
    }

    /// Says what is being done, if anybody sees it.
    ///
    /// It draws only when it is told something: a thread that draws would take its time from what is measured.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if !self.0.is_hidden() {
            self.0.set_message(what());
            self.0.tick();
        }
    }

    /// Shows nothing any more.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
