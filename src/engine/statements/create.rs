//! `CREATE STREAM`, `TABLE`, `VIEW`, `MATERIALIZED VIEW` and `SINK`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use crate::catalog::{Derived, EventTime, Materialized, Relation, SinkDef, Stream, Table, View};
use crate::error::{Code, Result, StatementError, did_you_mean};
use crate::io::{self, FileOptions, Form, OnError, SourceCounts, SourceOptions, Takes};
use crate::operators::kept_rows::KeptRows;
use crate::operators::upsert::Upsert;
use crate::plan::{self, Bounded, ChangelogMode, Parameters, Reads};
use crate::runtime::Partition;
use crate::sql::{CreateSink, CreateStream, CreateTable, CreateView, IfExists, Name, ObjectKind, Query, Watermark};
use crate::types::{OP_COLUMN, Tick, type_name};

use super::super::core::{Core, Done, Planned, ViewInfo};
use super::super::options::QueryOptions;
use super::super::pipeline::Destination;
use super::super::sinks::Writing;
use super::{at, kind_name, placed, rows};

/// Whether a name can be given to something new.
enum Claim {
    /// It is free, or will be once the old one is dropped.
    Free,
    /// It is taken, and `IF NOT EXISTS` leaves it so.
    Kept,
}

/// How far a query has been written into a sink.
enum Written {
    /// To its end.
    Whole,
    /// As far as there are rows; what comes will be written.
    GoesOn,
}

impl Core {
    pub(super) fn create_stream(&mut self, create: &CreateStream, parameters: &Parameters) -> Result<Done> {
        let Claim::Free = self.claim(&create.name, create.if_exists)? else { return Ok(kept(&create.name)) };
        if let Some(query) = &create.query {
            return self.create_derived(create, query, parameters);
        }
        let (own, options) = QueryOptions::split(&create.options, &self.settings)?;
        if own.max_state_bytes.is_some() || !options.is_empty() {
            QueryOptions::refuse(&create.options, "a stream that is not defined by one keeps nothing")?;
        }
        let mut schema = plan::declared_columns(&create.columns, &self.context(&Default::default(), parameters))?;
        let mut bounded = Bounded::UntilClosed;
        if !options.is_empty() {
            let read = SourceOptions::parse(&create.name.value, &options)?;
            bounded = Bounded::Yes;
            if create.columns.is_empty() {
                schema = io::stream_schema(&read, &self.access)?;
            }
            io::check_stream(&read, &schema).map_err(|error| placed(error, &create.name))?;
        } else if create.columns.is_empty() {
            return Err(at(&create.name, Code::Syntax, format!("stream \"{}\" has no columns", create.name.value))
                .hint("Declare them in parentheses, name a file WITH (path = '…'), or write AS SELECT ….")
                .into());
        }
        let event_time = self.event_time(create.watermark.as_ref(), &create.name, &schema, parameters)?;
        self.drop_replaced(&create.name, create.if_exists)?;
        let stream = Stream { schema, options, bounded, state_ttl: own.state_ttl, event_time };
        self.add_fed(&create.name.value, Relation::Stream(stream))?;
        Ok(created(&create.name, ObjectKind::Stream))
    }

    /// A stream that is defined by a query. Over what is bounded it is read anew by each reader, like a view.
    fn create_derived(&mut self, create: &CreateStream, query: &Query, parameters: &Parameters) -> Result<Done> {
        for (given, what) in
            [(!create.columns.is_empty(), "declared columns"), (create.watermark.is_some(), "a watermark")]
        {
            if given {
                let message = format!("a stream that is defined by a query cannot have {what}");
                return Err(at(&create.name, Code::Unsupported, message).into());
            }
        }
        let options = QueryOptions::all(&create.options, &self.settings)?;
        let mut planned = self.plan_with(query, parameters, options)?;
        self.refuse_circle(&planned, &create.name)?;
        let (schema, mode, bounded) = (planned.plan.root.schema(), planned.plan.mode, planned.plan.bounded);
        plan::check_relation(&planned.plan, query)?;
        self.drop_replaced(&create.name, create.if_exists)?;
        let name = create.name.value.clone();
        if bounded == Bounded::Yes {
            QueryOptions::refuse(&create.options, "a stream over what ends is read anew by each of its readers")?;
            self.add_view(name, View { columns: vec![], query: query.clone(), schema }, planned, ObjectKind::Stream);
        } else {
            let shared: Arc<str> = name.as_str().into();
            planned.label = format!("stream \"{name}\"");
            let key = plan::upsert_key(&planned.plan.root);
            let event_time = plan::event_time(&planned.plan.root);
            if !event_time.is_empty() {
                plan::carry_watermark(&mut planned.plan.root);
            }
            self.start(planned, Destination::Relation(shared))?;
            self.catalog.relations.insert(
                name,
                Relation::Derived(Derived { query: query.clone(), schema, mode, bounded, key, event_time }),
            );
        }
        Ok(created(&create.name, ObjectKind::Stream))
    }

