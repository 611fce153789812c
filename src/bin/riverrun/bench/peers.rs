//! Other engines, each a process that speaks lines of JSON. `benches/peers/README.md` has the conversation.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use riverrun::arrow::ipc::reader::FileReader;
use serde_json::{Value, json};

use super::Result;
use super::dataset::{Collection, DataSet};
use super::files::Format;
use super::measure::{Sample, status_bytes_of};
use super::runner::{Loaded, Notes, Runner, Taker};
use super::workloads::Workload;

/// Where peers are looked for.
const PLACES: [&str; 2] = ["benches/peers", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers")];
const DIRECTORY_VARIABLE: &str = "RIVERRUN_PEERS_DIR";
const DIRECTORY: &str = "target/peers";
/// Peers that would take minutes for one run, and on how many events they are measured instead.
const FEWER_EVENTS: [(&str, usize); 2] = [("bytewax", 1_000_000), ("laminardb", 1_000_000)];
/// The last lines of what a peer has said to standard error, when it fails.
const LOG_LINES_SHOWN: usize = 12;

/// Another engine.
pub struct Peer {
    name: String,
    from: Format,
    process: Child,
    /// `None` once it is told to stop.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
    version: Option<String>,
    /// Its memory once the data was loaded.
    resident: u64,
    /// Where it writes its answers.
    answer: PathBuf,
}

/// Installs a peer if that is needed and starts it.
///
/// # Errors
/// If there is no such peer, or if it cannot be installed or started.
pub fn start(name: &str, from: Format, directory: &Path) -> Result<Peer> {
    let script = script(name)?;
    let home = home()?;
    fs::create_dir_all(&home)?;
    let log = home.join(format!("{name}.log"));
    let install = command(&script, &home, &log)?.arg("--install").stdout(File::create(&log)?).status()?;
    if !install.success() {
        return Err(format!("{name} cannot be installed: {}", last_lines(&log)).into());
    }
    let mut process = command(&script, &home, &log)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let orders = process.stdin.take();
    let answers = BufReader::new(process.stdout.take().ok_or("a peer has no standard output")?);
    fs::create_dir_all(directory)?;
    let answer = fs::canonicalize(directory)?.join(format!("answer-{name}.arrow"));
    Ok(Peer { name: name.to_owned(), from, process, orders, answers, log, version: None, resident: 0, answer })
}

/// The names of the peers that there are.
pub fn names() -> Vec<String> {
    let entries = PLACES.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("run.sh").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn script(name: &str) -> Result<PathBuf> {
    let found = PLACES.iter().map(|place| Path::new(place).join(name).join("run.sh")).find(|script| script.is_file());
    let missing = || format!("there is no peer \"{name}\": there are {}", names().join(", "));
    Ok(fs::canonicalize(found.ok_or_else(missing)?)?)
}

fn home() -> Result<PathBuf> {
    let home = std::env::var_os(DIRECTORY_VARIABLE).map_or_else(|| PathBuf::from(DIRECTORY), PathBuf::from);
    Ok(std::path::absolute(home)?)
}

/// The script with the environment it is promised. What it says besides its answers goes to a log.
fn command(script: &Path, home: &Path, log: &Path) -> Result<Command> {
    let mut command = Command::new(script);
    let log = File::options().create(true).append(true).open(log)?;
    command.env(DIRECTORY_VARIABLE, home).stdin(Stdio::null()).stderr(log);
    Ok(command)
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
    format!("{} ends with\n{}", log.display(), lines.get(shown..).unwrap_or_default().join("\n"))
}

impl Peer {
    /// Says something and waits for the answer.
    fn ask(&mut self, order: &Value) -> Result<Value> {
        let orders = self.orders.as_mut().ok_or("the peer is told to stop")?;
        let sent = writeln!(orders, "{order}").and_then(|()| orders.flush());
        let mut line = String::new();
        // What is not an object is what some library prints to standard output.
        while sent.is_ok() && !line.starts_with('{') {
            line.clear();
            if self.answers.read_line(&mut line)? == 0 {
                break;
            }
        }
        if line.is_empty() {
            return Err(format!("it has stopped: {}", last_lines(&self.log)).into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// As [`Peer::ask`], for what only fails if something is wrong.
    fn tell(&mut self, order: &Value) -> Result<Value> {
        let answer = self.ask(order)?;
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer),
            Some(false) | None => Err(answer["error"].as_str().unwrap_or("it failed without a word").into()),
        }
    }
}

impl Runner for Peer {
    fn name(&self) -> &str {
        &self.name
    }

    fn events(&self, events: usize) -> usize {
        let fewer = FEWER_EVENTS.iter().find(|(name, _)| *name == self.name);
        fewer.map_or(events, |(_, most)| events.min(*most))
    }

    fn load(&mut self, workload: &Workload, data: &DataSet) -> Result<Loaded> {
        let formats: &[Format] = match (self.from, workload.collection) {
            (Format::Memory, Collection::Workloads) => &[Format::Arrow, Format::Parquet],
            (Format::Memory, Collection::Nexmark) => &[Format::Arrow],
            (Format::Arrow | Format::Parquet | Format::Csv | Format::Jsonl, _) => &[self.from],
        };
        data.write(workload, formats)?;
        let directory = fs::canonicalize(&data.directory)?;
        let answer = self.ask(&json!({
            "cmd": "load", "workload": workload.name, "data": directory, "source": self.from.name(),
            "tables": workload.streams.iter().map(|stream| &stream.name).collect::<Vec<_>>(),
        }))?;
        if answer["unsupported"].as_bool() == Some(true) {
            return Ok(Loaded::Unsupported(answer["why"].as_str().unwrap_or_default().into()));
        }
        if answer["ok"].as_bool() != Some(true) {
            return Err(answer["error"].as_str().unwrap_or("it failed without a word").into());
        }
        self.version = answer["version"].as_str().map(str::to_owned);
        self.resident = status_bytes_of(&self.process.id().to_string(), "VmRSS:");
        Ok(Loaded::Ready)
    }

    fn run(&mut self) -> Result<Sample> {
        let process = self.process.id().to_string();
        // Where the peak cannot be reset, it is that of the whole process so far.
        let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
        let answer = self.tell(&json!({"cmd": "run"}))?;
        let seconds = answer["seconds"].as_f64().ok_or("it does not say how long it has taken")?;
        let peak_bytes = answer["peak_bytes"].as_u64().unwrap_or_else(|| status_bytes_of(&process, "VmHWM:"));
        Ok(Sample {
            seconds,
            net_seconds: answer["net_seconds"].as_f64(),
            cpu_seconds: answer["cpu_seconds"].as_f64().unwrap_or(f64::NAN),
            rows_in: answer["rows_in"].as_u64().ok_or("it does not say how many rows it has read")?,
            rows_out: answer["rows_out"].as_u64().unwrap_or(0),
            peak_bytes,
            grown_bytes: peak_bytes.saturating_sub(self.resident),
        })
    }

    fn answer(&mut self, taker: &mut Taker<'_>) -> Result<Notes> {
        let path = self.answer.clone();
        self.tell(&json!({"cmd": "answer", "path": path}))?;
        for batch in FileReader::try_new(BufReader::new(File::open(&path)?), None)? {
            taker(batch?)?;
        }
        fs::remove_file(&path)?;
        Ok(Notes { state: None, version: self.version.clone() })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(orders) = self.orders.take() {
            let mut orders = BufWriter::new(orders);
            // A peer that has gone already needs no farewell.
            let _ = writeln!(orders, "{}", json!({"cmd": "quit"})).and_then(|()| orders.flush());
        }
        let _ = self.process.wait();
    }
}
