//! Plain SQL joins, whose sides are both kept, and a maximum over what changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use riverrun::arrow::array::{ArrayRef, StringArray, StringBuilder};

use super::{Map, Result, Sink, array_of, numbers, texts};
use crate::bench::input::Input;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// Rows that are kept, each chained to the one before it of the same key.
struct Kept<T> {
    last: Map<i64, u32>,
    rows: Vec<(T, u32)>,
}

impl<T: Copy> Kept<T> {
    fn new() -> Kept<T> {
        Kept { last: Map::default(), rows: vec![] }
    }

    #[inline(always)]
    fn push(&mut self, key: i64, row: T) {
        let last = self.last.entry(key).or_insert(NONE);
        self.rows.push((row, *last));
        *last = self.rows.len() as u32 - 1;
    }

    #[inline(always)]
    fn each(&self, key: i64, mut take: impl FnMut(T)) {
        let mut at = self.last.get(&key).copied().unwrap_or(NONE);
        while let Some((row, before)) = self.rows.get(at as usize) {
            take(*row);
            at = *before;
        }
    }
}

/// Name, city and state.
type Person<'a> = (&'a str, &'a str, &'a str);

/// H, q3: the persons are the first stream, the auctions the second.
pub fn sellers(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut persons: Kept<Person<'_>> = Kept::new();
    let mut auctions: Kept<i64> = Kept::new();
    for push in &input.pushes {
        let rows = &push.rows;
        let mut found: Vec<(Person<'_>, i64)> = Vec::with_capacity(rows.num_rows());
        if push.stream == 0 {
            let (names, cities, states) = (texts(rows, "name")?, texts(rows, "city")?, texts(rows, "state")?);
            for (row, id) in numbers(rows, "id")?.iter().enumerate() {
                let person = (names.value(row), cities.value(row), states.value(row));
                auctions.each(*id, |auction| found.push((person, auction)));
                persons.push(*id, person);
            }
        } else {
            for (id, seller) in numbers(rows, "id")?.iter().zip(numbers(rows, "seller")?) {
                persons.each(*seller, |person| found.push((person, *id)));
                auctions.push(*seller, *id);
            }
        }
        sink(vec![
            texts_of(found.iter().map(|(person, _)| person.0)),
            texts_of(found.iter().map(|(person, _)| person.1)),
            texts_of(found.iter().map(|(person, _)| person.2)),
            array_of(found.iter().map(|(_, auction)| *auction).collect()),
        ])?;
    }
    Ok(())
}

fn texts_of<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    let mut column = StringBuilder::new();
    texts.for_each(|text| column.append_value(text));
    Arc::new(column.finish())
}

/// A bid: who, how much, where and when.
type Bid<'a> = (i64, i64, &'a str, i64);
/// An auction's seller, category and first price.
type Auction = (i64, i64, i64);

/// Which category of auctions is asked for.
const CATEGORY: i64 = 10;

/// H, q20: the auctions are the first stream, the bids the second. Only auctions of the category are kept, but all bids.
pub fn bids_of_category(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut auctions: Kept<Auction> = Kept::new();
    let mut bids: Kept<Bid<'_>> = Kept::new();
    for push in &input.pushes {
        let rows = &push.rows;
        let mut found: Vec<(i64, Bid<'_>, Auction)> = vec![];
        if push.stream == 0 {
            let (sellers, categories) = (numbers(rows, "seller")?, numbers(rows, "category")?);
            let rest = sellers.iter().zip(categories).zip(numbers(rows, "initial_bid")?);
            for (id, ((seller, category), initial)) in numbers(rows, "id")?.iter().zip(rest) {
                if *category == CATEGORY {
                    let auction = (*seller, *category, *initial);
                    bids.each(*id, |bid| found.push((*id, bid, auction)));
                    auctions.push(*id, auction);
                }
            }
        } else {
            let channels: &StringArray = texts(rows, "channel")?;
            let rest = numbers(rows, "bidder")?.iter().zip(numbers(rows, "price")?).zip(numbers(rows, "date_time")?);
            for (row, (id, ((bidder, price), at))) in numbers(rows, "auction")?.iter().zip(rest).enumerate() {
                let bid = (*bidder, *price, channels.value(row), *at);
                auctions.each(*id, |auction| found.push((*id, bid, auction)));
                bids.push(*id, bid);
            }
        }
        sink(columns(&found))?;
    }
    Ok(())
}

fn columns(found: &[(i64, Bid<'_>, Auction)]) -> Vec<ArrayRef> {
    let column = |of: fn(&(i64, Bid<'_>, Auction)) -> i64| array_of(found.iter().map(of).collect());
    vec![
        column(|row| row.0),
        column(|row| row.1.0),
        column(|row| row.1.1),
        texts_of(found.iter().map(|row| row.1.2)),
        column(|row| row.1.3),
        column(|row| row.2.0),
        column(|row| row.2.1),
        column(|row| row.2.2),
    ]
}

/// How many shards auctions are dealt out to.
const SHARDS: i64 = 1000;

/// I: each shard has its turnovers in order, with how often each is there; a batch changes an auction's once.
pub fn best_totals(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut index: Map<i64, u32> = Map::default();
    let mut auctions: Vec<(i64, usize, i64)> = vec![];
    let mut shards: Map<i64, BTreeMap<i64, u32>> = Map::default();
    let mut touched: Vec<(u32, Option<i64>)> = vec![];
    for (batch, push) in input.pushes.iter().enumerate() {
        touched.clear();
        for (key, price) in numbers(&push.rows, "auction")?.iter().zip(numbers(&push.rows, "price")?) {
            let new = !index.contains_key(key);
            let at = *index.entry(*key).or_insert(auctions.len() as u32);
            if new {
                auctions.push((*key, usize::MAX, 0));
            }
            if let Some((_, last, total)) = auctions.get_mut(at as usize) {
                if *last != batch {
                    *last = batch;
                    touched.push((at, (!new).then_some(*total)));
                }
                *total += price;
            }
        }
        for (at, before) in &touched {
            let Some((key, _, now)) = auctions.get(*at as usize) else { continue };
            let totals = shards.entry(key % SHARDS).or_default();
            if let Some(before) = before
                && let Some(times) = totals.get_mut(before)
            {
                *times -= 1;
                if *times == 0 {
                    totals.remove(before);
                }
            }
            *totals.entry(*now).or_default() += 1;
        }
    }
    let best = shards.values().filter_map(|totals| totals.last_key_value().map(|(total, _)| *total));
    sink(vec![array_of(shards.keys().copied().collect()), array_of(best.collect())])
}
