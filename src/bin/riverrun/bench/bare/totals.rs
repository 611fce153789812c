//! `count(*)`, `max(price)`, `sum(price)` a key.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use riverrun::RowKind;
use riverrun::arrow::array::{ArrayRef, StringArray, StringBuilder};
use riverrun::arrow::buffer::OffsetBuffer;

use super::{Map, Result, Sink, array_of, column, numbers, texts};
use crate::bench::input::Input;

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    count: i64,
    best: i64,
    total: i64,
}

impl Totals {
    #[inline(always)]
    fn add(&mut self, price: i64) {
        self.count += 1;
        self.best = self.best.max(price);
        self.total += price;
    }
}

/// Three columns of totals.
#[derive(Default)]
struct Columns {
    counts: Vec<i64>,
    bests: Vec<i64>,
    totals: Vec<i64>,
}

impl Columns {
    fn with_capacity(rows: usize) -> Columns {
        let column = || Vec::with_capacity(rows);
        Columns { counts: column(), bests: column(), totals: column() }
    }

    #[inline(always)]
    fn push(&mut self, of: &Totals) {
        self.counts.push(of.count);
        self.bests.push(of.best);
        self.totals.push(of.total);
    }

    fn after(self, keys: ArrayRef) -> Vec<ArrayRef> {
        vec![keys, array_of(self.counts), array_of(self.bests), array_of(self.totals)]
    }
}

/// A1
pub fn totals_by_auction(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    final_totals(input, "auction", sink)
}

/// A2
pub fn totals_by_bidder(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    final_totals(input, "bidder", sink)
}

fn final_totals(input: &Input, key: &str, sink: &mut Sink<'_>) -> Result<()> {
    let mut groups: Map<i64, Totals> = Map::default();
    for push in &input.pushes {
        for (key, price) in numbers(&push.rows, key)?.iter().zip(numbers(&push.rows, "price")?) {
            groups.entry(*key).or_default().add(*price);
        }
    }
    let mut keys = Vec::with_capacity(groups.len());
    let mut columns = Columns::with_capacity(groups.len());
    for (key, totals) in &groups {
        keys.push(*key);
        columns.push(totals);
    }
    sink(columns.after(array_of(keys)))
}

/// A3: texts are kept as views into the batches, which is cheaper than any copy.
pub fn totals_by_channel(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let hasher = FixedState::default();
    let mut groups: HashTable<(u64, &str, Totals)> = HashTable::new();
    for push in &input.pushes {
        let channels = texts(&push.rows, "channel")?;
        for (row, price) in numbers(&push.rows, "price")?.iter().enumerate() {
            let channel = channels.value(row);
            let hash = hasher.hash_one(channel);
            let same = |group: &(u64, &str, Totals)| group.0 == hash && group.1 == channel;
            let group = groups.entry(hash, same, |group| group.0).or_insert((hash, channel, Totals::default()));
            group.into_mut().2.add(*price);
        }
    }
    let mut keys = StringBuilder::new();
    let mut columns = Columns::with_capacity(groups.len());
    for (_, channel, totals) in &groups {
        keys.append_value(channel);
        columns.push(totals);
    }
    sink(columns.after(Arc::new(keys.finish())))
}

/// B
pub fn running_totals(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut groups: Map<i64, Totals> = Map::default();
    for push in &input.pushes {
        let mut columns = Columns::with_capacity(push.rows.num_rows());
        for (key, price) in numbers(&push.rows, "auction")?.iter().zip(numbers(&push.rows, "price")?) {
            let totals = groups.entry(*key).or_default();
            totals.add(*price);
            columns.push(totals);
        }
        sink(columns.after(column(&push.rows, "auction")?.clone()))?;
    }
    Ok(())
}

/// C: a group that the batch touches for the first time says what it was; once the batch is read, all say what they
/// have become.
pub fn changing_totals(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut index: Map<i64, u32> = Map::default();
    let mut groups: Vec<(i64, usize, Totals)> = vec![];
    let mut touched: Vec<(u32, Totals)> = vec![];
    for (batch, push) in input.pushes.iter().enumerate() {
        touched.clear();
        for (key, price) in numbers(&push.rows, "auction")?.iter().zip(numbers(&push.rows, "price")?) {
            let at = *index.entry(*key).or_insert_with(|| {
                groups.push((*key, usize::MAX, Totals::default()));
                groups.len() as u32 - 1
            });
            if let Some((_, last, totals)) = groups.get_mut(at as usize) {
                if *last != batch {
                    *last = batch;
                    touched.push((at, *totals));
                }
                totals.add(*price);
            }
        }
        sink(changes(&groups, &touched))?;
    }
    Ok(())
}

fn changes(groups: &[(i64, usize, Totals)], touched: &[(u32, Totals)]) -> Vec<ArrayRef> {
    let rows = 2 * touched.len();
    let mut kinds = String::with_capacity(2 * rows);
    let mut keys = Vec::with_capacity(rows);
    let mut columns = Columns::with_capacity(rows);
    for (at, before) in touched {
        let Some((key, _, now)) = groups.get(*at as usize) else { continue };
        let kind = if before.count == 0 {
            RowKind::Insert
        } else {
            kinds.push_str(RowKind::UpdateBefore.as_str());
            keys.push(*key);
            columns.push(before);
            RowKind::UpdateAfter
        };
        kinds.push_str(kind.as_str());
        keys.push(*key);
        columns.push(now);
    }
    let mut answer = columns.after(array_of(keys));
    let each_of_two = OffsetBuffer::from_repeated_length(2, kinds.len() / 2);
    answer.insert(0, Arc::new(StringArray::new(each_of_two, kinds.into_bytes().into(), None)));
    answer
}
