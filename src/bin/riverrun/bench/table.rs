//! The results as tables for people.

use comfy_table::{CellAlignment, Table, presets};

use super::compare::{Comparison, Outcome, Verdict};
use super::measure::Series;
use super::probes::{Finding, Limit};
use super::targets::{self, OWN, Reached};

/// Columns: what they are called, and on which side their values stand.
type Columns<const N: usize> = [(&'static str, CellAlignment); N];

const WORKLOADS: Columns<9> = [
    ("workload", CellAlignment::Left),
    ("runner", CellAlignment::Left),
    ("M rows/s", CellAlignment::Right),
    ("ns/row (fastest..slowest)", CellAlignment::Right),
    ("CPU s", CellAlignment::Right),
    ("memory", CellAlignment::Right),
    ("state", CellAlignment::Right),
    ("riverrun is", CellAlignment::Right),
    ("target", CellAlignment::Left),
];
const FINDINGS: Columns<4> = [
    ("probe", CellAlignment::Left),
    ("what", CellAlignment::Left),
    ("found", CellAlignment::Right),
    ("target", CellAlignment::Left),
];

/// A table of the workloads by every runner.
pub fn of_workloads(results: &[Comparison], events: usize) -> Table {
    let mut table = headed(WORKLOADS);
    for result in results {
        let reached = targets::reached(result);
        let own = result.of(OWN).and_then(Outcome::series).map_or(f64::NAN, Series::rows_per_second);
        for outcome in &result.results {
            let name = if outcome.runner == OWN { result.workload.name.as_str() } else { "" };
            let runner = runner(outcome, events);
            match &outcome.verdict {
                Verdict::Measured(series) => {
                    let reached = targets::against(&reached, &outcome.runner);
                    table.add_row(row(name, runner, outcome, series, own, reached))
                }
                Verdict::Unsupported(_) => table.add_row([name, &runner, "–"]),
                Verdict::Failed(_) => table.add_row([name, &runner, "✗ see below"]),
            };
        }
    }
    table
}

/// A table of what the probes have found.
pub fn of_findings(findings: &[Finding]) -> Table {
    let mut table = headed(FINDINGS);
    for finding in findings {
        let target = match finding.limit {
            Some(Limit::AtMost(most)) => format!("{} ≤ {most} {}", mark(finding.holds()), finding.unit),
            Some(Limit::AtLeast(least)) => format!("{} ≥ {least} {}", mark(finding.holds()), finding.unit),
            None => String::new(),
        };
        let found = format!("{:.3} {}", finding.found, finding.unit);
        table.add_row([finding.probe.to_owned(), finding.what.clone(), found, target]);
    }
    table
}

fn headed<const N: usize>(columns: Columns<N>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.map(|(name, _)| name));
    for (column, (_, alignment)) in table.column_iter_mut().zip(columns) {
        column.set_cell_alignment(alignment);
    }
    table
}

/// The runner's name; whoever is measured on less data than the others says so.
fn runner(outcome: &Outcome, events: usize) -> String {
    match outcome.series() {
        Some(series) if outcome.events != events => {
            format!("{}, {:.2} M rows", outcome.runner, series.rows_in() as f64 / 1e6)
        }
        _ => outcome.runner.clone(),
    }
}

fn row(
    workload: &str,
    runner: String,
    outcome: &Outcome,
    series: &Series,
    own: f64,
    reached: Option<Reached>,
) -> Vec<String> {
    let (fastest, slowest) = series.range();
    let nanos = |seconds| series.nanos_a_row(seconds);
    let ratio = own / series.rows_per_second();
    vec![
        workload.into(),
        runner,
        rate(series),
        format!("{:.1} ({:.1}..{:.1})", nanos(series.seconds()), nanos(fastest), nanos(slowest)),
        format!("{:.3}", series.median(|sample| sample.cpu_seconds)),
        outcome.memory.map_or_else(String::new, |bytes| format!("{:.1} MB", bytes as f64 / 1e6)),
        outcome
            .state
            .map_or_else(String::new, |state| format!("{} keys, {:.1} MB", state.rows, state.bytes as f64 / 1e6)),
        if outcome.runner == OWN { String::new() } else { format!("{ratio:.2} x") },
        reached.map_or_else(String::new, |reached| target(&reached)),
    ]
}

/// Rows a second; of a runner with a fixed cost a run without and with it.
fn rate(series: &Series) -> String {
    let (net, gross) = (series.net_seconds(), series.seconds());
    let rate = |seconds: f64| series.rows_in() as f64 / seconds / 1e6;
    if net == gross { format!("{:.2}", rate(net)) } else { format!("{:.2} net, {:.2}", rate(net), rate(gross)) }
}

fn target(reached: &Reached) -> String {
    format!("{} ≥ {}", mark(reached.holds()), reached.target.ratio_min)
}

fn mark(holds: bool) -> &'static str {
    if holds { "✓" } else { "✗" }
}
