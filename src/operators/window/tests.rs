use super::*;
use crate::operators::testing::{Cut, check, check_cut, columns, planned};
use crate::plan::Node;

/// `SELECT … FROM s(k, v, at)` in windows that the watermark closes, kept for `lateness` ticks.
fn node(query: &str, lateness: i64) -> WindowAggregate {
    fn found(node: Node) -> WindowAggregate {
        match node {
            Node::WindowAggregate(node) => node,
            Node::Project(node) => found(*node.input),
            other => panic!("{other:?}"),
        }
    }
    let mut node = found(planned(&columns("k:text v:int at:int"), query));
    // The numbers of the input are those of the stream, whichever columns are read.
    node.window.closing = Closing::Watermark;
    node.window.lateness = lateness;
    node
}

fn run(query: &str, lateness: i64, cuts: &[Cut], script: &str) {
    let node = node(query, lateness);
    let input = node.input.schema();
    for cut in cuts {
        check_cut(std::slice::from_ref(&input), script, *cut, |snapshots| build(&node, snapshots));
    }
}

const BOTH: &[Cut] = &[Cut::Whole, Cut::Rows];

#[test]
fn a_window_speaks_once_when_the_watermark_reaches_its_end() {
    run(
        "SELECT k, window_start, window_end, window_time, sum(v) FROM s GROUP BY k, TUMBLE(at, 10) EMIT FINAL",
        0,
        BOTH,
        "0: a 1 1 | b 2 9 | a 4 10 | NULL 8 -1 | a 16 NULL | a 32 3 ->
         watermark 0ns -> NULL -10 0 -1 8
         watermark 9ns ->
         watermark 10ns -> a 0 10 9 33 | b 0 10 9 2
         0: c 64 10 ->
         end -> a 10 20 19 4 | c 10 20 19 64",
    );
}

#[test]
fn windows_of_no_key_and_of_no_row_say_nothing() {
    run("SELECT count(*) FROM s GROUP BY TUMBLE(at, 10) EMIT FINAL", 0, BOTH, "watermark 100ns -> \n end ->");
}

#[test]
fn overlapping_windows_each_count_a_row() {
    run(
        "SELECT window_start, window_end, window_time, count(*) FROM s GROUP BY HOP(at, 5, 10) EMIT FINAL",
        0,
        BOTH,
        "0: 7 | 2 | 12 ->
         watermark 5ns -> -5 5 4 1
         watermark 15ns -> 0 10 9 2 | 5 15 14 2
         end -> 10 20 19 1",
    );
}

#[test]
fn cumulating_windows_end_one_after_the_other() {
    run(
        "SELECT window_start, window_end, window_time, count(*) FROM s GROUP BY CUMULATE(at, 5, 10) EMIT FINAL",
        0,
        BOTH,
        "0: 7 | 2 | 12 ->
         watermark 5ns -> 0 5 4 1
         end -> 0 10 9 2 | 10 15 14 1 | 10 20 19 1",
    );
}

#[test]
fn a_window_that_is_kept_is_corrected() {
    run(
        "SELECT k, window_start, window_end, window_time, count(*) FROM s GROUP BY k, TUMBLE(at, 10) EMIT FINAL",
        5,
        &[Cut::Rows],
        "0: a 1 ->
         watermark 10ns -> +I a 0 10 9 1
         0: a 2 -> -U a 0 10 9 1 | +U a 0 10 9 2
         0: b 2 -> +I b 0 10 9 1
         watermark 15ns ->
         0: b 3 ->
         end ->",
    );
}

#[test]
fn changes_and_rows_as_they_come() {
    let query = "SELECT k, window_start, window_end, window_time, count(*) FROM s GROUP BY k, TUMBLE(at, 10)";
    run(
        &format!("{query} EMIT CHANGES"),
        0,
        &[Cut::Rows],
        "0: a 1 | a 11 | a 2 -> +I a 0 10 9 1 | +I a 10 20 19 1 | -U a 0 10 9 1 | +U a 0 10 9 2
         watermark 10ns ->
         end ->",
    );
    run(
        &format!("{query} EMIT RUNNING"),
        0,
        BOTH,
        "0: a 1 | b 11 | a 2 -> a 0 10 9 1 | b 10 20 19 1 | a 0 10 9 2
         watermark 10ns ->
         end ->",
    );
}

#[test]
fn early_results_gather_until_they_are_due() {
    run(
        "SELECT k, window_start, window_end, window_time, count(*) FROM s GROUP BY k, TUMBLE(at, 10)
         EMIT EVERY INTERVAL '5 milliseconds' AND FINAL",
        0,
        BOTH,
        "0: a 1 | a 2 ->
         clock 5 -> +I a 0 10 9 2
         0: a 3 | b 4 ->
         watermark 10ns -> -U a 0 10 9 2 | +U a 0 10 9 3 | +I b 0 10 9 1
         end ->",
    );
}

#[test]
fn rows_are_judged_by_the_watermark_before_them() -> Result<()> {
    let node = node("SELECT count(*) FROM s GROUP BY TUMBLE(at, 10) EMIT FINAL", 0);
    let mut operator = build(&node, &[])?;
    let mut out = Output::default();
    let rows = crate::operators::testing::batch(&node.input.schema(), "1 | 2 | 13 | NULL");
    operator.on_batch(Port(0), rows.with_watermarks(Some(vec![9, 10, 10, 10].into())), &mut out)?;
    let left = out.take_forgotten();
    assert_eq!((left.late, left.untimed), (1, 1));
    operator.on_eof(&mut out)?;
    let said: Vec<String> = out.drain().flat_map(|batch| crate::operators::testing::row_texts(&batch)).collect();
    assert_eq!(said, ["0 10 9 1", "10 20 19 1"]);
    Ok(())
}

#[test]
fn a_window_of_which_all_is_lost_is_not_kept() -> Result<()> {
    let node = node("SELECT count(*) FROM s GROUP BY TUMBLE(at, 10) EMIT FINAL", 0);
    check(&[node.input.schema()], "watermark 10ns -> \n 0: 3 | 4 -> \n end ->", |snapshots| build(&node, snapshots));
    Ok(())
}
