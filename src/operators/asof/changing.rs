//! An ASOF join of rows that may come at any time, and go: a left row is said at once, and corrected.
//!
//! ```text
//! left +I (a, 9)       out: nothing
//! right +I (a, 4)      out: +I (a, 9) (a, 4)
//! right +I (a, 7)      out: -U (a, 9) (a, 4), +U (a, 9) (a, 7)     for the left rows from 7 to the next right row
//! right -D (a, 7)      out: -U (a, 9) (a, 7), +U (a, 9) (a, 4)
//! ```
//!
//! Both sides are kept in the order of time. Looking ahead is looking back in the descending order.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::SchemaRef;

use super::Arrival;
use crate::error::Result;
use crate::expr::Expr;
use crate::operators::matching::{NONE, gather_with_nulls};
use crate::operators::rows::{BATCH_ROWS, record_batch, whole_updates};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::{AsofJoin, JoinKind};
use crate::state::{Encoded, Equals, OrderedRows, Snapshot, StateTable};
use crate::types::{Batch, Epoch, RowKind};

/// The left side's tables come first in a snapshot: this one, of no columns, has as many rows.
const LEFT_TABLES: &str = "left tables";

/// The operator of a join that corrects what it has said.
pub(super) fn build(node: &AsofJoin, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let types: Vec<_> = node.keys[0].iter().map(|key| key.data_type().clone()).collect();
    let options = SortOptions { descending: !node.nearest.looks_back(), nulls_first: true };
    let side = |side: usize| -> Result<Side> {
        let order = [(node.times[side].data_type().clone(), options)];
        let rows = OrderedRows::new(&node.inputs[side].schema(), &types, &order, Equals::ByValue)?;
        Ok(Side { keys: node.keys[side].clone(), time: node.times[side].clone(), rows })
    };
    let mut join = Changing {
        or_equal: node.nearest.or_equal(),
        keeps_lone: node.kind == JoinKind::Left,
        schema: node.schema.clone(),
        sides: [side(0)?, side(1)?],
        said: Said::default(),
    };
    join.restore(snapshots)?;
    Ok(Box::new(join))
}

/// Whether the rows of a side can be kept; if not, the error says why.
pub(super) fn check_side(schema: &SchemaRef) -> Result<()> {
    OrderedRows::new(schema, &[], &[], Equals::ByValue).map(drop)
}

struct Changing {
    or_equal: bool,
    keeps_lone: bool,
    schema: SchemaRef,
    sides: [Side; 2],
    said: Said,
}

struct Side {
    keys: Vec<Expr>,
    time: Expr,
    rows: OrderedRows,
}

/// What is to be said: rows of the left side, by number or as they came, each beside a right one.
#[derive(Default)]
struct Said {
    left: Vec<u32>,
    right: Vec<u32>,
    kinds: Vec<RowKind>,
}

impl Said {
    fn push(&mut self, left: u32, right: u32, kind: RowKind) {
        self.left.push(left);
        self.right.push(right);
        self.kinds.push(kind);
    }
}

impl Operator for Changing {
    fn on_batch(&mut self, port: Port, batch: Batch, out: &mut Output) -> Result<()> {
        for from in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            let rows = BATCH_ROWS.min(batch.num_rows() - from);
            match port.0 {
                0 => self.lefts(&batch.slice(from, rows), out)?,
                _ => self.rights(&batch.slice(from, rows), out)?,
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let mut tables = self.sides[0].rows.save(since)?;
        let left = crate::state::table(LEFT_TABLES, vec![], tables.len())?;
        tables.extend(self.sides[1].rows.save(since)?);
        tables.push(left);
        Ok(Some(Snapshot { tables }))
    }

    fn state_size(&self) -> StateSize {
        let said = self.said.left.capacity() * 3 * size_of::<u32>();
        let rows = self.sides.iter().map(|side| side.rows.num_rows()).sum();
        StateSize { rows, bytes: said + self.sides.iter().map(|side| side.rows.bytes()).sum::<usize>() }
    }
}

impl Changing {
    fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let (mut lefts, mut rights) = (vec![], vec![]);
        for snapshot in snapshots {
            let left = snapshot.table(LEFT_TABLES).map_or(0, RecordBatch::num_rows).min(snapshot.tables.len());
            let (left, right) = snapshot.tables.split_at(left);
            let of = |tables: &[StateTable]| Snapshot { tables: tables.to_vec() };
            lefts.push(of(left));
            rights.push(of(right));
        }
        for (side, snapshots) in self.sides.iter_mut().zip([lefts, rights]) {
            let time = &side.time;
            side.rows.restore(&snapshots, |rows| Ok(vec![time.evaluate(rows)?]))?;
        }
        Ok(())
    }

