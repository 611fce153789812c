//! `KEEP …` and `EMIT …`: cut out of the tokens before the parser sees them.
//!
//! The parser does not know these clauses, and a query can stand anywhere, so they cannot be read around it. Each is
//! replaced by a clause of another dialect that the parser keeps in its tree:
//!
//! ```text
//! … GROUP BY k EMIT FINAL              … GROUP BY k SETTINGS riverrun_clause = 0
//! … JOIN b USING (k) EMIT COMPLETE     … JOIN b USING (k) PREWHERE 0
//!     WHERE b.x > 1                        WHERE b.x > 1
//! ```
//!
//! `ALLOW LATENESS` behind a `GROUP BY` becomes one more grouping key, a call of [`LATENESS_CARRIER`].
//!
//! The number is the clause's index. The tokens put in carry the span of the clause, so every later error keeps its
//! place. What a user calls by one of the borrowed words becomes a plain name first.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::source::Source;
use super::statement::{CLAUSE_CARRIER, Clause, EmitMode, KeepMode, LATENESS_CARRIER};
use super::time::{is_unit, parse_length};
use super::words::{closest, is_named, is_one_of, is_word, keyword, starts_with, token_at};
use crate::error::{Code, Error, Result, StatementError};
use crate::types::Interval;

const EMIT_MODES: [&str; 7] = ["FINAL", "RUNNING", "CHANGES", "COMPLETE", "ON", "EVERY", "WINDOW"];
const KEEP_MODES: [&str; 3] = ["FIRST", "LAST", "PRODUCT"];
const LATENESS: [&str; 2] = ["ALLOW", "LATENESS"];

/// Words the parser would take for clauses of other dialects.
const BORROWED: [Keyword; 8] = [
    Keyword::SETTINGS,
    Keyword::PREWHERE,
    Keyword::FORMAT,
    Keyword::TOP,
    Keyword::SAMPLE,
    Keyword::GLOBAL,
    Keyword::START,
    Keyword::CONNECT,
];

/// The quote of a name that is the path of a file: `FROM 'flights.csv'`. The parser can print no name in single quotes.
pub const FILE_QUOTE: char = '`';

/// Cuts the clauses out of the tokens of one statement.
pub(super) fn extract(source: &Source, tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<Clause>)> {
    let cutter =
        Cutter { source, tokens: &tokens, levels: vec![Level::new(true)], out: Vec::new(), clauses: Vec::new() };
    cutter.run()
}

/// What the tokens since the last open parenthesis are about.
struct Level {
    is_query: bool,
    in_from: bool,
    joined: bool,
    grouped: bool,
    /// A clause behind the `GROUP BY` whose carrier goes to the end of the query.
    waiting: Option<(usize, Span)>,
}

impl Level {
    fn new(is_query: bool) -> Self {
        Level { is_query, in_from: false, joined: false, grouped: false, waiting: None }
    }
}

struct Cutter<'a> {
    source: &'a Source,
    tokens: &'a [TokenWithSpan],
    levels: Vec<Level>,
    out: Vec<TokenWithSpan>,
    clauses: Vec<Clause>,
}

