//! A row for each element of a list.
//!
//! Lists of one row that differ in length are filled up with NULL, as DataFusion does:
//!
//! ```text
//! a [1, 2] [x]   →   a 1 x
//!                    a 2 NULL
//! ```
//!
//! An empty list gives no row. A NULL list gives none either, or one with a NULL under `preserve_nulls`.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array, make_array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;

use crate::error::{InternalError, Result};
use crate::operators::expand::apart;
use crate::operators::rows::{BATCH_ROWS, record_batch};
use crate::operators::{Operator, Output, Port};
use crate::plan::node;
use crate::plan::node::UnnestColumn;
use crate::state::Snapshot;
use crate::types::Batch;

/// The operator of `node`.
pub fn build(node: &node::Unnest, _: &[Snapshot]) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Unnest {
        columns: node.columns.clone(),
        preserve_nulls: node.preserve_nulls,
        schema: node.schema.clone(),
    }))
}

struct Unnest {
    columns: Vec<UnnestColumn>,
    preserve_nulls: bool,
    schema: arrow::datatypes::SchemaRef,
}

impl Operator for Unnest {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let (rows, from) = self.unnest(batch.rows())?;
        let unnested = match batch.kinds() {
            None => Batch::append_only(rows),
            Some(kinds) => {
                Batch::changelog(rows, from.values().iter().map(|row| apart(kinds.get(*row as usize))).collect())
            }
        };
        let unnested = unnested.with_watermarks(batch.watermarks_of(from.values().iter().map(|row| *row as usize)));
        for offset in (0..unnested.num_rows()).step_by(BATCH_ROWS) {
            out.push(unnested.slice(offset, BATCH_ROWS.min(unnested.num_rows() - offset)));
        }
        Ok(())
    }
}

impl Unnest {
    /// The rows that come of `batch`, and which row of it each came from.
    fn unnest(&self, batch: &RecordBatch) -> Result<(RecordBatch, UInt64Array)> {
        let mut columns = self.columns.iter().map(|column| start(*column, batch)).collect::<Result<Vec<_>>>()?;
        let depths: Vec<usize> = self.columns.iter().map(|column| depth(*column)).collect();
        let mut from = UInt64Array::from_iter_values(0..batch.num_rows() as u64);
        // Lists within lists open from the outside in, so the deepest begin first and all end together.
        for level in (1..=depths.iter().copied().max().unwrap_or(0)).rev() {
            let opens = |column: usize| depths[column] >= level;
            let lists = (0..columns.len())
                .filter(|column| opens(*column))
                .map(|column| Lists::of(&columns[column]))
                .collect::<Result<Vec<_>>>()?;
            let lengths = self.lengths(&lists, from.len());
            let repeat = repeated(&lengths);
            let mut lists = lists.into_iter();
            for (index, column) in columns.iter_mut().enumerate() {
                *column = match opens(index).then(|| lists.next()).flatten() {
                    Some(list) => list.elements(&lengths)?,
                    None => take(column, &repeat, None)?,
                };
            }
            from = take(&from, &repeat, None)?.as_primitive().clone();
        }
        Ok((record_batch(&self.schema, columns, from.len())?, from))
    }

    /// How many rows come of each row: as many as its longest list has elements.
    fn lengths(&self, lists: &[Lists], rows: usize) -> Vec<usize> {
        let of_null = usize::from(self.preserve_nulls);
        (0..rows).map(|row| lists.iter().map(|list| list.length(row).unwrap_or(of_null)).max().unwrap_or(0)).collect()
    }
}

fn depth(column: UnnestColumn) -> usize {
    match column {
        UnnestColumn::Repeat(_) | UnnestColumn::StructField(_, _) => 0,
        UnnestColumn::List(_, depth) => depth,
    }
}

/// What a column of the result is made of, before any list is opened.
fn start(column: UnnestColumn, batch: &RecordBatch) -> Result<ArrayRef> {
    match column {
        UnnestColumn::Repeat(index) | UnnestColumn::List(index, _) => Ok(batch.column(index).clone()),
        UnnestColumn::StructField(index, field) => {
            let Some(structs) = batch.column(index).as_struct_opt() else {
                return Err(InternalError::new("a field is unnested from what is not a struct").into());
            };
            let values = structs.column(field);
            // A field of a NULL struct is NULL, whatever lies beneath.
            let nulls = NullBuffer::union(structs.nulls(), values.nulls());
            Ok(make_array(values.to_data().into_builder().nulls(nulls).build()?))
        }
    }
}

