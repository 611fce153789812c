//! Text in, text out: the shell without a terminal.
//!
//! A [`Console`] holds an engine and runs text against it, statement by statement. It touches no file and reads no
//! clock by itself: what needs them goes through the [`Host`] it was given.

mod dot;
mod errors;
mod live;
mod render;
mod value;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::engine::{Engine, Outcome};
use crate::error::{Code, Error, OutsideError, Result};
use crate::sql;

use dot::Section;
use live::LiveQueries;
use render::{Part, ResultSet};

pub use dot::COMMANDS as DOT_COMMANDS;
pub use errors::{Colour, render as render_error};
pub use render::Format;

/// What the console cannot do by itself.
pub trait Host: Send {
    /// The text of a file, for `.read`.
    fn read(&mut self, path: &str) -> Result<String>;

    /// A new file to write results to, for `.output`.
    fn create(&mut self, path: &str) -> Result<Box<dyn Write + Send>>;

    /// The time since some fixed moment, for `.timer`; nothing if there is no clock.
    fn elapsed(&self) -> Option<Duration>;

    /// A statement begins: nothing is written until it ends.
    fn statement_begins(&mut self) {}

    /// The statement has ended.
    fn statement_ends(&mut self) {}
}

/// A host that grants nothing.
struct NoHost;

impl Host for NoHost {
    fn read(&mut self, path: &str) -> Result<String> {
        Err(no_access(path))
    }

    fn create(&mut self, path: &str) -> Result<Box<dyn Write + Send>> {
        Err(no_access(path))
    }

    fn elapsed(&self) -> Option<Duration> {
        None
    }
}

fn no_access(path: &str) -> Error {
    OutsideError::new(Code::AccessDenied, format!("this console has no access to \"{path}\"")).into()
}

/// What happens after a statement that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The statements after it are not run.
    #[default]
    Stop,
    /// They are.
    Continue,
}

/// Whether statements without a result say what they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Messages {
    /// They do: for people.
    Show,
    /// They are silent: for scripts.
    #[default]
    Hide,
}

/// How a text ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ran {
    /// Every statement was run.
    Completed,
    /// A statement failed; this is the first that did.
    Failed(Error),
    /// The text asked to leave the console.
    Quit,
}

/// An engine, and how to talk with it.
pub struct Console {
    engine: Engine,
    host: Box<dyn Host>,
    format: Format,
    colour: Colour,
    width: Option<u16>,
    on_error: OnError,
    messages: Messages,
    timed: bool,
    /// How many statements were run.
    statements: usize,
    live: LiveQueries,
    output: Option<Box<dyn Write + Send>>,
    /// How many `.read` are being run inside one another.
    depth: usize,
}

/// How deep files may `.read` one another.
const DEPTH_MAX: usize = 16;

/// Where the text of a run goes, and where it came from.
struct Streams<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    origin: Option<&'a str>,
}

impl Console {
    /// A console over `engine` that writes results as `format`.
    pub fn new(engine: Engine, format: Format) -> Console {
        Console {
            engine,
            host: Box::new(NoHost),
            format,
            colour: Colour::default(),
            width: None,
            on_error: OnError::default(),
            messages: Messages::default(),
            timed: false,
            statements: 0,
            live: LiveQueries::default(),
            output: None,
            depth: 0,
        }
    }

    /// Gives the console files and a clock.
    #[must_use]
    pub fn with_host(mut self, host: impl Host + 'static) -> Console {
        self.host = Box::new(host);
        self
    }

    /// Sets whether errors are coloured.
    #[must_use]
    pub fn with_colour(mut self, colour: Colour) -> Console {
        self.colour = colour;
        self
    }

    /// Sets what happens after a statement that fails.
    #[must_use]
    pub fn with_on_error(mut self, on_error: OnError) -> Console {
        self.on_error = on_error;
        self
    }

    /// Sets whether statements without a result say what they did.
    #[must_use]
    pub fn with_messages(mut self, messages: Messages) -> Console {
        self.messages = messages;
        self
    }

