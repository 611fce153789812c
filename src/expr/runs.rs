//! Functions of one column, computed once for each run of equal values.
//!
//! ```text
//! date_time            12:00  12:00  12:00  12:01  12:01         two runs
//! to_char(date_time)   the function is called twice, and what it gives is repeated 3 and 2 times
//! ```
//!
//! Rows come in an order, so times, days and categories repeat in it; to look whether a value is that of the row before
//! costs little beside what it takes to write a time as text.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion_physical_expr::utils::collect_columns;
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::is_volatile;

/// Of fewer rows than this it is not asked whether they repeat.
const ROWS_MIN: usize = 8;
/// A run has to have so many rows, in the mean, for values to be computed by run.
const RUN_MIN: usize = 2;

/// An expression with those of its parts that call functions of one column computed once a run.
pub(super) fn by_runs(physical: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let part = |part: Arc<dyn PhysicalExpr>| {
        Ok(match ByRuns::of(&part) {
            Some(by_runs) => Transformed::new(Arc::new(by_runs) as _, true, TreeNodeRecursion::Jump),
            None => Transformed::no(part),
        })
    };
    // Nothing in there fails.
    physical.clone().transform_down(part).data().unwrap_or(physical)
}

/// Whether a part calls a function.
pub(super) fn calls(part: &Arc<dyn PhysicalExpr>) -> bool {
    has(part, |part| part.is::<ScalarFunctionExpr>())
}

fn has(part: &Arc<dyn PhysicalExpr>, asked: impl Fn(&Arc<dyn PhysicalExpr>) -> bool) -> bool {
    // Nothing in there fails.
    part.exists(|part| Ok(asked(part))).unwrap_or(false)
}

/// The part itself, of one that is computed by runs.
pub(super) fn bare(part: &Arc<dyn PhysicalExpr>) -> &Arc<dyn PhysicalExpr> {
    part.downcast_ref::<ByRuns>().map_or(part, |by_runs| &by_runs.part)
}

/// A part that gives the same for equal values of its one column.
#[derive(Debug)]
struct ByRuns {
    part: Arc<dyn PhysicalExpr>,
    column: usize,
    /// The part over a batch of that column alone.
    alone: Arc<dyn PhysicalExpr>,
}

impl ByRuns {
    /// The part computed by runs, if it is one that calls a function of a single column.
    fn of(part: &Arc<dyn PhysicalExpr>) -> Option<ByRuns> {
        // What a condition asks of each column is read from its parts.
        let is_condition = part.downcast_ref::<BinaryExpr>().is_some_and(|part| *part.op() == Operator::And);
        // What else stands at a leaf, as the variable of a lambda, has values of its own.
        let strange = has(part, |part| {
            let known = part.is::<Column>() || part.is::<Literal>() || part.is::<ScalarFunctionExpr>();
            part.children().is_empty() && !known
        });
        if is_condition || part.is::<ByRuns>() || is_volatile(part) || !calls(part) || strange {
            return None;
        }
        let columns = collect_columns(part);
        let [column] = columns.iter().collect::<Vec<_>>()[..] else { return None };
        let alone = |part: Arc<dyn PhysicalExpr>| {
            Ok(match part.downcast_ref::<Column>() {
                Some(column) => Transformed::yes(Arc::new(Column::new(column.name(), 0)) as Arc<dyn PhysicalExpr>),
                None => Transformed::no(part),
            })
        };
        let alone = part.clone().transform(alone).data().ok()?;
        Some(ByRuns { part: part.clone(), column: column.index(), alone })
    }

    /// The first row of each run and the run of each row, if runs are long enough.
    fn runs(column: &ArrayRef) -> Option<(UInt32Array, UInt32Array)> {
        let rows = column.len();
        if rows < ROWS_MIN {
            return None;
        }
        // What cannot be compared, as lists, is no reason to fail.
        let begins = distinct(&column.slice(1, rows - 1), &column.slice(0, rows - 1)).ok()?;
        let count = begins.true_count() + 1;
        if count * RUN_MIN > rows {
            return None;
        }
        let mut firsts = Vec::with_capacity(count);
        let mut runs = Vec::with_capacity(rows);
        firsts.push(0);
        for first in begins.values().set_indices().map(|row| row as u32 + 1) {
            runs.resize(first as usize, firsts.len() as u32 - 1);
            firsts.push(first);
        }
        runs.resize(rows, firsts.len() as u32 - 1);
        Some((firsts.into(), runs.into()))
    }
}

