//! Whether two answers are the same: exactly, row by row, or by a checksum where there are too many rows to keep.

use std::collections::HashMap;
use std::sync::Arc;

use riverrun::RowKind;
use riverrun::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, UInt32Array};
use riverrun::arrow::compute::{cast, concat_batches, take_record_batch};
use riverrun::arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use riverrun::arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use riverrun::arrow::util::display::array_value_to_string;

use super::Result;

/// The column that makes an answer a changelog.
const OP: &str = "op";
/// How far apart sums of floats may be, of their size: they are added up in different orders.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// The columns that an answer has once it is folded, and the one that is a changelog's.
#[derive(Debug, Clone)]
pub struct Shape(SchemaRef);

impl Shape {
    /// The shape of answers that come as `schema`.
    pub fn new(schema: &Schema) -> Shape {
        let fields = schema.fields().iter().filter(|field| field.name() != OP);
        Shape(Arc::new(Schema::new(fields.map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>())))
    }

    /// The rows with the columns of this shape, by their names, and how much each weighs: -1 takes a row back.
    fn conform(&self, rows: &RecordBatch) -> Result<(RecordBatch, Option<Vec<i64>>)> {
        let column = |field: &Arc<Field>| -> Result<ArrayRef> {
            let missing = || format!("the answer has no column \"{}\"", field.name());
            Ok(cast(rows.column_by_name(field.name()).ok_or_else(missing)?, field.data_type())?)
        };
        let columns = self.0.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let weights = rows.column_by_name(OP).map(weights).transpose()?;
        Ok((RecordBatch::try_new(self.0.clone(), columns)?, weights))
    }
}

fn weights(kinds: &ArrayRef) -> Result<Vec<i64>> {
    let kinds = cast(kinds, &DataType::Utf8)?;
    let weight = |kind: Option<&str>| kind.and_then(RowKind::parse).map(RowKind::weight);
    let weights = kinds.as_string::<i32>().iter().map(weight).collect::<Option<Vec<_>>>();
    Ok(weights.ok_or("the answer has a kind of change that is not known")?)
}

/// A whole answer: a changelog is folded into what it comes to.
#[derive(Debug)]
pub struct Answer(RecordBatch);

impl Answer {
    /// The answer that `batches` are.
    pub fn new(shape: &Shape, batches: &[RecordBatch]) -> Result<Answer> {
        let mut parts = vec![];
        let mut weights: Option<Vec<i64>> = None;
        for batch in batches {
            let (part, weighs) = shape.conform(batch)?;
            if let Some(weighs) = weighs {
                weights.get_or_insert_default().extend(weighs);
            }
            parts.push(part);
        }
        let rows = concat_batches(&shape.0, &parts)?;
        match weights {
            Some(weights) => Ok(Answer(folded(&rows, &weights)?)),
            None => Ok(Answer(rows)),
        }
    }

    /// What is different in `other`; nothing if both have the same rows, in whatever order.
    pub fn difference(&self, other: &Answer) -> Result<Option<String>> {
        if self.0.num_rows() != other.0.num_rows() {
            return Ok(Some(format!("{} rows instead of {}", other.0.num_rows(), self.0.num_rows())));
        }
        let (mine, theirs) = (Sorted::new(&self.0)?, Sorted::new(&other.0)?);
        for (row, (mine_at, theirs_at)) in mine.order.iter().zip(&theirs.order).enumerate() {
            if !mine.same(*mine_at, &theirs, *theirs_at) {
                let (expected, found) = (shown(&self.0, *mine_at)?, shown(&other.0, *theirs_at)?);
                return Ok(Some(format!("row {row} in order is {found} instead of {expected}")));
            }
        }
        Ok(None)
    }
}

