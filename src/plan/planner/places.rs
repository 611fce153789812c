//! Where the parts of a query stand that DataFusion's plan keeps no place of.
//!
//! A refusal is rare, so the syntax tree is only searched when there is one. Where it has several parts of the kind,
//! the columns, names or numbers of the plan's node say which of them it was made of.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use datafusion_common::Span as PlanSpan;
use datafusion_expr::logical_plan::{self as logical, FetchType, SkipType};
use datafusion_expr::{Expr, SortExpr};
use sqlparser::ast::{self, LimitClause, Spanned, TableFactor, TableWithJoins, Visitor};
use sqlparser::tokenizer::{Location, Span};

use crate::catalog::{Catalog, Relation};
use crate::error::{Place, StatementError};
use crate::plan::node::{Aggregate, Node};
use crate::sql;

/// A query, and the views it names, to find places in.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub query: &'a sql::Query,
    pub catalog: &'a Catalog,
}

/// A part of a query.
struct Part {
    kind: Kind,
    place: Place,
    /// From where to where it reaches, as DataFusion counts.
    span: Span,
}

enum Kind {
    /// A join with the relation that is called so on its right.
    Join(Option<String>),
    /// A relation, and what it is called.
    Relation(Option<String>),
    Unnest,
    /// `ORDER BY` with columns of those names.
    OrderBy(BTreeSet<String>),
    /// `LIMIT` and `OFFSET`, where they are written as numbers.
    Limit(Option<usize>, Option<usize>),
    /// A call of the function of that name.
    Call(String),
}

