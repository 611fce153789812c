//! Bytes to the outside: buffered, compressed, and given their name when all of them are written.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::write::GzEncoder;

use super::access::{Access, NewFile};
use super::options::{Compression, Connector, FileOptions};
use crate::error::{OutsideError, Result};

/// How much is buffered before it is written.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being written, or the process's output.
pub(crate) struct Output {
    bytes: Encoded,
    shown: String,
}

enum Encoded {
    Plain(BufWriter<Target>),
    Gzip(GzEncoder<BufWriter<Target>>),
    Zstd(zstd::Encoder<'static, BufWriter<Target>>),
}

enum Target {
    File(NewFile),
    Stdout(io::Stdout),
}

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

impl Output {
    /// Begins the file that `options` names, or opens the process's output.
    pub fn open(options: &FileOptions, access: &Access) -> Result<Output> {
        let (target, shown) = match options.connector {
            Connector::File => (Target::File(access.create(Path::new(&options.path))?), options.path.clone()),
            Connector::Stdio => (Target::Stdout(access.stdout()?), "standard output".to_string()),
        };
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, target);
        let bytes = match options.compression {
            Compression::None => Encoded::Plain(buffered),
            Compression::Gzip => Encoded::Gzip(GzEncoder::new(buffered, flate2::Compression::default())),
            Compression::Zstd => {
                let encoder = zstd::Encoder::new(buffered, zstd::DEFAULT_COMPRESSION_LEVEL);
                Encoded::Zstd(encoder.map_err(|error| OutsideError::io(&shown, &error))?)
            }
        };
        Ok(Output { bytes, shown })
    }

    /// Ends the compression, passes everything on, and gives a file its name.
    pub fn finish(self) -> Result<()> {
        let shown = self.shown;
        let failed = |error: io::Error| OutsideError::io(&shown, &error);
        let buffered = match self.bytes {
            Encoded::Plain(buffered) => buffered,
            Encoded::Gzip(encoder) => encoder.finish().map_err(failed)?,
            Encoded::Zstd(encoder) => encoder.finish().map_err(failed)?,
        };
        let mut target = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
        target.flush().map_err(failed)?;
        match target {
            Target::File(file) => file.commit(),
            Target::Stdout(_) => Ok(()),
        }
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
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.bytes {
            Encoded::Plain(output) => output.flush(),
            Encoded::Gzip(output) => output.flush(),
            Encoded::Zstd(output) => output.flush(),
        }
    }
}
