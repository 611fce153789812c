//! The rules of `KEEP` and `EMIT`, drawn.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};

use super::*;
use crate::expr::Expr;
use crate::operators::testing::{batch, check, columns, no_input, row_texts};
use crate::plan::node::JoinSide;

/// A join of sides of those columns, the first `keys` of which are the key.
fn join(sides: &[SchemaRef], keys: usize, keep: JoinKeep, emit: JoinEmit, required: &[bool]) -> KeyedJoin {
    let fields = sides.iter().flat_map(|side| side.fields().iter().cloned()).collect::<Vec<_>>();
    let side = |schema: &SchemaRef| JoinSide {
        columns: (0..schema.fields().len()).collect(),
        input: *no_input(schema),
        keys: (0..keys).map(|key| Expr::column(schema, key)).collect(),
        name: "side".into(),
    };
    KeyedJoin {
        sides: sides.iter().map(side).collect(),
        keep,
        emit,
        required: required.to_vec(),
        ttl: None,
        closed_by: None,
        schema: Arc::new(Schema::new(fields)),
    }
}

fn sides(count: usize) -> Vec<SchemaRef> {
    vec![columns("k:text v:text"); count]
}

fn draws(keep: JoinKeep, emit: JoinEmit, required: &[bool], script: &str) {
    let sides = sides(required.len());
    let node = join(&sides, 1, keep, emit, required);
    check(&sides, script, |snapshots| build(&node, snapshots));
}

const FULL: &[bool] = &[false, false];
const LEFT: &[bool] = &[true, false];
const INNER: &[bool] = &[true, true];

#[test]
fn first_complete_keeps_the_first_and_starts_afresh() {
    let script = "
        0: a L1 | a L2 | b M1 ->
        1: a R1 | a R2        -> a L1 a R1
        0: a L3               -> a L3 a R2
        1: b S1               -> b M1 b S1
    ";
    draws(JoinKeep::First, JoinEmit::Complete, INNER, script);
}

#[test]
fn last_complete_keeps_the_last_and_starts_afresh() {
    let script = "
        0: a L1 | a L2 ->
        1: a R1 | a R2 | a R3 -> a L2 a R1
        0: a L3 | a L4 -> a L3 a R3
        1: a R4        -> a L4 a R4
    ";
    draws(JoinKeep::Last, JoinEmit::Complete, INNER, script);
}

#[test]
fn product_complete_gives_all_combinations_and_starts_afresh() {
    let script = "
        0: a L1 | a L2 | b M1 ->
        1: a R1 | b S1 | a R2 -> a L1 a R1 | a L2 a R1 | b M1 b S1
        0: a L3 | a L4        -> a L3 a R2
        1: a R3               -> a L4 a R3
    ";
    draws(JoinKeep::Product, JoinEmit::Complete, INNER, script);
}

#[test]
fn first_running_speaks_also_for_a_row_it_ignores() {
    let script = "
        0: a L1 | a L2 -> a L1 NULL NULL | a L1 NULL NULL
        1: a R1 | a R2 -> a L1 a R1 | a L1 a R1
        end            ->
        0: a L3        -> a L1 a R1
    ";
    draws(JoinKeep::First, JoinEmit::Running, FULL, script);
}

#[test]
fn last_running_speaks_for_every_row() {
    let script = "
        0: a L1 | b M1 | a L2 -> a L1 NULL NULL | b M1 NULL NULL | a L2 NULL NULL
        1: a R1 | c S1 | a R2 -> a L2 a R1 | NULL NULL c S1 | a L2 a R2
    ";
    draws(JoinKeep::Last, JoinEmit::Running, FULL, script);
}

#[test]
fn product_running_gives_all_combinations_for_every_row() {
    let script = "
        0: a L1 | a L2 -> a L1 NULL NULL | a L1 NULL NULL | a L2 NULL NULL
        1: a R1        -> a L1 a R1 | a L2 a R1
        1: a R2        -> a L1 a R1 | a L1 a R2 | a L2 a R1 | a L2 a R2
    ";
    draws(JoinKeep::Product, JoinEmit::Running, FULL, script);
}

#[test]
fn first_final_gives_the_first_rows_in_order_of_keys() {
    let script = "
        1: b S1 ->
        0: a L1 | a L2 | b M1 ->
        1: a R1 | a R2 | b S2 ->
        end -> b M1 b S1 | a L1 a R1
        end ->
    ";
    draws(JoinKeep::First, JoinEmit::Final, INNER, script);
}

