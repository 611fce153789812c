//! Lines that are flat objects of plain values, which is what most are: decoded straight into columns.
//!
//! It takes a line only if there is one way to read it: what has to be converted, refused or explained is left to
//! Arrow's decoder, which reads the whole batch again.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::builder::{BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use chrono::Utc;
use jiter::{Jiter, NumberInt};

use super::scanner::{NotPlain, Scanner};

/// Reads lines into columns of plain types.
pub(super) struct FlatLines {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// For each column whether the line at hand has had a value for it.
    seen: Vec<bool>,
    /// The keys of the line before as they are written, in order, each with its column: the next line's are most likely
    /// the same.
    keys: Vec<(Vec<u8>, Option<usize>)>,
}

/// The values of a column.
enum Column {
    Integers(PrimitiveBuilder<Int64Type>),
    Floats(PrimitiveBuilder<Float64Type>),
    Booleans(BooleanBuilder),
    Texts(StringBuilder),
    Timestamps(PrimitiveBuilder<TimestampMicrosecondType>),
}

impl FlatLines {
    /// A reader of these columns, if all of them are of a plain type.
    pub fn new(schema: &SchemaRef, rows: usize) -> Option<FlatLines> {
        let fields = schema.fields();
        let named_once = |(nth, name): (usize, &String)| !fields.iter().take(nth).any(|field| field.name() == name);
        if fields.is_empty() || !fields.iter().map(|field| field.name()).enumerate().all(named_once) {
            return None;
        }
        let columns = fields.iter().map(|field| Column::new(field.data_type(), rows)).collect::<Option<Vec<_>>>()?;
        Some(FlatLines { schema: schema.clone(), seen: vec![false; columns.len()], columns, keys: Vec::new() })
    }

    /// The rows of `lines`, or nothing if one of them is not plain: then it is of no further use.
    pub fn decode(&mut self, bytes: &[u8], lines: &[Range<usize>]) -> Option<RecordBatch> {
        for line in lines {
            self.line(bytes.get(line.clone())?).ok()?;
        }
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        // It fails for a NULL in a NOT NULL column.
        RecordBatch::try_new(self.schema.clone(), columns).ok()
    }

    fn line(&mut self, line: &[u8]) -> Result<(), NotPlain> {
        self.seen.fill(false);
        let mut text = Scanner::new(line);
        text.expect(b'{')?;
        if !text.skips(b'}') {
            let mut nth = 0;
            loop {
                match self.column_of_key(&mut text, nth)? {
                    Some(place) if std::mem::replace(&mut self.seen[place], true) => return Err(NotPlain),
                    Some(place) => self.columns[place].read(&mut text)?,
                    None => text.skip_value()?,
                }
                nth += 1;
                if !text.skips(b',') {
                    break;
                }
            }
            text.expect(b'}')?;
        }
        text.end()?;
        for (column, _) in self.columns.iter_mut().zip(&self.seen).filter(|(_, seen)| !**seen) {
            column.append_null();
        }
        Ok(())
    }

    /// Reads the `nth` key of a line, and says what column it is of; none if nobody wants it.
    fn column_of_key(&mut self, text: &mut Scanner<'_>, nth: usize) -> Result<Option<usize>, NotPlain> {
        if let Some((known, column)) = self.keys.get(nth)
            && text.skips_word(known)
        {
            text.expect(b':')?;
            return Ok(*column);
        }
        let start = text.rest();
        let key = text.by_library(|json| Ok(json.next_str()?.to_string()))?;
        let written = &start[..start.len() - text.rest().len()];
        text.expect(b':')?;
        let column = self.schema.fields().iter().position(|field| *field.name() == key);
        self.keys.truncate(nth);
        self.keys.push((written.to_vec(), column));
        Ok(column)
    }
}

impl Column {
    fn new(data_type: &DataType, rows: usize) -> Option<Column> {
        Some(match data_type {
            DataType::Int64 => Column::Integers(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float64 => Column::Floats(PrimitiveBuilder::with_capacity(rows)),
            DataType::Boolean => Column::Booleans(BooleanBuilder::with_capacity(rows)),
            DataType::Utf8 => Column::Texts(StringBuilder::with_capacity(rows, 0)),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Column::Timestamps(PrimitiveBuilder::with_capacity(rows))
            }
            _ => return None,
        })
    }

