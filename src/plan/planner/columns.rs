//! What the columns of a `SELECT` are called.
//!
//! A column without a name is called by its text, as in `SELECT sum(v)`. Several may have the same name, as in
//! PostgreSQL, but DataFusion wants names to differ. So where it finds two of one name, the query is planned once more
//! with names that are kept apart, and users never see what parts them (see [`super::names::visible`]).

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use arrow::datatypes::Schema;
use sqlparser::ast::{self, Expr, Ident, SelectItem, Spanned};

use super::functions::SAME;
use super::names::repeated;
use super::places::{first_line, folded};
use crate::error::{Code, Place, Result, StatementError};
use crate::sql;

/// How the planner names columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// As they are written.
    Plain,
    /// So that no two have the same name.
    Apart,
}

/// Names the columns of a `SELECT` that have no name.
pub(super) fn name(select: &mut ast::Select, naming: Naming) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && !is_column(expr)
            && !unnests(expr)
        {
            let alias = Ident::with_quote('"', expr.to_string());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    match naming {
        Naming::Plain => {}
        Naming::Apart => part(&mut select.projection),
    }
}

/// Numbers the columns whose name a column before them has, or may have: what `*` stands for is not known yet.
fn part(items: &mut [SelectItem]) {
    let stars = items.iter().any(|item| match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } | SelectItem::ExprWithAliases { .. } => false,
    });
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in items {
        let Some(name) = name_of(item) else { continue };
        let before = seen.entry(name.clone()).or_insert(usize::from(stars));
        *before += 1;
        if *before > 1 {
            let alias = Ident::with_quote('"', repeated(&name, *before - 1));
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
    }
}

fn name_of(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) | SelectItem::ExprWithAlias { alias: name, .. } => {
            Some(folded(name))
        }
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => names.last().map(folded),
        SelectItem::UnnamedExpr(_)
        | SelectItem::ExprWithAliases { .. }
        | SelectItem::Wildcard(_)
        | SelectItem::QualifiedWildcard(..) => None,
    }
}

/// Refuses columns of one name, or of the name `taken`, at the second of them.
pub(in crate::plan) fn check_distinct(columns: &Schema, taken: Option<&str>, query: &sql::Query) -> Result<()> {
    let mut seen: HashSet<&str> = taken.into_iter().collect();
    let Some(twice) = columns.fields().iter().position(|field| !seen.insert(field.name().as_str())) else {
        return Ok(());
    };
    let error =
        StatementError::new(Code::Duplicate, format!("two columns are named \"{}\"", columns.field(twice).name()));
    let error = error.at(place(query, columns.fields().len(), twice));
    Err(error.hint("Give one of them another name with AS.").into())
}

/// Where column `index` of the `width` columns of a query is written: the `*` it comes from if there is one,
/// the query where that cannot be told.
fn place(query: &sql::Query, width: usize, index: usize) -> Place {
    let whole = || first_line(&query.text, sql::place_of(&query.text, query.ast.span()).bytes());
    let Some(items) = first_select(&query.ast.body).map(|select| &select.projection) else { return whole() };
    let star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let from_end = width - index;
    let item = match (items.iter().position(star), items.iter().rposition(star)) {
        (None, None) if items.len() == width => items.get(index),
        (Some(first), _) if index < first => items.get(index),
        (_, Some(last)) if from_end < items.len() - last => items.get(items.len() - from_end),
        (Some(first), Some(last)) if first == last => items.get(first),
        _ => None,
    };
    item.map_or_else(whole, |item| sql::place_of(&query.text, item.span()))
}

fn first_select(body: &ast::SetExpr) -> Option<&ast::Select> {
    match body {
        ast::SetExpr::Select(select) => Some(select),
        ast::SetExpr::Query(query) => first_select(&query.body),
        ast::SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

/// Puts a cast into a call that tells what it casts to: DataFusion calls `sum(CAST(v AS DOUBLE))` just as `sum(v)`.
pub(super) fn part_cast(expr: &mut Expr) {
    let Expr::Cast { data_type, .. } = expr else { return };
    let target = Expr::Value(ast::Value::SingleQuotedString(data_type.to_string()).with_empty_span());
    *expr = sql::call(Ident::new(SAME), [expr.clone(), target]);
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// Whether an `unnest(…)` is in it: one of a struct gives several columns, which have names.
fn unnests(expr: &Expr) -> bool {
    let found = sql::visit_expressions(expr, |expr| match expr {
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("unnest") => ControlFlow::Break(()),
        // Only the calls of one function are looked for.
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
