//! Runs the scripts: console sessions that read as a manual.
//!
//! A script is a file `*.test` of blocks. A block is comments that state a behaviour, SQL, a line `----`,
//! and the answer, which ends at a blank line:
//!
//! ```text
//! -- NULL is a key like any other.
//! FETCH ALL FROM totals;
//! ----
//! op  customer  total
//! +I  NULL      3
//! ```
//!
//! `ok` is the answer of statements without a result; an error is written as the console shows it.
//! `@TMP@` stands for a directory that is new for each run.
//!
//! Every script runs in four ways: whole batches and one row an `INSERT`, straight through and with
//! `CHECKPOINT; RESTART` after every statement. All four must answer the same; a changelog is compared exactly when the
//! script is run as it is written, and by what it folds to in the other ways, where changes may fold differently.
//!
//! The sessions in `docs` are scripts too.
//!
//! `SCRIPT=text` runs only the scripts whose path holds the text.
//! `UPDATE_SCRIPTS=1` writes what the run as written answers into the scripts: read the difference before you keep it.

mod script;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use riverrun::Engine;
use riverrun::console::{Console, Format};
use script::{Block, Script, rows_as_inserts, statements};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rows {
    AsWritten,
    OneAnInsert,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Restart {
    Never,
    AfterEachStatement,
}

const WAYS: [(Rows, Restart); 4] = [
    (Rows::AsWritten, Restart::Never),
    (Rows::OneAnInsert, Restart::Never),
    (Rows::AsWritten, Restart::AfterEachStatement),
    (Rows::OneAnInsert, Restart::AfterEachStatement),
];

/// Runs a script in one way; gives what each block answered.
fn run(script: &Script, rows: Rows, restart: Restart) -> Vec<String> {
    let temporary = tempfile::tempdir().expect("a temporary directory can be made");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let engine = Engine::builder()
        .allow_directory(root)
        .allow_directory(temporary.path())
        .build()
        .expect("an engine without settings can be built");
    let mut console = Console::new(engine, Format::Plain);
    let directory = temporary.path().display().to_string();
    script.blocks.iter().map(|block| answer(&mut console, block, rows, restart, &directory)).collect()
}

fn answer(console: &mut Console, block: &Block, rows: Rows, restart: Restart, directory: &str) -> String {
    let mut answer = Vec::new();
    let mut say = |sql: &str| {
        let mut errors = Vec::new();
        let ran = console.run_text(&sql.replace("@TMP@", directory), None, &mut answer, &mut errors);
        ran.expect("writing to memory cannot fail");
        answer.append(&mut errors);
    };
    let steps = match (rows, restart, block.expects_error()) {
        // An error names a place in the text, so a block with one is always run as it is written.
        (_, _, true) | (Rows::AsWritten, Restart::Never, _) => vec![block.sql.clone()],
        (Rows::AsWritten, Restart::AfterEachStatement, _) => statements(&block.sql),
        (Rows::OneAnInsert, _, _) => statements(&block.sql).iter().flat_map(|sql| rows_as_inserts(sql)).collect(),
    };
    for step in steps {
        say(&step);
        if restart == Restart::AfterEachStatement {
            say("CHECKPOINT; RESTART;");
        }
    }
    let text = String::from_utf8_lossy(&answer).replace(directory, "@TMP@");
    match text.trim_end() {
        "" => "ok".to_owned(),
        text => text.to_owned(),
    }
}

/// Whether two answers are the same: errors to the letter, rows up to the width of their columns.
fn same(expected: &str, actual: &str, exact: bool) -> bool {
    if expected.starts_with("error") || actual.starts_with("error") {
        return expected == actual;
    }
    let (expected, actual) = (rows_of(expected), rows_of(actual));
    expected == actual || (!exact && is_changelog(&expected) && fold(&expected) == fold(&actual))
}

fn rows_of(answer: &str) -> Vec<String> {
    answer.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn is_changelog(lines: &[String]) -> bool {
    lines.first().is_some_and(|header| header.split(' ').next() == Some("op"))
}

/// What the rows of a changelog add up to, sorted.
fn fold(lines: &[String]) -> Vec<(String, i64)> {
    let mut weights = std::collections::BTreeMap::new();
    for line in lines {
        let (weight, row) = match line.split_once(' ') {
            Some(("+I" | "+U", row)) => (1, row),
            Some(("-U" | "-D", row)) => (-1, row),
            Some(_) | None => continue,
        };
        *weights.entry(row.to_owned()).or_insert(0) += weight;
    }
    weights.into_iter().filter(|(_, weight)| *weight != 0).collect()
}

/// What differs in a script, for people; empty if nothing does.
fn check(script: &Script) -> String {
    let mut failures = String::new();
    for (rows, restart) in WAYS {
        let exact = (rows, restart) == WAYS[0];
        for (block, actual) in script.blocks.iter().zip(run(script, rows, restart)) {
            if !same(&block.answer, &actual, exact) {
                let place = format!("{}:{}", script.path.display(), block.line);
                let _ = writeln!(failures, "{place} ({rows:?}, {restart:?})\n{}", difference(&block.answer, &actual));
            }
        }
    }
    failures
}

fn difference(expected: &str, actual: &str) -> String {
    let marked = |sign: char, text: &str, other: &str| {
        let other = rows_of(other);
        let lines = text.lines().map(|line| {
            let known = rows_of(line).first().is_some_and(|line| other.contains(line));
            format!("  {} {line}\n", if known { ' ' } else { sign })
        });
        lines.collect::<String>()
    };
    format!("  expected:\n{}  answered:\n{}", marked('-', expected, actual), marked('+', actual, expected))
}

fn scripts() -> Vec<PathBuf> {
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let matching = |pattern: &str| {
        let pattern = format!("{}/{pattern}", env!("CARGO_MANIFEST_DIR"));
        glob::glob(&pattern).expect("the pattern is a glob").filter_map(Result::ok)
    };
    let mut found: Vec<PathBuf> = matching("grammar-tests/**/*.test")
        .chain(matching("docs/*.md"))
        .filter(|path| path.to_string_lossy().contains(&only))
        .collect();
    found.sort();
    found
}

#[test]
fn every_script_answers_what_it_says_in_every_way_of_running_it() {
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let mut failures = String::new();
    let mut failed = 0;
    let paths = scripts();
    assert!(!paths.is_empty(), "there are no scripts");
    for path in &paths {
        let script = Script::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if script.blocks.is_empty() {
            continue;
        }
        if update && path.extension().is_some_and(|extension| extension == "test") {
            let answers = run(&script, Rows::AsWritten, Restart::Never);
            std::fs::write(path, script.with_answers(&answers)).expect("the script can be written");
            continue;
        }
        let difference = check(&script);
        failed += usize::from(!difference.is_empty());
        failures.push_str(&difference);
    }
    println!("{failures}{} of {} scripts answer what they say", paths.len() - failed, paths.len());
    assert_eq!(failed, 0, "scripts differ");
}
