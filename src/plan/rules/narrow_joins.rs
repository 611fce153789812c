//! A keyed join keeps and gives out only the columns that somebody looks at.
//!
//! ```text
//! Project: name, price                   Project: name, price
//!   KeyedJoin: p(id, name) a(id, price)    KeyedJoin: p(name) a(price)     the keys are taken from what comes in
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Schema;

use crate::expr::Expr;
use crate::plan::node::{JoinSide, KeyedJoin, Node};

/// Below so much stack a deep plan is rewritten on a new piece of it.
const STACK_RED_ZONE_BYTES: usize = 128 * 1024;
const STACK_GROWTH_BYTES: usize = 4 * 1024 * 1024;

/// Narrows every keyed join in the plan.
pub(super) fn rewrite(node: &mut Node) {
    stacker::maybe_grow(STACK_RED_ZONE_BYTES, STACK_GROWTH_BYTES, || {
        narrow_below(node);
        node.inputs_mut().into_iter().for_each(rewrite);
    });
}

/// Narrows the join that `node` reads, itself or through filters. Filters give out all they read, so it is `node` that
/// decides what is looked at.
fn narrow_below(node: &mut Node) {
    let Some(mut looks) = looks_at(node) else { return };
    let Some(join) = join_below(node, &mut looks) else { return };
    let width: usize = join.sides.iter().map(|side| side.columns.len()).sum();
    if looks.is_empty() && width > 0 {
        // Rows without columns have no length of their own.
        looks.insert(0);
    }
    if looks.len() == width {
        return;
    }
    narrow(join, &looks);
    let place = |column: usize| looks.range(..column).count();
    renumber(node, &place);
}

/// The columns of its input that a node looks at; `None` if it gives them all out.
fn looks_at(node: &mut Node) -> Option<BTreeSet<usize>> {
    match node {
        Node::Project(_) | Node::Aggregate(_) | Node::Collect(_) => Some(columns(&node.exprs_mut())),
        Node::Source(_)
        | Node::Values(_)
        | Node::Filter(_)
        | Node::Unnest(_)
        | Node::Expand(_)
        | Node::Union(_)
        | Node::Join(_)
        | Node::KeyedJoin(_)
        | Node::Logic(_)
        | Node::Sort(_)
        | Node::Limit(_) => None,
    }
}

fn columns(exprs: &[&mut Expr]) -> BTreeSet<usize> {
    exprs.iter().flat_map(|expr| expr.columns()).collect()
}

/// The join below a node, with what the filters on the way look at.
fn join_below<'a>(node: &'a mut Node, looks: &mut BTreeSet<usize>) -> Option<&'a mut KeyedJoin> {
    let [input] = <[&mut Node; 1]>::try_from(node.inputs_mut()).ok()?;
    match input {
        Node::KeyedJoin(join) => Some(join),
        Node::Filter(filter) => {
            looks.extend(filter.predicate.columns());
            join_below(input, looks)
        }
        Node::Source(_)
        | Node::Values(_)
        | Node::Project(_)
        | Node::Unnest(_)
        | Node::Expand(_)
        | Node::Union(_)
        | Node::Aggregate(_)
        | Node::Join(_)
        | Node::Collect(_)
        | Node::Logic(_)
        | Node::Sort(_)
        | Node::Limit(_) => None,
    }
}

fn narrow(join: &mut KeyedJoin, looks: &BTreeSet<usize>) {
    let fields = looks.iter().map(|column| join.schema.field(*column).clone()).collect::<Vec<_>>();
    join.schema = Arc::new(Schema::new_with_metadata(fields, join.schema.metadata().clone()));
    let mut first = 0;
    for side in &mut join.sides {
        let width = side.columns.len();
        side.columns = looks.range(first..first + width).map(|column| side.columns[column - first]).collect();
        first += width;
        narrow_source(side);
    }
}

/// Reads no column of a source that is neither kept nor part of the key.
fn narrow_source(side: &mut JoinSide) {
    let Node::Source(source) = &mut side.input else { return };
    let read: BTreeSet<usize> =
        columns(&side.keys.iter_mut().collect::<Vec<_>>()).into_iter().chain(side.columns.clone()).collect();
    let fields = read.iter().map(|column| source.schema.field(*column).clone()).collect::<Vec<_>>();
    source.schema = Arc::new(Schema::new_with_metadata(fields, source.schema.metadata().clone()));
    source.projection = read.iter().map(|column| source.projection[*column]).collect();
    let place = |column: usize| read.range(..column).count();
    side.columns.iter_mut().for_each(|column| *column = place(*column));
    side.keys.iter_mut().for_each(|key| key.renumber(&place));
}

/// Gives the columns that a node and the filters below it look at their new numbers.
fn renumber(node: &mut Node, place: &dyn Fn(usize) -> usize) {
    node.exprs_mut().into_iter().for_each(|expr| expr.renumber(place));
    for input in node.inputs_mut() {
        if matches!(input, Node::Filter(_)) {
            renumber(input, place);
        }
    }
}
