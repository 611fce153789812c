//! How long, how deep and how chained a statement may be.
//!
//! The parser, the planner and the drop of a syntax tree recurse. A few kilobytes of hostile text would overflow the
//! stack, which aborts the process instead of failing the statement, so it is all counted on the tokens before.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::words::{is_named, keyword, token_at};
use crate::error::{LimitError, Result};

/// What a text of statements may not exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole text.
    pub sql_bytes: usize,
    /// Tokens of one statement.
    pub tokens: usize,
    /// Levels of parentheses, brackets, braces, `CASE` and nested types.
    pub nesting: usize,
    /// Operators, joins and set operations that depend on each other, summed over the levels they are nested in.
    pub chain: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { sql_bytes: 1 << 20, tokens: 500_000, nesting: 50, chain: 500 }
    }
}

/// How often the parser may read one part anew because of doubled parentheses around nested queries.
const REREADINGS: usize = 64;

impl Limits {
    /// Fails if `text` is too long.
    pub(super) fn check_text(&self, text: &str) -> Result<()> {
        within("sql_bytes", "bytes", text.len(), self.sql_bytes)
    }

    /// Fails if the tokens of one statement, without whitespace, go beyond a limit.
    pub(super) fn check(&self, tokens: &[TokenWithSpan]) -> Result<()> {
        within("sql_tokens", "tokens", tokens.len(), self.tokens)?;
        let mut depth = Depth::new();
        for at in 0..tokens.len() {
            depth.read(tokens, at);
            within("sql_nesting", "levels of nesting", depth.nesting(), self.nesting)?;
            within("sql_chain", "operators and joins in a chain", depth.chained, self.chain)?;
            if depth.rereadings() > REREADINGS {
                return Err(LimitError::new("sql_nesting", "too many doubled parentheses around nested queries").into());
            }
        }
        Ok(())
    }
}

fn within(setting: &'static str, what: &str, found: usize, limit: usize) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(LimitError::new(setting, format!("a statement has more than {limit} {what}")).into())
}

/// What a level was opened by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    Statement,
    Bracket,
    Case,
    Type,
}

/// One level of nesting.
#[derive(Debug, Clone, Copy)]
struct Level {
    opener: Opener,
    /// Operators of the expression that is being read; a comma begins the next expression.
    operators: usize,
    /// Joins, set operations and relations of a list: these make one plan however they are separated.
    relations: usize,
    /// Whether a comma here separates relations.
    lists_relations: bool,
    /// How often this level is read because of parentheses doubled here and outside.
    rereadings: usize,
}

/// The levels that are open at a token.
struct Depth {
    levels: Vec<Level>,
    /// The operators and relations of all open levels.
    chained: usize,
    /// How many `(` stand directly before the current token.
    run: usize,
}

impl Depth {
    fn new() -> Self {
        let mut depth = Depth { levels: Vec::new(), chained: 0, run: 0 };
        depth.open(Opener::Statement);
        depth
    }

    fn nesting(&self) -> usize {
        self.levels.len() - 1
    }

    fn rereadings(&self) -> usize {
        self.levels.last().map_or(1, |level| level.rereadings)
    }

    fn open(&mut self, opener: Opener) {
        let rereadings = self.rereadings();
        self.levels.push(Level { opener, operators: 0, relations: 0, lists_relations: false, rereadings });
    }

    /// Closes the innermost level of that kind and what was left open in it.
    fn close(&mut self, opener: Opener) {
        let Some(at) = self.levels.iter().rposition(|level| level.opener == opener) else {
            return;
        };
        for level in self.levels.drain(at.max(1)..) {
            self.chained -= level.operators + level.relations;
        }
    }

