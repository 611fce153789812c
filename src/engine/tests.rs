//! The engine as its users see it: statements in, rows out.

mod memory;
mod restart;
mod views;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::display::array_value_to_string;
use futures_core::Stream;

use super::{Engine, Outcome, Settings};
use crate::error::{Code, Error};
use crate::plan::ChangelogMode;
use crate::runtime::clock::ManualClock;
use crate::types::{Interval, Timestamp, Value};

/// The rows of batches, cells parted by spaces.
fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let row = |batch: &RecordBatch, row: usize| {
        let cells: Vec<String> =
            batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap()).collect();
        cells.join(" ")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>()).collect()
}

/// The rows of the last statement of `sql`.
fn answer(engine: &Engine, sql: &str) -> Vec<String> {
    match engine.run(sql).unwrap().pop() {
        Some(Outcome::Rows { batches, .. }) => shown(&batches),
        other => panic!("no rows but {other:?}"),
    }
}

fn error(engine: &Engine, sql: &str) -> Error {
    engine.run(sql).unwrap_err()
}

fn engine(sql: &str) -> Engine {
    let engine = Engine::new();
    engine.execute("SET clock = 'manual'").unwrap();
    engine.execute(sql).unwrap();
    engine
}

fn numbers(values: &[i64]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_from_iter([("n", column)]).unwrap()
}

/// An engine that may use a new directory, and that directory.
fn engine_with_files() -> (Engine, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::builder().allow_directory(directory.path()).build().unwrap();
    (engine, directory)
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

const STREAM: &str = "CREATE STREAM s (n BIGINT);";

#[test]
fn a_cursor_gives_what_was_emitted_since_the_last_fetch() {
    let engine = engine(STREAM);
    engine.execute("DECLARE c CURSOR FOR SELECT n + 1 AS m FROM s WHERE n > 1").unwrap();
    engine.execute("INSERT INTO s VALUES (1), (2), (3)").unwrap();
    assert_eq!(answer(&engine, "FETCH 1 FROM c"), ["3"]);
    engine.execute("INSERT INTO s VALUES (4)").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["4", "5"]);
    assert!(answer(&engine, "FETCH ALL FROM c").is_empty());
    engine.execute("CLOSE c").unwrap();
    assert_eq!(error(&engine, "FETCH ALL FROM c").code(), Code::UnknownName);
}

#[test]
fn a_bounded_query_is_run_to_its_end() {
    assert_eq!(answer(&engine(""), "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v (n, t)"), ["1 a", "2 b"]);
}

#[test]
fn a_query_over_an_open_stream_is_started_and_over_a_closed_one_ends() {
    let engine = engine(STREAM);
    assert!(matches!(engine.run("SELECT n FROM s").unwrap().pop(), Some(Outcome::Started(_))));
    engine.execute("INSERT INTO s VALUES (1); CLOSE STREAM s").unwrap();
    assert!(answer(&engine, "SELECT n FROM s").is_empty());
    assert_eq!(error(&engine, "INSERT INTO s VALUES (2)").code(), Code::Closed);
    assert_eq!(engine.appender("s").unwrap().append(numbers(&[1])).unwrap_err().code(), Code::Closed);
}

#[test]
fn an_appender_feeds_batches_and_rows() {
    let engine = engine(STREAM);
    let mut query = engine.query("SELECT n FROM s").unwrap();
    let mut stream = engine.appender("s").unwrap();
    stream.append(numbers(&[1, 2])).unwrap();
    stream.append_row((3i64,)).unwrap();
    assert_eq!(shown(&query.poll().unwrap()), ["1", "2", "3"]);
    assert!(!query.is_finished());
    stream.close().unwrap();
    assert!(query.is_finished());
}

#[test]
fn a_batch_that_does_not_fit_is_refused_by_column() {
    let engine = engine("CREATE STREAM s (n BIGINT NOT NULL)");
    let mut stream = engine.appender("s").unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    for (name, column) in [("n", text), ("m", nulls.clone()), ("n", nulls)] {
        let error =
            stream.append(RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap()).unwrap_err();
        assert_eq!(error.code(), Code::SchemaMismatch);
        assert!(error.to_string().contains("column \"n\""), "{error}");
    }
    assert_eq!(engine.appender("t").unwrap_err().code(), Code::UnknownRelation);
}

