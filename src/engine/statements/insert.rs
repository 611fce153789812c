//! `INSERT`. One statement is one batch.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::error::{Code, Result};
use crate::plan::{Parameters, Reads};
use crate::sql::{Insert, Name};
use crate::types::{Batch, RowKind};

use super::super::appender::conform;
use super::super::core::{Collected, Core, Done, Planned};
use super::super::options::QueryOptions;
use super::create::check_append_only;
use super::{at, placed, rows};

impl Core {
    pub(super) fn insert(&mut self, insert: &Insert, parameters: &Parameters) -> Result<Done> {
        if self.catalog.sinks.contains_key(&insert.target.value) {
            return self.insert_into_sink(insert, parameters);
        }
        let schema = self.fed(&insert.target)?;
        self.tick()?;
        let plan = |reads| self.plan_insert(insert, &schema, parameters, QueryOptions::default(), reads);
        let planned = self.present_or(&insert.query, || plan(Reads::Present), || plan(Reads::Changes))?;
        check_append_only(&planned, &insert.target)?;
        let batches = self.collect_inserted(planned, &insert.target)?;
        let name: Arc<str> = insert.target.value.as_str().into();
        let Some(first) = batches.first() else { return Ok(inserted(0)) };
        let batch = Batch::concat(&first.rows().schema(), &batches)?;
        let batch = conform(&name, &schema, batch.rows().clone())?;
        let count = batch.num_rows();
        self.append(&name, batch, RowKind::Insert).map_err(|error| placed(error, &insert.target))?;
        self.graph.flush()?;
        Ok(inserted(count))
    }

    fn collect_inserted(&mut self, planned: Planned, target: &Name) -> Result<Vec<Batch>> {
        match self.collect(planned)? {
            Collected::All(batches) => Ok(batches),
            Collected::Open(id) => {
                self.stop(id);
                let message =
                    format!("the query reads what is not closed, so its rows for \"{}\" never end", target.value);
                Err(at(target, Code::Unsupported, message)
                    .hint("CREATE STREAM … AS names the rows of a query that goes on.")
                    .into())
            }
        }
    }

    /// A query that ends is written whole; another goes on writing.
    fn insert_into_sink(&mut self, insert: &Insert, parameters: &Parameters) -> Result<Done> {
        let name = &insert.target.value;
        let declared = self.catalog.sinks.get(name).and_then(|sink| sink.schema.clone());
        let planned = match declared {
            Some(schema) => {
                let options = QueryOptions::default();
                self.plan_insert(insert, &schema, parameters, options, Reads::Changes)?
            }
            None => self.plan_written(&insert.query, parameters, QueryOptions::default())?,
        };
        let written = self.write_sink(name, planned).map_err(|error| placed(error, &insert.target))?;
        Ok(match written {
            Some(count) => inserted(count),
            None => Done::Message(format!("writing into \"{name}\" while the input goes on")),
        })
    }

    /// The columns of a relation that takes rows.
    pub(super) fn fed(&self, target: &Name) -> Result<SchemaRef> {
        match self.kind_of(&target.value) {
            None => Err(self.not_found("relation", target)),
            Some(_) => self
                .fed_relation(&target.value)
                .map(|relation| relation.schema().clone())
                .map_err(|error| placed(error, target)),
        }
    }
}

fn inserted(count: usize) -> Done {
    Done::Message(format!("inserted {}", rows(count)))
}
