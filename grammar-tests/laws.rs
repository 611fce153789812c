//! The laws of `docs/laws.md` as property tests: random queries over random rows, cut and restarted at random.
//!
//! DataFusion is the oracle of the aggregates and relational queries; keyed joins and `COLLECT` have their rules as small programs of their own.
//! A failure is made as small as possible and printed as statements that can be pasted into a script.
//!
//! `RIVERRUN_LAWS_CASES=1000` runs so many cases of each law, `RIVERRUN_LAWS_SEED=7` others than the usual ones, and
//! `RIVERRUN_LAWS_SECONDS=600` none that would begin later than that.

#[path = "laws/answers.rs"]
mod answers;
#[path = "laws/collect.rs"]
mod collect;
#[path = "laws/data.rs"]
mod data;
#[path = "laws/every.rs"]
mod every;
#[path = "laws/expiry.rs"]
mod expiry;
#[path = "laws/feeding.rs"]
mod feeding;
#[path = "laws/files.rs"]
mod files;
#[path = "laws/joins.rs"]
mod joins;
#[path = "laws/logics.rs"]
mod logics;
#[path = "laws/lookups.rs"]
mod lookups;
#[path = "laws/near.rs"]
mod near;
#[path = "laws/nexmark.rs"]
mod nexmark;
#[path = "laws/oracle.rs"]
mod oracle;
#[path = "laws/pairs.rs"]
mod pairs;
#[path = "laws/queries.rs"]
mod queries;
#[path = "laws/relational.rs"]
mod relational;
#[path = "laws/retractions.rs"]
mod retractions;
#[path = "laws/sessions.rs"]
mod sessions;
#[path = "laws/tables.rs"]
mod tables;
#[path = "laws/versions.rs"]
mod versions;
#[path = "laws/views.rs"]
mod views;
#[path = "laws/window_joins.rs"]
mod window_joins;
#[path = "laws/windows.rs"]
mod windows;

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use answers::{Answer, Difference, Fold, exact, same_multiset, same_sequence};
use data::{After, Row};
use feeding::{Brought, Step, cut_everywhere, run, run_and_explain, run_on, steps, without_restarts};
use queries::{Emit, Query, Reader, Shape};

const CASES: u32 = 200;
const ROWS: usize = 30;
/// Each is run in four ways and by the oracle.
const WINDOW_CASES: u32 = 60;

/// A query over random rows.
#[derive(Debug, Clone)]
struct Case {
    query: Query,
    rows: Vec<(Row, After)>,
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = data::columns();
        writeln!(f, "{};\n-- {}", data::create("t", &columns), self.query.sql(Some(Emit::Final), Reader::Engine))?;
        for (row, after) in &self.rows {
            let statement = data::insert("t", &columns, std::slice::from_ref(row));
            writeln!(f, "{} -- then {after:?}", statement.replace("\n ", ""))?;
        }
        writeln!(f, "CLOSE STREAM t;")
    }
}

fn case(query: impl Strategy<Value = Query>) -> impl Strategy<Value = Case> {
    (query, data::rows_that_may_repeat(ROWS)).prop_map(|(query, rows)| Case { query, rows })
}

fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Tries the law on random cases; panics with the smallest that breaks it.
fn holds<S: Strategy>(strategy: S, law: impl Fn(&S::Value) -> Result<(), String>)
where
    S::Value: Display,
{
    holds_in(CASES, strategy, law);
}

/// The same with another number of cases, for what takes long.
fn holds_in<S: Strategy>(cases: u32, strategy: S, law: impl Fn(&S::Value) -> Result<(), String>)
where
    S::Value: Display,
{
    let seed = number("RIVERRUN_LAWS_SEED", 1);
    let config = Config {
        cases: number("RIVERRUN_LAWS_CASES", cases),
        rng_seed: RngSeed::Fixed(u64::from(seed)),
        failure_persistence: None,
        max_shrink_iters: 3_000,
        ..Config::default()
    };
    let (began, seconds) = (Instant::now(), u64::from(number("RIVERRUN_LAWS_SECONDS", u32::MAX)));
    let in_time = || began.elapsed().as_secs() < seconds;
    let law = |case: S::Value| match in_time() {
        true => law(&case).map_err(TestCaseError::fail),
        false => Err(TestCaseError::reject("the time is up")),
    };
    match TestRunner::new(config).run(&strategy, law) {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("seed {seed}\n{case}\n{reason}"),
        Err(TestError::Abort(_)) if !in_time() => {}
        Err(TestError::Abort(reason)) => panic!("no cases: {reason}"),
    }
}

