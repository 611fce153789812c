//! The keyed join by its modes. Port 0 is `l` (key, value), port 1 is `r`, port 2 is `s`.

use super::*;
use crate::expr::Expr;
use crate::operators::testing::{check, columns, no_input};
use crate::plan::node::{self, JoinSide};

#[derive(Clone, Copy)]
enum Type {
    Inner,
    Left,
    Full,
}

fn joined(sides: usize, keep: JoinKeep, emit: JoinEmit, join: Type, script: &str) {
    let input = columns("k:text v:int");
    let side = |_| JoinSide { input: *no_input(&input), keys: vec![Expr::column(&input, 0)], name: "side".into() };
    let required = (0..sides).map(|side| match join {
        Type::Inner => true,
        Type::Left => side == 0,
        Type::Full => false,
    });
    let schema = (0..sides).map(|side| format!("k{side}:text v{side}:int")).collect::<Vec<_>>().join(" ");
    let node = node::KeyedJoin {
        sides: (0..sides).map(side).collect(),
        keep,
        emit,
        required: required.collect(),
        schema: columns(&schema),
    };
    check(&vec![input; sides], script, |snapshots| build(&node, snapshots));
}

#[test]
fn complete_emits_once_every_side_has_a_row_and_starts_afresh() {
    let script = "
        0: a 1 | b 2 | a 3 ->
        1: a 10 | a 11 -> a 3 a 10
        0: a 4         -> a 4 a 11
        1: c 12 | b 13 -> b 2 b 13
        end            ->
        0: c 5         -> c 5 c 12
    ";
    joined(2, JoinKeep::Last, JoinEmit::Complete, Type::Inner, script);
}

#[test]
fn complete_waits_for_all_of_three_sides() {
    let script = "
        0: a 1 | a 2 ->
        1: a 3 ->
        2: a 4 | a 5 -> a 1 a 3 a 4
        0: a 6 ->
        1: a 7 -> a 6 a 7 a 5
    ";
    joined(3, JoinKeep::First, JoinEmit::Complete, Type::Inner, script);
}

#[test]
fn complete_products_combine_all_that_was_gathered() {
    let script = "
        0: a 1 | a 2 | b 9 ->
        1: a 10 | a 11     -> a 1 a 10 | a 2 a 10
        1: a 12            ->
        0: a 3             -> a 3 a 11 | a 3 a 12
    ";
    joined(2, JoinKeep::Product, JoinEmit::Complete, Type::Inner, script);
}

#[test]
fn running_emits_for_every_row() {
    let script = "
        0: a 1 | a 2 -> a 1 NULL NULL | a 2 NULL NULL
        1: a 10 | b 11 | a 12 -> a 2 a 10 | NULL NULL b 11 | a 2 a 12
        0: b 3 | a 4 | b 5 -> b 3 b 11 | a 4 a 12 | b 5 b 11
        end ->
        1: a 13 -> a 4 a 13
    ";
    joined(2, JoinKeep::Last, JoinEmit::Running, Type::Full, script);
}

#[test]
fn an_ignored_row_speaks_again_under_first() {
    let script = "0: a 1 | a 2 -> a 1 NULL NULL | a 1 NULL NULL\n 1: a 10 | a 11 -> a 1 a 10 | a 1 a 10";
    joined(2, JoinKeep::First, JoinEmit::Running, Type::Full, script);
}

#[test]
fn the_leftmost_side_varies_slowest() {
    let script = "
        0: a 1 | a 2 -> a 1 NULL NULL | a 1 NULL NULL | a 2 NULL NULL
        1: a 10 | a 11 -> a 1 a 10 | a 2 a 10 | a 1 a 10 | a 1 a 11 | a 2 a 10 | a 2 a 11
    ";
    joined(2, JoinKeep::Product, JoinEmit::Running, Type::Full, script);
}

#[test]
fn the_join_type_filters_by_completeness() {
    let inner = "0: a 1 ->\n 1: a 10 | b 11 -> a 1 a 10\n 0: b 2 -> b 2 b 11";
    joined(2, JoinKeep::Last, JoinEmit::Running, Type::Inner, inner);
    joined(2, JoinKeep::Product, JoinEmit::Running, Type::Inner, inner);
    let left = "0: a 1 -> a 1 NULL NULL\n 1: a 10 | b 11 -> a 1 a 10\n 0: b 2 -> b 2 b 11";
    joined(2, JoinKeep::Last, JoinEmit::Running, Type::Left, left);
    joined(2, JoinKeep::First, JoinEmit::Running, Type::Left, left);
}

#[test]
fn final_emits_keys_in_order_of_appearance_and_discards() {
    let script = "
        1: b 10 | a 11 ->
        0: a 1 | c 2 | b 3 | b 4 ->
        end -> b 3 b 10 | b 4 b 10 | a 1 a 11 | c 2 NULL NULL
        0: a 5 ->
        end -> a 5 NULL NULL
    ";
    joined(2, JoinKeep::Product, JoinEmit::Final, Type::Full, script);
}

#[test]
fn a_null_key_is_a_key_of_its_own() {
    let running = "
        0: NULL 1 | a 2 -> NULL 1 NULL NULL | a 2 NULL NULL
        1: NULL 10 | a 11 | NULL 12 -> NULL NULL NULL 10 | a 2 a 11 | NULL NULL NULL 12
    ";
    joined(2, JoinKeep::Last, JoinEmit::Running, Type::Full, running);
    joined(2, JoinKeep::Product, JoinEmit::Running, Type::Full, running);
    let complete = "0: NULL 1 | a 2 ->\n 1: NULL 10 | a 11 -> a 2 a 11";
    joined(2, JoinKeep::Last, JoinEmit::Complete, Type::Inner, complete);
    let last = "
        0: NULL 1 | a 2 | NULL 3 | b 4 ->
        1: NULL 10 | b 11 ->
        end -> NULL 1 NULL NULL | a 2 NULL NULL | NULL 3 NULL NULL | b 4 b 11
    ";
    joined(2, JoinKeep::Last, JoinEmit::Final, Type::Left, last);
}

#[test]
fn a_product_of_many_rows_comes_in_several_batches() -> Result<()> {
    let input = columns("k:text v:int");
    let side = || JoinSide { input: *no_input(&input), keys: vec![Expr::column(&input, 0)], name: "side".into() };
    let mut join = build(
        &node::KeyedJoin {
            sides: vec![side(), side()],
            keep: JoinKeep::Product,
            emit: JoinEmit::Final,
            required: vec![true, true],
            schema: columns("k0:text v0:int k1:text v1:int"),
        },
        &[],
    )?;
    let rows = crate::operators::testing::batch(&input, &vec!["a 1"; 150].join(" | "));
    let mut out = Output::default();
    join.on_batch(Port(0), rows.clone(), &mut out)?;
    join.on_batch(Port(1), rows, &mut out)?;
    join.on_eof(&mut out)?;
    let sizes: Vec<usize> = out.drain().map(|batch| batch.num_rows()).collect();
    assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (3, 22_500));
    Ok(())
}
