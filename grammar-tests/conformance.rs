//! Cases from the tests of other streaming systems, each run in four ways that must answer the same:
//! as written, one row an `INSERT`, restarted after each operation, and both.
//!
//! The cases are not part of this repository: they are looked for in `$RIVERRUN_CONFORMANCE`,
//! then in `../shared/conformance`. Without them the test is skipped, and says so.
//! `CASES=text` runs only the cases whose name holds the text and shows what they answered.

mod compare;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use compare::{Change, changes, same_rows, same_sequence};
use riverrun::console::{Console, Format, Ran};
use riverrun::{Code, Engine};
use serde::Deserialize;
use serde_json::Value;

/// One case.
#[derive(Deserialize)]
struct Case {
    name: String,
    setup: Vec<String>,
    #[serde(default)]
    relations: BTreeMap<String, Relation>,
    query: Option<String>,
    view: Option<String>,
    read: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
    expect: Expect,
}

#[derive(Deserialize)]
struct Relation {
    columns: Vec<(String, String)>,
    #[serde(default)]
    key: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    One(Operation),
    Many(Vec<Operation>),
}

impl Step {
    fn operations(&self) -> &[Operation] {
        match self {
            Step::One(operation) => std::slice::from_ref(operation),
            Step::Many(operations) => operations,
        }
    }
}

type Rows = Vec<Vec<Value>>;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Insert(BTreeMap<String, Rows>),
    Delete(BTreeMap<String, Rows>),
    Close(Vec<String>),
    AdvanceWatermark(BTreeMap<String, String>),
    AdvanceClock(String),
    Restart(#[expect(dead_code, reason = "it is always true")] bool),
}

#[derive(Deserialize)]
struct Expect {
    changelog: Option<Vec<Rows>>,
    rows: Option<Rows>,
    states: Option<Vec<Option<Rows>>>,
    #[serde(default)]
    error: bool,
    #[serde(default)]
    ordered: bool,
    tolerance: Option<f64>,
}

/// A way to run a case.
#[derive(Debug, Clone, Copy)]
struct Way {
    rows: RowsAnInsert,
    restart: Restart,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum RowsAnInsert {
    AsWritten,
    One,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Restart {
    Never,
    AfterEachOperation,
}

/// How often a run is restarted within one operation, at most.
const RESTARTS_MAX: usize = 8;

const WAYS: [Way; 4] = [
    Way { rows: RowsAnInsert::AsWritten, restart: Restart::Never },
    Way { rows: RowsAnInsert::One, restart: Restart::Never },
    Way { rows: RowsAnInsert::AsWritten, restart: Restart::AfterEachOperation },
    Way { rows: RowsAnInsert::One, restart: Restart::AfterEachOperation },
];

/// What became of a case.
#[derive(Debug)]
enum Verdict {
    Passed,
    /// It was refused as something riverrun does not do.
    NotYet(String),
    Failed(String),
}

/// Why a case stopped before its end.
enum Stop {
    Refused(riverrun::Error, String),
    Broken(String),
}

/// What a case answered.
#[derive(Default)]
struct Answer {
    steps: Vec<Vec<Change>>,
    /// The answer of the read after each step.
    states: Vec<Vec<Change>>,
}

/// An engine with a case in it.
struct Session<'a> {
    console: Console,
    case: &'a Case,
    directory: &'a Path,
    way: Way,
}

impl Session<'_> {
    /// Runs `sql` and gives what its last statement with a result answered.
    fn run(&mut self, sql: &str) -> Result<Vec<Change>, Stop> {
        let sql = sql.replace("@DIR@", &self.directory.display().to_string());
        let mut out = Vec::new();
        let ran = self.console.run_text(&sql, None, &mut out, &mut std::io::sink());
        match ran.map_err(|error| Stop::Broken(error.to_string()))? {
            Ran::Failed(error) => return Err(Stop::Refused(error, sql)),
            Ran::Completed | Ran::Quit => {}
        }
        let out = String::from_utf8(out).map_err(|error| Stop::Broken(error.to_string()))?;
        out.lines().try_fold(vec![], |_, line| answered(line))
    }

