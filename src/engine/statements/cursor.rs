//! Cursors: `DECLARE`, `FETCH`, `CLOSE`; and the end of a stream.

use crate::error::{Code, Error, Result, StatementError, did_you_mean};
use crate::plan::Parameters;
use crate::recovery::PipelineId;
use crate::sql::{Declare, Fetch, Name};

use super::super::core::{Core, Done, visible_schema};
use super::super::pipeline::{Destination, Pending};
use super::{at, placed};

impl Core {
    pub(super) fn declare(&mut self, declare: &Declare, parameters: &Parameters) -> Result<Done> {
        let name = &declare.cursor.value;
        if self.cursors.contains_key(name) {
            return Err(at(&declare.cursor, Code::Duplicate, format!("there is already a cursor \"{name}\""))
                .hint(format!("CLOSE {name} ends it."))
                .into());
        }
        let mut planned = self.plan(&declare.query, parameters)?;
        planned.label = format!("cursor \"{name}\"");
        let id = self.start(planned, Destination::Pending(Pending::default()))?;
        self.cursors.insert(name.clone(), id);
        Ok(Done::Message(format!("declared cursor \"{name}\"")))
    }

    pub(super) fn fetch_cursor(&mut self, fetch: &Fetch) -> Result<Done> {
        let id = self.cursor(&fetch.cursor)?;
        self.tick()?;
        let rows = fetch.count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let batches = self.fetch(id, rows)?;
        let Some(pipeline) = self.graph.pipelines.get(&id) else { return Err(self.no_cursor(&fetch.cursor)) };
        Done::rows(visible_schema(&pipeline.plan), pipeline.plan.mode, batches)
    }

    pub(super) fn close_cursor(&mut self, name: &Name) -> Result<Done> {
        let id = self.cursor(name)?;
        self.cursors.remove(&name.value);
        self.stop(id);
        Ok(Done::Message(format!("closed cursor \"{}\"", name.value)))
    }

    pub(super) fn close_stream(&mut self, name: &Name) -> Result<Done> {
        if self.kind_of(&name.value).is_none() {
            return Err(self.not_found("stream", name));
        }
        self.tick()?;
        self.close_relation(&name.value.as_str().into()).map_err(|error| placed(error, name))?;
        self.graph.flush()?;
        Ok(Done::Message(format!("closed \"{}\"", name.value)))
    }

    fn cursor(&self, name: &Name) -> Result<PipelineId> {
        self.cursors.get(&name.value).copied().ok_or_else(|| self.no_cursor(name))
    }

    fn no_cursor(&self, name: &Name) -> Error {
        let error = at(name, Code::UnknownName, format!("cursor \"{}\" not found", name.value));
        if self.kind_of(&name.value).is_some() {
            return error.hint(format!("To end a stream, write CLOSE STREAM {}.", name.value)).into();
        }
        let hint = did_you_mean(&name.value, self.cursors.keys().map(String::as_str));
        hint.into_iter().fold(error, StatementError::hint).into()
    }
}
