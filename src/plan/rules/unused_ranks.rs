//! A Top-N does not say a rank that nobody looks at: then a row whose rank alone has changed has not changed.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::narrow_joins::{found_below, looks_at};
use crate::plan::depth::deeper;
use crate::plan::node::{Node, TopN};

/// Drops every unused rank in the plan.
pub(super) fn rewrite(node: &mut Node) {
    deeper(|| {
        drop_below(node);
        node.inputs_mut().into_iter().for_each(rewrite);
    });
}

/// Drops the rank of the Top-N that `node` reads, itself or through filters. It is the last column, so that no other
/// has another number then.
fn drop_below(node: &mut Node) {
    let Some(mut looks) = looks_at(node) else { return };
    let is_ranked = |node: &Node| matches!(node, Node::TopN(TopN { says_rank: true, .. }));
    let Some(Node::TopN(top)) = found_below(node, &is_ranked, &mut looks) else { return };
    let Some((_, rest)) = top.schema.fields().split_last() else { return };
    if !looks.contains(&rest.len()) {
        (top.says_rank, top.schema) = (false, Arc::new(Schema::new(rest.to_vec())));
    }
}
