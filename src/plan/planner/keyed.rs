//! Finds the join that a `KEEP … EMIT …` clause governs and makes a keyed join of it.
//!
//! This runs before DataFusion's optimizer, so that no filter is ever pushed below a keyed join:
//! it would change which row is the last.

use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchemaRef, DataFusionError, JoinType, Result as PlanResult};
use datafusion_expr::expr::{Cast, ScalarFunction};
use datafusion_expr::logical_plan::{Join, LogicalPlan};
use datafusion_expr::type_coercion::binary::comparison_coercion;
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::diagnose::smuggle;
use super::extension::{Keyed, Marked, downcast, extension};
use super::names::Names;
use crate::error::{Code, Place, StatementError};
use crate::plan::node::{JoinEmit, JoinKeep};
use crate::sql::{Clause, EmitMode, KeepMode};

/// Replaces every join chain that a clause governs by a keyed join.
pub(super) fn place(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let placed = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Extension(node) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(marked) = downcast::<Marked>(node) else { return Ok(Transformed::no(plan)) };
        match descend(&marked.input, &marked.clause)? {
            Some(keyed) => Ok(Transformed::yes(keyed)),
            None if marked.clause.keep.is_some() => Err(misplaced(&marked.clause, "KEEP belongs to a join")),
            None if marked.clause.emit == Some(EmitMode::Complete) => {
                Err(misplaced(&marked.clause, "EMIT COMPLETE belongs to a join"))
            }
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(placed.data)
}

fn misplaced(clause: &Clause, message: &str) -> DataFusionError {
    let error = StatementError::new(Code::EmitMode, message).at(clause.place.clone());
    smuggle(error.hint("Write it behind the ON or USING of the join."))
}

/// The plan with the outermost join made keyed, if a join is the outermost stateful part of it.
fn descend(plan: &LogicalPlan, clause: &Clause) -> PlanResult<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_) => {
            let [input] = plan.inputs()[..] else { return Ok(None) };
            let Some(input) = descend(input, clause)? else { return Ok(None) };
            Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?))
        }
        // A global aggregate has no GROUP BY behind which the clause could stand: KEEP is the join's.
        LogicalPlan::Aggregate(node) if node.group_expr.is_empty() && clause.keep.is_some() => {
            let Some(input) = descend(&node.input, clause)? else { return Ok(None) };
            Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?))
        }
        LogicalPlan::Join(join) => match modes(clause)? {
            Some((keep, emit)) => Ok(Some(keyed(join, keep, emit, clause)?)),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// `KEEP` without `EMIT` means `EMIT COMPLETE`, `EMIT` without `KEEP` means `KEEP LAST`;
/// `EMIT CHANGES` alone asks for the relational join.
fn modes(clause: &Clause) -> PlanResult<Option<(JoinKeep, JoinEmit)>> {
    let keep = match clause.keep {
        Some(KeepMode::First) => JoinKeep::First,
        Some(KeepMode::Last) | None => JoinKeep::Last,
        Some(KeepMode::Product) => JoinKeep::Product,
    };
    let emit = match clause.emit {
        None | Some(EmitMode::Complete) => JoinEmit::Complete,
        Some(EmitMode::Running) => JoinEmit::Running,
        // Lowering sees to it that there is a window.
        Some(EmitMode::Final | EmitMode::OnWindowClose) => JoinEmit::Final,
        Some(EmitMode::Changes) if clause.keep.is_none() => return Ok(None),
        Some(EmitMode::Changes | EmitMode::Every(_) | EmitMode::EveryAndFinal(_)) => {
            let error = StatementError::new(Code::EmitMode, "a keyed join cannot emit like that");
            let error = error.at(clause.place.clone());
            return Err(smuggle(error.hint("Use EMIT COMPLETE, EMIT RUNNING or EMIT FINAL.")));
        }
    };
    Ok(Some((keep, emit)))
}

/// Says what is wrong with the shape of a join that has a clause.
#[derive(Clone, Copy)]
struct Shape<'a> {
    clause: &'a Clause,
}

