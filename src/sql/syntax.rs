//! From the parser's errors to ours.

use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, TokenizerError};

use super::dialect::RiverrunDialect;
use super::source::Source;
use super::validate::unsupported_at;
use super::words::{closest, keyword, token_at};
use crate::error::{Code, Error, LimitError, StatementError};

/// How deep the parser may call itself: a chain of prefix operators costs one call each, a nested query a few.
pub(super) const RECURSION: usize = 1_000;

/// Words that begin a clause, for a hint where one was mistyped.
const CLAUSE_WORDS: [&str; 19] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "QUALIFY",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "UNION",
    "JOIN",
    "USING",
    "EMIT",
    "WINDOW",
    "VALUES",
    "WITH",
    "BETWEEN",
    "INTERVAL",
    MATCH_CONDITION,
];
/// It is followed by a condition in parentheses, which is taken for the columns of an alias if it is mistyped.
const MATCH_CONDITION: &str = "MATCH_CONDITION";

/// The error of a text that is no sequence of tokens.
pub(super) fn lexical(source: &Source, error: &TokenizerError) -> Error {
    let at = source.place(Span::new(error.location, error.location));
    let message = lower_first(error.message.trim_end_matches([':', ' ']));
    StatementError::new(Code::Syntax, message).at(at).into()
}

/// The error of tokens that are no statement.
///
/// The parser takes an error inside parentheses for a reason to read them as something else, and then complains about
/// that. So every query in parentheses is read again by itself, innermost first, and the first that fails is reported.
pub(super) fn parser_error(
    source: &Source,
    dialect: &RiverrunDialect,
    tokens: &[TokenWithSpan],
    error: &ParserError,
) -> Error {
    if dialect.exhausted() || *error == ParserError::RecursionLimitExceeded {
        return LimitError::new("sql_nesting", "the statement is nested too deeply, or too ambiguously").into();
    }
    match inner_error(dialect, tokens) {
        Some((range, inner)) if inner != ParserError::RecursionLimitExceeded => {
            translate(source, &tokens[..range.end], &inner)
        }
        _ => translate(source, tokens, error),
    }
}

/// The first query in parentheses that is wrong by itself.
fn inner_error(dialect: &RiverrunDialect, tokens: &[TokenWithSpan]) -> Option<(std::ops::Range<usize>, ParserError)> {
    for range in queries_in_parentheses(tokens) {
        let mut parser = Parser::new(dialect)
            .with_recursion_limit(RECURSION)
            .with_tokens_with_locations(tokens[range.clone()].to_vec());
        let mut result = parser.parse_query().map(drop);
        if result.is_ok() && parser.peek_token_ref().token != Token::EOF {
            let found = parser.peek_token_ref().clone();
            result = parser.expected(")", found);
        }
        if dialect.exhausted() {
            return None;
        }
        if let Err(error) = result {
            // The parenthesis closes the query, so it, and not the end of the statement, is what was found.
            return Some((range.start..range.end + 1, error));
        }
    }
    None
}

/// The token ranges between `(` and `)` that begin as a query, innermost first.
fn queries_in_parentheses(tokens: &[TokenWithSpan]) -> Vec<std::ops::Range<usize>> {
    let mut open = Vec::new();
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => open.push(at + 1),
            Token::RParen => {
                let start = open.pop();
                let begins = [Keyword::SELECT, Keyword::WITH, Keyword::VALUES];
                found.extend(
                    start.filter(|start| begins.contains(&keyword(token_at(tokens, *start)))).map(|start| start..at),
                );
            }
            _ => {}
        }
    }
    found
}

/// One error, with its place split off and in our words. If it has no place, it is about the end of `tokens`.
fn translate(source: &Source, tokens: &[TokenWithSpan], error: &ParserError) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply",
    };
    let (message, location) = split_location(text);
    let at = match location {
        Some(location) => tokens.iter().position(|token| token.span.start == location),
        None => (tokens.last().map(|last| &last.token) == Some(&Token::RParen)).then(|| tokens.len() - 1),
    };
    if let Some(error) = at.and_then(|at| unsupported_at(source, tokens, at)) {
        return error;
    }
    let message = match message.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: ")) {
        Some((expected, _)) => expected_message(expected, found(source, tokens, at).as_deref()),
        None => lower_first(message),
    };
    let span = match (at, location) {
        (Some(at), _) => tokens[at].span,
        (None, Some(location)) => Span::new(location, location),
        (None, None) => Span::empty(),
    };
    let error = StatementError::new(Code::Syntax, message).at(source.place(span));
    match at.and_then(|at| mistyped(tokens, at)) {
        Some(hint) => error.hint(hint).into(),
        None => error.into(),
    }
}

