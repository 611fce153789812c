//! CSV: text with delimiters.
//!
//! With a header, columns are matched by name, and what the file has besides is passed over. Without one they are
//! matched by position. A row with too few or too many fields is a bad row.

mod columns;
mod infer;
mod records;
mod write;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::{BATCH_BYTES, Decoded, FileReader};
use crate::error::{Code, DataError, Result};
use crate::io::input::{Fill, Input, Lines, Text, count_lines};
use crate::io::options::{CsvOptions, FileOptions, Header};
use crate::io::rejects::BadRow;
use crate::io::schema::{Columns, Wanted, batch_of, places_by_name};
use columns::{Cells, Failure, Failures};
use infer::Inferred;
use records::{Grammar, Scan, Span};

pub(super) use write::CsvWriter;

/// Reads the rows of one file.
pub(super) struct CsvReader {
    text: Text,
    grammar: Grammar,
    csv: CsvOptions,
    batch_rows: usize,
    wanted: Wanted,
    /// For each column that is read its place in the file.
    places: Vec<usize>,
    /// How many fields a row must have; known from the header or the first row.
    width: Option<usize>,
}

/// The rows of a batch as they lie in the text.
#[derive(Default)]
struct Rows {
    spans: Vec<Span>,
    /// Where each good row begins and ends.
    good: Vec<(usize, usize)>,
    bad: Vec<Flawed>,
    /// The end of the last row.
    end: usize,
    /// Whether a line follows that is longer than may be held.
    before_long_line: bool,
}

/// A row that is not of the right shape.
struct Flawed {
    start: usize,
    end: usize,
    /// How many rows of the right shape come before it.
    before: usize,
    reason: String,
}

impl Rows {
    fn taken(&self) -> usize {
        self.good.len() + self.bad.len()
    }

    fn reject(&mut self, start: usize, end: usize, reason: impl Into<String>) {
        self.bad.push(Flawed { start, end, before: self.good.len(), reason: reason.into() });
        self.end = end;
    }

    /// A row that is too long is shown as far as one is that was never held as a whole.
    fn reject_long(&mut self, start: usize, end: usize) {
        self.reject(start, end.min(start + SHOWN_BYTES), TOO_LONG);
        self.end = end;
    }
}

impl CsvReader {
    /// Opens a file: reads its header and finds the wanted columns in it.
    pub fn open(input: Input, options: &FileOptions, wanted: &Wanted) -> Result<CsvReader> {
        columns::check_types(&wanted.declared)?;
        let mut reader = CsvReader::unmatched(input, options, wanted)?;
        match options.csv.header {
            Header::Absent => reader.places = wanted.columns.clone(),
            Header::Present => {
                if let Some(names) = reader.read_header()? {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let places = places_by_name(&names, &wanted.declared, &reader.text.origin)?;
                    reader.places = wanted.columns.iter().map(|column| places[*column]).collect();
                }
            }
        }
        Ok(reader)
    }

    fn unmatched(input: Input, options: &FileOptions, wanted: &Wanted) -> Result<CsvReader> {
        Ok(CsvReader {
            text: input.into_text(options)?,
            grammar: Grammar::new(&options.csv),
            csv: options.csv.clone(),
            batch_rows: options.batch_rows,
            wanted: wanted.clone(),
            places: Vec::new(),
            width: None,
        })
    }

    /// The names of the columns; none if the file is empty.
    fn read_header(&mut self) -> Result<Option<Vec<String>>> {
        let Some(fields) = self.first_row()? else { return Ok(None) };
        let (names, end) = fields;
        self.text.consume(end);
        self.width = Some(names.len());
        let names: Vec<String> = names.iter().map(|name| name.trim_ascii().to_string()).collect();
        for (index, name) in names.iter().enumerate() {
            if !name.is_empty() && names[..index].contains(name) {
                let message = format!("the header names \"{name}\" twice");
                return Err(DataError::new(Code::BadRow, message)
                    .origin(&*self.text.origin)
                    .hint("Declare the columns and add header = 'false', comment or another name in the file.")
                    .into());
            }
        }
        let named = names.into_iter().enumerate();
        Ok(Some(named.map(|(index, name)| if name.is_empty() { default_name(index) } else { name }).collect()))
    }

