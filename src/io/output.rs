//! Bytes to the outside: buffered, compressed, and given their name when all of them are written.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use flate2::write::GzEncoder;

use super::access::{Access, NewFile};
use super::options::{Compression, Connector, FileOptions};
use crate::error::{Code, OutsideError, Result};

/// How much is buffered before it is written.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being written, or the process's output.
pub(crate) struct Output {
    bytes: Encoded,
    compression: Compression,
    shown: String,
}

enum Encoded {
    Plain(BufWriter<Target>),
    Gzip(GzEncoder<BufWriter<Target>>),
    Zstd(zstd::Encoder<'static, BufWriter<Target>>),
    /// Its compression could not be ended.
    Broken,
}

enum Target {
    File(NewFile),
    Stdout(io::Stdout),
}

/// An output to which nothing more is written. A file has no name yet.
pub(crate) struct Ended(Target);

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::File(file) => file.write(bytes),
            Target::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::File(file) => file.flush(),
            Target::Stdout(stdout) => stdout.flush(),
        }
    }
}

impl Ended {
    /// The file, to read back what has been written, also once it has its name; none if it is no file.
    pub fn read_back(&self) -> Result<Option<File>> {
        match &self.0 {
            Target::File(file) => file.read_back(),
            Target::Stdout(_) => Ok(None),
        }
    }

    /// Gives a file its name.
    pub fn commit(self) -> Result<()> {
        match self.0 {
            Target::File(file) => file.commit(),
            Target::Stdout(_) => Ok(()),
        }
    }
}

impl Encoded {
    fn new(bytes: BufWriter<Target>, compression: Compression) -> io::Result<Encoded> {
        Ok(match compression {
            Compression::None => Encoded::Plain(bytes),
            Compression::Gzip => Encoded::Gzip(GzEncoder::new(bytes, flate2::Compression::default())),
            Compression::Zstd => Encoded::Zstd(zstd::Encoder::new(bytes, zstd::DEFAULT_COMPRESSION_LEVEL)?),
        })
    }

    /// Ends what is compressed.
    fn finish(self) -> io::Result<BufWriter<Target>> {
        match self {
            Encoded::Plain(bytes) => Ok(bytes),
            Encoded::Gzip(encoder) => encoder.finish(),
            Encoded::Zstd(encoder) => encoder.finish(),
            Encoded::Broken => Err(broken()),
        }
    }

    /// What lies below the compression.
    fn plain(&mut self) -> io::Result<&mut BufWriter<Target>> {
        match self {
            Encoded::Plain(bytes) => Ok(bytes),
            Encoded::Gzip(encoder) => Ok(encoder.get_mut()),
            Encoded::Zstd(encoder) => Ok(encoder.get_mut()),
            Encoded::Broken => Err(broken()),
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("it could not be compressed to its end")
}

impl Output {
    /// Begins the file that `options` names, or opens the process's output.
    pub fn open(options: &FileOptions, access: &Access) -> Result<Output> {
        let (target, shown) = match options.connector {
            Connector::File => (Target::File(access.create(Path::new(&options.path))?), options.path.clone()),
            Connector::Stdio => (Target::Stdout(access.stdout()?), "standard output".to_string()),
        };
        let bytes = Encoded::new(BufWriter::with_capacity(BUFFER_BYTES, target), options.compression);
        let bytes = bytes.map_err(|error| OutsideError::io(&shown, &error))?;
        Ok(Output { bytes, compression: options.compression, shown })
    }

    /// Passes everything on, and tells how many bytes of a file that makes.
    ///
    /// What is compressed is ended there: a file may be several compressed pieces, one after the other, so one that
    /// is cut at that place is whole.
    pub fn mark(&mut self) -> Result<u64> {
        let marked = self.end_piece();
        marked.map_err(|error| OutsideError::io(&self.shown, &error))?;
        match self.bytes.plain().map_err(|error| OutsideError::io(&self.shown, &error))?.get_mut() {
            Target::File(file) => file.position(),
            Target::Stdout(_) => Ok(0),
        }
    }

    fn end_piece(&mut self) -> io::Result<()> {
        let mut bytes = std::mem::replace(&mut self.bytes, Encoded::Broken).finish()?;
        bytes.flush()?;
        self.bytes = Encoded::new(bytes, self.compression)?;
        Ok(())
    }

    /// Begins with the first bytes of another file, as they are. Nothing has been written before.
    pub fn copy(&mut self, mut from: File, bytes: u64) -> Result<()> {
        let copied = || -> io::Result<u64> {
            from.rewind()?;
            io::copy(&mut from.take(bytes), self.bytes.plain()?)
        };
        match copied() {
            Ok(copied) if copied == bytes => Ok(()),
            Ok(_) => Err(OutsideError::new(Code::Io, format!("{}: the file has been cut short", self.shown)).into()),
            Err(error) => Err(OutsideError::io(&self.shown, &error).into()),
        }
    }

    /// Ends the compression and passes everything on.
    pub fn end(self) -> Result<Ended> {
        let failed = |error: io::Error| OutsideError::io(&self.shown, &error);
        let buffered = self.bytes.finish().map_err(failed)?;
        let mut target = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
        target.flush().map_err(failed)?;
        Ok(Ended(target))
    }

    /// What it is called in errors.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.bytes {
            Encoded::Plain(output) => output.write(bytes),
            Encoded::Gzip(output) => output.write(bytes),
            Encoded::Zstd(output) => output.write(bytes),
            Encoded::Broken => Err(broken()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.bytes {
            Encoded::Plain(output) => output.flush(),
            Encoded::Gzip(output) => output.flush(),
            Encoded::Zstd(output) => output.flush(),
            Encoded::Broken => Err(broken()),
        }
    }
}
