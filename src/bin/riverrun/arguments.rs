//! What the command line says.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use riverrun::console::Format;

use crate::bench::BenchArguments;

/// An embedded streaming SQL engine: a prompt, a script, or a single statement.
///
/// Without statements it opens a prompt, or runs what is piped into it.
#[derive(Debug, Parser)]
#[command(name = "riverrun", version, args_conflicts_with_subcommands = false, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub action: Option<Action>,

    /// Statements to run
    #[arg(value_name = "SQL")]
    pub sql: Option<String>,

    /// Runs statements; may be given several times
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub commands: Vec<String>,

    /// Runs the statements of a file; may be given several times, and between -c
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    pub settings: Settings,
}

/// What holds for every way of running statements.
#[derive(Debug, Args)]
pub struct Settings {
    /// How results are written: table, csv, json, jsonl, markdown or plain
    #[arg(long, global = true, value_name = "FORMAT", default_value = "table")]
    pub format: Format,

    /// Lets statements read and write files in a directory and below; without it, in the current one
    #[arg(long, global = true, value_name = "DIR")]
    pub allow: Vec<PathBuf>,

    /// Lets statements read and write any file
    #[arg(long, global = true, conflicts_with_all = ["allow", "safe"])]
    pub allow_all: bool,

    /// Lets statements touch no file at all
    #[arg(long, global = true, conflicts_with = "allow")]
    pub safe: bool,

    /// Goes on after a statement that fails
    #[arg(long, global = true)]
    pub keep_going: bool,

    /// When errors are coloured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Runs the statements of files in order; `-` is what is piped in
    Run {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Measures how fast it is on this machine
    Bench(BenchArguments),
}

/// Something to run, in the order of the command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    Text(String),
    File(PathBuf),
    StandardInput,
}

const EXAMPLES: &str = "Examples:
  riverrun                                        a prompt
  riverrun \"SELECT count(*) FROM 'flights.csv'\"   one statement
  riverrun run script.sql                         a script
  riverrun --format json -c 'SHOW ALL'            for programs

Exit codes: 0 done, 1 a statement failed, 2 wrong arguments, 3 a file could not be read or written.";

impl Arguments {
    /// The arguments of this process and what they ask to run. Wrong ones end it with code 2.
    pub fn of_process() -> (Arguments, Vec<Source>) {
        let matches = Arguments::command().get_matches();
        match Arguments::from_arg_matches(&matches) {
            Ok(arguments) => {
                let sources = arguments.sources(&matches);
                (arguments, sources)
            }
            Err(error) => error.exit(),
        }
    }

    fn sources(&self, matches: &ArgMatches) -> Vec<Source> {
        if let Some(Action::Run { files }) = &self.action {
            return files.iter().map(file_source).collect();
        }
        let positions = |name| matches.indices_of(name).into_iter().flatten();
        let commands = positions("commands").zip(self.commands.iter().cloned().map(Source::Text));
        let files = positions("files").zip(self.files.iter().map(file_source));
        let mut sources: Vec<(usize, Source)> = commands.chain(files).collect();
        sources.sort_by_key(|(position, _)| *position);
        sources.into_iter().map(|(_, source)| source).chain(self.sql.clone().map(Source::Text)).collect()
    }
}

fn file_source(path: impl AsRef<Path>) -> Source {
    let path = path.as_ref();
    match path.as_os_str() == "-" {
        true => Source::StandardInput,
        false => Source::File(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(arguments: &[&str]) -> Vec<Source> {
        let matches = Arguments::command().get_matches_from([&["riverrun"], arguments].concat());
        Arguments::from_arg_matches(&matches).unwrap().sources(&matches)
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_and_files_keep_their_order() {
        let text = |text: &str| Source::Text(text.into());
        let found = sources(&["-c", "a", "-f", "b.sql", "-c", "c", "--format", "json"]);
        assert_eq!(found, [text("a"), Source::File("b.sql".into()), text("c")]);
        assert_eq!(sources(&["SELECT 1"]), [text("SELECT 1")]);
    }

    #[test]
    fn run_takes_files_and_settings_after_it() {
        assert_eq!(sources(&["run", "-", "a.sql", "--safe"]), [Source::StandardInput, Source::File("a.sql".into())]);
    }
}
