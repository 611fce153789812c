//! One value of a column as text: as people read it, and as JSON.

use std::fmt::{self, Display, Write};

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StructArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::temporal_conversions::{as_date, as_datetime, as_time};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{NaiveDateTime, NaiveTime};

/// For whom a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// For people: `2026-01-01 00:00:00`, `[1, 2]`, `{a: 1}`, `NULL`.
    Text,
    /// For programs: a JSON value.
    Json,
}

/// Row `row` of `array` as text for people.
pub(super) fn text(array: &dyn Array, row: usize) -> String {
    let mut out = String::new();
    write_value(&mut out, array, row, Style::Text);
    out
}

/// Writes row `row` of `array`.
pub(super) fn write_value(out: &mut String, array: &dyn Array, row: usize, style: Style) {
    // Writing to a string cannot fail.
    let _ = value(out, array, row, style);
}

/// Whether values of the type read best when they end in the same column.
pub(super) fn aligns_right(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

macro_rules! number {
    ($out:expr, $array:expr, $row:expr, $type:ty) => {
        write!($out, "{}", $array.as_primitive::<$type>().value($row))
    };
}

macro_rules! time {
    ($out:expr, $array:expr, $row:expr, $style:expr, $type:ty) => {
        match as_time::<$type>($array.as_primitive::<$type>().value($row).into()) {
            Some(time) => quoted($out, $style, |out| write_time(out, time)),
            None => fallback($out, $array, $row, $style),
        }
    };
}

macro_rules! timestamp {
    ($out:expr, $array:expr, $row:expr, $style:expr, $zone:expr, $type:ty) => {
        match as_datetime::<$type>($array.as_primitive::<$type>().value($row)) {
            Some(at) => quoted($out, $style, |out| write_timestamp(out, at, $style, $zone)),
            None => fallback($out, $array, $row, $style),
        }
    };
}

/// The one match over Arrow's types: everything below a list or struct comes through here again.
fn value(out: &mut String, array: &dyn Array, row: usize, style: Style) -> fmt::Result {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return out.write_str(null(style));
    }
    match array.data_type() {
        DataType::Boolean => write!(out, "{}", array.as_boolean().value(row)),
        DataType::Int8 => number!(out, array, row, Int8Type),
        DataType::Int16 => number!(out, array, row, Int16Type),
        DataType::Int32 => number!(out, array, row, Int32Type),
        DataType::Int64 => number!(out, array, row, Int64Type),
        DataType::UInt8 => number!(out, array, row, UInt8Type),
        DataType::UInt16 => number!(out, array, row, UInt16Type),
        DataType::UInt32 => number!(out, array, row, UInt32Type),
        DataType::UInt64 => number!(out, array, row, UInt64Type),
        DataType::Float16 => float(out, style, array.as_primitive::<Float16Type>().value(row).to_f32()),
        DataType::Float32 => float(out, style, array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => float(out, style, array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal32(_, _) => decimal::<Decimal32Type>(out, array, row),
        DataType::Decimal64(_, _) => decimal::<Decimal64Type>(out, array, row),
        DataType::Decimal128(_, _) => decimal::<Decimal128Type>(out, array, row),
        DataType::Decimal256(_, _) => decimal::<Decimal256Type>(out, array, row),
        DataType::Utf8 => string(out, style, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => string(out, style, array.as_string::<i64>().value(row)),
        DataType::Utf8View => string(out, style, array.as_string_view().value(row)),
        DataType::Binary => hex(out, style, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => hex(out, style, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => hex(out, style, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => hex(out, style, array.as_fixed_size_binary().value(row)),
        DataType::Date32 | DataType::Date64 => date(out, array, row, style),
        DataType::Time32(TimeUnit::Second) => time!(out, array, row, style, Time32SecondType),
        DataType::Time32(_) => time!(out, array, row, style, Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => time!(out, array, row, style, Time64MicrosecondType),
        DataType::Time64(_) => time!(out, array, row, style, Time64NanosecondType),
        DataType::Timestamp(unit, zone) => timestamp(out, array, row, style, (*unit, zone.as_deref())),
        DataType::List(_) => list(out, &array.as_list::<i32>().value(row), style),
        DataType::LargeList(_) => list(out, &array.as_list::<i64>().value(row), style),
        DataType::ListView(_) => list(out, &array.as_list_view::<i32>().value(row), style),
        DataType::LargeListView(_) => list(out, &array.as_list_view::<i64>().value(row), style),
        DataType::FixedSizeList(_, _) => list(out, &array.as_fixed_size_list().value(row), style),
        DataType::Struct(_) => structure(out, array.as_struct(), row, style),
        DataType::Map(_, _) => map(out, array.as_map(), row, style),
        DataType::Dictionary(_, _) => dictionary(out, array, row, style),
        DataType::Union(_, _) => value(out, &array.as_union().value(row), 0, style),
        DataType::Null | DataType::Interval(_) | DataType::Duration(_) | DataType::RunEndEncoded(_, _) => {
            fallback(out, array, row, style)
        }
    }
}

fn null(style: Style) -> &'static str {
    match style {
        Style::Text => "NULL",
        Style::Json => "null",
    }
}

/// Rust's `{:?}` of a float is the shortest text that reads back as the same number, and always shows that it is one.
fn float<F: Into<f64> + fmt::Debug + Copy>(out: &mut String, style: Style, number: F) -> fmt::Result {
    let wide: f64 = number.into();
    match style {
        Style::Json if wide.is_nan() => out.write_str("\"NaN\""),
        Style::Json if wide.is_infinite() => out.write_str(if wide > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
        Style::Json | Style::Text => write!(out, "{number:?}"),
    }
}

fn decimal<T: DecimalType>(out: &mut String, array: &dyn Array, row: usize) -> fmt::Result {
    out.write_str(&array.as_primitive::<T>().value_as_string(row))
}

fn string(out: &mut String, style: Style, text: &str) -> fmt::Result {
    match style {
        Style::Text => out.write_str(text),
        Style::Json => json_string(out, text),
    }
}

fn hex(out: &mut String, style: Style, bytes: &[u8]) -> fmt::Result {
    quoted(out, style, |out| bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")))
}

fn date(out: &mut String, array: &dyn Array, row: usize, style: Style) -> fmt::Result {
    let date = match array.data_type() {
        DataType::Date32 => as_date::<Date32Type>(array.as_primitive::<Date32Type>().value(row).into()),
        _ => as_date::<Date64Type>(array.as_primitive::<Date64Type>().value(row)),
    };
    match date {
        Some(date) => quoted(out, style, |out| write!(out, "{date}")),
        None => fallback(out, array, row, style),
    }
}

fn timestamp(
    out: &mut String,
    array: &dyn Array,
    row: usize,
    style: Style,
    (unit, zone): (TimeUnit, Option<&str>),
) -> fmt::Result {
    match unit {
        TimeUnit::Second => timestamp!(out, array, row, style, zone, TimestampSecondType),
        TimeUnit::Millisecond => timestamp!(out, array, row, style, zone, TimestampMillisecondType),
        TimeUnit::Microsecond => timestamp!(out, array, row, style, zone, TimestampMicrosecondType),
        TimeUnit::Nanosecond => timestamp!(out, array, row, style, zone, TimestampNanosecondType),
    }
}

/// A timestamp with a zone is an instant: it is written in UTC, and says so.
fn write_timestamp(out: &mut String, at: NaiveDateTime, style: Style, zone: Option<&str>) -> fmt::Result {
    let separator = match style {
        Style::Text => ' ',
        Style::Json => 'T',
    };
    write!(out, "{}{separator}", at.date())?;
    write_time(out, at.time())?;
    out.write_str(if zone.is_some() { "Z" } else { "" })
}

/// `00:00:00`, then as much of a fraction as there is.
fn write_time(out: &mut String, time: NaiveTime) -> fmt::Result {
    let text = time.format("%H:%M:%S%.f").to_string();
    let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
    out.write_str(text)
}

fn list(out: &mut String, values: &ArrayRef, style: Style) -> fmt::Result {
    out.write_char('[')?;
    for row in 0..values.len() {
        out.write_str(if row == 0 { "" } else { separator(style) })?;
        value(out, values, row, style)?;
    }
    out.write_char(']')
}

fn structure(out: &mut String, array: &StructArray, row: usize, style: Style) -> fmt::Result {
    out.write_char('{')?;
    for (index, (field, column)) in array.fields().iter().zip(array.columns()).enumerate() {
        out.write_str(if index == 0 { "" } else { separator(style) })?;
        string(out, style, field.name())?;
        out.write_str(colon(style))?;
        value(out, column, row, style)?;
    }
    out.write_char('}')
}

/// A map is written as a struct whose names are the keys as text.
fn map(out: &mut String, array: &MapArray, row: usize, style: Style) -> fmt::Result {
    let entries = array.value(row);
    out.write_char('{')?;
    for entry in 0..entries.len() {
        out.write_str(if entry == 0 { "" } else { separator(style) })?;
        string(out, style, &text(entries.column(0), entry))?;
        out.write_str(colon(style))?;
        value(out, entries.column(1), entry, style)?;
    }
    out.write_char('}')
}

fn dictionary(out: &mut String, array: &dyn Array, row: usize, style: Style) -> fmt::Result {
    let dictionary = array.as_any_dictionary();
    match dictionary.normalized_keys().get(row) {
        Some(key) => value(out, dictionary.values(), *key, style),
        None => out.write_str(null(style)),
    }
}

fn separator(style: Style) -> &'static str {
    match style {
        Style::Text => ", ",
        Style::Json => ",",
    }
}

fn colon(style: Style) -> &'static str {
    match style {
        Style::Text => ": ",
        Style::Json => ":",
    }
}

fn quoted(out: &mut String, style: Style, write: impl FnOnce(&mut String) -> fmt::Result) -> fmt::Result {
    match style {
        Style::Text => write(out),
        Style::Json => {
            out.write_char('"')?;
            write(out)?;
            out.write_char('"')
        }
    }
}

/// Intervals, and dates outside the calendar, as Arrow writes them.
fn fallback(out: &mut String, array: &dyn Array, row: usize, style: Style) -> fmt::Result {
    let text = match ArrayFormatter::try_new(array, &FormatOptions::default().with_display_error(true)) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(error) => error.to_string(),
    };
    string(out, style, &text)
}

/// `text` as a JSON string.
pub(super) fn json_string(out: &mut String, text: impl Display) -> fmt::Result {
    out.write_char('"')?;
    for character in text.to_string().chars() {
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            control if control < ' ' => write!(out, "\\u{:04x}", u32::from(control))?,
            other => out.write_char(other)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Float64Array, Int64Array, ListArray, StringArray, StructArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::{Field, Int64Type};

    use super::*;

    fn both(array: &dyn Array, row: usize) -> (String, String) {
        let mut json = String::new();
        write_value(&mut json, array, row, Style::Json);
        (text(array, row), json)
    }

    fn pair(text: &str, json: &str) -> (String, String) {
        (text.into(), json.into())
    }

    #[test]
    fn floats_are_the_shortest_that_read_back() {
        let array = Float64Array::from(vec![1.0, 0.1, 1e300, f64::NAN, f64::NEG_INFINITY]);
        assert_eq!(both(&array, 0), pair("1.0", "1.0"));
        assert_eq!(both(&array, 1), pair("0.1", "0.1"));
        assert_eq!(both(&array, 2), pair("1e300", "1e300"));
        assert_eq!(both(&array, 3), pair("NaN", "\"NaN\""));
        assert_eq!(both(&array, 4), pair("-inf", "\"-Infinity\""));
    }

    #[test]
    fn timestamps_show_as_much_fraction_as_they_have() {
        let array = TimestampMillisecondArray::from(vec![0, 120, -1]);
        assert_eq!(both(&array, 0), pair("1970-01-01 00:00:00", "\"1970-01-01T00:00:00\""));
        assert_eq!(both(&array, 1), pair("1970-01-01 00:00:00.12", "\"1970-01-01T00:00:00.12\""));
        assert_eq!(both(&array, 2), pair("1969-12-31 23:59:59.999", "\"1969-12-31T23:59:59.999\""));
    }

    #[test]
    fn nested_values_nest() {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])]);
        assert_eq!(both(&list, 0), pair("[1, NULL]", "[1,null]"));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["say \"hi\"\n"]));
        let row = StructArray::from(vec![(Arc::new(Field::new("n", DataType::Utf8, true)), names)]);
        assert_eq!(both(&row, 0), pair("{n: say \"hi\"\n}", "{\"n\":\"say \\\"hi\\\"\\n\"}"));
    }

    #[test]
    fn integers_are_exact_and_bytes_are_hex() {
        assert_eq!(both(&Int64Array::from(vec![i64::MAX]), 0), pair("9223372036854775807", "9223372036854775807"));
        assert_eq!(both(&BinaryArray::from(vec![&[0u8, 255][..]]), 0), pair("00ff", "\"00ff\""));
    }
}
