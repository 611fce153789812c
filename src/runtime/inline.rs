//! The driver that runs a dataflow on the caller's thread: a queue of work, first in, first out.
//!
//! Pushing rows runs everything that follows from them and returns when the queue is empty.
//! Merging the watermarks of several inputs and telling an operator that all of its inputs have ended is done here.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{InternalError, Result};
use crate::operators::{Event, Output, Port, deliver};
use crate::types::{Batch, Timestamp};

use super::dataflow::{Dataflow, Stage, Target};

/// Runs dataflows, one call at a time. Holds nothing between calls but buffers.
#[derive(Default)]
pub struct Inline {
    queue: VecDeque<(Target, Work)>,
    out: Output,
    results: Vec<Batch>,
}

/// What is on its way to an operator or to the result.
enum Work {
    Rows(Batch),
    Watermark(Timestamp),
    /// This port has ended.
    Ended,
}

impl Inline {
    /// Rows have come in on `input` at `now`. Returns what the dataflow answers.
    pub fn push(&mut self, dataflow: &mut Dataflow, input: usize, batch: Batch, now: Timestamp) -> Result<Vec<Batch>> {
        if batch.is_empty() {
            return Ok(vec![]);
        }
        self.feed(dataflow, input, Work::Rows(batch), now)
    }