/// What is left of a changelog.
fn folded(rows: &RecordBatch, weights: &[i64]) -> Result<RecordBatch> {
    let (_, keys) = rows_of(rows.columns())?;
    let mut left: HashMap<OwnedRow, (i64, u32)> = HashMap::new();
    for (row, (key, weight)) in (0..).zip(keys.iter().zip(weights)) {
        left.entry(key.owned()).or_insert((0, row)).0 += weight;
    }
    if left.values().any(|(count, _)| *count < 0) {
        return Err("the answer takes back a row that it has not said".into());
    }
    let mut kept: Vec<u32> = vec![];
    for (count, row) in left.values() {
        kept.extend((0..*count).map(|_| *row));
    }
    Ok(take_record_batch(rows, &UInt32Array::from(kept))?)
}

fn rows_of(columns: &[ArrayRef]) -> Result<(RowConverter, Rows)> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let rows = converter.convert_columns(columns)?;
    Ok((converter, rows))
}

/// Rows in an order in which those that are nearly the same in two answers stand in the same place: what is exact comes
/// first, then the floats.
struct Sorted {
    exact: Rows,
    floats: Vec<Float64Array>,
    order: Vec<usize>,
}

impl Sorted {
    fn new(rows: &RecordBatch) -> Result<Sorted> {
        let is_float = |column: &&ArrayRef| column.data_type().is_floating();
        let exact: Vec<ArrayRef> = rows.columns().iter().filter(|column| !is_float(column)).cloned().collect();
        let floats = rows.columns().iter().filter(is_float);
        let floats = floats.map(|column| Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone()));
        let floats = floats.collect::<Result<Vec<_>>>()?;
        let (_, exact) = rows_of(&exact)?;
        let mut order: Vec<usize> = (0..rows.num_rows()).collect();
        order.sort_by(|a, b| {
            let by_floats = || floats.iter().map(|column| float(column, *a).total_cmp(&float(column, *b)));
            exact.row(*a).cmp(&exact.row(*b)).then_with(|| by_floats().find(|by| by.is_ne()).unwrap_or(a.cmp(b)))
        });
        Ok(Sorted { exact, floats, order })
    }

    fn same(&self, row: usize, other: &Sorted, other_row: usize) -> bool {
        let pairs = || self.floats.iter().zip(&other.floats);
        self.exact.row(row) == other.exact.row(other_row)
            && pairs().all(|(mine, theirs)| near(float(mine, row), float(theirs, other_row)))
    }
}

/// A float for comparing; NULL is not a number.
fn float(column: &Float64Array, row: usize) -> f64 {
    if column.is_null(row) { f64::NAN } else { column.value(row) }
}

fn near(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= FLOAT_TOLERANCE * a.abs().max(b.abs())
}

fn shown(rows: &RecordBatch, row: usize) -> Result<String> {
    let values = rows.columns().iter().map(|column| array_value_to_string(column, row));
    Ok(format!("({})", values.collect::<std::result::Result<Vec<_>, _>>()?.join(", ")))
}

/// A number a column that does not depend on the order of rows. A changelog has that of what it folds to.
#[derive(Debug, Clone, Default)]
pub struct Checksum {
    rows: i64,
    columns: Vec<Sum>,
}

#[derive(Debug, Clone, Copy)]
enum Sum {
    /// Of the hashes of exact values.
    Hashes(u64),
    /// Of floats themselves: values that are nearly the same have nearly the same sum.
    Floats(f64),
}

impl Checksum {
    /// Takes a batch of the answer in.
    pub fn add(&mut self, shape: &Shape, batch: &RecordBatch) -> Result<()> {
        let (rows, weights) = shape.conform(batch)?;
        let weight = |row: usize| weights.as_ref().and_then(|weights| weights.get(row)).copied().unwrap_or(1);
        self.rows += (0..rows.num_rows()).map(weight).sum::<i64>();
        let column_sum =
            |column: &ArrayRef| if column.data_type().is_floating() { Sum::Floats(0.0) } else { Sum::Hashes(0) };
        if self.columns.is_empty() {
            self.columns = rows.columns().iter().map(column_sum).collect();
        }
        for (sum, column) in self.columns.iter_mut().zip(rows.columns()) {
            match sum {
                Sum::Hashes(sum) => *sum = sum.wrapping_add(hashes(column, weight)?),
                Sum::Floats(sum) => *sum += floats(column, weight)?,
            }
        }
        Ok(())
    }