#[test]
fn readers_of_a_table_start_with_its_rows_and_follow_its_changes() {
    let engine =
        engine("CREATE TABLE t (k BIGINT, v VARCHAR, PRIMARY KEY (k)); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    engine.execute("DECLARE c CURSOR FOR SELECT * FROM t").unwrap();
    engine.execute("INSERT INTO t VALUES (2, 'c'); DELETE FROM t WHERE v = 'a'").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["+I 1 a", "+I 2 b", "-U 2 b", "+U 2 c", "-D 1 a"]);
    engine.execute("CLOSE STREAM t").unwrap();
    assert_eq!(answer(&engine, "SELECT * FROM t"), ["+I 2 c"]);
}

#[test]
fn a_table_that_is_closed_before_it_was_read_still_gives_its_rows() {
    let engine = engine("CREATE TABLE t (k BIGINT, PRIMARY KEY (k)); INSERT INTO t VALUES (1)");
    engine.execute("DECLARE c CURSOR FOR SELECT * FROM t; CLOSE STREAM t").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["+I 1"]);
}

#[test]
fn rows_are_deleted_by_key() {
    let engine = engine(
        "CREATE TABLE t (v VARCHAR NOT NULL, n BIGINT, PRIMARY KEY (n)); INSERT INTO t VALUES ('a', 1), ('b', 2)",
    );
    let mut table = engine.appender("t").unwrap();
    table.delete(&numbers(&[1, 7])).unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["b"]));
    assert!(table.delete(&RecordBatch::try_from_iter([("v", text)]).unwrap()).is_err());
    let null: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    let refused = table.delete(&RecordBatch::try_from_iter_with_nullable([("n", null, true)]).unwrap()).unwrap_err();
    assert_eq!(refused.code(), Code::SchemaMismatch);
    assert!(!table.schema().field(1).is_nullable(), "a key is NOT NULL without being told");
    assert_eq!(answer(&engine, "SHOW TABLES"), ["t n 1"]);
}

#[test]
fn a_derived_stream_is_shared_and_a_late_reader_sees_what_comes() {
    let engine = engine(STREAM);
    engine.execute("CREATE STREAM d AS SELECT n * 10 AS m FROM s; DECLARE early CURSOR FOR SELECT m FROM d").unwrap();
    engine.execute("INSERT INTO s VALUES (1); DECLARE late CURSOR FOR SELECT m + 1 FROM d").unwrap();
    engine.execute("INSERT INTO s VALUES (2); CLOSE STREAM s").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM early"), ["10", "20"]);
    assert_eq!(answer(&engine, "FETCH ALL FROM late"), ["21"]);
    assert!(answer(&engine, "SELECT m FROM d").is_empty(), "its end has gone on to it");
}

#[test]
fn the_rows_of_a_diamond_come_one_by_one() {
    let engine = engine(STREAM);
    engine.execute("CREATE STREAM d AS SELECT n * 10 AS n FROM s").unwrap();
    engine.execute("DECLARE direct CURSOR FOR SELECT n FROM s UNION ALL SELECT -n FROM s").unwrap();
    engine.execute("DECLARE derived CURSOR FOR SELECT n FROM s UNION ALL SELECT n FROM d").unwrap();
    engine.execute("INSERT INTO s VALUES (1), (2)").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM direct"), ["1", "-1", "2", "-2"]);
    assert_eq!(answer(&engine, "FETCH ALL FROM derived"), ["1", "10", "2", "20"]);
}

#[test]
fn a_limit_ends_its_query_and_stops_reading() {
    let engine = engine(STREAM);
    let mut query = engine.query("SELECT n FROM s LIMIT 2").unwrap();
    engine.execute("INSERT INTO s VALUES (1), (2), (3)").unwrap();
    assert_eq!(shown(&query.poll().unwrap()), ["1", "2"]);
    assert!(query.is_finished());
    let none = engine.query("SELECT n FROM s LIMIT 0").unwrap();
    assert!(none.is_finished());
}

