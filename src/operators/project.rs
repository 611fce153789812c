//! Expressions over each row. Row kinds stay as they are.

use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::expr::Expr;
use crate::operators::rows::record_batch;
use crate::types::Batch;

/// One column an expression, for each row of `batch`.
pub(crate) fn project(batch: &Batch, exprs: &[Expr], schema: &SchemaRef) -> Result<Batch> {
    let columns = exprs.iter().map(|expr| expr.evaluate(batch.rows())).collect::<Result<_>>()?;
    Ok(batch.with_rows(record_batch(schema, columns, batch.num_rows())?))
}
