//! One JSON object a line.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::json::reader::infer_json_schema;
use arrow::json::{LineDelimitedWriter, ReaderBuilder};

use super::text::{Rule, TextReader};
use super::{Reader, Writer};
use crate::error::{Code, DataError, OutsideError, Result};
use crate::io::input::{Fill, Text};
use crate::io::options::FileOptions;
use crate::io::output::Output;
use crate::io::schema::{Wanted, batch_of};

pub(super) fn open(text: Text, options: &FileOptions, wanted: &Wanted) -> Result<Box<dyn Reader>> {
    Ok(Box::new(TextReader::new(text, JsonRule { schema: wanted.schema.clone() }, options)))
}

/// Infers the columns from the first lines.
pub(super) fn infer(mut text: Text, options: &FileOptions) -> Result<SchemaRef> {
    let mut lines = 0;
    let mut at = 0;
    while lines < options.infer_rows {
        match text.rest()[at..].iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                at += end + 1;
                lines += 1;
            }
            None if text.fill()? == Fill::End => {
                at = text.rest().len();
                break;
            }
            None => {}
        }
    }
    // A line that is no object is for the reader to refuse, with its place.
    let good = text.rest()[..at].split_inclusive(|byte| *byte == b'\n');
    let good = good.filter(|line| infer_json_schema(*line, Some(1)).is_ok()).collect::<Vec<_>>().concat();
    let (schema, _) = infer_json_schema(good.as_slice(), Some(options.infer_rows))
        .map_err(|error| DataError::new(Code::BadRow, reason_of(&error.to_string())).origin(&*text.origin))?;
    let fields: Vec<FieldRef> = schema.fields().iter().map(known).collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// A column that was only ever null is text.
fn known(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Null => DataType::Utf8,
        DataType::List(element) => DataType::List(known(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(known).collect()),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, true))
}

struct JsonRule {
    schema: SchemaRef,
}

impl JsonRule {
    fn decode_as(&self, schema: &SchemaRef, bytes: &[u8], rows: usize) -> Result<RecordBatch, String> {
        let builder = ReaderBuilder::new(schema.clone()).with_batch_size(rows.max(1)).with_coerce_primitive(true);
        let mut decoder = builder.build_decoder().map_err(|error| error.to_string())?;
        let used = decoder.decode(bytes).map_err(|error| error.to_string())?;
        if decoder.has_partial_record() || decoder.len() != rows || !bytes[used..].iter().all(u8::is_ascii_whitespace) {
            return Err("the line is not one JSON object".to_string());
        }
        let batch = decoder.flush().map_err(|error| error.to_string())?;
        batch.ok_or_else(|| "the line is not one JSON object".to_string())
    }
}

impl Rule for JsonRule {
    fn end_of_row(&self, bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1)
    }

    fn is_blank(&self, row: &[u8]) -> bool {
        row.iter().all(u8::is_ascii_whitespace)
    }

    fn decode(&self, bytes: &[u8], rows: usize) -> Result<RecordBatch, String> {
        // A line may hold half an object and the next its other half: together they are one, and both are bad.
        if !bytes.split(|byte| *byte == b'\n').filter(|line| !self.is_blank(line)).all(is_object) {
            return Err("the line is not one JSON object".to_string());
        }
        if self.schema.fields().is_empty() {
            let any = Arc::new(Schema::new(vec![Field::new("", DataType::Utf8, true)]));
            self.decode_as(&any, bytes, rows)?;
            return batch_of(&self.schema, vec![], rows).map_err(|error| error.to_string());
        }
        self.decode_as(&self.schema, bytes, rows)
    }

    fn blame(&self, row: &[u8], reason: String) -> (Option<String>, String, Option<String>) {
        let any = Arc::new(Schema::new(vec![Field::new("\u{0}", DataType::Utf8, true)]));
        if !is_object(row.trim_ascii()) || self.decode_as(&any, row, 1).is_err() {
            return (None, "the line is not one JSON object".to_string(), None);
        }
        let fails = |field: &&FieldRef| {
            let alone = Arc::new(Schema::new(vec![(*field).clone()]));
            self.decode_as(&alone, row, 1).is_err()
        };
        let column = self.schema.fields().iter().find(fails).map(|field| field.name().clone());
        (column, reason_of(&reason), None)
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

fn is_object(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.first() == Some(&b'{') && line.last() == Some(&b'}')
}

/// A reason in our words: Arrow puts its own names before it.
fn reason_of(said: &str) -> String {
    said.trim_start_matches("Json error: ").trim_start_matches("Parser error: ").to_string()
}

struct JsonWriter {
    writer: LineDelimitedWriter<Output>,
    shown: String,
}

pub(super) fn create(output: Output) -> Box<dyn Writer> {
    let shown = output.shown().to_string();
    let builder = arrow::json::writer::WriterBuilder::new().with_explicit_nulls(true);
    Box::new(JsonWriter { writer: builder.build(output), shown })
}

impl Writer for JsonWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(batch)?)
    }

    fn flush(&mut self) -> Result<()> {
        let shown = self.shown.clone();
        Ok(self.writer.get_mut().flush().map_err(|error| OutsideError::io(shown, &error))?)
    }

    fn finish(mut self: Box<Self>) -> Result<Output> {
        self.writer.finish()?;
        let mut output = self.writer.into_inner();
        output.flush().map_err(|error| OutsideError::io(&self.shown, &error))?;
        Ok(output)
    }
}
