//! What an aggregate computes for each group, in columns by group number.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

use crate::error::{InternalError, Result};
use crate::expr::{AggregateCall, Expr, evaluate_all};
use crate::plan::node::ChangelogMode;
use crate::state::Records;
use crate::types::RowKinds;

use super::accumulators::{Created, Distinct, argument_type, create, create_merging, is_unordered};

/// Some rows for an accumulator.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The group of each row.
    pub groups: &'a [u32],
    /// The arguments, then the keys of the call's `ORDER BY`.
    pub arguments: &'a [ArrayRef],
    /// The rows that the call's `FILTER` lets through; all without it.
    pub selection: Option<&'a BooleanArray>,
    /// What each row does, if rows may also be taken back.
    pub kinds: Option<&'a RowKinds>,
    /// What becomes of a row that is taken back and is not there.
    pub absent: Absent,
}

/// What becomes of a row that is taken back and is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Absent {
    /// It cannot be: whoever said that it goes has said that it came.
    #[default]
    Fault,
    /// It was forgotten with its group, which is another now.
    Ignored,
}

impl Absent {
    /// The error, if it is one.
    pub fn check(self) -> Result<()> {
        match self {
            Absent::Fault => Err(InternalError::new("a row is taken back that is not there").into()),
            Absent::Ignored => Ok(()),
        }
    }
}

