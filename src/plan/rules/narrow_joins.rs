//! A join keeps and gives out only the columns that somebody looks at.
//!
//! ```text
//! Project: name, price                   Project: name, price
//!   KeyedJoin: p(id, name) a(id, price)    KeyedJoin: p(name) a(price)     the keys are taken from what comes in
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Schema;

use crate::expr::Expr;
use crate::plan::depth::deeper;
use crate::plan::node::{Join, JoinKind, JoinSide, KeyedJoin, Node};

/// Narrows every join in the plan.
pub(super) fn rewrite(node: &mut Node) {
    deeper(|| {
        narrow_below(node);
        node.inputs_mut().into_iter().for_each(rewrite);
    });
}

/// Narrows the join that `node` reads, itself or through filters. Filters give out all they read, so it is `node` that
/// decides what is looked at.
fn narrow_below(node: &mut Node) {
    let Some(mut looks) = looks_at(node) else { return };
    let is_join = |node: &Node| matches!(node, Node::KeyedJoin(_) | Node::Join(_));
    let Some(join) = found_below(node, &is_join, &mut looks) else { return };
    let width = join.schema().fields().len();
    if let Node::Join(Join { kind: JoinKind::Mark, .. }) = join {
        looks.insert(width - 1);
    }
    if looks.is_empty() && width > 0 {
        // Rows without columns have no length of their own.
        looks.insert(0);
    }
    if looks.len() == width {
        return;
    }
    match join {
        Node::KeyedJoin(join) => narrow(join, &looks),
        Node::Join(join) => narrow_relational(join, &looks),
        _ => return,
    }
    let place = |column: usize| looks.range(..column).count();
    renumber(node, &place);
}

/// The columns of its input that a node looks at; `None` if it gives them all out.
pub(super) fn looks_at(node: &mut Node) -> Option<BTreeSet<usize>> {
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
        | Node::AsofJoin(_)
        | Node::LookupJoin(_)
        | Node::Logic(_)
        | Node::Sort(_)
        | Node::Limit(_)
        | Node::TopN(_)
        | Node::Over(_)
        | Node::Windows(_)
        | Node::WindowAggregate(_) => None,
    }
}

pub(super) fn columns(exprs: &[&mut Expr]) -> BTreeSet<usize> {
    exprs.iter().flat_map(|expr| expr.columns()).collect()
}

/// The node that is looked for right below a node or below filters, with what the filters on the way look at.
pub(super) fn found_below<'a>(
    node: &'a mut Node,
    wanted: &dyn Fn(&Node) -> bool,
    looks: &mut BTreeSet<usize>,
) -> Option<&'a mut Node> {
    let [input] = <[&mut Node; 1]>::try_from(node.inputs_mut()).ok()?;
    if wanted(input) {
        return Some(input);
    }
    match input {
        Node::Filter(filter) => {
            looks.extend(filter.predicate.columns());
            found_below(input, wanted, looks)
        }
        Node::Source(_)
        | Node::Values(_)
        | Node::Project(_)
        | Node::Unnest(_)
        | Node::Expand(_)
        | Node::Union(_)
        | Node::Aggregate(_)
        | Node::Join(_)
        | Node::KeyedJoin(_)
        | Node::AsofJoin(_)
        | Node::LookupJoin(_)
        | Node::Collect(_)
        | Node::Logic(_)
        | Node::Sort(_)
        | Node::Limit(_)
        | Node::TopN(_)
        | Node::Over(_)
        | Node::Windows(_)
        | Node::WindowAggregate(_) => None,
    }
}

fn narrow_relational(join: &mut Join, looks: &BTreeSet<usize>) {
    join.schema = projected(&join.schema, looks);
    let mut first = 0;
    for columns in &mut join.columns {
        let width = columns.len();
        *columns = looks.range(first..first + width).map(|column| columns[column - first]).collect();
        first += width;
    }
}

fn projected(schema: &Schema, looks: &BTreeSet<usize>) -> Arc<Schema> {
    let fields = looks.iter().map(|column| schema.field(*column).clone()).collect::<Vec<_>>();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn narrow(join: &mut KeyedJoin, looks: &BTreeSet<usize>) {
    join.schema = projected(&join.schema, looks);
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
    source.schema = projected(&source.schema, &read);
    source.projection = read.iter().map(|column| source.projection[*column]).collect();
    let place = |column: usize| read.range(..column).count();
    let times = source.event_time.iter().filter(|time| read.contains(time));
    source.event_time = times.map(|time| place(*time)).collect();
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
