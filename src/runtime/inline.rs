//! The driver that runs a dataflow on the caller's thread: a queue of work, first in, first out.
//!
//! Pushing rows runs everything that follows from them and returns when the queue is empty.
//! Merging the watermarks of several inputs and telling an operator that all of its inputs have ended is done here.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, InternalError, LimitError, MAX_STATE_BYTES, Result, StateLimit};
use crate::operators::{Event, Output, Port, deliver};
use crate::state::row_bytes;
use crate::types::{Batch, Timestamp};

use super::clock::{Clock, timed};
use super::dataflow::{Dataflow, Stage, Target};

/// Runs dataflows, one call at a time. Holds nothing between calls but buffers.
#[derive(Default)]
pub struct Inline {
    queue: Queue,
    out: Output,
    /// What is on its way from one operator of a stage to the next.
    passing: Vec<Event>,
    results: Vec<Batch>,
    /// How many bytes the operators of the dataflow that runs may keep, if that is limited.
    limit: Option<usize>,
    /// Bytes of `results`, if there is a limit.
    result_bytes: usize,
    /// Measures how long each operator takes, if that is asked for.
    stopwatch: Option<Arc<dyn Clock>>,
}

/// Work, first in, first out.
#[derive(Default)]
struct Queue {
    next: VecDeque<(Target, Work)>,
    /// What all readers of something but the first get, once all is done that comes of what the first one got.
    later: VecDeque<(Target, Work)>,
}

impl Queue {
    fn send(&mut self, targets: &[Target], work: Work) {
        let Some((first, others)) = targets.split_first() else { return };
        self.later.extend(others.iter().map(|target| (*target, work.clone())));
        self.next.push_back((*first, work));
    }

    fn pop(&mut self) -> Option<(Target, Work)> {
        self.next.pop_front().or_else(|| self.later.pop_front())
    }
}

/// What is on its way to an operator or to the result.
#[derive(Clone)]
enum Work {
    Rows(Batch),
    Watermark(Timestamp),
    /// This port has ended.
    Ended,
}

impl Inline {
    /// Measures from now on how long each operator takes, or no longer.
    pub fn measure(&mut self, stopwatch: Option<Arc<dyn Clock>>) {
        self.stopwatch = stopwatch;
    }

    /// Limits from now on how many bytes the operators of a dataflow may keep, or no longer.
    pub fn limit(&mut self, bytes: Option<usize>) {
        self.limit = bytes;
    }

    /// Does work for input `input` of a dataflow, whose time counts as the input's if time is measured.
    pub fn timed<T>(&self, dataflow: &mut Dataflow, input: usize, work: impl FnOnce() -> T) -> T {
        let (done, took) = timed(self.stopwatch.as_deref(), work);
        dataflow.input_took(input, took);
        done
    }

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

    /// Ends what needs no row to end, a `LIMIT 0`, and lets speak what has something to say of no rows.
    pub fn start(&mut self, dataflow: &mut Dataflow, now: Timestamp) -> Result<Vec<Batch>> {
        self.guarded(|driver| {
            driver.out.set_now(now);
            for stage in 0..dataflow.stages.len() {
                if dataflow.stages[stage].stop_after == Some(0) && !dataflow.stages[stage].done {
                    driver.stop(dataflow, stage)?;
                }
                driver.run(dataflow)?;
                if dataflow.stages[stage].due.is_some_and(|due| due <= now) {
                    driver.activate(dataflow, stage, Event::Notify(now))?;
                    driver.run(dataflow)?;
                }
            }
            Ok(())
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
            driver.queue.send(&[target], work);
            driver.run(dataflow)
        })
    }

