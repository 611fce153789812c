//! What is measured: query files, the hand-written loop for each, and what riverrun is to reach.

use std::path::{Path, PathBuf};

use riverrun::sql::{self, Body, Limits};

use super::Result;
use super::bare::{self, Loop};
use super::dataset::Collection;
use super::files::{self, Format};
use super::nexmark;

/// A query over data, and what it is compared with.
#[derive(Debug, Clone)]
pub struct Workload {
    /// How it is called.
    pub name: String,
    /// What it was asked for by: its name, or the path of its file.
    pub asked: String,
    /// The comment it begins with.
    pub title: String,
    /// Which tables feed its streams.
    pub collection: Collection,
    /// What is run before its streams are there.
    pub setup: Vec<String>,
    /// The streams it reads, in the order in which it names them.
    pub streams: Vec<StreamText>,
    /// Its query.
    pub query: String,
    /// Where its files are, if it reads files.
    pub directory: Option<PathBuf>,
    /// The same written by hand.
    pub bare: Option<Loop>,
    /// What is to be reached.
    pub targets: &'static [Target],
}

/// A `CREATE STREAM` as it is written. The stream's name is that of the table that feeds it.
#[derive(Debug, Clone)]
pub struct StreamText {
    /// The name.
    pub name: String,
    /// The statement.
    pub text: String,
}

/// riverrun's rows a second, as a share of something measured in the same run.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Of what.
    pub of: Yardstick,
    /// At least how much.
    pub ratio_min: f64,
}

/// What riverrun is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Yardstick {
    /// The hand-written loop.
    Bare,
    /// Another engine, by its name.
    Peer(&'static str),
    /// riverrun itself on another workload.
    Own(&'static str),
}

/// A workload that comes with riverrun.
struct Known {
    name: &'static str,
    text: &'static str,
    bare: Loop,
    targets: &'static [Target],
}

macro_rules! known {
    ($name:literal, $bare:expr, $targets:expr) => {
        Known {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/workloads/", $name, ".sql")),
            bare: $bare,
            targets: $targets,
        }
    };
}

const fn target(of: Yardstick, ratio_min: f64) -> Target {
    Target { of, ratio_min }
}

const BARE: Yardstick = Yardstick::Bare;
const DUCKDB: Yardstick = Yardstick::Peer("duckdb");
const DATAFUSION: Yardstick = Yardstick::Peer("datafusion");
const BYTEWAX: Yardstick = Yardstick::Peer("bytewax");
const FLINK: Yardstick = Yardstick::Peer("flink");

const A1: &[Target] = &[target(BARE, 0.65), target(DUCKDB, 1.0)];
const A2: &[Target] = &[target(BARE, 0.5), target(DUCKDB, 1.0)];
const A3: &[Target] = &[target(BARE, 0.6), target(DUCKDB, 1.3)];
const B: &[Target] = &[target(BARE, 0.6), target(DUCKDB, 10.0), target(BYTEWAX, 70.0)];
const C: &[Target] = &[target(Yardstick::Own("a1_auction"), 0.45), target(FLINK, 6.0)];
const C_UNIFORM: &[Target] = &[target(Yardstick::Own("a1_auction_uniform"), 0.45), target(FLINK, 6.0)];
const D: &[Target] = &[target(BYTEWAX, 40.0)];
const E: &[Target] = &[target(DATAFUSION, 0.5)];
const F: &[Target] = &[target(BARE, 0.5), target(DUCKDB, 3.0)];
const G: &[Target] = &[target(DUCKDB, 1.0)];
const H: &[Target] = &[target(BARE, 0.5), target(FLINK, 10.0)];
const I: &[Target] = &[target(BARE, 0.5)];
const TUMBLE: &[Target] = &[target(BARE, 0.4), target(DUCKDB, 1.0)];
const HOP: &[Target] = &[target(BARE, 0.35), target(DUCKDB, 3.0)];
const SESSION: &[Target] = &[target(DUCKDB, 8.0), target(FLINK, 20.0)];
const FROM_TEXT: &[Target] = &[target(DUCKDB, 1.0)];
const FROM_PARQUET: &[Target] = &[target(DUCKDB, 0.7)];

/// Every workload that comes with riverrun, in the order of the table.
const KNOWN: &[Known] = &[
    known!("a1_auction", bare::totals_by_auction, A1),
    known!("a1_auction_uniform", bare::totals_by_auction, A1),
    known!("a2_bidder", bare::totals_by_bidder, A2),
    known!("a2_bidder_uniform", bare::totals_by_bidder, A2),
    known!("a3_channel", bare::totals_by_channel, A3),
    known!("a3_channel_uniform", bare::totals_by_channel, A3),
    known!("b_running", bare::running_totals, B),
    known!("b_running_uniform", bare::running_totals, B),
    known!("c_changes", bare::changing_totals, C),
    known!("c_changes_uniform", bare::changing_totals, C_UNIFORM),
    known!("d_join_running", bare::join_running, D),
    known!("d_join_complete", bare::join_complete, D),
    known!("d_join_final", bare::join_final, D),
    known!("e_q1", bare::converted_prices, E),
    known!("e_q2", bare::some_auctions, E),
    known!("f_collect", bare::collected_prices, F),
    known!("g_flights", bare::delays, G),
    known!("h_q3", bare::sellers, H),
    known!("h_q20", bare::bids_of_category, H),
    known!("i_best_total", bare::best_totals, I),
    known!("j_tumble", bare::tumbling_counts, TUMBLE),
    known!("j_hop", bare::hopping_counts, HOP),
    known!("j_session", bare::sessions, SESSION),
];

/// The workloads whose names begin with one of `names`, and those of query files; all but Nexmark's for no names.
///
/// # Errors
/// If a name fits no workload and is no file, or if a file cannot be read or is no workload.
pub fn choose(names: &[String]) -> Result<Vec<Workload>> {
    if names.is_empty() {
        return KNOWN.iter().map(Known::workload).collect();
    }
    let (known, mut chosen) = (known()?, vec![]);
    for name in names {
        if name.ends_with(".sql") {
            chosen.push(of_file(Path::new(name))?);
            continue;
        }
        let exact = known.iter().any(|workload| workload.name == *name);
        let fits = |of: &str| of == name || !exact && of.starts_with(name.as_str());
        let before = chosen.len();
        chosen.extend(known.iter().filter(|workload| fits(&workload.name)).cloned());
        if chosen.len() == before {
            let names: Vec<&str> = known.iter().map(|workload| workload.name.as_str()).collect();
            return Err(format!("there is no workload \"{name}\": there are {}", names.join(", ")).into());
        }
    }
    Ok(chosen)
}

/// The workload of that name that comes with riverrun.
pub fn named(name: &str) -> Result<Workload> {
    let known = known()?.into_iter().find(|workload| workload.name == name);
    Ok(known.ok_or_else(|| format!("there is no workload \"{name}\""))?)
}

/// Every workload that comes with riverrun, and then Nexmark's queries.
fn known() -> Result<Vec<Workload>> {
    KNOWN.iter().map(Known::workload).chain(nexmark::workloads()?.into_iter().map(Ok)).collect()
}

fn of_file(path: &Path) -> Result<Workload> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let workload = parse(name, &text, None, &[]).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Workload { asked: path.display().to_string(), ..workload })
}

