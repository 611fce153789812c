//! `USING (k)`: what `k` means behind the join.
//!
//! In standard SQL the joined sides' `k` merge into one column: the left side's, or for a `RIGHT JOIN` the right
//! side's, or for a `FULL JOIN` whichever is there. The planner underneath calls `k` ambiguous from the third side on,
//! and takes the left side's for a `FULL JOIN`. So the references are written out before it sees them:
//!
//! ```text
//! SELECT k FROM a JOIN b USING (k)                         a.k
//! SELECT k FROM a FULL JOIN b USING (k)                    coalesce(a.k, b.k) AS k
//! … a FULL JOIN b USING (k) FULL JOIN c USING (k)          … ON coalesce(a.k, b.k) = c.k
//! ```
//!
//! This needs no column names: a key is named in the `USING` itself, and a side by its alias.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, OrderBy, OrderByKind, Query, Select,
    SelectItem, SetExpr, Spanned, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};

use super::call::call;
use super::source::Source;
use super::walk::visit_mut;
use crate::error::{Code, Error, Result, StatementError};

/// Writes out every reference to a `USING` key, in the query and in those nested in it.
pub(super) fn merge_keys(source: &Source, query: &mut Query) -> Result<()> {
    match visit_mut(query, &mut Queries { source }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Queries<'a> {
    source: &'a Source,
}

impl VisitorMut for Queries<'_> {
    type Break = Error;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match self.body(&mut query.body, query.order_by.as_mut()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Queries<'_> {
    /// The `ORDER BY` behind a set operation names output columns, so it belongs to a lone select only.
    fn body(&self, body: &mut SetExpr, order_by: Option<&mut OrderBy>) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select, order_by),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, None)?;
                self.body(right, None)
            }
            // A query in parentheses is visited by itself; the others have no joins.
            SetExpr::Query(_)
            | SetExpr::Values(_)
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => Ok(()),
        }
    }

    fn select(&self, select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
        let mut keys = Keys::default();
        for from in &mut select.from {
            keys.append(Keys::of(from));
        }
        if keys.0.is_empty() {
            return Ok(());
        }
        self.refuse_star(select, &keys)?;
        if let Some(order_by) = order_by {
            replace_in_order(select, order_by, &keys);
        }
        replace_in_select(select, &keys);
        Ok(())
    }

    /// `*` would take the left side's column.
    fn refuse_star(&self, select: &Select, keys: &Keys) -> Result<()> {
        if keys.0.iter().all(|key| key.is_first() && key.sides <= SIDES_MAX) {
            return Ok(());
        }
        let star = select.projection.iter().find(|item| matches!(item, SelectItem::Wildcard(_)));
        let Some(star) = star else {
            return Ok(());
        };
        let message = match keys.0.iter().all(Key::is_first) {
            true => "\"*\" over more than three sides joined with USING is not supported",
            false => "\"*\" over a FULL or RIGHT JOIN with USING is not supported",
        };
        let place = self.source.place(star.span());
        Err(StatementError::new(Code::Unsupported, message)
            .at(place)
            .hint("Name the columns, or use ON and name the sides: SELECT a.*, b.*.")
            .into())
    }
}

/// A merged column.
#[derive(Debug, Clone)]
struct Key {
    name: Ident,
    /// The qualified columns it is merged from: the first that is not NULL counts.
    columns: Vec<Vec<Ident>>,
    /// How many sides' columns came before the first of `columns`.
    skipped: usize,
    /// How many sides have the key.
    sides: usize,
}

/// DataFusion finds the column of `USING` among so many sides, and calls it ambiguous among more.
const SIDES_MAX: usize = 3;

impl Key {
    /// Whether the first side's column is the merged one.
    fn is_first(&self) -> bool {
        self.skipped == 0 && self.columns.len() == 1
    }

    fn is(&self, name: &Ident) -> bool {
        folded(&self.name) == folded(name)
    }

    /// The merged column as an expression, at the place of the reference `at`.
    fn expr(&self, at: &Ident) -> Expr {
        let mut columns = self.columns.iter().map(|column| {
            let placed = column.iter().map(|part| Ident { span: at.span, ..part.clone() });
            Expr::CompoundIdentifier(placed.collect())
        });
        match (columns.next(), self.columns.len()) {
            (Some(only), 1) => only,
            (first, _) => coalesce(at, first.into_iter().chain(columns).collect()),
        }
    }
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn coalesce(at: &Ident, arguments: Vec<Expr>) -> Expr {
    call(Ident::with_span(at.span, "coalesce"), arguments)
}

/// Which side's column a join keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Left,
    Right,
    Both,
}

