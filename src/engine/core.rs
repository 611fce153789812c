//! What an engine holds, and how a query becomes a running pipeline.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::catalog::{Catalog, Relation};
use crate::error::{Error, InternalError, Result};
use crate::io::{self, Access, Columns, FileOptions, SourceOptions};
use crate::plan::node::{Node, Source};
use crate::plan::{self, Bounded, ChangelogMode, Context, DEAD_LETTERS_PREFIX, Parameters, Plan, Reads};
use crate::recovery::{MemoryStore, PipelineId, PipelineSnapshot};
use crate::runtime::clock::Clock;
use crate::runtime::{Dataflow, Partition};
use crate::sql;
use crate::types::{Batch, Interval, changelog_schema};

use super::graph::Graph;
use super::names::{leaves, lookups_above, references};
use super::options::QueryOptions;
use super::pipeline::{Destination, Feed, FeedRows, LeafTarget, Pending, Pipeline, all_inserted};
use super::settings::Settings;

/// What an engine holds.
pub(super) struct Core {
    pub(super) catalog: Catalog,
    pub(super) graph: Graph,
    pub(super) settings: Settings,
    pub(super) clock: ClockMode,
    pub(super) machine_clock: Arc<dyn Clock>,
    pub(super) cursors: BTreeMap<String, PipelineId>,
    pub(super) views: BTreeMap<String, ViewInfo>,
    pub(super) store: MemoryStore,
    pub(super) access: Access,
}

/// Where the time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockMode {
    /// The clock the engine was built with.
    System,
    /// `ADVANCE CLOCK`.
    Manual,
}

/// What is known of a view, or of a derived stream over what is bounded, besides its query.
pub(super) struct ViewInfo {
    pub(super) depends_on: BTreeSet<String>,
    /// The columns of the files it reads by their path.
    pub(super) files: HashMap<String, SchemaRef>,
    pub(super) kind: sql::ObjectKind,
}

/// What a statement has brought, before the engine is unlocked.
pub(super) enum Done {
    Message(String),
    Text(String),
    Rows { schema: SchemaRef, batches: Vec<RecordBatch>, mode: ChangelogMode },
    Started(PipelineId),
}

/// A planned query and what it refers to.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) files: Arc<HashMap<String, SchemaRef>>,
    pub(super) depends_on: BTreeSet<String>,
    /// How messages call it, for those that say what depends on a relation.
    pub(super) label: String,
    /// What holds for it alone.
    pub(super) options: QueryOptions,
}

/// Which inputs the live relations of a pipeline feed.
type LiveTargets = BTreeMap<Arc<str>, Vec<LeafTarget>>;

impl Planned {
    /// The columns of the result as users see it.
    pub(super) fn visible_schema(&self) -> SchemaRef {
        visible_schema(&self.plan)
    }
}

/// The columns of a result as users see it: those of a changelog begin with `op`.
pub(super) fn visible_schema(plan: &Plan) -> SchemaRef {
    let schema = plan.root.schema();
    match plan.mode {
        ChangelogMode::AppendOnly => schema,
        ChangelogMode::Changelog => changelog_schema(&schema),
    }
}

impl Core {
    pub(super) fn new(access: Access, clock: Arc<dyn Clock>, settings: Settings, cancel: Arc<AtomicBool>) -> Core {
        let mut catalog = Catalog::default();
        plan::register_builtin_functions(&mut catalog);
        let mut graph = Graph::new(cancel, catalog.now.clone());
        graph.limit_state(&settings);
        Core {
            catalog,
            graph,
            settings,
            clock: ClockMode::System,
            machine_clock: clock,
            cursors: BTreeMap::new(),
            views: BTreeMap::new(),
            store: MemoryStore::default(),
            access,
        }
    }

    /// Reads the clock unless it is advanced by hand, and runs what has become due.
    pub(super) fn tick(&mut self) -> Result<()> {
        let now = match self.clock {
            ClockMode::System => self.machine_clock.now(),
            ClockMode::Manual => self.graph.now,
        };
        self.graph.advance(now)
    }

    /// Plans a query that goes on, and finds out which files and relations it reads.
    pub(super) fn plan(&self, query: &sql::Query, parameters: &Parameters) -> Result<Planned> {
        self.plan_with(query, parameters, QueryOptions::default())
    }

