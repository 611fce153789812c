//! Single values and rows, as host programs and user logics write and read them.
//!
//! Inside the engine everything is an Arrow column; a [`Value`] exists only at the edge, where rows come one by one.
//! Types that have no variant of their own (times of day, intervals, structs, maps) are read as their text,
//! and temporal types are also written as text.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, SchemaRef, TimeUnit};
use arrow::datatypes::{TimestampNanosecondType, UInt64Type};
use arrow::util::display::array_value_to_string;

use crate::error::{Code, DataError, Result};
use crate::types::Timestamp;

/// A single value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL
    Null,
    /// BOOLEAN
    Bool(bool),
    /// Any signed integer type.
    Int(i64),
    /// Any unsigned integer type.
    UInt(u64),
    /// Any floating-point type.
    Float(f64),
    /// DECIMAL: the digits, and how many of them come after the point.
    Decimal(i128, i8),
    /// VARCHAR
    Text(String),
    /// BYTEA
    Bytes(Vec<u8>),
    /// TIMESTAMP
    Timestamp(Timestamp),
    /// DATE: days since the Unix epoch.
    Date(i32),
    /// A list.
    List(Vec<Value>),
}

impl Value {
    /// The value in row `row` of `array`.
    pub fn read(array: &dyn Array, row: usize) -> Result<Value> {
        if array.is_null(row) {
            return Ok(Value::Null);
        }
        let one = array.slice(row, 1);
        Ok(match array.data_type() {
            DataType::Null => Value::Null,
            DataType::Boolean => Value::Bool(one.as_boolean().value(0)),
            kind if kind.is_signed_integer() => {
                Value::Int(cast(&one, &DataType::Int64)?.as_primitive::<Int64Type>().value(0))
            }
            kind if kind.is_unsigned_integer() => {
                Value::UInt(cast(&one, &DataType::UInt64)?.as_primitive::<UInt64Type>().value(0))
            }
            kind if kind.is_floating() => {
                Value::Float(cast(&one, &DataType::Float64)?.as_primitive::<Float64Type>().value(0))
            }
            DataType::Decimal128(_, scale) => Value::Decimal(one.as_primitive::<Decimal128Type>().value(0), *scale),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
                Value::Text(cast(&one, &DataType::Utf8)?.as_string::<i32>().value(0).to_owned())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Value::Bytes(cast(&one, &DataType::Binary)?.as_binary::<i32>().value(0).to_vec())
            }
            DataType::Timestamp(_, zone) => {
                let nanos = cast(&one, &DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))?;
                Value::Timestamp(Timestamp::from_nanos(nanos.as_primitive::<TimestampNanosecondType>().value(0)))
            }
            DataType::Date32 | DataType::Date64 => {
                Value::Date(cast(&one, &DataType::Date32)?.as_primitive::<Date32Type>().value(0))
            }
            DataType::List(_) => read_list(&one.as_list::<i32>().value(0))?,
            DataType::LargeList(_) => read_list(&one.as_list::<i64>().value(0))?,
            DataType::FixedSizeList(_, _) => read_list(&one.as_fixed_size_list().value(0))?,
            // Arrow's types are not ours to enumerate: what has no variant is read as its text.
            _ => Value::Text(array_value_to_string(&one, 0)?),
        })
    }
}

fn read_list(elements: &ArrayRef) -> Result<Value> {
    (0..elements.len()).map(|row| Value::read(elements, row)).collect::<Result<_>>().map(Value::List)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::UInt(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Decimal(digits, scale) => write!(f, "{digits}e-{scale}"),
            Value::Text(value) => write!(f, "{value:?}"),
            Value::Bytes(value) => write!(f, "{} bytes", value.len()),
            Value::Timestamp(value) => write!(f, "{value}"),
            Value::Date(days) => write!(f, "day {days}"),
            Value::List(values) => write!(f, "a list of {}", values.len()),
        }
    }
}

macro_rules! value_from {
    ($($variant:ident($as:ty): $($from:ty),+;)*) => {$($(
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::$variant(<$as>::from(value))
            }
        }
    )+)*};
}

value_from! {
    Bool(bool): bool;
    Int(i64): i8, i16, i32, i64;
    UInt(u64): u8, u16, u32, u64;
    Float(f64): f32, f64;
    Text(String): &str, String;
    Bytes(Vec<u8>): &[u8];
    Timestamp(Timestamp): Timestamp;
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::UInt(value as u64)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

/// A Rust type that a [`Value`] can be read as.
pub trait FromValue: Sized {
    /// What is expected, for errors.
    const EXPECTED: &'static str;

    /// The value as this type, if it fits without loss of meaning.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! from_integer {
    ($($to:ty),*) => {$(
        impl FromValue for $to {
            const EXPECTED: &'static str = stringify!($to);

            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::Int(value) => value.try_into().ok(),
                    Value::UInt(value) => value.try_into().ok(),
                    Value::Null | Value::Bool(_) | Value::Float(_) | Value::Decimal(..) | Value::Text(_)
                    | Value::Bytes(_) | Value::Timestamp(_) | Value::Date(_) | Value::List(_) => None,
                }
            }
        }
    )*};
}

