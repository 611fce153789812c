//! What is SQL and not built yet, found in the syntax tree: there every part still has its place.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArguments, GroupByExpr, JoinConstraint, JoinOperator, Spanned,
};
use sqlparser::ast::{TableFactor, UnaryOperator, Visit, Visitor};

use super::functions::{CLOSE_REASON, COLLECT_MARKER, SAME};
use super::join_markers::{ASOF, SYSTEM_TIME};
use super::places::{back_over, first_line, join_place, over_closing};
use crate::error::{Code, Error, Place, Result, StatementError};
use crate::sql::{self, TABLE_ARGUMENT};

const IN_HINT: &str = "[NOT] EXISTS (SELECT … WHERE …) may stand anywhere in a condition.";
const VALUE_HINT: &str = "Compute it in a query of its own, and give its value as a parameter.";
pub(super) const UNNEST_HINT: &str = "Write FROM t CROSS JOIN UNNEST(t.list) AS u (element).";

/// An error for the first part of `tree` that is not built yet.
pub(super) fn check<T: Visit>(tree: &T, text: &Arc<str>) -> Result<()> {
    match sql::visit(tree, &mut Refusals { text }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// As [`check`] for a condition by itself, which has no plan that a subquery could become a part of.
pub(super) fn check_condition(condition: &Expr, text: &Arc<str>) -> Result<()> {
    check(condition, text)?;
    let refusals = Refusals { text };
    let found = sql::visit_expressions(condition, |expr| match expr {
        Expr::InSubquery { subquery, negated, .. } => {
            let words: &[&str] = if *negated { &["IN", "NOT"] } else { &["IN"] };
            refusals.refuse("a subquery in this condition", refusals.subquery(subquery, words), Some(VALUE_HINT))
        }
        Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => {
            let place = refusals.subquery(subquery, &["EXISTS", "NOT", "ANY", "SOME", "ALL"]);
            refusals.refuse("a subquery in this condition", place, Some(VALUE_HINT))
        }
        // The parser's expressions are not ours to enumerate.
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Whether a grouping key is a call of `COLLECT`.
pub(super) fn is_collect(key: &Expr) -> bool {
    matches!(key, Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("collect"))
}

struct Refusals<'a> {
    text: &'a Arc<str>,
}

impl Visitor for Refusals<'_> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<Error> {
        for join in select.from.iter().flat_map(|from| &from.joins) {
            self.join(join)?;
            if let Some(condition) = on_condition(&join.join_operator) {
                self.truth(condition, Truth::Whole)?;
            }
        }
        for condition in select.selection.iter().chain(&select.having) {
            self.truth(condition, Truth::Whole)?;
        }
        self.close_reason(select)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        match expr {
            // What a table function is given carries its PARTITION BY where a call has its OVER.
            Expr::Function(call) if call.name.to_string() == TABLE_ARGUMENT => ControlFlow::Continue(()),
            Expr::Function(call)
                if [COLLECT_MARKER, SAME, ASOF, SYSTEM_TIME]
                    .contains(&call.name.to_string().to_lowercase().as_str()) =>
            {
                let message = format!("function \"{}\" not found", call.name);
                let error = StatementError::new(Code::UnknownFunction, message);
                ControlFlow::Break(error.at(sql::place_of(self.text, call.name.span())).into())
            }
            Expr::Function(ast::Function { args: FunctionArguments::Subquery(query), .. }) => {
                self.refuse("an array of a subquery", self.subquery(query, &["ARRAY"]), Some(VALUE_HINT))
            }
            // The parser's expressions are not ours to enumerate.
            _ => ControlFlow::Continue(()),
        }
    }
}

/// What of a condition the truth of a part decides.
#[derive(Clone, Copy, PartialEq)]
enum Truth {
    /// Without it the condition is not true.
    Whole,
    /// With it the condition may be true.
    Part,
}

impl Refusals<'_> {
    /// Refuses an `IN` that is asked for more than whether it is true: DataFusion takes it for false where it is NULL.
    fn truth(&self, condition: &Expr, truth: Truth) -> ControlFlow<Error> {
        match condition {
            Expr::Nested(inner) => self.truth(inner, truth),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.truth(left, truth)?;
                self.truth(right, truth)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                self.truth(left, Truth::Part)?;
                self.truth(right, Truth::Part)
            }
            Expr::InSubquery { negated: false, .. } => ControlFlow::Continue(()),
            Expr::InSubquery { negated: true, .. } if truth == Truth::Whole => ControlFlow::Continue(()),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } if truth == Truth::Whole && is_in(expr) => {
                ControlFlow::Continue(())
            }
            other => sql::visit(other, &mut NullableIn { refusals: self, queries: 0 }),
        }
    }

    fn refuse(&self, what: &str, place: Place, hint: Option<&str>) -> ControlFlow<Error> {
        let error = StatementError::new(Code::Unsupported, format!("{what} is not supported yet")).at(place);
        ControlFlow::Break(match hint {
            Some(hint) => error.hint(hint).into(),
            None => error.into(),
        })
    }

    fn join(&self, join: &ast::Join) -> ControlFlow<Error> {
        match (&join.join_operator, &join.relation) {
            (
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_),
                TableFactor::UNNEST { .. },
            ) => {
                let place = join_place(self.text, join);
                self.refuse("UNNEST on this side of an outer join", place, Some(UNNEST_HINT))
            }
            // The parser's joins are not ours to enumerate.
            _ => ControlFlow::Continue(()),
        }
    }

    /// From the words before a subquery to the end of its first line.
    fn subquery(&self, query: &ast::Query, words: &[&str]) -> Place {
        let bytes = sql::place_of(self.text, query.span()).bytes();
        let start = back_over(self.text, bytes.start, words);
        let end = over_closing(self.text, bytes.clone(), &(start..bytes.start));
        first_line(self.text, start..end)
    }

    /// `close_reason()` in a `SELECT` without `COLLECT`, or of only some rows.
    fn close_reason(&self, select: &ast::Select) -> ControlFlow<Error> {
        let collects = matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.iter().any(is_collect));
        let find = |expr: &Expr| match expr {
            Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case(CLOSE_REASON) => {
                self.misused_close_reason(call, collects)
            }
            // Only the calls of one function are looked for.
            _ => ControlFlow::Continue(()),
        };
        sql::visit_expressions(&select.projection, find)?;
        sql::visit_expressions(&select.having, find)
    }

    fn misused_close_reason(&self, call: &ast::Function, collects: bool) -> ControlFlow<Error> {
        let error = match (collects, &call.filter) {
            (true, None) => return ControlFlow::Continue(()),
            (true, Some(_)) => StatementError::new(Code::InvalidArgument, "close_reason() takes no FILTER")
                .hint("A window closes for one reason, whatever its rows are."),
            (false, _) => StatementError::new(Code::InvalidArgument, "close_reason() needs a COLLECT")
                .hint("Add COLLECT(…) to the GROUP BY."),
        };
        ControlFlow::Break(error.at(sql::place_of(self.text, call.name.span())).into())
    }
}

