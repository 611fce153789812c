//! WHAT IS A VALUE? The thin door to DataFusion's physical expressions and aggregates.
//!
//! With `plan/planner.rs` this is the only place that names DataFusion's planning types,
//! so operators see Arrow, [`Expr`] and [`AggregateCall`] and nothing else.

mod runs;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{CastOptions, SortOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::{Accumulator, Operator};
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CaseExpr, Column, IsNotNullExpr, Literal};
use datafusion_physical_expr::utils::{collect_columns, split_conjunction};
use datafusion_physical_expr::window::WindowExpr;
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::error::{Code, DataError, Error, InternalError, Result};

/// An expression over the columns of a batch.
#[derive(Clone)]
pub struct Expr {
    physical: Arc<dyn PhysicalExpr>,
    /// The index of the column that it is, if it is nothing more.
    column: Option<usize>,
    field: FieldRef,
    text: Arc<str>,
}

impl Expr {
    /// An expression whose result is described by `field`; `text` is how EXPLAIN and errors call it.
    pub fn new(physical: Arc<dyn PhysicalExpr>, field: FieldRef, text: impl Into<Arc<str>>) -> Expr {
        let column = physical.downcast_ref::<Column>().map(Column::index);
        let physical = runs::by_runs(physical);
        Expr { physical, column, field, text: text.into() }
    }

    /// The column `index` of `schema` itself.
    pub fn column(schema: &Schema, index: usize) -> Expr {
        let field = Arc::new(schema.field(index).clone());
        let physical = Column::new(field.name(), index);
        let text: Arc<str> = field.name().as_str().into();
        Expr::new(Arc::new(physical), field, text)
    }