    /// As [`Core::plan`], with options that hold for this query alone.
    pub(super) fn plan_with(
        &self,
        query: &sql::Query,
        parameters: &Parameters,
        options: QueryOptions,
    ) -> Result<Planned> {
        self.plan_reading(query, parameters, options, Reads::Changes)
    }

    /// Plans a query that reads so much of tables and materialized views.
    pub(super) fn plan_reading(
        &self,
        query: &sql::Query,
        parameters: &Parameters,
        options: QueryOptions,
        reads: Reads,
    ) -> Result<Planned> {
        self.plan_as(query, parameters, options, (reads, false))
    }

    /// Plans a query whose rows are kept, which have no order.
    pub(super) fn plan_kept(
        &self,
        query: &sql::Query,
        parameters: &Parameters,
        options: QueryOptions,
    ) -> Result<Planned> {
        self.plan_as(query, parameters, options, (Reads::Changes, true))
    }

    fn plan_as(
        &self,
        query: &sql::Query,
        parameters: &Parameters,
        options: QueryOptions,
        (reads, unordered): (Reads, bool),
    ) -> Result<Planned> {
        let files = self.files_of(query)?;
        let state_ttl = self.state_ttl(options);
        let context = Context { reads, unordered, state_ttl, ..self.context(&files, parameters) };
        let plan = plan::plan_query(query, &context)?;
        Ok(Planned { options, ..self.planned(plan, files, query) })
    }

    /// Plans a query that is written to a file.
    pub(super) fn plan_written(
        &self,
        query: &sql::Query,
        parameters: &Parameters,
        options: QueryOptions,
    ) -> Result<Planned> {
        let planned = self.plan_with(query, parameters, options)?;
        plan::check_written(&planned.plan, query)?;
        Ok(planned)
    }

    /// Plans what is written into a relation of columns `target`.
    pub(super) fn plan_insert(
        &self,
        insert: &sql::Insert,
        target: &SchemaRef,
        parameters: &Parameters,
        options: QueryOptions,
        reads: Reads,
    ) -> Result<Planned> {
        let files = self.files_of(&insert.query)?;
        let context = Context { reads, state_ttl: self.state_ttl(options), ..self.context(&files, parameters) };
        let plan = plan::plan_insert(insert, target, &context)?;
        Ok(Planned { options, ..self.planned(plan, files, &insert.query) })
    }

    fn planned(&self, plan: Plan, files: HashMap<String, SchemaRef>, query: &sql::Query) -> Planned {
        let known = |name: &String| self.catalog.relations.contains_key(name);
        let depends_on = references(query, &plan).into_iter().filter(known).collect();
        let (label, options) = ("a running query".into(), QueryOptions::default());
        Planned { plan, files: Arc::new(files), depends_on, label, options }
    }

