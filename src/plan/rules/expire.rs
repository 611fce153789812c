//! `state_ttl`: groups, partitions and rows that are kept by key are forgotten so long after they were last written.
//!
//! Over what ends by itself everything is kept, as the end bounds it. The rows of a stream that has a length of its own
//! are kept for that long by relational joins that read it directly, or through filters and projections.

use crate::plan::Context;
use crate::plan::bounds::ends;
use crate::plan::depth::deeper;
use crate::plan::node::Node;
use crate::types::Interval;

/// Lets every node of the plan that keeps something by key forget it in time.
pub(super) fn rewrite(node: &mut Node, context: &Context<'_>) {
    deeper(|| {
        let ends = ends(node);
        match node {
            Node::Aggregate(node) if !ends && !node.keys.is_empty() => node.ttl = context.state_ttl,
            Node::Join(node) if !ends && node.within.is_none() => {
                for (ttl, input) in node.ttl.iter_mut().zip(&node.inputs) {
                    let own = relation(input).and_then(|relation| context.catalog.state_ttl(relation));
                    *ttl = own.or(context.state_ttl).filter(|ttl| *ttl > Interval::default());
                }
            }
            Node::KeyedJoin(node) if !ends && node.closed_by.is_none() => node.ttl = context.state_ttl,
            // Where a window closes, the watermark bounds what is kept of it.
            Node::TopN(node) if !ends && !node.partition.is_empty() && node.closed_by.is_none() => {
                node.ttl = context.state_ttl;
            }
            Node::Over(node) if !ends && !node.partition.is_empty() && node.closed_by.is_none() => {
                node.ttl = context.state_ttl;
            }
            Node::Aggregate(_) | Node::Join(_) | Node::KeyedJoin(_) => {}
            Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) => {}
            Node::Unnest(_) | Node::Expand(_) | Node::Union(_) => {}
            Node::Collect(_) | Node::Logic(_) => {}
            Node::Sort(_) | Node::Limit(_) | Node::TopN(_) | Node::Over(_) => {}
            // What may be looked up is what is there, however long it has been there.
            Node::LookupJoin(_) => {}
            // The watermark bounds what they keep, as it does of joins whose times are within something of each other.
            Node::AsofJoin(_) | Node::Windows(_) | Node::WindowAggregate(_) => {}
        }
        node.inputs_mut().into_iter().for_each(|input| rewrite(input, context));
    });
}

/// The relation whose rows a node gives, if it is one.
fn relation(node: &Node) -> Option<&str> {
    match node {
        Node::Source(source) => Some(&source.relation),
        Node::Filter(filter) => relation(&filter.input),
        Node::Project(project) => relation(&project.input),
        Node::Values(_) | Node::Unnest(_) | Node::Expand(_) | Node::Union(_) | Node::Aggregate(_) => None,
        Node::Join(_) | Node::KeyedJoin(_) | Node::Collect(_) | Node::Logic(_) => None,
        Node::Sort(_) | Node::Limit(_) | Node::TopN(_) | Node::Over(_) => None,
        Node::AsofJoin(_) | Node::LookupJoin(_) | Node::Windows(_) | Node::WindowAggregate(_) => None,
    }
}
