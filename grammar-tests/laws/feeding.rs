//! Feeds an engine step by step and keeps what each step brought.

use arrow::array::RecordBatch;
use riverrun::Engine;

use crate::data::{self, After, Row};

/// Something that happens to an engine.
#[derive(Debug, Clone)]
pub enum Step {
    /// A batch for the stream of that name.
    Push(String, RecordBatch),
    /// A statement.
    Say(String),
    /// The end of the stream of that name.
    Close(String),
    /// Everything is dropped from memory and resumed.
    Restart,
}

/// What each step has brought.
pub type Brought = Vec<Vec<RecordBatch>>;

/// Runs `query` after the statements of `setup`, through the steps.
pub fn run(setup: &[String], query: &str, steps: &[Step]) -> Result<Brought, String> {
    attempt(setup, query, steps).map_err(|error| match error.hint() {
        Some(hint) => format!("{}: {error} ({hint})", error.code()),
        None => format!("{}: {error}", error.code()),
    })
}

fn attempt(setup: &[String], query: &str, steps: &[Step]) -> riverrun::Result<Brought> {
    let engine = Engine::new();
    for statement in setup {
        engine.execute(statement)?;
    }
    let mut query = engine.query(query)?;
    let mut brought = vec![];
    for (at, step) in steps.iter().enumerate() {
        take(&engine, step)?;
        // What nobody has asked for yet has to survive a restart as well.
        let waits = matches!(steps.get(at + 1), Some(Step::Restart));
        brought.push(if waits { vec![] } else { query.poll()? });
    }
    Ok(brought)
}

fn take(engine: &Engine, step: &Step) -> riverrun::Result<()> {
    match step {
        Step::Push(stream, batch) => engine.appender(stream)?.append(batch.clone())?,
        Step::Close(stream) => engine.appender(stream)?.close()?,
        Step::Say(statement) => drop(engine.execute(statement)?),
        Step::Restart => drop(engine.execute("CHECKPOINT; RESTART;")?),
    }
    Ok(())
}

/// The rows of `t` in the batches that they were cut into, and the end.
pub fn steps(rows: &[(Row, After)]) -> Vec<Step> {
    let columns = data::columns();
    let push = |rows: &[Row]| Step::Push("t".into(), data::batch(&columns, rows));
    let (mut steps, mut held) = (vec![], vec![]);
    for (row, after) in rows {
        held.push(row.clone());
        if *after == After::Nothing {
            continue;
        }
        steps.push(push(&held));
        held.clear();
        match after {
            After::EmptyBatch => steps.push(push(&[])),
            After::Restart => steps.push(Step::Restart),
            After::Nothing | After::Cut => {}
        }
    }
    if !held.is_empty() {
        steps.push(push(&held));
    }
    steps.push(Step::Close("t".into()));
    steps
}

/// The same rows, with `after` behind each.
pub fn cut_everywhere(rows: &[(Row, After)], after: After) -> Vec<(Row, After)> {
    rows.iter().map(|(row, _)| (row.clone(), after)).collect()
}

/// The same rows and cuts without the restarts.
pub fn without_restarts(rows: &[(Row, After)]) -> Vec<(Row, After)> {
    let calm = |after| if after == After::Restart { After::Cut } else { after };
    rows.iter().map(|(row, after)| (row.clone(), calm(*after))).collect()
}
