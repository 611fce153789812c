//! Ten times the rows with the same keys are to cost ten times the time; ten times the keys no more than they cost the
//! loop written by hand, which misses the processor's cache as well.

use super::{Finding, Limit};
use crate::bench::Result;
use crate::bench::compare::Bench;
use crate::bench::data::Tables;
use crate::bench::generate::{self, Keys};
use crate::bench::input::Input;
use crate::bench::{bare, river, workloads};

/// How much more than ten times as long ten times the rows may take.
const ROWS_RATIO_MAX: f64 = 1.05;
/// How much more ten times the keys may cost riverrun than the loop.
const KEYS_RATIO_MAX: f64 = 1.0;
/// How many rows there are for each of the many keys.
const ROWS_A_KEY: usize = 16;

pub fn run(bench: &Bench<'_>) -> Result<Vec<Finding>> {
    let workload = workloads::named("a1_auction_uniform")?;
    let by_hand = workload.bare.ok_or("there is no loop to compare with")?;
    let rows = bench.events.max(10 * ROWS_A_KEY);
    let keys = (rows / ROWS_A_KEY) as u64;
    let input = |rows, keys| -> Result<Input> {
        let mut tables = Tables::default();
        let keys = Keys { auctions: keys, bidders: keys, channels: keys };
        tables.insert(generate::bids(rows, keys, bench.progress)?);
        Input::new(&workload, &tables)
    };
    let once = input(rows / 10, keys / 100)?;
    let ten_times = once.repeated(10);
    let (few, many) = (input(rows, keys / 10)?, input(rows, keys)?);

    let mut seconds: [Vec<f64>; 6] = Default::default();
    for rep in 1..=bench.reps {
        bench.progress.tell(|| format!("growth: {rep} of {}", bench.reps));
        let runs = [
            river::run(&workload, &once)?,
            river::run(&workload, &ten_times)?,
            river::run(&workload, &few)?,
            river::run(&workload, &many)?,
            bare::run(by_hand, &few)?,
            bare::run(by_hand, &many)?,
        ];
        for (seconds, sample) in seconds.iter_mut().zip(runs) {
            seconds.push(sample.seconds);
        }
    }
    // The fastest run of each is that which others have disturbed least.
    let fastest = |seconds: Vec<f64>| seconds.into_iter().fold(f64::INFINITY, f64::min);
    let [once, ten_times, few, many, bare_few, bare_many] = seconds.map(fastest);
    let finding = |what: &str, found, most: Option<f64>| {
        let limit = most.map(Limit::AtMost);
        Finding { probe: "growth", what: what.into(), found, unit: "x", limit }
    };
    Ok(vec![
        finding("10 x the rows with the same keys, of 10 x the time", ten_times / once / 10.0, Some(ROWS_RATIO_MAX)),
        finding("10 x the keys, bare loop", bare_many / bare_few, None),
        finding("10 x the keys, riverrun", many / few, None),
        finding("10 x the keys, riverrun of bare loop", many / few / (bare_many / bare_few), Some(KEYS_RATIO_MAX)),
    ])
}
