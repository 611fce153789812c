//! A materialized view over a million rows, asked for a row by its key: with SQL, and without.

use std::sync::Arc;
use std::time::Instant;

use riverrun::Engine;
use riverrun::arrow::array::{Int64Array, RecordBatch};

use super::{Finding, Limit};
use crate::bench::Result;
use crate::bench::data::BATCH_ROWS;
use crate::bench::measure::median;

/// How many rows are pushed, of how many keys.
const ROWS: i64 = 1_000_000;
const KEYS: i64 = 100_000;
/// How often the view is asked in each way, and how long an answer may take.
const QUERIES: i64 = 101;
const READS: i64 = 10_001;
const QUERY_MICROS_MAX: f64 = 1_000.0;
const READ_MICROS_MAX: f64 = 20.0;

pub fn run() -> Result<Vec<Finding>> {
    let engine = Engine::new();
    engine.execute(
        "CREATE STREAM payments (account BIGINT, cents BIGINT);
         CREATE MATERIALIZED VIEW balances AS SELECT account, sum(cents) AS balance FROM payments GROUP BY account",
    )?;
    let mut payments = engine.appender("payments")?;
    let all: Vec<i64> = (0..ROWS).collect();
    for rows in all.chunks(BATCH_ROWS) {
        let accounts: Int64Array = rows.iter().map(|row| account(*row)).collect();
        let cents = Int64Array::from(rows.to_vec());
        payments.append(RecordBatch::try_from_iter([
            ("account", Arc::new(accounts) as _),
            ("cents", Arc::new(cents) as _),
        ])?)?;
    }
    let view = engine.view("balances")?;
    let query = |nth: i64| -> Result<usize> {
        let query = format!("SELECT balance FROM balances WHERE account = {}", account(nth));
        Ok(engine.query(&query)?.poll()?.iter().map(RecordBatch::num_rows).sum())
    };
    let read = |nth: i64| -> Result<usize> { Ok(view.get((account(nth),))?.map_or(0, |row| row.num_rows())) };
    let finding = |what: &str, found: f64, most: f64| Finding {
        probe: "view",
        what: format!("{what}, one of {KEYS} keys of {ROWS} rows, median"),
        found,
        unit: "µs",
        limit: Some(Limit::AtMost(most)),
    };
    Ok(vec![
        finding("SELECT … WHERE key = …", micros(QUERIES, query)?, QUERY_MICROS_MAX),
        finding("View::get", micros(READS, read)?, READ_MICROS_MAX),
    ])
}

/// The account of a row: neighbours are far apart.
fn account(row: i64) -> i64 {
    row * 7_919 % KEYS
}

/// The median time in which `ask` finds its one row.
fn micros(times: i64, ask: impl Fn(i64) -> Result<usize>) -> Result<f64> {
    let mut micros = vec![];
    for nth in 0..times {
        let start = Instant::now();
        let rows = ask(nth)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
        if rows != 1 {
            return Err(format!("a view has {rows} rows of a key instead of one").into());
        }
    }
    Ok(median(micros))
}
