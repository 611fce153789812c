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

use crate::engine::{Engine, Outcome, Query};
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

    /// A statement begins: nothing is written until it ends or its rows come.
    fn statement_begins(&mut self) {}

    /// Rows of the statement are written from now on, while it goes on.
    fn rows_come(&mut self) {}

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
        let outcome = self.outcome(statement, streams)?;
        self.host.statement_ends();
        let ran = match outcome {
            Ok(Some(outcome)) => self.show(outcome, statement, streams)?,
            Ok(None) => Ran::Completed,
            Err(error) => self.fail(error, streams)?,
        };
        let polled = self.poll_live_queries(streams)?;
        self.show_time(before, streams)?;
        Ok(match ran {
            Ran::Completed => polled,
            Ran::Failed(_) | Ran::Quit => ran,
        })
    }

    /// Runs a statement and gives what it has brought; nothing if that is written, as far as the format allows it while
    /// the statement still reads.
    fn outcome(
        &mut self,
        statement: &sql::Statement,
        streams: &mut Streams<'_>,
    ) -> io::Result<Result<Option<Outcome>>> {
        if !self.format.is_row_by_row() {
            return Ok(self.engine.run_statement(statement).map(Some));
        }
        match self.engine.start_statement(statement) {
            Ok(Some(query)) if query.ends_by_itself() => Ok(self.write_as_read(query, streams)?.map(|()| None)),
            Ok(Some(query)) => Ok(Ok(Some(Outcome::Started(query)))),
            Ok(None) => Ok(self.engine.run_statement(statement).map(Some)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Writes the rows of a query that ends, batch by batch as they come.
    fn write_as_read(&mut self, mut query: Query, streams: &mut Streams<'_>) -> io::Result<Result<()>> {
        let (statement, schema) = (self.statements, query.schema());
        let mut part = Part::First;
        for batch in &mut query {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return Ok(Err(error)),
            };
            if part == Part::First {
                self.host.rows_come();
            }
            self.write(&ResultSet { statement, schema: &schema, batches: &[batch], part }, streams)?;
            streams.out.flush()?;
            part = Part::Continued;
        }
        if part == Part::First {
            self.write(&ResultSet { statement, schema: &schema, batches: &[], part }, streams)?;
        }
        Ok(Ok(()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of text between two flushes.
    #[derive(Default)]
    struct Pieces(Vec<String>, String);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.push(std::mem::take(&mut self.1));
            Ok(())
        }
    }

    #[test]
    fn rows_are_written_while_a_query_reads() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("rows.csv"), "n\n1\n2\n3\n4\nfive\n").unwrap();
        let engine = Engine::builder().allow_directory(directory.path()).build().unwrap();
        let mut console = Console::new(engine, Format::Csv);
        let (mut out, mut err) = (Pieces::default(), Vec::new());
        let text = format!(
            "SET batch_rows = 2; CREATE STREAM s (n BIGINT) WITH (path = '{}/rows.csv'); SELECT n FROM s",
            directory.path().display()
        );
        let ran = console.run_text(&text, None, &mut out, &mut err).unwrap();
        assert_eq!(out.0, ["n\n1\n2\n", "3\n4\n", ""]);
        assert!(matches!(ran, Ran::Failed(error) if error.code() == Code::BadRow), "{}", String::from_utf8_lossy(&err));
    }

    #[test]
    fn a_query_without_rows_has_its_header_once() {
        let mut console = Console::new(Engine::new(), Format::Csv);
        let (mut out, mut err) = (Pieces::default(), Vec::new());
        console.run_text("SELECT 1 AS one WHERE 1 = 2", None, &mut out, &mut err).unwrap();
        assert_eq!((out.1.as_str(), err.as_slice()), ("one\n", b"".as_slice()));
    }
}
