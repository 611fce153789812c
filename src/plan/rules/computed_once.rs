//! What a condition computes for every row, and the columns behind it say, is computed once, as a column before both.
//!
//! ```text
//! SELECT f(x)                    SELECT y
//!   WHERE a > 0 AND f(x) > 3       WHERE y > 3
//!                                    SELECT f(x) AS y
//!                                      WHERE a > 0
//! ```
//!
//! The planner moves conditions down through projections, and repeats there what the columns are made of.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};

use crate::expr::Expr;
use crate::plan::depth::deeper;
use crate::plan::node::{Filter, Node, Project};

/// Computes once what conditions and the columns behind them share.
pub(super) fn rewrite(node: &mut Node) {
    deeper(|| {
        if let Node::Project(project) = node {
            share(project);
        }
        node.inputs_mut().into_iter().for_each(rewrite);
    });
}

fn share(project: &mut Project) {
    let Node::Filter(Filter { input, predicate }) = project.input.as_mut() else { return };
    let mut first = predicate.conditions();
    let computes = |condition: &Expr| project.exprs.iter().any(|expr| expr.is_computed_by(condition));
    let Some(split) = first.iter().position(computes) else { return };
    // Rows that the conditions before it hold back do not get there.
    let Some(mut condition) = Expr::all(first.split_off(split)) else { return };
    let fields = project.exprs.iter().zip(project.schema.fields());
    let shared = fields.filter(|(expr, _)| expr.is_computed_by(&condition));
    let (parts, fields): (Vec<Expr>, Vec<FieldRef>) = shared.map(|(expr, field)| (expr.clone(), field.clone())).unzip();
    // The columns of the parts come last.
    let below = input.schema();
    let width = below.fields().len();
    let all = Schema::new(below.fields().iter().cloned().chain(fields).collect::<Vec<_>>());
    let mut above: Vec<&mut Expr> = project.exprs.iter_mut().chain([&mut condition]).collect();
    for (nth, part) in parts.iter().enumerate() {
        let column = Expr::column(&all, width + nth);
        above.iter_mut().for_each(|expr| expr.replace(part, &column));
    }
    // Of the others those are carried along that are looked at.
    let looks: BTreeSet<usize> =
        above.iter().flat_map(|expr| expr.columns()).chain(width..all.fields().len()).collect();
    above.iter_mut().for_each(|expr| expr.renumber(&|column| looks.range(..column).count()));
    let carried = looks.range(..width).map(|column| Expr::column(&all, *column));
    let exprs = carried.chain(parts).collect();
    let schema = Arc::new(Schema::new(looks.iter().map(|column| all.fields()[*column].clone()).collect::<Vec<_>>()));
    let rows = match Expr::all(first) {
        Some(predicate) => Box::new(Node::Filter(Filter { input: input.clone(), predicate })),
        None => input.clone(),
    };
    *predicate = condition;
    **input = Node::Project(Project { input: rows, exprs, schema });
}
