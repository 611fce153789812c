//! `EMIT CHANGES` and `EMIT EVERY`: what has become of each group since it was last said.
//!
//! `CHANGES` says it after every batch; `EVERY` lets changes gather until the clock is due.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, DynComparator, Int64Array, make_comparator};
use arrow::compute::{SortOptions, concat, interleave};
use arrow::datatypes::Int64Type;

use crate::error::{InternalError, Result};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::state::{Snapshot, table};
use crate::types::{Batch, Epoch, Interval, RowKind, RowKinds, Timestamp};

use super::{BATCH_ROWS, Groups};

/// Keys, then the values as they were last said, then whether they were said at all.
const PENDING: &str = "pending";
/// When the pending changes are due.
const DUE: &str = "due";

/// Says changes.
pub(super) struct Changes {
    groups: Groups,
    interval: Option<Interval>,
    /// For each group whether the answer holds a row of it.
    said: Vec<bool>,
    pending: Pending,
    due: Option<Timestamp>,
}

/// The groups that may have changed since they were last said, in the order in which they were first touched.
#[derive(Default)]
struct Pending {
    groups: Vec<u32>,
    /// Where in `before` the row of each group is, as it was last said.
    places: Vec<Option<usize>>,
    /// Rows as they were last said: parts of columns, keys first.
    before: Vec<Vec<ArrayRef>>,
    held: usize,
    marked: Vec<bool>,
}

impl Changes {
    pub fn new(groups: Groups, interval: Option<Interval>, snapshots: &[Snapshot]) -> Result<Changes> {
        let mut changes = Changes { groups, interval, said: vec![], pending: Pending::default(), due: None };
        changes.grow();
        for group in changes.groups.index.groups_in_order() {
            changes.said[group as usize] = changes.groups.is_there(group);
        }
        if let Some(last) = snapshots.last() {
            changes.restore_pending(last)?;
        }
        Ok(changes)
    }

    fn grow(&mut self) {
        let slots = self.groups.rows.len();
        self.said.resize(slots.max(self.said.len()), false);
        self.pending.marked.resize(slots.max(self.pending.marked.len()), false);
    }

    /// Notes the rows of groups as they were last said, before they change.
    fn touch(&mut self, groups: &[u32]) -> Result<()> {
        self.grow();
        let mut known = vec![];
        for group in groups {
            if std::mem::replace(&mut self.pending.marked[*group as usize], true) {
                continue;
            }
            self.pending.groups.push(*group);
            let said = self.said[*group as usize];
            self.pending.places.push(said.then_some(self.pending.held + known.len()));
            if said {
                known.push(*group);
            }
        }
        if !known.is_empty() {
            self.pending.before.push(self.groups.columns(&known)?);
            self.pending.held += known.len();
        }
        Ok(())
    }

