//! The first rows of each partition in an order: `ROW_NUMBER() … <= n` and its kin, `ORDER BY … LIMIT`, `DISTINCT ON`.
//!
//! ```text
//! in:   +I b 2   +I c 3      +I a 1                 the first two by number, ranked
//! out:  +I b 1   +I c 2      -U b 1  +U a 1
//!                            -U c 2  +U b 2
//! ```
//!
//! Of rows that stay only those are kept that are among the first; most rows of a long stream are refused, and refusing
//! one compares its key with the last one's. Of rows that may go all are kept: one of the first may go, and let a later
//! one in. After each batch the answer over the partitions that it touched is compared with what it was before.

mod counts;
mod first_rows;
mod settled;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, UInt64Array};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::{Expr, SortKey, evaluate_all};
use crate::operators::closing::WindowEnds;
use crate::operators::difference::{Answer, Pairing, Touched, say_changes};
use crate::operators::ordered::{empty_rows, expire, take_in};
use crate::operators::rows::take_rows;
use crate::operators::{Operator, Output, Port, StateSize, Waits};
use crate::plan::node::{self, ChangelogMode, OrderedEmit, Rank};
use crate::state::{OrderedRows, Snapshot};
use crate::types::{Batch, Epoch, Timestamp};

/// Builds the operator of a Top-N.
pub fn build(node: &node::TopN, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    if node.by_arrival() {
        return first_rows::build(node, snapshots);
    }
    if node.settles {
        return settled::build(node, snapshots);
    }
    let mut rows = empty(node)?.forgetting(node.ttl);
    rows.restore(snapshots, |rows| evaluate_all(node.order.iter().map(|key| &key.expr), rows))?;
    Ok(Box::new(TopN {
        partition: node.partition.clone(),
        order: node.order.clone(),
        rank: node.rank,
        skip: node.skip,
        end: node.skip.saturating_add(node.fetch),
        says_rank: node.says_rank,
        emit: node.emit,
        ends: WindowEnds::of(&node.partition, node.closed_by)?,
        keeps_all: node.input_mode == ChangelogMode::Changelog,
        schema: node.schema.clone(),
        rows,
        touched: Touched::default(),
    }))
}

/// Whether the rows of a Top-N can be kept; if not, the error says why.
pub fn check(node: &node::TopN) -> Result<()> {
    empty(node).map(drop)
}

fn empty(node: &node::TopN) -> Result<OrderedRows> {
    empty_rows(&node.input.schema(), &node.partition, &node.order, node.input_mode)
}

/// The first rows of each partition.
struct TopN {
    partition: Vec<Expr>,
    order: Vec<SortKey>,
    rank: Rank,
    /// How many of the first are passed over.
    skip: usize,
    /// The last rank that is part of the answer.
    end: usize,
    says_rank: bool,
    emit: OrderedEmit,
    /// The windows that partitions are of, if the watermark closes them.
    ends: Option<WindowEnds>,
    /// Whether rows may go, so that all are kept.
    keeps_all: bool,
    schema: SchemaRef,
    rows: OrderedRows,
    touched: Touched,
}

impl Operator for TopN {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        if self.end == 0 {
            return Ok(());
        }
        let batch = match &mut self.ends {
            Some(ends) => ends.in_time(batch, out)?,
            None => batch,
        };
        let partition = evaluate_all(&self.partition, batch.rows())?;
        let order = evaluate_all(self.order.iter().map(|key| &key.expr), batch.rows())?;
        let partitions = self.rows.partitions(&partition, batch.num_rows())?;
        match self.keeps_all {
            true => {
                let rows = self.rows.encode(&order, batch.rows())?;
                let came = (partitions.as_slice(), &rows);
                self.change(&partitions, out, |top, gone, out| take_in(&mut top.rows, &batch, came, gone, out))
            }
            false => {
                // A row that is refused a place renews its partition as well.
                self.rows.touch(&partitions, out.now());
                self.take_first_in(&batch, &partitions, &order, out)
            }
        }
    }

    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        expire(&mut self.rows, now, out);
        Ok(())
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.rows.next_due()
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        if let Some(ends) = &mut self.ends {
            let closed = ends.closed(&self.rows, watermark)?;
            if self.emit == OrderedEmit::Final && !closed.is_empty() {
                self.answer(&closed).say(&self.rows, &self.schema, out)?;
            }
            self.rows.forget(&closed);
        }
        out.advance(watermark);
        Ok(())
    }

    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        match self.emit {
            OrderedEmit::Final => {
                let partitions = match &self.ends {
                    Some(ends) => ends.in_order(&self.rows)?,
                    None => self.rows.partitions_in_order(),
                };
                self.answer(&partitions).say(&self.rows, &self.schema, out)?;
                self.rows.clear();
                Ok(())
            }
            OrderedEmit::Changes | OrderedEmit::Running => Ok(()),
        }
    }

    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        Ok(Some(Snapshot { tables: self.rows.save(since)? }))
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.rows.num_rows(), bytes: self.rows.bytes() }
    }

    fn waits(&self) -> Waits {
        let open_until = self.ends.as_ref().and_then(|ends| ends.first_open(&self.rows));
        Waits { open_until, ..Waits::default() }
    }
}

