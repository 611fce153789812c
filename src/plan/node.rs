//! The one plan there is: every streaming plan node with its settings.

mod by_time;
mod join;
mod within;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::expr::{AggregateCall, Expr, SortKey, WindowCall};
use crate::types::Interval;

pub use by_time::{AsofJoin, LookupJoin, Nearest, Settles};
pub use join::{Join, JoinKind, NullKeys, Residual};
pub use within::{SideTime, TimeOf, Within};

/// A node of a streaming plan. Inputs are owned by the node that reads them.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Rows of a stream, table or file.
    Source(Source),
    /// Rows written in the statement.
    Values(Values),
    /// Rows for which a predicate is true.
    Filter(Filter),
    /// Expressions over each row.
    Project(Project),
    /// A row for each element of a list.
    Unnest(Unnest),
    /// Each row once for each grouping set.
    Expand(Expand),
    /// The rows of several inputs, as they arrive.
    Union(Union),
    /// `GROUP BY`, `DISTINCT` and aggregates without keys.
    Aggregate(Aggregate),
    /// Two sides joined as SQL says, without modes.
    Join(Join),
    /// Two or more sides joined on one key, with `KEEP` and `EMIT`.
    KeyedJoin(KeyedJoin),
    /// Each left row with the right row that is nearest in time.
    AsofJoin(AsofJoin),
    /// Each left row with the right rows that are there when it arrives.
    LookupJoin(LookupJoin),
    /// A count-or-timeout window a key.
    Collect(Collect),
    /// A user-defined state machine a key.
    Logic(Logic),
    /// `ORDER BY` of a result that ends.
    Sort(Sort),
    /// `LIMIT` and `OFFSET` in order of arrival.
    Limit(Limit),
    /// The first rows of each partition in an order.
    TopN(TopN),
    /// Functions of the rows around a row.
    Over(Over),
    /// Each row once for each window it is in.
    Windows(Windows),
    /// `GROUP BY` in windows.
    WindowAggregate(WindowAggregate),
}

/// Rows of a stream, table or file.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The name in the catalog, or the path of a file that is read directly.
    pub relation: Arc<str>,
    /// Which columns are read, as indices into the relation's schema.
    pub projection: Vec<usize>,
    /// The columns read.
    pub schema: SchemaRef,
    /// Whether the relation ends by itself.
    pub bounded: Bounded,
    /// Whether rows are only added.
    pub mode: ChangelogMode,
    /// The columns read in which no two of its rows agree, if that is known and all of them are read.
    pub key: Option<Vec<usize>>,
    /// What is read of a relation that keeps its rows.
    pub reads: Reads,
    /// The values of the key, one a column, if no row of another key is looked at.
    pub only: Option<Vec<ArrayRef>>,
    /// The columns read that carry event time: no row is expected to be before the relation's watermark in them.
    pub event_time: Vec<usize>,
    /// Where its watermark comes from, as EXPLAIN says it, if the relation declares one.
    pub watermark: Option<Arc<str>>,
    /// Whether its rows carry the watermark that held before each of them, because something above judges by it.
    pub watermarked: bool,
    /// The columns of the relation that are only told apart: a file may give them in its dictionary.
    pub dictionary: Vec<usize>,
}

/// What a query reads of a relation that keeps its rows: a table or a materialized view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The rows that are there when it starts, and what changes from then on.
    Changes,
    /// The rows that are there when it starts, and nothing else.
    Present,
}

/// Whether a relation ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounded {
    /// A file.
    Yes,
    /// A host-fed stream or table: it ends when it is closed.
    UntilClosed,
    /// A source that by its declaration never ends.
    Never,
}

/// Whether rows of a relation are only added, or also updated and deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangelogMode {
    /// Rows are only added.
    AppendOnly,
    /// Rows carry a [`crate::RowKind`].
    Changelog,
}

/// Rows written in the statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// The rows.
    pub rows: RecordBatch,
}

