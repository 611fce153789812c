//! Each operator in each of its modes, over 65,536 rows in batches of 8,192, through the public API:
//! `cargo bench`, or `cargo bench -- join` for those whose names contain "join".
//!
//! What is measured is pushing the rows and taking the answers; planning and making the rows is not.

use std::fmt;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use riverrun::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use riverrun::arrow::datatypes::{DataType, Field, Schema};
use riverrun::logic::stateful_map;
use riverrun::{Appender, Engine, Query, Result};

const ROWS: i64 = 65_536;
const BATCH_ROWS: i64 = 8192;
const KEYS: i64 = 4096;

fn main() {
    divan::main();
}

/// A query by the operator and mode that it is about.
struct Case {
    name: &'static str,
    sql: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Cases that read one stream.
const ONE_SIDE: &[Case] = &[
    Case { name: "project_column", sql: "SELECT k FROM l" },
    Case { name: "project_arithmetic", sql: "SELECT k, v * 0.908 AS v FROM l" },
    Case { name: "project_text", sql: "SELECT upper(s) AS s FROM l" },
    Case { name: "filter_few", sql: "SELECT k, v FROM l WHERE k % 123 = 0" },
    Case { name: "filter_most", sql: "SELECT k, v FROM l WHERE v > 100" },
    Case { name: "unnest", sql: "SELECT k, unnest([v, v + 1]) AS v FROM l" },
    Case { name: "limit", sql: "SELECT k, v FROM l LIMIT 60000" },
    Case { name: "sort", sql: "SELECT k, v FROM l ORDER BY v, k EMIT FINAL" },
    Case { name: "distinct_final", sql: "SELECT DISTINCT k FROM l EMIT FINAL" },
    Case { name: "aggregate_final_number", sql: "SELECT k, count(*), max(v), sum(v) FROM l GROUP BY k EMIT FINAL" },
    Case { name: "aggregate_final_text", sql: "SELECT s, count(*), max(v), sum(v) FROM l GROUP BY s EMIT FINAL" },
    Case { name: "aggregate_final_two_keys", sql: "SELECT k, s, count(*), sum(v) FROM l GROUP BY k, s EMIT FINAL" },
    Case { name: "aggregate_final_no_key", sql: "SELECT count(*), max(v), sum(v) FROM l EMIT FINAL" },
    Case { name: "aggregate_running", sql: "SELECT k, count(*), max(v), sum(v) FROM l GROUP BY k EMIT RUNNING" },
    Case { name: "aggregate_changes", sql: "SELECT k, count(*), max(v), sum(v) FROM l GROUP BY k EMIT CHANGES" },
    Case { name: "aggregate_average", sql: "SELECT k, avg(v), stddev(v) FROM l GROUP BY k EMIT FINAL" },
    Case { name: "aggregate_distinct", sql: "SELECT k, count(DISTINCT v) FROM l GROUP BY k EMIT FINAL" },
    Case { name: "aggregate_list", sql: "SELECT k, array_agg(v) FROM l GROUP BY k EMIT FINAL" },
    Case { name: "rollup", sql: "SELECT k, s, sum(v) FROM l GROUP BY ROLLUP (k, s) EMIT FINAL" },
    Case {
        name: "retract",
        sql: "SELECT n, count(*) FROM (SELECT k, count(*) AS n FROM l GROUP BY k EMIT CHANGES) GROUP BY n EMIT CHANGES",
    },
    Case { name: "collect", sql: "SELECT k, array_agg(v) AS vs FROM l GROUP BY k, COLLECT(max_rows => 10)" },
    Case { name: "logic", sql: "SELECT * FROM running_sum(TABLE l PARTITION BY k)" },
];

/// Cases that read two streams, whose batches come in turns.
const TWO_SIDES: &[Case] = &[
    Case { name: "union", sql: "SELECT k, v FROM l UNION ALL SELECT k, v FROM r" },
    Case { name: "join_last_running", sql: "SELECT l.v, r.v AS w FROM l FULL JOIN r USING (k) KEEP LAST EMIT RUNNING" },
    Case { name: "join_last_complete", sql: "SELECT l.v, r.v AS w FROM l JOIN r USING (k) KEEP LAST EMIT COMPLETE" },
    Case { name: "join_last_final", sql: "SELECT l.v, r.v AS w FROM l FULL JOIN r USING (k) KEEP LAST EMIT FINAL" },
    Case {
        name: "join_first_running",
        sql: "SELECT l.v, r.v AS w FROM l FULL JOIN r USING (k) KEEP FIRST EMIT RUNNING",
    },
    Case { name: "join_product_final", sql: "SELECT l.v, r.v AS w FROM l JOIN r USING (k) KEEP PRODUCT EMIT FINAL" },
    Case { name: "join_text_running", sql: "SELECT l.v, r.v AS w FROM l FULL JOIN r USING (s) KEEP LAST EMIT RUNNING" },
];

#[divan::bench(args = ONE_SIDE)]
fn one_side(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case, &["l"]);
}