    /// Left rows come and go, each with the right row that is the nearest now.
    fn lefts(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let arrival = Arrival::of(batch, &self.sides[0].keys, &self.sides[0].time)?;
        let encoded = self.sides[0].rows.encode(std::slice::from_ref(&arrival.times), batch.rows())?;
        let places = self.partitions(&arrival, batch.num_rows())?;
        let mut gone = vec![];
        for row in 0..batch.num_rows() {
            let kind = batch.kind(row);
            let mut nearest = NONE;
            if arrival.matches(row) {
                let [left, right] = places.of(row);
                nearest = self.nearest(right, encoded.key(row)).unwrap_or(NONE);
                let Side { rows, .. } = &mut self.sides[0];
                match kind.weight() > 0 {
                    true => {
                        if rows.order(left).is_empty() {
                            rows.appeared(left);
                        }
                        rows.insert(left, &encoded, row)?;
                    }
                    false => gone.extend(rows.find(left, &encoded, row).filter(|found| rows.take_out(left, *found))),
                }
            }
            if nearest != NONE || self.keeps_lone {
                self.said.push(row as u32, nearest, came_or_went(kind));
            }
        }
        let left = |rows: &[u32]| -> Result<Vec<ArrayRef>> {
            let rows = UInt32Array::from(rows.to_vec());
            batch.rows().columns().iter().map(|column| Ok(take(column, &rows, None)?)).collect()
        };
        let said = std::mem::take(&mut self.said);
        self.say(&said, left, out)?;
        self.forget(0, &gone, &places)
    }

    /// Right rows come and go; the left rows for which they are the nearest are corrected.
    fn rights(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let arrival = Arrival::of(batch, &self.sides[1].keys, &self.sides[1].time)?;
        let encoded = self.sides[1].rows.encode(std::slice::from_ref(&arrival.times), batch.rows())?;
        let places = self.partitions(&arrival, batch.num_rows())?;
        let mut gone = vec![];
        for row in (0..batch.num_rows()).filter(|row| arrival.matches(*row)) {
            let [left, right] = places.of(row);
            let Side { rows, .. } = &mut self.sides[1];
            if batch.kind(row).weight() > 0 {
                if rows.order(right).is_empty() {
                    rows.appeared(right);
                }
                let before = self.before(right, &encoded, row);
                let number = self.sides[1].rows.insert(right, &encoded, row)?;
                self.correct(left, right, (before, number), number);
            } else if let Some(number) = rows.find(right, &encoded, row) {
                // While it is there it says which left rows are its own.
                self.sides[1].rows.take_out(right, number);
                let before = self.before(right, &encoded, row);
                self.correct(left, right, (number, before), number);
                gone.push(number);
            }
            if self.said.left.len() >= BATCH_ROWS {
                self.say_corrections(out)?;
            }
        }
        self.say_corrections(out)?;
        self.forget(1, &gone, &places)
    }

    /// The partitions of the rows of a batch on both sides.
    fn partitions(&mut self, arrival: &Arrival, rows: usize) -> Result<Places> {
        let left = self.sides[0].rows.partitions(&arrival.keys, rows)?;
        let right = self.sides[1].rows.partitions(&arrival.keys, rows)?;
        Ok(Places { left, right })
    }

    /// The right row that is the nearest to a left one with that key.
    fn nearest(&self, partition: u32, key: &[u8]) -> Option<u32> {
        let rows = &self.sides[1].rows;
        rows.order(partition).last_until(|right| self.stands(rows.key(right), key))
    }

