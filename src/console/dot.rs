//! The commands of the console itself: lines that begin with a dot.

use std::io;

use super::{Console, DEPTH_MAX, Format, OnError, Ran, Streams};
use crate::error::{Code, Error, Result, StatementError};

/// Every command, its arguments, and what it does.
pub const COMMANDS: [(&str, &str, &str); 13] = [
    (".help", "", "this list"),
    (".tables", "", "streams, tables, views and sinks"),
    (".schema", "NAME", "the columns of a stream, table or view"),
    (".format", "FORMAT", "how results are written: table, csv, json, jsonl, markdown or plain"),
    (".width", "N | auto", "how many characters a line of a table may have"),
    (".timer", "on | off", "how long each statement takes"),
    (".bail", "on | off", "whether an error stops a text (on) or only its statement (off)"),
    (".read", "FILE", "runs the statements of a file"),
    (".output", "FILE | stdout", "where results go"),
    (".live", "", "the queries that are still running"),
    (".stop", "N", "ends a running query"),
    (".print", "TEXT", "writes a line"),
    (".quit", "", "leaves"),
];

/// A part of a text: SQL, or a line that begins with a dot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Statements. The lines before them are empty, so that places in them count lines of the whole text.
    Sql(String),
    /// A command, without the blanks around it.
    Command(String),
}

/// Cuts a text at its commands.
///
/// A line is a command if it begins with a dot where a statement could begin: `SELECT\n.5` is SQL.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut sql = String::new();
    let mut scan = Scan::default();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if scan.between_statements() && line.trim_start().starts_with('.') {
            if !sql.trim().is_empty() {
                sections.push(Section::Sql(std::mem::take(&mut sql)));
            }
            sections.push(Section::Command(line.trim().trim_end_matches(';').to_owned()));
            sql = "\n".repeat(number + 1);
        } else {
            scan.line(line);
            sql.push_str(line);
        }
    }
    if !sql.trim().is_empty() {
        sections.push(Section::Sql(sql));
    }
    sections
}

/// What the text so far has left open.
#[derive(Default)]
struct Scan {
    open: Open,
    statement: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Quote(char),
    Comment(usize),
}

impl Scan {
    fn between_statements(&self) -> bool {
        self.open == Open::Nothing && !self.statement
    }

    fn line(&mut self, line: &str) {
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match (self.open, character, characters.peek()) {
                (Open::Quote(quote), character, _) if quote == character => self.open = Open::Nothing,
                (Open::Quote(_), _, _) => {}
                (Open::Comment(depth), '*', Some('/')) => {
                    characters.next();
                    self.open = if depth == 1 { Open::Nothing } else { Open::Comment(depth - 1) };
                }
                (Open::Comment(depth), '/', Some('*')) => {
                    characters.next();
                    self.open = Open::Comment(depth + 1);
                }
                (Open::Comment(_), _, _) => {}
                (Open::Nothing, '/', Some('*')) => {
                    characters.next();
                    self.open = Open::Comment(1);
                }
                (Open::Nothing, '-', Some('-')) => return,
                (Open::Nothing, ';', _) => self.statement = false,
                (Open::Nothing, '\'' | '"' | '`', _) => {
                    self.open = Open::Quote(character);
                    self.statement = true;
                }
                (Open::Nothing, blank, _) => self.statement |= !blank.is_whitespace(),
            }
        }
    }
}

impl Console {
    pub(super) fn run_command(&mut self, line: &str, streams: &mut Streams<'_>) -> io::Result<Ran> {
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim().trim_matches(['\'', '"']);
        let done = match command {
            ".help" => return help(streams),
            ".quit" | ".exit" => return Ok(Ran::Quit),
            ".print" => return writeln!(streams.out, "{argument}").map(|()| Ran::Completed),
            ".live" => return self.list_live_queries(streams),
            ".tables" => return self.run_sql("SHOW ALL", streams),
            ".schema" => return self.schema(argument, streams),
            ".read" => return self.read(argument, streams),
            ".format" | ".mode" => argument.parse().map(|format: Format| self.format = format).map_err(wrong),
            ".width" => self.parse_width(argument),
            ".timer" => switch(argument).map(|on| self.timed = on),
            ".bail" => switch(argument).map(|on| self.on_error = if on { OnError::Stop } else { OnError::Continue }),
            ".output" => self.redirect(argument),
            ".stop" => self.stop(argument),
            unknown => Err(unknown_command(unknown)),
        };
        match done {
            Ok(()) => Ok(Ran::Completed),
            Err(error) => self.fail(error, streams),
        }
    }

