//! Relational joins: what DataFusion made of `JOIN`, `IN`, `EXISTS`, subqueries and set operations.

use std::sync::Arc;

use datafusion_common::{DFSchemaRef, JoinType, NullEquality};
use datafusion_expr::logical_plan as logical;
use datafusion_expr::{BinaryExpr, Expr, Operator};

use super::join_markers::columns_by_side;
use super::lower::{Demand, Lowered, Lowerer, Lowering, asks_final, check_unclaimed, longest, placed, side_name};
use super::within::within;
use crate::error::{Code, StatementError};
use crate::operators::join::check_side;
use crate::plan::node::{Bounded, ChangelogMode, Join, JoinKind, Node, NullKeys, Residual};

/// Lowers a join without modes.
pub(super) fn lower(lowerer: &Lowerer<'_>, join: &logical::Join, demand: Demand<'_>) -> Lowering<Lowered> {
    check_unclaimed(demand.clause)?;
    let kind = kind(join.join_type).ok_or_else(|| lowerer.unsupported("this join"))?;
    let only_final = demand.only_final || asks_final(demand.clause);
    let left = lowerer.node(&join.left, Demand::below(only_final))?;
    let right = lowerer.node(&join.right, Demand::below(only_final))?;
    let bounded = longest(left.bounded, right.bounded);
    let input_modes = [left.mode(), right.mode()];
    let appends = input_modes == [ChangelogMode::AppendOnly; 2];
    for (side, mode) in [(&left, input_modes[0]), (&right, input_modes[1])] {
        check_side(&side.node.schema(), mode).map_err(|error| placed(error, || lowerer.places.join(join)))?;
    }
    let waits = kind.alone(0) || kind.alone(1);
    let condition = Condition::of(lowerer, join)?;
    let both = Arc::new(join.left.schema().join(join.right.schema())?);
    let within = within(join, [&left, &right], (kind, condition.null_keys))?;
    let keys = |side: &logical::LogicalPlan, of: fn(&(Expr, Expr)) -> &Expr| {
        lowerer.compile_all(&condition.on.iter().map(|pair| of(pair).clone()).collect::<Vec<_>>(), side.schema())
    };
    let all = |side: &Lowered| (0..side.node.schema().fields().len()).collect();
    let node = Node::Join(Join {
        columns: [all(&left), if kind.pairs() { all(&right) } else { vec![] }],
        keys: [keys(&join.left, |(left, _)| left)?, keys(&join.right, |(_, right)| right)?],
        names: [side_name(&join.left), side_name(&join.right)],
        null_keys: condition.null_keys,
        residual: condition
            .residual
            .map(|rest| residual(lowerer, &both, join.left.schema().fields().len(), &rest))
            .transpose()?,
        kind,
        input_modes,
        at_end: waits && appends && within.is_none() && (only_final || bounded == Bounded::Yes),
        ttl: [None; 2],
        within,
        schema: lowerer.columns(&join.schema),
        inputs: [Box::new(left.node), Box::new(right.node)],
    });
    Ok(Lowered { node, bounded, at_end: false })
}

fn kind(kind: JoinType) -> Option<JoinKind> {
    Some(match kind {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::Semi,
        JoinType::LeftAnti => JoinKind::Anti,
        JoinType::LeftMark => JoinKind::Mark,
        // Only DataFusion's physical planner makes these.
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => return None,
    })
}

/// The condition of a join: keys that are found by hashing, and the rest.
struct Condition {
    on: Vec<(Expr, Expr)>,
    null_keys: NullKeys,
    residual: Option<Expr>,
}

impl Condition {
    fn of(lowerer: &Lowerer<'_>, join: &logical::Join) -> Lowering<Condition> {
        let (on, residual) = (join.on.clone(), join.filter.clone());
        let null_keys = match join.null_equality {
            NullEquality::NullEqualsNothing => NullKeys::Nothing,
            NullEquality::NullEqualsNull => NullKeys::Null,
        };
        match (join.null_aware, on.as_slice(), &residual) {
            (false, _, _) => Ok(Condition { on, null_keys, residual }),
            (true, [_], None) => Ok(Condition { on, null_keys: NullKeys::Anything, residual }),
            // The first key is what NOT IN compares, the others are those that the subquery refers to.
            (true, [(left, right), rest @ ..], None) => {
                let equal =
                    Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), Operator::Eq, Box::new(right.clone())));
                let residual = Some(Expr::IsNotFalse(Box::new(equal)));
                Ok(Condition { on: rest.to_vec(), null_keys, residual })
            }
            (true, _, _) => {
                let error = StatementError::new(Code::Unsupported, "NOT IN with this subquery is not supported");
                let error = error.at(lowerer.places.join(join));
                Err(error.hint("Write NOT EXISTS (SELECT … WHERE …).").into())
            }
        }
    }
}

/// The rest of a condition over the columns of both sides that it looks at; `width` of them are the left side's.
pub(super) fn residual(
    lowerer: &Lowerer<'_>,
    both: &DFSchemaRef,
    width: usize,
    condition: &Expr,
) -> Lowering<Residual> {
    let mut predicate = lowerer.compile(condition, both)?;
    let mut looks = predicate.columns();
    looks.sort_unstable();
    looks.dedup();
    predicate.renumber(&|column| looks.partition_point(|look| *look < column));
    let schema = Arc::new(lowerer.columns(both).project(&looks)?);
    Ok(Residual { columns: columns_by_side(width, &looks), predicate, schema })
}