impl Cutter<'_> {
    fn run(mut self) -> Result<(Vec<TokenWithSpan>, Vec<Clause>)> {
        let mut at = 0;
        while at < self.tokens.len() {
            if self.begins_clause(at) {
                at = self.cut(at)?;
            } else if starts_with(self.tokens, at, &LATENESS) && !is_named(self.tokens, at) {
                at = self.carry_lateness(at)?;
            } else {
                self.pass(at);
                at += 1;
            }
        }
        self.end_level();
        Ok((self.out, self.clauses))
    }

    /// Puts the carrier of a clause that stood behind a `GROUP BY` at the end of its query.
    fn end_level(&mut self) {
        if let Some((index, span)) = self.levels.last_mut().and_then(|level| level.waiting.take()) {
            self.out.extend(at_end(index).into_iter().map(|token| TokenWithSpan { token, span }));
        }
    }

    fn begins_clause(&self, at: usize) -> bool {
        let token = token_at(self.tokens, at);
        let begins =
            is_word(token, "EMIT") || is_word(token, "KEEP") && is_one_of(token_at(self.tokens, at + 1), &KEEP_MODES);
        begins && !is_named(self.tokens, at)
    }

    /// Puts a grouping key in the place of the `ALLOW LATENESS` at `from` and returns where the tokens go on.
    fn carry_lateness(&mut self, from: usize) -> Result<usize> {
        let length = from + LATENESS.len();
        let mut reader = Reader { source: self.source, tokens: self.tokens, at: length };
        reader.any_length()?;
        let next = reader.at;
        let span = Span::new(self.tokens[from].span.start, self.tokens[next - 1].span.end);
        if !self.levels.last().is_some_and(|level| level.is_query && level.grouped) {
            let message = "ALLOW LATENESS belongs behind a GROUP BY with a window";
            return Err(StatementError::new(Code::Syntax, message).at(self.source.place(span)).into());
        }
        let name = Word { value: LATENESS_CARRIER.into(), quote_style: None, keyword: Keyword::NoKeyword };
        let spanned = |token| TokenWithSpan { token, span };
        self.out.extend([Token::Comma, Token::Word(name), Token::LParen].map(spanned));
        self.out.extend_from_slice(&self.tokens[length..next]);
        self.out.push(spanned(Token::RParen));
        Ok(next)
    }

    /// Hands one token on, noting what it says about the level.
    fn pass(&mut self, at: usize) {
        let token = token_at(self.tokens, at);
        match token {
            Token::LParen => self.levels.push(Level::new(self.opens_query(at))),
            Token::RParen if self.levels.len() > 1 => {
                self.end_level();
                self.levels.pop();
            }
            Token::Word(_) if !is_named(self.tokens, at) => self.note(keyword(token)),
            _ => {}
        }
        let mut passed = self.tokens[at].clone();
        self.adapt(at, &mut passed.token);
        self.out.push(passed);
    }

    fn note(&mut self, keyword: Keyword) {
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        match keyword {
            Keyword::FROM => (level.in_from, level.joined, level.grouped) = (true, false, false),
            Keyword::GROUP => (level.in_from, level.grouped) = (false, true),
            Keyword::JOIN => level.joined = true,
            Keyword::SELECT
            | Keyword::WHERE
            | Keyword::HAVING
            | Keyword::WINDOW
            | Keyword::QUALIFY
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT => level.in_from = false,
            _ => {}
        }
    }

    /// Whether the parenthesis at `at` holds a query.
    fn opens_query(&self, at: usize) -> bool {
        let inner = self.tokens[at..].iter().map(|token| &token.token).find(|token| **token != Token::LParen);
        let begins = [Keyword::SELECT, Keyword::WITH, Keyword::VALUES, Keyword::TABLE];
        inner.is_some_and(|token| begins.contains(&keyword(token)))
    }

    /// Makes a token what the parser should see.
    fn adapt(&self, at: usize, token: &mut Token) {
        match token {
            Token::Word(word) if BORROWED.contains(&word.keyword) => word.keyword = Keyword::NoKeyword,
            // The parser knows no LEFT ASOF JOIN; the flag that it has for another dialect carries the LEFT.
            Token::Word(word) if word.keyword == Keyword::LEFT && self.is_left_asof(at) => {
                *word = keyword_word("GLOBAL", Keyword::GLOBAL);
            }
            // Names have one kind of quote, so that the other can tell a file.
            Token::Word(word) if word.quote_style == Some(FILE_QUOTE) => word.quote_style = Some('"'),
            // A file is a relation. As a quoted name it keeps its place.
            Token::SingleQuotedString(path) if self.names_relation(at) => {
                let value = std::mem::take(path);
                *token = Token::Word(Word { value, quote_style: Some(FILE_QUOTE), keyword: Keyword::NoKeyword });
            }
            // Parameters are $1 and $name; a question mark asks a JSON value for a key.
            Token::Placeholder(name) if name == "?" => *token = Token::Question,
            _ => {}
        }
    }

    fn is_left_asof(&self, at: usize) -> bool {
        starts_with(self.tokens, at, &["LEFT", "ASOF", "JOIN"])
    }

    /// Whether the string at `at` stands where a relation is named. `FROM` also occurs in `EXTRACT(… FROM …)` and in
    /// `IS DISTINCT FROM`.
    fn names_relation(&self, at: usize) -> bool {
        let before =
            |back: usize| at.checked_sub(back).map_or(Keyword::NoKeyword, |at| keyword(&self.tokens[at].token));
        let in_query = self.levels.last().is_some_and(|level| level.is_query);
        before(1) == Keyword::JOIN || before(1) == Keyword::FROM && in_query && before(2) != Keyword::DISTINCT
    }

    /// Reads the clause at `from`, puts its carrier in its place and returns where the tokens go on.
    fn cut(&mut self, from: usize) -> Result<usize> {
        let mut reader = Reader { source: self.source, tokens: self.tokens, at: from };
        let (keep, emit) = reader.clause()?;
        let next = reader.at;
        let span = Span::new(self.tokens[from].span.start, self.tokens[next - 1].span.end);
        let carrier = match self.waits(next, span) {
            true => vec![],
            false => self.carrier(from, next, span)?,
        };
        self.clauses.push(Clause { keep, emit, place: self.source.place(span) });
        self.out.extend(carrier.into_iter().map(|token| TokenWithSpan { token, span }));
        Ok(next)
    }

    /// Whether the clause stands behind a `GROUP BY` and before an `ORDER BY` or `LIMIT`: it governs the same aggregate
    /// as at the end of the query, where its carrier goes.
    fn waits(&mut self, next: usize, span: Span) -> bool {
        let sorted = is_one_of(token_at(self.tokens, next), &["ORDER", "LIMIT", "OFFSET", "FETCH"]);
        let index = self.clauses.len();
        match self.levels.last_mut() {
            Some(level) if sorted && level.is_query && level.grouped && level.waiting.is_none() => {
                level.waiting = Some((index, span));
                true
            }
            Some(_) | None => false,
        }
    }

    fn carrier(&self, from: usize, next: usize, span: Span) -> Result<Vec<Token>> {
        let index = Token::Number(self.clauses.len().to_string(), false);
        let level = self.levels.last();
        let verb = token_at(self.tokens, from).to_string().to_ascii_uppercase();
        let error = |code, message: String| StatementError::new(code, message).at(self.source.place(span));
        if !level.is_some_and(|level| level.is_query) {
            let message = format!("{verb} stands at the end of a query or behind its joins, not inside an expression");
            return Err(error(Code::Syntax, message).into());
        }
        let after = token_at(self.tokens, next);
        if matches!(after, Token::EOF | Token::RParen | Token::SemiColon) {
            if level.is_some_and(|level| level.waiting.is_some()) {
                let message = format!("{verb} is given twice, behind the GROUP BY and at the end");
                return Err(error(Code::Syntax, message).hint("Leave one of them out.").into());
            }
            return Ok(at_end(self.clauses.len()));
        }
        let behind_joins = level.is_some_and(|level| level.in_from && level.joined);
        if behind_joins && continues_from(after) {
            let message = format!("{verb} must follow the last join of the chain, found \"{after}\" behind it");
            let hint = "Put the first join and its clause into a subquery: SELECT … FROM (SELECT … FROM a JOIN b …) x JOIN c ….";
            return Err(error(Code::JoinShape, message).hint(hint).into());
        }
        if behind_joins && ends_from(after) {
            return Ok(vec![Token::Word(keyword_word("PREWHERE", Keyword::PREWHERE)), index]);
        }
        let message =
            format!("{verb} must be the last clause of a query or follow its joins, found \"{after}\" behind it");
        Err(error(Code::Syntax, message)
            .hint("Move it to the end of the query, or put the query into a subquery.")
            .into())
    }
}

