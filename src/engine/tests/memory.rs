//! What queries say they keep, beside what has been allocated; and what becomes of those that keep too much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::{answer, engine, error};
use crate::engine::{Engine, Query, QueryOptions, Settings};
use crate::error::{Code, Error};
use crate::plan::Parameters;

/// The system's allocator, which counts for each thread how many bytes it has and has had at most.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends may free after its own counter is gone.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

fn held() -> isize {
    HELD.with(Cell::get)
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const BATCHES: i64 = 24;
const ROWS: i64 = 2_048;

/// A batch of rows `k`, `v`, `t`: each key comes twice, texts are of different lengths.
fn rows(batch: i64) -> RecordBatch {
    let numbers = || batch * ROWS..(batch + 1) * ROWS;
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers().map(|n| n / 2 * 7_919)));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers().map(|n| n * 31 % 10_007)));
    let texts = numbers().map(|n| format!("text number {n} {}", "x".repeat((n % 23) as usize)));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("v", values, true), ("t", texts, true)]).unwrap()
}

/// How many bytes a query says it keeps after many rows, and how many have been allocated for it.
fn said_and_allocated(sql: &str) -> (usize, usize) {
    let engine =
        engine("CREATE STREAM a (k BIGINT, v BIGINT, t VARCHAR); CREATE STREAM b (k BIGINT, v BIGINT, t VARCHAR)");
    let mut query = engine.query(sql).unwrap();
    let mut sides = ["a", "b"].map(|name| engine.appender(name).unwrap());
    let before = held();
    for batch in 0..BATCHES {
        for side in &mut sides {
            side.append(rows(batch)).unwrap();
        }
        drop(query.poll().unwrap());
    }
    (query.state_size().bytes, usize::try_from(held() - before).unwrap())
}

#[test]
fn what_a_query_says_it_keeps_has_been_allocated() {
    for sql in [
        "SELECT k, sum(v), avg(v), count(*) FROM a GROUP BY k EMIT FINAL",
        "SELECT t, min(v), count(*) FROM a GROUP BY t EMIT RUNNING",
        "SELECT k, t, count(v) FROM a GROUP BY k, t EMIT CHANGES",
        "SELECT k, sum(v) FROM a GROUP BY k EMIT EVERY INTERVAL '1 hour'",
        "SELECT k, array_agg(v) FROM a GROUP BY k EMIT FINAL",
        "SELECT k, array_agg(t) FROM a GROUP BY k EMIT FINAL",
        "SELECT k, array_agg(t ORDER BY v) FROM a GROUP BY k EMIT FINAL",
        "SELECT k, string_agg(t, ',') FROM a GROUP BY k EMIT FINAL",
        "SELECT k, max(t), first_value(t ORDER BY v) FROM a GROUP BY k EMIT FINAL",
        "SELECT k, count(DISTINCT v) FROM a GROUP BY k EMIT FINAL",
        "SELECT k % 100 AS g, count(DISTINCT t) FROM a GROUP BY g EMIT FINAL",
        "SELECT g, max(n), min(s) FROM (SELECT k % 1000 AS g, k, count(*) AS n, sum(v) AS s FROM a GROUP BY k) AS i GROUP BY g",
        "SELECT g, array_agg(n) FROM (SELECT k % 1000 AS g, k, count(*) AS n FROM a GROUP BY k) AS i GROUP BY g EMIT FINAL",
        "SELECT a.t, b.v FROM a JOIN b ON a.k = b.k AND a.v > b.v",
        "SELECT a.t, b.t AS other FROM a LEFT JOIN b ON a.t = b.t",
        "SELECT k FROM a WHERE k NOT IN (SELECT k FROM b WHERE v > 5000)",
        "SELECT x.k, x.n, b.v FROM (SELECT k, count(*) AS n FROM a GROUP BY k) AS x JOIN b ON x.k = b.k",
        "SELECT a.t, b.v FROM a JOIN b ON a.k = b.k KEEP LAST EMIT FINAL",
        "SELECT a.t, b.v FROM a JOIN b ON a.k = b.k KEEP PRODUCT EMIT FINAL",
        "SELECT k, v, t FROM a ORDER BY v EMIT FINAL",
        "SELECT k, array_agg(v) FROM a GROUP BY k, COLLECT(max_rows => 10, timeout => INTERVAL '1 hour')",
    ] {
        let (said, allocated) = said_and_allocated(sql);
        let share = said as f64 / allocated as f64;
        assert!((0.8..=1.2).contains(&share), "{sql}: says {said}, and {allocated} are allocated: {share:.2}");
    }
}

