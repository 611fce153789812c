//! From the text of each query to its operators.

use std::time::Instant;

use super::{Finding, Limit};
use crate::bench::Result;
use crate::bench::compare::Bench;
use crate::bench::measure::median;
use crate::bench::{river, workloads};

/// How often each query is planned, and how long it may take.
const PLANS: usize = 31;
const MILLIS_MAX: f64 = 1.0;

pub fn run(_: &Bench<'_>) -> Result<Vec<Finding>> {
    let mut findings = vec![];
    for workload in workloads::choose(&[])?.into_iter().filter(|workload| !workload.name.ends_with("_uniform")) {
        let engine = river::engine(&workload)?;
        let mut millis = vec![];
        for _ in 0..PLANS {
            let start = Instant::now();
            let query = engine.query(&workload.query)?;
            millis.push(start.elapsed().as_secs_f64() * 1e3);
            drop(query);
        }
        let what = format!("{}, text to operators, median of {PLANS}", workload.name);
        let limit = Some(Limit::AtMost(MILLIS_MAX));
        findings.push(Finding { probe: "plan", what, found: median(millis), unit: "ms", limit });
    }
    Ok(findings)
}
