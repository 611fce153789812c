use std::collections::BTreeMap;

use super::*;
use crate::operators::testing::{Cut, check_cut, columns, planned, row_texts};
use crate::operators::{Event, deliver};
use crate::plan::Node;
use crate::plan::node::ChangelogMode;
use crate::types::{Value, rows_to_batch};

/// `SELECT … FROM s(id, k, v, at)` in sessions that the watermark closes, kept for `lateness` ticks.
fn node(query: &str, lateness: i64) -> WindowAggregate {
    fn found(node: Node) -> WindowAggregate {
        match node {
            Node::WindowAggregate(node) => node,
            Node::Project(node) => found(*node.input),
            other => panic!("{other:?}"),
        }
    }
    let mut node = found(planned(&table(), query));
    node.window.closing = Closing::Watermark;
    node.window.lateness = lateness;
    node
}

fn table() -> SchemaRef {
    columns("id:int k:text v:int at:int")
}

fn run_node(node: &WindowAggregate, cuts: &[Cut], script: &str) {
    let input = node.input.schema();
    for cut in cuts {
        check_cut(std::slice::from_ref(&input), script, *cut, |snapshots| build(node, snapshots));
    }
}

fn run(query: &str, lateness: i64, cuts: &[Cut], script: &str) {
    run_node(&node(query, lateness), cuts, script);
}

const BOTH: &[Cut] = &[Cut::Whole, Cut::Rows];

/// The bounds and the number of rows of each session.
const COUNTS: &str = "SELECT k, window_start, window_end, window_time, count(*) FROM s GROUP BY k, SESSION(at, 10)";

fn counts(emit: &str) -> String {
    format!("{COUNTS} EMIT {emit}")
}

#[test]
fn a_session_ends_a_gap_after_its_last_row() {
    run(
        &counts("FINAL"),
        0,
        BOTH,
        "0: a 1 | a 9 | b 4 | NULL 8 | a NULL ->
         watermark 13ns ->
         watermark 14ns -> b 4 14 13 1
         0: a 19 ->
         watermark 28ns -> NULL 8 18 17 1
         0: c 40 | a 30 | c 35 ->
         end -> a 1 29 28 3 | a 30 40 39 1 | c 35 50 49 2",
    );
}

#[test]
fn rows_exactly_a_gap_apart_are_in_one_session_and_a_tick_more_parts_them() {
    run(
        &counts("FINAL"),
        0,
        BOTH,
        "0: a 0 | a 10 | a 21 | b -10 | b 0 | b -21 | a 0 ->
         end -> b -21 -11 -12 1 | b -10 10 9 2 | a 0 20 19 3 | a 21 31 30 1",
    );
}

#[test]
fn sessions_that_end_together_come_in_the_order_of_their_starts_and_first_rows() {
    run(
        &counts("FINAL"),
        0,
        BOTH,
        "0: d 5 | c 3 | b 2 | a 5 | c 5 ->
         end -> b 2 12 11 1 | c 3 15 14 2 | d 5 15 14 1 | a 5 15 14 1",
    );
}

#[test]
fn five_rows_give_one_answer_in_whatever_order_they_come() {
    let query = "SELECT k, window_start, window_end, count(*), sum(v), min(v), count(DISTINCT v) \
                 FROM s GROUP BY k, SESSION(at, 10) EMIT FINAL";
    let node = node(query, 0);
    let rows = ["a 1 0", "a 2 8", "a 4 18", "a 4 40", "a 16 29"];
    let mut orders = vec![vec![]];
    for row in 0..rows.len() {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |at| [&order[..at], &[row], &order[at..]].concat())
            })
            .collect();
    }
    assert_eq!(orders.len(), 120);
    for order in orders {
        let drawn = order.iter().map(|row| rows[*row]).collect::<Vec<_>>().join(" | ");
        let script = format!("0: {drawn} -> \n end -> a 0 28 27 3 7 1 3 | a 29 39 38 1 16 16 1 | a 40 50 49 1 4 4 1");
        for cut in BOTH {
            check_cut(&[node.input.schema()], &script, *cut, |snapshots| build(&node, snapshots));
        }
    }
}

