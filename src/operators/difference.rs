//! From one answer over some partitions to the next, by as few changes as there can be.
//!
//! ```text
//! before   a   b   c          after   x   a   b
//!                             by row:     -U c  +U x
//!                             by place:   -U 1 a  +U 1 x    -U 2 b  +U 2 a    -U 3 c  +U 3 b
//! ```

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::operators::Output;
use crate::operators::rows::{differs, push_sliced, record_batch, whole_updates};
use crate::state::{OrderedRows, grow_to};
use crate::types::{Batch, RowKind};

/// The answer over some partitions: rows in order, and what is said beside each.
#[derive(Default)]
pub(super) struct Answer {
    /// The rows, partition after partition.
    pub rows: Vec<u32>,
    /// Where the rows of each partition end.
    pub ends: Vec<usize>,
    /// What is said beside the rows.
    pub columns: Vec<ArrayRef>,
}

impl Answer {
    /// Where the rows of each partition are.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| start..*end)
    }

    /// Says all rows, as rows that are only added.
    pub fn say(&self, kept: &OrderedRows, schema: &SchemaRef, out: &mut Output) -> Result<()> {
        let mut columns = kept.gather(&self.rows)?;
        columns.extend(self.columns.iter().cloned());
        push_sliced(&record_batch(schema, columns, self.rows.len())?, out);
        Ok(())
    }
}

/// What of the answer before stands against what of the answer after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairing {
    /// A row against itself.
    ByRow,
    /// A place in the order of a partition against the same place: the place is a key of the answer.
    ByPlace,
}

/// Which partitions are touched, each once.
#[derive(Default)]
pub(super) struct Touched {
    marks: Vec<bool>,
}

impl Touched {
    /// The partitions, each once, in order.
    pub fn once(&mut self, partitions: &[u32]) -> Vec<u32> {
        let mut once = vec![];
        for partition in partitions {
            grow_to(&mut self.marks, *partition as usize + 1, false);
            if !std::mem::replace(&mut self.marks[*partition as usize], true) {
                once.push(*partition);
            }
        }
        once.iter().for_each(|partition| self.marks[*partition as usize] = false);
        once
    }
}

/// Says what has become of the answer.
pub(super) fn say_changes(
    kept: &OrderedRows,
    (before, after): (&Answer, &Answer),
    pairing: Pairing,
    schema: &SchemaRef,
    out: &mut Output,
) -> Result<()> {
    let mut meetings = Meetings::default();
    for (before_rows, after_rows) in before.ranges().zip(after.ranges()) {
        match pairing {
            Pairing::ByRow => meetings.by_row(kept, before, before_rows, after, after_rows),
            Pairing::ByPlace => meetings.by_place(kept, before, before_rows, after, after_rows),
        }
    }
    let steps = meetings.steps(before, after)?;
    for part in whole_updates(&steps.kinds) {
        let mut columns = kept.gather(&steps.rows[part.clone()])?;
        for (before, after) in before.columns.iter().zip(&after.columns) {
            columns.push(interleave(&[before.as_ref(), after.as_ref()], &steps.places[part.clone()])?);
        }
        let rows = record_batch(schema, columns, part.len())?;
        out.push(Batch::changelog(rows, steps.kinds[part].iter().copied().collect()));
    }
    Ok(())
}

/// What stands against what: places in the answer before and after.
#[derive(Default)]
struct Meetings {
    met: Vec<Meeting>,
    gone: Vec<usize>,
    come: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Meeting {
    /// The same row, or one that is alike: only what is said beside it may differ.
    Same(usize, usize),
    /// Another row in its place.
    Replaced(usize, usize),
    Gone(usize),
    Come(usize),
}

impl Meetings {
    /// Both answers are in the same order, so what is in both is found by going along them.
    fn by_row(
        &mut self,
        kept: &OrderedRows,
        before: &Answer,
        mut was: Range<usize>,
        after: &Answer,
        mut is: Range<usize>,
    ) {
        while let (Some(one), Some(other)) = (before.rows[was.clone()].first(), after.rows[is.clone()].first()) {
            match if one == other { Ordering::Equal } else { kept.compare(*one, *other) } {
                Ordering::Equal => {
                    self.met.push(Meeting::Same(was.start, is.start));
                    (was.start, is.start) = (was.start + 1, is.start + 1);
                }
                Ordering::Less => {
                    self.gone.push(was.start);
                    was.start += 1;
                }
                Ordering::Greater => {
                    self.come.push(is.start);
                    is.start += 1;
                }
            }
        }
        self.gone.extend(was);
        self.come.extend(is);
        self.match_alike(kept, before, after);
        let (gone, come) = (std::mem::take(&mut self.gone), std::mem::take(&mut self.come));
        let both = gone.len().min(come.len());
        self.met.extend(gone.iter().zip(&come).map(|(was, is)| Meeting::Replaced(*was, *is)));
        self.met.extend(gone[both..].iter().map(|was| Meeting::Gone(*was)));
        self.met.extend(come[both..].iter().map(|is| Meeting::Come(*is)));
    }

