//! WHAT WAS SAID? From text to [`Statement`]. Syntax only: no name is looked up here.
//!
//! ```text
//! text ─▶ tokens ─▶ one statement's tokens ─▶ limits ─▶ clauses cut out ─▶ tree ─▶ validated ─▶ USING keys merged
//!         lex       Statements                limits    clause             parser   validate     using
//! ```
//!
//! The expressions and queries are those of the `sqlparser` crate; the statements around them are read here, because
//! most are ours. The parser recurses, so it runs on a stack of its own, and [`Limits`] keep the trees small enough to
//! be dropped on any.

mod call;
mod clause;
mod control;
mod create;
mod dialect;
mod lex;
mod limits;
mod parser;
mod source;
mod statement;
mod syntax;
#[cfg(test)]
mod tests;
mod time;
mod using;
mod validate;
mod walk;
mod words;

use std::ops::Range;
use std::sync::Arc;

use sqlparser::tokenizer::{Span, Token, TokenWithSpan, TokenizerError};

pub use call::call;
pub use clause::FILE_QUOTE;
pub use dialect::TABLE_ARGUMENT;
pub use lex::is_complete;
pub use limits::Limits;
pub use source::place_of;
pub use statement::*;
pub use time::{interval_of, parse_interval, parse_timestamp};
pub use walk::{visit, visit_expressions, visit_mut, visit_relations};

use crate::error::{Error, Result};
use source::Source;

/// How much stack the parser gets, and with how little left of the caller's it gets it.
const STACK_BYTES: usize = 64 << 20;
const STACK_BYTES_MIN: usize = 32 << 20;

/// Reads all statements of a text. They are separated by semicolons; comments and empty statements are skipped.
///
/// # Errors
/// The first that is found; use [`Statements`] to run the statements before it.
pub fn parse(text: &str, limits: &Limits) -> Result<Vec<Statement>> {
    Statements::new(text, limits.clone()).collect()
}

/// The statements of a text, one by one: an error in one does not keep those before it from being run.
///
/// After an error it goes on behind the next semicolon, unless the text could not be split at all.
#[derive(Debug)]
pub struct Statements {
    source: Source,
    limits: Limits,
    /// What is left, in the text's order.
    tokens: std::vec::IntoIter<TokenWithSpan>,
    /// What ends the text instead of its last statement.
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Lexical(TokenizerError),
    Refused(Error),
}

impl Statements {
    /// Splits a text into its statements.
    pub fn new(text: &str, limits: Limits) -> Self {
        let (tokens, end) = match limits.check_text(text) {
            Ok(()) => {
                let lexed = lex::lex(text);
                (lexed.tokens, lexed.error.map(End::Lexical))
            }
            Err(error) => (Vec::new(), Some(End::Refused(error))),
        };
        Statements { source: Source::new(Arc::from(text)), limits, tokens: tokens.into_iter(), end }
    }

    /// The tokens up to the next semicolon, and whether there was one.
    fn next_tokens(&mut self) -> (Vec<TokenWithSpan>, bool) {
        let mut tokens = Vec::new();
        for token in self.tokens.by_ref() {
            if token.token == Token::SemiColon {
                return (tokens, true);
            }
            tokens.push(token);
        }
        (tokens, false)
    }

    fn statement(&self, tokens: Vec<TokenWithSpan>) -> Result<Statement> {
        let bytes = self.bytes(&tokens);
        self.limits.check(&tokens)?;
        let body = stacker::maybe_grow(STACK_BYTES_MIN, STACK_BYTES, || parser::parse_statement(&self.source, tokens))?;
        Ok(Statement { body, text: self.source.text().clone(), bytes })
    }

    fn bytes(&self, tokens: &[TokenWithSpan]) -> Range<usize> {
        let start = tokens.first().map_or(Span::empty(), |first| first.span).start;
        let end = tokens.last().map_or(Span::empty(), |last| last.span).end;
        self.source.begin(start, end)
    }
}

impl Iterator for Statements {
    type Item = Result<Statement>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (tokens, complete) = self.next_tokens();
            if !complete && let Some(end) = self.end.take() {
                return Some(Err(match end {
                    End::Lexical(error) => syntax::lexical(&self.source, &error),
                    End::Refused(error) => error,
                }));
            }
            match (tokens.is_empty(), complete) {
                (false, _) => return Some(self.statement(tokens)),
                (true, true) => {}
                (true, false) => return None,
            }
        }
    }
}
