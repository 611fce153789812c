//! Random queries from a grammar of what is supported, written for the engine and for the oracle.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// When a query speaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Emit {
    Final,
    Changes,
    Running,
    /// At most once in so many seconds.
    Every(i64),
}

/// A query over the stream `t`.
#[derive(Debug, Clone)]
pub struct Query {
    pub source: Source,
    pub filter: Option<&'static str>,
    pub shape: Shape,
}

/// What a query reads: the rows of each branch, united.
#[derive(Debug, Clone)]
pub struct Source {
    pub branches: Vec<&'static str>,
}

/// What a query does with the rows.
#[derive(Debug, Clone)]
pub enum Shape {
    Project(Vec<&'static str>),
    Distinct(Vec<&'static str>),
    Grouped(Grouped),
    Nested(Nested),
}

#[derive(Debug, Clone)]
pub struct Grouped {
    pub keys: Vec<&'static str>,
    pub sets: Sets,
    pub aggregates: Vec<String>,
    pub having: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sets {
    Plain,
    Rollup,
    Cube,
    Listed,
    /// A window that only the end closes: for batch SQL no different from `Plain`.
    Collected,
}

impl Sets {
    fn are_several(self) -> bool {
        match self {
            Sets::Plain | Sets::Collected => false,
            Sets::Rollup | Sets::Cube | Sets::Listed => true,
        }
    }
}

/// An aggregate over an aggregate.
#[derive(Debug, Clone)]
pub struct Nested {
    pub inner: Grouped,
    pub inner_emit: Emit,
    pub key: Option<&'static str>,
    pub aggregates: Vec<&'static str>,
}

/// Who the text is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reader {
    Engine,
    /// The oracle knows no `EMIT`, and reads united rows from the relation `united`.
    Oracle,
}

const KEYS: [&str; 15] = [
    "k",
    "k % 3",
    "s",
    "upper(s)",
    "b",
    "i",
    "d",
    "at",
    "m",
    "x",
    "k IS NULL",
    "CASE WHEN k > 1 THEN 'high' WHEN k IS NULL THEN NULL ELSE 'low' END",
    "CAST(k * 2 AS VARCHAR)",
    "coalesce(s, 'none')",
    "date_trunc('day', at + INTERVAL '30 minutes')",
];

const PREDICATES: [&str; 10] = [
    "k > 1",
    "x >= 0",
    "s LIKE 'a%'",
    "b",
    "i % 2 = 0",
    "k IS NOT NULL",
    "s IN ('a', 'b')",
    "d > DATE '2026-01-02'",
    "m BETWEEN -1 AND 5",
    "NOT coalesce(b, true)",
];

const PROJECTIONS: [&str; 10] = [
    "k + i",
    "CASE WHEN x > 0 THEN 'up' WHEN x < 0 THEN 'down' END",
    "CAST(i AS DOUBLE) / 4",
    "s || '!'",
    "substr(s, 1, 1)",
    "length(s)",
    "m * 2",
    "CAST(d AS VARCHAR)",
    "at + INTERVAL '1 hour'",
    "coalesce(k, i, 0)",
];

const NUMBERS: [&str; 7] = ["k", "i", "x", "m", "id", "k + i", "CASE WHEN b THEN k ELSE i END"];
const ANYTHING: [&str; 8] = ["s", "b", "d", "at", "k", "m", "w", "upper(s)"];
/// Without `w`: for the oracle what is less than NaN depends on what came first.
const ORDERED: [&str; 7] = ["s", "b", "d", "at", "k", "m", "upper(s)"];
const HAVINGS: [&str; 4] = ["count(*) > 1", "min(k) < 3", "count(k) % 2 = 0", "sum(i) > 0"];
const EVERY_COLUMN: &str = "SELECT * FROM t";
const LATERAL: &str = "SELECT id, rank, u.e AS k, i, x, w, s, b, d, at, m FROM t, UNNEST(make_array(k, i)) AS u (e)";
/// The same for the oracle, which plans no lateral `UNNEST`.
const UNNESTED: &str = "SELECT id, rank, unnest(make_array(k, i)) AS k, i, x, w, s, b, d, at, m FROM t";

pub fn query() -> impl Strategy<Value = Query> {
    let shape = prop_oneof![
        6 => grouped().prop_map(Shape::Grouped),
        1 => nested(Emit::Final).prop_map(Shape::Nested),
        1 => nested(Emit::Changes).prop_map(Shape::Nested),
        1 => subsequence(KEYS.to_vec(), 1..=3).prop_map(Shape::Distinct),
        1 => subsequence(PROJECTIONS.to_vec(), 1..=4).prop_map(Shape::Project),
    ];
    with_source(shape)
}

/// Queries that may say `EMIT RUNNING`, and whose last row of a key is its final one: no `HAVING`, no grouping sets.
pub fn running_query() -> impl Strategy<Value = Query> {
    let grouped = grouped().prop_map(|grouped| Grouped { sets: Sets::Plain, having: None, ..grouped });
    with_source(grouped.prop_map(Shape::Grouped))
}

/// Queries that may say `EMIT CHANGES`.
pub fn changes_query() -> impl Strategy<Value = Query> {
    let shape = prop_oneof![
        6 => grouped().prop_map(Shape::Grouped),
        3 => nested(Emit::Changes).prop_map(Shape::Nested),
        1 => subsequence(KEYS.to_vec(), 1..=3).prop_map(Shape::Distinct),
    ];
    with_source(shape)
}

/// Queries over rows that are replaced and deleted: only what can be taken back is computed.
pub fn table_query() -> impl Strategy<Value = Query> {
    let shape = prop_oneof![
        6 => retracting().prop_map(Shape::Grouped),
        2 => retracting_nested().prop_map(Shape::Nested),
        1 => subsequence(KEYS.to_vec(), 1..=3).prop_map(Shape::Distinct),
        1 => subsequence(PROJECTIONS.to_vec(), 1..=4).prop_map(Shape::Project),
    ];
    with_source(shape)
}

/// Queries in which a `COLLECT` can stand among the keys.
pub fn collected_query() -> impl Strategy<Value = Query> {
    let grouped = grouped().prop_map(|grouped| Grouped { sets: Sets::Collected, ..grouped });
    with_source(grouped.prop_map(Shape::Grouped))
}

fn retracting() -> impl Strategy<Value = Grouped> {
    let call = (select(vec!["sum", "avg", "count"]), select(NUMBERS.to_vec())).prop_map(|(f, c)| format!("{f}({c})"));
    let call = prop_oneof![3 => call, 1 => Just("count(*)".to_owned())];
    let call = (call, prop::option::weighted(0.2, select(PREDICATES.to_vec()))).prop_map(filtered);
    let sets = prop_oneof![4 => Just(Sets::Plain), 1 => Just(Sets::Rollup), 1 => Just(Sets::Listed)];
    let having = prop::option::weighted(0.2, select(vec!["count(*) > 1", "count(k) % 2 = 0", "sum(i) > 0"]));
    (subsequence(KEYS.to_vec(), 0..=3), sets, prop::collection::vec(call, 1..=4), having)
        .prop_map(|(keys, sets, aggregates, having)| Grouped { keys, sets, aggregates, having })
}

fn retracting_nested() -> impl Strategy<Value = Nested> {
    let calls = vec!["count(*)", "sum(n)", "avg(n)", "count(a1)", "sum(n) FILTER (WHERE n > 1)"];
    (retracting(), prop::option::of(select(vec!["n % 2", "n"])), subsequence(calls, 1..=3)).prop_map(
        |(mut inner, key, aggregates)| {
            inner.aggregates.insert(0, "count(*)".into());
            inner.aggregates.insert(1, "sum(i)".into());
            Nested { inner, inner_emit: Emit::Changes, key, aggregates }
        },
    )
}

fn filtered((call, filter): (String, Option<&str>)) -> String {
    match filter {
        Some(filter) => format!("{call} FILTER (WHERE {filter})"),
        None => call,
    }
}

fn with_source(shape: impl Strategy<Value = Shape>) -> impl Strategy<Value = Query> {
    (source(), prop::option::weighted(0.3, select(PREDICATES.to_vec())), shape)
        .prop_map(|(source, filter, shape)| Query { source, filter, shape })
}

fn source() -> impl Strategy<Value = Source> {
    let branches = prop_oneof![
        5 => Just(vec![EVERY_COLUMN]),
        1 => Just(vec!["SELECT id, rank, k + 1 AS k, i, x, w, s, b, d, at, m FROM t WHERE id % 3 <> 0"]),
        1 => Just(vec!["SELECT id, rank, unnest(make_array(k, i, id)) AS k, i, x, w, s, b, d, at, m FROM t"]),
        1 => Just(vec![LATERAL]),
        // The shifts keep `id` and `rank` unique.
        1 => Just(vec![
            EVERY_COLUMN,
            "SELECT id + 20000 AS id, rank + 20000 AS rank, i AS k, i, x, w, s, b, d, at, m FROM t WHERE k > 0",
        ]),
    ];
    branches.prop_map(|branches| Source { branches })
}

fn grouped() -> impl Strategy<Value = Grouped> {
    let sets =
        prop_oneof![5 => Just(Sets::Plain), 1 => Just(Sets::Rollup), 1 => Just(Sets::Cube), 1 => Just(Sets::Listed)];
    (
        subsequence(KEYS.to_vec(), 0..=3),
        sets,
        prop::collection::vec(aggregate(), 1..=4),
        prop::option::weighted(0.15, select(ANYTHING.to_vec())),
        prop::option::weighted(0.2, select(HAVINGS.to_vec())),
    )
        .prop_map(|(keys, sets, mut aggregates, distinct, having)| {
            // Calls that share what they have seen.
            if let Some(column) = distinct {
                let filtered =
                    PREDICATES.iter().map(|filter| format!("count(DISTINCT {column}) FILTER (WHERE {filter})"));
                aggregates.extend(filtered.chain([format!("count(DISTINCT {column})")]));
            }
            Grouped { keys, sets, aggregates, having }
        })
}

fn nested(inner_emit: Emit) -> impl Strategy<Value = Nested> {
    let mut calls = vec!["count(*)", "sum(n)", "avg(n)", "count(a1)", "sum(n) FILTER (WHERE n > 1)", "sum(n * 2 - 1)"];
    if inner_emit == Emit::Final {
        // These cannot take rows back.
        calls.extend(["min(n)", "max(n)", "count(DISTINCT n)", "max(n) FILTER (WHERE n < 3)", "var_pop(n)"]);
    }
    (grouped(), prop::option::of(select(vec!["n % 2", "n", "n > 2"])), subsequence(calls, 1..=4)).prop_map(
        move |(mut inner, key, aggregates)| {
            inner.aggregates.insert(0, "count(*)".into());
            inner.aggregates.insert(1, "max(i)".into());
            Nested { inner, inner_emit, key, aggregates }
        },
    )
}

fn aggregate() -> impl Strategy<Value = String> {
    let numbers = || select(NUMBERS.to_vec());
    let calls = prop_oneof![
        Just("count(*)".to_owned()),
        (select(vec!["sum", "avg", "min", "max", "count", "median"]), numbers()).prop_map(|(f, c)| format!("{f}({c})")),
        (select(vec!["var_samp", "var_pop", "stddev", "stddev_pop"]), numbers()).prop_map(|(f, c)| format!("{f}({c})")),
        (select(vec!["min", "max", "count"]), select(ORDERED.to_vec())).prop_map(|(f, c)| format!("{f}({c})")),
        select(ANYTHING.to_vec()).prop_map(|c| format!("count(DISTINCT {c})")),
        select(vec!["k", "i", "k + i"]).prop_map(|c| format!("sum(DISTINCT {c})")),
        (select(vec!["first_value", "last_value", "array_agg"]), select(ANYTHING.to_vec()), select(vec!["", " DESC"]))
            .prop_map(|(f, c, way)| format!("{f}({c} ORDER BY rank{way}, k)")),
        Just("string_agg(s, ',' ORDER BY rank, k)".to_owned()),
        select(vec!["bool_and(b)", "bool_or(b)", "bit_and(k)", "bit_or(k)", "bit_xor(k)"]).prop_map(str::to_owned),
        select(vec!["corr(x, i)", "covar_pop(x, i)", "approx_distinct(k)", "regr_count(x, i)"]).prop_map(str::to_owned),
    ];
    (calls, prop::option::weighted(0.2, select(PREDICATES.to_vec()))).prop_map(filtered)
}

impl Query {
    /// The text; `emit` is left out for the oracle and where there is nothing that could speak.
    pub fn sql(&self, emit: Option<Emit>, reader: Reader) -> String {
        let from = self.source.sql(reader);
        let filter = self.filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        let rest = format!("FROM {from}{filter}");
        match &self.shape {
            Shape::Project(exprs) => format!("SELECT id, {} {rest}", exprs.join(", ")),
            Shape::Distinct(keys) => format!("SELECT DISTINCT {} {rest}{}", keys.join(", "), clause(emit, reader)),
            Shape::Grouped(grouped) => grouped.sql(&rest, reader) + &clause(emit, reader),
            Shape::Nested(nested) => nested.sql(&rest, reader) + &clause(emit, reader),
        }
    }

    /// The rows that reach the keys and aggregates.
    pub fn input(&self) -> Query {
        Query { shape: Shape::Project(vec!["k"]), ..self.clone() }
    }

    /// How many of the first columns of the result are keys.
    pub fn keys(&self) -> usize {
        match &self.shape {
            Shape::Project(_) | Shape::Distinct(_) => 0,
            Shape::Grouped(grouped) => grouped.keys.len(),
            Shape::Nested(nested) => usize::from(nested.key.is_some()),
        }
    }

    /// Whether it reads a changelog: which group appears first then depends on which changes were folded.
    pub fn reads_changes(&self) -> bool {
        match &self.shape {
            Shape::Project(_) | Shape::Distinct(_) | Shape::Grouped(_) => false,
            Shape::Nested(nested) => nested.inner_emit == Emit::Changes,
        }
    }

    /// Whether a relation without rows gives a row: an aggregate over all rows does, `HAVING` permitting.
    pub fn answers_emptiness(&self) -> bool {
        match &self.shape {
            Shape::Project(_) | Shape::Distinct(_) => false,
            Shape::Grouped(grouped) => grouped.has_total(),
            Shape::Nested(nested) => nested.key.is_none() || nested.inner.has_total(),
        }
    }
}

fn clause(emit: Option<Emit>, reader: Reader) -> String {
    match (emit, reader) {
        (Some(emit), Reader::Engine) => format!(" {emit}"),
        (None, _) | (_, Reader::Oracle) => String::new(),
    }
}

impl Source {
    fn sql(&self, reader: Reader) -> String {
        match (self.branches.as_slice(), reader) {
            ([branch], _) if *branch == EVERY_COLUMN => "t".into(),
            ([branch], Reader::Oracle) if *branch == LATERAL => format!("({UNNESTED}) AS q"),
            ([branch], _) => format!("({branch}) AS q"),
            (_, Reader::Oracle) => "united AS q".into(),
            (branches, Reader::Engine) => format!("({}) AS q", branches.join(" UNION ALL ")),
        }
    }
}

impl Grouped {
    fn sql(&self, rest: &str, reader: Reader) -> String {
        let keys = self.keys.iter().enumerate().map(|(at, key)| format!("{key} AS k{at}"));
        let aggregates = self.aggregates.iter().enumerate().map(|(at, call)| format!("{call} AS {}", output(at)));
        let columns: Vec<String> = keys.chain(aggregates).collect();
        let having = self.having.map(|having| format!(" HAVING {having}")).unwrap_or_default();
        format!("SELECT {} {rest}{}{having}", columns.join(", "), self.group_by(reader))
    }

    fn group_by(&self, reader: Reader) -> String {
        let keys = self.keys.join(", ");
        match self.sets {
            Sets::Collected if reader == Reader::Engine => {
                let key = "COLLECT(max_rows => 1000000)".to_string();
                format!(
                    " GROUP BY {}",
                    self.keys.iter().map(|key| key.to_string()).chain([key]).collect::<Vec<_>>().join(", ")
                )
            }
            _ if self.keys.is_empty() => String::new(),
            Sets::Plain | Sets::Collected => format!(" GROUP BY {keys}"),
            Sets::Rollup => format!(" GROUP BY ROLLUP ({keys})"),
            Sets::Cube => format!(" GROUP BY CUBE ({keys})"),
            Sets::Listed => format!(" GROUP BY GROUPING SETS (({keys}), ({}), ())", self.keys[0]),
        }
    }

    fn has_total(&self) -> bool {
        self.keys.is_empty() || self.sets.are_several()
    }
}

/// The inner count that outer aggregates are computed over is `n`.
fn output(at: usize) -> String {
    if at == 0 { "n".into() } else { format!("a{at}") }
}

impl Nested {
    fn sql(&self, rest: &str, reader: Reader) -> String {
        let inner = self.inner.sql(rest, reader) + &clause(Some(self.inner_emit), reader);
        let (key, group) = match self.key {
            Some(key) => (format!("{key} AS key, "), format!(" GROUP BY {key}")),
            None => Default::default(),
        };
        format!("SELECT {key}{} FROM ({inner}) AS inner_q{group}", self.aggregates.join(", "))
    }
}

impl fmt::Display for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Emit::Final => f.write_str("EMIT FINAL"),
            Emit::Changes => f.write_str("EMIT CHANGES"),
            Emit::Running => f.write_str("EMIT RUNNING"),
            Emit::Every(seconds) => write!(f, "EMIT EVERY INTERVAL '{seconds} seconds'"),
        }
    }
}