    fn list_live_queries(&mut self, streams: &mut Streams<'_>) -> io::Result<Ran> {
        for (number, text) in self.live.iter() {
            writeln!(streams.out, "{number}  {text}")?;
        }
        Ok(Ran::Completed)
    }

    fn schema(&mut self, name: &str, streams: &mut Streams<'_>) -> io::Result<Ran> {
        match name {
            "" => self.run_sql("SHOW ALL", streams),
            name => self.run_sql(&format!("DESCRIBE {name}"), streams),
        }
    }

    fn read(&mut self, path: &str, streams: &mut Streams<'_>) -> io::Result<Ran> {
        if self.depth == DEPTH_MAX {
            let error = wrong(format!("files read one another more than {DEPTH_MAX} deep"));
            return self.fail(error, streams);
        }
        match self.host.read(path) {
            Ok(text) => {
                self.depth += 1;
                let ran = self.run_text(&text, Some(path), streams.out, streams.err);
                self.depth -= 1;
                ran
            }
            Err(error) => self.fail(error, streams),
        }
    }

    fn parse_width(&mut self, width: &str) -> Result<()> {
        self.width = match width {
            "auto" | "" => None,
            width => Some(width.parse().map_err(|_| wrong(format!("\"{width}\" is not a width")))?),
        };
        Ok(())
    }

    fn redirect(&mut self, path: &str) -> Result<()> {
        self.output = match path {
            "stdout" | "" => None,
            path => Some(self.host.create(path)?),
        };
        Ok(())
    }

    fn stop(&mut self, number: &str) -> Result<()> {
        let stopped = number.parse().is_ok_and(|number| self.live.stop(number));
        if stopped {
            return Ok(());
        }
        let error = StatementError::new(Code::UnknownName, format!("no live query \"{number}\""));
        Err(error.hint("The command .live lists them.").into())
    }
}

fn help(streams: &mut Streams<'_>) -> io::Result<Ran> {
    for (command, arguments, meaning) in COMMANDS {
        writeln!(streams.out, "{:<24}{meaning}", format!("{command} {arguments}"))?;
    }
    Ok(Ran::Completed)
}

fn switch(argument: &str) -> Result<bool> {
    match argument {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(wrong(format!("\"{other}\" is neither on nor off"))),
    }
}

fn wrong(message: String) -> Error {
    StatementError::new(Code::InvalidArgument, message).into()
}

fn unknown_command(command: &str) -> Error {
    StatementError::new(Code::UnknownName, format!("no command \"{command}\""))
        .hint("The command .help lists them.")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> Section {
        Section::Sql(text.to_owned())
    }

    fn command(text: &str) -> Section {
        Section::Command(text.to_owned())
    }

    #[test]
    fn a_line_that_begins_with_a_dot_is_a_command() {
        assert_eq!(sections(".help\nSELECT 1;\n  .quit\n"), [command(".help"), sql("\nSELECT 1;\n"), command(".quit")]);
    }

    #[test]
    fn a_dot_within_a_statement_a_text_or_a_comment_is_not() {
        for text in ["SELECT\n.5;", "SELECT '\n.5';", "/*\n.help\n*/"] {
            assert_eq!(sections(text), [sql(text)]);
        }
    }

    #[test]
    fn a_command_may_follow_a_comment() {
        assert_eq!(sections("-- it's\n.live"), [sql("-- it's\n"), command(".live")]);
    }
}
