//! Functions of pairs of numbers: `covar_samp`, `covar_pop`, `corr` and the nine of linear regression,
//! by Welford's method.
//!
//! A restored state goes on to the last digit as if it had never been saved, because it is kept as it is:
//! to merge it into an empty one, as DataFusion does, would round it once more.

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use std::sync::Arc;

use super::{integers, numbers, saved, values};
use crate::error::Result;
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input};

/// What is told of the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    CovarianceOfSample,
    CovarianceOfPopulation,
    Correlation,
    Slope,
    Intercept,
    Count,
    Determination,
    AverageX,
    AverageY,
    SquaresX,
    SquaresY,
    Products,
}

impl Measure {
    fn of(function: &str) -> Option<Measure> {
        Some(match function {
            "covar_samp" => Measure::CovarianceOfSample,
            "covar_pop" => Measure::CovarianceOfPopulation,
            "corr" => Measure::Correlation,
            "regr_slope" => Measure::Slope,
            "regr_intercept" => Measure::Intercept,
            "regr_count" => Measure::Count,
            "regr_r2" => Measure::Determination,
            "regr_avgx" => Measure::AverageX,
            "regr_avgy" => Measure::AverageY,
            "regr_sxx" => Measure::SquaresX,
            "regr_syy" => Measure::SquaresY,
            "regr_sxy" => Measure::Products,
            _ => return None,
        })
    }

    /// Which arguments are the first and the second of a pair. A regression's are `(y, x)`, and its first is x:
    /// which comes first decides how the products are rounded, and DataFusion does it so.
    fn arguments(self) -> (usize, usize) {
        match self {
            Measure::CovarianceOfSample | Measure::CovarianceOfPopulation | Measure::Correlation => (0, 1),
            Measure::Slope
            | Measure::Intercept
            | Measure::Count
            | Measure::Determination
            | Measure::AverageX
            | Measure::AverageY
            | Measure::SquaresX
            | Measure::SquaresY
            | Measure::Products => (1, 0),
        }
    }
}

pub fn create(call: &AggregateCall) -> Option<Box<dyn GroupAccumulator>> {
    let measure = Measure::of(&call.function)?;
    let floats = |index: usize| call.arguments.get(index).is_some_and(|of| *of.data_type() == DataType::Float64);
    let output = if measure == Measure::Count { DataType::UInt64 } else { DataType::Float64 };
    let fits = floats(0) && floats(1) && *call.output.data_type() == output && !call.distinct;
    fits.then(|| Box::new(Pairs { measure, states: vec![] }) as Box<dyn GroupAccumulator>)
}

/// What is known of the pairs of a group: of each side the mean and the squares about it, and their products.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: i64,
    first: Side,
    second: Side,
    products: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Side {
    mean: f64,
    squares: f64,
}

impl Side {
    /// Takes value number `count` in; gives how far it was from the mean before it.
    fn add(&mut self, value: f64, count: f64) -> f64 {
        let from_old = value - self.mean;
        self.mean += from_old / count;
        self.squares += from_old * (value - self.mean);
        from_old
    }

    /// Takes in `others` values of another group to its `own`; gives how far apart their means were.
    fn merge(&mut self, other: Side, own: f64, others: f64) -> f64 {
        let (apart, count) = (other.mean - self.mean, own + others);
        self.mean += apart * others / count;
        self.squares += other.squares + apart * apart * own * others / count;
        apart
    }
}

impl Moments {
    fn add(&mut self, first: f64, second: f64) {
        self.count += 1;
        let from_old = self.first.add(first, self.count as f64);
        self.second.add(second, self.count as f64);
        self.products += from_old * (second - self.second.mean);
    }

    /// Takes in the pairs of another group (Chan's method).
    fn merge(&mut self, other: Moments) {
        if self.count == 0 || other.count == 0 {
            *self = if self.count == 0 { other } else { *self };
            return;
        }
        let (own, others) = (self.count as f64, other.count as f64);
        self.count += other.count;
        let count = self.count as f64;
        let first = self.first.merge(other.first, own, others);
        let second = self.second.merge(other.second, own, others);
        self.products += other.products + first * second * own * others / count;
    }

