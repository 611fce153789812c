//! An ASOF join of rows that stay: both sides in the order of time, as far as the watermark has come.
//!
//! ```text
//! waiting, by time     left 5 a | right 7 a | left 9 a       nearest of a: right 4
//! watermark 8          left 5 beside right 4; right 7 takes its place; left 9 waits on
//! ```
//!
//! Looking back, a key keeps one right row besides those that wait. Looking ahead, left rows wait by key for the first
//! right row that is not before them.
//! A row is late if the watermark just before it had passed its time. A left row without a time has its turn at the
//! watermark just before it: it has no match.
//!
//! Of versions, the rows of a table, one that another takes the place of stays the nearest to what is before that. A
//! row that is deleted ends what its key has, behind the last of its versions: at their time, or at the watermark just
//! before it if that is further.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::Arrival;
use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::operators::matching::slots_of_whole;
use crate::operators::rows::{BATCH_ROWS, append_only, record_batch, take_rows};
use crate::operators::{Operator, Output, Port, StateSize};
use crate::plan::node::{AsofJoin, ChangelogMode, JoinKind, Nearest, Settles};
use crate::state::{GroupIndex, RowId, RowStore, Snapshot, StateTable, grow_to, table};
use crate::types::{Batch, Epoch, RowKind, Tick, Timestamp};

const SIDES: [&str; 2] = ["left", "right"];
const REACHED: &str = "reached";

/// The operator of a join that says each row once.
pub(super) fn build(node: &AsofJoin, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let types: Vec<_> = node.keys[0].iter().map(|key| key.data_type().clone()).collect();
    let Some(tick) = Tick::of(node.times[0].data_type()) else {
        return Err(InternalError::new("an ASOF join over what is no time").into());
    };
    let side = |side: usize| Side {
        keys: node.keys[side].clone(),
        time: node.times[side].clone(),
        rows: RowStore::new(node.inputs[side].schema()),
        queue: BinaryHeap::new(),
    };
    let mut join = Settled {
        versions: node.input_modes[1] == ChangelogMode::Changelog,
        nearest: node.nearest,
        keeps_lone: node.kind == JoinKind::Left,
        by_watermark: node.settles == Settles::Watermark,
        tick,
        schema: node.schema.clone(),
        index: GroupIndex::new(&types)?,
        slots: vec![],
        sides: [side(0), side(1)],
        reached: i64::MIN,
    };
    join.restore(snapshots)?;
    Ok(Box::new(join))
}

struct Settled {
    /// Whether right rows are versions, that may take the place of one another or be deleted.
    versions: bool,
    nearest: Nearest,
    /// Whether a left row without a match is said.
    keeps_lone: bool,
    by_watermark: bool,
    tick: Tick,
    schema: SchemaRef,
    index: GroupIndex,
    slots: Vec<Slot>,
    sides: [Side; 2],
    /// Rows before it have had their turn, in ticks.
    reached: i64,
}

struct Side {
    keys: Vec<Expr>,
    time: Expr,
    rows: RowStore,
    /// The rows that have not had their turn, the next one first.
    queue: BinaryHeap<Reverse<Waiting>>,
}

/// A row that has not had its turn. Rows of one time stand as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    tick: i64,
    row: RowId,
    slot: u32,
    role: Role,
}

/// What a row does when it has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// It matches, or is matched.
    Match,
    /// It matches nothing.
    Lone,
    /// It ends the version that is there.
    End,
}

/// What is known of a key.
#[derive(Debug, Clone)]
struct Slot {
    /// How many rows wait for their turn.
    waiting: u32,
    /// Looking back: the right row that had its turn last.
    last: Option<RowId>,
    /// The time of the latest version that waits or has waited.
    latest: i64,
    /// Looking ahead: the left rows that have had their turn and wait for the next right row.
    ahead: Vec<(i64, RowId)>,
}

