//! The bare loops: each workload as the fastest loop over the same arrays that we know how to write by hand.
//!
//! They are the limit that the machine sets, and they are no engine: they know their columns, take every value for
//! known, fail at nothing and forget nothing. What they share with riverrun is that rows come in batches, once, in
//! order, and that the answer is Arrow arrays.

mod joins;
mod relational;
mod rows;
mod totals;
mod windows;

use riverrun::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use riverrun::arrow::datatypes::Int64Type;

use super::Result;
use super::input::Input;
use super::measure::{Sample, Stopwatch};

pub use joins::{delays, join_complete, join_final, join_running};
pub use relational::{best_totals, bids_of_category, sellers};
pub use rows::{collected_prices, converted_prices, some_auctions};
pub use totals::{changing_totals, running_totals, totals_by_auction, totals_by_bidder, totals_by_channel};
pub use windows::{hopping_counts, sessions, tumbling_counts};

/// A loop: it reads the input and gives `sink` the columns of its answer, batch by batch.
pub type Loop = fn(&Input, &mut Sink<'_>) -> Result<()>;

/// Takes the columns of a batch of the answer.
pub type Sink<'a> = dyn FnMut(Vec<ArrayRef>) -> Result<()> + 'a;

/// A hash table with the fastest hash function that we know, and the same in each run.
type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;

/// Runs a loop once, from its first row to the last of its answer.
pub fn run(by_hand: Loop, input: &Input) -> Result<Sample> {
    let mut rows = 0;
    let mut count = |columns: Vec<ArrayRef>| {
        rows += columns.first().map_or(0, |column| column.len() as u64);
        Ok(())
    };
    let watch = Stopwatch::start();
    by_hand(input, &mut count)?;
    Ok(watch.read(input.rows, rows))
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| format!("a bare loop misses its column \"{name}\"").into())
}

fn mistyped(name: &str) -> String {
    format!("a bare loop finds another type in its column \"{name}\"")
}

/// A column of BIGINT.
pub fn numbers<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a [i64]> {
    let column = column(rows, name)?.as_primitive_opt::<Int64Type>();
    Ok(column.ok_or_else(|| mistyped(name))?.values())
}

/// A column of VARCHAR.
pub fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    Ok(column(rows, name)?.as_string_opt::<i32>().ok_or_else(|| mistyped(name))?)
}

fn array_of(numbers: Vec<i64>) -> ArrayRef {
    std::sync::Arc::new(Int64Array::from(numbers))
}

fn array_of_floats(numbers: Vec<f64>) -> ArrayRef {
    std::sync::Arc::new(Float64Array::from(numbers))
}
