//! One statement: its first word, and the pieces that several statements share.

use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::dialect::RiverrunDialect;
use super::source::Source;
use super::statement::{Body, Clause, Name, Query, SqlOption};
use super::syntax::{RECURSION, expected_message, parser_error, shorten};
use super::time::{interval_of, parse_timestamp};
use super::using::merge_keys;
use super::validate::validate;
use super::words::{closest, is_one_of, is_word};
use super::{clause, words};
use crate::error::{Code, Error, Result, StatementError};
use crate::types::{Interval, Timestamp};

/// What a statement can begin with.
const FIRST_WORDS: [&str; 21] = [
    "SELECT",
    "WITH",
    "VALUES",
    "CREATE",
    "DROP",
    "INSERT",
    "UPDATE",
    "DELETE",
    "COPY",
    "SHOW",
    "DESCRIBE",
    "SET",
    "EXPLAIN",
    "DECLARE",
    "FETCH",
    "CLOSE",
    "ADVANCE",
    "CHECKPOINT",
    "RESTART",
    "TABLE",
    "DESC",
];

/// Reads one statement from its tokens.
pub(super) fn parse_statement(source: &Source, tokens: Vec<TokenWithSpan>) -> Result<Body> {
    let (tokens, clauses) = clause::extract(source, tokens)?;
    let dialect = RiverrunDialect::new(&tokens);
    let mut statement = StatementParser::new(source, &dialect, tokens, clauses);
    let body = statement.body()?;
    statement.end()?;
    Ok(body)
}

/// Reads the pieces of one statement, in their order.
pub(super) struct StatementParser<'a> {
    source: &'a Source,
    dialect: &'a RiverrunDialect,
    /// The same tokens as the parser's, which does not show those it has read.
    tokens: Vec<TokenWithSpan>,
    parser: Parser<'a>,
    clauses: Vec<Clause>,
}

impl<'a> StatementParser<'a> {
    fn new(source: &'a Source, dialect: &'a RiverrunDialect, tokens: Vec<TokenWithSpan>, clauses: Vec<Clause>) -> Self {
        let parser = Parser::new(dialect).with_recursion_limit(RECURSION).with_tokens_with_locations(tokens.clone());
        StatementParser { source, dialect, tokens, parser, clauses }
    }

    fn body(&mut self) -> Result<Body> {
        if self.at_query() {
            return self.query().map(Body::Query);
        }
        match () {
            () if self.word("CREATE") => self.create(),
            () if self.word("DROP") => self.drop_object().map(Body::Drop),
            () if self.word("INSERT") => self.insert().map(Body::Insert),
            () if self.word("UPDATE") => self.update().map(Body::Update),
            () if self.word("DELETE") => self.delete().map(Body::Delete),
            () if self.word("COPY") => self.copy().map(Body::Copy),
            () if self.word("SHOW") => self.show(),
            () if self.word("DESCRIBE") || self.word("DESC") => self.name("the name of a relation").map(Body::Describe),
            () if self.word("SET") => self.set().map(Body::Set),
            () if self.word("EXPLAIN") => self.explain(),
            () if self.word("DECLARE") => self.declare().map(Body::Declare),
            () if self.word("FETCH") => self.fetch().map(Body::Fetch),
            () if self.word("CLOSE") => self.close(),
            () if self.word("ADVANCE") => self.advance(),
            () if self.word("CHECKPOINT") => Ok(Body::Checkpoint),
            () if self.word("RESTART") => Ok(Body::Restart),
            () => Err(self.unknown_statement()),
        }
    }

    fn unknown_statement(&self) -> Error {
        let found = self.found().unwrap_or_default();
        let place = self.here();
        if is_word(self.peek(), "MERGE") {
            return StatementError::new(Code::Unsupported, format!("{} is not supported", found.to_uppercase()))
                .at(place)
                .hint("INSERT INTO a table replaces the row that has the same primary key.")
                .into();
        }
        let hint = match closest(&found, &FIRST_WORDS) {
            Some(word) => format!("Did you mean {word}?"),
            None => {
                "A statement begins with SELECT, WITH, VALUES, CREATE, DROP, INSERT, UPDATE, DELETE, COPY, EXPLAIN, \
                     SHOW, DESCRIBE, SET, DECLARE, FETCH, CLOSE, ADVANCE, CHECKPOINT or RESTART."
                    .to_string()
            }
        };
        let message = expected_message("a statement", Some(&found));
        StatementError::new(Code::Syntax, message).at(place).hint(hint).into()
    }

