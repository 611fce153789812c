//! Filters and projections, one after the other over one batch, as a single operator.
//!
//! ```text
//! rows in → WHERE → SELECT → WHERE → rows out
//! ```

use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::Expr;
use crate::operators::filter::filter;
use crate::operators::project::project;
use crate::operators::{Operator, Output, Port};
use crate::plan::Node;
use crate::plan::node;
use crate::types::Batch;

/// One link of a chain.
#[derive(Debug, Clone)]
pub enum Step {
    /// Rows for which the predicate is true.
    Filter(Expr),
    /// Expressions over each row.
    Project {
        /// One expression a column.
        exprs: Vec<Expr>,
        /// The columns they make.
        schema: SchemaRef,
        /// Whether every column that comes in goes out, so that no update can become idle.
        keeps_all: bool,
    },
}

impl Step {
    /// The projection of rows of so many columns.
    fn project(exprs: Vec<Expr>, columns: usize, schema: SchemaRef) -> Step {
        let keeps = |column| exprs.iter().any(|expr| expr.column_index() == Some(column));
        let keeps_all = (0..columns).all(keeps);
        Step::Project { exprs, schema, keeps_all }
    }

    /// The step that `node` is, if it can be a link of a chain.
    pub fn of(node: &Node) -> Option<Step> {
        match node {
            Node::Filter(filter) => Some(Step::from(filter)),
            Node::Project(project) => Some(Step::from(project)),
            Node::Source(_)
            | Node::Values(_)
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
}

impl From<&node::Filter> for Step {
    fn from(node: &node::Filter) -> Step {
        Step::Filter(node.predicate.clone())
    }
}

impl From<&node::Project> for Step {
    fn from(node: &node::Project) -> Step {
        Step::project(node.exprs.clone(), node.input.schema().fields().len(), node.schema.clone())
    }
}

/// A chain of those steps; the first one meets the rows first.
pub fn build_chain(steps: Vec<Step>) -> Box<dyn Operator> {
    Box::new(Chain { steps })
}

struct Chain {
    steps: Vec<Step>,
}

impl Operator for Chain {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let mut batch = batch;
        for step in &self.steps {
            // A predicate that lets nothing through guards the expressions behind it.
            if batch.is_empty() {
                return Ok(());
            }
            batch = match step {
                Step::Filter(predicate) => filter(batch, predicate)?,
                Step::Project { exprs, schema, keeps_all: true } => project(&batch, exprs, schema)?,
                Step::Project { exprs, schema, keeps_all: false } => {
                    project(&batch, exprs, schema)?.without_idle_updates()?
                }
            };
        }
        out.push(batch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{check, columns};

    fn passing_names(script: &str) {
        let input = columns("name:text passes:bool");
        let output = columns("name:text");
        check(std::slice::from_ref(&input), script, |_| {
            let name = vec![Expr::column(&input, 0)];
            Ok(build_chain(vec![Step::Filter(Expr::column(&input, 1)), Step::project(name, 2, output.clone())]))
        });
    }

    #[test]
    fn null_is_not_true() {
        passing_names("0: a true | b false | c NULL | d true -> a | d");
    }

    #[test]
    fn an_update_whose_before_passes_and_after_does_not_is_a_delete() {
        passing_names("0: -U a true | +U b false -> -D a");
    }

    #[test]
    fn an_update_whose_after_passes_and_before_does_not_is_an_insert() {
        passing_names("0: +I x true | -U a false | +U b true -> +I x | +I b");
    }

    #[test]
    fn an_update_of_what_nobody_looks_at_is_none() {
        passing_names("0: -U a true | +U a NULL | -U b true | +U b true | +I b true -> -D a | +I b");
    }

    #[test]
    fn an_update_that_passes_stays_a_pair() {
        passing_names("0: -U a true | +U b true | -U c false | +U d NULL | -D e true -> -U a | +U b | -D e");
    }
}
