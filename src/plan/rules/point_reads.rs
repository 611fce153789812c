//! A relation that is asked for one key gives the row of that key, and the others need not be looked at.
//!
//! ```text
//! Filter: customer = 'ada'               Filter: customer = 'ada'
//!   Source: totals, key (customer)         Source: totals, key (customer), only ('ada')
//! ```
//!
//! The filter stays: it is what lets no other row through when the relation changes.

use arrow::array::ArrayRef;

use crate::expr::Expr;
use crate::plan::depth::deeper;
use crate::plan::node::{Node, Source};

/// Tells every source below a filter which key the filter asks for.
pub(super) fn rewrite(node: &mut Node) {
    deeper(|| {
        if let Node::Filter(filter) = node
            && let Node::Source(source) = filter.input.as_mut()
        {
            source.only = asked_key(&filter.predicate, source);
        }
        node.inputs_mut().into_iter().for_each(rewrite);
    });
}

/// The values that a condition asks all columns of the key to have.
fn asked_key(predicate: &Expr, source: &Source) -> Option<Vec<ArrayRef>> {
    let key = source.key.as_ref().filter(|key| !key.is_empty())?;
    let asked = predicate.asked_values();
    let value = |column: &usize| {
        let data_type = source.schema.field(*column).data_type();
        let mut values = asked.iter().filter(|(of, value)| of == column && value.data_type() == data_type);
        values.next().map(|(_, value)| value.clone())
    };
    key.iter().map(value).collect()
}
