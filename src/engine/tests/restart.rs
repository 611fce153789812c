//! `RESTART` takes back what was done since the last checkpoint.

use super::*;

#[test]
fn a_query_over_a_closed_table_holds_when_the_table_is_open_again() {
    let engine =
        engine("CREATE TABLE t (k BIGINT, v BIGINT, PRIMARY KEY (k)); INSERT INTO t VALUES (1, 9); CHECKPOINT");
    engine.execute("INSERT INTO t VALUES (2, 8); CLOSE STREAM t").unwrap();
    engine.execute("DECLARE sorted CURSOR FOR SELECT k, v FROM t ORDER BY v").unwrap();
    engine.execute("DECLARE total CURSOR FOR SELECT sum(v) AS total FROM t").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM sorted"), ["2 8", "1 9"]);
    engine.execute("RESTART; INSERT INTO t VALUES (3, 5), (4, 7); DELETE FROM t WHERE k = 3").unwrap();
    assert!(answer(&engine, "FETCH ALL FROM sorted").is_empty(), "the table has not ended yet");
    engine.execute("CLOSE STREAM t").unwrap();
    assert_eq!(answer(&engine, "FETCH ALL FROM sorted"), ["4 7", "1 9"]);
    assert_eq!(answer(&engine, "FETCH ALL FROM total"), ["16"]);
}

const FORMATS: [&str; 5] = ["csv", "csv.gz", "jsonl", "parquet", "arrow"];

/// An engine with the stream `s`, whose rows go into a file of each format.
fn with_sinks() -> (Engine, tempfile::TempDir) {
    let (engine, directory) = engine_with_files();
    engine.execute(STREAM).unwrap();
    for (nth, format) in FORMATS.iter().enumerate() {
        let file = path(directory.path(), &format!("out.{format}"));
        engine.execute(&format!("CREATE SINK out{nth} WITH (path = '{file}') AS SELECT n FROM s")).unwrap();
    }
    (engine, directory)
}

fn assert_written(engine: &Engine, directory: &tempfile::TempDir, rows: &[&str]) {
    for format in FORMATS {
        let file = path(directory.path(), &format!("out.{format}"));
        assert_eq!(answer(engine, &format!("SELECT n FROM '{file}'")), rows, "{format}");
    }
}

#[test]
fn rows_in_sinks_are_taken_back() {
    let (engine, directory) = with_sinks();
    engine.execute("INSERT INTO s VALUES (1); CHECKPOINT; INSERT INTO s VALUES (8), (9); RESTART").unwrap();
    assert_eq!(answer(&engine, "SHOW SINKS")[0].split(' ').nth(2), Some("1"));
    engine.execute("INSERT INTO s VALUES (2); CHECKPOINT; CHECKPOINT; RESTART; INSERT INTO s VALUES (7)").unwrap();
    engine.execute("RESTART; RESTART; INSERT INTO s VALUES (3); CLOSE STREAM s").unwrap();
    assert_written(&engine, &directory, &["1", "2", "3"]);
}

#[test]
fn a_sink_that_was_finished_since_goes_on() {
    let (engine, directory) = with_sinks();
    engine.execute("INSERT INTO s VALUES (1); CHECKPOINT; INSERT INTO s VALUES (9); CLOSE STREAM s").unwrap();
    assert_written(&engine, &directory, &["1", "9"]);
    engine.execute("RESTART; INSERT INTO s VALUES (2)").unwrap();
    assert_written(&engine, &directory, &["1", "9"]);
    engine.execute("CLOSE STREAM s").unwrap();
    assert_written(&engine, &directory, &["1", "2"]);
    engine.execute("CHECKPOINT; RESTART").unwrap();
    assert_written(&engine, &directory, &["1", "2"]);
    assert!(answer(&engine, "SHOW SINKS").iter().all(|sink| sink.ends_with("2 finished")));
}

#[test]
fn without_a_checkpoint_a_sink_begins_anew() {
    let (engine, directory) = with_sinks();
    engine.execute("INSERT INTO s VALUES (9); RESTART; INSERT INTO s VALUES (1); CLOSE STREAM s").unwrap();
    assert_written(&engine, &directory, &["1"]);
    engine.execute("RESTART; INSERT INTO s VALUES (2); CLOSE STREAM s").unwrap();
    assert_written(&engine, &directory, &["2"]);
}

#[test]
fn a_sink_that_is_newer_than_the_checkpoint_begins_anew() {
    let (engine, directory) = engine_with_files();
    engine.execute(STREAM).unwrap();
    engine.execute("CHECKPOINT").unwrap();
    let (live, whole) = (path(directory.path(), "live.csv"), path(directory.path(), "whole.csv"));
    engine.execute(&format!("CREATE SINK live WITH (path = '{live}') AS SELECT n FROM s")).unwrap();
    engine.execute(&format!("CREATE SINK whole WITH (path = '{whole}') AS SELECT 5 AS n")).unwrap();
    engine.execute("INSERT INTO s VALUES (9); RESTART; INSERT INTO s VALUES (1); CLOSE STREAM s").unwrap();
    assert_eq!(answer(&engine, &format!("SELECT n FROM '{live}'")), ["1"]);
    assert_eq!(answer(&engine, &format!("SELECT n FROM '{whole}'")), ["5"], "its statement is over");
    assert!(answer(&engine, "SHOW SINKS").iter().all(|sink| sink.ends_with("1 finished")));
}

#[test]
fn an_insert_into_a_sink_is_taken_back_like_any_other() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "out.csv");
    engine.execute(&format!("CREATE SINK out (n BIGINT) WITH (path = '{file}'); CHECKPOINT")).unwrap();
    engine.execute("INSERT INTO out SELECT 9; RESTART; INSERT INTO out SELECT 1").unwrap();
    assert_eq!(answer(&engine, &format!("SELECT n FROM '{file}'")), ["1"]);
    assert_eq!(error(&engine, "INSERT INTO out SELECT 3").code(), Code::Closed);
}

#[test]
fn a_sink_that_has_failed_since_goes_on() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "out.csv");
    engine.execute(STREAM).unwrap();
    engine.execute(&format!("CREATE SINK out WITH (path = '{file}') AS SELECT 10 / n AS n FROM s")).unwrap();
    engine.execute("INSERT INTO s VALUES (2); CHECKPOINT").unwrap();
    assert!(engine.execute("INSERT INTO s VALUES (1), (0)").is_err());
    assert!(answer(&engine, "SHOW SINKS")[0].contains("failed"));
    engine.execute("RESTART; INSERT INTO s VALUES (5); CLOSE STREAM s").unwrap();
    assert_eq!(answer(&engine, &format!("SELECT n FROM '{file}'")), ["5", "2"]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn two_writers_of_a_sink_are_taken_back_together() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "out.csv");
    engine.execute(STREAM).unwrap();
    engine.execute("CREATE STREAM r (n BIGINT)").unwrap();
    engine.execute(&format!("CREATE SINK out (n BIGINT) WITH (path = '{file}')")).unwrap();
    engine.execute("INSERT INTO out SELECT n FROM s; INSERT INTO out SELECT -n FROM r").unwrap();
    engine.execute("INSERT INTO s VALUES (1); CLOSE STREAM s; INSERT INTO r VALUES (1); CHECKPOINT").unwrap();
    engine
        .execute("INSERT INTO r VALUES (9); CLOSE STREAM r; RESTART; INSERT INTO r VALUES (2); CLOSE STREAM r")
        .unwrap();
    assert_eq!(answer(&engine, &format!("SELECT n FROM '{file}'")), ["1", "-1", "-2"]);
}