impl Default for Slot {
    fn default() -> Slot {
        Slot { waiting: 0, last: None, latest: i64::MIN, ahead: vec![] }
    }
}

impl Role {
    fn of(number: i64) -> Role {
        [Role::Lone, Role::End].into_iter().find(|role| *role as i64 == number).unwrap_or(Role::Match)
    }
}

impl Slot {
    fn is_idle(&self) -> bool {
        self.waiting == 0 && self.last.is_none() && self.ahead.is_empty()
    }
}

/// What comes of some turns: rows to say, and what is no longer needed after that.
#[derive(Default)]
struct Turn {
    pairs: Vec<(RowId, Option<RowId>)>,
    released: [usize; 2],
    /// Keys of which there may be nothing any more.
    touched: Vec<u32>,
}

impl Operator for Settled {
    fn on_batch(&mut self, port: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let side = port.0.min(1);
        if side == 0 || !self.versions {
            append_only(&batch, "an ASOF join that says each row once")?;
        }
        let arrival = Arrival::of(&batch, &self.sides[side].keys, &self.sides[side].time)?;
        let taken = self.taken(side, &batch, &arrival, out);
        let rows = UInt32Array::from(taken.rows);
        let keys = arrival.keys.iter().map(|key| take(key, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        let rows = if rows.len() == batch.num_rows() { batch.rows().clone() } else { take_rows(batch.rows(), &rows)? };
        self.wait(side, &rows, (&keys, &taken.at, &taken.roles))
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        if !self.by_watermark {
            return Ok(());
        }
        self.reached = self.reached.max(self.tick.floor(watermark));
        self.run(Some(self.reached), out)?;
        // Looking ahead, a row may be said long after its time.
        if self.nearest.looks_back() {
            out.advance(watermark);
        }
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        self.run(None, out)?;
        let mut turn = Turn::default();
        if self.keeps_lone {
            let mut left: Vec<(i64, RowId)> = self.slots.iter_mut().flat_map(|slot| slot.ahead.drain(..)).collect();
            left.sort_unstable();
            turn.pairs.extend(left.into_iter().map(|(_, row)| (row, None)));
        }
        self.say(&turn.pairs, out)
    }

    fn snapshot(&mut self, _: Epoch) -> Result<Option<Snapshot>> {
        self.save().map(Some)
    }

    fn state_size(&self) -> StateSize {
        let rows = self.sides.iter().map(|side| side.rows.live()).sum();
        let side = |side: &Side| side.rows.bytes() + side.queue.capacity() * size_of::<Waiting>();
        // Looking ahead, left rows wait by key.
        let ahead = if self.nearest.looks_back() { 0 } else { self.sides[0].rows.live() * size_of::<(i64, RowId)>() };
        let slots = self.slots.capacity() * size_of::<Slot>() + ahead;
        StateSize { rows, bytes: self.index.bytes() + slots + self.sides.iter().map(side).sum::<usize>() }
    }
}

/// The rows of a batch that are taken in.
#[derive(Default)]
struct Taken {
    rows: Vec<u32>,
    /// When each has its turn, in ticks.
    at: Vec<i64>,
    /// What each does then.
    roles: Vec<Role>,
}

impl Settled {
    /// The rows of a batch that matter. Late ones, and those that cannot match without a time, are counted.
    fn taken(&self, side: usize, batch: &Batch, arrival: &Arrival, out: &mut Output) -> Taken {
        let mut taken = Taken::default();
        let mut untimed = 0;
        for row in 0..batch.num_rows() {
            let before = if self.by_watermark { self.tick.floor(batch.watermark(row)) } else { i64::MIN };
            let passed = before.max(self.reached);
            let lone = !arrival.matches(row);
            let said = !lone || (side == 0 && self.keeps_lone);
            let time = arrival.ticks.is_valid(row).then(|| arrival.ticks.value(row));
            let mut take = |at: i64, role: Role| {
                taken.rows.push(row as u32);
                taken.at.push(at);
                taken.roles.push(role);
            };
            match (batch.kind(row), time) {
                // The row that takes its place says from when on.
                (RowKind::UpdateBefore, _) => {}
                (RowKind::Delete, time) => take(time.unwrap_or(passed).max(passed), Role::End),
                (_, Some(time)) if self.by_watermark && time < passed => {
                    out.late(1);
                    out.late_by(self.tick.time(passed.saturating_sub(time)).nanos());
                }
                (_, None) if !said => untimed += 1,
                (_, Some(_)) if !said => {}
                (_, time) => take(time.unwrap_or(passed), if lone { Role::Lone } else { Role::Match }),
            }
        }
        out.untimed(untimed);
        taken
    }

    /// Rows of a side wait for their turn.
    fn wait(
        &mut self,
        side: usize,
        rows: &RecordBatch,
        (keys, at, roles): (&[ArrayRef], &[i64], &[Role]),
    ) -> Result<()> {
        let slots = self.number(keys, roles)?;
        let first = self.sides[side].rows.append(rows)?;
        self.sides[side].rows.retain(rows.num_rows());
        for (row, (slot, (tick, role))) in slots.into_iter().zip(at.iter().zip(roles)).enumerate() {
            let (mut tick, role) = (*tick, *role);
            if let Some(slot) = self.slots.get_mut(slot as usize) {
                slot.waiting += 1;
                if side == 1 {
                    tick = if role == Role::End { tick.max(slot.latest) } else { tick };
                    slot.latest = slot.latest.max(tick);
                }
            }
            self.sides[side].queue.push(Reverse(Waiting { tick, row: first + row, slot, role }));
        }
        Ok(())
    }

    /// The slot of each key; [`NONE`] for those of rows that match nothing.
    fn number(&mut self, keys: &[ArrayRef], roles: &[Role]) -> Result<Vec<u32>> {
        let slots = slots_of_whole(&mut self.index, keys, roles.len(), |row| roles[row] != Role::Lone)?;
        grow_to(&mut self.slots, self.index.slots(), Slot::default());
        Ok(slots)
    }

    /// Lets the rows before `until` have their turn, or all of them.
    fn run(&mut self, until: Option<i64>, out: &mut Output) -> Result<()> {
        let mut turn = Turn::default();
        while let Some(tick) = self.next_tick().filter(|tick| until.is_none_or(|until| *tick < until)) {
            // A right row counts for the left ones of its time before they have their turn, or after.
            let right_first = self.nearest.looks_back() == self.nearest.or_equal();
            if right_first {
                self.rights(tick, &mut turn);
                self.lefts(tick, &mut turn);
            } else {
                self.lefts(tick, &mut turn);
                self.rights(tick, &mut turn);
            }
            if turn.pairs.len() >= BATCH_ROWS {
                self.end_turn(&mut turn, out)?;
            }
        }
        self.end_turn(&mut turn, out)
    }

    fn next_tick(&self) -> Option<i64> {
        let next = |side: &Side| side.queue.peek().map(|Reverse(waiting)| waiting.tick);
        self.sides.iter().filter_map(next).min()
    }

    /// The next row of a side, if it is of that time.
    fn pop(&mut self, side: usize, tick: i64, turn: &mut Turn) -> Option<Waiting> {
        let queue = &mut self.sides[side].queue;
        if queue.peek().is_none_or(|Reverse(waiting)| waiting.tick != tick) {
            return None;
        }
        let Reverse(waiting) = queue.pop()?;
        if let Some(slot) = self.slots.get_mut(waiting.slot as usize) {
            slot.waiting -= 1;
            if slot.waiting == 0 {
                turn.touched.push(waiting.slot);
            }
        }
        Some(waiting)
    }

    fn lefts(&mut self, tick: i64, turn: &mut Turn) {
        while let Some(left) = self.pop(0, tick, turn) {
            match self.slots.get_mut(left.slot as usize) {
                Some(slot) if !self.nearest.looks_back() => slot.ahead.push((tick, left.row)),
                slot => {
                    let nearest = slot.and_then(|slot| slot.last);
                    if nearest.is_some() || self.keeps_lone {
                        turn.pairs.push((left.row, nearest));
                    }
                    turn.released[0] += 1;
                }
            }
        }
    }

    fn rights(&mut self, tick: i64, turn: &mut Turn) {
        // Looking ahead, the last row of a time is the match of all that have waited for one.
        let mut lasts: BTreeMap<u32, RowId> = BTreeMap::new();
        while let Some(right) = self.pop(1, tick, turn) {
            let Some(slot) = self.slots.get_mut(right.slot as usize) else { continue };
            let dropped = match (self.nearest.looks_back(), right.role) {
                (true, Role::End) => 1 + usize::from(slot.last.take().is_some()),
                (true, Role::Match | Role::Lone) => usize::from(slot.last.replace(right.row).is_some()),
                (false, _) => {
                    lasts.insert(right.slot, right.row);
                    1
                }
            };
            turn.released[1] += dropped;
        }
        let mut met = vec![];
        for (slot, right) in lasts {
            met.extend(self.slots[slot as usize].ahead.drain(..).map(|(tick, left)| (tick, left, right)));
        }
        met.sort_unstable();
        turn.released[0] += met.len();
        turn.pairs.extend(met.into_iter().map(|(_, left, right)| (left, Some(right))));
    }

    /// Says what has come of the turns, and forgets what is no longer needed.
    fn end_turn(&mut self, turn: &mut Turn, out: &mut Output) -> Result<()> {
        let Turn { pairs, released, mut touched } = std::mem::take(turn);
        self.say(&pairs, out)?;
        for (side, released) in self.sides.iter_mut().zip(released) {
            side.rows.release(released);
        }
        touched.sort_unstable();
        touched.dedup();
        touched.retain(|slot| self.slots[*slot as usize].is_idle());
        self.index.remove(&touched);
        touched.iter().for_each(|slot| self.slots[*slot as usize] = Slot::default());
        self.compact(0)?;
        self.compact(1)
    }

    fn say(&self, pairs: &[(RowId, Option<RowId>)], out: &mut Output) -> Result<()> {
        for pairs in pairs.chunks(BATCH_ROWS) {
            let (left, right): (Vec<_>, Vec<_>) = pairs.iter().map(|(left, right)| (Some(*left), *right)).unzip();
            let columns = [self.sides[0].rows.gather(&left)?, self.sides[1].rows.gather(&right)?].concat();
            out.push(Batch::append_only(record_batch(&self.schema, columns, pairs.len())?));
            out.check_room(self.state_size().bytes)?;
        }
        Ok(())
    }

    /// Gives up the memory of a side's rows that are gone, once it is most of it.
    fn compact(&mut self, side: usize) -> Result<()> {
        if !self.sides[side].rows.wants_compaction() {
            return Ok(());
        }
        let mut ids: Vec<RowId> = self.kept(side).into_iter().map(|kept| kept.row).collect();
        ids.sort_unstable();
        let first = self.sides[side].rows.compact(&ids)?;
        let moved = |row: RowId| first + ids.partition_point(|id| *id < row);
        let Side { queue, .. } = &mut self.sides[side];
        let waiting = std::mem::take(queue).into_vec();
        *queue = waiting.into_iter().map(|Reverse(row)| Reverse(Waiting { row: moved(row.row), ..row })).collect();
        for slot in &mut self.slots {
            match side {
                0 => slot.ahead.iter_mut().for_each(|(_, row)| *row = moved(*row)),
                _ => slot.last = slot.last.map(moved),
            }
        }
        Ok(())
    }

    /// The rows of a side that are kept: those that wait for their turn, and those that have had it, under times that
    /// have passed.
    fn kept(&self, side: usize) -> Vec<Waiting> {
        let mut kept: Vec<Waiting> = self.sides[side].queue.iter().map(|Reverse(waiting)| *waiting).collect();
        for (number, slot) in self.slots.iter().enumerate() {
            let waited = |tick: i64, row: RowId| Waiting { tick, row, slot: number as u32, role: Role::Match };
            match side {
                0 => kept.extend(slot.ahead.iter().map(|(tick, row)| waited(*tick, *row))),
                _ => kept.extend(slot.last.map(|row| waited(i64::MIN, row))),
            }
        }
        kept
    }

    /// Everything that is kept. Most of it is new whenever it is asked for, as rows come and go with the watermark.
    fn save(&self) -> Result<Snapshot> {
        let reached = Arc::new(Int64Array::from(vec![self.reached])) as ArrayRef;
        let mut tables = vec![table(REACHED, vec![reached], 1)?];
        for (side, name) in SIDES.into_iter().enumerate() {
            let mut kept = self.kept(side);
            // As they came, so that they come so again.
            kept.sort_unstable_by_key(|kept| kept.row);
            let ids: Vec<Option<RowId>> = kept.iter().map(|kept| Some(kept.row)).collect();
            let mut columns = self.sides[side].rows.gather(&ids)?;
            let roles = kept.iter().map(|kept| kept.role as i64).collect::<Vec<_>>();
            columns.push(Arc::new(kept.iter().map(|kept| kept.tick).collect::<Int64Array>()));
            columns.push(Arc::new(Int64Array::from(roles)));
            tables.push(table(name, columns, kept.len())?);
        }
        Ok(Snapshot { tables })
    }

    /// Takes in what the last of the snapshots holds.
    fn restore(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        let Some(snapshot) = snapshots.last() else { return Ok(()) };
        let misses = || InternalError::new("a saved ASOF join is not in its form");
        let StateTable { rows: reached, .. } = snapshot.tables.first().ok_or_else(misses)?;
        let reached = integers(reached, 0)?.first().copied().ok_or_else(misses)?;
        for (side, name) in SIDES.into_iter().enumerate() {
            let saved = snapshot.table(name).ok_or_else(misses)?;
            let width = self.sides[side].rows.schema().fields().len();
            let rows =
                record_batch(self.sides[side].rows.schema(), saved.columns()[..width].to_vec(), saved.num_rows())?;
            let (at, roles) = (integers(saved, width)?, integers(saved, width + 1)?);
            let roles: Vec<Role> = roles.into_iter().map(Role::of).collect();
            let keys = self.sides[side].keys.iter().map(|key| key.evaluate(&rows)).collect::<Result<Vec<_>>>()?;
            self.wait(side, &rows, (&keys, &at, &roles))?;
        }
        self.settle(reached);
        Ok(())
    }

    /// Lets the rows that have had their turn be where they were after it, and says nothing.
    fn settle(&mut self, reached: i64) {
        self.reached = reached;
        let mut turn = Turn::default();
        if self.nearest.looks_back() {
            // Of each key there is one right row of before at most.
            while self.sides[1].queue.peek().is_some_and(|Reverse(waiting)| waiting.tick == i64::MIN) {
                self.rights(i64::MIN, &mut turn);
            }
            return;
        }
        while let Some(tick) = self.sides[0].queue.peek().map(|Reverse(waiting)| waiting.tick) {
            if tick >= reached {
                break;
            }
            self.lefts(tick, &mut turn);
        }
    }
}

fn integers(rows: &RecordBatch, column: usize) -> Result<Vec<i64>> {
    let column = rows.columns().get(column).and_then(|column| column.as_primitive_opt::<Int64Type>());
    match column {
        Some(column) => Ok(column.values().to_vec()),
        None => Err(InternalError::new("a saved ASOF join is not in its form").into()),
    }
}