/// Rows for which a predicate is true.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// The condition; NULL is not true.
    pub predicate: Expr,
}

/// Expressions over each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// One expression a column of the result.
    pub exprs: Vec<Expr>,
    /// The columns of the result.
    pub schema: SchemaRef,
}

/// A row for each element of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Unnest {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// For each column of the result: which column of the input, and what is done with it.
    pub columns: Vec<UnnestColumn>,
    /// Whether a row whose lists are all empty or NULL gives one row of NULLs.
    pub preserve_nulls: bool,
    /// The columns of the result.
    pub schema: SchemaRef,
}

/// What [`Unnest`] does for a column of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnnestColumn {
    /// Repeats input column `.0` for each element.
    Repeat(usize),
    /// The elements of the list in input column `.0`, that many levels deep.
    List(usize, usize),
    /// Field `.1` of the struct in input column `.0`.
    StructField(usize, usize),
}

/// Each row once for each grouping set.
///
/// The rows of one input row come together, in the order of the sets. A key that is not in the set is NULL.
/// The last column is the set's `__grouping_id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Expand {
    /// Where the rows come from. Its first `keys` columns are the grouping keys.
    pub input: Box<Node>,
    /// How many of the first columns are grouping keys.
    pub keys: usize,
    /// For each set: which keys it holds, and its grouping id.
    pub sets: Vec<GroupingSet>,
    /// The columns of the result: those of the input, then the grouping id.
    pub schema: SchemaRef,
}

/// One set of `GROUPING SETS`, `ROLLUP` or `CUBE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupingSet {
    /// For each key whether the set holds it.
    pub holds: Vec<bool>,
    /// The value of the grouping id column.
    pub id: u64,
}

/// The rows of several inputs, as they arrive.
#[derive(Debug, Clone, PartialEq)]
pub struct Union {
    /// The inputs, with the same types of columns.
    pub inputs: Vec<Node>,
    /// The columns of the result.
    pub schema: SchemaRef,
}

/// When an aggregate speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateEmit {
    /// Once, when it can no longer change.
    Final,
    /// One row out for every row in.
    Running,
    /// Every change.
    Changes,
    /// The keys that changed, at most that often.
    Every(Interval),
    /// Only of a [`WindowAggregate`]: early results as of [`AggregateEmit::Every`] and, whatever has been said before,
    /// what has changed since when the window closes. The last that is said of a group is its final result.
    EveryAndFinal(Interval),
}

/// `GROUP BY`, `DISTINCT` and aggregates without keys.
///
/// The result's columns are the keys, then the aggregates.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// What is grouped by; none for a global aggregate.
    pub keys: Vec<Expr>,
    /// What is computed for each group.
    pub aggregates: Vec<AggregateCall>,
    /// When results come out.
    pub emit: AggregateEmit,
    /// Whether the input retracts.
    pub input_mode: ChangelogMode,
    /// The keys of groups that are there even without a row: the only group of a global aggregate,
    /// and the grand total of grouping sets. No row if there are none.
    pub totals: RecordBatch,
    /// For how long a group is kept after its last row; as long as it may matter for `None`.
    pub ttl: Option<Interval>,
    /// The columns of the result.
    pub schema: SchemaRef,
}

/// Which rows of a side a keyed join remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKeep {
    /// The first of each side.
    First,
    /// The last of each side.
    Last,
    /// All of them.
    Product,
}

/// When a keyed join speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinEmit {
    /// When every side has a row; then the key's state is discarded.
    Complete,
    /// For every row.
    Running,
    /// At the end.
    Final,
}

