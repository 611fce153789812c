//! The queries of Nexmark that need no event time, over the same 100,000 events as streams and, by DataFusion, as tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event, Person};
use riverrun::Engine;

use crate::answers::{Difference, Fold, same_multiset};
use crate::oracle;

const EVENTS: usize = 100_000;
/// How many events come at a time.
const STEP: usize = 2_000;

const STREAMS: &str = "
  CREATE STREAM person (id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR, date_time TIMESTAMP(3));
  CREATE STREAM auction (
    id BIGINT, item_name VARCHAR, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3), expires TIMESTAMP(3),
    seller BIGINT, category BIGINT);
  CREATE STREAM bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP(3));";

macro_rules! query {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/nexmark/", $name, ".sql")))
    };
}

fn numbers(values: impl Iterator<Item = usize>) -> ArrayRef {
    Arc::new(values.map(|value| value as i64).collect::<Int64Array>())
}

fn times(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(values.map(|value| Some(value as i64)).collect::<TimestampMillisecondArray>())
}

fn texts<'a>(values: impl Iterator<Item = &'a String>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn persons(rows: &[Person]) -> RecordBatch {
    table(vec![
        ("id", numbers(rows.iter().map(|row| row.id))),
        ("name", texts(rows.iter().map(|row| &row.name))),
        ("city", texts(rows.iter().map(|row| &row.city))),
        ("state", texts(rows.iter().map(|row| &row.state))),
        ("date_time", times(rows.iter().map(|row| row.date_time))),
    ])
}

fn auctions(rows: &[Auction]) -> RecordBatch {
    table(vec![
        ("id", numbers(rows.iter().map(|row| row.id))),
        ("item_name", texts(rows.iter().map(|row| &row.item_name))),
        ("initial_bid", numbers(rows.iter().map(|row| row.initial_bid))),
        ("reserve", numbers(rows.iter().map(|row| row.reserve))),
        ("date_time", times(rows.iter().map(|row| row.date_time))),
        ("expires", times(rows.iter().map(|row| row.expires))),
        ("seller", numbers(rows.iter().map(|row| row.seller))),
        ("category", numbers(rows.iter().map(|row| row.category))),
    ])
}

fn bids(rows: &[Bid]) -> RecordBatch {
    table(vec![
        ("auction", numbers(rows.iter().map(|row| row.auction))),
        ("bidder", numbers(rows.iter().map(|row| row.bidder))),
        ("price", numbers(rows.iter().map(|row| row.price))),
        ("channel", texts(rows.iter().map(|row| &row.channel))),
        ("url", texts(rows.iter().map(|row| &row.url))),
        ("date_time", times(rows.iter().map(|row| row.date_time))),
    ])
}

/// The events as tables.
fn tables(events: &[Event]) -> [(&'static str, RecordBatch); 3] {
    let (mut person, mut auction, mut bid) = (vec![], vec![], vec![]);
    for event in events {
        match event.clone() {
            Event::Person(row) => person.push(row),
            Event::Auction(row) => auction.push(row),
            Event::Bid(row) => bid.push(row),
        }
    }
    [("person", persons(&person)), ("auction", auctions(&auction)), ("bid", bids(&bid))]
}

/// What the changes come to once all events have been fed.
fn follow(text: &str, steps: &[[(&str, RecordBatch); 3]]) -> Result<Fold, String> {
    let shown = |error: riverrun::Error| error.to_string();
    let engine = Engine::new();
    engine.execute(STREAMS).map_err(shown)?;
    let mut query = engine.query(text).map_err(shown)?;
    let mut fold = Fold::default();
    for step in steps {
        for (stream, rows) in step {
            engine.appender(stream).and_then(|mut appender| appender.append(rows.clone())).map_err(shown)?;
        }
        query.poll().map_err(shown)?.iter().try_for_each(|batch| fold.apply(batch))?;
    }
    engine.execute("CLOSE STREAM person; CLOSE STREAM auction; CLOSE STREAM bid;").map_err(shown)?;
    query.poll().map_err(shown)?.iter().try_for_each(|batch| fold.apply(batch))?;
    Ok(fold)
}

#[test]
fn nexmark_over_streams_ends_at_nexmark_over_tables() {
    let config = NexmarkConfig { base_time: 1_704_067_200_000, ..NexmarkConfig::default() };
    let events: Vec<Event> = EventGenerator::new(config).take(EVENTS).collect();
    let whole = tables(&events);
    let steps: Vec<_> = events.chunks(STEP).map(tables).collect();
    for (name, text) in [
        query!("q3"),
        query!("q4"),
        query!("q6"),
        query!("q9"),
        query!("q15"),
        query!("q16"),
        query!("q17"),
        query!("q18"),
        query!("q19"),
        query!("q20"),
        query!("q23"),
    ] {
        let expected = oracle::answer_over(text, &whole).unwrap_or_else(|| panic!("the oracle refuses {name}"));
        let answered = follow(text, &steps).unwrap_or_else(|error| panic!("{name}: {error}")).answer();
        assert!(!expected.is_empty(), "{name} has no rows");
        let same = same_multiset(&expected, &answered);
        assert!(same, "{name}: {}", Difference { expected: &expected, answered: &answered });
    }
}
