//! Nexmark's auction house: persons, the auctions they open and the bids they make, as in the benchmark of that name.
//!
//! There is one sequence of events, and each event is drawn from its number alone. A stream of persons, one of auctions
//! and one of bids with the same options are three views of that sequence, whoever reads them and in whatever order:
//!
//! ```text
//! number   0        1        2        3        4    5    …   49   50       51
//! event    person   auction  auction  auction  bid  bid      bid  person   auction  …
//! ```
//!
//! A batch holds the rows of so many events and not so many rows, so that streams that are read in turns stay together.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray, TimestampMillisecondArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event, Person};

use super::nexmark_options::{NexmarkOptions, NexmarkTable, SHUFFLE};
use crate::error::Result;
use crate::io::schema::{Columns, Mapping, Wanted};
use crate::io::{Position, Source, SourceCounts};

/// Events come in rounds: one person, three auctions, and bids for the rest.
const ROUND: u64 = 50;
const AUCTIONS_OF_ROUND: u64 = 3;
/// How many events the parts of the sequence that two seeds name lie apart.
const EVENTS_OF_SEED: u64 = 1_000_000_000;

/// Reads one table of the auction house.
pub(crate) struct NexmarkSource {
    options: NexmarkOptions,
    mapping: Mapping,
    wanted: SchemaRef,
    /// None only while it draws an event.
    generator: Option<EventGenerator>,
    /// How many events of the sequence have gone by, of this table or not.
    next: u64,
    rows: u64,
}

impl NexmarkSource {
    pub fn open(options: &NexmarkOptions, schema: SchemaRef, read: Columns<'_>) -> Result<NexmarkSource> {
        let wanted = Wanted::new(schema, read)?;
        let table = columns(options.table);
        let mapping = Mapping::by_name(&table, &wanted, &"Nexmark".into())?;
        let extra = mapping.places.iter().any(|place| has_extra(table.field(*place)));
        let generator = Some(EventGenerator::new(config(options, extra)));
        let options = options.clone();
        Ok(NexmarkSource { options, mapping, wanted: wanted.schema, generator, next: 0, rows: 0 })
    }

    /// The events of the next stretch that belong to the table.
    fn draw(&mut self) -> Vec<Event> {
        let end = self.next.saturating_add(self.options.batch_rows as u64).min(self.options.events);
        let mut drawn = Vec::new();
        for nth in self.next..end {
            let number = shuffled(nth, self.options.out_of_order);
            let event = if holds(self.options.table, number) { self.event(number) } else { None };
            drawn.extend(event);
        }
        self.next = end;
        drawn
    }

    /// The event of that number. The generator draws each from its number, so going to and fro costs nothing.
    fn event(&mut self, number: u64) -> Option<Event> {
        let mut generator = self.generator.take()?.with_offset(number);
        let event = generator.next();
        self.generator = Some(generator);
        event
    }
}

impl Source for NexmarkSource {
    fn schema(&self) -> SchemaRef {
        self.wanted.clone()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.next >= self.options.events {
            return Ok(None);
        }
        let events = self.draw();
        let columns = arrays(self.options.table, &events, &self.mapping.places);
        self.rows += events.len() as u64;
        self.mapping.apply(&columns.iter().collect::<Vec<_>>(), events.len()).map(Some)
    }

    /// Its row counts the events that have gone by, also those of other tables.
    fn position(&self) -> Position {
        Position { file: 0, row: self.next }
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.next = position.row.min(self.options.events);
        Ok(())
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts { rows: self.rows, ..SourceCounts::default() }
    }

    fn progress(&self) -> Option<f64> {
        let events = self.options.events;
        Some(if events == 0 { 1.0 } else { self.next as f64 / events as f64 })
    }

    fn take_dead_letters(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }
}