impl TopN {
    /// Lets `take_in` change the rows of partitions, and says what that has done to the answer.
    fn change(
        &mut self,
        partitions: &[u32],
        out: &mut Output,
        take_in: impl FnOnce(&mut TopN, &mut Vec<u32>, &mut Output) -> Result<()>,
    ) -> Result<()> {
        let touched = self.touched.once(partitions);
        let mut gone = vec![];
        match self.emit {
            OrderedEmit::Final => take_in(self, &mut gone, out)?,
            OrderedEmit::Changes | OrderedEmit::Running => {
                let before = self.answer(&touched);
                take_in(self, &mut gone, out)?;
                let after = self.answer(&touched);
                // A rank of its own is a key of the answer.
                let pairing = match (self.rank, self.says_rank) {
                    (Rank::RowNumber, true) => Pairing::ByPlace,
                    (Rank::RowNumber | Rank::Rank | Rank::DenseRank, _) => Pairing::ByRow,
                };
                say_changes(&self.rows, (&before, &after), pairing, &self.schema, out)?;
            }
        }
        self.rows.free(&gone);
        self.rows.forget_empty(&touched);
        Ok(())
    }

    /// Takes those of the rows in that are among the first.
    fn take_first_in(&mut self, batch: &Batch, partitions: &[u32], order: &[ArrayRef], out: &mut Output) -> Result<()> {
        let keys = self.rows.encode_keys(order)?;
        let wanted = |row: &u32| !self.refuses(partitions[*row as usize], keys.key(*row as usize));
        let wanted: Vec<u32> = (0..batch.num_rows() as u32).filter(wanted).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let partitions: Vec<u32> = wanted.iter().map(|row| partitions[*row as usize]).collect();
        let rows = match wanted.len() == batch.num_rows() {
            true => batch.rows().clone(),
            false => take_rows(batch.rows(), &UInt32Array::from(wanted.clone()))?,
        };
        let rows = self.rows.encode_chosen(keys, wanted, &rows)?;
        self.change(&partitions, out, |top, gone, _| {
            for (row, partition) in partitions.iter().enumerate() {
                // One before it in the batch may have taken its place.
                if !top.refuses(*partition, rows.key(row)) {
                    top.rows.insert(*partition, &rows, row)?;
                    top.drop_last(*partition, gone);
                }
            }
            Ok(())
        })
    }

    /// Whether a row with that key, which is the last to come, cannot be among the first.
    fn refuses(&self, partition: u32, key: &[u8]) -> bool {
        let order = self.rows.order(partition);
        if order.len() < self.end {
            return false;
        }
        let Some(last) = order.last().map(|last| self.rows.key(last)) else { return false };
        match self.rank {
            Rank::RowNumber => key >= last,
            Rank::Rank => key > last,
            Rank::DenseRank => key > last && self.peer_groups(partition) >= self.end,
        }
    }

    /// Takes rows out that a new one has put behind the first.
    fn drop_last(&mut self, partition: u32, gone: &mut Vec<u32>) {
        while self.last_is_behind(partition) {
            let Some(last) = self.rows.pop(partition) else { return };
            gone.push(last);
        }
    }

    fn last_is_behind(&self, partition: u32) -> bool {
        let order = self.rows.order(partition);
        let peers = || {
            let last = order.last().map(|last| self.rows.key(last));
            order.iter().rev().take_while(|row| Some(self.rows.key(*row)) == last).count()
        };
        order.len() > self.end
            && match self.rank {
                Rank::RowNumber => true,
                Rank::Rank => order.len() - peers() >= self.end,
                Rank::DenseRank => self.peer_groups(partition) > self.end,
            }
    }

    /// How many different keys a partition has.
    fn peer_groups(&self, partition: u32) -> usize {
        let mut last = None;
        let fresh = |row: &u32| last.replace(self.rows.key(*row)) != Some(self.rows.key(*row));
        self.rows.order(partition).iter().filter(fresh).count()
    }

    /// The answer over partitions.
    fn answer(&self, partitions: &[u32]) -> Answer {
        let mut answer = Answer::default();
        let mut ranks = vec![];
        for partition in partitions {
            self.first_rows(*partition, &mut answer.rows, &mut ranks);
            answer.ends.push(answer.rows.len());
        }
        if self.says_rank {
            answer.columns.push(Arc::new(UInt64Array::from(ranks)));
        }
        answer
    }

    /// The first rows of a partition, and their ranks.
    fn first_rows(&self, partition: u32, rows: &mut Vec<u32>, ranks: &mut Vec<u64>) {
        let (mut rank, mut last) = (0, None);
        for (place, row) in self.rows.order(partition).iter().enumerate() {
            let key = self.rows.key(row);
            rank = match self.rank {
                Rank::RowNumber => place + 1,
                Rank::Rank if last == Some(key) => rank,
                Rank::Rank => place + 1,
                Rank::DenseRank => rank + usize::from(last != Some(key)),
            };
            last = Some(key);
            if rank > self.end {
                break;
            }
            if rank > self.skip {
                rows.push(row);
                ranks.push(rank as u64);
            }
        }
    }
}
