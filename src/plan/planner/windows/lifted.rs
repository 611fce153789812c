//! Takes windows off the rows of a plan, so that an aggregate can make them itself.
//!
//! ```text
//! Aggregate: keys (k, window_start, window_end)        WindowAggregate: TUMBLE(at, 10 seconds), keys (k)
//!   Filter: price > 0                            →       Filter: price > 0
//!     Windows: TUMBLE(at, 10 seconds)                      Source: bids
//!       Source: bids
//! ```
//!
//! An aggregate keeps each row once for all its windows where it can, and a relation of windows has it once for each.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

use crate::expr::Expr;
use crate::plan::node::{Filter, Node, Project, Window, WindowShape};

/// A plan without its windows.
pub(super) struct Lifted {
    pub input: Node,
    pub window: Window,
    /// What sessions are partitioned by, over `input`.
    pub keys: Vec<Expr>,
    /// What each column of the plan with windows is.
    pub columns: Vec<From>,
}

/// What a column is once the windows are taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// A column of the rows without windows.
    Below(usize),
    Start,
    End,
    Time,
}

/// The plan without its windows, if it has some that only give columns.
pub(super) fn lift(node: &Node) -> Option<Lifted> {
    match node {
        Node::Windows(windows) => {
            let width = windows.input.schema().fields().len();
            let columns = (0..width).map(From::Below).chain([From::Start, From::End, From::Time]).collect();
            let (input, window) = (windows.input.as_ref().clone(), windows.window.clone());
            Some(Lifted { input, window, keys: windows.keys.clone(), columns })
        }
        Node::Filter(filter) => {
            let mut lifted = lift(&filter.input)?;
            // Sessions are made of the rows that are there before the filter.
            if matches!(lifted.window.shape, WindowShape::Session { .. }) {
                return None;
            }
            let predicate = lifted.below(&filter.predicate)?;
            lifted.input = Node::Filter(Filter { input: Box::new(lifted.input), predicate });
            Some(lifted)
        }
        Node::Project(project) => lift_project(project),
        Node::Source(_) | Node::Values(_) | Node::Unnest(_) | Node::Expand(_) | Node::Union(_) => None,
        Node::Aggregate(_) | Node::Join(_) | Node::KeyedJoin(_) | Node::Collect(_) | Node::Logic(_) => None,
        Node::AsofJoin(_) | Node::LookupJoin(_) => None,
        Node::Sort(_) | Node::Limit(_) | Node::TopN(_) | Node::Over(_) => None,
        Node::WindowAggregate(_) => None,
    }
}

fn lift_project(project: &Project) -> Option<Lifted> {
    let lifted = lift(&project.input)?;
    let plain = project.exprs.iter().map(Expr::column_index).collect::<Option<Vec<_>>>();
    if let Some(columns) = plain {
        let columns = columns.iter().map(|column| lifted.columns[*column]).collect();
        return Some(Lifted { columns, ..lifted });
    }
    let (mut exprs, mut fields, mut columns) = (vec![], vec![], vec![]);
    for (expr, field) in project.exprs.iter().zip(project.schema.fields()) {
        let is_bound = expr.column_index().map(|column| lifted.columns[column]);
        match is_bound {
            Some(bound @ (From::Start | From::End | From::Time)) => columns.push(bound),
            Some(From::Below(_)) | None => {
                columns.push(From::Below(exprs.len()));
                exprs.push(lifted.below(expr)?);
                fields.push(field.clone());
            }
        }
    }
    let first = exprs.len();
    for expr in [&lifted.window.time].into_iter().chain(&lifted.keys) {
        exprs.push(expr.clone());
        fields.push(Arc::new(Field::new(expr.to_string(), expr.data_type().clone(), true)));
    }
    let schema = Arc::new(Schema::new(fields));
    let time = Expr::column(&schema, first);
    let keys = (0..lifted.keys.len()).map(|key| Expr::column(&schema, first + 1 + key)).collect();
    let input = Box::new(lifted.input);
    let input = Node::Project(Project { input, exprs, schema });
    Some(Lifted { input, window: Window { time, ..lifted.window }, keys, columns })
}

impl Lifted {
    /// An expression over the rows without windows, if it does not look at a bound.
    pub fn below(&self, expr: &Expr) -> Option<Expr> {
        let place = |column: usize| match self.columns[column] {
            From::Below(place) => Some(place),
            From::Start | From::End | From::Time => None,
        };
        expr.columns().into_iter().map(place).collect::<Option<Vec<_>>>()?;
        let mut expr = expr.clone();
        expr.renumber(&|column| place(column).unwrap_or(column));
        Some(expr)
    }
}
