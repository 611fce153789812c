//! What the parser accepts and nobody would do: refused here, with its place.
//!
//! Much of what follows is syntax of other dialects that the planner ignores without a word, which would give a wrong
//! answer instead of an error.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, JoinOperator, LimitClause, ObjectName, OrderBy, Query, Select, SelectFlavor, SelectItem,
    SetExpr, SetOperator, Spanned, TableFactor, TableVersion, Visit, Visitor,
};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::dialect::is_clause_word;
use super::source::Source;
use super::statement::CLAUSE_CARRIER;
use super::syntax::expected_message;
use super::time::length_of;
use super::walk::visit;
use super::words::{is_named, keyword, starts_with};
use crate::error::{Code, Error, Result, StatementError};

/// Syntax of other dialects: how it begins, what it is called, what to write instead.
struct Foreign {
    words: &'static [&'static str],
    name: &'static str,
    hint: &'static str,
}

const fn foreign(words: &'static [&'static str], name: &'static str, hint: &'static str) -> Foreign {
    Foreign { words, name, hint }
}

const PUT_INTO_LIMIT: &str = "Use LIMIT.";
const VERSION_HINT: &str =
    "Write a JOIN t FOR SYSTEM_TIME AS OF … AS x ON …: behind the name of the relation, before its alias.";
const TOP_N: &str = "Use ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) with QUALIFY.";

/// The longer beginnings first.
const FOREIGN: &[Foreign] = &[
    foreign(&["MATCH_RECOGNIZE"], "MATCH_RECOGNIZE", ""),
    foreign(&["FOR", "SYSTEM_TIME"], "FOR SYSTEM_TIME here", VERSION_HINT),
    foreign(&["TABLESAMPLE"], "TABLESAMPLE", "Filter with random() instead."),
    foreign(&["SAMPLE"], "SAMPLE", "Filter with random() instead."),
    foreign(&["PIVOT"], "PIVOT", "Use aggregates with FILTER (WHERE …)."),
    foreign(&["UNPIVOT"], "UNPIVOT", "Use UNION ALL, or UNNEST of an array."),
    foreign(&["FETCH", "FIRST"], "FETCH FIRST", PUT_INTO_LIMIT),
    foreign(&["FETCH", "NEXT"], "FETCH NEXT", PUT_INTO_LIMIT),
    foreign(&["TOP"], "TOP", PUT_INTO_LIMIT),
    foreign(&["RECURSIVE"], "a recursive query", ""),
    foreign(&["WITH", "ORDINALITY"], "WITH ORDINALITY", ""),
    foreign(&["WITH", "OFFSET"], "WITH OFFSET", ""),
    foreign(&["LATERAL", "VIEW"], "LATERAL VIEW", "Use CROSS JOIN UNNEST(…)."),
    foreign(&["CLUSTER", "BY"], "CLUSTER BY", ""),
    foreign(&["DISTRIBUTE", "BY"], "DISTRIBUTE BY", ""),
    foreign(&["SORT", "BY"], "SORT BY", "Use ORDER BY."),
    foreign(&["CONNECT", "BY"], "CONNECT BY", ""),
    foreign(&["START", "WITH"], "START WITH", ""),
    foreign(&["FORMAT"], "FORMAT", "To choose a file format, use COPY … TO … WITH (format = '…')."),
    foreign(&["SETTINGS"], "SETTINGS", "Use a SET statement."),
    foreign(&["PREWHERE"], "PREWHERE", "Use WHERE."),
    foreign(&["|", ">"], "the pipe operator", ""),
    foreign(&["RETURNING"], "RETURNING", ""),
];

/// The error of foreign syntax that the parser has stumbled over, at the token `at` or just before it.
pub(super) fn unsupported_at(source: &Source, tokens: &[TokenWithSpan], at: usize) -> Option<Error> {
    let candidates = [Some(at), at.checked_sub(1), at.checked_sub(2)];
    candidates.into_iter().flatten().find_map(|at| {
        // Only our own carriers still are keywords of the parser; they stand for an EMIT or KEEP.
        if matches!(keyword(&tokens.get(at)?.token), Keyword::SETTINGS | Keyword::PREWHERE) {
            return None;
        }
        let foreign = FOREIGN.iter().find(|foreign| starts_with(tokens, at, foreign.words))?;
        (!is_named(tokens, at))
            .then(|| unsupported(source, span_at(tokens, at, foreign.words.len()), foreign.name, foreign.hint))
    })
}

