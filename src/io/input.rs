//! Bytes from outside: counted, decompressed, and for text held until a whole row is there.

use std::fs::File;
use std::io::{self, BufRead, Cursor, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::access::Access;
use super::options::{Compression, Connector, FileOptions};
use crate::error::{Code, DataError, Error, OutsideError, Result};

/// How many bytes are asked for at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// How many bytes were read, shared between an input and its source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// One opened file, or the process's input.
#[derive(Debug)]
pub(crate) struct Input {
    /// What it is called in errors.
    pub origin: Arc<str>,
    bytes: InputBytes,
    meter: Meter,
    compression: Compression,
}

#[derive(Debug)]
enum InputBytes {
    File(File),
    Stdin(io::Stdin),
    /// The beginning of the process's input, looked at but not taken.
    Peeked(Cursor<Vec<u8>>),
}

impl Input {
    /// Opens the file `path`, or the process's input.
    pub fn open(path: &std::path::Path, options: &FileOptions, access: &Access, meter: Meter) -> Result<Input> {
        let bytes = match options.connector {
            Connector::File => InputBytes::File(access.open(path)?),
            Connector::Stdio => InputBytes::Stdin(access.stdin()?),
        };
        let origin = match options.connector {
            Connector::File => path.display().to_string(),
            Connector::Stdio => "standard input".to_string(),
        };
        Ok(Input { origin: origin.into(), bytes, meter, compression: options.compression })
    }

    /// A file that is open already, from its beginning.
    pub fn of_file(mut file: File, options: &FileOptions) -> Result<Input> {
        file.rewind().map_err(|error| OutsideError::io(&options.path, &error))?;
        let origin = options.path.as_str().into();
        Ok(Input { origin, bytes: InputBytes::File(file), meter: Meter::default(), compression: options.compression })
    }

    /// Opens it to look at its first rows. The process's input keeps what was looked at.
    pub fn peek(path: &std::path::Path, options: &FileOptions, access: &Access) -> Result<Input> {
        let mut input = Input::open(path, options, access, Meter::default())?;
        if let InputBytes::Stdin(stdin) = &input.bytes {
            let mut locked = stdin.lock();
            let seen = locked.fill_buf().map_err(|error| input.failed(&error))?.to_vec();
            drop(locked);
            input.bytes = InputBytes::Peeked(Cursor::new(seen));
        }
        Ok(input)
    }

    /// Whether rows may come slowly, so that those that are there should not wait for more.
    fn pace(&self) -> Pace {
        match self.bytes {
            InputBytes::File(_) => Pace::Stored,
            InputBytes::Stdin(_) | InputBytes::Peeked(_) => Pace::Live,
        }
    }

    fn is_peeked(&self) -> bool {
        match self.bytes {
            InputBytes::Peeked(_) => true,
            InputBytes::File(_) | InputBytes::Stdin(_) => false,
        }
    }

    /// How many bytes a file has.
    pub fn size(&self) -> Option<u64> {
        match &self.bytes {
            InputBytes::File(file) => file.metadata().ok().filter(std::fs::Metadata::is_file).map(|known| known.len()),
            InputBytes::Stdin(_) | InputBytes::Peeked(_) => None,
        }
    }

    /// The file itself, for a format that reads it out of order.
    pub fn into_file(self) -> Option<File> {
        match self.bytes {
            InputBytes::File(file) => Some(file),
            InputBytes::Stdin(_) | InputBytes::Peeked(_) => None,
        }
    }

    /// Its bytes, counted and decompressed.
    pub fn into_reader(self) -> Result<Box<dyn Read + Send>> {
        let failed = |error: &io::Error| OutsideError::io(&self.origin, error);
        let bytes: Box<dyn Read + Send> = match self.bytes {
            InputBytes::File(file) => Box::new(file),
            InputBytes::Stdin(stdin) => Box::new(stdin),
            InputBytes::Peeked(seen) => Box::new(seen),
        };
        let counted = Counted { bytes, meter: self.meter };
        Ok(match self.compression {
            Compression::None => Box::new(counted),
            Compression::Gzip => Box::new(MultiGzDecoder::new(counted)),
            Compression::Zstd => Box::new(zstd::Decoder::new(counted).map_err(|error| failed(&error))?),
        })
    }

    /// Its bytes, to be read row by row.
    pub fn into_text(self, options: &FileOptions) -> Result<Text> {
        let (origin, pace, cut) = (self.origin.clone(), self.pace(), self.is_peeked());
        let compressed = self.compression != Compression::None;
        let input = self.into_reader()?;
        let mut text = Text {
            origin,
            input,
            pace,
            compressed,
            cut,
            bytes: Vec::new(),
            start: 0,
            line: 1,
            ended: false,
            max_row_bytes: options.max_row_bytes,
        };
        text.skip_byte_order_mark()?;
        Ok(text)
    }

    fn failed(&self, error: &io::Error) -> Error {
        read_failed(&self.origin, error, self.compression != Compression::None)
    }
}

/// A compressed file that is broken is the fault of the data; anything else is the world's.
pub(crate) fn read_failed(origin: &str, error: &io::Error, compressed: bool) -> Error {
    let broken =
        matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput);
    if compressed && (broken || error.kind() == io::ErrorKind::Other) {
        let message = format!("the compressed data is broken: {error}");
        return DataError::new(Code::BadRow, message).origin(origin).into();
    }
    OutsideError::io(origin, error).into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Stored,
    Live,
}

