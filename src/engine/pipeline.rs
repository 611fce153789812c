//! A pipeline: one planned query that runs, what it still has to read by itself, and where its answer goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::io;
use crate::operators::kept_rows::KeptRows;
use crate::operators::{Event, Operator, Output, Port, StateSize, deliver};
use crate::plan::{ChangelogMode, NodeMetrics, Plan};
use crate::recovery::{FeedPosition, PipelineSnapshot};
use crate::runtime::{Dataflow, Inline, Partition, PartitionState, single_rows};
use crate::types::{Batch, Epoch, RowKind, RowKinds, Timestamp};

use super::options::QueryOptions;

/// One planned query that runs.
pub(super) struct Pipeline {
    pub(super) plan: Plan,
    pub(super) dataflow: Dataflow,
    pub(super) destination: Destination,
    /// What it reads by itself, in the order of the plan.
    pub(super) feeds: Vec<Feed>,
    /// For each input on the right side of how many lookups it is.
    pub(super) lookups: Vec<usize>,
    /// Which inputs each live relation feeds.
    pub(super) live: BTreeMap<Arc<str>, Vec<LeafTarget>>,
    /// The relations whose rows must come one by one.
    pub(super) by_row: BTreeSet<Arc<str>>,
    /// What has stopped it.
    pub(super) error: Option<Error>,
    /// The columns of the files it reads by their path.
    pub(super) files: Arc<HashMap<String, SchemaRef>>,
    /// The relations it was planned with.
    pub(super) depends_on: BTreeSet<String>,
    /// How messages call it.
    pub(super) label: String,
    /// What holds for it alone.
    pub(super) options: QueryOptions,
    /// Bytes of the rows of its view when they were last weighed.
    view_bytes: usize,
}

/// Where the answer goes.
pub(super) enum Destination {
    /// It waits to be polled or fetched.
    Pending(Pending),
    /// It feeds the readers of a derived stream.
    Relation(Arc<str>),
    /// It is kept as the rows of a materialized view, and feeds its readers.
    View(Arc<str>, Box<KeptRows>),
    /// It is written.
    Sink(Arc<str>),
    /// It is counted and thrown away (`EXPLAIN ANALYZE`).
    Discard,
}

/// What has been emitted and not yet been asked for.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) batches: VecDeque<Batch>,
    pub(super) rows: usize,
    pub(super) waker: Option<Waker>,
}

/// An input of the dataflow, and which columns of the relation it reads; all if there is nothing to choose.
#[derive(Debug, Clone)]
pub(super) struct LeafTarget {
    pub(super) input: usize,
    pub(super) projection: Option<Vec<usize>>,
    /// Whether its rows carry the watermark that held before each of them.
    pub(super) watermarked: bool,
}

/// Something a pipeline reads by itself, to its end.
pub(super) struct Feed {
    /// The relation it is; empty for rows written in the statement.
    pub(super) relation: Arc<str>,
    pub(super) rows: FeedRows,
    pub(super) targets: Vec<LeafTarget>,
    pub(super) mode: ChangelogMode,
    /// Whether the relation has ended once this is read. A table goes on with its changes.
    pub(super) ends: bool,
    /// The watermark of the file that is read, if somebody judges by it. Each file of several is a partition.
    pub(super) partition: Option<Partition>,
    /// Of which file, counted from 0.
    pub(super) file: u64,
    /// Whether there is nothing left to read of it.
    pub(super) finished: bool,
}

/// Where the rows of a feed come from.
pub(super) enum FeedRows {
    /// Rows that are there already: those of a `VALUES`, or the rows of a table when the pipeline started.
    Ready { rows: Batch, read: bool },
    /// A file.
    File(Box<dyn io::Source>),
    /// The bad rows of a file.
    DeadLetters(Box<dyn io::Source>),
}

/// What reading one batch of a feed has brought.
pub(super) enum Reading {
    /// Everything has been read before.
    Nothing,
    /// So many rows, and these answers; perhaps none.
    Read { rows: usize, emitted: Vec<Batch> },
}

impl Pipeline {
    /// A pipeline that reads nothing and leads nowhere yet.
    pub(super) fn new(plan: Plan, dataflow: Dataflow) -> Pipeline {
        Pipeline {
            plan,
            dataflow,
            destination: Destination::Discard,
            feeds: vec![],
            lookups: vec![],
            live: BTreeMap::new(),
            by_row: BTreeSet::new(),
            error: None,
            files: Arc::default(),
            depends_on: BTreeSet::new(),
            label: String::new(),
            options: QueryOptions::default(),
            view_bytes: 0,
        }
    }

