//! The prompt: lines, history and completion.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use riverrun::console::{Console, DOT_COMMANDS, Ran};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper, Highlighter, Hinter};

use crate::Exit;
use crate::idle::Idle;

/// The words of the language that are worth a Tab.
const KEYWORDS: &str = "ADVANCE ALL ANALYZE AND AS ASC BETWEEN BIGINT BOOLEAN BY CASE CAST CHANGES CHECKPOINT CLOCK \
CLOSE COLLECT COMPLETE COPY CREATE CROSS CURSOR DATE DECIMAL DECLARE DELETE DESC DESCRIBE DISTINCT DOUBLE DROP ELSE \
EMIT END EVERY EXCEPT EXISTS EXPLAIN FALSE FETCH FILTER FINAL FIRST FOR FROM FULL GROUP GROUPING HAVING IF IN INNER \
INSERT INT INTERSECT INTERVAL INTO IS JOIN KEEP LAST LEFT LIKE LIMIT MATERIALIZED NOT NULL NULLS OFFSET ON OR ORDER \
OUTER OVER PARTITION PRIMARY KEY PRODUCT REPLACE RESTART RIGHT ROLLUP RUNNING SELECT SET SETS SHOW SINK SINKS STREAM \
STREAMS TABLE TABLES THEN TIMESTAMP TO TRUE UNION UNNEST USING VALUES VARCHAR VIEW VIEWS WATERMARK WHEN WHERE WITH";

/// Reads statements until the end of the input or `.quit`, and runs them.
///
/// While a person types or thinks, timers run and the rows of live queries appear above the prompt.
pub fn run(console: Console) -> io::Result<Exit> {
    let config = Config::builder().completion_type(CompletionType::List).history_ignore_space(true).build();
    let mut editor: Editor<Words, FileHistory> = Editor::with_config(config).map_err(io::Error::other)?;
    let history = history_path();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    greet()?;
    let console = Arc::new(Mutex::new(console));
    let idle = editor.create_external_printer().map(|printer| Idle::start(console.clone(), printer));
    let lock = || console.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        editor.set_helper(Some(Words { names: lock().names() }));
        match editor.readline("riverrun> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                editor.add_history_entry(line.trim_end()).map_err(io::Error::other)?;
                if let Ran::Quit = crate::run_text(&mut lock(), &line, None)? {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    drop(idle);
    if let Some(path) = &history {
        save(&mut editor, path);
    }
    Ok(Exit::Done)
}

fn greet() -> io::Result<()> {
    if io::stdout().is_terminal() {
        writeln!(io::stdout(), "riverrun {}: end statements with ;  .help lists commands", env!("CARGO_PKG_VERSION"))?;
    }
    Ok(())
}

/// A history that cannot be written is not worth a failure at the end of a session.
fn save(editor: &mut Editor<Words, FileHistory>, path: &PathBuf) {
    if let Some(directory) = path.parent() {
        let _ = std::fs::create_dir_all(directory);
    }
    let _ = editor.save_history(path);
}

/// Where history is kept by the XDG convention.
fn history_path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("riverrun/history"))
}

/// What Tab completes and when a statement is complete.
#[derive(Helper, Hinter, Highlighter)]
struct Words {
    names: Vec<String>,
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..position).unwrap_or_default();
        let boundary = |character: char| !(character.is_alphanumeric() || character == '_' || character == '.');
        let start = before.rfind(boundary).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        Ok((start, self.candidates(&before[start..])))
    }
}

impl Words {
    fn candidates(&self, word: &str) -> Vec<Pair> {
        if word.is_empty() {
            return vec![];
        }
        let commands = DOT_COMMANDS.iter().map(|(command, _, _)| (*command).to_owned());
        let upper = word.starts_with(char::is_uppercase);
        let keywords = KEYWORDS.split(' ').map(|word| if upper { word.to_owned() } else { word.to_lowercase() });
        let mut found: Vec<String> = commands
            .chain(keywords)
            .chain(self.names.iter().cloned())
            .filter(|candidate| candidate.len() > word.len())
            .filter(|candidate| candidate.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)))
            .collect();
        found.sort();
        found.dedup();
        found.into_iter().map(|text| Pair { display: text.clone(), replacement: text }).collect()
    }
}

impl Validator for Words {
    /// A command is one line; a statement goes on until its semicolon.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let complete = text.is_empty() || text.starts_with('.') || riverrun::sql::is_complete(text);
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(word: &str) -> Vec<String> {
        let words = Words { names: vec!["orders".into(), "order_id".into()] };
        words.candidates(word).into_iter().map(|pair| pair.replacement).collect()
    }

    #[test]
    fn names_keywords_and_commands_are_completed() {
        assert_eq!(completed("ord"), ["order", "order_id", "orders"]);
        assert_eq!(completed("MAT"), ["MATERIALIZED"]);
        assert_eq!(completed(".he"), [".help"]);
        assert!(completed("").is_empty());
    }
}
