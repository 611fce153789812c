//! Feeds an engine step by step and keeps what each step brought.

use std::fmt;

use arrow::array::RecordBatch;
use riverrun::{Engine, Query};

use crate::data::{self, After, Column, Row};

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
    run_on(&Engine::new(), setup, query, steps)
}

/// As [`run`], on an engine with functions of its own.
pub fn run_on(engine: &Engine, setup: &[String], query: &str, steps: &[Step]) -> Result<Brought, String> {
    attempt(engine, setup, query, steps).map_err(said)
}

/// As [`run`], and what the plan looks like in the end with what each node has done.
pub fn run_and_explain(setup: &[String], text: &str, steps: &[Step]) -> Result<(Brought, String), String> {
    let engine = Engine::new();
    let mut query = opened(&engine, setup, text).map_err(said)?;
    let brought = fed(&engine, &mut query, steps).map_err(said)?;
    Ok((brought, query.explain()))
}

fn said(error: riverrun::Error) -> String {
    match error.hint() {
        Some(hint) => format!("{}: {error} ({hint})", error.code()),
        None => format!("{}: {error}", error.code()),
    }
}

/// A query that is planned once and run again and again: a restart without a checkpoint begins anew.
pub struct Rerun {
    engine: Engine,
    query: Query,
}

impl Rerun {
    pub fn new(setup: &[String], query: &str) -> Result<Rerun, String> {
        let engine = Engine::new();
        let query = opened(&engine, setup, query).map_err(said)?;
        Ok(Rerun { engine, query })
    }

    /// Runs it through the steps, none of which is a restart.
    pub fn run(&mut self, steps: &[Step]) -> Result<Brought, String> {
        self.engine.execute("RESTART").map_err(said)?;
        fed(&self.engine, &mut self.query, steps).map_err(said)
    }
}

fn opened(engine: &Engine, setup: &[String], query: &str) -> riverrun::Result<Query> {
    for statement in setup {
        engine.execute(statement)?;
    }
    engine.query(query)
}

fn attempt(engine: &Engine, setup: &[String], query: &str, steps: &[Step]) -> riverrun::Result<Brought> {
    let mut query = opened(engine, setup, query)?;
    fed(engine, &mut query, steps)
}

fn fed(engine: &Engine, query: &mut Query, steps: &[Step]) -> riverrun::Result<Brought> {
    let mut brought = vec![];
    for (at, step) in steps.iter().enumerate() {
        take(engine, step)?;
        // What nobody has asked for yet has to survive a restart as well.
        let waits = matches!(steps.get(at + 1), Some(Step::Restart));
        brought.push(if waits { vec![] } else { all(query)? });
    }
    Ok(brought)
}

/// Polls until nothing is left: what a query reads by itself comes piece by piece.
pub fn all(query: &mut Query) -> riverrun::Result<Vec<RecordBatch>> {
    let mut said = vec![];
    loop {
        match query.poll()? {
            batches if batches.is_empty() => return Ok(said),
            batches => said.extend(batches),
        }
    }
}

/// Does what a step says.
pub fn take(engine: &Engine, step: &Step) -> riverrun::Result<()> {
    match step {
        Step::Push(stream, batch) => engine.appender(stream)?.append(batch.clone())?,
        Step::Close(stream) => engine.appender(stream)?.close()?,
        Step::Say(statement) => drop(engine.execute(statement)?),
        Step::Restart => drop(engine.execute("CHECKPOINT; RESTART;")?),
    }
    Ok(())
}

/// What happens to a stream while the clock is advanced by hand.
#[derive(Debug, Clone)]
pub enum Happening {
    Row(Row, After),
    /// The clock goes on by so many seconds.
    Seconds(i64),
}

