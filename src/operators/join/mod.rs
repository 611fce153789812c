//! Joins without modes: what has come out folds, at every moment, to the SQL join of what has come in.
//!
//! ```text
//! left:   +I (a, L1)               -D (a, L1)       LEFT JOIN
//! right:              +I (a, R1)
//! out:    +I L1 -     -U L1 -      -D L1 R1
//!                     +U L1 R1
//! ```
//!
//! While a batch of one side is taken in, the other side stays as it is. So the pairs of a batch are found first and
//! what is left of the condition is computed over columns; then row by row it is noted what each does to the result,
//! and what was noted is gathered column by column.
//! A row is kept with the number of rows that match it, where the result depends on whether there are any.

mod ended;
mod forget;
mod noted;
pub(in crate::operators) mod saved;
pub(in crate::operators) mod store;
#[cfg(test)]
mod tests;
mod timed;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::Expr;
use crate::operators::matching::{NONE, Nulls, Pairs, slots_of_whole};
use crate::operators::rows::{BATCH_ROWS, chosen, record_batch};
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node::{self, ChangelogMode, JoinKind, NullKeys, Residual};
use crate::state::{Chains, Expiry, GroupIndex, Snapshot, grow_to};
use crate::types::{Batch, Epoch, RowKind, RowKinds, Timestamp};

use noted::Noted;
use store::{Change, Store};
use timed::{Timed, Waiting};

/// Builds the operator of a join.
pub fn build(node: &node::Join, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let types: Vec<_> = node.keys[0].iter().map(|key| key.data_type().clone()).collect();
    let forgets = node.ttl.iter().any(Option::is_some);
    let side = |at: usize| -> Result<Side> {
        let counts_matches = node.kind.alone(at) || (at == 0 && !node.kind.pairs());
        let schema = node.inputs[at].schema();
        // A row that is forgotten is taken back from within.
        let mode = if forgets { ChangelogMode::Changelog } else { node.input_modes[at] };
        let looks = node.residual.iter().flat_map(|residual| &residual.columns[at]);
        let kept: BTreeSet<usize> = match mode {
            ChangelogMode::AppendOnly => node.columns[at].iter().chain(looks).copied().collect(),
            // A row that goes is found by all of it.
            ChangelogMode::Changelog => (0..schema.fields().len()).collect(),
        };
        let kept: Vec<usize> = kept.into_iter().collect();
        let place = |column: &usize| kept.binary_search(column).unwrap_or_default();
        Ok(Side {
            keys: node.keys[at].clone(),
            given: node.columns[at].iter().map(place).collect(),
            residual: node.residual.iter().flat_map(|residual| &residual.columns[at]).map(place).collect(),
            rows: Store::new(&Arc::new(schema.project(&kept)?), mode)?,
            kept,
            chains: Chains::new(mode == ChangelogMode::Changelog),
            matches: counts_matches.then(Vec::new),
            alone: node.kind.alone(at),
            expiry: node.ttl[at].map(Expiry::new),
            waiting: Waiting::of(node, at),
            slots: vec![],
            ended: false,
        })
    };
    let mut join = Join {
        kind: node.kind,
        null_keys: node.null_keys,
        residual: node.residual.clone(),
        schema: node.schema.clone(),
        appends: node.mode() == ChangelogMode::AppendOnly,
        at_end: node.at_end,
        waits: node.waits(),
        timed: Timed::of(node),
        forgets,
        index: GroupIndex::new(&types)?,
        null_slot: None,
        sides: [side(0)?, side(1)?],
        noted: Noted::default(),
        met: false,
        unmet: [vec![], vec![]],
    };
    join.restore(snapshots)?;
    Ok(Box::new(join))
}

/// Whether the rows of a side can be kept; if not, the error says why.
pub fn check_side(schema: &SchemaRef, mode: ChangelogMode) -> Result<()> {
    Store::new(schema, mode).map(drop)
}

