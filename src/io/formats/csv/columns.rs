//! From fields to typed columns.
//!
//! A column is built in one loop over the rows of a batch. A value that can't be read becomes NULL there and is noted;
//! the rows that were noted are filtered out at the end, so the good path never looks back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, NullBufferBuilder, PrimitiveArray, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
    TimeUnit, TimestampNanosecondType,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use super::records::{Grammar, Span};
use crate::error::{Code, Result, StatementError};
use crate::io::options::CsvOptions;
use crate::types::type_name;

/// The texts that people write for a missing value; they earn a hint.
const USUAL_NULLS: [&str; 9] = ["NA", "N/A", "NULL", "null", "None", "nan", "-", "?", "\\N"];

/// The fields of a batch of rows, `width` a row.
pub(super) struct Cells<'a> {
    pub text: &'a str,
    pub spans: &'a [Span],
    pub width: usize,
    pub rows: usize,
    pub grammar: &'a Grammar,
    pub csv: &'a CsvOptions,
}

/// What is wrong with a row: the first of its columns that can't be read.
#[derive(Debug)]
pub(super) struct Failure {
    pub column: Option<String>,
    pub reason: String,
    pub hint: Option<String>,
}

/// The rows that can't be read, by their number in the batch.
pub(super) type Failures = BTreeMap<usize, Failure>;

impl<'a> Cells<'a> {
    fn spans_of(&self, column: usize) -> impl Iterator<Item = Span> + '_ {
        // Every row has `width` fields: others are rejected before they come here.
        self.spans.iter().skip(column).step_by(self.width.max(1)).take(self.rows).copied()
    }

    fn is_null(&self, text: &str) -> bool {
        self.csv.nulls.iter().any(|null| null == text)
    }

    /// The fields of a column that is not text; none where there is no value.
    ///
    /// An empty field is never a value, and quotes around a number mean nothing.
    fn values(&self, column: usize) -> impl Iterator<Item = Option<Cow<'a, str>>> + '_ {
        self.spans_of(column).map(|span| {
            let value = self.grammar.unescape(self.text, span);
            (!value.is_empty() && !self.is_null(&value)).then_some(value)
        })
    }
}

/// Says no to a type that CSV has no text for.
pub(super) fn check_types(schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        let data_type = field.data_type();
        if data_type.is_nested() || !can_cast_types(&DataType::Utf8, data_type) {
            let message = format!("CSV can't hold the {} of column \"{}\"", type_name(data_type), field.name());
            let hint = "Use JSON Lines, Parquet or Arrow, or turn the column into text.";
            return Err(StatementError::new(Code::Unsupported, message).hint(hint).into());
        }
    }
    Ok(())
}

/// Builds the column `field` from the fields at `place` of each row.
pub(super) fn build(cells: &Cells, place: usize, field: &FieldRef, failures: &mut Failures) -> Result<ArrayRef> {
    let format = cells.csv.timestamp_format.as_deref();
    let column: ArrayRef = match (field.data_type(), format) {
        (DataType::Utf8, _) => Arc::new(text(cells, place)?),
        (DataType::Int8, _) => primitive::<Int8Type>(cells, place, field, failures, Int8Type::parse),
        (DataType::Int16, _) => primitive::<Int16Type>(cells, place, field, failures, Int16Type::parse),
        (DataType::Int32, _) => primitive::<Int32Type>(cells, place, field, failures, Int32Type::parse),
        (DataType::Int64, _) => primitive::<Int64Type>(cells, place, field, failures, Int64Type::parse),
        (DataType::Float32, _) => primitive::<Float32Type>(cells, place, field, failures, Float32Type::parse),
        (DataType::Float64, _) => primitive::<Float64Type>(cells, place, field, failures, Float64Type::parse),
        (DataType::Date32, _) => primitive::<Date32Type>(cells, place, field, failures, Date32Type::parse),
        (DataType::Timestamp(TimeUnit::Nanosecond, None), None) => {
            primitive::<TimestampNanosecondType>(cells, place, field, failures, TimestampNanosecondType::parse)
        }
        (DataType::Timestamp(_, _), Some(format)) => {
            let parse = |value: &str| parse_timestamp(value, format);
            let nanos = primitive::<TimestampNanosecondType>(cells, place, field, failures, parse);
            cast_with_options(&nanos, field.data_type(), &CastOptions::default())?
        }
        (_, _) => converted(cells, place, field, failures)?,
    };
    if !field.is_nullable() && column.null_count() > 0 {
        for row in (0..cells.rows).filter(|row| column.is_null(*row)) {
            failures.entry(row).or_insert_with(|| Failure {
                column: Some(field.name().clone()),
                reason: "NULL in a NOT NULL column".to_string(),
                hint: None,
            });
        }
    }
    Ok(column)
}

