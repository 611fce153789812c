//! Runners side by side: the same answer first, then the time, in turns.

use std::collections::BTreeMap;
use std::rc::Rc;

use riverrun::StateSize;

use super::Result;
use super::answer::{Answer, Checksum, Shape};
use super::dataset::{DataSet, DataSets};
use super::files::Format;
use super::measure::Series;
use super::progress::Progress;
use super::river::Session;
use super::runner::{Loaded, River, Runner};
use super::workloads::Workload;

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

/// How runners are compared.
pub struct Bench<'a> {
    /// The data.
    pub sets: &'a DataSets,
    /// How many events are measured.
    pub events: usize,
    /// How often each runner runs.
    pub reps: usize,
    /// Where what is being done is shown.
    pub progress: &'a Progress,
}

impl Bench<'_> {
    /// Runs a workload by every runner.
    pub fn compare(&self, workload: &Workload, runners: &mut [Box<dyn Runner>]) -> Result<Comparison> {
        let mut references = References { workload, known: BTreeMap::new() };
        let mut results = vec![];
        for runner in runners.iter_mut() {
            self.progress.tell(|| format!("{}: checking the answer of {}", workload.name, runner.name()));
            let events = runner.events(self.events);
            let mut outcome = Outcome {
                runner: runner.name().to_owned(),
                version: None,
                events,
                state: None,
                verdict: Verdict::Measured(Series::default()),
            };
            if let Err(error) = self.check(runner.as_mut(), &mut references, &mut outcome) {
                outcome.verdict = Verdict::Failed(error.to_string());
            }
            results.push(outcome);
        }
        self.measure(workload, runners, &mut results);
        Ok(Comparison { workload: workload.clone(), results })
    }

    /// Compares the whole answer over little data, and then a checksum over the data that is measured, which stays
    /// loaded.
    fn check(&self, runner: &mut dyn Runner, references: &mut References<'_>, outcome: &mut Outcome) -> Result<()> {
        let workload = references.workload;
        let small = self.sets.of(EVENTS_CHECKED.min(outcome.events));
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

        let measured = self.sets.of(outcome.events);
        runner.load(workload, &measured)?;
        let reference = references.of(&measured)?;
        let mut checksum = Checksum::default();
        let notes = runner.answer(&mut |batch| checksum.add(&reference.shape, &batch))?;
        refuse(reference.checksum.difference(&checksum))?;
        outcome.state = notes.state;
        outcome.version = notes.version;
        Ok(())
    }

    fn measure(&self, workload: &Workload, runners: &mut [Box<dyn Runner>], results: &mut [Outcome]) {
        for rep in 1..=self.reps {
            for (runner, outcome) in runners.iter_mut().zip(&mut *results) {
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
    use crate::bench::runner::Bare;
    use crate::bench::{flights, workloads};

    #[test]
    fn every_workload_gives_the_answer_that_the_loop_written_by_hand_gives() {
        let progress = Rc::new(Progress::hidden());
        let files = tempfile::tempdir().unwrap();
        let flights = flights::directory(None);
        let sets = DataSets::new(files.path().to_owned(), flights, progress.clone());
        let bench = Bench { sets: &sets, events: 5000, reps: 1, progress: &progress };
        let mut runners: Vec<Box<dyn Runner>> = vec![Box::new(River::new(Format::Memory)), Box::<Bare>::default()];
        for workload in workloads::choose(&[]).unwrap() {
            let comparison = bench.compare(&workload, &mut runners).unwrap();
            assert_eq!(comparison.failures().collect::<Vec<_>>(), [""; 0]);
            assert!(comparison.results.iter().all(|outcome| outcome.series().is_some()));
        }
    }

    #[test]
    fn reading_files_gives_the_answer_that_memory_gives() {
        let progress = Rc::new(Progress::hidden());
        let files = tempfile::tempdir().unwrap();
        let sets = DataSets::new(files.path().to_owned(), flights::directory(None), progress.clone());
        let bench = Bench { sets: &sets, events: 2000, reps: 1, progress: &progress };
        for format in [Format::Arrow, Format::Parquet, Format::Csv, Format::Jsonl] {
            for name in ["a3_channel", "d_join_final", "g_flights"] {
                let workload = workloads::named(name).unwrap();
                let comparison = bench.compare(&workload, &mut [Box::new(River::new(format))]).unwrap();
                assert_eq!(comparison.failures().collect::<Vec<_>>(), [""; 0], "{format:?}");
            }
        }
    }
}
