//! The first rows of partitions, drawn.

use arrow::compute::SortOptions;

use super::*;
use crate::operators::testing::{Cut, check, check_cut, columns, no_input, planned};
use crate::plan::Node;
use crate::types::Interval;

/// A Top-N over `k v` by `v`, in partitions by `k`.
fn top(rank: Rank, fetch: usize, says_rank: bool, emit: OrderedEmit, mode: ChangelogMode) -> (SchemaRef, node::TopN) {
    let input = columns("k:text v:int");
    let options = SortOptions { descending: false, nulls_first: false };
    let schema = if says_rank { columns("k:text v:int rank:int") } else { input.clone() };
    let schema = ranked(&schema);
    let node = node::TopN {
        input: no_input(&input),
        partition: vec![Expr::column(&input, 0)],
        order: vec![SortKey { expr: Expr::column(&input, 1), options }],
        rank,
        skip: 0,
        fetch,
        says_rank,
        emit,
        input_mode: mode,
        closed_by: None,
        settles: false,
        ttl: None,
        schema,
    };
    (input, node)
}

/// Ranks are not signed.
fn ranked(schema: &SchemaRef) -> SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema};
    let field = |field: &Arc<Field>| match field.name().as_str() {
        "rank" => Arc::new(field.as_ref().clone().with_data_type(DataType::UInt64)),
        _ => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn draws((input, node): (SchemaRef, node::TopN), script: &str) {
    check(&[input], script, |snapshots| build(&node, snapshots));
}

#[test]
fn a_better_row_takes_the_place_of_the_last() {
    draws(
        top(Rank::RowNumber, 2, false, OrderedEmit::Changes, ChangelogMode::AppendOnly),
        "
        0: a 5 -> +I a 5
        0: a 7 -> +I a 7
        0: b 9 -> +I b 9
        0: a 6 -> -U a 7 | +U a 6
        0: a 6 ->
        0: a 8 ->
        0: a NULL ->
        0: a 1 -> -U a 6 | +U a 1
    ",
    );
}

#[test]
fn a_rank_that_is_said_is_a_place_that_is_taken() {
    draws(
        top(Rank::RowNumber, 2, true, OrderedEmit::Changes, ChangelogMode::AppendOnly),
        "
        0: a 5 -> +I a 5 1
        0: a 7 -> +I a 7 2
        0: a 1 -> -U a 5 1 | +U a 1 1 | -U a 7 2 | +U a 5 2
    ",
    );
}

#[test]
fn equals_have_one_rank_and_all_of_them_are_kept() {
    draws(
        top(Rank::Rank, 2, true, OrderedEmit::Changes, ChangelogMode::AppendOnly),
        "
        0: a 5 -> +I a 5 1
        0: a 7 -> +I a 7 2
        0: a 7 -> +I a 7 2
        0: a 9 ->
        0: a 5 -> -U a 7 2 | +U a 5 1 | -D a 7 2
    ",
    );
    draws(
        top(Rank::DenseRank, 2, true, OrderedEmit::Changes, ChangelogMode::AppendOnly),
        "
        0: a 5 -> +I a 5 1
        0: a 7 -> +I a 7 2
        0: a 7 -> +I a 7 2
        0: a 9 ->
        0: a 6 -> -U a 7 2 | +U a 6 2 | -D a 7 2
    ",
    );
}

#[test]
fn a_row_that_goes_lets_a_later_one_in() {
    draws(
        top(Rank::RowNumber, 2, false, OrderedEmit::Changes, ChangelogMode::Changelog),
        "
        0: +I a 5 -> +I a 5
        0: +I a 7 -> +I a 7
        0: +I a 9 ->
        0: +I a 7 -> 
        0: -D a 5 -> -U a 5 | +U a 7
        0: -U a 7 | +U a 1 -> -U a 7 | +U a 1
        0: -D a 1 -> -U a 1 | +U a 9
        0: -D a 7 -> -D a 7
        0: -D a 9 -> -D a 9
        0: +I a 3 -> +I a 3
    ",
    );
}

#[test]
fn changes_of_a_batch_are_folded() {
    let (input, node) = top(Rank::RowNumber, 1, false, OrderedEmit::Changes, ChangelogMode::AppendOnly);
    let script = "0: a 5 | b 2 | a 3 -> +I a 3 | +I b 2\n 0: a 2 | a 1 | b 3 -> -U a 3 | +U a 1";
    check_cut(&[input], script, Cut::Whole, |snapshots| build(&node, snapshots));
}

#[test]
fn at_the_end_each_partition_says_its_first_rows() {
    draws(
        top(Rank::RowNumber, 2, true, OrderedEmit::Final, ChangelogMode::AppendOnly),
        "0: b 5 | a 7 | b 9 ->\n 0: b 6 | b 1 | a 8 ->\n end -> b 1 1 | b 5 2 | a 7 1 | a 8 2",
    );
    draws(
        top(Rank::RowNumber, 1, true, OrderedEmit::Final, ChangelogMode::Changelog),
        "0: +I b 5 | +I a 7 | +I b 9 ->\n 0: -D b 5 ->\n end -> b 9 1 | a 7 1",
    );
}

#[test]
fn what_comes_first_stays_first() {
    let (input, mut node) = top(Rank::RowNumber, 2, true, OrderedEmit::Changes, ChangelogMode::AppendOnly);
    node.order.clear();
    draws((input, node), "0: a 5 | b 9 | a 7 -> a 5 1 | b 9 1 | a 7 2\n 0: a 1 | b 3 | b 4 -> b 3 2\n end ->");
}

#[test]
fn only_the_first_rows_are_kept() -> Result<()> {
    let input = columns("v:int");
    let node = planned(&input, "SELECT v FROM s ORDER BY v LIMIT 3");
    let Node::TopN(node) = node else { panic!("{node:?}") };
    let mut top = build(&node, &[])?;
    let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values((0..20_000).rev()));
    let rows = arrow::array::RecordBatch::try_new(input, vec![numbers])?;
    for from in (0..20_000).step_by(1_000) {
        top.on_batch(Port(0), Batch::append_only(rows.slice(from, 1_000)), &mut Output::default())?;
        assert_eq!(top.state_size().rows, 3);
    }
    Ok(())
}