#[test]
fn a_row_that_joins_two_sessions_makes_them_one() {
    run(
        "SELECT k, window_start, window_end, array_agg(v), first_value(v), last_value(v), avg(v), string_agg(k, '') \
         FROM s GROUP BY k, SESSION(at, 10) EMIT FINAL",
        0,
        BOTH,
        "0: a 1 30 | a 2 0 | b 9 3 | a 3 31 | a 4 10 ->
         0: a 5 2 | a 6 20 ->
         watermark 40ns -> b 3 13 12 [9] 9 9 9.0 b
         end -> a 0 41 40 [1, 2, 3, 4, 5, 6] 1 6 3.5 aaaaaa",
    );
}

#[test]
fn a_row_whose_session_has_ended_is_late_whatever_is_open() {
    let node = node(&counts("FINAL"), 0);
    let mut operator = build(&node, &[]).unwrap();
    let rows = [
        ("a", 0, i64::MIN, false),
        ("a", 30, 0, false),
        // By itself it would end at 15.
        ("a", 5, 15, true),
        // It would end at 19, but is in [0, 10), which has ended.
        ("a", 9, 15, true),
        // At the end of a session that has ended another begins.
        ("a", 10, 15, false),
        // By itself it would end at 31, and what is open begins after it.
        ("a", 21, 39, true),
        ("a", 39, 39, false),
        // Within what is open a row is never late.
        ("a", 31, 45, false),
        ("b", 35, 45, true),
        ("b", 36, 45, false),
    ];
    let mut late = 0;
    for (k, at, watermark, is_late) in rows {
        let batch = batch_of(&node, &[(0, Some(k), 0, at, watermark)]);
        late += usize::from(is_late);
        let mut out = Output::default();
        deliver(operator.as_mut(), Event::Batch(Port(0), batch), &mut out).unwrap();
        assert_eq!(out.take_forgotten().late, usize::from(is_late), "{k} {at}");
    }
    assert_eq!(late, 4);
    let mut out = Output::default();
    deliver(operator.as_mut(), Event::Eof, &mut out).unwrap();
    let said: Vec<String> = out.drain().flat_map(|batch| row_texts(&batch)).collect();
    assert_eq!(said, ["a 0 10 9 1", "a 10 20 19 1", "b 36 46 45 1", "a 30 49 48 3"]);
}

#[test]
fn late_rows_are_told_with_the_session_that_each_would_have_made() {
    let mut node = node(&counts("FINAL"), 0);
    node.says_late = true;
    node.aggregates = vec![];
    let bounds = columns("window_start:int window_end:int lateness:int");
    let fields = node.input.schema().fields().iter().chain(bounds.fields()).cloned().collect::<Vec<_>>();
    node.schema = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
    for restart in [false, true] {
        let mut operator = build(&node, &[]).unwrap();
        let (mut said, mut snapshots, mut epoch) = (vec![], vec![], Epoch::ZERO);
        for (at, watermark) in [(0, i64::MIN), (4, 15), (7, 15), (20, 15), (3, 15), (11, 29), (22, 29), (14, 40)] {
            let mut out = Output::default();
            let events = [
                Event::Watermark(Timestamp::from_nanos(watermark)),
                Event::Batch(Port(0), batch_of(&node, &[(0, Some("a"), 0, at, watermark)])),
            ];
            for event in events {
                deliver(operator.as_mut(), event, &mut out).unwrap();
            }
            said.extend(out.drain().flat_map(|batch| row_texts(&batch)));
            if restart {
                snapshots.extend(operator.snapshot(epoch).unwrap());
                epoch = epoch.next();
                operator = build(&node, &snapshots).unwrap();
            }
        }
        assert_eq!(said, ["a 4 4 14 1", "a 7 7 17 5", "a 3 3 13 2", "a 11 11 21 8", "a 14 14 24 16"], "{restart}");
    }
}

#[test]
fn running_says_the_session_of_each_row_as_it_is_then() {
    run(
        "SELECT k, window_start, window_end, window_time, count(*), array_agg(v) \
         FROM s GROUP BY k, SESSION(at, 10) EMIT RUNNING",
        0,
        BOTH,
        "0: a 1 0 | a 2 20 | b 7 5 | a 3 10 | a 4 11 ->
            a 0 10 9 1 [1] | a 20 30 29 1 [2] | b 5 15 14 1 [7] | a 0 30 29 3 [1, 2, 3] | a 0 30 29 4 [1, 2, 3, 4]
         watermark 30ns ->
         0: b 1 31 -> b 31 41 40 1 [1]
         end ->",
    );
}

