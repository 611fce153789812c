//! One row pushed through the public API, and its answer polled, before the next.

use std::time::Instant;

use riverrun::Engine;
use riverrun::arrow::array::RecordBatch;

use super::{Finding, Limit};
use crate::bench::Result;
use crate::bench::compare::Bench;
use crate::bench::data::{BATCH_ROWS, Table};
use crate::bench::{bare, workloads};

/// How many rows are measured, and how many go before them.
const ROWS: usize = 200_000;
const ROWS_BEFORE: usize = 20_000;

/// The quantiles of the time for a row, in microseconds, and how long they may be.
const QUANTILES: [(&str, f64, Option<f64>); 4] =
    [("p50", 0.5, Some(1.5)), ("p99", 0.99, Some(10.0)), ("p99.9", 0.999, None), ("max", 1.0, None)];

pub fn run(bench: &Bench<'_>) -> Result<Vec<Finding>> {
    let workload = workloads::named("b_running")?;
    let tables = bench.sets.of(workload.collection, bench.events).tables(&workload)?;
    let engine = Engine::new();
    engine.execute("CREATE STREAM bidn (auction BIGINT, price BIGINT)")?;
    let mut answers = engine.query(&workload.query)?;
    let mut bids = engine.appender("bidn")?;
    let mut nanos = Vec::with_capacity(ROWS_BEFORE + ROWS);
    let rows = rows(tables.table("bidn")?)?;
    for (auction, price) in rows.iter().cycle().take(ROWS_BEFORE + ROWS) {
        let start = Instant::now();
        bids.append_row((*auction, *price))?;
        let answer = answers.poll()?;
        nanos.push(start.elapsed().as_nanos() as f64);
        if answer.iter().map(RecordBatch::num_rows).sum::<usize>() != 1 {
            return Err("a row in has not given a row out".into());
        }
    }
    let mut nanos = nanos.split_off(ROWS_BEFORE);
    nanos.sort_by(f64::total_cmp);
    let finding = |(name, share, most): (&str, f64, Option<f64>)| Finding {
        probe: "latency",
        what: format!("a row in, its RUNNING answer out, {name}"),
        found: quantile(&nanos, share) / 1e3,
        unit: "µs",
        limit: most.map(Limit::AtMost),
    };
    Ok(QUANTILES.into_iter().map(finding).collect())
}

/// The number that `share` of the sorted numbers do not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The auctions and prices of the first bids: what the query looks at, as a program would push it.
fn rows(table: &Table) -> Result<Vec<(i64, i64)>> {
    let mut rows = vec![];
    for batch in table.batches.iter().take((ROWS_BEFORE + ROWS).div_ceil(BATCH_ROWS)) {
        let (auctions, prices) = (bare::numbers(batch, "auction")?, bare::numbers(batch, "price")?);
        rows.extend(auctions.iter().copied().zip(prices.iter().copied()));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_numbers() {
        let numbers: Vec<f64> = (1..=100).map(f64::from).collect();
        let quantiles = [0.5, 0.99, 1.0].map(|share| quantile(&numbers, share));
        assert_eq!(quantiles, [50.0, 99.0, 100.0]);
    }
}
