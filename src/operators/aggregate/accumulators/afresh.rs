//! A call that is computed from the beginning whenever it is asked for, over rows that are kept.

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;

use super::distinct::Distinct;
use super::{Created, argument_type};
use crate::error::Result;
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{Absent, GroupAccumulator, Input};

/// What a call computes; between two answers it has seen nothing.
pub struct Afresh {
    accumulator: Box<dyn GroupAccumulator>,
    distinct: Option<Distinct>,
}

impl Afresh {
    pub fn new(call: &AggregateCall, Created { accumulator, distinct }: Created) -> Result<Afresh> {
        let distinct = distinct.then(|| Distinct::new(&argument_type(call))).transpose()?;
        Ok(Afresh { accumulator, distinct })
    }

    /// The values of groups that have those rows, one group after the other, each so many of them.
    pub fn answer(&mut self, arguments: &[ArrayRef], lengths: &[usize]) -> Result<ArrayRef> {
        let all: Vec<u32> = (0..lengths.len() as u32).collect();
        let counts: ScalarBuffer<i64> = lengths.iter().map(|length| *length as i64).collect();
        let groups = all.iter().zip(lengths).flat_map(|(group, length)| std::iter::repeat_n(*group, *length));
        let groups: Vec<u32> = groups.collect();
        let mut selection = None;
        if let Some(distinct) = &mut self.distinct {
            distinct.grow(lengths.len());
            selection = distinct.admit(&groups, &arguments[0], &[None])?.pop();
        }
        self.accumulator.grow(lengths.len());
        let absent = Absent::Fault;
        let input = Input { groups: &groups, arguments, selection: selection.as_ref(), kinds: None, absent };
        self.accumulator.update(&input)?;
        let answer = self.accumulator.read(&all, &counts);
        self.accumulator.reset(&all);
        self.distinct.iter_mut().for_each(|distinct| distinct.reset(&all));
        answer
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.accumulator.bytes() + self.distinct.as_ref().map_or(0, Distinct::bytes)
    }
}