/// What the query says with that clause over these rows of `t`.
fn brought(query: &Query, emit: Emit, rows: &[(Row, After)]) -> Result<Brought, String> {
    let text = query.sql(Some(emit), Reader::Engine);
    let setup = [data::create("t", &data::columns())];
    run(&setup, &text, &steps(rows)).map_err(|error| format!("{text}\n{error}"))
}

fn answer(query: &Query, emit: Emit, rows: &[(Row, After)]) -> Result<Answer, String> {
    Ok(answers::rows(&brought(query, emit, rows)?.concat()))
}

fn expect_sequence(what: &str, expected: &Answer, answered: &Answer) -> Result<(), String> {
    if same_sequence(expected, answered) {
        return Ok(());
    }
    Err(format!("{what}\n{}", Difference { expected, answered }))
}

fn expect_multiset(what: &str, expected: &Answer, answered: &Answer) -> Result<(), String> {
    if same_multiset(expected, answered) {
        return Ok(());
    }
    Err(format!("{what}\n{}", Difference { expected, answered }))
}

fn plain(rows: &[(Row, After)]) -> Vec<Row> {
    rows.iter().map(|(row, _)| row.clone()).collect()
}

/// What the oracle has answered to one query, by how much had happened: it is asked once for all ways of cutting.
#[derive(Default)]
struct Known(HashMap<usize, Option<Answer>>);

impl Known {
    fn answer(&mut self, query: &Query, happened: usize, rows: impl FnOnce() -> Vec<Row>) -> Option<&Answer> {
        self.0.entry(happened).or_insert_with(|| oracle::answer(query, &rows())).as_ref()
    }
}

fn cuts_change_nothing(query: &Query, emit: Emit, rows: &[(Row, After)]) -> Result<(), String> {
    let calm = without_restarts(rows);
    let cut = answer(query, emit, &calm)?;
    for (how, after) in [("in one batch", After::Nothing), ("row by row", After::Cut)] {
        let other = answer(query, emit, &cut_everywhere(&calm, after))?;
        let what = format!("{emit}: as cut (expected) and {how} (answered)");
        if query.reads_changes() {
            expect_multiset(&what, &cut, &other)?;
        } else {
            expect_sequence(&what, &cut, &other)?;
        }
    }
    Ok(())
}

#[test]
fn law_1_cutting_the_rows_into_other_batches_changes_nothing_under_final() {
    holds(case(queries::query()), |case| cuts_change_nothing(&case.query, Emit::Final, &case.rows));
}

#[test]
fn law_1_cutting_the_rows_into_other_batches_changes_nothing_under_running() {
    holds(case(queries::running_query()), |case| cuts_change_nothing(&case.query, Emit::Running, &case.rows));
}

#[test]
fn law_2_final_is_batch_sql() {
    holds(case(queries::query()), |case| {
        let Some(expected) = oracle::answer(&case.query, &plain(&case.rows)) else { return Ok(()) };
        let answered = answer(&case.query, Emit::Final, &without_restarts(&case.rows))?;
        expect_multiset("EMIT FINAL", &expected, &answered)
    });
}

