//! Materialized views as a host program sees them.

use super::*;
use crate::types::Row;

const TOTALS: &str = "CREATE STREAM s (k VARCHAR, n BIGINT);
    CREATE MATERIALIZED VIEW totals AS SELECT k, sum(n) AS total FROM s GROUP BY k;";

#[test]
fn a_view_is_read_whole_and_by_key_without_sql() {
    let engine = engine(TOTALS);
    let totals = engine.view("totals").unwrap();
    assert_eq!(totals.key().unwrap(), Some(vec!["k".to_owned()]));
    engine.execute("INSERT INTO s VALUES ('a', 1), (NULL, 2), ('a', 3)").unwrap();
    assert_eq!(shown(&[totals.rows().unwrap()]), ["a 4", " 2"]);
    let row = totals.get(("a",)).unwrap().unwrap();
    assert_eq!(Row::new(&row, 0).unwrap().get::<i64>("total").unwrap(), 4);
    assert_eq!(shown(&Vec::from_iter(totals.get(&[Value::Null]).unwrap())), [" 2"]);
    assert!(totals.get(("z",)).unwrap().is_none());
    assert_eq!(totals.rows().unwrap().num_rows(), 2, "asking leaves no trace");
    assert_eq!(totals.get((1, 2)).unwrap_err().code(), Code::SchemaMismatch);
    assert!(totals.state_size().unwrap().rows >= 2);
}

#[test]
fn a_key_of_several_columns_is_asked_for_in_its_order() {
    let engine = engine(
        "CREATE TABLE t (v BIGINT, b VARCHAR, a BIGINT, PRIMARY KEY (a, b));
         CREATE MATERIALIZED VIEW m AS SELECT * FROM t WHERE v > 0;
         INSERT INTO t VALUES (1, 'x', 7), (2, 'y', 7), (0, 'z', 7)",
    );
    let view = engine.view("m").unwrap();
    assert_eq!(view.key().unwrap(), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(shown(&Vec::from_iter(view.get((7, "y")).unwrap())), ["2 y 7"]);
    assert!(view.get((7, "z")).unwrap().is_none());
    assert_eq!(answer(&engine, "SELECT v FROM m WHERE b = 'x' AND 7 = a"), ["1"]);
    assert_eq!(answer(&engine, "SELECT v FROM m WHERE b = 'x' AND a = 7 AND v > 1"), [""; 0]);
    assert_eq!(
        answer(&engine, "SELECT l.v, r.v FROM m l JOIN m r ON l.a = r.a WHERE l.b = 'x' AND l.a = 7"),
        ["1 1", "1 2"]
    );
}

#[test]
fn a_view_that_cannot_be_read_says_why() {
    let engine = engine(TOTALS);
    let code = |name: &str| engine.view(name).unwrap_err().code();
    assert_eq!((code("nothing"), code("s")), (Code::UnknownRelation, Code::InvalidArgument));
    engine.execute("CREATE MATERIALIZED VIEW log AS SELECT n FROM s").unwrap();
    let (log, totals) = (engine.view("log").unwrap(), engine.view("totals").unwrap());
    assert_eq!(log.get((1,)).unwrap_err().code(), Code::InvalidArgument);
    engine.execute("INSERT INTO s VALUES ('a', 9223372036854775807); INSERT INTO s VALUES ('a', 1)").unwrap();
    for error in [totals.rows().unwrap_err(), totals.get(("a",)).unwrap_err(), error(&engine, "SELECT * FROM totals")] {
        assert_eq!(error.code(), Code::Value, "{error}");
    }
    assert_eq!(log.rows().unwrap().num_rows(), 2, "the others go on");
    engine.execute("DROP MATERIALIZED VIEW log").unwrap();
    assert_eq!(log.rows().unwrap_err().code(), Code::UnknownRelation);
}

#[test]
fn a_query_over_views_ends_and_one_that_asks_for_changes_goes_on() {
    let engine = engine(TOTALS);
    engine.execute("INSERT INTO s VALUES ('a', 1), ('b', 2)").unwrap();
    let mut now = engine.query("SELECT k, total FROM totals ORDER BY total DESC").unwrap();
    let mut follows = engine.query("SELECT k, total FROM totals EMIT CHANGES").unwrap();
    engine.execute("INSERT INTO s VALUES ('a', 3)").unwrap();
    assert_eq!(shown(&now.poll().unwrap()), ["b 2", "a 1"]);
    assert!(now.is_finished());
    assert_eq!(shown(&follows.poll().unwrap()), ["+I a 1", "+I b 2", "-U a 1", "+U a 4"]);
    assert!(!follows.is_finished());
}

#[test]
fn what_a_view_keeps_is_held_to_the_limit() {
    let engine = engine(STREAM);
    engine.execute("SET max_state_bytes = 20000; CREATE MATERIALIZED VIEW kept AS SELECT n FROM s").unwrap();
    engine.execute("CREATE MATERIALIZED VIEW sums AS SELECT sum(n) AS n FROM s").unwrap();
    for _ in 0..20 {
        engine.appender("s").unwrap().append(numbers(&[1; 1_000])).unwrap();
    }
    assert!(matches!(error(&engine, "SELECT * FROM kept"), Error::Limit(_)));
    assert_eq!(answer(&engine, "SELECT * FROM sums"), ["20000"]);
}

#[test]
fn what_a_view_needs_to_be_asked_does_not_upset_the_count_of_what_is_kept() {
    let engine = engine(TOTALS);
    for key in 0..100 {
        assert!(engine.view("totals").unwrap().get((format!("key {key}"),)).unwrap().is_none());
    }
    engine.execute("CHECKPOINT; DROP MATERIALIZED VIEW totals; SET max_total_state_bytes = '1MB'").unwrap();
    engine
        .execute("CREATE MATERIALIZED VIEW again AS SELECT count(*) AS n FROM s; INSERT INTO s VALUES ('a', 1)")
        .unwrap();
    assert_eq!(answer(&engine, "SELECT * FROM again"), ["1"]);
}

#[test]
fn the_rows_of_views_go_back_to_the_last_checkpoint() {
    let (engine, directory) = engine_with_files();
    let file = path(directory.path(), "in.csv");
    std::fs::write(&file, "n\n1\n2\n").unwrap();
    engine.execute(TOTALS).unwrap();
    engine.execute("INSERT INTO s VALUES ('a', 1); CHECKPOINT; INSERT INTO s VALUES ('a', 1), ('b', 1)").unwrap();
    engine
        .execute(&format!(
            "CREATE MATERIALIZED VIEW young AS SELECT k, total, n FROM totals CROSS JOIN '{file}';
             CREATE MATERIALIZED VIEW younger AS SELECT count(*) AS n FROM young; RESTART"
        ))
        .unwrap();
    assert_eq!(answer(&engine, "SELECT * FROM totals"), ["a 1"]);
    assert_eq!(answer(&engine, "SELECT * FROM young ORDER BY n"), ["a 1 1", "a 1 2"]);
    engine.execute("CHECKPOINT; INSERT INTO s VALUES ('a', 1), ('c', 1); RESTART").unwrap();
    engine.execute("INSERT INTO s VALUES ('c', 5); CHECKPOINT; RESTART").unwrap();
    assert_eq!(answer(&engine, "SELECT * FROM totals"), ["a 1", "c 5"]);
    assert_eq!(answer(&engine, "SELECT * FROM younger"), ["4"]);
}