    fn read(&mut self, text: &mut Scanner<'_>) -> Result<(), NotPlain> {
        if text.skips_word(b"null") {
            self.append_null();
            return Ok(());
        }
        match self {
            Column::Integers(values) => match text.short_integer() {
                Some(value) => values.append_value(value),
                None => values.append_value(text.by_library(integer)?),
            },
            Column::Floats(values) => values.append_value(text.by_library(|json| {
                let peek = json.peek()?;
                if peek.is_num() { Ok(json.known_float(peek)?) } else { Err(NotPlain) }
            })?),
            Column::Booleans(values) => values.append_value(text.by_library(|json| Ok(json.next_bool()?))?),
            Column::Texts(values) => match text.short_text() {
                Some(value) => values.append_value(value),
                None => text.by_library(|json| {
                    values.append_value(json.next_str()?);
                    Ok(())
                })?,
            },
            Column::Timestamps(values) => {
                let time = match text.short_text() {
                    Some(value) => time(value)?,
                    None => text.by_library(|json| time(json.next_str()?))?,
                };
                values.append_value(time);
            }
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Column::Integers(values) => values.append_null(),
            Column::Floats(values) => values.append_null(),
            Column::Booleans(values) => values.append_null(),
            Column::Texts(values) => values.append_null(),
            Column::Timestamps(values) => values.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Integers(values) => Arc::new(values.finish()),
            Column::Floats(values) => Arc::new(values.finish()),
            Column::Booleans(values) => Arc::new(values.finish()),
            Column::Texts(values) => Arc::new(values.finish()),
            Column::Timestamps(values) => Arc::new(values.finish()),
        }
    }
}

fn integer(json: &mut Jiter<'_>) -> Result<i64, NotPlain> {
    let peek = json.peek()?;
    if !peek.is_num() {
        return Err(NotPlain);
    }
    match json.known_int(peek)? {
        NumberInt::Int(value) => Ok(value),
        NumberInt::BigInt(_) => Err(NotPlain),
    }
}

fn time(text: &str) -> Result<i64, NotPlain> {
    Ok(string_to_datetime(&Utc, text).map_err(|_| NotPlain)?.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};

    use super::super::{decoder, feed};
    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("i", DataType::Int64, true),
            Field::new("f", DataType::Float64, true),
            Field::new("b", DataType::Boolean, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        ]))
    }

    /// What both decoders make of one line.
    fn both(line: &str) -> (Option<RecordBatch>, Option<RecordBatch>) {
        let whole = 0..line.len();
        let lines = std::slice::from_ref(&whole);
        let flat = FlatLines::new(&schema(), 1).and_then(|mut flat| flat.decode(line.as_bytes(), lines));
        let arrow = decoder(&schema(), 1).and_then(|mut decoder| feed(&mut decoder, line.as_bytes(), lines));
        (flat, arrow.ok())
    }

    #[test]
    fn what_it_takes_is_what_arrows_decoder_reads() {
        let values = [
            "0",
            "-0",
            "1",
            "-17",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "1.0",
            "1.5",
            "-0.0",
            "1e3",
            "1E400",
            "4.9e-324",
            "0.1",
            "123456789012345678901234567890",
            "999999999999999999",
            "-999999999999999999",
            "-",
            "-01",
            "1 2",
            "12a",
            "01",
            "1.",
            ".5",
            "+1",
            "NaN",
            "Infinity",
            "-Infinity",
            "true",
            "false",
            "null",
            "\"\"",
            "\"a\"",
            "\"a b \u{7f}\"",
            "\"a\tb\"",
            "\"\\u00e9\\n\\\"\\\\\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"é😀\"",
            "\"1\"",
            "\"2024-02-29\"",
            "\"2024-02-29T12:30:00\"",
            "\"2024-02-29 12:30:00.123456789\"",
            "\"2024-02-29T12:30:00+02:00\"",
            "\"1969-12-31T23:59:59.999999Z\"",
            "\"2023-02-29\"",
            "[1]",
            "{\"a\":1}",
            "",
            "\"open",
            "1704067200000",
        ];
        let mut taken = 0;
        for value in values {
            for key in ["i", "f", "b", "s", "t", "other"] {
                for line in [
                    format!("{{\"{key}\":{value}}}"),
                    format!(" {{ \"x\" : [1, {{}}] , \"{key}\" : {value} , \"i\" : 5 }} "),
                    format!("{{\"{key}\":{value},}}"),
                    format!("{{\"\\u0069\":{value},\"{key}\":{value}}}"),
                    format!("{{\"{key}\":{value}}} 1"),
                ] {
                    let (flat, arrow) = both(&line);
                    if let Some(flat) = flat {
                        taken += 1;
                        assert_eq!(Some(format!("{flat:?}")), arrow.map(|batch| format!("{batch:?}")), "{line}");
                    }
                }
            }
        }
        assert!(taken > 100, "{taken}");
    }

    #[test]
    fn keys_may_come_in_any_order_and_be_missing() {
        let text = "{\"s\":\"a\",\"i\":1}\n{\"i\":2,\"s\":\"b\"}\n{}\n{\"x\":0,\"i\":3}\n";
        let lines: Vec<_> = [(0, 15), (16, 31), (32, 34), (35, 48)].map(|(start, end)| start..end).to_vec();
        let wanted = Arc::new(schema().project(&[3, 0]).expect("two columns"));
        let rows = FlatLines::new(&wanted, 4).and_then(|mut flat| flat.decode(text.as_bytes(), &lines));
        let arrow = decoder(&wanted, 4).and_then(|mut decoder| feed(&mut decoder, text.as_bytes(), &lines));
        assert_eq!(rows, arrow.ok());
        assert!(rows.is_some());
    }
}
