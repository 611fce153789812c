//! `OVER` in order of arrival, over rows that stay: a row out for a row in, as it comes.
//!
//! ```text
//! in:   a 1    b 5    a 2    a 3            sum of the row and the one before it, and of all so far
//! out:  a 1 1 1   b 5 5 5   a 2 3 3   a 3 5 6
//! ```
//!
//! What looks at all rows so far is an aggregate, of which a number a partition is kept; what looks at some rows before
//! each keeps those.

use arrow::array::{Array, ArrayRef, UInt32Array, new_empty_array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::SchemaRef;

use crate::error::{InternalError, Result};
use crate::expr::{Expr, RunningCall, Slide, WindowCall, evaluate_all};
use crate::operators::aggregate::RunningTotals;
use crate::operators::difference::{Answer, Touched};
use crate::operators::ordered::empty_rows;
use crate::operators::rows::{append_only, record_batch};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::{self, ChangelogMode};
use crate::state::{OrderedRows, Snapshot};
use crate::types::{Batch, Epoch, Timestamp};

use super::compute;

pub(super) fn build(node: &node::Over, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let (mut totals, mut recent, mut reach, mut places) = (vec![], vec![], 0, vec![]);
    for call in &node.calls {
        match &call.running {
            Some(RunningCall::Total(total)) => {
                places.push(Place::Total(totals.len()));
                totals.push(total.as_ref().clone());
            }
            Some(RunningCall::Recent(rows, slide)) => {
                places.push(Place::Recent(recent.len()));
                recent.push(Recent { call: call.clone(), rows: *rows, slide: *slide });
                reach = reach.max(*rows);
            }
            None => return Err(InternalError::new("a function looks at rows that are still to come").into()),
        }
    }
    let rows = empty_rows(&node.input.schema(), &node.partition, &[], ChangelogMode::AppendOnly)?;
    let mut rows = rows.forgetting(node.ttl);
    rows.restore(snapshots, |_| Ok(vec![]))?;
    let totals = (!totals.is_empty()).then(|| RunningTotals::new(&node.partition, &totals, node.ttl, snapshots));
    Ok(Box::new(Running {
        partition: node.partition.clone(),
        totals: totals.transpose()?,
        recent,
        reach,
        places,
        rows,
        touched: Touched::default(),
        schema: node.schema.clone(),
    }))
}

/// Says each row as it comes.
struct Running {
    partition: Vec<Expr>,
    totals: Option<RunningTotals>,
    recent: Vec<Recent>,
    /// How many rows of each partition are kept.
    reach: usize,
    /// For each call which of the totals or recent ones it is.
    places: Vec<Place>,
    /// The last rows of each partition, where there are calls that look at them.
    rows: OrderedRows,
    touched: Touched,
    schema: SchemaRef,
}

/// A call that looks at some rows before each.
struct Recent {
    call: WindowCall,
    rows: usize,
    slide: Slide,
}

enum Place {
    Total(usize),
    Recent(usize),
}

impl Operator for Running {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let rows = append_only(&batch, "OVER in order of arrival")?;
        let totals = match &mut self.totals {
            Some(totals) => totals.update(&batch, out.now())?,
            None => vec![],
        };
        let recent = if self.recent.is_empty() { vec![] } else { self.look_back(&batch, out.now())? };
        let mut columns = rows.columns().to_vec();
        for place in &self.places {
            let values = match place {
                Place::Total(at) => &totals[*at],
                Place::Recent(at) => &recent[*at],
            };
            // A number of rows is not signed as `row_number()`, and signed as `count(*)`.
            columns.push(cast(values, self.schema.field(columns.len()).data_type())?);
        }
        // A row goes out as it comes: it is as late as it was.
        out.push(batch.with_rows(record_batch(&self.schema, columns, rows.num_rows())?));
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        // Both are written by the same rows, so what one forgets the other does.
        let rows = self.rows.forget_due(now);
        out.expire(self.totals.as_mut().map_or(rows, |totals| totals.forget_due(now)));
        Ok(())
    }

    fn notify_at(&self) -> Option<Timestamp> {
        let totals = self.totals.as_ref().and_then(RunningTotals::next_due);
        totals.into_iter().chain(self.rows.next_due()).min()
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let mut snapshot = match &mut self.totals {
            Some(totals) => totals.save(since)?,
            None => Snapshot::default(),
        };
        if !self.recent.is_empty() {
            snapshot.tables.extend(self.rows.save(since)?);
        }
        Ok(Some(snapshot))
    }

    fn state_size(&self) -> StateSize {
        let totals = self.totals.as_ref().map(RunningTotals::size).unwrap_or_default();
        StateSize { rows: totals.rows + self.rows.num_rows(), bytes: totals.bytes + self.rows.bytes() }
    }
}