#[test]
fn an_error_stops_its_query_and_no_other() {
    let engine = engine(STREAM);
    engine.execute("DECLARE bad CURSOR FOR SELECT 10 / n FROM s; DECLARE good CURSOR FOR SELECT n FROM s").unwrap();
    engine.execute("INSERT INTO s VALUES (1), (0); INSERT INTO s VALUES (5)").unwrap();
    assert_eq!(error(&engine, "FETCH ALL FROM bad").code(), Code::Value);
    assert_eq!(error(&engine, "FETCH ALL FROM bad").code(), Code::Value);
    assert_eq!(answer(&engine, "FETCH ALL FROM good"), ["1", "0", "5"]);
}

#[test]
fn what_is_read_cannot_be_dropped() {
    let engine = engine(STREAM);
    engine.execute("CREATE VIEW v AS SELECT n FROM s; DECLARE c CURSOR FOR SELECT n FROM v").unwrap();
    let refused = error(&engine, "DROP STREAM s");
    assert!(refused.to_string().contains("view \"v\", cursor \"c\""), "{refused}");
    assert!(error(&engine, "DROP VIEW v").to_string().contains("cursor \"c\""));
    assert!(error(&engine, "DROP TABLE s").hint().unwrap().contains("DROP STREAM s"));
    engine.execute("CLOSE c; DROP VIEW v; DROP STREAM s; DROP STREAM IF EXISTS s").unwrap();
    assert_eq!(error(&engine, "DROP STREAM s").code(), Code::UnknownRelation);
    assert!(answer(&engine, "SHOW ALL").is_empty());
}

#[test]
fn a_name_that_is_taken_is_refused_kept_or_replaced() {
    let engine = engine(STREAM);
    assert_eq!(error(&engine, "CREATE VIEW s AS SELECT 1").code(), Code::Duplicate);
    engine.execute("CREATE STREAM IF NOT EXISTS s (other VARCHAR)").unwrap();
    assert_eq!(answer(&engine, "DESCRIBE s"), ["n BIGINT yes"]);
    engine.execute("CREATE OR REPLACE STREAM s (t VARCHAR NOT NULL)").unwrap();
    assert_eq!(answer(&engine, "DESCRIBE s"), ["t VARCHAR no"]);
    assert!(engine.run("CREATE OR REPLACE VIEW s AS SELECT * FROM s").is_err());
}

#[test]
fn settings_are_set_and_shown() {
    let engine = engine("SET batch_rows = 7");
    assert_eq!(answer(&engine, "SHOW batch_rows"), ["7"]);
    assert_eq!(answer(&engine, "SHOW clock"), ["manual"]);
    assert_eq!(error(&engine, "SET clock = 'wall'").code(), Code::InvalidArgument);
}

#[test]
fn the_clock_is_advanced_by_hand_and_never_goes_back() {
    let engine = engine("ADVANCE CLOCK BY INTERVAL '5 seconds'");
    assert_eq!(engine.now(), Timestamp::from_millis(5_000));
    assert_eq!(error(&engine, "ADVANCE CLOCK TO TIMESTAMP '1970-01-01 00:00:01'").code(), Code::InvalidArgument);
    engine.execute("SET clock = 'system'").unwrap();
    assert_eq!(error(&engine, "ADVANCE CLOCK BY INTERVAL '5 seconds'").code(), Code::InvalidArgument);
}

#[test]
fn the_clock_is_the_hosts() {
    let clock = ManualClock::new(Timestamp::from_millis(1));
    let engine = Engine::builder().clock(clock).build().unwrap();
    assert_eq!(engine.now(), Timestamp::default(), "nothing has been read");
    engine.tick().unwrap();
    assert_eq!(engine.now(), Timestamp::default() + Interval::from_millis(1));
}

