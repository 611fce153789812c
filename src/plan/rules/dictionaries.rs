//! Texts that are only told apart may stay in the dictionary that a file has them in.
//!
//! ```text
//! Aggregate: channel; count(*)         Aggregate: channel; count(*)
//!   Source: bids                         Source: bids, dictionary (channel)
//! ```
//!
//! A group index finds the group of each entry of the dictionary once, instead of that of each row's text.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;

use super::narrow_joins::{columns, found_below};
use crate::plan::depth::deeper;
use crate::plan::node::{Aggregate, AggregateEmit, Node, Source};

/// Tells every source of an aggregate which text the aggregate is grouped by and nothing else looks at.
pub(super) fn rewrite(node: &mut Node) {
    deeper(|| {
        if let Some(key) = only_key(node) {
            // What else looks at the columns: the aggregates, and the filters on the way.
            let mut looks = columns(&node.exprs_mut()[1..]);
            if let Some(Node::Source(source)) = found_below(node, &|node| matches!(node, Node::Source(_)), &mut looks) {
                source.dictionary = told_apart(key, &looks, source);
            }
        }
        node.inputs_mut().into_iter().for_each(rewrite);
    });
}

/// The column that is grouped by. `RUNNING` gives it out row by row as it came in.
fn only_key(node: &Node) -> Option<usize> {
    let Node::Aggregate(Aggregate { keys, emit, .. }) = node else { return None };
    match (keys.as_slice(), emit) {
        (_, AggregateEmit::Running) => None,
        ([key], _) => key.column_index(),
        _ => None,
    }
}

fn told_apart(key: usize, looks: &BTreeSet<usize>, source: &Source) -> Vec<usize> {
    let is_text = matches!(source.schema.field(key).data_type(), DataType::Utf8 | DataType::Binary);
    let column = source.projection[key];
    Vec::from_iter((is_text && !looks.contains(&key)).then_some(column))
}
