//! `EMIT CHANGES` and `EMIT EVERY`: what has become of each group since it was last said.
//!
//! `CHANGES` says it after every batch; `EVERY` lets changes gather until the clock is due.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, Int64Array, UInt32Array, downcast_primitive_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter, interleave, take, take_arrays};
use arrow::datatypes::Int64Type;

use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::operators::rows::{differs, whole_updates};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::state::{Records, Snapshot, grow_to, table};
use crate::types::{Batch, Epoch, Interval, RowKind, RowKinds, Timestamp};

use super::Groups;

/// Keys, then the values as they were last said, then whether they were said at all.
const PENDING: &str = "pending";
/// When the pending changes are due.
const DUE: &str = "due";

/// Says changes.
pub(in crate::operators) struct Changes {
    groups: Groups,
    interval: Option<Interval>,
    standings: Standings,
    pending: Pending,
    /// What the pending groups that were said can be read of as they were, if that was not done yet.
    copies: Option<Records<i64>>,
    due: Option<Timestamp>,
    /// Whether the totals over no rows, which are part of the answer from the start, are still to be said.
    opening: bool,
}

/// How each group stands. Two bits each, because every row looks there: those of a million groups stay in the cache.
#[derive(Default)]
struct Standings {
    words: Vec<u64>,
}

/// The answer holds a row of the group. While it is pending, the row that was last said.
const IS_SAID: u64 = 1;
/// The group may have changed since it was last said.
const IS_PENDING: u64 = 2;
const GROUPS_PER_WORD: usize = 32;

/// The groups that may have changed since they were last said, in the order in which they were first touched.
#[derive(Default)]
pub(in crate::operators) struct Pending {
    pub groups: Vec<u32>,
    /// For each of them whether the answer holds a row of it.
    pub said: Vec<bool>,
    /// The values of those that were said as they were last said, in parts of columns.
    before: Vec<Vec<ArrayRef>>,
    /// Bytes of `before`.
    before_bytes: usize,
}

impl Changes {
    pub fn new(groups: Groups, interval: Option<Interval>, snapshots: &[Snapshot]) -> Result<Changes> {
        let pending = Pending::default();
        let opening = snapshots.is_empty() && interval.is_none() && groups.totals.num_rows() > 0;
        let standings = Standings::default();
        let mut changes = Changes { groups, interval, standings, pending, copies: None, due: None, opening };
        changes.grow();
        for group in changes.groups.index.groups_in_order() {
            changes.standings.settle(group, changes.groups.is_there(group));
        }
        if let Some(last) = snapshots.last() {
            changes.restore_pending(last)?;
        }
        Ok(changes)
    }

    fn grow(&mut self) {
        self.standings.grow(self.groups.accumulators.slots());
    }

    /// Takes rows in, and says nothing of them yet.
    pub fn take(&mut self, batch: Batch, out: &mut Output) -> Result<()> {
        let (_, groups) = self.groups.number(&batch)?;
        self.touch(&groups)?;
        self.update(batch, &groups, out)
    }

    /// Takes rows in, and says what has become of their groups.
    fn take_and_flush(&mut self, batch: Batch, out: &mut Output) -> Result<()> {
        let (keys, groups) = self.groups.number(&batch)?;
        let first = self.touch(&groups)?;
        self.update(batch, &groups, out)?;
        if first.len() == self.pending.groups.len() && keys.iter().zip(&self.groups.keys).all(is_canonical) {
            // The rows still have the keys at hand, and in order.
            let first = UInt32Array::from(first);
            return self.say(&keys.iter().map(|key| taken(key, &first)).collect::<Result<Vec<_>>>()?, out);
        }
        self.flush(out)
    }

    fn update(&mut self, batch: Batch, groups: &[u32], out: &mut Output) -> Result<()> {
        let (batch, admitted) = self.groups.admitted(batch, groups, out)?;
        self.groups.update(&batch, &admitted, out.now())
    }

