//! `LATE(v)`: the rows that come too late for a window, once for each, with its bounds and by how much.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{IntervalMonthDayNano, SchemaRef};

use crate::error::Result;
use crate::operators::rows::record_batch;
use crate::operators::{Operator, Output, Port};
use crate::plan::node::WindowAggregate;
use crate::types::{Batch, times};

use super::{Bounds, Placing};

pub(super) struct LateRows {
    placing: Placing,
    schema: SchemaRef,
}

impl LateRows {
    pub fn new(node: &WindowAggregate, placing: Placing) -> LateRows {
        LateRows { placing, schema: node.schema.clone() }
    }

    /// By how many ticks each row was late, as an interval or, of integers, as a number.
    fn lateness(&self, late: &[(u32, Bounds, i64)]) -> ArrayRef {
        let by = late.iter().map(|(_, window, watermark)| watermark.saturating_sub(window.end));
        match self.placing.tick.nanos() {
            None => Arc::new(Int64Array::from_iter_values(by)),
            Some(tick) => {
                let nanos = by.map(|by| IntervalMonthDayNano::new(0, 0, by.saturating_mul(tick)));
                Arc::new(IntervalMonthDayNanoArray::from_iter_values(nanos))
            }
        }
    }
}

impl Operator for LateRows {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let mut late = vec![];
        for class in self.placing.classes(&batch, out)? {
            for row in class.rows {
                let watermark = self.placing.before(&batch, row);
                let windows = class.windows.iter().filter(|window| self.placing.is_late(watermark, **window));
                late.extend(windows.map(|window| (row, *window, watermark)));
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        late.sort_unstable();
        let rows = UInt32Array::from_iter_values(late.iter().map(|(row, _, _)| *row));
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in batch.rows().columns() {
            columns.push(take(column, &rows, None)?);
        }
        let bound = |bound: fn(&Bounds) -> i64| Int64Array::from_iter_values(late.iter().map(|(_, w, _)| bound(w)));
        for bound in [bound(|window| window.start), bound(|window| window.end)] {
            columns.push(times(bound, self.placing.time.data_type())?);
        }
        columns.push(self.lateness(&late));
        out.push(Batch::append_only(record_batch(&self.schema, columns, late.len())?));
        Ok(())
    }
}
