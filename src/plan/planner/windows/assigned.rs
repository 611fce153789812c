//! `FROM TUMBLE(bids, at, …)`: a relation whose rows are put into windows.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::{Column, DFSchema, DFSchemaRef, Result as PlanResult, plan_err};
use datafusion_expr::logical_plan::{LogicalPlan, LogicalPlanBuilder};
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::{Expr, ExprSchemable, UserDefinedLogicalNodeCore};
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, TableFactor};

use super::call::{Asked, Call, Form, Kind};
use super::closing;
use crate::error::{Code, Error, Place, StatementError};
use crate::plan::event_time::WINDOW_COLUMNS;
use crate::plan::node::{Bounded, ChangelogMode, Closing, Node, Window, Windows};
use crate::plan::planner::diagnose::smuggle;
use crate::plan::planner::extension::{by_text, extension};
use crate::plan::planner::lower::{Demand, Lowered, Lowerer, Lowering, check_unclaimed, never_ends};
use crate::plan::planner::provider::{table_argument, table_factor};

/// What the time is called where the relation's own columns of a window make room.
const TIME: &str = "__window_time_of";

/// Rows in windows. The columns are those of the input, then the bounds of the window.
#[derive(Debug)]
pub(in crate::plan::planner) struct Assigned {
    input: LogicalPlan,
    time: Expr,
    /// What sessions are partitioned by.
    keys: Vec<Expr>,
    asked: Asked,
    schema: DFSchemaRef,
}

/// Plans a window function in a `FROM`.
pub(in crate::plan::planner) fn plan_relation(
    kind: Kind,
    args: &[FunctionArg],
    place: Place,
    text: &Arc<str>,
    context: &mut dyn RelationPlannerContext,
) -> PlanResult<LogicalPlan> {
    let Call { asked, data, time } = Call::parse(kind, args, Form::Relation, place, text).map_err(smuggle)?;
    let wrong = |message: &str, hint: &str| {
        let error = StatementError::new(Code::InvalidArgument, message).at(asked.place.clone());
        smuggle(Error::from(error.hint(hint)))
    };
    let Some((relation, partition)) = data.as_ref().and_then(relation_of) else {
        return Err(wrong(
            "the first argument of a window function in FROM is a relation",
            "Write TABLE t, or a query in parentheses.",
        ));
    };
    if kind != Kind::Session && !partition.is_empty() {
        return Err(wrong(
            "only SESSION is partitioned",
            "Leave PARTITION BY out: these windows are the same for all keys.",
        ));
    }
    let input = context.plan(relation)?;
    let keys = partition.into_iter().map(|key| context.sql_to_expr(key, input.schema()));
    let keys = keys.collect::<PlanResult<Vec<_>>>()?;
    let time = context.sql_to_expr(time, input.schema())?;
    asked.check_time(&time.get_type(input.schema())?).map_err(smuggle)?;
    assigned(input, time, keys, asked)
}

/// The relation that an argument is, and what it is partitioned by.
fn relation_of(argument: &FunctionArg) -> Option<(TableFactor, Vec<ast::Expr>)> {
    if let Some(table) = table_argument(argument) {
        return Some(table);
    }
    let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
    | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }) = argument
    else {
        return None;
    };
    let relation = match expr {
        ast::Expr::Identifier(name) => table_factor(ast::ObjectName::from(vec![name.clone()])),
        ast::Expr::CompoundIdentifier(names) => table_factor(ast::ObjectName::from(names.clone())),
        ast::Expr::Subquery(query) => {
            TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None }
        }
        _ => return None,
    };
    Some((relation, vec![]))
}