/// `expected …, found …`, where nothing found is the end of the statement.
pub(super) fn expected_message(expected: &str, found: Option<&str>) -> String {
    let expected = match expected {
        "SELECT, VALUES, or a subquery in the query body" => "a query".to_string(),
        "end of statement" => "the end of the statement".to_string(),
        "identifier" => "a name".to_string(),
        sign if !sign.contains(char::is_alphanumeric) => format!("\"{sign}\""),
        other => lower_first(other),
    };
    match found {
        Some(found) => format!("expected {expected}, found \"{found}\""),
        None => format!("expected {expected}, found the end of the statement"),
    }
}

/// What the text has at the token, in short.
fn found(source: &Source, tokens: &[TokenWithSpan], at: Option<usize>) -> Option<String> {
    at.map(|at| shorten(source.place(tokens[at].span).offending()))
}

/// The first 40 characters.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// A hint if the token found, or the one before it, looks like a word that was meant to begin a clause.
fn mistyped(tokens: &[TokenWithSpan], at: usize) -> Option<String> {
    let meant = |at: usize, words: &[&'static str]| match token_at(tokens, at) {
        Token::Word(word) if word.quote_style.is_none() && word.keyword == Keyword::NoKeyword => {
            closest(&word.value, words).map(|meant| format!("Did you mean {meant} instead of \"{}\"?", word.value))
        }
        _ => None,
    };
    let near = [Some(at), at.checked_sub(1), at.checked_sub(2)].into_iter().flatten();
    let before = at.checked_sub(3).into_iter();
    near.filter_map(|at| meant(at, &CLAUSE_WORDS)).chain(before.filter_map(|at| meant(at, &[MATCH_CONDITION]))).next()
}

/// Splits ` at Line: 3, Column: 7` off a message.
fn split_location(message: &str) -> (&str, Option<Location>) {
    let split = message.rsplit_once(" at Line: ").and_then(|(message, location)| {
        let (line, column) = location.split_once(", Column: ")?;
        Some((message, Location::new(line.parse().ok()?, column.trim().parse().ok()?)))
    });
    match split {
        Some((message, location)) => (message.trim_end(), Some(location)),
        None => (message.trim_end(), None),
    }
}

/// Our messages begin in lower case, unless with a keyword.
fn lower_first(message: &str) -> String {
    let mut characters = message.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(characters).collect(),
        _ => message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::{Limits, parse};

    /// The error of a text as `line:column message [hint]`.
    fn error(text: &str) -> String {
        let error = parse(text, &Limits::default()).unwrap_err();
        let place = error.place().map(|place| format!("{}:{} ", place.line(), place.column())).unwrap_or_default();
        let hint = error.hint().map(|hint| format!(" [{hint}]")).unwrap_or_default();
        format!("{place}{}{hint}", error.message())
    }

    #[test]
    fn a_place_is_that_of_the_offending_word() {
        for (text, expected) in [
            ("SELECT price + FROM bids", "1:16 expected an expression, found \"FROM\""),
            ("SELECT a,\n  'é', b b b\nFROM t", "2:12 expected the end of the statement, found \"b\""),
            ("SELECT (1 + 2", "1:14 expected \")\", found the end of the statement"),
            ("SELECT 1; SELECT 2 +;", "1:21 expected an expression, found the end of the statement"),
            ("SELECT 'abc", "1:8 unterminated string literal"),
            ("SELECT * FROM t WHERE", "1:22 expected an expression, found the end of the statement"),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn an_error_in_parentheses_keeps_its_place() {
        for (text, expected) in [
            ("SELECT * FROM (SELECT a FROM b WHERE (a > ) ) q", "1:43 expected an expression, found \")\""),
            ("SELECT * FROM (SELECT a FROM) q", "1:29 expected a name, found \")\""),
            ("WITH x AS (SELECT FROM t) SELECT * FROM x", "1:19 expected an expression, found \"FROM\""),
            ("SELECT 1 WHERE x IN (SELECT a b c)", "1:33 expected \")\", found \"c\""),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
    }

    #[test]
    fn a_mistyped_clause_is_guessed() {
        let text = "SELECT a FORM t";
        assert_eq!(
            error(text),
            "1:15 expected the end of the statement, found \"t\" [Did you mean FROM instead of \"FORM\"?]"
        );
        let text = "SELECT * FROM a ASOF JOIN b MATCH_CONDITON (a.at >= b.at) ON a.k = b.k";
        let meant = "Did you mean MATCH_CONDITION instead of \"MATCH_CONDITON\"?";
        assert_eq!(error(text), format!("1:46 expected \")\", found \".\" [{meant}]"));
    }
}