/// The first row by `v` of each window that ends at `e`, as it closes.
fn windowed(emit: OrderedEmit) -> (SchemaRef, node::TopN) {
    let input = columns("k:text e:int v:int");
    let (_, node) = top(Rank::RowNumber, 1, false, emit, ChangelogMode::AppendOnly);
    let column = |at| Expr::column(&input, at);
    let order = vec![SortKey { expr: column(2), options: node.order[0].options }];
    let partition = vec![column(0), column(1)];
    let node =
        node::TopN { partition, order, closed_by: Some(1), schema: input.clone(), input: no_input(&input), ..node };
    (input, node)
}

#[test]
fn a_window_speaks_when_the_watermark_reaches_its_end() {
    draws(
        windowed(OrderedEmit::Final),
        "
        0: a 20 5 | a 10 7 | b 10 1 | a 10 3 ->
        watermark 0 ->
        watermark 10ns -> a 10 3 | b 10 1
        0: c 30 4 | d 15 2 | e NULL 1 ->
        end -> d 15 2 | a 20 5 | c 30 4 | e NULL 1
    ",
    );
}

#[test]
fn the_rows_of_a_window_that_has_closed_are_forgotten() -> Result<()> {
    let (input, node) = windowed(OrderedEmit::Changes);
    let mut operator = build(&node, &[])?;
    let mut out = Output::default();
    operator.on_batch(Port(0), crate::operators::testing::batch(&input, "a 10 1 | b 20 1"), &mut out)?;
    operator.on_watermark(Timestamp::from_nanos(10), &mut out)?;
    assert_eq!((operator.state_size().rows, out.take_watermark()), (1, Some(Timestamp::from_nanos(10))));
    Ok(())
}

#[test]
fn a_row_that_is_late_for_its_window_is_counted_and_left_out() -> Result<()> {
    let (input, node) = windowed(OrderedEmit::Final);
    let mut operator = build(&node, &[])?;
    let mut out = Output::default();
    let rows = crate::operators::testing::batch(&input, "a 10 1 | a 10 0 | a 20 0 | a NULL 0");
    operator.on_batch(Port(0), rows.with_watermarks(Some(vec![9, 10, 10, 10].into())), &mut out)?;
    assert_eq!((out.take_forgotten().late, operator.state_size().rows), (1, 3));
    Ok(())
}

/// The first rows of each `k` by the time `v`, each once the watermark has reached it.
fn settling(fetch: usize, skip: usize, says_rank: bool) -> (SchemaRef, node::TopN) {
    let (input, node) = top(Rank::RowNumber, fetch, says_rank, OrderedEmit::Final, ChangelogMode::AppendOnly);
    (input, node::TopN { settles: true, skip, ..node })
}