impl Input<'_> {
    /// The rows that count: those that the filter lets through and `nulls` says are there. `None` if all do.
    pub fn counted(&self, nulls: Option<&NullBuffer>) -> Option<BooleanBuffer> {
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        match (self.selection, nulls) {
            (None, None) => None,
            (Some(selection), None) => Some(selection.values().clone()),
            (None, Some(nulls)) => Some(nulls.inner().clone()),
            (Some(selection), Some(nulls)) => Some(selection.values() & nulls.inner()),
        }
    }

    /// Calls `step` with row, group and weight (1, or -1 for a row that is taken back) of each row that counts:
    /// those that the filter lets through and `nulls` says are there.
    pub fn each(&self, nulls: Option<&NullBuffer>, step: impl FnMut(usize, usize, i64) -> Result<()>) -> Result<()> {
        self.each_of(self.counted(nulls).as_ref(), step)
    }

    /// As [`Input::each`] for the rows that `counted` says; `None` for all.
    #[inline]
    pub fn each_of(
        &self,
        counted: Option<&BooleanBuffer>,
        mut step: impl FnMut(usize, usize, i64) -> Result<()>,
    ) -> Result<()> {
        match (counted, self.kinds) {
            (None, None) => {
                for (row, group) in self.groups.iter().enumerate() {
                    step(row, *group as usize, 1)?;
                }
            }
            (None, Some(kinds)) => {
                for (row, group) in self.groups.iter().enumerate() {
                    step(row, *group as usize, kinds.get(row).weight())?;
                }
            }
            (Some(counted), _) => {
                for row in counted.set_indices() {
                    step(row, self.groups[row] as usize, self.weight(row))?;
                }
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
        let counted = self.counted(nulls);
        for (row, group) in self.groups.iter().enumerate() {
            if counted.as_ref().is_none_or(|counted| counted.value(row)) {
                step(state, row, *group as usize, self.weight(row))?;
            }
            say(state, *group as usize);
        }
        Ok(())
    }

    /// 1, or -1 for a row that is taken back.
    pub fn weight(&self, row: usize) -> i64 {
        self.kinds.map_or(1, |kinds| kinds.get(row).weight())
    }
}

/// An aggregate's state for every group.
///
/// A group that has seen no row, or was reset, gives what the aggregate gives over nothing.
/// How many rows each group has is counted once for all calls, in [`Accumulators`], and handed to those who ask.
pub trait GroupAccumulator: Send {
    /// Takes a place in the records of the operator, if its state is one whole number of eight bytes a group.
    fn join(&mut self, records: &mut Records<i64>) {
        let _ = records;
    }

    /// Gives its own records for those of the operator, if it has a place there, or back: whatever else it is asked
    /// comes between the two, but for [`GroupAccumulator::bytes`]. For [`GroupAccumulator::read`] they are a copy, row
    /// `n` of which is the record of `groups[n]`.
    fn exchange(&mut self, records: &mut Records<i64>) {
        let _ = records;
    }

    /// Makes room for groups below `slots`.
    fn grow(&mut self, slots: usize);

    /// Takes rows in. Every group is below what was grown to.
    fn update(&mut self, input: &Input<'_>) -> Result<()>;

    /// Takes rows in, and gives the value of each row's group as it is after that row. `counts` has for each row how
    /// many rows its group has, this one included.
    fn update_running(&mut self, input: &Input<'_>, counts: &ScalarBuffer<i64>) -> Result<ArrayRef>;

    /// The values of groups. Changes nothing. `counts` has for each of them how many rows it has.
    fn read(&mut self, groups: &[u32], counts: &ScalarBuffer<i64>) -> Result<ArrayRef>;

    /// Whether there is no more to its groups than their records say.
    fn is_whole(&self) -> bool {
        false
    }

    /// The values of records that were all there was to their groups, in their order.
    fn read_whole(&self, records: &Records<i64>) -> Result<ArrayRef> {
        let _ = records;
        Err(not_kept().into())
    }

    /// Makes groups as new.
    fn reset(&mut self, groups: &[u32]);

    /// Whether rows can be taken back.
    fn retracts(&self) -> bool {
        false
    }

    /// Whether groups can be merged, to the value that their rows would give in order of arrival.
    fn merges(&self) -> bool {
        false
    }

    /// Puts what is known of group `from`, which has `rows` rows, to group `into`, and makes `from` as new.
    fn merge(&mut self, into: u32, from: u32, rows: i64) -> Result<()> {
        let _ = (into, from, rows);
        Err(InternalError::new("an aggregate that cannot merge groups was asked to").into())
    }

    /// So many rows of a group do not count for the call.
    fn pass(&mut self, group: u32, rows: i64) {
        let _ = (group, rows);
    }

    /// The state of groups as columns, for a snapshot.
    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// Puts a saved state back: row `n` of the columns is the state of `groups[n]`.
    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// The accumulators of all calls of an operator, and how many rows each group has.
pub struct Accumulators {
    calls: Vec<Call>,
    /// The conditions of all `FILTER`s, each once.
    filters: Vec<Expr>,
    /// What calls with `DISTINCT` have had, by argument.
    sets: Vec<Set>,
    /// For each group how many rows it has, less those taken back, and the states of those calls that have their place
    /// there.
    records: Records<i64>,
    absent: Absent,
}

/// What is wrong if an aggregate is to read records that its state is not in.
pub fn not_kept() -> InternalError {
    InternalError::new("an aggregate was asked for what the records do not keep")
}

/// The place of the number of rows in the records.
pub const ROWS: usize = 0;

struct Call {
    /// The arguments, then the keys of the `ORDER BY`.
    arguments: Vec<Expr>,
    /// Which of the conditions is its own.
    filter: Option<usize>,
    accumulator: Box<dyn GroupAccumulator>,
    /// Whether it is among the calls of a set.
    distinct: bool,
    /// How many columns its saved state has.
    width: usize,
}

/// The values that calls with `DISTINCT` have had of one argument.
struct Set {
    argument: Expr,
    distinct: Distinct,
    /// Which calls those are; at most as many as can be told apart.
    calls: Vec<usize>,
}

/// What a call sees of a batch.
struct Seen {
    arguments: Vec<ArrayRef>,
    selection: Option<BooleanArray>,
}

/// Whether a call can be computed over rows of that mode; if not, the error says why.
pub fn check_call(call: &AggregateCall, mode: ChangelogMode) -> Result<()> {
    create(call, mode).map(drop)
}

/// Whether the answer of calls can be put together from parts of the rows, in whatever order these came.
pub fn are_unordered(calls: &[AggregateCall]) -> Result<bool> {
    calls.iter().try_fold(true, |all, call| Ok(all && is_unordered(call)?))
}

/// Builds the accumulators of `calls` over rows of that mode.
pub fn accumulators(calls: &[AggregateCall], mode: ChangelogMode) -> Result<Accumulators> {
    built(calls, |call| create(call, mode))
}

/// Builds accumulators of `calls` whose groups can be merged, over rows that are only added.
pub fn merging_accumulators(calls: &[AggregateCall]) -> Result<Accumulators> {
    built(calls, create_merging)
}

fn built(calls: &[AggregateCall], create: impl Fn(&AggregateCall) -> Result<Created>) -> Result<Accumulators> {
    let (records, absent) = (Records::new(0), Absent::default());
    let mut accumulators = Accumulators { calls: vec![], filters: vec![], sets: vec![], records, absent };
    for call in calls {
        let Created { accumulator, distinct } = create(call)?;
        accumulators.add(call, accumulator, distinct)?;
    }
    Ok(accumulators)
}

impl Accumulators {
    fn add(&mut self, call: &AggregateCall, mut accumulator: Box<dyn GroupAccumulator>, distinct: bool) -> Result<()> {
        let mut arguments = call.arguments.clone();
        arguments.extend(call.order_by.iter().map(|key| key.expr.clone()));
        if call.function.as_ref() == "count" && !call.distinct && arguments.iter().all(Expr::is_known) {
            // `count(*)` counts rows: there is no NULL to look for.
            arguments.clear();
        }
        let filter = call.filter.as_ref().map(|filter| place_of(&mut self.filters, filter));
        if distinct {
            self.add_to_set(&arguments[0], &argument_type(call))?;
        }
        let width = accumulator.save(&[])?.len();
        accumulator.join(&mut self.records);
        self.calls.push(Call { arguments, filter, accumulator, distinct, width });
        Ok(())
    }

    /// Puts the call that comes next to those of its argument.
    fn add_to_set(&mut self, argument: &Expr, data_type: &DataType) -> Result<()> {
        let call = self.calls.len();
        let has_room = |set: &&mut Set| set.argument == *argument && set.calls.len() < Distinct::CALLS_MAX;
        match self.sets.iter_mut().find(has_room) {
            Some(set) => set.calls.push(call),
            None => {
                let distinct = Distinct::new(data_type)?;
                self.sets.push(Set { argument: argument.clone(), distinct, calls: vec![call] });
            }
        }
        Ok(())
    }

    /// From now on groups may be forgotten, and what is taken back need not be there.
    pub fn forgive(&mut self) {
        self.absent = Absent::Ignored;
    }

    /// Makes room for groups below `slots`.
    pub fn grow(&mut self, slots: usize) {
        if slots <= self.slots() {
            return;
        }
        self.records.grow(slots);
        self.sets.iter_mut().for_each(|set| set.distinct.grow(slots));
        self.calls.iter_mut().for_each(|call| call.asked(&mut self.records, |accumulator| accumulator.grow(slots)));
    }

    /// Has what there is of `groups` fetched, for whoever needs it soon.
    #[inline]
    pub fn prefetch(&self, groups: &[u32]) {
        self.records.prefetch(groups);
    }

    /// For how many groups there is room.
    pub fn slots(&self) -> usize {
        self.records.slots()
    }

    /// How many rows a group has, less those taken back.
    #[inline]
    pub fn rows(&self, group: u32) -> i64 {
        self.records.get(group, ROWS)
    }

    /// Takes the rows of a batch in; `groups` has the group of each.
    pub fn update(&mut self, rows: &RecordBatch, groups: &[u32]) -> Result<()> {
        let mut counts = self.records.column(ROWS);
        for group in groups {
            *counts.get_mut(*group) += 1;
        }
        self.update_calls(rows, groups, None)
    }

    /// Takes the rows of a batch in and back; calls `appeared` with each group that had no row and now has one.
    pub fn update_changes(
        &mut self,
        rows: &RecordBatch,
        groups: &[u32],
        kinds: &RowKinds,
        mut appeared: impl FnMut(u32),
    ) -> Result<()> {
        let (mut counts, mut taken_back) = (self.records.column(ROWS), false);
        for (group, kind) in groups.iter().zip(kinds.iter()) {
            let rows = counts.get_mut(*group);
            *rows += kind.weight();
            taken_back |= kind.weight() < 0;
            if *rows == 1 && kind.weight() == 1 {
                appeared(*group);
            }
        }
        if taken_back && self.calls.iter().any(|call| call.distinct || !call.accumulator.retracts()) {
            return Err(InternalError::new("an aggregate that cannot take rows back was asked to").into());
        }
        self.update_calls(rows, groups, Some(kinds))
    }

    fn update_calls(&mut self, rows: &RecordBatch, groups: &[u32], kinds: Option<&RowKinds>) -> Result<()> {
        let absent = self.absent;
        let seen = self.see(rows, groups)?;
        for (call, Seen { arguments, selection }) in self.calls.iter_mut().zip(&seen) {
            let input = Input { groups, arguments, selection: selection.as_ref(), kinds, absent };
            call.asked(&mut self.records, |accumulator| accumulator.update(&input))?;
        }
        Ok(())
    }

    /// What each call sees of a batch. Values that are seen once are noted as seen.
    fn see(&mut self, rows: &RecordBatch, groups: &[u32]) -> Result<Vec<Seen>> {
        let filters = self.filters.iter().map(|filter| filter.evaluate_predicate(rows)).collect::<Result<Vec<_>>>()?;
        let see = |call: &Call| {
            let arguments = evaluate_all(&call.arguments, rows)?;
            Ok(Seen { arguments, selection: call.filter.map(|filter| filters[filter].clone()) })
        };
        let mut seen = self.calls.iter().map(see).collect::<Result<Vec<_>>>()?;
        for Set { distinct, calls, .. } in &mut self.sets {
            let wanted: Vec<_> = calls.iter().map(|call| seen[*call].selection.as_ref()).collect();
            let new = distinct.admit(groups, &seen[calls[0]].arguments[0], &wanted)?;
            calls.iter().zip(new).for_each(|(call, new)| seen[*call].selection = Some(new));
        }
        Ok(seen)
    }

    /// Takes the rows of a batch in, and gives for each call the value of each row's group as it is after that row.
    pub fn update_running(&mut self, rows: &RecordBatch, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut rows_so_far = self.records.column(ROWS);
        let count = |group: &u32| {
            let count = rows_so_far.get_mut(*group);
            *count += 1;
            *count
        };
        let counts: ScalarBuffer<i64> = groups.iter().map(count).collect();
        let seen = self.see(rows, groups)?;
        let run = |(call, Seen { arguments, selection }): (&mut Call, &Seen)| {
            let absent = Absent::Fault;
            let input = Input { groups, arguments, selection: selection.as_ref(), kinds: None, absent };
            call.asked(&mut self.records, |accumulator| accumulator.update_running(&input, &counts))
        };
        self.calls.iter_mut().zip(&seen).map(run).collect()
    }

    /// The values of groups, a column a call.
    pub fn read(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut records = self.records.of(groups);
        let rows = records.column(ROWS);
        let counts: ScalarBuffer<i64> = (0..groups.len() as u32).map(|row| rows.get(row)).collect();
        let read = |call: &mut Call| call.asked(&mut records, |accumulator| accumulator.read(groups, &counts));
        self.calls.iter_mut().map(read).collect()
    }

    /// Copies of the records of groups, if there is no more to them: then they can be read later.
    pub fn copies(&self, groups: &[u32]) -> Option<Records<i64>> {
        self.are_whole().then(|| self.records.of(groups))
    }

    /// The records of `groups` as they are now, each that is marked as `known` behind its copy, if there is still no more
    /// to them.
    pub fn copies_beside(&self, copies: &Records<i64>, known: &[bool], groups: &[u32]) -> Option<Records<i64>> {
        self.are_whole().then(|| self.records.beside(copies, known, groups))
    }

    fn are_whole(&self) -> bool {
        self.calls.iter().all(|call| call.accumulator.is_whole())
    }

    /// The values of copies, a column a call.
    pub fn read_copies(&self, copies: &Records<i64>) -> Result<Vec<ArrayRef>> {
        self.calls.iter().map(|call| call.accumulator.read_whole(copies)).collect()
    }

    /// Puts the rows of group `from` to those of group `into`, and makes `from` as new.
    pub fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        let rows = self.records.column(ROWS).reset(from);
        for call in self.calls.iter_mut().filter(|call| !call.distinct) {
            call.asked(&mut self.records, |accumulator| accumulator.merge(into, from, rows))?;
        }
        for Set { distinct, calls, .. } in &mut self.sets {
            let (values, new) = distinct.merge(into, from, calls.len())?;
            let groups = vec![into; values.len()];
            // Of the rows of a value one has counted at most; the others are passed over, as they were before.
            let passed = rows - values.len() as i64;
            let arguments = &[values];
            for (call, new) in calls.iter().zip(&new) {
                let absent = Absent::Fault;
                let input = Input { groups: &groups, arguments, selection: Some(new), kinds: None, absent };
                self.calls[*call].asked(&mut self.records, |accumulator| {
                    accumulator.reset(&[from]);
                    accumulator.pass(into, passed);
                    accumulator.update(&input)
                })?;
            }
        }
        *self.records.column(ROWS).get_mut(into) += rows;
        Ok(())
    }

    /// Puts what `other`, of the same calls, knows of its groups `from` to the groups `into`, and leaves it as it is.
    /// No group from `free` on is in use.
    pub fn absorb(&mut self, into: &[u32], other: &mut Accumulators, from: &[u32], free: usize) -> Result<()> {
        let (rows, columns) = (other.rows_of(from), other.save(from)?);
        if into.iter().all(|group| self.rows(*group) == 0) {
            return self.load(into, &rows, &columns);
        }
        self.grow(free + from.len());
        let lent: Vec<u32> = (free as u32..).take(from.len()).collect();
        self.load(&lent, &rows, &columns)?;
        into.iter().zip(lent).try_for_each(|(into, from)| self.merge(*into, from))
    }

    fn rows_of(&self, groups: &[u32]) -> Vec<i64> {
        groups.iter().map(|group| self.rows(*group)).collect()
    }

    /// Makes groups as new.
    pub fn reset(&mut self, groups: &[u32]) {
        let mut counts = self.records.column(ROWS);
        for group in groups {
            counts.reset(*group);
        }
        self.sets.iter_mut().for_each(|set| set.distinct.reset(groups));
        self.calls.iter_mut().for_each(|call| call.asked(&mut self.records, |accumulator| accumulator.reset(groups)));
    }

    /// The state of groups as columns, without [`Accumulators::rows`].
    pub fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        for set in &self.sets {
            columns.extend(set.distinct.save(groups)?);
        }
        for call in &mut self.calls {
            columns.extend(call.asked(&mut self.records, |accumulator| accumulator.save(groups))?);
        }
        Ok(columns)
    }

    /// Puts a saved state back; `rows` has how many rows each of the groups had.
    pub fn load(&mut self, groups: &[u32], rows: &[i64], columns: &[ArrayRef]) -> Result<()> {
        let mut counts = self.records.column(ROWS);
        for (group, rows) in groups.iter().zip(rows) {
            *counts.get_mut(*group) = *rows;
        }
        let mut rest = columns;
        for set in &mut self.sets {
            let (own, others) = rest.split_at(Distinct::WIDTH.min(rest.len()));
            set.distinct.reset(groups);
            set.distinct.load(groups, own)?;
            rest = others;
        }
        for call in &mut self.calls {
            let (own, others) = rest.split_at(call.width.min(rest.len()));
            call.asked(&mut self.records, |accumulator| {
                accumulator.reset(groups);
                accumulator.load(groups, own)
            })?;
            rest = others;
        }
        Ok(())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let calls: usize = self.calls.iter().map(|call| call.accumulator.bytes()).sum();
        let sets: usize = self.sets.iter().map(|set| set.distinct.bytes()).sum();
        calls + sets + self.records.bytes()
    }
}

impl Call {
    /// Asks the accumulator something, and lends it the records for that.
    #[inline]
    fn asked<T>(&mut self, records: &mut Records<i64>, ask: impl FnOnce(&mut dyn GroupAccumulator) -> T) -> T {
        self.accumulator.exchange(records);
        let answer = ask(self.accumulator.as_mut());
        self.accumulator.exchange(records);
        answer
    }
}

/// The place of an expression among others, where it is put if it is not there.
fn place_of(exprs: &mut Vec<Expr>, expr: &Expr) -> usize {
    exprs.iter().position(|known| known == expr).unwrap_or_else(|| {
        exprs.push(expr.clone());
        exprs.len() - 1
    })
}

/// The nulls of the first argument.
pub fn argument_nulls<'a>(input: &Input<'a>) -> Option<&'a NullBuffer> {
    input.arguments.first().and_then(|argument| argument.nulls()).filter(|nulls| nulls.null_count() > 0)
}
