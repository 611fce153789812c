//! Rows of partitions in order, as the operators keep them that ask for an order.

use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{InternalError, Result};
use crate::expr::{Expr, SortKey};
use crate::operators::Output;
use crate::plan::node::ChangelogMode;
use crate::state::{Encoded, Equals, OrderedRows};
use crate::types::{Batch, Timestamp};

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

/// Takes the rows of a batch in or out. Those that were taken out are added to `gone`, to be freed; one that takes back
/// what has been forgotten does nothing, and does not renew its partition.
pub(super) fn take_in(
    kept: &mut OrderedRows,
    batch: &Batch,
    (partitions, rows): (&[u32], &Encoded),
    gone: &mut Vec<u32>,
    out: &mut Output,
) -> Result<()> {
    let mut ignored = vec![];
    for (row, partition) in partitions.iter().enumerate() {
        if batch.kind(row).weight() > 0 {
            if batch.kinds().is_some() && kept.order(*partition).is_empty() {
                kept.appeared(*partition);
            }
            kept.insert(*partition, rows, row)?;
            continue;
        }
        match kept.find(*partition, rows, row).filter(|found| kept.take_out(*partition, *found)) {
            Some(found) => gone.push(found),
            None if kept.forgets() => ignored.push(row),
            None => return Err(InternalError::new("a row is taken back that is not there").into()),
        }
    }
    if kept.forgets() {
        out.ignore(ignored.len());
        let mut ignored = ignored.into_iter().peekable();
        let written = partitions.iter().enumerate().filter(|(row, _)| ignored.next_if_eq(row).is_none());
        let written: Vec<u32> = written.map(|(_, partition)| *partition).collect();
        kept.touch(&written, out.now());
    }
    Ok(())
}

/// Forgets the partitions that were not written for so long, and counts them. Nothing is said of it.
pub(super) fn expire(kept: &mut OrderedRows, now: Timestamp, out: &mut Output) {
    out.expire(kept.forget_due(now));
}
