//! What a `WITH (connector = 'nexmark', …)` says.

use crate::error::{Code, Result, StatementError};
use crate::io::options::{BATCH_ROWS, bad_value, check_keys, find, number, one_of, size};
use crate::sql::{self, SqlOption};

/// One of the tables of Nexmark's auction house, and how much of it there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NexmarkOptions {
    /// Which of the events are rows.
    pub table: NexmarkTable,
    /// How many events there are, of all tables together.
    pub events: u64,
    /// How many events happen in a second of event time.
    pub rate: u64,
    /// When the first event happens, in milliseconds since 1970.
    pub base_time_ms: u64,
    /// Which part of the endless sequence of events it is.
    pub seed: u64,
    /// How many events at a time come shuffled; 1 if all come in order.
    pub out_of_order: u64,
    /// Of how many events a batch holds the rows.
    pub batch_rows: usize,
}

/// Which of the events are rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NexmarkTable {
    /// Those who sell and bid: one event of fifty.
    Person,
    /// What is sold: three of fifty.
    Auction,
    /// What is offered: the others.
    Bid,
    /// All of them, each with the other kinds as NULL.
    Event,
}

const KEYS: [&str; 8] = ["connector", "table", "events", "rate", "base_time", "seed", "out_of_order", "batch_rows"];

const TABLES: [(&str, NexmarkTable); 4] = [
    ("person", NexmarkTable::Person),
    ("auction", NexmarkTable::Auction),
    ("bid", NexmarkTable::Bid),
    ("event", NexmarkTable::Event),
];

const EVENTS: u64 = 100_000;
/// So that the number of an event and what is made of it fit 63 bits.
const EVENTS_MAX: u64 = 1_000_000_000;
const RATE: u64 = 10_000;
const RATE_MAX: u64 = 1_000_000;
/// The beginning of 2024.
const BASE_TIME_MS: u64 = 1_704_067_200_000;
const SEED_MAX: u64 = 1_000_000;
const OUT_OF_ORDER_MAX: u64 = 1_000_000;
/// Events are shuffled with this number, which must not divide how many they are.
pub(super) const SHUFFLE: u64 = 953;

impl NexmarkOptions {
    /// What the options of the stream `name` say. Without `table` its name says which table it is.
    pub fn parse(name: &str, options: &[SqlOption]) -> Result<NexmarkOptions> {
        check_keys(options, &KEYS)?;
        let number = |key: &str, default: u64, least: u64, most: u64| match find(options, key) {
            Some(option) => number(option, least, most),
            None => Ok(default),
        };
        Ok(NexmarkOptions {
            table: table(name, options)?,
            events: number("events", EVENTS, 0, EVENTS_MAX)?,
            rate: number("rate", RATE, 1, RATE_MAX)?,
            base_time_ms: find(options, "base_time").map_or(Ok(BASE_TIME_MS), base_time_ms)?,
            seed: number("seed", 0, 0, SEED_MAX)?,
            out_of_order: match find(options, "out_of_order") {
                Some(option) => out_of_order(option)?,
                None => 1,
            },
            batch_rows: size(options, "batch_rows", BATCH_ROWS, 1 << 20)?,
        })
    }
}

fn table(name: &str, options: &[SqlOption]) -> Result<NexmarkTable> {
    if let Some(option) = find(options, "table") {
        return one_of(option, &TABLES);
    }
    let named = TABLES.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    named.map(|(_, table)| table).ok_or_else(|| {
        let message = format!("it is not said which table of Nexmark \"{name}\" is");
        let hint = "Add table = 'person', 'auction', 'bid' or 'event'.";
        let error = StatementError::new(Code::InvalidArgument, message).hint(hint);
        match find(options, "connector") {
            Some(connector) => error.at(connector.place.clone()).into(),
            None => error.into(),
        }
    })
}

fn base_time_ms(option: &SqlOption) -> Result<u64> {
    let parsed = sql::parse_timestamp(&option.value).ok();
    let ms = parsed.and_then(|time| u64::try_from(time.nanos() / 1_000_000).ok());
    ms.ok_or_else(|| bad_value(option, "a point in time since 1970, such as '2024-01-01 00:00:00'").into())
}

fn out_of_order(option: &SqlOption) -> Result<u64> {
    let group = number(option, 1, OUT_OF_ORDER_MAX)?;
    if group % SHUFFLE == 0 {
        return Err(bad_value(option, &format!("no multiple of {SHUFFLE}, which events are shuffled with")).into());
    }
    Ok(group)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::io::options::tests::option;

    pub(crate) fn parse(name: &str, options: &[(&str, &str)]) -> Result<NexmarkOptions> {
        let options: Vec<SqlOption> = options.iter().map(|(key, value)| option(key, value)).collect();
        NexmarkOptions::parse(name, &options)
    }

    #[test]
    fn a_stream_is_the_table_of_its_name_unless_it_says_another() {
        assert_eq!(parse("bid", &[]).unwrap().table, NexmarkTable::Bid);
        assert_eq!(parse("bid", &[("table", "person")]).unwrap().table, NexmarkTable::Person);
        let error = parse("bids", &[("connector", "nexmark")]).unwrap_err();
        assert!(error.place().is_some() && error.hint().is_some());
    }

    #[test]
    fn options_are_read() {
        let read = parse("event", &[("events", "7"), ("base_time", "1970-01-01 00:00:01"), ("seed", "3")]).unwrap();
        assert_eq!((read.events, read.base_time_ms, read.seed, read.rate), (7, 1000, 3, 10_000));
    }

    #[test]
    fn what_can_not_be_meant_is_an_error_with_a_place() {
        for (key, value) in [
            ("events", "-1"),
            ("events", "many"),
            ("rate", "0"),
            ("base_time", "1969-01-01"),
            ("base_time", "noon"),
            ("table", "bids"),
            ("out_of_order", "0"),
            ("out_of_order", "1906"),
            ("seed", "99999999"),
            ("path", "a.csv"),
            ("batch_rows", "0"),
        ] {
            let error = parse("bid", &[(key, value)]).unwrap_err();
            assert!(error.place().is_some() && error.hint().is_some(), "{key} = {value}");
        }
    }
}
