//! What a lookup says, drawn.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::*;
use crate::expr::Expr;
use crate::operators::testing::{check, columns, no_input};
use crate::plan::node::ChangelogMode::{AppendOnly, Changelog};

/// Checks a lookup of two sides `k v` on `k`.
fn draws(kind: JoinKind, input_modes: [ChangelogMode; 2], script: &str) {
    let side = columns("k:text v:text");
    let fields: Vec<_> = side.fields().iter().chain(side.fields()).cloned().collect();
    let node = LookupJoin {
        inputs: [no_input(&side), no_input(&side)],
        names: ["left".into(), "right".into()],
        keys: [vec![Expr::column(&side, 0)], vec![Expr::column(&side, 0)]],
        residual: None,
        kind,
        input_modes,
        schema: Arc::new(Schema::new(fields)),
    };
    check(&[side.clone(), side], script, |snapshots| build(&node, snapshots));
}

#[test]
fn a_row_is_joined_once_with_what_is_there() {
    let script = "
        0: a L1                      ->
        1: +I a R1 | +I b S1         ->
        0: a L2 | NULL L3 | b L4     -> a L2 a R1 | b L4 b S1
        1: -U a R1 | +U a R2         ->
        0: a L5                      -> a L5 a R2
        1: +I a R3 | +I a R3         ->
        0: a L6                      -> a L6 a R2 | a L6 a R3 | a L6 a R3
        1: -D a R3 | -D a R2 | -D b S1 ->
        0: b L7 | a L8               -> a L8 a R3
        end                          ->
    ";
    draws(JoinKind::Inner, [AppendOnly, Changelog], script);
}

#[test]
fn a_row_without_a_match_is_said_beside_nulls() {
    let script = "
        0: a L1 | b L2               -> a L1 NULL NULL | b L2 NULL NULL
        1: a R1 | NULL R2            ->
        0: b L3 | a L4 | NULL L5     -> b L3 NULL NULL | a L4 a R1 | NULL L5 NULL NULL
        1: a R3                      ->
        0: a L6 | c L7               -> a L6 a R1 | a L6 a R3 | c L7 NULL NULL
    ";
    draws(JoinKind::Left, [AppendOnly, AppendOnly], script);
}

#[test]
fn a_row_that_goes_takes_back_what_was_said_of_it() {
    let script = "
        1: a R1                      ->
        0: +I a L1 | +I b M1         -> +I a L1 a R1 | +I b M1 NULL NULL
        1: a R2 | b S1               ->
        0: +I a L1                   -> +I a L1 a R1 | +I a L1 a R2
        0: -D a L1                   -> -D a L1 a R1
        0: -U b M1 | +U b M2         -> -U b M1 NULL NULL | +U b M2 b S1
        0: -U b M2 | +U a M3         -> -D b M2 b S1 | +I a M3 a R1 | +I a M3 a R2
        0: -D a L1 | -D a M3         -> -D a L1 a R1 | -D a L1 a R2 | -D a M3 a R1 | -D a M3 a R2
    ";
    draws(JoinKind::Left, [Changelog, AppendOnly], script);
}

#[test]
fn a_row_of_which_nothing_was_said_takes_nothing_back() {
    let script = "
        0: +I a L1 | +I a L2         ->
        1: +I a R1                   ->
        0: -D a L1                   ->
        0: -U a L2 | +U a L3         -> +I a L3 a R1
        1: -D a R1                   ->
        0: -U a L3 | +U a L4         -> -D a L3 a R1
        0: -D a L4                   ->
    ";
    draws(JoinKind::Inner, [Changelog, Changelog], script);
}
