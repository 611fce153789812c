//! The laws of `docs/laws.md` as property tests: random queries over random rows, cut and restarted at random.
//!
//! DataFusion is the oracle of the aggregates; keyed joins and `COLLECT` have their rules as small programs of their own.
//! A failure is made as small as possible and printed as statements that can be pasted into a script.
//!
//! `RIVERRUN_LAWS_CASES=1000` runs so many cases of each law, `RIVERRUN_LAWS_SEED=7` others than the usual ones.

#[path = "laws/answers.rs"]
mod answers;
#[path = "laws/collect.rs"]
mod collect;
#[path = "laws/data.rs"]
mod data;
#[path = "laws/feeding.rs"]
mod feeding;
#[path = "laws/joins.rs"]
mod joins;
#[path = "laws/oracle.rs"]
mod oracle;
#[path = "laws/queries.rs"]
mod queries;

use std::collections::HashMap;
use std::fmt::{self, Display};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use answers::{Answer, Difference, Fold, exact, same_multiset, same_rounded_sequence, same_sequence};
use data::{After, Row};
use feeding::{Brought, Step, cut_everywhere, run, steps, without_restarts};
use queries::{Emit, Query, Reader, Shape};

const CASES: u32 = 200;
const ROWS: usize = 30;

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
    (query, data::rows(ROWS)).prop_map(|(query, rows)| Case { query, rows })
}

fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Tries the law on random cases; panics with the smallest that breaks it.
fn holds<S: Strategy>(strategy: S, law: impl Fn(&S::Value) -> Result<(), String>)
where
    S::Value: Display,
{
    let seed = number("RIVERRUN_LAWS_SEED", 1);
    let config = Config {
        cases: number("RIVERRUN_LAWS_CASES", CASES),
        rng_seed: RngSeed::Fixed(u64::from(seed)),
        failure_persistence: None,
        max_shrink_iters: 3_000,
        ..Config::default()
    };
    match TestRunner::new(config).run(&strategy, |case| law(&case).map_err(TestCaseError::fail)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, case)) => panic!("seed {seed}\n{case}\n{reason}"),
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

/// Whether grouping sets meet no rows: the engine does not give the grand total of nothing, which SQL does.
fn totals_nothing(query: &Query, rows: &[Row]) -> bool {
    query.has_grouping_sets() && oracle::answer(&query.input(), rows).is_some_and(|input| input.is_empty())
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
        if totals_nothing(&case.query, &plain(&case.rows)) {
            return Ok(());
        }
        expect_multiset("EMIT FINAL", &expected, &answered)
    });
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
            if totals_nothing(&case.query, &plain(&rows[..seen])) {
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
    let cases = (queries::running_query(), queries::query(), emit, data::rows(ROWS));
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
        // Some aggregates merge a restored state with an empty one, which rounds the last digit anew.
        if same_rounded_sequence(&calm, &restarted) && has_merging_aggregates(&case.query) {
            return Ok(());
        }
        expect_sequence(&format!("{emit}, without (expected) and with restarts (answered)"), &calm, &restarted)
    });
}

fn has_merging_aggregates(query: &Query) -> bool {
    let text = query.sql(None, Reader::Engine);
    ["corr(", "covar_pop(", "regr_count("].iter().any(|call| text.contains(call))
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

#[test]
fn keyed_joins_follow_their_rules_however_rows_are_cut_and_restarted() {
    holds(joins::case(), |case| {
        let expected = case.expected();
        for (how, cut) in ways() {
            let brought = run(&case.setup(), &case.sql(), &case.steps(cut))?;
            expect_sequence(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn collect_follows_its_rules_however_rows_are_cut_and_restarted() {
    holds(collect::case(), |case| {
        let expected = case.expected();
        for (how, cut) in ways() {
            let brought = run(&case.setup(), &case.sql(), &case.steps(cut))?;
            expect_sequence(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn a_stream_united_with_itself_runs_row_by_row() {
    let rows = data::rows(ROWS).prop_map(Rows);
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
