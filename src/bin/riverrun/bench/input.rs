//! What a workload is fed with: the batches of all its streams, in the order in which they arrive.

use std::sync::Arc;

use riverrun::arrow::array::{ArrayRef, AsArray, RecordBatch};
use riverrun::arrow::compute::cast;
use riverrun::arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};

use super::Result;
use super::data::Tables;
use super::river;
use super::workloads::Workload;

/// The columns that say when a row happened.
const TIME_COLUMNS: [&str; 2] = ["date_time", "time_hour"];

/// A batch for one stream.
#[derive(Debug, Clone)]
pub struct Push {
    /// Which of the workload's streams, counted from 0.
    pub stream: usize,
    /// Its rows.
    pub rows: RecordBatch,
}

/// The batches of a workload.
#[derive(Debug, Default)]
pub struct Input {
    /// The batches in order.
    pub pushes: Vec<Push>,
    /// How many rows there are.
    pub rows: u64,
}

impl Input {
    /// The batches of the tables that `workload` reads, merged by the time of their first rows.
    ///
    /// Where times are equal, the stream that the workload names first is served first. A stream has those columns of
    /// its table that it declares, as the types that it declares.
    pub fn new(workload: &Workload, tables: &Tables) -> Result<Input> {
        let engine = river::engine(workload)?;
        let mut pushes = vec![];
        for (stream, written) in workload.streams.iter().enumerate() {
            let schema = engine.appender(&written.name)?.schema().clone();
            for rows in &tables.table(&written.name)?.batches {
                pushes.push(Push { stream, rows: fitted(rows, &schema)? });
            }
        }
        pushes.sort_by_key(|push| (first_time(&push.rows), push.stream));
        let rows = pushes.iter().map(|push| push.rows.num_rows() as u64).sum();
        Ok(Input { pushes, rows })
    }

    /// The same batches several times over.
    pub fn repeated(&self, times: usize) -> Input {
        let pushes = (0..times).flat_map(|_| self.pushes.iter().cloned()).collect();
        Input { pushes, rows: self.rows * times as u64 }
    }
}

fn fitted(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &Arc<Field>| -> Result<ArrayRef> {
        let column = rows.column_by_name(field.name());
        let missing = || format!("the data has no column \"{}\"", field.name());
        Ok(cast(column.ok_or_else(missing)?, field.data_type())?)
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// When the first row of a batch happened, in whatever unit.
fn first_time(rows: &RecordBatch) -> Option<i64> {
    let column = TIME_COLUMNS.iter().find_map(|name| rows.column_by_name(name))?;
    let numbers = cast(column, &DataType::Int64).ok()?;
    numbers.as_primitive_opt::<Int64Type>()?.values().first().copied()
}
