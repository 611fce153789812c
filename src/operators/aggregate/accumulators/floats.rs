//! Sums and means of floating-point numbers from which numbers can be taken back.

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::{integers, numbers, saved, values};
use crate::error::Result;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, argument_nulls};

/// What is said of the numbers of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Sum,
    Average,
}

/// The sum or mean of each group's numbers.
pub struct Floats {
    measure: Measure,
    states: Vec<Float>,
}

impl Floats {
    pub fn new(measure: Measure) -> Floats {
        Floats { measure, states: vec![] }
    }
}

/// A sum from which numbers can be taken back.
///
/// What is not finite is counted apart, or it would never leave the sum again, and what rounding has cut off is kept
/// in `lost` (Neumaier's summation). Without a number left it is exactly as new.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Float {
    sum: f64,
    lost: f64,
    count: i64,
    nan: i64,
    plus_infinity: i64,
    minus_infinity: i64,
}

impl Float {
    /// Adds a number, or takes one back.
    fn add(&mut self, value: f64, weight: i64) {
        self.count += weight;
        if self.count == 0 {
            *self = Float::default();
        } else if value.is_nan() {
            self.nan += weight;
        } else if value == f64::INFINITY {
            self.plus_infinity += weight;
        } else if value == f64::NEG_INFINITY {
            self.minus_infinity += weight;
        } else {
            self.add_finite(if weight > 0 { value } else { -value });
        }
    }

    fn add_finite(&mut self, value: f64) {
        let sum = self.sum + value;
        let larger_first = self.sum.abs() >= value.abs();
        let cut = if larger_first { (self.sum - sum) + value } else { (value - sum) + self.sum };
        if cut.is_finite() {
            self.lost += cut;
        }
        self.sum = sum;
    }

    fn sum(&self) -> Option<f64> {
        if self.count <= 0 {
            return None;
        }
        Some(match (self.nan > 0, self.plus_infinity > 0, self.minus_infinity > 0) {
            (true, _, _) | (_, true, true) => f64::NAN,
            (_, true, _) => f64::INFINITY,
            (_, _, true) => f64::NEG_INFINITY,
            // Adding a zero would turn -0.0 into 0.0.
            (false, false, false) if self.lost == 0.0 => self.sum,
            (false, false, false) => self.sum + self.lost,
        })
    }

    fn value(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Sum => self.sum(),
            Measure::Average => self.sum().map(|sum| sum / self.count as f64),
        }
    }
}

impl GroupAccumulator for Floats {
    fn grow(&mut self, slots: usize) {
        self.states.resize(slots.max(self.states.len()), Float::default());
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let given = values::<Float64Type>(&input.arguments[0])?;
        let states = &mut self.states;
        input.each(argument_nulls(input), |row, group, weight| {
            states[group].add(given[row], weight);
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let given = values::<Float64Type>(&input.arguments[0])?;
        let measure = self.measure;
        let mut said = Vec::with_capacity(input.groups.len());
        let step = |states: &mut Vec<Float>, row: usize, group: usize, weight| {
            states[group].add(given[row], weight);
            Ok(())
        };
        let say = |states: &Vec<Float>, group: usize| said.push(states[group].value(measure));
        input.each_running(argument_nulls(input), &mut self.states, step, say)?;
        Ok(numbers::<Float64Type>(said.into_iter(), &DataType::Float64))
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let value = |group: &u32| self.states[*group as usize].value(self.measure);
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
        let at = |group: &u32| self.states[*group as usize];
        let floats = |part: fn(&Float) -> f64| {
            numbers::<Float64Type>(groups.iter().map(|group| Some(part(&at(group)))), &DataType::Float64)
        };
        let counts = |part: fn(&Float) -> i64| integers(groups.iter().map(|group| part(&at(group))));
        Ok(vec![
            floats(|state| state.sum),
            floats(|state| state.lost),
            counts(|state| state.count),
            counts(|state| state.nan),
            counts(|state| state.plus_infinity),
            counts(|state| state.minus_infinity),
        ])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sum, lost) = (values::<Float64Type>(saved(columns, 0)?)?, values::<Float64Type>(saved(columns, 1)?)?);
        let counts = (2..6).map(|index| values::<Int64Type>(saved(columns, index)?)).collect::<Result<Vec<_>>>()?;
        for (row, group) in groups.iter().enumerate() {
            self.states[*group as usize] = Float {
                sum: sum[row],
                lost: lost[row],
                count: counts[0][row],
                nan: counts[1][row],
                plus_infinity: counts[2][row],
                minus_infinity: counts[3][row],
            };
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<Float>()
    }
}
