//! `COPY (query) TO 'path'`.

use std::sync::Arc;

use crate::error::{Code, Result, StatementError};
use crate::io::{self, FileOptions};
use crate::plan::{self, Parameters};
use crate::sql::Copy;

use super::super::core::{Core, Done};
use super::super::options::QueryOptions;
use super::super::pipeline::Destination;
use super::create::writing;
use super::rows;

impl Core {
    pub(super) fn copy(&mut self, copy: &Copy, parameters: &Parameters) -> Result<Done> {
        self.tick()?;
        let planned = self.plan_asked(&copy.query, parameters, QueryOptions::default())?;
        plan::check_written(&planned.plan, &copy.query)?;
        FileOptions::check_written(&copy.options)?;
        let options = FileOptions::parse(&copy.options)?;
        let writing = writing(&planned, &options)?;
        let schema = io::written_schema(&writing.form, &planned.plan.root.schema());
        // No statement can name this sink: a name from SQL is never empty.
        let name: Arc<str> = "".into();
        self.graph.sinks.create(name.clone());
        let started = self
            .graph
            .sinks
            .writer_starts(&name, &schema, writing, || io::open_sink(&options, schema.clone(), &self.access))
            .and_then(|()| self.start(planned, Destination::Sink(name.clone())));
        let id = match started {
            Ok(id) => id,
            Err(error) => {
                self.graph.sinks.abandon(&name);
                return Err(error);
            }
        };
        let read = match self.ends_by_itself(id) {
            true => self.graph.read_to_end(id, &self.settings),
            false => {
                Err(StatementError::new(Code::Unsupported, "the query reads what is not closed, so it never ends")
                    .hint("CREATE SINK … AS writes the rows of a query that goes on.")
                    .into())
            }
        };
        self.stop(id);
        let count = self.graph.sinks.rows(&name);
        match read {
            Ok(()) => {
                self.graph.sinks.drop(&name)?;
                Ok(Done::Message(format!("copied {}", rows(count as usize))))
            }
            Err(error) => {
                self.graph.sinks.abandon(&name);
                Err(error)
            }
        }
    }
}