    /// A row that has gone and one that has come are the same to the answer if they are alike.
    fn match_alike(&mut self, kept: &OrderedRows, before: &Answer, after: &Answer) {
        if self.gone.is_empty() || self.come.is_empty() {
            return;
        }
        let mut alike: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for was in self.gone.iter().rev() {
            alike.entry(kept.row(before.rows[*was])).or_default().push(*was);
        }
        let met = &mut self.met;
        self.come.retain(|is| match alike.get_mut(kept.row(after.rows[*is])).and_then(Vec::pop) {
            Some(was) => {
                met.push(Meeting::Same(was, *is));
                false
            }
            None => true,
        });
        let mut left: Vec<usize> = alike.into_values().flatten().collect();
        left.sort_unstable();
        self.gone = left;
    }

    fn by_place(&mut self, kept: &OrderedRows, before: &Answer, was: Range<usize>, after: &Answer, is: Range<usize>) {
        let both = was.len().min(is.len());
        for (was, is) in was.clone().zip(is.clone()) {
            let (one, other) = (before.rows[was], after.rows[is]);
            let alike = one == other || kept.row(one) == kept.row(other);
            self.met.push(if alike { Meeting::Same(was, is) } else { Meeting::Replaced(was, is) });
        }
        self.met.extend(was.skip(both).map(Meeting::Gone));
        self.met.extend(is.skip(both).map(Meeting::Come));
    }

    /// The changes: of what stands against itself only what differs in what is said beside it.
    fn steps(&self, before: &Answer, after: &Answer) -> Result<Steps> {
        let changed = self.changed(before, after)?;
        let mut steps = Steps::default();
        let mut nth = 0;
        for meeting in &self.met {
            match *meeting {
                Meeting::Same(was, is) => {
                    if changed.value(nth) {
                        steps.update(before, was, after, is);
                    }
                    nth += 1;
                }
                Meeting::Replaced(was, is) => steps.update(before, was, after, is),
                Meeting::Gone(was) => steps.push(RowKind::Delete, before.rows[was], (0, was)),
                Meeting::Come(is) => steps.push(RowKind::Insert, after.rows[is], (1, is)),
            }
        }
        Ok(steps)
    }

    /// For each row that is in both answers whether what is said beside it differs.
    fn changed(&self, before: &Answer, after: &Answer) -> Result<BooleanBuffer> {
        let same = self.met.iter().filter_map(|meeting| match meeting {
            Meeting::Same(was, is) => Some((*was as u32, *is as u32)),
            Meeting::Replaced(..) | Meeting::Gone(_) | Meeting::Come(_) => None,
        });
        let (was, is): (Vec<u32>, Vec<u32>) = same.unzip();
        let (was, is) = (UInt32Array::from(was), UInt32Array::from(is));
        let mut changed = BooleanBuffer::new_unset(was.len());
        for (before, after) in before.columns.iter().zip(&after.columns) {
            changed = &changed | &differs(&take(before, &was, None)?, &take(after, &is, None)?)?;
        }
        Ok(changed)
    }
}

/// Changes in order, in columns.
#[derive(Default)]
struct Steps {
    kinds: Vec<RowKind>,
    rows: Vec<u32>,
    /// Where what is said beside the row is: in the answer before (0) or after (1), and in which place.
    places: Vec<(usize, usize)>,
}

impl Steps {
    fn push(&mut self, kind: RowKind, row: u32, place: (usize, usize)) {
        self.kinds.push(kind);
        self.rows.push(row);
        self.places.push(place);
    }

    fn update(&mut self, before: &Answer, was: usize, after: &Answer, is: usize) {
        self.push(RowKind::UpdateBefore, before.rows[was], (0, was));
        self.push(RowKind::UpdateAfter, after.rows[is], (1, is));
    }
}
