//! Rows carry the watermark that held before them where a node above judges by it whether they are late: below a window
//! that the watermark closes, as far down as rows go through one by one.

use crate::plan::depth::deeper;
use crate::plan::node::{
    AsofJoin, ChangelogMode, Closing, Join, KeyedJoin, LookupJoin, Node, OrderedEmit, Over, Settles, TopN,
    WindowAggregate, Windows,
};

/// Tells every source whose rows are judged that they carry the watermark.
pub(super) fn rewrite(node: &mut Node) {
    deeper(|| {
        if judges(node) {
            node.inputs_mut().into_iter().for_each(mark);
        }
        node.inputs_mut().into_iter().for_each(rewrite);
    });
}

/// Whether a node judges its rows by the watermark before each of them.
fn judges(node: &Node) -> bool {
    let window = match node {
        Node::WindowAggregate(WindowAggregate { window, .. }) => window,
        // Only a session is late by itself: of other shapes each row goes on to what judges it.
        Node::Windows(Windows { window, .. }) if window.is_session() => window,
        Node::Windows(_) => return false,
        Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) | Node::Unnest(_) => return false,
        Node::Expand(_) | Node::Union(_) | Node::Aggregate(_) => return false,
        Node::KeyedJoin(KeyedJoin { closed_by, .. }) => return closed_by.is_some(),
        Node::Join(Join { within, .. }) => return within.is_some(),
        Node::LookupJoin(_) => return false,
        Node::AsofJoin(AsofJoin { settles, .. }) => return *settles == Settles::Watermark,
        Node::Collect(_) | Node::Logic(_) | Node::Sort(_) | Node::Limit(_) => return false,
        Node::TopN(TopN { closed_by, settles, .. }) => return *settles || closed_by.is_some(),
        Node::Over(Over { closed_by, .. }) => return closed_by.is_some(),
    };
    window.closing == Closing::Watermark
}

/// Tells the sources whose rows go through to the result of a node that they carry the watermark.
pub(super) fn mark(node: &mut Node) {
    deeper(|| match node {
        Node::Source(source) => source.watermarked = !source.event_time.is_empty(),
        Node::Filter(_) | Node::Project(_) | Node::Unnest(_) | Node::Expand(_) | Node::Union(_) => {
            node.inputs_mut().into_iter().for_each(mark);
        }
        Node::TopN(top) if top.by_arrival() => mark(&mut top.input),
        Node::Over(over) if over.emit == OrderedEmit::Running => mark(&mut over.input),
        Node::LookupJoin(LookupJoin { input_modes: [ChangelogMode::AppendOnly, _], inputs, .. }) => {
            mark(&mut inputs[0])
        }
        Node::Limit(_) | Node::Windows(_) => node.inputs_mut().into_iter().for_each(mark),
        // Rows that come out of these are never late.
        Node::Values(_) | Node::Aggregate(_) | Node::Join(_) | Node::KeyedJoin(_) | Node::Collect(_) => {}
        Node::AsofJoin(_) | Node::LookupJoin(_) | Node::Logic(_) | Node::Sort(_) | Node::TopN(_) | Node::Over(_) => {}
        Node::WindowAggregate(_) => {}
    });
}
