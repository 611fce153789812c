//! The statements of the language, as they were written.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast;

use crate::error::Place;
use crate::types::{Interval, Timestamp};

/// The key of the `SETTINGS` entry by which an [`ast::Query`] names its [`Clause`] in [`Query::clauses`].
/// The clause of a join chain is named by the number in [`ast::Select::prewhere`].
pub const CLAUSE_CARRIER: &str = "riverrun_clause";

/// The function that stands among the grouping keys of a query for its `ALLOW LATENESS`, called with the length.
pub const LATENESS_CARRIER: &str = "__allow_lateness";

/// One statement of a text.
#[derive(Debug, Clone)]
pub struct Statement {
    /// What it says.
    pub body: Body,
    /// The text it is part of; every span in the statement counts lines and columns in it.
    pub text: Arc<str>,
    /// Which bytes of the text it is, without the semicolon.
    pub bytes: Range<usize>,
}

/// A query with its `EMIT` and `KEEP` clauses taken out.
#[derive(Debug, Clone)]
pub struct Query {
    /// The query; a nested query or a join chain with a clause carries its index (see [`CLAUSE_CARRIER`]).
    pub ast: Box<ast::Query>,
    /// The clauses, by the index their carriers name.
    pub clauses: Vec<Clause>,
    /// The text it was written in.
    pub text: Arc<str>,
}

/// `KEEP … EMIT …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// `KEEP FIRST | LAST | PRODUCT`.
    pub keep: Option<KeepMode>,
    /// `EMIT …`.
    pub emit: Option<EmitMode>,
    /// Where it stands.
    pub place: Place,
}

/// What `KEEP` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepMode {
    /// `KEEP FIRST`
    First,
    /// `KEEP LAST`
    Last,
    /// `KEEP PRODUCT`
    Product,
}

/// What `EMIT` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmitMode {
    /// `EMIT FINAL`
    Final,
    /// `EMIT ON WINDOW CLOSE`
    OnWindowClose,
    /// `EMIT CHANGES`
    Changes,
    /// `EMIT RUNNING`
    Running,
    /// `EMIT COMPLETE`
    Complete,
    /// `EMIT EVERY INTERVAL '…'`
    Every(Interval),
    /// `EMIT EVERY INTERVAL '…' AND FINAL`
    EveryAndFinal(Interval),
}

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name, folded to lower case unless it was quoted.
    pub value: String,
    /// Where it stands.
    pub place: Place,
}

/// An option of a `WITH (…)` list. The key is lower case; a string value has lost its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlOption {
    /// What is set.
    pub key: Name,
    /// To what.
    pub value: String,
    /// Where the value stands.
    pub place: Place,
}

/// A column of a `CREATE STREAM` or `CREATE TABLE`.
#[derive(Debug, Clone)]
pub struct ColumnDef {
    /// Its name, type and options (`NOT NULL` is the only one that is not refused).
    pub ast: ast::ColumnDef,
    /// Where it stands.
    pub place: Place,
}

/// `WATERMARK FOR column AS expression [IDLE AFTER interval]`.
#[derive(Debug, Clone)]
pub struct Watermark {
    /// The column that carries event time.
    pub column: Name,
    /// The watermark after a row.
    pub expr: ast::Expr,
    /// After how long a silent partition no longer holds the watermark back.
    pub idle_after: Option<Interval>,
    /// Where it stands.
    pub place: Place,
}

/// What to do if the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// It is an error.
    Fail,
    /// `IF NOT EXISTS`: nothing.
    Keep,
    /// `OR REPLACE`: the old one is dropped.
    Replace,
}

/// What a `DROP` or `SHOW` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A stream.
    Stream,
    /// A table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A sink.
    Sink,
    /// A function (`SHOW` only).
    Function,
    /// Everything (`SHOW` only).
    All,
}

/// What a statement says.
#[derive(Debug, Clone)]
pub enum Body {
    /// `SELECT …`, `VALUES …`, `WITH …`.
    Query(Query),
    /// `CREATE STREAM name (…) [WITH (…)]`, `CREATE STREAM name [WITH (…)] [AS query]`.
    CreateStream(CreateStream),
    /// `CREATE TABLE name (…, PRIMARY KEY (…)) [WITH (…)]`.
    CreateTable(CreateTable),
    /// `CREATE [MATERIALIZED] VIEW name [(columns)] AS query`.
    CreateView(CreateView),
    /// `CREATE SINK name [(…)] WITH (…) [AS query]`.
    CreateSink(CreateSink),
    /// `INSERT INTO name [(columns)] query`.
    Insert(Insert),
    /// `UPDATE name SET column = value, … [WHERE …]`.
    Update(Update),
    /// `DELETE FROM name [WHERE …]`.
    Delete(Delete),
    /// `COPY (query) TO 'path' [WITH (…)]`, `COPY name TO …`.
    Copy(Copy),
    /// `DROP kind [IF EXISTS] name`.
    Drop(Drop),
    /// `SHOW STREAMS | TABLES | VIEWS | SINKS | FUNCTIONS | ALL`.
    ShowObjects(ObjectKind),
    /// `SHOW name`.
    ShowSetting(Name),
    /// `DESCRIBE name`.
    Describe(Name),
    /// `SET name = value`; the value as text, a string without its quotes.
    Set(SqlOption),
    /// `EXPLAIN [ANALYZE] query`; also of a statement that holds a query (its query).
    Explain(Explain),
    /// `EXPLAIN WHY name` or of a query.
    ExplainWhy(Silent),
    /// `DECLARE name CURSOR FOR query`.
    Declare(Declare),
    /// `FETCH ALL | n FROM cursor`.
    Fetch(Fetch),
    /// `CLOSE cursor`.
    CloseCursor(Name),
    /// `CLOSE STREAM name`.
    CloseStream(Name),
    /// `ADVANCE CLOCK BY interval | TO timestamp`.
    AdvanceClock(AdvanceClock),
    /// `ADVANCE WATERMARK OF name TO timestamp`.
    AdvanceWatermark(AdvanceWatermark),
    /// `CHECKPOINT`
    Checkpoint,
    /// `RESTART`
    Restart,
}

