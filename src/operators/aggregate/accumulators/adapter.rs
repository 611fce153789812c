//! Any other aggregate: one of DataFusion's accumulators for each group.
//!
//! This is the way of host-defined aggregates and of those that are rare. It costs an allocation and a dynamic call
//! for each group of a batch, where a columnar form costs neither.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{cast, take};
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;

use super::{running_by_reading, saved};
use crate::error::{Code, InternalError, Result, StatementError};
use crate::expr::{AggregateCall, value_error};
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input};

/// Functions to which the order of the rows does not matter.
const UNORDERED: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "var",
    "var_pop",
    "stddev",
    "stddev_pop",
    "bit_and",
    "bit_or",
    "bit_xor",
    "approx_distinct",
    "median",
];

pub struct Adapter {
    call: AggregateCall,
    feed: Feed,
    accumulators: Vec<Option<Box<dyn Accumulator>>>,
    /// What each of them said its size was when it last changed, and the sum.
    sizes: Vec<usize>,
    bytes: usize,
}

/// How rows are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feed {
    /// A group's rows of a batch at once.
    Together,
    /// Row by row: for sketches whose answer depends on how rows were cut into batches.
    Apart,
}

impl Adapter {
    /// Fails if the function does not take such arguments, which DataFusion only says when it is asked for an accumulator.
    pub fn new(call: AggregateCall) -> Result<Adapter> {
        call.accumulator().map_err(|error| StatementError::new(Code::Type, format!("{call}: {error}")))?;
        let feed = match call.function.as_ref() {
            "approx_median" | "approx_percentile_cont" | "approx_percentile_cont_with_weight" => Feed::Apart,
            _ => Feed::Together,
        };
        Ok(Adapter { call, feed, accumulators: vec![], sizes: vec![], bytes: 0 })
    }

    fn accumulator(&mut self, group: u32) -> Result<&mut Box<dyn Accumulator>> {
        let place = &mut self.accumulators[group as usize];
        match place {
            Some(accumulator) => Ok(accumulator),
            None => Ok(place.insert(self.call.accumulator()?)),
        }
    }

    /// Asks how large a group has become.
    fn weigh(&mut self, group: u32) {
        let now = self.accumulators[group as usize].as_ref().map_or(0, |accumulator| accumulator.size());
        let before = std::mem::replace(&mut self.sizes[group as usize], now);
        self.bytes = self.bytes + now - before;
    }

    /// The state of a group. Asking for it may empty an accumulator, so it is put back into a new one.
    fn state(&mut self, group: u32) -> Result<Option<Vec<ScalarValue>>> {
        let Some(accumulator) = &mut self.accumulators[group as usize] else { return Ok(None) };
        let state = accumulator.state().map_err(value_error)?;
        let arrays = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>().map_err(value_error)?;
        let mut fresh = self.call.accumulator()?;
        fresh.merge_batch(&arrays).map_err(value_error)?;
        self.accumulators[group as usize] = Some(fresh);
        Ok(Some(state))
    }
}

impl GroupAccumulator for Adapter {
    fn grow(&mut self, slots: usize) {
        let slots = slots.max(self.accumulators.len());
        self.accumulators.resize_with(slots, || None);
        self.sizes.resize(slots, 0);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let mut rows: Vec<u32> = Vec::with_capacity(input.groups.len());
        input.each(None, |row, _, _| {
            rows.push(row as u32);
            Ok(())
        })?;
        // A stable sort: the rows of a group stay in order of arrival.
        rows.sort_by_key(|row| input.groups[*row as usize]);
        let indices = UInt32Array::from(rows);
        let sorted = input.arguments.iter().map(|argument| take(argument, &indices, None));
        let sorted = sorted.collect::<Result<Vec<_>, _>>()?;
        let group_at = |at: usize| input.groups[indices.value(at) as usize];
        let mut start = 0;
        while start < indices.len() {
            let group = group_at(start);
            let mut end = start + 1;
            while self.feed == Feed::Together && end < indices.len() && group_at(end) == group {
                end += 1;
            }
            let own: Vec<ArrayRef> = sorted.iter().map(|column| column.slice(start, end - start)).collect();
            self.accumulator(group)?.update_batch(&own).map_err(value_error)?;
            start = end;
            if start == indices.len() || group_at(start) != group {
                self.weigh(group);
            }
        }
        Ok(())
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        running_by_reading(self, input)
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let output = self.call.output.data_type().clone();
        if groups.is_empty() {
            return Ok(arrow::array::new_empty_array(&output));
        }
        let mut values = Vec::with_capacity(groups.len());
        for group in groups {
            let known = self.accumulators[*group as usize].is_some();
            values.push(self.accumulator(*group)?.evaluate().map_err(value_error)?);
            if !known {
                self.accumulators[*group as usize] = None;
            }
        }
        let array = ScalarValue::iter_to_array(values).map_err(value_error)?;
        Ok(if *array.data_type() == output { array } else { cast(&array, &output)? })
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.accumulators[*group as usize] = None;
            self.weigh(*group);
        }
    }

    /// What is told of these does not depend on the order of the rows.
    fn merges(&self) -> bool {
        let unordered = !self.call.distinct && self.call.order_by.is_empty();
        unordered && UNORDERED.contains(&self.call.function.as_ref())
    }

    fn merge(&mut self, into: u32, from: u32, _: i64) -> Result<()> {
        if let Some(state) = self.state(from)? {
            let state = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>().map_err(value_error)?;
            self.accumulator(into)?.merge_batch(&state).map_err(value_error)?;
            self.weigh(into);
            self.reset(&[from]);
        }
        Ok(())
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let fresh = self.call.accumulator()?.state().map_err(value_error)?;
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(groups.len()); fresh.len()];
        let mut present = Vec::with_capacity(groups.len());
        for group in groups {
            let state = self.state(*group)?;
            present.push(state.is_some());
            for (column, value) in columns.iter_mut().zip(state.unwrap_or_else(|| fresh.clone())) {
                column.push(value);
            }
        }
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(BooleanArray::from(present))];
        for (column, empty) in columns.into_iter().zip(&fresh) {
            arrays.push(match column.is_empty() {
                true => arrow::array::new_empty_array(&empty.data_type()),
                false => ScalarValue::iter_to_array(column).map_err(value_error)?,
            });
        }
        Ok(arrays)
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let Some(present) = saved(columns, 0)?.as_any().downcast_ref::<BooleanArray>() else {
            return Err(InternalError::new("a saved aggregate does not say whether it is there").into());
        };
        for (row, group) in groups.iter().enumerate() {
            self.accumulators[*group as usize] = None;
            if present.value(row) {
                let state: Vec<ArrayRef> = columns[1..].iter().map(|column| column.slice(row, 1)).collect();
                self.accumulator(*group)?.merge_batch(&state).map_err(value_error)?;
            }
            self.weigh(*group);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let places = self.accumulators.capacity() * size_of::<Option<Box<dyn Accumulator>>>();
        self.bytes + places + self.sizes.capacity() * size_of::<usize>()
    }
}
