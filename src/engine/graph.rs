//! The running pipelines and who feeds whom.
//!
//! Rows of a relation go to its readers in the order in which they were created; what a derived stream or a
//! materialized view answers goes on to its own readers, first in, first out, until nothing is left. All of it happens
//! on the caller's thread.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::Waker;

use crate::error::{Code, Error, InternalError, LimitError, Result, StatementError};
use crate::io;
use crate::operators::kept_rows::KeptRows;
use crate::operators::upsert::Upsert;
use crate::operators::{Event, Output, Port, deliver};
use crate::plan::ChangelogMode;
use crate::recovery::PipelineId;
use crate::runtime::clock::Clock;
use crate::runtime::{Inline, Partition, bases, diamonds, settled, single_rows};
use crate::types::{Batch, Timestamp};

use super::limits::StateLimits;
use super::pipeline::{Destination, Pipeline, Reading, cut, keep};
use super::progress::ProgressHandle;
use super::settings::Settings;
use super::sinks::Sinks;

/// How often an operator may ask for the same moment again before it is taken to be stuck.
const REPEATED_NOTIFICATIONS_MAX: usize = 10_000;

/// The running pipelines.
#[derive(Default)]
pub(super) struct Graph {
    pub(super) pipelines: BTreeMap<PipelineId, Pipeline>,
    /// Which pipelines read a live relation, in the order in which they were created.
    readers: BTreeMap<Arc<str>, Vec<PipelineId>>,
    /// Which pipeline feeds a derived relation.
    pub(super) derived: BTreeMap<Arc<str>, PipelineId>,
    /// For each derived relation the base relations its rows come from.
    ancestry: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    pub(super) closed: BTreeSet<Arc<str>>,
    pub(super) tables: BTreeMap<Arc<str>, Upsert>,
    /// The watermarks of the streams and tables that are fed and have event time.
    pub(super) partitions: BTreeMap<Arc<str>, Partition>,
    pub(super) sinks: Sinks,
    /// How many rows have been read from each file stream by its latest reader.
    pub(super) counts: BTreeMap<Arc<str>, io::SourceCounts>,
    pub(super) now: Timestamp,
    pub(super) progress: ProgressHandle,
    pub(super) limits: StateLimits,
    /// How many bytes all pipelines keep, as they were last weighed.
    pub(super) state_bytes: usize,
    driver: Inline,
    /// Who waits for rows; woken when the engine is unlocked.
    pub(super) wakers: Vec<Waker>,
    /// Errors of pipelines that nobody polls, to be returned by the statement or call that met them.
    unreported: Vec<Error>,
    cancel: Arc<AtomicBool>,
    /// What `now()` gives: set before each event.
    now_function: Arc<AtomicI64>,
    created: u64,
}

/// What happens to a relation.
#[derive(Clone)]
enum Signal {
    Rows(Batch),
    /// No row before it is expected.
    Watermark(Timestamp),
    End,
}

/// Relations to which something is still to happen.
type Signals = VecDeque<(Arc<str>, Signal)>;

impl Graph {
    pub(super) fn new(cancel: Arc<AtomicBool>, now_function: Arc<AtomicI64>) -> Graph {
        Graph { cancel, now_function, ..Graph::default() }
    }

    /// A number for a pipeline that is about to start.
    pub(super) fn next_id(&mut self) -> PipelineId {
        self.created += 1;
        PipelineId(self.created)
    }

