//! Asks a file a question from a program, in typed rows.

use riverrun::{Access, Engine, Error};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Carrier {
    carrier: String,
    flights: i64,
    mean_delay: f64,
}

fn main() -> Result<(), Error> {
    // The library opens no file that it has not been granted.
    let engine = Engine::builder().access(Access::directories([env!("CARGO_MANIFEST_DIR")])?).build()?;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/flights.csv");
    let mut query = engine.query(&format!(
        "SELECT carrier, count(*) AS flights, avg(dep_delay) AS mean_delay
         FROM '{path}' GROUP BY carrier ORDER BY flights DESC LIMIT 3"
    ))?;
    for row in query.rows::<Carrier>() {
        let row = row?;
        println!("{} {} flights, {:.2} minutes late", row.carrier, row.flights, row.mean_delay);
    }
    Ok(())
}