/// Text is taken as it is. In quotes it is never NULL, so that empty text can be told from none.
fn text(cells: &Cells, place: usize) -> Result<StringArray> {
    let mut bytes = Vec::new();
    let mut offsets = Vec::with_capacity(cells.rows + 1);
    let mut nulls = NullBufferBuilder::new(cells.rows);
    offsets.push(0_i32);
    for span in cells.spans_of(place) {
        let value = cells.grammar.unescape(cells.text, span);
        let is_null = !span.is_quoted() && cells.is_null(&value);
        if !is_null {
            bytes.extend_from_slice(value.as_bytes());
        }
        nulls.append(!is_null);
        // A batch of text is far below 2 GiB, as its spans are.
        offsets.push(bytes.len() as i32);
    }
    Ok(StringArray::try_new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes), nulls.finish())?)
}

fn primitive<T: ArrowPrimitiveType>(
    cells: &Cells,
    place: usize,
    field: &FieldRef,
    failures: &mut Failures,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> ArrayRef {
    let mut values = Vec::with_capacity(cells.rows);
    let mut nulls = NullBufferBuilder::new(cells.rows);
    for (row, text) in cells.values(place).enumerate() {
        // Spaces around a value are rare, so they are only looked for once it could not be read.
        let value = text.as_deref().and_then(|text| parse(text).or_else(|| parse(text.trim_ascii())));
        if value.is_none()
            && let Some(text) = text
        {
            note(failures, row, field, &text);
        }
        nulls.append(value.is_some());
        values.push(value.unwrap_or_default());
    }
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls.finish()))
}

/// Any other type goes through text and Arrow's cast.
fn converted(cells: &Cells, place: usize, field: &FieldRef, failures: &mut Failures) -> Result<ArrayRef> {
    let given: StringArray =
        cells.values(place).map(|value| value.map(|value| value.trim_ascii().to_string())).collect();
    let column = cast_with_options(&given, field.data_type(), &CastOptions::default())?;
    if column.null_count() > given.null_count() {
        for row in (0..cells.rows).filter(|row| column.is_null(*row) && !given.is_null(*row)) {
            note(failures, row, field, given.value(row));
        }
    }
    Ok(column)
}

fn parse_timestamp(text: &str, format: &str) -> Option<i64> {
    let zoned = || DateTime::parse_from_str(text, format).ok().map(|time| time.to_utc());
    let plain = || NaiveDateTime::parse_from_str(text, format).ok().map(|time| time.and_utc());
    let date = || NaiveDate::parse_from_str(text, format).ok().map(|date| date.and_time(NaiveTime::MIN).and_utc());
    plain().or_else(zoned).or_else(date)?.timestamp_nanos_opt()
}

fn note(failures: &mut Failures, row: usize, field: &FieldRef, value: &str) {
    const SHOWN: usize = 60;
    failures.entry(row).or_insert_with(|| {
        let short: String = value.chars().take(SHOWN).collect();
        let more = if short.len() < value.len() { "…" } else { "" };
        let hint = USUAL_NULLS.contains(&value.trim_ascii()).then(|| {
            let text = value.trim_ascii();
            format!("If \"{text}\" stands for a missing value, add null = '{text}'.")
        });
        let reason =
            format!("\"{}{more}\" is not a value of type {}", short.escape_debug(), type_name(field.data_type()));
        Failure { column: Some(field.name().clone()), reason, hint }
    });
}
