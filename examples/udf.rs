//! A scalar function of our own, in SQL.

use std::sync::Arc;

use riverrun::arrow::array::{AsArray, Float64Array};
use riverrun::arrow::datatypes::{DataType, Float64Type};
use riverrun::datafusion_expr::{ColumnarValue, Volatility, create_udf};
use riverrun::{Engine, Error};

fn main() -> Result<(), Error> {
    let engine = Engine::new();
    let celsius = create_udf(
        "celsius",
        vec![DataType::Float64],
        DataType::Float64,
        Volatility::Immutable,
        Arc::new(|arguments: &[ColumnarValue]| {
            let fahrenheit = ColumnarValue::values_to_arrays(arguments)?;
            let degrees = fahrenheit[0].as_primitive::<Float64Type>().iter();
            let celsius: Float64Array = degrees.map(|degree| degree.map(|degree| (degree - 32.0) / 1.8)).collect();
            Ok(ColumnarValue::Array(Arc::new(celsius)))
        }),
    );
    engine.register_scalar(celsius);
    engine.execute("CREATE STREAM readings (place VARCHAR, fahrenheit DOUBLE)")?;
    let mut warmest = engine.query("SELECT place, max(celsius(fahrenheit)) FROM readings GROUP BY place EMIT FINAL")?;
    engine.execute("INSERT INTO readings VALUES ('roof', 50), ('cellar', 41), ('roof', 77); CLOSE STREAM readings")?;
    for row in warmest.rows::<(String, f64)>() {
        let (place, celsius) = row?;
        println!("{place}: {celsius} degrees");
    }
    Ok(())
}