fn span_at(tokens: &[TokenWithSpan], at: usize, count: usize) -> Span {
    let last = tokens.get(at + count.saturating_sub(1)).or_else(|| tokens.last());
    match (tokens.get(at), last) {
        (Some(first), Some(last)) => Span::new(first.span.start, last.span.end),
        _ => Span::empty(),
    }
}

fn unsupported(source: &Source, span: Span, name: &str, hint: &str) -> Error {
    let error = StatementError::new(Code::Unsupported, format!("{name} is not supported")).at(source.place(span));
    if hint.is_empty() { error.into() } else { error.hint(hint).into() }
}

/// Fails if anything in a query is not ours. `tokens` are the statement's, to find the place of what has none in the
/// tree.
pub(super) fn validate<T: Visit>(source: &Source, tokens: &[TokenWithSpan], tree: &T) -> Result<()> {
    match visit(tree, &mut Validator { source, tokens }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Validator<'a> {
    source: &'a Source,
    tokens: &'a [TokenWithSpan],
}

impl Validator<'_> {
    /// Fails if `found`, at the first place where the statement says `words`.
    fn refuse(&self, found: bool, words: &[&str], name: &str, hint: &str) -> Result<()> {
        if !found {
            return Ok(());
        }
        let foreign = FOREIGN.iter().find(|foreign| foreign.words == words);
        let hint = foreign.map_or(hint, |foreign| foreign.hint);
        let at = (0..self.tokens.len()).find(|at| starts_with(self.tokens, *at, words) && !is_named(self.tokens, *at));
        let span = at.map_or_else(|| self.statement(), |at| span_at(self.tokens, at, words.len()));
        Err(unsupported(self.source, span, name, hint))
    }

    fn statement(&self) -> Span {
        span_at(self.tokens, 0, self.tokens.len())
    }

    fn query(&self, query: &Query) -> Result<()> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        self.refuse(with.as_ref().is_some_and(|with| with.recursive), &["RECURSIVE"], "a recursive query", "")?;
        self.refuse(fetch.is_some(), &["FETCH"], "FETCH FIRST", PUT_INTO_LIMIT)?;
        self.refuse(!locks.is_empty(), &["FOR"], "a row lock", "Leave it out: a query reads a consistent state.")?;
        self.refuse(for_clause.is_some(), &["FOR"], "FOR XML, JSON or BROWSE", "")?;
        self.refuse(format_clause.is_some(), &["FORMAT"], "FORMAT", "")?;
        self.refuse(!pipe_operators.is_empty(), &["|", ">"], "the pipe operator", "")?;
        let foreign_setting = settings.iter().flatten().any(|setting| setting.key.value != CLAUSE_CARRIER);
        self.refuse(foreign_setting, &["SETTINGS"], "SETTINGS", "")?;
        self.limit(limit_clause.as_ref())?;
        self.order(order_by.as_ref())?;
        self.body(body)
    }

    fn limit(&self, limit: Option<&LimitClause>) -> Result<()> {
        match limit {
            Some(LimitClause::LimitOffset { limit_by, .. }) => {
                self.refuse(!limit_by.is_empty(), &["LIMIT"], "LIMIT BY", TOP_N)
            }
            Some(LimitClause::OffsetCommaLimit { .. }) | None => Ok(()),
        }
    }

    fn order(&self, order: Option<&OrderBy>) -> Result<()> {
        self.refuse(order.is_some_and(|order| order.interpolate.is_some()), &["INTERPOLATE"], "INTERPOLATE", "")
    }

    /// A set operation's sides are visited here, because the visitor only calls for queries and selects.
    fn body(&self, body: &SetExpr) -> Result<()> {
        let writes = "Write it as a statement of its own.";
        match body {
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
            SetExpr::SetOperation { left, op, right, .. } => {
                self.refuse(*op == SetOperator::Minus, &["MINUS"], "MINUS", "Use EXCEPT.")?;
                self.body(left)?;
                self.body(right)
            }
            SetExpr::Insert(_) => self.refuse(true, &["INSERT"], "INSERT inside a query", writes),
            SetExpr::Update(_) => self.refuse(true, &["UPDATE"], "UPDATE inside a query", writes),
            SetExpr::Delete(_) => self.refuse(true, &["DELETE"], "DELETE inside a query", writes),
            SetExpr::Merge(_) => self.refuse(true, &["MERGE"], "MERGE inside a query", writes),
        }
    }

    fn select(&self, select: &Select) -> Result<()> {
        self.refuse(select.top.is_some(), &["TOP"], "TOP", "")?;
        let materialize = "Use INSERT INTO … SELECT, or CREATE MATERIALIZED VIEW … AS SELECT.";
        self.refuse(select.into.is_some(), &["INTO"], "SELECT INTO", materialize)?;
        self.refuse(select.select_modifiers.is_some(), &["SELECT"], "a modifier of SELECT", "")?;
        self.refuse(select.exclude.is_some(), &["EXCLUDE"], "EXCLUDE behind the columns", "Write * EXCLUDE (…).")?;
        self.refuse(!select.lateral_views.is_empty(), &["LATERAL", "VIEW"], "LATERAL VIEW", "")?;
        self.refuse(!select.connect_by.is_empty(), &["CONNECT", "BY"], "CONNECT BY", "")?;
        self.refuse(!select.cluster_by.is_empty(), &["CLUSTER", "BY"], "CLUSTER BY", "")?;
        self.refuse(!select.distribute_by.is_empty(), &["DISTRIBUTE", "BY"], "DISTRIBUTE BY", "")?;
        self.refuse(!select.sort_by.is_empty(), &["SORT", "BY"], "SORT BY", "")?;
        self.refuse(
            select.value_table_mode.is_some(),
            &["SELECT", "AS"],
            "SELECT AS STRUCT or VALUE",
            "Use struct(…).",
        )?;
        let from_first = select.flavor != SelectFlavor::Standard;
        self.refuse(from_first, &["FROM"], "FROM before SELECT", "")?;
        let modified = match &select.group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => !modifiers.is_empty(),
        };
        self.refuse(modified, &["WITH"], "WITH behind GROUP BY", "Use ROLLUP (…), CUBE (…) or GROUPING SETS (…).")?;
        let many = select.projection.iter().any(|item| matches!(item, SelectItem::ExprWithAliases { .. }));
        self.refuse(many, &["AS", "("], "a list of aliases", "")?;
        select.from.iter().flat_map(|from| &from.joins).try_for_each(|join| self.join(&join.join_operator))
    }

    fn join(&self, operator: &JoinOperator) -> Result<()> {
        use JoinOperator::*;
        match operator {
            Join(_)
            | Inner(_)
            | Left(_)
            | LeftOuter(_)
            | Right(_)
            | RightOuter(_)
            | FullOuter(_)
            | CrossJoin(_)
            | Semi(_)
            | LeftSemi(_)
            | RightSemi(_)
            | Anti(_)
            | LeftAnti(_)
            | RightAnti(_)
            | AsOf { .. } => Ok(()),
            CrossApply | OuterApply => self.refuse(true, &["APPLY"], "APPLY", "Use JOIN LATERAL (…) ON true."),
            StraightJoin(_) => self.refuse(true, &["STRAIGHT_JOIN"], "STRAIGHT_JOIN", "Use JOIN."),
            ArrayJoin | LeftArrayJoin | InnerArrayJoin => {
                self.refuse(true, &["ARRAY", "JOIN"], "ARRAY JOIN", "Use CROSS JOIN UNNEST(…).")
            }
        }
    }

    fn relation(&self, relation: &TableFactor) -> Result<()> {
        match relation {
            TableFactor::Table {
                name,
                with_hints,
                version,
                with_ordinality,
                partitions,
                sample,
                index_hints,
                json_path,
                ..
            } => {
                self.relation_name(name)?;
                self.refuse(!with_hints.is_empty() || !index_hints.is_empty(), &["WITH", "("], "a table hint", "")?;
                match version {
                    Some(TableVersion::ForSystemTimeAsOf(_)) | None => {}
                    // The parser's versions are not ours to enumerate.
                    Some(_) => self.refuse(true, &[], "this version of a table", VERSION_HINT)?,
                }
                self.refuse(*with_ordinality, &["WITH", "ORDINALITY"], "WITH ORDINALITY", "")?;
                self.refuse(!partitions.is_empty(), &["PARTITION"], "PARTITION behind a table", "Use WHERE.")?;
                self.refuse(json_path.is_some(), &["["], "a path behind a table", "")?;
                self.refuse(sample.is_some(), &["TABLESAMPLE"], "TABLESAMPLE", "")
            }
            TableFactor::Derived { sample, .. } => self.refuse(sample.is_some(), &["TABLESAMPLE"], "TABLESAMPLE", ""),
            TableFactor::Function { with_ordinality, .. } => {
                self.refuse(*with_ordinality, &["WITH", "ORDINALITY"], "WITH ORDINALITY", "")
            }
            TableFactor::UNNEST { with_ordinality, with_offset, .. } => {
                self.refuse(*with_ordinality, &["WITH", "ORDINALITY"], "WITH ORDINALITY", "")?;
                self.refuse(*with_offset, &["WITH", "OFFSET"], "WITH OFFSET", "")
            }
            TableFactor::TableFunction { .. } | TableFactor::NestedJoin { .. } => Ok(()),
            TableFactor::JsonTable { .. } => self.refuse(true, &["JSON_TABLE"], "JSON_TABLE", "Use json_get(…)."),
            TableFactor::OpenJsonTable { .. } => self.refuse(true, &["OPENJSON"], "OPENJSON", "Use json_get(…)."),
            TableFactor::XmlTable { .. } => self.refuse(true, &["XMLTABLE"], "XMLTABLE", ""),
            TableFactor::SemanticView { .. } => self.refuse(true, &["SEMANTIC_VIEW"], "SEMANTIC_VIEW", ""),
            TableFactor::Pivot { .. } => self.refuse(true, &["PIVOT"], "PIVOT", ""),
            TableFactor::Unpivot { .. } => self.refuse(true, &["UNPIVOT"], "UNPIVOT", ""),
            TableFactor::MatchRecognize { .. } => self.refuse(true, &["MATCH_RECOGNIZE"], "MATCH_RECOGNIZE", ""),
        }
    }

    /// The parser takes `WHERE` in `SELECT * FROM WHERE` for a table.
    fn relation_name(&self, name: &ObjectName) -> Result<()> {
        let Some(first) = name.0.first().and_then(|part| part.as_ident()) else {
            return Ok(());
        };
        match Token::make_word(&first.value, first.quote_style) {
            Token::Word(word) if is_clause_word(&word) => {
                let message = expected_message("the name of a relation", Some(&first.value));
                Err(StatementError::new(Code::Syntax, message).at(self.source.place(first.span)).into())
            }
            _ => Ok(()),
        }
    }

    fn expr(&self, expr: &Expr) -> Result<()> {
        match expr {
            Expr::Interval(_) => length_of(expr).map(drop).map_err(|message| {
                StatementError::new(Code::InvalidArgument, message)
                    .at(self.source.place(expr.span()))
                    .hint("Write an interval such as INTERVAL '1 day 2 hours' or INTERVAL '5' SECOND.")
                    .into()
            }),
            Expr::OuterJoin(_) => self.refuse(true, &["(", "+", ")"], "the outer join operator (+)", "Use LEFT JOIN."),
            Expr::Prior(_) => self.refuse(true, &["PRIOR"], "PRIOR", ""),
            Expr::Lambda(_) => self.refuse(true, &["->"], "a lambda", ""),
            Expr::MatchAgainst { .. } => {
                self.refuse(true, &["MATCH"], "MATCH … AGAINST", "Use LIKE or regexp_like(…).")
            }
            _ => Ok(()),
        }
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl Visitor for Validator<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        flow(self.query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        flow(self.select(select))
    }

    fn pre_visit_table_factor(&mut self, relation: &TableFactor) -> ControlFlow<Error> {
        flow(self.relation(relation))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        flow(self.expr(expr))
    }
}
