//! Every aggregate in every emit mode against DataFusion's own accumulators, over random rows,
//! however the rows are cut into batches and however often the operator is restarted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, filter, filter_record_batch, take_arrays};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};

use super::*;
use crate::expr::AggregateCall;
use crate::operators::testing::{self, Cut, check, check_cut, columns};
use crate::operators::{Event, deliver};
use crate::plan::Node;
use crate::types::{Interval, Value, rows_to_batch};

/// Aggregates that can be computed over anything that is only added.
const ALL: &[&str] = &[
    "count(*)",
    "count(v)",
    "count(DISTINCT v)",
    "count(DISTINCT t)",
    "sum(v)",
    "sum(f)",
    "sum(d)",
    "sum(v) FILTER (WHERE f > 0)",
    "avg(v)",
    "avg(f)",
    "avg(d)",
    "min(v)",
    "max(v)",
    "min(f)",
    "max(f)",
    "min(t)",
    "max(t)",
    "min(b)",
    "max(d) FILTER (WHERE b)",
    "first_value(v)",
    "last_value(t)",
    "first_value(v) IGNORE NULLS",
    "last_value(v) IGNORE NULLS",
    "first_value(t ORDER BY v DESC NULLS LAST, id)",
    "last_value(t ORDER BY v, id)",
    "bool_and(b)",
    "bool_or(b)",
    "var_pop(v)",
    "var_samp(f)",
    "stddev_pop(f)",
    "stddev(v)",
    "array_agg(v)",
    "array_agg(t ORDER BY v DESC, id)",
    "array_agg(v) FILTER (WHERE b)",
    "string_agg(t, '-')",
    "string_agg(t, '-' ORDER BY id DESC)",
    "median(v)",
    "sum(DISTINCT v)",
    "corr(v, id)",
    "corr(f, v) FILTER (WHERE b)",
    "covar(f, id)",
    "covar_pop(id, f)",
    "regr_slope(f, v)",
    "regr_intercept(v, id)",
    "regr_count(f, id)",
    "regr_r2(id, f)",
    "regr_avgx(f, v)",
    "regr_avgy(f, v)",
    "regr_sxx(f, v)",
    "regr_syy(f, v)",
    "regr_sxy(f, v)",
    "bit_xor(v)",
    "approx_distinct(t)",
    "nth_value(v, 2 ORDER BY id)",
];

/// Aggregates that only sketch their answer.
const APPROXIMATE: &[&str] = &[
    "approx_median(f)",
    "approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY f)",
    "approx_percentile_cont_with_weight(id, 0.3) WITHIN GROUP (ORDER BY f)",
    "percentile_cont(0.4) WITHIN GROUP (ORDER BY f)",
];

/// Aggregates that can take rows back.
const RETRACTING: &[&str] = &[
    "count(*)",
    "count(v)",
    "sum(v)",
    "sum(f)",
    "sum(d)",
    "avg(v)",
    "avg(f)",
    "avg(d)",
    "count(v) FILTER (WHERE b)",
    "sum(f) FILTER (WHERE v > 0)",
];

const KEYS: &[&str] = &["k", "t", "k, t", "k, b", "f", "k, t, b", "d"];

/// A generator of numbers that is the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn or_null(&mut self, value: Value) -> Value {
        if self.roll(6) == 0 { Value::Null } else { value }
    }

    fn row(&mut self, id: i64) -> Vec<Value> {
        let pick = |dice: &mut Dice, sides| dice.roll(sides) as i64;
        let k = Value::Int(pick(self, 4));
        let v = Value::Int(pick(self, 9) - 3);
        // Quarters: their sums are exact in whatever order they are added.
        let f = Value::Float((pick(self, 17) - 8) as f64 / 4.0);
        let t = Value::Text(["", "ada", "bob", "zoë"][pick(self, 4) as usize].to_owned());
        let b = Value::Bool(self.roll(2) == 0);
        let d = Value::Decimal(i128::from(pick(self, 500) - 200), 2);
        let nullable = [k, v, f, t, b, d].map(|value| self.or_null(value));
        [Value::Int(id)].into_iter().chain(nullable).collect()
    }

    fn rows(&mut self, rows: usize) -> RecordBatch {
        let rows: Vec<Vec<Value>> = (0..rows).map(|id| self.row(id as i64)).collect();
        rows_to_batch(&table(), &rows).unwrap()
    }
}