/// The columns of a table.
pub(crate) fn columns(table: NexmarkTable) -> Schema {
    Schema::new(match table {
        NexmarkTable::Person => fields(&PERSON),
        NexmarkTable::Auction => fields(&AUCTION),
        NexmarkTable::Bid => fields(&BID),
        NexmarkTable::Event => vec![
            Field::new("event_type", DataType::Int64, true),
            Field::new("person", DataType::Struct(fields(&PERSON).into()), true),
            Field::new("auction", DataType::Struct(fields(&AUCTION).into()), true),
            Field::new("bid", DataType::Struct(fields(&BID).into()), true),
            Field::new("date_time", TIME, true),
        ],
    })
}

/// Where the value of a column stands in an event.
enum Value<T> {
    Number(fn(&T) -> usize),
    Text(fn(&T) -> &str),
    TimeMs(fn(&T) -> u64),
}

const TIME: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
/// The column that only makes rows longer.
const EXTRA: &str = "extra";

const PERSON: [(&str, Value<Person>); 8] = [
    ("id", Value::Number(|person| person.id)),
    ("name", Value::Text(|person| &person.name)),
    ("email_address", Value::Text(|person| &person.email_address)),
    ("credit_card", Value::Text(|person| &person.credit_card)),
    ("city", Value::Text(|person| &person.city)),
    ("state", Value::Text(|person| &person.state)),
    ("date_time", Value::TimeMs(|person| person.date_time)),
    (EXTRA, Value::Text(|person| &person.extra)),
];

const AUCTION: [(&str, Value<Auction>); 10] = [
    ("id", Value::Number(|auction| auction.id)),
    ("item_name", Value::Text(|auction| &auction.item_name)),
    ("description", Value::Text(|auction| &auction.description)),
    ("initial_bid", Value::Number(|auction| auction.initial_bid)),
    ("reserve", Value::Number(|auction| auction.reserve)),
    ("date_time", Value::TimeMs(|auction| auction.date_time)),
    ("expires", Value::TimeMs(|auction| auction.expires)),
    ("seller", Value::Number(|auction| auction.seller)),
    ("category", Value::Number(|auction| auction.category)),
    (EXTRA, Value::Text(|auction| &auction.extra)),
];

const BID: [(&str, Value<Bid>); 7] = [
    ("auction", Value::Number(|bid| bid.auction)),
    ("bidder", Value::Number(|bid| bid.bidder)),
    ("price", Value::Number(|bid| bid.price)),
    ("channel", Value::Text(|bid| &bid.channel)),
    ("url", Value::Text(|bid| &bid.url)),
    ("date_time", Value::TimeMs(|bid| bid.date_time)),
    (EXTRA, Value::Text(|bid| &bid.extra)),
];

fn fields<T>(columns: &[(&str, Value<T>)]) -> Vec<Field> {
    let data_type = |value: &Value<T>| match value {
        Value::Number(_) => DataType::Int64,
        Value::Text(_) => DataType::Utf8,
        Value::TimeMs(_) => TIME,
    };
    columns.iter().map(|(name, value)| Field::new(*name, data_type(value), true)).collect()
}

fn has_extra(field: &Field) -> bool {
    field.name() == EXTRA || matches!(field.data_type(), DataType::Struct(_))
}

/// What the generator is told. Nothing else is drawn after `extra`, so without it all else stays as it is.
fn config(options: &NexmarkOptions, extra: bool) -> NexmarkConfig {
    let defaults = NexmarkConfig::default();
    let bytes = |of: usize| if extra { of } else { 0 };
    NexmarkConfig {
        avg_person_byte_size: bytes(defaults.avg_person_byte_size),
        avg_auction_byte_size: bytes(defaults.avg_auction_byte_size),
        avg_bid_byte_size: bytes(defaults.avg_bid_byte_size),
        base_time: options.base_time_ms,
        first_rate: options.rate as usize,
        next_rate: options.rate as usize,
        first_event_id: (options.seed * EVENTS_OF_SEED) as usize,
        ..defaults
    }
}

/// The number of the `nth` event. Within a group every event has its turn, but not in the order of time.
fn shuffled(nth: u64, group: u64) -> u64 {
    nth / group * group + nth % group * SHUFFLE % group
}