    /// A measure other than the count.
    fn measure(&self, measure: Measure) -> Option<f64> {
        let Moments { first: x, second: y, products, .. } = self;
        let count = self.count as f64;
        let covariance = products / count;
        let slope = || covariance / (x.squares / count);
        let any = |value: f64| (self.count > 0).then_some(value);
        // A line needs two points, and x that differ.
        let line = self.count > 1 && x.squares / count != 0.0;
        match measure {
            Measure::CovarianceOfSample => (self.count > 1).then(|| products / (count - 1.0)),
            Measure::CovarianceOfPopulation => any(covariance),
            Measure::Correlation => self.correlation(),
            Measure::Slope => line.then(slope),
            Measure::Intercept => line.then(|| y.mean - slope() * x.mean),
            Measure::Count => Some(count),
            Measure::Determination => {
                let (x, y) = (x.squares / count, y.squares / count);
                (line && y != 0.0).then(|| covariance * covariance / (x * y))
            }
            Measure::AverageX => any(x.mean),
            Measure::AverageY => any(y.mean),
            Measure::SquaresX => any(x.squares),
            Measure::SquaresY => any(y.squares),
            Measure::Products => any(*products),
        }
    }

    fn correlation(&self) -> Option<f64> {
        match (self.first.mean.is_nan(), self.second.mean.is_nan()) {
            (true, true) => return Some(f64::NAN),
            (true, false) | (false, true) => return None,
            (false, false) if self.count < 2 => return None,
            (false, false) => {}
        }
        let count = self.count as f64;
        let deviation = |side: &Side| (side.squares / count).sqrt();
        let (first, second) = (deviation(&self.first), deviation(&self.second));
        (first != 0.0 && second != 0.0).then(|| self.products / count / first / second)
    }
}

struct Pairs {
    measure: Measure,
    states: Vec<Moments>,
}

/// The two sides of the pairs of some rows, and which of them are there: a pair with a NULL is none.
struct Given<'a> {
    first: &'a [f64],
    second: &'a [f64],
    nulls: Option<NullBuffer>,
}

impl Given<'_> {
    fn of<'a>(input: &Input<'a>, measure: Measure) -> Result<Given<'a>> {
        let (first, second) = measure.arguments();
        let (first, second) = (saved(input.arguments, first)?, saved(input.arguments, second)?);
        let nulls = NullBuffer::union(first.nulls(), second.nulls());
        Ok(Given { first: values::<Float64Type>(first)?, second: values::<Float64Type>(second)?, nulls })
    }
}

impl Pairs {
    fn said(&self, states: impl Iterator<Item = Moments>) -> ArrayRef {
        match self.measure {
            Measure::Count => Arc::new(UInt64Array::from_iter_values(states.map(|state| state.count as u64))),
            measure => numbers::<Float64Type>(states.map(|state| state.measure(measure)), &DataType::Float64),
        }
    }
}

impl GroupAccumulator for Pairs {
    fn grow(&mut self, slots: usize) {
        self.states.resize(slots.max(self.states.len()), Moments::default());
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let Given { first, second, nulls } = Given::of(input, self.measure)?;
        let states = &mut self.states;
        input.each(nulls.as_ref(), |row, group, _| {
            states[group].add(first[row], second[row]);
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let Given { first, second, nulls } = Given::of(input, self.measure)?;
        let mut said = Vec::with_capacity(input.groups.len());
        let step = |states: &mut Vec<Moments>, row: usize, group: usize, _| {
            states[group].add(first[row], second[row]);
            Ok(())
        };
        input.each_running(nulls.as_ref(), &mut self.states, step, |states, group| said.push(states[group]))?;
        Ok(self.said(said.into_iter()))
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        Ok(self.said(groups.iter().map(|group| self.states[*group as usize])))
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
        let floats = |part: fn(Moments) -> f64| {
            numbers::<Float64Type>(groups.iter().map(|group| Some(part(at(group)))), &DataType::Float64)
        };
        Ok(vec![
            integers(groups.iter().map(|group| at(group).count)),
            floats(|state| state.first.mean),
            floats(|state| state.first.squares),
            floats(|state| state.second.mean),
            floats(|state| state.second.squares),
            floats(|state| state.products),
        ])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let counts = values::<Int64Type>(saved(columns, 0)?)?;
        let floats = |index: usize| values::<Float64Type>(saved(columns, index)?);
        let side = |row: usize, means: &[f64], squares: &[f64]| Side { mean: means[row], squares: squares[row] };
        let (means, squares, means_2, squares_2) = (floats(1)?, floats(2)?, floats(3)?, floats(4)?);
        let products = floats(5)?;
        for (row, group) in groups.iter().enumerate() {
            self.states[*group as usize] = Moments {
                count: counts[row],
                first: side(row, means, squares),
                second: side(row, means_2, squares_2),
                products: products[row],
            };
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<Moments>()
    }
}