/// What carries clause `index` at the end of its query.
fn at_end(index: usize) -> Vec<Token> {
    let settings = Token::Word(keyword_word("SETTINGS", Keyword::SETTINGS));
    let key = Token::Word(Word { value: CLAUSE_CARRIER.into(), quote_style: None, keyword: Keyword::NoKeyword });
    vec![settings, key, Token::Eq, Token::Number(index.to_string(), false)]
}

fn keyword_word(value: &str, keyword: Keyword) -> Word {
    Word { value: value.into(), quote_style: None, keyword }
}

/// Whether more relations follow.
fn continues_from(token: &Token) -> bool {
    *token == Token::Comma
        || is_one_of(
            token,
            &["JOIN", "INNER", "LEFT", "RIGHT", "FULL", "OUTER", "CROSS", "NATURAL", "ASOF", "SEMI", "ANTI"],
        )
}

/// Whether a clause behind `FROM` follows.
fn ends_from(token: &Token) -> bool {
    is_one_of(
        token,
        &[
            "WHERE",
            "GROUP",
            "HAVING",
            "WINDOW",
            "QUALIFY",
            "ORDER",
            "LIMIT",
            "OFFSET",
            "FETCH",
            "UNION",
            "EXCEPT",
            "INTERSECT",
        ],
    )
}

/// Reads one clause.
struct Reader<'a> {
    source: &'a Source,
    tokens: &'a [TokenWithSpan],
    at: usize,
}

