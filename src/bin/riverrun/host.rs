//! The files and the clock that the console is granted.

use std::fs;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use riverrun::console::Host;

/// A person's terminal: files by their path, and time since it was opened.
pub struct Terminal {
    opened: Instant,
    /// Whether files are refused, as `--safe` asks.
    safe: bool,
}

impl Terminal {
    /// A terminal that is opened now.
    pub fn new(safe: bool) -> Terminal {
        Terminal { opened: Instant::now(), safe }
    }

    fn check(&self) -> io::Result<()> {
        match self.safe {
            true => Err(io::Error::new(io::ErrorKind::PermissionDenied, "files are refused by --safe")),
            false => Ok(()),
        }
    }
}

impl Host for Terminal {
    fn read(&mut self, path: &str) -> io::Result<String> {
        self.check()?;
        fs::read_to_string(path)
    }

    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write>> {
        self.check()?;
        Ok(Box::new(io::BufWriter::new(fs::File::create(path)?)))
    }

    fn elapsed(&self) -> Option<Duration> {
        Some(self.opened.elapsed())
    }
}
