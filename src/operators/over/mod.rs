//! Functions of the rows around a row: `OVER`.
//!
//! ```text
//! in:   +I 10   +I 30                  +I 20               rank, by value
//! out:  +I 10 1   +I 30 2              -U 30 2  +U 30 3
//!                                      +I 20 2
//! ```
//!
//! The general form keeps the rows of each partition in order. After each batch the functions are computed anew over the
//! partitions that it touched, and what differs from the answer before is said. Where each row's answer only looks at
//! rows that came before it, rows are said as they come instead (`running`).

mod running;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::{Expr, SortKey, WindowCall, WindowFunction, evaluate_all};
use crate::operators::closing::WindowEnds;
use crate::operators::difference::{Answer, Pairing, Touched, say_changes};
use crate::operators::ordered::{empty_rows, expire, take_in};
use crate::operators::rows::record_batch;
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node::{self, OrderedEmit};
use crate::state::{OrderedRows, Snapshot};
use crate::types::{Batch, Epoch, Timestamp};

/// Builds the operator of an `OVER`.
pub fn build(node: &node::Over, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    if node.emit == OrderedEmit::Running {
        return running::build(node, snapshots);
    }
    let rows = empty_rows(&node.input.schema(), &node.partition, &node.order, node.input_mode)?;
    let mut rows = rows.forgetting(node.ttl);
    rows.restore(snapshots, |rows| evaluate_all(node.order.iter().map(|key| &key.expr), rows))?;
    Ok(Box::new(Over {
        partition: node.partition.clone(),
        order: node.order.clone(),
        calls: node.calls.clone(),
        emit: node.emit,
        ends: WindowEnds::of(&node.partition, node.closed_by)?,
        schema: node.schema.clone(),
        rows,
        touched: Touched::default(),
    }))
}

/// Whether the rows of an `OVER` can be kept; if not, the error says why.
pub fn check(node: &node::Over) -> Result<()> {
    empty_rows(&node.input.schema(), &node.partition, &node.order, node.input_mode).map(drop)
}

/// The rows of each partition, and what is computed over them.
struct Over {
    partition: Vec<Expr>,
    order: Vec<SortKey>,
    calls: Vec<WindowCall>,
    emit: OrderedEmit,
    /// The windows that partitions are of, if the watermark closes them.
    ends: Option<WindowEnds>,
    schema: SchemaRef,
    rows: OrderedRows,
    touched: Touched,
}

impl Operator for Over {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let batch = match &mut self.ends {
            Some(ends) => ends.in_time(batch, out)?,
            None => batch,
        };
        let partition = evaluate_all(&self.partition, batch.rows())?;
        let order = evaluate_all(self.order.iter().map(|key| &key.expr), batch.rows())?;
        let partitions = self.rows.partitions(&partition, batch.num_rows())?;
        let rows = self.rows.encode(&order, batch.rows())?;
        let touched = self.touched.once(&partitions);
        let mut gone = vec![];
        match self.emit {
            OrderedEmit::Final => take_in(&mut self.rows, &batch, (&partitions, &rows), &mut gone, out)?,
            OrderedEmit::Changes | OrderedEmit::Running => {
                let before = self.answer(&touched)?;
                take_in(&mut self.rows, &batch, (&partitions, &rows), &mut gone, out)?;
                let after = self.answer(&touched)?;
                say_changes(&self.rows, (&before, &after), Pairing::ByRow, &self.schema, out)?;
            }
        }
        self.rows.free(&gone);
        self.rows.forget_empty(&touched);
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        expire(&mut self.rows, now, out);
        Ok(())
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.rows.next_due()
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        if let Some(ends) = &mut self.ends {
            let closed = ends.closed(&self.rows, watermark)?;
            if self.emit == OrderedEmit::Final && !closed.is_empty() {
                self.answer(&closed)?.say(&self.rows, &self.schema, out)?;
            }
            self.rows.forget(&closed);
        }
        out.advance(watermark);
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        match self.emit {
            OrderedEmit::Final => {
                let partitions = match &self.ends {
                    Some(ends) => ends.in_order(&self.rows)?,
                    None => self.rows.partitions_in_order(),
                };
                self.answer(&partitions)?.say(&self.rows, &self.schema, out)?;
                self.rows.clear();
                Ok(())
            }
            OrderedEmit::Changes | OrderedEmit::Running => Ok(()),
        }
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        Ok(Some(Snapshot { tables: self.rows.save(since)? }))
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.rows.num_rows(), bytes: self.rows.bytes() }
    }

    fn waits(&self) -> Waits {
        let open_until = self.ends.as_ref().and_then(|ends| ends.first_open(&self.rows));
        Waits { open_until, ..Waits::default() }
    }
}

impl Over {
    /// The answer over partitions.
    fn answer(&self, partitions: &[u32]) -> Result<Answer> {
        let mut answer = Answer::default();
        for partition in partitions {
            answer.rows.extend(self.rows.order(*partition).iter());
            answer.ends.push(answer.rows.len());
        }
        let rows = record_batch(self.rows.schema(), self.rows.gather(&answer.rows)?, answer.rows.len())?;
        let key = |row: usize| self.rows.key(answer.rows[row]);
        let ranges: Vec<Range<usize>> = answer.ranges().collect();
        let columns = self.calls.iter().map(|call| compute(call, &rows, &ranges, |one, other| key(one) == key(other)));
        answer.columns = columns.collect::<Result<_>>()?;
        Ok(answer)
    }
}

/// A call over partitions, each a range of the rows in order; `peers` tells whether two rows are equal in that order.
fn compute(
    call: &WindowCall,
    rows: &RecordBatch,
    partitions: &[Range<usize>],
    peers: impl Fn(usize, usize) -> bool,
) -> Result<ArrayRef> {
    let numbers = |next: &dyn Fn(u64, usize, bool) -> u64| -> Result<ArrayRef> {
        let mut numbers = Vec::with_capacity(rows.num_rows());
        for partition in partitions {
            let mut number = 0;
            for row in partition.clone() {
                let fresh = row == partition.start || !peers(row - 1, row);
                number = next(number, row - partition.start, fresh);
                numbers.push(number);
            }
        }
        Ok(Arc::new(UInt64Array::from(numbers)))
    };
    match call.function {
        WindowFunction::RowNumber => numbers(&|_, place, _| place as u64 + 1),
        WindowFunction::Rank => numbers(&|before, place, fresh| if fresh { place as u64 + 1 } else { before }),
        WindowFunction::DenseRank => numbers(&|before, _, fresh| before + u64::from(fresh)),
        WindowFunction::Other => {
            let parts = partitions.iter().filter(|partition| !partition.is_empty());
            let parts = parts.map(|partition| call.evaluate(&rows.slice(partition.start, partition.len())));
            let parts = parts.collect::<Result<Vec<ArrayRef>>>()?;
            match parts.as_slice() {
                [] => Ok(new_empty_array(call.output.data_type())),
                [only] => Ok(only.clone()),
                parts => Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?),
            }
        }
    }
}