    /// What is different in `other`.
    pub fn difference(&self, other: &Checksum) -> Option<String> {
        if self.rows != other.rows {
            return Some(format!("{} rows instead of {}", other.rows, self.rows));
        }
        let same = |(mine, theirs): (&Sum, &Sum)| match (mine, theirs) {
            (Sum::Hashes(mine), Sum::Hashes(theirs)) => mine == theirs,
            (Sum::Floats(mine), Sum::Floats(theirs)) => near(*mine, *theirs),
            (Sum::Hashes(_), Sum::Floats(_)) | (Sum::Floats(_), Sum::Hashes(_)) => false,
        };
        let differs = self.columns.iter().zip(&other.columns).position(|pair| !same(pair));
        differs.map(|column| format!("another checksum in column {}", column + 1))
    }
}

/// The sum of the hashes of a column's values.
fn hashes(column: &ArrayRef, weight: impl Fn(usize) -> i64) -> Result<u64> {
    use std::hash::BuildHasher;
    let hasher = foldhash::quality::FixedState::with_seed(7);
    let (_, rows) = rows_of(std::slice::from_ref(column))?;
    let weighted = |(row, value): (usize, riverrun::arrow::row::Row<'_>)| {
        hasher.hash_one(value.as_ref()).wrapping_mul(weight(row) as u64)
    };
    Ok(rows.iter().enumerate().map(weighted).fold(0, u64::wrapping_add))
}

fn floats(column: &ArrayRef, weight: impl Fn(usize) -> i64) -> Result<f64> {
    let column = cast(column, &DataType::Float64)?;
    let values = column.as_primitive::<Float64Type>().iter().enumerate();
    Ok(values.map(|(row, value)| value.unwrap_or(0.0) * weight(row) as f64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use riverrun::arrow::array::{Int64Array, StringArray};

    fn batch(keys: &[i64], values: &[f64]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("k", keys), ("v", values)]).unwrap()
    }

    fn changes(kinds: &[&str], keys: &[i64], values: &[f64]) -> RecordBatch {
        let rows = batch(keys, values);
        let op: ArrayRef = Arc::new(StringArray::from(kinds.to_vec()));
        RecordBatch::try_from_iter([("op", op), ("k", rows.column(0).clone()), ("v", rows.column(1).clone())]).unwrap()
    }

    fn compare(left: &[RecordBatch], right: &[RecordBatch]) -> (Option<String>, Option<String>) {
        let shape = Shape::new(&left[0].schema());
        let whole = |batches| Answer::new(&shape, batches).unwrap();
        let sum = |batches: &[RecordBatch]| {
            let mut sum = Checksum::default();
            batches.iter().for_each(|batch| sum.add(&shape, batch).unwrap());
            sum
        };
        (whole(left).difference(&whole(right)).unwrap(), sum(left).difference(&sum(right)))
    }

    #[test]
    fn the_order_of_rows_and_the_last_bits_of_floats_do_not_matter() {
        let other = [batch(&[2], &[0.5]), batch(&[1], &[0.3 + 1e-14])];
        assert_eq!(compare(&[batch(&[1, 2], &[0.3, 0.5])], &other), (None, None));
    }

    #[test]
    fn another_value_matters() {
        let (whole, sum) = compare(&[batch(&[1, 2], &[0.3, 0.5])], &[batch(&[1, 3], &[0.3, 0.5])]);
        assert_eq!(whole.as_deref(), Some("row 1 in order is (3, 0.5) instead of (2, 0.5)"));
        assert_eq!(sum.as_deref(), Some("another checksum in column 1"));
    }

    #[test]
    fn a_changelog_is_what_it_folds_to() {
        let log = changes(&["+I", "-U", "+U", "+I", "-D"], &[1, 1, 1, 2, 2], &[1.0, 1.0, 2.0, 9.0, 9.0]);
        assert_eq!(compare(&[batch(&[1], &[2.0])], &[log]), (None, None));
    }
}