    /// A pipeline that could not be built: all it says is why.
    pub(super) fn failed(plan: Plan, error: Error) -> Pipeline {
        Pipeline { error: Some(error), ..Pipeline::new(plan, Dataflow::empty()) }
    }

    /// Whether there is something left that it reads by itself.
    pub(super) fn has_unread(&self) -> bool {
        self.error.is_none() && !self.dataflow.ended() && self.feeds.iter().any(|feed| !feed.finished)
    }

    /// Whether nothing more can come: no row that waits to be polled, and no error.
    pub(super) fn is_finished(&self) -> bool {
        let waiting = matches!(&self.destination, Destination::Pending(pending) if pending.rows > 0);
        self.error.is_none() && self.dataflow.ended() && !waiting
    }

    /// Whether it still has to read the rows that `relation` had when it started.
    pub(super) fn awaits(&self, relation: &str) -> bool {
        self.feeds.iter().any(|feed| !feed.finished && &*feed.relation == relation)
    }

    /// Rows of the live relation `relation` have come in.
    pub(super) fn push(
        &mut self,
        driver: &mut Inline,
        relation: &str,
        batch: &Batch,
        now: Timestamp,
    ) -> Result<Vec<Batch>> {
        let Pipeline { live, dataflow, .. } = self;
        let Some(targets) = live.get(relation) else { return Ok(vec![]) };
        push_targets(dataflow, driver, targets, batch, now)
    }

    /// The live relation `relation` has ended.
    pub(super) fn end(&mut self, driver: &mut Inline, relation: &str, now: Timestamp) -> Result<Vec<Batch>> {
        let Pipeline { live, dataflow, .. } = self;
        let Some(targets) = live.get(relation) else { return Ok(vec![]) };
        end_targets(dataflow, driver, targets, now)
    }

