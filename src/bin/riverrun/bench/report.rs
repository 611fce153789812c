//! The results for programs, and for later: JSON.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use riverrun::Timestamp;
use serde_json::{Value, json};

use super::compare::{Comparison, Outcome, Verdict};
use super::measure::Series;
use super::probes::{Finding, Limit};
use super::targets;

/// Everything that a run has found out.
#[derive(Debug)]
pub struct Report {
    /// How many events were made.
    pub events: usize,
    /// How often each runner ran.
    pub reps: usize,
    /// Where the measured time found the rows.
    pub from: &'static str,
    /// The workloads.
    pub workloads: Vec<Comparison>,
    /// The probes.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The report as JSON.
    pub fn json(&self) -> Value {
        json!({
            "riverrun": env!("CARGO_PKG_VERSION"),
            "date": now(),
            "build": if cfg!(debug_assertions) { "debug" } else { "release" },
            "machine": machine(),
            "events": self.events,
            "reps": self.reps,
            "from": self.from,
            "workloads": self.workloads.iter().map(workload).collect::<Vec<_>>(),
            "probes": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

fn now() -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX)).to_string()
}

/// What the figures are worth anything on.
fn machine() -> Value {
    let line = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(|c: char| c.is_whitespace() || c == ':').to_owned()
    };
    json!({
        "processor": line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": line("/proc/meminfo", "MemTotal"),
        "system": std::env::consts::OS,
    })
}

fn workload(result: &Comparison) -> Value {
    let reached = targets::reached(result);
    let target = |reached: &targets::Reached| {
        json!({
            "of": reached.target.of.name(),
            "ratio_min": reached.target.ratio_min,
            "ratio": reached.ratio,
            "holds": reached.holds(),
        })
    };
    json!({
        "name": result.workload.name,
        "title": result.workload.title,
        "results": result.results.iter().map(outcome).collect::<Vec<_>>(),
        "targets": reached.iter().map(target).collect::<Vec<_>>(),
    })
}

fn outcome(outcome: &Outcome) -> Value {
    let mut value = json!({
        "runner": outcome.runner,
        "version": outcome.version,
        "events": outcome.events,
        "memory_bytes": outcome.memory,
        "state_rows": outcome.state.map(|state| state.rows),
        "state_bytes": outcome.state.map(|state| state.bytes),
    });
    let more = match &outcome.verdict {
        Verdict::Measured(series) => measured(series),
        Verdict::Unsupported(why) => json!({ "unsupported": why }),
        Verdict::Failed(why) => json!({ "failed": why }),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn measured(series: &Series) -> Value {
    let (fastest, slowest) = series.range();
    json!({
        "rows_in": series.rows_in(),
        "rows_out": series.rows_out(),
        "rows_per_second": series.rows_per_second(),
        "nanos_a_row": series.nanos_a_row(series.net_seconds()),
        "seconds": series.seconds(),
        "net_seconds": series.net_seconds(),
        "seconds_min": fastest,
        "seconds_max": slowest,
        "cpu_seconds": series.median(|sample| sample.cpu_seconds),
        "peak_bytes": series.median(|sample| sample.peak_bytes as f64),
        "runs": series.0.iter().map(|sample| sample.seconds).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    let (most, least) = match finding.limit {
        Some(Limit::AtMost(most)) => (Some(most), None),
        Some(Limit::AtLeast(least)) => (None, Some(least)),
        None => (None, None),
    };
    json!({
        "probe": finding.probe,
        "what": finding.what,
        "found": finding.found,
        "unit": finding.unit,
        "at_most": most,
        "at_least": least,
        "holds": finding.holds(),
    })
}