impl Workload {
    /// Whether its answer depends on how the rows of its streams follow one another.
    ///
    /// What speaks once all have ended does not: the last row of each side is the last whoever came between.
    pub fn depends_on_interleaving(&self) -> bool {
        self.streams.len() > 1 && !self.query.to_uppercase().contains("EMIT FINAL")
    }

    /// The same over the files in `directory`.
    #[must_use]
    pub fn over_files(mut self, directory: &Path, format: Format) -> Workload {
        for stream in &mut self.streams {
            let path = files::path(directory, &stream.name, format).display().to_string().replace('\'', "''");
            stream.text.push_str(&format!(" WITH (path = '{path}', format = '{}')", format.name()));
        }
        self.directory = Some(directory.to_owned());
        self
    }

    /// What is to be reached when the measured time begins with reading `format`; from memory it is each workload's own.
    #[must_use]
    pub fn with_targets_of(mut self, format: Format) -> Workload {
        self.targets = match format {
            Format::Memory => self.targets,
            Format::Csv | Format::Jsonl => FROM_TEXT,
            Format::Parquet => FROM_PARQUET,
            Format::Arrow => &[],
        };
        self
    }
}

impl Known {
    fn workload(&self) -> Result<Workload> {
        parse(self.name.to_owned(), self.text, Some(self.bare), self.targets)
    }
}

fn parse(name: String, text: &str, bare: Option<Loop>, targets: &'static [Target]) -> Result<Workload> {
    let mut streams = vec![];
    let mut queries = vec![];
    for statement in sql::parse(text, &Limits::default())? {
        let written = text.get(statement.bytes.clone()).unwrap_or_default().to_owned();
        match &statement.body {
            Body::CreateStream(stream) if stream.options.is_empty() && stream.query.is_none() => {
                streams.push(StreamText { name: stream.name.value.clone(), text: written });
            }
            Body::Query(_) => queries.push(written),
            _ => return Err("a workload is CREATE STREAM statements without WITH, and one query".into()),
        }
    }
    let [query] = <[String; 1]>::try_from(queries).map_err(|_| "a workload has one query")?;
    Ok(Workload {
        asked: name.clone(),
        name,
        title: title(text),
        collection: Collection::Workloads,
        setup: vec![],
        streams,
        query,
        directory: None,
        bare,
        targets,
    })
}

/// The comment that a file begins with.
pub fn title(text: &str) -> String {
    text.lines().map_while(|line| line.strip_prefix("--")).map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Vec<String> {
        let asked: Vec<String> = asked.iter().map(|&name| name.into()).collect();
        choose(&asked).unwrap().into_iter().map(|workload| workload.name).collect()
    }

    #[test]
    fn workloads_are_chosen_by_the_beginning_of_their_names() {
        assert_eq!(names(&[]).len(), KNOWN.len());
        assert_eq!(names(&["a2"]), ["a2_bidder", "a2_bidder_uniform"]);
        assert_eq!(names(&["e", "f"]), ["e_q1", "e_q2", "f_collect"]);
        assert_eq!(names(&["a2_bidder"]), ["a2_bidder"]);
        assert_eq!(names(&["nexmark_q1"]), ["nexmark_q1"]);
        assert!(names(&["nexmark"]).len() > 20);
        assert!(choose(&["z9".into()]).is_err());
    }

    #[test]
    fn every_workload_says_what_it_is() {
        for workload in choose(&[]).unwrap() {
            assert!(!workload.title.is_empty() && !workload.streams.is_empty(), "{}", workload.name);
        }
    }
}
