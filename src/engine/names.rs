//! What a query refers to.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast;

use crate::plan::node::Node;
use crate::plan::{DEAD_LETTERS_PREFIX, Plan};
use crate::sql;

/// The relations that a query names, and those that its plan reads.
///
/// A view leaves no trace in a plan and a logic's input none in the query's `FROM`, so both are looked at.
pub(super) fn references(query: &sql::Query, plan: &Plan) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _: ControlFlow<()> = sql::visit_relations(query.ast.as_ref(), |relation| {
        if let Some(ast::ObjectNamePart::Identifier(name)) = relation.0.last() {
            let folded = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
            names.insert(folded);
        }
        ControlFlow::Continue(())
    });
    for leaf in leaves(plan) {
        if let Node::Source(source) = leaf {
            names.insert(source.relation.strip_prefix(DEAD_LETTERS_PREFIX).unwrap_or(&source.relation).to_owned());
        }
    }
    names
}

/// The leaves of a plan, from left to right and without those of what is not computed again: the order of the inputs
/// of its dataflow.
pub(super) fn leaves(plan: &Plan) -> Vec<&Node> {
    visited(plan).into_iter().map(|(leaf, _)| leaf).collect()
}

/// For each leaf on the right side of how many lookups it is: what is looked up has to be there first.
pub(super) fn lookups_above(plan: &Plan) -> Vec<usize> {
    visited(plan).into_iter().map(|(_, lookups)| lookups).collect()
}

fn visited(plan: &Plan) -> Vec<(&Node, usize)> {
    let mut leaves = vec![];
    let mut number = 0;
    let mut stack = vec![(&plan.root, 0)];
    while let Some((node, lookups)) = stack.pop() {
        if let Some(again) = plan.shared.iter().find(|shared| shared.again == number) {
            number += again.nodes;
            continue;
        }
        number += 1;
        let inputs = node.inputs();
        if inputs.is_empty() {
            leaves.push((node, lookups));
        }
        let is_lookup = matches!(node, Node::LookupJoin(_));
        let inputs = inputs.into_iter().enumerate();
        stack.extend(inputs.map(|(port, input)| (input, lookups + usize::from(is_lookup && port > 0))).rev());
    }
    leaves
}
