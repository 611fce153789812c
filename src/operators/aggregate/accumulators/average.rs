//! `avg` of floating-point numbers and decimals.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};

use super::sum::{Exact, Float};
use super::{argument_type, integers, numbers, saved, values};
use crate::error::{Code, DataError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, argument_nulls};

pub fn create(call: &AggregateCall) -> Option<Box<dyn GroupAccumulator>> {
    let output = call.output.data_type().clone();
    match (argument_type(call), &output) {
        (DataType::Float64, DataType::Float64) => Some(Box::new(FloatAverage::default())),
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => {
            let factor = 10_i128.checked_pow(u32::try_from(i32::from(*to) - i32::from(from)).ok()?)?;
            Some(Box::new(DecimalAverage { sums: vec![], counts: vec![], factor, output }))
        }
        _ => None,
    }
}

/// The mean of floating-point numbers.
#[derive(Default)]
struct FloatAverage {
    states: Vec<Float>,
}

fn mean(state: &Float) -> Option<f64> {
    state.value().map(|sum| sum / state.count() as f64)
}

impl GroupAccumulator for FloatAverage {
    fn grow(&mut self, slots: usize) {
        self.states.resize(slots.max(self.states.len()), Float::default());
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let exact = Exact::of(input);
        let given = values::<Float64Type>(&input.arguments[0])?;
        let states = &mut self.states;
        input.each(argument_nulls(input), |row, group, weight| {
            states[group].add(given[row], weight, exact);
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>) -> Result<ArrayRef> {
        let given = values::<Float64Type>(&input.arguments[0])?;
        let mut said = Vec::with_capacity(input.groups.len());
        let step = |states: &mut Vec<Float>, row: usize, group: usize, weight| {
            states[group].add(given[row], weight, Exact::Plain);
            Ok(())
        };
        let say = |states: &Vec<Float>, group: usize| said.push(mean(&states[group]));
        input.each_running(argument_nulls(input), &mut self.states, step, say)?;
        Ok(numbers::<Float64Type>(said.into_iter(), &DataType::Float64))
    }

    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |group: &u32| mean(&self.states[*group as usize]);
        Ok(numbers::<Float64Type>(groups.iter().map(value), &DataType::Float64))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.states[*group as usize] = Float::default();
        }
    }

    fn retracts(&self) -> bool {
        true
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(Float::save(&self.states, groups))
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        Float::load(&mut self.states, groups, columns)
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<Float>()
    }
}

/// The mean of decimals, with more digits behind the point than they have.
struct DecimalAverage {
    sums: Vec<i128>,
    counts: Vec<i64>,
    /// What turns a sum into the scale of the result.
    factor: i128,
    output: DataType,
}

fn too_large() -> DataError {
    DataError::new(Code::Value, "an average of decimals is too large for its type")
}

impl DecimalAverage {
    fn step(&mut self, group: usize, value: i128, weight: i64) -> Result<()> {
        let value = if weight > 0 { Some(value) } else { value.checked_neg() };
        let sum = value.and_then(|value| self.sums[group].checked_add(value));
        self.sums[group] = sum.ok_or_else(too_large)?;
        self.counts[group] += weight;
        Ok(())
    }

    fn value(&self, group: usize) -> Result<Option<i128>> {
        if self.counts[group] <= 0 {
            return Ok(None);
        }
        let scaled = self.sums[group].checked_mul(self.factor).ok_or_else(too_large)?;
        Ok(Some(scaled / i128::from(self.counts[group])))
    }
}

impl GroupAccumulator for DecimalAverage {
    fn grow(&mut self, slots: usize) {
        let slots = slots.max(self.sums.len());
        self.sums.resize(slots, 0);
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let given = values::<Decimal128Type>(&input.arguments[0])?;
        input.each(argument_nulls(input), |row, group, weight| self.step(group, given[row], weight))
    }

    fn update_running(&mut self, input: &Input<'_>) -> Result<ArrayRef> {
        let given = values::<Decimal128Type>(&input.arguments[0])?;
        let mut said = Vec::with_capacity(input.groups.len());
        let step = |state: &mut &mut Self, row: usize, group, weight| state.step(group, given[row], weight);
        input
            .each_running(argument_nulls(input), &mut &mut *self, step, |state, group| said.push(state.value(group)))?;
        let said = said.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(numbers::<Decimal128Type>(said.into_iter(), &self.output))
    }

    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let read = groups.iter().map(|group| self.value(*group as usize)).collect::<Result<Vec<_>>>()?;
        Ok(numbers::<Decimal128Type>(read.into_iter(), &self.output))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.sums[*group as usize] = 0;
            self.counts[*group as usize] = 0;
        }
    }

    fn retracts(&self) -> bool {
        true
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = groups.iter().map(|group| Some(self.sums[*group as usize]));
        let counts = groups.iter().map(|group| self.counts[*group as usize]);
        Ok(vec![numbers::<Decimal128Type>(sums, &DataType::Decimal128(38, 0)), integers(counts)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sums, counts) = (values::<Decimal128Type>(saved(columns, 0)?)?, values::<Int64Type>(saved(columns, 1)?)?);
        for (row, group) in groups.iter().enumerate() {
            self.sums[*group as usize] = sums[row];
            self.counts[*group as usize] = counts[row];
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<i64>()
    }
}