/// Whether the event of that number belongs to the table.
fn holds(table: NexmarkTable, number: u64) -> bool {
    let in_round = number % ROUND;
    match table {
        NexmarkTable::Person => in_round == 0,
        NexmarkTable::Auction => (1..=AUCTIONS_OF_ROUND).contains(&in_round),
        NexmarkTable::Bid => in_round > AUCTIONS_OF_ROUND,
        NexmarkTable::Event => true,
    }
}

fn person(event: &Event) -> Option<&Person> {
    match event {
        Event::Person(person) => Some(person),
        Event::Auction(_) | Event::Bid(_) => None,
    }
}

fn auction(event: &Event) -> Option<&Auction> {
    match event {
        Event::Auction(auction) => Some(auction),
        Event::Person(_) | Event::Bid(_) => None,
    }
}

fn bid(event: &Event) -> Option<&Bid> {
    match event {
        Event::Bid(bid) => Some(bid),
        Event::Person(_) | Event::Auction(_) => None,
    }
}

/// The columns at `places` of a table.
fn arrays(table: NexmarkTable, events: &[Event], places: &[usize]) -> Vec<ArrayRef> {
    places
        .iter()
        .map(|place| match table {
            NexmarkTable::Person => array(&PERSON[*place].1, &events.iter().map(person).collect::<Vec<_>>()),
            NexmarkTable::Auction => array(&AUCTION[*place].1, &events.iter().map(auction).collect::<Vec<_>>()),
            NexmarkTable::Bid => array(&BID[*place].1, &events.iter().map(bid).collect::<Vec<_>>()),
            NexmarkTable::Event => of_any(events, *place),
        })
        .collect()
}

/// A column of the table of all events.
fn of_any(events: &[Event], place: usize) -> ArrayRef {
    match place {
        0 => Arc::new(events.iter().map(|event| Some(event.event_type() as i64)).collect::<Int64Array>()),
        1 => nested(&PERSON, &events.iter().map(person).collect::<Vec<_>>()),
        2 => nested(&AUCTION, &events.iter().map(auction).collect::<Vec<_>>()),
        3 => nested(&BID, &events.iter().map(bid).collect::<Vec<_>>()),
        _ => Arc::new(events.iter().map(|event| Some(event.timestamp() as i64)).collect::<TimestampMillisecondArray>()),
    }
}

/// A row with all its values, or NULL.
fn nested<T>(columns: &[(&str, Value<T>)], rows: &[Option<&T>]) -> ArrayRef {
    let arrays: Vec<ArrayRef> = columns.iter().map(|(_, value)| array(value, rows)).collect();
    let present: NullBuffer = rows.iter().map(Option::is_some).collect();
    Arc::new(StructArray::new(Fields::from(fields(columns)), arrays, Some(present)))
}