    // Tokens.

    pub(super) fn peek(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    pub(super) fn peek_nth(&self, nth: usize) -> &Token {
        &self.parser.peek_nth_token_ref(nth).token
    }

    /// The span of the next token.
    pub(super) fn span(&self) -> Span {
        self.parser.peek_token_ref().span
    }

    pub(super) fn here(&self) -> crate::error::Place {
        self.source.place(self.span())
    }

    /// The place from the start of `from` to the last token read.
    pub(super) fn place_since(&self, from: Span) -> crate::error::Place {
        let end = self.parser.get_current_token().span.end;
        self.source.place(Span::new(from.start, end))
    }

    /// What the text says next; nothing at its end.
    pub(super) fn found(&self) -> Option<String> {
        (*self.peek() != Token::EOF).then(|| shorten(self.here().offending()))
    }

    /// Skips a word if it is next.
    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = is_word(self.peek(), word);
        if found {
            self.parser.advance_token();
        }
        found
    }

    /// Skips these words if they are next, all of them.
    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(nth, word)| is_word(self.peek_nth(nth), word));
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    /// Skips a sign if it is next.
    pub(super) fn sign(&mut self, sign: &Token) -> bool {
        self.parser.consume_token(sign)
    }

    pub(super) fn expect_sign(&mut self, sign: &Token) -> Result<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.expected(&format!("\"{sign}\""))) }
    }

    /// The error that the next token is not what was expected.
    pub(super) fn expected(&self, what: &str) -> Error {
        if let Some(error) = super::validate::unsupported_at(self.source, &self.tokens, self.parser.index()) {
            return error;
        }
        self.expected_statement(what).into()
    }

    pub(super) fn expected_statement(&self, what: &str) -> StatementError {
        let message = expected_message(what, self.found().as_deref());
        StatementError::new(Code::Syntax, message).at(self.here())
    }

    /// An error at a span.
    pub(super) fn error(&self, code: Code, span: Span, message: impl Into<String>) -> StatementError {
        StatementError::new(code, message).at(self.source.place(span))
    }

    /// Fails unless the statement ends here.
    fn end(&self) -> Result<()> {
        match self.peek() {
            Token::EOF => Ok(()),
            _ => Err(self.syntax(&self.end_error())),
        }
    }

    fn end_error(&self) -> ParserError {
        let found = self.parser.peek_token_ref();
        ParserError::ParserError(format!("Expected: end of statement, found: {found}{}", found.span.start))
    }

    pub(super) fn syntax(&self, error: &ParserError) -> Error {
        parser_error(self.source, self.dialect, &self.tokens, error)
    }

    /// Runs a rule of the parser underneath.
    pub(super) fn rule<T>(&mut self, rule: impl FnOnce(&mut Parser<'a>) -> Result<T, ParserError>) -> Result<T> {
        rule(&mut self.parser).map_err(|error| self.syntax(&error))
    }

    // Pieces.

    /// Reads a list in parentheses.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect_sign(&Token::LParen)?;
        let mut items = vec![item(self)?];
        while self.sign(&Token::Comma) {
            items.push(item(self)?);
        }
        if !self.sign(&Token::RParen) {
            return Err(self.expected("\",\" or \")\""));
        }
        Ok(items)
    }

    /// A name of one part.
    pub(super) fn name(&mut self, what: &str) -> Result<Name> {
        let span = self.span();
        let (value, quoted) = match self.peek() {
            Token::Word(word) => (word.value.clone(), word.quote_style.is_some()),
            _ => return Err(self.expected(what)),
        };
        self.parser.advance_token();
        let value = if quoted { value } else { value.to_lowercase() };
        Ok(Name { value, place: self.source.place(span) })
    }

    /// Whether a query is next.
    pub(super) fn at_query(&self) -> bool {
        let mut nth = 0;
        while *self.peek_nth(nth) == Token::LParen {
            nth += 1;
        }
        is_one_of(self.peek_nth(nth), &["SELECT", "WITH", "VALUES", "TABLE"])
    }

    /// A query, and with it the clauses that were cut out of the statement.
    pub(super) fn query(&mut self) -> Result<Query> {
        if !self.at_query() {
            return Err(self.expected("a query"));
        }
        let mut ast = self.rule(Parser::parse_query)?;
        validate(self.source, &self.tokens, &*ast)?;
        merge_keys(self.source, &mut ast)?;
        Ok(self.finish(ast))
    }

    /// A query of our own making.
    pub(super) fn finish(&mut self, ast: Box<ast::Query>) -> Query {
        Query { ast, clauses: std::mem::take(&mut self.clauses), text: self.source.text().clone() }
    }

    /// A query from a text of ours.
    pub(super) fn parse_template(&mut self, text: &str) -> Result<Box<ast::Query>> {
        let parsed = Parser::new(self.dialect).try_with_sql(text).and_then(|mut parser| parser.parse_query());
        parsed.map_err(|error| crate::error::InternalError::new(error.to_string()).into())
    }

    pub(super) fn source(&self) -> &'a Source {
        self.source
    }

    pub(super) fn expr(&mut self) -> Result<ast::Expr> {
        let expr = self.rule(Parser::parse_expr)?;
        validate(self.source, &self.tokens, &expr)?;
        Ok(expr)
    }

    /// `INTERVAL '…'`
    pub(super) fn interval(&mut self) -> Result<Interval> {
        if !is_word(self.peek(), "INTERVAL") {
            return Err(self.expected("INTERVAL '…'"));
        }
        let expr = self.rule(Parser::parse_prefix)?;
        interval_of(self.source.text(), &expr)
    }

    /// `TIMESTAMP '…'`
    pub(super) fn timestamp(&mut self) -> Result<Timestamp> {
        self.expect_word("TIMESTAMP")?;
        let span = self.span();
        let Token::SingleQuotedString(text) = self.peek() else {
            return Err(self.expected("a point in time in quotes"));
        };
        let parsed = parse_timestamp(text);
        self.parser.advance_token();
        parsed.map_err(|error| {
            let hint = error.hint().unwrap_or_default();
            self.error(error.code(), span, error.message()).hint(hint).into()
        })
    }

    /// `[WITH] (key = value, …)` after the word `WITH` has been seen.
    pub(super) fn options(&mut self) -> Result<Vec<SqlOption>> {
        self.list(Self::option)
    }

    /// `WITH (…)`, if it is next.
    pub(super) fn with_options(&mut self) -> Result<Vec<SqlOption>> {
        if self.word("WITH") { self.options() } else { Ok(Vec::new()) }
    }

    fn option(&mut self) -> Result<SqlOption> {
        let key = self.option_key()?;
        self.expect_sign(&Token::Eq)?;
        self.option_value(key)
    }

    /// A name of one or more parts with dots, or a string.
    pub(super) fn option_key(&mut self) -> Result<Name> {
        let from = self.span();
        let mut value = String::new();
        loop {
            match self.peek() {
                Token::Word(word) => value.push_str(&word.value.to_lowercase()),
                Token::SingleQuotedString(text) => value.push_str(&text.to_lowercase()),
                _ => return Err(self.expected("the name of an option")),
            }
            self.parser.advance_token();
            if !self.sign(&Token::Period) {
                return Ok(Name { value, place: self.place_since(from) });
            }
            value.push('.');
        }
    }

    /// A string, number, word or interval; a number may have a sign.
    pub(super) fn option_value(&mut self, key: Name) -> Result<SqlOption> {
        let from = self.span();
        if words::is_word(self.peek(), "INTERVAL") && matches!(self.peek_nth(1), Token::SingleQuotedString(_)) {
            let value = self.interval()?.to_string();
            return Ok(SqlOption { key, value, place: self.place_since(from) });
        }
        let sign = match self.peek() {
            Token::Minus => "-",
            _ => "",
        };
        if !sign.is_empty() {
            self.parser.advance_token();
        }
        let value = match self.peek() {
            Token::Number(number, _) => format!("{sign}{number}"),
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) if sign.is_empty() => text.clone(),
            Token::Word(word) if sign.is_empty() && word.quote_style.is_some() => word.value.clone(),
            Token::Word(word) if sign.is_empty() => word.value.to_lowercase(),
            _ => return Err(self.expected("a string, a number or a word")),
        };
        self.parser.advance_token();
        Ok(SqlOption { key, value, place: self.place_since(from) })
    }

    /// Fails if a further word of `words` follows, with a hint.
    pub(super) fn refuse_next(&self, words: &[&str], name: &str, hint: &str) -> Result<()> {
        if !words::is_one_of(self.peek(), words) {
            return Ok(());
        }
        Err(self.error(Code::Unsupported, self.span(), format!("{name} is not supported")).hint(hint).into())
    }
}
