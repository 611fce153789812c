//! The form of a script, and of the SQL in it.

use std::path::{Path, PathBuf};

/// A script: blocks in order.
pub struct Script {
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// What follows the last block.
    rest: String,
}

/// Comments, SQL and the answer.
pub struct Block {
    /// The line its SQL begins at, counted from 1.
    pub line: usize,
    /// Blank lines and comments before the SQL.
    lead: String,
    pub sql: String,
    pub answer: String,
}

impl Block {
    /// Whether the answer is an error.
    pub fn expects_error(&self) -> bool {
        self.answer.lines().any(|line| line.starts_with("error"))
    }
}

impl Script {
    /// Reads a script.
    pub fn read(path: &Path) -> Result<Script, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let text = if path.extension().is_some_and(|extension| extension == "md") { sessions(&text) } else { text };
        let mut script = Script { path: path.to_owned(), blocks: vec![], rest: String::new() };
        let mut lines = text.lines().enumerate().peekable();
        while lines.peek().is_some() {
            let (mut lead, mut sql, mut answer) = (Vec::new(), Vec::new(), Vec::new());
            let mut first = 0;
            let mut closed = false;
            for (number, line) in lines.by_ref() {
                if line == "----" {
                    closed = true;
                    break;
                }
                match sql.is_empty() && (line.trim().is_empty() || line.starts_with("--")) {
                    true => lead.push(line),
                    false => sql.push(line),
                }
                if sql.len() == 1 {
                    first = number + 1;
                }
            }
            if !closed {
                if !sql.is_empty() {
                    return Err(format!("line {first}: statements without an answer"));
                }
                script.rest = lead.iter().map(|line| format!("{line}\n")).collect();
                break;
            }
            answer.extend(lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim().is_empty()));
            script.blocks.push(Block {
                line: first,
                lead: lead.iter().map(|line| format!("{line}\n")).collect(),
                sql: sql.join("\n"),
                answer: answer.join("\n"),
            });
        }
        Ok(script)
    }

    /// The script's text with other answers.
    pub fn with_answers(&self, answers: &[String]) -> String {
        let blocks: Vec<String> = self
            .blocks
            .iter()
            .zip(answers)
            .map(|(block, answer)| format!("{}{}\n----\n{answer}\n", block.lead, block.sql))
            .collect();
        let rest = if self.rest.trim().is_empty() { "" } else { &self.rest };
        format!("{}{rest}", blocks.join("\n"))
    }
}

/// The SQL of a document; everything else is left out, line by line.
fn sessions(document: &str) -> String {
    let mut inside = false;
    let lines = document.lines().map(|line| {
        let fence = line.starts_with("```");
        inside = if fence { line == "```sql" } else { inside };
        if inside && !fence { line } else { "" }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The statements of a text, each with its semicolon.
pub fn statements(sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, _) in outside_quotes(sql).filter(|(_, character)| *character == ';') {
        found.push(sql[start..=at].trim().to_owned());
        start = at + 1;
    }
    found.push(sql[start..].trim().to_owned());
    found.retain(|statement| !statement.is_empty());
    found
}

/// An `INSERT … VALUES` of several rows as several of one row; any other statement as it is.
pub fn rows_as_inserts(statement: &str) -> Vec<String> {
    let upper = statement.to_ascii_uppercase();
    let values = upper.find(" VALUES").filter(|_| upper.starts_with("INSERT "));
    let Some(values) = values.map(|at| at + " VALUES".len()) else { return vec![statement.to_owned()] };
    let (head, tail) = statement.split_at(values);
    let (mut depth, mut start, mut rows) = (0, 0, Vec::new());
    for (at, character) in outside_quotes(tail) {
        match character {
            '(' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            ')' => {
                depth -= 1;
                if depth == 0 {
                    rows.push(format!("{head} {};", &tail[start..=at]));
                }
            }
            _ => {}
        }
    }
    rows
}

/// The characters that are neither in quotes nor in a comment.
fn outside_quotes(sql: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote = None;
    let mut previous = ' ';
    sql.char_indices().filter(move |(_, character)| {
        let inside = quote.is_some();
        match (quote, character) {
            (None, '\'' | '"' | '`') => quote = Some(*character),
            (None, '-') if previous == '-' => quote = Some('\n'),
            (Some(closing), character) if closing == *character => quote = None,
            (_, _) => {}
        }
        previous = *character;
        !inside && quote.is_none()
    })
}

#[test]
fn a_semicolon_in_quotes_or_a_comment_ends_nothing() {
    let sql = "SELECT ';' -- ;\n; SELECT \";\"";
    assert_eq!(statements(sql), ["SELECT ';' -- ;\n;", "SELECT \";\""]);
}

#[test]
fn an_insert_is_cut_into_its_rows() {
    let cut = rows_as_inserts("INSERT INTO t VALUES (1, '(a'), (2, array[3]), (4, f(5));");
    assert_eq!(
        cut,
        ["INSERT INTO t VALUES (1, '(a');", "INSERT INTO t VALUES (2, array[3]);", "INSERT INTO t VALUES (4, f(5));"]
    );
    assert_eq!(rows_as_inserts("INSERT INTO t SELECT 1"), ["INSERT INTO t SELECT 1"]);
}