struct Counted {
    bytes: Box<dyn Read + Send>,
    meter: Meter,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.meter.add(read);
        Ok(read)
    }
}

/// Text of which rows are taken from the front, with the number of the line they begin at.
pub(crate) struct Text {
    /// What it is called in errors.
    pub origin: Arc<str>,
    /// How long a row may be.
    pub max_row_bytes: usize,
    input: Box<dyn Read + Send>,
    pace: Pace,
    compressed: bool,
    /// Whether this is only the beginning of something longer: its last line may be half a line.
    cut: bool,
    bytes: Vec<u8>,
    start: usize,
    line: u64,
    ended: bool,
}

/// Whether more bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    More,
    End,
}

impl Text {
    /// What has been read and not been consumed.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The same, to overwrite what is not UTF-8.
    pub fn rest_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// The number of the line at which [`Text::rest`] begins, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Whether nothing comes after [`Text::rest`].
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether rows that are there should be handed out before more is read.
    pub fn is_live(&self) -> bool {
        self.pace == Pace::Live
    }

    /// Reads more behind [`Text::rest`].
    pub fn fill(&mut self) -> Result<Fill> {
        if self.ended {
            return Ok(Fill::End);
        }
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let held = self.bytes.len();
        // A long row is searched from its beginning each time, so what is asked for grows with it.
        self.bytes.resize(held + CHUNK_BYTES.max(held / 2), 0);
        let read = self.read_into(held);
        self.bytes.truncate(held + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            self.end();
            return Ok(Fill::End);
        }
        Ok(Fill::More)
    }

    fn read_into(&mut self, from: usize) -> Result<usize> {
        loop {
            match self.input.read(&mut self.bytes[from..]) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The beginning of a compressed input ends in the middle of it.
                Err(_) if self.cut => return Ok(0),
                Err(error) => return Err(read_failed(&self.origin, &error, self.compressed)),
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if self.cut && self.bytes.iter().filter(|byte| **byte == b'\n').count() > 1 {
            let last = self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.bytes.truncate(last);
        }
    }

    /// Takes `bytes` from the front.
    pub fn consume(&mut self, bytes: usize) {
        self.line += count_lines(&self.rest()[..bytes]);
        self.start += bytes;
    }

    /// Takes everything up to and with the next line feed, however far that is. Gives its first `shown_bytes` bytes.
    pub fn discard_line(&mut self, shown_bytes: usize) -> Result<String> {
        let shown = String::from_utf8_lossy(&self.rest()[..self.rest().len().min(shown_bytes)]).into_owned();
        loop {
            if let Some(end) = self.rest().iter().position(|byte| *byte == b'\n') {
                self.consume(end + 1);
                return Ok(shown);
            }
            self.consume(self.rest().len());
            if self.fill()? == Fill::End {
                return Ok(shown);
            }
        }
    }

    fn skip_byte_order_mark(&mut self) -> Result<()> {
        while self.rest().len() < 3 && self.fill()? == Fill::More {}
        if self.rest().starts_with(b"\xEF\xBB\xBF") {
            self.start += 3;
        }
        Ok(())
    }
}

/// How many line feeds there are.
pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Gives the line of ever later places in a text, counting each stretch once.
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    /// `bytes` begin at line `line`.
    pub fn new(bytes: &'a [u8], line: u64) -> Lines<'a> {
        Lines { bytes, at: 0, line }
    }

    /// The line of the byte `at`, which is not before the last one asked for.
    pub fn line(&mut self, at: usize) -> u64 {
        self.line += count_lines(self.bytes.get(self.at..at).unwrap_or_default());
        self.at = at;
        self.line
    }
}