#[divan::bench(args = TWO_SIDES)]
fn two_sides(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case, &["l", "r"]);
}

fn measure(bencher: Bencher<'_, '_>, case: &Case, sides: &[&str]) {
    let batches = batches();
    bencher
        .counter(ItemsCount::new(ROWS as usize))
        .with_inputs(|| Started::new(case.sql, sides).expect("the query starts"))
        .bench_local_refs(|started| started.feed(&batches).expect("the rows go through"));
}

/// A table whose rows are replaced again and again: what comes out is a changelog.
#[divan::bench]
fn table_upsert(bencher: Bencher<'_, '_>) {
    let batches = batches();
    bencher
        .counter(ItemsCount::new(ROWS as usize))
        .with_inputs(|| Started::new("SELECT * FROM t", &["t"]).expect("the query starts"))
        .bench_local_refs(|started| started.feed(&batches).expect("the rows go through"));
}

/// A query that has just been started, with what feeds it.
struct Started {
    query: Query,
    sides: Vec<Appender>,
}

impl Started {
    fn new(sql: &str, sides: &[&str]) -> Result<Started> {
        let engine = Engine::new();
        engine.execute(
            "CREATE STREAM l (k BIGINT, v BIGINT, s VARCHAR);
             CREATE STREAM r (k BIGINT, v BIGINT, s VARCHAR);
             CREATE TABLE t (k BIGINT, v BIGINT, s VARCHAR, PRIMARY KEY (k))",
        )?;
        let output = Arc::new(Schema::new(vec![Field::new("total", DataType::Int64, true)]));
        let sum = stateful_map(output, |total: Option<i64>, row| {
            let total = total.unwrap_or(0) + row.get::<i64>("v")?;
            Ok((Some(total), vec![total.into()]))
        });
        engine.register_logic("running_sum", sum);
        let query = engine.query(sql)?;
        let sides = sides.iter().map(|name| engine.appender(name)).collect::<Result<_>>()?;
        Ok(Started { query, sides })
    }

    /// Pushes the batches to the sides in turns, takes what comes out, and ends the sides.
    fn feed(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let sides = self.sides.len();
        for (at, rows) in batches.iter().enumerate() {
            self.sides[at % sides].append(rows.clone())?;
            divan::black_box(self.query.poll()?);
        }
        self.sides.iter_mut().try_for_each(Appender::close)?;
        divan::black_box(self.query.poll()?);
        Ok(())
    }
}

/// The rows: keys that come again and again in no order, a number and a text that has as many values.
fn batches() -> Vec<RecordBatch> {
    let batch = |start: i64| {
        let key = |row: i64| row.wrapping_mul(0x9E37_79B9).rem_euclid(KEYS);
        let rows = || start..start + BATCH_ROWS;
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows().map(key)));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows().map(|row| row * 7 % 10_007)));
        let texts = rows().map(|row| format!("text-{}", key(row)));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("v", values, true), ("s", texts, true)])
    };
    let starts = (0..ROWS).step_by(BATCH_ROWS as usize);
    starts.map(batch).collect::<std::result::Result<_, _>>().expect("the columns are as long as each other")
}
