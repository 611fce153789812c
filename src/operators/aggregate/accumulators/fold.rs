//! Aggregates whose state is one number a group: sums, means, the smallest and the largest.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType};

use super::missing::{Missing, all_positive};
use super::{saved, values};
use crate::error::{DataError, Result};
use crate::expr::sum_too_large;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, ROWS, argument_nulls, not_kept};
use crate::state::Records;

/// How a value goes into the number of its group.
pub trait Fold: Send {
    /// The type of the values, of the state and of the result, but for precision and zone.
    type Number: ArrowPrimitiveType;

    /// Whether values can be taken back.
    const RETRACTS: bool = false;

    /// The state of a group without a value. Never said: the aggregate of nothing is NULL.
    fn nothing(&self) -> Native<Self>;

    /// Takes a value in, or back where `weight` is -1. `false` if the state has left the range of its type: then it is
    /// of no more use. It says no more than that, because an error to be made row by row costs more than the step.
    fn step(&self, state: &mut Native<Self>, value: Native<Self>, weight: i64) -> bool;

    /// The error of a state that has left the range of its type.
    fn too_large(&self) -> DataError {
        sum_too_large()
    }

    /// Takes in what other values have come to, and says as much.
    #[inline]
    fn merge(&self, state: &mut Native<Self>, other: Native<Self>) -> bool {
        self.step(state, other, 1)
    }

    /// The result for a group with `count` values.
    #[inline]
    fn value(&self, state: Native<Self>, count: i64) -> Result<Native<Self>> {
        let _ = count;
        Ok(state)
    }
}

pub type Native<F> = <<F as Fold>::Number as ArrowPrimitiveType>::Native;

/// A [`Fold`] of every group.
pub struct Folded<F: Fold> {
    fold: F,
    /// Where the states are: of its own, or lent by the operator while it is asked something.
    records: Records<Native<F>>,
    /// The place of the state in each record. The first is the operator's, if the records are.
    place: usize,
    missing: Missing,
    output: DataType,
}

impl<F: Fold + 'static> Folded<F> {
    pub fn boxed(fold: F, output: DataType) -> Box<dyn GroupAccumulator> {
        let records = Records::new(fold.nothing());
        Box::new(Folded { fold, records, place: 0, missing: Missing::default(), output })
    }

    fn array(&self, numbers: Vec<Native<F>>, nulls: Option<NullBuffer>) -> ArrayRef {
        let array = PrimitiveArray::<F::Number>::new(ScalarBuffer::from(numbers), nulls);
        Arc::new(array.with_data_type(self.output.clone()))
    }

    /// Every row counts, and every row before it did: nothing said is NULL.
    fn run_whole(&mut self, input: &Input<'_>, counts: &[i64]) -> Result<ArrayRef> {
        let given = values::<F::Number>(&input.arguments[0])?;
        let (fold, mut states, mut fits) = (&self.fold, self.records.column(self.place), true);
        let step = |((group, value), count): ((&u32, &Native<F>), &i64)| {
            let state = states.get_mut(*group);
            fits &= fold.step(state, *value, 1);
            (*state, *count)
        };
        let said = results(fold, input.groups.iter().zip(given).zip(counts).map(step));
        self.check(fits)?;
        Ok(self.array(said?, None))
    }

    fn check(&self, fits: bool) -> Result<()> {
        if fits { Ok(()) } else { Err(self.fold.too_large().into()) }
    }
}