#[test]
fn a_restart_resumes_from_the_last_checkpoint() {
    let engine = engine(STREAM);
    engine.execute("CREATE TABLE t (k BIGINT, PRIMARY KEY (k)); DECLARE c CURSOR FOR SELECT n FROM s").unwrap();
    engine.execute("INSERT INTO s VALUES (1); INSERT INTO t VALUES (1); CHECKPOINT").unwrap();
    engine.execute("INSERT INTO s VALUES (2); INSERT INTO t VALUES (2); CLOSE STREAM s").unwrap();
    engine.execute("DECLARE new CURSOR FOR SELECT n FROM s").unwrap();
    engine.execute("RESTART; INSERT INTO s VALUES (3)").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["1", "3"]);
    assert_eq!(answer(&engine, "FETCH ALL FROM new"), ["3"]);
    assert_eq!(answer(&engine, "SHOW TABLES"), ["t k 1"]);
}

#[test]
fn a_limit_is_remembered_over_restarts() {
    let engine = engine(STREAM);
    engine.execute("DECLARE c CURSOR FOR SELECT n FROM s LIMIT 3").unwrap();
    for n in 1..=5 {
        engine.execute(&format!("INSERT INTO s VALUES ({n}); CHECKPOINT; RESTART")).unwrap();
    }
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["1", "2", "3"]);
}

#[test]
fn a_restart_without_a_checkpoint_starts_empty() {
    let engine = engine(STREAM);
    engine.execute("DECLARE c CURSOR FOR SELECT n FROM s; INSERT INTO s VALUES (1); RESTART").unwrap();
    assert!(answer(&engine, "FETCH ALL FROM c").is_empty());
}

#[test]
fn what_a_query_gives_that_changes_is_put_into_a_table_as_it_is() {
    let engine = engine("CREATE STREAM s (n BIGINT); CREATE TABLE t (odd BIGINT PRIMARY KEY, total BIGINT)");
    let mut query = engine.query("SELECT n % 2 AS odd, sum(n) AS total FROM s GROUP BY n % 2").unwrap();
    let (mut from, mut to) = (engine.appender("s").unwrap(), engine.appender("t").unwrap());
    for values in [vec![1, 2], vec![3], vec![5, 4]] {
        from.append(numbers(&values)).unwrap();
        for changes in query.poll().unwrap() {
            to.apply(changes).unwrap();
        }
    }
    let op: ArrayRef = Arc::new(StringArray::from(vec!["-D", "gone"]));
    let ones: ArrayRef = Arc::new(Int64Array::from(vec![1, 1]));
    let schema = crate::types::changelog_schema(to.schema());
    let bad = RecordBatch::try_new(schema, vec![op, ones.clone(), ones]).unwrap();
    assert_eq!(
        to.apply(bad.clone()).unwrap_err().to_string(),
        "t: column \"op\": row 2: \"gone\" is none of +I, -U, +U and -D"
    );
    assert_eq!(from.apply(bad.clone()).unwrap_err().code(), Code::InvalidArgument);
    to.close().unwrap();
    assert_eq!(answer(&engine, "SELECT * FROM t ORDER BY odd"), ["0 6", "1 9"]);
    assert_eq!(to.apply(bad.slice(0, 1)).unwrap_err().code(), Code::Closed);
}

#[test]
fn parameters_are_given_from_rust() {
    let engine = engine(STREAM);
    engine.execute_with("INSERT INTO s VALUES ($1), ($2)", [Value::from(1i64), Value::from(2i64)]).unwrap();
    engine.execute("CREATE TABLE t (k BIGINT, word VARCHAR, PRIMARY KEY (k)); INSERT INTO t VALUES (1, 'a')").unwrap();
    let values = [Value::from("b"), Value::from(1i64)];
    engine.execute_with("UPDATE t SET word = $1 || '!', k = k + $2 WHERE k = $2", values).unwrap();
    engine.execute("CLOSE STREAM t").unwrap();
    assert_eq!(answer(&engine, "SELECT k, word FROM t"), ["+I 2 b!"]);
    let mut query = engine.query_with("SELECT $n + 1", [("n", Value::from(1i64))]).unwrap();
    assert_eq!(shown(&query.poll().unwrap()), ["2"]);
}

