//! The workloads that LaminarDB has a continuous query for.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;

use crate::Result;

/// The column in which LaminarDB's changelogs say how often a row comes (1) or goes (-1).
pub const WEIGHT: &str = "__weight";

/// How the answer of a query leaves the database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A materialized view, kept up to date by its changes and read once at the end.
    View,
    /// The rows of a stream as they come.
    Rows,
    /// The changelog of an aggregate as it comes.
    Changes,
}

pub struct Workload {
    pub query: String,
    pub shape: Shape,
}

impl Workload {
    pub fn named(name: &str) -> Option<Self> {
        let (query, shape) = match name {
            "a1_auction" => (totals("auction"), Shape::View),
            "a2_bidder" => (totals("bidder"), Shape::View),
            "a3_channel" => (totals("channel"), Shape::View),
            "c_changes" => (totals("auction") + " EMIT CHANGES", Shape::Changes),
            "e_q1" => {
                ("SELECT auction, bidder, price * 0.908e0 AS price, channel, date_time FROM bids".into(), Shape::Rows)
            }
            "e_q2" => ("SELECT auction, price FROM bids WHERE auction % 123 = 0".into(), Shape::Rows),
            _ => return None,
        };
        Some(Self { query, shape })
    }

    /// What shows that the last row has come out: rows for a stream, and for an aggregate the bids it has counted.
    pub fn expected(&self, rows: &[RecordBatch]) -> i64 {
        let passes = |batch: &RecordBatch| match self.shape {
            Shape::Rows if self.query.contains('%') => {
                numbers(batch, "auction").values().iter().filter(|auction| *auction % 123 == 0).count()
            }
            Shape::Rows | Shape::View | Shape::Changes => batch.num_rows(),
        };
        rows.iter().map(|batch| passes(batch) as i64).sum()
    }

    /// How far a batch of output brings the run towards `expected`.
    pub fn progress(&self, batch: &RecordBatch) -> i64 {
        match self.shape {
            Shape::Rows => batch.num_rows() as i64,
            Shape::View => numbers(batch, "n").values().iter().sum(),
            Shape::Changes => {
                let (n, weight) = (numbers(batch, "n"), numbers(batch, WEIGHT));
                n.values().iter().zip(weight.values()).map(|(n, weight)| n * weight).sum()
            }
        }
    }

    /// The answer as plain rows: a changelog with what went taken from what came.
    pub fn folded(&self, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        match self.shape {
            Shape::View | Shape::Rows => Ok(batches),
            Shape::Changes => fold(&batches),
        }
    }
}

fn totals(key: &str) -> String {
    format!("SELECT {key}, COUNT(*) AS n, MAX(price) AS best, SUM(price) AS total FROM bids GROUP BY {key}")
}

fn numbers<'a>(batch: &'a RecordBatch, name: &str) -> &'a Int64Array {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name} in {}", batch.schema()));
    column.as_primitive::<Int64Type>()
}

fn fold(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let names = ["auction", "n", "best", "total"];
    let mut weights: HashMap<[i64; 4], i64> = HashMap::new();
    for batch in batches {
        let columns = names.map(|name| numbers(batch, name));
        for row in 0..batch.num_rows() {
            *weights.entry(columns.map(|column| column.value(row))).or_default() += numbers(batch, WEIGHT).value(row);
        }
    }
    let rows: Vec<_> = weights.into_iter().filter(|(_, weight)| *weight != 0).map(|(row, _)| row).collect();
    let columns = (0..names.len())
        .map(|i| Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row[i]))) as Arc<dyn Array>);
    let fields: Vec<_> = names.iter().map(|name| Field::new(*name, DataType::Int64, false)).collect();
    Ok(vec![RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect())?])
}