impl Places<'_> {
    /// The query itself.
    pub fn query(&self) -> Place {
        let place = sql::place_of(&self.query.text, self.query.ast.span());
        first_line(&self.query.text, place.bytes())
    }

    /// An error that has a place: at least that of the query.
    pub fn placed(&self, error: StatementError) -> StatementError {
        match error.place() {
            Some(_) => error,
            None => error.at(self.query()),
        }
    }

    /// The `ORDER BY` with those keys.
    pub fn order_by(&self, keys: &[SortExpr]) -> Place {
        let columns = keys.iter().flat_map(|key| key.expr.column_refs());
        let columns: BTreeSet<String> = columns.map(|column| column.name.clone()).collect();
        let named = |kind: &Kind| matches!(kind, Kind::OrderBy(names) if !names.is_disjoint(&columns));
        let orders = self.parts(named);
        match orders.is_empty() {
            true => self.pick(self.parts(|kind| matches!(kind, Kind::OrderBy(_))), &[]),
            false => self.pick(orders, &spans(keys.iter().map(|key| &key.expr))),
        }
    }

    /// The `LIMIT` that skips and fetches so many rows.
    pub fn limit(&self, node: &logical::Limit) -> Place {
        let numbers = match (node.get_skip_type(), node.get_fetch_type()) {
            (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) => {
                (Some(skip).filter(|skip| *skip > 0), fetch)
            }
            _ => (None, None),
        };
        let same = self.parts(|kind| matches!(kind, Kind::Limit(skip, fetch) if (*skip, *fetch) == numbers));
        match same.is_empty() {
            true => self.pick(self.parts(|kind| matches!(kind, Kind::Limit(..))), &[]),
            false => self.pick(same, &[]),
        }
    }

    /// The join that became `node`.
    pub fn join(&self, node: &logical::Join) -> Place {
        let sides = names(node.right.schema()).chain(names(node.left.schema())).collect::<BTreeSet<_>>();
        let condition = node.on.iter().flat_map(|(left, right)| [left, right]).chain(&node.filter);
        let evidence = spans(condition);
        let named = |kind: &Kind| matches!(kind, Kind::Join(Some(name)) if sides.contains(name));
        let joins = self.parts(named);
        match joins.is_empty() {
            true => self.pick(self.parts(|kind| matches!(kind, Kind::Join(_))), &evidence),
            false => self.pick(joins, &evidence),
        }
    }

    /// The relation that is called so, or nothing if there is none.
    pub fn relation(&self, called: &str) -> Option<Place> {
        let parts = self.parts(|kind| matches!(kind, Kind::Relation(Some(name)) if name == called));
        parts.into_iter().next().map(|part| part.place)
    }

    /// The first `UNNEST`.
    pub fn unnest(&self) -> Place {
        self.pick(self.parts(|kind| matches!(kind, Kind::Unnest)), &[])
    }

    /// The call of a function with those arguments.
    pub fn call<'e>(&self, function: &str, arguments: impl IntoIterator<Item = &'e Expr>) -> Place {
        let calls = self.parts(|kind| matches!(kind, Kind::Call(name) if name == function));
        self.pick(calls, &spans(arguments))
    }

    /// What in the query makes the state of `node` what it is.
    pub fn node(&self, node: &Node) -> Place {
        match node {
            Node::KeyedJoin(_) => {
                let keeps = self.query.clauses.iter().find(|clause| clause.keep == Some(sql::KeepMode::Product));
                keeps.map_or_else(|| self.query(), |clause| clause.place.clone())
            }
            Node::Sort(_) => self.pick(self.parts(|kind| matches!(kind, Kind::OrderBy(_))), &[]),
            Node::Aggregate(Aggregate { aggregates, .. }) => {
                let grows = aggregates.iter().find(|call| crate::plan::bounds::grows(call));
                grows.map_or_else(|| self.query(), |call| self.call(&call.function, None))
            }
            Node::Source(_)
            | Node::Values(_)
            | Node::Filter(_)
            | Node::Project(_)
            | Node::Unnest(_)
            | Node::Expand(_)
            | Node::Union(_)
            | Node::Join(_)
            | Node::AsofJoin(_)
            | Node::LookupJoin(_)
            | Node::Collect(_)
            | Node::Logic(_)
            | Node::Limit(_)
            | Node::TopN(_)
            | Node::Over(_)
            | Node::Windows(_)
            | Node::WindowAggregate(_) => self.query(),
        }
    }

    /// The parts of a kind: those of the query itself or, if it has none, those of the views it names.
    fn parts(&self, wanted: impl Fn(&Kind) -> bool) -> Vec<Part> {
        let mut seen = BTreeSet::new();
        let mut queries = vec![self.query];
        while !queries.is_empty() {
            let mut parts: Vec<Part> = queries.iter().flat_map(|query| Finder::parts(query)).collect();
            parts.retain(|part| wanted(&part.kind));
            if !parts.is_empty() {
                return parts;
            }
            let views = queries.iter().flat_map(|query| relations(query));
            let fresh: Vec<String> = views.filter(|name| seen.insert(name.clone())).collect();
            queries = fresh.iter().filter_map(|name| self.view(name)).collect();
        }
        vec![]
    }

    fn view(&self, name: &str) -> Option<&sql::Query> {
        match self.catalog.relations.get(name)? {
            Relation::View(view) => Some(&view.query),
            Relation::Stream(_) | Relation::Table(_) | Relation::Derived(_) | Relation::Materialized(_) => None,
        }
    }

    /// The first part that holds any of the evidence; the first of all where none does.
    fn pick(&self, parts: Vec<Part>, evidence: &[PlanSpan]) -> Place {
        let holds = |part: &Part| evidence.iter().any(|span| within(span, part.span));
        let at = parts.iter().position(holds).unwrap_or_default();
        parts.into_iter().nth(at).map_or_else(|| self.query(), |part| part.place)
    }
}

fn within(inner: &PlanSpan, outer: Span) -> bool {
    let at = |location: Location| (location.line, location.column);
    at(outer.start) <= (inner.start.line, inner.start.column) && (inner.end.line, inner.end.column) <= at(outer.end)
}

/// Where the columns of expressions were written.
fn spans<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> Vec<PlanSpan> {
    let columns = exprs.into_iter().flat_map(|expr| expr.column_refs());
    columns.flat_map(|column| column.spans.iter().copied().collect::<Vec<_>>()).collect()
}

/// What the relations are called whose columns a schema has.
fn names(schema: &datafusion_common::DFSchema) -> impl Iterator<Item = String> {
    schema.iter().filter_map(|(qualifier, _)| qualifier.map(|qualifier| qualifier.table().to_string()))
}

fn relations(query: &sql::Query) -> Vec<String> {
    let mut names = vec![];
    let _: ControlFlow<()> = sql::visit_relations(query.ast.as_ref(), |relation| {
        names.push(relation.to_string().to_lowercase());
        ControlFlow::Continue(())
    });
    names
}

