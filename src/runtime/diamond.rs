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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use crate::error::Result;
use crate::plan::depth::deeper;
use crate::plan::node::{Node, Reads};
use crate::state::row_converter;
use crate::types::{Batch, RowKind, RowKinds};

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
        if source.reads == Reads::Present {
            // They come once, all together, and however they came to be there.
            return;
        }
        match ancestry.get(&source.relation) {
            Some(ancestors) => bases.extend(ancestors.iter().cloned()),
            None => drop(bases.insert(source.relation.clone())),
        }
        return;
    }
    for input in node.inputs() {
        let mut below = BTreeSet::new();
        deeper(|| visit(input, ancestry, &mut below, diamonds));
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

/// What one activation has brought of a changelog, without what it has brought and taken back again: the arms of a
/// diamond speak one after the other, and what is said between them is nobody's answer.
pub(crate) fn settled(batches: Vec<Batch>) -> Result<Vec<Batch>> {
    if batches.len() > 1 { net(batches) } else { Ok(batches) }
}

/// The rows that go and were not brought, and those that come and are not taken back.
pub(super) fn net(batches: Vec<Batch>) -> Result<Vec<Batch>> {
    let Some(first) = batches.first() else { return Ok(batches) };
    let all = Batch::concat(&first.rows().schema(), &batches)?;
    // Rows that cannot be compared are said as they come.
    let Ok(values) = numbers(all.rows()) else { return Ok(batches) };
    let mut net = vec![0; all.num_rows()];
    (0..all.num_rows()).for_each(|row| net[values[row]] += all.kind(row).weight());
    let kept = kept(&all, &values, net);
    if kept.len() == all.num_rows() {
        return Ok(batches);
    }
    let at = UInt32Array::from_iter_values(kept.iter().map(|row| *row as u32));
    let kinds: Vec<RowKind> = kept.iter().map(|row| all.kind(*row)).collect();
    let rows = take_record_batch(all.rows(), &at)?;
    Ok(if kept.is_empty() { vec![] } else { vec![Batch::changelog(rows, paired(&kinds))] })
}

/// A number for the values of each row, the same for rows that are alike to the last bit: `-0.0` is not taken for `0.0`,
/// because who holds the one is not told to give up the other.
pub(super) fn numbers(rows: &RecordBatch) -> Result<Vec<usize>> {
    if rows.num_columns() == 0 {
        return Ok(vec![0; rows.num_rows()]);
    }
    let types: Vec<_> = rows.columns().iter().map(|column| column.data_type().clone()).collect();
    let converted = row_converter(&types)?.convert_columns(rows.columns())?;
    let mut numbers = HashMap::new();
    let number = |row| {
        let next = numbers.len();
        *numbers.entry(row).or_insert(next)
    };
    Ok(converted.iter().map(number).collect())
}

/// The rows that make up the net change: of a value that goes its first goings, of one that comes its last comings.
fn kept(all: &Batch, values: &[usize], mut net: Vec<i64>) -> Vec<usize> {
    let mut kept = vec![];
    for row in 0..all.num_rows() {
        let net = &mut net[values[row]];
        if *net < 0 && all.kind(row).weight() < 0 {
            *net += 1;
            kept.push(row);
        }
    }
    let goings = kept.len();
    for row in (0..all.num_rows()).rev() {
        let net = &mut net[values[row]];
        if *net > 0 && all.kind(row).weight() > 0 {
            *net -= 1;
            kept.push(row);
        }
    }
    kept[goings..].reverse();
    kept.sort_unstable();
    kept
}

/// The kinds with the halves of updates that have lost the other one as what they are: a row that goes or comes.
fn paired(kinds: &[RowKind]) -> RowKinds {
    let is = |at: Option<usize>, kind| at.and_then(|at| kinds.get(at)) == Some(&kind);
    let kind = |(at, kind): (usize, &RowKind)| match kind {
        RowKind::UpdateBefore if !is(Some(at + 1), RowKind::UpdateAfter) => RowKind::Delete,
        RowKind::UpdateAfter if !is(at.checked_sub(1), RowKind::UpdateBefore) => RowKind::Insert,
        other => *other,
    };
    kinds.iter().enumerate().map(kind).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{Int64Type, Schema};

    use super::*;
    use crate::plan::node::{Bounded, ChangelogMode, Limit, Source, Union};

    fn source(relation: &str) -> Node {
        Node::Source(Source {
            relation: relation.into(),
            projection: vec![],
            schema: Arc::new(Schema::empty()),
            bounded: Bounded::UntilClosed,
            mode: ChangelogMode::AppendOnly,
            key: None,
            reads: Reads::Changes,
            only: None,
            event_time: vec![],
            watermark: None,
            watermarked: false,
            dictionary: vec![],
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
    fn what_is_said_between_the_arms_is_not_said() {
        use RowKind::{Insert, UpdateAfter, UpdateBefore};
        let batch = |rows: &[(RowKind, i64)]| {
            let column: ArrayRef = Arc::new(rows.iter().map(|(_, value)| *value).collect::<Int64Array>());
            let rows_of = RecordBatch::try_from_iter([("n", column)]).unwrap();
            Batch::changelog(rows_of, rows.iter().map(|(kind, _)| *kind).collect())
        };
        let said = |batches: Vec<Batch>| -> Vec<(RowKind, i64)> {
            let value = |batch: &Batch, row| batch.rows().column(0).as_primitive::<Int64Type>().value(row);
            let rows = settled(batches).unwrap();
            rows.iter()
                .flat_map(|batch| (0..batch.num_rows()).map(|row| (batch.kind(row), value(batch, row))))
                .collect()
        };
        let (up, down) =
            (batch(&[(UpdateBefore, 0), (UpdateAfter, 10)]), batch(&[(UpdateBefore, 10), (UpdateAfter, 0)]));
        assert_eq!(said(vec![up.clone(), down.clone()]), []);
        let on = batch(&[(UpdateBefore, 10), (UpdateAfter, 12)]);
        assert_eq!(said(vec![up.clone(), on]), [(UpdateBefore, 0), (UpdateAfter, 12)]);
        assert_eq!(said(vec![batch(&[(Insert, 10)]), down]), [(Insert, 0)]);
        assert_eq!(said(vec![up]), [(UpdateBefore, 0), (UpdateAfter, 10)]);
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
