//! Rewrites of a plan, a file each. Each but `expire` keeps the answer, row by row and in order.

mod computed_once;
mod dictionaries;
mod expire;
mod narrow_joins;
mod point_reads;
mod unused_ranks;
mod watermarked;

use super::node::Node;
use crate::plan::Context;

/// Lets the rows of a derived stream carry the watermark, for readers that judge by it.
pub(super) fn carry_watermark(root: &mut Node) {
    watermarked::mark(root);
}

/// The plan after all rewrites.
pub(super) fn rewrite(mut root: Node, context: &Context<'_>) -> Node {
    narrow_joins::rewrite(&mut root);
    unused_ranks::rewrite(&mut root);
    computed_once::rewrite(&mut root);
    point_reads::rewrite(&mut root);
    expire::rewrite(&mut root, context);
    watermarked::rewrite(&mut root);
    dictionaries::rewrite(&mut root);
    root
}