    /// Says what has become of the pending groups.
    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.due = None;
        let after = self.groups.columns(&pending.groups)?;
        let before = pending.columns(&after)?;
        let steps = self.steps(&pending, &before, &after)?;
        for steps in batches(&steps) {
            let places: Vec<(usize, usize)> = steps.iter().map(|(_, place)| *place).collect();
            let columns = before.iter().zip(&after);
            let columns = columns.map(|(before, after)| interleave(&[before.as_ref(), after.as_ref()], &places));
            let rows = self.groups.batch(columns.collect::<Result<_, _>>()?, steps.len())?;
            out.push(match self.groups.appends {
                true => Batch::append_only(rows),
                false => Batch::changelog(rows, steps.iter().map(|(kind, _)| *kind).collect::<RowKinds>()),
            });
        }
        self.settle(&pending.groups);
        Ok(())
    }

    /// The changes in order: the kind, and the row in the columns before (0) or after (1).
    fn steps(&self, pending: &Pending, before: &[ArrayRef], after: &[ArrayRef]) -> Result<Vec<Step>> {
        let values = self.groups.keys.len()..after.len();
        let compare = values
            .map(|column| make_comparator(&before[column], &after[column], SortOptions::default()))
            .collect::<Result<Vec<DynComparator>, _>>()?;
        let mut steps: Vec<Step> = Vec::with_capacity(2 * pending.groups.len());
        for (row, (group, place)) in pending.groups.iter().zip(&pending.places).enumerate() {
            match (place, self.groups.is_there(*group)) {
                (Some(place), true) => {
                    if compare.iter().any(|compare| compare(*place, row).is_ne()) {
                        steps.push((RowKind::UpdateBefore, (0, *place)));
                        steps.push((RowKind::UpdateAfter, (1, row)));
                    }
                }
                (Some(place), false) => steps.push((RowKind::Delete, (0, *place))),
                (None, true) => steps.push((RowKind::Insert, (1, row))),
                (None, false) => {}
            }
        }
        Ok(steps)
    }

    /// After the answer holds what is there, groups without rows are freed.
    fn settle(&mut self, groups: &[u32]) {
        let mut gone = vec![];
        for group in groups {
            let there = self.groups.is_there(*group);
            self.said[*group as usize] = there;
            if !there {
                gone.push(*group);
            }
        }
        self.groups.forget(&gone);
        self.grow();
    }

    fn save_pending(&mut self) -> Result<Snapshot> {
        let after = self.groups.columns(&self.pending.groups)?;
        let before = self.pending.columns(&after)?;
        // A group that was never said has no row before; its keys are what matters, so the row after stands in.
        let places: Vec<(usize, usize)> = self
            .pending
            .places
            .iter()
            .enumerate()
            .map(|(row, place)| place.map_or((1, row), |place| (0, place)))
            .collect();
        let columns = before.iter().zip(&after);
        let columns = columns.map(|(before, after)| interleave(&[before.as_ref(), after.as_ref()], &places));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        columns.push(Arc::new(self.pending.places.iter().map(|place| Some(place.is_some())).collect::<BooleanArray>()));
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
        let mut groups = vec![];
        let keys = columns.get(..self.groups.keys.len()).ok_or_else(missing)?;
        self.groups.index.intern(keys, saved.num_rows(), &mut groups)?;
        self.groups.grow();
        self.grow();
        for (row, group) in groups.iter().enumerate() {
            self.said[*group as usize] = said.value(row);
            self.pending.marked[*group as usize] = true;
            self.pending.places.push(said.value(row).then_some(row));
        }
        self.pending.held = saved.num_rows();
        self.pending.before.push(columns.to_vec());
        self.pending.groups = groups;
        Ok(())
    }
}

type Step = (RowKind, (usize, usize));

/// Cuts changes into batches; an update is never cut in two.
fn batches(steps: &[Step]) -> Vec<&[Step]> {
    let mut parts = vec![];
    let mut rest = steps;
    while !rest.is_empty() {
        let mut end = BATCH_ROWS.min(rest.len());
        if end < rest.len() && rest[end - 1].0 == RowKind::UpdateBefore {
            end -= 1;
        }
        let (part, others) = rest.split_at(end);
        parts.push(part);
        rest = others;
    }
    parts
}

impl Pending {
    /// The rows as they were last said; columns without rows, like `like`, if there are none.
    fn columns(&self, like: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let column = |(index, like): (usize, &ArrayRef)| {
            let parts: Vec<&dyn Array> = self.before.iter().map(|part| part[index].as_ref()).collect();
            match parts.is_empty() {
                true => Ok(like.slice(0, 0)),
                false => concat(&parts),
            }
        };
        Ok(like.iter().enumerate().map(column).collect::<Result<_, _>>()?)
    }
}

impl Operator for Changes {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let (_, groups) = self.groups.number(&batch)?;
        self.touch(&groups)?;
        self.groups.update(&batch, &groups)?;
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
            Some(due) if due <= now => self.flush(out),
            Some(_) | None => Ok(()),
        }
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        // SQL's answer over no rows still has its totals.
        self.groups.note_totals()?;
        let totals = self.groups.always.clone();
        self.touch(&totals)?;
        self.flush(out)
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.due
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let mut snapshot = self.groups.save(since)?;
        if self.interval.is_some() {
            snapshot.tables.extend(self.save_pending()?.tables);
        }
        Ok(Some(snapshot))
    }

    fn state_size(&self) -> StateSize {
        self.groups.size()
    }
}