    /// No row of the live relation `relation` before `watermark` will come.
    pub(super) fn advance(
        &mut self,
        driver: &mut Inline,
        relation: &str,
        watermark: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Batch>> {
        let mut emitted = vec![];
        for target in self.live.get(relation).into_iter().flatten() {
            emitted.extend(driver.advance(&mut self.dataflow, target.input, watermark, now)?);
        }
        Ok(emitted)
    }

    /// The relations whose rows come from elsewhere, in the order in which those who feed them are asked to read.
    pub(super) fn live_in_order(&self) -> Vec<&Arc<str>> {
        let mut live: Vec<(&Arc<str>, &Vec<LeafTarget>)> = self.live.iter().collect();
        live.sort_by_key(|(_, targets)| Reverse(self.lookups_above(targets)));
        live.into_iter().map(|(relation, _)| relation).collect()
    }

    /// On the right side of how many lookups the inputs are that something is read for. The more, the sooner it is read.
    fn lookups_above(&self, targets: &[LeafTarget]) -> usize {
        targets.iter().filter_map(|target| self.lookups.get(target.input)).copied().min().unwrap_or_default()
    }

    /// The feed that is read next: the first, but of those that have event time always the one that is furthest behind.
    /// So their windows close, and what waits for them is forgotten, while they are read. What is looked up by others
    /// comes before these.
    fn next_feed(&self) -> Option<usize> {
        let unread = || self.feeds.iter().enumerate().filter(|(_, feed)| !feed.finished);
        let lookups = unread().map(|(_, feed)| self.lookups_above(&feed.targets)).max()?;
        let mut unread = unread().filter(|(_, feed)| self.lookups_above(&feed.targets) == lookups);
        let (first, feed) = unread.next()?;
        if feed.partition.is_none() {
            return Some(first);
        }
        let timed =
            unread.filter(|(_, feed)| feed.partition.is_some()).map(|(number, feed)| (feed.watermark(), number));
        timed.chain([(feed.watermark(), first)]).min().map(|(_, number)| number)
    }

    /// Reads the next batch of what it reads by itself, at most `batch_rows` rows at once if that is not 0.
    pub(super) fn read(&mut self, driver: &mut Inline, batch_rows: usize, now: Timestamp) -> Result<Reading> {
        while self.has_unread()
            && let Some(next) = self.next_feed()
        {
            let Pipeline { feeds, dataflow, by_row, .. } = self;
            let feed = &mut feeds[next];
            if feed.targets.iter().all(|target| dataflow.input_ended(target.input)) {
                feed.finished = true;
                continue;
            }
            // What reads for several inputs counts as the first one's.
            let first = feed.targets.first().map_or(0, |target| target.input);
            let Some(batch) = driver.timed(dataflow, first, || feed.next(now))? else {
                feed.finished = true;
                if !feed.ends {
                    continue;
                }
                let emitted = end_targets(dataflow, driver, &feed.targets, now)?;
                return Ok(Reading::Read { rows: 0, emitted });
            };
            let (mut emitted, rows) = (vec![], batch.num_rows());
            if by_row.contains(&feed.relation) {
                for row in single_rows(&batch) {
                    emitted.extend(push_targets(dataflow, driver, &feed.targets, &row, now)?);
                }
            } else {
                for part in cut(batch, batch_rows) {
                    emitted.extend(push_targets(dataflow, driver, &feed.targets, &part, now)?);
                }
            }
            if let Some(watermark) = feed.watermark() {
                for target in &feed.targets {
                    emitted.extend(driver.advance(dataflow, target.input, watermark, now)?);
                }
            }
            return Ok(Reading::Read { rows, emitted });
        }
        Ok(Reading::Nothing)
    }

    /// What each node of its plan has done.
    pub(super) fn metrics(&self) -> Vec<NodeMetrics> {
        let mut metrics = self.dataflow.metrics();
        for feed in &self.feeds {
            let Some(counts) = feed.counts() else { continue };
            for node in feed.targets.iter().filter_map(|target| self.dataflow.input_node(target.input)) {
                metrics[node].skipped = counts.skipped + counts.dead_lettered;
            }
        }
        metrics
    }

    /// How much of the files it reads has been read, from 0 to 1; each counts for as much as it is long.
    pub(super) fn progress(&self) -> Option<f64> {
        let weigh = |source: &dyn io::Source| Some((source.progress()?, source.weight() as f64));
        let known: Vec<(f64, f64)> = self.feeds.iter().filter_map(Feed::source).map(weigh).collect::<Option<_>>()?;
        let weight: f64 = known.iter().map(|(_, weight)| weight).sum();
        (!known.is_empty()).then(|| known.iter().map(|(read, weight)| read * weight).sum::<f64>() / weight)
    }

    /// Stops it for good: what it keeps, and what waits and cannot be fetched any more, is freed.
    pub(super) fn fail(&mut self, error: Error) {
        self.error = Some(error);
        self.dataflow = Dataflow::empty();
        self.feeds.clear();
        self.view_bytes = 0;
        match &mut self.destination {
            Destination::Pending(pending) => {
                pending.batches.clear();
                pending.rows = 0;
            }
            Destination::View(_, rows) => rows.clear(),
            Destination::Relation(_) | Destination::Sink(_) | Destination::Discard => {}
        }
    }

    /// How much it keeps in all.
    pub(super) fn state_size(&self) -> StateSize {
        let (size, view) = (self.dataflow.state_size(), self.view_size());
        StateSize { rows: size.rows + view.rows, bytes: size.bytes + view.bytes }
    }

    /// How many bytes it kept in all when it was last weighed.
    pub(super) fn state_bytes(&self) -> usize {
        self.dataflow.state_bytes() + self.view_bytes
    }

    /// Bytes of the rows of its view when they were last weighed.
    pub(super) fn view_bytes(&self) -> usize {
        self.view_bytes
    }

    /// Weighs all that it keeps.
    pub(super) fn weigh_all(&mut self) {
        self.dataflow.weigh_all();
        self.weigh_view();
    }

    /// Weighs the rows of its view, if it is one.
    pub(super) fn weigh_view(&mut self) {
        self.view_bytes = self.view_size().bytes;
    }

    /// How much the rows of its view are, if it is one.
    fn view_size(&self) -> StateSize {
        match &self.destination {
            Destination::View(_, rows) => rows.state_size(),
            Destination::Pending(_) | Destination::Relation(_) | Destination::Sink(_) | Destination::Discard => {
                StateSize::default()
            }
        }
    }

    /// Writes into `snapshot` what is needed to go on from here.
    pub(super) fn snapshot(&mut self, since: Epoch, snapshot: &mut PipelineSnapshot) -> Result<()> {
        self.dataflow.snapshot(since, &mut snapshot.dataflow)?;
        snapshot.feeds = self.feeds.iter().map(Feed::position).collect();
        snapshot.finished = self.feeds.iter().map(|feed| feed.finished).collect();
        snapshot.error.clone_from(&self.error);
        snapshot.pending = match &self.destination {
            Destination::Pending(pending) => pending.batches.iter().cloned().collect(),
            Destination::Relation(_) | Destination::View(..) | Destination::Sink(_) | Destination::Discard => vec![],
        };
        if let Destination::View(_, rows) = &mut self.destination {
            // What has failed keeps nothing.
            let failed = self.error.is_some();
            if failed || since == Epoch::ZERO {
                snapshot.kept.clear();
            }
            if !failed {
                snapshot.kept.extend(rows.snapshot(since)?);
            }
        }
        Ok(())
    }

    /// Goes on reading where `snapshot` was taken. The dataflow has been built from it already.
    pub(super) fn resume(&mut self, snapshot: &PipelineSnapshot) -> Result<()> {
        for (feed, position) in self.feeds.iter_mut().zip(&snapshot.feeds) {
            feed.seek(position)?;
        }
        for (feed, finished) in self.feeds.iter_mut().zip(&snapshot.finished) {
            feed.finished = *finished;
        }
        self.error.clone_from(&snapshot.error);
        Ok(())
    }
}

impl Destination {
    /// The name of the relation whose readers it feeds.
    pub(super) fn relation(&self) -> Option<&Arc<str>> {
        match self {
            Destination::Relation(name) | Destination::View(name, _) => Some(name),
            Destination::Pending(_) | Destination::Sink(_) | Destination::Discard => None,
        }
    }
}

/// Keeps a batch as rows of a view, and gives it as its readers see it.
pub(super) fn keep(rows: &mut KeptRows, batch: Batch, now: Timestamp) -> Result<Vec<Batch>> {
    let mut out = Output::default();
    out.set_now(now);
    deliver(rows, Event::Batch(Port(0), batch), &mut out)?;
    Ok(out.drain().collect())
}

impl Pending {
    pub(super) fn push(&mut self, batch: Batch) {
        self.rows += batch.num_rows();
        self.batches.push_back(batch);
    }

