//! Writing CSV.

use std::fmt::Write as _;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::columns::check_types;
use crate::error::{Code, DataError, OutsideError, Result};
use crate::io::formats::FileWriter;
use crate::io::options::{CsvOptions, FileOptions, Header};
use crate::io::output::{Ended, Output};

/// Writes rows as CSV. NULL is the first of the null texts; text that could be taken for something else is quoted.
pub(in crate::io::formats) struct CsvWriter {
    output: Output,
    csv: CsvOptions,
    /// The rows of a batch, until they are written at once.
    lines: String,
}

impl CsvWriter {
    /// Begins with the header, if there is one.
    pub fn new(output: Output, options: &FileOptions, schema: &Schema) -> Result<CsvWriter> {
        let mut writer = CsvWriter::headless(output, options, schema)?;
        if writer.csv.header == Header::Present {
            for (index, field) in schema.fields().iter().enumerate() {
                writer.separate(index);
                writer.push(field.name());
            }
            writer.lines.push('\n');
            writer.write_lines()?;
        }
        Ok(writer)
    }

    /// Goes on where there is a header already.
    pub fn headless(output: Output, options: &FileOptions, schema: &Schema) -> Result<CsvWriter> {
        check_types(schema)?;
        Ok(CsvWriter { output, csv: options.csv.clone(), lines: String::new() })
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.lines.push(char::from(self.csv.delimiter));
        }
    }

    /// Adds a value, in quotes if it needs them.
    fn push(&mut self, value: &str) {
        let csv = &self.csv;
        let special = |byte: u8| {
            byte == csv.delimiter
                || byte == b'\n'
                || byte == b'\r'
                || Some(byte) == csv.quote
                || Some(byte) == csv.escape
        };
        let starts_comment = csv.comment.is_some() && value.bytes().next() == csv.comment;
        let plain = !value.is_empty()
            && !starts_comment
            && !value.bytes().any(special)
            && !csv.nulls.iter().any(|null| null == value);
        let Some(quote) = csv.quote.filter(|_| !plain) else {
            self.lines.push_str(value);
            return;
        };
        let quote = char::from(quote);
        self.lines.push(quote);
        for character in value.chars() {
            if character == quote || csv.escape.map(char::from) == Some(character) {
                // A quote is doubled; an escape character escapes itself.
                self.lines.push(character);
            }
            self.lines.push(character);
        }
        self.lines.push(quote);
    }

    fn write_lines(&mut self) -> Result<()> {
        let written = self.output.write_all(self.lines.as_bytes());
        self.lines.clear();
        Ok(written.map_err(|error| OutsideError::io(self.output.shown(), &error))?)
    }
}

impl FileWriter for CsvWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let options = FormatOptions::new().with_display_error(false);
        let formatters: Result<Vec<_>, _> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options)).collect();
        let formatters = formatters?;
        let mut value = String::new();
        for row in 0..batch.num_rows() {
            for (index, column) in batch.columns().iter().enumerate() {
                self.separate(index);
                if column.is_null(row) {
                    let null = self.csv.nulls.first().cloned().unwrap_or_default();
                    // A row of nothing would be an empty line, which is no row.
                    let alone = null.is_empty() && batch.num_columns() == 1;
                    if alone {
                        self.push("")
                    } else {
                        self.lines.push_str(&null)
                    }
                    continue;
                }
                value.clear();
                write!(value, "{}", formatters[index].value(row)).map_err(|_| broken_value())?;
                self.push(&value);
            }
            self.lines.push('\n');
        }
        self.write_lines()
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.output.flush();
        Ok(flushed.map_err(|error| OutsideError::io(self.output.shown(), &error))?)
    }

    fn mark(&mut self) -> Result<u64> {
        self.output.mark()
    }

    fn end(self: Box<Self>) -> Result<Ended> {
        self.output.end()
    }
}

fn broken_value() -> DataError {
    DataError::new(Code::Value, "a value has no text, such as a time out of range")
}
