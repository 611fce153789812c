//! `riverrun bench`: how fast it is, beside the fastest loop written by hand and beside other engines.
//!
//! Everything is measured in one run, one thing after the other, because machines drift: what counts are the ratios.

mod answer;
mod bare;
mod chart;
mod compare;
mod data;
mod dataset;
mod files;
mod flights;
mod generate;
mod input;
mod measure;
mod memory;
mod nexmark;
mod peers;
mod probes;
mod progress;
mod report;
mod river;
mod runner;
mod table;
mod targets;
mod workloads;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;

use compare::{Bench, Comparison};
use dataset::{DataSets, Origin};
use files::Format;
use probes::Probe;
use progress::Progress;
use report::Report;
use runner::{Bare, River, Runner};
use workloads::Workload;

/// What can go wrong here has nobody to handle it: it is shown to a person.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many events there are by default.
const EVENTS: usize = 10_000_000;
/// How many there are with `--quick`.
const EVENTS_QUICK: usize = 1_000_000;
/// How many there are when instructions are counted: about 200,000 bids.
const EVENTS_COUNTED: usize = 217_392;
/// How often each runner runs, and how often with `--quick`, whose runs are too short to be alike.
const REPS: usize = 5;
const REPS_QUICK: usize = 9;
/// What stands for every peer.
const ALL: &str = "all";
/// Where files are written if nobody says.
const DIRECTORY: &str = "target/bench";

/// What `riverrun bench` is asked.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// Workloads and probes by their names or the beginning of them, `nexmark` for that benchmark, and query files;
    /// without any, everything but Nexmark
    #[arg(value_name = "WORKLOAD")]
    names: Vec<String>,

    /// How many Nexmark events to make; 92 of 100 are bids
    #[arg(long, value_name = "N")]
    events: Option<usize>,

    /// How often each runner runs
    #[arg(long, value_name = "N")]
    reps: Option<usize>,

    /// A tenth of the data: the whole run takes less than two minutes
    #[arg(long)]
    quick: bool,

    /// Where the measured time finds the rows
    #[arg(long, value_name = "FORMAT", default_value = "memory")]
    from: Format,

    /// Other engines to run beside it, or `all`; see benches/peers
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,

    /// The directory with the flights and the weather of nycflights13
    #[arg(long, value_name = "DIR")]
    flights: Option<PathBuf>,

    /// Where the results are written as JSON, after each workload
    #[arg(long, value_name = "FILE", default_value = "target/bench/latest.json")]
    json: PathBuf,

    /// Where the results are drawn as SVG
    #[arg(long, value_name = "FILE", default_value = "target/bench/latest.svg")]
    chart: PathBuf,

    /// Runs one workload once and measures nothing, for whoever counts instructions
    #[arg(long, value_name = "WORKLOAD", conflicts_with_all = ["names", "peers"])]
    instructions: Option<String>,

    /// Runs one workload once by this runner and tells by how many bytes memory has grown
    #[arg(long, hide = true, value_name = "RUNNER")]
    memory_of: Option<String>,
}

/// Runs the benchmark.
///
/// # Errors
/// If anything fails, or gives another answer than the others.
pub fn run(arguments: &BenchArguments) -> Result<()> {
    let progress = Rc::new(Progress::start());
    let flights = flights::directory(arguments.flights.as_deref());
    let origin = if arguments.memory_of.is_some() { Origin::Written } else { Origin::Made };
    let sets = DataSets::new(Path::new(DIRECTORY).to_owned(), flights, origin, progress.clone());
    if let Some(name) = &arguments.instructions {
        return run_once(&workloads::named(name)?, &sets);
    }
    let (events, reps) = if arguments.quick { (EVENTS_QUICK, REPS_QUICK) } else { (EVENTS, REPS) };
    let events = arguments.events.unwrap_or(events).max(1);
    if let Some(runner) = &arguments.memory_of {
        return tell_memory(arguments, runner, &sets, events);
    }
    let bench = Bench {
        sets: &sets,
        events,
        reps: arguments.reps.unwrap_or(reps).max(1),
        from: arguments.from,
        progress: &progress,
    };
    let report = measure(arguments, &bench)?;
    progress.finish();
    write(&arguments.chart, &chart::svg(&report))?;
    show(&report, arguments)
}