    /// The oldest `rows` rows, or all; the rest stays.
    pub(super) fn take(&mut self, rows: Option<usize>) -> Vec<Batch> {
        let mut wanted = rows.unwrap_or(usize::MAX);
        let mut taken = vec![];
        while wanted > 0
            && let Some(batch) = self.batches.pop_front()
        {
            let rows = batch.num_rows();
            if rows > wanted {
                taken.push(batch.slice(0, wanted));
                self.batches.push_front(batch.slice(wanted, rows - wanted));
                self.rows -= wanted;
                break;
            }
            wanted -= rows;
            self.rows -= rows;
            taken.push(batch);
        }
        taken
    }
}

impl Feed {
    fn next(&mut self, now: Timestamp) -> Result<Option<Batch>> {
        let rows = match &mut self.rows {
            FeedRows::Ready { read: true, .. } => return Ok(None),
            FeedRows::Ready { rows, read } => {
                *read = true;
                return Ok(Some(rows.clone()));
            }
            FeedRows::File(source) => {
                let Some(rows) = source.next_batch()? else { return Ok(None) };
                let Some(partition) = &mut self.partition else { return Ok(Some(Batch::append_only(rows))) };
                let file = source.position().file;
                if std::mem::replace(&mut self.file, file) != file {
                    partition.resume(PartitionState::NEW);
                }
                let watermarks = partition.take(&rows, now)?;
                return Ok(Some(Batch::append_only(rows).with_watermarks(Some(watermarks))));
            }
            FeedRows::DeadLetters(source) => next_dead_letters(source.as_mut())?,
        };
        Ok(rows.map(|rows| match self.mode {
            ChangelogMode::AppendOnly => Batch::append_only(rows),
            ChangelogMode::Changelog => all_inserted(rows),
        }))
    }

    /// The watermark over all files: before everything until the last one is read, as the rows of the others may be of
    /// any time.
    fn watermark(&self) -> Option<Timestamp> {
        let partition = self.partition.as_ref()?;
        let last = self.source().is_some_and(|source| self.file + 1 >= source.files());
        last.then(|| partition.at())
    }

    /// What has been read of the file, if it is one.
    pub(super) fn counts(&self) -> Option<io::SourceCounts> {
        match &self.rows {
            FeedRows::File(source) => Some(source.counts()),
            FeedRows::Ready { .. } | FeedRows::DeadLetters(_) => None,
        }
    }

    /// The file, if it is one.
    fn source(&self) -> Option<&dyn io::Source> {
        match &self.rows {
            FeedRows::Ready { .. } => None,
            FeedRows::File(source) | FeedRows::DeadLetters(source) => Some(source.as_ref()),
        }
    }

