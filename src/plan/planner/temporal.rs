//! `JOIN t FOR SYSTEM_TIME AS OF …`, from the syntax tree to a node.
//!
//! ```text
//! a JOIN t FOR SYSTEM_TIME AS OF a.at ON a.k = t.k
//! a JOIN t ON (a.k = t.k) AND __system_time(a.at, …)       what DataFusion resolves
//! Versioned: conditions a.k = t.k, as of a.at              a node of ours, before anything is rewritten
//! ```
//!
//! As of `proctime()` a left row is joined with what the right side holds when it arrives: a [`LookupJoin`].
//! As of the left side's event time it is joined with the version that was valid then: an [`AsofJoin`], in which the
//! rows of the right side are versions, each valid from its time to that of the next one of its key.
//!
//! A filter must not go below such a join on its right side: another version would seem to be valid. So it is a node of
//! ours before DataFusion's optimizer sees it.

use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchemaRef, JoinType, Result as PlanResult, plan_err};
use datafusion_expr::expr::Case;
use datafusion_expr::logical_plan::builder::build_join_schema;
use datafusion_expr::logical_plan::{Join, LogicalPlan};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{Expr, Operator, UserDefinedLogicalNodeCore};
use sqlparser::ast::{self, JoinOperator, Spanned, TableFactor, TableVersion};

use super::diagnose::smuggle;
use super::extension::{by_text, extension};
use super::join::residual;
use super::join_markers::{self, SYSTEM_TIME};
use super::lower::{
    Demand, Failure, Lowered, Lowerer, Lowering, asks_final, check_unclaimed, longest, placed, side_name,
};
use super::places::join_place;
use super::provider::RelationSource;
use super::windows::is_clock;
use crate::catalog::Relation;
use crate::error::{Code, Place, Result, StatementError};
use crate::expr;
use crate::operators::{asof, lookup};
use crate::plan::event_time::event_time;
use crate::plan::node::{
    AsofJoin, ChangelogMode, Filter, JoinKind, LookupJoin, Nearest, Node, Project, Settles, Source,
};
use crate::plan::upsert_key;
use crate::sql;
use crate::types::type_name;

const TIME_HINT: &str = "Write FOR SYSTEM_TIME AS OF proctime(), or AS OF the event time of the left side, which \
     WATERMARK FOR … AS … declares.";

/// Makes a join that DataFusion can resolve of every join of a chain that is as of a time.
pub(super) fn mark(from: &mut ast::TableWithJoins, text: &Arc<str>) -> Result<()> {
    if let Some(time) = take_version(&mut from.relation) {
        let error = StatementError::new(Code::JoinShape, "FOR SYSTEM_TIME AS OF belongs to the right side of a join");
        let error = error.at(sql::place_of(text, time.span()));
        return Err(error.hint("Write FROM a JOIN t FOR SYSTEM_TIME AS OF … ON ….").into());
    }
    for join in &mut from.joins {
        let place = join_place(text, join);
        let Some(time) = take_version(&mut join.relation) else { continue };
        let refused = |code: Code, message: &str| StatementError::new(code, message).at(place.clone());
        let (constraint, outer) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) | JoinOperator::CrossJoin(constraint) => {
                (constraint, false)
            }
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (constraint, true),
            // The parser's joins are not ours to enumerate.
            _ => {
                let error = refused(Code::JoinShape, "FOR SYSTEM_TIME AS OF takes an inner join or a LEFT JOIN");
                return Err(error
                    .hint("The row that is looked up for is on the left: write it as a LEFT JOIN.")
                    .into());
            }
        };
        let Some(condition) = join_markers::marked(constraint, SYSTEM_TIME, time, text) else {
            let error = refused(Code::Unsupported, "a join with FOR SYSTEM_TIME AS OF takes no USING");
            return Err(error.hint("Write ON a.k = t.k.").into());
        };
        join.join_operator = match outer {
            true => JoinOperator::LeftOuter(condition),
            false => JoinOperator::Inner(condition),
        };
    }
    Ok(())
}