impl Happening {
    /// The statement that does it, for a person who makes a script of a failure.
    pub fn statement(&self, columns: &[Column]) -> String {
        match self {
            Happening::Seconds(seconds) => format!("ADVANCE CLOCK BY INTERVAL '{seconds} seconds';"),
            Happening::Row(row, after) => {
                let statement = data::insert("t", columns, std::slice::from_ref(row));
                format!("{} -- then {after:?}", statement.replace("\n ", ""))
            }
        }
    }
}

/// The happenings of `t` as steps, with what `cut` says behind each row; then the end.
pub fn happening_steps(columns: &[Column], happenings: &[Happening], cut: impl Fn(After) -> After) -> Vec<Step> {
    let push = |rows: &[Row]| Step::Push("t".into(), data::batch(columns, rows));
    let (mut steps, mut held): (Vec<Step>, Vec<Row>) = (vec![], vec![]);
    for happening in happenings {
        let after = match happening {
            Happening::Seconds(_) => After::Cut,
            Happening::Row(row, after) => {
                held.push(row.clone());
                cut(*after)
            }
        };
        if after != After::Nothing && !held.is_empty() {
            steps.push(push(&held));
            held.clear();
        }
        match (happening, after) {
            (Happening::Seconds(_), _) => steps.push(Step::Say(happening.statement(columns))),
            (_, After::EmptyBatch) => steps.push(push(&[])),
            (_, After::Restart) => steps.push(Step::Restart),
            (_, After::Nothing | After::Cut) => {}
        }
    }
    if !held.is_empty() {
        steps.push(push(&held));
    }
    steps.push(Step::Close("t".into()));
    steps
}

/// The rows of the streams `s0`, `s1` and so on as steps, each with the number of its stream; then the ends of all.
/// Consecutive rows of one stream are one batch unless they are cut.
pub fn arrival_steps(
    columns: &[Column],
    arrivals: &[(usize, Row, After)],
    streams: usize,
    cut: impl Fn(After) -> After,
) -> Vec<Step> {
    let mut steps = vec![];
    let mut held: (usize, Vec<Row>) = (0, vec![]);
    let push = |(stream, rows): &mut (usize, Vec<Row>), steps: &mut Vec<Step>| {
        if !rows.is_empty() {
            steps.push(Step::Push(format!("s{stream}"), data::batch(columns, rows)));
            rows.clear();
        }
    };
    for (stream, row, after) in arrivals {
        if held.0 != *stream {
            push(&mut held, &mut steps);
            held.0 = *stream;
        }
        held.1.push(row.clone());
        let after = cut(*after);
        if after != After::Nothing {
            push(&mut held, &mut steps);
        }
        match after {
            After::EmptyBatch => steps.push(Step::Push(format!("s{stream}"), data::batch(columns, &[]))),
            After::Restart => steps.push(Step::Restart),
            After::Nothing | After::Cut => {}
        }
    }
    push(&mut held, &mut steps);
    steps.extend((0..streams).map(|stream| Step::Close(format!("s{stream}"))));
    steps
}

/// A query over arrivals as statements, for a person who makes a script of a failure.
pub fn write_case(
    f: &mut fmt::Formatter<'_>,
    setup: &[String],
    sql: &str,
    columns: &[Column],
    arrivals: &[(usize, Row, After)],
) -> fmt::Result {
    setup.iter().try_for_each(|statement| writeln!(f, "{statement};"))?;
    writeln!(f, "DECLARE c CURSOR FOR {sql};")?;
    arrivals.iter().try_for_each(|(stream, row, after)| {
        let statement = data::insert(&format!("s{stream}"), columns, std::slice::from_ref(row));
        writeln!(f, "{} -- then {after:?}", statement.replace("\n ", ""))
    })
}

/// The rows of `t` in the batches that they were cut into, and the end.
pub fn steps(rows: &[(Row, After)]) -> Vec<Step> {
    let happenings: Vec<Happening> = rows.iter().map(|(row, after)| Happening::Row(row.clone(), *after)).collect();
    happening_steps(&data::columns(), &happenings, |after| after)
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
