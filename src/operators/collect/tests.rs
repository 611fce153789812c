//! `COLLECT` by what closes a window. A row is a key and a value; `clock` is in milliseconds.

use crate::operators::testing::{check, columns, planned};
use crate::plan::Node;

fn collected(bounds: &str, script: &str) {
    let text = format!("SELECT k, array_agg(v), count(*), close_reason() FROM s GROUP BY k, COLLECT({bounds})");
    run(&text, script);
}

fn run(text: &str, script: &str) {
    let mut node = planned(&columns("k:text v:int"), text);
    let collect = loop {
        node = match node {
            Node::Collect(collect) => break collect,
            Node::Project(project) => *project.input,
            other => panic!("no COLLECT in {text}: {other:?}"),
        }
    };
    check(&[collect.input.schema()], script, |snapshots| super::build(&collect, snapshots));
}

#[test]
fn a_window_closes_when_it_is_full_and_the_next_row_opens_another() {
    let script = "
        0: a 1 | b 2 | a 3 | a 4 | a 5 -> a [1, 3] 2 size | a [4, 5] 2 size
        0: a 6 | b NULL                -> b [2, NULL] 2 size
        end                            -> a [6] 1 end
    ";
    collected("max_rows => 2", script);
}

#[test]
fn silence_closes_a_window_and_each_row_restarts_it() {
    let script = "
        0: a 1     ->
        clock 600  ->
        0: a 2 | b 3 ->
        clock 1599 ->
        clock 1600 -> a [1, 2] 2 timeout | b [3] 1 timeout
        0: a 4     ->
        clock 9000 -> a [4] 1 timeout
        end        ->
    ";
    collected("max_rows => 9, timeout => INTERVAL '1 second'", script);
}

#[test]
fn max_wait_bounds_what_a_trickle_keeps_open() {
    let script = "
        0: a 1     ->
        clock 900  ->
        0: a 2     ->
        clock 1500 -> a [1, 2] 2 max_wait
        0: a 3     ->
        clock 2500 -> a [3] 1 timeout
    ";
    collected("timeout => INTERVAL '1 second', max_wait => INTERVAL '1500 milliseconds'", script);
}

#[test]
fn silence_is_named_where_both_are_due_at_once() {
    let bounds = "timeout => INTERVAL '1 second', max_wait => INTERVAL '1 second'";
    collected(bounds, "0: a 1 ->\n clock 1000 -> a [1] 1 timeout");
}

#[test]
fn windows_close_in_order_of_their_times_then_of_their_first_rows() {
    let script = "
        0: b 1 | a 2 ->
        clock 500    ->
        0: b 3       ->
        clock 5000   -> a [2] 1 timeout | b [1, 3] 2 timeout
        0: c 4 | a 5 ->
        0: c 6       ->
        clock 9000   -> c [4, 6] 2 timeout | a [5] 1 timeout
    ";
    collected("timeout => INTERVAL '1 second'", script);
}

#[test]
fn the_end_closes_windows_in_order_of_their_first_rows() {
    let script = "0: b 1 | a 2 | c 3 ->\n 0: b 4 | a 5 ->\n end -> b [1, 4] 2 end | a [2, 5] 2 end | c [3] 1 end";
    collected("max_rows => 9", script);
}

#[test]
fn a_window_that_was_full_does_not_close_its_successor() {
    let script = "
        0: a 1     ->
        clock 900  ->
        0: a 2 | a 3 -> a [1, 2] 2 size
        clock 1000 ->
        clock 1899 ->
        clock 1900 -> a [3] 1 timeout
    ";
    collected("max_rows => 2, timeout => INTERVAL '1 second'", script);
}

#[test]
fn a_window_over_all_rows_needs_no_key() {
    let text = "SELECT array_agg(v), close_reason() FROM s GROUP BY COLLECT(max_rows => 2)";
    run(text, "0: 1 | 2 | 3 -> [1, 2] size\n 0: 4 | 5 -> [3, 4] size\n end -> [5] end");
}