/// A join and its state.
struct Join {
    kind: JoinKind,
    null_keys: NullKeys,
    residual: Option<Residual>,
    schema: SchemaRef,
    /// Whether rows only come out, and none is taken back.
    appends: bool,
    /// Whether rows without a match wait for the end, and whether they wait for that or for the watermark.
    at_end: bool,
    waits: bool,
    /// How far time has come, if the watermark drops rows.
    timed: Option<Timed>,
    /// Whether rows of a side are forgotten, so that a snapshot has to hold what they have matched.
    forgets: bool,
    /// The keys of both sides.
    index: GroupIndex,
    /// The slot of the keys with a NULL, where it is equal to anything.
    null_slot: Option<u32>,
    sides: [Side; 2],
    noted: Noted,
    /// Whether rows that are not kept have met keys of the other side, and for each side one of their keys that has not.
    met: bool,
    unmet: [Vec<ArrayRef>; 2],
}

/// One side: its rows, and which of them have each key.
struct Side {
    keys: Vec<Expr>,
    /// Which columns of its input are kept, and which of those come out or are part of the rest of the condition.
    kept: Vec<usize>,
    given: Vec<usize>,
    residual: Vec<usize>,
    rows: Store,
    chains: Chains,
    /// For each row how many rows of the other side match it, where that is of interest.
    matches: Option<Vec<u32>>,
    /// Whether its rows come out for want of a match.
    alone: bool,
    /// Which rows came so long ago that they are forgotten, and then the slot of each row's key.
    expiry: Option<Expiry>,
    slots: Vec<u32>,
    /// Which rows wait for the watermark, if it drops them.
    waiting: Option<Waiting>,
    /// Whether no more rows of it will come.
    ended: bool,
}

/// The rows of a batch on their way through the join.
struct Arrival<'a> {
    /// The side they are of.
    side: usize,
    batch: &'a Batch,
    /// The slot of each row's key; [`NONE`] for one that can match nothing.
    slots: Vec<u32>,
    /// How many rows of the other side match each row.
    matched: Vec<u32>,
    /// Which rows are alike one that is kept and that had a match, if matches may have been forgotten.
    had_match: Option<Vec<bool>>,
    /// The first row that has not been through.
    open: usize,
    /// Rows of the batch and rows of the other side whose keys are equal.
    pairs: Pairs,
}

/// What is known of the rows of a batch once they have been through.
struct Taken {
    slots: Vec<u32>,
    matched: Vec<u32>,
    /// Until when each waits for the watermark, if that drops it.
    until: Vec<i64>,
}

impl Operator for Join {
    fn on_batch(&mut self, port: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let batch = self.admitted(port.0, batch, out)?;
        let (batch, times) = self.in_time(port.0, batch, out)?;
        let side = &self.sides[port.0];
        let keys = side.keys.iter().map(|key| key.evaluate(batch.rows())).collect::<Result<Vec<_>>>()?;
        let batch = batch.with_rows(side.rows.as_kept(batch.rows().project(&side.kept)?)?);
        if batch.is_empty() {
            return Ok(());
        }
        self.arrive(port.0, &keys, times.as_ref(), &batch, out)?;
        self.drop_passed(out)
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        let watermark = self.timed.as_mut().map_or(watermark, |timed| timed.reach(watermark));
        self.drop_passed(out)?;
        out.advance(watermark);
        Ok(())
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        (0..2).try_for_each(|side| self.expire(side, now, out))
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.sides.iter().filter_map(|side| side.expiry.as_ref()?.next()).min()
    }

    fn on_port_end(&mut self, port: Port) -> Result<()> {
        self.end_side(port.0)
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        match self.waits {
            true => self.finish(out),
            false => Ok(()),
        }
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        self.save(since).map(Some)
    }

    fn state_size(&self) -> StateSize {
        let rows = self.sides.iter().map(|side| side.rows.len()).sum();
        let side = |side: &Side| {
            let matches = side.matches.as_ref().map_or(0, |matches| matches.capacity() * size_of::<u32>());
            let slots = side.slots.capacity() * size_of::<u32>();
            let expiry = side.expiry.as_ref().map_or(0, Expiry::bytes);
            let waiting = side.waiting.as_ref().map_or(0, Waiting::bytes);
            side.rows.bytes() + side.chains.bytes() + matches + slots + expiry + waiting
        };
        StateSize { rows, bytes: self.index.bytes() + self.sides.iter().map(side).sum::<usize>() }
    }