/// Row numbers, each as often as `lengths` says.
fn repeated(lengths: &[usize]) -> UInt64Array {
    lengths.iter().enumerate().flat_map(|(row, length)| std::iter::repeat_n(row as u64, *length)).collect()
}

/// A column of lists of any kind, as ranges of one array of elements.
struct Lists {
    starts: Vec<usize>,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
    values: ArrayRef,
}

impl Lists {
    fn of(array: &ArrayRef) -> Result<Lists> {
        let (starts, lengths, values) = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let starts = list.offsets().iter().map(|offset| *offset as usize).collect();
                (starts, list.offsets().lengths().collect(), list.values().clone())
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let starts = list.offsets().iter().map(|offset| *offset as usize).collect();
                (starts, list.offsets().lengths().collect(), list.values().clone())
            }
            DataType::FixedSizeList(_, size) => {
                let (list, size) = (array.as_fixed_size_list(), *size as usize);
                ((0..list.len()).map(|row| row * size).collect(), vec![size; list.len()], list.values().clone())
            }
            other => return Err(InternalError::new(format!("a column of type {other} is not a list")).into()),
        };
        Ok(Lists { starts, lengths, nulls: array.nulls().cloned(), values })
    }

    /// How many elements the list of row `row` has; `None` for NULL.
    fn length(&self, row: usize) -> Option<usize> {
        let valid = self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        valid.then(|| self.lengths[row])
    }

    /// The elements, one after the other, each list filled up with NULL to its length in `lengths`.
    fn elements(&self, lengths: &[usize]) -> Result<ArrayRef> {
        let element = |row: usize, position: usize| {
            (position < self.length(row).unwrap_or(0)).then(|| (self.starts[row] + position) as u64)
        };
        let indices: UInt64Array = (lengths.iter().enumerate())
            .flat_map(|(row, length)| (0..*length).map(move |position| element(row, position)))
            .collect();
        Ok(take(&self.values, &indices, None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{check, columns, no_input};

    fn unnested(input: &str, columns_out: Vec<UnnestColumn>, output: &str, preserve_nulls: bool, script: &str) {
        let input = columns(input);
        let node =
            node::Unnest { input: no_input(&input), columns: columns_out, preserve_nulls, schema: columns(output) };
        check(&[input], script, |snapshots| build(&node, snapshots));
    }

    #[test]
    fn shorter_lists_are_filled_up_with_null() {
        let out = vec![UnnestColumn::Repeat(0), UnnestColumn::List(1, 1), UnnestColumn::List(2, 1)];
        let script = "0: a [1,2] [7] | b [] [] | c NULL [8,NULL] -> a 1 7 | a 2 NULL | c NULL 8 | c NULL NULL";
        unnested("k:text a:list b:list", out, "k:text a:int b:int", false, script);
    }

    #[test]
    fn a_null_list_gives_a_row_where_nulls_are_preserved() {
        let out = vec![UnnestColumn::Repeat(0), UnnestColumn::List(1, 1)];
        unnested("k:text a:list", out, "k:text a:int", true, "0: a [1] | b NULL | c [] -> a 1 | b NULL");
    }

    #[test]
    fn lists_within_lists_open_together() {
        let out = vec![UnnestColumn::Repeat(0), UnnestColumn::List(1, 2)];
        let script = "0: a [[1,2],[],[3]] | b NULL | c [NULL,[4]] -> a 1 | a 2 | a 3 | c 4";
        unnested("k:text a:lists", out, "k:text a:int", false, script);
    }

    #[test]
    fn the_rows_of_an_update_go_apart() {
        let out = vec![UnnestColumn::List(0, 1)];
        unnested("a:list", out, "a:int", false, "0: -U [1,2] | +U [3] -> -D 1 | -D 2 | +I 3");
    }

    #[test]
    fn a_field_of_a_null_struct_is_null() -> Result<()> {
        use arrow::array::{Int64Array, StructArray};
        use arrow::datatypes::{Field, Schema};
        let field = std::sync::Arc::new(Field::new("x", DataType::Int64, true));
        let values: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1, 2]));
        let structs = StructArray::new(vec![field].into(), vec![values], Some(vec![true, false].into()));
        let schema = Schema::new(vec![Field::new("s", structs.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(std::sync::Arc::new(schema), vec![std::sync::Arc::new(structs)])?;
        let field = start(UnnestColumn::StructField(0, 0), &batch)?;
        assert_eq!(field.as_primitive::<arrow::datatypes::Int64Type>(), &Int64Array::from(vec![Some(1), None]));
        Ok(())
    }
}