/// The merged columns of a select.
#[derive(Debug, Default)]
struct Keys(Vec<Key>);

impl Keys {
    /// The keys of one chain of joins, whose conditions are rewritten where they refer to earlier keys.
    fn of(from: &mut TableWithJoins) -> Keys {
        let mut keys = Keys::default();
        // The left side has a name as long as it is one relation.
        let mut left = qualifier(&from.relation);
        for join in &mut from.joins {
            keys.join(left.take(), join);
        }
        keys
    }

    fn join(&mut self, left: Option<Vec<Ident>>, join: &mut Join) {
        let right = qualifier(&join.relation);
        let Some((kept, constraint)) = kept(&mut join.join_operator) else {
            return;
        };
        match constraint {
            JoinConstraint::Using(names) => {
                let names: Vec<Ident> = names.iter().filter_map(|name| name.0.last()?.as_ident().cloned()).collect();
                let before: Vec<Option<Key>> = names.iter().map(|name| self.left_key(left.as_deref(), name)).collect();
                if let Some(condition) = condition(&before, right.as_deref(), &names) {
                    *constraint = JoinConstraint::On(condition);
                }
                for (name, before) in names.into_iter().zip(before) {
                    self.merge(kept, before, right.as_deref(), name);
                }
            }
            JoinConstraint::On(expr) => replace(expr, self),
            JoinConstraint::Natural | JoinConstraint::None => {}
        }
    }

    /// The left side's column of that name, if it is known which one that is.
    fn left_key(&self, left: Option<&[Ident]>, name: &Ident) -> Option<Key> {
        self.find(name).cloned().or_else(|| {
            let column = qualified(left?, name);
            Some(Key { name: name.clone(), columns: vec![column], skipped: 0, sides: 1 })
        })
    }

    fn find(&self, name: &Ident) -> Option<&Key> {
        self.0.iter().find(|key| key.is(name))
    }

    fn merge(&mut self, kept: Kept, before: Option<Key>, right: Option<&[Ident]>, name: Ident) {
        self.0.retain(|key| !key.is(&name));
        let right = right.map(|right| qualified(right, &name));
        let merged = match (kept, before, right) {
            (Kept::Left, Some(before), _) => Some(Key { sides: before.sides + 1, ..before }),
            (Kept::Right, before, Some(right)) => {
                let sides = before.as_ref().map_or(1, |before| before.sides) + 1;
                let skipped = before.map_or(1, |before| before.skipped + before.columns.len());
                Some(Key { name, columns: vec![right], skipped, sides })
            }
            (Kept::Both, Some(mut before), Some(right)) => {
                before.columns.push(right);
                before.sides += 1;
                Some(before)
            }
            // A side without a name: leave the key to the planner.
            (Kept::Left, None, _) | (Kept::Right | Kept::Both, _, None) | (Kept::Both, None, Some(_)) => None,
        };
        self.0.extend(merged);
    }

    /// Adds the keys of another chain. A key of both is ambiguous, which the planner will say.
    fn append(&mut self, other: Keys) {
        for key in other.0 {
            let doubled = self.find(&key.name).is_some();
            self.0.retain(|known| !known.is(&key.name));
            if !doubled {
                self.0.push(key);
            }
        }
    }
}

fn qualified(relation: &[Ident], name: &Ident) -> Vec<Ident> {
    relation.iter().chain([name]).cloned().collect()
}

