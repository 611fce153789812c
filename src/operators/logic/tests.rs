//! Logics by their contract. A row is a key and a value.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};

use super::{Answer, Keep, LogicRef, StatefulBatchLogic, StatefulLogic, build, per_batch, per_row};
use super::{stateful_flat_map, stateful_map};
use crate::error::Result;
use crate::expr::Expr;
use crate::operators::testing::{Cut, batch, check, check_cut, columns, no_input};
use crate::operators::{Output, Port};
use crate::plan::node;
use crate::types::{Interval, Row, Timestamp, Value};

fn hosted(logic: &LogicRef) -> node::Logic {
    let input = columns("k:text v:int");
    let schema = logic.output_schema(&input).unwrap();
    let keys = vec![Expr::column(&input, 0)];
    node::Logic { input: no_input(&input), name: "tested".into(), keys, factory: logic.clone(), schema }
}

fn answers(logic: &LogicRef, script: &str) {
    let node = hosted(logic);
    check(&[columns("k:text v:int")], script, |snapshots| build(&node, snapshots));
}

#[test]
fn a_map_gives_one_row_for_each_row_in_order_of_arrival() {
    let sum = stateful_map(columns("k:text sum:int"), |sum: Option<i64>, row| {
        let sum = sum.unwrap_or(0) + row.get::<i64>("v")?;
        Ok((Some(sum), vec![row.get::<String>("k")?.into(), sum.into()]))
    });
    answers(&sum, "0: a 1 | b 2 | a 3 -> a 1 | b 2 | a 4\n 0: b 4 | a 0 -> b 6 | a 4\n end ->\n 0: a 1 -> a 5");
}

#[test]
fn a_state_of_none_is_discarded_also_within_a_batch() {
    let until_zero = stateful_flat_map(columns("rows:int"), |rows: Option<i64>, row| {
        let rows = rows.unwrap_or(0) + 1;
        Ok(match row.get::<i64>("v")? {
            0 => (None, vec![vec![rows.into()], vec![(-rows).into()]]),
            _ => (Some(rows), vec![]),
        })
    });
    answers(&until_zero, "0: a 1 | b 1 | a 0 | a 1 | a 1 -> 2 | -2\n 0: b 0 | a 0 -> 2 | -2 | 3 | -3");
}

/// Says its last value a second after it, and gives up after a value of 0 or at the end.
struct Echo {
    last: i64,
    due: Option<Timestamp>,
}

impl StatefulLogic for Echo {
    fn on_item(&mut self, row: Row<'_>, now: Timestamp) -> Result<Answer> {
        self.last = row.get("v")?;
        self.due = (self.last > 0).then_some(now + Interval::from_millis(1_000));
        Ok((vec![], if self.last == 0 { Keep::Discard } else { Keep::Retain }))
    }

    fn on_notify(&mut self, _: Timestamp) -> Result<Answer> {
        self.due = None;
        Ok((vec![vec![self.last.into()]], Keep::Retain))
    }

    fn on_eof(&mut self) -> Result<Answer> {
        Ok((vec![vec![(self.last * 100).into()]], Keep::Discard))
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.due
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        let due = self.due.map_or(i64::MIN, Timestamp::nanos);
        Ok([self.last.to_le_bytes(), due.to_le_bytes()].concat())
    }
}

fn echo() -> LogicRef {
    per_row(columns("v:int"), |_, saved| {
        let number = |at: usize| i64::from_le_bytes(saved.unwrap_or(&[0; 16])[at..at + 8].try_into().unwrap());
        let due = saved.map(|_| number(8)).filter(|due| *due != i64::MIN).map(Timestamp::from_nanos);
        Ok(Echo { last: number(0), due })
    })
}

#[test]
fn a_notification_is_asked_for_again_after_every_call() {
    let script = "
        0: a 1 | b 2 ->
        clock 500    ->
        0: a 3       ->
        clock 1000   -> 2
        clock 1499   ->
        clock 1500   -> 3
        clock 9000   ->
    ";
    answers(&echo(), script);
}

#[test]
fn asking_for_no_time_withdraws_the_one_before() {
    answers(&echo(), "0: a 1 | b 2 ->\n 0: a -1 | b 0 ->\n clock 9000 ->\n end -> -100");
}

#[test]
fn notifications_come_in_due_order_and_a_discarded_key_has_none() {
    let script = "
        0: b 1 | a 2 ->
        clock 10     ->
        0: b 3 | c 4 | c 0 ->
        clock 5000   -> 2 | 3
    ";
    answers(&echo(), script);
}

#[test]
fn the_end_is_told_to_every_live_key_in_order_of_appearance() {
    answers(&echo(), "0: b 1 | a 2 | c 3 ->\n 0: b 0 | b 4 ->\n end -> 200 | 300 | 400\n 0: a 5 ->\n end -> 500");
}

/// Counts the rows of its key, batch by batch.
struct Count(i64);

impl StatefulBatchLogic for Count {
    fn on_batch(&mut self, rows: &RecordBatch, _: Timestamp) -> Result<(Vec<RecordBatch>, Keep)> {
        self.0 += rows.num_rows() as i64;
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![self.0]));
        Ok((vec![RecordBatch::try_new(columns("rows:int"), vec![counts])?], Keep::Retain))
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        Ok(self.0.to_le_bytes().to_vec())
    }
}

#[test]
fn a_batch_logic_sees_the_rows_of_its_key_at_once() {
    let count = per_batch(columns("rows:int"), |_, saved| {
        Ok(Count(saved.map_or(0, |saved| i64::from_le_bytes(saved.try_into().unwrap()))))
    });
    let node = hosted(&count);
    let script = "0: b 1 | a 2 | b 3 -> 2 | 1\n 0: a 4 | a 5 | b 6 -> 3 | 3";
    check_cut(&[columns("k:text v:int")], script, Cut::Whole, |snapshots| build(&node, snapshots));
}

fn failure(logic: &LogicRef) -> crate::Error {
    let mut host = build(&hosted(logic), &[]).unwrap();
    let rows = batch(&columns("k:text v:int"), "a 1");
    host.on_batch(Port(0), rows, &mut Output::default()).unwrap_err()
}

#[test]
fn a_panic_of_a_logic_is_an_error() {
    let panics = stateful_map(columns("v:int"), |_: Option<i64>, _| panic!("no such thing"));
    assert_eq!(failure(&panics).message(), "the logic \"tested\" panicked: no such thing");
}

#[test]
fn a_row_that_does_not_fit_the_output_is_an_error() {
    let wrong = stateful_map(columns("v:int"), |_: Option<i64>, _| Ok((Some(1), vec![Value::from("x")])));
    assert_eq!(failure(&wrong).message(), "column \"v\": expected Int64, but was given \"x\"");
}
