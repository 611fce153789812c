//! What the parser asks of a dialect, answered for ours.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::{Expr, Function, Ident, OrderByExpr, WindowSpec, WindowType};
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::call::function;
use super::words::starts_with;

/// The function call in which `TABLE name` or `TABLE (query)` arrives as an argument of a table function, with its
/// `PARTITION BY` and `ORDER BY` as the call's window.
pub const TABLE_ARGUMENT: &str = "__table_arg";

/// The dialect, and how many expressions the parser may still try to read.
///
/// The parser goes back and tries again where a text is ambiguous, in nested calls once a level: without a limit,
/// fifty levels of `cast(cast(…` would be tried 2⁵⁰ times.
#[derive(Debug)]
pub(super) struct RiverrunDialect {
    fuel: Cell<usize>,
    /// Whether the statement speaks of versions: elsewhere `FROM t at` gives `t` another name.
    versions: bool,
}

impl RiverrunDialect {
    /// A dialect for a statement of those tokens. Honest statements read an expression about once a token.
    pub(super) fn new(tokens: &[TokenWithSpan]) -> Self {
        let versions = (0..tokens.len()).any(|at| starts_with(tokens, at, &["FOR", "SYSTEM_TIME"]));
        RiverrunDialect { fuel: Cell::new(16 * tokens.len() + 10_000), versions }
    }

    /// Whether the parser was stopped for trying too often.
    pub(super) fn exhausted(&self) -> bool {
        self.fuel.get() == 0
    }

    fn burn(&self) -> Result<(), ParserError> {
        let left = self.fuel.get().saturating_sub(1);
        self.fuel.set(left);
        // This is the one error that the parser does not take for a reason to try something else.
        if left == 0 { Err(ParserError::RecursionLimitExceeded) } else { Ok(()) }
    }
}

macro_rules! yes {
    ($($question:ident),* $(,)?) => {$(
        fn $question(&self) -> bool {
            true
        }
    )*};
}

impl Dialect for RiverrunDialect {
    /// The parser enables some syntax by the dialect's type, not by questions: pass for the generic one.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        character == '"' || character == '`'
    }

    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || character == '_' || character == '$'
    }

    yes!(
        supports_filter_during_aggregation,
        supports_within_after_array_aggregation,
        supports_window_clause_named_window_reference,
        supports_window_function_null_treatment_arg,
        supports_group_by_expr,
        supports_order_by_all,
        supports_left_associative_joins_without_parens,
        supports_parens_around_table_factor,
        supports_values_as_table_factor,
        supports_named_fn_args_with_rarrow_operator,
        supports_dictionary_syntax,
        support_map_literal_syntax,
        supports_struct_literal,
        supports_select_wildcard_except,
        supports_select_wildcard_exclude,
        supports_select_wildcard_replace,
        supports_array_typedef_with_brackets,
        supports_string_escape_constant,
        supports_unicode_string_literal,
        supports_numeric_literal_underscores,
        supports_nested_comments,
        supports_bitwise_shift_operators,
        supports_comma_separated_trim,
        supports_extract_comma_syntax,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_in_empty_list,
        supports_limit_comma,
        // These two carry our own clauses; what a user writes by these names stays an identifier.
        supports_settings,
        supports_prewhere,
    );

    fn supports_table_versioning(&self) -> bool {
        self.versions
    }

    fn is_column_alias(&self, keyword: &Keyword, _: &mut Parser) -> bool {
        const MORE: [Keyword; 4] = [Keyword::SETTINGS, Keyword::PREWHERE, Keyword::QUALIFY, Keyword::WINDOW];
        !RESERVED_FOR_COLUMN_ALIAS.contains(keyword) && !MORE.contains(keyword)
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if let Err(error) = self.burn() {
            return Some(Err(error));
        }
        let Token::Word(word) = &parser.peek_token_ref().token else {
            return None;
        };
        if word.quote_style.is_some() {
            return None;
        }
        if is_clause_word(word) {
            let found = parser.peek_token_ref().clone();
            return Some(parser.expected("an expression", found));
        }
        (word.keyword == Keyword::TABLE).then(|| table_argument(parser))
    }
}

/// Whether a word begins or joins clauses and can therefore not be a column. Without this, `SELECT price + FROM bids`
/// reads a column named `FROM`.
pub(super) fn is_clause_word(word: &Word) -> bool {
    use Keyword::*;
    matches!(
        word.keyword,
        SELECT
            | FROM
            | WHERE
            | GROUP
            | HAVING
            | QUALIFY
            | ORDER
            | LIMIT
            | UNION
            | EXCEPT
            | INTERSECT
            | JOIN
            | INNER
            | CROSS
            | NATURAL
            | ON
            | USING
            | INTO
            | AS
            | BY
            | AND
            | OR
            | IN
            | IS
            | LIKE
            | ILIKE
            | BETWEEN
            | WHEN
            | THEN
            | ELSE
            | END
            | SETTINGS
            | PREWHERE
    )
}

/// `TABLE name | TABLE (query) [PARTITION BY …] [ORDER BY …]`, written as a call with a window.
fn table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    let argument = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        Expr::Subquery(query)
    } else {
        let name = parser.parse_object_name(true)?;
        Expr::CompoundIdentifier(name.0.into_iter().filter_map(|part| part.as_ident().cloned()).collect())
    };
    let partition_by = match parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        true => one_or_list(parser, Parser::parse_expr)?,
        false => Vec::new(),
    };
    let order_by = match parser.parse_keywords(&[Keyword::ORDER, Keyword::BY]) {
        true => one_or_list(parser, Parser::parse_order_by_expr)?,
        false => Vec::new(),
    };
    Ok(carrier(Ident::with_span(span, TABLE_ARGUMENT), argument, partition_by, order_by))
}

/// One item, or a list of them in parentheses: a bare comma would end the argument.
fn one_or_list<'a, T>(
    parser: &mut Parser<'a>,
    mut item: impl FnMut(&mut Parser<'a>) -> Result<T, ParserError>,
) -> Result<Vec<T>, ParserError> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(vec![item(parser)?]);
    }
    let mut items = vec![item(parser)?];
    while parser.consume_token(&Token::Comma) {
        items.push(item(parser)?);
    }
    parser.expect_token(&Token::RParen)?;
    Ok(items)
}

fn carrier(name: Ident, argument: Expr, partition_by: Vec<Expr>, order_by: Vec<OrderByExpr>) -> Expr {
    let window = WindowSpec { window_name: None, partition_by, order_by, window_frame: None };
    Expr::Function(Function { over: Some(WindowType::WindowSpec(window)), ..function(name, [argument]) })
}