/// Gathers the parts of one query, inner ones first: they are planned first.
struct Finder<'a> {
    text: &'a Arc<str>,
    parts: Vec<Part>,
}

impl Finder<'_> {
    fn parts(query: &sql::Query) -> Vec<Part> {
        let mut finder = Finder { text: &query.text, parts: vec![] };
        let _: ControlFlow<()> = sql::visit(query.ast.as_ref(), &mut finder);
        finder.parts
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        sql::place_of(self.text, span).bytes()
    }

    fn add(&mut self, kind: Kind, place: Place, span: Span) {
        self.parts.push(Part { kind, place, span });
    }

    fn joins(&mut self, chain: &TableWithJoins) {
        if let TableFactor::NestedJoin { table_with_joins, .. } = &chain.relation {
            self.joins(table_with_joins);
        }
        for join in &chain.joins {
            if let TableFactor::NestedJoin { table_with_joins, .. } = &join.relation {
                self.joins(table_with_joins);
            }
            if !is_unnest(&join.relation) {
                self.add(Kind::Join(called(&join.relation)), join_place(self.text, join), join.span());
            }
        }
    }
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if let Some(order) = &query.order_by {
            let end = self.bytes(order.span()).start;
            let place = word_before(self.text, end, "order").map(|word| Place::new(self.text.clone(), word));
            if let Some(place) = place {
                self.add(Kind::OrderBy(columns_of(order)), place, order.span());
            }
        }
        if let Some(limit) = &query.limit_clause {
            let (skip, fetch) = limits(limit);
            let end = self.bytes(limit.span()).start;
            let words = ["limit", "offset"].into_iter().filter_map(|word| word_before(self.text, end, word));
            if let Some(word) = words.max_by_key(|word| word.start) {
                let place = Place::new(self.text.clone(), word);
                self.add(Kind::Limit(skip, fetch), place, limit.span());
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &ast::Select) -> ControlFlow<()> {
        // The last chain is a keyed join if it has a clause.
        let marked = usize::from(select.prewhere.is_some());
        for (nth, chain) in select.from.iter().enumerate() {
            if nth + marked < select.from.len() {
                self.joins(chain);
            }
            if nth > 0 && !is_unnest(&chain.relation) {
                let place = relation_place(self.text, &chain.relation);
                self.add(Kind::Join(called(&chain.relation)), place, chain.relation.span());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, relation: &TableFactor) -> ControlFlow<()> {
        let place = relation_place(self.text, relation);
        let kind = if is_unnest(relation) { Kind::Unnest } else { Kind::Relation(called(relation)) };
        self.add(kind, place, relation.span());
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(call) = expr {
            let name = call.name.to_string().to_lowercase();
            let place = sql::place_of(self.text, call.name.span());
            let kind = if name == "unnest" { Kind::Unnest } else { Kind::Call(name) };
            self.add(kind, place, call.span());
        }
        ControlFlow::Continue(())
    }
}

const JOIN_WORDS: [&str; 12] =
    ["JOIN", "ASOF", "INNER", "LEFT", "RIGHT", "FULL", "OUTER", "CROSS", "NATURAL", "SEMI", "ANTI", "LATERAL"];

/// The names of the columns in an `ORDER BY`.
fn columns_of(order: &ast::OrderBy) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _: ControlFlow<()> = sql::visit_expressions(order, |expr| {
        match expr {
            ast::Expr::Identifier(name) => names.extend([folded(name)]),
            ast::Expr::CompoundIdentifier(parts) => names.extend(parts.last().map(folded)),
            // Only columns are looked for.
            _ => {}
        }
        ControlFlow::Continue(())
    });
    names
}

/// A name as it is looked up.
pub(super) fn folded(name: &ast::Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

fn is_unnest(relation: &TableFactor) -> bool {
    matches!(relation, TableFactor::UNNEST { .. })
}

fn limits(limit: &LimitClause) -> (Option<usize>, Option<usize>) {
    let number = |expr: &ast::Expr| expr.to_string().parse().ok();
    match limit {
        LimitClause::LimitOffset { limit, offset, .. } => {
            (offset.as_ref().and_then(|offset| number(&offset.value)), limit.as_ref().and_then(number))
        }
        LimitClause::OffsetCommaLimit { offset, limit } => (number(offset), number(limit)),
    }
}

/// What the columns of a relation are qualified by.
fn called(relation: &TableFactor) -> Option<String> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::NestedJoin { alias: Some(alias), .. }
        | TableFactor::TableFunction { alias: Some(alias), .. } => Some(folded(&alias.name)),
        TableFactor::Table { name, alias: None, .. } => name.0.last()?.as_ident().map(folded),
        // The parser's relations are not ours to enumerate: the others have no name.
        _ => None,
    }
}

