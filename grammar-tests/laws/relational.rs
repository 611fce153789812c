//! Joins, subqueries, set operations, aggregates and what asks for an order nested at random, over tables and a stream
//! that change at random. Orders leave nothing open: rows that are equal in one are alike in all that is looked at.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use proptest::prelude::*;
use proptest::sample::select;

use crate::data::{self, After, Column, Row, Value};
use crate::feeding::Step;

/// A relation with the columns `k BIGINT, v BIGINT, s VARCHAR`.
#[derive(Debug, Clone)]
pub enum Rel {
    Base(&'static str),
    /// A condition over `x`.
    Filter(Box<Rel>, &'static str),
    /// Expressions over `x`.
    Project(Box<Rel>, &'static str),
    /// `x` and `y`: how, on what.
    Join(Box<Rel>, Box<Rel>, &'static str, &'static str),
    /// Rows of `x` for which there are rows of `y`, or none: on what.
    Exists(Box<Rel>, Box<Rel>, bool, &'static str),
    /// A value of `x` among those of `y`, or not.
    In(Box<Rel>, Box<Rel>, bool, &'static str),
    /// A value of `x` compared with all or any of those of `y`.
    Compared(Box<Rel>, Box<Rel>, &'static str),
    /// A value over `y` beside each row of `x`.
    Scalar(Box<Rel>, Box<Rel>, &'static str),
    /// Keys, `v` and `s`.
    Group(Box<Rel>, &'static str),
    /// One row over all of them.
    Global(Box<Rel>, &'static str),
    Distinct(Box<Rel>),
    Set(Box<Rel>, Box<Rel>, &'static str),
    /// As many copies of a row as both sides have, or as the left one has more.
    Copies(Box<Rel>, Box<Rel>, &'static str),
    /// The first rows of an order, or functions of the rows around each.
    Ordered(Box<Rel>, &'static str),
    /// A CTE over `x` that is named twice.
    Twice(Box<Rel>, &'static str),
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Asked {
    Engine,
    /// It takes rows that are alike for one in `INTERSECT ALL` and `EXCEPT ALL`, so they are numbered for it.
    Oracle,
}

const BASES: [&str; 5] = [
    "SELECT k, v, s FROM a",
    "SELECT k, v, s FROM b",
    "SELECT k, v, s FROM e",
    "SELECT id AS k, v, s FROM a",
    "SELECT k, id AS v, s FROM b WHERE v > 1",
];
const CONDITIONS: [&str; 5] = ["x.k > 1", "x.v IS NOT NULL", "x.s = 'p'", "x.k < x.v OR x.s IS NULL", "x.v % 2 = 0"];
const PROJECTIONS: [&str; 4] = [
    "x.v AS k, x.k AS v, x.s",
    "x.k, x.k + x.v AS v, x.s",
    "coalesce(x.k, 0) AS k, x.v, upper(x.s) AS s",
    "x.k, 1 AS v, x.s",
];
const KINDS: [&str; 4] = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];
const ONS: [&str; 5] = [
    "x.k = y.k",
    "x.k = y.k AND x.v < y.v",
    "x.k = y.v AND x.s = y.s",
    "x.v = y.v",
    "x.k = y.k AND (x.v > 1 OR y.v > 1)",
];
const CORRELATIONS: [&str; 4] = ["y.k = x.k", "y.k = x.k AND y.v > x.v", "y.s = x.s", "y.v = x.k"];
const SCALARS: [&str; 6] = [
    "(SELECT max(y.v) FROM ({y}) AS y)",
    "(SELECT count(*) FROM ({y}) AS y)",
    "(SELECT sum(y.v) FROM ({y}) AS y WHERE y.k = x.k)",
    "(SELECT count(*) FROM ({y}) AS y WHERE y.k = x.k)",
    "(SELECT min(y.k) FROM ({y}) AS y WHERE y.s = x.s)",
    "coalesce((SELECT max(y.v) FROM ({y}) AS y), 7)",
];
const COMPARISONS: [&str; 4] = [">= ALL", "< ANY", "<> ALL", "= ANY"];
const GROUPS: [&str; 6] = [
    "x.k, sum(x.v) AS v, min(x.s) AS s FROM ({x}) AS x GROUP BY x.k",
    "x.k, count(*) AS v, max(x.s) AS s FROM ({x}) AS x GROUP BY x.k",
    "x.v AS k, count(DISTINCT x.k) AS v, x.s FROM ({x}) AS x GROUP BY x.v, x.s",
    "x.k, max(x.v) AS v, min(x.s) AS s FROM ({x}) AS x GROUP BY x.k HAVING count(*) > 1",
    "max(x.k) AS k, min(x.v) AS v, x.s FROM ({x}) AS x GROUP BY x.s",
    "x.k, CAST(median(x.v) AS BIGINT) AS v, string_agg(x.s, ',' ORDER BY x.s) AS s FROM ({x}) AS x GROUP BY x.k",
];
const GLOBALS: [&str; 3] = [
    "count(*) AS k, sum(x.v) AS v, max(x.s) AS s",
    "min(x.k) AS k, max(x.v) AS v, min(x.s) AS s",
    "count(x.k) AS k, count(DISTINCT x.v) AS v, NULL AS s",
];
const SETS: [&str; 4] = ["UNION", "UNION ALL", "INTERSECT", "EXCEPT"];
const COPIES: [&str; 2] = ["INTERSECT ALL", "EXCEPT ALL"];
const TWICE: [&str; 6] = [
    "WITH c AS (SELECT x.k, sum(x.v) AS v, min(x.s) AS s FROM ({x}) AS x GROUP BY x.k) SELECT x.k, x.v + y.v AS v, y.s FROM c AS x JOIN c AS y ON x.k = y.v",
    "WITH c AS (SELECT x.k, sum(x.v) AS v, min(x.s) AS s FROM ({x}) AS x GROUP BY x.k) SELECT x.k, y.v, x.s FROM c AS x LEFT JOIN c AS y ON x.v < y.v AND x.s = y.s",
    "WITH c AS (SELECT DISTINCT x.k, x.v, x.s FROM ({x}) AS x) SELECT x.k, x.v, x.s FROM c AS x WHERE x.v = (SELECT max(y.v) FROM c AS y)",
    "WITH c AS (SELECT x.k, count(*) AS v, max(x.s) AS s FROM ({x}) AS x GROUP BY x.k) SELECT x.k, x.v, x.s FROM c AS x UNION ALL SELECT y.v AS k, y.k AS v, y.s FROM c AS y WHERE y.v > 1",
    "WITH c AS (SELECT x.k, x.v, x.s FROM ({x}) AS x) SELECT x.k, x.v, x.s FROM c AS x WHERE x.v IN (SELECT y.k FROM c AS y) UNION ALL SELECT z.k, z.v, z.s FROM c AS z",
    "WITH c AS (SELECT x.k, max(x.v) AS v, min(x.s) AS s FROM ({x}) AS x GROUP BY x.k), d AS (SELECT x.k, y.v, y.s FROM c AS x JOIN c AS y ON x.k = y.k) SELECT x.k, y.v, x.s FROM d AS x FULL JOIN d AS y ON x.k = y.v",
];
const ORDERED: [&str; 21] = [
    "x.k, x.v, x.s FROM ({x}) AS x ORDER BY x.k, x.v, x.s LIMIT 3",
    "x.k, x.v, x.s FROM ({x}) AS x ORDER BY x.v DESC NULLS LAST, x.k, x.s DESC LIMIT 2 OFFSET 1",
    "x.k, x.v, x.s FROM ({x}) AS x QUALIFY row_number() OVER (PARTITION BY x.k ORDER BY x.v DESC, x.s) <= 2",
    "x.k, x.v, x.s FROM ({x}) AS x QUALIFY rank() OVER (PARTITION BY x.s ORDER BY x.v) < 2",
    "x.k, x.v, x.s FROM ({x}) AS x QUALIFY dense_rank() OVER (ORDER BY x.k DESC) BETWEEN 1 AND 2",
    "x.k, CAST(x.n AS BIGINT) AS v, x.s FROM (SELECT x.*, row_number() OVER (PARTITION BY x.k ORDER BY x.v, x.s) AS n FROM ({x}) AS x) AS x WHERE x.n <= 2",
    "x.k, CAST(x.n AS BIGINT) AS v, x.s FROM (SELECT x.*, rank() OVER (PARTITION BY x.v ORDER BY x.k) AS n FROM ({x}) AS x) AS x WHERE x.n = 2 AND x.k < 3",
    "x.k, x.v, x.s FROM (SELECT x.*, row_number() OVER (PARTITION BY x.k, x.v ORDER BY x.s) AS n FROM ({x}) AS x) AS x WHERE x.n = 1",
    "DISTINCT ON (x.k) x.k, x.v, x.s FROM ({x}) AS x ORDER BY x.k, x.v DESC, x.s",
    "x.k, sum(x.v) OVER (PARTITION BY x.k) AS v, x.s FROM ({x}) AS x",
    "x.k, count(*) OVER (PARTITION BY x.s ORDER BY x.v) AS v, x.s FROM ({x}) AS x",
    "x.k, CAST(rank() OVER (PARTITION BY x.k ORDER BY x.v DESC) AS BIGINT) AS v, x.s FROM ({x}) AS x",
    "x.k, CAST(row_number() OVER (ORDER BY x.k, x.v, x.s) AS BIGINT) AS v, x.s FROM ({x}) AS x",
    "x.k, lag(x.v) OVER (PARTITION BY x.s ORDER BY x.k, x.v) AS v, x.s FROM ({x}) AS x",
    "lead(x.k, 2, 9) OVER (PARTITION BY x.s ORDER BY x.k, x.v) AS k, x.v, x.s FROM ({x}) AS x",
    "x.k, sum(x.v) OVER (ORDER BY x.k, x.v, x.s ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS v, x.s FROM ({x}) AS x",
    "x.k, min(x.v) OVER (PARTITION BY x.k ORDER BY x.v, x.s ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS v, first_value(x.s) OVER (PARTITION BY x.k ORDER BY x.v, x.s) AS s FROM ({x}) AS x",
    "x.k, count(x.s) OVER (PARTITION BY x.k ORDER BY x.v RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS v, x.s FROM ({x}) AS x",
    "x.k, max(x.v) OVER (ORDER BY x.k GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS v, x.s FROM ({x}) AS x",
    "CAST(ntile(2) OVER (ORDER BY x.k, x.v, x.s) AS BIGINT) AS k, CAST(100 * percent_rank() OVER (PARTITION BY x.k ORDER BY x.v) AS BIGINT) AS v, x.s FROM ({x}) AS x",
    "nth_value(x.k, 2) OVER (PARTITION BY x.s ORDER BY x.k, x.v) AS k, CAST(100 * cume_dist() OVER (PARTITION BY x.s ORDER BY x.v) AS BIGINT) AS v, x.s FROM ({x}) AS x",
];

/// At most `depth` operations on top of one another.
pub fn relation(depth: u32) -> impl Strategy<Value = Rel> {
    let base = select(BASES.to_vec()).prop_map(Rel::Base);
    base.prop_recursive(depth, 10, 2, |inner| {
        let one = || inner.clone().prop_map(Box::new);
        let two = || (one(), one());
        prop_oneof![
            1 => (one(), select(CONDITIONS.to_vec())).prop_map(|(x, on)| Rel::Filter(x, on)),
            1 => (one(), select(PROJECTIONS.to_vec())).prop_map(|(x, what)| Rel::Project(x, what)),
            4 => (two(), select(KINDS.to_vec()), select(ONS.to_vec())).prop_map(|((x, y), how, on)| Rel::Join(x, y, how, on)),
            2 => (two(), any::<bool>(), select(CORRELATIONS.to_vec())).prop_map(|((x, y), not, on)| Rel::Exists(x, y, not, on)),
            2 => (two(), any::<bool>(), select(vec!["k", "v"])).prop_map(|((x, y), not, what)| Rel::In(x, y, not, what)),
            1 => (two(), select(COMPARISONS.to_vec())).prop_map(|((x, y), how)| Rel::Compared(x, y, how)),
            2 => (two(), select(SCALARS.to_vec())).prop_map(|((x, y), what)| Rel::Scalar(x, y, what)),
            2 => (one(), select(GROUPS.to_vec())).prop_map(|(x, how)| Rel::Group(x, how)),
            1 => (one(), select(GLOBALS.to_vec())).prop_map(|(x, what)| Rel::Global(x, what)),
            1 => one().prop_map(Rel::Distinct),
            2 => (two(), select(SETS.to_vec())).prop_map(|((x, y), how)| Rel::Set(x, y, how)),
            1 => (two(), select(COPIES.to_vec())).prop_map(|((x, y), how)| Rel::Copies(x, y, how)),
            4 => (one(), select(ORDERED.to_vec())).prop_map(|(x, how)| Rel::Ordered(x, how)),
            2 => (one(), select(TWICE.to_vec())).prop_map(|(x, how)| Rel::Twice(x, how)),
        ]
    })
}

impl Rel {
    pub fn sql(&self, asked: Asked) -> String {
        match self {
            Rel::Base(text) => (*text).into(),
            Rel::Filter(x, on) => format!("SELECT x.k, x.v, x.s FROM ({}) AS x WHERE {on}", x.sql(asked)),
            Rel::Project(x, what) => format!("SELECT {what} FROM ({}) AS x", x.sql(asked)),
            Rel::Join(x, y, how, on) => format!(
                "SELECT coalesce(x.k, y.k) AS k, coalesce(x.v, 0) + coalesce(y.v, 1) AS v, y.s FROM ({}) AS x {how} ({}) AS y ON {on}",
                x.sql(asked),
                y.sql(asked)
            ),
            Rel::Exists(x, y, not, on) => {
                let not = if *not { "NOT " } else { "" };
                format!(
                    "SELECT x.k, x.v, x.s FROM ({}) AS x WHERE {not}EXISTS (SELECT 1 FROM ({}) AS y WHERE {on})",
                    x.sql(asked),
                    y.sql(asked)
                )
            }
            Rel::In(x, y, not, what) => {
                let not = if *not { "NOT " } else { "" };
                format!(
                    "SELECT x.k, x.v, x.s FROM ({}) AS x WHERE x.v {not}IN (SELECT y.{what} FROM ({}) AS y)",
                    x.sql(asked),
                    y.sql(asked)
                )
            }
            Rel::Compared(x, y, how) => format!(
                "SELECT x.k, x.v, x.s FROM ({}) AS x WHERE x.v {how} (SELECT y.v FROM ({}) AS y)",
                x.sql(asked),
                y.sql(asked)
            ),
            Rel::Scalar(x, y, what) => {
                format!("SELECT x.k, {} AS v, x.s FROM ({}) AS x", what.replace("{y}", &y.sql(asked)), x.sql(asked))
            }
            Rel::Group(x, how) | Rel::Ordered(x, how) => format!("SELECT {}", how.replace("{x}", &x.sql(asked))),
            Rel::Twice(x, how) => how.replace("{x}", &x.sql(asked)),
            Rel::Global(x, what) => format!("SELECT {what} FROM ({}) AS x", x.sql(asked)),
            Rel::Distinct(x) => format!("SELECT DISTINCT x.k, x.v, x.s FROM ({}) AS x", x.sql(asked)),
            Rel::Copies(x, y, how) if asked == Asked::Oracle => {
                let numbered = |rel: &Rel| {
                    let number = "row_number() OVER (PARTITION BY x.k, x.v, x.s) AS n";
                    format!("SELECT x.k, x.v, x.s, {number} FROM ({}) AS x", rel.sql(asked))
                };
                format!("SELECT z.k, z.v, z.s FROM ({} {how} {}) AS z", numbered(x), numbered(y))
            }
            Rel::Set(x, y, how) | Rel::Copies(x, y, how) => format!(
                "SELECT x.k, x.v, x.s FROM ({}) AS x {how} SELECT y.k, y.v, y.s FROM ({}) AS y",
                x.sql(asked),
                y.sql(asked)
            ),
        }
    }
}

#[derive(Debug, Clone)]
pub enum Change {
    /// A row of the stream `e`.
    Arrive(Row),
    /// The row takes the place of the one with its `id` in a table.
    Put(&'static str, Row),
    Delete(&'static str, i64),
    /// `v` of the rows of a table whose `id` is at most that becomes `k`.
    Copy(&'static str, i64),
    /// The `id`s of all rows of a table are counted down from the other end: each row takes the place of another.
    Turn(&'static str),
}

/// A query, and what it is asked over: planning costs more than running, so each query has several.
#[derive(Debug, Clone)]
pub struct Case {
    pub query: Rel,
    pub changes: Vec<Changes>,
}

/// Changes of the tables and the stream, and what happens after each.
#[derive(Debug, Clone)]
pub struct Changes(Vec<(Change, After)>);

/// Few, so that most are replaced or deleted.
const IDS: i64 = 5;

/// Queries, each with so many series of changes.
pub fn case(series: usize) -> impl Strategy<Value = Case> {
    let number = || data::nullable((0i64..4).prop_map(Value::Whole));
    let word = data::nullable(select(vec!["p", "q"]).prop_map(|word| Value::Text(word.into())));
    let change = (0u8..12, select(vec!["a", "b"]), 1..=IDS, number(), number(), word);
    let change = change.prop_map(|(what, table, id, k, v, s)| match what {
        0..3 => Change::Arrive(vec![k, v, s]),
        3..8 => Change::Put(table, vec![Value::Whole(id), k, v, s]),
        8..10 => Change::Delete(table, id),
        10 => Change::Copy(table, id),
        _ => Change::Turn(table),
    });
    let changes = prop::collection::vec((change, data::after()), 0..=16).prop_map(Changes);
    (relation(4), prop::collection::vec(changes, 1..=series)).prop_map(|(query, changes)| Case { query, changes })
}

pub const TABLES: [&str; 3] = ["a", "b", "e"];

fn columns(table: &str) -> Vec<Column> {
    let columns =
        vec![("k", "BIGINT", DataType::Int64), ("v", "BIGINT", DataType::Int64), ("s", "VARCHAR", DataType::Utf8)];
    let id: Column = ("id", "BIGINT", DataType::Int64);
    if table == "e" { columns } else { [id].into_iter().chain(columns).collect() }
}

impl Change {
    fn step(&self) -> Step {
        match self {
            Change::Arrive(row) => Step::Push("e".into(), data::batch(&columns("e"), std::slice::from_ref(row))),
            Change::Put(table, row) => {
                Step::Push((*table).into(), data::batch(&columns(table), std::slice::from_ref(row)))
            }
            Change::Delete(..) | Change::Copy(..) | Change::Turn(_) => Step::Say(self.statement()),
        }
    }

    fn statement(&self) -> String {
        match self {
            Change::Arrive(row) => data::insert("e", &columns("e"), std::slice::from_ref(row)).replace("\n ", ""),
            Change::Put(table, row) => {
                data::insert(table, &columns(table), std::slice::from_ref(row)).replace("\n ", "")
            }
            Change::Delete(table, id) => format!("DELETE FROM {table} WHERE id = {id};"),
            Change::Copy(table, id) => format!("UPDATE {table} SET v = k WHERE id <= {id};"),
            Change::Turn(table) => format!("UPDATE {table} SET id = {} - id;", IDS + 1),
        }
    }

    fn table(&self) -> &'static str {
        match self {
            Change::Arrive(_) => "e",
            Change::Put(table, _) | Change::Delete(table, _) | Change::Copy(table, _) | Change::Turn(table) => table,
        }
    }
}

/// The statements that make the tables and the stream.
pub fn setup() -> Vec<String> {
    let table = |name| {
        data::create(name, &columns(name)).replace("STREAM", "TABLE").replace("id BIGINT", "id BIGINT PRIMARY KEY")
    };
    vec![table("a"), table("b"), data::create("e", &columns("e"))]
}

/// The columns of each of them.
pub fn schemas() -> Vec<(&'static str, SchemaRef)> {
    TABLES.map(|table| (table, data::schema(&columns(table)))).into()
}

impl Changes {
    /// The steps, each with how many of the changes have been made after it.
    pub fn steps(&self, cut: impl Fn(After) -> After) -> Vec<(Step, usize)> {
        let mut steps: Vec<(Step, usize)> = vec![];
        let mut held: Vec<(&'static str, Row)> = vec![];
        let push = |held: &mut Vec<(&'static str, Row)>, made: usize, steps: &mut Vec<(Step, usize)>| {
            let Some((table, _)) = held.first() else { return };
            let rows: Vec<Row> = held.iter().map(|(_, row)| row.clone()).collect();
            steps.push((Step::Push((*table).into(), data::batch(&columns(table), &rows)), made));
            held.clear();
        };
        for (before, (change, after)) in self.0.iter().enumerate() {
            let after = cut(*after);
            if held.first().is_some_and(|(table, _)| *table != change.table()) {
                push(&mut held, before, &mut steps);
            }
            match change {
                Change::Arrive(row) | Change::Put(_, row) => held.push((change.table(), row.clone())),
                Change::Delete(..) | Change::Copy(..) | Change::Turn(_) => {
                    push(&mut held, before, &mut steps);
                    steps.push((change.step(), before + 1));
                }
            }
            if after != After::Nothing {
                push(&mut held, before + 1, &mut steps);
            }
            if after == After::Restart {
                steps.push((Step::Restart, before + 1));
            }
        }
        push(&mut held, self.0.len(), &mut steps);
        steps.extend(TABLES.map(|table| (Step::Close(table.into()), self.0.len())));
        steps
    }

    /// What is in each table after so many changes.
    pub fn tables(&self, made: usize) -> Vec<(&'static str, RecordBatch)> {
        let rows = |table: &'static str| {
            let mut there: Vec<Row> = vec![];
            for (change, _) in self.0[..made].iter().filter(|(change, _)| change.table() == table) {
                match change {
                    Change::Arrive(row) => there.push(row.clone()),
                    Change::Put(_, row) => {
                        there.retain(|other| other[0] != row[0]);
                        there.push(row.clone());
                    }
                    Change::Delete(_, id) => there.retain(|other| other[0] != Value::Whole(*id)),
                    Change::Copy(_, most) => there.iter_mut().for_each(|row| {
                        if matches!(row[0], Value::Whole(id) if id <= *most) {
                            row[2] = row[1].clone();
                        }
                    }),
                    Change::Turn(_) => there.iter_mut().for_each(|row| {
                        if let Value::Whole(id) = &mut row[0] {
                            *id = IDS + 1 - *id;
                        }
                    }),
                }
            }
            (table, data::batch(&columns(table), &there))
        };
        TABLES.map(rows).into()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Changes(changes) in &self.changes {
            setup().iter().try_for_each(|statement| writeln!(f, "{statement};"))?;
            writeln!(f, "DECLARE c CURSOR FOR {};", self.query.sql(Asked::Engine))?;
            for (change, after) in changes {
                writeln!(f, "{} -- then {after:?}", change.statement())?;
            }
            writeln!(f, "FETCH ALL FROM c;\n")?;
        }
        Ok(())
    }
}