/// The input in windows. Columns of an earlier window make room for those of this one.
fn assigned(input: LogicalPlan, time: Expr, keys: Vec<Expr>, asked: Asked) -> PlanResult<LogicalPlan> {
    let hidden = |column: &Column| WINDOW_COLUMNS.contains(&column.name.as_str());
    let columns = input.schema().columns();
    if !columns.iter().any(hidden) {
        return Ok(extension(Assigned::new(input, time, keys, asked)?));
    }
    let kept: Vec<Column> = columns.into_iter().filter(|column| !hidden(column)).collect();
    let mut exprs: Vec<Expr> = kept.iter().cloned().map(Expr::Column).collect();
    let mut carried = vec![];
    for (nth, expr) in [time].into_iter().chain(keys).enumerate() {
        let name = format!("{TIME}_{nth}");
        exprs.push(expr.alias(name.clone()));
        carried.push(Expr::Column(Column::new_unqualified(name)));
    }
    let below = LogicalPlanBuilder::from(input).project(exprs)?.build()?;
    let time = carried.remove(0);
    let above = extension(Assigned::new(below, time, carried, asked)?);
    let bounds = WINDOW_COLUMNS.iter().map(|name| Column::new_unqualified(*name));
    let columns = kept.into_iter().chain(bounds).map(Expr::Column).collect::<Vec<_>>();
    LogicalPlanBuilder::from(above).project(columns)?.build()
}

/// Lowers rows in windows.
pub(in crate::plan::planner) fn lower(lowerer: &Lowerer<'_>, node: &Assigned, demand: Demand<'_>) -> Lowering<Lowered> {
    let sessions = node.asked.kind == Kind::Session;
    if sessions {
        check_unclaimed(demand.clause)?;
    }
    let below = if sessions { Demand::below(demand.only_final) } else { demand };
    let input = lowerer.node(&node.input, below)?;
    let schema = node.input.schema();
    let time = lowerer.compile(&node.time, schema)?;
    let closing = closing(&node.time, &node.input, &time, &input.node);
    let at = |error: StatementError| error.at(node.asked.place.clone());
    if sessions && input.mode() == ChangelogMode::Changelog {
        let error = at(StatementError::new(Code::EmitMode, "SESSION in FROM needs an append-only input"));
        return Err(error.hint("Add EMIT FINAL to the inner query.").into());
    }
    if sessions && closing == Closing::End && input.bounded == Bounded::Never {
        return Err(at(never_ends(&input.node)).into());
    }
    let window = Window { shape: node.asked.shape(time.data_type())?, time, closing, lateness: 0 };
    let keys = lowerer.compile_all(&node.keys, schema)?;
    let schema = lowerer.columns(&node.schema);
    let at_end = if sessions { closing == Closing::End } else { input.at_end };
    let windows = input.map(|input| Node::Windows(Windows { input: Box::new(input), keys, window, schema }));
    Ok(Lowered { at_end, ..windows })
}

impl Assigned {
    fn new(input: LogicalPlan, time: Expr, keys: Vec<Expr>, asked: Asked) -> PlanResult<Assigned> {
        let data_type = time.get_type(input.schema())?;
        let own = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
        let bounds = WINDOW_COLUMNS.iter().map(|name| (None, Arc::new(Field::new(*name, data_type.clone(), false))));
        let schema = DFSchema::new_with_metadata(own.chain(bounds).collect(), Default::default())?;
        Ok(Assigned { input, time, keys, asked, schema: Arc::new(schema) })
    }

    /// Its sessions, if it makes some: the rows, their time, what they are partitioned by, and how they are asked for.
    pub fn sessions(&self) -> Option<(&LogicalPlan, &Expr, &[Expr], &Asked)> {
        let is_session = self.asked.kind == Kind::Session;
        is_session.then_some((&self.input, &self.time, &self.keys, &self.asked))
    }

    fn text(&self) -> String {
        format!("{:?} {:?} {:?}", self.asked, self.time, self.keys)
    }
}

by_text!(Assigned);

impl UserDefinedLogicalNodeCore for Assigned {
    fn name(&self) -> &str {
        "Assigned"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        [&self.time].into_iter().chain(&self.keys).cloned().collect()
    }

    /// A condition on a row can be asked before it is put into its windows, but sessions are made of all rows.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        match self.asked.kind {
            Kind::Session => self.schema.fields().iter().map(|field| field.name().clone()).collect(),
            Kind::Tumble | Kind::Hop | Kind::Cumulate => WINDOW_COLUMNS.iter().map(ToString::to_string).collect(),
        }
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Assigned: {}", self.text())
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> PlanResult<Self> {
        let Ok([input]) = <[LogicalPlan; 1]>::try_from(inputs) else { return plan_err!("windows have one input") };
        if exprs.is_empty() {
            return plan_err!("windows have a time");
        }
        let time = exprs.remove(0);
        Assigned::new(input, time, exprs, self.asked.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|column| *column < width).collect()])
    }
}