    fn waits(&self) -> Waits {
        let unmet = |side: usize| match self.keeps(side) {
            true => self.alone(side),
            false => self.unmet[side].clone(),
        };
        Waits { unmet: (0..2).map(unmet).collect(), met: self.met || self.meet(), ..Waits::default() }
    }
}

impl Join {
    /// Rows of a side have arrived, with those keys, and those times if the watermark drops them.
    fn arrive(
        &mut self,
        side: usize,
        keys: &[ArrayRef],
        times: Option<&Int64Array>,
        batch: &Batch,
        out: &mut Output,
    ) -> Result<()> {
        let slots = self.number(keys, times, batch)?;
        let matched = vec![0; batch.num_rows()];
        let had_match = self.had_match(side, batch)?;
        let mut arrival = Arrival { side, batch, slots, matched, had_match, open: 0, pairs: Pairs::default() };
        self.find(&mut arrival, out)?;
        self.say(batch, side, out)?;
        let Arrival { slots, matched, .. } = arrival;
        let waits = self.sides[side].waiting.as_ref().zip(times);
        let until = waits.map(|(waiting, times)| waiting.until(times)).unwrap_or_default();
        self.keep(side, batch, Taken { slots, matched, until }, out.now())
    }

    /// The slot of each row's key. Without a key or a time that can match anything it has none.
    fn number(&mut self, keys: &[ArrayRef], times: Option<&Int64Array>, batch: &Batch) -> Result<Vec<u32>> {
        let rows = batch.num_rows();
        let mut nulls = Nulls::of(keys);
        nulls.and(times.and_then(|times| times.nulls()));
        if self.null_keys == NullKeys::Nothing {
            return slots_of_whole(&mut self.index, keys, rows, |row| !nulls.in_row(row));
        }
        let mut slots = vec![];
        self.index.intern(keys, rows, &mut slots)?;
        if self.null_keys == NullKeys::Anything {
            self.null_slot = (0..rows).find(|row| nulls.in_row(*row)).map(|row| slots[row]).or(self.null_slot);
        }
        Ok(slots)
    }

    /// Finds the rows of the other side that match, and notes what follows.
    fn find(&mut self, arrival: &mut Arrival<'_>, out: &mut Output) -> Result<()> {
        let every = if self.null_slot.is_some() { self.index.groups_in_order() } else { vec![] };
        for row in 0..arrival.slots.len() {
            let slot = arrival.slots[row];
            if slot == NONE {
                continue;
            }
            let chains = &self.sides[1 - arrival.side].chains;
            match self.null_slot {
                None => arrival.pair_with(chains, slot, row),
                Some(null) if slot == null => every.iter().for_each(|slot| arrival.pair_with(chains, *slot, row)),
                Some(null) => {
                    arrival.pair_with(chains, slot, row);
                    arrival.pair_with(chains, null, row);
                }
            }
            if arrival.pairs.own.len() >= BATCH_ROWS {
                self.note_pairs(arrival, out)?;
            }
        }
        self.note_pairs(arrival, out)?;
        self.close_until(arrival.slots.len(), arrival);
        Ok(())
    }

    /// Notes what the pairs found so far do to the result.
    fn note_pairs(&mut self, arrival: &mut Arrival<'_>, out: &mut Output) -> Result<()> {
        let Pairs { own, other } = std::mem::take(&mut arrival.pairs);
        for (own, other) in own.chunks(BATCH_ROWS).zip(other.chunks(BATCH_ROWS)) {
            match &self.residual {
                Some(residual) => {
                    let Pairs { own, other } = self.passing(residual, arrival, own, other)?;
                    self.note_matches(&own, &other, arrival);
                }
                None => self.note_matches(own, other, arrival),
            }
            if self.noted.len() >= BATCH_ROWS {
                self.say(arrival.batch, arrival.side, out)?;
            }
        }
        Ok(())
    }

