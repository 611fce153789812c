//! HOW DO I USE IT? An [`Engine`] runs statements, takes rows in through [`Appender`]s and gives answers as [`Query`]s.
//!
//! Everything happens on the caller's thread, and nothing between calls. An engine is a handle: clones are the same
//! engine, and a call on one waits for a call on another to return.

mod appender;
mod core;
mod graph;
mod limits;
mod names;
mod options;
mod parameters;
mod pipeline;
mod progress;
mod query;
mod settings;
mod sinks;
mod statements;
#[cfg(test)]
mod tests;
mod view;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion_expr::{AggregateUDF, ScalarUDF};

use crate::error::{Code, Error, InternalError, Result, StatementError};
use crate::io::Access;
use crate::operators::logic::LogicRef;
use crate::plan::depth::with_stack;
use crate::plan::{ChangelogMode, Parameters};
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::panic_message;
use crate::sql;
use crate::types::Timestamp;

pub use appender::Appender;
pub use options::QueryOptions;
pub use progress::{Progress, ProgressHandle};
pub use query::{CancelQuery, Query, QueryStream, Rows};
pub use settings::{LimitsChange, Settings};
pub use view::View;

use self::core::{Core, Done};

/// An embedded streaming SQL engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    cancel: Arc<AtomicBool>,
    progress: ProgressHandle,
}

/// What a statement has brought.
#[derive(Debug)]
pub enum Outcome {
    /// It is done; what was done, for people.
    Done(String),
    /// The rows of a query that has ended, of a `FETCH`, or of a `SHOW`.
    Rows {
        /// The columns; the first is `op` if the result is a changelog.
        schema: SchemaRef,
        /// The rows.
        batches: Vec<RecordBatch>,
        /// Whether the result is a changelog.
        mode: ChangelogMode,
    },
    /// The text of an `EXPLAIN`.
    Text(String),
    /// A query that goes on: it reads a stream or table that is not closed.
    Started(Query),
}

/// Stops the statement that an engine is running, from another thread or a signal handler.
#[derive(Debug, Clone)]
pub struct CancelHandle(Arc<AtomicBool>);

impl CancelHandle {
    /// The running statement, or the next one that reads or advances, fails with [`Code::Cancelled`] at its next batch.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Takes a [`CancelHandle::cancel`] back that nothing has met.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Chooses what an engine may do and how it tells the time.
pub struct EngineBuilder {
    grants: Grants,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

enum Grants {
    Ready(Access),
    Directories(Vec<PathBuf>),
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new()
    }
}

impl Engine {
    /// An engine that can reach no file, with the machine's clock.
    pub fn new() -> Engine {
        Engine::with(Access::none(), Arc::new(SystemClock), Settings::default())
    }

    /// An engine to be set up.
    pub fn builder() -> EngineBuilder {
        EngineBuilder {
            grants: Grants::Ready(Access::none()),
            clock: Arc::new(SystemClock),
            settings: Settings::default(),
        }
    }

    fn with(access: Access, clock: Arc<dyn Clock>, settings: Settings) -> Engine {
        let cancel = Arc::new(AtomicBool::new(false));
        let core = Core::new(access, clock, settings, cancel.clone());
        let progress = core.graph.progress.clone();
        Engine { shared: Arc::new(Shared { core: Mutex::new(core), cancel, progress }) }
    }

    /// Runs the statements of a text. The answers of queries are thrown away, and queries that would go on are stopped.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.run(sql).map(drop)
    }

    /// As [`Engine::execute`], with values for `$1`, `$name`.
    pub fn execute_with(&self, sql: &str, parameters: impl Into<Parameters>) -> Result<()> {
        self.run_with(sql, &parameters.into()).map(drop)
    }

    /// Runs the statements of a text and gives what each has brought. The statements before a mistake are run.
    pub fn run(&self, sql: &str) -> Result<Vec<Outcome>> {
        self.run_with(sql, &Parameters::default())
    }

    fn run_with(&self, sql: &str, parameters: &Parameters) -> Result<Vec<Outcome>> {
        let statements = sql::Statements::new(sql, self.sql_limits());
        statements.map(|statement| self.run_parsed(&statement?, parameters)).collect()
    }

    /// Runs one statement.
    pub fn run_statement(&self, statement: &sql::Statement) -> Result<Outcome> {
        self.run_parsed(statement, &Parameters::default())
    }

    /// Starts the query that a statement is, so that its rows can be taken while it reads; `None` if it is none.
    pub fn start_statement(&self, statement: &sql::Statement) -> Result<Option<Query>> {
        let sql::Body::Query(query) = &statement.body else { return Ok(None) };
        self.start_query(query, &Parameters::default(), QueryOptions::default()).map(Some)
    }

    fn run_parsed(&self, statement: &sql::Statement, parameters: &Parameters) -> Result<Outcome> {
        let done = self.with_core(|core| core.run(statement, parameters))?;
        Ok(match done {
            Done::Message(message) => Outcome::Done(message),
            Done::Text(text) => Outcome::Text(text),
            Done::Rows { schema, batches, mode } => Outcome::Rows { schema, batches, mode },
            Done::Started(id) => Outcome::Started(Query::new(self.clone(), id)?),
        })
    }

    /// Starts a query. A query over open streams goes on until it is dropped; one over materialized views gives the rows
    /// that are there now, unless `EMIT CHANGES` asks for what follows.
    ///
    /// ```
    /// # use riverrun::Engine;
    /// let engine = Engine::new();
    /// let mut query = engine.query("SELECT 1 + 1 AS two")?;
    /// assert_eq!(query.poll()?[0].num_rows(), 1);
    /// # Ok::<(), riverrun::Error>(())
    /// ```
    pub fn query(&self, sql: &str) -> Result<Query> {
        self.query_with(sql, Parameters::default())
    }