    /// Sets how many characters a line of a table may have; `None` for as many as it needs.
    pub fn set_width(&mut self, width: Option<u16>) {
        self.width = width;
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The names that a person may want to type: of relations, their columns, functions, cursors and settings.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.first_column("SHOW ALL");
        for relation in names.clone() {
            names.extend(self.first_column(&format!("DESCRIBE \"{}\"", relation.replace('"', "\"\""))));
        }
        names.extend(self.first_column("SHOW FUNCTIONS"));
        names.sort();
        names.dedup();
        names
    }

    /// The first column of what a statement answers; nothing if it fails.
    fn first_column(&self, sql: &str) -> Vec<String> {
        let outcomes = self.engine.run(sql).unwrap_or_default();
        let batches = outcomes.iter().flat_map(|outcome| match outcome {
            Outcome::Rows { batches, .. } => batches.as_slice(),
            Outcome::Done(_) | Outcome::Text(_) | Outcome::Started(_) => &[],
        });
        let columns = batches.filter_map(|batch| batch.columns().first());
        columns.flat_map(|column| (0..column.len()).map(|row| value::text(column, row))).collect()
    }

    /// Runs what has become due by the clock, and writes what the live queries have to say: for between the texts.
    pub fn tick(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        let mut streams = Streams { out, err, origin: None };
        if let Err(error) = self.engine.tick() {
            self.fail(error, &mut streams)?;
        }
        self.poll_live_queries(&mut streams).map(drop)
    }