    pub(super) fn create_table(&mut self, create: &CreateTable, parameters: &Parameters) -> Result<Done> {
        let Claim::Free = self.claim(&create.name, create.if_exists)? else { return Ok(kept(&create.name)) };
        let schema = plan::declared_columns(&create.columns, &self.context(&Default::default(), parameters))?;
        let primary_key = create.primary_key.iter().map(|name| column(&schema, name)).collect::<Result<Vec<_>>>()?;
        let event_time = self.event_time(create.watermark.as_ref(), &create.name, &schema, parameters)?;
        let schema = without_null_keys(&schema, &primary_key);
        let mut rows = Upsert::new(schema.clone(), primary_key.clone(), &[])?;
        let table = Table { schema, primary_key, options: create.options.clone(), event_time };
        let read = match table.options.is_empty() {
            true => None,
            false => Some(load(&table, &mut rows, &self.access).map_err(|error| placed(error, &create.name))?),
        };
        self.drop_replaced(&create.name, create.if_exists)?;
        let name: Arc<str> = create.name.value.as_str().into();
        self.graph.tables.insert(name.clone(), rows);
        self.add_fed(&create.name.value, Relation::Table(table))?;
        if let Some(read) = read {
            self.graph.counts.insert(name.clone(), read);
            self.graph.closed.insert(name);
        }
        Ok(created(&create.name, ObjectKind::Table))
    }

    /// The event time that a relation of those columns declares.
    fn event_time(
        &self,
        declared: Option<&Watermark>,
        relation: &Name,
        schema: &SchemaRef,
        parameters: &Parameters,
    ) -> Result<Option<EventTime>> {
        let Some(declared) = declared else { return Ok(None) };
        let index = column(schema, &declared.column)?;
        let data_type = schema.field(index).data_type();
        let Some(tick) = Tick::of(data_type) else {
            let (name, type_name) = (&declared.column.value, type_name(data_type));
            let message = format!("event time is a TIMESTAMP, a DATE or an integer, but \"{name}\" is {type_name}");
            return Err(at(&declared.column, Code::Type, message).into());
        };
        let watermark =
            plan::plan_watermark(declared, relation, schema, &self.context(&Default::default(), parameters))?;
        let found = Tick::of(watermark.data_type());
        if found.is_none_or(|found| found.nanos().is_some() != tick.nanos().is_some()) {
            let (expected, found) = (type_name(data_type), type_name(watermark.data_type()));
            let message = format!("the watermark of a column of type {expected} cannot be {found}");
            return Err(StatementError::new(Code::Type, message).at(declared.place.clone()).into());
        }
        if declared.idle_after.is_some() && tick.nanos().is_none() {
            let message = format!("\"{}\" counts in numbers, which no clock moves on", declared.column.value);
            let error = StatementError::new(Code::Type, message).at(declared.place.clone());
            return Err(error.hint("Leave IDLE AFTER out; ADVANCE WATERMARK moves it on.").into());
        }
        Ok(Some(EventTime { column: index, watermark, idle_after: declared.idle_after }))
    }

    /// Puts a stream or table into the catalog. If it is fed and has event time, its watermark is followed from now on.
    fn add_fed(&mut self, name: &str, relation: Relation) -> Result<()> {
        if let Some(event_time) = relation.watermark().filter(|_| relation.is_fed()) {
            self.graph.partitions.insert(name.into(), Partition::new(event_time)?);
        }
        self.catalog.relations.insert(name.into(), relation);
        Ok(())
    }

    pub(super) fn create_view(&mut self, create: &CreateView, parameters: &Parameters) -> Result<Done> {
        let Claim::Free = self.claim(&create.name, create.if_exists)? else { return Ok(kept(&create.name)) };
        let options = QueryOptions::all(&create.options, &self.settings)?;
        if create.materialized {
            return self.create_materialized(create, options, parameters);
        }
        QueryOptions::refuse(&create.options, "a view keeps nothing: it is planned anew wherever it is read")?;
        let planned = self.plan_asked(&create.query, parameters, options)?;
        self.refuse_circle(&planned, &create.name)?;
        let schema = columns_of(create, &planned)?;
        // Later readers of a view see what it is then, so one that is read can be replaced by another.
        if self.kind_of(&create.name.value) == Some(ObjectKind::View) {
            self.forget(&create.name.value)?;
        } else {
            self.drop_replaced(&create.name, create.if_exists)?;
        }
        let view = View { columns: create.columns.clone(), query: create.query.clone(), schema };
        self.add_view(create.name.value.clone(), view, planned, ObjectKind::View);
        Ok(created(&create.name, ObjectKind::View))
    }