fn on_condition(operator: &JoinOperator) -> Option<&Expr> {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)
    | JoinOperator::Right(constraint)
    | JoinOperator::RightOuter(constraint)
    | JoinOperator::FullOuter(constraint)
    | JoinOperator::CrossJoin(constraint)
    | JoinOperator::Semi(constraint)
    | JoinOperator::LeftSemi(constraint)
    | JoinOperator::RightSemi(constraint)
    | JoinOperator::Anti(constraint)
    | JoinOperator::LeftAnti(constraint)
    | JoinOperator::RightAnti(constraint)
    | JoinOperator::StraightJoin(constraint)) = operator
    else {
        return None;
    };
    match constraint {
        JoinConstraint::On(condition) => Some(condition),
        JoinConstraint::Using(_) | JoinConstraint::Natural | JoinConstraint::None => None,
    }
}

fn is_in(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_in(inner),
        other => matches!(other, Expr::InSubquery { negated: false, .. }),
    }
}

/// Finds an `IN` with a subquery in an expression, not in the queries in it.
struct NullableIn<'a> {
    refusals: &'a Refusals<'a>,
    queries: usize,
}

impl Visitor for NullableIn<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        match expr {
            Expr::InSubquery { subquery, negated, .. } if self.queries == 0 => {
                let words: &[&str] = if *negated { &["IN", "NOT"] } else { &["IN"] };
                let place = self.refusals.subquery(subquery, words);
                self.refusals.refuse("IN with a subquery in this part of a condition", place, Some(IN_HINT))
            }
            // Only IN is looked for.
            _ => ControlFlow::Continue(()),
        }
    }
}
