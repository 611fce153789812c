//! Readies the syntax tree for DataFusion's planner.
//!
//! A query with a clause becomes `SELECT * FROM (query) AS __clause_n`, a join chain with one a nested join of
//! that alias; the relation planner takes the alias off and puts a [`super::extension::Marked`] node there.
//! `INTERSECT ALL` and `EXCEPT ALL` become such a query too, whose alias has the relation planner count the copies of rows.
//! `COLLECT(…)` among the grouping keys becomes a call of the marker function with its bounds as numbers; so do windows
//! (see [`super::windows`]).

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, SetExpr};
use sqlparser::ast::{SetOperator, SetQuantifier, Spanned, TableFactor, TableWithJoins, VisitorMut};

use super::columns::{self, Naming};
use super::functions::COLLECT_MARKER;
use super::refusals::{self, is_collect};
use super::windows::{self, Marker};
use super::{asof, temporal};
use crate::catalog::Catalog;
use crate::error::{Code, Error, InternalError, Result, StatementError};
use crate::sql::{self, CLAUSE_CARRIER};
use crate::types::Interval;

const ALIAS: &str = "__clause_";
const COMPARED: &str = "__compared_";
const COPIES: &str = "__copies";

/// A query as DataFusion can plan it.
pub(super) struct Ready {
    pub ast: ast::Query,
    /// The index of the clause at its very end.
    pub clause: Option<usize>,
    /// What the markers of windows stand for.
    pub markers: Vec<Marker>,
}

/// The query as DataFusion can plan it.
pub(super) fn ready(query: &sql::Query, catalog: &Catalog, naming: Naming) -> Result<Ready> {
    let mut ast = query.ast.as_ref().clone();
    refusals::check(&ast, &query.text)?;
    let clause = take_carrier(&mut ast);
    let mut rewrite = Rewrite { text: &query.text, catalog, naming, compared: 0, markers: vec![] };
    if let ControlFlow::Break(error) = sql::visit_mut(&mut ast, &mut rewrite) {
        return Err(error);
    }
    let markers = rewrite.markers;
    windows::check_marked(&ast, &query.text)?;
    Ok(Ready { ast, clause, markers })
}

/// The index of the clause that a relation was marked with by [`ready`].
pub(super) fn clause_index(relation: &TableFactor) -> Option<usize> {
    let (TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. }) = relation else { return None };
    alias.as_ref()?.name.value.strip_prefix(ALIAS)?.parse().ok()
}

/// The sides of an `INTERSECT ALL` or `EXCEPT ALL` that was marked by [`ready`], as relations.
pub(super) fn sides_of_copies(relation: &TableFactor) -> Option<(SetOperator, [TableFactor; 2])> {
    let TableFactor::Derived { subquery, alias: Some(alias), .. } = relation else { return None };
    let SetExpr::SetOperation { op, left, right, .. } = subquery.body.as_ref() else { return None };
    let side = |body: &SetExpr| {
        let mut query = subquery.clone();
        query.body = Box::new(body.clone());
        TableFactor::Derived { lateral: false, subquery: query, alias: None, sample: None }
    };
    (alias.name.value == COPIES).then(|| (*op, [side(left), side(right)]))
}

/// The relation without the alias that marks it.
pub(super) fn without_alias(mut relation: TableFactor) -> TableFactor {
    if let TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } = &mut relation {
        *alias = None;
    }
    relation
}

struct Rewrite<'a> {
    text: &'a Arc<str>,
    catalog: &'a Catalog,
    naming: Naming,
    /// How many subqueries behind `ANY` or `ALL` have a name.
    compared: usize,
    /// What the markers of windows stand for, so far.
    markers: Vec<Marker>,
}