    pub(super) fn context<'a>(
        &'a self,
        files: &'a HashMap<String, SchemaRef>,
        parameters: &'a Parameters,
    ) -> Context<'a> {
        Context {
            catalog: &self.catalog,
            files,
            closed: &self.graph.closed,
            parameters,
            require_bounded_state: self.settings.require_bounded_state,
            unordered: false,
            reads: Reads::Changes,
            state_ttl: self.state_ttl(QueryOptions::default()),
        }
    }

    /// For how long a query keeps what it keeps by key.
    fn state_ttl(&self, options: QueryOptions) -> Option<Interval> {
        some_time(options.state_ttl.unwrap_or(self.settings.state_ttl))
    }

    /// The columns of the files that a query reads by their path, itself or through a view.
    fn files_of(&self, query: &sql::Query) -> Result<HashMap<String, SchemaRef>> {
        let mut files: HashMap<String, SchemaRef> = self.views.values().flat_map(|view| view.files.clone()).collect();
        for name in plan::file_names(query) {
            let options = FileOptions::for_path(&name.value)?;
            let schema = io::infer_schema(&options, &self.access)?;
            files.insert(name.value, schema);
        }
        Ok(files)
    }

    /// Starts a query whose answer waits to be polled.
    pub(super) fn start_query(
        &mut self,
        query: &sql::Query,
        parameters: &Parameters,
        options: QueryOptions,
    ) -> Result<PipelineId> {
        self.graph.progress.begin();
        self.tick()?;
        let planned = self.plan_asked(query, parameters, options)?;
        self.start(planned, Destination::Pending(Pending::default()))
    }

    /// Starts a pipeline.
    pub(super) fn start(&mut self, planned: Planned, destination: Destination) -> Result<PipelineId> {
        let id = self.graph.next_id();
        let mut pipeline = self.build(planned.plan, &planned.files, None)?;
        pipeline.destination = destination;
        pipeline.files = planned.files;
        pipeline.depends_on = planned.depends_on;
        pipeline.label = planned.label;
        pipeline.options = planned.options;
        if let Err(error) = self.graph.add(id, pipeline) {
            self.graph.remove(id);
            return Err(error);
        }
        Ok(id)
    }

    /// Builds a pipeline that leads nowhere yet, from a snapshot if there is one.
    pub(super) fn build(
        &mut self,
        plan: Plan,
        files: &HashMap<String, SchemaRef>,
        snapshot: Option<&PipelineSnapshot>,
    ) -> Result<Pipeline> {
        let dataflow = Dataflow::new(&plan, snapshot.map(|snapshot| &snapshot.dataflow))?;
        let (feeds, live) = self.connect(&plan, files)?;
        let mut pipeline = Pipeline::new(plan, dataflow);
        pipeline.lookups = lookups_above(&pipeline.plan);
        pipeline.feeds = feeds;
        pipeline.live = live;
        if let Some(snapshot) = snapshot {
            pipeline.resume(snapshot)?;
        }
        Ok(pipeline)
    }

    /// For each leaf of a plan where its rows come from. A relation that is named twice is read once.
    fn connect(&mut self, plan: &Plan, files: &HashMap<String, SchemaRef>) -> Result<(Vec<Feed>, LiveTargets)> {
        let leaves = leaves(plan);
        let mut feeds: Vec<Feed> = vec![];
        let mut live = LiveTargets::new();
        for (input, leaf) in leaves.iter().enumerate() {
            let source = match leaf {
                Node::Source(source) => source,
                Node::Values(values) => {
                    let rows = Batch::append_only(values.rows.clone());
                    feeds.push(ready_feed("".into(), rows, input));
                    continue;
                }
                other => return Err(InternalError::new(format!("a leaf of the plan reads nothing: {other:?}")).into()),
            };
            if self.is_live(source) {
                let width = self.relation_width(&source.relation);
                live.entry(source.relation.clone()).or_default().push(leaf_target(input, source, width));
            }
            match feeds.iter().any(|feed| feed.relation == source.relation) {
                true => {}
                false => feeds.extend(self.feed(source, &leaves, files)?),
            }
        }
        Ok((feeds, live))
    }

    /// Whether rows of a relation come from elsewhere than its own reading.
    fn is_live(&self, source: &Source) -> bool {
        match self.catalog.relations.get(&*source.relation) {
            Some(Relation::Stream(stream)) => stream.bounded != Bounded::Yes,
            Some(Relation::Table(_) | Relation::Materialized(_)) => source.reads == Reads::Changes,
            Some(Relation::Derived(_)) => true,
            Some(Relation::View(_)) | None => false,
        }
    }

    fn relation_width(&self, relation: &str) -> usize {
        self.catalog.relations.get(relation).map_or(0, |relation| relation.schema().fields().len())
    }

    /// What a pipeline reads of a relation by itself, for all the leaves that name it.
    fn feed(&mut self, source: &Source, leaves: &[&Node], files: &HashMap<String, SchemaRef>) -> Result<Option<Feed>> {
        let relation = &source.relation;
        let readers: Vec<(usize, &Source)> = (leaves.iter().enumerate())
            .filter_map(|(input, leaf)| match leaf {
                Node::Source(source) if source.relation == *relation => Some((input, source)),
                _ => None,
            })
            .collect();
        let whole = |width| readers.iter().map(|(input, source)| leaf_target(*input, source, width)).collect();
        let feed = |rows, targets, mode, ends| {
            Some(Feed {
                relation: relation.clone(),
                rows,
                targets,
                mode,
                ends,
                partition: None,
                file: 0,
                finished: false,
            })
        };
        if let Some(stream) = relation.strip_prefix(DEAD_LETTERS_PREFIX) {
            let letters = FeedRows::DeadLetters(self.open(stream, files, Columns::default())?);
            let width = crate::types::dead_letter_schema().fields().len();
            return Ok(feed(letters, whole(width), ChangelogMode::AppendOnly, true));
        }
        if let Some(Relation::Table(_) | Relation::Materialized(_)) = self.catalog.relations.get(&**relation) {
            let only = source.only.as_deref().filter(|_| readers.len() == 1);
            let rows = self.kept_rows(relation, only)?;
            let targets = whole(rows.num_columns());
            let rows = match source.mode {
                ChangelogMode::Changelog => all_inserted(rows),
                ChangelogMode::AppendOnly => Batch::append_only(rows),
            };
            let rows = FeedRows::Ready { rows, read: false };
            return Ok(feed(rows, targets, source.mode, !self.is_live(source)));
        }
        if self.is_live(source) {
            return Ok(None);
        }
        let partition = match self.catalog.relations.get(&**relation).and_then(Relation::watermark) {
            Some(event_time) if readers.iter().any(|(_, source)| source.watermarked) => {
                Some(Partition::new(event_time)?)
            }
            Some(_) | None => None,
        };
        let times: BTreeSet<usize> = partition.iter().flat_map(Partition::columns).collect();
        let wanted: BTreeSet<usize> =
            readers.iter().flat_map(|(_, source)| &source.projection).chain(&times).copied().collect();
        let wanted: Vec<usize> = wanted.into_iter().collect();
        let place = |column: usize| wanted.binary_search(&column).unwrap_or_default();
        let partition = partition.map(|partition| partition.renumbered(&place));
        let targets = readers.iter().map(|(input, source)| narrowed_target(*input, source, &wanted)).collect();
        let dictionary = told_apart(&wanted, &readers, &times);
        let columns = Columns { read: Some(&wanted), dictionary: &dictionary };
        let file = FeedRows::File(self.open(relation, files, columns)?);
        Ok(feed(file, targets, ChangelogMode::AppendOnly, true).map(|feed| Feed { partition, ..feed }))
    }

    /// Opens the file of a stream, or the file of that path.
    fn open(
        &self,
        relation: &str,
        files: &HashMap<String, SchemaRef>,
        columns: Columns<'_>,
    ) -> Result<Box<dyn io::Source>> {
        let (options, schema) = match (files.get(relation), self.catalog.relations.get(relation)) {
            (Some(schema), _) => (SourceOptions::File(Box::new(FileOptions::for_path(relation)?)), schema),
            (None, Some(Relation::Stream(stream))) => {
                (SourceOptions::parse(relation, &stream.options)?, &stream.schema)
            }
            (None, _) => return Err(InternalError::new(format!("nothing is known of \"{relation}\"")).into()),
        };
        io::open_stream(&options, schema.clone(), columns, &self.access)
    }

    /// The rows of a table as they are now.
    pub(super) fn table_rows(&self, name: &str) -> Result<RecordBatch> {
        match self.graph.tables.get(name) {
            Some(table) => table.current_rows(),
            None => Err(InternalError::new(format!("table \"{name}\" keeps no rows")).into()),
        }
    }

    /// The rows of a table or materialized view as they are now, or only the one of a key.
    fn kept_rows(&mut self, name: &str, only: Option<&[ArrayRef]>) -> Result<RecordBatch> {
        match (self.graph.tables.get_mut(name), only) {
            (Some(table), None) => table.current_rows(),
            (Some(table), Some(key)) => table.find(key),
            (None, None) => self.graph.view(name)?.current_rows(),
            (None, Some(key)) => self.graph.view(name)?.find(key),
        }
    }

    /// Whether nothing a pipeline reads is open, so that reading it to its end gives its whole answer.
    pub(super) fn ends_by_itself(&self, id: PipelineId) -> bool {
        let pipeline = self.graph.pipelines.get(&id);
        let closed = |relation: &Arc<str>| self.graph.closed.contains(relation);
        // What is only looked up may be open.
        pipeline.is_none_or(|pipeline| pipeline.plan.bounded == Bounded::Yes || pipeline.live.keys().all(closed))
    }

    /// Runs a plan that ends by itself, and gives all it answers. One that does not end is given back as not run.
    pub(super) fn collect(&mut self, planned: Planned) -> Result<Collected> {
        let id = self.start(planned, Destination::Pending(Pending::default()))?;
        if !self.ends_by_itself(id) {
            return Ok(Collected::Open(id));
        }
        let read = self.graph.read_to_end(id, &self.settings);
        let batches = read.and_then(|()| self.take(id, None));
        self.stop(id);
        batches.map(Collected::All)
    }

    /// The oldest `rows` rows that wait, or all of them.
    pub(super) fn take(&mut self, id: PipelineId, rows: Option<usize>) -> Result<Vec<Batch>> {
        let Some(pipeline) = self.graph.pipelines.get_mut(&id) else { return Ok(vec![]) };
        if let Some(error) = &pipeline.error {
            return Err(error.clone());
        }
        Ok(match &mut pipeline.destination {
            Destination::Pending(pending) => pending.take(rows),
            Destination::Relation(_) | Destination::View(..) | Destination::Sink(_) | Destination::Discard => vec![],
        })
    }

    /// How many rows wait; none if it has failed, so that nobody reads on for it.
    pub(super) fn waiting(&self, id: PipelineId) -> usize {
        match self.graph.pipelines.get(&id).map(|pipeline| &pipeline.destination) {
            Some(Destination::Pending(pending)) => pending.rows,
            Some(Destination::Relation(_) | Destination::View(..) | Destination::Sink(_) | Destination::Discard)
            | None => 0,
        }
    }

    /// Reads on until at least `rows` rows wait or there is nothing left to read; then takes them.
    pub(super) fn fetch(&mut self, id: PipelineId, rows: Option<usize>) -> Result<Vec<Batch>> {
        while self.waiting(id) < rows.unwrap_or(usize::MAX) && self.graph.step(id, &self.settings)? {}
        self.take(id, rows)
    }

    /// Stops a pipeline for good.
    pub(super) fn stop(&mut self, id: PipelineId) {
        self.graph.remove(id);
        self.store.forget_pipeline(id);
    }
}

