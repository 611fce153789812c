//! What each kind of join says, drawn.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};

use super::*;
use crate::operators::testing::{check, columns, no_input, planned};
use crate::plan::Node;
use crate::plan::node::ChangelogMode::{AppendOnly, Changelog};
use crate::plan::node::{SideTime, TimeOf, Within};
use crate::types::Tick;

/// Checks a join of two sides `k v` on `k`.
fn draws(kind: JoinKind, null_keys: NullKeys, mode: ChangelogMode, at_end: bool, script: &str) {
    let side = columns("k:text v:text");
    let mut fields = side.fields().to_vec();
    match kind {
        JoinKind::Semi | JoinKind::Anti => {}
        JoinKind::Mark => fields.extend(columns("mark:bool").fields().iter().cloned()),
        JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
            fields.extend(side.fields().iter().cloned());
        }
    }
    let node = node::Join {
        inputs: [no_input(&side), no_input(&side)],
        columns: [vec![0, 1], if kind.pairs() { vec![0, 1] } else { vec![] }],
        names: ["left".into(), "right".into()],
        keys: [vec![Expr::column(&side, 0)], vec![Expr::column(&side, 0)]],
        null_keys,
        residual: None,
        kind,
        input_modes: [mode, mode],
        at_end,
        ttl: [None; 2],
        within: None,
        schema: Arc::new(Schema::new(fields)),
    };
    check(&[side.clone(), side], script, |snapshots| build(&node, snapshots));
}

#[test]
fn an_inner_join_of_rows_that_stay_says_every_pair_once() {
    let script = "
        0: a L1 | b M1 | NULL N1 ->
        1: a R1               -> a L1 a R1
        0: a L2               -> a L2 a R1
        1: a R2 | b S1 | NULL T1 -> a L1 a R2 | a L2 a R2 | b M1 b S1
    ";
    draws(JoinKind::Inner, NullKeys::Nothing, AppendOnly, false, script);
}

#[test]
fn a_pair_goes_when_one_of_its_rows_does() {
    let script = "
        0: +I a L1 | +I a L2 | +I a L1 ->
        1: +I a R1           -> +I a L1 a R1 | +I a L1 a R1 | +I a L2 a R1
        0: -D a L1           -> -D a L1 a R1
        1: -U a R1 | +U b R1 -> -D a L1 a R1 | -D a L2 a R1
        0: +I b M1           -> +I b M1 b R1
    ";
    draws(JoinKind::Inner, NullKeys::Nothing, Changelog, false, script);
}

#[test]
fn a_left_row_is_alone_until_its_first_match_and_after_its_last() {
    let script = "
        0: +I a L1 | +I NULL N1 -> +I a L1 NULL NULL | +I NULL N1 NULL NULL
        1: +I a R1           -> -U a L1 NULL NULL | +U a L1 a R1
        1: +I a R2           -> +I a L1 a R2
        1: -D a R1           -> -D a L1 a R1
        1: -D a R2           -> -U a L1 a R2 | +U a L1 NULL NULL
        0: -D a L1 | -D NULL N1 -> -D a L1 NULL NULL | -D NULL N1 NULL NULL
    ";
    draws(JoinKind::Left, NullKeys::Nothing, Changelog, false, script);
}

#[test]
fn a_full_join_has_the_lone_rows_of_both_sides() {
    let script = "
        1: +I a R1 | +I b S1 -> +I NULL NULL a R1 | +I NULL NULL b S1
        0: +I a L1           -> -U NULL NULL a R1 | +U a L1 a R1
        0: +I c L2           -> +I c L2 NULL NULL
        0: -D a L1           -> -U a L1 a R1 | +U NULL NULL a R1
    ";
    draws(JoinKind::Full, NullKeys::Nothing, Changelog, false, script);
}

#[test]
fn over_what_ends_lone_rows_wait_for_the_end() {
    let script = "
        0: a L1 | b M1 | NULL N1 ->
        1: a R1 | c R2        -> a L1 a R1
        end                   -> b M1 NULL NULL | NULL N1 NULL NULL | NULL NULL c R2
    ";
    draws(JoinKind::Full, NullKeys::Nothing, AppendOnly, true, script);
    draws(
        JoinKind::Anti,
        NullKeys::Nothing,
        AppendOnly,
        true,
        "
        0: a L1 | b M1 | NULL N1 ->
        1: a R1 | c R2        ->
        end                   -> b M1 | NULL N1
    ",
    );
}

#[test]
fn a_semi_join_says_a_row_once_however_many_it_matches() {
    let script = "
        0: +I a L1 | +I a L1 ->
        1: +I a R1           -> +I a L1 | +I a L1
        1: +I a R2           ->
        0: +I a L2           -> +I a L2
        1: -D a R1           ->
        1: -D a R2           -> -D a L1 | -D a L1 | -D a L2
    ";
    draws(JoinKind::Semi, NullKeys::Nothing, Changelog, false, script);
}

#[test]
fn a_mark_tells_whether_there_is_a_match() {
    let script = "
        0: +I a L1 -> +I a L1 false
        1: +I a R1 -> -U a L1 false | +U a L1 true
        0: +I a L2 | +I b M1 -> +I a L2 true | +I b M1 false
        1: -D a R1 -> -U a L1 true | +U a L1 false | -U a L2 true | +U a L2 false
    ";
    draws(JoinKind::Mark, NullKeys::Nothing, Changelog, false, script);
}

