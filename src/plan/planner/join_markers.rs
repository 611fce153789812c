//! Markers in the condition of a join, for what DataFusion cannot plan about it.
//!
//! ```text
//! a ASOF JOIN b MATCH_CONDITION (a.at >= b.at) ON a.k = b.k
//! a JOIN b ON (a.k = b.k) AND __asof(a.at >= b.at, '15', '27')       what DataFusion resolves
//! ```
//!
//! A marker is called with an expression, and with where in the text that stands.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result as PlanResult, internal_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::logical_plan::{Join, LogicalPlan};
use datafusion_expr::utils::{find_valid_equijoin_key_pair, split_conjunction_owned};
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sqlparser::ast::{self, BinaryOperator, Ident, JoinConstraint, Spanned};

use super::diagnose::smuggle;
use crate::error::{InternalError, Place};
use crate::sql;

/// Stands for a `MATCH_CONDITION`.
pub(super) const ASOF: &str = "__asof";
/// Stands for the time behind `FOR SYSTEM_TIME AS OF`.
pub(super) const SYSTEM_TIME: &str = "__system_time";

/// The condition of a join with a marker in it that is called with `expr`; nothing for `USING` and `NATURAL`.
pub(super) fn marked(
    constraint: &JoinConstraint,
    marker: &str,
    expr: ast::Expr,
    text: &Arc<str>,
) -> Option<JoinConstraint> {
    let place = sql::place_of(text, expr.span());
    let marker = call(marker, expr, &place);
    match constraint {
        JoinConstraint::None => Some(JoinConstraint::On(marker)),
        JoinConstraint::On(on) => Some(JoinConstraint::On(ast::Expr::BinaryOp {
            left: Box::new(ast::Expr::Nested(Box::new(on.clone()))),
            op: BinaryOperator::And,
            right: Box::new(marker),
        })),
        JoinConstraint::Using(_) | JoinConstraint::Natural => None,
    }
}

fn call(marker: &str, expr: ast::Expr, place: &Place) -> ast::Expr {
    let byte = |byte: usize| ast::Expr::Value(ast::Value::SingleQuotedString(byte.to_string()).with_empty_span());
    sql::call(Ident::new(marker), [expr, byte(place.bytes().start), byte(place.bytes().end)])
}

/// The marker function of that name for a query of that text, if there is one.
pub(super) fn function(name: &str, text: &Arc<str>) -> Option<Arc<ScalarUDF>> {
    let name = [ASOF, SYSTEM_TIME].into_iter().find(|marker| *marker == name)?;
    let signature = Signature::any(3, Volatility::Volatile);
    Some(Arc::new(ScalarUDF::new_from_impl(Marker { name, signature, text: text.clone() })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    signature: Signature,
    text: Arc<str>,
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> PlanResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> PlanResult<ColumnarValue> {
        internal_err!("a join by time is evaluated by its own operator")
    }
}

/// A marker in the condition of a join.
pub(super) struct Found {
    /// What it is called with.
    pub expr: Expr,
    /// Where that stands.
    pub place: Place,
    /// The other parts of the condition.
    pub rest: Vec<Expr>,
}

/// The marker of that name in the condition of a join, if there is one.
pub(super) fn find(marker: &str, join: &Join) -> PlanResult<Option<Found>> {
    let Some(filter) = &join.filter else { return Ok(None) };
    let mut rest = split_conjunction_owned(filter.clone());
    let Some(at) = rest.iter().position(|part| marker_call(marker, part).is_some()) else { return Ok(None) };
    let part = rest.remove(at);
    let unknown = || smuggle(InternalError::new("the marker of a join is not in its form"));
    let call = marker_call(marker, &part).ok_or_else(unknown)?;
    let [expr, start, end] = call.args.as_slice() else { return Err(unknown()) };
    let (start, end) = byte(start).zip(byte(end)).ok_or_else(unknown)?;
    let text = call.func.inner().downcast_ref::<Marker>().map(|marker| marker.text.clone()).ok_or_else(unknown)?;
    Ok(Some(Found { expr: expr.clone(), place: Place::new(text, start..end), rest }))
}

fn marker_call<'e>(marker: &str, expr: &'e Expr) -> Option<&'e ScalarFunction> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == marker => Some(call),
        _ => None,
    }
}

fn byte(argument: &Expr) -> Option<usize> {
    let Expr::Literal(value, _) = argument else { return None };
    value.try_as_str()??.parse().ok()
}

/// The expressions of both sides that a comparison compares, and the comparison as seen from the left side.
pub(super) fn compared(sides: &[LogicalPlan; 2], condition: &Expr) -> PlanResult<Option<([Expr; 2], Operator)>> {
    // What was rewritten may have got its old text as a name.
    let condition = match condition {
        Expr::Alias(alias) => alias.expr.as_ref(),
        condition => condition,
    };
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return Ok(None) };
    let pair = find_valid_equijoin_key_pair(left, right, sides[0].schema(), sides[1].schema())?;
    Ok(pair.and_then(|(first, second)| {
        let op = if first == **left { Some(*op) } else { op.swap() };
        op.map(|op| ([first, second], op))
    }))
}

/// Which columns of each side are needed for those of the result: the first `width` are the left side's.
pub(super) fn columns_by_side(width: usize, columns: &[usize]) -> [Vec<usize>; 2] {
    let (left, right): (Vec<usize>, Vec<usize>) = columns.iter().partition(|column| **column < width);
    [left, right.into_iter().map(|column| column - width).collect()]
}