#[test]
fn last_final_gives_the_last_rows_and_discards() {
    let script = "
        0: a L1 | b M1 | a L2 ->
        1: c S1 | a R1 ->
        end -> a L2 a R1 | b M1 NULL NULL | NULL NULL c S1
        0: b M2 | a L3 ->
        end -> b M2 NULL NULL | a L3 NULL NULL
    ";
    draws(JoinKeep::Last, JoinEmit::Final, FULL, script);
}

#[test]
fn product_final_varies_the_leftmost_side_slowest() {
    let script = "
        1: a R1 | a R2 ->
        0: a L1 | a L2 ->
        end -> a L1 a R1 | a L1 a R2 | a L2 a R1 | a L2 a R2
    ";
    draws(JoinKeep::Product, JoinEmit::Final, FULL, script);
}

#[test]
fn complete_and_running_say_nothing_at_the_end_and_keep() {
    draws(JoinKeep::Last, JoinEmit::Complete, INNER, "0: a L1 ->\n end ->\n 1: a R1 -> a L1 a R1");
    draws(JoinKeep::Last, JoinEmit::Running, INNER, "0: a L1 ->\n end ->\n 1: a R1 -> a L1 a R1");
}

#[test]
fn left_needs_the_first_side() {
    let running = "
        1: a R1 | b S1 ->
        0: a L1        -> a L1 a R1
        0: c M1        -> c M1 NULL NULL
    ";
    draws(JoinKeep::Last, JoinEmit::Running, LEFT, running);
    let at_the_end = "
        1: a R1 | b S1 ->
        0: c M1 | a L1 ->
        end            -> a L1 a R1 | c M1 NULL NULL
    ";
    draws(JoinKeep::Last, JoinEmit::Final, LEFT, at_the_end);
}

#[test]
fn three_sides_combine_like_digits() {
    let script = "
        2: a Z1 | a Z2 ->
        0: a X1 | a X2 ->
        1: a Y1        -> a X1 a Y1 a Z1 | a X1 a Y1 a Z2 | a X2 a Y1 a Z1 | a X2 a Y1 a Z2
        1: a Y2        ->
    ";
    draws(JoinKeep::Product, JoinEmit::Complete, &[true; 3], script);
    let partly = "
        0: a X1 -> a X1 NULL NULL NULL NULL
        2: a Z1 -> a X1 NULL NULL a Z1
        1: b Y1 ->
        2: b Z2 ->
        0: b X2 -> b X2 b Y1 b Z2
    ";
    draws(JoinKeep::Last, JoinEmit::Running, &[true, false, false], partly);
}

#[test]
fn a_null_key_matches_nothing_and_is_a_key_of_its_own() {
    let running = "
        0: NULL L1 | a L2 -> NULL L1 NULL NULL | a L2 NULL NULL
        1: NULL R1 | a R2 -> NULL NULL NULL R1 | a L2 a R2
        0: NULL L3        -> NULL L3 NULL NULL
    ";
    draws(JoinKeep::Product, JoinEmit::Running, FULL, running);
    let left = "0: NULL L1 -> NULL L1 NULL NULL\n 1: NULL R1 ->";
    draws(JoinKeep::Last, JoinEmit::Running, LEFT, left);
    draws(JoinKeep::Last, JoinEmit::Running, INNER, "0: NULL L1 ->\n 1: NULL R1 ->");
    draws(JoinKeep::Last, JoinEmit::Complete, INNER, "0: NULL L1 ->\n 1: NULL R1 ->\n end ->");
}

#[test]
fn at_the_end_a_null_key_has_its_place_of_arrival() {
    let script = "
        0: a L1 | NULL L2 | b L3 ->
        1: NULL R1 | a R2 ->
        0: NULL L4 | c L5 ->
        end -> a L1 a R2 | NULL L2 NULL NULL | b L3 NULL NULL | NULL NULL NULL R1 | NULL L4 NULL NULL | c L5 NULL NULL
        end ->
        1: NULL R6 ->
        end -> NULL NULL NULL R6
    ";
    for keep in [JoinKeep::First, JoinKeep::Last, JoinKeep::Product] {
        draws(keep, JoinEmit::Final, FULL, script);
    }
    let left = "0: NULL L1 | a L2 ->\n 1: NULL R1 ->\n end -> NULL L1 NULL NULL | a L2 NULL NULL";
    draws(JoinKeep::Last, JoinEmit::Final, LEFT, left);
    draws(JoinKeep::Last, JoinEmit::Final, INNER, "0: NULL L1 | a L2 ->\n 1: NULL R1 ->\n end ->");
}

