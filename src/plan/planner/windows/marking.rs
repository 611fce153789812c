//! Puts markers into the syntax tree, for windows among the grouping keys and for what is said of them.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, SelectItem, SetExpr, Spanned,
    TableFactor, Visitor, VisitorMut,
};

use super::call::{Asked, Call, Form, Kind, Length};
use super::markers::{self, BOUNDS, Marker};
use crate::catalog::Catalog;
use crate::error::{Code, Error, Place, Result, StatementError};
use crate::plan::event_time::WINDOW_COLUMNS;
use crate::plan::planner::functions::COLLECT_MARKER;
use crate::plan::planner::places::folded;
use crate::plan::planner::refusals::is_collect;
use crate::sql::{self, LATENESS_CARRIER};

/// Marks the window of a `SELECT`, if it has one.
pub(in crate::plan::planner) fn mark(
    select: &mut ast::Select,
    text: &Arc<str>,
    catalog: &Catalog,
    markers: &mut Vec<Marker>,
) -> Result<()> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return Ok(()) };
    let lateness = take_lateness(keys, text)?;
    check_sets(keys, lateness.as_ref(), text)?;
    let mut windows = keys.iter_mut().filter(|key| window_kind(key).is_some());
    let Some(window) = windows.next() else {
        if let Some(lateness) = lateness {
            keys.push(sql::call(Ident::new(markers::name(markers.len())), []));
            markers.push(Marker::Lateness(lateness));
        }
        return Ok(());
    };
    if let Some(second) = windows.next() {
        let error = StatementError::new(Code::InvalidArgument, "a GROUP BY takes one window");
        return Err(error.at(sql::place_of(text, second.span())).into());
    }
    let Some(Call { mut asked, time, .. }) = key_call(window, text)? else { return Ok(()) };
    asked.lateness = lateness;
    *window = sql::call(Ident::new(markers::name(markers.len())), [time.clone()]);
    let collects =
        |key: &Expr| is_collect(key) || matches!(key, Expr::Function(call) if call.name.to_string() == COLLECT_MARKER);
    if keys.iter().any(collects) {
        let error = StatementError::new(Code::InvalidArgument, "a GROUP BY takes a window or a COLLECT, not both");
        return Err(error.at(asked.place).into());
    }
    let mut said = Said { asked: &asked, time: &time, text, catalog, around: 0 };
    said.select(select)?;
    markers.push(Marker::Window(asked));
    Ok(())
}

/// Marks what the `ORDER BY` of a query says of the window of its `SELECT`.
pub(in crate::plan::planner) fn mark_order(
    query: &mut ast::Query,
    text: &Arc<str>,
    catalog: &Catalog,
    markers: &[Marker],
) -> Result<()> {
    let (SetExpr::Select(select), Some(order)) = (query.body.as_ref(), &mut query.order_by) else { return Ok(()) };
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(()) };
    let marked = |key: &Expr| match key {
        Expr::Function(call) => match (markers.get(markers::index(&call.name.to_string())?)?, &call.args) {
            (Marker::Window(asked), FunctionArguments::List(list)) => match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(time))] => Some((asked.clone(), time.clone())),
                _ => None,
            },
            (Marker::Window(_) | Marker::Lateness(_), _) => None,
        },
        _ => None,
    };
    let Some((asked, time)) = keys.iter().find_map(marked) else { return Ok(()) };
    // A column of that name is sorted by as it is.
    let named = |name: &str| select.projection.iter().any(|item| is_called(item, name));
    let ast::OrderByKind::Expressions(orders) = &mut order.kind else { return Ok(()) };
    for order in orders {
        if let Expr::Identifier(name) = &order.expr
            && named(&folded(name))
        {
            continue;
        }
        let mut said = Said { asked: &asked, time: &time, text, catalog, around: 0 };
        flow(sql::visit_mut(&mut order.expr, &mut said))?;
    }
    Ok(())
}