#[test]
fn changes_take_back_what_is_part_of_another() {
    run(
        &counts("CHANGES"),
        0,
        &[Cut::Rows],
        "0: a 0 -> +I a 0 10 9 1
         0: a 15 -> +I a 15 25 24 1
         0: a 8 -> -D a 15 25 24 1 | -U a 0 10 9 1 | +U a 0 25 24 3
         watermark 25ns ->
         0: a 26 -> +I a 26 36 35 1
         0: a 30 | b 16 -> -U a 26 36 35 1 | +U a 26 40 39 2 | +I b 16 26 25 1
         end ->",
    );
    run(
        &counts("CHANGES"),
        0,
        &[Cut::Whole],
        "0: a 0 | a 15 | b 3 | a 8 -> +I a 0 25 24 3 | +I b 3 13 12 1
         0: a 40 | a 60 -> +I a 40 50 49 1 | +I a 60 70 69 1
         0: a 50 | a 33 | a 90 -> -D a 60 70 69 1 | -U a 40 50 49 1 | +U a 33 70 69 4 | +I a 90 100 99 1",
    );
}

#[test]
fn sessions_that_are_kept_are_corrected() {
    run(
        &counts("FINAL"),
        20,
        &[Cut::Rows],
        "0: a 0 ->
         watermark 20ns -> +I a 0 10 9 1
         0: a 3 -> -U a 0 10 9 1 | +U a 0 13 12 2
         0: a 10 -> -U a 0 13 12 2 | +U a 0 20 19 3",
    );
    run(
        &counts("FINAL"),
        20,
        &[Cut::Rows],
        "0: a 0 ->
         watermark 12ns -> +I a 0 10 9 1
         0: a 9 -> -D a 0 10 9 1
         watermark 19ns -> +I a 0 19 18 2
         0: a 30 ->
         watermark 38ns ->
         watermark 39ns ->
         0: a 22 -> 
         watermark 40ns -> +I a 22 40 39 2
         end ->",
    );
}

#[test]
fn early_results_come_when_they_are_due_and_the_last_when_a_session_ends() {
    let script = "0: a 0 ->
         clock 1 ->
         clock 5 -> +I a 0 10 9 1
         0: a 15 | b 2 ->
         clock 10 -> +I a 15 25 24 1 | +I b 2 12 11 1
         0: a 8 | b 4 ->
         watermark 13ns ->";
    run(
        &counts("EVERY INTERVAL '5 milliseconds'"),
        0,
        BOTH,
        &format!(
            "{script}
             clock 15 -> -D a 15 25 24 1 | -U a 0 10 9 1 | +U a 0 25 24 3 | -U b 2 12 11 1 | +U b 2 14 13 2
             0: a 9 ->
             watermark 14ns ->
             watermark 25ns -> -U a 0 25 24 3 | +U a 0 25 24 4
             clock 20 ->
             end ->"
        ),
    );
    run(
        &counts("EVERY INTERVAL '5 milliseconds' AND FINAL"),
        10,
        BOTH,
        &format!(
            "{script}
             watermark 14ns -> -U b 2 12 11 1 | +U b 2 14 13 2
             clock 15 -> -D a 15 25 24 1 | -U a 0 10 9 1 | +U a 0 25 24 3
             0: b 5 ->
             watermark 15ns -> -U b 2 14 13 2 | +U b 2 15 14 3
             end ->"
        ),
    );
}

#[test]
fn the_clock_ends_sessions_of_the_clock() {
    let mut node = node(&counts("FINAL").replace("SESSION(at, 10)", "SESSION(at, 10000000)"), 0);
    node.window.closing = Closing::Clock;
    run_node(
        &node,
        BOTH,
        "0: a 0 | b 3000000 ->
         clock 8 ->
         0: a 8000000 ->
         clock 20 -> b 3000000 13000000 12999999 1 | a 0 18000000 17999999 2
         0: a 20000000 ->
         end -> a 20000000 30000000 29999999 1",
    );
}

#[test]
fn without_event_time_only_the_end_closes_sessions() {
    let mut node = node(&counts("FINAL"), 0);
    node.window.closing = Closing::End;
    run_node(&node, BOTH, "0: a 0 | a 100 ->\n watermark 500ns ->\n 0: a 5 ->\n end -> a 0 15 14 2 | a 100 110 109 1");
}