/// What became of a plan that was to be run to its end.
pub(super) enum Collected {
    /// All it answers.
    All(Vec<Batch>),
    /// It reads something that is open, so it goes on.
    Open(PipelineId),
}

/// A length of time, of which none says that there is no end.
fn some_time(length: Interval) -> Option<Interval> {
    Some(length).filter(|length| length.nanos() > 0)
}

fn ready_feed(relation: Arc<str>, rows: Batch, input: usize) -> Feed {
    Feed {
        relation,
        rows: FeedRows::Ready { rows, read: false },
        targets: vec![LeafTarget { input, projection: None, watermarked: false }],
        mode: ChangelogMode::AppendOnly,
        ends: true,
        partition: None,
        file: 0,
        finished: false,
    }
}

/// Those of `wanted` of which every reader only asks which rows agree, and the watermark nothing.
fn told_apart(wanted: &[usize], readers: &[(usize, &Source)], times: &BTreeSet<usize>) -> Vec<usize> {
    let looks_at =
        |source: &Source, column: &usize| source.projection.contains(column) && !source.dictionary.contains(column);
    let only = |column: &usize| !times.contains(column) && !readers.iter().any(|(_, source)| looks_at(source, column));
    wanted.iter().copied().filter(only).collect()
}

/// The target of rows that have all `width` columns of the relation.
fn leaf_target(input: usize, source: &Source, width: usize) -> LeafTarget {
    let whole = source.projection.iter().copied().eq(0..width);
    LeafTarget { input, projection: (!whole).then(|| source.projection.clone()), watermarked: source.watermarked }
}

/// The target of rows that have the columns `columns` of the relation.
fn narrowed_target(input: usize, source: &Source, columns: &[usize]) -> LeafTarget {
    let whole = source.projection == columns;
    let place = |wanted: &usize| columns.binary_search(wanted).unwrap_or_default();
    let projection = (!whole).then(|| source.projection.iter().map(place).collect());
    LeafTarget { input, projection, watermarked: source.watermarked }
}

impl Drop for Core {
    /// Sinks appear when they are finished. There is nobody left to tell of an error; see [`super::Engine::finish`].
    fn drop(&mut self) {
        let _: Result<(), Error> = self.graph.sinks.finish();
    }
}
