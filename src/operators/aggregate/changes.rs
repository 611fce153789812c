//! `EMIT CHANGES` and `EMIT EVERY`: what has become of each group since it was last said.
//!
//! `CHANGES` says it after every batch; `EVERY` lets changes gather until the clock is due.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, filter, interleave, take};
use arrow::datatypes::Int64Type;

use crate::error::{InternalError, Result};
use crate::operators::rows::{differs, whole_updates};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::state::{Snapshot, grow_to, table};
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
    standings: Vec<Standing>,
    pending: Pending,
    due: Option<Timestamp>,
    /// Whether the totals over no rows, which are part of the answer from the start, are still to be said.
    opening: bool,
}

/// How a group stands.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// Whether the answer holds a row of it.
    said: bool,
    /// Whether it is pending.
    marked: bool,
}

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
        let mut changes = Changes { groups, interval, standings: vec![], pending, due: None, opening };
        changes.grow();
        for group in changes.groups.index.groups_in_order() {
            changes.standings[group as usize].said = changes.groups.is_there(group);
        }
        if let Some(last) = snapshots.last() {
            changes.restore_pending(last)?;
        }
        Ok(changes)
    }

    fn grow(&mut self) {
        let slots = self.groups.accumulators.slots();
        grow_to(&mut self.standings, slots, Standing::default());
    }

    /// Takes rows in, and says nothing of them yet.
    pub fn take(&mut self, batch: Batch, out: &mut Output) -> Result<()> {
        let (_, groups) = self.groups.number(&batch)?;
        self.touch(&groups)?;
        let (batch, admitted) = self.groups.admitted(batch, &groups, out)?;
        self.groups.update(&batch, &admitted, out.now())
    }

    /// Notes the values of groups as they were last said, before they change.
    fn touch(&mut self, groups: &[u32]) -> Result<()> {
        self.grow();
        let mut known = vec![];
        for group in groups {
            let standing = &mut self.standings[*group as usize];
            if std::mem::replace(&mut standing.marked, true) {
                continue;
            }
            self.pending.groups.push(*group);
            self.pending.said.push(standing.said);
            if standing.said {
                known.push(*group);
            }
        }
        if !known.is_empty() {
            self.pending.push_before(self.groups.accumulators.read(&known)?);
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
        let pending = std::mem::take(&mut self.pending);
        pending.groups.iter().for_each(|group| self.standings[*group as usize].marked = false);
        self.due = None;
        let after = self.groups.accumulators.read(&pending.groups)?;
        let before = pending.columns(&after)?;
        let steps = Steps::of(&pending, &before, &after, |group| self.groups.is_there(group))?;
        for part in whole_updates(&steps.kinds) {
            let groups = &steps.groups[part.clone()];
            let mut columns = self.groups.index.keys(groups)?;
            for (before, after) in before.iter().zip(&after) {
                columns.push(interleave(&[before.as_ref(), after.as_ref()], &steps.places[part.clone()])?);
            }
            let rows = self.groups.batch(columns, groups.len())?;
            out.push(match self.groups.appends {
                true => Batch::append_only(rows),
                false => Batch::changelog(rows, steps.kinds[part].iter().copied().collect::<RowKinds>()),
            });
        }
        self.settle(&pending, &steps);
        Ok(())
    }

    /// After the answer holds what is there, groups without rows are freed.
    fn settle(&mut self, pending: &Pending, steps: &Steps) {
        for (kind, group) in steps.kinds.iter().zip(&steps.groups) {
            match kind {
                RowKind::Insert => self.standings[*group as usize].said = true,
                RowKind::Delete => self.standings[*group as usize].said = false,
                RowKind::UpdateBefore | RowKind::UpdateAfter => {}
            }
        }
        if self.groups.retracts {
            let there = |group: &&u32| self.groups.is_there(**group);
            let gone: Vec<u32> = pending.groups.iter().filter(|group| !there(group)).copied().collect();
            self.groups.forget(&gone);
            self.grow();
        }
    }

    /// Forgets the groups that are due. One whose change has not been said yet stays until it was.
    fn expire(&mut self, now: Timestamp, out: &mut Output) {
        let (waiting, due): (Vec<u32>, Vec<u32>) =
            self.groups.due(now).into_iter().partition(|group| self.standings[*group as usize].marked);
        self.groups.touch(&waiting, now);
        out.expire(due.len());
        due.iter().for_each(|group| self.standings[*group as usize].said = false);
        self.groups.forget(&due);
    }

    fn save_pending(&mut self) -> Result<Snapshot> {
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
        for (row, group) in groups.iter().enumerate() {
            self.standings[*group as usize].said = said.value(row);
            self.standings[*group as usize].marked = true;
        }
        let before = values.iter().map(|column| filter(column, said)).collect::<Result<_, _>>()?;
        self.pending = Pending::of(groups, said.values().iter().collect());
        self.pending.push_before(before);
        Ok(())
    }
}

/// Changes in order, in columns.
pub(in crate::operators) struct Steps {
    pub kinds: Vec<RowKind>,
    pub groups: Vec<u32>,
    /// Where the values are: in the columns before (0) or after (1), and in which row.
    pub places: Vec<(usize, usize)>,
}

impl Steps {
    /// The changes of pending groups in order. `is_there` says whether a group is part of the answer now.
    pub fn of(
        pending: &Pending,
        before: &[ArrayRef],
        after: &[ArrayRef],
        is_there: impl Fn(u32) -> bool,
    ) -> Result<Steps> {
        let changed = changed(pending, before, after)?;
        let mut steps = Steps::with_capacity(pending.groups.len() + changed.len());
        let mut place = 0;
        for (row, (group, said)) in pending.groups.iter().zip(&pending.said).enumerate() {
            match (said, is_there(*group)) {
                (true, true) if changed.value(place) => {
                    steps.push(RowKind::UpdateBefore, *group, (0, place));
                    steps.push(RowKind::UpdateAfter, *group, (1, row));
                }
                (true, true) => {}
                (true, false) => steps.push(RowKind::Delete, *group, (0, place)),
                (false, true) => steps.push(RowKind::Insert, *group, (1, row)),
                (false, false) => {}
            }
            place += usize::from(*said);
        }
        Ok(steps)
    }

    fn with_capacity(steps: usize) -> Steps {
        Steps { kinds: Vec::with_capacity(steps), groups: Vec::with_capacity(steps), places: Vec::with_capacity(steps) }
    }

    fn push(&mut self, kind: RowKind, group: u32, place: (usize, usize)) {
        self.kinds.push(kind);
        self.groups.push(group);
        self.places.push(place);
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

/// For each group that was said, in order, whether its values are others now.
fn changed(pending: &Pending, before: &[ArrayRef], after: &[ArrayRef]) -> Result<BooleanBuffer> {
    let known = pending.said.iter().enumerate().filter(|(_, said)| **said).map(|(row, _)| row as u32);
    let known = UInt32Array::from_iter_values(known);
    let mut changed = BooleanBuffer::new_unset(known.len());
    for (before, after) in before.iter().zip(after) {
        let after = if known.len() == after.len() { after.clone() } else { take(after, &known, None)? };
        changed = &changed | &differs(before, &after)?;
        // A count of rows has always changed.
        if changed.count_set_bits() == changed.len() {
            break;
        }
    }
    Ok(changed)
}

impl Operator for Changes {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        self.take(batch, out)?;
        match self.interval {
            None => self.flush(out),
            Some(interval) => {
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
        StateSize { rows, bytes: bytes + self.standings.capacity() * size_of::<Standing>() + self.pending.bytes() }
    }
}
