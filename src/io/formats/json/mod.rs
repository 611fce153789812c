//! JSON Lines: one object a line.
//!
//! Flat objects of plain values are read straight into columns. All others are given to Arrow's decoder line by line,
//! and decoded a batch at a time. Only if that fails are they decoded in ever smaller parts, until each bad line is
//! alone; so a file without bad lines pays nothing for them.

mod flat;
mod scanner;

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::reader::{Decoder, ReaderBuilder, ValueIter, infer_json_schema_from_iterator};
use arrow::json::writer::{LineDelimited, Writer, WriterBuilder};
use memchr::memchr;

use self::flat::FlatLines;
use super::{BATCH_BYTES, Decoded, FileReader, FileWriter};
use crate::error::{Code, DataError, OutsideError, Result};
use crate::io::input::{Fill, Input, Lines, Text};
use crate::io::options::FileOptions;
use crate::io::output::{Ended, Output};
use crate::io::rejects::BadRow;
use crate::io::schema::{Wanted, batch_of};
use crate::types::type_name;

const TOO_LONG: &str = "the row is longer than max_row_bytes";

/// How much of a row that is too long is kept.
const SHOWN_BYTES: usize = 1024;

/// Reads the rows of one file.
pub(super) struct JsonReader {
    text: Text,
    schema: SchemaRef,
    decoder: Decoder,
    /// As long as all lines were plain.
    flat: Option<FlatLines>,
    batch_rows: usize,
}

/// The lines of a batch that are not blank.
#[derive(Default)]
struct Found {
    lines: Vec<Range<usize>>,
    end: usize,
    before_long_line: bool,
}

impl JsonReader {
    pub fn open(input: Input, options: &FileOptions, wanted: &Wanted) -> Result<JsonReader> {
        let schema = wanted.schema.clone();
        let decoder = decoder(&schema, options.batch_rows)?;
        let flat = FlatLines::new(&schema, options.batch_rows);
        Ok(JsonReader { text: input.into_text(options)?, schema, decoder, flat, batch_rows: options.batch_rows })
    }

    /// Decodes all the lines, if all of them are good.
    fn decode_all(&mut self, lines: &[Range<usize>]) -> Result<RecordBatch, ArrowError> {
        if let Some(flat) = &mut self.flat {
            match flat.decode(self.text.rest(), lines) {
                Some(batch) => return Ok(batch),
                None => self.flat = None,
            }
        }
        let decoded = feed(&mut self.decoder, self.text.rest(), lines);
        if decoded.is_err() {
            // What a decoder has taken in before it fails stays in it.
            self.decoder = decoder(&self.schema, self.batch_rows)?;
        }
        decoded
    }

    /// Decodes the lines that are good, in order, and notes the others.
    fn decode_good(&mut self, lines: &[Range<usize>], good: &mut Good) -> Result<()> {
        let failed = match self.decode_all(lines) {
            Ok(batch) => {
                good.rows += batch.num_rows();
                good.batches.push(batch);
                return Ok(());
            }
            Err(failed) => failed,
        };
        if let [line] = lines {
            let text = &self.text.rest()[line.clone()];
            good.bad.push((line.start, explain(text, &self.schema, &failed, good.rows)));
            return Ok(());
        }
        let (first, second) = lines.split_at(lines.len() / 2);
        self.decode_good(first, good)?;
        self.decode_good(second, good)
    }

    fn decode(&mut self, found: &Found) -> Result<Decoded> {
        let mut good = Good::default();
        // A line that is too long is bad whatever it holds, so that how much is held at a time does not matter.
        let most = self.text.max_row_bytes;
        for part in found.lines.chunk_by(|line, next| line.len() <= most && next.len() <= most) {
            match part {
                [line] if line.len() > most => good.bad.push((line.start, long_row(good.rows))),
                lines => self.decode_good(lines, &mut good)?,
            }
        }
        let batch = match good.batches.as_slice() {
            [batch] => batch.clone(),
            batches => concat_rows(&self.schema, batches, good.rows)?,
        };
        let bad = self.place(good.bad, found);
        self.text.consume(found.end);
        Ok(Decoded { rows: batch, bad, taken: found.lines.len() as u64 })
    }

