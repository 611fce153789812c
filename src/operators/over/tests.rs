//! Functions of the rows around a row, drawn. The plans are made of queries.

use arrow::datatypes::DataType;

use super::*;
use crate::operators::testing::{Cut, check, check_cut, columns, planned};
use crate::plan::Node;
use crate::plan::node::ChangelogMode;
use crate::types::Interval;

/// The `OVER` of a query over `s (k, v)`.
fn over(calls: &str, clause: &str) -> (SchemaRef, node::Over) {
    let input = columns("k:text v:int");
    let found = planned(&input, &format!("SELECT k, v, {calls} FROM s {clause}"));
    let Node::Over(over) = found.clone() else {
        let [Node::Over(over)] = found.inputs()[..] else { panic!("{found:?}") };
        return (input, over.clone());
    };
    (input, over)
}

fn draws((input, node): (SchemaRef, node::Over), script: &str) {
    check(&[input], script, |snapshots| build(&node, snapshots));
}

fn changing((input, mut node): (SchemaRef, node::Over)) -> (SchemaRef, node::Over) {
    (node.input_mode, node.emit) = (ChangelogMode::Changelog, OrderedEmit::Changes);
    (input, node)
}

#[test]
fn ranks_move_as_rows_come_between() {
    draws(
        over("rank() OVER (PARTITION BY k ORDER BY v) AS r, dense_rank() OVER (PARTITION BY k ORDER BY v) AS d", ""),
        "
        0: a 5 -> +I a 5 1 1
        0: a 5 -> +I a 5 1 1
        0: a 7 -> +I a 7 3 2
        0: b 1 -> +I b 1 1 1
        0: a 6 -> -U a 7 3 2 | +U a 7 4 3 | +I a 6 3 2
    ",
    );
}

#[test]
fn an_aggregate_of_the_partition_changes_all_its_rows() {
    draws(
        over("sum(v) OVER (PARTITION BY k) AS total", ""),
        "
        0: a 5 -> +I a 5 5
        0: b 1 -> +I b 1 1
        0: a 2 -> -U a 5 5 | +U a 5 7 | +I a 2 7
    ",
    );
}

#[test]
fn a_row_that_goes_changes_its_neighbours() {
    draws(
        changing(over("lag(v) OVER (PARTITION BY k ORDER BY v) AS before", "")),
        "
        0: +I a 5 -> +I a 5 NULL
        0: +I a 7 -> +I a 7 5
        0: +I a 7 -> +I a 7 7
        0: -D a 5 -> -U a 7 5 | +U a 7 NULL | -D a 5 NULL
        0: -U a 7 | +U a 9 -> -U a 7 7 | +U a 9 7
        0: -D a 9 -> -D a 9 7
        0: -D a 7 -> -D a 7 NULL
    ",
    );
}

#[test]
fn at_the_end_every_row_is_said_once() {
    draws(
        over("row_number() OVER (PARTITION BY k ORDER BY v DESC) AS nth", "EMIT FINAL"),
        "0: b 1 | a 5 ->\n 0: b 3 | a 4 ->\n end -> b 3 1 | b 1 2 | a 5 1 | a 4 2",
    );
}

#[test]
fn in_order_of_arrival_each_row_is_said_as_it_comes() {
    draws(
        over(
            "row_number() OVER (PARTITION BY k) AS nth, lag(v) OVER (PARTITION BY k) AS before,
             sum(v) OVER (PARTITION BY k ROWS UNBOUNDED PRECEDING) AS total,
             sum(v) OVER (PARTITION BY k ROWS 1 PRECEDING) AS two,
             avg(v) OVER (PARTITION BY k ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) AS earlier",
            "",
        ),
        "
        0: a 5 | b 1 -> a 5 1 NULL 5 5 NULL | b 1 1 NULL 1 1 NULL
        0: a 2 | a 4 | b 3 -> a 2 2 5 7 7 5.0 | a 4 3 2 11 6 3.5 | b 3 2 1 4 4 1.0
        0: a NULL -> a NULL 4 4 11 4 3.0
        0: a 1 -> a 1 5 NULL 12 1 4.0
    ",
    );
}

#[test]
fn running_is_the_whole_partition_as_it_is_after_the_row() {
    draws(
        over("max(v) OVER (PARTITION BY k) AS best, count(*) OVER (PARTITION BY k) AS n", "EMIT RUNNING"),
        "0: a 5 | a 2 | b 3 -> a 5 5 1 | a 2 5 2 | b 3 3 1\n 0: a 7 -> a 7 7 3",
    );
}

#[test]
fn one_batch_says_one_change_a_row() {
    let (input, node) = over("count(*) OVER (PARTITION BY k) AS n", "");
    let script = "
        0: a 1 | a 2 | b 3 -> +I a 1 2 | +I a 2 2 | +I b 3 1
        0: a 3 | a 4 -> -U a 1 2 | +U a 1 4 | -U a 2 2 | +U a 2 4 | +I a 3 4 | +I a 4 4
    ";
    check_cut(&[input], script, Cut::Whole, |snapshots| build(&node, snapshots));
}

#[test]
fn what_looks_back_keeps_what_it_looks_at() -> Result<()> {
    let (input, node) = over("lag(v, 2) OVER (PARTITION BY k) AS before", "");
    assert_eq!(input.field(0).data_type(), &DataType::Utf8View);
    let mut over = build(&node, &[])?;
    for _ in 0..100 {
        let rows = crate::operators::testing::batch(&input, "a 1 | b 2 | a 3");
        over.on_batch(Port(0), rows, &mut Output::default())?;
    }
    assert_eq!(over.state_size().rows, 4);
    Ok(())
}

/// The same, forgetting partitions that were not written for ten milliseconds.
fn forgetting((input, node): (SchemaRef, node::Over)) -> (SchemaRef, node::Over) {
    (input, node::Over { ttl: Some(Interval::from_millis(10)), ..node })
}

#[test]
fn a_partition_is_forgotten_once_no_row_of_it_has_come_for_so_long() {
    draws(
        forgetting(changing(over("rank() OVER (PARTITION BY k ORDER BY v) AS r", ""))),
        "
        0: +I a 5 | +I b 5 -> +I a 5 1 | +I b 5 1
        clock 6 ->
        0: +I a 7 -> +I a 7 2
        clock 12 ->
        0: -D b 5 | +I b 6 | -D a 5 -> +I b 6 1 | -U a 7 2 | +U a 7 1 | -D a 5 1
        clock 40 ->
        0: -D a 7 ->
        0: +I a 7 -> +I a 7 1
    ",
    );
}

#[test]
fn what_looks_back_begins_anew_once_its_partition_is_forgotten() {
    let rows = "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW";
    let calls = format!("sum(v) OVER (PARTITION BY k) AS t, sum(v) OVER (PARTITION BY k {rows}) AS l");
    let calls = calls.replace("k)", "k ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)");
    let script = "
        0: a 5 | b 5 -> a 5 5 5 | b 5 5 5
        clock 6 ->
        0: a 7 -> a 7 12 12
        clock 12 ->
        0: a 1 | b 2 -> a 1 13 8 | b 2 2 2
        clock 40 ->
        0: a 3 -> a 3 3 3
    ";
    draws(forgetting(over(&calls, "")), script);
}