/// The condition to write instead of `USING`, if its left side is not simply the first side.
fn condition(before: &[Option<Key>], right: Option<&[Ident]>, names: &[Ident]) -> Option<Expr> {
    let right = right?;
    if before.iter().flatten().all(|key| key.is_first() && key.sides < SIDES_MAX) {
        return None;
    }
    let mut equalities = before.iter().zip(names).map(|(before, name)| {
        let column = qualified(right, name).into_iter().map(|part| Ident { span: name.span, ..part }).collect();
        let right = Expr::CompoundIdentifier(column);
        Some(binary(before.as_ref()?.expr(name), BinaryOperator::Eq, right))
    });
    let first = equalities.next()??;
    equalities.try_fold(first, |all, next| Some(binary(all, BinaryOperator::And, next?)))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// Which side's key a join keeps, and its condition; nothing for joins without one.
fn kept(operator: &mut JoinOperator) -> Option<(Kept, &mut JoinConstraint)> {
    use JoinOperator::*;
    match operator {
        Join(constraint)
        | Inner(constraint)
        | Left(constraint)
        | LeftOuter(constraint)
        | CrossJoin(constraint)
        | Semi(constraint)
        | LeftSemi(constraint)
        | Anti(constraint)
        | LeftAnti(constraint)
        | StraightJoin(constraint)
        | AsOf { constraint, .. } => Some((Kept::Left, constraint)),
        Right(constraint) | RightOuter(constraint) | RightSemi(constraint) | RightAnti(constraint) => {
            Some((Kept::Right, constraint))
        }
        FullOuter(constraint) => Some((Kept::Both, constraint)),
        CrossApply | OuterApply | ArrayJoin | LeftArrayJoin | InnerArrayJoin => None,
    }
}

/// The name by which a relation's columns are qualified.
fn qualifier(relation: &TableFactor) -> Option<Vec<Ident>> {
    let (alias, name) = match relation {
        TableFactor::Table { alias, name, args: None, .. } => (alias, name.0.last().and_then(|part| part.as_ident())),
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => (alias, None),
        TableFactor::JsonTable { .. }
        | TableFactor::OpenJsonTable { .. }
        | TableFactor::Pivot { .. }
        | TableFactor::Unpivot { .. }
        | TableFactor::MatchRecognize { .. }
        | TableFactor::XmlTable { .. }
        | TableFactor::SemanticView { .. } => return None,
    };
    let name = alias.as_ref().map(|alias| &alias.name).or(name)?;
    // A file's path is quoted as a string; as a qualifier it is a quoted name.
    let quote_style = name.quote_style.map(|quote| if quote == super::FILE_QUOTE { '"' } else { quote });
    Some(vec![Ident { quote_style, ..name.clone() }])
}

fn replace_in_select(select: &mut Select, keys: &Keys) {
    for item in &mut select.projection {
        let named = match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                keys.find(name).map(|key| (key.expr(name), name.clone()))
            }
            _ => None,
        };
        match named {
            Some((expr @ Expr::Function(_), alias)) => *item = SelectItem::ExprWithAlias { expr, alias },
            Some((expr, _)) => *item = SelectItem::UnnamedExpr(expr),
            None => replace(item, keys),
        }
    }
    replace(&mut select.selection, keys);
    match &mut select.group_by {
        GroupByExpr::Expressions(exprs, _) => replace(exprs, keys),
        GroupByExpr::All(_) => {}
    }
    replace(&mut select.having, keys);
    replace(&mut select.named_window, keys);
    replace(&mut select.qualify, keys);
}

/// A bare name in `ORDER BY` is an output column first: it stays where the output has a column of that name that is not
/// the key itself, or where only output columns may be ordered by.
fn replace_in_order(select: &Select, order_by: &mut OrderBy, keys: &Keys) {
    let OrderByKind::Expressions(exprs) = &mut order_by.kind else {
        return;
    };
    let is_output = |name: &Ident| {
        select.distinct.is_some()
            || select
                .projection
                .iter()
                .any(|item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if folded(alias) == folded(name)))
    };
    for item in exprs {
        match &item.expr {
            Expr::Identifier(name) if is_output(name) => {}
            _ => replace(item, keys),
        }
    }
}

/// Replaces the references in a part of a select, but not in the queries nested in it: these have names of their own.
fn replace<T: VisitMut>(part: &mut T, keys: &Keys) {
    let ControlFlow::Continue(()) = visit_mut(part, &mut References { keys, depth: 0 });
}

struct References<'a> {
    keys: &'a Keys,
    depth: usize,
}