    /// The fields of the first row and where it ends, without taking it.
    fn first_row(&mut self) -> Result<Option<(Vec<String>, usize)>> {
        loop {
            let (mut spans, rest) = (Vec::new(), self.text.rest());
            match self.grammar.scan(rest, 0, self.text.has_ended(), &mut spans) {
                Scan::Row { next, .. } => {
                    let text = String::from_utf8_lossy(&rest[..next]);
                    let valid = matches!(text, std::borrow::Cow::Borrowed(_));
                    if !valid {
                        return Err(self.bad_first_row("the first row is not UTF-8"));
                    }
                    let fields = spans.iter().map(|span| self.grammar.unescape(&text, *span).into_owned()).collect();
                    return Ok(Some((fields, next)));
                }
                Scan::More { start } if rest.len() - start > self.text.max_row_bytes => {
                    return Err(self.bad_first_row("the first row is too long"));
                }
                Scan::More { .. } => {
                    self.text.fill()?;
                }
                Scan::End { .. } => return Ok(None),
                Scan::Malformed { .. } => return Err(self.bad_first_row(AFTER_QUOTE)),
                Scan::Unclosed { .. } => return Err(self.bad_first_row(UNCLOSED)),
            }
        }
    }

    fn bad_first_row(&self, reason: &str) -> crate::Error {
        DataError::new(Code::BadRow, reason).origin(&*self.text.origin).line(self.text.line()).into()
    }

    /// How many fields each row must have.
    fn find_width(&mut self) -> Result<()> {
        if self.width.is_none() {
            let found = self.first_row().ok().flatten().map_or(0, |(fields, _)| fields.len());
            self.width = Some(found.max(self.wanted.declared.fields().len()));
        }
        Ok(())
    }

    /// Finds the next rows, up to `most`. Nothing is taken from the text yet.
    fn find_rows(&mut self, most: usize) -> Result<Rows> {
        self.find_width()?;
        let width = self.width.unwrap_or(0);
        let mut rows = Rows::default();
        while rows.taken() < most && rows.end < BATCH_BYTES {
            let known = rows.spans.len();
            match self.grammar.scan(self.text.rest(), rows.end, self.text.has_ended(), &mut rows.spans) {
                Scan::Row { start, next } if next - start > self.text.max_row_bytes => {
                    rows.spans.truncate(known);
                    rows.reject_long(start, self.line_end(start));
                }
                Scan::Row { start, next } => {
                    let found = rows.spans.len() - known;
                    if found == width {
                        rows.good.push((start, next));
                        rows.end = next;
                    } else {
                        rows.spans.truncate(known);
                        rows.reject(start, next, format!("the row has {found} fields, not {width}"));
                    }
                }
                Scan::Malformed { start, next } => rows.reject(start, next, AFTER_QUOTE),
                Scan::Unclosed { start } => rows.reject(start, self.line_end(start), UNCLOSED),
                Scan::More { start } if self.text.rest().len() - start > self.text.max_row_bytes => {
                    let end = self.line_end(start);
                    if end == self.text.rest().len() {
                        rows.end = start;
                        rows.before_long_line = true;
                        break;
                    }
                    rows.reject_long(start, end);
                }
                Scan::More { .. } if self.text.is_live() && rows.taken() > 0 => break,
                Scan::More { .. } => {
                    self.text.fill()?;
                }
                Scan::End { start } => {
                    rows.end = start;
                    break;
                }
            }
        }
        Ok(rows)
    }

    /// Where the line at `start` ends: reading goes on there after a row of which the end is not known.
    fn line_end(&self, start: usize) -> usize {
        let rest = self.text.rest();
        rest[start..].iter().position(|byte| *byte == b'\n').map_or(rest.len(), |length| start + length + 1)
    }