    /// Runs the statements and dot commands of `text` in order, results to `out` and errors to `err`.
    ///
    /// `origin` names the file the text came from, if it came from one. Each statement is parsed when its turn comes:
    /// a mistake in the third does not keep the first two from running. The error is that of writing to `out` or `err`.
    pub fn run_text(
        &mut self,
        text: &str,
        origin: Option<&str>,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> io::Result<Ran> {
        let mut streams = Streams { out, err, origin };
        let mut first_error = None;
        for section in dot::sections(text) {
            let ran = match section {
                Section::Sql(text) => self.run_sql(&text, &mut streams)?,
                Section::Command(line) => self.run_command(&line, &mut streams)?,
            };
            if let Some(ran) = self.after(ran, &mut first_error) {
                return Ok(ran);
            }
        }
        Ok(first_error.map_or(Ran::Completed, Ran::Failed))
    }

    /// How the whole run ends, if it ends with what was just run.
    fn after(&self, ran: Ran, first_error: &mut Option<Error>) -> Option<Ran> {
        match (ran, self.on_error) {
            (Ran::Completed, _) => None,
            (Ran::Failed(error), OnError::Continue) => {
                first_error.get_or_insert(error);
                None
            }
            (Ran::Failed(error), OnError::Stop) => Some(Ran::Failed(error)),
            (Ran::Quit, _) => Some(Ran::Quit),
        }
    }

    fn run_sql(&mut self, text: &str, streams: &mut Streams<'_>) -> io::Result<Ran> {
        let mut first_error = None;
        let statements = sql::Statements::new(text, self.engine.sql_limits());
        for statement in statements {
            self.statements += 1;
            let ran = match statement {
                Ok(statement) => self.run_statement(&statement, streams)?,
                Err(error) => self.fail(error, streams)?,
            };
            if let Some(ran) = self.after(ran, &mut first_error) {
                return Ok(ran);
            }
        }
        Ok(first_error.map_or(Ran::Completed, Ran::Failed))
    }

    fn run_statement(&mut self, statement: &sql::Statement, streams: &mut Streams<'_>) -> io::Result<Ran> {
        let before = self.host.elapsed();
        self.host.statement_begins();
        let outcome = self.engine.run_statement(statement);
        self.host.statement_ends();
        let ran = match outcome {
            Ok(outcome) => self.show(outcome, statement, streams)?,
            Err(error) => self.fail(error, streams)?,
        };
        let polled = self.poll_live_queries(streams)?;
        self.show_time(before, streams)?;
        Ok(match ran {
            Ran::Completed => polled,
            Ran::Failed(_) | Ran::Quit => ran,
        })
    }

    fn show(&mut self, outcome: Outcome, statement: &sql::Statement, streams: &mut Streams<'_>) -> io::Result<Ran> {
        match outcome {
            Outcome::Done(message) => self.say(&message, streams)?,
            Outcome::Text(text) => self.write_text(&text, streams)?,
            Outcome::Rows { schema, batches, .. } => self.write_rows(self.statements, &schema, &batches, streams)?,
            Outcome::Started(query) => {
                let text = statement.text.get(statement.bytes.clone()).unwrap_or_default();
                let number = self.live.add(self.statements, text, query);
                self.say(
                    &format!("live query {number}: its rows appear as they come; .stop {number} ends it"),
                    streams,
                )?;
            }
        }
        Ok(Ran::Completed)
    }

    /// Writes a text as it is where people read it, and as rows of one column where programs do.
    fn write_text(&mut self, text: &str, streams: &mut Streams<'_>) -> io::Result<()> {
        match self.format {
            Format::Plain | Format::Table => match &mut self.output {
                Some(output) => writeln!(output, "{text}"),
                None => writeln!(streams.out, "{text}"),
            },
            Format::Csv | Format::Json | Format::JsonLines | Format::Markdown => {
                let schema = Arc::new(Schema::new(vec![Field::new("plan", DataType::Utf8, false)]));
                let lines: ArrayRef = Arc::new(StringArray::from_iter_values(text.lines()));
                let batches: Vec<RecordBatch> = RecordBatch::try_new(schema.clone(), vec![lines]).into_iter().collect();
                self.write_rows(self.statements, &schema, &batches, streams)
            }
        }
    }

    /// Writes what the live queries have said since they were last asked.
    fn poll_live_queries(&mut self, streams: &mut Streams<'_>) -> io::Result<Ran> {
        let mut ran = Ran::Completed;
        for number in self.live.numbers() {
            match self.live.poll(number) {
                Ok(Some(news)) => {
                    let set = ResultSet {
                        statement: news.statement,
                        schema: &news.schema,
                        batches: &news.batches,
                        part: news.part,
                    };
                    self.write(&set, streams)?;
                }
                Ok(None) => {}
                Err(error) => ran = self.fail(error, streams)?,
            }
        }
        Ok(ran)
    }

    fn write_rows(
        &mut self,
        statement: usize,
        schema: &SchemaRef,
        batches: &[RecordBatch],
        streams: &mut Streams<'_>,
    ) -> io::Result<()> {
        self.write(&ResultSet { statement, schema, batches, part: Part::First }, streams)
    }

    fn write(&mut self, set: &ResultSet<'_>, streams: &mut Streams<'_>) -> io::Result<()> {
        match &mut self.output {
            Some(output) => {
                set.write(self.format, None, output)?;
                output.flush()
            }
            None => set.write(self.format, self.width, streams.out),
        }
    }

    fn say(&mut self, message: &str, streams: &mut Streams<'_>) -> io::Result<()> {
        match self.messages {
            Messages::Show => writeln!(streams.out, "{message}"),
            Messages::Hide => Ok(()),
        }
    }

    fn fail(&mut self, error: Error, streams: &mut Streams<'_>) -> io::Result<Ran> {
        // Both may be the same terminal: what came first is read first.
        streams.out.flush()?;
        writeln!(streams.err, "{}", render_error(&error, streams.origin, self.colour))?;
        Ok(Ran::Failed(error))
    }

    fn show_time(&self, before: Option<Duration>, streams: &mut Streams<'_>) -> io::Result<()> {
        match (self.timed, before, self.host.elapsed()) {
            (true, Some(before), Some(after)) => {
                streams.out.flush()?;
                writeln!(streams.err, "time: {:.3} s", after.saturating_sub(before).as_secs_f64())
            }
            (_, _, _) => Ok(()),
        }
    }
}