    fn note_matches(&mut self, own: &[u32], other: &[u32], arrival: &mut Arrival<'_>) {
        if self.kind == JoinKind::Inner
            && arrival.batch.kinds().is_none()
            && self.sides.iter().all(|side| side.rows.appends())
        {
            return self.noted.insert_pairs(own, other);
        }
        for (row, other) in own.iter().zip(other) {
            self.close_until(*row as usize, arrival);
            self.note_pair(*row, *other, arrival);
        }
    }

    /// The pairs for which the rest of the condition is true.
    fn passing(&self, residual: &Residual, arrival: &Arrival<'_>, own: &[u32], other: &[u32]) -> Result<Pairs> {
        let at = UInt32Array::from(own.to_vec());
        let mut columns = [vec![], vec![]];
        for column in &self.sides[arrival.side].residual {
            columns[arrival.side].push(take(arrival.batch.rows().column(*column), &at, None)?);
        }
        let kept = &self.sides[1 - arrival.side];
        columns[1 - arrival.side] = kept.rows.gather(other, &kept.residual)?;
        Pairs::passing(own, other, residual, columns.concat())
    }

    /// Notes what the arriving rows before `row` do for want of a match.
    fn close_until(&mut self, row: usize, arrival: &mut Arrival<'_>) {
        if self.timed.is_some() && self.sides[arrival.side].alone {
            self.note_matchless(arrival.open..row, arrival);
        }
        let silent = self.waits || !(self.sides[arrival.side].alone || arrival.had_match.is_some());
        if silent {
            arrival.open = row;
        }
        for row in arrival.open..row {
            if arrival.matched[row] > 0 {
                continue;
            }
            let kind = came_or_went(arrival.batch.kind(row));
            match &arrival.had_match {
                Some(had_match) if had_match[row] => self.note_remembered(row as u32, kind),
                Some(_) | None if self.sides[arrival.side].alone => self.noted.own(row as u32, kind, false),
                Some(_) | None => {}
            }
        }
        arrival.open = row;
    }

    /// Notes those of some arriving rows that can match nothing, so that they wait for none.
    fn note_matchless(&mut self, rows: Range<usize>, arrival: &Arrival<'_>) {
        let matchless = rows.filter(|row| arrival.slots[*row] == NONE);
        matchless.for_each(|row| self.noted.own(row as u32, RowKind::Insert, false));
    }

    /// Notes what it does to the result that an arriving row matches a row of the other side.
    fn note_pair(&mut self, row: u32, other: u32, arrival: &mut Arrival<'_>) {
        let kind = arrival.batch.kind(row as usize);
        let copies = self.sides[1 - arrival.side].rows.count(other);
        let matched = &mut arrival.matched[row as usize];
        let first = *matched == 0;
        *matched += copies;
        if self.forgets {
            self.sides[1 - arrival.side].rows.mark(other);
        }
        let Some(matches) = &mut self.sides[1 - arrival.side].matches else {
            match self.kind.pairs() {
                true => self.noted.pair(row, other, came_or_went(kind), copies),
                // The left row is said once, however many it matches.
                false if first && !self.waits => self.note_found(row, kind),
                false => {}
            }
            return;
        };
        let was_alone = matches[other as usize] == 0;
        let comes = kind.weight() > 0;
        matches[other as usize] = matches[other as usize].wrapping_add_signed(kind.weight() as i32);
        let is_alone = matches[other as usize] == 0;
        if self.kind.pairs() {
            match (was_alone && comes, is_alone && !comes) {
                _ if self.waits => self.noted.pair(row, other, RowKind::Insert, copies),
                (true, _) => self.noted.joined(row, other, copies),
                (_, true) => self.noted.parted(row, other, copies),
                (false, false) => self.noted.pair(row, other, came_or_went(kind), copies),
            }
        } else if (was_alone || is_alone) && !self.waits {
            self.note_turn(other, comes, copies);
        }
    }

    /// Notes an arriving left row that has found its first match.
    fn note_found(&mut self, row: u32, kind: RowKind) {
        match self.kind {
            JoinKind::Semi | JoinKind::Mark => self.noted.own(row, came_or_went(kind), true),
            JoinKind::Anti | JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {}
        }
    }

