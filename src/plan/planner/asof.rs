//! `ASOF JOIN b MATCH_CONDITION (a.at >= b.at) ON a.k = b.k`, from the syntax tree to a node.
//!
//! ```text
//! a ASOF JOIN b MATCH_CONDITION (a.at >= b.at) ON a.k = b.k
//! a JOIN b ON a.k = b.k AND __asof(a.at >= b.at, …)            what DataFusion resolves
//! Matched: conditions a.k = b.k, a.at >= b.at                  a node of ours, before anything is rewritten
//! ```
//!
//! A filter must not go below such a join on its right side: it would change which row is the nearest. So it is a node
//! of ours before DataFusion's optimizer sees it.

use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchemaRef, JoinType, Result as PlanResult, plan_err};
use datafusion_expr::logical_plan::builder::build_join_schema;
use datafusion_expr::logical_plan::{Join, LogicalPlan};
use datafusion_expr::{Expr, Operator, UserDefinedLogicalNodeCore};
use sqlparser::ast::{self, BinaryOperator, JoinOperator, Spanned};

use super::extension::{by_text, extension};
use super::join_markers::{self, ASOF};
use super::lower::{Demand, Lowered, Lowerer, Lowering, asks_final, check_unclaimed, longest, placed, side_name};
use super::places::join_place;
use crate::error::{Code, InternalError, Place, Result, StatementError};
use crate::expr;
use crate::operators::asof::check_side;
use crate::plan::event_time::event_time;
use crate::plan::node::{AsofJoin, Bounded, ChangelogMode, JoinKind, Nearest, Node, Settles};
use crate::sql;
use crate::types::Tick;

const MATCH_HINT: &str = "Write MATCH_CONDITION (a.at >= b.at), with >=, >, <= or < between a time of each side.";

/// Makes a join that DataFusion can resolve of every `ASOF JOIN` of a chain.
pub(super) fn mark(joins: &mut [ast::Join], text: &Arc<str>) -> Result<()> {
    for join in joins {
        let place = join_place(text, join);
        let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator else { continue };
        let compared = sql::place_of(text, match_condition.span());
        if !is_comparison(match_condition) {
            let error = StatementError::new(Code::JoinShape, "MATCH_CONDITION compares two times").at(compared);
            return Err(error.hint(MATCH_HINT).into());
        }
        let Some(condition) = join_markers::marked(constraint, ASOF, match_condition.clone(), text) else {
            let error = StatementError::new(Code::Unsupported, "an ASOF JOIN takes no USING").at(place);
            return Err(error.hint("Write ON a.k = b.k.").into());
        };
        // The flag is what the parser carries LEFT in.
        join.join_operator = match std::mem::take(&mut join.global) {
            true => JoinOperator::LeftOuter(condition),
            false => JoinOperator::Inner(condition),
        };
    }
    Ok(())
}

fn is_comparison(condition: &ast::Expr) -> bool {
    match condition {
        ast::Expr::Nested(inner) => is_comparison(inner),
        ast::Expr::BinaryOp { op, .. } => {
            matches!(op, BinaryOperator::Gt | BinaryOperator::GtEq | BinaryOperator::Lt | BinaryOperator::LtEq)
        }
        // The parser's expressions are not ours to enumerate.
        _ => false,
    }
}