#[test]
fn rows_are_read_as_rust_types() {
    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Item {
        n: i64,
        t: String,
    }
    let mut query = engine("").query("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v (n, t)").unwrap();
    let items: Vec<Item> = query.rows().collect::<Result<_, _>>().unwrap();
    assert_eq!(items[1], Item { n: 2, t: "b".into() });
}

#[test]
fn a_stream_of_batches_waits_and_is_woken() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let engine = engine(STREAM);
    let woken = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut stream = engine.query("SELECT n FROM s").unwrap().into_stream();
    assert!(Pin::new(&mut stream).poll_next(&mut context).is_pending());
    engine.execute("INSERT INTO s VALUES (1)").unwrap();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(matches!(Pin::new(&mut stream).poll_next(&mut context), Poll::Ready(Some(Ok(_)))));
    assert!(Pin::new(&mut stream).poll_next(&mut context).is_pending());
    engine.execute("CLOSE STREAM s").unwrap();
    assert!(matches!(Pin::new(&mut stream).poll_next(&mut context), Poll::Ready(None)));
}

#[test]
fn dropping_a_query_lets_its_stream_be_dropped() {
    let engine = engine(STREAM);
    let query = engine.query("SELECT n FROM s").unwrap();
    assert!(error(&engine, "DROP STREAM s").to_string().contains("a running query"));
    drop(query);
    engine.execute("DROP STREAM s").unwrap();
}

#[test]
fn a_cancelled_query_fails_when_it_is_asked() {
    let engine = engine(STREAM);
    let mut query = engine.query("SELECT n FROM s").unwrap();
    query.cancel_handle().cancel();
    assert!(!query.is_finished(), "its error has not been told yet");
    assert_eq!(query.poll().unwrap_err().code(), Code::Cancelled);
    assert!(query.is_finished());
    engine.cancel_handle().cancel();
    assert_eq!(error(&engine, "SELECT 1").code(), Code::Cancelled);
    assert_eq!(answer(&engine, "SELECT 1"), ["1"]);
}

#[test]
fn rows_that_nobody_fetches_are_limited() {
    let settings = Settings { max_output_rows: 2, ..Settings::default() };
    let engine = Engine::builder().settings(settings).build().unwrap();
    engine.execute("CREATE STREAM s (n BIGINT); DECLARE c CURSOR FOR SELECT n FROM s").unwrap();
    engine.execute("INSERT INTO s VALUES (1), (2); INSERT INTO s VALUES (3)").unwrap();
    assert_eq!(error(&engine, "FETCH ALL FROM c").code(), Code::Limit);
}

#[test]
fn a_file_is_read_batch_by_batch_and_before_live_rows() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "n.csv");
    std::fs::write(&file, "n\n1\n2\n3\n").unwrap();
    engine.execute(&format!("CREATE STREAM f WITH (path = '{file}'); CREATE STREAM s (n BIGINT)")).unwrap();
    assert_eq!(answer(&engine, &format!("SELECT n FROM '{file}' WHERE n > 1")), ["2", "3"]);
    engine.execute("CREATE STREAM both AS SELECT n FROM f UNION ALL SELECT n FROM s").unwrap();
    engine
        .execute(
            "DECLARE c CURSOR FOR SELECT n FROM both; DECLARE d CURSOR FOR SELECT n FROM s UNION ALL SELECT n FROM f",
        )
        .unwrap();
    engine.execute("INSERT INTO s VALUES (4)").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["1", "2", "3", "4"]);
    assert_eq!(answer(&engine, "FETCH ALL FROM d"), ["1", "2", "3", "4"]);
    engine.execute("CREATE STREAM again AS SELECT n * 2 AS n FROM f").unwrap();
    for _ in 0..2 {
        assert_eq!(answer(&engine, "SELECT n FROM again"), ["2", "4", "6"], "each reader reads it anew");
    }
    assert_eq!(
        answer(&engine, "SELECT a.n FROM (SELECT n FROM f UNION ALL SELECT -n FROM f) AS a"),
        ["1", "-1", "2", "-2", "3", "-3"]
    );
    assert!(answer(&engine, "SHOW STREAMS").contains(&"f file 3 0 0".to_owned()));
}

