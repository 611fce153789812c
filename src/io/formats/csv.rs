//! Text with delimiters.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::reader::Format as CsvFormat;
use arrow::csv::{ReaderBuilder, WriterBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use regex::Regex;

use super::text::{Rule, TextReader};
use super::{Reader, Writer};
use crate::error::{Code, DataError, InternalError, Result};
use crate::io::input::{Fill, Text};
use crate::io::options::{CsvOptions, FileOptions, Header};
use crate::io::output::Output;
use crate::io::schema::{Wanted, batch_of, places_by_name, type_name};

/// Reads the header, if there is one, and then rows.
pub(super) fn open(mut text: Text, options: &FileOptions, wanted: &Wanted) -> Result<Box<dyn Reader>> {
    let rule = CsvRule::new(&mut text, options, wanted)?;
    Ok(Box::new(TextReader::new(text, rule, options)))
}

/// Infers the columns from the first rows.
pub(super) fn infer(mut text: Text, options: &FileOptions) -> Result<SchemaRef> {
    let mut rows = 0;
    let mut at = 0;
    while rows <= options.infer_rows {
        match end_of_row(&text.rest()[at..], &options.csv) {
            Some(end) => {
                at += end;
                rows += 1;
            }
            None if text.fill()? == Fill::End => {
                at = text.rest().len();
                break;
            }
            None => {}
        }
    }
    let format = format_of(&options.csv)?.with_header(options.csv.header == Header::Present);
    // A row of another length is for the reader to refuse, with its place.
    let format = format.with_truncated_rows(true);
    let (schema, _) = format
        .infer_schema(&text.rest()[..at], Some(options.infer_rows))
        .map_err(|error| DataError::new(Code::BadRow, reason_of(&error.to_string())).origin(&*text.origin))?;
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), inferred(field.data_type()), true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Every time is held in nanoseconds, as SQL's TIMESTAMP is.
fn inferred(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Null => DataType::Utf8,
        other => other.clone(),
    }
}

fn format_of(options: &CsvOptions) -> Result<CsvFormat> {
    let nulls: Vec<String> = options.nulls.iter().map(|null| regex::escape(null)).collect();
    let nulls = Regex::new(&format!("^(?:{})$", nulls.join("|")))
        .map_err(|error| InternalError::new(format!("the texts that mean NULL make no pattern: {error}")))?;
    let mut format = CsvFormat::default().with_delimiter(options.delimiter).with_null_regex(nulls);
    if let Some(quote) = options.quote {
        format = format.with_quote(quote);
    }
    if let Some(escape) = options.escape {
        format = format.with_escape(escape);
    }
    if let Some(comment) = options.comment {
        format = format.with_comment(comment);
    }
    Ok(format)
}

/// Where the first row ends, line feed included. A line feed within quotes does not end it.
fn end_of_row(bytes: &[u8], options: &CsvOptions) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        if escaped {
            escaped = false;
        } else if quoted && Some(*byte) == options.escape {
            escaped = true;
        } else if Some(*byte) == options.quote {
            quoted = !quoted;
        } else if *byte == b'\n' && !quoted {
            return Some(at + 1);
        }
    }
    None
}

fn is_blank(row: &[u8], options: &CsvOptions) -> bool {
    let blank = row.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
    blank || row.first().is_some_and(|first| Some(*first) == options.comment)
}

struct CsvRule {
    options: CsvOptions,
    /// All columns of the file; those that are not wanted as text.
    file: SchemaRef,
    /// The places of the wanted columns in the file.
    places: Vec<usize>,
    schema: SchemaRef,
    format: CsvFormat,
}

impl CsvRule {
    fn new(text: &mut Text, options: &FileOptions, wanted: &Wanted) -> Result<CsvRule> {
        let declared = wanted.declared.fields();
        let names = match options.csv.header {
            Header::Present => read_header(text, &options.csv)?,
            Header::Absent => declared.iter().map(|field| field.name().clone()).collect(),
        };
        let shown: Vec<&str> = names.iter().map(String::as_str).collect();
        let all = match options.csv.header {
            // A file without a row at all has no columns that could be missing.
            Header::Present if names.is_empty() => (0..declared.len()).collect(),
            Header::Present => places_by_name(&shown, &wanted.declared, &text.origin)?,
            Header::Absent => (0..declared.len()).collect(),
        };
        let mut fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        fields.resize(fields.len().max(declared.len()), Field::new("", DataType::Utf8, true));
        for (place, field) in all.iter().zip(declared) {
            fields[*place] = field.as_ref().clone();
        }
        let places = wanted.columns.iter().map(|column| all[*column]).collect();
        Ok(CsvRule {
            options: options.csv.clone(),
            file: Arc::new(Schema::new(fields)),
            places,
            schema: wanted.schema.clone(),
            format: format_of(&options.csv)?,
        })
    }

    /// Decodes the columns at `places`, in the order of the file.
    fn decode_columns(&self, bytes: &[u8], rows: usize, places: &[usize]) -> Result<RecordBatch, String> {
        let mut sorted = places.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let format = self.format.clone();
        let builder = ReaderBuilder::new(self.file.clone()).with_format(format).with_header(false);
        let mut decoder = builder.with_batch_size(rows.max(1)).with_projection(sorted.clone()).build_decoder();
        let mut rest = bytes;
        loop {
            let used = decoder.decode(rest).map_err(|error| error.to_string())?;
            if used == 0 {
                break;
            }
            rest = &rest[used..];
        }
        // The end of the input ends the last row, if no line feed has.
        decoder.decode(&[]).map_err(|error| error.to_string())?;
        let batch = decoder.flush().map_err(|error| error.to_string())?;
        let Some(batch) = batch else { return Err("there is no row".to_string()) };
        let found = if sorted.is_empty() { rows } else { batch.num_rows() };
        if found != rows || !rest.iter().all(|byte| matches!(byte, b'\n' | b'\r')) {
            return Err("the quotes of the row do not match".to_string());
        }
        Ok(batch)
    }
}