/// Two or more sides joined on one key.
///
/// The result's columns are those of the sides in order; port `n` is side `n`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedJoin {
    /// The sides, leftmost first.
    pub sides: Vec<JoinSide>,
    /// What each side remembers.
    pub keep: JoinKeep,
    /// When results come out.
    pub emit: JoinEmit,
    /// For each side whether a combination needs a row of it:
    /// every side for INNER, the first for LEFT, none for FULL.
    pub required: Vec<bool>,
    /// For how long a key is kept after its last row; as long as it may matter for `None`.
    pub ttl: Option<Interval>,
    /// Which part of the key is the end of a window that the watermark closes, on every side.
    pub closed_by: Option<usize>,
    /// The columns of the result; nullable where a side may be missing.
    pub schema: SchemaRef,
}

/// One side of a keyed join.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinSide {
    /// Where its rows come from.
    pub input: Node,
    /// The key, of the same types on all sides.
    pub keys: Vec<Expr>,
    /// Which of its columns are kept and come out.
    pub columns: Vec<usize>,
    /// How EXPLAIN calls it.
    pub name: Arc<str>,
}

/// A count-or-timeout window a key. At least one bound is set.
///
/// The result's columns are the keys, then the aggregates, then `close_reason` (text).
#[derive(Debug, Clone, PartialEq)]
pub struct Collect {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// What is grouped by; none for one window over all rows.
    pub keys: Vec<Expr>,
    /// What is computed over the rows of a window.
    pub aggregates: Vec<AggregateCall>,
    /// Closes when that many rows are in.
    pub max_rows: Option<u64>,
    /// Closes when no row has come for so long.
    pub timeout: Option<Interval>,
    /// Closes when the first row has waited for so long.
    pub max_wait: Option<Interval>,
    /// The columns of the result.
    pub schema: SchemaRef,
}

/// A user-defined state machine a key.
#[derive(Clone)]
pub struct Logic {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// The name it was registered under.
    pub name: Arc<str>,
    /// What it is partitioned by; none for one instance over all rows.
    pub keys: Vec<Expr>,
    /// What builds an instance for a key.
    pub factory: Arc<dyn crate::operators::logic::LogicFactory>,
    /// The columns of the result.
    pub schema: SchemaRef,
}

/// State machines are the same if they are built by the same factory.
impl PartialEq for Logic {
    fn eq(&self, other: &Logic) -> bool {
        let Logic { input, name, keys, factory, schema } = self;
        (name, keys, schema) == (&other.name, &other.keys, &other.schema)
            && Arc::ptr_eq(factory, &other.factory)
            && *input == other.input
    }
}

impl std::fmt::Debug for Logic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logic").field("name", &self.name).field("keys", &self.keys).field("input", &self.input).finish()
    }
}

/// `ORDER BY` of a result that ends; speaks at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Sort {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// What is sorted by, most significant first.
    pub keys: Vec<SortKey>,
    /// How many of the first rows are wanted, if not all.
    pub fetch: Option<usize>,
}

/// `LIMIT` and `OFFSET` in order of arrival.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// How many rows are passed over.
    pub skip: usize,
    /// How many rows follow, if not all.
    pub fetch: Option<usize>,
}

/// The first rows of each partition in an order: `ROW_NUMBER() OVER (…) <= n` and its kin, `DISTINCT ON`, and
/// `ORDER BY … LIMIT` over what changes.
///
/// The result's columns are those of the input, then the rank if it is said.
#[derive(Debug, Clone, PartialEq)]
pub struct TopN {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// What they are partitioned by; none for one partition of all rows.
    pub partition: Vec<Expr>,
    /// In which order, most significant first. Rows that are equal in it are in order of arrival or, if rows may also
    /// be taken back, of their values.
    pub order: Vec<SortKey>,
    /// How rows are counted.
    pub rank: Rank,
    /// How many of the first rows are passed over.
    pub skip: usize,
    /// How many follow.
    pub fetch: usize,
    /// Whether the rank is the last column of the result.
    pub says_rank: bool,
    /// When results come out.
    pub emit: OrderedEmit,
    /// Whether the input retracts.
    pub input_mode: ChangelogMode,
    /// Which key of the partition is the end of a window that the watermark closes, if one is: then what is kept of
    /// its rows is forgotten, and [`OrderedEmit::Final`] is when it closes.
    pub closed_by: Option<usize>,
    /// Whether rows are in order of event time alone, and each is said once the watermark has reached it: the first ones
    /// stay the first.
    pub settles: bool,
    /// For how long a partition is kept after its last row; as long as it may matter for `None`.
    pub ttl: Option<Interval>,
    /// The columns of the result.
    pub schema: SchemaRef,
}

