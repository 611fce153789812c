//! `var`, `var_pop`, `stddev` and `stddev_pop`, by Welford's method.

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::{argument_type, integers, numbers, saved, values};
use crate::error::Result;
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, argument_nulls};

/// Over all there is, or over a sample of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Population,
    Sample,
}

/// The variance itself, or its square root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Variance,
    Deviation,
}

pub fn create(call: &AggregateCall) -> Option<Box<dyn GroupAccumulator>> {
    let (of, measure) = match call.function.as_ref() {
        "var" => (Of::Sample, Measure::Variance),
        "var_pop" => (Of::Population, Measure::Variance),
        "stddev" => (Of::Sample, Measure::Deviation),
        "stddev_pop" => (Of::Population, Measure::Deviation),
        _ => return None,
    };
    let floats = argument_type(call) == DataType::Float64 && *call.output.data_type() == DataType::Float64;
    floats.then(|| Box::new(Variance { of, measure, states: vec![] }) as Box<dyn GroupAccumulator>)
}

#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: i64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let from_old = value - self.mean;
        self.mean += from_old / self.count as f64;
        self.squares += from_old * (value - self.mean);
    }

    /// Takes in the values of another group (Chan's method).
    fn merge(&mut self, other: Moments) {
        if self.count == 0 || other.count == 0 {
            *self = if self.count == 0 { other } else { *self };
            return;
        }
        let (own, others) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.count += other.count;
        self.mean += apart * others / self.count as f64;
        self.squares += other.squares + apart * apart * own * others / self.count as f64;
    }
}

struct Variance {
    of: Of,
    measure: Measure,
    states: Vec<Moments>,
}

fn value(of: Of, measure: Measure, state: &Moments) -> Option<f64> {
    let divisor = match of {
        Of::Population => state.count,
        Of::Sample => state.count - 1,
    };
    if state.count == 0 || divisor == 0 {
        return None;
    }
    let variance = state.squares / divisor as f64;
    Some(match measure {
        Measure::Variance => variance,
        Measure::Deviation => variance.sqrt(),
    })
}

impl GroupAccumulator for Variance {
    fn grow(&mut self, slots: usize) {
        self.states.resize(slots.max(self.states.len()), Moments::default());
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let given = values::<Float64Type>(&input.arguments[0])?;
        let states = &mut self.states;
        input.each(argument_nulls(input), |row, group, _| {
            states[group].add(given[row]);
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let given = values::<Float64Type>(&input.arguments[0])?;
        let (of, measure) = (self.of, self.measure);
        let mut said = Vec::with_capacity(input.groups.len());
        let step = |states: &mut Vec<Moments>, row: usize, group: usize, _| {
            states[group].add(given[row]);
            Ok(())
        };
        let say = |states: &Vec<Moments>, group: usize| said.push(value(of, measure, &states[group]));
        input.each_running(argument_nulls(input), &mut self.states, step, say)?;
        Ok(numbers::<Float64Type>(said.into_iter(), &DataType::Float64))
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let read = groups.iter().map(|group| value(self.of, self.measure, &self.states[*group as usize]));
        Ok(numbers::<Float64Type>(read, &DataType::Float64))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.states[*group as usize] = Moments::default();
        }
    }

    fn merges(&self) -> bool {
        true
    }

    fn merge(&mut self, into: u32, from: u32, _: i64) -> Result<()> {
        let other = std::mem::take(&mut self.states[from as usize]);
        self.states[into as usize].merge(other);
        Ok(())
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let at = |group: &u32| self.states[*group as usize];
        let floats = |part: fn(&Moments) -> f64| {
            numbers::<Float64Type>(groups.iter().map(|group| Some(part(&at(group)))), &DataType::Float64)
        };
        let counts = integers(groups.iter().map(|group| at(group).count));
        Ok(vec![counts, floats(|state| state.mean), floats(|state| state.squares)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let counts = values::<Int64Type>(saved(columns, 0)?)?;
        let (means, squares) = (values::<Float64Type>(saved(columns, 1)?)?, values::<Float64Type>(saved(columns, 2)?)?);
        for (row, group) in groups.iter().enumerate() {
            self.states[*group as usize] = Moments { count: counts[row], mean: means[row], squares: squares[row] };
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<Moments>()
    }
}
