//! The nodes of ours that live in DataFusion's plan until they become [`crate::plan::Node`]s.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion_common::{DFSchema, DFSchemaRef, Result as PlanResult, plan_err};
use datafusion_expr::logical_plan::{Extension, LogicalPlan};
use datafusion_expr::{Expr, UserDefinedLogicalNodeCore};

use crate::error::Place;
use crate::operators::logic::LogicRef;
use crate::plan::node::{JoinEmit, JoinKeep};
use crate::sql::Clause;

/// Puts one of our nodes into a plan.
pub(super) fn extension(node: impl UserDefinedLogicalNodeCore) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// A node of ours in a plan, if it is a `T`.
pub(super) fn downcast<T: 'static>(extension: &Extension) -> Option<&T> {
    extension.node.as_any().downcast_ref::<T>()
}

/// Our nodes are compared by what they say, and never ordered.
macro_rules! by_text {
    ($type:ident) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.inputs() == other.inputs() && self.text() == other.text()
            }
        }
        impl Eq for $type {}
        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                (self == other).then_some(std::cmp::Ordering::Equal)
            }
        }
        impl std::hash::Hash for $type {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.text().hash(state);
            }
        }
    };
}

/// A query or join chain that has a `KEEP` or `EMIT` clause: a barrier that no filter passes.
#[derive(Debug)]
pub(super) struct Marked {
    pub input: LogicalPlan,
    pub clause: Clause,
}

impl Marked {
    fn text(&self) -> String {
        format!("{:?} {:?}", self.clause.keep, self.clause.emit)
    }
}

pub(super) use by_text;

by_text!(Marked);

impl UserDefinedLogicalNodeCore for Marked {
    fn name(&self) -> &str {
        "Marked"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marked: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else { return plan_err!("a clause has one input") };
        Ok(Marked { input, clause: self.clause.clone() })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// A keyed join of two or more sides.
#[derive(Debug)]
pub(super) struct Keyed {
    pub sides: Vec<LogicalPlan>,
    /// For each side its key.
    pub keys: Vec<Vec<Expr>>,
    pub keep: JoinKeep,
    pub emit: JoinEmit,
    pub required: Vec<bool>,
    /// The clause that makes it keyed.
    pub clause: Clause,
    schema: DFSchemaRef,
}

impl Keyed {
    /// A join over `sides`, each with its key expressions.
    pub fn new(
        sides: Vec<LogicalPlan>,
        keys: Vec<Vec<Expr>>,
        keep: JoinKeep,
        emit: JoinEmit,
        required: Vec<bool>,
        clause: Clause,
    ) -> PlanResult<Keyed> {
        let mut fields = Vec::new();
        for (side, required) in sides.iter().zip(&required) {
            for (qualifier, field) in side.schema().iter() {
                let nullable = field.is_nullable() || !required;
                fields.push((qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(nullable))));
            }
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Keyed { sides, keys, keep, emit, required, clause, schema })
    }

    fn text(&self) -> String {
        format!("{:?} {:?} {:?} {:?}", self.keep, self.emit, self.required, self.keys)
    }
}

by_text!(Keyed);

impl UserDefinedLogicalNodeCore for Keyed {
    fn name(&self) -> &str {
        "Keyed"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.sides.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.iter().flatten().cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyed: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let width = self.keys.first().map_or(0, Vec::len);
        if width == 0 || exprs.len() != width * self.keys.len() {
            return plan_err!("a keyed join keeps its keys");
        }
        let keys = exprs.chunks(width).map(<[Expr]>::to_vec).collect();
        Keyed::new(inputs, keys, self.keep, self.emit, self.required.clone(), self.clause.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut wanted = vec![Vec::new(); self.sides.len()];
        for &column in output_columns {
            let mut index = column;
            for (side, plan) in self.sides.iter().enumerate() {
                let width = plan.schema().fields().len();
                if index < width {
                    wanted[side].push(index);
                    break;
                }
                index -= width;
            }
        }
        Some(wanted)
    }
}

/// A user-written state machine over a partitioned input.
pub(super) struct Machine {
    pub input: LogicalPlan,
    pub name: Arc<str>,
    pub keys: Vec<Expr>,
    pub factory: LogicRef,
    pub output: DFSchemaRef,
    /// Where it is called.
    pub place: Place,
}

impl Machine {
    fn text(&self) -> String {
        format!("{} {:?}", self.name, self.keys)
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

by_text!(Machine);

impl UserDefinedLogicalNodeCore for Machine {
    fn name(&self) -> &str {
        "Machine"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.output
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.clone()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.output.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, keys: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else { return plan_err!("a logic has one input") };
        let (name, factory) = (self.name.clone(), self.factory.clone());
        Ok(Machine { input, name, keys, factory, output: self.output.clone(), place: self.place.clone() })
    }
}
