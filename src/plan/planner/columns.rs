//! What the columns of a `SELECT` are called.
//!
//! A column without a name is called by its text, as in `SELECT sum(v)`. Several may have the same name, as in
//! PostgreSQL, but DataFusion wants names to differ. So where it finds two of one name, the query is planned once more
//! with names that are kept apart, and users never see what parts them (see [`super::names::visible`]).

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, Ident, SelectItem};

use super::functions::SAME;
use super::names::repeated;
use super::places::folded;

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

/// Puts a cast into a call that tells what it casts to: DataFusion calls `sum(CAST(v AS DOUBLE))` just as `sum(v)`.
pub(super) fn part_cast(expr: &mut Expr) {
    let Expr::Cast { data_type, .. } = expr else { return };
    let target = Expr::Value(ast::Value::SingleQuotedString(data_type.to_string()).with_empty_span());
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    let args = vec![argument(expr.clone()), argument(target)];
    *expr = Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![Ident::new(SAME)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    });
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// Whether an `unnest(…)` is in it: one of a struct gives several columns, which have names.
fn unnests(expr: &Expr) -> bool {
    let found = ast::visit_expressions(expr, |expr| match expr {
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("unnest") => ControlFlow::Break(()),
        // Only the calls of one function are looked for.
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