    /// Notes a left row that has its first match now, or has lost its last.
    fn note_turn(&mut self, left: u32, found: bool, copies: u32) {
        match (self.kind, found) {
            (JoinKind::Semi, true) | (JoinKind::Anti, false) => {
                self.noted.other(left, RowKind::Insert, copies, found);
            }
            (JoinKind::Semi, false) | (JoinKind::Anti, true) => {
                self.noted.other(left, RowKind::Delete, copies, found);
            }
            (JoinKind::Mark, _) => {
                for _ in 0..copies {
                    self.noted.other(left, RowKind::UpdateBefore, 1, !found);
                    self.noted.other(left, RowKind::UpdateAfter, 1, found);
                }
            }
            (JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full, _) => {}
        }
    }

    /// Gathers what was noted while `batch` of `side` was taken in, and says it.
    fn say(&mut self, batch: &Batch, side: usize, out: &mut Output) -> Result<()> {
        let noted = std::mem::take(&mut self.noted);
        if noted.len() == 0 {
            return Ok(());
        }
        let own = |batch: &RecordBatch| -> Result<Vec<ArrayRef>> {
            let at = noted.own_rows();
            let given = self.sides[side].given.iter().map(|column| take(batch.column(*column), &at, None));
            Ok(given.collect::<Result<_, _>>()?)
        };
        let other = |join: &Join| join.sides[1 - side].rows.gather(noted.other_rows(), &join.sides[1 - side].given);
        let mut columns = match (self.kind.pairs(), side) {
            (true, 0) => [own(batch.rows())?, other(self)?].concat(),
            (true, _) => [other(self)?, own(batch.rows())?].concat(),
            (false, 0) => own(batch.rows())?,
            (false, _) => other(self)?,
        };
        if self.kind == JoinKind::Mark {
            columns.push(noted.marks());
        }
        let rows = record_batch(&self.schema, columns, noted.len())?;
        out.push(self.batch(rows, noted.kinds()));
        out.check_room(self.state_size().bytes)
    }

    fn batch(&self, rows: RecordBatch, kinds: RowKinds) -> Batch {
        match self.appends {
            true => Batch::append_only(rows),
            false => Batch::changelog(rows, kinds),
        }
    }

    /// Takes the rows of a batch in and back. One that can match nothing is only kept if it waits for the end.
    fn keep(&mut self, side: usize, batch: &Batch, mut taken: Taken, now: Timestamp) -> Result<()> {
        if !self.keeps(side) {
            self.let_go(side, taken.slots);
            return Ok(());
        }
        let lone = taken.slots.contains(&NONE) && !self.at_end;
        let whole = if lone { Some(matchable(batch, &mut taken)?) } else { None };
        let batch = whole.as_ref().unwrap_or(batch);
        let Taken { slots, matched, until } = taken;
        let Side { rows, chains, matches, expiry, slots: slots_kept, waiting, .. } = &mut self.sides[side];
        let mut gone = vec![];
        let numbers = rows.append(batch, &slots)?;
        chains.grow(self.index.slots(), rows.numbers());
        if let Some(matches) = matches {
            grow_to(matches, rows.numbers(), 0);
        }
        if let Some(expiry) = expiry {
            grow_to(slots_kept, rows.numbers(), NONE);
            numbers.iter().zip(&slots).for_each(|(number, slot)| slots_kept[*number as usize] = *slot);
            expiry.touch(numbers.iter().copied(), now);
        }
        if let Some(waiting) = waiting {
            waiting.push(&numbers, &until);
        }
        if matches.is_none() && rows.appends() {
            // Each row has appeared, and there is nothing to note but where it is found.
            let found = numbers.into_iter().zip(slots).filter(|(_, slot)| *slot != NONE);
            found.for_each(|(number, slot)| chains.push(slot, number));
            return Ok(());
        }
        for (row, number) in numbers.into_iter().enumerate() {
            let slot = slots[row];
            let change = rows.change(number, batch.kind(row))?;
            if let Some(matches) = matches {
                let matches = &mut matches[number as usize];
                // What a row that is alike had matched may have been forgotten; it was said nevertheless.
                *matches = if matches!(change, Change::Appeared) { matched[row] } else { matched[row].max(*matches) };
            }
            match change {
                Change::Appeared if slot != NONE => chains.push(slot, number),
                Change::Gone => {
                    chains.unlink(slot, number);
                    gone.push((slot, number));
                }
                Change::Appeared | Change::Counted => {}
            }
        }
        self.forget(side, gone)
    }