#[test]
fn not_in_rules_nothing_out_that_a_null_may_be() {
    let script = "
        0: +I a L1 | +I NULL N1 -> +I a L1 | +I NULL N1
        1: +I b S1           -> -D NULL N1
        0: +I b M1 | +I c O1 -> +I c O1
        1: +I NULL T1           -> -D a L1 | -D c O1
        1: -D NULL T1           -> +I a L1 | +I c O1
        1: -D b S1           -> +I b M1 | +I NULL N1
    ";
    draws(JoinKind::Anti, NullKeys::Anything, Changelog, false, script);
}

#[test]
fn a_set_operation_takes_nulls_for_equal() {
    let script = "
        0: +I NULL L1 ->
        1: +I NULL L1 -> +I NULL L1
    ";
    draws(JoinKind::Semi, NullKeys::Null, Changelog, false, script);
}

/// Checks a join of two sides `k at v` on `k`, with `right.at - left.at` from `lower` to `upper`.
fn draws_near(join: &str, (lower, upper): (i64, i64), script: &str) {
    let side = columns("k:text at:int v:text");
    let near = format!("a.k = b.k AND b.at BETWEEN a.at + ({lower}) AND a.at + ({upper})");
    let mut plan = planned(&side, &format!("SELECT * FROM s AS a {join} s AS b ON {near}"));
    let Some(node) = join_in(&mut plan) else { panic!("{plan:?}") };
    let time = SideTime { column: 1, unit: 1, of: TimeOf::Event };
    let tick = Tick::of(&DataType::Int64).unwrap();
    node.within = Some(Within { times: [time; 2], tick, lower, upper });
    check(&[side.clone(), side], script, |snapshots| build(node, snapshots));
}

fn join_in(node: &mut Node) -> Option<&mut node::Join> {
    match node {
        Node::Join(join) => Some(join),
        other => other.inputs_mut().into_iter().find_map(join_in),
    }
}

#[test]
fn a_left_row_is_alone_once_the_watermark_has_passed_all_it_could_match() {
    let script = "
        0: a 10 L1 | b 12 L2 | NULL 9 L3 | a NULL L4 -> NULL 9 L3 NULL NULL NULL | a NULL L4 NULL NULL NULL
        1: a 14 R1 | a 16 R2   -> a 10 L1 a 14 R1
        watermark 17ns         ->
        1: b 17 R3             -> b 12 L2 b 17 R3
        0: b 17 L5 | c 17 L6   -> b 17 L5 b 17 R3
        0: c 16 L7             ->
        watermark 18ns         ->
        watermark 22ns         ->
        watermark 23ns         -> c 17 L6 NULL NULL NULL
        0: d 23 L8             ->
        end                    -> d 23 L8 NULL NULL NULL
    ";
    draws_near("LEFT JOIN", (0, 5), script);
}

#[test]
fn a_row_that_nothing_can_match_any_more_is_alone_at_once() {
    let script = "
        1: a 3 R1              ->
        watermark 4ns          ->
        0: a 6 L1 | b 9 L2 | b 7 L3 -> a 6 L1 a 3 R1
        watermark 6ns          -> b 7 L3 NULL NULL NULL
        0: b 8 L4              ->
        watermark 7ns          -> b 8 L4 NULL NULL NULL
        0: b 8 L5              -> b 8 L5 NULL NULL NULL
        1: a 7 R4              ->
        0: a 9 L6              -> a 9 L6 a 7 R4
        end                    -> b 9 L2 NULL NULL NULL
    ";
    draws_near("LEFT JOIN", (-5, -2), script);
}

#[test]
fn both_sides_of_a_full_join_wait_as_long_as_they_may_match() {
    let script = "
        0: a 10 L1             ->
        1: b 10 R1             ->
        watermark 12ns         ->
        watermark 13ns         -> NULL NULL NULL b 10 R1
        watermark 15ns         ->
        watermark 16ns         -> a 10 L1 NULL NULL NULL
        end                    ->
    ";
    draws_near("FULL JOIN", (-2, 5), script);
}

#[test]
fn what_the_watermark_has_passed_is_not_kept() {
    let side = columns("k:int at:int");
    let mut plan = planned(&side, "SELECT * FROM s AS a JOIN s AS b ON a.k = b.k AND b.at BETWEEN a.at AND a.at + 5");
    let Some(node) = join_in(&mut plan) else { panic!("{plan:?}") };
    let time = SideTime { column: 1, unit: 1, of: TimeOf::Event };
    let tick = Tick::of(&DataType::Int64).unwrap();
    node.within = Some(Within { times: [time; 2], tick, lower: 0, upper: 5 });
    let mut join = build(node, &[]).unwrap();
    let (mut out, mut most) = (Output::default(), 0);
    for first in (0..200_000).step_by(1_000) {
        let numbers: ArrayRef = Arc::new((first..first + 1_000).collect::<Int64Array>());
        let rows = RecordBatch::try_new(side.clone(), vec![numbers.clone(), numbers]).unwrap();
        for port in 0..2 {
            join.on_batch(Port(port), Batch::append_only(rows.clone()), &mut out).unwrap();
        }
        join.on_watermark(Timestamp::from_nanos(first + 999), &mut out).unwrap();
        assert_eq!(out.drain().map(|batch| batch.num_rows()).sum::<usize>(), 1_000);
        assert!(join.state_size().rows <= 8, "{} rows are kept", join.state_size().rows);
        most = most.max(join.state_size().bytes);
    }
    assert!(most < 3_000_000, "{most} bytes for a few rows");
}
