//! Values for `$1`, `$name`.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_common::metadata::ScalarAndMetadata;
use datafusion_common::{ParamValues, ScalarValue};
use datafusion_expr::logical_plan::LogicalPlan;

use super::diagnose::{diagnose, first_place};
use crate::error::{Code, Result, StatementError};
use crate::plan::Parameters;
use crate::types::Value;

/// The plan with its parameters replaced by their values.
pub(super) fn fill(plan: LogicalPlan, parameters: &Parameters, text: &Arc<str>) -> Result<LogicalPlan> {
    let failed = |error| diagnose(&error, text, &[]);
    let mut wanted: Vec<String> = plan.get_parameter_names().map_err(failed)?.into_iter().collect();
    if wanted.is_empty() {
        return Ok(plan);
    }
    wanted.sort();
    let mut values = HashMap::new();
    for name in wanted {
        let bare = name.trim_start_matches('$');
        let value = match bare.parse::<usize>() {
            Ok(position) => position.checked_sub(1).and_then(|at| parameters.positional.get(at)),
            Err(_) => parameters.named.get(bare),
        };
        let Some(value) = value else {
            let error = StatementError::new(Code::Parameter, format!("no value is given for {name}"));
            let error = error.hint("Pass it with query_with or execute_with.");
            return Err(first_place(&name, text).map_or(error.clone(), |place| error.at(place)).into());
        };
        values.insert(bare.to_string(), ScalarAndMetadata::new(scalar(value), None));
    }
    plan.with_param_values(ParamValues::Map(values)).map_err(failed)
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Value::Int(value) => ScalarValue::Int64(Some(*value)),
        Value::UInt(value) => ScalarValue::UInt64(Some(*value)),
        Value::Float(value) => ScalarValue::Float64(Some(*value)),
        Value::Decimal(digits, scale) => ScalarValue::Decimal128(Some(*digits), DECIMAL_DIGITS, *scale),
        Value::Text(value) => ScalarValue::Utf8(Some(value.clone())),
        Value::Bytes(value) => ScalarValue::Binary(Some(value.clone())),
        Value::Timestamp(value) => ScalarValue::TimestampNanosecond(Some(value.nanos()), None),
        Value::Date(days) => ScalarValue::Date32(Some(*days)),
        Value::List(values) => list(values),
    }
}

/// The most digits that a decimal of 128 bits holds.
const DECIMAL_DIGITS: u8 = 38;

/// A list of the type of its first element that is not NULL.
fn list(values: &[Value]) -> ScalarValue {
    let elements: Vec<ScalarValue> = values.iter().map(scalar).collect();
    let known = elements.iter().find(|element| !element.is_null());
    let element_type = known.map_or(arrow::datatypes::DataType::Null, ScalarValue::data_type);
    ScalarValue::List(ScalarValue::new_list_nullable(&elements, &element_type))
}
