//! Lookups as of now: each left row with the right rows that are there when it arrives.
//!
//! ```text
//! right:  +I (a, 1)              -U (a, 1) +U (a, 2)
//! left:               (a, L1)                          (a, L2)
//! out:                (a, L1) (a, 1)                   (a, L2) (a, 2)
//! ```
//!
//! What becomes of the right side later changes nothing that was said. Of left rows that stay nothing is kept; if they
//! may go, what was said of each is kept, as it was said.

mod held;
mod said;
#[cfg(test)]
mod tests;

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::operators::join::store::Store;
use crate::operators::matching::{NONE, Pairs};
use crate::operators::rows::{BATCH_ROWS, record_batch, take_rows, whole_updates};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::{ChangelogMode, JoinKind, LookupJoin};
use crate::state::{RowId, Snapshot, canonical};
use crate::types::{Batch, Epoch, RowKind};

use held::Held;
use said::Said;

/// The operator of `node`.
pub fn build(node: &LookupJoin, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let mut held = Held::new(node)?;
    held.restore(snapshots)?;
    let said = match node.input_modes[0] {
        ChangelogMode::AppendOnly => None,
        ChangelogMode::Changelog => {
            let mut said = Said::new(&node.inputs[0].schema(), &node.inputs[1].schema())?;
            said.restore(snapshots)?;
            Some(said)
        }
    };
    Ok(Box::new(Lookup { keeps_lone: node.kind == JoinKind::Left, schema: node.schema.clone(), held, said }))
}

/// Whether the rows of both sides can be kept as far as they have to be; if not, the error says why.
pub fn check_sides(node: &LookupJoin) -> Result<()> {
    for (input, mode) in node.inputs.iter().zip(node.input_modes) {
        Store::new(&input.schema(), mode)?;
    }
    Ok(())
}

struct Lookup {
    /// Whether a left row without a match is said.
    keeps_lone: bool,
    schema: SchemaRef,
    held: Held,
    /// What was said of left rows, if they may go.
    said: Option<Said>,
}

impl Operator for Lookup {
    fn on_batch(&mut self, port: Port, batch: Batch, out: &mut Output) -> Result<()> {
        match (port.0, self.said.is_some()) {
            (0, false) => self.look_up(&batch, out),
            (0, true) => {
                for from in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                    self.follow(&batch.slice(from, BATCH_ROWS.min(batch.num_rows() - from)), out)?;
                }
                Ok(())
            }
            (_, _) => self.held.take_in(&batch),
        }
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let mut tables = self.held.save(since)?;
        if let Some(said) = &mut self.said {
            tables.extend(said.save(since)?);
        }
        Ok(Some(Snapshot { tables }))
    }

    fn state_size(&self) -> StateSize {
        let said = self.said.as_ref();
        StateSize {
            rows: self.held.len() + said.map_or(0, Said::len),
            bytes: self.held.bytes() + said.map_or(0, Said::bytes),
        }
    }
}

impl Lookup {
    /// Left rows come, and stay.
    fn look_up(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let Lookup { held, schema, keeps_lone, .. } = self;
        let mut answer = Answer { batch, schema, keeps_lone: *keeps_lone, left: vec![], right: vec![], answered: 0 };
        held.find(batch.rows(), |held, pairs| {
            answer.note(pairs);
            answer.say(BATCH_ROWS, held, out)
        })?;
        answer.note_lone(batch.num_rows() as u32);
        answer.say(1, held, out)
    }

    /// Left rows come and go.
    fn follow(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let rows = batch.rows();
        let rows = record_batch(&rows.schema(), rows.columns().iter().map(canonical).collect(), rows.num_rows())?;
        let Some(said) = &mut self.said else { return Ok(()) };
        let lefts = said.number(&rows)?;
        let mut coming = kept_matches(&mut self.held, said, batch, &rows)?.into_iter();
        let mut noted = Noted::default();
        for (row, left) in lefts.iter().enumerate() {
            let kind = batch.kind(row);
            let right = match kind.weight() > 0 {
                true => {
                    let right = coming.next().unwrap_or_default();
                    said.say(*left, right.clone());
                    right
                }
                false => said.take_back(*left)?,
            };
            noted.row(row as u32, right, kind, self.keeps_lone);
        }
        for part in whole_updates(&noted.kinds) {
            let left = UInt32Array::from(noted.left[part.clone()].to_vec());
            let own = rows.columns().iter().map(|column| take(column, &left, None));
            let mut columns = own.collect::<Result<Vec<ArrayRef>, _>>()?;
            columns.extend(said.gather(&noted.right[part.clone()])?);
            let kinds = noted.kinds[part.clone()].iter().copied().collect();
            out.push(Batch::changelog(record_batch(&self.schema, columns, part.len())?, kinds));
            out.check_room(self.held.bytes() + said.bytes())?;
        }
        said.forget(lefts)
    }
}

