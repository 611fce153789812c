//! Reading files, one or several by a pattern, and the process's input.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Code, Error, OutsideError, Result};
use crate::io::access::Access;
use crate::io::formats::{self, Decoded, FileReader};
use crate::io::input::{Input, Meter};
use crate::io::options::{Connector, FileOptions};
use crate::io::rejects::Rejects;
use crate::io::schema::{Columns, Wanted};
use crate::io::{Position, Source, SourceCounts};

/// Reads files one after the other, in the order of their names.
pub(crate) struct FileSource {
    options: FileOptions,
    access: Access,
    wanted: Wanted,
    files: Vec<PathBuf>,
    /// The length of each; one byte for what has none.
    sizes: Vec<u64>,
    current: Option<Current>,
    position: Position,
    rejects: Rejects,
    meter: Meter,
    rows: u64,
    /// The error that comes after the good rows before it, and then for ever.
    failed: Option<Error>,
}

/// The file that is being read.
struct Current {
    reader: Box<dyn FileReader>,
    origin: Arc<str>,
    size: Option<u64>,
    /// What the meter said when it was opened.
    bytes_before: u64,
}

impl FileSource {
    /// Finds the files and opens the first, so that what is wrong with it is known at once.
    pub fn open(options: &FileOptions, schema: SchemaRef, columns: Columns<'_>, access: &Access) -> Result<FileSource> {
        let files = files(options, access)?;
        let mut source = FileSource {
            sizes: files.iter().map(|file| access.size(file).unwrap_or(1).max(1)).collect(),
            files,
            options: options.clone(),
            access: access.clone(),
            wanted: Wanted::new(schema, columns)?,
            current: None,
            position: Position::default(),
            rejects: Rejects::new(options),
            meter: Meter::default(),
            rows: 0,
            failed: None,
        };
        source.current = source.open_file()?;
        Ok(source)
    }

    /// Opens the file at the position; none after the last.
    fn open_file(&self) -> Result<Option<Current>> {
        let file = usize::try_from(self.position.file).ok().and_then(|file| self.files.get(file));
        let Some(path) = file else { return Ok(None) };
        let bytes_before = self.meter.bytes();
        let input = Input::open(path, &self.options, &self.access, self.meter.clone())?;
        let (origin, size) = (input.origin.clone(), input.size());
        let mut reader = formats::open(input, &self.options, &self.wanted)?;
        if self.position.row > 0 {
            reader.skip(self.position.row)?;
        }
        Ok(Some(Current { reader, origin, size, bytes_before }))
    }

    /// The next rows of the files, good and bad.
    fn read(&mut self) -> Result<Option<(Arc<str>, Decoded)>> {
        loop {
            if self.current.is_none() {
                self.current = self.open_file()?;
            }
            let Some(current) = &mut self.current else { return Ok(None) };
            if let Some(decoded) = current.reader.next()? {
                return Ok(Some((current.origin.clone(), decoded)));
            }
            self.current = None;
            self.position = Position { file: self.position.file + 1, row: 0 };
        }
    }

    fn deliver(&mut self, origin: &Arc<str>, decoded: Decoded) -> Result<RecordBatch> {
        let Decoded { mut rows, bad, taken } = decoded;
        if let Some(fatal) = self.rejects.take(origin, bad) {
            // The rows before the bad one come out first, so that it does not matter how rows are cut into batches.
            // The position stays before the bad one: reading on from there meets it again.
            self.failed = Some(fatal.error.clone());
            self.position.row += fatal.rows_before;
            if fatal.good_rows == 0 {
                return Err(fatal.error);
            }
            rows = rows.slice(0, fatal.good_rows);
        } else {
            self.position.row += taken;
        }
        self.rows += rows.num_rows() as u64;
        Ok(rows)
    }

    fn file_progress(&self) -> f64 {
        let Some(current) = &self.current else { return 0.0 };
        let by_bytes = || {
            let read = (self.meter.bytes() - current.bytes_before) as f64;
            current.size.map_or(0.0, |size| if size == 0 { 1.0 } else { read / size as f64 })
        };
        current.reader.progress().unwrap_or_else(by_bytes).clamp(0.0, 1.0)
    }
}

impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        self.wanted.schema.clone()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let read = self.read().inspect_err(|error| self.failed = Some(error.clone()));
        match read? {
            Some((origin, decoded)) => self.deliver(&origin, decoded).map(Some),
            None => Ok(None),
        }
    }

    fn position(&self) -> Position {
        self.position
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        if *position == self.position && self.failed.is_none() {
            return Ok(());
        }
        if self.options.connector == Connector::Stdio && self.meter.bytes() > 0 && self.position.row > 0 {
            let message = "the standard input can't be read again from an earlier place";
            return Err(OutsideError::new(Code::Unsupported, message)
                .hint("Read from a file to be able to resume.")
                .into());
        }
        self.failed = None;
        if self.options.connector == Connector::Stdio
            && let Some(current) = &mut self.current
        {
            // What a new run is given is the same input from its beginning.
            current.reader.skip(position.row)?;
        } else {
            self.current = None;
        }
        self.position = *position;
        Ok(())
    }

    fn files(&self) -> u64 {
        self.files.len() as u64
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts {
            rows: self.rows,
            skipped: self.rejects.skipped,
            dead_lettered: self.rejects.dead_lettered,
            bytes_read: self.meter.bytes(),
        }
    }

    fn progress(&self) -> Option<f64> {
        match self.options.connector {
            Connector::Stdio => None,
            Connector::File => {
                let at = usize::try_from(self.position.file).unwrap_or(usize::MAX).min(self.sizes.len());
                let (before, rest) = self.sizes.split_at(at);
                let current = rest.first().map_or(0.0, |size| *size as f64 * self.file_progress());
                let read = before.iter().sum::<u64>() as f64 + current;
                Some((read / self.weight() as f64).min(1.0))
            }
        }
    }

    fn weight(&self) -> u64 {
        self.sizes.iter().sum::<u64>().max(1)
    }

    fn take_dead_letters(&mut self) -> Result<Option<RecordBatch>> {
        self.rejects.take_letters()
    }
}

/// The files that `options` names; for the process's input a single one without a path.
fn files(options: &FileOptions, access: &Access) -> Result<Vec<PathBuf>> {
    match options.connector {
        Connector::File => access.glob(&options.path),
        Connector::Stdio => Ok(vec![PathBuf::from("-")]),
    }
}

/// The columns of the first file.
pub(crate) fn infer(options: &FileOptions, access: &Access) -> Result<SchemaRef> {
    let files = files(options, access)?;
    let first = files.first().map_or(Path::new(&options.path), PathBuf::as_path);
    formats::infer(Input::peek(first, options, access)?, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};

    fn source(directory: &Path, text: &str) -> FileSource {
        let path = directory.join("a.csv");
        std::fs::write(&path, text).unwrap();
        let access = Access::directories([directory]).unwrap();
        let options = FileOptions::for_path(&path.display().to_string()).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        FileSource::open(&options, schema, Columns::default(), &access).unwrap()
    }

    #[test]
    fn reading_on_from_a_bad_row_meets_it_again() {
        let directory = tempfile::tempdir().unwrap();
        let text = "a\n1\n2\nx\n4\n";
        let mut first = source(directory.path(), text);
        assert_eq!(first.next_batch().unwrap().unwrap().num_rows(), 2);
        assert_eq!(first.position(), Position { file: 0, row: 2 });
        let failed = first.next_batch().unwrap_err();
        let mut second = source(directory.path(), text);
        second.seek(&first.position()).unwrap();
        assert_eq!(second.next_batch().unwrap_err(), failed);
    }

    #[test]
    fn a_quote_within_a_plain_field_hides_no_rows() {
        let directory = tempfile::tempdir().unwrap();
        let mut read = source(directory.path(), "a,b\n1,5\" pipe\n2,y\n3,z\n");
        assert_eq!(read.next_batch().unwrap().unwrap().num_rows(), 3);
    }
}
