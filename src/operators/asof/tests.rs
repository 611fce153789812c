//! What an ASOF join says, drawn.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::*;
use crate::operators::testing::{check, columns, no_input};
use crate::plan::node::ChangelogMode::{AppendOnly, Changelog};
use crate::plan::node::{ChangelogMode, JoinKind, Nearest};

/// Checks a join of two sides `k at v` on `k` by `at`.
fn draws(nearest: Nearest, kind: JoinKind, settles: Settles, script: &str) {
    let mode = if settles == Settles::Never { Changelog } else { AppendOnly };
    draws_of(nearest, kind, (settles, [mode; 2]), script);
}

fn draws_of(nearest: Nearest, kind: JoinKind, (settles, input_modes): (Settles, [ChangelogMode; 2]), script: &str) {
    let side = columns("k:text at:int v:text");
    let fields: Vec<_> = side.fields().iter().chain(side.fields()).cloned().collect();
    let node = AsofJoin {
        inputs: [no_input(&side), no_input(&side)],
        names: ["left".into(), "right".into()],
        keys: [vec![Expr::column(&side, 0)], vec![Expr::column(&side, 0)]],
        times: [Expr::column(&side, 1), Expr::column(&side, 1)],
        nearest,
        kind,
        settles,
        input_modes,
        schema: Arc::new(Schema::new(fields)),
    };
    check(&[side.clone(), side], script, |snapshots| build(&node, snapshots));
}

#[test]
fn a_left_row_is_said_once_the_watermark_has_passed_it() {
    let script = "
        0: a 5 L5 | a 9 L9     ->
        1: a 4 R4 | a 7 R7 | b 8 R8 ->
        watermark 5ns          ->
        watermark 8ns          -> a 5 L5 a 4 R4
        1: a 9 R9 | a 9 S9     ->
        0: b 8 L8              ->
        watermark 10ns         -> b 8 L8 b 8 R8 | a 9 L9 a 9 S9
        0: a 12 L12 | c 11 L11 | NULL 10 L10 ->
        end                    -> NULL 10 L10 NULL NULL NULL | c 11 L11 NULL NULL NULL | a 12 L12 a 9 S9
    ";
    draws(Nearest::AtOrBefore, JoinKind::Left, Settles::Watermark, script);
}

#[test]
fn before_is_not_at() {
    let script = "
        1: a 4 R4 | a 7 R7     ->
        0: a 7 L7 | a 4 L4 | a 8 L8 | NULL 9 L9 | a NULL L ->
        end                    -> a 7 L7 a 4 R4 | a 8 L8 a 7 R7
    ";
    draws(Nearest::Before, JoinKind::Inner, Settles::End, script);
}

#[test]
fn looking_ahead_left_rows_wait_for_the_next_right_row() {
    let script = "
        0: a 5 L5 | a 4 L4 | b 5 M5 ->
        watermark 6ns          ->
        1: a 6 R6 | a 6 S6     ->
        0: a 6 L6              ->
        watermark 7ns          -> a 4 L4 a 6 S6 | a 5 L5 a 6 S6 | a 6 L6 a 6 S6
        0: a 8 L8              ->
        watermark 9ns          ->
        end                    -> b 5 M5 NULL NULL NULL | a 8 L8 NULL NULL NULL
    ";
    draws(Nearest::AtOrAfter, JoinKind::Left, Settles::Watermark, script);
    let script = "
        0: a 5 L5 | a 6 L6     ->
        1: a 6 R6              ->
        watermark 7ns          -> a 5 L5 a 6 R6
        end                    ->
    ";
    draws(Nearest::After, JoinKind::Inner, Settles::Watermark, script);
}

#[test]
fn a_pair_is_corrected_when_a_nearer_row_comes_or_goes() {
    let script = "
        0: +I a 9 L9 | +I a 5 L5 -> +I a 9 L9 NULL NULL NULL | +I a 5 L5 NULL NULL NULL
        0: +I NULL 1 L1        -> +I NULL 1 L1 NULL NULL NULL
        1: +I a 4 R4 -> -U a 5 L5 NULL NULL NULL | +U a 5 L5 a 4 R4 | -U a 9 L9 NULL NULL NULL | +U a 9 L9 a 4 R4
        1: +I a 7 R7           -> -U a 9 L9 a 4 R4 | +U a 9 L9 a 7 R7
        1: +I a 6 R6           ->
        1: -D a 7 R7           -> -U a 9 L9 a 7 R7 | +U a 9 L9 a 6 R6
        0: -D a 5 L5           -> -D a 5 L5 a 4 R4
        1: -D a 4 R4           ->
        1: -D a 6 R6           -> -U a 9 L9 a 6 R6 | +U a 9 L9 NULL NULL NULL
        0: -D a 9 L9 | -D NULL 1 L1 -> -D a 9 L9 NULL NULL NULL | -D NULL 1 L1 NULL NULL NULL
    ";
    draws(Nearest::AtOrBefore, JoinKind::Left, Settles::Never, script);
}

#[test]
fn what_looks_ahead_is_corrected_as_well() {
    let script = "
        0: +I a 5 L5 | +I a 7 L7 ->
        1: +I a 7 R7           -> +I a 5 L5 a 7 R7
        1: +I a 8 R8           -> +I a 7 L7 a 8 R8
        1: -D a 7 R7           -> -U a 5 L5 a 7 R7 | +U a 5 L5 a 8 R8
        1: -D a 8 R8           -> -D a 7 L7 a 8 R8 | -D a 5 L5 a 8 R8
    ";
    draws(Nearest::After, JoinKind::Inner, Settles::Never, script);
}

#[test]
fn versions_take_the_place_of_one_another_from_their_time_on() {
    let script = "
        1: +I a 4 R4 | +I b 4 S4              ->
        1: -U a 4 R4 | +U a 8 R8              ->
        0: a 5 L5 | a 8 L8 | b 9 L9           ->
        watermark 6ns                         -> a 5 L5 a 4 R4
        1: -D b 4 S4                          ->
        1: +I b 7 S7                          ->
        0: b 6 L6 | b 7 L7                    ->
        watermark 10ns                        -> b 6 L6 NULL NULL NULL | b 7 L7 b 7 S7 | a 8 L8 a 8 R8 | b 9 L9 b 7 S7
        1: -U a 8 R8 | +U a 20 R20            ->
        1: -U a 20 R20 | +U a 15 R15          ->
        1: -D a 15 R15                        ->
        0: a 14 L14 | a 16 L16 | a 20 L20     ->
        end                     -> a 14 L14 a 8 R8 | a 16 L16 a 15 R15 | a 20 L20 NULL NULL NULL
    ";
    draws_of(Nearest::AtOrBefore, JoinKind::Left, (Settles::Watermark, [AppendOnly, Changelog]), script);
}