#[test]
fn one_group_for_all_rows_and_no_row_at_all() {
    let query = "SELECT window_start, window_end, window_time, count(*) FROM s GROUP BY SESSION(at, 10) EMIT FINAL";
    run(query, 0, BOTH, "watermark 100ns ->\n end ->");
    run(query, 0, BOTH, "0: 1 | 5 | 30 ->\n watermark 20ns -> 1 15 14 2\n end -> 30 40 39 1");
}

#[test]
fn rows_come_with_their_session_when_it_has_ended() {
    let planned = planned(
        &table(),
        "SELECT k, v, at, window_start, window_end, window_time FROM SESSION(TABLE s PARTITION BY k, at, 10)",
    );
    fn found(node: Node) -> crate::plan::node::Windows {
        match node {
            Node::Windows(node) => node,
            Node::Project(node) => found(*node.input),
            other => panic!("{other:?}"),
        }
    }
    let mut node = found(planned);
    node.window.closing = Closing::Watermark;
    let input = node.input.schema();
    let script = "0: a 10 30 | a 11 0 | b 12 3 | a 13 NULL | a 14 20 ->
         watermark 9ns ->
         0: a 15 10 ->
         watermark 13ns -> b 12 3 3 13 12
         end -> a 10 30 0 40 39 | a 11 0 0 40 39 | a 14 20 0 40 39 | a 15 10 0 40 39";
    for cut in BOTH {
        check_cut(std::slice::from_ref(&input), script, *cut, |snapshots| build_rows(&node, snapshots));
    }
}

#[test]
fn a_time_at_the_end_of_all_times_is_an_error() {
    let node = node(&counts("FINAL"), 0);
    let far = batch_of(&node, &[(0, Some("a"), 0, i64::MAX - 9, i64::MIN)]);
    assert!(build(&node, &[]).unwrap().on_batch(Port(0), far, &mut Output::default()).is_err());
    let near = batch_of(&node, &[(0, Some("a"), 0, i64::MIN, i64::MIN), (0, Some("a"), 0, i64::MAX - 10, i64::MIN)]);
    let mut operator = build(&node, &[]).unwrap();
    operator.on_batch(Port(0), near, &mut Output::default()).unwrap();
    let mut out = Output::default();
    operator.on_eof(&mut out).unwrap();
    assert_eq!(out.drain().map(|batch| batch.num_rows()).sum::<usize>(), 2);
}

#[test]
fn what_has_ended_is_not_held() {
    let node = node(&counts("FINAL"), 0);
    let mut operator = build(&node, &[]).unwrap();
    let mut after_some = 0;
    for round in 0..200_i64 {
        let keys: Vec<String> = (0..100).map(|key| format!("{}", round * 100 + key)).collect();
        let rows: Vec<Row> = keys.iter().map(|key| (0, Some(key.as_str()), 0, round * 20, (round - 2) * 20)).collect();
        operator.on_batch(Port(0), batch_of(&node, &rows), &mut Output::default()).unwrap();
        operator.on_watermark(Timestamp::from_nanos((round - 1) * 20), &mut Output::default()).unwrap();
        assert!(operator.state_size().rows <= 200, "{:?}", operator.state_size());
        after_some = if round == 50 { operator.state_size().bytes } else { after_some };
    }
    let bytes = operator.state_size().bytes;
    assert!(bytes < after_some * 3 / 2, "{bytes} bytes are held, and were {after_some}");
}

/// Number, key, value, time, and the watermark before the row.
type Row<'a> = (i64, Option<&'a str>, i64, i64, i64);

/// The columns of rows that a node reads.
fn batch_of(node: &WindowAggregate, rows: &[Row<'_>]) -> Batch {
    let text = |key: Option<&str>| key.map_or(Value::Null, |key| Value::Text(key.to_owned()));
    let values: Vec<Vec<Value>> =
        rows.iter().map(|row| vec![Value::Int(row.0), text(row.1), Value::Int(row.2), Value::Int(row.3)]).collect();
    let all = rows_to_batch(&table(), &values).unwrap();
    let read = node.input.schema();
    let columns: Vec<usize> = read.fields().iter().map(|field| all.schema().index_of(field.name()).unwrap()).collect();
    let watermarks = rows.iter().map(|row| row.4).collect();
    Batch::append_only(all.project(&columns).unwrap()).with_watermarks(Some(watermarks))
}

/// A generator of numbers that is the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % sides
    }
}