impl Reader<'_> {
    fn clause(&mut self) -> Result<(Option<KeepMode>, Option<EmitMode>)> {
        let (mut keep, mut emit) = (None, None);
        loop {
            if keep.is_none() && is_one_of(token_at(self.tokens, self.at + 1), &KEEP_MODES) && self.word("KEEP") {
                keep = Some(self.keep()?);
            } else if emit.is_none() && self.word("EMIT") {
                emit = Some(self.emit()?);
            } else {
                return Ok((keep, emit));
            }
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = is_word(token_at(self.tokens, self.at), word);
        self.at += usize::from(found);
        found
    }

    fn keep(&mut self) -> Result<KeepMode> {
        match () {
            () if self.word("FIRST") => Ok(KeepMode::First),
            () if self.word("LAST") => Ok(KeepMode::Last),
            () if self.word("PRODUCT") => Ok(KeepMode::Product),
            () => Err(self.expected("FIRST, LAST or PRODUCT after KEEP").into()),
        }
    }

    fn emit(&mut self) -> Result<EmitMode> {
        match () {
            () if self.word("FINAL") => Ok(EmitMode::Final),
            () if self.word("RUNNING") => Ok(EmitMode::Running),
            () if self.word("CHANGES") => Ok(EmitMode::Changes),
            () if self.word("COMPLETE") => Ok(EmitMode::Complete),
            () if self.word("ON") => self.on_window_close(),
            () if self.word("EVERY") => self.every(),
            () => Err(self.unknown_mode()),
        }
    }

    fn on_window_close(&mut self) -> Result<EmitMode> {
        for word in ["WINDOW", "CLOSE"] {
            if !self.word(word) {
                return Err(self.expected("WINDOW CLOSE after EMIT ON").into());
            }
        }
        Ok(EmitMode::OnWindowClose)
    }

    fn every(&mut self) -> Result<EmitMode> {
        let interval = self.interval()?;
        if !is_word(token_at(self.tokens, self.at), "AND") {
            return Ok(EmitMode::Every(interval));
        }
        self.at += 1;
        if self.word("FINAL") {
            return Ok(EmitMode::EveryAndFinal(interval));
        }
        Err(self.expected("FINAL after AND").into())
    }

    /// Skips `INTERVAL '…' [unit]` or a number, of either sign.
    fn any_length(&mut self) -> Result<()> {
        self.at += usize::from(*token_at(self.tokens, self.at) == Token::Minus);
        let interval = self.word("INTERVAL");
        match token_at(self.tokens, self.at) {
            Token::SingleQuotedString(_) if interval => self.at += 1,
            Token::Number(..) => self.at += 1,
            _ => return Err(self.expected("INTERVAL '…' after ALLOW LATENESS").into()),
        }
        if let Token::Word(word) = token_at(self.tokens, self.at)
            && interval
            && is_unit(&word.value)
        {
            self.at += 1;
        }
        Ok(())
    }

    /// `INTERVAL '…' [unit]`, longer than nothing.
    fn interval(&mut self) -> Result<Interval> {
        let first = self.at;
        if !self.word("INTERVAL") {
            return Err(self.expected("INTERVAL '…' after EMIT EVERY").into());
        }
        let text = match token_at(self.tokens, self.at) {
            Token::SingleQuotedString(text) | Token::Number(text, _) => text.clone(),
            _ => return Err(self.expected("the length of the interval, in quotes").into()),
        };
        self.at += 1;
        let unit = match token_at(self.tokens, self.at) {
            Token::Word(word) if is_unit(&word.value) => Some(word.value.as_str()),
            _ => None,
        };
        self.at += usize::from(unit.is_some());
        let span = Span::new(self.tokens[first].span.start, self.tokens[self.at - 1].span.end);
        let bad = |message: &str| {
            StatementError::new(Code::InvalidArgument, message)
                .at(self.source.place(span))
                .hint("Write an interval of fixed length, such as INTERVAL '5 seconds'.")
        };
        let length = parse_length(&text, unit).map_err(|message| bad(&message))?;
        if length.months != 0 {
            return Err(bad("months and years have no fixed length").into());
        }
        match i64::try_from(length.nanos) {
            Ok(nanos) if nanos > 0 => Ok(Interval::from_nanos(nanos)),
            Ok(_) => Err(bad("EMIT EVERY needs an interval longer than nothing").into()),
            Err(_) => Err(bad("the interval is too long").into()),
        }
    }

    fn unknown_mode(&self) -> Error {
        let error = self.expected("FINAL, RUNNING, CHANGES, COMPLETE, ON WINDOW CLOSE or EVERY after EMIT");
        let meant = match token_at(self.tokens, self.at) {
            Token::Word(word) => closest(&word.value, &EMIT_MODES),
            _ => None,
        };
        let hint = match meant {
            Some("WINDOW") => "Write EMIT ON WINDOW CLOSE.".to_string(),
            Some(mode) => format!("Did you mean EMIT {mode}?"),
            None => "EMIT is a reserved word: to name a column so, write \"emit\" in double quotes.".to_string(),
        };
        error.hint(hint).into()
    }

    fn expected(&self, what: &str) -> StatementError {
        let found = self.tokens.get(self.at);
        let place = self.source.place(found.map_or(Span::empty(), |found| found.span));
        let found = found.map_or("the end".to_string(), |found| format!("\"{found}\""));
        StatementError::new(Code::Syntax, format!("expected {what}, found {found}")).at(place)
    }
}
