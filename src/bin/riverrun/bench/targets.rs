//! Whether riverrun reaches what it is to reach.

use super::compare::{Comparison, Outcome};
use super::workloads::{Target, Yardstick};

/// The runner that targets are about.
pub const OWN: &str = "riverrun";
/// The loop written by hand.
pub const BARE: &str = "bare loop";

/// A target and what was measured.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// The target.
    pub target: Target,
    /// riverrun's rows a second as a share of the yardstick's.
    pub ratio: f64,
}

impl Reached {
    /// Whether the target is reached.
    pub fn holds(&self) -> bool {
        self.ratio >= self.target.ratio_min
    }
}

impl Yardstick {
    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Yardstick::Bare => BARE,
            Yardstick::Peer(name) | Yardstick::Own(name) => name,
        }
    }
}

/// The targets of `of` whose yardstick was measured in turns with it.
pub fn reached(of: &Comparison) -> Vec<Reached> {
    let Some(own) = rate(of.of(OWN)) else { return vec![] };
    let yardstick = |target: &Target| rate(of.of(target.of.name()));
    let measured = |target: &Target| yardstick(target).map(|rate| Reached { target: *target, ratio: own / rate });
    of.workload.targets.iter().filter_map(measured).collect()
}

/// The target of `of` against one of its own runners.
pub fn against(reached: &[Reached], runner: &str) -> Option<Reached> {
    reached.iter().find(|reached| reached.target.of.name() == runner).copied()
}

fn rate(outcome: Option<&Outcome>) -> Option<f64> {
    outcome?.series().map(|series| series.rows_per_second())
}
