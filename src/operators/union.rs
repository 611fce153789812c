//! The rows of several inputs, as they arrive.

use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::operators::rows::record_batch;
use crate::operators::{Operator, Output, Port};
use crate::plan::node;
use crate::state::Snapshot;
use crate::types::Batch;

/// The operator of `node`.
pub fn build(node: &node::Union, _: &[Snapshot]) -> Result<Box<dyn Operator>> {
    Ok(Box::new(Union { schema: node.schema.clone() }))
}

struct Union {
    schema: SchemaRef,
}

impl Operator for Union {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        // The inputs agree in types only: names and what may be NULL are the union's own.
        let rows = record_batch(&self.schema, batch.rows().columns().to_vec(), batch.num_rows())?;
        out.push(batch.with_rows(rows));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{check, columns};

    #[test]
    fn rows_of_all_inputs_come_out_as_they_arrive() {
        let node = node::Union { inputs: vec![], schema: columns("z:int") };
        let script = "
            0: 1 | 2 -> 1 | 2
            1: 3     -> 3
            0: -U 1 | +U 4 -> -U 1 | +U 4
        ";
        check(&[columns("a:int"), columns("b:int")], script, |snapshots| build(&node, snapshots));
    }
}