    fn read(&mut self, tokens: &[TokenWithSpan], at: usize) {
        let token = token_at(tokens, at);
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                // A subscript applies to all that stands before it, as an operator does.
                if *token == Token::LBracket {
                    self.operator();
                }
                self.open(Opener::Bracket);
            }
            Token::RParen | Token::RBracket | Token::RBrace => self.close(Opener::Bracket),
            Token::Comma => self.comma(),
            Token::Word(word) if word.quote_style.is_none() && !is_named(tokens, at) => self.word(word.keyword),
            Token::Word(_) | Token::EOF | Token::SemiColon | Token::Whitespace(_) => {}
            Token::Period => self.period(tokens, at),
            Token::Lt if is_type(token_at(tokens, at.wrapping_sub(1))) => self.open(Opener::Type),
            Token::Gt if self.innermost() == Opener::Type => self.close(Opener::Type),
            Token::ShiftRight if self.innermost() == Opener::Type => {
                self.close(Opener::Type);
                self.close(Opener::Type);
            }
            _ if is_literal(token) => {}
            _ => self.operator(),
        }
        self.count_rereadings(token);
    }

    fn innermost(&self) -> Opener {
        self.levels.last().map_or(Opener::Statement, |level| level.opener)
    }

    fn operator(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.operators += 1;
            self.chained += 1;
        }
    }

    fn relation(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.relations += 1;
            self.chained += 1;
        }
    }

    /// The next expression begins.
    fn restart(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            self.chained -= level.operators;
            level.operators = 0;
        }
    }

    fn list_relations(&mut self, yes: bool) {
        if let Some(level) = self.levels.last_mut() {
            level.lists_relations = yes;
        }
    }

    fn comma(&mut self) {
        self.restart();
        if self.levels.last().is_some_and(|level| level.lists_relations) {
            self.relation();
        }
    }

    /// `a.b` is one name; every further step is an operation on what is before it.
    fn period(&mut self, tokens: &[TokenWithSpan], at: usize) {
        if *token_at(tokens, at.wrapping_sub(2)) == Token::Period {
            self.operator();
        }
    }

    fn word(&mut self, keyword: Keyword) {
        use Keyword::*;
        match keyword {
            CASE => self.open(Opener::Case),
            END if self.innermost() == Opener::Case => self.close(Opener::Case),
            FROM | WITH => {
                self.restart();
                self.list_relations(true);
            }
            SELECT | WHERE | GROUP | ORDER | HAVING | QUALIFY | WINDOW | LIMIT | VALUES => {
                self.restart();
                self.list_relations(false);
            }
            ON | WHEN | THEN | ELSE => self.restart(),
            UNION | EXCEPT | INTERSECT | MINUS => {
                self.restart();
                self.list_relations(false);
                self.relation();
            }
            JOIN | STRAIGHT_JOIN | APPLY | PIVOT | UNPIVOT | LATERAL => self.relation(),
            AND | OR | XOR | NOT | IS | IN | BETWEEN | OVERLAPS | LIKE | ILIKE | RLIKE | REGEXP | SIMILAR | MATCH
            | MEMBER | OPERATOR | DIV | NOTNULL | AT | INTERVAL | COLLATE | PRIOR | ANY | ALL | SOME | EXISTS
            | INSERT | EXPLAIN | TABLE => self.operator(),
            _ => {}
        }
    }

    /// `((SELECT …` after `FROM` may be a query in parentheses or a join in parentheses; the parser tries one, then the
    /// other, and so reads what is inside once for every parenthesis of the run, nested runs multiplying.
    fn count_rereadings(&mut self, token: &Token) {
        if *token == Token::LParen {
            self.run += 1;
            return;
        }
        let begins_query = matches!(keyword(token), Keyword::SELECT | Keyword::WITH | Keyword::VALUES);
        if self.run > 1
            && begins_query
            && let Some(level) = self.levels.last_mut()
        {
            level.rereadings = level.rereadings.saturating_mul(self.run);
        }
        self.run = 0;
    }
}

/// Whether `<` after this word opens the arguments of a type.
fn is_type(token: &Token) -> bool {
    matches!(keyword(token), Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP | Keyword::TABLE)
}

fn is_literal(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::Placeholder(_)
    )
}