#[test]
fn laws_2_3_and_6_what_is_read_from_a_file_is_what_is_pushed() {
    let cases = (case(queries::changes_query()), files::layout()).prop_map(|(case, layout)| FromFile { case, layout });
    holds(cases, |FromFile { case, layout }| {
        let rows = plain(&case.rows);
        let Some(expected) = oracle::answer(&case.query, &rows) else { return Ok(()) };
        let said = |emit| layout.answer(&rows, &case.query.sql(Some(emit), Reader::Engine));
        expect_multiset("EMIT FINAL", &expected, &answers::rows(&said(Emit::Final)?))?;
        let mut fold = Fold::default();
        said(Emit::Changes)?.iter().try_for_each(|batch| fold.apply(batch))?;
        expect_multiset("EMIT CHANGES, folded", &expected, &fold.answer())
    });
}

#[test]
fn laws_2_3_and_6_texts_may_come_in_the_dictionary_of_a_file() {
    let once = prop::sample::select(files::BY_TEXT.to_vec()).prop_map(|text| (text, true));
    let twice = prop::sample::select(files::BY_TEXT_TWICE.to_vec()).prop_map(|text| (text, false));
    let cases = (prop_oneof![4 => once, 1 => twice], data::rows(ROWS), files::layout());
    let cases = cases.prop_map(|((text, is_aggregate), rows, layout)| ByText { text, is_aggregate, rows, layout });
    holds(cases, |ByText { text, is_aggregate, rows, layout }| {
        let rows = plain(rows);
        let table = ("t", data::batch(&data::columns(), &rows));
        let Some(expected) = oracle::answer_over(text, &[table]) else { return Ok(()) };
        if *is_aggregate {
            let last = layout.answer(&rows, &format!("{text} EMIT FINAL"))?;
            expect_multiset("EMIT FINAL", &expected, &answers::rows(&last))?;
        }
        let mut fold = Fold::default();
        layout.answer(&rows, &format!("{text} EMIT CHANGES"))?.iter().try_for_each(|batch| fold.apply(batch))?;
        expect_multiset("EMIT CHANGES, folded", &expected, &fold.answer())
    });
}

#[derive(Debug, Clone)]
struct ByText {
    text: &'static str,
    /// Whether it may be asked to say its answer once, at the end.
    is_aggregate: bool,
    rows: Vec<(Row, After)>,
    layout: files::Layout,
}

impl Display for ByText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.layout, self.text)?;
        writeln!(f, "{}", data::insert("t", &data::columns(), &plain(&self.rows)))
    }
}

#[derive(Debug, Clone)]
struct FromFile {
    case: Case,
    layout: files::Layout,
}

impl Display for FromFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.layout, self.case)
    }
}

#[test]
fn law_3_changes_fold_to_the_batch_answer_after_every_step() {
    holds(case(queries::changes_query()), |case| {
        let rows = without_restarts(&case.rows);
        let mut fold = Fold::default();
        let mut seen = 0;
        for (step, batches) in steps(&rows).iter().zip(brought(&case.query, Emit::Changes, &rows)?) {
            for batch in &batches {
                fold.apply(batch)?;
            }
            if let Step::Push(_, pushed) = step {
                seen += pushed.num_rows();
            }
            let answered = fold.answer();
            // An aggregate over all rows speaks of no rows at the end; before it says nothing.
            let ended = matches!(step, Step::Close(_));
            if answered.is_empty() && case.query.answers_emptiness() && !ended {
                continue;
            }
            let Some(expected) = oracle::answer(&case.query, &plain(&rows[..seen])) else { continue };
            expect_multiset(&format!("EMIT CHANGES, folded after {seen} rows"), &expected, &answered)?;
        }
        Ok(())
    });
}

#[test]
fn law_3_changes_end_at_final() {
    holds(case(queries::changes_query()), |case| {
        let mut fold = Fold::default();
        for batch in brought(&case.query, Emit::Changes, &case.rows)?.concat() {
            fold.apply(&batch)?;
        }
        let last = answer(&case.query, Emit::Final, &case.rows)?;
        expect_multiset("EMIT FINAL (expected) and EMIT CHANGES, folded (answered)", &last, &fold.answer())
    });
}