    fn is_short(&self, line: &Range<usize>) -> bool {
        line.len() <= self.text.max_row_bytes
    }

    /// Gives bad rows their lines and their text.
    fn place(&self, bad: Vec<(usize, BadRow)>, found: &Found) -> Vec<BadRow> {
        let rest = self.text.rest();
        let mut lines = Lines::new(rest, self.text.line());
        let placed = bad.into_iter().map(|(start, row)| {
            let line =
                found.lines.binary_search_by_key(&start, |line| line.start).ok().map(|at| found.lines[at].clone());
            let line = line.unwrap_or(start..start);
            let shown = if self.is_short(&line) { line } else { start..start + SHOWN_BYTES.min(line.len()) };
            let raw = String::from_utf8_lossy(&rest[shown]).trim_end().to_string();
            BadRow { line: lines.line(start), raw, ..row }
        });
        placed.collect()
    }

    fn discard_long_line(&mut self, found: &Found) -> Result<Option<Decoded>> {
        if !found.before_long_line {
            return Ok(None);
        }
        self.text.consume(found.end);
        let line = self.text.line();
        let raw = self.text.discard_line(SHOWN_BYTES)?.trim_end().to_string();
        let rows = RecordBatch::new_empty(self.schema.clone());
        Ok(Some(Decoded { rows, bad: vec![BadRow { line, raw, ..long_row(0) }], taken: 1 }))
    }
}

/// What of a batch has been decoded.
#[derive(Default)]
struct Good {
    batches: Vec<RecordBatch>,
    rows: usize,
    bad: Vec<(usize, BadRow)>,
}

fn long_row(before: usize) -> BadRow {
    BadRow { before, line: 0, column: None, reason: TOO_LONG.to_string(), hint: None, raw: String::new() }
}

fn concat_rows(schema: &SchemaRef, batches: &[RecordBatch], rows: usize) -> Result<RecordBatch> {
    if schema.fields().is_empty() { batch_of(schema, Vec::new(), rows) } else { Ok(concat_batches(schema, batches)?) }
}

fn decoder(schema: &SchemaRef, batch_rows: usize) -> Result<Decoder, ArrowError> {
    // A number or a boolean in a text column becomes its text: that is what a column of mixed values is.
    ReaderBuilder::new(schema.clone()).with_batch_size(batch_rows).with_coerce_primitive(true).build_decoder()
}

/// Decodes lines, each of which must be one object.
fn feed(decoder: &mut Decoder, bytes: &[u8], lines: &[Range<usize>]) -> Result<RecordBatch, ArrowError> {
    let wrong = |what: &str| Err(ArrowError::JsonError(what.to_string()));
    for (index, line) in lines.iter().enumerate() {
        let line = &bytes[line.clone()];
        let taken = decoder.decode(line)?;
        if decoder.has_partial_record() {
            return wrong("the object is not closed");
        }
        if decoder.len() > index + 1 || line.get(taken..).is_some_and(|rest| !rest.trim_ascii().is_empty()) {
            return wrong("there is text after the object");
        }
        if decoder.len() <= index {
            return wrong("the line holds no object");
        }
    }
    match decoder.flush()? {
        Some(batch) => Ok(batch),
        None => wrong("the line holds no object"),
    }
}

/// Finds out which column of a bad line is wrong, and says why.
fn explain(line: &[u8], schema: &SchemaRef, failed: &ArrowError, before: usize) -> BadRow {
    let bad = |column: Option<String>, reason: String| BadRow {
        before,
        line: 0,
        column,
        reason,
        hint: None,
        raw: String::new(),
    };
    let only_line = 0..line.len();
    for field in schema.fields() {
        let nullable = Arc::new(Schema::new(vec![field.as_ref().clone().with_nullable(true)]));
        let Ok(mut decoder) = decoder(&nullable, 1) else { continue };
        match feed(&mut decoder, line, std::slice::from_ref(&only_line)) {
            Ok(batch) if !field.is_nullable() && batch.column(0).logical_null_count() > 0 => {
                return bad(Some(field.name().clone()), "NULL in a NOT NULL column".to_string());
            }
            Ok(_) => {}
            Err(error) => {
                // If the line is not even JSON, no column is to blame.
                let nothing = Arc::new(Schema::empty());
                let is_json = self::decoder(&nothing, 1)
                    .is_ok_and(|mut decoder| feed(&mut decoder, line, std::slice::from_ref(&only_line)).is_ok());
                return bad(is_json.then(|| field.name().clone()), reason(&error));
            }
        }
    }
    bad(None, reason(failed))
}

