//! WHAT DOES IT MEAN? From a statement to a [`Node`]. Pure: no I/O, no clock, the same plan on every run.

pub mod node;

use std::collections::HashMap;

use arrow::datatypes::{DataType, SchemaRef};
use sqlparser::ast;

use crate::catalog::Catalog;
use crate::error::{Code, Result, StatementError};
use crate::expr::Expr;
use crate::operators::StateSize;
use crate::sql;
use crate::types::Value;

pub use node::{Bounded, ChangelogMode, Node};

/// What a statement is planned against.
pub struct Context<'a> {
    /// What names stand for.
    pub catalog: &'a Catalog,
    /// The columns of the files that the statement reads directly, by path (see [`file_names`]).
    pub files: &'a HashMap<String, SchemaRef>,
    /// Values for `$1`, `$name`.
    pub parameters: &'a Parameters,
    /// Whether a query whose state has no bound is refused.
    pub require_bounded_state: bool,
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
}

/// What a node has done, for `EXPLAIN ANALYZE`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeMetrics {
    /// Rows that came in, on all ports.
    pub rows_in: u64,
    /// Rows that went out.
    pub rows_out: u64,
    /// What is kept.
    pub state: StateSize,
    /// Time spent, in nanoseconds, if it was measured.
    pub nanos: Option<u64>,
}

fn unbuilt<T>() -> Result<T> {
    Err(StatementError::new(Code::Unsupported, "not built").into())
}

/// The files that a query reads by their path (`FROM 'flights.csv'`), each once.
pub fn file_names(query: &sql::Query) -> Vec<sql::Name> {
    let _ = query;
    vec![]
}

/// Plans a query.
pub fn plan_query(query: &sql::Query, context: &Context<'_>) -> Result<Plan> {
    let _ = (query, context);
    unbuilt()
}

/// Plans what is written into a relation of columns `target`: the result has exactly those columns.
pub fn plan_insert(insert: &sql::Insert, target: &SchemaRef, context: &Context<'_>) -> Result<Plan> {
    let _ = (insert, target, context);
    unbuilt()
}

/// Compiles a condition over the columns of one relation.
pub fn plan_predicate(
    predicate: &ast::Expr,
    relation: &sql::Name,
    schema: &SchemaRef,
    context: &Context<'_>,
) -> Result<Expr> {
    let _ = (predicate, relation, schema, context);
    unbuilt()
}

/// The columns that a `CREATE` declares.
pub fn declared_columns(columns: &[sql::ColumnDef], context: &Context<'_>) -> Result<SchemaRef> {
    let _ = (columns, context);
    unbuilt()
}

/// The plan as a tree of text, one line a node and its notes; metrics are by node, in the tree's order from the root
/// (a node before its inputs).
pub fn explain(plan: &Plan, metrics: Option<&[NodeMetrics]>) -> String {
    let _ = (plan, metrics);
    String::new()
}

/// The built-in functions, put into a new catalog.
pub fn register_builtin_functions(catalog: &mut Catalog) {
    let _ = catalog;
}

/// How SQL calls a type.
pub fn type_name(data_type: &DataType) -> String {
    data_type.to_string()
}