    /// The values for the rows of `batch`, one a row.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        if let Some(column) = self.column.and_then(|index| batch.columns().get(index)) {
            return Ok(column.clone());
        }
        let value = self.physical.evaluate(batch).map_err(value_error)?;
        value.into_array(batch.num_rows()).map_err(value_error)
    }

    /// The rows of `batch` for which the expression is true. NULL is not true.
    pub fn evaluate_predicate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let array = self.evaluate(batch)?;
        let Some(mask) = array.as_any().downcast_ref::<BooleanArray>() else {
            return Err(InternalError::new(format!("the predicate \"{}\" is not boolean", self.text)).into());
        };
        Ok(match mask.null_count() {
            0 => mask.clone(),
            _ => arrow::compute::prep_null_mask_filter(mask),
        })
    }

    /// If the expression is a plain column, its index.
    pub fn column_index(&self) -> Option<usize> {
        self.column
    }

    /// The columns of which it gives the first that is not NULL; none if it gives anything else.
    pub(crate) fn choices(&self) -> Vec<usize> {
        choices(&self.physical).unwrap_or_default()
    }

    /// The columns it looks at.
    pub fn columns(&self) -> Vec<usize> {
        match self.column {
            Some(column) => vec![column],
            None => collect_columns(&self.physical).iter().map(Column::index).collect(),
        }
    }

    /// The columns that it, as a condition, asks to be equal to a value, and that value as one row. NULL is no such value.
    pub(crate) fn asked_values(&self) -> Vec<(usize, ArrayRef)> {
        let equality = |part: &Arc<dyn PhysicalExpr>| {
            let equal = part.downcast_ref::<BinaryExpr>().filter(|equal| *equal.op() == Operator::Eq)?;
            let (left, right) = (equal.left(), equal.right());
            let (column, value) = match left.downcast_ref::<Column>() {
                Some(column) => (column, right.downcast_ref::<Literal>()?),
                None => (right.downcast_ref::<Column>()?, left.downcast_ref::<Literal>()?),
            };
            let value = Some(value.value()).filter(|value| !value.is_null())?;
            Some((column.index(), value.to_array().ok()?))
        };
        split_conjunction(&self.physical).into_iter().filter_map(equality).collect()
    }

    /// Makes it look at column `place(n)` where it looked at column `n`.
    pub(crate) fn renumber(&mut self, place: &dyn Fn(usize) -> usize) {
        self.column = self.column.map(place);
        let moved = self.physical.clone().transform(|part| {
            let column = part.downcast_ref::<Column>().map(|column| Column::new(column.name(), place(column.index())));
            Ok(match column {
                Some(column) => Transformed::yes(Arc::new(column) as Arc<dyn PhysicalExpr>),
                None => Transformed::no(part),
            })
        });
        // Nothing in there fails.
        if let Ok(moved) = moved {
            self.physical = moved.data;
        }
    }

    /// The conditions that all have to be true for it to be true, in order.
    pub(crate) fn conditions(&self) -> Vec<Expr> {
        let parts = split_conjunction(&self.physical);
        if parts.len() < 2 {
            return vec![self.clone()];
        }
        parts.into_iter().map(|part| Expr::new(part.clone(), self.field.clone(), sql_text(part))).collect()
    }

    /// The condition that all of `conditions` are true; none of no condition.
    pub(crate) fn all(conditions: Vec<Expr>) -> Option<Expr> {
        conditions.into_iter().reduce(|left, right| {
            let physical = BinaryExpr::new(left.physical, Operator::And, right.physical);
            Expr::new(Arc::new(physical), left.field, format!("{} AND {}", left.text, right.text))
        })
    }

    /// Whether it calls a function, and `condition` computes it for every row that it looks at.
    pub(crate) fn is_computed_by(&self, condition: &Expr) -> bool {
        runs::calls(&self.physical)
            && !is_volatile(&self.physical)
            && computes(&condition.physical, runs::bare(&self.physical))
    }

    /// Makes it look at `column` where it computed `part`.
    pub(crate) fn replace(&mut self, part: &Expr, column: &Expr) {
        let part = runs::bare(&part.physical);
        let replaced = self.physical.clone().transform_down(|own| {
            Ok(match own.eq(part) {
                true => Transformed::new(column.physical.clone(), true, TreeNodeRecursion::Jump),
                false => Transformed::no(own),
            })
        });
        // Nothing in there fails.
        if let Ok(replaced) = replaced
            && replaced.transformed
        {
            let text = sql_text(&replaced.data);
            *self = Expr::new(replaced.data, self.field.clone(), text);
        }
    }

    /// Whether it is a value that is written in the statement and is not NULL.
    pub fn is_known(&self) -> bool {
        self.physical.downcast_ref::<Literal>().is_some_and(|literal| !literal.value().is_null())
    }

    /// Name, type and nullability of the result.
    pub fn field(&self) -> &FieldRef {
        &self.field
    }

    /// The type of the result.
    pub fn data_type(&self) -> &DataType {
        self.field.data_type()
    }
}

/// Expressions are equal if they give equal values for equal rows; `random()` is not even equal to itself.
impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        let typed = |expr: &Expr| (expr.field.data_type().clone(), expr.field.is_nullable());
        self.physical.eq(&other.physical) && typed(self) == typed(other) && !is_volatile(&self.physical)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The values of several expressions for the rows of `batch`.
pub fn evaluate_all<'a>(exprs: impl IntoIterator<Item = &'a Expr>, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    exprs.into_iter().map(|expr| expr.evaluate(batch)).collect()
}

/// An expression to sort by.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    /// What is compared.
    pub expr: Expr,
    /// In which direction, and where NULLs go.
    pub options: SortOptions,
}

/// One aggregate of a `GROUP BY` or `COLLECT`.
#[derive(Clone)]
pub struct AggregateCall {
    /// The function's canonical name, as DataFusion gives it: `count`, `sum`, `first_value`, …
    pub function: Arc<str>,
    /// The arguments. `count(*)` has one literal.
    pub arguments: Vec<Expr>,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Expr>,
    /// `ORDER BY` inside the call.
    pub order_by: Vec<SortKey>,
    /// `DISTINCT` inside the call.
    pub distinct: bool,
    /// `IGNORE NULLS`.
    pub ignore_nulls: bool,
    /// Name, type and nullability of the result.
    pub output: FieldRef,
    /// How EXPLAIN and errors call it.
    pub text: Arc<str>,
    lowered: Arc<AggregateFunctionExpr>,
}