/// The time of which a relation is to be, taken off it.
fn take_version(relation: &mut TableFactor) -> Option<ast::Expr> {
    let TableFactor::Table { version, .. } = relation else { return None };
    match version.take() {
        Some(TableVersion::ForSystemTimeAsOf(time)) => Some(time),
        // The other versions of other dialects have been refused.
        Some(_) | None => None,
    }
}

/// Replaces every join whose condition holds the marker.
pub(super) fn place(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let placed = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        match Versioned::of(join)? {
            Some(versioned) => Ok(Transformed::yes(extension(versioned))),
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(placed.data)
}

/// The moment of which the right side is looked at.
#[derive(Debug, Clone)]
enum AsOf {
    /// When the left row arrives.
    Now,
    /// A time of the left row.
    Time(Expr),
}

/// A join with the right side as it was at a moment. Its columns are those of both sides.
#[derive(Debug)]
pub(super) struct Versioned {
    sides: [LogicalPlan; 2],
    join_type: JoinType,
    as_of: AsOf,
    /// The parts of the condition.
    conditions: Vec<Expr>,
    /// Where the moment stands.
    place: Place,
    schema: DFSchemaRef,
}

impl Versioned {
    /// How many of its columns are the left side's.
    fn width(&self) -> usize {
        self.sides[0].schema().fields().len()
    }

    fn of(join: &Join) -> PlanResult<Option<Versioned>> {
        let Some(found) = join_markers::find(SYSTEM_TIME, join)? else { return Ok(None) };
        let sides = [join.left.as_ref().clone(), join.right.as_ref().clone()];
        let as_of = if is_clock(&found.expr, &sides[0]) { AsOf::Now } else { AsOf::Time(found.expr) };
        let versioned = Versioned::new(sides, join.join_type, as_of, found.rest, found.place)?;
        let is_query = |expr: &Expr| {
            Ok(matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)))
        };
        for condition in &versioned.conditions {
            if condition.exists(is_query)? {
                let error = versioned.wrong("a join with FOR SYSTEM_TIME AS OF takes no subquery in its ON");
                return Err(smuggle(error.hint("Filter with WHERE, or in a subquery before the join.")));
            }
        }
        Ok(Some(versioned))
    }

    fn new(
        sides: [LogicalPlan; 2],
        join_type: JoinType,
        as_of: AsOf,
        conditions: Vec<Expr>,
        place: Place,
    ) -> PlanResult<Versioned> {
        let schema = Arc::new(build_join_schema(sides[0].schema(), sides[1].schema(), &join_type)?);
        Ok(Versioned { sides, join_type, as_of, conditions, place, schema })
    }

    fn text(&self) -> String {
        format!("{} {:?} {:?}", self.join_type, self.as_of, self.conditions)
    }

    fn wrong(&self, message: impl Into<String>) -> StatementError {
        StatementError::new(Code::JoinShape, message).at(self.place.clone())
    }

    fn kind(&self) -> JoinKind {
        if self.join_type == JoinType::Left { JoinKind::Left } else { JoinKind::Inner }
    }
}

/// Lowers what [`place`] has put into the plan.
pub(super) fn lower(lowerer: &Lowerer<'_>, node: &Versioned, demand: Demand<'_>) -> Lowering<Lowered> {
    check_unclaimed(demand.clause)?;
    match &node.as_of {
        AsOf::Now => lower_lookup(lowerer, node),
        AsOf::Time(time) => lower_versions(lowerer, node, time, demand.only_final || asks_final(demand.clause)),
    }
}

/// What is looked up is what is there then: no side may wait for the end because only the end is looked at.
fn lower_lookup(lowerer: &Lowerer<'_>, node: &Versioned) -> Lowering<Lowered> {
    let left = lowerer.node(&node.sides[0], Demand::below(false))?;
    let right = lowerer.node(&node.sides[1], Demand::below(false))?;
    let condition = Condition::of(node, |_| true)?;
    let [keys_left, keys_right] = &condition.keys;
    let lookup = LookupJoin {
        names: [side_name(&node.sides[0]), side_name(&node.sides[1])],
        keys: [
            lowerer.compile_all(keys_left, node.sides[0].schema())?,
            lowerer.compile_all(keys_right, node.sides[1].schema())?,
        ],
        residual: condition.rest.map(|rest| residual(lowerer, &node.schema, node.width(), &rest)).transpose()?,
        kind: node.kind(),
        input_modes: [left.mode(), right.mode()],
        schema: lowerer.columns(&node.schema),
        inputs: [Box::new(left.node), Box::new(right.node)],
    };
    lookup::check_sides(&lookup).map_err(|error| placed(error, || node.place.clone()))?;
    Ok(Lowered { node: Node::LookupJoin(lookup), bounded: left.bounded, at_end: left.at_end })
}