/// Replaces every join whose condition holds the marker.
pub(super) fn place(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let placed = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        match Matched::of(join)? {
            Some(matched) => Ok(Transformed::yes(extension(matched))),
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(placed.data)
}

/// A join with the nearest row. Its columns are those of both sides.
#[derive(Debug)]
pub(super) struct Matched {
    sides: [LogicalPlan; 2],
    join_type: JoinType,
    /// The parts of the condition; the last one is the `MATCH_CONDITION`.
    conditions: Vec<Expr>,
    /// Where that stands.
    place: Place,
    schema: DFSchemaRef,
}

impl Matched {
    fn of(join: &Join) -> PlanResult<Option<Matched>> {
        let Some(found) = join_markers::find(ASOF, join)? else { return Ok(None) };
        let conditions = found.rest.into_iter().chain([found.expr]).collect();
        let sides = [join.left.as_ref().clone(), join.right.as_ref().clone()];
        Matched::new(sides, join.join_type, conditions, found.place).map(Some)
    }

    fn new(sides: [LogicalPlan; 2], join_type: JoinType, conditions: Vec<Expr>, place: Place) -> PlanResult<Matched> {
        let schema = Arc::new(build_join_schema(sides[0].schema(), sides[1].schema(), &join_type)?);
        Ok(Matched { sides, join_type, conditions, place, schema })
    }

    fn text(&self) -> String {
        format!("{} {:?}", self.join_type, self.conditions)
    }

    fn wrong(&self, message: &str) -> StatementError {
        StatementError::new(Code::JoinShape, message).at(self.place.clone())
    }
}

/// Lowers what [`place`] has put into the plan.
pub(super) fn lower(lowerer: &Lowerer<'_>, node: &Matched, demand: Demand<'_>) -> Lowering<Lowered> {
    check_unclaimed(demand.clause)?;
    let only_final = demand.only_final || asks_final(demand.clause);
    let left = lowerer.node(&node.sides[0], Demand::below(only_final))?;
    let right = lowerer.node(&node.sides[1], Demand::below(only_final))?;
    let condition = Condition::of(lowerer, node)?;
    let input_modes = [left.mode(), right.mode()];
    let bounded = longest(left.bounded, right.bounded);
    let timed = |(side, time): (&Lowered, &expr::Expr)| {
        time.column_index().is_some_and(|column| event_time(&side.node).contains(&column))
    };
    let settles = match input_modes.contains(&ChangelogMode::Changelog) {
        true => Settles::Never,
        false if [&left, &right].into_iter().zip(&condition.times).all(timed) => Settles::Watermark,
        false if only_final || bounded == Bounded::Yes => Settles::End,
        false => Settles::Never,
    };
    for side in [&left, &right] {
        check_side(&side.node.schema(), settles).map_err(|error| placed(error, || node.place.clone()))?;
    }
    let asof = AsofJoin {
        names: [side_name(&node.sides[0]), side_name(&node.sides[1])],
        keys: condition.keys,
        times: condition.times,
        nearest: condition.nearest,
        kind: if node.join_type == JoinType::Left { JoinKind::Left } else { JoinKind::Inner },
        settles,
        input_modes,
        schema: lowerer.columns(&node.schema),
        inputs: [Box::new(left.node), Box::new(right.node)],
    };
    Ok(Lowered { node: Node::AsofJoin(asof), bounded, at_end: settles == Settles::End })
}

/// The parts of the condition.
struct Condition {
    keys: [Vec<expr::Expr>; 2],
    times: [expr::Expr; 2],
    nearest: Nearest,
}

impl Condition {
    fn of(lowerer: &Lowerer<'_>, node: &Matched) -> Lowering<Condition> {
        let Some((nearest, equalities)) = node.conditions.split_last() else {
            return Err(InternalError::new("an ASOF JOIN has no condition").into());
        };
        let compile = |expr: &Expr, side: usize| lowerer.compile(expr, node.sides[side].schema());
        let mut keys = [vec![], vec![]];
        for condition in equalities {
            let Some(([left, right], Operator::Eq)) = join_markers::compared(&node.sides, condition)? else {
                let error = node.wrong("the ON of an ASOF JOIN takes equalities of both sides alone");
                return Err(error.hint("Filter with WHERE, or in a subquery before the join.").into());
            };
            keys[0].push(compile(&left, 0)?);
            keys[1].push(compile(&right, 1)?);
        }
        let compares = "MATCH_CONDITION compares a time of each side";
        let Some(([left, right], operator)) = join_markers::compared(&node.sides, nearest)? else {
            return Err(node.wrong(compares).hint(MATCH_HINT).into());
        };
        let nearest = match operator {
            Operator::GtEq => Nearest::AtOrBefore,
            Operator::Gt => Nearest::Before,
            Operator::LtEq => Nearest::AtOrAfter,
            Operator::Lt => Nearest::After,
            _ => return Err(node.wrong(compares).hint(MATCH_HINT).into()),
        };
        let times = [compile(&left, 0)?, compile(&right, 1)?];
        if times.iter().any(|time| Tick::of(time.data_type()).is_none()) {
            return Err(node.wrong("MATCH_CONDITION compares times: TIMESTAMP, DATE or integers").into());
        }
        Ok(Condition { keys, times, nearest })
    }
}

by_text!(Matched);

impl UserDefinedLogicalNodeCore for Matched {
    fn name(&self) -> &str {
        "Matched"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.sides.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.conditions.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matched: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, conditions: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok(sides) = <[LogicalPlan; 2]>::try_from(inputs) else { return plan_err!("an ASOF JOIN has two sides") };
        Matched::new(sides, self.join_type, conditions, self.place.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(join_markers::columns_by_side(self.sides[0].schema().fields().len(), output_columns).to_vec())
    }
}