#[test]
fn a_first_row_is_said_when_no_row_before_it_can_come() {
    draws(
        settling(1, 0, false),
        "
        0: a 7 | b 6 | a NULL ->
        0: a 5 | c 9 ->
        watermark 6ns -> a 5 | b 6
        0: a 8 | b 6 | c 7 | d 7 ->
        watermark 7ns -> c 7 | d 7
        0: c 20 | e 30 ->
        end -> e 30
    ",
    );
}

#[test]
fn several_first_rows_are_said_in_order_of_their_times() {
    draws(
        settling(2, 1, true),
        "
        0: a 3 | a 1 | b 2 ->
        watermark 2ns ->
        0: a 2 | b 4 | a 9 ->
        watermark 5ns -> a 2 2 | a 3 3 | b 4 2
        0: a 10 | b 6 ->
        end -> b 6 3
    ",
    );
}

#[test]
fn a_row_that_is_late_settles_nothing() -> Result<()> {
    let (input, node) = settling(1, 0, false);
    let mut operator = build(&node, &[])?;
    let mut out = Output::default();
    let rows = crate::operators::testing::batch(&input, "a 5 | a 4 | b 5 | b NULL");
    operator.on_batch(Port(0), rows.with_watermarks(Some(vec![0, 5, 5, 5].into())), &mut out)?;
    operator.on_watermark(Timestamp::from_nanos(5), &mut out)?;
    let said: Vec<String> = out.drain().flat_map(|batch| crate::operators::testing::row_texts(&batch)).collect();
    let forgotten = out.take_forgotten();
    assert_eq!((said.join(" | "), forgotten.late, forgotten.untimed), ("a 5 | b 5".into(), 1, 1));
    Ok(())
}

/// The same, forgetting partitions that were not written for ten milliseconds.
fn forgetting((input, node): (SchemaRef, node::TopN)) -> (SchemaRef, node::TopN) {
    (input, node::TopN { ttl: Some(Interval::from_millis(10)), ..node })
}

#[test]
fn a_partition_is_forgotten_once_no_row_of_it_has_come_for_so_long() {
    draws(
        forgetting(top(Rank::RowNumber, 1, false, OrderedEmit::Changes, ChangelogMode::AppendOnly)),
        "
        0: a 5 | b 5 -> +I a 5 | +I b 5
        clock 6 ->
        0: a 7 ->
        clock 12 ->
        0: a 4 | b 6 -> -U a 5 | +U a 4 | +I b 6
        clock 40 ->
        0: a 9 -> +I a 9
    ",
    );
}

#[test]
fn a_row_that_takes_back_what_is_forgotten_does_nothing_and_renews_nothing() {
    draws(
        forgetting(top(Rank::RowNumber, 1, false, OrderedEmit::Changes, ChangelogMode::Changelog)),
        "
        0: +I a 5 | +I b 5 -> +I a 5 | +I b 5
        clock 12 ->
        0: -D a 5 | +I b 7 -> +I b 7
        clock 18 ->
        0: -U b 5 | +U b 6 -> -U b 7 | +U b 6
        clock 24 ->
        0: -D b 6 -> -U b 6 | +U b 7
        0: +I a 9 -> +I a 9
    ",
    );
}

#[test]
fn what_is_forgotten_is_not_there_at_the_end() {
    draws(
        forgetting(top(Rank::Rank, 1, true, OrderedEmit::Final, ChangelogMode::AppendOnly)),
        "
        0: a 5 | b 5 | c NULL ->
        clock 8 ->
        0: b 6 ->
        clock 14 ->
        0: a 7 ->
        end -> b 5 1 | a 7 1
    ",
    );
}

#[test]
fn a_first_row_comes_again_once_the_first_is_forgotten() {
    let (input, node) = forgetting(top(Rank::RowNumber, 1, false, OrderedEmit::Changes, ChangelogMode::AppendOnly));
    draws(
        (input, node::TopN { order: vec![], ..node }),
        "
        0: a 5 | a 6 | b 1 -> a 5 | b 1
        clock 6 ->
        0: a 7 ->
        clock 12 ->
        0: a 8 | b 2 -> b 2
        clock 30 ->
        0: a 9 -> a 9
    ",
    );
}

#[test]
fn of_what_the_watermark_settles_rows_that_wait_are_not_forgotten() {
    draws(
        forgetting(settling(1, 0, false)),
        "
        0: a 5 | b 5 | c 90 ->
        watermark 6ns -> a 5 | b 5
        clock 6 ->
        0: a 7 ->
        clock 12 ->
        0: a 8 | b 9 ->
        watermark 91ns -> b 9 | c 90
        clock 21 ->
        0: c 95 ->
        clock 40 ->
        0: c 96 ->
        end -> c 95
    ",
    );
}