fn lower_versions(lowerer: &Lowerer<'_>, node: &Versioned, time: &Expr, only_final: bool) -> Lowering<Lowered> {
    let left = lowerer.node(&node.sides[0], Demand::below(only_final))?;
    let mut right = lowerer.node(&node.sides[1], Demand::below(only_final))?;
    let input_modes = [left.mode(), right.mode()];
    let left_time = left_time(lowerer, node, time, &left.node)?;
    let version = Version::of(lowerer, node, &mut right.node)?;
    let right_time = Expr::Column(node.sides[1].schema().columns().swap_remove(version.time));
    let right_time = lowerer.compile(&right_time, node.sides[1].schema())?;
    if left_time.data_type() != right_time.data_type() {
        let [left, right] = [&left_time, &right_time].map(|time| type_name(time.data_type()));
        let error = node.wrong(format!("the times of both sides differ in their types: {left} and {right}"));
        return Err(error.hint("Declare both columns of event time with one type.").into());
    }
    let is_key = |key: &Expr| version.key.as_ref().is_none_or(|columns| columns.contains(uncast(key)));
    let condition = Condition::of(node, is_key)?;
    version.check_key(node, &condition)?;
    let settles = match input_modes {
        [ChangelogMode::AppendOnly, _] => Settles::Watermark,
        [ChangelogMode::Changelog, ChangelogMode::AppendOnly] => Settles::Never,
        [ChangelogMode::Changelog, ChangelogMode::Changelog] => {
            let error = node.wrong("over the versions of a table the left side has to be append-only");
            return Err(error.hint("Write FOR SYSTEM_TIME AS OF proctime() to look the table up as it is now.").into());
        }
    };
    for side in [&left, &right] {
        asof::check_side(&side.node.schema(), settles).map_err(|error| placed(error, || node.place.clone()))?;
    }
    let bounded = longest(left.bounded, right.bounded);
    let joined = Node::AsofJoin(AsofJoin {
        names: [side_name(&node.sides[0]), side_name(&node.sides[1])],
        keys: [
            lowerer.compile_all(&condition.keys[0], node.sides[0].schema())?,
            lowerer.compile_all(&condition.keys[1], node.sides[1].schema())?,
        ],
        times: [left_time, right_time],
        nearest: Nearest::AtOrBefore,
        kind: node.kind(),
        settles,
        input_modes,
        schema: lowerer.columns(&node.schema),
        inputs: [Box::new(left.node), Box::new(right.node)],
    });
    let node = match condition.rest {
        Some(rest) => fulfilling(lowerer, node, joined, rest)?,
        None => joined,
    };
    Ok(Lowered { node, bounded, at_end: false })
}

/// The time of the left side, which has to be its event time.
fn left_time(lowerer: &Lowerer<'_>, node: &Versioned, time: &Expr, left: &Node) -> Lowering<expr::Expr> {
    let schema = node.sides[0].schema();
    let of_left = time.column_refs().into_iter().all(|column| schema.has_column(column));
    let compiled = if of_left { Some(lowerer.compile(time, schema)?) } else { None };
    match compiled.filter(|time| time.column_index().is_some_and(|column| event_time(left).contains(&column))) {
        Some(time) => Ok(time),
        None => {
            let error = node.wrong("a join is as of now or as of the event time of its left side");
            Err(error.hint(TIME_HINT).into())
        }
    }
}

/// What tells the versions of the right side apart.
struct Version {
    /// The column with the time from which a row is valid.
    time: usize,
    /// The columns by which a row takes the place of another, if it is a table; else those of the condition.
    key: Option<Vec<Expr>>,
}