impl Running {
    /// For each call that looks at some rows before each its values, in order of arrival.
    fn look_back(&mut self, batch: &Batch, now: Timestamp) -> Result<Vec<ArrayRef>> {
        let partition = evaluate_all(&self.partition, batch.rows())?;
        let partitions = self.rows.partitions(&partition, batch.num_rows())?;
        let touched = self.touched.once(&partitions);
        self.rows.touch(&touched, now);
        let known: Vec<usize> = touched.iter().map(|partition| self.rows.order(*partition).len()).collect();
        let encoded = self.rows.encode(&[], batch.rows())?;
        let mut numbers = Vec::with_capacity(batch.num_rows());
        for (row, partition) in partitions.iter().enumerate() {
            numbers.push(self.rows.insert(*partition, &encoded, row)?);
        }
        let mut all = Answer::default();
        for partition in &touched {
            all.rows.extend(self.rows.order(*partition).iter());
            all.ends.push(all.rows.len());
        }
        let values = self.recent.iter().map(|recent| self.values(recent, &all, &known)).collect::<Result<Vec<_>>>()?;
        let places = arrived(&all, &known, &numbers);
        self.forget(&touched);
        Ok(values.iter().map(|column| take(column, &places, None)).collect::<Result<_, _>>()?)
    }

    /// The values of a call for all new rows, partition after partition.
    fn values(&self, recent: &Recent, all: &Answer, known: &[usize]) -> Result<ArrayRef> {
        let rows = record_batch(self.rows.schema(), self.rows.gather(&all.rows)?, all.rows.len())?;
        let mut parts: Vec<ArrayRef> = vec![];
        for (range, known) in all.ranges().zip(known) {
            let fresh = range.start + known..range.end;
            if recent.slide == Slide::Exact {
                let from = range.start.max(fresh.start.saturating_sub(recent.rows));
                let values = compute(&recent.call, &rows, std::slice::from_ref(&(from..range.end)), |_, _| true)?;
                parts.push(values.slice(fresh.start - from, fresh.len()));
                continue;
            }
            for row in fresh {
                let from = range.start.max(row.saturating_sub(recent.rows));
                let values = recent.call.evaluate(&rows.slice(from, row + 1 - from))?;
                parts.push(values.slice(row - from, 1));
            }
        }
        match parts.as_slice() {
            [] => Ok(new_empty_array(recent.call.output.data_type())),
            [only] => Ok(only.clone()),
            parts => Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?),
        }
    }

    /// Forgets what no row to come looks at.
    fn forget(&mut self, partitions: &[u32]) {
        let mut gone = vec![];
        for partition in partitions {
            while self.rows.order(*partition).len() > self.reach {
                gone.extend(self.rows.pop_first(*partition));
            }
        }
        self.rows.free(&gone);
        self.rows.forget_empty(partitions);
    }
}

/// For each new row, in order of arrival, where it is among the new rows partition after partition.
fn arrived(all: &Answer, known: &[usize], numbers: &[u32]) -> UInt32Array {
    let fresh = all.ranges().zip(known).flat_map(|(range, known)| range.start + known..range.end);
    let places: std::collections::HashMap<u32, u32> = fresh.map(|at| all.rows[at]).zip(0u32..).collect();
    numbers.iter().map(|number| places.get(number).copied()).collect()
}