impl Rule for CsvRule {
    fn end_of_row(&self, bytes: &[u8]) -> Option<usize> {
        end_of_row(bytes, &self.options)
    }

    fn is_blank(&self, row: &[u8]) -> bool {
        is_blank(row, &self.options)
    }

    fn decode(&self, bytes: &[u8], rows: usize) -> Result<RecordBatch, String> {
        // Without a wanted column the rows still have to be counted, and their lengths to be right.
        let places = if self.places.is_empty() { vec![0] } else { self.places.clone() };
        let batch = self.decode_columns(bytes, rows, &places)?;
        let mut sorted = places.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let column = |place: &usize| sorted.binary_search(place).ok().map(|at| batch.column(at).clone());
        let columns = self.places.iter().filter_map(column).collect();
        batch_of(&self.schema, columns, rows).map_err(|error| error.to_string())
    }

    fn blame(&self, row: &[u8], reason: String) -> (Option<String>, String, Option<String>) {
        // The column is the one that fails when it is read alone, if all do not.
        let fails = |place: &usize| self.decode_columns(row, 1, &[*place]).is_err();
        let failing: Vec<usize> = self.places.iter().copied().filter(fails).collect();
        if failing.is_empty() || failing.len() == self.file.fields().len().max(2) {
            return (None, reason_of(&reason), None);
        }
        let field = self.file.field(failing[0]);
        match self.field_text(row, failing[0]) {
            Some(text) => {
                let said = format!("{text:?} is not a {}", type_name(field.data_type()));
                let hint = (text.chars().all(char::is_alphabetic) && text.len() <= 4)
                    .then(|| format!("If {text:?} stands for NULL, add null = '{text}'."));
                (Some(field.name().clone()), said, hint)
            }
            None => (None, reason_of(&reason), None),
        }
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl CsvRule {
    /// The text of one field of a row.
    fn field_text(&self, row: &[u8], place: usize) -> Option<String> {
        let fields = self.file.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
        let file = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let never = Regex::new("^\u{0}\u{0}$").ok()?;
        let format = self.format.clone().with_null_regex(never);
        let builder = ReaderBuilder::new(file).with_format(format).with_header(false).with_projection(vec![place]);
        let mut reader = builder.build(row).ok()?;
        let batch = reader.next()?.ok()?;
        let text = arrow::util::display::array_value_to_string(batch.columns().first()?, 0).ok()?;
        Some(text)
    }
}

/// A reason in our words: Arrow puts its own names and line numbers before it.
fn reason_of(said: &str) -> String {
    let said = said.trim_start_matches("Csv error: ").trim_start_matches("Parser error: ");
    if let Some(at) = said.find("expected ")
        && said.contains("incorrect number of fields")
    {
        let counts = said[at..].replace("expected ", "").replace(" got ", " ");
        let numbers: Vec<&str> = counts.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).collect();
        if let [expected, got, ..] = numbers[..] {
            return format!("the row has {got} fields, not {expected}");
        }
    }
    said.to_string()
}

fn read_header(text: &mut Text, options: &CsvOptions) -> Result<Vec<String>> {
    loop {
        let end = match end_of_row(text.rest(), options) {
            Some(end) => end,
            None if text.rest().len() <= text.max_row_bytes && text.fill()? == Fill::More => continue,
            None => text.rest().len(),
        };
        if end == 0 {
            return Ok(vec![]);
        }
        let row = text.rest()[..end].to_vec();
        text.consume(end);
        if is_blank(&row, options) {
            continue;
        }
        let format = format_of(options)?.with_header(true);
        let (schema, _) = format.infer_schema(row.as_slice(), Some(1)).map_err(|error| {
            DataError::new(Code::BadRow, reason_of(&error.to_string())).origin(&*text.origin).line(1)
        })?;
        return Ok(schema.fields().iter().map(|field| field.name().trim().to_string()).collect());
    }
}

struct CsvWriter {
    writer: arrow::csv::Writer<Output>,
}

/// Begins a file. Its header comes with the first rows, or alone at the end.
pub(super) fn create(output: Output, options: &FileOptions, schema: &SchemaRef) -> Result<Box<dyn Writer>> {
    let null = options.csv.nulls.first().cloned().unwrap_or_default();
    let builder = WriterBuilder::new().with_delimiter(options.csv.delimiter).with_null(null);
    let builder = builder.with_header(options.csv.header == Header::Present);
    let mut writer = builder.build(output);
    // An answer without rows still has columns.
    writer.write(&RecordBatch::new_empty(schema.clone()))?;
    Ok(Box::new(CsvWriter { writer }))
}

impl Writer for CsvWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(batch)?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Output> {
        let mut output = self.writer.into_inner();
        let shown = output.shown().to_string();
        output.flush().map_err(|error| crate::error::OutsideError::io(shown, &error))?;
        Ok(output)
    }
}