/// Arrow's reason, without its prefixes and its names of types.
fn reason(error: &ArrowError) -> String {
    let text = match error {
        ArrowError::JsonError(text) | ArrowError::ParseError(text) | ArrowError::CastError(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text
        .strip_prefix("whilst decoding field '")
        .and_then(|rest| rest.split_once("': "))
        .map_or(text.as_str(), |(_, rest)| rest);
    match text.strip_prefix("failed to parse ").and_then(|rest| rest.rsplit_once(" as ")) {
        Some((value, data_type)) => {
            let value = value.trim_matches('"');
            let known = data_type.parse::<DataType>().map_or_else(|_| data_type.to_string(), |known| type_name(&known));
            format!("\"{value}\" is not a value of type {known}")
        }
        None => text.strip_prefix("Json error: ").unwrap_or(text).to_string(),
    }
}

/// Finds the next lines that are not blank, up to `most`. Nothing is taken from the text yet.
fn find_lines(text: &mut Text, most: usize) -> Result<Found> {
    let mut found = Found::default();
    let mut searched = 0;
    while found.lines.len() < most && found.end < BATCH_BYTES {
        let rest = text.rest();
        let line_end = memchr(b'\n', &rest[searched..]).map(|length| searched + length + 1);
        let line_end = line_end.or_else(|| (text.has_ended() && found.end < rest.len()).then_some(rest.len()));
        if let Some(end) = line_end {
            if !rest[found.end..end].trim_ascii().is_empty() {
                found.lines.push(found.end..end);
            }
            (found.end, searched) = (end, end);
            continue;
        }
        searched = rest.len();
        if searched - found.end > text.max_row_bytes {
            found.before_long_line = found.lines.is_empty();
            break;
        }
        if text.is_live() && !found.lines.is_empty() || text.fill()? == Fill::End && text.rest().len() == found.end {
            break;
        }
    }
    Ok(found)
}

impl FileReader for JsonReader {
    fn next(&mut self) -> Result<Option<Decoded>> {
        let found = find_lines(&mut self.text, self.batch_rows)?;
        if !found.lines.is_empty() {
            return self.decode(&found).map(Some);
        }
        if let Some(decoded) = self.discard_long_line(&found)? {
            return Ok(Some(decoded));
        }
        self.text.consume(found.end);
        Ok(None)
    }

    fn skip(&mut self, mut rows: u64) -> Result<()> {
        while rows > 0 {
            let most = usize::try_from(rows).unwrap_or(usize::MAX).min(self.batch_rows);
            let found = find_lines(&mut self.text, most)?;
            if found.lines.is_empty() {
                if self.discard_long_line(&found)?.is_none() {
                    return Ok(());
                }
                rows -= 1;
                continue;
            }
            rows -= found.lines.len() as u64;
            self.text.consume(found.end);
        }
        Ok(())
    }
}

/// The columns of a file, in the order in which they first occur. Values of mixed types are text.
///
/// A line that is not an object says nothing here; it is reported when it is read.
pub(super) fn infer(input: Input, options: &FileOptions) -> Result<SchemaRef> {
    let origin = input.origin.clone();
    let mut text = input.into_text(options)?;
    let mut fields: Vec<FieldRef> = Vec::new();
    let mut left = options.infer_rows;
    while left > 0 {
        let found = find_lines(&mut text, left.min(options.batch_rows))?;
        if found.lines.is_empty() {
            break;
        }
        for line in &found.lines {
            let line = &text.rest()[line.clone()];
            let Ok(row) = infer_json_schema_from_iterator(ValueIter::new(line, Some(1))) else { continue };
            let keys = keys(line);
            let mut new: Vec<&FieldRef> = row.fields().iter().collect();
            new.sort_by_key(|field| keys.iter().position(|key| *key == field.name().as_bytes()).unwrap_or(keys.len()));
            for field in new {
                merge_field(&mut fields, field, &origin)?;
            }
        }
        left -= found.lines.len();
        text.consume(found.end);
    }
    if fields.is_empty() {
        let error = DataError::new(Code::BadRow, "no line holds a JSON object, so the columns can't be told");
        return Err(error.origin(&*origin).hint("Declare the columns, or look at the format of the file.").into());
    }
    let named = fields.into_iter().map(|field| Field::new(field.name(), known_type(field.data_type()), true));
    Ok(Arc::new(Schema::new(named.collect::<Vec<_>>())))
}

/// The keys of an object, in order and as they are written; the parser sorts them.
fn keys(object: &[u8]) -> Vec<&[u8]> {
    let (mut keys, mut depth, mut at) = (Vec::new(), 0_usize, 0);
    let mut string: &[u8] = &[];
    while let Some(byte) = object.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => keys.push(string),
            b'"' => {
                let start = at;
                while object.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if object[at] == b'\\' { 2 } else { 1 };
                }
                string = object.get(start..at).unwrap_or_default();
                at += 1;
            }
            _ => {}
        }
    }
    keys
}