    fn answer(&mut self) -> Result<Answer, Stop> {
        for statement in &self.case.setup {
            self.run(statement)?;
        }
        let mut answer = Answer::default();
        match (&self.case.query, self.case.steps.is_empty()) {
            (Some(query), true) => {
                answer.steps.push(self.run(query)?);
                return Ok(answer);
            }
            (Some(query), false) => drop(self.run(&format!("DECLARE c CURSOR FOR {query}"))?),
            (None, _) => {}
        }
        for step in &self.case.steps {
            for operation in step.operations() {
                self.operate(operation)?;
            }
            if self.case.query.is_some() {
                answer.steps.push(self.run("FETCH ALL FROM c")?);
            }
            if let Some(view) = &self.case.view {
                let read = self.case.read.clone().unwrap_or_else(|| format!("SELECT * FROM {view}"));
                answer.states.push(self.run(&read)?);
            }
        }
        Ok(answer)
    }

    fn operate(&mut self, operation: &Operation) -> Result<(), Stop> {
        let statements = self.statements(operation);
        // An operation of hundreds of rows, each an INSERT, is restarted here and there, and at its end.
        let stride = statements.len().div_ceil(RESTARTS_MAX).max(1);
        for (place, statement) in statements.iter().enumerate() {
            self.run(statement)?;
            if self.way.restart == Restart::AfterEachOperation && (statements.len() - place - 1).is_multiple_of(stride)
            {
                self.run("CHECKPOINT; RESTART")?;
            }
        }
        Ok(())
    }

    fn statements(&self, operation: &Operation) -> Vec<String> {
        match operation {
            Operation::Insert(rows) => rows.iter().flat_map(|(name, rows)| self.inserts(name, rows)).collect(),
            Operation::Delete(rows) => rows.iter().flat_map(|(name, rows)| self.deletes(name, rows)).collect(),
            Operation::Close(names) => names.iter().map(|name| format!("CLOSE STREAM {name}")).collect(),
            Operation::AdvanceWatermark(times) => {
                times.iter().map(|(name, time)| format!("ADVANCE WATERMARK OF {name} TO TIMESTAMP '{time}'")).collect()
            }
            Operation::AdvanceClock(by) => vec![format!("ADVANCE CLOCK BY INTERVAL '{by}'")],
            Operation::Restart(_) => vec!["CHECKPOINT; RESTART".to_owned()],
        }
    }

    fn inserts(&self, name: &str, rows: &Rows) -> Vec<String> {
        let literals: Vec<String> = rows
            .iter()
            .map(|row| {
                let types = self.case.relations[name].columns.iter().map(|(_, data_type)| data_type.as_str());
                let values: Vec<String> = row.iter().zip(types).map(|(value, ty)| literal(value, ty)).collect();
                format!("({})", values.join(", "))
            })
            .collect();
        let insert = |rows: &[String]| format!("INSERT INTO {name} VALUES {}", rows.join(", "));
        match self.way.rows {
            RowsAnInsert::AsWritten if literals.is_empty() => vec![],
            RowsAnInsert::AsWritten => vec![insert(&literals)],
            RowsAnInsert::One => literals.chunks(1).map(insert).collect(),
        }
    }

    fn deletes(&self, name: &str, rows: &Rows) -> Vec<String> {
        let relation = &self.case.relations[name];
        rows.iter()
            .map(|row| {
                let keys = relation.columns.iter().zip(row).filter(|((column, _), _)| relation.key.contains(column));
                let equal = keys.map(|((column, ty), value)| format!("\"{column}\" = {}", literal(value, ty)));
                format!("DELETE FROM {name} WHERE {}", equal.collect::<Vec<_>>().join(" AND "))
            })
            .collect()
    }
}

/// A value as SQL of its column's type.
fn literal(value: &Value, data_type: &str) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(values) => {
            let element = data_type.strip_suffix("[]").unwrap_or(data_type);
            let values: Vec<String> = values.iter().map(|value| literal(value, element)).collect();
            format!("ARRAY[{}]", values.join(", "))
        }
        Value::String(text) => {
            let quoted = format!("'{}'", text.replace('\'', "''"));
            match data_type.split(['(', ' ']).next() {
                Some(prefix @ ("TIMESTAMP" | "DATE" | "TIME")) => format!("{prefix} {quoted}"),
                Some(_) | None => quoted,
            }
        }
        Value::Object(_) => format!("'{}'", value.to_string().replace('\'', "''")),
    }
}