impl<F: Fold + 'static> GroupAccumulator for Folded<F> {
    fn join(&mut self, records: &mut Records<i64>) {
        if let Some(nothing) = (&self.fold.nothing() as &dyn Any).downcast_ref() {
            self.place = records.widen(*nothing);
        }
    }

    fn exchange(&mut self, records: &mut Records<i64>) {
        if self.place > 0
            && let Some(own) = (&mut self.records as &mut dyn Any).downcast_mut()
        {
            std::mem::swap(own, records);
        }
    }

    fn grow(&mut self, slots: usize) {
        self.records.grow(slots);
        self.missing.grow(slots);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let counted = input.counted(argument_nulls(input));
        self.missing.note(input, counted.as_ref());
        let given = values::<F::Number>(&input.arguments[0])?;
        let (fold, mut states, mut fits) = (&self.fold, self.records.column(self.place), true);
        match (&counted, input.kinds) {
            (None, None) => {
                for (group, value) in input.groups.iter().zip(given) {
                    fits &= fold.step(states.get_mut(*group), *value, 1);
                }
            }
            _ => input.each_of(counted.as_ref(), |row, group, weight| {
                fits &= fold.step(states.get_mut(group as u32), given[row], weight);
                Ok(())
            })?,
        }
        self.check(fits)
    }

    fn update_running(&mut self, input: &Input<'_>, counts: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let counted = input.counted(argument_nulls(input));
        let Some(counted) = counted.or_else(|| (!self.missing.is_empty()).then(|| all(input.groups.len()))) else {
            return self.run_whole(input, counts);
        };
        let given = values::<F::Number>(&input.arguments[0])?;
        let (mut said, mut present) = (Vec::with_capacity(given.len()), Vec::with_capacity(given.len()));
        let (mut states, mut fits) = (self.records.column(self.place), true);
        for (row, group) in input.groups.iter().enumerate() {
            let state = states.get_mut(*group);
            match counted.value(row) {
                true => fits &= self.fold.step(state, given[row], 1),
                false => self.missing.pass(*group as usize, 1),
            }
            let count = self.missing.counted(*group, counts[row]);
            present.push(count > 0);
            said.push(if count > 0 { self.fold.value(*state, count)? } else { self.fold.nothing() });
        }
        self.check(fits)?;
        Ok(self.array(said, Some(NullBuffer::from(present))))
    }

    fn read(&mut self, groups: &[u32], counts: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let present = self.missing.present(groups, counts);
        let (states, lent) = (self.records.column(self.place), self.place > 0);
        let state = |(row, group): (usize, &u32)| states.get(if lent { row as u32 } else { *group });
        let states = groups.iter().enumerate().map(state);
        if present.is_none() && self.missing.is_empty() {
            let read = results(&self.fold, states.zip(counts.iter().copied()))?;
            return Ok(self.array(read, None));
        }
        let mut read = Vec::with_capacity(groups.len());
        for (state, count) in states.zip(self.missing.counted_each(groups, counts)) {
            read.push(if count > 0 { self.fold.value(state, count)? } else { self.fold.nothing() });
        }
        Ok(self.array(read, present))
    }

    fn is_whole(&self) -> bool {
        self.place > 0 && self.missing.is_empty()
    }

    fn read_whole(&self, records: &Records<i64>) -> Result<ArrayRef> {
        let kept = (records as &dyn Any).downcast_ref::<Records<Native<F>>>();
        let kept = kept.ok_or_else(not_kept)?;
        let states = || kept.each(self.place).zip(records.each(ROWS));
        if all_positive(records.each(ROWS)) {
            return Ok(self.array(results(&self.fold, states())?, None));
        }
        let value = |(state, count)| if count > 0 { self.fold.value(state, count) } else { Ok(self.fold.nothing()) };
        let values = states().map(value).collect::<Result<_>>()?;
        Ok(self.array(values, Some(records.each(ROWS).map(|count| count > 0).collect())))
    }

    fn reset(&mut self, groups: &[u32]) {
        let mut states = self.records.column(self.place);
        for group in groups {
            states.reset(*group);
        }
        self.missing.reset(groups);
    }

    fn retracts(&self) -> bool {
        F::RETRACTS
    }

    fn merges(&self) -> bool {
        true
    }

    fn merge(&mut self, into: u32, from: u32, _: i64) -> Result<()> {
        let mut states = self.records.column(self.place);
        let other = states.reset(from);
        self.missing.merge(into, from);
        let fits = self.fold.merge(states.get_mut(into), other);
        self.check(fits)
    }

    fn pass(&mut self, group: u32, rows: i64) {
        if rows != 0 {
            self.missing.pass(group as usize, rows);
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let states: Vec<_> = groups.iter().map(|group| self.records.get(*group, self.place)).collect();
        Ok(vec![Arc::new(PrimitiveArray::<F::Number>::new(states.into(), None)), self.missing.save(groups)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let mut states = self.records.column(self.place);
        for (group, state) in groups.iter().zip(values::<F::Number>(saved(columns, 0)?)?) {
            *states.get_mut(*group) = *state;
        }
        self.missing.load(groups, saved(columns, 1)?)
    }

    fn bytes(&self) -> usize {
        self.records.bytes() + self.missing.bytes()
    }
}

/// The results of groups with those states and so many values. An error is looked for at the end, so that the loop has
/// no exit.
fn results<F: Fold>(fold: &F, states: impl Iterator<Item = (Native<F>, i64)>) -> Result<Vec<Native<F>>> {
    let mut refused = None;
    let result = |(state, count)| {
        fold.value(state, count).unwrap_or_else(|error| {
            refused.get_or_insert(error);
            state
        })
    };
    let results = states.map(result).collect();
    refused.map_or(Ok(results), Err)
}

fn all(rows: usize) -> arrow::buffer::BooleanBuffer {
    arrow::buffer::BooleanBuffer::new_set(rows)
}