    /// Notes the values of groups as they were last said, before they change. Gives where each stands that was not
    /// pending already.
    fn touch(&mut self, groups: &[u32]) -> Result<Vec<u32>> {
        self.grow();
        let (first, said) = self.standings.touch(groups);
        self.read_copies()?;
        let before = self.pending.groups.len();
        self.pending.groups.extend(first.iter().map(|row| groups[*row as usize]));
        let touched = &self.pending.groups[before..];
        let known: Cow<[u32]> = match said.iter().all(|said| *said) {
            true => Cow::Borrowed(touched),
            false => rows_that(&said).map(|row| touched[row as usize]).collect(),
        };
        if before == 0 {
            self.copies = self.groups.accumulators.copies(&known);
        }
        if self.copies.is_none() && !known.is_empty() {
            self.pending.push_before(self.groups.accumulators.read(&known)?);
        }
        self.pending.said.extend(said);
        Ok(first)
    }

    /// Reads the values before, which are needed in columns.
    fn read_copies(&mut self) -> Result<()> {
        if let Some(copies) = self.copies.take() {
            self.pending.push_before(self.groups.accumulators.read_copies(&copies)?);
        }
        Ok(())
    }

    /// SQL's answer over no rows still has its totals.
    fn say_totals(&mut self, out: &mut Output) -> Result<()> {
        self.groups.note_totals()?;
        let totals = self.groups.always.clone();
        self.touch(&totals)?;
        self.flush(out)
    }

    /// Says what has become of the pending groups.
    pub fn flush(&mut self, out: &mut Output) -> Result<()> {
        let keys = self.groups.index.keys(&self.pending.groups)?;
        self.say(&keys, out)
    }

    /// Says what has become of the pending groups, whose keys those are.
    fn say(&mut self, keys: &[ArrayRef], out: &mut Output) -> Result<()> {
        self.due = None;
        let there: Vec<bool> = match self.groups.retracts {
            true => self.pending.groups.iter().map(|group| self.groups.is_there(*group)).collect(),
            // A group that cannot lose rows is there once it was touched.
            false => vec![true; self.pending.groups.len()],
        };
        let steps = match self.steps_of_copies(keys, &there)? {
            Some(steps) => steps,
            None => {
                self.read_copies()?;
                let now = self.groups.accumulators.read(&self.pending.groups)?;
                Steps::of(&self.pending, keys, &now, &there)?
            }
        };
        for part in whole_updates(&steps.kinds) {
            let rows = self.groups.batch(steps.columns(part.clone()), part.len())?;
            out.push(match self.groups.appends {
                true => Batch::append_only(rows),
                false => Batch::changelog(rows, steps.kinds[part].iter().copied().collect::<RowKinds>()),
            });
        }
        let pending = std::mem::take(&mut self.pending);
        self.copies = None;
        self.settle(&pending.groups, &there);
        Ok(())
    }

    /// The changes of the pending groups if all of them are there, and there are copies of what they were: then their
    /// values can be read in the order of the changes.
    fn steps_of_copies(&self, keys: &[ArrayRef], there: &[bool]) -> Result<Option<Steps>> {
        let (accumulators, pending) = (&self.groups.accumulators, &self.pending);
        let Some(copies) = self.copies.as_ref().filter(|_| there.iter().all(|there| *there)) else {
            return Ok(None);
        };
        let Some(both) = accumulators.copies_beside(copies, &pending.said, &pending.groups) else { return Ok(None) };
        let values = accumulators.read_copies(&both)?;
        let (mut kinds, mut groups) = (Vec::with_capacity(both.slots()), Vec::with_capacity(both.slots()));
        let mut pairs = Vec::with_capacity(copies.slots());
        for (group, said) in (0..).zip(&pending.said) {
            if *said {
                pairs.push(kinds.len());
                kinds.extend_from_slice(&[RowKind::UpdateBefore, RowKind::UpdateAfter]);
                groups.extend_from_slice(&[group, group]);
            } else {
                kinds.push(RowKind::Insert);
                groups.push(group);
            }
        }
        let mut columns = take_arrays(keys, &UInt32Array::from(groups), None)?;
        columns.extend(values);
        let mut changed = BooleanBuffer::new_unset(pairs.len());
        for column in &columns[keys.len()..] {
            // A count of rows has always changed.
            if changed.count_set_bits() == changed.len() {
                break;
            }
            changed = &changed | &differ_from_next(column, &pairs);
        }
        let steps = Steps { kinds, columns };
        let unchanged = (!&changed).set_indices().map(|pair| pairs[pair]).collect::<Vec<_>>();
        Ok(Some(if unchanged.is_empty() { steps } else { steps.without(&unchanged)? }))
    }

