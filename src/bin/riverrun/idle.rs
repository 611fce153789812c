//! What happens while nobody types: timers run, and what live queries say appears above the prompt.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use riverrun::console::Console;
use rustyline::ExternalPrinter;

/// How often the clock is looked at.
const STEP: Duration = Duration::from_millis(100);

/// Keeps a console going between statements, until it is dropped.
pub struct Idle {
    /// Dropped to stop the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Idle {
    /// Begins. What there is to say goes to `printer`, which writes above the line that is being typed.
    pub fn start(console: Arc<Mutex<Console>>, printer: impl ExternalPrinter + Send + 'static) -> Idle {
        let (running, stopped) = channel();
        let thread = spawn(move || keep_going(&console, printer, &stopped));
        Idle { running: Some(running), thread: Some(thread) }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.running = None;
        // If the thread has panicked, timers wait for the next statement, as they do without it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn keep_going(console: &Mutex<Console>, mut printer: impl ExternalPrinter, stopped: &Receiver<()>) {
    while stopped.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
        // While a statement runs it does all of this itself.
        let Ok(mut console) = console.try_lock() else { continue };
        let text = said(&mut console);
        // Whoever has closed the terminal reads nothing more.
        if !text.is_empty() && printer.print(text).is_err() {
            return;
        }
    }
}

/// What there is to say.
fn said(console: &mut Console) -> String {
    let (mut text, mut errors) = (Vec::new(), Vec::new());
    // Writing to memory does not fail.
    let _ = console.tick(&mut text, &mut errors);
    text.append(&mut errors);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use riverrun::Engine;
    use riverrun::console::Format;

    use super::*;

    /// Hands what is printed to the test.
    struct Printed(Sender<String>);

    impl ExternalPrinter for Printed {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            self.0.send(text).map_err(|error| std::io::Error::other(error).into())
        }
    }

    #[test]
    fn a_window_that_closes_by_silence_is_printed_without_a_statement() {
        let engine = Engine::new();
        let mut console = Console::new(engine.clone(), Format::Plain);
        let statements = "SET clock = 'manual';
            CREATE STREAM e (k VARCHAR, v BIGINT);
            SELECT k, array_agg(v) AS vs FROM e GROUP BY k, COLLECT(timeout => INTERVAL '5 seconds');
            INSERT INTO e VALUES ('a', 1);";
        console.run_text(statements, None, &mut Vec::new(), &mut Vec::new()).unwrap();
        let (sender, printed) = channel();
        let idle = Idle::start(Arc::new(Mutex::new(console)), Printed(sender));
        engine.execute("ADVANCE CLOCK BY INTERVAL '5 seconds'").unwrap();
        assert_eq!(printed.recv().unwrap(), "k  vs\na  [1]\n");
        drop(idle);
        assert!(printed.recv().is_err(), "nothing else was said");
    }
}