    /// A view that keeps its rows. What it reads by itself, it reads at once, so that it can be asked from then on.
    fn create_materialized(
        &mut self,
        create: &CreateView,
        options: QueryOptions,
        parameters: &Parameters,
    ) -> Result<Done> {
        self.tick()?;
        let mut planned = self.plan_kept(&create.query, parameters, options)?;
        self.refuse_circle(&planned, &create.name)?;
        let schema = columns_of(create, &planned)?;
        let key = plan::upsert_key(&planned.plan.root);
        let (mode, bounded) = (planned.plan.mode, planned.plan.bounded);
        if self.settings.require_bounded_state && key.is_none() && bounded != Bounded::Yes {
            return Err(at(&create.name, Code::UnboundedState, "the rows that the view keeps are not bounded")
                .hint("SET require_bounded_state = false allows it; a GROUP BY bounds them by its keys.")
                .into());
        }
        let rows = KeptRows::new(schema.clone(), mode, key.as_deref(), &[]);
        let rows = Box::new(rows.map_err(|error| placed(error, &create.name))?);
        self.drop_replaced(&create.name, create.if_exists)?;
        let name = create.name.value.clone();
        planned.label = format!("materialized view \"{name}\"");
        let view = Materialized { query: create.query.clone(), schema, mode, bounded, key };
        self.catalog.relations.insert(name.clone(), Relation::Materialized(view));
        match self.start_view(planned, Destination::View(name.as_str().into(), rows)) {
            Ok(()) => Ok(created(&create.name, ObjectKind::MaterializedView)),
            Err(error) => {
                self.forget(&name)?;
                Err(error)
            }
        }
    }

    fn start_view(&mut self, planned: Planned, destination: Destination) -> Result<()> {
        let id = self.start(planned, destination)?;
        self.graph.read_to_end(id, &self.settings)?;
        let stopped = self.graph.pipelines.get(&id).and_then(|pipeline| pipeline.error.clone());
        stopped.map_or(Ok(()), Err)
    }

    fn add_view(&mut self, name: String, view: View, planned: Planned, kind: ObjectKind) {
        let files = planned.files.as_ref().clone();
        self.views.insert(name.clone(), ViewInfo { depends_on: planned.depends_on, files, kind });
        self.catalog.relations.insert(name, Relation::View(view));
    }

    pub(super) fn create_sink(&mut self, create: &CreateSink, parameters: &Parameters) -> Result<Done> {
        let Claim::Free = self.claim(&create.name, create.if_exists)? else { return Ok(kept(&create.name)) };
        let (own, options) = QueryOptions::split(&create.options, &self.settings)?;
        FileOptions::check_written(&options)?;
        let file = FileOptions::parse(&options)?;
        if create.query.is_none() {
            QueryOptions::refuse(&create.options, "this sink has none")?;
        }
        let declared = match create.columns.is_empty() {
            true => None,
            false => Some(plan::declared_columns(&create.columns, &self.context(&Default::default(), parameters))?),
        };
        let planned = match (&create.query, &declared) {
            (None, _) => None,
            (Some(query), None) => Some(self.plan_written(query, parameters, own)?),
            (Some(query), Some(schema)) => {
                let insert = crate::sql::Insert { target: create.name.clone(), columns: vec![], query: query.clone() };
                Some(self.plan_insert(&insert, schema, parameters, own, Reads::Changes)?)
            }
        };
        if let Some(planned) = &planned {
            writing(planned, &file).map_err(|error| placed(error, &create.name))?;
        }
        self.drop_replaced(&create.name, create.if_exists)?;
        let schema = planned.as_ref().map(Planned::visible_schema).or(declared);
        let name = create.name.value.clone();
        self.catalog.sinks.insert(name.clone(), SinkDef { schema, options });
        self.graph.sinks.create(name.as_str().into());
        let Some(planned) = planned else { return Ok(created(&create.name, ObjectKind::Sink)) };
        match self.write_sink(&name, Planned { options: own, ..planned }) {
            Ok(written) => Ok(Done::Message(match written {
                Some(count) => format!("created sink \"{name}\" with {}", rows(count)),
                None => format!("created sink \"{name}\": it is written while its input goes on"),
            })),
            Err(error) => {
                self.forget(&name)?;
                Err(error)
            }
        }
    }