impl AggregateCall {
    /// An aggregate as DataFusion has lowered it.
    pub(crate) fn new(
        lowered: Arc<AggregateFunctionExpr>,
        arguments: Vec<Expr>,
        filter: Option<Expr>,
        order_by: Vec<SortKey>,
        output: FieldRef,
        text: impl Into<Arc<str>>,
    ) -> AggregateCall {
        AggregateCall {
            function: lowered.fun().name().into(),
            arguments,
            filter,
            order_by,
            distinct: lowered.is_distinct(),
            ignore_nulls: lowered.ignore_nulls(),
            output,
            text: text.into(),
            lowered,
        }
    }

    /// Makes it look at column `place(n)` where it looked at column `n`.
    pub(crate) fn renumber(&mut self, place: &dyn Fn(usize) -> usize) {
        let sorted = self.order_by.iter_mut().map(|key| &mut key.expr);
        self.arguments.iter_mut().chain(&mut self.filter).chain(sorted).for_each(|expr| expr.renumber(place));
    }

    /// DataFusion's accumulator for one group: the adapter's way for functions that have no columnar form of ours.
    /// Its inputs are [`AggregateCall::arguments`], then the keys of [`AggregateCall::order_by`].
    pub(crate) fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.lowered.create_accumulator().map_err(value_error)
    }
}

/// Whether they are the same function of the same rows.
impl PartialEq for AggregateCall {
    fn eq(&self, other: &AggregateCall) -> bool {
        let AggregateCall { arguments, filter, order_by, distinct, ignore_nulls, output, lowered, .. } = self;
        lowered.fun() == other.lowered.fun()
            && (distinct, ignore_nulls, output) == (&other.distinct, &other.ignore_nulls, &other.output)
            && (arguments, filter, order_by) == (&other.arguments, &other.filter, &other.order_by)
    }
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One function of an `OVER`.
#[derive(Clone)]
pub struct WindowCall {
    /// Which function, where it is one of those that only count.
    pub function: WindowFunction,
    /// How it is computed where rows are said as they come; none if it looks at rows that may come later.
    pub running: Option<RunningCall>,
    /// Name, type and nullability of the result.
    pub output: FieldRef,
    /// How EXPLAIN and errors call it.
    pub text: Arc<str>,
    lowered: Arc<dyn WindowExpr>,
}

/// Which function a [`WindowCall`] calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowFunction {
    /// `row_number()`
    RowNumber,
    /// `rank()`
    Rank,
    /// `dense_rank()`
    DenseRank,
    /// Any other, and all aggregates.
    Other,
}

/// What a [`WindowCall`] looks at where rows are said as they come.
#[derive(Clone, PartialEq)]
pub enum RunningCall {
    /// All rows of the partition so far: it is this aggregate of them.
    Total(Box<AggregateCall>),
    /// So many rows before each.
    Recent(usize, Slide),
}

/// Whether what a frame gives depends on where the frames before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slide {
    /// It does not.
    Exact,
    /// Its sum is that of the frame before it less what has gone, and floating-point numbers do not forget.
    Rounded,
}

impl WindowCall {
    /// A function as DataFusion has lowered it.
    pub(crate) fn new(
        lowered: Arc<dyn WindowExpr>,
        function: WindowFunction,
        running: Option<RunningCall>,
        output: FieldRef,
        text: impl Into<Arc<str>>,
    ) -> WindowCall {
        WindowCall { function, running, output, text: text.into(), lowered }
    }

    /// The values for the rows of one partition, in order.
    pub fn evaluate(&self, partition: &RecordBatch) -> Result<ArrayRef> {
        let values = self.lowered.evaluate(partition).map_err(value_error)?;
        let to = self.output.data_type();
        if values.data_type() == to {
            return Ok(values);
        }
        // Only sums are computed in a wider type.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&values, to, &options).map_err(|_| sum_too_large().into())
    }
}