fn merge_field(fields: &mut Vec<FieldRef>, new: &FieldRef, origin: &str) -> Result<()> {
    let Some(known) = fields.iter_mut().find(|known| known.name() == new.name()) else {
        fields.push(new.clone());
        return Ok(());
    };
    if known.data_type() == new.data_type() {
        return Ok(());
    }
    let merged = merge(known.data_type(), new.data_type()).ok_or_else(|| {
        let (known, other) = (type_name(known.data_type()), type_name(new.data_type()));
        DataError::new(Code::SchemaMismatch, format!("some rows hold {known} and others {other}"))
            .origin(origin)
            .column(new.name())
            .hint("Declare the columns and add on_error = 'skip', or mend the rows.")
    })?;
    *known = Arc::new(Field::new(known.name(), merged, true));
    Ok(())
}

/// The type that holds values of both; none for a single value and a structure.
fn merge(known: &DataType, new: &DataType) -> Option<DataType> {
    match (known, new) {
        (known, new) if known == new => Some(known.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => Some(DataType::Float64),
        (DataType::List(known), DataType::List(new)) => {
            let item = merge(known.data_type(), new.data_type())?;
            Some(DataType::List(Arc::new(Field::new(known.name(), item, true))))
        }
        (DataType::Struct(known), DataType::Struct(new)) => {
            let mut fields: Vec<FieldRef> = known.to_vec();
            new.iter().try_for_each(|field| merge_field(&mut fields, field, "").ok())?;
            Some(DataType::Struct(fields.into()))
        }
        (known, new) => (!known.is_nested() && !new.is_nested()).then_some(DataType::Utf8),
    }
}

/// A type in which everything that was never seen is text.
fn known_type(inferred: &DataType) -> DataType {
    let known = |field: &FieldRef| Arc::new(Field::new(field.name(), known_type(field.data_type()), true));
    match inferred {
        DataType::Null => DataType::Utf8,
        DataType::List(item) => DataType::List(known(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(known).collect::<Fields>()),
        other => other.clone(),
    }
}

/// Writes rows as one object a line, with `null` where there is no value.
pub(super) struct JsonWriter {
    writer: Writer<Output, LineDelimited>,
    shown: String,
}

impl JsonWriter {
    pub fn new(output: Output) -> JsonWriter {
        let shown = output.shown().to_string();
        JsonWriter { writer: WriterBuilder::new().with_explicit_nulls(true).build(output), shown }
    }

    fn failed(&self, error: &ArrowError) -> crate::Error {
        match error {
            ArrowError::IoError(_, error) => OutsideError::io(&self.shown, error).into(),
            error => DataError::new(Code::Value, error.to_string()).origin(&*self.shown).into(),
        }
    }
}

impl FileWriter for JsonWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self.writer.write(batch);
        written.map_err(|error| self.failed(&error))
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.writer.get_mut().flush();
        Ok(flushed.map_err(|error| OutsideError::io(&self.shown, &error))?)
    }

    fn mark(&mut self) -> Result<u64> {
        self.writer.get_mut().mark()
    }

    fn end(mut self: Box<Self>) -> Result<Ended> {
        let finished = self.writer.finish();
        finished.map_err(|error| self.failed(&error))?;
        self.writer.into_inner().end()
    }
}