/// From the first word of a join to the end of its condition.
pub(super) fn join_place(text: &Arc<str>, join: &ast::Join) -> Place {
    let bytes = relation_bytes(text, &join.relation, join.span());
    let start = back_over(text, bytes.start, &JOIN_WORDS);
    let end = over_closing(text, bytes.clone(), &(start..bytes.start));
    first_line(text, start..end)
}

/// The bytes of a span that begins with a relation. The parser's place of an `UNNEST` is that of its list.
fn relation_bytes(text: &Arc<str>, relation: &TableFactor, span: Span) -> Range<usize> {
    let bytes = sql::place_of(text, span).bytes();
    match word_before(text, bytes.start, "unnest").filter(|_| is_unnest(relation)) {
        Some(word) => word.start..bytes.end,
        None => bytes,
    }
}

fn relation_place(text: &Arc<str>, relation: &TableFactor) -> Place {
    let bytes = relation_bytes(text, relation, relation.span());
    let start = match relation {
        TableFactor::Derived { .. } => back_over(text, bytes.start, &[]),
        // Only a query in parentheses begins behind its place.
        _ => bytes.start,
    };
    let end = over_closing(text, bytes.clone(), &(start..bytes.start));
    first_line(text, start..end)
}

/// The part of a range that is on its first line.
pub(super) fn first_line(text: &Arc<str>, bytes: Range<usize>) -> Place {
    let line = text.get(bytes.clone()).and_then(|part| part.lines().next()).map_or(0, |line| line.trim_end().len());
    Place::new(text.clone(), bytes.start..bytes.start + line)
}

/// Where what stands before `at` begins, if it is opening parentheses and these words.
pub(super) fn back_over(text: &str, at: usize, words: &[&str]) -> usize {
    let mut start = at;
    loop {
        let before = text.get(..start).unwrap_or_default().trim_end();
        let word = before.rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default();
        start = if before.ends_with('(') {
            before.len() - 1
        } else if words.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            before.len() - word.len()
        } else {
            return start;
        };
    }
}

/// Where a range ends once the parentheses that `opening` has opened are closed.
pub(super) fn over_closing(text: &str, bytes: Range<usize>, opening: &Range<usize>) -> usize {
    let count = |range: Range<usize>, sign: char| text.get(range).unwrap_or_default().matches(sign).count();
    let mut end = bytes.end;
    let mut open = count(opening.clone(), '(') + count(bytes.clone(), '(');
    open = open.saturating_sub(count(bytes, ')'));
    while open > 0 {
        let rest = text.get(end..).unwrap_or_default();
        let Some(closing) = rest.trim_start().strip_prefix(')') else { break };
        end = text.len() - closing.len();
        open -= 1;
    }
    end
}

/// The last place before `end` where a keyword stands.
pub(super) fn word_before(text: &str, end: usize, word: &str) -> Option<Range<usize>> {
    let before = text.get(..end)?.to_ascii_lowercase();
    let part_of_word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let whole = |(start, found): &(usize, &str)| {
        !part_of_word(before[..*start].chars().next_back())
            && !part_of_word(before[start + found.len()..].chars().next())
    };
    before.rmatch_indices(word).find(whole).map(|(start, found)| start..start + found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reaches_back_over_keywords_and_forward_over_parentheses() {
        let text: Arc<str> = "a LEFT JOIN (SELECT 1\n) b".into();
        let start = back_over(&text, 13, &JOIN_WORDS);
        assert_eq!(start, 2);
        let end = over_closing(&text, 13..21, &(start..13));
        assert_eq!(&text[start..end], "LEFT JOIN (SELECT 1\n)");
        assert_eq!(first_line(&text, start..end).offending(), "LEFT JOIN (SELECT 1");
    }

    #[test]
    fn a_word_is_found_before_and_whole() {
        assert_eq!(word_before("ORDER BY reorder", 16, "order"), Some(0..5));
        assert_eq!(word_before("reorder", 7, "order"), None);
    }
}