/// Whether they are the same function of the same rows.
impl PartialEq for WindowCall {
    fn eq(&self, other: &WindowCall) -> bool {
        let WindowCall { function, running, output, text, lowered } = self;
        let same = (function, running, output, text) == (&other.function, &other.running, &other.output, &other.text);
        let (arguments, arguments_other) = (lowered.expressions(), other.lowered.expressions());
        same && arguments == arguments_other
            && lowered.get_window_frame() == other.lowered.get_window_frame()
            && !arguments.iter().any(is_volatile)
    }
}

impl fmt::Display for WindowCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for WindowCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A sum that leaves the range of its type is an error, and no other number.
#[cold]
pub(crate) fn sum_too_large() -> DataError {
    DataError::new(Code::Value, "a sum is too large for its type")
        .hint("Cast the argument to DECIMAL or DOUBLE inside the sum.")
}

/// The columns of which an expression gives the first that is not NULL: it is one, or a `coalesce` of some, which the
/// optimizer writes as `CASE WHEN a IS NOT NULL THEN a ELSE b END`.
fn choices(physical: &Arc<dyn PhysicalExpr>) -> Option<Vec<usize>> {
    let of_all = |parts: Vec<&Arc<dyn PhysicalExpr>>| {
        let choices: Option<Vec<Vec<usize>>> = parts.into_iter().map(choices).collect();
        choices.map(|choices| choices.concat())
    };
    if let Some(column) = physical.downcast_ref::<Column>() {
        return Some(vec![column.index()]);
    }
    if let Some(case) = physical.downcast_ref::<CaseExpr>() {
        let asks_itself = |(when, then): &(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)| {
            then.is::<Column>() && when.downcast_ref::<IsNotNullExpr>().is_some_and(|when| when.arg().eq(then))
        };
        let coalesces = case.expr().is_none() && case.when_then_expr().iter().all(asks_itself);
        let parts = case.when_then_expr().iter().map(|(_, then)| then).chain(case.else_expr());
        return if coalesces { of_all(parts.collect()) } else { None };
    }
    let call = physical.downcast_ref::<ScalarFunctionExpr>().filter(|call| call.fun().name() == "coalesce")?;
    of_all(call.args().iter().collect())
}

/// An expression as SQL, without the names of relations.
fn sql_text(physical: &Arc<dyn PhysicalExpr>) -> String {
    fmt::from_fn(|f| physical.fmt_sql(f)).to_string()
}

/// Whether an expression computes `part` whatever the row: not behind `CASE`, nor behind what `AND` and `OR` look at first.
fn computes(physical: &Arc<dyn PhysicalExpr>, part: &Arc<dyn PhysicalExpr>) -> bool {
    let short_circuits = |call: &ScalarFunctionExpr| call.fun().short_circuits();
    if physical.eq(part) {
        return true;
    }
    if physical.is::<CaseExpr>() || physical.downcast_ref().is_some_and(short_circuits) {
        return false;
    }
    let connects = |binary: &BinaryExpr| matches!(binary.op(), Operator::And | Operator::Or);
    let looked_at = if physical.downcast_ref().is_some_and(connects) { 1 } else { usize::MAX };
    physical.children().into_iter().take(looked_at).any(|child| computes(child, part))
}

/// Whether it may give another value for the same row the next time: `random()`.
fn is_volatile(physical: &Arc<dyn PhysicalExpr>) -> bool {
    // Nothing in there fails.
    physical.exists(|part| Ok(part.is_volatile_node())).unwrap_or(true)
}

/// What DataFusion says when a value cannot be computed, in our words.
pub(crate) fn value_error(error: DataFusionError) -> Error {
    let root = error.find_root();
    match root {
        DataFusionError::Internal(message) => InternalError::new(message.clone()).into(),
        DataFusionError::ArrowError(error, _) => DataError::new(Code::Value, error.to_string()).into(),
        DataFusionError::Execution(message) | DataFusionError::NotImplemented(message) => {
            DataError::new(Code::Value, message.clone()).into()
        }
        other => DataError::new(Code::Value, other.strip_backtrace()).into(),
    }
}