impl Shape<'_> {
    fn wrong(self, message: &str, hint: &str) -> DataFusionError {
        let error = StatementError::new(Code::JoinShape, message).at(self.clause.place.clone());
        smuggle(error.hint(hint))
    }

    /// At the columns of an expression.
    fn wrong_at(self, expr: &Expr, message: &str, hint: &str) -> DataFusionError {
        let error = StatementError::new(Code::JoinShape, message).at(place_of(expr, self.clause));
        smuggle(error.hint(hint))
    }
}

/// From the first to the last column of an expression; the clause, if they have no place.
fn place_of(expr: &Expr, clause: &Clause) -> Place {
    let spans = expr.column_refs().into_iter().flat_map(|column| column.spans.iter().copied().collect::<Vec<_>>());
    let text = clause.place.text();
    match datafusion_common::Span::union_iter(spans) {
        Some(span) => super::diagnose::place_of(&text.into(), &span),
        None => clause.place.clone(),
    }
}

/// A chain of joins on one key, being gathered from left to right.
struct Chain {
    sides: Vec<LogicalPlan>,
    keys: Vec<Vec<Expr>>,
    required: Vec<bool>,
    full: bool,
}

fn keyed(join: &Join, keep: JoinKeep, emit: JoinEmit, clause: &Clause) -> PlanResult<LogicalPlan> {
    let mut chain = Chain::gather(join, clause)?;
    chain.unify(clause)?;
    if emit == JoinEmit::Complete && chain.required.contains(&false) {
        let error =
            StatementError::new(Code::EmitMode, "EMIT COMPLETE waits for every side, so an outer join makes no sense");
        let error = error.at(clause.place.clone());
        return Err(smuggle(error.hint("Write JOIN, or use EMIT RUNNING or EMIT FINAL.")));
    }
    Ok(extension(Keyed::new(chain.sides, chain.keys, keep, emit, chain.required, clause.clone())?))
}

impl Chain {
    fn gather(join: &Join, clause: &Clause) -> PlanResult<Chain> {
        let shape = Shape { clause };
        let mut chain = match join.left.as_ref() {
            LogicalPlan::Join(left) => Chain::gather(left, clause)?,
            left => Chain { sides: vec![left.clone()], keys: vec![], required: vec![true], full: false },
        };
        if matches!(join.right.as_ref(), LogicalPlan::Join(_)) {
            return Err(shape.wrong(
                "a keyed join takes its sides one after the other",
                "Write a JOIN b … JOIN c … without parentheses.",
            ));
        }
        chain.require(join.join_type, shape)?;
        let pairs = equalities(join, shape)?;
        if pairs.is_empty() {
            return Err(shape.wrong("a keyed join needs a key", "Add ON a.k = b.k or USING (k)."));
        }
        let keys = chain.align(pairs, shape)?;
        chain.sides.push(join.right.as_ref().clone());
        chain.keys.push(keys);
        Ok(chain)
    }

    /// Which sides a combination needs once this join is part of the chain.
    fn require(&mut self, join_type: JoinType, shape: Shape<'_>) -> PlanResult<()> {
        let first = self.sides.len() == 1;
        if !first && self.full != (join_type == JoinType::Full) {
            return Err(shape.wrong(
                "a keyed join is FULL on every side or on none",
                "Write FULL JOIN throughout, or put a part of it into a subquery with its own KEEP and EMIT.",
            ));
        }
        match join_type {
            JoinType::Inner => self.required.push(true),
            JoinType::Left => self.required.push(false),
            JoinType::Right => {
                self.required.fill(false);
                self.required.push(true);
            }
            JoinType::Full => {
                self.full = true;
                self.required.fill(false);
                self.required.push(false);
            }
            JoinType::LeftSemi
            | JoinType::RightSemi
            | JoinType::LeftAnti
            | JoinType::RightAnti
            | JoinType::LeftMark
            | JoinType::RightMark => {
                return Err(shape.wrong(
                    "a keyed join is INNER, LEFT, RIGHT or FULL",
                    "Put the subquery's condition around the join.",
                ));
            }
        }
        Ok(())
    }

