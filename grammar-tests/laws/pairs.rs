//! Random relational queries over random changes. A query and a series of changes are a pair, and of most pairs the
//! answers must be those of a batch after every step.
//!
//! Planning is most of the work, so a query has several series: it is planned once by the oracle, and once by the engine
//! for all runs without restarts.

use std::cell::Cell;
use std::collections::HashMap;

use crate::answers::{self, Answer};
use crate::feeding::{Brought, Rerun, Step, run};
use crate::oracle::Planned;
use crate::relational::{self, Asked, Case, Changes};
use crate::{Way, expect_multiset, folds, holds_in, views, ways};

/// So many queries are drawn, each of half as many series on average: more than 2,000 pairs.
const QUERIES: u32 = 250;
const SERIES: usize = 16;
/// The same of views, and of queries with limits.
const VIEWS: u32 = 50;
const LIMITED: u32 = 50;
const SERIES_OF_FEW: usize = 2;

/// Whether a pair was compared: there is what the engine does not do, or the oracle cannot.
#[derive(PartialEq)]
enum Compared {
    Yes,
    No,
}

/// How many pairs were drawn, and how many of them compared.
#[derive(Default)]
struct Tally {
    drawn: Cell<usize>,
    compared: Cell<usize>,
}

impl Tally {
    /// Tries a law on all pairs of a case.
    fn count(&self, case: &Case, law: impl FnOnce(&Tally) -> Result<(), String>) -> Result<(), String> {
        self.drawn.set(self.drawn.get() + case.changes.len());
        law(self)
    }

    fn compared(&self) {
        self.compared.set(self.compared.get() + 1);
    }

    /// Most of what is drawn has to be compared.
    fn check(&self) {
        let Tally { drawn, compared } = self;
        println!("{} of {} pairs were compared", compared.get(), drawn.get());
        assert!(compared.get() * 10 > drawn.get() * 9, "only {} of {} were compared", compared.get(), drawn.get());
    }
}

/// A query over one series of changes.
struct Pair<'a> {
    text: &'a str,
    changes: &'a Changes,
    oracle: &'a Planned,
    /// What the oracle has answered, by how many changes had been made: it is asked once for all ways of cutting.
    known: HashMap<usize, Option<Answer>>,
}

impl Pair<'_> {
    /// Whether what comes out folds to the batch answer after every step.
    fn folds(&mut self, (how, cut): Way, engine: Option<&mut Rerun>) -> Result<Compared, String> {
        let (steps, made): (Vec<Step>, Vec<usize>) = self.changes.steps(cut).into_iter().unzip();
        let brought = match engine {
            Some(engine) => engine.run(&steps),
            None => run(&relational::setup(), self.text, &steps),
        };
        let brought: Brought = match brought {
            Err(error) if error.starts_with("unsupported") => return Ok(Compared::No),
            brought => brought.map_err(|error| format!("{how}: {}\n{error}", self.text))?,
        };
        let mut compared = Compared::Yes;
        folds(how, &steps, &brought, |at, folded| match self.expected(made[at]) {
            Some(expected) => expect_multiset(&format!("{how}, folded after {} changes", made[at]), expected, folded),
            None => {
                compared = Compared::No;
                Ok(())
            }
        })?;
        Ok(compared)
    }

    fn expected(&mut self, made: usize) -> Option<&Answer> {
        let Pair { changes, oracle, known, .. } = self;
        known.entry(made).or_insert_with(|| oracle.answer(&changes.tables(made))).as_ref()
    }
}

#[test]
fn relational_queries_fold_to_the_batch_answer_after_every_step() {
    let tally = Tally::default();
    let law = |case: &Case| {
        tally.count(case, |tally| {
            let (text, asked) = (case.query.sql(Asked::Engine), case.query.sql(Asked::Oracle));
            let Some(oracle) = Planned::new(&asked, &relational::schemas()) else { return Ok(()) };
            let mut engine = match Rerun::new(&relational::setup(), &text) {
                Err(error) if error.starts_with("unsupported") => return Ok(()),
                engine => engine.map_err(|error| format!("{text}\n{error}"))?,
            };
            let [as_drawn, largest, row_by_row, restarted] = ways();
            for (nth, changes) in case.changes.iter().enumerate() {
                let mut pair = Pair { text: &text, changes, oracle: &oracle, known: HashMap::new() };
                // A run with restarts needs an engine of its own.
                let with_restarts = if nth % 2 == 0 { as_drawn } else { restarted };
                let whole = pair.folds(largest, Some(&mut engine))? == Compared::Yes
                    && pair.folds(row_by_row, Some(&mut engine))? == Compared::Yes
                    && pair.folds(with_restarts, None)? == Compared::Yes;
                if whole {
                    tally.compared();
                }
            }
            Ok(())
        })
    };
    holds_in(QUERIES, relational::case(SERIES), law);
    tally.check();
}