    /// Now the answer holds those groups that are there. The others are freed.
    fn settle(&mut self, groups: &[u32], there: &[bool]) {
        let mut gone = vec![];
        for (group, there) in groups.iter().zip(there) {
            self.standings.settle(*group, *there);
            if !there {
                gone.push(*group);
            }
        }
        self.groups.forget(&gone);
        self.grow();
    }

    /// Forgets the groups that are due. One whose change has not been said yet stays until it was.
    fn expire(&mut self, now: Timestamp, out: &mut Output) {
        let (waiting, due): (Vec<u32>, Vec<u32>) =
            self.groups.due(now).into_iter().partition(|group| self.standings.is_pending(*group));
        self.groups.touch(&waiting, now);
        out.expire(due.len());
        due.iter().for_each(|group| self.standings.settle(*group, false));
        self.groups.forget(&due);
    }

    fn save_pending(&mut self) -> Result<Snapshot> {
        self.read_copies()?;
        let mut columns = self.groups.index.keys(&self.pending.groups)?;
        let after = self.groups.accumulators.read(&self.pending.groups)?;
        let before = self.pending.columns(&after)?;
        // A group that was never said has no values before; its keys are what matters, so those after stand in.
        let mut known = 0..;
        let place = |(row, said): (usize, &bool)| if *said { (0, known.next().unwrap_or(0)) } else { (1, row) };
        let places: Vec<(usize, usize)> = self.pending.said.iter().enumerate().map(place).collect();
        for (before, after) in before.iter().zip(&after) {
            columns.push(interleave(&[before.as_ref(), after.as_ref()], &places)?);
        }
        columns.push(Arc::new(BooleanArray::from(self.pending.said.clone())));
        let due: ArrayRef = Arc::new(self.due.iter().map(|due| due.nanos()).collect::<Int64Array>());
        let (rows, dues) = (places.len(), due.len());
        Ok(Snapshot { tables: vec![table(PENDING, columns, rows)?, table(DUE, vec![due], dues)?] })
    }

    fn restore_pending(&mut self, snapshot: &Snapshot) -> Result<()> {
        let missing = || InternalError::new("pending changes are not in their form");
        if let Some(due) = snapshot.table(DUE) {
            let due = due.column(0).as_primitive_opt::<Int64Type>().ok_or_else(missing)?;
            self.due = due.values().first().map(|nanos| Timestamp::from_nanos(*nanos));
        }
        let Some(saved) = snapshot.table(PENDING) else { return Ok(()) };
        let Some((said, columns)) = saved.columns().split_last() else { return Ok(()) };
        let said = said.as_boolean_opt().ok_or_else(missing)?;
        let (keys, values) = columns.split_at_checked(self.groups.keys.len()).ok_or_else(missing)?;
        let mut groups = vec![];
        self.groups.index.intern(keys, saved.num_rows(), &mut groups)?;
        self.groups.grow();
        self.grow();
        self.standings.touch(&groups);
        let before = values.iter().map(|column| filter(column, said)).collect::<Result<_, _>>()?;
        self.pending = Pending::of(groups, said.values().iter().collect());
        self.pending.push_before(before);
        Ok(())
    }
}

/// Changes in order.
pub(in crate::operators) struct Steps {
    pub kinds: Vec<RowKind>,
    /// The keys, then the values.
    columns: Vec<ArrayRef>,
}

