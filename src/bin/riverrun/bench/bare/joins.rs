//! Persons with their auctions, and flights with their weather.

use std::sync::Arc;

use riverrun::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, Int64Builder, RecordBatch, StringArray, StringBuilder,
};
use riverrun::arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};

use super::{Map, Result, Sink, array_of_floats, column, mistyped, numbers, texts};
use crate::bench::input::Input;

/// Name, city and state.
type Person<'a> = (&'a str, &'a str, &'a str);

/// The last row of each side.
#[derive(Default, Clone, Copy)]
struct Last<'a> {
    person: Option<Person<'a>>,
    auction: Option<i64>,
}

/// D, a row out for every row in
pub fn join_running(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    join_streaming(input, sink, |last, out| out.push(last))
}

/// D, a row once both sides are there
pub fn join_complete(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    join_streaming(input, sink, |last, out| {
        if last.person.is_some() && last.auction.is_some() {
            out.push(last);
            *last = Last::default();
        }
    })
}

/// D, once at the end
pub fn join_final(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut keys: Map<i64, Last<'_>> = Map::default();
    for push in &input.pushes {
        arrive(&mut keys, push.stream, &push.rows, |_| {})?;
    }
    let mut out = Joined::default();
    keys.values().for_each(|last| out.push(last));
    sink(out.finish())
}

fn join_streaming<'a>(input: &'a Input, sink: &mut Sink<'_>, emit: impl Fn(&mut Last<'a>, &mut Joined)) -> Result<()> {
    let mut keys: Map<i64, Last<'a>> = Map::default();
    for push in &input.pushes {
        let mut out = Joined::default();
        arrive(&mut keys, push.stream, &push.rows, |last| emit(last, &mut out))?;
        sink(out.finish())?;
    }
    Ok(())
}

/// Stores each row of a batch and then calls `emit` with its key's state. The persons are the first stream.
#[inline(always)]
fn arrive<'a>(
    keys: &mut Map<i64, Last<'a>>,
    stream: usize,
    rows: &'a RecordBatch,
    mut emit: impl FnMut(&mut Last<'a>),
) -> Result<()> {
    if stream == 0 {
        let (names, cities, states) = (texts(rows, "name")?, texts(rows, "city")?, texts(rows, "state")?);
        for (row, id) in numbers(rows, "id")?.iter().enumerate() {
            let last = keys.entry(*id).or_default();
            last.person = Some((names.value(row), cities.value(row), states.value(row)));
            emit(last);
        }
        return Ok(());
    }
    for (id, seller) in numbers(rows, "id")?.iter().zip(numbers(rows, "seller")?) {
        let last = keys.entry(*seller).or_default();
        last.auction = Some(*id);
        emit(last);
    }
    Ok(())
}

/// Persons with auctions, as columns.
#[derive(Default)]
struct Joined {
    names: StringBuilder,
    cities: StringBuilder,
    states: StringBuilder,
    auctions: Int64Builder,
}

impl Joined {
    #[inline(always)]
    fn push(&mut self, row: &Last<'_>) {
        match row.person {
            Some((name, city, state)) => {
                self.names.append_value(name);
                self.cities.append_value(city);
                self.states.append_value(state);
            }
            None => {
                for texts in [&mut self.names, &mut self.cities, &mut self.states] {
                    texts.append_null();
                }
            }
        }
        self.auctions.append_option(row.auction);
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        let texts = [&mut self.names, &mut self.cities, &mut self.states];
        let mut columns: Vec<ArrayRef> = texts.map(|texts| Arc::new(texts.finish()) as ArrayRef).into();
        columns.push(Arc::new(self.auctions.finish()));
        columns
    }
}

/// The letters of a short text as a number, which is cheaper to hash.
#[inline(always)]
fn code(text: &str) -> u32 {
    text.bytes().fold(0, |code, letter| code << 8 | u32::from(letter))
}

fn text_of(code: u32) -> String {
    code.to_be_bytes().into_iter().filter(|letter| *letter != 0).map(char::from).collect()
}

/// G: the weather is the first stream, the flights are the second. All weather is kept, then flights are looked up.
pub fn delays(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut precipitation: Map<(i64, u32), f64> = Map::default();
    for push in input.pushes.iter().filter(|push| push.stream == 0) {
        let origins = texts(&push.rows, "origin")?;
        let amounts = column(&push.rows, "precip")?.as_primitive_opt::<Float64Type>();
        let amounts = amounts.ok_or_else(|| mistyped("precip"))?.values();
        for (row, (hour, amount)) in hours(&push.rows)?.iter().zip(amounts).enumerate() {
            precipitation.insert((*hour, code(origins.value(row))), *amount);
        }
    }
    let mut groups: Map<(u32, bool), (i64, f64)> = Map::default();
    for push in input.pushes.iter().filter(|push| push.stream == 1) {
        let (origins, carriers) = (texts(&push.rows, "origin")?, texts(&push.rows, "carrier")?);
        let delays = column(&push.rows, "dep_delay")?.as_primitive_opt::<Int64Type>();
        let delays = delays.ok_or_else(|| mistyped("dep_delay"))?;
        for (row, hour) in hours(&push.rows)?.iter().enumerate() {
            if delays.is_null(row) {
                continue;
            }
            if let Some(amount) = precipitation.get(&(*hour, code(origins.value(row)))) {
                let group = groups.entry((code(carriers.value(row)), *amount > 0.0)).or_default();
                group.0 += 1;
                group.1 += delays.value(row) as f64;
            }
        }
    }
    sink(mean_delays(&groups))
}

fn hours(rows: &RecordBatch) -> Result<&[i64]> {
    let hours = column(rows, "time_hour")?.as_primitive_opt::<TimestampMicrosecondType>();
    Ok(hours.ok_or_else(|| mistyped("time_hour"))?.values())
}

fn mean_delays(groups: &Map<(u32, bool), (i64, f64)>) -> Vec<ArrayRef> {
    let carriers: StringArray = groups.keys().map(|(carrier, _)| Some(text_of(*carrier))).collect();
    let rain: BooleanArray = groups.keys().map(|(_, rain)| Some(*rain)).collect();
    let means = groups.values().map(|(count, total)| total / *count as f64).collect();
    let counts: Int64Array = groups.values().map(|(count, _)| Some(*count)).collect();
    vec![Arc::new(carriers), Arc::new(rain), array_of_floats(means), Arc::new(counts)]
}