    /// Passes over a line that is longer than may be held, if there is one and nothing else.
    fn discard_long_line(&mut self, rows: &Rows) -> Result<Option<Decoded>> {
        if rows.taken() > 0 || !rows.before_long_line {
            return Ok(None);
        }
        self.text.consume(rows.end);
        let mut found = BadRow {
            before: 0,
            line: self.text.line(),
            column: None,
            reason: TOO_LONG.to_string(),
            hint: None,
            raw: String::new(),
        };
        found.raw = self.text.discard_line(SHOWN_BYTES)?;
        let empty = RecordBatch::new_empty(self.wanted.schema.clone());
        Ok(Some(Decoded { rows: empty, bad: vec![found], taken: 1 }))
    }

    /// Makes the rows that were found into a batch.
    fn decode(&mut self, mut rows: Rows) -> Result<Decoded> {
        let mut failures = Failures::new();
        if std::str::from_utf8(&self.text.rest()[..rows.end]).is_err() {
            let raw = self.reject_invalid_text(&mut rows, &mut failures);
            let decoded = self.decode_valid(&rows, failures)?;
            return Ok(restore_raw(decoded, raw));
        }
        self.decode_valid(&rows, failures)
    }

    /// Notes the rows that are not UTF-8 and blanks what is not ASCII in them. Gives them as they were.
    fn reject_invalid_text(&mut self, rows: &mut Rows, failures: &mut Failures) -> Vec<(u64, String)> {
        let (line, mut raw) = (self.text.line(), Vec::new());
        let rest = self.text.rest_mut();
        let places = rows.good.iter().copied().chain(rows.bad.iter().map(|bad| (bad.start, bad.end)));
        for (index, (start, end)) in places.enumerate() {
            if std::str::from_utf8(&rest[start..end]).is_ok() {
                continue;
            }
            raw.push((line + count_lines(&rest[..start]), shown(&rest[start..end])));
            rest[start..end].iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
            if index < rows.good.len() {
                let reason = "the row is not UTF-8".to_string();
                failures.insert(index, Failure { column: None, reason, hint: None });
            }
        }
        // What is left are comments: nothing of them is shown.
        if std::str::from_utf8(&rest[..rows.end]).is_err() {
            rest[..rows.end].iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        }
        raw
    }

    fn decode_valid(&mut self, rows: &Rows, mut failures: Failures) -> Result<Decoded> {
        let bytes = &self.text.rest()[..rows.end];
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let cells = Cells {
            text,
            spans: &rows.spans,
            width: self.width.unwrap_or(0),
            rows: rows.good.len(),
            grammar: &self.grammar,
            csv: &self.csv,
        };
        let fields = self.wanted.schema.fields().iter().zip(&self.places);
        let columns: Result<Vec<_>> =
            fields.map(|(field, place)| columns::build(&cells, *place, field, &mut failures)).collect();
        let columns = columns?;
        let batch = if failures.is_empty() {
            batch_of(&self.wanted.schema, columns, rows.good.len())?
        } else {
            // Until the bad rows are out, a NOT NULL column may hold NULLs.
            let fields = self.wanted.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
            let lenient = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            let keep: BooleanArray = (0..rows.good.len()).map(|row| Some(!failures.contains_key(&row))).collect();
            let kept = filter_record_batch(&batch_of(&lenient, columns, rows.good.len())?, &keep)?;
            batch_of(&self.wanted.schema, kept.columns().to_vec(), kept.num_rows())?
        };
        let bad = bad_rows(rows, failures, bytes, self.text.line());
        self.text.consume(rows.end);
        Ok(Decoded { rows: batch, bad, taken: rows.taken() as u64 })
    }
}

const AFTER_QUOTE: &str = "there is text after a closing quote";
const UNCLOSED: &str = "a quote is never closed";
/// How much of a row that is too long is kept.
const SHOWN_BYTES: usize = 1024;
const TOO_LONG: &str = "the row is longer than max_row_bytes";

