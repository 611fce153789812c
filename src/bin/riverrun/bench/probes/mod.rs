//! What the throughput of workloads does not show: how long one row takes, a start, a plan, and how time grows.

mod growth;
mod latency;
mod plan;
mod start;
mod view;

use super::Result;
use super::compare::{Bench, Comparison};
use super::targets::OWN;

/// Something found out, and how much it is to be.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The probe.
    pub probe: &'static str,
    /// What was measured.
    pub what: String,
    /// How much it is.
    pub found: f64,
    /// Of what.
    pub unit: &'static str,
    /// How much it is to be.
    pub limit: Option<Limit>,
}

/// How much something is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// No more than that.
    AtMost(f64),
    /// No less than that.
    AtLeast(f64),
}

impl Finding {
    /// Whether it is as much as it is to be.
    pub fn holds(&self) -> bool {
        match self.limit {
            Some(Limit::AtMost(most)) => self.found <= most,
            Some(Limit::AtLeast(least)) => self.found >= least,
            None => true,
        }
    }
}

/// A probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// One row pushed, and its answer read.
    Latency,
    /// A whole process.
    Start,
    /// From text to operators.
    Plan,
    /// Ten times the rows, and ten times the keys.
    Growth,
    /// A materialized view that is asked for a row.
    View,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Probe; 5] = [Probe::Latency, Probe::Start, Probe::Plan, Probe::Growth, Probe::View];

    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Probe::Latency => "latency",
            Probe::Start => "start",
            Probe::Plan => "plan",
            Probe::Growth => "growth",
            Probe::View => "view",
        }
    }

    /// Finds it out.
    pub fn run(self, bench: &Bench<'_>) -> Result<Vec<Finding>> {
        bench.progress.tell(|| self.name().to_owned());
        match self {
            Probe::Latency => latency::run(bench),
            Probe::Start => start::run(bench),
            Probe::Plan => plan::run(bench),
            Probe::Growth => growth::run(bench),
            Probe::View => view::run(),
        }
    }
}

/// The bytes that a key and its three accumulators are made of: `count`, `max` and `sum`, of 8 bytes each.
const BYTES_OF_KEY_AND_TOTALS: f64 = 32.0;
/// How much more the state may take.
const OVERHEAD_MAX: f64 = 1.5;

/// How many bytes the state of A1 has for each key, if A1 was measured.
pub fn state(results: &[Comparison]) -> Vec<Finding> {
    let states = results.iter().filter(|result| result.workload.name.starts_with("a1_"));
    let states = states.filter_map(|result| Some((&result.workload.name, result.of(OWN)?.state?)));
    let finding = |(name, state): (&String, riverrun::StateSize)| Finding {
        probe: "state",
        what: format!("{name}, for each of {} keys", state.rows),
        found: state.bytes as f64 / state.rows as f64,
        unit: "bytes",
        limit: Some(Limit::AtMost(BYTES_OF_KEY_AND_TOTALS * OVERHEAD_MAX)),
    };
    states.filter(|(_, state)| state.rows > 0).map(finding).collect()
}
