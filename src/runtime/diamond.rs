//! When rows must travel one by one.
//!
//! ```text
//!          ┌── filter ──┐
//!  orders ─┤            ├─ KeyedJoin      a diamond: one base relation, two ways to one operator
//!          └────────────┘
//! ```
//!
//! If a whole batch of `orders` went down one arm before the other, the join would see rows 1, 2, 3 on the left and
//! only then rows 1, 2, 3 on the right. What it answers would depend on how the rows were cut into batches.
//! So a base relation that reaches one operator by more than one way is delivered row by row:
//! each row goes all the way down every arm before the next one starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::plan::node::Node;
use crate::types::{Batch, RowKind};

/// For each derived relation the base relations that its rows come from.
pub(crate) type Ancestry = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// The base relations that the rows of `node` come from.
pub(crate) fn bases(node: &Node, ancestry: &Ancestry) -> BTreeSet<Arc<str>> {
    let mut found = BTreeSet::new();
    visit(node, ancestry, &mut found, &mut BTreeSet::new());
    found
}

/// The base relations that reach an operator of `node` by more than one way.
pub(crate) fn diamonds(node: &Node, ancestry: &Ancestry) -> BTreeSet<Arc<str>> {
    let mut found = BTreeSet::new();
    visit(node, ancestry, &mut BTreeSet::new(), &mut found);
    found
}

/// Adds the bases of `node` to `bases`, and those that meet themselves in it to `diamonds`.
fn visit(node: &Node, ancestry: &Ancestry, bases: &mut BTreeSet<Arc<str>>, diamonds: &mut BTreeSet<Arc<str>>) {
    if let Node::Source(source) = node {
        match ancestry.get(&source.relation) {
            Some(ancestors) => bases.extend(ancestors.iter().cloned()),
            None => drop(bases.insert(source.relation.clone())),
        }
        return;
    }
    for input in node.inputs() {
        let mut below = BTreeSet::new();
        stacker::maybe_grow(64 * 1024, 1024 * 1024, || visit(input, ancestry, &mut below, diamonds));
        for base in below {
            if let Some(base) = bases.replace(base) {
                diamonds.insert(base);
            }
        }
    }
}

/// The batch row by row; a `-U` stays with its `+U`.
pub(crate) fn single_rows(batch: &Batch) -> impl Iterator<Item = Batch> + '_ {
    let mut next = 0;
    std::iter::from_fn(move || {
        if next >= batch.num_rows() {
            return None;
        }
        let pair = batch.kind(next) == RowKind::UpdateBefore && next + 1 < batch.num_rows();
        let rows = if pair { 2 } else { 1 };
        next += rows;
        Some(batch.slice(next - rows, rows))
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::Schema;

    use super::*;
    use crate::plan::node::{Bounded, ChangelogMode, Limit, Source, Union};

    fn source(relation: &str) -> Node {
        Node::Source(Source {
            relation: relation.into(),
            projection: vec![],
            schema: Arc::new(Schema::empty()),
            bounded: Bounded::UntilClosed,
            mode: ChangelogMode::AppendOnly,
        })
    }

    fn union(inputs: Vec<Node>) -> Node {
        Node::Union(Union { inputs, schema: Arc::new(Schema::empty()) })
    }

    fn names(found: BTreeSet<Arc<str>>) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_relation_that_meets_itself_is_found_at_any_depth() {
        let ancestry = Ancestry::from([("d".into(), BTreeSet::from(["a".into(), "b".into()]))]);
        let below = Node::Limit(Limit { input: Box::new(source("d")), skip: 0, fetch: None });
        let plan = union(vec![union(vec![source("c"), source("e")]), union(vec![below, source("a")]), source("c")]);
        assert_eq!(names(diamonds(&plan, &ancestry)), ["a", "c"]);
        assert_eq!(names(bases(&plan, &ancestry)), ["a", "b", "c", "e"]);
    }

    #[test]
    fn different_relations_make_no_diamond() {
        assert!(diamonds(&union(vec![source("a"), source("b")]), &Ancestry::new()).is_empty());
    }

    #[test]
    fn an_update_is_not_torn_apart() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
        let batch = Batch::changelog(RecordBatch::try_from_iter([("n", column)]).unwrap(), kinds.into_iter().collect());
        let sizes: Vec<usize> = single_rows(&batch).map(|part| part.num_rows()).collect();
        assert_eq!(sizes, [1, 2, 1]);
    }
}