fn answered(line: &str) -> Result<Vec<Change>, Stop> {
    #[derive(Deserialize)]
    struct Line {
        columns: Vec<String>,
        rows: Rows,
    }
    let line: Line = serde_json::from_str(line).map_err(|error| Stop::Broken(format!("{error}: {line}")))?;
    Ok(changes(&line.columns, &line.rows))
}

fn weighed(rows: &Rows) -> Result<Vec<Change>, String> {
    rows.iter()
        .map(|row| match row.split_first().map(|(weight, rest)| (weight.as_i64(), rest)) {
            Some((Some(weight), rest)) => Ok((weight, rest.to_vec())),
            Some((None, _)) | None => Err("a row of a changelog without a weight".to_owned()),
        })
        .collect()
}

/// What is wrong with the answer, if anything.
fn wrong(case: &Case, answer: &Answer) -> Option<String> {
    let expect = &case.expect;
    let tolerance = expect.tolerance.unwrap_or(1e-6);
    let differ = |wanted: &[Change], got: &[Change], place: String| {
        let append_only = got.iter().chain(wanted).all(|(weight, _)| *weight == 1);
        let same = match expect.ordered && append_only {
            true => same_sequence(wanted, got, tolerance),
            false => same_rows(wanted, got, tolerance),
        };
        (!same).then(|| format!("{place}\n  expected {}\n  answered {}", shown(wanted), shown(got)))
    };
    let plain = |rows: &Rows| changes(&[], rows);
    if let Some(steps) = &expect.changelog {
        return steps.iter().zip(&answer.steps).enumerate().find_map(|(step, (wanted, got))| match weighed(wanted) {
            Ok(wanted) => differ(&wanted, got, format!("step {}", step + 1)),
            Err(error) => Some(error),
        });
    }
    if let Some(rows) = &expect.rows {
        let whole = match (&case.view, answer.states.last()) {
            (Some(_), Some(state)) => state.clone(),
            (_, _) => answer.steps.concat(),
        };
        let append_only = whole.iter().all(|(weight, _)| *weight == 1);
        let whole = if append_only { whole } else { compare::fold(&whole) };
        return differ(&plain(rows), &whole, "at the end".to_owned());
    }
    let states = expect.states.as_ref()?;
    states.iter().zip(&answer.states).enumerate().find_map(|(step, (wanted, got))| {
        let wanted = wanted.as_ref()?;
        differ(&plain(wanted), got, format!("after step {}", step + 1))
    })
}

fn shown(changes: &[Change]) -> String {
    let rows: Vec<String> = changes
        .iter()
        .map(|(weight, row)| format!("{weight:+} {}", serde_json::to_string(row).unwrap_or_default()))
        .collect();
    format!("[{}]", rows.join(", "))
}

