//! `CHECKPOINT` and `RESTART`.

use std::collections::BTreeMap;

use crate::catalog::Relation;
use crate::error::{InternalError, Result};
use crate::io::{self, FileOptions};
use crate::operators::Operator;
use crate::operators::kept_rows::KeptRows;
use crate::operators::upsert::Upsert;
use crate::recovery::{Checkpoint, PipelineId, PipelineSnapshot};
use crate::runtime::{Partition, PartitionState};
use crate::state::Snapshot;
use crate::types::Epoch;

use super::super::core::{Core, Done};
use super::super::pipeline::{Destination, Pending, Pipeline};
use super::create::load;

impl Core {
    /// Keeps everything as it is now, or nothing: until it is complete the last checkpoint stands.
    pub(super) fn checkpoint(&mut self) -> Result<Done> {
        self.graph.flush()?;
        let since = self.store.since();
        let mut next = self.store.begin();
        next.now = self.graph.now;
        next.closed.clone_from(&self.graph.closed);
        self.checkpoint_pipelines(since, &mut next)?;
        self.checkpoint_tables(since, &mut next)?;
        next.watermarks =
            self.graph.partitions.iter().map(|(name, partition)| (name.clone(), partition.state())).collect();
        next.sinks = self.graph.sinks.mark()?;
        let epoch = next.epoch;
        self.store.keep(next, since);
        self.graph.sinks.marked();
        Ok(Done::Message(format!("checkpoint {epoch}")))
    }

    fn checkpoint_pipelines(&mut self, since: Epoch, next: &mut Checkpoint) -> Result<()> {
        let mut pipelines = std::mem::take(&mut next.pipelines);
        for (id, pipeline) in &mut self.graph.pipelines {
            let known = pipelines.remove(id);
            // A pipeline that is new since the last checkpoint has no chain to add to.
            let since = if known.is_some() { since } else { Epoch::ZERO };
            let mut snapshot = known.unwrap_or_default();
            pipeline.snapshot(since, &mut snapshot)?;
            next.pipelines.insert(*id, snapshot);
        }
        Ok(())
    }

    fn checkpoint_tables(&mut self, since: Epoch, next: &mut Checkpoint) -> Result<()> {
        let mut tables = std::mem::take(&mut next.tables);
        for (name, table) in &mut self.graph.tables {
            let known = tables.remove(name);
            let since = if known.is_some() { since } else { Epoch::ZERO };
            let mut chain = known.filter(|_| since != Epoch::ZERO).unwrap_or_default();
            chain.extend(table.snapshot(since)?);
            next.tables.insert(name.clone(), chain);
        }
        Ok(())
    }

    /// Drops every operator and builds each anew from the last checkpoint.
    /// What was created since then starts empty; what was dropped since then stays so.
    pub(super) fn restart(&mut self) -> Result<Done> {
        let last = self.store.last().cloned();
        let last = last.unwrap_or_else(|| Checkpoint { now: self.graph.now, ..Checkpoint::default() });
        let running = self.graph.clear();
        self.graph.now = last.now;
        self.graph.closed.clone_from(&last.closed);
        for (name, relation) in &self.catalog.relations {
            if let Some(event_time) = relation.watermark().filter(|_| relation.is_fed()) {
                let mut partition = Partition::new(event_time)?;
                let state = last.watermarks.get(name.as_str()).copied();
                partition.resume(state.unwrap_or(PartitionState::NEW));
                self.graph.partitions.insert(name.as_str().into(), partition);
            }
            if let Relation::Table(table) = relation {
                let chain = last.tables.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                let mut rows = Upsert::new(table.schema.clone(), table.primary_key.clone(), chain)?;
                if !table.options.is_empty() {
                    self.graph.closed.insert(name.as_str().into());
                    if chain.is_empty() {
                        load(table, &mut rows, &self.access)?;
                    }
                }
                self.graph.tables.insert(name.as_str().into(), rows);
            }
        }
        let rewound = self.rewind_sinks(&running, &last);
        let restarted = self.restart_pipelines(running, &last.pipelines);
        rewound.and(restarted).and_then(|()| self.refill_views())?;
        Ok(Done::Message(format!("resumed from checkpoint {}", last.epoch)))
    }