#[test]
fn a_file_goes_on_after_a_restart_where_it_was() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "n.csv");
    std::fs::write(&file, "n\n1\n2\n3\n4\n5\n").unwrap();
    engine.execute(&format!("DECLARE c CURSOR FOR SELECT n FROM '{file}'")).unwrap();
    assert_eq!(answer(&engine, "FETCH 1 FROM c"), ["1"]);
    engine.execute("CHECKPOINT").unwrap();
    assert_eq!(answer(&engine, "FETCH 2 FROM c"), ["2", "3"]);
    engine.execute("RESTART").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["2", "3", "4", "5"]);
}

#[test]
fn results_are_written_to_files() {
    let (engine, directory) = engine_with_files();
    let out = |name: &str| path(directory.path(), name);
    let read = |name: &str| std::fs::read_to_string(out(name)).unwrap();
    engine.execute(&format!("COPY (SELECT 1 AS a) TO '{}'", out("copied.csv"))).unwrap();
    assert_eq!(read("copied.csv"), "a\n1\n");
    engine.execute(&format!("CREATE SINK whole WITH (path = '{}') AS SELECT 2 AS a", out("whole.csv"))).unwrap();
    assert_eq!(read("whole.csv"), "a\n2\n");
    engine
        .execute(&format!("CREATE STREAM s (n BIGINT); CREATE SINK live WITH (path = '{}')", out("live.csv")))
        .unwrap();
    engine.execute("INSERT INTO live SELECT n FROM s; INSERT INTO s VALUES (1), (2)").unwrap();
    assert!(error(&engine, "DROP STREAM s").to_string().contains("sink \"live\""));
    engine.execute("CLOSE STREAM s").unwrap();
    assert_eq!(read("live.csv"), "n\n1\n2\n");
    assert_eq!(error(&engine, "INSERT INTO live SELECT 3").code(), Code::Closed);
    assert_eq!(error(&engine, "COPY (SELECT * FROM nothing) TO 'x.csv'").code(), Code::UnknownRelation);
}

#[test]
fn a_sink_is_finished_when_the_last_engine_is_dropped() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "kept.csv");
    engine.execute("CREATE TABLE t (k BIGINT, PRIMARY KEY (k))").unwrap();
    engine
        .execute(&format!("CREATE SINK kept WITH (path = '{file}') AS SELECT k FROM t; INSERT INTO t VALUES (1)"))
        .unwrap();
    drop(engine);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "op,k\n+I,1\n");
}

#[test]
fn access_is_refused_unless_it_is_granted() {
    assert_eq!(error(&engine(""), "SELECT * FROM '/etc/passwd.csv'").code(), Code::AccessDenied);
}

#[test]
fn explain_gives_the_plan_and_analyze_what_it_did() {
    let engine = engine(STREAM);
    let text = |sql: &str| match engine.run(sql).unwrap().pop() {
        Some(Outcome::Text(text)) => text,
        other => panic!("no text but {other:?}"),
    };
    assert!(text("EXPLAIN SELECT n FROM s WHERE n > 1").contains("Source: s"));
    assert!(text("EXPLAIN ANALYZE SELECT * FROM (VALUES (1), (2)) AS v (n) WHERE n > 1").contains("out 1, 0.000 ms"));
    let sorted = text("EXPLAIN ANALYZE SELECT * FROM (VALUES (2), (1)) AS v (n) ORDER BY n");
    assert!(sorted.contains("rows in 2, out 2, state 2 rows in "), "what it kept before the end: {sorted}");
    let grouped = text("EXPLAIN ANALYZE SELECT n, count(*) FROM (VALUES (2), (1), (2)) AS v (n) GROUP BY n");
    assert!(grouped.contains("rows in 3, out 2, state 2 rows in "), "{grouped}");
    text("EXPLAIN ANALYZE SELECT n FROM s");
    engine.execute("DROP STREAM s").unwrap();
}

