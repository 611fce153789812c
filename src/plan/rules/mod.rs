//! Rewrites of a plan, a file each. Each keeps the answer, row by row and in order.

mod narrow_joins;
mod point_reads;
mod unused_ranks;

use super::node::Node;

/// The plan after all rewrites.
pub(super) fn rewrite(mut root: Node) -> Node {
    narrow_joins::rewrite(&mut root);
    unused_ranks::rewrite(&mut root);
    point_reads::rewrite(&mut root);
    root
}
