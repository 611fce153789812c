//! Rows of partitions in order, as the operators keep them that ask for an order.

use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{InternalError, Result};
use crate::expr::{Expr, SortKey};
use crate::plan::node::ChangelogMode;
use crate::state::{Encoded, Equals, OrderedRows};
use crate::types::Batch;

/// Room for rows in partitions, in order; rows that may go are kept so that they are found.
pub(super) fn empty_rows(
    schema: &SchemaRef,
    partition: &[Expr],
    order: &[SortKey],
    mode: ChangelogMode,
) -> Result<OrderedRows> {
    let partition: Vec<DataType> = partition.iter().map(|key| key.data_type().clone()).collect();
    let order: Vec<_> = order.iter().map(|key| (key.expr.data_type().clone(), key.options)).collect();
    let equals = match mode {
        ChangelogMode::AppendOnly => Equals::ByArrival,
        ChangelogMode::Changelog => Equals::ByValue,
    };
    OrderedRows::new(schema, &partition, &order, equals)
}

/// Takes the rows of a batch in or out. Those that were taken out are added to `gone`, to be freed.
pub(super) fn take_in(
    kept: &mut OrderedRows,
    batch: &Batch,
    partitions: &[u32],
    rows: &Encoded,
    gone: &mut Vec<u32>,
) -> Result<()> {
    for (row, partition) in partitions.iter().enumerate() {
        if batch.kind(row).weight() > 0 {
            if batch.kinds().is_some() && kept.order(*partition).is_empty() {
                kept.appeared(*partition);
            }
            kept.insert(*partition, rows, row)?;
            continue;
        }
        let found = kept.find(*partition, rows, row).filter(|found| kept.take_out(*partition, *found));
        gone.push(found.ok_or_else(|| InternalError::new("a row is taken back that is not there"))?);
    }
    Ok(())
}
