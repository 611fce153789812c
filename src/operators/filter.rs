//! The rows for which a predicate is true.
//!
//! Over a changelog the pairs stay right:
//!
//! | before | after | comes out |
//! | --- | --- | --- |
//! | passes | passes | `-U`, `+U` |
//! | passes | not | `-D` |
//! | not | passes | `+I` |
//! | not | not | nothing |

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;

use crate::error::Result;
use crate::expr::Expr;
use crate::types::{Batch, RowKind};

/// The rows of `batch` for which `predicate` is true.
pub(crate) fn filter(batch: Batch, predicate: &Expr) -> Result<Batch> {
    let passes = predicate.evaluate_predicate(batch.rows())?;
    if passes.true_count() == passes.len() {
        return Ok(batch);
    }
    let rows = filter_record_batch(batch.rows(), &passes)?;
    let watermarks = batch.watermarks_of(passes.values().set_indices());
    if batch.kinds().is_none() {
        return Ok(Batch::append_only(rows).with_watermarks(watermarks));
    }
    let kinds = (0..batch.num_rows()).filter(|row| passes.value(*row)).map(|row| kind_after(&batch, &passes, row));
    Ok(Batch::changelog(rows, kinds.collect()).with_watermarks(watermarks))
}

/// What a row that passes is, now that the other half of its pair may be gone.
fn kind_after(batch: &Batch, passes: &BooleanArray, row: usize) -> RowKind {
    match batch.kind(row) {
        RowKind::UpdateBefore if row + 1 >= passes.len() || !passes.value(row + 1) => RowKind::Delete,
        RowKind::UpdateAfter if row == 0 || !passes.value(row - 1) => RowKind::Insert,
        kind @ (RowKind::Insert | RowKind::UpdateBefore | RowKind::UpdateAfter | RowKind::Delete) => kind,
    }
}