/// `TABLE(TUMBLE(…))` is `TUMBLE(…)`.
pub(in crate::plan::planner) fn unwrap_table(relation: &mut TableFactor) {
    if let TableFactor::TableFunction { expr: Expr::Function(call), alias } = relation
        && Kind::of(&call.name).is_some()
        && let FunctionArguments::List(list) = &call.args
    {
        let args = Some(ast::TableFunctionArgs { args: list.args.clone(), settings: None });
        let (name, alias) = (call.name.clone(), alias.clone());
        *relation = TableFactor::Table {
            name,
            alias,
            args,
            with_hints: vec![],
            version: None,
            with_ordinality: false,
            partitions: vec![],
            json_path: None,
            sample: None,
            index_hints: vec![],
        };
    }
}

/// Fails if a window is left that nothing has marked.
pub(in crate::plan::planner) fn check_marked(query: &ast::Query, text: &Arc<str>) -> Result<()> {
    flow(sql::visit(query, &mut Unmarked { text }))
}

struct Unmarked<'a> {
    text: &'a Arc<str>,
}

impl Visitor for Unmarked<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let place = || sql::place_of(self.text, call.name.span());
        if let Some(kind) = Kind::of(&call.name) {
            let message = format!("{} belongs into a GROUP BY, or into FROM", kind.word());
            let error = StatementError::new(Code::InvalidArgument, message).at(place());
            return ControlFlow::Break(error.hint("window_start, window_end and window_time say its bounds.").into());
        }
        if let Some((kind, _)) = bound_function(&call.name) {
            let message = format!("{} needs a {} in the GROUP BY", call.name, kind.word());
            return ControlFlow::Break(StatementError::new(Code::InvalidArgument, message).at(place()).into());
        }
        ControlFlow::Continue(())
    }
}

fn flow(found: ControlFlow<Error>) -> Result<()> {
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn is_called(item: &SelectItem, name: &str) -> bool {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => folded(alias) == name,
        SelectItem::UnnamedExpr(_)
        | SelectItem::ExprWithAliases { .. }
        | SelectItem::Wildcard(_)
        | SelectItem::QualifiedWildcard(..) => false,
    }
}

fn window_kind(key: &Expr) -> Option<Kind> {
    match key {
        Expr::Function(call) => Kind::of(&call.name),
        _ => None,
    }
}

/// The call of a window function that an expression is.
fn key_call(key: &Expr, text: &Arc<str>) -> Result<Option<Call>> {
    let (Some(kind), Expr::Function(call)) = (window_kind(key), key) else { return Ok(None) };
    let args = match &call.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
    };
    let place = sql::place_of(text, call.span());
    if call.over.is_some() || call.filter.is_some() || !call.within_group.is_empty() {
        let message = format!("{} takes neither OVER nor FILTER", kind.word());
        return Err(StatementError::new(Code::InvalidArgument, message).at(place).into());
    }
    Call::parse(kind, args, Form::Key, place, text).map(Some)
}

/// Takes the `ALLOW LATENESS` off the keys.
fn take_lateness(keys: &mut Vec<Expr>, text: &Arc<str>) -> Result<Option<Length>> {
    let carries = |key: &Expr| matches!(key, Expr::Function(call) if call.name.to_string() == LATENESS_CARRIER);
    let mut lateness = None;
    while let Some(at) = keys.iter().position(carries) {
        let Expr::Function(call) = keys.remove(at) else { continue };
        let place = sql::place_of(text, call.span());
        let wrong = |message: &str| StatementError::new(Code::InvalidArgument, message).at(place.clone());
        let FunctionArguments::List(list) = &call.args else { return Err(wrong("how late may a row be?").into()) };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(length))] = list.args.as_slice() else {
            return Err(wrong("ALLOW LATENESS takes one length").into());
        };
        if lateness.replace(Length::parse(length, text)?).is_some() {
            return Err(wrong("ALLOW LATENESS is given twice").into());
        }
    }
    Ok(lateness)
}

/// Fails if a window, or how late its rows may be, is part of grouping sets or stands beside them.
fn check_sets(keys: &[Expr], lateness: Option<&Length>, text: &Arc<str>) -> Result<()> {
    if !keys.iter().any(|key| matches!(key, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_))) {
        return Ok(());
    }
    let mut window: Option<Place> = None;
    let _: ControlFlow<()> = sql::visit_expressions(&keys.to_vec(), |expr| {
        if let Expr::Function(call) = expr
            && Kind::of(&call.name).is_some()
        {
            window = Some(sql::place_of(text, call.span()));
        }
        ControlFlow::Continue(())
    });
    if let Some(place) = window {
        let error = StatementError::new(Code::Unsupported, "a window does not stand beside grouping sets");
        let hint = "Put the rows into windows in FROM, and window_start and window_end into each of the sets.";
        return Err(error.at(place).hint(hint).into());
    }
    let Some(lateness) = lateness else { return Ok(()) };
    let error = StatementError::new(Code::Unsupported, "ALLOW LATENESS together with grouping sets is not supported");
    Err(error.at(lateness.place.clone()).hint("Use a UNION ALL of one query for each grouping set.").into())
}

