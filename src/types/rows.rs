//! From rows of single values to a batch.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeListArray, Float64Array,
    Int64Array, LargeListArray, ListArray, RecordBatch, RecordBatchOptions, StringArray, TimestampNanosecondArray,
    UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};

use crate::error::{Code, DataError, Error, Result};
use crate::types::Value;

/// The rows as a batch of `schema`.
///
/// An integer fits every integer type that can hold it, every floating-point type and DECIMAL;
/// text fits text, and dates, times and DECIMAL by being read as such.
pub fn rows_to_batch(schema: &SchemaRef, rows: &[Vec<Value>]) -> Result<RecordBatch> {
    for row in rows {
        check_width(schema, row)?;
    }
    let columns = (schema.fields().iter().enumerate())
        .map(|(index, field)| column(field, rows.iter().map(|row| &row[index])))
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn check_width(schema: &SchemaRef, row: &[Value]) -> Result<()> {
    let expected = schema.fields().len();
    if row.len() == expected {
        return Ok(());
    }
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let message = format!("the row has {} values, but there are {expected} columns", row.len());
    Err(DataError::new(Code::SchemaMismatch, message).hint(format!("The columns are {}.", names.join(", "))).into())
}

/// The values as one column.
fn column<'a>(field: &FieldRef, values: impl Iterator<Item = &'a Value> + Clone) -> Result<ArrayRef> {
    if !field.is_nullable() && values.clone().any(|value| *value == Value::Null) {
        return Err(DataError::new(Code::SchemaMismatch, "NULL in a column that may not be NULL")
            .column(field.name())
            .into());
    }
    // Rows that the host writes nearly always have the column's own type; then the column is built at once.
    if let Some(array) = exact(field.data_type(), values.clone()) {
        return Ok(array);
    }
    let cells = values.map(|value| cell(field, value)).collect::<Result<Vec<_>>>()?;
    let cells: Vec<&dyn Array> = cells.iter().map(AsRef::as_ref).collect();
    if cells.is_empty() { Ok(new_null_array(field.data_type(), 0)) } else { Ok(concat(&cells)?) }
}

/// The column, if its type is a common one and every value is of that very type.
fn exact<'a>(data_type: &DataType, values: impl Iterator<Item = &'a Value> + Clone) -> Option<ArrayRef> {
    macro_rules! collect {
        ($array:ty, $variant:ident, $value:ident => $cell:expr) => {{
            let cells = values.map(|value| {
                if let Value::$variant($value) = value {
                    Some(Some($cell))
                } else {
                    (*value == Value::Null).then_some(None)
                }
            });
            Some(Arc::new(cells.collect::<Option<$array>>()?) as ArrayRef)
        }};
    }
    macro_rules! numbers {
        ($array:ty, $variant:ident) => {{
            // Without NULLs, which is nearly always, the values are the column.
            let plain = values.clone().map(|value| if let Value::$variant(value) = value { Some(*value) } else { None });
            match plain.collect::<Option<Vec<_>>>() {
                Some(numbers) => Some(Arc::new(<$array>::from(numbers)) as ArrayRef),
                None => collect!($array, $variant, value => *value),
            }
        }};
    }
    match data_type {
        DataType::Boolean => collect!(BooleanArray, Bool, value => *value),
        DataType::Int64 => numbers!(Int64Array, Int),
        DataType::UInt64 => numbers!(UInt64Array, UInt),
        DataType::Float64 => numbers!(Float64Array, Float),
        DataType::Utf8 => collect!(StringArray, Text, value => value.as_str()),
        // Arrow's types are not ours to enumerate: the rest takes the way of single cells.
        _ => None,
    }
}

/// One value as a column of one row.
fn cell(field: &Field, value: &Value) -> Result<ArrayRef> {
    let data_type = field.data_type();
    let plain: ArrayRef = match value {
        Value::Null => return Ok(new_null_array(data_type, 1)),
        Value::List(values) => return list(field, values),
        Value::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        Value::Int(value) => Arc::new(Int64Array::from(vec![*value])),
        Value::UInt(value) => Arc::new(UInt64Array::from(vec![*value])),
        Value::Float(value) => Arc::new(Float64Array::from(vec![*value])),
        Value::Decimal(digits, scale) => Arc::new(decimal(field, *digits, *scale)?),
        Value::Text(value) => Arc::new(StringArray::from(vec![value.as_str()])),
        Value::Bytes(value) => Arc::new(BinaryArray::from(vec![value.as_slice()])),
        Value::Timestamp(value) => {
            // A zone makes it an instant, which a column of any zone then holds unchanged.
            Arc::new(TimestampNanosecondArray::from(vec![value.nanos()]).with_timezone("+00:00"))
        }
        Value::Date(days) => Arc::new(Date32Array::from(vec![*days])),
    };
    if !fits(value, data_type) {
        return Err(mismatch(field, value, None));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&plain, data_type, &options).map_err(|error| mismatch(field, value, Some(&error.to_string())))
}