    fn position(&self) -> FeedPosition {
        match &self.rows {
            FeedRows::Ready { rows, read } => FeedPosition::Ready { rows: rows.clone(), read: *read },
            FeedRows::File(source) | FeedRows::DeadLetters(source) => {
                let watermark = self.partition.as_ref().map(Partition::state);
                FeedPosition::File { position: source.position(), file: self.file, watermark }
            }
        }
    }

    fn seek(&mut self, position: &FeedPosition) -> Result<()> {
        match (&mut self.rows, position) {
            (
                FeedRows::File(source) | FeedRows::DeadLetters(source),
                FeedPosition::File { position, file, watermark },
            ) => {
                self.file = *file;
                if let (Some(partition), Some(state)) = (&mut self.partition, watermark) {
                    partition.resume(*state);
                }
                source.seek(position)
            }
            (FeedRows::Ready { rows, read }, FeedPosition::Ready { rows: were, read: was }) => {
                *rows = were.clone();
                *read = *was;
                Ok(())
            }
            (FeedRows::Ready { .. } | FeedRows::File(_) | FeedRows::DeadLetters(_), _) => Ok(()),
        }
    }
}

/// Rows as the beginning of a changelog.
pub(super) fn all_inserted(rows: arrow::array::RecordBatch) -> Batch {
    let kinds: RowKinds = (0..rows.num_rows()).map(|_| RowKind::Insert).collect();
    Batch::changelog(rows, kinds)
}

/// The batch in parts of at most `rows` rows; whole, and without a copy of its columns, if it has no more or for 0.
pub(super) fn cut(batch: Batch, rows: usize) -> impl Iterator<Item = Batch> {
    let mut rest = Some(batch).filter(|batch| !batch.is_empty());
    std::iter::from_fn(move || {
        let batch = rest.take()?;
        if rows == 0 || batch.num_rows() <= rows {
            return Some(batch);
        }
        rest = Some(batch.slice(rows, batch.num_rows() - rows));
        Some(batch.slice(0, rows))
    })
}

fn next_dead_letters(source: &mut dyn io::Source) -> Result<Option<arrow::array::RecordBatch>> {
    loop {
        let more = source.next_batch()?.is_some();
        if let Some(letters) = source.take_dead_letters()? {
            return Ok(Some(letters));
        }
        if !more {
            return Ok(None);
        }
    }
}

fn push_targets(
    dataflow: &mut Dataflow,
    driver: &mut Inline,
    targets: &[LeafTarget],
    batch: &Batch,
    now: Timestamp,
) -> Result<Vec<Batch>> {
    let mut emitted = vec![];
    for target in targets {
        let rows = match &target.projection {
            Some(columns) => batch.with_rows(batch.rows().project(columns)?).without_idle_updates()?,
            None => batch.clone(),
        };
        let rows = if target.watermarked { rows } else { rows.with_watermarks(None) };
        let answered = driver.push(dataflow, target.input, rows, now)?;
        // Nearly always there is one target, whose answer is the whole.
        match emitted.is_empty() {
            true => emitted = answered,
            false => emitted.extend(answered),
        }
    }
    Ok(emitted)
}

fn end_targets(
    dataflow: &mut Dataflow,
    driver: &mut Inline,
    targets: &[LeafTarget],
    now: Timestamp,
) -> Result<Vec<Batch>> {
    let mut emitted = vec![];
    for target in targets {
        emitted.extend(driver.end(dataflow, target.input, now)?);
    }
    Ok(emitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};

    fn numbers(from: i64, to: i64) -> Batch {
        let column: arrow::array::ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
        Batch::append_only(RecordBatch::try_from_iter([("n", column)]).unwrap())
    }

    #[test]
    fn pending_rows_are_taken_in_order_across_batches() {
        let mut pending = Pending::default();
        pending.push(numbers(0, 3));
        pending.push(numbers(3, 6));
        let sizes: Vec<usize> = pending.take(Some(4)).iter().map(Batch::num_rows).collect();
        assert_eq!((sizes, pending.rows), (vec![3, 1], 2));
        assert_eq!(pending.take(None).iter().map(Batch::num_rows).sum::<usize>(), 2);
        assert_eq!(pending.rows, 0);
    }

    #[test]
    fn cutting_gives_every_row_once() {
        let sizes: Vec<usize> = cut(numbers(0, 5), 2).map(|part| part.num_rows()).collect();
        assert_eq!(sizes, [2, 2, 1]);
        assert_eq!(cut(numbers(0, 5), 0).count(), 1);
        assert_eq!(cut(numbers(5, 5), 0).count(), 0);
    }
}
