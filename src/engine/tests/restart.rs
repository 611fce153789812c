//! `RESTART` takes back what was done since the last checkpoint.

use super::{answer, engine};

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