/// Whether a value may go into a column of that type at all; whether it fits is then for the cast to say.
fn fits(value: &Value, data_type: &DataType) -> bool {
    let target = match data_type {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let text = matches!(target, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match value {
        Value::Null => true,
        Value::Bool(_) => *target == DataType::Boolean,
        Value::Int(_) | Value::UInt(_) => target.is_numeric(),
        Value::Float(_) | Value::Decimal(..) => target.is_floating() || target.is_decimal(),
        Value::Text(_) => {
            text || target.is_temporal() || target.is_decimal() || matches!(target, DataType::Interval(_))
        }
        Value::Bytes(_) => matches!(
            target,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ),
        Value::Timestamp(_) => matches!(target, DataType::Timestamp(_, _)),
        Value::Date(_) => matches!(target, DataType::Date32 | DataType::Date64),
        Value::List(_) => false,
    }
}

fn decimal(field: &Field, digits: i128, scale: i8) -> Result<Decimal128Array> {
    Decimal128Array::from(vec![digits])
        .with_precision_and_scale(38, scale)
        .map_err(|error| mismatch(field, &Value::Decimal(digits, scale), Some(&error.to_string())))
}

fn list(field: &Field, values: &[Value]) -> Result<ArrayRef> {
    let elements = |element: &FieldRef| column(element, values.iter());
    let valid = || NullBuffer::new_valid(1);
    match field.data_type() {
        DataType::List(element) => {
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            Ok(Arc::new(ListArray::try_new(element.clone(), offsets, elements(element)?, Some(valid()))?))
        }
        DataType::LargeList(element) => {
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            Ok(Arc::new(LargeListArray::try_new(element.clone(), offsets, elements(element)?, Some(valid()))?))
        }
        DataType::FixedSizeList(element, size) if usize::try_from(*size) == Ok(values.len()) => {
            Ok(Arc::new(FixedSizeListArray::try_new(element.clone(), *size, elements(element)?, Some(valid()))?))
        }
        _ => Err(mismatch(field, &Value::List(values.to_vec()), None)),
    }
}

fn mismatch(field: &Field, value: &Value, reason: Option<&str>) -> Error {
    let mut message = format!("expected {}, but was given {value}", field.data_type());
    if let Some(reason) = reason {
        message = format!("{message}: {reason}");
    }
    DataError::new(Code::SchemaMismatch, message).column(field.name()).into()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Schema, TimeUnit};

    use super::*;
    use crate::types::{IntoRow, Row, Timestamp};

    fn schema(types: &[DataType]) -> SchemaRef {
        let fields = types
            .iter()
            .enumerate()
            .map(|(index, data_type)| Field::new(["a", "b", "c", "d"][index], data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn failure(data_type: DataType, value: impl Into<Value>) -> String {
        rows_to_batch(&schema(&[data_type]), &[vec![value.into()]]).unwrap_err().message()
    }

    #[test]
    fn a_tuple_comes_back_as_it_went_in() -> Result<()> {
        let schema = schema(&[DataType::Utf8View, DataType::Int16, DataType::Float64, DataType::Boolean]);
        let batch = rows_to_batch(&schema, &[("ada", 9, 9.5, None::<bool>).into_row()])?;
        let row = Row::new(&batch, 0).unwrap();
        assert_eq!(row.get::<String>("a")?, "ada");
        assert_eq!(row.get::<i64>(1)?, 9);
        assert_eq!(row.get::<f64>("c")?, 9.5);
        assert_eq!(row.get::<Option<bool>>("d")?, None);
        Ok(())
    }

    #[test]
    fn text_is_read_as_a_time_a_date_or_a_decimal() -> Result<()> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema = schema(&[time, DataType::Date32, DataType::Decimal128(10, 2)]);
        let batch = rows_to_batch(&schema, &[("1970-01-01 00:00:01", "1970-01-03", "12.5").into_row()])?;
        let expected = [Value::Timestamp(Timestamp::from_millis(1_000)), Value::Date(2), Value::Decimal(1250, 2)];
        assert_eq!(Row::new(&batch, 0).unwrap().values()?, expected);
        Ok(())
    }

    #[test]
    fn a_list_comes_back_as_it_went_in() -> Result<()> {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        let batch = rows_to_batch(&schema(&[list]), &[vec![Value::from(vec![Some(1), None])], vec![Value::Null]])?;
        let row = Row::new(&batch, 0).unwrap();
        assert_eq!(row.values()?, [Value::List(vec![Value::Int(1), Value::Null])]);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        assert_eq!(failure(DataType::Int64, "x"), "column \"a\": expected Int64, but was given \"x\"");
        assert_eq!(failure(DataType::Int64, 1.5), "column \"a\": expected Int64, but was given 1.5");
        assert!(failure(DataType::Int8, 300).starts_with("column \"a\": expected Int8, but was given 300"));
        assert!(failure(DataType::Date32, "soon").starts_with("column \"a\": expected Date32"));
    }

    #[test]
    fn a_row_of_the_wrong_width_is_refused() {
        let error = rows_to_batch(&schema(&[DataType::Int64]), &[(1, 2).into_row()]).unwrap_err();
        assert_eq!(error.message(), "the row has 2 values, but there are 1 columns");
        assert_eq!(error.hint().unwrap(), "The columns are a.");
    }

    #[test]
    fn a_column_that_is_read_wrongly_is_named() -> Result<()> {
        let batch = rows_to_batch(&schema(&[DataType::Int64]), &[(1,).into_row()])?;
        let row = Row::new(&batch, 0).unwrap();
        assert_eq!(row.get::<String>("a").unwrap_err().message(), "column \"a\": expected String, but the value is 1");
        assert_eq!(row.get::<i64>("z").unwrap_err().message(), "the row has no column \"z\"");
        Ok(())
    }
}