impl Steps {
    /// The changes of pending groups in order. Of each of them there are its keys, the values that it has now, and
    /// whether it is part of the answer now.
    pub fn of(pending: &Pending, keys: &[ArrayRef], now: &[ArrayRef], there: &[bool]) -> Result<Steps> {
        let known: UInt32Array = rows_that(&pending.said).collect();
        let before = pending.columns(now)?;
        let changed = changed(&known, &before, now)?;
        let steps = there.len() + changed.len();
        let mut kinds = Vec::with_capacity(steps);
        // Of which of the pending groups each change is, and which of the values before and, behind them, of those after it has.
        let (mut groups, mut rows) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
        let mut before_row = 0;
        for (group, (said, there)) in (0..).zip(pending.said.iter().zip(there)) {
            let after_row = known.len() as u32 + group;
            match (said, there) {
                (true, true) if changed.value(before_row as usize) => {
                    kinds.extend_from_slice(&[RowKind::UpdateBefore, RowKind::UpdateAfter]);
                    groups.extend_from_slice(&[group, group]);
                    rows.extend_from_slice(&[before_row, after_row]);
                }
                (true, true) | (false, false) => {}
                (true, false) => {
                    kinds.push(RowKind::Delete);
                    groups.push(group);
                    rows.push(before_row);
                }
                (false, true) => {
                    kinds.push(RowKind::Insert);
                    groups.push(group);
                    rows.push(after_row);
                }
            }
            before_row += u32::from(*said);
        }
        let values =
            before.iter().zip(now).map(|(before, now)| concat(&[before, now])).collect::<Result<Vec<_>, _>>()?;
        let mut columns = take_arrays(keys, &UInt32Array::from(groups), None)?;
        columns.extend(take_arrays(&values, &UInt32Array::from(rows), None)?);
        Ok(Steps { kinds, columns })
    }

