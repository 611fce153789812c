//! WHAT DOES IT MEAN? From a statement to a [`Node`]. Pure: no I/O, no clock, the same plan on every run.

mod bounds;
mod changelog;
pub(crate) mod depth;
mod event_time;
mod explain;
mod keys;
pub mod node;
mod planner;
mod rules;
mod shared;
mod why;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use sqlparser::ast;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::expr::Expr;
use crate::operators::{Forgotten, StateSize};
use crate::sql;
use crate::types::{Interval, OP_COLUMN, Value};

pub use event_time::event_time;
pub use keys::upsert_key;
pub use node::{Bounded, ChangelogMode, Node, Reads};
pub use shared::Shared;
pub use why::{Cause, Seen, behind, why};

/// What a statement is planned against.
pub struct Context<'a> {
    /// What names stand for.
    pub catalog: &'a Catalog,
    /// The columns of the files that the statement reads directly, by path (see [`file_names`]).
    pub files: &'a HashMap<String, SchemaRef>,
    /// The streams and tables that have ended: they are bounded, whatever they were declared to be.
    pub closed: &'a BTreeSet<Arc<str>>,
    /// Values for `$1`, `$name`.
    pub parameters: &'a Parameters,
    /// Whether a query whose state has no bound is refused.
    pub require_bounded_state: bool,
    /// Whether the rows of the result are kept without an order, so that an `ORDER BY` without a `LIMIT` says nothing.
    pub unordered: bool,
    /// What is read of tables and materialized views.
    pub reads: Reads,
    /// For how long a key's state is kept after its last row; as long as it may matter for `None`.
    pub state_ttl: Option<Interval>,
}

/// Values for the parameters of a statement: `$1` is the first of `positional`.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// `$1`, `$2`, …
    pub positional: Vec<Value>,
    /// `$name`
    pub named: HashMap<String, Value>,
}

/// A planned query.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tree.
    pub root: Node,
    /// Whether the result is append-only.
    pub mode: ChangelogMode,
    /// Whether the result ends by itself.
    pub bounded: Bounded,
    /// What of the tree need not be computed, because it is the same as what stands before it.
    pub shared: Vec<Shared>,
}

/// What a node has done, for `EXPLAIN ANALYZE`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeMetrics {
    /// Rows that came in, on all ports.
    pub rows_in: u64,
    /// Rows that went out.
    pub rows_out: u64,
    /// Rows of a file that could not be read and were left out.
    pub skipped: u64,
    /// What was left behind: by `state_ttl`, or because it was late or had no time.
    pub forgotten: Forgotten,
    /// What is kept, or was before the input ended.
    pub state: StateSize,
    /// Time spent, if it was measured.
    pub time: Option<Duration>,
}

impl NodeMetrics {
    /// What it has done since it had done that.
    #[must_use]
    pub fn since(&self, before: &NodeMetrics) -> NodeMetrics {
        NodeMetrics {
            rows_in: self.rows_in.saturating_sub(before.rows_in),
            rows_out: self.rows_out.saturating_sub(before.rows_out),
            skipped: self.skipped.saturating_sub(before.skipped),
            forgotten: self.forgotten.since(before.forgotten),
            ..*self
        }
    }

    /// Notes what is kept, if that is not less than what was: little is left once inputs have ended.
    pub fn kept(&mut self, state: StateSize) {
        if state.rows >= self.state.rows {
            self.state = state;
        }
    }

    /// Adds a time that was measured.
    pub fn took(&mut self, time: Option<Duration>) {
        if let Some(time) = time {
            *self.time.get_or_insert_default() += time;
        }
    }
}

/// What the name of the relation of a stream's bad rows begins with, in [`node::Source::relation`].
pub const DEAD_LETTERS_PREFIX: &str = "errors:";

/// The files that a query reads by their path (`FROM 'flights.csv'`), each once.
pub fn file_names(query: &sql::Query) -> Vec<sql::Name> {
    let mut names: Vec<sql::Name> = vec![];
    let _: ControlFlow<()> = sql::visit_relations(query.ast.as_ref(), |relation| {
        if let [ast::ObjectNamePart::Identifier(name)] = relation.0.as_slice()
            && name.quote_style == Some(sql::FILE_QUOTE)
            && !names.iter().any(|known| known.value == name.value)
        {
            names.push(sql::Name { value: name.value.clone(), place: sql::place_of(&query.text, name.span) });
        }
        ControlFlow::Continue(())
    });
    names
}

/// Plans a query.
pub fn plan_query(query: &sql::Query, context: &Context<'_>) -> Result<Plan> {
    planner::plan_query(query, context)
}

/// Plans what is written into a relation of columns `target`: the result has exactly those columns.
pub fn plan_insert(insert: &sql::Insert, target: &SchemaRef, context: &Context<'_>) -> Result<Plan> {
    planner::plan_insert(insert, target, context)
}

/// Refuses a query if two of its columns have the same name: a relation could not tell them apart.
pub fn check_relation(plan: &Plan, query: &sql::Query) -> Result<()> {
    planner::check_distinct(&plan.root.schema(), None, query)
}

/// Refuses a query if two columns of the file it is written to would have the same name, `op` of a changelog among them.
pub fn check_written(plan: &Plan, query: &sql::Query) -> Result<()> {
    let op = (plan.mode == ChangelogMode::Changelog).then_some(OP_COLUMN);
    planner::check_distinct(&plan.root.schema(), op, query)
}

/// Compiles a condition over the columns of one relation.
pub fn plan_predicate(
    predicate: &ast::Expr,
    relation: &sql::Name,
    schema: &SchemaRef,
    context: &Context<'_>,
) -> Result<Expr> {
    planner::plan_predicate(predicate, relation, schema, context)
}

/// Compiles what `UPDATE` makes of each column of a table of columns `target`, over the row as it was.
pub fn plan_update(update: &sql::Update, target: &SchemaRef, context: &Context<'_>) -> Result<Vec<Expr>> {
    planner::plan_update(update, target, context)
}

/// Lets the rows of a derived stream carry the watermark, for readers that judge by it whether they are late.
pub fn carry_watermark(root: &mut Node) {
    rules::carry_watermark(root);
}

/// Compiles what a relation of columns `schema` declares as its watermark.
pub fn plan_watermark(
    watermark: &sql::Watermark,
    relation: &sql::Name,
    schema: &SchemaRef,
    context: &Context<'_>,
) -> Result<Expr> {
    planner::plan_watermark(watermark, relation, schema, context)
}

/// The columns that a `CREATE` declares.
pub fn declared_columns(columns: &[sql::ColumnDef], context: &Context<'_>) -> Result<SchemaRef> {
    planner::declared_columns(columns, context)
}

/// The plan as a tree of text, one line a node and its notes; metrics are by node, in the tree's order from the root
/// (a node before its inputs).
pub fn explain(plan: &Plan, metrics: Option<&[NodeMetrics]>) -> String {
    explain::explain(plan, metrics)
}

/// What a node is, in one line, as `EXPLAIN` says it.
pub fn title(node: &Node) -> String {
    explain::title(node)
}

/// A relation as it is named in a query.
pub fn relation_name(relation: &str) -> String {
    explain::relation_name(relation)
}

/// The built-in functions, put into a new catalog.
pub fn register_builtin_functions(catalog: &mut Catalog) {
    planner::register_builtin_functions(catalog);
}
