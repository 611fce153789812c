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

/// Runs rows with the watermarks before them through hopping windows, and gives what is said at the end, and how many
/// rows were late for a window.
fn hopping(query: &str, rows: &[(&str, i64)], cut: usize) -> Result<(Vec<String>, usize)> {
    let node = node(query, 0);
    let mut operator = build(&node, &[])?;
    let mut out = Output::default();
    for part in rows.chunks(cut) {
        let texts = part.iter().map(|(row, _)| *row).collect::<Vec<_>>().join(" | ");
        let before: Vec<i64> = part.iter().map(|(_, before)| *before).collect();
        let batch = crate::operators::testing::batch(&node.input.schema(), &texts);
        operator.on_batch(Port(0), batch.with_watermarks(Some(before.clone().into())), &mut out)?;
        operator.on_watermark(Timestamp::from_nanos(before.last().copied().unwrap_or_default()), &mut out)?;
    }
    operator.on_eof(&mut out)?;
    let late = out.take_forgotten().late;
    Ok((out.drain().flat_map(|batch| crate::operators::testing::row_texts(&batch)).collect(), late))
}

#[test]
fn a_row_that_is_late_for_some_windows_is_in_the_others() -> Result<()> {
    let rows = [("a 1 7", 0), ("a 2 12", 6), ("a 4 7", 12), ("b 8 3", 12), ("a 16 9", 14), ("a 32 9", 15)];
    for cut in 1..=rows.len() {
        let query =
            "SELECT k, window_start, window_end, window_time, sum(v) FROM s GROUP BY k, HOP(at, 5, 10) EMIT FINAL";
        let (said, late) = hopping(query, &rows, cut)?;
        assert_eq!(said, ["a 0 10 9 1", "a 5 15 14 23", "a 10 20 19 2"], "in batches of {cut}");
        // Of 7 and 9 one window each, of 3 and the last 9 both.
        assert_eq!(late, 6, "in batches of {cut}");
    }
    Ok(())
}

#[test]
fn floats_add_up_to_the_same_however_rows_are_cut() -> Result<()> {
    let rows = [("a 1 7", 0), ("a 9 8", 0), ("a 7 12", 10), ("a 3 8", 12), ("a 5 9", 12), ("a 11 13", 12)];
    let query = "SELECT k, window_start, window_end, window_time, sum(0.1::double * v) FROM s
                 GROUP BY k, HOP(at, 5, 10) EMIT FINAL";
    let whole = hopping(query, &rows, rows.len())?;
    for cut in 1..rows.len() {
        assert_eq!(hopping(query, &rows, cut)?, whole, "in batches of {cut}");
    }
    Ok(())
}

#[test]
fn lists_of_overlapping_windows_are_in_the_order_of_arrival() {
    run(
        "SELECT window_start, window_end, window_time, first_value(v), string_agg(k, '') FROM s
         GROUP BY HOP(at, 5, 10) EMIT FINAL",
        0,
        BOTH,
        "0: a 1 12 | b 2 7 | c 3 12 ->
         end -> 0 10 9 2 b | 5 15 14 1 abc | 10 20 19 1 ac",
    );
}

#[test]
fn overlapping_windows_keep_each_row_once() -> Result<()> {
    let node = node("SELECT k, count(*) FROM s GROUP BY k, HOP(at, 5, 500) EMIT FINAL", 0);
    let mut operator = build(&node, &[])?;
    let rows = crate::operators::testing::batch(&node.input.schema(), "a 7 | b 8 | a 14");
    operator.on_batch(Port(0), rows, &mut Output::default())?;
    assert_eq!(operator.state_size().rows, 3);
    assert_eq!(operator.waits().open_until, Some(10));
    Ok(())
}