    /// No row before `watermark` will come on `input` any more.
    pub fn advance(
        &mut self,
        dataflow: &mut Dataflow,
        input: usize,
        watermark: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Batch>> {
        self.feed(dataflow, input, Work::Watermark(watermark), now)
    }

    /// Input `input` has ended.
    pub fn end(&mut self, dataflow: &mut Dataflow, input: usize, now: Timestamp) -> Result<Vec<Batch>> {
        self.feed(dataflow, input, Work::Ended, now)
    }

    /// The clock has reached `now`, for which stage `stage` has asked.
    pub fn notify(&mut self, dataflow: &mut Dataflow, stage: usize, now: Timestamp) -> Result<Vec<Batch>> {
        self.guarded(|driver| {
            driver.out.set_now(now);
            driver.activate(dataflow, stage, Event::Notify(now))?;
            driver.run(dataflow)
        })
    }

    /// Ends what needs no row to end: a `LIMIT 0`.
    pub fn start(&mut self, dataflow: &mut Dataflow, now: Timestamp) -> Result<Vec<Batch>> {
        self.guarded(|driver| {
            driver.out.set_now(now);
            for stage in 0..dataflow.stages.len() {
                if dataflow.stages[stage].stop_after == Some(0) && !dataflow.stages[stage].done {
                    driver.stop(dataflow, stage)?;
                }
            }
            driver.run(dataflow)
        })
    }

    fn feed(&mut self, dataflow: &mut Dataflow, input: usize, work: Work, now: Timestamp) -> Result<Vec<Batch>> {
        let Some(leaf) = dataflow.inputs.get_mut(input) else {
            return Err(InternalError::new(format!("a dataflow has no input {input}")).into());
        };
        if leaf.ended {
            return Ok(vec![]);
        }
        match &work {
            Work::Rows(batch) => {
                let metrics = &mut dataflow.metrics[leaf.node];
                metrics.rows_in += batch.num_rows() as u64;
                metrics.rows_out += batch.num_rows() as u64;
            }
            Work::Ended => leaf.ended = true,
            Work::Watermark(_) => {}
        }
        let target = leaf.target;
        self.guarded(|driver| {
            driver.out.set_now(now);
            driver.queue.push_back((target, work));
            driver.run(dataflow)
        })
    }

    /// Runs `work`, and leaves no trace of it behind if it fails or panics.
    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Vec<Batch>> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Ok(())) => Ok(std::mem::take(&mut self.results)),
            Ok(Err(error)) => {
                *self = Inline::default();
                Err(error)
            }
            Err(panic) => {
                *self = Inline::default();
                Err(InternalError::new(format!("an operator panicked: {}", panic_message(panic.as_ref()))).into())
            }
        }
    }

    fn run(&mut self, dataflow: &mut Dataflow) -> Result<()> {
        while let Some((target, work)) = self.queue.pop_front() {
            match (target, work) {
                (Target::Result, Work::Rows(batch)) => self.results.push(batch),
                (Target::Result, Work::Watermark(_)) => {}
                (Target::Result, Work::Ended) => dataflow.ended = true,
                (Target::Stage(stage, _), _) if dataflow.stages[stage].done => {}
                (Target::Stage(stage, port), Work::Rows(batch)) => {
                    self.activate(dataflow, stage, Event::Batch(port, batch))?;
                }
                (Target::Stage(stage, port), Work::Watermark(watermark)) => {
                    dataflow.stages[stage].advance_port(port, watermark);
                    self.combine_watermarks(dataflow, stage)?;
                }
                (Target::Stage(stage, port), Work::Ended) => {
                    dataflow.stages[stage].end_port(port);
                    self.combine_watermarks(dataflow, stage)?;
                    self.end_if_complete(dataflow, stage)?;
                }
            }
        }
        Ok(())
    }

    fn combine_watermarks(&mut self, dataflow: &mut Dataflow, stage: usize) -> Result<()> {
        match dataflow.stages[stage].new_watermark() {
            Some(watermark) => self.activate(dataflow, stage, Event::Watermark(watermark)),
            None => Ok(()),
        }
    }

    fn end_if_complete(&mut self, dataflow: &mut Dataflow, stage: usize) -> Result<()> {
        let complete = dataflow.stages[stage].ports.iter().all(|port| port.ended);
        if complete && !dataflow.stages[stage].done { self.finish(dataflow, stage) } else { Ok(()) }
    }

    /// Tells a stage that every input has ended, and its reader that it has.
    fn finish(&mut self, dataflow: &mut Dataflow, stage: usize) -> Result<()> {
        self.activate(dataflow, stage, Event::Eof)?;
        let stage = &mut dataflow.stages[stage];
        stage.done = true;
        stage.ask_due();
        self.queue.push_back((stage.target, Work::Ended));
        Ok(())
    }

    /// Ends a stage that has said all it ever will, and what feeds it.
    fn stop(&mut self, dataflow: &mut Dataflow, stage: usize) -> Result<()> {
        let (stages, inputs) =
            (dataflow.stages[stage].upstream_stages.clone(), dataflow.stages[stage].upstream_inputs.clone());
        for above in &mut dataflow.stages[stages] {
            above.done = true;
            above.ask_due();
        }
        for input in &mut dataflow.inputs[inputs] {
            input.ended = true;
        }
        self.finish(dataflow, stage)
    }

    /// Calls the operators of a stage one after the other and queues what the last one says.
    fn activate(&mut self, dataflow: &mut Dataflow, stage: usize, event: Event) -> Result<()> {
        let Dataflow { stages, metrics, .. } = dataflow;
        let running = &mut stages[stage];
        let mut events = vec![event];
        for step in &mut running.steps {
            let metrics = &mut metrics[step.node];
            let mut following = Vec::with_capacity(events.len());
            for event in events {
                let last = match &event {
                    Event::Batch(_, batch) => {
                        metrics.rows_in += batch.num_rows() as u64;
                        None
                    }
                    Event::Eof => Some(Event::Eof),
                    Event::Watermark(_) | Event::Notify(_) => None,
                };
                deliver(step.operator.as_mut(), event, &mut self.out)?;
                following.extend(self.out.drain().map(|batch| {
                    metrics.rows_out += batch.num_rows() as u64;
                    Event::Batch(Port(0), batch)
                }));
                following.extend(self.out.take_watermark().map(Event::Watermark));
                following.extend(last);
            }
            events = following;
        }
        running.ask_due();
        let target = running.target;
        let stopped = running.stop_after.is_some_and(|rows| metrics[running.only_node()].rows_out >= rows);
        for event in events {
            match event {
                Event::Batch(_, batch) => self.queue.push_back((target, Work::Rows(batch))),
                Event::Watermark(watermark) => self.queue.push_back((target, Work::Watermark(watermark))),
                Event::Notify(_) | Event::Eof => {}
            }
        }
        // A stage that is ending comes back here with its Eof; it must not be stopped twice.
        let feeding = dataflow.stages[stage].upstream_inputs.clone().any(|input| !dataflow.inputs[input].ended);
        if stopped && feeding { self.stop(dataflow, stage) } else { Ok(()) }
    }
}

impl Stage {
    fn advance_port(&mut self, Port(port): Port, watermark: Timestamp) {
        if let Some(port) = self.ports.get_mut(port) {
            port.watermark = port.watermark.max(watermark);
        }
    }

    fn end_port(&mut self, Port(port): Port) {
        if let Some(port) = self.ports.get_mut(port) {
            port.ended = true;
        }
    }

    /// The minimum over the ports that have not ended, if it has risen. Once all have ended, `Eof` says it.
    fn new_watermark(&mut self) -> Option<Timestamp> {
        let open = self.ports.iter().filter(|port| !port.ended);
        let combined = open.map(|port| port.watermark).min()?;
        if combined <= self.watermark {
            return None;
        }
        self.watermark = combined;
        Some(combined)
    }

    fn only_node(&self) -> usize {
        self.steps.first().map_or(0, |step| step.node)
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