fn table() -> SchemaRef {
    let columns = [
        ("id", DataType::Int64),
        ("k", DataType::Int64),
        ("v", DataType::Int64),
        ("f", DataType::Float64),
        ("t", DataType::Utf8),
        ("b", DataType::Boolean),
        ("d", DataType::Decimal128(10, 2)),
    ];
    Arc::new(Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

/// The aggregate of a query over a stream `s` of [`table`]'s columns.
fn aggregate(text: &str) -> Aggregate {
    let mut node = testing::planned(&table(), text);
    loop {
        node = match node {
            Node::Aggregate(aggregate) => return aggregate,
            Node::Project(project) => *project.input,
            other => panic!("no aggregate in {text}: {other:?}"),
        }
    }
}

fn query(keys: &str, call: &str) -> Aggregate {
    match keys {
        "" => aggregate(&format!("SELECT {call} FROM s EMIT FINAL")),
        keys => aggregate(&format!("SELECT {keys}, {call} FROM s GROUP BY {keys} EMIT FINAL")),
    }
}

fn with_emit(node: &Aggregate, emit: AggregateEmit) -> Aggregate {
    Aggregate { emit, ..node.clone() }
}

/// The columns of `rows` that the aggregate reads, in its order.
fn input(node: &Aggregate, rows: &RecordBatch) -> RecordBatch {
    let mut stages = vec![];
    let mut below = node.input.as_ref();
    while let Node::Project(project) = below {
        stages.push(project);
        below = &project.input;
    }
    let Node::Source(source) = below else { panic!("not over 7 stream: {below:?}") };
    let mut rows = rows.project(&source.projection).unwrap();
    for project in stages.into_iter().rev() {
        let columns = project.exprs.iter().map(|expr| expr.evaluate(&rows).unwrap()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        rows = RecordBatch::try_new_with_options(project.schema.clone(), columns, &options).unwrap();
    }
    rows
}

/// The rows of 7 batch as text; floating-point numbers to nine digits, for the order of rounding is not ours to settle.
fn texts(batch: &Batch) -> Vec<String> {
    let rows = batch.rows();
    let columns = rows.columns().iter().map(|column| match column.data_type() {
        DataType::Float64 => {
            let rounded = column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| {
                let rounded = format!("{value:.8e}").parse().unwrap_or(value);
                if rounded == 0.0 || value.abs() < 1e-9 { 0.0 } else { rounded }
            });
            Arc::new(rounded) as ArrayRef
        }
        _ => column.clone(),
    });
    let columns = columns.collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rounded = RecordBatch::try_new_with_options(rows.schema(), columns, &options).unwrap();
    testing::row_texts(&batch.with_rows(rounded))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Restart {
    Never,
    FromAll,
    FromLastFull,
}

/// What the operator says to each batch and at the end.
fn run(node: &Aggregate, batches: &[Batch], restart: Restart) -> Vec<Vec<Batch>> {
    let mut operator = build(node, &[]).unwrap();
    let (mut snapshots, mut epoch) = (vec![], Epoch::ZERO);
    let mut said = vec![];
    let events = batches.iter().map(|batch| Event::Batch(Port(0), batch.clone())).chain([Event::Eof]);
    for event in events {
        let mut out = Output::default();
        deliver(operator.as_mut(), event, &mut out).unwrap();
        said.push(out.drain().collect());
        match restart {
            Restart::Never => continue,
            Restart::FromAll => snapshots.extend(operator.snapshot(epoch).unwrap()),
            Restart::FromLastFull => snapshots = operator.snapshot(Epoch::ZERO).unwrap().into_iter().collect(),
        }
        epoch = epoch.next();
        operator = build(node, &snapshots).unwrap();
    }
    said
}

fn all_texts(said: &[Vec<Batch>]) -> Vec<String> {
    said.iter().flatten().flat_map(texts).collect()
}

fn cut(rows: &RecordBatch, size: usize) -> Vec<Batch> {
    let starts = (0..rows.num_rows()).step_by(size);
    starts.map(|start| Batch::append_only(rows.slice(start, size.min(rows.num_rows() - start)))).collect()
}

/// Some rows of a batch, which may have no columns.
fn taken(batch: &RecordBatch, rows: &UInt32Array) -> RecordBatch {
    let columns = take_arrays(batch.columns(), rows, None).unwrap();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).unwrap()
}

/// What DataFusion's accumulator says over `rows`.
fn oracle_value(call: &AggregateCall, rows: &RecordBatch) -> ArrayRef {
    let rows = match &call.filter {
        Some(condition) => filter_record_batch(rows, &condition.evaluate_predicate(rows).unwrap()).unwrap(),
        None => rows.clone(),
    };
    let mut arguments: Vec<ArrayRef> = call.arguments.iter().map(|expr| expr.evaluate(&rows).unwrap()).collect();
    arguments.extend(call.order_by.iter().map(|key| key.expr.evaluate(&rows).unwrap()));
    let mut accumulator = call.accumulator().unwrap();
    accumulator.update_batch(&arguments).unwrap();
    cast(&accumulator.evaluate().unwrap().to_array().unwrap(), call.output.data_type()).unwrap()
}

/// The answer of batch SQL over `rows`: 7 row 7 group, in order of first appearance.
fn oracle(node: &Aggregate, rows: &RecordBatch) -> Vec<String> {
    let keys: Vec<ArrayRef> = node.keys.iter().map(|key| key.evaluate(rows).unwrap()).collect();
    let fields = node.keys.iter().map(|key| key.field().clone()).collect::<Vec<_>>();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let schema = Arc::new(Schema::new(fields));
    let keys = RecordBatch::try_new_with_options(schema, keys, &options).unwrap();
    let names = testing::row_texts(&Batch::append_only(keys.clone()));
    let mut order: Vec<&String> = vec![];
    for name in &names {
        if !order.contains(&name) {
            order.push(name);
        }
    }
    let nothing = String::new();
    if node.keys.is_empty() {
        order = vec![&nothing];
    }
    let group = |name: &&String| {
        let own: BooleanArray = names.iter().map(|other| Some(other == *name)).collect();
        let own = filter_record_batch(rows, &own).unwrap();
        let first = names.iter().position(|other| other == *name).unwrap_or(0);
        let first = UInt32Array::from(if node.keys.is_empty() { vec![] } else { vec![first as u32] });
        let mut columns = taken(&keys, &first).columns().to_vec();
        columns.extend(node.aggregates.iter().map(|call| oracle_value(call, &own)));
        let row = RecordBatch::try_new(node.schema.clone(), columns).unwrap();
        texts(&Batch::append_only(row)).remove(0)
    };
    order.iter().map(group).collect()
}

/// The rows that are there after 7 changelog, sorted.
fn fold<'a>(rows: &mut Vec<String>, changes: impl Iterator<Item = &'a Batch>) {
    for batch in changes {
        for (row, text) in texts(batch).iter().enumerate() {
            let text = batch.kinds().map_or(text.as_str(), |_| text.get(3..).unwrap_or_default()).to_owned();
            match batch.kind(row).weight() {
                1 => rows.push(text),
                _ => {
                    let at = rows.iter().position(|held| *held == text);
                    rows.swap_remove(at.unwrap_or_else(|| panic!("{text} is taken back, but not there")));
                }
            }
        }
    }
    rows.sort();
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// The rows with numbers that no sum of which is exact.
fn inexact(rows: &RecordBatch) -> RecordBatch {
    let columns = rows.columns().iter().map(|column| match column.data_type() {
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            Arc::new(column.unary::<_, Float64Type>(|value| value / 7.0 + 0.1)) as ArrayRef
        }
        _ => column.clone(),
    });
    RecordBatch::try_new(rows.schema(), columns.collect()).unwrap()
}

#[test]
fn a_restart_changes_no_digit() {
    for (seed, call) in ALL.iter().chain(APPROXIMATE).enumerate() {
        let node = with_emit(&query("k", call), AggregateEmit::Running);
        let batches = cut(&input(&node, &inexact(&Dice(seed as u64).rows(400))), 37);
        let exactly = |restart| {
            let said: Vec<Vec<Batch>> = run(&node, &batches, restart);
            said.iter().flatten().flat_map(testing::row_texts).collect::<Vec<_>>()
        };
        assert_eq!(exactly(Restart::Never), exactly(Restart::FromAll), "{call}");
    }
}

#[test]
fn final_is_the_answer_of_batch_sql_however_cut_and_restarted() {
    for (seed, call) in ALL.iter().enumerate() {
        for keys in [KEYS[seed % KEYS.len()], KEYS[0], ""] {
            let node = query(keys, call);
            let rows = input(&node, &Dice(seed as u64).rows(70));
            let expected = oracle(&node, &rows);
            for size in [1, 7, 70] {
                for restart in [Restart::Never, Restart::FromAll, Restart::FromLastFull] {
                    let said = all_texts(&run(&node, &cut(&rows, size), restart));
                    assert_eq!(said, expected, "{call} by {keys:?}, batches of {size}, {restart:?}");
                }
            }
        }
    }
}

#[test]
fn running_says_after_each_row_what_batch_sql_says_of_the_rows_so_far() {
    for (seed, call) in ALL.iter().enumerate() {
        for keys in ["k", ""] {
            let node = with_emit(&query(keys, call), AggregateEmit::Running);
            let rows = input(&node, &Dice(seed as u64 + 100).rows(30));
            let keys_of = |row: usize| {
                let row = rows.slice(row, 1);
                node.keys.iter().map(|key| key.evaluate(&row).unwrap()).collect::<Vec<_>>()
            };
            let expected = (0..rows.num_rows()).map(|last| {
                let own: BooleanArray =
                    (0..rows.num_rows()).map(|row| Some(row <= last && keys_of(row) == keys_of(last))).collect();
                oracle(&node, &filter_record_batch(&rows, &own).unwrap()).remove(0)
            });
            let expected: Vec<String> = expected.collect();
            for size in [1, 8, 30] {
                for restart in [Restart::Never, Restart::FromAll] {
                    let said = all_texts(&run(&node, &cut(&rows, size), restart));
                    assert_eq!(said, expected, "{call} by {keys:?}, batches of {size}, {restart:?}");
                }
            }
        }
    }
}

#[test]
fn changes_fold_after_every_batch_to_the_answer_over_the_rows_so_far() {
    for (seed, call) in ALL.iter().enumerate() {
        for keys in ["k", "", "k, t"] {
            let node = with_emit(&query(keys, call), AggregateEmit::Changes);
            let rows = input(&node, &Dice(seed as u64 + 200).rows(40));
            for size in [1, 9, 40] {
                for restart in [Restart::Never, Restart::FromAll, Restart::FromLastFull] {
                    let batches = cut(&rows, size);
                    let mut folded = vec![];
                    for (step, said) in run(&node, &batches, restart).iter().enumerate() {
                        fold(&mut folded, said.iter());
                        let so_far = rows.slice(0, ((step + 1) * size).min(rows.num_rows()));
                        let expected = sorted(oracle(&node, &so_far));
                        assert_eq!(folded, expected, "{call} by {keys:?}, batches of {size}, {restart:?}");
                    }
                }
            }
        }
    }
}

/// A changelog in which every row that goes was there, and the rows that are there after each batch.
fn changelog(dice: &mut Dice, node: &Aggregate, batches: usize, size: usize) -> Vec<(Batch, RecordBatch)> {
    let pool = input(node, &dice.rows(batches * size));
    let mut there: Vec<u32> = vec![];
    let mut fresh = 0..pool.num_rows() as u32;
    let mut result = vec![];
    for _ in 0..batches {
        let (mut rows, mut kinds) = (vec![], vec![]);
        for _ in 0..size {
            let go = !there.is_empty() && dice.roll(5) < 2;
            if go {
                rows.push(there.swap_remove(dice.roll(there.len() as u64) as usize));
                kinds.push(RowKind::Delete);
            } else {
                let row = fresh.next().unwrap();
                there.push(row);
                rows.push(row);
                kinds.push(RowKind::Insert);
            }
        }
        let take = |rows: Vec<u32>| taken(&pool, &UInt32Array::from(rows));
        let batch = Batch::changelog(take(rows), kinds.into_iter().collect());
        result.push((batch, take(there.clone())));
    }
    result
}

fn over_changelog(keys: &str, call: &str, emit: AggregateEmit) -> Aggregate {
    Aggregate { input_mode: ChangelogMode::Changelog, emit, ..query(keys, call) }
}

#[test]
fn rows_that_are_taken_back_leave_no_trace() {
    for (seed, call) in RETRACTING.iter().enumerate() {
        for keys in ["k", "", "k, t", "t"] {
            let node = over_changelog(keys, call, AggregateEmit::Changes);
            for (size, restart) in [(1, Restart::Never), (6, Restart::FromAll), (30, Restart::FromLastFull)] {
                let steps = changelog(&mut Dice(seed as u64 + 300), &node, 60 / size + 1, size);
                let batches: Vec<Batch> = steps.iter().map(|(batch, _)| batch.clone()).collect();
                let mut folded = vec![];
                for (said, (_, there)) in run(&node, &batches, restart).iter().zip(&steps) {
                    fold(&mut folded, said.iter());
                    assert_eq!(folded, sorted(oracle(&node, there)), "{call} by {keys:?}, batches of {size}");
                }
                let finally = with_emit(&node, AggregateEmit::Final);
                let last = &steps.last().unwrap().1;
                let said = sorted(all_texts(&run(&finally, &batches, restart)));
                assert_eq!(said, sorted(oracle(&node, last)), "{call} by {keys:?}, batches of {size}, FINAL");
            }
        }
    }
}

#[test]
fn final_over_a_changelog_is_in_the_same_order_however_cut() {
    let node = over_changelog("k, t", "count(*)", AggregateEmit::Final);
    let steps = changelog(&mut Dice(7), &node, 40, 3);
    let batches: Vec<Batch> = steps.iter().map(|(batch, _)| batch.clone()).collect();
    let whole = Batch::concat(&batches[0].rows().schema(), &batches).unwrap();
    let rows: Vec<Batch> = (0..whole.num_rows()).map(|row| whole.slice(row, 1)).collect();
    let expected = all_texts(&run(&node, &rows, Restart::Never));
    for (batches, restart) in [(batches, Restart::FromAll), (vec![whole], Restart::Never), (rows, Restart::FromAll)] {
        assert_eq!(all_texts(&run(&node, &batches, restart)), expected, "{restart:?}");
    }
}

#[test]
fn distinct_says_each_row_once_and_appends() {
    let node = Aggregate { aggregates: vec![], ..query("k, t", "count(*)") };
    let schema = Arc::new(Schema::new(node.schema.fields()[..2].to_vec()));
    let node = Aggregate { schema, emit: AggregateEmit::Changes, ..node };
    let rows = input(&node, &Dice(5).rows(60));
    let expected = oracle(&node, &rows);
    for size in [1, 7, 60] {
        for restart in [Restart::Never, Restart::FromAll] {
            let said = run(&node, &cut(&rows, size), restart);
            assert!(said.iter().flatten().all(|batch| batch.kinds().is_none()));
            assert_eq!(all_texts(&said), expected);
        }
    }
}

#[test]
fn sets_within_an_aggregate_are_in_order_of_appearance() {
    for (call, plain) in [
        ("array_agg(DISTINCT id)", "array_agg(id)"),
        ("string_agg(DISTINCT t, ',')", "string_agg(DISTINCT t, ',')"),
        ("array_agg(DISTINCT v ORDER BY v)", "array_agg(DISTINCT v ORDER BY v)"),
    ] {
        let (node, plain) = (query("k", call), query("k", plain));
        let rows = Dice(11).rows(60);
        let expected = all_texts(&run(&plain, &cut(&input(&plain, &rows), 60), Restart::Never));
        let rows = input(&node, &rows);
        for (size, restart) in
            [(60, Restart::Never), (1, Restart::Never), (7, Restart::FromAll), (60, Restart::FromLastFull)]
        {
            let said = all_texts(&run(&node, &cut(&rows, size), restart));
            assert_eq!(said, expected, "{call}, batches of {size}, {restart:?}");
        }
    }
}

#[test]
fn sketches_answer_alike_however_cut_and_restarted() {
    for call in
        ["approx_percentile_cont(0.3) WITHIN GROUP (ORDER BY id * 7919 % 10007)", "approx_median(id * 7919 % 10007)"]
    {
        let node = query("k", call);
        let rows = input(&node, &Dice(12).rows(800));
        let expected = all_texts(&run(&node, &cut(&rows, 800), Restart::Never));
        for (size, restart) in [(1, Restart::Never), (70, Restart::Never), (70, Restart::FromAll)] {
            assert_eq!(all_texts(&run(&node, &cut(&rows, size), restart)), expected, "{call} by {size}, {restart:?}");
        }
    }
}

#[test]
fn a_group_that_was_empty_in_between_starts_from_zero() {
    let schema = columns("k:int f:float");
    let node = over_changelog("k", "sum(f)", AggregateEmit::Final);
    let script = "
        0: +I 1 0.1 | +I 1 0.2 | -D 1 0.1 | -D 1 0.2 | +I 1 5.0  ->
        end                                                      -> 1 5.0
    ";
    check(std::slice::from_ref(&schema), script, |snapshots| build(&node, snapshots));
    let script = "
        0: +I 1 1e300 | +I 1 0.2 | +I 1 1e300 | -D 1 1e300 | -D 1 1e300 | -D 1 0.2 | +I 1 5.5  ->
        end                                                      -> 1 5.5
    ";
    check(std::slice::from_ref(&schema), script, |snapshots| build(&node, snapshots));
    let node = with_emit(&node, AggregateEmit::Changes);
    let script = "
        0: +I 1 0.1 -> +I 1 0.1
        0: +I 1 0.2 -> -U 1 0.1 | +U 1 0.30000000000000004
        0: -D 1 0.1 -> -U 1 0.30000000000000004 | +U 1 0.2
        0: +I 1 0.3 | -D 1 0.3 | -D 1 0.2 | +I 1 5.0  -> -U 1 0.2 | +U 1 5.0
    ";
    check_cut(&[schema], script, Cut::Whole, |snapshots| build(&node, snapshots));
}

#[test]
fn a_changelog_takes_back_the_key_that_it_has_said() {
    let node = with_emit(&query("f", "count(*)"), AggregateEmit::Changes);
    let script = "
        0: -0.0 | 0.0 | -NaN -> +I 0.0 2 | +I NaN 1
        0: -0.0 | NaN        -> -U 0.0 2 | +U 0.0 3 | -U NaN 1 | +U NaN 2
    ";
    check_cut(&[columns("f:float")], script, Cut::Whole, |snapshots| build(&node, snapshots));
    let node = with_emit(&query("t, k", "sum(v)"), AggregateEmit::Changes);
    let script = "
        0: 1 5 a | 1 5 NULL | NULL 5 a                 -> +I a 1 5 | +I NULL 1 5 | +I a NULL 5
        0: 1 1 b | 1 0 a | 1 1 NULL | 1 2 a | NULL 0 a -> +I b 1 1 | -U a 1 5 | +U a 1 7 | -U NULL 1 5 | +U NULL 1 6
    ";
    check_cut(&[columns("k:int v:int t:text")], script, Cut::Whole, |snapshots| build(&node, snapshots));
}

#[test]
fn what_is_not_finite_comes_and_goes() {
    let schema = columns("k:int f:float");
    let node = over_changelog("k", "sum(f), avg(f), count(f)", AggregateEmit::Changes);
    let script = "
        0: +I 7 1           -> +I 7 1.0 1.0 1
        0: +I 7 NaN         -> -U 7 1.0 1.0 1 | +U 7 NaN NaN 2
        0: +I 7 inf         -> -U 7 NaN NaN 2 | +U 7 NaN NaN 3
        0: -D 7 NaN         -> -U 7 NaN NaN 3 | +U 7 inf inf 2
        0: +I 7 -inf        -> -U 7 inf inf 2 | +U 7 NaN NaN 3
        0: -D 7 inf         -> -U 7 NaN NaN 3 | +U 7 -inf -inf 2
        0: -D 7 -inf        -> -U 7 -inf -inf 2 | +U 7 1.0 1.0 1
        0: -D 7 1           -> -D 7 1.0 1.0 1
        0: +I 7 NULL        -> +I 7 NULL NULL 0
    ";
    check(&[schema], script, |snapshots| build(&node, snapshots));
}

#[test]
fn every_says_at_most_one_change_a_key_when_the_clock_is_due() {
    let node = over_changelog("k", "count(*)", AggregateEmit::Every(Interval::from_millis(10)));
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    let script = "
        clock 3         ->
        0: +I 1 | +I 2 | +I 1 ->
        clock 12        ->
        clock 13        -> +I 1 2 | +I 2 1
        clock 50        ->
        0: -D 2         ->
        0: +I 1 | -D 1  ->
        0: +I 3 | -D 3  ->
        clock 60        -> -D 2 1
        0: +I 2         ->
        0: +I 1         ->
        end             -> +I 2 1 | -U 1 2 | +U 1 3
    ";
    check(&[schema], script, |snapshots| build(&node, snapshots));
}

#[test]
fn an_aggregate_without_keys_has_one_row_even_over_nothing() {
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
    let node = over_changelog("", "count(v), sum(v)", AggregateEmit::Changes);
    check(std::slice::from_ref(&schema), "end -> +I 0 NULL", |snapshots| build(&node, snapshots));
    let script = "
        0: +I 4     -> +I 1 4
        0: -D 4     -> -U 1 4 | +U 0 NULL
        0: +I NULL  ->
        end         ->
    ";
    check(std::slice::from_ref(&schema), script, |snapshots| build(&node, snapshots));
    let node = with_emit(&node, AggregateEmit::Final);
    check(std::slice::from_ref(&schema), "end -> 0 NULL", |snapshots| build(&node, snapshots));
    check(&[schema], "0: +I 4 | -D 4 ->\nend -> 0 NULL", |snapshots| build(&node, snapshots));
}

#[test]
fn a_sum_that_is_too_large_is_an_error_and_no_other_number() {
    let node = query("", "sum(v)");
    let rows = vec![vec![Value::Int(i64::MAX)], vec![Value::Int(1)]];
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
    let rows = rows_to_batch(&schema, &rows).unwrap();
    let mut operator = build(&node, &[]).unwrap();
    let batch = Event::Batch(Port(0), Batch::append_only(rows));
    let error = deliver(operator.as_mut(), batch, &mut Output::default()).unwrap_err();
    assert_eq!(error.code(), crate::Code::Value);
}

#[test]
fn groups_without_rows_are_forgotten() {
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    for emit in [AggregateEmit::Final, AggregateEmit::Changes] {
        let mut operator = build(&over_changelog("k", "count(*)", emit), &[]).unwrap();
        for (rows, left) in [("+I 1 | +I 2 | +I 2", 2), ("-D 2 | -D 2", 1), ("+I 3 | -D 3 | -D 1", 0)] {
            let batch = Event::Batch(Port(0), testing::batch(&schema, rows));
            deliver(operator.as_mut(), batch, &mut Output::default()).unwrap();
            assert_eq!(operator.state_size().rows, left, "{emit:?} after {rows}");
        }
    }
}

#[test]
fn results_come_in_batches_of_bounded_size() {
    let node = query("id", "count(*)");
    let rows = input(&node, &Dice(3).rows(20_000));
    let said = run(&node, &cut(&rows, 20_000), Restart::Never);
    let sizes: Vec<usize> = said.iter().flatten().map(Batch::num_rows).collect();
    assert_eq!(sizes, [8_192, 8_192, 3_616]);
    let rows = concat_batches(&node.schema, said.iter().flatten().map(Batch::rows)).unwrap();
    let seen = filter(rows.column(0), &BooleanArray::from(vec![true; 20_000])).unwrap();
    assert_eq!(seen.as_ref(), input(&node, &Dice(3).rows(20_000)).column(0).as_ref());
}

/// What a group has as a text.
fn value_text(value: ArrayRef) -> Vec<String> {
    texts(&Batch::append_only(RecordBatch::try_from_iter([("v", value)]).unwrap()))
}

/// Calls of one argument with `DISTINCT`, more than one index of values can tell apart, and one of another argument.
const SHARED: &str = "count(DISTINCT v), count(DISTINCT v) FILTER (WHERE b), sum(DISTINCT v) FILTER (WHERE NOT b), \
                      count(DISTINCT t) FILTER (WHERE v > 1), sum(DISTINCT v), count(DISTINCT v) FILTER (WHERE v < 3), \
                      count(DISTINCT v) FILTER (WHERE f > 0), sum(DISTINCT v) FILTER (WHERE f > 0), \
                      avg(DISTINCT v) FILTER (WHERE b), count(DISTINCT v) FILTER (WHERE t IS NULL), \
                      avg(DISTINCT v)";

/// Random rows into random groups, of which some become one, with snapshots in between: each row of `owners` is a group
/// with its rows in order of arrival.
fn merged(call: &str, dice: &mut Dice) -> (Aggregate, RecordBatch, Accumulators, Vec<Vec<u32>>) {
    const GROUPS: usize = 6;
    let node = query("", call);
    let rows = dice.rows(60);
    let own = input(&node, &rows);
    let mut accumulators = merging_accumulators(&node.aggregates).unwrap();
    let mut owners = vec![vec![]; GROUPS];
    let mut start = 0;
    while start < own.num_rows() {
        accumulators.grow(GROUPS);
        let length = (dice.roll(5) as usize).min(own.num_rows() - start);
        let groups: Vec<u32> = (0..length).map(|_| dice.roll(GROUPS as u64) as u32).collect();
        accumulators.update(&own.slice(start, length), &groups).unwrap();
        groups.iter().enumerate().for_each(|(row, group)| owners[*group as usize].push((start + row) as u32));
        start += length;
        let (into, from) = (dice.roll(GROUPS as u64) as usize, dice.roll(GROUPS as u64) as usize);
        if into != from {
            accumulators.merge(into as u32, from as u32).unwrap();
            let moved = std::mem::take(&mut owners[from]);
            owners[into].extend(moved);
            owners[into].sort_unstable();
        }
        if dice.roll(4) == 0 {
            let all: Vec<u32> = (0..GROUPS as u32).rev().collect();
            let counts: Vec<i64> = all.iter().map(|group| accumulators.rows(*group)).collect();
            let saved = accumulators.save(&all).unwrap();
            accumulators = merging_accumulators(&node.aggregates).unwrap();
            accumulators.grow(GROUPS);
            accumulators.load(&all, &counts, &saved).unwrap();
        }
    }
    (node, own, accumulators, owners)
}

#[test]
fn merged_groups_give_what_their_rows_give_in_order_of_arrival() {
    let mut dice = Dice(11);
    const MORE: &[&str] = &[
        "sum(DISTINCT f)",
        "count(DISTINCT v) FILTER (WHERE b)",
        "percentile_cont(0.4) WITHIN GROUP (ORDER BY f)",
        SHARED,
    ];
    for call in ALL.iter().chain(MORE) {
        for _ in 0..5 {
            let (node, own, mut accumulators, owners) = merged(call, &mut dice);
            for (group, rows) in owners.iter().enumerate() {
                assert_eq!(accumulators.rows(group as u32), rows.len() as i64, "{call}");
                let said = accumulators.read(&[group as u32]).unwrap();
                for (call, said) in node.aggregates.iter().zip(said) {
                    let expected = oracle_value(call, &taken(&own, &UInt32Array::from(rows.clone())));
                    assert_eq!(value_text(said), value_text(expected), "{call} of the rows {rows:?}");
                }
            }
        }
    }
}
