//! `sum` of whole numbers, decimals and floating-point numbers.

use arrow::array::{ArrayRef, ArrowNativeTypeOp};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type};

use super::{argument_type, integers, numbers, saved, values};
use crate::error::{Code, DataError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, argument_nulls};

pub fn create(call: &AggregateCall) -> Option<Box<dyn GroupAccumulator>> {
    let output = call.output.data_type().clone();
    match (argument_type(call), &output) {
        (DataType::Int64, DataType::Int64) => Some(Box::new(Sum::<Int64Type>::new(output))),
        (DataType::UInt64, DataType::UInt64) => Some(Box::new(Sum::<UInt64Type>::new(output))),
        (DataType::Float64, DataType::Float64) => Some(Box::new(FloatSum::default())),
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) if from == *to => {
            Some(Box::new(Sum::<Decimal128Type>::new(output)))
        }
        _ => None,
    }
}

/// The sum of exact numbers, and of how many. A sum that leaves the range of its type is an error.
pub struct Sum<T: ArrowPrimitiveType> {
    sums: Vec<T::Native>,
    counts: Vec<i64>,
    output: DataType,
}

impl<T: ArrowPrimitiveType> Sum<T> {
    fn new(output: DataType) -> Self {
        Sum { sums: vec![], counts: vec![], output }
    }
}

type State<N> = (Vec<N>, Vec<i64>);

fn step<N: ArrowNativeTypeOp>(sums: &mut N, count: &mut i64, value: N, weight: i64) -> Result<()> {
    let sum = if weight > 0 { sums.add_checked(value) } else { sums.sub_checked(value) };
    *sums = sum.map_err(|_| {
        DataError::new(Code::Value, "a sum is too large for its type")
            .hint("Cast the argument to DECIMAL or DOUBLE inside the sum.")
    })?;
    *count += weight;
    Ok(())
}

impl<T: ArrowPrimitiveType> GroupAccumulator for Sum<T> {
    fn grow(&mut self, slots: usize) {
        let slots = slots.max(self.sums.len());
        self.sums.resize(slots, T::Native::ZERO);
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let numbers = values::<T>(&input.arguments[0])?;
        let (sums, counts) = (&mut self.sums, &mut self.counts);
        input.each(argument_nulls(input), |row, group, weight| {
            step(&mut sums[group], &mut counts[group], numbers[row], weight)
        })
    }

    fn update_running(&mut self, input: &Input<'_>) -> Result<ArrayRef> {
        let given = values::<T>(&input.arguments[0])?;
        let mut state: State<T::Native> = (std::mem::take(&mut self.sums), std::mem::take(&mut self.counts));
        let mut said = Vec::with_capacity(input.groups.len());
        let ran = input.each_running(
            argument_nulls(input),
            &mut state,
            |(sums, counts), row, group, weight| step(&mut sums[group], &mut counts[group], given[row], weight),
            |(sums, counts), group| said.push((counts[group] > 0).then(|| sums[group])),
        );
        (self.sums, self.counts) = state;
        ran?;
        Ok(numbers::<T>(said.into_iter(), &self.output))
    }

    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |group: &u32| (self.counts[*group as usize] > 0).then(|| self.sums[*group as usize]);
        Ok(numbers::<T>(groups.iter().map(value), &self.output))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.sums[*group as usize] = T::Native::ZERO;
            self.counts[*group as usize] = 0;
        }
    }

    fn retracts(&self) -> bool {
        true
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = groups.iter().map(|group| Some(self.sums[*group as usize]));
        let counts = groups.iter().map(|group| self.counts[*group as usize]);
        Ok(vec![numbers::<T>(sums, &self.output), integers(counts)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sums, counts) = (values::<T>(saved(columns, 0)?)?, values::<Int64Type>(saved(columns, 1)?)?);
        for (row, group) in groups.iter().enumerate() {
            self.sums[*group as usize] = sums[row];
            self.counts[*group as usize] = counts[row];
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.counts.capacity() * size_of::<i64>()
    }
}

/// A sum of floating-point numbers from which numbers can be taken back.
///
/// What is not finite is counted apart, or it would never leave the sum again. Where numbers may be taken back, what
/// rounding has cut off is kept in `lost` (Neumaier's summation); elsewhere that is nothing, and the sum is the plain
/// one in order of arrival, as a batch database gives it. Without a number left it is exactly as new.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Float {
    sum: f64,
    lost: f64,
    count: i64,
    nan: i64,
    plus_infinity: i64,
    minus_infinity: i64,
}

/// Whether what rounding cuts off is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exact {
    /// It is lost.
    Plain,
    /// It is kept apart.
    Compensated,
}

impl Exact {
    /// Kept if numbers may be taken back.
    pub fn of(input: &Input<'_>) -> Exact {
        if input.kinds.is_some() { Exact::Compensated } else { Exact::Plain }
    }
}

impl Float {
    /// Adds a number, or takes one back. Where that may happen, every number is added with `Exact::Compensated`.
    pub fn add(&mut self, value: f64, weight: i64, exact: Exact) {
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
            self.add_finite(if weight > 0 { value } else { -value }, exact);
        }
    }

    fn add_finite(&mut self, value: f64, exact: Exact) {
        let sum = self.sum + value;
        if exact == Exact::Compensated {
            let larger_first = self.sum.abs() >= value.abs();
            let cut = if larger_first { (self.sum - sum) + value } else { (value - sum) + self.sum };
            if cut.is_finite() {
                self.lost += cut;
            }
        }
        self.sum = sum;
    }

    /// The sum.
    pub fn value(&self) -> Option<f64> {
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

    /// How many numbers.
    pub fn count(&self) -> i64 {
        self.count
    }

    pub fn save(states: &[Float], groups: &[u32]) -> Vec<ArrayRef> {
        let at = |group: &u32| states[*group as usize];
        let floats = |part: fn(&Float) -> f64| {
            numbers::<Float64Type>(groups.iter().map(|group| Some(part(&at(group)))), &DataType::Float64)
        };
        let counts = |part: fn(&Float) -> i64| integers(groups.iter().map(|group| part(&at(group))));
        vec![
            floats(|state| state.sum),
            floats(|state| state.lost),
            counts(|state| state.count),
            counts(|state| state.nan),
            counts(|state| state.plus_infinity),
            counts(|state| state.minus_infinity),
        ]
    }

    pub fn load(states: &mut [Float], groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sum, lost) = (values::<Float64Type>(saved(columns, 0)?)?, values::<Float64Type>(saved(columns, 1)?)?);
        let counts = (2..6).map(|index| values::<Int64Type>(saved(columns, index)?)).collect::<Result<Vec<_>>>()?;
        for (row, group) in groups.iter().enumerate() {
            states[*group as usize] = Float {
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
}

/// The sum of floating-point numbers.
#[derive(Default)]
struct FloatSum {
    states: Vec<Float>,
}

impl GroupAccumulator for FloatSum {
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
        let say = |states: &Vec<Float>, group: usize| said.push(states[group].value());
        input.each_running(argument_nulls(input), &mut self.states, step, say)?;
        Ok(numbers::<Float64Type>(said.into_iter(), &DataType::Float64))
    }

    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let value = |group: &u32| self.states[*group as usize].value();
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