impl PartialEq for ByRuns {
    fn eq(&self, other: &ByRuns) -> bool {
        self.part.eq(&other.part)
    }
}

impl Eq for ByRuns {}

impl Hash for ByRuns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.part.hash(state);
    }
}

impl PhysicalExpr for ByRuns {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.part.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.part.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.part.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let column = batch.columns().get(self.column);
        let Some((firsts, runs)) = column.and_then(ByRuns::runs) else {
            return self.part.evaluate(batch);
        };
        let column = batch.project(&[self.column])?;
        let alone = take_record_batch(&column, &firsts)?;
        Ok(match self.alone.evaluate(&alone)? {
            ColumnarValue::Array(values) => ColumnarValue::Array(take(&values, &runs, None)?),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value),
        })
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.part]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let part = children.into_iter().next().unwrap_or_else(|| self.part.clone());
        Ok(ByRuns::of(&part).map_or(part, |by_runs| Arc::new(by_runs)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.fmt_sql(f)
    }
}

impl fmt::Display for ByRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.part, f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{Field, Int64Type};
    use datafusion_common::config::ConfigOptions;
    use datafusion_expr::{ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
    use datafusion_physical_expr::expressions::{col, lit};

    use super::*;

    /// Gives the value that it is given, and counts those.
    #[derive(Debug)]
    struct Same {
        signature: Signature,
        rows: Arc<AtomicUsize>,
    }

    impl PartialEq for Same {
        fn eq(&self, other: &Same) -> bool {
            self.signature == other.signature
        }
    }

    impl Eq for Same {}

    impl Hash for Same {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.signature.hash(state);
        }
    }

    impl ScalarUDFImpl for Same {
        fn name(&self) -> &str {
            "same"
        }

        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn return_type(&self, _: &[DataType]) -> Result<DataType> {
            Ok(DataType::Int64)
        }

        fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
            self.rows.fetch_add(args.number_rows, Ordering::Relaxed);
            Ok(args.args[0].clone())
        }
    }

    fn schema() -> Schema {
        Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Int64, true)])
    }

    /// `same(b) + 1` by runs over rows with those values, and how often the function was asked.
    fn asked(values: Vec<Option<i64>>, volatility: Volatility) -> (Vec<Option<i64>>, usize) {
        let rows = Arc::new(AtomicUsize::new(0));
        let same = Same { signature: Signature::any(1, volatility), rows: rows.clone() };
        let args = vec![col("b", &schema()).unwrap()];
        let options = Arc::new(ConfigOptions::default());
        let call = ScalarFunctionExpr::try_new(Arc::new(ScalarUDF::from(same)), args, &schema(), options).unwrap();
        let plus_one = BinaryExpr::new(Arc::new(call), Operator::Plus, lit(1_i64));
        let by_runs = by_runs(Arc::new(plus_one));
        let names = arrow::array::new_null_array(&DataType::Utf8, values.len());
        let batch =
            RecordBatch::try_new(Arc::new(schema()), vec![names, Arc::new(Int64Array::from(values.clone()))]).unwrap();
        let given = by_runs.evaluate(&batch).unwrap().into_array(values.len()).unwrap();
        (given.as_primitive::<Int64Type>().iter().collect(), rows.load(Ordering::Relaxed))
    }

    fn plus_one(values: &[Option<i64>]) -> Vec<Option<i64>> {
        values.iter().map(|value| value.map(|value| value + 1)).collect()
    }

    #[test]
    fn a_function_is_asked_once_a_run() {
        let runs = [(Some(3), 40), (None, 50), (Some(3), 2), (Some(4), 8)];
        let values: Vec<_> = runs.iter().flat_map(|(value, rows)| std::iter::repeat_n(*value, *rows)).collect();
        assert_eq!(asked(values.clone(), Volatility::Immutable), (plus_one(&values), 4));
    }

    #[test]
    fn values_that_do_not_repeat_are_all_asked() {
        let values: Vec<_> = (0..100).map(Some).collect();
        assert_eq!(asked(values.clone(), Volatility::Immutable), (plus_one(&values), 100));
        assert_eq!(asked(vec![Some(1); 3], Volatility::Immutable), (vec![Some(2); 3], 3));
        assert_eq!(asked(vec![], Volatility::Immutable), (vec![], 0));
    }

    #[test]
    fn a_function_that_gives_what_it_likes_is_asked_for_every_row() {
        let values = vec![Some(1); 100];
        assert_eq!(asked(values.clone(), Volatility::Volatile), (plus_one(&values), 100));
    }
}
