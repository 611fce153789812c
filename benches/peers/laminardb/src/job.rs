//! A loaded workload: its rows, and what is measured.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::sum;
use laminar_db::UntypedSourceHandle;
use rustix::time::{ClockId, clock_gettime};

use crate::answer::{WEIGHT, longs, without_markers};
use crate::engine::{self, Engine, push};
use crate::request::{Request, Result};
use crate::subscriber::Subscriber;
use crate::tables::Feed;
use crate::workloads::{self, End, Plan};

/// What of an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is counted, and dropped as it comes.
    Nothing,
    /// All rows.
    Rows,
}

/// A workload and its rows in memory.
pub struct Job {
    plan: Plan,
    feed: Feed,
}

/// What a run took and gave.
pub struct Run {
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub rows_in: usize,
    pub rows_out: usize,
    /// The answer, if it was to be kept.
    pub answer: Vec<RecordBatch>,
}

impl Job {
    /// Reads the tables of a workload, and says how many seconds that took.
    ///
    /// # Errors
    ///
    /// If LaminarDB cannot do the workload, or a table cannot be read.
    pub async fn load(request: &Request) -> Result<(Job, f64)> {
        let start = Instant::now();
        let plan = workloads::plan(request)?;
        let schemas = engine::schemas(&plan).await?;
        let names = plan.sources.iter().map(|source| source.name.as_str());
        let tables: Vec<_> = names.zip(schemas).collect();
        let feed = Feed::read(&request.data, &tables, plan.together)?;
        Ok((Job { plan, feed }, start.elapsed().as_secs_f64()))
    }

    /// The columns of the answer.
    pub fn columns(&self) -> &'static [&'static str] {
        self.plan.columns
    }

    /// Runs the workload once, from opening LaminarDB to the last row of the answer.
    ///
    /// # Errors
    ///
    /// If LaminarDB fails, or loses rows.
    pub async fn run(&self, keep: Keep) -> Result<Run> {
        let (clock, cpu) = (Instant::now(), cpu_time());
        let (engine, sources, subscriber) = engine::start(&self.plan).await?;
        let outcome = self.measured(&engine, &sources, subscriber, keep).await;
        let (seconds, cpu_seconds) = (clock.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
        let verified = engine.verify(self.feed.rows + self.marks());
        let stopped = engine.stop().await;
        let answer = outcome?;
        verified?;
        stopped?;
        Ok(Run { seconds, cpu_seconds, rows_in: self.feed.rows, rows_out: answer.rows, answer: answer.batches })
    }

    /// Pushes all rows and takes the whole answer.
    async fn measured(
        &self,
        engine: &Engine,
        sources: &[UntypedSourceHandle],
        subscriber: Subscriber,
        keep: Keep,
    ) -> Result<Answer> {
        let mut answer = Answer { keep, rows: 0, batches: vec![] };
        tokio::try_join!(self.send(sources), self.take(sources, subscriber, &mut answer))?;
        if let Some(query) = self.plan.view {
            answer.batches = engine.query(query).await?;
            answer.rows = answer.batches.iter().map(RecordBatch::num_rows).sum();
        }
        Ok(answer)
    }

    /// How many marker rows come after the others.
    fn marks(&self) -> usize {
        if self.plan.end == End::Changes { 0 } else { self.feed.markers.len() }
    }

    /// Pushes all rows, and a marker after them.
    async fn send(&self, sources: &[UntypedSourceHandle]) -> Result<()> {
        for (place, batch) in &self.feed.batches {
            push(&sources[*place], batch).await?;
        }
        if self.marks() > 0 {
            self.mark(sources).await?;
        }
        Ok(())
    }

    async fn mark(&self, sources: &[UntypedSourceHandle]) -> Result<()> {
        for (source, marker) in sources.iter().zip(&self.feed.markers) {
            push(source, marker).await?;
        }
        Ok(())
    }

    /// Takes the answer until it is whole.
    async fn take(
        &self,
        sources: &[UntypedSourceHandle],
        mut subscriber: Subscriber,
        answer: &mut Answer,
    ) -> Result<()> {
        let rows = i64::try_from(self.feed.rows)?;
        let (mut counted, mut marked) = (0, 0);
        loop {
            let mut batch = subscriber.next().await?;
            let whole = match self.plan.end {
                End::Changes => {
                    counted += weighted_counts(&batch)?;
                    all(counted, rows)?
                }
                End::Windows { times } => {
                    counted += sum(longs(&batch, "n")?).unwrap_or(0);
                    all(counted, rows * times)?
                }
                End::Marker => {
                    let marker;
                    (batch, marker) = without_markers(batch)?;
                    marked += usize::from(marker);
                    if marker && marked == 1 {
                        self.mark(sources).await?;
                    }
                    marked == 2
                }
            };
            answer.take(batch);
            if whole {
                return Ok(());
            }
        }
    }
}

/// What has come of an answer.
struct Answer {
    keep: Keep,
    rows: usize,
    batches: Vec<RecordBatch>,
}

impl Answer {
    fn take(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        if self.keep == Keep::Rows {
            self.batches.push(batch);
        }
    }
}

/// Whether all rows are counted.
fn all(counted: i64, rows: i64) -> Result<bool> {
    if counted > rows {
        return Err(format!("the answer counts {counted} rows, and there are {rows}").into());
    }
    Ok(counted == rows)
}

/// What a changelog's batch adds to the sum of all counts.
fn weighted_counts(batch: &RecordBatch) -> Result<i64> {
    let (counts, weights) = (longs(batch, "n")?, longs(batch, WEIGHT)?);
    Ok(counts.values().iter().zip(weights.values()).map(|(count, weight)| count * weight).sum())
}

/// The time that all threads of this process have had a processor.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}