    /// Starts a pipeline. Inputs over relations that are closed end at once.
    pub(super) fn add(&mut self, id: PipelineId, pipeline: Pipeline) -> Result<()> {
        for relation in pipeline.live.keys() {
            let readers = self.readers.entry(relation.clone()).or_default();
            readers.push(id);
            readers.sort_unstable();
        }
        if let Some(name) = pipeline.destination.relation() {
            self.derived.insert(name.clone(), id);
            self.ancestry.insert(name.clone(), bases(&pipeline.plan.root, &self.ancestry));
        }
        self.state_bytes += pipeline.state_bytes();
        let closed: Vec<Arc<str>> = pipeline.live.keys().filter(|name| self.closed.contains(*name)).cloned().collect();
        let failed = pipeline.live.keys().find_map(|name| self.derived_error(name));
        let watermarks: Vec<(Arc<str>, Timestamp)> =
            pipeline.live.keys().filter_map(|name| Some((name.clone(), self.watermark(name)?))).collect();
        let diamonds = diamonds(&pipeline.plan.root, &self.ancestry);
        self.pipelines.insert(id, pipeline);
        for base in &diamonds {
            self.mark_path(id, base);
        }
        let mut signals = Signals::new();
        if let Some(error) = failed {
            self.poison(id, error);
        }
        self.on(id, &mut signals, |pipeline, driver, now| driver.start(&mut pipeline.dataflow, now));
        for (relation, watermark) in watermarks {
            self.feed(id, &relation, &Signal::Watermark(watermark), &mut signals);
        }
        for relation in closed {
            self.feed(id, &relation, &Signal::End, &mut signals);
        }
        self.propagate(signals);
        self.report()
    }

    /// Stops a pipeline and forgets it.
    pub(super) fn remove(&mut self, id: PipelineId) -> Option<Pipeline> {
        let pipeline = self.pipelines.remove(&id)?;
        self.state_bytes -= pipeline.state_bytes();
        for relation in pipeline.live.keys() {
            if let Some(readers) = self.readers.get_mut(relation) {
                readers.retain(|reader| *reader != id);
            }
        }
        if let Some(name) = pipeline.destination.relation() {
            self.derived.remove(name);
            self.ancestry.remove(name);
        }
        if !pipeline.by_row.is_empty() {
            self.mark_row_by_row();
        }
        Some(pipeline)
    }

    /// Forgets all that runs; for a restart.
    pub(super) fn clear(&mut self) -> BTreeMap<PipelineId, Pipeline> {
        self.readers.clear();
        self.derived.clear();
        self.ancestry.clear();
        self.tables.clear();
        self.partitions.clear();
        self.closed.clear();
        self.unreported.clear();
        self.state_bytes = 0;
        std::mem::take(&mut self.pipelines)
    }

    /// Rows for stream `relation`, at most `batch_rows` at once if that is not 0.
    pub(super) fn push(&mut self, relation: &Arc<str>, batch: Batch, settings: &Settings) -> Result<()> {
        for part in cut(batch, settings.batch_rows) {
            self.push_part(relation, part)?;
            self.check_output(settings);
        }
        self.report()
    }

    /// Rows for table `name`: each replaces the row of its key, or with kind `-D` deletes it.
    pub(super) fn push_table(&mut self, name: &Arc<str>, batch: Batch, settings: &Settings) -> Result<()> {
        for part in cut(batch, settings.batch_rows) {
            self.check_table(name, &part)?;
            let Some(table) = self.tables.get_mut(name) else {
                return Err(InternalError::new(format!("table \"{name}\" keeps no rows")).into());
            };
            let mut out = Output::default();
            out.set_now(self.now);
            deliver(table, Event::Batch(Port(0), part), &mut out)?;
            let changes: Vec<Batch> = out.drain().collect();
            for change in changes {
                self.push_part(name, change)?;
            }
            self.check_output(settings);
        }
        self.report()
    }

    /// Ends the live relation `relation`.
    pub(super) fn close(&mut self, relation: &Arc<str>) -> Result<()> {
        self.closed.insert(relation.clone());
        self.propagate(Signals::from([(relation.clone(), Signal::End)]));
        self.report()
    }

    /// Raises the watermark of `relation`, and tells its readers. One that is higher already stays.
    pub(super) fn advance_watermark(&mut self, relation: &Arc<str>, watermark: Timestamp) -> Result<()> {
        if self.partitions.get_mut(relation).is_some_and(|partition| partition.raise(watermark)) {
            self.propagate(Signals::from([(relation.clone(), Signal::Watermark(watermark))]));
        }
        self.report()
    }