    /// Without the updates that begin at those rows.
    fn without(mut self, updates: &[usize]) -> Result<Steps> {
        let mut kept = vec![true; self.kinds.len()];
        updates.iter().for_each(|row| kept[*row..*row + 2].fill(false));
        let mut each = kept.iter();
        self.kinds.retain(|_| each.next().is_some_and(|kept| *kept));
        let kept = BooleanArray::from(kept);
        self.columns = self.columns.iter().map(|column| filter(column, &kept)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// The rows of some of the changes.
    pub fn columns(&self, part: Range<usize>) -> Vec<ArrayRef> {
        self.columns.iter().map(|column| column.slice(part.start, part.len())).collect()
    }
}

/// Which rows that is said of.
fn rows_that(said: &[bool]) -> impl Iterator<Item = u32> + '_ {
    (0..).zip(said).filter(|(_, said)| **said).map(|(row, _)| row)
}

/// Whether each of some rows of a column differs from the next. Two NULLs do not, and neither do two NaN.
fn differ_from_next(column: &ArrayRef, rows: &[usize]) -> BooleanBuffer {
    downcast_primitive_array! {
        column => {
            let values = column.values();
            let differ = |row: usize| values[row].is_ne(values[row + 1]);
            match column.nulls() {
                None => BooleanBuffer::collect_bool(rows.len(), |pair| differ(rows[pair])),
                Some(nulls) => BooleanBuffer::collect_bool(rows.len(), |pair| {
                    let (row, valid) = (rows[pair], nulls.is_valid(rows[pair]));
                    valid != nulls.is_valid(row + 1) || valid && differ(row)
                }),
            }
        }
        // Records hold nothing but numbers.
        _ => BooleanBuffer::new_set(rows.len()),
    }
}

/// Some rows of a column, in order; the column as it is if they are all.
fn taken(column: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef> {
    Ok(if rows.len() == column.len() { column.clone() } else { take(column, rows, None)? })
}

/// For each group that was said, in order, whether its values are others now. `known` has where those groups are.
fn changed(known: &UInt32Array, before: &[ArrayRef], after: &[ArrayRef]) -> Result<BooleanBuffer> {
    let mut changed = BooleanBuffer::new_unset(known.len());
    for (before, after) in before.iter().zip(after) {
        changed = &changed | &differs(before, &taken(after, known)?)?;
        // A count of rows has always changed.
        if changed.count_set_bits() == changed.len() {
            break;
        }
    }
    Ok(changed)
}

impl Standings {
    fn grow(&mut self, slots: usize) {
        grow_to(&mut self.words, slots.div_ceil(GROUPS_PER_WORD), 0);
    }

    /// The word of a group, and where in it its bits are.
    #[inline]
    fn place(group: u32) -> (usize, usize) {
        (group as usize / GROUPS_PER_WORD, group as usize % GROUPS_PER_WORD * 2)
    }

    /// Makes groups pending. Gives where those stand among them that were not, and whether each of these was said.
    ///
    /// What is noted of a row that does not count is written over by the next: a branch that goes either way costs more.
    fn touch(&mut self, groups: &[u32]) -> (Vec<u32>, Vec<bool>) {
        let words = self.words.as_mut_slice();
        let (mut first, mut said, mut touched) = (vec![0; groups.len()], vec![false; groups.len()], 0);
        for (row, group) in groups.iter().enumerate() {
            let (word, shift) = Standings::place(*group);
            let standing = words[word] >> shift;
            words[word] |= IS_PENDING << shift;
            first[touched] = row as u32;
            said[touched] = standing & IS_SAID != 0;
            touched += usize::from(standing & IS_PENDING == 0);
        }
        first.truncate(touched);
        said.truncate(touched);
        (first, said)
    }

    /// A group is not pending, and the answer holds a row of it or not.
    #[inline]
    fn settle(&mut self, group: u32, said: bool) {
        let (word, shift) = Standings::place(group);
        let settled = if said { IS_SAID } else { 0 };
        self.words[word] = self.words[word] & !((IS_SAID | IS_PENDING) << shift) | settled << shift;
    }

    fn is_pending(&self, group: u32) -> bool {
        let (word, shift) = Standings::place(group);
        self.words[word] >> shift & IS_PENDING != 0
    }

    fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

impl Pending {
    /// Groups, and whether the answer holds a row of each; of those of which it does the values are still to be told.
    pub fn of(groups: Vec<u32>, said: Vec<bool>) -> Pending {
        Pending { groups, said, ..Pending::default() }
    }

    pub fn push_before(&mut self, part: Vec<ArrayRef>) {
        self.before_bytes += part.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
        self.before.push(part);
    }

    pub fn bytes(&self) -> usize {
        self.before_bytes + self.groups.capacity() * size_of::<u32>() + self.said.capacity()
    }

    /// The values as they were last said; columns without rows, like `like`, if there are none.
    pub fn columns(&self, like: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let column = |(index, like): (usize, &ArrayRef)| {
            let parts: Vec<&dyn Array> = self.before.iter().map(|part| part[index].as_ref()).collect();
            match parts.as_slice() {
                [] => Ok(like.slice(0, 0)),
                [_] => Ok(self.before[0][index].clone()),
                parts => concat(parts),
            }
        };
        Ok(like.iter().enumerate().map(column).collect::<Result<_, _>>()?)
    }
}

/// Whether all rows of a group say that key alike, which is of what `expr` gives: floats have two zeros and many NaN.
fn is_canonical((key, expr): (&ArrayRef, &Expr)) -> bool {
    let data_type = key.data_type();
    data_type == expr.data_type() && !data_type.is_floating() && !data_type.is_nested()
}

impl Operator for Changes {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        match self.interval {
            None => self.take_and_flush(batch, out),
            Some(interval) => {
                self.take(batch, out)?;
                self.due = self.due.or(Some(out.now() + interval));
                Ok(())
            }
        }
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        match self.due {
            _ if std::mem::take(&mut self.opening) => self.say_totals(out)?,
            Some(due) if due <= now => self.flush(out)?,
            Some(_) | None => {}
        }
        self.expire(now, out);
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        self.say_totals(out)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        if self.opening {
            return Some(Timestamp::MIN);
        }
        [self.due, self.groups.next_due()].into_iter().flatten().min()
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let mut snapshot = self.groups.save(since)?;
        if self.interval.is_some() {
            snapshot.tables.extend(self.save_pending()?.tables);
        }
        Ok(Some(snapshot))
    }

    fn state_size(&self) -> StateSize {
        let StateSize { rows, bytes } = self.groups.size();
        let copies = self.copies.as_ref().map_or(0, Records::bytes);
        StateSize { rows, bytes: bytes + self.standings.bytes() + self.pending.bytes() + copies }
    }
}