#[test]
fn several_key_columns_match_together_and_one_null_is_enough() {
    let sides = vec![columns("k:text n:int v:text"); 2];
    let node = join(&sides, 2, JoinKeep::Last, JoinEmit::Running, FULL);
    let script = "
        0: a 1 L1 | a NULL L2 -> a 1 L1 NULL NULL NULL | a NULL L2 NULL NULL NULL
        1: a 2 R1 | a 1 R2    -> NULL NULL NULL a 2 R1 | a 1 L1 a 1 R2
        1: a NULL R3          -> NULL NULL NULL a NULL R3
    ";
    check(&sides, script, |snapshots| build(&node, snapshots));
}

#[test]
fn a_key_that_was_discarded_appears_anew_behind_the_others() {
    let script = "
        0: a L1 | b M1 ->
        end -> a L1 NULL NULL | b M1 NULL NULL
        0: b M2 ->
        1: a R1 ->
        end -> b M2 NULL NULL | NULL NULL a R1
    ";
    draws(JoinKeep::First, JoinEmit::Final, FULL, script);
}

/// Numbers from `from` on, each its own key.
fn numbers(schema: &SchemaRef, from: i64, rows: i64) -> Batch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + rows));
    Batch::append_only(RecordBatch::try_new(schema.clone(), vec![column.clone(), column]).unwrap())
}

fn number_sides() -> Vec<SchemaRef> {
    vec![columns("k:int v:int"); 2]
}

#[test]
fn what_is_discarded_leaves_nothing_behind() -> Result<()> {
    let sides = number_sides();
    let node = join(&sides, 1, JoinKeep::Product, JoinEmit::Complete, INNER);
    let mut join = build(&node, &[])?;
    let mut out = Output::default();
    let mut sizes = vec![];
    for round in 0..20 {
        for port in [Port(0), Port(1)] {
            join.on_batch(port, numbers(&sides[0], round * 8_192, 8_192), &mut out)?;
        }
        assert_eq!(out.drain().map(|batch| batch.num_rows()).sum::<usize>(), 8_192);
        assert_eq!(join.state_size().rows, 0);
        sizes.push(join.state_size().bytes);
    }
    assert!(sizes[19] <= 2 * sizes[1], "{sizes:?}");
    let snapshot = join.snapshot(Epoch::ZERO.next())?.unwrap();
    assert_eq!(snapshot.tables.iter().map(|table| table.rows.num_rows()).sum::<usize>(), 0);
    Ok(())
}

#[test]
fn a_product_that_explodes_comes_in_pieces() -> Result<()> {
    let side = columns("k:int v:int");
    let sides = vec![side.clone(); 2];
    let node = join(&sides, 1, JoinKeep::Product, JoinEmit::Final, INNER);
    let mut join = build(&node, &[])?;
    let mut out = Output::default();
    let rows = (0..200).map(|row| format!("1 {row}")).collect::<Vec<_>>().join(" | ");
    for port in [Port(0), Port(1)] {
        join.on_batch(port, batch(&side, &rows), &mut out)?;
    }
    join.on_eof(&mut out)?;
    let pieces: Vec<Batch> = out.drain().collect();
    assert_eq!(pieces.iter().map(Batch::num_rows).sum::<usize>(), 40_000);
    assert!(pieces.iter().all(|piece| piece.num_rows() <= 8_192));
    assert_eq!(row_texts(&pieces[0].slice(199, 2)), ["1 0 1 199", "1 1 1 0"]);
    Ok(())
}

#[test]
fn compaction_changes_nothing_that_comes_out() -> Result<()> {
    let sides = number_sides();
    let node = join(&sides, 1, JoinKeep::Last, JoinEmit::Final, FULL);
    let mut join = build(&node, &[])?;
    let mut out = Output::default();
    join.on_batch(Port(0), batch(&sides[0], "NULL 7 | 0 1"), &mut out)?;
    for _ in 0..8 {
        join.on_batch(Port(0), numbers(&sides[0], 0, 5_000), &mut out)?;
    }
    let size = join.state_size();
    assert_eq!(size.rows, 5_001);
    join.on_batch(Port(0), batch(&sides[0], "NULL 8"), &mut out)?;
    join.on_eof(&mut out)?;
    let said: Vec<String> = out.drain().flat_map(|batch| row_texts(&batch)).collect();
    assert_eq!(said.len(), 5_002);
    assert_eq!(said[..3], ["NULL 7 NULL NULL", "0 0 NULL NULL", "1 1 NULL NULL"]);
    assert_eq!(said[5_001], "NULL 8 NULL NULL");
    assert_eq!(join.state_size().rows, 0);
    Ok(())
}

