//! `EXPLAIN` and `EXPLAIN ANALYZE`.

use crate::error::{Code, Result, StatementError};
use crate::plan::{self, Parameters};
use crate::sql::Explain;

use super::super::core::{Core, Done};
use super::super::pipeline::Destination;

impl Core {
    pub(super) fn explain(&mut self, explain: &Explain, parameters: &Parameters) -> Result<Done> {
        let planned = self.plan(&explain.query, parameters)?;
        if !explain.analyze {
            return Ok(Done::Text(plan::explain(&planned.plan, None)));
        }
        self.tick()?;
        let plan = planned.plan.clone();
        let id = self.start(planned, Destination::Discard)?;
        if !self.ends_by_itself(id) {
            self.stop(id);
            return Err(StatementError::new(Code::Unsupported, "the query reads what is not closed, so it never ends")
                .hint("Close its streams first, or read files; EXPLAIN alone shows the plan.")
                .into());
        }
        let read = self.graph.read_to_end(id, &self.settings);
        let Some(pipeline) = self.graph.remove(id) else { return Ok(Done::Text(plan::explain(&plan, None))) };
        read?;
        match pipeline.error {
            Some(error) => Err(error),
            None => Ok(Done::Text(plan::explain(&plan, Some(&pipeline.dataflow.metrics())))),
        }
    }
}