/// `TUMBLE_START` and its kin: of which windows they are, and which bound they give.
fn bound_function(name: &ast::ObjectName) -> Option<(Kind, usize)> {
    let name = name.to_string().to_uppercase();
    let (window, bound) = name.rsplit_once('_')?;
    let kind = Kind::of(&ast::ObjectName::from(vec![Ident::new(window)]))?;
    let bound = match bound {
        "START" => 0,
        "END" => 1,
        "TIME" | "ROWTIME" => 2,
        _ => return None,
    };
    Some((kind, bound))
}

/// Puts aggregates in the place of what is said of the window's bounds. Within another aggregate, and within a
/// subquery, those names are columns of the rows.
struct Said<'a> {
    asked: &'a Asked,
    time: &'a Expr,
    text: &'a Arc<str>,
    catalog: &'a Catalog,
    /// How many aggregates and queries are around.
    around: usize,
}

impl Said<'_> {
    fn select(&mut self, select: &mut ast::Select) -> Result<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Expr::Identifier(name) = expr
                && WINDOW_COLUMNS.contains(&folded(name).as_str())
            {
                let alias = Ident::with_quote('"', folded(name));
                let expr = expr.clone();
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        flow(sql::visit_mut(&mut select.projection, self))?;
        flow(sql::visit_mut(&mut select.having, self))?;
        flow(sql::visit_mut(&mut select.named_window, self))?;
        flow(sql::visit_mut(&mut select.qualify, self))
    }

    fn bound(&self, bound: usize) -> Expr {
        sql::call(Ident::new(BOUNDS[bound]), [self.time.clone()])
    }

    /// Whether the names within an expression are columns of the rows.
    fn holds_rows(&self, expr: &Expr) -> bool {
        let Expr::Function(call) = expr else { return false };
        let name = call.name.to_string().to_lowercase();
        call.over.is_none() && (self.catalog.aggregates.contains_key(&name) || bound_function(&call.name).is_some())
    }

    fn named_bound(&self, call: &ast::Function) -> Result<Option<Expr>> {
        let Some((kind, bound)) = bound_function(&call.name) else { return Ok(None) };
        let place = sql::place_of(self.text, call.span());
        let args = match &call.args {
            FunctionArguments::List(list) => list.args.as_slice(),
            FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
        };
        let same = args.is_empty()
            || kind == self.asked.kind && {
                let said = Call::parse(kind, args, Form::Key, place.clone(), self.text)?;
                said.asked.same(self.asked) && said.time.to_string() == self.time.to_string()
            };
        if same && kind == self.asked.kind {
            return Ok(Some(self.bound(bound)));
        }
        let message = format!("{} is not of the window that is grouped by", call.name);
        let error = StatementError::new(Code::InvalidArgument, message).at(place);
        Err(error.hint("window_start, window_end and window_time say the bounds of any window.").into())
    }
}

impl VisitorMut for Said<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<Error> {
        self.around += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<Error> {
        self.around -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.around += usize::from(self.holds_rows(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.around -= usize::from(self.holds_rows(expr));
        if self.around > 0 {
            return ControlFlow::Continue(());
        }
        let bound = match expr {
            Expr::Identifier(name) => {
                let name = folded(name);
                WINDOW_COLUMNS.iter().position(|column| *column == name).map(|bound| self.bound(bound))
            }
            Expr::Function(call) => match self.named_bound(call) {
                Ok(bound) => bound,
                Err(error) => return ControlFlow::Break(error),
            },
            // Nothing else says a bound.
            _ => None,
        };
        if let Some(bound) = bound {
            *expr = bound;
        }
        ControlFlow::Continue(())
    }
}