impl TopN {
    /// Whether the first rows are those that come first and stay, so that nothing is ever taken back.
    pub fn by_arrival(&self) -> bool {
        self.order.is_empty() && self.rank == Rank::RowNumber && self.input_mode == ChangelogMode::AppendOnly
    }

    /// Whether rows of the result are only added.
    pub fn mode(&self) -> ChangelogMode {
        match self.emit {
            OrderedEmit::Changes | OrderedEmit::Running if !self.by_arrival() => ChangelogMode::Changelog,
            OrderedEmit::Changes | OrderedEmit::Running | OrderedEmit::Final => ChangelogMode::AppendOnly,
        }
    }
}

/// How a [`TopN`] counts rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Each row has a number of its own.
    RowNumber,
    /// Equal rows have the number of the first of them.
    Rank,
    /// Equal rows have one number, and no number is left out.
    DenseRank,
}

/// When a [`TopN`] or [`Over`] speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderedEmit {
    /// Once, at the end or, of a window, when it closes.
    Final,
    /// One row out for every row in, as it comes.
    Running,
    /// Every change.
    Changes,
}

/// Functions of the rows around a row.
///
/// The result's columns are those of the input, then the functions.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// What they are partitioned by; none for one partition of all rows.
    pub partition: Vec<Expr>,
    /// In which order, most significant first; see [`TopN::order`].
    pub order: Vec<SortKey>,
    /// What is computed for each row.
    pub calls: Vec<WindowCall>,
    /// When results come out.
    pub emit: OrderedEmit,
    /// Whether the input retracts.
    pub input_mode: ChangelogMode,
    /// Which key of the partition is the end of a window that the watermark closes, if one is: then what is kept of
    /// its rows is forgotten, and [`OrderedEmit::Final`] is when it closes.
    pub closed_by: Option<usize>,
    /// For how long a partition is kept after its last row; as long as it may matter for `None`.
    pub ttl: Option<Interval>,
    /// The columns of the result.
    pub schema: SchemaRef,
}

/// Which windows a row is in, and what closes a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The row's time: a timestamp, a date or an integer. All lengths are in the units of its type.
    /// Of [`WindowShape::Given`] it is the window's end.
    pub time: Expr,
    /// The windows.
    pub shape: WindowShape,
    /// What closes a window.
    pub closing: Closing,
    /// For how long after its end a window is kept for late rows, 0 if it is not.
    pub lateness: i64,
}

impl Window {
    /// Whether the windows are sessions: which one a row is in depends on the rows around it.
    pub fn is_session(&self) -> bool {
        matches!(self.shape, WindowShape::Session { .. })
    }
}

/// The form of windows. They are aligned to the Unix epoch, or 0 for integers, plus an offset.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowShape {
    /// One after the other.
    Tumble {
        /// How long each is.
        size: i64,
        /// Where one begins.
        offset: i64,
    },
    /// One begins each `slide`; they overlap, or leave gaps.
    Hop {
        /// How far apart they begin.
        slide: i64,
        /// How long each is.
        size: i64,
        /// Where one begins.
        offset: i64,
    },
    /// They begin together each `size`, and end each `step` later.
    Cumulate {
        /// How much longer each is than the one before it.
        step: i64,
        /// How long the longest is, a multiple of `step`.
        size: i64,
        /// Where they begin.
        offset: i64,
    },
    /// Rows of a key that follow each other within `gap`; a window ends `gap` after its last row.
    Session {
        /// After how long without a row a window ends.
        gap: i64,
    },
    /// The rows carry their windows: this is where each begins, and [`Window::time`] where it ends.
    Given {
        /// Where the window begins.
        start: Expr,
    },
}