    /// Frees the rows that are gone for good, and the keys that no side has a row of.
    fn forget(&mut self, side: usize, gone: Vec<(u32, u32)>) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let (mut slots, rows): (Vec<u32>, Vec<u32>) = gone.into_iter().unzip();
        let Side { rows: store, expiry, .. } = &mut self.sides[side];
        if let Some(expiry) = expiry {
            expiry.forget(&store.absent(&rows));
        }
        store.free(rows)?;
        slots.sort_unstable();
        slots.dedup();
        self.forget_keys(slots);
        Ok(())
    }

    /// Frees those of the keys that no side has a row of.
    fn forget_keys(&mut self, mut slots: Vec<u32>) {
        slots.retain(|slot| *slot != NONE && self.sides.iter().all(|side| side.chains.is_empty(*slot)));
        if self.null_slot.is_some_and(|null| slots.contains(&null)) {
            self.null_slot = None;
        }
        self.index.remove(&slots);
    }

    /// The end: the rows that have waited for it.
    fn finish(&mut self, out: &mut Output) -> Result<()> {
        for side in 0..2 {
            let rows = match &self.sides[side].waiting {
                Some(waiting) => waiting.in_order(),
                None => self.sides[side].rows.all(),
            };
            self.say_alone(side, &rows, out)?;
        }
        Ok(())
    }

    /// Says those of the rows of a side that have no match, for want of one; of a mark all of them.
    fn say_alone(&mut self, side: usize, rows: &[u32], out: &mut Output) -> Result<()> {
        if !self.sides[side].alone {
            return Ok(());
        }
        let matches = self.sides[side].matches.take().unwrap_or_default();
        let said = |row: &u32| self.kind == JoinKind::Mark || matches[*row as usize] == 0;
        let rows: Vec<u32> = rows.iter().copied().filter(said).collect();
        for rows in rows.chunks(BATCH_ROWS) {
            for row in rows {
                let copies = self.sides[side].rows.count(*row);
                self.noted.other(*row, RowKind::Insert, copies, matches[*row as usize] > 0);
            }
            let nothing = RecordBatch::new_empty(self.sides[1 - side].rows.schema().clone());
            self.say(&Batch::append_only(nothing), 1 - side, out)?;
        }
        self.sides[side].matches = Some(matches);
        Ok(())
    }
}

impl Arrival<'_> {
    /// Pairs row `row` with those of the other side that have the key of that slot.
    #[inline(always)]
    fn pair_with(&mut self, chains: &Chains, slot: u32, row: usize) {
        let Pairs { own, other } = &mut self.pairs;
        chains.append_to(slot, other);
        match other.len() - own.len() {
            0 => {}
            1 => own.push(row as u32),
            _ => own.resize(other.len(), row as u32),
        }
    }
}

/// The rows of a batch that can match something, and what is known of them.
fn matchable(batch: &Batch, taken: &mut Taken) -> Result<Batch> {
    let Taken { slots, matched, until } = taken;
    let whole: Vec<u32> = (0..slots.len() as u32).filter(|row| slots[*row as usize] != NONE).collect();
    *slots = whole.iter().map(|row| slots[*row as usize]).collect();
    *matched = whole.iter().map(|row| matched[*row as usize]).collect();
    *until = whole.iter().filter_map(|row| until.get(*row as usize).copied()).collect();
    chosen(batch, &whole)
}

/// A pair comes or goes: what was an update of a row may be none of a pair.
fn came_or_went(kind: RowKind) -> RowKind {
    match kind.weight() > 0 {
        true => RowKind::Insert,
        false => RowKind::Delete,
    }
}