#[test]
fn a_changelog_is_not_inserted_into_a_stream() {
    let engine = engine("CREATE TABLE t (k BIGINT, PRIMARY KEY (k)); CREATE STREAM s (n BIGINT); CLOSE STREAM t");
    assert_eq!(error(&engine, "INSERT INTO s SELECT k FROM t").code(), Code::EmitMode);
    assert_eq!(engine.query("SELECT k FROM t").unwrap().mode(), ChangelogMode::Changelog);
}

#[test]
fn an_insert_that_never_ends_is_refused() {
    let engine = engine("CREATE STREAM a (n BIGINT); CREATE STREAM b (n BIGINT)");
    assert_eq!(error(&engine, "INSERT INTO b SELECT n FROM a").code(), Code::Unsupported);
    engine.execute("DROP STREAM a").unwrap();
}

#[test]
fn rows_are_cut_as_the_setting_says_with_the_same_answer() {
    let engine = engine("SET batch_rows = 1; CREATE STREAM s (n BIGINT); DECLARE c CURSOR FOR SELECT n FROM s");
    let mut query = engine.query("SELECT n FROM s").unwrap();
    engine.execute("INSERT INTO s VALUES (1), (2)").unwrap();
    assert_eq!(query.poll().unwrap().len(), 2);
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["1", "2"]);
}

#[test]
fn an_engine_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    fn sent<T: Send>() {}
    shared::<Engine>();
    sent::<super::Query>();
    sent::<super::Appender>();
}

#[test]
fn a_timer_runs_at_its_time_and_before_later_rows() {
    let engine = engine("CREATE STREAM e (k VARCHAR, v BIGINT)");
    let query = "SELECT k, array_agg(v) AS vs, close_reason() AS why FROM e GROUP BY k, COLLECT(max_rows => 9, timeout => INTERVAL '5 seconds')";
    engine.execute(&format!("DECLARE c CURSOR FOR {query}")).unwrap();
    engine
        .execute("INSERT INTO e VALUES ('a', 1); CHECKPOINT; RESTART; ADVANCE CLOCK BY INTERVAL '5 seconds'")
        .unwrap();
    engine.execute("INSERT INTO e VALUES ('a', 2); CLOSE STREAM e").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), ["a [1] timeout", "a [2] end"]);
}

#[test]
fn a_diamond_joins_row_by_row_however_the_rows_are_cut() {
    let mut answers = vec![];
    for batch_rows in [0, 1, 2] {
        let engine = engine(&format!("SET batch_rows = {batch_rows}; CREATE STREAM s (k BIGINT, v BIGINT)"));
        engine.execute("DECLARE c CURSOR FOR SELECT a.v AS l, b.v AS r FROM s a JOIN s b ON a.k = b.k KEEP PRODUCT EMIT RUNNING").unwrap();
        engine.execute("INSERT INTO s VALUES (1, 10), (1, 11), (2, 20), (1, 12)").unwrap();
        answers.push(answer(&engine, "FETCH ALL FROM c"));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert!(answers[0].contains(&"12 10".to_owned()), "{answers:?}");
}

#[test]
fn state_beyond_its_limit_stops_the_query_that_keeps_it() {
    let settings = Settings { max_state_bytes: 1, ..Settings::default() };
    let engine = Engine::builder().settings(settings).build().unwrap();
    engine
        .execute("CREATE STREAM s (n BIGINT); DECLARE c CURSOR FOR SELECT n, count(*) FROM s GROUP BY n EMIT RUNNING")
        .unwrap();
    engine.execute("INSERT INTO s VALUES (1), (2)").unwrap();
    let stopped = error(&engine, "FETCH ALL FROM c");
    assert_eq!(stopped.code(), Code::StateLimit);
    assert!(stopped.to_string().contains("Aggregate"), "{stopped}");
}

#[test]
fn many_checkpoints_and_restarts_keep_every_state() {
    let engine = engine("CREATE STREAM s (k BIGINT, v BIGINT)");
    engine.execute("DECLARE c CURSOR FOR SELECT k, sum(v) AS total FROM s GROUP BY k EMIT RUNNING").unwrap();
    let mut expected = vec![];
    let mut totals = [0; 3];
    for v in 1..=25 {
        let k = v % 3;
        totals[k] += v;
        expected.push(format!("{k} {}", totals[k]));
        engine.execute(&format!("INSERT INTO s VALUES ({k}, {v}); CHECKPOINT; RESTART")).unwrap();
    }
    assert_eq!(answer(&engine, "FETCH ALL FROM c"), expected);
}

#[test]
fn bad_rows_are_counted_and_can_be_read() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "bad.csv");
    std::fs::write(&file, "n\n1\nx\n3\n").unwrap();
    engine.execute(&format!("CREATE STREAM f (n BIGINT) WITH (path = '{file}', on_error = 'dead_letter')")).unwrap();
    assert_eq!(answer(&engine, "SELECT n FROM f"), ["1", "3"]);
    assert_eq!(answer(&engine, "SELECT line, raw FROM ERRORS(f)"), ["3 x"]);
    assert_eq!(answer(&engine, "SHOW STREAMS"), ["f file 2 0 1"]);
}