/// What closes a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The watermark, when it reaches the window's end.
    Watermark,
    /// The engine's clock, when it does.
    Clock,
    /// The end of the input alone: the time of the window is no event time.
    End,
}

/// Each row once for each window it is in: `FROM TUMBLE(…)` and its kin.
///
/// The result's columns are those of the input, then `window_start`, `window_end` and `window_time`.
/// Rows without a time are counted and left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// What a [`WindowShape::Session`] is partitioned by; none for other shapes.
    pub keys: Vec<Expr>,
    /// The windows.
    pub window: Window,
    /// The columns of the result.
    pub schema: SchemaRef,
}

/// `GROUP BY` in windows.
///
/// The result's columns are the keys, then `window_start`, `window_end` and `window_time`, then the aggregates.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowAggregate {
    /// Where the rows come from.
    pub input: Box<Node>,
    /// What is grouped by besides the window; none for one group a window.
    pub keys: Vec<Expr>,
    /// What is computed for each group.
    pub aggregates: Vec<AggregateCall>,
    /// The windows.
    pub window: Window,
    /// When results come out: [`AggregateEmit::Final`] is when a window closes.
    pub emit: AggregateEmit,
    /// Whether the input retracts.
    pub input_mode: ChangelogMode,
    /// Whether the result is not the aggregates but the late rows: the columns of the input, then `window_start`,
    /// `window_end` and `lateness`.
    pub says_late: bool,
    /// The columns of the result.
    pub schema: SchemaRef,
}

impl WindowAggregate {
    /// Whether rows of the result are only added.
    pub fn mode(&self) -> ChangelogMode {
        match self.emit {
            _ if self.says_late => ChangelogMode::AppendOnly,
            AggregateEmit::Running => ChangelogMode::AppendOnly,
            AggregateEmit::Final if self.window.lateness == 0 => ChangelogMode::AppendOnly,
            AggregateEmit::Final | AggregateEmit::Changes => ChangelogMode::Changelog,
            AggregateEmit::Every(_) | AggregateEmit::EveryAndFinal(_) => ChangelogMode::Changelog,
        }
    }
}

