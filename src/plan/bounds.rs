//! How each node's state is bounded.

use std::fmt;

use crate::error::{Code, Result, StatementError};
use crate::plan::Plan;
use crate::plan::changelog::mode;
use crate::plan::node::{Bounded, ChangelogMode, JoinEmit, JoinKeep, Node};

/// What bounds a node's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// It keeps nothing that grows.
    None,
    /// It keeps a fixed amount for each of these keys.
    Keys(String),
    /// It keeps rows until their window closes by size or time.
    Window,
    /// It keeps all its rows until its input, which ends by itself, has ended.
    Input,
    /// It keeps what grows with the rows of an input that need not end.
    Unbounded(&'static str),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::None => f.write_str("no state"),
            Bound::Keys(keys) => write!(f, "state bounded by keys ({keys})"),
            Bound::Window => f.write_str("state bounded by open windows"),
            Bound::Input => f.write_str("state bounded by the input, which ends"),
            Bound::Unbounded(hint) => write!(f, "state not bounded: {hint}"),
        }
    }
}

/// What bounds the state of `node` itself, not of its inputs.
pub fn bound(node: &Node) -> Bound {
    match node {
        Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) => Bound::None,
        Node::Unnest(_) | Node::Expand(_) | Node::Union(_) | Node::Limit(_) => Bound::None,
        Node::Aggregate(node) if node.keys.is_empty() => Bound::Keys("one group".into()),
        Node::Aggregate(node) if node.aggregates.iter().any(|call| grows(&call.function, call.distinct)) => rows_kept(
            &node.input,
            "an aggregate keeps every row of its group; a COLLECT or EMIT FINAL over a file bounds it",
        ),
        Node::Aggregate(node) => Bound::Keys(names(node.keys.iter())),
        Node::KeyedJoin(node) => match (node.keep, node.emit) {
            (JoinKeep::First | JoinKeep::Last, _) | (JoinKeep::Product, JoinEmit::Complete) => {
                Bound::Keys(node.sides.first().map(|side| names(side.keys.iter())).unwrap_or_default())
            }
            (JoinKeep::Product, JoinEmit::Running | JoinEmit::Final) => {
                match node.sides.iter().all(|side| ends(&side.input)) {
                    true => Bound::Input,
                    false => {
                        Bound::Unbounded("KEEP PRODUCT keeps every row; KEEP LAST or EMIT COMPLETE bounds it by keys")
                    }
                }
            }
        },
        Node::Collect(_) => Bound::Window,
        Node::Logic(node) => Bound::Keys(names(node.keys.iter())),
        // Of a changelog every row is kept: one of the first may be taken back, and let a later one in.
        Node::Sort(node) if node.fetch.is_some() && mode(&node.input) == ChangelogMode::AppendOnly => {
            Bound::Keys("LIMIT".into())
        }
        Node::Sort(node) => {
            rows_kept(&node.input, "ORDER BY keeps every row; a LIMIT over rows that are only added bounds it")
        }
    }
}

fn rows_kept(input: &Node, hint: &'static str) -> Bound {
    match ends(input) {
        true => Bound::Input,
        false => Bound::Unbounded(hint),
    }
}

fn grows(function: &str, distinct: bool) -> bool {
    distinct || matches!(function, "array_agg" | "string_agg" | "median" | "percentile_cont" | "nth_value")
}

fn names<T: fmt::Display>(keys: impl Iterator<Item = T>) -> String {
    keys.map(|key| key.to_string()).collect::<Vec<_>>().join(", ")
}

/// Whether everything below ends by itself.
fn ends(node: &Node) -> bool {
    match node {
        Node::Source(source) => source.bounded == Bounded::Yes,
        other => other.inputs().into_iter().all(ends),
    }
}

/// Refuses a plan with a state that is not bounded.
pub(super) fn require(plan: &Plan) -> Result<()> {
    fn check(node: &Node) -> Result<()> {
        if let Bound::Unbounded(hint) = bound(node) {
            let name = super::explain::title(node);
            let error = StatementError::new(Code::UnboundedState, format!("the state of {name} is not bounded"));
            return Err(error.hint(format!("SET require_bounded_state = false allows it; {hint}.")).into());
        }
        node.inputs().into_iter().try_for_each(check)
    }
    check(&plan.root)
}
