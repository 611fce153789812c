//! `EXPLAIN WHY`: why a query says nothing, or nothing any more.

use std::sync::Arc;

use crate::catalog::Relation;
use crate::error::{Code, Result};
use crate::plan::depth::deeper;
use crate::plan::{self, Cause, Parameters};
use crate::recovery::PipelineId;
use crate::sql::{Name, ObjectKind, Purpose, Silent};

use super::super::core::{Core, Done, Planned};
use super::super::options::QueryOptions;
use super::super::pipeline::{Destination, Pipeline};
use super::{at, kind_name, rows};

impl Core {
    pub(super) fn explain_why(&mut self, silent: &Silent, parameters: &Parameters) -> Result<Done> {
        let lines = match silent {
            Silent::Query(query, purpose) => {
                let mut planned = match purpose {
                    Purpose::Asked => self.plan_asked(query, parameters, QueryOptions::default())?,
                    Purpose::GoesOn => self.plan(query, parameters)?,
                };
                planned.label = "the query".into();
                self.why_of_query(planned)?
            }
            Silent::Name(name) => match self.running(name) {
                Some(id) => self.why_of(id),
                None => self.why_of_name(name, parameters)?,
            },
        };
        Ok(Done::Text(lines.join("\n")))
    }

    /// The pipeline that is called so, or feeds what is called so.
    fn running(&self, name: &Name) -> Option<PipelineId> {
        let of_sink = |pipeline: &Pipeline| match &pipeline.destination {
            Destination::Sink(sink) => **sink == *name.value,
            Destination::Pending(_) | Destination::Relation(_) | Destination::View(..) | Destination::Discard => false,
        };
        let sink = || self.graph.pipelines.iter().rfind(|(_, pipeline)| of_sink(pipeline)).map(|(id, _)| *id);
        let named = self.cursors.get(&name.value).or_else(|| self.graph.derived.get(name.value.as_str()));
        named.copied().or_else(sink)
    }

    /// Why a view says nothing, which is planned anew wherever it is read; an error for what is defined by no query.
    fn why_of_name(&mut self, name: &Name, parameters: &Parameters) -> Result<Vec<String>> {
        let query = match self.catalog.relations.get(&name.value) {
            Some(Relation::View(view)) => view.query.clone(),
            Some(_) => {
                let kind = self.kind_of(&name.value).map_or("relation", kind_name);
                let message = format!("{kind} \"{}\" is defined by no query", name.value);
                let hint = "Name a query that reads it, or its cursor, view, derived stream or sink.";
                return Err(at(name, Code::InvalidArgument, message).hint(hint).into());
            }
            None if self.kind_of(&name.value) == Some(ObjectKind::Sink) => {
                return Ok(vec![format!("nothing is being written into sink \"{}\"", name.value)]);
            }
            None => return Err(self.not_found("cursor, view, stream or sink", name)),
        };
        let mut planned = self.plan_asked(&query, parameters, QueryOptions::default())?;
        planned.label = format!("view \"{}\"", name.value);
        self.why_of_query(planned)
    }

    /// Runs a query over the rows that are there, and asks why it has said nothing.
    fn why_of_query(&mut self, planned: Planned) -> Result<Vec<String>> {
        self.tick()?;
        let id = self.start(planned, Destination::Discard)?;
        let read = self.graph.read_to_end(id, &self.settings);
        let lines = self.why_of(id);
        self.graph.remove(id);
        read?;
        Ok(lines)
    }

    /// What a pipeline has said, and why it says no more.
    fn why_of(&self, id: PipelineId) -> Vec<String> {
        let mut lines = vec![];
        self.tell_why(id, &mut lines);
        lines
    }

    fn tell_why(&self, id: PipelineId, lines: &mut Vec<String>) {
        let Some(pipeline) = self.graph.pipelines.get(&id) else { return };
        if let Some(error) = &pipeline.error {
            lines.push(format!("{} has failed: {error}", pipeline.label));
            return;
        }
        let spoke = pipeline.dataflow.spoke().is_some();
        let ended = if pipeline.dataflow.ended() { "; it has ended" } else { "" };
        lines.push(format!("{}{ended}", said(pipeline)));
        if spoke && pipeline.dataflow.ended() {
            return;
        }
        if pipeline.has_unread() {
            lines.push("it has not read all that it reads by itself: FETCH goes on reading".into());
            return;
        }
        for cause in plan::why(&pipeline.plan.root, &pipeline.dataflow.seen()) {
            let since = if spoke { "since then " } else { "" };
            match cause {
                Cause::Said(cause) => lines.push(format!("{since}{cause}")),
                Cause::Open(cause, relation) => {
                    lines.push(format!("{since}{cause}, held back by {}", self.behind(pipeline, &relation)));
                }
                Cause::Unfed(relation) => match self.graph.derived.get(&relation) {
                    Some(id) => deeper(|| self.tell_why(*id, lines)),
                    None => lines.push(format!("{since}{}", self.unfed(&relation))),
                },
            }
        }
    }

    /// A relation that holds a watermark back, and when it has had its last row.
    fn behind(&self, pipeline: &Pipeline, relation: &Arc<str>) -> String {
        let mut told = format!("\"{}\"", plan::relation_name(relation));
        if let Some(above) = self.graph.derived.get(relation).and_then(|id| self.graph.pipelines.get(id)) {
            let behind = plan::behind(&above.plan.root, &above.dataflow.seen());
            return match behind {
                Some(behind) => format!("{told}, and that by {}", deeper(|| self.behind(above, &behind))),
                None => told,
            };
        }
        let read = pipeline.feeds.iter().find(|feed| feed.relation == *relation);
        let partition = self.graph.partitions.get(relation).or_else(|| read?.partition.as_ref());
        match partition.and_then(|partition| partition.state().fed) {
            Some((at, _)) => told.push_str(&format!(", whose last row came at {at}")),
            None => told.push_str(", of which no row has come"),
        }
        told
    }

    /// That a relation has brought no rows.
    fn unfed(&self, relation: &Arc<str>) -> String {
        let name = plan::relation_name(relation);
        let counts = self.graph.counts.get(relation).copied().unwrap_or_default();
        let bad = counts.skipped + counts.dead_lettered;
        match (self.graph.closed.contains(relation), bad) {
            (true, _) => format!("no row of \"{name}\" has come, and it is closed"),
            (false, 0) => format!("no row of \"{name}\" has come"),
            (false, bad) => format!("no row of \"{name}\" has come, and {} could not be read", rows(bad as usize)),
        }
    }
}

/// How much a pipeline has said.
fn said(pipeline: &Pipeline) -> String {
    let label = &pipeline.label;
    let said = pipeline.dataflow.metrics().first().map_or(0, |root| root.rows_out);
    let Some(at) = pipeline.dataflow.spoke().filter(|_| said > 0) else {
        return format!("{label} has emitted nothing");
    };
    let waiting = match &pipeline.destination {
        Destination::Pending(pending) if pending.rows > 0 => format!("; {} to be fetched", waits(pending.rows)),
        _ => String::new(),
    };
    format!("{label} has emitted {}, the last at {at}{waiting}", rows(said as usize))
}

fn waits(count: usize) -> String {
    if count == 1 { "1 row waits".into() } else { format!("{count} rows wait") }
}
