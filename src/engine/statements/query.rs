//! A query as a statement: its whole answer, or a live query.

use crate::error::Result;
use crate::plan::{ChangelogMode, Parameters};
use crate::sql;
use crate::types::Batch;

use super::super::core::{Collected, Core, Done};

impl Core {
    pub(super) fn run_query(&mut self, query: &sql::Query, parameters: &Parameters) -> Result<Done> {
        self.tick()?;
        let planned = self.plan(query, parameters)?;
        let (schema, mode) = (planned.visible_schema(), planned.plan.mode);
        match self.collect(planned)? {
            Collected::All(batches) => Done::rows(schema, mode, &batches),
            Collected::Open(id) => Ok(Done::Started(id)),
        }
    }
}

impl Done {
    /// Rows as users see them.
    pub(super) fn rows(schema: arrow::datatypes::SchemaRef, mode: ChangelogMode, batches: &[Batch]) -> Result<Done> {
        let batches = batches.iter().map(Batch::to_record_batch).collect::<Result<_>>()?;
        Ok(Done::Rows { schema, batches, mode })
    }
}
