//! A whole process: it starts, reads a CSV file of a thousand rows, prints an aggregate and ends.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Finding, Limit};
use crate::bench::Result;
use crate::bench::compare::Bench;
use crate::bench::data::Table;
use crate::bench::files::{self, Format};
use crate::bench::measure::median;
use crate::bench::workloads;

const ROWS: usize = 1000;
/// How many processes are started, and how long each may take.
const STARTS: usize = 21;
const MILLIS_MAX: f64 = 20.0;

pub fn run(bench: &Bench<'_>) -> Result<Vec<Finding>> {
    let workload = workloads::named("a1_auction")?;
    let data = bench.sets.of(workload.collection, bench.events);
    let tables = data.tables(&workload)?;
    let first = tables.table("bidn")?.batches.first().ok_or("there are no bids")?;
    let rows = first.slice(0, ROWS.min(first.num_rows()));
    let table = Table { name: "start", schema: rows.schema(), batches: vec![rows] };
    files::write(&table, &data.directory, Format::Csv)?;
    let query =
        "SELECT auction, count(*) AS n, max(price) AS best, sum(price) AS total FROM 'start.csv' GROUP BY auction";
    let mut millis = vec![];
    for _ in 0..STARTS {
        let mut command = Command::new(std::env::current_exe()?);
        command.current_dir(&data.directory).args(["--format", "csv", query]).stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status()?;
        millis.push(start.elapsed().as_secs_f64() * 1e3);
        if !status.success() {
            return Err("the process that was started has failed".into());
        }
    }
    let what = format!("a process that aggregates {ROWS} rows of CSV, median of {STARTS}");
    Ok(vec![Finding {
        probe: "start",
        what,
        found: median(millis),
        unit: "ms",
        limit: Some(Limit::AtMost(MILLIS_MAX)),
    }])
}