fn measure(arguments: &BenchArguments, bench: &Bench<'_>) -> Result<Report> {
    let (workloads, probes) = chosen(&arguments.names)?;
    let mut runners: Vec<Box<dyn Runner>> = vec![Box::new(River::new(arguments.from))];
    if arguments.from == Format::Memory && workloads.iter().any(|workload| workload.bare.is_some()) {
        runners.push(Box::<Bare>::default());
    }
    let every = arguments.peers.iter().any(|peer| peer == ALL);
    for peer in if every { peers::names() } else { arguments.peers.clone() } {
        bench.progress.tell(|| format!("installing and starting {peer}"));
        runners.push(Box::new(peers::start(&peer, arguments.from, Path::new(DIRECTORY))?));
    }
    let (events, reps, from) = (bench.events, bench.reps, bench.from.name());
    let mut report = Report { events, reps, from, workloads: vec![], findings: vec![] };
    for workload in workloads.into_iter().map(|workload| workload.with_targets_of(arguments.from)) {
        report.workloads.push(bench.compare(&workload, &mut runners)?);
        // A run takes long, and what is stopped shall not be lost.
        write_json(&report, &arguments.json)?;
    }
    // Other engines hold on to memory and threads of theirs until they are gone.
    drop(runners);
    report.findings.extend(nexmark::means(&report.workloads));
    report.findings.extend(probes::state(&report.workloads));
    for probe in probes {
        report.findings.extend(probe.run(bench)?);
        write_json(&report, &arguments.json)?;
    }
    write_json(&report, &arguments.json)?;
    Ok(report)
}

/// What names stand for; everything for none.
fn chosen(names: &[String]) -> Result<(Vec<Workload>, Vec<Probe>)> {
    let probe = |name: &String| Probe::ALL.into_iter().find(|probe| probe.name() == name);
    let others: Vec<String> = names.iter().filter(|name| probe(name).is_none()).cloned().collect();
    match names {
        [] => Ok((workloads::choose(&[])?, Probe::ALL.into())),
        names if others.is_empty() => Ok((vec![], names.iter().filter_map(probe).collect())),
        names => Ok((workloads::choose(&others)?, names.iter().filter_map(probe).collect())),
    }
}

fn run_once(workload: &Workload, sets: &DataSets) -> Result<()> {
    let mut river = River::new(Format::Memory);
    river.load(workload, &sets.of(workload.collection, EVENTS_COUNTED))?;
    river.run().map(drop)
}

fn tell_memory(arguments: &BenchArguments, runner: &str, sets: &DataSets, events: usize) -> Result<()> {
    let (workloads, _) = chosen(&arguments.names)?;
    let mut runner: Box<dyn Runner> = match runner {
        targets::BARE => Box::<Bare>::default(),
        _ => Box::new(River::new(arguments.from)),
    };
    for workload in &workloads {
        let data = sets.of(workload.collection, events);
        writeln!(io::stdout(), "{}", memory::tell(workload, &data, runner.as_mut())?)?;
    }
    Ok(())
}

fn write_json(report: &Report, path: &Path) -> Result<()> {
    write(path, &format!("{:#}\n", report.json()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    Ok(fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn show(report: &Report, arguments: &BenchArguments) -> Result<()> {
    let mut out = io::stdout().lock();
    if cfg!(debug_assertions) {
        writeln!(out, "This is a debug build: its figures mean nothing. Run it with --release.\n")?;
    }
    if !report.workloads.is_empty() {
        writeln!(out, "{}\n", table::of_workloads(&report.workloads, report.events))?;
    }
    if !report.findings.is_empty() {
        writeln!(out, "{}\n", table::of_findings(&report.findings))?;
    }
    writeln!(out, "{}, {}", arguments.json.display(), arguments.chart.display())?;
    let failures: Vec<String> = report.workloads.iter().flat_map(Comparison::failures).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}