/// All the bad rows of a batch, of wrong shape or with wrong values, in order.
fn bad_rows(rows: &Rows, failures: Failures, bytes: &[u8], line: u64) -> Vec<BadRow> {
    let failed: Vec<usize> = failures.keys().copied().collect();
    let mut bad: Vec<(usize, usize, BadRow)> = Vec::with_capacity(rows.bad.len() + failed.len());
    for flawed in &rows.bad {
        let before = flawed.before - failed.partition_point(|row| *row < flawed.before);
        let reason = flawed.reason.clone();
        let row = BadRow { before, line: 0, column: None, reason, hint: None, raw: String::new() };
        bad.push((flawed.start, flawed.end, row));
    }
    for (index, (row, failure)) in failures.into_iter().enumerate() {
        let (start, end) = rows.good[row];
        let Failure { column, reason, hint } = failure;
        bad.push((start, end, BadRow { before: row - index, line: 0, column, reason, hint, raw: String::new() }));
    }
    bad.sort_by_key(|(start, _, _)| *start);
    let mut lines = Lines::new(bytes, line);
    let placed = bad.into_iter().map(|(start, end, row)| {
        let raw = shown(bytes.get(start..end).unwrap_or_default());
        BadRow { line: lines.line(start), raw, ..row }
    });
    placed.collect()
}

/// A row as text, without the end of its line.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_string()
}

fn restore_raw(mut decoded: Decoded, raw: Vec<(u64, String)>) -> Decoded {
    for row in &mut decoded.bad {
        if let Some((_, raw)) = raw.iter().find(|(line, _)| *line == row.line) {
            row.raw.clone_from(raw);
        }
    }
    decoded
}

fn default_name(index: usize) -> String {
    format!("column_{}", index + 1)
}

impl FileReader for CsvReader {
    fn next(&mut self) -> Result<Option<Decoded>> {
        let rows = self.find_rows(self.batch_rows)?;
        if rows.taken() > 0 {
            return self.decode(rows).map(Some);
        }
        if let Some(decoded) = self.discard_long_line(&rows)? {
            return Ok(Some(decoded));
        }
        self.text.consume(rows.end);
        Ok(None)
    }

    fn skip(&mut self, mut rows: u64) -> Result<()> {
        while rows > 0 {
            let most = usize::try_from(rows).unwrap_or(usize::MAX).min(self.batch_rows);
            let found = self.find_rows(most)?;
            if found.taken() == 0 {
                if self.discard_long_line(&found)?.is_none() {
                    return Ok(());
                }
                rows -= 1;
                continue;
            }
            rows -= found.taken() as u64;
            self.text.consume(found.end);
        }
        Ok(())
    }
}

/// The columns of a file. A column without a value in the rows looked at is text, and so is a mixed one.
pub(super) fn infer(input: Input, options: &FileOptions) -> Result<SchemaRef> {
    let origin = input.origin.clone();
    let nothing = Wanted::new(Arc::new(Schema::empty()), Columns::default())?;
    let mut reader = CsvReader::unmatched(input, options, &nothing)?;
    let names = match options.csv.header {
        Header::Present => reader.read_header()?,
        Header::Absent => reader.first_row()?.map(|(fields, _)| (0..fields.len()).map(default_name).collect()),
    };
    let Some(names) = names else {
        let error = DataError::new(Code::BadRow, "the file is empty, so its columns can't be told");
        return Err(error.origin(&*origin).hint("Declare the columns.").into());
    };
    let types = infer_types(&mut reader, names.len(), options.infer_rows)?;
    let named = names.into_iter().zip(types);
    Ok(Arc::new(Schema::new(named.map(|(name, found)| Field::new(name, found.data_type(), true)).collect::<Vec<_>>())))
}

fn infer_types(reader: &mut CsvReader, width: usize, most: usize) -> Result<Vec<Inferred>> {
    let mut types = vec![Inferred::default(); width];
    let mut left = most;
    while left > 0 {
        let rows = reader.find_rows(left.min(reader.batch_rows))?;
        if rows.taken() == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&reader.text.rest()[..rows.end]);
        // Bytes that are not UTF-8 would move what comes after them; such rows are reported when they are read.
        if let std::borrow::Cow::Borrowed(text) = text {
            for (index, span) in rows.spans.iter().enumerate() {
                let value = reader.grammar.unescape(text, *span);
                let found = &mut types[index % width];
                if !reader.csv.nulls.iter().any(|null| *null == value) {
                    *found = found.with(&value);
                }
            }
        }
        left -= rows.taken().min(left);
        reader.text.consume(rows.end);
        if reader.text.rest().is_empty() && reader.text.fill()? == Fill::End {
            break;
        }
    }
    Ok(types)
}
