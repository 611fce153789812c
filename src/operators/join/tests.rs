//! What each kind of join says, drawn.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::*;
use crate::operators::testing::{check, columns, no_input};
use crate::plan::node::ChangelogMode::{AppendOnly, Changelog};

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