    /// How a right row stands to a left one: behind it, if it does not count for it.
    fn stands(&self, right: &[u8], left: &[u8]) -> Ordering {
        match right.cmp(left) {
            Ordering::Equal if !self.or_equal => Ordering::Greater,
            ordering => ordering,
        }
    }

    /// The right row that a row stands behind.
    fn before(&self, partition: u32, encoded: &Encoded, row: usize) -> u32 {
        let rows = &self.sides[1].rows;
        rows.last_before(partition, encoded, row).unwrap_or(NONE)
    }

    /// Says that the left rows whose nearest row is, or would be, the right row `around` have `after` beside them, where
    /// they had `before`.
    fn correct(&mut self, left: u32, right: u32, (before, after): (u32, u32), around: u32) {
        let [lefts, rights] = &self.sides;
        let key = rights.rows.key(around);
        let next = rights.rows.next_after(right, around);
        let counts = |right: u32, left: u32| self.stands(rights.rows.key(right), lefts.rows.key(left)).is_le();
        let behind = |left: u32| match lefts.rows.key(left).cmp(key) {
            Ordering::Equal if !self.or_equal => Ordering::Less,
            ordering => ordering,
        };
        let mut corrected = Said::default();
        for left in lefts.rows.order(left).from(behind) {
            if next.is_some_and(|next| counts(next, left)) {
                break;
            }
            match (before != NONE || self.keeps_lone, after != NONE || self.keeps_lone) {
                (true, true) => {
                    corrected.push(left, before, RowKind::UpdateBefore);
                    corrected.push(left, after, RowKind::UpdateAfter);
                }
                (true, false) => corrected.push(left, before, RowKind::Delete),
                (false, true) => corrected.push(left, after, RowKind::Insert),
                (false, false) => {}
            }
        }
        self.said.left.extend(corrected.left);
        self.said.right.extend(corrected.right);
        self.said.kinds.extend(corrected.kinds);
    }

    fn say_corrections(&mut self, out: &mut Output) -> Result<()> {
        let said = std::mem::take(&mut self.said);
        self.say(&said, |rows| self.sides[0].rows.gather(rows), out)
    }

    fn say(&self, said: &Said, left: impl Fn(&[u32]) -> Result<Vec<ArrayRef>>, out: &mut Output) -> Result<()> {
        for part in whole_updates(&said.kinds) {
            let rows = part.len();
            let mut columns = left(&said.left[part.clone()])?;
            columns.extend(self.beside(&said.right[part.clone()])?);
            let kinds = said.kinds[part].iter().copied().collect();
            out.push(Batch::changelog(record_batch(&self.schema, columns, rows)?, kinds));
            out.check_room(self.state_size().bytes)?;
        }
        Ok(())
    }

    /// The columns of right rows; [`NONE`] gives NULLs.
    fn beside(&self, rows: &[u32]) -> Result<Vec<ArrayRef>> {
        gather_with_nulls(rows, |there| self.sides[1].rows.gather(there))
    }

    /// Frees rows that are gone, and partitions without rows.
    fn forget(&mut self, side: usize, gone: &[u32], places: &Places) -> Result<()> {
        self.sides[side].rows.free(gone);
        for (side, partitions) in self.sides.iter_mut().zip([&places.left, &places.right]) {
            let mut partitions = partitions.clone();
            partitions.sort_unstable();
            partitions.dedup();
            side.rows.forget_empty(&partitions);
        }
        Ok(())
    }
}

/// The partitions of some rows on both sides.
struct Places {
    left: Vec<u32>,
    right: Vec<u32>,
}

impl Places {
    #[inline]
    fn of(&self, row: usize) -> [u32; 2] {
        [self.left[row], self.right[row]]
    }
}

/// A pair comes or goes: what was an update of a row may be none of a pair.
fn came_or_went(kind: RowKind) -> RowKind {
    if kind.weight() > 0 { RowKind::Insert } else { RowKind::Delete }
}