    /// The right side's key in the order of the chain's key.
    fn align(&mut self, pairs: Vec<(Expr, Expr)>, shape: Shape<'_>) -> PlanResult<Vec<Expr>> {
        if self.keys.is_empty() {
            let (left, right) = pairs.into_iter().unzip();
            self.keys.push(left);
            return Ok(right);
        }
        let width = self.keys[0].len();
        let mut aligned: Vec<Option<Expr>> = vec![None; width];
        for (left, right) in pairs {
            if let Some(at) = self.position(&left) {
                aligned[at] = Some(right);
                continue;
            }
            return Err(shape.wrong_at(
                &left,
                &format!(
                    "every side of a keyed join is joined on the same key, and {} is not part of it",
                    Names::default().text(&left)
                ),
                "Join on another key in a subquery with its own KEEP and EMIT.",
            ));
        }
        aligned.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| {
            shape.wrong(
                "every side of a keyed join is joined on the whole key",
                "Name every column of the key in each ON or USING.",
            )
        })
    }

    /// Which column of the key an expression over the sides so far stands for.
    fn position(&self, expr: &Expr) -> Option<usize> {
        if let Expr::ScalarFunction(ScalarFunction { func, args }) = expr
            && func.name() == "coalesce"
        {
            let mut positions = args.iter().map(|arg| self.position(arg));
            let first = positions.next()??;
            return positions.all(|position| position == Some(first)).then_some(first);
        }
        self.keys.iter().zip(&self.required).find_map(|(keys, required)| {
            // Under LEFT a side that may be missing does not name the key: its NULL would not match.
            let may_name = *required || self.full || !self.required.contains(&true);
            may_name.then(|| keys.iter().position(|key| key == expr)).flatten()
        })
    }

    /// Gives each column of the key one type on all sides.
    fn unify(&mut self, clause: &Clause) -> PlanResult<()> {
        let width = self.keys.first().map_or(0, Vec::len);
        for column in 0..width {
            let mut common = None;
            for (keys, side) in self.keys.iter().zip(&self.sides) {
                let own = keys[column].get_type(side.schema())?;
                common = Some(match common {
                    None => own,
                    Some(common) if common == own => own,
                    Some(common) if is_text(&common) == is_text(&own) => {
                        comparison_coercion(&common, &own).ok_or_else(|| incomparable(&keys[column], clause))?
                    }
                    Some(_) => return Err(incomparable(&keys[column], clause)),
                });
            }
            let Some(common) = common else { continue };
            for (keys, side) in self.keys.iter_mut().zip(&self.sides) {
                if keys[column].get_type(side.schema())? != common {
                    keys[column] = Expr::Cast(Cast::new(Box::new(keys[column].clone()), common.clone()));
                }
            }
        }
        Ok(())
    }
}

fn is_text(data_type: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType::{LargeUtf8, Utf8, Utf8View};
    matches!(data_type, Utf8 | LargeUtf8 | Utf8View)
}

fn incomparable(key: &Expr, clause: &Clause) -> DataFusionError {
    let message = format!("the keys of the sides have types that do not compare, at {}", Names::default().text(key));
    let error = StatementError::new(Code::Type, message).at(place_of(key, clause));
    smuggle(error.hint("Cast one side to the other's type."))
}

/// The equalities of a join as (left, right), or an error for anything else in its condition.
fn equalities(join: &Join, shape: Shape<'_>) -> PlanResult<Vec<(Expr, Expr)>> {
    let mut pairs = join.on.clone();
    let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    for condition in conditions {
        let pair = match &condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                sided(left, right, join.left.schema(), join.right.schema())?
            }
            _ => None,
        };
        let Some(pair) = pair else {
            return Err(shape.wrong_at(
                &condition,
                &format!("a keyed join takes equalities between its sides, not {}", Names::default().text(&condition)),
                "Filter a side in a subquery before the join, or the result in a WHERE after it.",
            ));
        };
        pairs.push(pair);
    }
    Ok(pairs)
}

fn sided(
    left: &Expr,
    right: &Expr,
    left_schema: &DFSchemaRef,
    right_schema: &DFSchemaRef,
) -> PlanResult<Option<(Expr, Expr)>> {
    let of = |expr: &Expr, schema: &DFSchemaRef| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(|column| schema.has_column(column))
    };
    Ok(if of(left, left_schema) && of(right, right_schema) {
        Some((left.clone(), right.clone()))
    } else if of(right, left_schema) && of(left, right_schema) {
        Some((right.clone(), left.clone()))
    } else {
        None
    })
}
