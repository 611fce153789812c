//! ASOF joins: each left row with the right row of its key that is nearest in time.
//!
//! ```text
//! left:   (a, 5)   (a, 9)        MATCH_CONDITION (left.at >= right.at)
//! right:  (a, 4)   (a, 7)   (b, 8)
//! out:    (a, 5) (a, 4)   (a, 9) (a, 7)
//! ```
//!
//! Where the watermark or the end tells that no nearer row can come, `settled` merges both sides in the order of time
//! and says each left row once. Elsewhere `changing` says a row at once, and corrects it.

mod changing;
mod settled;
#[cfg(test)]
mod tests;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::Expr;
use crate::operators::Operator;
use crate::operators::matching::Nulls;
use crate::plan::node::{AsofJoin, Settles};
use crate::state::Snapshot;
use crate::types::{Batch, ticks};

/// The operator of `node`.
pub fn build(node: &AsofJoin, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    match node.settles {
        Settles::Watermark | Settles::End => settled::build(node, snapshots),
        Settles::Never => changing::build(node, snapshots),
    }
}

/// Whether the rows of a side can be kept; if not, the error says why.
pub fn check_side(schema: &SchemaRef, settles: Settles) -> Result<()> {
    match settles {
        Settles::Watermark | Settles::End => Ok(()),
        Settles::Never => changing::check_side(schema),
    }
}

/// What is computed of the rows of a batch: their keys and times.
struct Arrival {
    keys: Vec<ArrayRef>,
    nulls: Nulls,
    /// The times as they are, and in ticks.
    times: ArrayRef,
    ticks: Int64Array,
}

impl Arrival {
    fn of(batch: &Batch, keys: &[Expr], time: &Expr) -> Result<Arrival> {
        let keys = keys.iter().map(|key| key.evaluate(batch.rows())).collect::<Result<Vec<_>>>()?;
        let nulls = Nulls::of(&keys);
        let times = time.evaluate(batch.rows())?;
        Ok(Arrival { keys, nulls, ticks: ticks(&times)?, times })
    }

    /// Whether a row can match anything: no part of its key, and not its time, is NULL.
    #[inline]
    fn matches(&self, row: usize) -> bool {
        self.ticks.is_valid(row) && !self.nulls.in_row(row)
    }
}