    /// As [`Engine::query`], with values for `$1`, `$name`.
    pub fn query_with(&self, sql: &str, parameters: impl Into<Parameters>) -> Result<Query> {
        self.query_with_options(sql, parameters, QueryOptions::default())
    }

    /// As [`Engine::query_with`], with options that hold for this query alone.
    pub fn query_with_options(
        &self,
        sql: &str,
        parameters: impl Into<Parameters>,
        options: QueryOptions,
    ) -> Result<Query> {
        with_stack(|| {
            let statements = sql::parse(sql, &self.sql_limits())?;
            let [sql::Statement { body: sql::Body::Query(query), .. }] = statements.as_slice() else {
                return Err(StatementError::new(Code::Syntax, "expected one query")
                    .hint("Use execute for other statements, and for several.")
                    .into());
            };
            self.start_query(query, &parameters.into(), options)
        })
    }

    fn start_query(&self, query: &sql::Query, parameters: &Parameters, options: QueryOptions) -> Result<Query> {
        let id = self.with_core(|core| core.start_query(query, parameters, options))?;
        Query::new(self.clone(), id)
    }

    /// Feeds the stream or table `name`.
    pub fn appender(&self, name: &str) -> Result<Appender> {
        Appender::new(self.clone(), name)
    }

    /// Reads the materialized view `name`, whole or by key, without SQL.
    pub fn view(&self, name: &str) -> Result<View> {
        View::new(self.clone(), name)
    }

    /// Reads the clock, and runs every notification that has become due.
    pub fn tick(&self) -> Result<()> {
        self.with_core(Core::tick)
    }

    /// The engine's clock, as it was last read.
    pub fn now(&self) -> Timestamp {
        self.lock(|core| core.graph.now)
    }

    /// Finishes all sinks. Dropping the last handle does the same, but can report no error.
    pub fn finish(&self) -> Result<()> {
        self.with_core(|core| core.graph.sinks.finish())
    }

    /// Stops what the engine is doing, from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.shared.cancel.clone())
    }

    /// Tells how far the engine has read, from elsewhere.
    pub fn progress(&self) -> ProgressHandle {
        self.shared.progress.clone()
    }

    /// Registers a scalar function under its own name and aliases.
    pub fn register_scalar(&self, function: ScalarUDF) {
        let function = Arc::new(function);
        self.lock(|core| {
            for name in function.aliases().iter().cloned().chain([function.name().to_owned()]) {
                core.catalog.scalars.insert(name, function.clone());
            }
        });
    }

    /// Registers an aggregate function under its own name and aliases.
    pub fn register_aggregate(&self, function: AggregateUDF) {
        let function = Arc::new(function);
        self.lock(|core| {
            for name in function.aliases().iter().cloned().chain([function.name().to_owned()]) {
                core.catalog.aggregates.insert(name, function.clone());
            }
        });
    }

    /// Registers a state machine as the table function `name`.
    ///
    /// It runs while the engine is locked, so it must not call the engine.
    pub fn register_logic(&self, name: impl Into<String>, logic: LogicRef) {
        let name = name.into();
        self.lock(|core| core.catalog.logics.insert(name, logic));
    }

    /// The limits that texts of statements are held to.
    pub fn sql_limits(&self) -> sql::Limits {
        self.lock(|core| core.settings.sql.clone())
    }

    /// Works on what the engine holds, and wakes those who wait for rows once it is unlocked:
    /// what they do when woken may call the engine again.
    fn lock<T>(&self, work: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut core);
        let wakers = std::mem::take(&mut core.graph.wakers);
        drop(core);
        wakers.into_iter().for_each(std::task::Waker::wake);
        result
    }

    /// As [`Engine::lock`]; a panic becomes an error of this call alone.
    fn with_core<T>(&self, work: impl FnOnce(&mut Core) -> Result<T>) -> Result<T> {
        self.lock(|core| {
            catch_unwind(AssertUnwindSafe(|| work(core))).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
        })
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    InternalError::new(format!("the engine panicked: {}", panic_message(panic))).into()
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl EngineBuilder {
    /// Grants what `access` says, instead of what was granted before.
    #[must_use]
    pub fn access(mut self, access: Access) -> EngineBuilder {
        self.grants = Grants::Ready(access);
        self
    }

    /// Grants all files, standard input and standard output.
    #[must_use]
    pub fn allow_all_files(self) -> EngineBuilder {
        self.access(Access::all())
    }

    /// Grants the files in a directory and below it, besides the directories that were granted before.
    #[must_use]
    pub fn allow_directory(mut self, directory: impl AsRef<Path>) -> EngineBuilder {
        let directory = directory.as_ref().to_owned();
        match &mut self.grants {
            Grants::Directories(directories) => directories.push(directory),
            Grants::Ready(_) => self.grants = Grants::Directories(vec![directory]),
        }
        self
    }

    /// Tells the time by `clock`.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> EngineBuilder {
        self.clock = Arc::new(clock);
        self
    }

    /// Starts with those settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> EngineBuilder {
        self.settings = settings;
        self
    }

    /// The engine.
    ///
    /// # Errors
    /// If a directory that was granted is not there.
    pub fn build(self) -> Result<Engine> {
        let access = match self.grants {
            Grants::Ready(access) => access,
            Grants::Directories(directories) => Access::directories(directories)?.allow_stdio(true),
        };
        Ok(Engine::with(access, self.clock, self.settings))
    }
}