    /// Runs `work`, and leaves no trace of it behind if it fails or panics.
    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Vec<Batch>> {
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Ok(())) => {
                self.result_bytes = 0;
                Ok(std::mem::take(&mut self.results))
            }
            Ok(Err(error)) => {
                *self = Inline { stopwatch: self.stopwatch.take(), limit: self.limit, ..Inline::default() };
                Err(error)
            }
            Err(panic) => {
                *self = Inline { stopwatch: self.stopwatch.take(), limit: self.limit, ..Inline::default() };
                Err(InternalError::new(format!("an operator panicked: {}", panic_message(panic.as_ref()))).into())
            }
        }
    }

    fn run(&mut self, dataflow: &mut Dataflow) -> Result<()> {
        while let Some((target, work)) = self.queue.pop() {
            match (target, work) {
                (Target::Result, Work::Rows(batch)) => {
                    if self.limit.is_some() {
                        self.result_bytes += row_bytes(batch.rows());
                    }
                    self.results.push(batch);
                }
                (Target::Result, Work::Watermark(watermark)) => dataflow.watermark = dataflow.watermark.max(watermark),
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
                    if self.stopwatch.is_some() {
                        dataflow.note_state(stage);
                    }
                    dataflow.stages[stage].end_port(port)?;
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
        let Stage { ports, ends_with, .. } = &dataflow.stages[stage];
        let complete = match ends_with.and_then(|first| ports.get(first)) {
            Some(port) => port.ended,
            None => ports.iter().all(|port| port.ended),
        };
        if complete && !dataflow.stages[stage].done { self.finish(dataflow, stage) } else { Ok(()) }
    }

    /// Tells a stage that every input has ended, and its reader that it has.
    fn finish(&mut self, dataflow: &mut Dataflow, stage: usize) -> Result<()> {
        self.activate(dataflow, stage, Event::Eof)?;
        dataflow.stages[stage].done = true;
        dataflow.stages[stage].ask_due();
        self.queue.send(&dataflow.stages[stage].targets, Work::Ended);
        Ok(())
    }

    /// Ends a stage that has said all it ever will, and what feeds it.
    fn stop(&mut self, dataflow: &mut Dataflow, stage: usize) -> Result<()> {
        dataflow.starve(stage);
        self.finish(dataflow, stage)
    }

    /// Calls the operators of a stage one after the other and queues what the last one says.
    fn activate(&mut self, dataflow: &mut Dataflow, stage: usize, event: Event) -> Result<()> {
        let room = self.limit.map(|limit| limit.saturating_sub(dataflow.bytes_beside(stage)));
        self.out.limit(room, self.result_bytes);
        let Dataflow { stages, metrics, .. } = dataflow;
        let running = &mut stages[stage];
        let ends = matches!(event, Event::Eof);
        let last = running.steps.len().saturating_sub(1);
        self.passing.push(event);
        for (number, step) in running.steps.iter_mut().enumerate() {
            let metrics = &mut metrics[step.node];
            for event in self.passing.drain(..) {
                match &event {
                    Event::Batch(_, batch) => metrics.rows_in += batch.num_rows() as u64,
                    // Whoever measures wants to know what had to be kept, of which little is left after the end.
                    Event::Eof if self.stopwatch.is_some() => metrics.kept(step.operator.state_size()),
                    Event::Eof | Event::Watermark(_) | Event::Notify(_) => {}
                }
                let operator = step.operator.as_mut();
                let (delivered, took) = timed(self.stopwatch.as_deref(), || deliver(operator, event, &mut self.out));
                delivered.map_err(|error| beyond(error, &step.title))?;
                metrics.took(took);
                metrics.forgotten += self.out.take_forgotten();
            }
            let said = self.out.drain().inspect(|batch| metrics.rows_out += batch.num_rows() as u64);
            if number == last {
                said.for_each(|batch| self.queue.send(&running.targets, Work::Rows(batch)));
                if let Some(watermark) = self.out.take_watermark() {
                    self.queue.send(&running.targets, Work::Watermark(watermark));
                }
            } else {
                self.passing.extend(said.map(|batch| Event::Batch(Port(0), batch)));
                self.passing.extend(self.out.take_watermark().map(Event::Watermark));
                self.passing.extend(ends.then_some(Event::Eof));
            }
        }
        running.ask_due();
        if let Some(limit) = self.limit {
            dataflow.weigh(stage);
            dataflow.check(limit)?;
        }
        let running = &dataflow.stages[stage];
        let metrics = &dataflow.metrics;
        let stopped = running.stop_after.is_some_and(|rows| metrics[running.only_node()].rows_out >= rows);
        // A stage that is ending comes back here with its Eof; it must not be stopped twice.
        if stopped && !ends { self.stop(dataflow, stage) } else { Ok(()) }
    }
}

impl Dataflow {
    /// Notes what a stage keeps, of which it may let go now.
    fn note_state(&mut self, stage: usize) {
        for step in &self.stages[stage].steps {
            self.metrics[step.node].kept(step.operator.state_size());
        }
    }

    /// Fails if all operators keep more than `limit` bytes, and names the one that keeps most.
    fn check(&self, limit: usize) -> Result<()> {
        let total = self.state_bytes();
        if total <= limit {
            return Ok(());
        }
        let sizes = self.steps().map(|step| (step.operator.state_size().bytes, step));
        let Some((bytes, step)) = sizes.max_by_key(|(bytes, _)| *bytes) else { return Ok(()) };
        let state = StateLimit { operator: step.title.clone(), bytes, total, limit, ..StateLimit::default() };
        Err(LimitError::state(MAX_STATE_BYTES, state).into())
    }
}

impl Stage {
    fn advance_port(&mut self, Port(port): Port, watermark: Timestamp) {
        if let Some(port) = self.ports.get_mut(port) {
            port.watermark = port.watermark.max(watermark);
        }
    }

    fn end_port(&mut self, port: Port) -> Result<()> {
        if let Some(port) = self.ports.get_mut(port.0) {
            port.ended = true;
        }
        // Those behind the first one have one port, whose end is the end of all.
        self.steps.first_mut().map_or(Ok(()), |step| step.operator.on_port_end(port))
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

/// An operator's error; one that it has gone beyond what it may keep says which operator that is.
fn beyond(error: Error, title: &str) -> Error {
    match error {
        Error::Limit(limit) => match limit.state {
            Some(state) => LimitError::state(limit.setting, StateLimit { operator: title.into(), ..state }).into(),
            None => Error::Limit(limit),
        },
        Error::Statement(_) | Error::Data(_) | Error::Outside(_) | Error::Internal(_) => error,
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;
    use crate::error::Code;
    use crate::operators::Operator;

    /// Writes down what it is told, and panics at the number 13.
    struct Diary {
        told: Arc<Mutex<Vec<String>>>,
        due: Option<Timestamp>,
    }

    impl Diary {
        fn write(&self, entry: String) -> Result<()> {
            self.told.lock().unwrap().push(entry);
            Ok(())
        }
    }

    impl Operator for Diary {
        fn on_batch(&mut self, Port(port): Port, batch: Batch, out: &mut Output) -> Result<()> {
            let n = batch.rows().column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0);
            assert_ne!(n, 13, "unlucky");
            self.due = Some(out.now());
            out.push(batch);
            self.write(format!("{n} on {port} at {}", out.now().nanos()))
        }

        fn on_watermark(&mut self, watermark: Timestamp, _: &mut Output) -> Result<()> {
            self.write(format!("watermark {}", watermark.nanos()))
        }

        fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
            self.due = None;
            assert_eq!(out.now(), now);
            self.write(format!("notified at {}", now.nanos()))
        }

        fn on_eof(&mut self, _: &mut Output) -> Result<()> {
            self.write("eof".into())
        }

        fn notify_at(&self) -> Option<Timestamp> {
            self.due
        }
    }

    fn diary(inputs: usize) -> (Dataflow, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(vec![]));
        (Dataflow::of(Box::new(Diary { told: told.clone(), due: None }), inputs), told)
    }

    fn number(n: i64) -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![n]));
        Batch::append_only(RecordBatch::try_from_iter([("n", column)]).unwrap())
    }

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn the_watermark_is_the_minimum_over_the_open_inputs() {
        let (mut dataflow, told) = diary(2);
        let mut driver = Inline::default();
        for (input, watermark) in [(0, 5), (1, 3), (1, 4), (0, 9), (1, 2)] {
            driver.advance(&mut dataflow, input, at(watermark), at(0)).unwrap();
        }
        driver.end(&mut dataflow, 1, at(0)).unwrap();
        driver.end(&mut dataflow, 0, at(0)).unwrap();
        assert_eq!(*told.lock().unwrap(), ["watermark 3", "watermark 4", "watermark 9", "eof"]);
        assert!(dataflow.ended());
    }

    #[test]
    fn rows_come_at_the_time_of_the_clock_and_not_after_the_end() {
        let (mut dataflow, told) = diary(1);
        let mut driver = Inline::default();
        assert_eq!(driver.push(&mut dataflow, 0, number(1), at(7)).unwrap().len(), 1);
        assert_eq!(dataflow.next_due(), Some((at(7), 0)));
        driver.notify(&mut dataflow, 0, at(8)).unwrap();
        driver.end(&mut dataflow, 0, at(9)).unwrap();
        assert!(driver.push(&mut dataflow, 0, number(2), at(9)).unwrap().is_empty());
        assert_eq!(*told.lock().unwrap(), ["1 on 0 at 7", "notified at 8", "eof"]);
        assert_eq!((dataflow.metrics()[0].rows_in, dataflow.metrics()[1].rows_out), (1, 1));
    }

    #[test]
    fn a_panic_is_an_error_and_leaves_the_driver_clean() {
        let (mut dataflow, _) = diary(1);
        let mut driver = Inline::default();
        let error = driver.push(&mut dataflow, 0, number(13), at(0)).unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.to_string().contains("unlucky"), "{error}");
        let (mut other, _) = diary(1);
        assert_eq!(driver.push(&mut other, 0, number(1), at(0)).unwrap().len(), 1);
    }
}