#[test]
fn a_view_that_is_read_can_be_replaced_but_not_by_its_own_reader() {
    let engine = engine("CREATE VIEW a AS SELECT 1 AS n; CREATE VIEW b AS SELECT n FROM a");
    engine.execute("CREATE OR REPLACE VIEW a AS SELECT 2 AS n").unwrap();
    assert_eq!(answer(&engine, "SELECT n FROM b"), ["2"]);
    assert_eq!(error(&engine, "CREATE OR REPLACE VIEW a AS SELECT n FROM b").code(), Code::InvalidArgument);
    assert_eq!(error(&engine, "DROP VIEW a").code(), Code::InvalidArgument);
}

#[test]
fn progress_tells_rows_and_how_much_of_the_files_is_read() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "n.csv");
    std::fs::write(&file, "n\n1\n2\n3\n").unwrap();
    let progress = engine.progress();
    assert_eq!((progress.now().rows, progress.now().fraction), (0, None));
    engine.execute("SELECT 1").unwrap();
    assert_eq!((progress.now().rows, progress.now().fraction), (1, None), "what is written in a statement is no file");
    engine.execute(&format!("SELECT n FROM '{file}'")).unwrap();
    assert_eq!((progress.now().rows, progress.now().fraction), (4, Some(1.0)));
    let large = path(directory.path(), "large.csv");
    std::fs::write(&large, format!("n\n{}", "12345678\n".repeat(100_000))).unwrap();
    let mut query = engine.query(&format!("SELECT n FROM '{file}' UNION ALL SELECT n FROM '{large}'")).unwrap();
    query.next().unwrap().unwrap();
    assert_eq!(progress.now().rows, 7);
    let fraction = progress.now().fraction.unwrap();
    assert!((0.0..0.4).contains(&fraction), "the small one of two files, and the beginning of the other: {fraction}");
    while query.next().is_some() {}
    assert_eq!((progress.now().rows, progress.now().fraction), (100_007, Some(1.0)));
}

#[test]
fn a_running_query_tells_what_it_has_forgotten() {
    let engine = Engine::new();
    engine.execute("SET clock = 'manual'; SET state_ttl = INTERVAL '10 seconds'").unwrap();
    engine.execute("CREATE TABLE t (k BIGINT PRIMARY KEY, v BIGINT)").unwrap();
    for calls in ["row_number() OVER (PARTITION BY v ORDER BY k) <= 1", "sum(k) OVER (PARTITION BY v) > 0"] {
        let query = engine.query(&format!("SELECT k, v FROM t QUALIFY {calls}")).unwrap();
        engine.execute("INSERT INTO t VALUES (1, 7), (2, 7), (3, 8)").unwrap();
        engine.execute("ADVANCE CLOCK BY INTERVAL '10 seconds'; DELETE FROM t WHERE k < 3").unwrap();
        assert!(query.explain().contains("expired 2, ignored 2"), "{}", query.explain());
        engine.execute("DELETE FROM t WHERE k = 3").unwrap();
    }
}
