//! What a workload is fed with: the batches of all its streams, in the order in which they arrive.

use riverrun::arrow::array::{AsArray, RecordBatch};
use riverrun::arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};

use super::Result;
use super::data::Tables;
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
    /// Where times are equal, the stream that the workload names first is served first.
    pub fn new(workload: &Workload, tables: &Tables) -> Result<Input> {
        let mut pushes = vec![];
        for (stream, written) in workload.streams.iter().enumerate() {
            let table = tables.table(&written.name)?;
            pushes.extend(table.batches.iter().map(|rows| Push { stream, rows: rows.clone() }));
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

/// When the first row of a batch happened.
fn first_time(rows: &RecordBatch) -> Option<i64> {
    let column = TIME_COLUMNS.iter().find_map(|name| rows.column_by_name(name))?;
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().values().first().copied(),
        DataType::Timestamp(_, _) => column.as_primitive_opt::<TimestampMicrosecondType>()?.values().first().copied(),
        _ => None,
    }
}