/// For each row of the batch that comes, where the copies of its matches lie.
fn kept_matches(held: &mut Held, said: &mut Said, batch: &Batch, rows: &RecordBatch) -> Result<Vec<Range<RowId>>> {
    let coming: Vec<u32> = (0..batch.num_rows() as u32).filter(|row| batch.kind(*row as usize).weight() > 0).collect();
    let (mut counts, mut first) = (vec![0; coming.len()], None);
    let rows =
        if coming.len() == rows.num_rows() { rows.clone() } else { take_rows(rows, &UInt32Array::from(coming))? };
    held.find(&rows, |held, pairs| {
        pairs.own.iter().for_each(|row| counts[*row as usize] += 1);
        let kept = said.keep(held.gather(&pairs.other)?, pairs.other.len())?;
        first.get_or_insert(kept);
        Ok(())
    })?;
    let mut next = first.unwrap_or_default();
    let range = |count: usize| {
        next += count;
        next - count..next
    };
    Ok(counts.into_iter().map(range).collect())
}

/// What is said of left rows that stay: by number, each beside a row that is held, or none.
struct Answer<'a> {
    batch: &'a Batch,
    schema: &'a SchemaRef,
    keeps_lone: bool,
    left: Vec<u32>,
    right: Vec<u32>,
    /// The rows before it have been answered.
    answered: u32,
}

impl Answer<'_> {
    fn note(&mut self, pairs: Pairs) {
        if !self.keeps_lone && self.left.is_empty() {
            (self.left, self.right) = (pairs.own, pairs.other);
            return;
        }
        for (left, right) in pairs.own.into_iter().zip(pairs.other) {
            self.note_lone(left);
            self.answered = left + 1;
            self.left.push(left);
            self.right.push(right);
        }
    }

    /// Notes that the rows before `until` that have not been answered have no match.
    fn note_lone(&mut self, until: u32) {
        if self.keeps_lone && self.answered < until {
            self.left.extend(self.answered..until);
            self.right.resize(self.left.len(), NONE);
            self.answered = until;
        }
    }

    /// Says what is noted, if it is at least so many rows.
    fn say(&mut self, least: usize, held: &Held, out: &mut Output) -> Result<()> {
        if self.left.len() < least {
            return Ok(());
        }
        let (left, right) = (std::mem::take(&mut self.left), std::mem::take(&mut self.right));
        let rows = left.len();
        let watermarks = self.batch.watermarks_of(left.iter().map(|row| *row as usize));
        let own = self.batch.rows().columns();
        // Most often each row has one match, and the columns are what they were.
        let mut columns = match left.iter().copied().eq(0..self.batch.num_rows() as u32) {
            true => own.to_vec(),
            false => {
                let left = UInt32Array::from(left);
                own.iter().map(|column| take(column, &left, None)).collect::<Result<Vec<ArrayRef>, _>>()?
            }
        };
        columns.extend(held.gather(&right)?);
        out.push(Batch::append_only(record_batch(self.schema, columns, rows)?).with_watermarks(watermarks));
        out.check_room(held.bytes())
    }
}

/// What is said of left rows that come and go, each beside a right row that is kept, or none.
#[derive(Default)]
struct Noted {
    left: Vec<u32>,
    right: Vec<Option<RowId>>,
    kinds: Vec<RowKind>,
}

impl Noted {
    /// A left row comes or goes with its matches.
    fn row(&mut self, left: u32, right: Range<RowId>, kind: RowKind, keeps_lone: bool) {
        let before = self.left.len();
        let lone = right.is_empty() && keeps_lone;
        self.right.extend(right.map(Some).chain(lone.then_some(None)));
        self.left.resize(self.right.len(), left);
        let came_or_went = if kind.weight() > 0 { RowKind::Insert } else { RowKind::Delete };
        self.kinds.resize(self.right.len(), came_or_went);
        // An update of a row that is said once before and after is one.
        let halves =
            before.checked_sub(1).filter(|half| self.left[*half] + 1 == left && self.right.len() == before + 1);
        if let (RowKind::UpdateAfter, Some(half)) = (kind, halves)
            && before.checked_sub(2).is_none_or(|other| self.left[other] != self.left[half])
        {
            self.kinds[half] = RowKind::UpdateBefore;
            self.kinds[before] = RowKind::UpdateAfter;
        }
    }
}