/// `CREATE STREAM`
#[derive(Debug, Clone)]
pub struct CreateStream {
    /// Its name.
    pub name: Name,
    /// What if the name is taken.
    pub if_exists: IfExists,
    /// Its columns; none if they are inferred or come from the query.
    pub columns: Vec<ColumnDef>,
    /// Event time.
    pub watermark: Option<Watermark>,
    /// `WITH (…)`.
    pub options: Vec<SqlOption>,
    /// `AS query`.
    pub query: Option<Query>,
}

/// `CREATE TABLE`
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// Its name.
    pub name: Name,
    /// What if the name is taken.
    pub if_exists: IfExists,
    /// Its columns.
    pub columns: Vec<ColumnDef>,
    /// The columns of its primary key. The parser refuses a table without one.
    pub primary_key: Vec<Name>,
    /// Event time.
    pub watermark: Option<Watermark>,
    /// `WITH (…)`.
    pub options: Vec<SqlOption>,
}

/// `CREATE [MATERIALIZED] VIEW`
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// What if the name is taken.
    pub if_exists: IfExists,
    /// Whether its rows are kept.
    pub materialized: bool,
    /// Names for its columns, if given.
    pub columns: Vec<Name>,
    /// `WITH (…)`.
    pub options: Vec<SqlOption>,
    /// What it shows.
    pub query: Query,
}

/// `CREATE SINK`
#[derive(Debug, Clone)]
pub struct CreateSink {
    /// Its name.
    pub name: Name,
    /// What if the name is taken.
    pub if_exists: IfExists,
    /// Its columns, if given.
    pub columns: Vec<ColumnDef>,
    /// `WITH (…)`.
    pub options: Vec<SqlOption>,
    /// `AS query`.
    pub query: Option<Query>,
}

/// `INSERT INTO`
#[derive(Debug, Clone)]
pub struct Insert {
    /// What is written to.
    pub target: Name,
    /// Its columns, if named.
    pub columns: Vec<Name>,
    /// What is written.
    pub query: Query,
}

/// `UPDATE`
#[derive(Debug, Clone)]
pub struct Update {
    /// The table.
    pub target: Name,
    /// What becomes of its columns; at least one.
    pub assignments: Vec<Assignment>,
    /// Which rows; all without it.
    pub predicate: Option<ast::Expr>,
}

/// `column = value`
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The column.
    pub column: Name,
    /// Its value, over the row as it was.
    pub value: ast::Expr,
}

/// `DELETE FROM`
#[derive(Debug, Clone)]
pub struct Delete {
    /// The table.
    pub target: Name,
    /// Which rows; all without it.
    pub predicate: Option<ast::Expr>,
}

/// `COPY … TO`
#[derive(Debug, Clone)]
pub struct Copy {
    /// What is written.
    pub query: Query,
    /// Where to, and the options, as for a sink: `path` is one of them.
    pub options: Vec<SqlOption>,
}

/// `DROP`
#[derive(Debug, Clone)]
pub struct Drop {
    /// What kind of thing.
    pub kind: ObjectKind,
    /// Whether it is no error if there is none.
    pub if_exists: bool,
    /// Which.
    pub name: Name,
}

/// `EXPLAIN`
#[derive(Debug, Clone)]
pub struct Explain {
    /// Whether the query is run.
    pub analyze: bool,
    /// What is explained.
    pub query: Query,
    /// What the statement does with it.
    pub purpose: Purpose,
}

/// What `EXPLAIN WHY` asks about.
#[derive(Debug, Clone)]
pub enum Silent {
    /// A cursor, view, derived stream or sink.
    Name(Name),
    /// A query, which is run.
    Query(Box<Query>, Purpose),
}

/// What a statement does with its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is asked once.
    Asked,
    /// It goes on with what it reads.
    GoesOn,
}

/// `DECLARE … CURSOR FOR`
#[derive(Debug, Clone)]
pub struct Declare {
    /// The cursor's name.
    pub cursor: Name,
    /// The continuous query.
    pub query: Query,
}

/// `FETCH`
#[derive(Debug, Clone)]
pub struct Fetch {
    /// How many rows; all without it.
    pub count: Option<u64>,
    /// Of which cursor.
    pub cursor: Name,
}

/// `ADVANCE CLOCK`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvanceClock {
    /// `BY interval`
    By(Interval),
    /// `TO timestamp`
    To(Timestamp),
}

/// `ADVANCE WATERMARK`
#[derive(Debug, Clone)]
pub struct AdvanceWatermark {
    /// Of which stream.
    pub relation: Name,
    /// To when.
    pub to: Timestamp,
}