fn array<T>(value: &Value<T>, rows: &[Option<&T>]) -> ArrayRef {
    let rows = rows.iter();
    match value {
        Value::Number(of) => Arc::new(rows.map(|row| row.map(|row| of(row) as i64)).collect::<Int64Array>()),
        Value::Text(of) => Arc::new(rows.map(|row| row.map(of)).collect::<StringArray>()),
        Value::TimeMs(of) => {
            Arc::new(rows.map(|row| row.map(|row| of(row) as i64)).collect::<TimestampMillisecondArray>())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::concat_batches;

    use super::*;
    use crate::io::connectors::nexmark_options::tests::parse;

    fn source(options: &[(&str, &str)], projection: Option<&[usize]>) -> NexmarkSource {
        let options = parse("bid", options).unwrap();
        let schema = Arc::new(columns(options.table));
        NexmarkSource::open(&options, schema, Columns { read: projection, dictionary: &[] }).unwrap()
    }

    fn all(source: &mut NexmarkSource) -> RecordBatch {
        let batches: Vec<RecordBatch> = std::iter::from_fn(|| source.next_batch().unwrap()).collect();
        concat_batches(&source.schema(), &batches).unwrap()
    }

    fn numbers(batch: &RecordBatch, name: &str) -> Vec<i64> {
        let column = batch.column_by_name(name).unwrap();
        let column = arrow::compute::cast(column, &DataType::Int64).unwrap();
        column.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
    }

    #[test]
    fn it_says_what_the_generator_says() {
        let config = NexmarkConfig { base_time: 1_704_067_200_000, ..NexmarkConfig::default() };
        let bids: Vec<Bid> = EventGenerator::new(config).take(1000).filter_map(|event| bid(&event).cloned()).collect();
        let rows = all(&mut source(&[("events", "1000")], None));
        assert_eq!((rows.num_rows(), bids.len()), (920, 920));
        assert_eq!(numbers(&rows, "auction"), bids.iter().map(|bid| bid.auction as i64).collect::<Vec<_>>());
        assert_eq!(numbers(&rows, "date_time"), bids.iter().map(|bid| bid.date_time as i64).collect::<Vec<_>>());
        let extra = rows.column(6).as_any().downcast_ref::<StringArray>().unwrap();
        assert!(extra.iter().flatten().eq(bids.iter().map(|bid| bid.extra.as_str())));
    }

    #[test]
    fn what_is_not_read_changes_nothing_else() {
        let options: [(&str, &str); 2] = [("events", "2000"), ("out_of_order", "100")];
        let whole = all(&mut source(&options, None));
        let columns = [5, 2, 3];
        assert_eq!(all(&mut source(&options, Some(&columns))), whole.project(&columns).unwrap());
        assert_eq!(all(&mut source(&options, Some(&[]))).num_rows(), whole.num_rows());
    }

    #[test]
    fn a_seek_gives_exactly_the_rows_that_are_left() {
        for table in ["person", "auction", "bid", "event"] {
            let options = [("events", "1234"), ("batch_rows", "100"), ("table", table), ("out_of_order", "60")];
            let whole = all(&mut source(&options, None));
            let (mut first, mut gone) = (source(&options, None), 0);
            while let Some(batch) = first.next_batch().unwrap() {
                gone += batch.num_rows();
                let mut second = source(&options, None);
                second.seek(&first.position()).unwrap();
                assert_eq!(all(&mut second), whole.slice(gone, whole.num_rows() - gone), "{table}");
            }
            assert_eq!((gone, first.progress()), (whole.num_rows(), Some(1.0)));
        }
    }

    #[test]
    fn the_tables_share_one_sequence() {
        let options = [("events", "120"), ("out_of_order", "9")];
        let rows = |table| all(&mut source(&[options[0], options[1], ("table", table)], None));
        let events = rows("event");
        for (place, table) in ["person", "auction", "bid"].into_iter().enumerate() {
            let nested = events.column(place + 1).as_any().downcast_ref::<StructArray>().unwrap();
            let present = arrow::compute::is_not_null(nested).unwrap();
            let rows = rows(table);
            let of_kind = arrow::compute::filter(&nested.column(0), &present).unwrap();
            assert_eq!(&of_kind, rows.column(0), "{table}");
            assert_eq!(rows.num_rows(), [3, 9, 108][place]);
        }
    }

    #[test]
    fn every_event_has_its_turn_however_they_are_shuffled() {
        for group in [1, 2, 7, 1000, 954] {
            let mut numbers: Vec<u64> = (0..group * 2).map(|nth| shuffled(nth, group)).collect();
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..group * 2), "{group}");
        }
        let times = numbers(&all(&mut source(&[("events", "1000"), ("out_of_order", "500")], None)), "date_time");
        assert!(!times.is_sorted());
    }

    #[test]
    fn another_seed_is_another_part_of_the_sequence() {
        let rows = |seed| all(&mut source(&[("events", "500"), ("seed", seed)], None));
        let (first, second) = (rows("0"), rows("1"));
        assert_eq!(numbers(&first, "date_time"), numbers(&second, "date_time"));
        assert!(numbers(&second, "auction").iter().all(|auction| *auction > 60_000_000 && *auction < 60_002_000));
        assert_ne!(numbers(&first, "price"), numbers(&second, "price"));
    }
}