    /// The watermark of a relation, if rows or a statement have brought one.
    pub(super) fn watermark(&self, relation: &str) -> Option<Timestamp> {
        let fed = || self.partitions.get(relation).map(Partition::at);
        let derived = || Some(self.pipelines.get(self.derived.get(relation)?)?.dataflow.watermark());
        fed().or_else(derived).filter(|watermark| *watermark > Timestamp::MIN)
    }

    /// Lets the watermarks of what has been silent for so long that it is idle go on with the clock.
    fn advance_idle(&mut self) {
        let now = self.now;
        let open = self.partitions.iter_mut().filter(|(name, _)| !self.closed.contains(*name));
        let idle: Signals = open
            .filter_map(|(name, partition)| {
                partition.idle(now).then(|| (name.clone(), Signal::Watermark(partition.at())))
            })
            .collect();
        if !idle.is_empty() {
            self.propagate(idle);
        }
    }

    /// Runs every notification that is due by `to`, each at its time, and sets the clock.
    pub(super) fn advance(&mut self, to: Timestamp) -> Result<()> {
        let mut repeated = 0;
        let mut previous = None;
        while let Some((due, id, stage)) = self.next_due()
            && due <= to
        {
            repeated = if previous == Some((due, id, stage)) { repeated + 1 } else { 0 };
            previous = Some((due, id, stage));
            self.now = self.now.max(due);
            let mut signals = Signals::new();
            if repeated >= REPEATED_NOTIFICATIONS_MAX {
                let message = format!("an operator asks again and again to be notified at {due}");
                self.poison(id, InternalError::new(message).into());
            }
            self.on(id, &mut signals, |pipeline, driver, now| driver.notify(&mut pipeline.dataflow, stage, now));
            self.propagate(signals);
            self.check_cancelled()?;
        }
        self.now = self.now.max(to);
        self.advance_idle();
        self.report()
    }

    /// Reads one batch of what a pipeline, or a derived stream it reads from, reads by itself.
    /// False if there was nothing left to read.
    pub(super) fn step(&mut self, id: PipelineId, settings: &Settings) -> Result<bool> {
        self.check_cancelled()?;
        let mut signals = Signals::new();
        let read = self.step_one(id, settings.batch_rows, &mut signals);
        self.propagate(signals);
        self.check_output(settings);
        self.report()?;
        Ok(read)
    }

    /// Reads all that a pipeline reads by itself.
    pub(super) fn read_to_end(&mut self, id: PipelineId, settings: &Settings) -> Result<()> {
        while self.step(id, settings)? {}
        Ok(())
    }

    /// Stops a pipeline with an error, and those that read from it.
    pub(super) fn stop(&mut self, id: PipelineId, error: Error) {
        self.poison(id, error);
    }

    /// Measures from now on how long each operator takes, or no longer.
    pub(super) fn measure(&mut self, stopwatch: Option<Arc<dyn Clock>>) {
        self.driver.measure(stopwatch);
    }