#[test]
fn materialized_views_hold_the_batch_answer_after_every_step() {
    let tally = Tally::default();
    let law = |case: &Case| {
        tally.count(case, |tally| {
            let (text, asked) = (case.query.sql(Asked::Engine), case.query.sql(Asked::Oracle));
            let planned = |text: &str| Planned::new(text, &relational::schemas());
            let (Some(whole), Some(over)) = (planned(&asked), planned(&views::over(&asked))) else { return Ok(()) };
            for changes in &case.changes {
                let [as_drawn, _, _, restarted] = ways();
                let compared = holds_views(&text, changes, [&whole, &over], as_drawn)? == Compared::Yes
                    && holds_views(&text, changes, [&whole, &over], restarted)? == Compared::Yes;
                if compared {
                    tally.compared();
                }
            }
            Ok(())
        })
    };
    holds_in(VIEWS, relational::case(SERIES_OF_FEW), law);
    tally.check();
}

/// Whether a view of a query and one over it hold what the oracles answer after every step.
fn holds_views(text: &str, changes: &Changes, oracles: [&Planned; 2], (how, cut): Way) -> Result<Compared, String> {
    let (steps, made): (Vec<Step>, Vec<usize>) = changes.steps(cut).into_iter().unzip();
    let seen = match views::watch(&relational::setup(), text, &steps) {
        Err(error) if error.starts_with("unsupported") => return Ok(Compared::No),
        seen => seen.map_err(|error| format!("{how}: {text}\n{error}"))?,
    };
    let mut known: HashMap<usize, [Option<Answer>; 2]> = HashMap::new();
    for (seen, made) in seen.iter().zip(made) {
        let answer = || oracles.map(|oracle| oracle.answer(&changes.tables(made)));
        let [Some(whole), Some(over)] = known.entry(made).or_insert_with(answer) else { return Ok(Compared::No) };
        let after = format!("{how}, after {made} changes");
        expect_multiset(&format!("{after}, the view"), whole, &seen.whole)?;
        expect_multiset(&format!("{after}, the view over it"), over, &seen.over)?;
        expect_multiset(&format!("{after}, both at once"), &vec![], &seen.apart)?;
        if let Some(followed) = &seen.followed {
            expect_multiset(&format!("{after}, followed"), whole, followed)?;
        }
    }
    Ok(Compared::Yes)
}

#[test]
fn limits_that_are_never_reached_change_nothing_of_a_relational_query() {
    let limits = ["SET state_ttl = INTERVAL '1000 days'", "SET max_state_bytes = '1 GB'"].map(String::from);
    let limited = [limits.to_vec(), relational::setup()].concat();
    holds_in(LIMITED, relational::case(SERIES_OF_FEW), |case| {
        let text = case.query.sql(Asked::Engine);
        let mut free = match Rerun::new(&relational::setup(), &text) {
            Err(error) if error.starts_with("unsupported") => return Ok(()),
            engine => engine?,
        };
        let mut limited = Rerun::new(&limited, &text)?;
        let [_, largest, row_by_row, _] = ways();
        for (changes, (how, cut)) in case.changes.iter().flat_map(|changes| [(changes, largest), (changes, row_by_row)])
        {
            let steps: Vec<Step> = changes.steps(cut).into_iter().map(|(step, _)| step).collect();
            for (at, (free, limited)) in free.run(&steps)?.iter().zip(limited.run(&steps)?).enumerate() {
                // Rows that a join forgets are kept by their values, so those that are alike come out together.
                let what = format!("{how}, step {at}, without limits (expected) and with (answered)");
                expect_multiset(&what, &answers::rows(free), &answers::rows(&limited))?;
            }
        }
        Ok(())
    });
}