impl Version {
    fn of(lowerer: &Lowerer<'_>, node: &Versioned, right: &mut Node) -> Lowering<Version> {
        let name = side_name(&node.sides[1]);
        if crate::plan::changelog::mode(right) == ChangelogMode::AppendOnly {
            return match event_time(right)[..] {
                [time] => Ok(Version { time, key: None }),
                [] => Err(untimed(node, &name)),
                [..] => {
                    let error = node.wrong(format!("\"{name}\" has several columns of event time"));
                    Err(error.hint("Leave one of them in a subquery of WITH or in a view.").into())
                }
            };
        }
        let Some(source) = table(right) else {
            let error = node.wrong(format!("the versions of \"{name}\" are not known, because its rows may go"));
            return Err(error.hint(
                "Join a table by its primary key, or a stream of which each row is a version; FOR SYSTEM_TIME AS OF \
                 proctime() looks up what is there now.",
            ).into());
        };
        let Some(Relation::Table(table)) = lowerer.places.catalog.relations.get(&*source.relation) else {
            return Err(untimed(node, &name));
        };
        let declared = table.event_time.as_ref().map(|time| time.column);
        let declared = declared.and_then(|time| source.projection.iter().position(|column| *column == time));
        let time = declared.ok_or_else(|| untimed(node, &name))?;
        // Its rows are judged as those of a stream: each is a version from its time on.
        source.event_time = vec![time];
        let place = |column: usize| placed_column(right, column);
        let (time, key) = (place(time).ok_or_else(|| untimed(node, &name))?, upsert_key(right).unwrap_or_default());
        let columns = node.sides[1].schema().columns();
        Ok(Version { time, key: Some(key.into_iter().map(|at| Expr::Column(columns[at].clone())).collect()) })
    }

