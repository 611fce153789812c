//! Generated data: Nexmark's auction house, and bids with uniformly drawn keys. The same number of events always gives
//! the same rows.

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;

use super::Result;
use super::data::Kind::{Number, Text};
use super::data::{Cell, Kind, Table, TableBuilder, Tables};
use super::progress::Progress;

/// The first moment of the data: the beginning of 2024, in milliseconds.
const BASE_TIME_MS: u64 = 1_704_067_200_000;
/// How many events of a hundred are bids.
const BIDS_OF_100: usize = 92;
const BID: &[(&str, Kind)] =
    &[("auction", Number), ("bidder", Number), ("price", Number), ("channel", Text), ("date_time", Number)];
const AUCTION: &[(&str, Kind)] =
    &[("id", Number), ("seller", Number), ("category", Number), ("initial_bid", Number), ("date_time", Number)];
const PERSON: &[(&str, Kind)] =
    &[("id", Number), ("name", Text), ("city", Text), ("state", Text), ("date_time", Number)];

/// How often progress is told of.
const EVENTS_A_STEP: usize = 100_000;

/// Nexmark's bids, auctions and persons: 10,000 events a second of event time, in order.
pub fn nexmark(events: usize, tables: &mut Tables, progress: &Progress) -> Result<()> {
    let config = NexmarkConfig { base_time: BASE_TIME_MS, ..NexmarkConfig::default() };
    let mut bids = TableBuilder::new("bidn", BID);
    let mut auctions = TableBuilder::new("auction", AUCTION);
    let mut persons = TableBuilder::new("person", PERSON);
    for (at, event) in EventGenerator::new(config).take(events).enumerate() {
        match event {
            Event::Bid(bid) => bids.row(&[
                number(bid.auction)?,
                number(bid.bidder)?,
                number(bid.price)?,
                Cell::Text(&bid.channel),
                number(bid.date_time)?,
            ])?,
            Event::Auction(auction) => auctions.row(&[
                number(auction.id)?,
                number(auction.seller)?,
                number(auction.category)?,
                number(auction.initial_bid)?,
                number(auction.date_time)?,
            ])?,
            Event::Person(person) => persons.row(&[
                number(person.id)?,
                Cell::Text(&person.name),
                Cell::Text(&person.city),
                Cell::Text(&person.state),
                number(person.date_time)?,
            ])?,
        }
        if at % EVENTS_A_STEP == 0 {
            progress.tell(|| format!("making Nexmark events: {at} of {events}"));
        }
    }
    for builder in [bids, auctions, persons] {
        tables.insert(builder.finish()?);
    }
    Ok(())
}

/// How many different keys bids have.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    pub auctions: u64,
    pub bidders: u64,
    pub channels: u64,
}

/// As many bids as [`nexmark`] has, with about as many keys.
pub fn uniform(events: usize, progress: &Progress) -> Result<Table> {
    let share = |of_10_million: u64| (of_10_million * events as u64 / 10_000_000).max(1);
    let keys = Keys { auctions: share(600_000), bidders: share(200_000), channels: share(10_000) };
    bids(events * BIDS_OF_100 / 100, keys, progress)
}

/// Bids whose keys have nothing to do with each other: no part of a table of groups stays in the processor's cache
/// because it is in fashion.
pub fn bids(rows: usize, keys: Keys, progress: &Progress) -> Result<Table> {
    let mut random = SplitMix(42);
    let mut builder = TableBuilder::new("bidu", BID);
    for at in 0..rows {
        let channel = format!("channel-{}", random.below(keys.channels));
        builder.row(&[
            number(random.below(keys.auctions))?,
            number(random.below(keys.bidders))?,
            number(100 + random.below(10_000_000))?,
            Cell::Text(&channel),
            number(BASE_TIME_MS + at as u64 / 10)?,
        ])?;
        if at % EVENTS_A_STEP == 0 {
            progress.tell(|| format!("making uniform bids: {at} of {rows}"));
        }
    }
    builder.finish()
}

fn number<T: TryInto<i64>>(number: T) -> Result<Cell<'static>> {
    match number.try_into() {
        Ok(number) => Ok(Cell::Number(number)),
        Err(_) => Err("a generated number is too large".into()),
    }
}

/// Steele, Lea and Flood's generator: a few instructions a number, and good enough for keys.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`: the high half of a product, which needs no division.
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nexmark_has_its_shares() {
        let mut tables = Tables::default();
        nexmark(1000, &mut tables, &Progress::hidden()).unwrap();
        let rows = |name| tables.table(name).unwrap().rows();
        assert_eq!((rows("bidn"), rows("auction"), rows("person")), (920, 60, 20));
    }

    #[test]
    fn the_same_uniform_bids_come_again() {
        let make = || uniform(1000, &Progress::hidden()).unwrap().batches;
        assert_eq!(make(), make());
    }
}
