//! The files and the clock that the console is granted.

use std::io::{self, IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use riverrun::console::Host;
use riverrun::engine::ProgressHandle;
use riverrun::io::access::NewFile;
use riverrun::{Access, Result};

use crate::progress::Progress;

/// A person's terminal: the files that statements may reach too, and the time since it was opened.
pub struct Terminal {
    opened: Instant,
    access: Access,
    handle: ProgressHandle,
    progress: Option<Progress>,
}

impl Terminal {
    /// A terminal that is opened now, and shows the progress of an engine.
    pub fn new(access: Access, handle: ProgressHandle) -> Terminal {
        Terminal { opened: Instant::now(), access, handle, progress: None }
    }
}

impl Host for Terminal {
    fn read(&mut self, path: &str) -> Result<String> {
        let mut text = String::new();
        let mut file = self.access.open(path)?;
        file.read_to_string(&mut text).map_err(|error| riverrun::error::OutsideError::io(path, &error))?;
        Ok(text)
    }

    fn create(&mut self, path: &str) -> Result<Box<dyn Write + Send>> {
        Ok(Box::new(Results(Some(io::BufWriter::new(self.access.create(path)?)))))
    }

    fn elapsed(&self) -> Option<Duration> {
        Some(self.opened.elapsed())
    }

    fn statement_begins(&mut self) {
        self.progress = Progress::start(&self.handle);
    }

    fn rows_come(&mut self) {
        // On one terminal rows and a bar would be drawn into each other.
        if io::stdout().is_terminal() {
            self.progress = None;
        }
    }

    fn statement_ends(&mut self) {
        self.progress = None;
    }
}

/// A file of results, which gets its name when nothing more is written to it.
struct Results(Option<io::BufWriter<NewFile>>);

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        let committed = self.0.take().map(|file| {
            let file = file.into_inner().map_err(|error| error.into_error().to_string())?;
            file.commit().map_err(|error| error.to_string())
        });
        if let Some(Err(error)) = committed {
            // If standard error is closed too, there is nobody left to tell.
            let _ = writeln!(io::stderr(), "error[io]: {error}");
        }
    }
}