    /// Fails unless the condition compares the whole key.
    fn check_key(&self, node: &Versioned, condition: &Condition) -> Lowering<()> {
        let name = side_name(&node.sides[1]);
        match &self.key {
            None if condition.keys[1].is_empty() => {
                let error = node.wrong(format!("the ON says no key by which \"{name}\" has versions"));
                Err(error.hint("Write ON a.k = t.k, and further conditions behind it.").into())
            }
            Some(key) if !key.iter().all(|column| condition.keys[1].iter().any(|key| uncast(key) == column)) => {
                let error = node.wrong(format!("the ON does not compare the whole primary key of \"{name}\""));
                Err(error.hint("The versions of a table are those of its primary key.").into())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What an expression is before it was given the type of what it is compared with.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => uncast(&cast.expr),
        Expr::Alias(alias) => uncast(&alias.expr),
        other => other,
    }
}

fn untimed(node: &Versioned, name: &str) -> Failure {
    let error = node.wrong(format!("\"{name}\" has no event time, so its versions are not known"));
    error.hint("Declare it with WATERMARK FOR … AS …, or write FOR SYSTEM_TIME AS OF proctime().").into()
}

/// The source of a node that gives the rows of a relation as they are, or some of their columns.
fn table(node: &mut Node) -> Option<&mut Source> {
    match node {
        Node::Source(source) => Some(source),
        Node::Project(project) if project.exprs.iter().all(|expr| expr.column_index().is_some()) => {
            table(&mut project.input)
        }
        _ => None,
    }
}

/// Where a column of that source stands in what the node gives.
fn placed_column(node: &Node, column: usize) -> Option<usize> {
    match node {
        Node::Project(project) => {
            let below = placed_column(&project.input, column)?;
            project.exprs.iter().position(|expr| expr.column_index() == Some(below))
        }
        _ => Some(column),
    }
}

/// The rows of a join for which the rest of the condition is true; of a `LEFT JOIN` the others beside NULLs.
fn fulfilling(lowerer: &Lowerer<'_>, node: &Versioned, joined: Node, rest: Expr) -> Lowering<Node> {
    if node.kind() == JoinKind::Inner {
        let predicate = lowerer.compile(&rest, &node.schema)?;
        return Ok(Node::Filter(Filter { input: Box::new(joined), predicate }));
    }
    let width = node.sides[0].schema().fields().len();
    let exprs = node.schema.columns().into_iter().enumerate().map(|(at, column)| match at < width {
        true => Expr::Column(column),
        false => {
            let then = (Box::new(rest.clone()), Box::new(Expr::Column(column)));
            Expr::Case(Case::new(None, vec![then], None))
        }
    });
    let exprs = lowerer.compile_all(&exprs.collect::<Vec<_>>(), &node.schema)?;
    Ok(Node::Project(Project { schema: joined.schema(), exprs, input: Box::new(joined) }))
}

/// The condition of a join: keys of both sides that have to be equal, and the rest.
struct Condition {
    keys: [Vec<Expr>; 2],
    rest: Option<Expr>,
}

impl Condition {
    /// Takes equalities for keys if `is_key` says so of the right side's expression.
    fn of(node: &Versioned, is_key: impl Fn(&Expr) -> bool) -> PlanResult<Condition> {
        let (mut keys, mut rest) = ([vec![], vec![]], vec![]);
        for condition in &node.conditions {
            match join_markers::compared(&node.sides, condition)? {
                Some(([left, right], Operator::Eq)) if is_key(&right) => {
                    keys[0].push(left);
                    keys[1].push(right);
                }
                Some(_) | None => rest.push(condition.clone()),
            }
        }
        Ok(Condition { keys, rest: conjunction(rest) })
    }
}

/// The relation whose rows a plan passes on one by one, and for each of its columns which of the relation's it is.
fn relation_of(plan: &LogicalPlan) -> Option<(&RelationSource, Vec<Option<usize>>)> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = scan.source.downcast_ref::<RelationSource>()?;
            let all = || (0..source.schema.fields().len()).collect();
            let columns: Vec<usize> = scan.projection.clone().unwrap_or_else(all);
            Some((source, columns.into_iter().map(Some).collect()))
        }
        LogicalPlan::SubqueryAlias(node) => relation_of(&node.input),
        LogicalPlan::Filter(node) => relation_of(&node.input),
        LogicalPlan::Projection(node) => {
            let (source, columns) = relation_of(&node.input)?;
            let place = |expr: &Expr| {
                let Expr::Column(column) = expr.clone().unalias() else { return None };
                columns[node.input.schema().maybe_index_of_column(&column)?]
            };
            Some((source, node.expr.iter().map(place).collect()))
        }
        // DataFusion's plans are not ours to enumerate.
        _ => None,
    }
}

by_text!(Versioned);

impl UserDefinedLogicalNodeCore for Versioned {
    fn name(&self) -> &str {
        "Versioned"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.sides.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let time = match &self.as_of {
            AsOf::Now => None,
            AsOf::Time(time) => Some(time.clone()),
        };
        self.conditions.iter().cloned().chain(time).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Versioned: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok(sides) = <[LogicalPlan; 2]>::try_from(inputs) else { return plan_err!("a join has two sides") };
        let as_of = match (&self.as_of, exprs.len() > self.conditions.len()) {
            (AsOf::Now, _) | (AsOf::Time(_), false) => self.as_of.clone(),
            (AsOf::Time(time), true) => AsOf::Time(exprs.pop().unwrap_or_else(|| time.clone())),
        };
        Versioned::new(sides, self.join_type, as_of, exprs, self.place.clone())
    }

    /// All columns of a side that may change are needed to know a row again, and its event time to know its versions.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let [mut left, mut right] = join_markers::columns_by_side(self.width(), output_columns);
        let all = |side: usize| (0..self.sides[side].schema().fields().len()).collect();
        let stays = |side: usize| relation_of(&self.sides[side]).filter(|(of, _)| of.mode == ChangelogMode::AppendOnly);
        match (&self.as_of, stays(1)) {
            (AsOf::Now, _) => {}
            (AsOf::Time(_), Some((relation, columns))) => {
                let timed = |at: &usize| columns[*at].is_some_and(|column| relation.event_time.contains(&column));
                right.extend((0..columns.len()).filter(timed));
            }
            (AsOf::Time(_), None) => right = all(1),
        }
        if stays(0).is_none() {
            left = all(0);
        }
        Some(vec![left, right])
    }
}