    /// Writes a query into a sink: to its end if it ends by itself, and how many rows that were; else as rows come.
    pub(super) fn write_sink(&mut self, name: &str, mut planned: Planned) -> Result<Option<usize>> {
        let Some(sink) = self.catalog.sinks.get(name) else {
            return Err(StatementError::new(Code::UnknownRelation, format!("sink \"{name}\" not found")).into());
        };
        let (options, access) = (FileOptions::parse(&sink.options)?, self.access.clone());
        let writing = writing(&planned, &options)?;
        let schema = io::written_schema(&writing.form, &planned.plan.root.schema());
        self.graph.sinks.writer_starts(name, &schema, writing, || io::open_sink(&options, schema.clone(), &access))?;
        planned.label = format!("sink \"{name}\"");
        let before = self.graph.sinks.rows(name);
        match self.write_started_sink(name, planned) {
            Ok(Written::Whole) => Ok(Some((self.graph.sinks.rows(name) - before) as usize)),
            Ok(Written::GoesOn) => Ok(None),
            Err(error) => {
                self.graph.sinks.writer_failed(name, &error);
                Err(error)
            }
        }
    }

    fn write_started_sink(&mut self, name: &str, planned: Planned) -> Result<Written> {
        self.tick()?;
        let id = self.start(planned, Destination::Sink(name.into()))?;
        let read = self.graph.read_to_end(id, &self.settings);
        if read.is_ok() && !self.ends_by_itself(id) {
            return Ok(Written::GoesOn);
        }
        self.stop(id);
        read.map(|()| Written::Whole)
    }

    /// A query that will have a name cannot refer to that name.
    fn refuse_circle(&self, planned: &Planned, name: &Name) -> Result<()> {
        if self.reads(&planned.depends_on, &name.value) {
            let message = format!("\"{}\" cannot be defined by itself", name.value);
            return Err(at(name, Code::InvalidArgument, message).into());
        }
        Ok(())
    }

    /// Whether one of `relations` is `name` or a view that reads it, through however many views.
    fn reads(&self, relations: &BTreeSet<String>, name: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = relations.iter().collect();
        while let Some(relation) = next.pop() {
            if relation == name {
                return true;
            }
            if seen.insert(relation) {
                next.extend(self.views.get(relation).into_iter().flat_map(|view| &view.depends_on));
            }
        }
        false
    }

    fn claim(&self, name: &Name, if_exists: IfExists) -> Result<Claim> {
        let Some(kind) = self.kind_of(&name.value) else { return Ok(Claim::Free) };
        match if_exists {
            IfExists::Keep => Ok(Claim::Kept),
            IfExists::Replace => Ok(Claim::Free),
            IfExists::Fail => {
                let message = format!("there is already a {} \"{}\"", kind_name(kind), name.value);
                Err(at(name, Code::Duplicate, message)
                    .hint("CREATE OR REPLACE replaces it, CREATE … IF NOT EXISTS leaves it.")
                    .into())
            }
        }
    }

    /// Drops what `OR REPLACE` replaces, once the new one is known to be right.
    fn drop_replaced(&mut self, name: &Name, if_exists: IfExists) -> Result<()> {
        if if_exists != IfExists::Replace || self.kind_of(&name.value).is_none() {
            return Ok(());
        }
        self.refuse_if_depended_on(name)?;
        self.forget(&name.value)
    }
}

/// Reads the file of changes that a table is declared over, to its end.
pub(super) fn load(table: &Table, rows: &mut Upsert, access: &io::Access) -> Result<SourceCounts> {
    let options = FileOptions::parse(&table.options)?;
    FileOptions::check_read(&table.options)?;
    match &options.form {
        Form::Debezium => {}
        Form::Op(column) if table.schema.index_of(column).is_ok() => {
            let message = format!("column \"{column}\" says what a row does, and is no column of the table");
            return Err(StatementError::new(Code::Duplicate, message).hint("Leave it out of the columns.").into());
        }
        Form::Op(_) => {}
        Form::Rows => {
            let message = "a table is read from a file of changes";
            return Err(StatementError::new(Code::InvalidArgument, message)
                .hint("Name the column that says +I, -U, +U or -D with changelog = 'op', or create a stream.")
                .into());
        }
    }
    if options.on_error == OnError::DeadLetter {
        let message = "the bad rows of a table are counted, and not kept";
        return Err(StatementError::new(Code::Unsupported, message).hint("Write on_error = 'skip'.").into());
    }
    let mut source = io::ChangeSource::open(&options, &table.schema, access)?;
    while let Some(changes) = source.next_changes()? {
        let missing = rows.load(&changes.batch)?;
        source.reject(changes, &missing)?;
    }
    Ok(source.counts())
}

