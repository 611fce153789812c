//! Rows that can't be read: what is known of one, and what happens to it.

use std::sync::Arc;

use arrow::array::{Int64Builder, RecordBatch, StringBuilder};

use super::options::{FileOptions, OnError};
use crate::error::{Code, DataError, Error, Result};
use crate::types::dead_letter_schema;

/// A row that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    /// How many good rows of the batch come before it.
    pub before: usize,
    /// Its first line in the file, counted from 1.
    pub line: u64,
    /// The column, if it is one that is wrong.
    pub column: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// What could be done about it.
    pub hint: Option<String>,
    /// The row as it stands in the file.
    pub raw: String,
}

impl BadRow {
    fn into_error(self, origin: &str) -> Error {
        let mut error = DataError::new(Code::BadRow, self.reason).origin(origin).line(self.line);
        if let Some(column) = self.column {
            error = error.column(column);
        }
        let hint = self.hint.unwrap_or_else(|| "Add on_error = 'skip' to leave such rows out.".to_string());
        error.hint(hint).into()
    }
}

/// What happened to bad rows so far, and what happens to the next.
#[derive(Debug)]
pub(crate) struct Rejects {
    policy: OnError,
    max_errors: Option<u64>,
    letters: Vec<(Arc<str>, BadRow)>,
    pub skipped: u64,
    pub dead_lettered: u64,
}

/// The row that ends the reading: the rows before it in its batch are still good.
#[derive(Debug)]
pub(crate) struct Fatal {
    pub good_rows: usize,
    /// How many rows come before it, good or bad.
    pub rows_before: u64,
    pub error: Error,
}

impl Rejects {
    pub fn new(options: &FileOptions) -> Rejects {
        let (policy, max_errors) = (options.on_error, options.max_errors);
        Rejects { policy, max_errors, letters: Vec::new(), skipped: 0, dead_lettered: 0 }
    }

    /// Takes the bad rows of a batch, in order. Gives the one that must not be passed over, if there is one.
    pub fn take(&mut self, origin: &Arc<str>, rows: Vec<BadRow>) -> Option<Fatal> {
        for (bad_before, row) in rows.into_iter().enumerate() {
            let good_rows = row.before;
            let rows_before = (good_rows + bad_before) as u64;
            if self.policy == OnError::Fail {
                return Some(Fatal { good_rows, rows_before, error: row.into_error(origin) });
            }
            if let Some(most) = self.max_errors
                && self.skipped + self.dead_lettered >= most
            {
                let row = BadRow { reason: format!("more than {most} bad rows: {}", row.reason), ..row };
                let row = BadRow { hint: Some("Raise max_errors, or mend the rows.".to_string()), ..row };
                return Some(Fatal { good_rows, rows_before, error: row.into_error(origin) });
            }
            match self.policy {
                OnError::Fail | OnError::Skip => self.skipped += 1,
                OnError::DeadLetter => {
                    self.dead_lettered += 1;
                    self.letters.push((origin.clone(), row));
                }
            }
        }
        None
    }

    /// The dead letters since the last call.
    pub fn take_letters(&mut self) -> Result<Option<RecordBatch>> {
        if self.letters.is_empty() {
            return Ok(None);
        }
        let (mut source, mut line, mut column) = (StringBuilder::new(), Int64Builder::new(), StringBuilder::new());
        let (mut reason, mut raw) = (StringBuilder::new(), StringBuilder::new());
        for (origin, letter) in self.letters.drain(..) {
            source.append_value(origin);
            line.append_value(i64::try_from(letter.line).unwrap_or(i64::MAX));
            column.append_option(letter.column);
            reason.append_value(letter.reason);
            raw.append_value(letter.raw);
        }
        Ok(Some(RecordBatch::try_new(
            dead_letter_schema(),
            vec![
                Arc::new(source.finish()),
                Arc::new(line.finish()),
                Arc::new(column.finish()),
                Arc::new(reason.finish()),
                Arc::new(raw.finish()),
            ],
        )?))
    }
}