impl VisitorMut for Rewrite<'_> {
    type Break = Error;

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        let index = take_carrier(query);
        stop(windows::mark_order(query, self.text, self.catalog, &self.markers))?;
        stop(mark_copies(&mut query.body))?;
        match index {
            Some(index) => stop(wrap(query, alias(index))),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<Error> {
        columns::name(select, self.naming);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.naming {
            Naming::Plain => {}
            Naming::Apart => columns::part_cast(expr),
        }
        // DataFusion takes a relation in the subquery for one of the same name around it, unless it has another name.
        if let Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } = expr
            && let Expr::Subquery(query) = right.as_mut()
        {
            self.compared += 1;
            return stop(wrap(query, named(format!("{COMPARED}{}", self.compared))));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, relation: &mut TableFactor) -> ControlFlow<Error> {
        windows::unwrap_table(relation);
        if let TableFactor::NestedJoin { table_with_joins, .. } = relation {
            return stop(mark_joins(table_with_joins, self.text));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<Error> {
        for from in &mut select.from {
            stop(mark_joins(from, self.text))?;
        }
        mark_join(select);
        stop(mark_collect(select, self.text))?;
        stop(windows::mark(select, self.text, self.catalog, &mut self.markers))
    }
}

fn stop(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

/// Takes the index of the query's clause off.
fn take_carrier(query: &mut ast::Query) -> Option<usize> {
    let settings = query.settings.as_mut()?;
    let at = settings.iter().position(|setting| setting.key.value == CLAUSE_CARRIER)?;
    let carrier = settings.remove(at);
    if settings.is_empty() {
        query.settings = None;
    }
    number(&carrier.value)
}

fn number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => digits.to_string().parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// `query` becomes `SELECT * FROM (query) AS __clause_index`.
fn wrap(query: &mut ast::Query, alias: ast::TableAlias) -> Result<()> {
    let inner = std::mem::replace(query, template()?);
    let Some(relation) = only_relation(query) else {
        return Err(InternalError::new("the template of a marked query has no relation").into());
    };
    *relation = TableFactor::Derived { lateral: false, subquery: Box::new(inner), alias: Some(alias), sample: None };
    Ok(())
}

/// Every `INTERSECT ALL` and `EXCEPT ALL` of a body becomes `SELECT * FROM (…) AS __copies`: DataFusion would plan it as
/// if a row were there once.
fn mark_copies(body: &mut SetExpr) -> Result<()> {
    let SetExpr::SetOperation { op, left, right, set_quantifier } = body else { return Ok(()) };
    mark_copies(left)?;
    mark_copies(right)?;
    match (*op, *set_quantifier) {
        (SetOperator::Intersect | SetOperator::Except | SetOperator::Minus, SetQuantifier::All) => {
            let mut query = template()?;
            std::mem::swap(query.body.as_mut(), body);
            wrap(&mut query, named(COPIES.into()))?;
            *body = *query.body;
            Ok(())
        }
        // The parser's operators are not ours to enumerate; the others count no copies.
        _ => Ok(()),
    }
}

fn template() -> Result<ast::Query> {
    let dialect = sqlparser::dialect::GenericDialect {};
    let parsed = sqlparser::parser::Parser::new(&dialect)
        .try_with_sql("SELECT * FROM t")
        .and_then(|mut parser| parser.parse_query());
    parsed.map(|query| *query).map_err(|error| InternalError::new(error.to_string()).into())
}

fn only_relation(query: &mut ast::Query) -> Option<&mut TableFactor> {
    match query.body.as_mut() {
        SetExpr::Select(select) => select.from.first_mut().map(|from| &mut from.relation),
        _ => None,
    }
}

fn alias(index: usize) -> ast::TableAlias {
    named(format!("{ALIAS}{index}"))
}

fn named(name: String) -> ast::TableAlias {
    ast::TableAlias { explicit: true, name: Ident::with_quote('"', name), columns: vec![], at: None }
}

/// Makes joins that DataFusion can resolve of the joins by time.
fn mark_joins(from: &mut TableWithJoins, text: &Arc<str>) -> Result<()> {
    temporal::mark(from, text)?;
    asof::mark(&mut from.joins, text)
}

/// Marks the last join chain of a `SELECT` whose clause the parser has put into `PREWHERE`.
fn mark_join(select: &mut ast::Select) {
    let Some(index) = select.prewhere.take().as_ref().and_then(number) else { return };
    if let Some(chain) = select.from.pop() {
        let relation = TableFactor::NestedJoin { table_with_joins: Box::new(chain), alias: Some(alias(index)) };
        select.from.push(TableWithJoins { relation, joins: vec![] });
    }
}

/// Puts the marker call in the place of `COLLECT(…)` among the keys.
fn mark_collect(select: &mut ast::Select, text: &Arc<str>) -> Result<()> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return Ok(()) };
    let mut found = 0;
    for key in keys.iter_mut() {
        if !is_collect(key) {
            continue;
        }
        let Expr::Function(call) = key else { continue };
        found += 1;
        let bounds = Bounds::parse(call, text)?;
        if found > 1 {
            let place = sql::place_of(text, call.span());
            return Err(StatementError::new(Code::InvalidArgument, "a GROUP BY takes one COLLECT").at(place).into());
        }
        let place = sql::place_of(text, call.span()).bytes();
        bounds.write(call, &place);
    }
    Ok(())
}

/// The bounds of a `COLLECT` window.
#[derive(Default)]
struct Bounds {
    max_rows: Option<i64>,
    timeout: Option<Interval>,
    max_wait: Option<Interval>,
}

impl Bounds {
    fn parse(call: &ast::Function, text: &Arc<str>) -> Result<Bounds> {
        let place = || sql::place_of(text, call.span());
        let wrong = |message: String| StatementError::new(Code::InvalidArgument, message).at(place());
        let mut bounds = Bounds::default();
        let FunctionArguments::List(list) = &call.args else {
            return Err(wrong("COLLECT needs a bound".into()).hint(COLLECT_HINT).into());
        };
        for (position, argument) in list.args.iter().enumerate() {
            let (name, value) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (positional(position), value),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                    (name.value.to_lowercase(), value)
                }
                _ => return Err(wrong("an argument of COLLECT is not understood".into()).hint(COLLECT_HINT).into()),
            };
            bounds.set(&name, value, text).map_err(|error| match error {
                Error::Statement(inner) if Error::Statement(inner.clone()).place().is_none() => {
                    inner.at(place()).into()
                }
                other => other,
            })?;
        }
        if bounds.max_rows.is_none() && bounds.timeout.is_none() && bounds.max_wait.is_none() {
            return Err(wrong("COLLECT needs a bound".into()).hint(COLLECT_HINT).into());
        }
        Ok(bounds)
    }

    fn set(&mut self, name: &str, value: &Expr, text: &Arc<str>) -> Result<()> {
        let again = match name {
            "max_rows" => self.max_rows.replace(rows(value)?).is_some(),
            "timeout" => self.timeout.replace(positive(sql::interval_of(text, value)?, name)?).is_some(),
            "max_wait" => self.max_wait.replace(positive(sql::interval_of(text, value)?, name)?).is_some(),
            other => {
                let error = StatementError::new(Code::InvalidArgument, format!("COLLECT has no argument \"{other}\""));
                return Err(error.hint(COLLECT_HINT).into());
            }
        };
        if again {
            return Err(StatementError::new(Code::InvalidArgument, format!("\"{name}\" is given twice")).into());
        }
        Ok(())
    }

    /// Writes the bounds as the arguments of the marker: a number each, -1 for none, lengths of time in nanoseconds.
    /// Behind them comes where in the text it stands.
    fn write(&self, call: &mut ast::Function, place: &Range<usize>) {
        let argument = |number: Option<i64>| {
            let digits = number.unwrap_or(-1).to_string();
            // As text, so that -1 is one literal and no expression.
            let value = Expr::Value(ast::Value::SingleQuotedString(digits).with_empty_span());
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value))
        };
        let at = |byte: usize| i64::try_from(byte).ok();
        call.name = ast::ObjectName::from(vec![Ident::new(COLLECT_MARKER)]);
        if let FunctionArguments::List(list) = &mut call.args {
            let bounds = [self.max_rows, self.timeout.map(Interval::nanos), self.max_wait.map(Interval::nanos)];
            let place = [at(place.start), at(place.end)];
            list.args = bounds.into_iter().chain(place).map(argument).collect();
        }
    }
}

const COLLECT_HINT: &str = "Write COLLECT(max_rows => 10, timeout => INTERVAL '5 seconds', max_wait => INTERVAL '1 minute'); \
     one bound is enough.";

fn positional(position: usize) -> String {
    match position {
        0 => "max_rows".into(),
        1 => "timeout".into(),
        2 => "max_wait".into(),
        other => format!("argument {}", other + 1),
    }
}

fn rows(value: &Expr) -> Result<i64> {
    let error = || StatementError::new(Code::InvalidArgument, "max_rows must be a whole number of at least 1");
    match number(value).and_then(|rows| i64::try_from(rows).ok()) {
        Some(rows) if rows >= 1 => Ok(rows),
        Some(_) | None => Err(error().into()),
    }
}

fn positive(interval: Interval, name: &str) -> Result<Interval> {
    if interval.nanos() < 0 {
        return Err(StatementError::new(Code::InvalidArgument, format!("{name} must not be negative")).into());
    }
    Ok(interval)
}