    /// Writes what continuous queries have put into sinks.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.sinks.flush()
    }

    /// Rows for the readers of `relation`, and then the watermark after them.
    fn push_part(&mut self, relation: &Arc<str>, batch: Batch) -> Result<()> {
        let Some(partition) = self.partitions.get_mut(relation) else {
            self.push_rows(relation, batch);
            return Ok(());
        };
        let watermark = partition.at();
        let before = partition.take(batch.rows(), self.now)?;
        let after = partition.at();
        self.push_rows(relation, batch.with_watermarks(Some(before)));
        if after > watermark {
            self.propagate(Signals::from([(relation.clone(), Signal::Watermark(after))]));
        }
        Ok(())
    }

    fn push_rows(&mut self, relation: &Arc<str>, batch: Batch) {
        let readers = self.readers.get(relation).cloned().unwrap_or_default();
        let by_row =
            |id: &PipelineId| self.pipelines.get(id).is_some_and(|pipeline| pipeline.by_row.contains(relation));
        if !readers.iter().any(by_row) {
            return self.push_to(&readers, relation, batch);
        }
        let (single, whole): (Vec<_>, Vec<_>) = readers.into_iter().partition(by_row);
        self.push_to(&whole, relation, batch.clone());
        for row in single_rows(&batch) {
            self.push_to(&single, relation, row);
        }
    }

    fn push_to(&mut self, readers: &[PipelineId], relation: &Arc<str>, batch: Batch) {
        let mut signals = Signals::new();
        let signal = Signal::Rows(batch);
        for id in readers {
            self.feed(*id, relation, &signal, &mut signals);
        }
        self.propagate(signals);
    }

    fn propagate(&mut self, mut signals: Signals) {
        while let Some((relation, signal)) = signals.pop_front() {
            for id in self.readers.get(&relation).cloned().unwrap_or_default() {
                self.feed(id, &relation, &signal, &mut signals);
            }
        }
    }

    /// Hands what happens to `relation` to one of its readers. A reader first reads all that it reads by itself.
    fn feed(&mut self, id: PipelineId, relation: &Arc<str>, signal: &Signal, signals: &mut Signals) {
        let Some(pipeline) = self.pipelines.get(&id) else { return };
        // Whoever polls a query reads its files when the end comes; the others have nobody to do it for them.
        let polled = matches!(pipeline.destination, Destination::Pending(_));
        if !polled || matches!(signal, Signal::Rows(_)) || pipeline.awaits(relation) {
            while self.read_one(id, 0, signals) {}
        }
        self.on(id, signals, |pipeline, driver, now| match signal {
            Signal::Rows(batch) => pipeline.push(driver, relation, batch, now),
            Signal::Watermark(watermark) => pipeline.advance(driver, relation, *watermark, now),
            Signal::End => pipeline.end(driver, relation, now),
        });
    }

    fn step_one(&mut self, id: PipelineId, batch_rows: usize, signals: &mut Signals) -> bool {
        let Some(pipeline) = self.pipelines.get(&id) else { return false };
        let live = pipeline.live_in_order().into_iter();
        let above: Vec<PipelineId> = live.filter_map(|name| self.derived.get(name)).copied().collect();
        above.into_iter().any(|id| self.step_one(id, batch_rows, signals)) || self.read_one(id, batch_rows, signals)
    }

    fn read_one(&mut self, id: PipelineId, batch_rows: usize, signals: &mut Signals) -> bool {
        let Some(pipeline) = self.pipelines.get(&id) else { return false };
        if !pipeline.has_unread() {
            return false;
        }
        let mut read = None;
        self.on(id, signals, |pipeline, driver, now| match pipeline.read(driver, batch_rows, now)? {
            Reading::Nothing => Ok(vec![]),
            Reading::Read { rows, emitted } => {
                read = Some(rows);
                Ok(emitted)
            }
        });
        if let Some(pipeline) = self.pipelines.get(&id) {
            self.progress.read(read.unwrap_or(0) as u64, pipeline.progress());
            for feed in &pipeline.feeds {
                if let Some(counts) = feed.counts() {
                    self.counts.insert(feed.relation.clone(), counts);
                }
            }
        }
        read.is_some()
    }

    /// Runs `work` on a pipeline that has not failed, and sends on what it answers.
    fn on(
        &mut self,
        id: PipelineId,
        signals: &mut Signals,
        work: impl FnOnce(&mut Pipeline, &mut Inline, Timestamp) -> Result<Vec<Batch>>,
    ) {
        let limit = self.limit(id);
        let Some(pipeline) = self.pipelines.get_mut(&id) else { return };
        self.driver.limit(limit.as_ref().map(|limit| limit.bytes.saturating_sub(pipeline.view_bytes())));
        if pipeline.error.is_some() {
            return;
        }
        self.now_function.store(self.now.nanos(), Ordering::Relaxed);
        let before = pipeline.state_bytes();
        let ended_before = pipeline.dataflow.ended();
        let watermark_before = pipeline.dataflow.watermark();
        let answered = work(pipeline, &mut self.driver, self.now).map_err(|error| match &limit {
            Some(limit) => limit.explained(error, &pipeline.label),
            None => error,
        });
        let ends = !ended_before && pipeline.dataflow.ended();
        let watermark = Some(pipeline.dataflow.watermark()).filter(|watermark| *watermark > watermark_before);
        if answered.as_ref().is_ok_and(|emitted| !emitted.is_empty()) {
            pipeline.dataflow.note_spoke(self.now);
        }
        let sent = answered.and_then(|emitted| self.send(id, emitted, signals));
        let sent = match &limit {
            Some(limit) => sent.and_then(|()| self.check_view(id, limit)),
            None => sent,
        };
        let after = self.pipelines.get(&id).map_or(0, Pipeline::state_bytes);
        self.state_bytes = self.state_bytes + after - before;
        let told = sent.map(|()| self.tell_watermark(id, watermark, signals));
        let finished = told.and_then(|()| if ends { self.finish(id, signals) } else { Ok(()) });
        if let Err(error) = finished {
            self.poison(id, error);
        }
    }

    fn send(&mut self, id: PipelineId, emitted: Vec<Batch>, signals: &mut Signals) -> Result<()> {
        let Some(pipeline) = self.pipelines.get_mut(&id) else { return Ok(()) };
        let torn = !pipeline.by_row.is_empty() && pipeline.plan.mode == ChangelogMode::Changelog;
        let emitted = if torn { settled(emitted)? } else { emitted };
        if let Destination::Sink(name) = &pipeline.destination {
            return self.sinks.write(name, emitted);
        }
        for batch in emitted {
            match &mut pipeline.destination {
                Destination::Pending(pending) => {
                    pending.push(batch);
                    self.wakers.extend(pending.waker.take());
                }
                Destination::Relation(name) => signals.push_back((name.clone(), Signal::Rows(batch))),
                Destination::View(name, rows) => {
                    let kept = keep(rows, batch, self.now)?;
                    signals.extend(kept.into_iter().map(|batch| (name.clone(), Signal::Rows(batch))));
                }
                Destination::Sink(_) | Destination::Discard => {}
            }
        }
        Ok(())
    }

    /// The watermark of a pipeline's result has risen, which its readers learn after the rows.
    fn tell_watermark(&mut self, id: PipelineId, watermark: Option<Timestamp>, signals: &mut Signals) {
        let name = self.pipelines.get(&id).and_then(|pipeline| pipeline.destination.relation());
        signals.extend(name.cloned().zip(watermark.map(Signal::Watermark)));
    }

    /// The result of a pipeline has ended.
    fn finish(&mut self, id: PipelineId, signals: &mut Signals) -> Result<()> {
        let Some(pipeline) = self.pipelines.get_mut(&id) else { return Ok(()) };
        match &mut pipeline.destination {
            Destination::Pending(pending) => self.wakers.extend(pending.waker.take()),
            Destination::Relation(name) | Destination::View(name, _) => {
                self.closed.insert(name.clone());
                signals.push_back((name.clone(), Signal::End));
            }
            Destination::Sink(name) => self.sinks.writer_ended(name)?,
            Destination::Discard => {}
        }
        Ok(())
    }

    /// Stops a pipeline with an error. The readers of a derived stream fail with it; other queries go on.
    fn poison(&mut self, id: PipelineId, error: Error) {
        let Some(pipeline) = self.pipelines.get_mut(&id) else { return };
        if pipeline.error.is_some() {
            return;
        }
        self.state_bytes -= pipeline.state_bytes();
        pipeline.fail(error.clone());
        match &mut pipeline.destination {
            Destination::Pending(pending) => self.wakers.extend(pending.waker.take()),
            Destination::Discard => {}
            Destination::Sink(name) => {
                self.sinks.writer_failed(name, &error);
                self.unreported.push(error);
            }
            Destination::Relation(name) => {
                let readers = self.readers.get(name).cloned().unwrap_or_default();
                if readers.is_empty() {
                    self.unreported.push(error.clone());
                }
                self.poison_all(readers, &error);
            }
            // A view says it when it is read.
            Destination::View(name, _) => {
                let readers = self.readers.get(name).cloned().unwrap_or_default();
                self.poison_all(readers, &error);
            }
        }
    }

    fn poison_all(&mut self, ids: Vec<PipelineId>, error: &Error) {
        ids.into_iter().for_each(|id| self.poison(id, error.clone()));
    }

    /// The rows of a materialized view.
    ///
    /// # Errors
    /// What has stopped it.
    pub(super) fn view(&mut self, name: &str) -> Result<&mut KeptRows> {
        let pipeline = self.derived.get(name).and_then(|id| self.pipelines.get_mut(id));
        match pipeline.map(|pipeline| (&pipeline.error, &mut pipeline.destination)) {
            Some((Some(error), _)) => Err(error.clone().in_relation(name)),
            Some((None, Destination::View(_, rows))) => Ok(rows),
            Some((None, _)) | None => Err(InternalError::new(format!("view \"{name}\" keeps no rows")).into()),
        }
    }

    fn derived_error(&self, name: &str) -> Option<Error> {
        self.pipelines.get(self.derived.get(name)?)?.error.clone()
    }

    fn next_due(&self) -> Option<(Timestamp, PipelineId, usize)> {
        let running = self.pipelines.iter().filter(|(_, pipeline)| pipeline.error.is_none());
        let due = running
            .filter_map(|(id, pipeline)| pipeline.dataflow.next_due().map(|(due, stage)| Reverse((due, *id, stage))));
        due.max().map(|Reverse(first)| first)
    }

    /// Stops the pipelines of which more rows wait than may.
    fn check_output(&mut self, settings: &Settings) {
        let most = settings.max_output_rows;
        if most == 0 {
            return;
        }
        let waiting = |pipeline: &Pipeline| match &pipeline.destination {
            Destination::Pending(pending) => pending.rows,
            Destination::Relation(_) | Destination::View(..) | Destination::Sink(_) | Destination::Discard => 0,
        };
        let waiting = self.pipelines.iter().map(|(id, pipeline)| (*id, waiting(pipeline)));
        let over: Vec<(PipelineId, usize)> = waiting.filter(|(_, rows)| *rows > most).collect();
        for (id, rows) in over {
            let message = format!("{rows} rows wait to be fetched, more than the {most} that may");
            self.stop(id, LimitError::new("max_output_rows", message).into());
        }
    }

    /// Works out anew which relations must come row by row, and to which readers.
    fn mark_row_by_row(&mut self) {
        let found: Vec<(PipelineId, BTreeSet<Arc<str>>)> =
            self.pipelines.iter().map(|(id, pipeline)| (*id, diamonds(&pipeline.plan.root, &self.ancestry))).collect();
        for pipeline in self.pipelines.values_mut() {
            pipeline.by_row.clear();
        }
        for (id, bases) in found {
            for base in bases {
                self.mark_path(id, &base);
            }
        }
    }

    /// Marks a pipeline, and the derived streams on the way to it, as reading `base` row by row.
    fn mark_path(&mut self, id: PipelineId, base: &Arc<str>) {
        let Some(pipeline) = self.pipelines.get_mut(&id) else { return };
        pipeline.by_row.insert(base.clone());
        let comes_from_base = |name: &&Arc<str>| self.ancestry.get(*name).is_some_and(|bases| bases.contains(base));
        let above: Vec<PipelineId> =
            pipeline.live.keys().filter(comes_from_base).filter_map(|name| self.derived.get(name)).copied().collect();
        for id in above {
            self.mark_path(id, base);
        }
    }

    fn report(&mut self) -> Result<()> {
        match self.unreported.is_empty() {
            true => Ok(()),
            false => Err(self.unreported.remove(0)),
        }
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.swap(false, Ordering::Relaxed) {
            return Err(StatementError::new(Code::Cancelled, "cancelled").into());
        }
        Ok(())
    }
}
