//! Runners side by side: the same answer first, then the time, in turns.

use std::collections::BTreeMap;
use std::rc::Rc;

use riverrun::StateSize;

use super::Result;
use super::answer::{Answer, Checksum, Shape};
use super::dataset::{DataSet, DataSets};
use super::files::Format;
use super::measure::Series;
use super::memory;
use super::progress::Progress;
use super::river::Session;
use super::runner::{Loaded, River, Runner};
use super::targets::{BARE, OWN};
use super::workloads::{self, Workload, Yardstick};

/// How many events whole answers are compared on.
const EVENTS_CHECKED: usize = 100_000;

/// What a workload has come to.
#[derive(Debug)]
pub struct Comparison {
    /// The workload.
    pub workload: Workload,
    /// What each runner has come to; riverrun is the first.
    pub results: Vec<Outcome>,
}

/// What a runner has come to.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub runner: String,
    /// Its version, where it tells it.
    pub version: Option<String>,
    /// How many events its data was made of.
    pub events: usize,
    /// How much it keeps when all rows have been pushed, where it tells it.
    pub state: Option<StateSize>,
    /// How much memory a run takes besides its data, at most at once, where it is known.
    pub memory: Option<u64>,
    /// Its runs, or why there are none.
    pub verdict: Verdict,
}

/// Whether there is something to show.
#[derive(Debug)]
pub enum Verdict {
    /// It has given the right answer in these runs.
    Measured(Series),
    /// It has no such thing; why.
    Unsupported(String),
    /// It has failed, or given another answer.
    Failed(String),
}

impl Outcome {
    /// That of a runner which has not run yet.
    fn of(runner: &str, events: usize) -> Outcome {
        let verdict = Verdict::Measured(Series::default());
        Outcome { runner: runner.to_owned(), version: None, events, state: None, memory: None, verdict }
    }

    /// Its runs, if it has given the right answer.
    pub fn series(&self) -> Option<&Series> {
        match &self.verdict {
            Verdict::Measured(series) => Some(series),
            Verdict::Unsupported(_) | Verdict::Failed(_) => None,
        }
    }
}

impl Comparison {
    /// The outcome of a runner.
    pub fn of(&self, runner: &str) -> Option<&Outcome> {
        self.results.iter().find(|outcome| outcome.runner == runner)
    }

    /// What has gone wrong.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.results.iter().filter_map(|outcome| match &outcome.verdict {
            Verdict::Failed(why) => Some(format!("{}, {}: {why}", self.workload.name, outcome.runner)),
            Verdict::Measured(_) | Verdict::Unsupported(_) => None,
        })
    }
}

/// A runner, and where it is noted what its runs have cost.
type Turn<'a> = (&'a mut dyn Runner, &'a mut Outcome);

/// How runners are compared.
pub struct Bench<'a> {
    /// The data.
    pub sets: &'a DataSets,
    /// How many events are measured.
    pub events: usize,
    /// How often each runner runs.
    pub reps: usize,
    /// Where the measured time finds the rows.
    pub from: Format,
    /// Where what is being done is shown.
    pub progress: &'a Progress,
}