fn judge(case: &Case, directory: &Path, way: Way) -> Verdict {
    let engine = match Engine::builder().allow_directory(directory).build() {
        Ok(engine) => engine,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let mut session = Session { console: Console::new(engine, Format::Json), case, directory, way };
    let answer = catch_unwind(AssertUnwindSafe(|| session.answer()));
    match answer {
        Err(_) => Verdict::Failed("it panicked".to_owned()),
        Ok(Ok(_)) if case.expect.error => Verdict::Failed("it was not refused".to_owned()),
        Ok(Ok(answer)) => match wrong(case, &answer) {
            Some(difference) => Verdict::Failed(difference),
            None => Verdict::Passed,
        },
        Ok(Err(Stop::Broken(reason))) => Verdict::Failed(reason),
        Ok(Err(Stop::Refused(error, _))) if case.expect.error && error.code() != Code::Internal => Verdict::Passed,
        Ok(Err(Stop::Refused(error, sql))) => refused(&error, &sql),
    }
}

fn refused(error: &riverrun::Error, sql: &str) -> Verdict {
    let reason = format!("{}: {error}\n  in {sql}", error.code());
    match error.code() {
        Code::Unsupported | Code::JoinShape | Code::EmitMode | Code::UnknownFunction => Verdict::NotYet(reason),
        _ => Verdict::Failed(reason),
    }
}

/// The first way in which the case does not pass, or that it passes.
fn judge_all_ways(case: &Case, directory: &Path) -> Verdict {
    for way in WAYS {
        match judge(case, directory, way) {
            Verdict::Passed => {}
            Verdict::NotYet(reason) => return Verdict::NotYet(reason),
            Verdict::Failed(reason) => return Verdict::Failed(format!("{:?}, {:?}: {reason}", way.rows, way.restart)),
        }
    }
    Verdict::Passed
}

fn directory() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance");
    let directory = std::env::var_os("RIVERRUN_CONFORMANCE").map_or_else(beside, PathBuf::from);
    directory.join("README.md").exists().then(|| directory.canonicalize().unwrap_or(directory))
}

/// Whether the cases of a file must all pass.
fn is_required(file: &str) -> bool {
    file != "feldera_agg"
}

/// The cases of a file with what became of each, in order. Cases share nothing, so they are run side by side.
fn judge_file(name: &str, file: &Path, directory: &Path, only: Option<&str>) -> Vec<(Case, Verdict)> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let cases: Vec<Case> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}")))
        .filter(|case: &Case| only.is_none_or(|only| case.name.contains(only)))
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let next = AtomicUsize::new(0);
    let judge_some = || {
        let claims = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let claimed = claims.map_while(|position| cases.get(position).map(|case| (position, case)));
        claimed.map(|(position, case)| (position, judge_all_ways(case, directory))).collect::<Vec<_>>()
    };
    let mut verdicts: Vec<(usize, Verdict)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(judge_some)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a panic of a case is caught")).collect()
    });
    verdicts.sort_by_key(|(position, _)| *position);
    cases.into_iter().zip(verdicts.into_iter().map(|(_, verdict)| verdict)).collect()
}

/// Runs a file's cases; gives its line of the table and the names of required cases that do not pass.
fn run_file(file: &Path, directory: &Path, only: Option<&str>) -> (String, Vec<String>) {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (mut passed, mut not_yet, mut failed, mut missing) = (0, 0, 0, Vec::new());
    for (case, verdict) in judge_file(&name, file, directory, only) {
        if only.is_some() || matches!(verdict, Verdict::Failed(_)) {
            println!("{}: {verdict}", case.name);
        }
        if is_required(&name) && !matches!(verdict, Verdict::Passed) {
            missing.push(format!("{}: {verdict}", case.name));
        }
        match verdict {
            Verdict::Passed => passed += 1,
            Verdict::NotYet(_) => not_yet += 1,
            Verdict::Failed(_) => failed += 1,
        }
    }
    (format!("{name:<16} {passed:>7} {not_yet:>8} {failed:>7}"), missing)
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Passed => f.write_str("passed"),
            Verdict::NotYet(reason) => write!(f, "not yet: {reason}"),
            Verdict::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

#[test]
fn other_systems_cases_answer_the_same_in_every_way_of_running_them() {
    let Some(directory) = directory() else {
        println!("skipped: no conformance cases here (set RIVERRUN_CONFORMANCE to their directory)");
        return;
    };
    let only = std::env::var("CASES").ok();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    let results: Vec<_> = files.iter().map(|file| run_file(file, &directory, only.as_deref())).collect();
    // Written past what the test harness keeps to itself of a test that passes.
    let mut out = std::io::stdout().lock();
    let counts = results.iter().map(|(line, _)| format!("{line}\n")).collect::<String>();
    write!(out, "\n{:<16} {:>7} {:>8} {:>7}\n{counts}", "file", "passed", "not yet", "failed")
        .expect("standard output");
    let missing: Vec<&String> = results.iter().flat_map(|(_, missing)| missing).collect();
    assert!(missing.is_empty(), "{} cases that must pass do not, first {}", missing.len(), missing[0]);
}