#[test]
fn what_a_table_says_it_keeps_has_been_allocated() {
    let engine = engine("CREATE TABLE t (k BIGINT, v BIGINT, t VARCHAR, PRIMARY KEY (k))");
    let mut table = engine.appender("t").unwrap();
    let before = held();
    (0..BATCHES).for_each(|batch| table.append(rows(batch)).unwrap());
    let allocated = usize::try_from(held() - before).unwrap();
    let said = engine.lock(|core| crate::operators::Operator::state_size(&core.graph.tables["t"]).bytes);
    let share = said as f64 / allocated as f64;
    assert!((0.8..=1.2).contains(&share), "says {said}, and {allocated} are allocated");
}

#[test]
fn slices_of_one_batch_are_counted_once() {
    let engine = engine("CREATE STREAM a (k BIGINT, v BIGINT, t VARCHAR); SET batch_rows = 16");
    let query = engine.query("SELECT k, v, t FROM a ORDER BY v EMIT FINAL").unwrap();
    engine.appender("a").unwrap().append(rows(0)).unwrap();
    let one = rows(0).get_array_memory_size();
    assert!(query.state_size().bytes < 2 * one, "{} bytes for rows of {one}", query.state_size().bytes);
}

/// What has stopped a query.
fn failure(query: &mut Query) -> Error {
    query.poll().unwrap_err()
}

#[test]
fn a_query_that_keeps_too_much_is_stopped_and_frees_what_it_kept() {
    let settings = Settings { max_state_bytes: 300_000, ..Settings::default() };
    let engine = Engine::builder().settings(settings).build().unwrap();
    engine.execute("CREATE STREAM a (k BIGINT, v BIGINT, t VARCHAR)").unwrap();
    let mut large = engine.query("SELECT t, count(*) FROM a GROUP BY t EMIT RUNNING").unwrap();
    let mut small = engine.query("SELECT count(*) AS n FROM a EMIT RUNNING").unwrap();
    let mut appender = engine.appender("a").unwrap();
    (0..BATCHES).for_each(|batch| appender.append(rows(batch)).unwrap());
    let stopped = failure(&mut large);
    assert_eq!(stopped.code(), Code::StateLimit);
    let Error::Limit(limit) = &stopped else { panic!("{stopped}") };
    let state = limit.state.as_ref().unwrap();
    assert!(state.total > 300_000 && state.total < 600_000 && state.limit == 300_000, "{state:?}");
    assert!(state.operator.starts_with("Aggregate: keys (a.t)") && state.query == "a running query", "{state:?}");
    assert_eq!(large.state_size().bytes, 0);
    assert_eq!(small.poll().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), (BATCHES * ROWS) as usize);
}

#[test]
fn a_join_is_stopped_in_the_midst_of_a_batch() {
    let engine = engine("CREATE STREAM a (k BIGINT); CREATE STREAM b (k BIGINT)");
    let options = QueryOptions { max_state_bytes: Some(1_000_000), ..QueryOptions::default() };
    let sql = "SELECT a.k, b.k AS other FROM a JOIN b ON a.k = b.k";
    let mut query = engine.query_with_options(sql, Parameters::default(), options).unwrap();
    let same = |rows: usize| {
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![7; rows]));
        RecordBatch::try_from_iter_with_nullable([("k", keys, true)]).unwrap()
    };
    engine.appender("a").unwrap().append(same(4_000)).unwrap();
    let before = held();
    engine.appender("b").unwrap().append(same(4_000)).unwrap();
    let stopped = failure(&mut query);
    assert_eq!(stopped.code(), Code::StateLimit);
    assert!(stopped.to_string().contains("Join: INNER a, b"), "{stopped}");
    assert!(held() - before < 1_200_000, "sixteen million pairs were not made");
}