#[test]
fn law_4_running_ends_at_final() {
    holds(case(queries::running_query()), |case| {
        let running = answer(&case.query, Emit::Running, &case.rows)?;
        let keys = case.query.keys();
        let mut last = HashMap::new();
        for row in running {
            last.insert(exact(&row[..keys]), row);
        }
        let expected = answer(&case.query, Emit::Final, &case.rows)?;
        if last.is_empty() && case.query.answers_emptiness() {
            return Ok(());
        }
        let last = last.into_values().collect();
        expect_multiset("EMIT FINAL (expected) and the last rows of EMIT RUNNING (answered)", &expected, &last)
    });
}

#[test]
fn law_6_restarts_change_nothing() {
    let emit = prop::sample::select(vec![Emit::Final, Emit::Changes, Emit::Running]);
    let cases = (queries::running_query(), queries::query(), emit, data::rows_that_may_repeat(ROWS));
    let cases = cases.prop_map(|(running, any, emit, rows)| {
        let query = match (&any.shape, emit) {
            (_, Emit::Running) => running,
            (Shape::Project(_) | Shape::Distinct(_) | Shape::Grouped(_) | Shape::Nested(_), _) => any,
        };
        Restarted { case: Case { query, rows }, emit }
    });
    holds(cases, |Restarted { case, emit }| {
        let calm = answer(&case.query, *emit, &without_restarts(&case.rows))?;
        let restarted = answer(&case.query, *emit, &case.rows)?;
        expect_sequence(&format!("{emit}, without (expected) and with restarts (answered)"), &calm, &restarted)
    });
}

#[derive(Debug, Clone)]
struct Restarted {
    case: Case,
    emit: Emit,
}

impl Display for Restarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "-- {}\n{}", self.emit, self.case)
    }
}