    /// Views that are younger than the checkpoint read their files anew.
    fn refill_views(&mut self) -> Result<()> {
        let pipelines = self.graph.pipelines.iter();
        let views = pipelines.filter(|(_, pipeline)| matches!(pipeline.destination, Destination::View(..)));
        let views: Vec<PipelineId> = views.map(|(id, _)| *id).collect();
        views.into_iter().try_for_each(|id| self.graph.read_to_end(id, &self.settings))
    }

    /// The rows of a materialized view, as `chain` has left them.
    fn view_rows(&self, name: &str, chain: &[Snapshot]) -> Result<KeptRows> {
        match self.catalog.relations.get(name) {
            Some(Relation::Materialized(view)) => {
                KeptRows::new(view.schema.clone(), view.mode, view.key.as_deref(), chain)
            }
            Some(_) | None => Err(InternalError::new(format!("nothing is known of view \"{name}\"")).into()),
        }
    }

    /// Takes back what was written to the sinks since the last checkpoint, before anything is written again.
    fn rewind_sinks(&mut self, running: &BTreeMap<PipelineId, Pipeline>, last: &Checkpoint) -> Result<()> {
        let mut rewound = Ok(());
        for (name, sink) in &self.catalog.sinks {
            let writes = |pipeline: &Pipeline| matches!(&pipeline.destination, Destination::Sink(to) if **to == *name);
            let over = |id: &PipelineId| {
                let snapshot = last.pipelines.get(id);
                snapshot.is_some_and(|snapshot| snapshot.dataflow.ended() || snapshot.error.is_some())
            };
            let writers = running.iter().filter(|(id, pipeline)| writes(pipeline) && !over(id)).count();
            let open = |schema| io::open_sink(&FileOptions::parse(&sink.options)?, schema, &self.access);
            let one = self.graph.sinks.rewind(name, last.sinks.get(name.as_str()), writers, open);
            rewound = rewound.and(one);
        }
        rewound
    }

    fn restart_pipelines(
        &mut self,
        running: BTreeMap<PipelineId, Pipeline>,
        snapshots: &BTreeMap<PipelineId, PipelineSnapshot>,
    ) -> Result<()> {
        let mut first_error = None;
        for (id, pipeline) in running {
            let Pipeline { plan, destination, files, depends_on, label, options, .. } = pipeline;
            let destination = match destination {
                Destination::Pending(old) => Destination::Pending(Pending { waker: old.waker, ..Pending::default() }),
                Destination::View(name, _) => {
                    let chain = snapshots.get(&id).map_or(&[][..], |snapshot| snapshot.kept.as_slice());
                    let rows = self.view_rows(&name, chain)?;
                    Destination::View(name, Box::new(rows))
                }
                Destination::Relation(_) | Destination::Sink(_) | Destination::Discard => destination,
            };
            let rebuilt = self.build(plan.clone(), &files, snapshots.get(&id));
            // A file that has gone stops the query that reads it; the others resume.
            let mut rebuilt = rebuilt.unwrap_or_else(|error| Pipeline::failed(plan, error));
            rebuilt.destination = destination;
            if let (Destination::Pending(pending), Some(snapshot)) = (&mut rebuilt.destination, snapshots.get(&id)) {
                snapshot.pending.iter().for_each(|batch| pending.push(batch.clone()));
            }
            rebuilt.depends_on = depends_on;
            rebuilt.label = label;
            rebuilt.options = options;
            rebuilt.files = files;
            if let (Destination::Sink(name), Some(error)) = (&rebuilt.destination, &rebuilt.error) {
                self.graph.sinks.writer_failed(name, error);
            }
            if let Err(error) = self.graph.add(id, rebuilt) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}
