//! Append-only or changelog, for every node.

use crate::plan::node::{AggregateEmit, ChangelogMode, Node, OrderedEmit};

/// Whether the rows that `node` gives are only added, or also updated and deleted.
pub fn mode(node: &Node) -> ChangelogMode {
    match node {
        Node::Source(node) => node.mode,
        Node::Aggregate(node) => match node.emit {
            AggregateEmit::Final | AggregateEmit::Running => ChangelogMode::AppendOnly,
            // Without aggregates a group never changes: it only appears.
            AggregateEmit::Changes | AggregateEmit::Every(_) | AggregateEmit::EveryAndFinal(_) => {
                if node.aggregates.is_empty() { node.input_mode } else { ChangelogMode::Changelog }
            }
        },
        Node::Join(node) => node.mode(),
        Node::AsofJoin(node) => node.mode(),
        Node::LookupJoin(node) => node.mode(),
        Node::TopN(node) => node.mode(),
        Node::WindowAggregate(node) => node.mode(),
        Node::Over(node) => match node.emit {
            OrderedEmit::Final | OrderedEmit::Running => ChangelogMode::AppendOnly,
            OrderedEmit::Changes => ChangelogMode::Changelog,
        },
        Node::Values(_) | Node::KeyedJoin(_) | Node::Collect(_) | Node::Logic(_) | Node::Sort(_) => {
            ChangelogMode::AppendOnly
        }
        Node::Filter(_)
        | Node::Project(_)
        | Node::Unnest(_)
        | Node::Expand(_)
        | Node::Union(_)
        | Node::Limit(_)
        | Node::Windows(_) => {
            let changes = node.inputs().into_iter().any(|input| mode(input) == ChangelogMode::Changelog);
            if changes { ChangelogMode::Changelog } else { ChangelogMode::AppendOnly }
        }
    }
}
