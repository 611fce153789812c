//! Random rows of a stream with a column of every type, and what happens between them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;

/// A value of a column; the column's type says what a `Whole` stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Whole(i64),
    Float(f64),
    Text(String),
    Truth(bool),
}

pub type Row = Vec<Value>;

/// A column: its name, how SQL calls its type, and its Arrow type.
pub type Column = (&'static str, &'static str, DataType);

/// What happens after a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum After {
    /// The next row is in the same batch.
    Nothing,
    /// The batch ends.
    Cut,
    /// The batch ends and a batch without rows follows.
    EmptyBatch,
    /// The batch ends, and everything is dropped from memory and resumed.
    Restart,
}

const NANOS_PER_HOUR: i64 = 3_600_000_000_000;
const FIRST_DAY: i64 = 20_454;

/// The columns of the stream `t`. `id` counts arrivals; `rank` is another unique order.
pub fn columns() -> Vec<Column> {
    vec![
        ("id", "BIGINT", DataType::Int64),
        ("rank", "BIGINT", DataType::Int64),
        ("k", "BIGINT", DataType::Int64),
        ("i", "INT", DataType::Int32),
        ("x", "DOUBLE", DataType::Float64),
        ("w", "DOUBLE", DataType::Float64),
        ("s", "VARCHAR", DataType::Utf8),
        ("b", "BOOLEAN", DataType::Boolean),
        ("d", "DATE", DataType::Date32),
        ("at", "TIMESTAMP", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("m", "DECIMAL(10, 2)", DataType::Decimal128(10, 2)),
    ]
}

/// Rows for the stream `t`, each with what happens after it.
pub fn rows(most: usize) -> impl Strategy<Value = Vec<(Row, After)>> {
    repeated(1, most).prop_map(numbered)
}

/// The same, now and then each row three times.
pub fn rows_that_may_repeat(most: usize) -> impl Strategy<Value = Vec<(Row, After)>> {
    prop_oneof![6 => repeated(1, most), 1 => repeated(3, most / 3)].prop_map(numbered)
}

/// At most so many rows, each of them so many times.
fn repeated(times: usize, most: usize) -> impl Strategy<Value = Vec<(Row, After)>> {
    let alike = move |(row, after): (Row, After)| {
        let last = (row.clone(), after);
        std::iter::repeat_n((row, After::Nothing), times - 1).chain([last])
    };
    prop::collection::vec((row(), after()), 0..=most).prop_map(move |rows| rows.into_iter().flat_map(alike).collect())
}

/// Puts `id` and `rank` before the other columns.
fn numbered(rows: Vec<(Row, After)>) -> Vec<(Row, After)> {
    let number = |(index, (row, after)): (usize, (Row, After))| {
        let id = index as i64 + 1;
        // Multiplying by a number prime to the modulus scrambles the order and keeps it unique.
        let mut numbered = vec![Value::Whole(id), Value::Whole(id * 7_919 % 10_007)];
        numbered.extend(row);
        (numbered, after)
    };
    rows.into_iter().enumerate().map(number).collect()
}

pub fn after() -> impl Strategy<Value = After> {
    prop_oneof![
        6 => Just(After::Nothing),
        3 => Just(After::Cut),
        1 => Just(After::EmptyBatch),
        1 => Just(After::Restart),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let words = ["", "a", "b", "A", "ab", "é", "a longer word than fits inline"];
    // Quarters add up without rounding, so that only the order of additions of real fractions is left to tolerance.
    let quarters = (-40i64..40).prop_map(|quarters| Value::Float(quarters as f64 / 4.0));
    // Not -0.0: the oracle tells it from 0.0 in count(DISTINCT) and as a key, and the engine, as PostgreSQL, does not.
    let wild = prop::sample::select(vec![0.5, 0.0, 0.1, -3.3, 1e6, f64::NAN]).prop_map(Value::Float);
    (
        nullable(prop_oneof![5 => 0i64..3, 2 => -5i64..30].prop_map(Value::Whole)),
        nullable((-9i64..10).prop_map(Value::Whole)),
        nullable(quarters),
        nullable(wild),
        nullable(prop::sample::select(words.to_vec()).prop_map(|word| Value::Text(word.into()))),
        nullable(any::<bool>().prop_map(Value::Truth)),
        nullable((FIRST_DAY..FIRST_DAY + 4).prop_map(Value::Whole)),
        nullable((-3i64..40).prop_map(|hours| Value::Whole(FIRST_DAY * 24 * NANOS_PER_HOUR + hours * NANOS_PER_HOUR))),
        nullable((-300i64..900).prop_map(Value::Whole)),
    )
        .prop_map(|(k, i, x, w, s, b, d, at, m)| vec![k, i, x, w, s, b, d, at, m])
}

pub fn nullable(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop_oneof![6 => values, 1 => Just(Value::Null)]
}

pub fn schema(columns: &[Column]) -> SchemaRef {
    let fields = columns.iter().map(|(name, _, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The rows as an Arrow batch.
pub fn batch(columns: &[Column], rows: &[Row]) -> RecordBatch {
    let arrays = columns.iter().enumerate().map(|(at, (_, _, data_type))| array(data_type, rows, at)).collect();
    RecordBatch::try_new(schema(columns), arrays).expect("the rows have the columns' types")
}

fn array(data_type: &DataType, rows: &[Row], at: usize) -> ArrayRef {
    let wholes = || rows.iter().map(|row| whole(&row[at]));
    match data_type {
        DataType::Int64 => Arc::new(Int64Array::from_iter(wholes())),
        DataType::Int32 => Arc::new(Int32Array::from_iter(wholes().map(|value| value.map(|value| value as i32)))),
        DataType::Date32 => Arc::new(Date32Array::from_iter(wholes().map(|value| value.map(|value| value as i32)))),
        DataType::Timestamp(..) => Arc::new(TimestampNanosecondArray::from_iter(wholes())),
        DataType::Decimal128(digits, scale) => {
            let values = Decimal128Array::from_iter(wholes().map(|value| value.map(i128::from)));
            Arc::new(values.with_precision_and_scale(*digits, *scale).expect("the type of a column is valid"))
        }
        DataType::Float64 => Arc::new(Float64Array::from_iter(rows.iter().map(|row| match &row[at] {
            Value::Float(value) => Some(*value),
            _ => None,
        }))),
        DataType::Boolean => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| match &row[at] {
            Value::Truth(value) => Some(*value),
            _ => None,
        }))),
        DataType::Utf8 => Arc::new(StringArray::from_iter(rows.iter().map(|row| match &row[at] {
            Value::Text(value) => Some(value.as_str()),
            _ => None,
        }))),
        other => panic!("no column has the type {other}"),
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Whole(value) => Some(*value),
        _ => None,
    }
}

/// `CREATE STREAM` for the columns.
pub fn create(name: &str, columns: &[Column]) -> String {
    let columns: Vec<String> = columns.iter().map(|(name, sql, _)| format!("{name} {sql}")).collect();
    format!("CREATE STREAM {name} ({})", columns.join(", "))
}

/// The rows as an `INSERT`, for a person who makes a script of a failure.
pub fn insert(name: &str, columns: &[Column], rows: &[Row]) -> String {
    let mut text = format!("INSERT INTO {name} VALUES");
    for (index, row) in rows.iter().enumerate() {
        let values: Vec<String> = row.iter().zip(columns).map(|(value, (_, _, kind))| literal(value, kind)).collect();
        let _ = write!(text, "{}\n  ({})", if index == 0 { "" } else { "," }, values.join(", "));
    }
    text + ";"
}

fn literal(value: &Value, data_type: &DataType) -> String {
    match (value, data_type) {
        (Value::Null, _) => "NULL".into(),
        (Value::Whole(days), DataType::Date32) => {
            format!("DATE '{}'", time(days * 24 * NANOS_PER_HOUR).format("%Y-%m-%d"))
        }
        (Value::Whole(nanos), DataType::Timestamp(..)) => {
            format!("TIMESTAMP '{}'", time(*nanos).format("%Y-%m-%d %H:%M:%S"))
        }
        (Value::Whole(cents), DataType::Decimal128(..)) => format!("{:.2}", *cents as f64 / 100.0),
        (Value::Whole(value), _) => value.to_string(),
        (Value::Float(value), _) if value.is_nan() => "CAST('NaN' AS DOUBLE)".into(),
        (Value::Float(value), _) => format!("{value:?}"),
        (Value::Text(text), _) => format!("'{text}'"),
        (Value::Truth(truth), _) => truth.to_string(),
    }
}

fn time(nanos: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp_nanos(nanos)
}