impl VisitorMut for References<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.depth == 0
            && let Expr::Identifier(name) = expr
            && let Some(key) = self.keys.find(name)
        {
            *expr = key.expr(name);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::{Body, Limits, parse};

    fn rewritten(text: &str) -> String {
        match parse(text, &Limits::default()) {
            Ok(statements) => match &statements[0].body {
                Body::Query(query) => query.ast.to_string(),
                other => format!("{other:?}"),
            },
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(rewritten(text), expected);
    }

    #[test]
    fn an_inner_join_takes_the_first_side() {
        check("SELECT k FROM a JOIN b USING (k)", "SELECT a.k FROM a JOIN b USING(k)");
        check(
            "SELECT k, x FROM a JOIN b USING (k) JOIN c USING (k) LEFT JOIN d USING (k) WHERE k > 1 ORDER BY k",
            "SELECT a.k, x FROM a JOIN b USING(k) JOIN c USING(k) LEFT JOIN d ON a.k = d.k WHERE a.k > 1 ORDER BY a.k",
        );
        check("SELECT * FROM a JOIN b USING (k)", "SELECT * FROM a JOIN b USING(k)");
    }

    #[test]
    fn a_full_join_takes_what_is_there() {
        check(
            "SELECT k, K + 1 FROM a FULL JOIN b AS y USING (k) WHERE k > 1 GROUP BY k HAVING k < 9 ORDER BY k + 1",
            "SELECT coalesce(a.k, y.k) AS k, coalesce(a.k, y.k) + 1 FROM a FULL JOIN b AS y USING(k) \
             WHERE coalesce(a.k, y.k) > 1 GROUP BY coalesce(a.k, y.k) HAVING coalesce(a.k, y.k) < 9 \
             ORDER BY coalesce(a.k, y.k) + 1",
        );
        check(
            "SELECT k FROM a FULL JOIN s.b USING (k) FULL JOIN (SELECT 1 AS k) c USING (k) FULL JOIN d USING (k)",
            "SELECT coalesce(a.k, b.k, c.k, d.k) AS k FROM a FULL JOIN s.b USING(k) FULL JOIN (SELECT 1 AS k) c \
             ON coalesce(a.k, b.k) = c.k FULL JOIN d ON coalesce(a.k, b.k, c.k) = d.k",
        );
        check(
            "SELECT k, l FROM a FULL JOIN b USING (k, l) JOIN c USING (l, k)",
            "SELECT coalesce(a.k, b.k) AS k, coalesce(a.l, b.l) AS l FROM a FULL JOIN b USING(k, l) JOIN c \
             ON coalesce(a.l, b.l) = c.l AND coalesce(a.k, b.k) = c.k",
        );
    }

    #[test]
    fn a_right_join_takes_the_right_side() {
        check("SELECT k FROM a RIGHT JOIN b USING (k)", "SELECT b.k FROM a RIGHT JOIN b USING(k)");
        check(
            "SELECT k FROM a RIGHT JOIN b USING (k) LEFT JOIN c USING (k)",
            "SELECT b.k FROM a RIGHT JOIN b USING(k) LEFT JOIN c ON b.k = c.k",
        );
    }

    #[test]
    fn nested_queries_keep_their_own_names() {
        check(
            "SELECT (SELECT max(k) FROM z) FROM a FULL JOIN b USING (k) WHERE k IN (SELECT k FROM z)",
            "SELECT (SELECT max(k) FROM z) FROM a FULL JOIN b USING(k) WHERE coalesce(a.k, b.k) IN (SELECT k FROM z)",
        );
        check(
            "SELECT 1 FROM z WHERE x IN (SELECT k FROM a FULL JOIN b USING (k))",
            "SELECT 1 FROM z WHERE x IN (SELECT coalesce(a.k, b.k) AS k FROM a FULL JOIN b USING(k))",
        );
    }

    #[test]
    fn an_alias_in_order_by_comes_first() {
        check(
            "SELECT x AS k FROM a FULL JOIN b USING (k) ORDER BY k",
            "SELECT x AS k FROM a FULL JOIN b USING(k) ORDER BY k",
        );
    }

    #[test]
    fn a_condition_may_refer_to_a_merged_key() {
        check(
            "SELECT 1 FROM a FULL JOIN b USING (k) JOIN c ON k = c.x",
            "SELECT 1 FROM a FULL JOIN b USING(k) JOIN c ON coalesce(a.k, b.k) = c.x",
        );
    }

    #[test]
    fn a_star_over_a_full_join_is_refused() {
        check(
            "SELECT 1, * FROM a FULL JOIN b USING (k)",
            "\"*\" over a FULL or RIGHT JOIN with USING is not supported at line 1, column 11",
        );
        check("SELECT a.* FROM a FULL JOIN b USING (k)", "SELECT a.* FROM a FULL JOIN b USING(k)");
    }
}