const GAP: i64 = 10;

/// A session: its key, its bounds and its rows.
type Expected<'a> = (Option<&'a str>, i64, i64, Vec<Row<'a>>);

/// Sessions of rows, taken one by one, and the numbers of those that are late.
#[derive(Default)]
struct Reference<'a> {
    sessions: Vec<Expected<'a>>,
    late: Vec<i64>,
}

impl<'a> Reference<'a> {
    fn take(&mut self, row: Row<'a>, lateness: i64) {
        let (id, k, _, at, watermark) = row;
        let kept = watermark.saturating_sub(lateness);
        let is_in = |session: &Expected<'_>| session.0 == k && session.1 <= at + GAP && at <= session.2;
        let has_ended = |session: &Expected<'_>| session.2 <= kept;
        let ended = self.sessions.iter().any(|session| has_ended(session) && is_in(session) && at < session.2);
        let (mut own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sessions).into_iter().partition(|session| is_in(session) && !has_ended(session));
        self.sessions = others;
        if ended || (at + GAP <= kept && own.iter().all(|session| session.1 > at)) {
            self.late.push(id);
            self.sessions.append(&mut own);
            return;
        }
        let start = own.iter().map(|session| session.1).chain([at]).min().unwrap();
        let end = own.iter().map(|session| session.2).chain([at + GAP]).max().unwrap();
        let mut rows: Vec<Row<'a>> = own.into_iter().flat_map(|session| session.3).chain([row]).collect();
        rows.sort_unstable();
        self.sessions.push((k, start, end, rows));
    }

    /// The sessions as they come out when they end.
    fn texts(&mut self) -> Vec<String> {
        self.sessions.sort_by_key(|session| (session.2, session.1, session.3[0].0));
        self.sessions.iter().map(text).collect()
    }
}

fn text(session: &Expected<'_>) -> String {
    let (k, start, end, rows) = session;
    let ids: Vec<String> = rows.iter().map(|row| row.0.to_string()).collect();
    let values: Vec<i64> = rows.iter().map(|row| row.2).collect();
    let mut distinct = values.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let (sum, count): (i64, usize) = (values.iter().sum(), rows.len());
    let mean = format!("{:?}", sum as f64 / count as f64);
    let (least, first, distinct) = (values.iter().min().unwrap(), values[0], distinct.len());
    let bounds = format!("{} {start} {end} {}", k.unwrap_or("NULL"), end - 1);
    format!("{bounds} [{}] {count} {sum} {least} {first} {distinct} {mean}", ids.join(", "))
}

const PROBED: &str = "SELECT k, window_start, window_end, window_time, array_agg(id), count(*), sum(v), min(v), \
                      first_value(v), count(DISTINCT v), avg(v) FROM s GROUP BY k, SESSION(at, 10) EMIT ";

/// Rows of three keys out of order, behind a watermark that some of them are late for.
fn rows(dice: &mut Dice) -> Vec<Row<'static>> {
    let (count, span, delay) = (5 + dice.roll(60), 20 + dice.roll(150), dice.roll(40));
    let (mut rows, mut watermark) = (vec![], i64::MIN);
    for id in 0..count {
        let key = [Some("a"), Some("b"), None][dice.roll(3).min(dice.roll(3)) as usize];
        let at = id * span / count + dice.roll(50) - 40;
        rows.push((id, key, dice.roll(5), at, watermark));
        watermark = watermark.max(at - delay);
    }
    rows
}

