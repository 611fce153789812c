//! Running a workload through riverrun, by what any program can call.

use riverrun::arrow::array::RecordBatch;
use riverrun::arrow::datatypes::SchemaRef;
use riverrun::{Appender, Engine, Query, StateSize};

use super::Result;
use super::input::Input;
use super::measure::{Sample, Stopwatch};
use super::runner::Taker;
use super::workloads::Workload;

/// A started query with what feeds it.
pub struct Session {
    appenders: Vec<Appender>,
    query: Query,
}

impl Session {
    /// Starts a workload's query, over streams that are fed from here or over files.
    pub fn open(workload: &Workload) -> Result<Session> {
        let engine = engine(workload)?;
        let query = engine.query(&workload.query)?;
        let fed = workload.streams.iter().filter(|_| workload.directory.is_none());
        let appenders = fed.map(|stream| engine.appender(&stream.name)).collect::<riverrun::Result<_>>()?;
        Ok(Session { appenders, query })
    }

    /// The columns of the answer; the first is `op` if it is a changelog.
    pub fn schema(&self) -> SchemaRef {
        self.query.schema()
    }

    /// Pushes everything and gives `taker` what comes out. Answers are taken after each batch, as a program would that
    /// acts on them.
    pub fn push(&mut self, input: &Input, taker: &mut Taker<'_>) -> Result<()> {
        for push in &input.pushes {
            if let Some(appender) = self.appenders.get_mut(push.stream) {
                appender.append(push.rows.clone())?;
            }
            self.query.poll()?.into_iter().try_for_each(&mut *taker)?;
        }
        Ok(())
    }

    /// How much is kept.
    pub fn state(&self) -> StateSize {
        self.query.state_size()
    }

    /// Ends every stream, reads every file, and gives `taker` what is left to come out.
    pub fn close(&mut self, taker: &mut Taker<'_>) -> Result<()> {
        for appender in &mut self.appenders {
            appender.close()?;
        }
        self.query.by_ref().try_for_each(|batch| taker(batch?))
    }
}

/// Runs a workload once, from its first row to the last of its answer.
pub fn run(workload: &Workload, input: &Input) -> Result<Sample> {
    let mut session = Session::open(workload)?;
    let mut rows = 0;
    let watch = Stopwatch::start();
    feed(&mut session, input, &mut rows)?;
    Ok(watch.read(input.rows, rows))
}

/// What is measured. It is a function of its own so that its instructions can be counted without what goes before.
#[inline(never)]
fn feed(session: &mut Session, input: &Input, rows: &mut u64) -> Result<()> {
    let mut count = |batch: RecordBatch| {
        *rows += batch.num_rows() as u64;
        Ok(())
    };
    session.push(input, &mut count)?;
    session.close(&mut count)
}

/// An engine that has the streams of a workload and what these need, and nothing else.
pub fn engine(workload: &Workload) -> Result<Engine> {
    let builder = Engine::builder();
    let engine = match &workload.directory {
        Some(directory) => builder.allow_directory(directory).build()?,
        None => builder.build()?,
    };
    for statement in &workload.setup {
        engine.execute(statement)?;
    }
    for stream in &workload.streams {
        engine.execute(&stream.text)?;
    }
    Ok(engine)
}
