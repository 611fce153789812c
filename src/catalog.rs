//! WHAT EXISTS? Streams, tables, views, sinks, functions and logics, by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use arrow::datatypes::SchemaRef;
use datafusion_expr::{AggregateUDF, ScalarUDF};

use crate::expr::Expr;
use crate::operators::logic::LogicRef;
use crate::plan::node::{Bounded, ChangelogMode};
use crate::sql;
use crate::types::Interval;

/// What a name in a `FROM` clause may stand for.
#[derive(Debug, Clone)]
pub enum Relation {
    /// An append-only sequence of rows, host-fed or from a source.
    Stream(Stream),
    /// Rows with a primary key, host-fed or read from a file of changes.
    Table(Table),
    /// A macro.
    View(View),
    /// A stream defined by a query and shared by its readers.
    Derived(Derived),
    /// A query's result that is kept.
    Materialized(Materialized),
}

/// A stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its `WITH` options; none for a host-fed stream.
    pub options: Vec<sql::SqlOption>,
    /// Whether it ends by itself.
    pub bounded: Bounded,
    /// For how long joins keep its rows, whatever holds for the query; no time for as long as they may matter.
    pub state_ttl: Option<Interval>,
    /// Its event time, if it has one.
    pub event_time: Option<EventTime>,
}

/// The event time of a stream.
#[derive(Debug, Clone)]
pub struct EventTime {
    /// Its column.
    pub column: usize,
    /// The watermark after a row, an expression over the stream's columns.
    pub watermark: Expr,
    /// After how long a silent partition no longer holds the watermark back; never without it.
    pub idle_after: Option<Interval>,
}

/// A table with a primary key.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its columns.
    pub schema: SchemaRef,
    /// The columns of its primary key, as indices into the schema.
    pub primary_key: Vec<usize>,
    /// Its `WITH` options; none for a host-fed table.
    pub options: Vec<sql::SqlOption>,
    /// Its event time, if it has one.
    pub event_time: Option<EventTime>,
}

/// A view: its query is planned anew wherever it is named.
#[derive(Debug, Clone)]
pub struct View {
    /// Names for its columns, if given.
    pub columns: Vec<sql::Name>,
    /// What it shows.
    pub query: sql::Query,
    /// The columns of its result, without `op`.
    pub schema: SchemaRef,
}

/// A stream defined by a query.
#[derive(Debug, Clone)]
pub struct Derived {
    /// The query.
    pub query: sql::Query,
    /// The columns of its result, without `op`.
    pub schema: SchemaRef,
    /// Whether its rows are only added.
    pub mode: ChangelogMode,
    /// Whether it ends by itself.
    pub bounded: Bounded,
    /// The columns in which no two of its rows agree, if that is known.
    pub key: Option<Vec<usize>>,
    /// The columns that carry event time: no row is expected to be before its watermark in them.
    pub event_time: Vec<usize>,
}

/// A materialized view: the result of a query, kept up to date.
#[derive(Debug, Clone)]
pub struct Materialized {
    /// The query.
    pub query: sql::Query,
    /// The columns of its result, without `op`.
    pub schema: SchemaRef,
    /// Whether its rows are only added.
    pub mode: ChangelogMode,
    /// Whether it ends by itself.
    pub bounded: Bounded,
    /// The columns in which no two of its rows agree, if that is known.
    pub key: Option<Vec<usize>>,
}

impl Catalog {
    /// For how long joins keep the rows of a relation, if it says so itself.
    pub fn state_ttl(&self, relation: &str) -> Option<Interval> {
        match self.relations.get(relation) {
            Some(Relation::Stream(stream)) => stream.state_ttl,
            Some(Relation::Table(_) | Relation::View(_) | Relation::Derived(_) | Relation::Materialized(_)) | None => {
                None
            }
        }
    }
}

impl Relation {
    /// Whether the host program feeds it.
    pub fn is_fed(&self) -> bool {
        match self {
            Relation::Stream(Stream { options, .. }) | Relation::Table(Table { options, .. }) => options.is_empty(),
            Relation::View(_) | Relation::Derived(_) | Relation::Materialized(_) => false,
        }
    }

    /// The event time it declares.
    pub fn watermark(&self) -> Option<&EventTime> {
        match self {
            Relation::Stream(Stream { event_time, .. }) | Relation::Table(Table { event_time, .. }) => {
                event_time.as_ref()
            }
            Relation::View(_) | Relation::Derived(_) | Relation::Materialized(_) => None,
        }
    }

    /// The columns that carry event time.
    pub fn event_time(&self) -> Vec<usize> {
        match self {
            Relation::Stream(stream) => stream.event_time.iter().map(|time| time.column).collect(),
            Relation::Derived(derived) => derived.event_time.clone(),
            Relation::Table(_) | Relation::View(_) | Relation::Materialized(_) => vec![],
        }
    }

    /// Its columns, without `op`.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Relation::Stream(stream) => &stream.schema,
            Relation::Table(table) => &table.schema,
            Relation::View(view) => &view.schema,
            Relation::Derived(derived) => &derived.schema,
            Relation::Materialized(view) => &view.schema,
        }
    }
}

/// A place to write to.
#[derive(Debug, Clone)]
pub struct SinkDef {
    /// Its columns, if they were declared or are known from its query.
    pub schema: Option<SchemaRef>,
    /// Its `WITH` options.
    pub options: Vec<sql::SqlOption>,
}

/// Everything that has a name.
///
/// Relations and sinks share one set of names; functions, aggregates and logics another.
#[derive(Clone, Default)]
pub struct Catalog {
    /// What can be read from.
    pub relations: BTreeMap<String, Relation>,
    /// What can only be written to.
    pub sinks: BTreeMap<String, SinkDef>,
    /// Scalar functions, built in and registered.
    pub scalars: HashMap<String, Arc<ScalarUDF>>,
    /// Aggregate functions, built in and registered.
    pub aggregates: HashMap<String, Arc<AggregateUDF>>,
    /// Registered state machines.
    pub logics: HashMap<String, LogicRef>,
    /// What `now()` gives, in nanoseconds since the Unix epoch: the driver sets it before each event.
    pub now: Arc<AtomicI64>,
}