from_integer!(i8, i16, i32, i64, u8, u16, u32, u64, usize);

impl FromValue for f64 {
    const EXPECTED: &'static str = "f64";

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Int(value) => Some(value as f64),
            Value::UInt(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            Value::Decimal(digits, scale) => Some(digits as f64 / 10f64.powi(i32::from(scale))),
            Value::Null
            | Value::Bool(_)
            | Value::Text(_)
            | Value::Bytes(_)
            | Value::Timestamp(_)
            | Value::Date(_)
            | Value::List(_) => None,
        }
    }
}

impl FromValue for Value {
    const EXPECTED: &'static str = "a value";

    fn from_value(value: Value) -> Option<Self> {
        Some(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! from_variant {
    ($($to:ty = $variant:ident),*) => {$(
        impl FromValue for $to {
            const EXPECTED: &'static str = stringify!($to);

            fn from_value(value: Value) -> Option<Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }
        }
    )*};
}

from_variant!(bool = Bool, String = Text, Vec<u8> = Bytes, Timestamp = Timestamp, Vec<Value> = List);

/// One row of a batch, to be read by column name or number.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    rows: &'a RecordBatch,
    row: usize,
}

/// A column by its name or its number.
pub trait ColumnIndex {
    /// Its number in `schema`.
    fn find(&self, schema: &SchemaRef) -> Option<usize>;
    /// How errors call it.
    fn name(&self) -> String;
}

impl ColumnIndex for usize {
    fn find(&self, schema: &SchemaRef) -> Option<usize> {
        (*self < schema.fields().len()).then_some(*self)
    }

    fn name(&self) -> String {
        format!("number {self}")
    }
}

impl ColumnIndex for &str {
    fn find(&self, schema: &SchemaRef) -> Option<usize> {
        schema.column_with_name(self).map(|(index, _)| index)
    }

    fn name(&self) -> String {
        (*self).to_owned()
    }
}

impl<'a> Row<'a> {
    /// Row `row` of `rows`, if it has so many.
    pub fn new(rows: &'a RecordBatch, row: usize) -> Option<Row<'a>> {
        (row < rows.num_rows()).then_some(Row { rows, row })
    }

    /// The value of a column, as a Rust type; `Option<T>` where it may be NULL.
    pub fn get<T: FromValue>(&self, column: impl ColumnIndex) -> Result<T> {
        let value = self.value(&column)?;
        let shown = value.to_string();
        T::from_value(value).ok_or_else(|| {
            let message = format!("expected {}, but the value is {shown}", T::EXPECTED);
            DataError::new(Code::SchemaMismatch, message).column(column.name()).into()
        })
    }

    /// All values, in the order of the columns.
    pub fn values(&self) -> Result<Vec<Value>> {
        self.rows.columns().iter().map(|column| Value::read(column, self.row)).collect()
    }

    fn value(&self, column: &impl ColumnIndex) -> Result<Value> {
        let schema = self.rows.schema_ref();
        let Some(index) = column.find(schema) else {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(DataError::new(Code::UnknownColumn, format!("the row has no column \"{}\"", column.name()))
                .hint(format!("Its columns are {}.", names.join(", ")))
                .into());
        };
        Value::read(self.rows.column(index), self.row)
    }
}

/// What can be written as a row: tuples of up to twelve values, vectors and slices.
pub trait IntoRow {
    /// The values, one a column.
    fn into_row(self) -> Vec<Value>;
}

impl<T: Into<Value>> IntoRow for Vec<T> {
    fn into_row(self) -> Vec<Value> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Value> + Clone> IntoRow for &[T] {
    fn into_row(self) -> Vec<Value> {
        self.iter().cloned().map(Into::into).collect()
    }
}

impl<T: Into<Value> + Clone, const N: usize> IntoRow for &[T; N] {
    fn into_row(self) -> Vec<Value> {
        self.as_slice().into_row()
    }
}

macro_rules! into_row {
    ($($name:ident)+) => {
        impl<$($name: Into<Value>),+> IntoRow for ($($name,)+) {
            #[allow(non_snake_case, reason = "a type parameter's name serves as its variable's")]
            fn into_row(self) -> Vec<Value> {
                let ($($name,)+) = self;
                vec![$($name.into()),+]
            }
        }
    };
}

into_row!(A);
into_row!(A B);
into_row!(A B C);
into_row!(A B C D);
into_row!(A B C D E);
into_row!(A B C D E F);
into_row!(A B C D E F G);
into_row!(A B C D E F G H);
into_row!(A B C D E F G H I);
into_row!(A B C D E F G H I J);
into_row!(A B C D E F G H I J K);
into_row!(A B C D E F G H I J K L);