/// How the result of a query is written.
pub(super) fn writing(planned: &Planned, options: &FileOptions) -> Result<Writing> {
    let form = written_form(planned, options)?;
    if options.takes != Some(Takes::Upserts) {
        return Ok(Writing { form, key: None });
    }
    let Some(key) = plan::upsert_key(&planned.plan.root) else {
        let message =
            "mode = 'upsert' puts each row in the place of the one with its key, and this query's rows have none";
        let hint = "Select all columns of its GROUP BY or of its table's PRIMARY KEY, or write mode = 'changelog'.";
        return Err(StatementError::new(Code::EmitMode, message).hint(hint).into());
    };
    Ok(Writing { form, key: Some(key) })
}

/// In what form the rows of a query are written.
fn written_form(planned: &Planned, options: &FileOptions) -> Result<Form> {
    match (planned.plan.mode, options.takes) {
        (ChangelogMode::Changelog, Some(Takes::Appends)) => {
            let message = "the query gives a changelog, and mode = 'append' only takes rows";
            let hint = "Add EMIT FINAL to the query, or write mode = 'changelog'.";
            Err(StatementError::new(Code::EmitMode, message).hint(hint).into())
        }
        _ if options.form == Form::Debezium => Ok(Form::Debezium),
        (ChangelogMode::Changelog, Some(Takes::Changes | Takes::Upserts) | None)
        | (ChangelogMode::AppendOnly, Some(Takes::Changes | Takes::Upserts)) => Ok(Form::Op(OP_COLUMN.into())),
        (ChangelogMode::AppendOnly, Some(Takes::Appends) | None) => Ok(Form::Rows),
    }
}

/// The columns of a table: those of its primary key are NOT NULL, whether that was written or not.
fn without_null_keys(schema: &SchemaRef, primary_key: &[usize]) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().map(|(index, field)| {
        let nullable = field.is_nullable() && !primary_key.contains(&index);
        field.as_ref().clone().with_nullable(nullable)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn column(schema: &SchemaRef, name: &Name) -> Result<usize> {
    schema.index_of(&name.value).map_err(|_| {
        let error = at(name, Code::UnknownColumn, format!("column \"{}\" not found", name.value));
        let known = schema.fields().iter().map(|field| field.name().as_str());
        did_you_mean(&name.value, known).into_iter().fold(error, StatementError::hint).into()
    })
}

/// The columns of a view: those of its query, under the names that it gives them if it does.
fn columns_of(create: &CreateView, planned: &Planned) -> Result<SchemaRef> {
    let schema = planned.plan.root.schema();
    match create.columns.is_empty() {
        true => plan::check_relation(&planned.plan, &create.query).map(|()| schema),
        false => renamed(&schema, &create.columns),
    }
}

/// The columns of a view with the names that it gives them.
fn renamed(schema: &SchemaRef, names: &[Name]) -> Result<SchemaRef> {
    let Some(first) = names.first() else { return Ok(schema.clone()) };
    let (given, there) = (names.len(), schema.fields().len());
    if given != there {
        let message = format!("{given} names are given for {there} columns");
        return Err(at(first, Code::InvalidArgument, message).into());
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(&name.value)) {
        return Err(at(twice, Code::Duplicate, format!("column \"{}\" is named twice", twice.value)).into());
    }
    let fields = schema.fields().iter().zip(names).map(|(field, name)| field.as_ref().clone().with_name(&name.value));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

fn created(name: &Name, kind: ObjectKind) -> Done {
    Done::Message(format!("created {} \"{}\"", kind_name(kind), name.value))
}

fn kept(name: &Name) -> Done {
    Done::Message(format!("\"{}\" is there already", name.value))
}

/// Whether a result can be written into a relation that only grows.
pub(super) fn check_append_only(planned: &Planned, target: &Name) -> Result<()> {
    match planned.plan.mode {
        ChangelogMode::AppendOnly => Ok(()),
        ChangelogMode::Changelog => {
            let message = format!("the query gives a changelog, and \"{}\" only takes rows", target.value);
            Err(at(target, Code::EmitMode, message).hint("Add EMIT FINAL to the query.").into())
        }
    }
}