/// How arrivals are cut: its name, and what happens after a row instead of what was drawn.
type Way = (&'static str, fn(After) -> After);

/// The ways in which the same arrivals are cut: as drawn, without restarts, one by one, restarted after each.
fn ways() -> [Way; 4] {
    [
        ("as drawn", |after| after),
        ("in the largest batches", |_| After::Nothing),
        ("row by row", |_| After::Cut),
        ("restarted after each row", |_| After::Restart),
    ]
}

/// Shows `check` what the changes that were brought fold to after each step, and which step that is.
fn folds(
    how: &str,
    steps: &[Step],
    brought: &Brought,
    mut check: impl FnMut(usize, &Answer) -> Result<(), String>,
) -> Result<(), String> {
    let mut fold = Fold::default();
    for (at, batches) in brought.iter().enumerate() {
        batches.iter().try_for_each(|batch| fold.apply(batch)).map_err(|error| format!("{how}: {error}"))?;
        // What waits for a restart is said behind it.
        if !matches!(steps.get(at + 1), Some(Step::Restart)) {
            check(at, &fold.answer())?;
        }
    }
    Ok(())
}

/// Whether a query says `expected`, in that order, over the steps of each way of cutting.
fn says(
    expected: &Answer,
    setup: &[String],
    sql: &str,
    steps: impl Fn(fn(After) -> After) -> Vec<Step>,
) -> Result<(), String> {
    for (how, cut) in ways() {
        let brought = run(setup, sql, &steps(cut))?;
        expect_sequence(how, expected, &answers::rows(&brought.concat()))?;
    }
    Ok(())
}

#[test]
fn keyed_joins_follow_their_rules_however_rows_are_cut_and_restarted() {
    holds(joins::case(), |case| says(&case.expected(), &case.setup(), &case.sql(), |cut| case.steps(cut)));
}

#[test]
fn keyed_joins_within_windows_follow_their_rules_however_rows_are_cut_and_restarted() {
    holds(window_joins::case(), |case| says(&case.expected(), &case.setup(), &case.sql(), |cut| case.steps(cut)));
}

#[test]
fn collect_follows_its_rules_however_rows_are_cut_and_restarted() {
    holds(collect::case(), |case| says(&case.expected(), &case.setup(), &case.sql(), |cut| case.steps(cut)));
}

#[test]
fn logics_follow_their_rules_however_rows_are_cut_and_restarted() {
    holds(logics::case(), |case| {
        let (expected, text) = (case.expected(), "SELECT * FROM totals(TABLE t PARTITION BY k)");
        for (how, cut) in ways() {
            let brought = run_on(&case.engine(), &case.setup(), text, &case.steps(cut))?;
            expect_sequence(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn every_says_at_most_that_often_what_changed_and_ends_at_final() {
    holds(every::case(), |case| {
        let (mut drawn, mut known): (Option<Vec<every::Moment>>, Known) = (None, Known::default());
        for (how, cut) in ways() {
            let moments = case.moments(cut).map_err(|error| format!("{how}: {error}"))?;
            for moment in moments.iter().filter(|moment| moment.spoke) {
                let rows = || case.rows()[..moment.rows].to_vec();
                let Some(expected) = known.answer(&case.query, moment.rows, rows) else { continue };
                expect_multiset(&format!("{how}, folded after {} rows", moment.rows), expected, &moment.answer)?;
            }
            for (drawn, moment) in drawn.iter().flatten().zip(&moments) {
                let what = format!("as drawn (expected) and {how} (answered), folded after {} rows", moment.rows);
                expect_multiset(&what, &drawn.answer, &moment.answer)?;
            }
            drawn.get_or_insert(moments);
        }
        let last = drawn.iter().flatten().last().map(|moment| moment.answer.clone()).unwrap_or_default();
        let rows: Vec<(Row, After)> = case.rows().into_iter().map(|row| (row, After::Nothing)).collect();
        expect_multiset("EMIT FINAL (expected), EMIT EVERY folded", &answer(&case.query, Emit::Final, &rows)?, &last)
    });
}

#[test]
fn over_a_table_changes_fold_to_the_batch_answer_after_every_step() {
    holds(tables::case(), |case| {
        let text = case.query.sql(Some(Emit::Changes), Reader::Engine);
        let mut known = Known::default();
        for (how, cut) in ways() {
            let (steps, made): (Vec<Step>, Vec<usize>) = case.steps(cut).into_iter().unzip();
            let brought = run(&case.setup(), &text, &steps).map_err(|error| format!("{how}: {text}\n{error}"))?;
            folds(how, &steps, &brought, |at, folded| {
                // An aggregate over all rows says nothing of no rows.
                if folded.is_empty() && case.query.answers_emptiness() && at + 1 < steps.len() {
                    return Ok(());
                }
                match known.answer(&case.query, made[at], || case.rows(made[at])) {
                    Some(expected) => {
                        expect_multiset(&format!("{how}, folded after {} changes", made[at]), expected, folded)
                    }
                    None => Ok(()),
                }
            })?;
        }
        Ok(())
    });
}

#[test]
fn over_a_table_final_is_the_batch_answer_of_what_is_left() {
    holds(tables::case(), |case| {
        let made = case.steps(|after| after).last().map_or(0, |(_, made)| *made);
        let expected = match case.query.shape {
            // The rows of a table have no final form.
            Shape::Project(_) => None,
            Shape::Distinct(_) | Shape::Grouped(_) | Shape::Nested(_) => oracle::answer(&case.query, &case.rows(made)),
        };
        let Some(expected) = expected else { return Ok(()) };
        let text = case.query.sql(Some(Emit::Final), Reader::Engine);
        for (how, cut) in ways() {
            let steps: Vec<Step> = case.steps(cut).into_iter().map(|(step, _)| step).collect();
            let brought = run(&case.setup(), &text, &steps).map_err(|error| format!("{how}: {text}\n{error}"))?;
            expect_multiset(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn a_collect_that_only_the_end_closes_is_a_group_by() {
    holds(case(queries::collected_query()), |case| {
        let text = case.query.sql(None, Reader::Engine);
        let rows = plain(&case.rows);
        if oracle::answer(&case.query.input(), &rows).is_none_or(|input| input.is_empty()) {
            return Ok(());
        }
        let setup = [data::create("t", &data::columns())];
        let brought = run(&setup, &text, &steps(&case.rows)).map_err(|error| format!("{text}\n{error}"))?;
        match oracle::answer(&case.query, &rows) {
            Some(expected) => expect_multiset(&text, &expected, &answers::rows(&brought.concat())),
            None => Ok(()),
        }
    });
}

#[test]
fn a_stream_united_with_itself_runs_row_by_row() {
    let rows = data::rows_that_may_repeat(ROWS).prop_map(Rows);
    holds(rows, |Rows(rows)| {
        let text = "SELECT k, count(*) AS n, max(id) AS id FROM (SELECT * FROM t UNION ALL SELECT * FROM t) AS q \
                    GROUP BY k EMIT RUNNING";
        let setup = [data::create("t", &data::columns())];
        let answered = answers::rows(&run(&setup, text, &steps(rows))?.concat());
        let mut counts: Vec<(&data::Value, usize)> = vec![];
        let mut expected: Answer = vec![];
        for (id, (row, _)) in rows.iter().enumerate().flat_map(|(at, row)| [(at + 1, row); 2]) {
            let at = counts.iter().position(|(key, _)| **key == row[2]).unwrap_or_else(|| {
                counts.push((&row[2], 0));
                counts.len() - 1
            });
            counts[at].1 += 1;
            let number = |number: usize| answers::Cell::Text(number.to_string());
            let key = match &row[2] {
                data::Value::Whole(key) => answers::Cell::Text(key.to_string()),
                data::Value::Null | data::Value::Float(_) | data::Value::Text(_) | data::Value::Truth(_) => {
                    answers::Cell::Null
                }
            };
            expected.push(vec![key, number(counts[at].1), number(id)]);
        }
        expect_sequence(text, &expected, &answered)
    });
}

#[derive(Debug, Clone)]
struct Rows(Vec<(Row, After)>);

impl Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (row, after) in &self.0 {
            let statement = data::insert("t", &data::columns(), std::slice::from_ref(row));
            writeln!(f, "{} -- then {after:?}", statement.replace("\n ", ""))?;
        }
        Ok(())
    }
}

#[test]
fn a_row_is_in_every_window_that_holds_its_time() {
    holds_in(WINDOW_CASES, windows::case(0), |case| {
        let (in_time, late) = case.placed();
        // A session has its rows when it has closed, and then none of them is late.
        let mut placed = if case.shape.is_session() { in_time } else { [in_time, late].concat() };
        placed.sort_by_key(|(id, _, _)| *id);
        let Some(expected) = oracle::answer_over("SELECT id, ws, we FROM placed", &[("placed", case.batch(&placed))])
        else {
            return Ok(());
        };
        for (how, cut) in ways() {
            let brought = run(&case.setup(), &case.relation(), &case.steps(cut))?;
            expect_multiset(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn a_window_is_final_with_the_rows_that_are_not_late_however_they_are_cut_and_restarted() {
    holds_in(WINDOW_CASES, windows::case(0), |case| {
        let (placed, _) = case.placed();
        let tables = [("placed", case.batch(&placed))];
        let Some(expected) = oracle::answer_over(case.batch_sql(), &tables) else { return Ok(()) };
        for (how, cut) in ways() {
            let brought = run(&case.setup(), &case.sql(""), &case.steps(cut))?;
            expect_sequence(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn changes_of_windows_fold_to_the_rows_that_are_not_late() {
    let emit = prop::sample::select(vec![
        "EMIT FINAL",
        "EMIT CHANGES",
        "EMIT EVERY INTERVAL '2 seconds'",
        "EMIT EVERY INTERVAL '2 seconds' AND FINAL",
    ]);
    holds_in(
        WINDOW_CASES,
        (windows::case(6), emit).prop_map(|(case, emit)| Emitted { case, emit }),
        |Emitted { case, emit }| {
            let (placed, _) = case.placed();
            let tables = [("placed", case.batch(&placed))];
            let Some(expected) = oracle::answer_over(case.batch_sql(), &tables) else { return Ok(()) };
            for (how, cut) in ways() {
                let mut fold = Fold::default();
                for batch in run(&case.setup(), &case.sql(emit), &case.steps(cut))?.concat() {
                    fold.apply(&batch)?;
                }
                expect_multiset(how, &expected, &fold.answer())?;
            }
            Ok(())
        },
    );
}

#[test]
fn running_windows_end_at_the_rows_that_are_not_late() {
    let of_one = windows::case(6).prop_filter("one window a row", |case| case.shape.has_one_a_row());
    holds_in(WINDOW_CASES, of_one, |case| {
        let tables = [("placed", case.batch(&case.placed().0))];
        let Some(expected) = oracle::answer_over(case.batch_sql(), &tables) else { return Ok(()) };
        let at_once = [("placed", case.batch(&case.placed_at_once()))];
        let Some(windows) = oracle::answer_over("SELECT k, ws, we FROM placed", &at_once) else { return Ok(()) };
        for (how, cut) in ways() {
            let running = answers::rows(&run(&case.setup(), &case.sql("EMIT RUNNING"), &case.steps(cut))?.concat());
            expect_sequence(how, &windows, &running.iter().map(|row| row[..3].to_vec()).collect())?;
            // Of a session that has grown it is the last row of its last bounds.
            let ends: Vec<String> = expected.iter().map(|row| exact(&row[..3])).collect();
            let last: HashMap<_, _> = running.into_iter().map(|row| (exact(&row[..3]), row)).collect();
            let last = last.into_iter().filter(|(window, _)| ends.contains(window)).map(|(_, row)| row).collect();
            expect_multiset(how, &expected, &last)?;
        }
        Ok(())
    });
}

#[test]
fn every_row_is_counted_or_late_or_without_a_time_or_left_out_before() {
    holds_in(WINDOW_CASES, windows::case(6), |case| {
        let rows = case.rows();
        let (placed, late) = case.placed();
        let kept: Vec<_> = rows.iter().filter(|row| case.keeps(row)).collect();
        let untimed = kept.iter().filter(|row| row[3] == data::Value::Null).count();
        let expected = [kept.len(), late.len(), untimed, placed.len()];
        if case.shape.has_one_a_row() && kept.len() != placed.len() + late.len() + untimed {
            return Err("the reference loses rows".into());
        }
        for (how, cut) in &ways()[..3] {
            // What has been counted before a restart is not told after it.
            let calm = |after| if cut(after) == After::Restart { After::Cut } else { cut(after) };
            let (brought, plan) = run_and_explain(&case.setup(), &case.sql("EMIT CHANGES"), &case.steps(calm))?;
            let mut fold = Fold::default();
            brought.concat().iter().try_for_each(|batch| fold.apply(batch))?;
            let counts = fold.answer().into_iter().map(|row| exact(&row[3..4]).trim_matches('"').parse::<usize>());
            let counted = counts.sum::<Result<usize, _>>().map_err(|error| error.to_string())?;
            let node = plan.lines().find(|line| line.contains("WindowAggregate: ")).unwrap_or_default();
            let noted = ["; rows in ", ", late ", ", without time "].map(|what| noted(node, what));
            if noted != expected[..3] || counted != expected[3] {
                return Err(format!("{how}: not {expected:?} but {noted:?} and {counted} counted\n{plan}"));
            }
        }
        Ok(())
    });
}

/// The number behind `what` in a node of an `EXPLAIN ANALYZE`; 0 if it is not there.
fn noted(node: &str, what: &str) -> usize {
    let digits = node.rsplit_once(what).map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[test]
fn five_rows_of_a_session_have_one_answer_in_each_of_their_orders() -> Result<(), String> {
    let mut orders: Vec<Vec<i64>> = vec![vec![]];
    for at in [0, 8, 18, 29, 40] {
        let with =
            |order: Vec<i64>| (0..=order.len()).map(move |place| [&order[..place], &[at], &order[place..]].concat());
        orders = orders.into_iter().flat_map(with).collect();
    }
    assert_eq!(orders.len(), 120);
    // The watermark waits for all of them, or has passed the first while it is kept.
    for (delay, lateness) in [(40, ""), (0, "ALLOW LATENESS 40")] {
        let setup = [format!("CREATE STREAM t (at BIGINT, WATERMARK FOR at AS at - {delay})")];
        let query = format!(
            "SELECT window_start, window_end, count(*) AS n, sum(at) AS s FROM t GROUP BY SESSION(at, 10) {lateness}"
        );
        let mut answers: Vec<Answer> = vec![];
        for order in &orders {
            for rows in [1, 2, 5] {
                let insert = |rows: &[i64]| {
                    let rows: Vec<String> = rows.iter().map(|at| format!("({at})")).collect();
                    Step::Say(format!("INSERT INTO t VALUES {}", rows.join(", ")))
                };
                let steps: Vec<Step> = order.chunks(rows).map(insert).chain([Step::Close("t".into())]).collect();
                let mut fold = Fold::default();
                run(&setup, &query, &steps)?.concat().iter().try_for_each(|batch| fold.apply(batch))?;
                answers.push(fold.answer());
            }
        }
        let first = answers[0].clone();
        assert_eq!(first.len(), 3);
        answers.iter().try_for_each(|answer| expect_multiset(&query, &first, answer))?;
    }
    Ok(())
}

#[test]
fn late_rows_are_those_that_no_window_has() {
    holds_in(WINDOW_CASES, windows::case(6), |case| {
        let (_, late) = case.placed();
        let tables = [("placed", case.batch(&late))];
        let Some(expected) = oracle::answer_over("SELECT id, ws, we FROM placed", &tables) else { return Ok(()) };
        let mut setup = case.setup();
        setup.push(format!("CREATE VIEW counts AS {}", case.sql("")));
        for (how, cut) in ways() {
            let text = "SELECT id, window_start, window_end FROM LATE(counts)";
            let brought = run(&setup, text, &case.steps(cut))?;
            expect_multiset(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn the_first_rows_of_a_window_are_final_when_it_closes() {
    holds_in(WINDOW_CASES, windows::case(0), |case| {
        let (placed, _) = case.placed();
        let text = "SELECT id, ws, we FROM (SELECT *, row_number() OVER (PARTITION BY ws, we ORDER BY v DESC, id) AS nth \
                    FROM placed) WHERE nth <= 2 ORDER BY we";
        let Some(expected) = oracle::answer_over(text, &[("placed", case.batch(&placed))]) else { return Ok(()) };
        for (how, cut) in ways() {
            let text = format!(
                "SELECT id, window_start, window_end FROM (SELECT *, row_number() OVER (PARTITION BY window_start, \
                 window_end ORDER BY v DESC, id) AS nth FROM ({})) WHERE nth <= 2 EMIT ON WINDOW CLOSE",
                case.relation().replacen("id", "id, v", 1),
            );
            let brought = run(&case.setup(), &text, &case.steps(cut))?;
            expect_multiset(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[derive(Debug, Clone)]
struct Emitted {
    case: windows::Case,
    emit: &'static str,
}

impl Display for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "-- {}\n{}", self.emit, self.case)
    }
}

#[test]
fn the_first_row_by_event_time_is_final_once_the_watermark_has_reached_it() {
    holds_in(WINDOW_CASES, windows::case(0), |case| {
        let kept = case.in_time();
        let text = "SELECT id, k FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY ws, id) AS nth FROM placed) \
                    WHERE nth <= 2 ORDER BY ws, id";
        let Some(expected) = oracle::answer_over(text, &[("placed", case.batch(&kept))]) else { return Ok(()) };
        for (how, cut) in ways() {
            let text = format!(
                "SELECT id, k FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY at) AS nth FROM {}) \
                 WHERE nth <= 2 EMIT FINAL",
                case.input()
            );
            let brought = run(&case.setup(), &text, &case.steps(cut))?;
            expect_sequence(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}
