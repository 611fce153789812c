//! Work on each row by itself, and lists of ten.

use std::sync::Arc;

use riverrun::arrow::array::{ArrayRef, Int64Builder, ListBuilder};

use super::{Map, Result, Sink, array_of, array_of_floats, column, numbers};
use crate::bench::input::Input;

/// How many prices a list has.
const LIST: usize = 10;

/// E, Nexmark's first query
pub fn converted_prices(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    for push in &input.pushes {
        let converted = numbers(&push.rows, "price")?.iter().map(|price| *price as f64 * 0.908);
        let kept = |name| column(&push.rows, name).cloned();
        let price = array_of_floats(converted.collect());
        sink(vec![kept("auction")?, kept("bidder")?, price, kept("channel")?, kept("date_time")?])?;
    }
    Ok(())
}

/// E, Nexmark's second query
pub fn some_auctions(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    for push in &input.pushes {
        let (mut auctions, mut prices) = (vec![], vec![]);
        for (auction, price) in numbers(&push.rows, "auction")?.iter().zip(numbers(&push.rows, "price")?) {
            if auction % 123 == 0 {
                auctions.push(*auction);
                prices.push(*price);
            }
        }
        sink(vec![array_of(auctions), array_of(prices)])?;
    }
    Ok(())
}

/// The prices of an auction that are no full list yet.
#[derive(Default)]
struct Open {
    prices: [i64; LIST],
    filled: u8,
}

impl Open {
    /// Takes a price in; whether the list is full.
    #[inline(always)]
    fn push(&mut self, price: i64) -> bool {
        if let Some(place) = self.prices.get_mut(usize::from(self.filled)) {
            *place = price;
        }
        self.filled += 1;
        usize::from(self.filled) == LIST
    }

    fn prices(&self) -> &[i64] {
        self.prices.get(..usize::from(self.filled)).unwrap_or_default()
    }
}

/// F
pub fn collected_prices(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut groups: Map<i64, Open> = Map::default();
    for push in &input.pushes {
        let mut full = Lists::default();
        for (auction, price) in numbers(&push.rows, "auction")?.iter().zip(numbers(&push.rows, "price")?) {
            let open = groups.entry(*auction).or_default();
            if open.push(*price) {
                full.push(*auction, open);
                open.filled = 0;
            }
        }
        sink(full.finish())?;
    }
    let mut rest = Lists::default();
    for (auction, open) in groups.iter().filter(|(_, open)| open.filled > 0) {
        rest.push(*auction, open);
    }
    sink(rest.finish())
}

/// Lists with their auctions.
struct Lists {
    auctions: Vec<i64>,
    lists: ListBuilder<Int64Builder>,
}

impl Default for Lists {
    fn default() -> Lists {
        Lists { auctions: vec![], lists: ListBuilder::new(Int64Builder::new()) }
    }
}

impl Lists {
    #[inline(always)]
    fn push(&mut self, auction: i64, open: &Open) {
        self.auctions.push(auction);
        self.lists.values().append_slice(open.prices());
        self.lists.append(true);
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        vec![array_of(self.auctions), Arc::new(self.lists.finish())]
    }
}