impl Bench<'_> {
    /// Runs a workload by every runner.
    pub fn compare(&self, workload: &Workload, runners: &mut [Box<dyn Runner>]) -> Result<Comparison> {
        let mut results = self.checked(workload, runners)?;
        let mut own = self.own_yardsticks(workload)?;
        let mut turns: Vec<Turn<'_>> =
            runners.iter_mut().map(|runner| runner.as_mut() as _).zip(&mut results).collect();
        turns.extend(own.iter_mut().map(|(river, outcome)| (river as _, outcome)));
        self.measure(workload, &mut turns);
        for outcome in &mut results {
            self.weigh(workload, outcome);
        }
        results.extend(own.into_iter().map(|(_, outcome)| outcome));
        Ok(Comparison { workload: workload.clone(), results })
    }

    /// The workloads that this one is held against, loaded: they run in turns with it like any other yardstick. Their
    /// answers are another's, and checked with their own workload.
    fn own_yardsticks(&self, workload: &Workload) -> Result<Vec<(River, Outcome)>> {
        let names = workload.targets.iter().filter_map(|target| match target.of {
            Yardstick::Own(name) => Some(name),
            Yardstick::Bare | Yardstick::Peer(_) => None,
        });
        let loaded = |name| {
            let (mut river, other) = (River::new(self.from), workloads::named(name)?);
            river.load(&other, &self.sets.of(other.collection, self.events))?;
            Ok((river, Outcome::of(name, self.events)))
        };
        names.map(loaded).collect()
    }

    /// Whether each runner gives the right answer; those that do are loaded.
    fn checked(&self, workload: &Workload, runners: &mut [Box<dyn Runner>]) -> Result<Vec<Outcome>> {
        let mut references = References { workload, known: BTreeMap::new() };
        let mut results = vec![];
        for runner in runners.iter_mut() {
            self.progress.tell(|| format!("{}: checking the answer of {}", workload.name, runner.name()));
            let mut outcome = Outcome::of(runner.name(), runner.events(self.events));
            if let Err(error) = self.check(runner.as_mut(), &mut references, &mut outcome) {
                outcome.verdict = Verdict::Failed(error.to_string());
            }
            results.push(outcome);
        }
        Ok(results)
    }

    /// Compares the whole answer over little data, and then a checksum over the data that is measured, which stays
    /// loaded.
    fn check(&self, runner: &mut dyn Runner, references: &mut References<'_>, outcome: &mut Outcome) -> Result<()> {
        let workload = references.workload;
        let small = self.sets.of(workload.collection, EVENTS_CHECKED.min(outcome.events));
        if let Loaded::Unsupported(why) = runner.load(workload, &small)? {
            outcome.verdict = Verdict::Unsupported(why);
            return Ok(());
        }
        let reference = references.of(&small)?;
        let mut batches = vec![];
        runner.answer(&mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
        let answer = Answer::new(&reference.shape, &batches)?;
        refuse(reference.whole(workload, &small)?.difference(&answer)?)?;

        let measured = self.sets.of(workload.collection, outcome.events);
        runner.load(workload, &measured)?;
        let reference = references.of(&measured)?;
        let mut checksum = Checksum::default();
        let notes = runner.answer(&mut |batch| checksum.add(&reference.shape, &batch))?;
        refuse(reference.checksum.difference(&checksum))?;
        outcome.state = notes.state;
        outcome.version = notes.version;
        Ok(())
    }

    fn weigh(&self, workload: &Workload, outcome: &mut Outcome) {
        let Verdict::Measured(series) = &outcome.verdict else { return };
        if outcome.runner != OWN && outcome.runner != BARE {
            outcome.memory = series.0.iter().map(|sample| sample.grown_bytes).max();
            return;
        }
        self.progress.tell(|| format!("{}: the memory of {}", workload.name, outcome.runner));
        match memory::of(workload, &self.sets.of(workload.collection, outcome.events), &outcome.runner, self.from) {
            Ok(bytes) => outcome.memory = Some(bytes),
            Err(error) => outcome.verdict = Verdict::Failed(error.to_string()),
        }
    }

    fn measure(&self, workload: &Workload, turns: &mut [Turn<'_>]) {
        for rep in 1..=self.reps {
            for (runner, outcome) in &mut *turns {
                let Verdict::Measured(series) = &mut outcome.verdict else { continue };
                let of = self.reps;
                self.progress.tell(|| format!("{}: {} runs, {rep} of {of}", workload.name, outcome.runner));
                match runner.run() {
                    Ok(sample) => series.0.push(sample),
                    Err(error) => outcome.verdict = Verdict::Failed(error.to_string()),
                }
            }
        }
    }
}

fn refuse(difference: Option<String>) -> Result<()> {
    match difference {
        Some(difference) => Err(format!("its answer differs: {difference}").into()),
        None => Ok(()),
    }
}

/// riverrun's answers, which the others are compared with. That they are right is what its tests are for.
struct References<'a> {
    workload: &'a Workload,
    known: BTreeMap<usize, Rc<Reference>>,
}

struct Reference {
    shape: Shape,
    checksum: Checksum,
}

impl References<'_> {
    fn of(&mut self, data: &DataSet) -> Result<Rc<Reference>> {
        if let Some(known) = self.known.get(&data.events) {
            return Ok(known.clone());
        }
        let shape = Shape::new(&Session::open(self.workload)?.schema());
        let mut checksum = Checksum::default();
        let mut river = River::new(Format::Memory);
        river.load(self.workload, data)?;
        river.answer(&mut |batch| checksum.add(&shape, &batch))?;
        let reference = Rc::new(Reference { shape, checksum });
        self.known.insert(data.events, reference.clone());
        Ok(reference)
    }
}

impl Reference {
    /// The whole answer. It is computed anew each time: only small ones are asked for.
    fn whole(&self, workload: &Workload, data: &DataSet) -> Result<Answer> {
        let mut river = River::new(Format::Memory);
        river.load(workload, data)?;
        let mut batches = vec![];
        river.answer(&mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
        Answer::new(&self.shape, &batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::dataset::Origin;
    use crate::bench::flights;
    use crate::bench::runner::Bare;

    /// Compares the answers of riverrun reading from `from` and of other runners.
    fn failures(from: Format, names: &[&str], others: Vec<Box<dyn Runner>>) -> Vec<String> {
        let progress = Rc::new(Progress::hidden());
        let files = tempfile::tempdir().unwrap();
        let sets = DataSets::new(files.path().into(), flights::directory(None), Origin::Made, progress.clone());
        let bench = Bench { sets: &sets, events: 5000, reps: 1, from, progress: &progress };
        let mut runners: Vec<Box<dyn Runner>> = vec![Box::new(River::new(from))];
        runners.extend(others);
        let mut failures = vec![];
        for workload in workloads::choose(&names.iter().map(|&name| name.into()).collect::<Vec<_>>()).unwrap() {
            let checked = bench.checked(&workload, &mut runners).unwrap();
            assert!(checked.iter().all(|outcome| !matches!(outcome.verdict, Verdict::Unsupported(_))));
            failures.extend(Comparison { workload, results: checked }.failures());
        }
        failures
    }

    #[test]
    fn every_workload_gives_the_answer_that_the_loop_written_by_hand_gives() {
        assert_eq!(failures(Format::Memory, &[], vec![Box::<Bare>::default()]), [""; 0]);
    }

    #[test]
    fn reading_files_gives_the_answer_that_memory_gives() {
        for format in [Format::Arrow, Format::Parquet, Format::Csv, Format::Jsonl] {
            let names = ["a3_channel", "d_join_final", "g_flights"];
            assert_eq!(failures(format, &names, vec![]), [""; 0], "{format:?}");
        }
    }
}