#[test]
fn a_restored_join_counts_what_it_keeps() -> Result<()> {
    let sides = sides(2);
    let node = join(&sides, 1, JoinKeep::Last, JoinEmit::Final, FULL);
    let mut join = build(&node, &[])?;
    let mut out = Output::default();
    let mut snapshots = vec![];
    let mut epoch = Epoch::ZERO;
    for text in ["NULL L1 | a L2 | b L3", "a L4 | NULL L5"] {
        join.on_batch(Port(0), batch(&sides[0], text), &mut out)?;
        snapshots.extend(join.snapshot(epoch)?);
        epoch = epoch.next();
        assert_eq!(build(&node, &snapshots)?.state_size().rows, join.state_size().rows);
    }
    join.on_eof(&mut out)?;
    snapshots.extend(join.snapshot(epoch)?);
    assert_eq!(build(&node, &snapshots)?.state_size().rows, 0);
    Ok(())
}

#[test]
fn a_changelog_is_refused() {
    let sides = sides(2);
    let node = join(&sides, 1, JoinKeep::Last, JoinEmit::Running, FULL);
    let mut join = build(&node, &[]).unwrap();
    assert!(join.on_batch(Port(0), batch(&sides[0], "-D a L1"), &mut Output::default()).is_err());
}

/// A join by a key and the end of a window, which the watermark closes.
fn windowed(keep: JoinKeep, emit: JoinEmit, required: &[bool]) -> (Vec<SchemaRef>, KeyedJoin) {
    let sides = vec![columns("k:text end:int v:text"); required.len()];
    let node = join(&sides, 2, keep, emit, required);
    (sides, KeyedJoin { closed_by: Some(1), ..node })
}

#[test]
fn a_window_is_through_when_the_watermark_has_reached_its_end() {
    let (sides, node) = windowed(JoinKeep::Product, JoinEmit::Final, FULL);
    let script = "
        0: a 20 L1 | a 10 L2 | NULL 10 L3 | NULL 30 L4 ->
        1: a 10 R1 | b 10 R2 | a 20 R3 ->
        watermark 9ns  ->
        watermark 10ns -> a 10 L2 a 10 R1 | NULL 10 L3 NULL NULL NULL | NULL NULL NULL b 10 R2
        0: a 20 L5     ->
        1: NULL 20 R4  ->
        watermark 10ns ->
        end            -> a 20 L1 a 20 R3 | a 20 L5 a 20 R3 | NULL NULL NULL NULL 20 R4 | NULL 30 L4 NULL NULL NULL
    ";
    check(&sides, script, |snapshots| build(&node, snapshots));
}

#[test]
fn a_key_that_was_complete_begins_afresh_in_its_window() {
    let (sides, node) = windowed(JoinKeep::Last, JoinEmit::Complete, INNER);
    let script = "
        0: a 10 L1     ->
        1: a 10 R1     -> a 10 L1 a 10 R1
        0: a 20 L2 | b 10 L3 ->
        watermark 10ns ->
        1: a 20 R2     -> a 20 L2 a 20 R2
        1: b 10 R3     ->
    ";
    check(&sides, script, |snapshots| build(&node, snapshots));
}

#[test]
fn what_is_kept_of_a_window_goes_when_it_closes() -> Result<()> {
    for emit in [JoinEmit::Complete, JoinEmit::Running, JoinEmit::Final] {
        let (sides, node) = windowed(JoinKeep::Last, emit, INNER);
        let mut join = build(&node, &[])?;
        let mut out = Output::default();
        join.on_batch(Port(0), batch(&sides[0], "a 10 L1 | b 20 L2"), &mut out)?;
        let snapshot = join.snapshot(Epoch::ZERO)?;
        join.on_watermark(Timestamp::from_nanos(10), &mut out)?;
        assert_eq!((join.state_size().rows, join.waits().open_until), (1, Some(20)), "{emit:?}");
        let after = join.snapshot(Epoch::ZERO.next())?;
        let snapshots: Vec<Snapshot> = snapshot.into_iter().chain(after).collect();
        let restored = build(&node, &snapshots)?;
        assert_eq!((restored.state_size().rows, restored.waits().open_until), (1, Some(20)), "{emit:?}");
    }
    Ok(())
}