#[test]
fn a_limit_is_of_one_stream_or_sink() {
    let engine = engine("CREATE STREAM a (k BIGINT, v BIGINT, t VARCHAR)");
    engine
        .execute("CREATE STREAM small WITH (max_state_bytes = '100kB') AS SELECT t, count(*) AS n FROM a GROUP BY t EMIT RUNNING")
        .unwrap();
    engine.execute("CREATE STREAM large AS SELECT t, count(*) AS n FROM a GROUP BY t EMIT RUNNING").unwrap();
    engine.execute("DECLARE c CURSOR FOR SELECT n FROM small; DECLARE d CURSOR FOR SELECT n FROM large").unwrap();
    engine.appender("a").unwrap().append(rows(0)).unwrap();
    let stopped = error(&engine, "FETCH ALL FROM c");
    assert_eq!(stopped.code(), Code::StateLimit);
    assert!(stopped.to_string().starts_with("stream \"small\" keeps"), "{stopped}");
    assert_eq!(answer(&engine, "FETCH ALL FROM d").len(), ROWS as usize);
}

#[test]
fn all_queries_and_tables_have_a_limit_together() {
    let engine = engine("CREATE STREAM a (k BIGINT, v BIGINT, t VARCHAR)");
    engine.execute("CREATE TABLE t (k BIGINT, v BIGINT, t VARCHAR, PRIMARY KEY (k))").unwrap();
    let mut first = engine.query("SELECT t, count(*) FROM a GROUP BY t EMIT FINAL").unwrap();
    let mut appender = engine.appender("a").unwrap();
    appender.append(rows(0)).unwrap();
    let one = first.state_size().bytes;
    engine.execute(&format!("SET max_total_state_bytes = {}", 2 * one)).unwrap();
    let mut second = engine.query("SELECT k, t, sum(v) FROM a GROUP BY k, t EMIT FINAL").unwrap();
    appender.append(rows(0)).unwrap();
    let refused = engine.appender("t").unwrap().append((0..8).fold(rows(0), |all, batch| {
        arrow::compute::concat_batches(&all.schema(), &[all.clone(), rows(batch)]).unwrap()
    }));
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::StateLimit);
    assert_eq!(answer(&engine, "SHOW TABLES"), ["t k 0"], "the table has taken nothing in");
    appender.append(rows(1)).unwrap();
    let states = [first.poll().err(), second.poll().err()];
    let stopped: Vec<Error> = states.into_iter().flatten().collect();
    assert!(!stopped.is_empty());
    assert!(stopped.iter().all(|error| error.message().starts_with("all queries and tables keep")), "{stopped:?}");
    assert!(first.state_size().bytes + second.state_size().bytes <= 2 * one);
}

/// The resident memory of this process in kB, now (`VmRSS`) or at most so far (`VmHWM`).
#[cfg(target_os = "linux")]
fn resident(what: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_the_process_stays_near_the_limit() {
    let test = "engine::tests::memory::a_join_in_a_process_of_its_own";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "run by the test before it, in a process that does nothing else"]
fn a_join_in_a_process_of_its_own() {
    const LIMIT: usize = 48_000_000;
    let engine =
        engine("CREATE STREAM a (k BIGINT, v BIGINT, t VARCHAR); CREATE STREAM b (k BIGINT, v BIGINT, t VARCHAR)");
    engine.execute(&format!("SET max_state_bytes = {LIMIT}")).unwrap();
    let mut join = engine.query("SELECT a.t, b.t AS other FROM a JOIN b ON a.k = b.k AND a.v < b.v").unwrap();
    let mut other = engine.query("SELECT count(*) AS n FROM a EMIT RUNNING").unwrap();
    let mut sides = ["a", "b"].map(|name| engine.appender(name).unwrap());
    let before = resident("VmRSS");
    let (mut batch, mut counted) = (0, 0);
    let stopped = loop {
        sides.iter_mut().for_each(|side| side.append(rows(batch)).unwrap());
        counted += other.poll().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
        batch += 1;
        if let Err(error) = join.poll() {
            break error;
        }
    };
    let grown = (resident("VmHWM") - before) * 1_024;
    assert_eq!(stopped.code(), Code::StateLimit);
    assert_eq!(counted, (batch * ROWS) as usize, "the other query goes on");
    sides[0].append(rows(batch)).unwrap();
    assert_eq!(other.poll().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), ROWS as usize);
    println!("{batch} batches a side, grown by {grown} bytes, limit {LIMIT}");
    assert!(grown <= LIMIT + LIMIT / 5, "grown by {grown} bytes, and {LIMIT} are allowed");
    assert!(grown >= LIMIT / 2, "grown by {grown} bytes only, and {LIMIT} are allowed");
}