impl Node {
    /// The columns of the result, without `op`.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Node::Source(node) => node.schema.clone(),
            Node::Values(node) => node.rows.schema(),
            Node::Filter(node) => node.input.schema(),
            Node::Project(node) => node.schema.clone(),
            Node::Unnest(node) => node.schema.clone(),
            Node::Expand(node) => node.schema.clone(),
            Node::Union(node) => node.schema.clone(),
            Node::Aggregate(node) => node.schema.clone(),
            Node::Join(node) => node.schema.clone(),
            Node::KeyedJoin(node) => node.schema.clone(),
            Node::AsofJoin(node) => node.schema.clone(),
            Node::LookupJoin(node) => node.schema.clone(),
            Node::Collect(node) => node.schema.clone(),
            Node::Logic(node) => node.schema.clone(),
            Node::Sort(node) => node.input.schema(),
            Node::Limit(node) => node.input.schema(),
            Node::TopN(node) => node.schema.clone(),
            Node::Over(node) => node.schema.clone(),
            Node::Windows(node) => node.schema.clone(),
            Node::WindowAggregate(node) => node.schema.clone(),
        }
    }

    /// The nodes it reads, in the order of its ports.
    pub fn inputs(&self) -> Vec<&Node> {
        match self {
            Node::Source(_) | Node::Values(_) => vec![],
            Node::Filter(node) => vec![&node.input],
            Node::Project(node) => vec![&node.input],
            Node::Unnest(node) => vec![&node.input],
            Node::Expand(node) => vec![&node.input],
            Node::Union(node) => node.inputs.iter().collect(),
            Node::Aggregate(node) => vec![&node.input],
            Node::Join(node) => node.inputs.iter().map(AsRef::as_ref).collect(),
            Node::KeyedJoin(node) => node.sides.iter().map(|side| &side.input).collect(),
            Node::AsofJoin(node) => node.inputs.iter().map(AsRef::as_ref).collect(),
            Node::LookupJoin(node) => node.inputs.iter().map(AsRef::as_ref).collect(),
            Node::Collect(node) => vec![&node.input],
            Node::Logic(node) => vec![&node.input],
            Node::Sort(node) => vec![&node.input],
            Node::Limit(node) => vec![&node.input],
            Node::TopN(node) => vec![&node.input],
            Node::Over(node) => vec![&node.input],
            Node::Windows(node) => vec![&node.input],
            Node::WindowAggregate(node) => vec![&node.input],
        }
    }

    /// As [`Node::inputs`], to be rewritten.
    pub(crate) fn inputs_mut(&mut self) -> Vec<&mut Node> {
        match self {
            Node::Source(_) | Node::Values(_) => vec![],
            Node::Filter(node) => vec![&mut node.input],
            Node::Project(node) => vec![&mut node.input],
            Node::Unnest(node) => vec![&mut node.input],
            Node::Expand(node) => vec![&mut node.input],
            Node::Union(node) => node.inputs.iter_mut().collect(),
            Node::Aggregate(node) => vec![&mut node.input],
            Node::Join(node) => node.inputs.iter_mut().map(AsMut::as_mut).collect(),
            Node::KeyedJoin(node) => node.sides.iter_mut().map(|side| &mut side.input).collect(),
            Node::AsofJoin(node) => node.inputs.iter_mut().map(AsMut::as_mut).collect(),
            Node::LookupJoin(node) => node.inputs.iter_mut().map(AsMut::as_mut).collect(),
            Node::Collect(node) => vec![&mut node.input],
            Node::Logic(node) => vec![&mut node.input],
            Node::Sort(node) => vec![&mut node.input],
            Node::Limit(node) => vec![&mut node.input],
            Node::TopN(node) => vec![&mut node.input],
            Node::Over(node) => vec![&mut node.input],
            Node::Windows(node) => vec![&mut node.input],
            Node::WindowAggregate(node) => vec![&mut node.input],
        }
    }

    /// The expressions that it evaluates over the rows of its only input, to be rewritten; of a node that gives out
    /// all it reads none.
    pub(crate) fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Node::Source(_) | Node::Values(_) | Node::Unnest(_) | Node::Expand(_) | Node::Union(_) => vec![],
            Node::Join(_) | Node::KeyedJoin(_) | Node::AsofJoin(_) | Node::LookupJoin(_) => vec![],
            Node::Limit(_) | Node::TopN(_) | Node::Over(_) => vec![],
            // Its late rows have all the columns of its input.
            Node::Windows(_) | Node::WindowAggregate(_) => vec![],
            Node::Filter(node) => vec![&mut node.predicate],
            Node::Project(node) => node.exprs.iter_mut().collect(),
            Node::Aggregate(node) => with_calls(&mut node.keys, &mut node.aggregates),
            Node::Collect(node) => with_calls(&mut node.keys, &mut node.aggregates),
            Node::Logic(node) => node.keys.iter_mut().collect(),
            Node::Sort(node) => node.keys.iter_mut().map(|key| &mut key.expr).collect(),
        }
    }
}

fn with_calls<'a>(keys: &'a mut [Expr], calls: &'a mut [AggregateCall]) -> Vec<&'a mut Expr> {
    let mut exprs: Vec<&mut Expr> = keys.iter_mut().collect();
    for call in calls {
        exprs.extend(&mut call.arguments);
        exprs.extend(&mut call.filter);
        exprs.extend(call.order_by.iter_mut().map(|key| &mut key.expr));
    }
    exprs
}
