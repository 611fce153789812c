//! What an aggregate computes for each group, in columns by group number.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;

use crate::error::{InternalError, Result};
use crate::expr::{AggregateCall, Expr};
use crate::types::RowKinds;

use super::accumulators::create;

/// Some rows for an accumulator.
pub struct Input<'a> {
    /// The group of each row.
    pub groups: &'a [u32],
    /// The arguments, then the keys of the call's `ORDER BY`.
    pub arguments: &'a [ArrayRef],
    /// The rows that the call's `FILTER` lets through; all without it.
    pub selection: Option<&'a BooleanArray>,
    /// What each row does, if rows may also be taken back.
    pub kinds: Option<&'a RowKinds>,
}

impl Input<'_> {
    /// Calls `step` with row, group and weight (1, or -1 for a row that is taken back) of each row that counts:
    /// those that the filter lets through and `nulls` says are there.
    pub fn each(
        &self,
        nulls: Option<&NullBuffer>,
        mut step: impl FnMut(usize, usize, i64) -> Result<()>,
    ) -> Result<()> {
        if self.selection.is_none() && self.kinds.is_none() && nulls.is_none() {
            for (row, group) in self.groups.iter().enumerate() {
                step(row, *group as usize, 1)?;
            }
            return Ok(());
        }
        for (row, group) in self.groups.iter().enumerate() {
            if self.counts(nulls, row) {
                step(row, *group as usize, self.weight(row))?;
            }
        }
        Ok(())
    }

    /// As [`Input::each`], and `say` with the group after each row, whether it counted or not.
    pub fn each_running<S>(
        &self,
        nulls: Option<&NullBuffer>,
        state: &mut S,
        mut step: impl FnMut(&mut S, usize, usize, i64) -> Result<()>,
        mut say: impl FnMut(&S, usize),
    ) -> Result<()> {
        for (row, group) in self.groups.iter().enumerate() {
            if self.counts(nulls, row) {
                step(state, row, *group as usize, self.weight(row))?;
            }
            say(state, *group as usize);
        }
        Ok(())
    }

    fn counts(&self, nulls: Option<&NullBuffer>, row: usize) -> bool {
        self.selection.is_none_or(|selection| selection.value(row)) && nulls.is_none_or(|nulls| nulls.is_valid(row))
    }

    fn weight(&self, row: usize) -> i64 {
        self.kinds.map_or(1, |kinds| kinds.get(row).weight())
    }
}

/// An aggregate's state for every group.
///
/// A group that has seen no row, or was reset, gives what the aggregate gives over nothing.
pub trait GroupAccumulator: Send {
    /// Makes room for groups below `slots`.
    fn grow(&mut self, slots: usize);

    /// Takes rows in. Every group is below what was grown to.
    fn update(&mut self, input: &Input<'_>) -> Result<()>;

    /// Takes rows in, and gives the value of each row's group as it is after that row.
    fn update_running(&mut self, input: &Input<'_>) -> Result<ArrayRef>;

    /// The values of groups. Changes nothing.
    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef>;

    /// Makes groups as new.
    fn reset(&mut self, groups: &[u32]);

    /// Whether rows can be taken back.
    fn retracts(&self) -> bool {
        false
    }

    /// The state of groups as columns, for a snapshot.
    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Puts a saved state back: row `n` of the columns is the state of `groups[n]`.
    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// The accumulators of all calls of an operator.
pub struct Accumulators {
    calls: Vec<Call>,
}

struct Call {
    /// The arguments, then the keys of the `ORDER BY`.
    arguments: Vec<Expr>,
    filter: Option<Expr>,
    accumulator: Box<dyn GroupAccumulator>,
    /// How many columns its saved state has, once that is known.
    width: usize,
}

/// Builds the accumulators of `calls`.
pub fn accumulators(calls: &[AggregateCall]) -> Result<Accumulators> {
    let call = |call: &AggregateCall| {
        let mut arguments = call.arguments.clone();
        arguments.extend(call.order_by.iter().map(|key| key.expr.clone()));
        let mut accumulator = create(call)?;
        let width = accumulator.save(&[])?.len();
        Ok(Call { arguments, filter: call.filter.clone(), accumulator, width })
    };
    Ok(Accumulators { calls: calls.iter().map(call).collect::<Result<_>>()? })
}

impl Accumulators {
    /// Makes room for groups below `slots`.
    pub fn grow(&mut self, slots: usize) {
        for call in &mut self.calls {
            call.accumulator.grow(slots);
        }
    }

    /// Takes the rows of a batch in; `groups` has the group of each.
    pub fn update(&mut self, rows: &RecordBatch, groups: &[u32], kinds: Option<&RowKinds>) -> Result<()> {
        let taken_back = kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind.weight() < 0));
        for call in &mut self.calls {
            if taken_back && !call.accumulator.retracts() {
                return Err(InternalError::new("an aggregate that cannot take rows back was asked to").into());
            }
            let (arguments, selection) = call.evaluate(rows)?;
            let input = Input { groups, arguments: &arguments, selection: selection.as_ref(), kinds };
            call.accumulator.update(&input)?;
        }
        Ok(())
    }

    /// Takes the rows of a batch in, and gives for each call the value of each row's group as it is after that row.
    pub fn update_running(&mut self, rows: &RecordBatch, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let run = |call: &mut Call| {
            let (arguments, selection) = call.evaluate(rows)?;
            let input = Input { groups, arguments: &arguments, selection: selection.as_ref(), kinds: None };
            call.accumulator.update_running(&input)
        };
        self.calls.iter_mut().map(run).collect()
    }

    /// The values of groups, a column a call.
    pub fn read(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.calls.iter_mut().map(|call| call.accumulator.read(groups)).collect()
    }

    /// Makes groups as new.
    pub fn reset(&mut self, groups: &[u32]) {
        for call in &mut self.calls {
            call.accumulator.reset(groups);
        }
    }

    /// The state of groups as columns.
    pub fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for call in &mut self.calls {
            columns.extend(call.accumulator.save(groups)?);
        }
        Ok(columns)
    }

    /// Puts a saved state back.
    pub fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let mut rest = columns;
        for call in &mut self.calls {
            let (own, others) = rest.split_at(call.width.min(rest.len()));
            call.accumulator.reset(groups);
            call.accumulator.load(groups, own)?;
            rest = others;
        }
        Ok(())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.calls.iter().map(|call| call.accumulator.bytes()).sum()
    }
}

impl Call {
    fn evaluate(&self, rows: &RecordBatch) -> Result<(Vec<ArrayRef>, Option<BooleanArray>)> {
        let selection = self.filter.as_ref().map(|filter| filter.evaluate_predicate(rows)).transpose()?;
        let arguments = self.arguments.iter().map(|argument| argument.evaluate(rows)).collect::<Result<_>>()?;
        Ok((arguments, selection))
    }
}

/// The nulls of the first argument.
pub fn argument_nulls<'a>(input: &Input<'a>) -> Option<&'a NullBuffer> {
    input.arguments.first().and_then(|argument| argument.nulls()).filter(|nulls| nulls.null_count() > 0)
}