/// What an operator says to rows cut at random, with watermarks between batches, time passing, and restarts.
fn probe(node: &WindowAggregate, rows: &[Row<'_>], dice: &mut Dice) -> (Vec<String>, usize) {
    let mut operator = build(node, &[]).unwrap();
    let (mut said, mut late, mut snapshots, mut epoch) = (vec![], 0, vec![], Epoch::ZERO);
    let (restarts, longest) = (dice.roll(3) == 0, 1 + dice.roll(20));
    let mut now = 0;
    let mut rest = rows;
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(rest.len().min(1 + dice.roll(longest) as usize));
        let mut events = vec![Event::Batch(Port(0), batch_of(node, batch))];
        rest = others;
        if let (Some(next), false) = (rest.first(), dice.roll(3) == 0) {
            events.push(Event::Watermark(Timestamp::from_nanos(next.4)));
        }
        now += dice.roll(4);
        if operator.notify_at().is_some_and(|due| due <= Timestamp::from_millis(now)) {
            events.push(Event::Notify(Timestamp::from_millis(now)));
        }
        events.extend(rest.is_empty().then_some(Event::Eof));
        for event in events {
            let mut out = Output::default();
            out.set_now(Timestamp::from_millis(now));
            deliver(operator.as_mut(), event, &mut out).unwrap();
            late += out.take_forgotten().late;
            said.extend(out.drain().flat_map(|batch| row_texts(&batch)));
            if restarts && dice.roll(2) == 0 {
                snapshots.extend(operator.snapshot(epoch).unwrap());
                epoch = epoch.next();
                operator = build(node, &snapshots).unwrap();
            }
        }
    }
    (said, late)
}

/// What is left of changes.
fn folded(changes: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, i64> = BTreeMap::new();
    for change in changes {
        let (kind, row) = change.split_once(' ').unwrap();
        let count = left.entry(row).or_default();
        *count += if kind.starts_with('+') { 1 } else { -1 };
        assert!((0..=1).contains(count), "{change} in {changes:?}");
    }
    left.into_iter().filter(|(_, count)| *count > 0).map(|(row, _)| row.to_owned()).collect()
}

#[test]
fn random_rows_give_what_the_reference_gives_however_they_are_cut() {
    let mut dice = Dice(7);
    for case in 0..150 {
        let rows = rows(&mut dice);
        let lateness = [0, 0, 5, 30][dice.roll(4) as usize];
        let mut reference = Reference::default();
        rows.iter().for_each(|row| reference.take(*row, lateness));
        let (expected, late) = (reference.texts(), reference.late.len());
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        for emit in ["FINAL", "CHANGES", "EVERY INTERVAL '5 milliseconds'", "EVERY INTERVAL '5 milliseconds' AND FINAL"]
        {
            let node = node(&format!("{PROBED}{emit}"), lateness);
            let (said, dropped) = probe(&node, &rows, &mut dice);
            assert_eq!(dropped, late, "case {case}, {emit}, lateness {lateness}: {rows:?}");
            match node.mode() {
                ChangelogMode::AppendOnly => assert_eq!(said, expected, "case {case}, {emit}: {rows:?}"),
                ChangelogMode::Changelog => {
                    assert_eq!(folded(&said), sorted, "case {case}, {emit}, lateness {lateness}: {rows:?}");
                }
            }
        }
    }
}

#[test]
fn running_says_of_random_rows_what_the_reference_says_after_each() {
    let mut dice = Dice(8);
    for case in 0..100 {
        let rows = rows(&mut dice);
        let node = node(&format!("{PROBED}RUNNING"), 0);
        let mut reference = Reference::default();
        let mut expected = vec![];
        for row in &rows {
            reference.take(*row, 0);
            let own = reference.sessions.iter().find(|session| session.3.iter().any(|other| other.0 == row.0));
            expected.extend(own.map(text));
        }
        let (said, dropped) = probe(&node, &rows, &mut dice);
        assert_eq!((said, dropped), (expected, reference.late.len()), "case {case}: {rows:?}");
    }
}

#[test]
fn many_sessions_of_one_key_end_at_once() -> Result<()> {
    let node = node("SELECT count(*) FROM s GROUP BY SESSION(at, 1) EMIT FINAL", 0);
    let rows: Vec<Vec<Value>> = (0..100_000).map(|row| vec![Value::Int(row * 10)]).collect();
    let mut operator = build(&node, &[])?;
    let mut out = Output::default();
    let batch = Batch::append_only(rows_to_batch(&node.input.schema(), &rows)?);
    deliver(operator.as_mut(), Event::Batch(Port(0), batch), &mut out)?;
    // Each of them is looked for in the chain of its key: that must not take a step for each of the others.
    deliver(operator.as_mut(), Event::Eof, &mut out)?;
    assert_eq!(out.drain().map(|batch| batch.num_rows()).sum::<usize>(), 100_000);
    assert_eq!(operator.state_size().rows, 0);
    Ok(())
}
