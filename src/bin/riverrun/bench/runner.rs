//! Everything that can run a workload: riverrun, a loop written by hand, another engine.

use std::rc::Rc;

use riverrun::StateSize;
use riverrun::arrow::array::RecordBatch;

use super::Result;
use super::bare::{self, Loop};
use super::dataset::DataSet;
use super::files::Format;
use super::input::Input;
use super::measure::Sample;
use super::river::{self, Session};
use super::workloads::Workload;

/// What takes the batches of an answer.
pub type Taker<'a> = dyn FnMut(RecordBatch) -> Result<()> + 'a;

/// Runs workloads.
pub trait Runner {
    /// What it is called in the table.
    fn name(&self) -> &str;

    /// How many events it is measured on, of `events`.
    fn events(&self, events: usize) -> usize {
        events
    }

    /// Gets ready to run a workload over data.
    fn load(&mut self, workload: &Workload, data: &DataSet) -> Result<Loaded>;

    /// Runs what is loaded once, from its first row to the last of its answer, and throws the answer away.
    fn run(&mut self) -> Result<Sample>;

    /// Runs what is loaded and gives the answer to `taker`.
    fn answer(&mut self, taker: &mut Taker<'_>) -> Result<Notes>;
}

/// Whether a runner can run a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// It can.
    Ready,
    /// It has no such thing; why.
    Unsupported(String),
}

/// What a runner tells besides its answer.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// What is kept when all rows have been pushed.
    pub state: Option<StateSize>,
    /// Its version.
    pub version: Option<String>,
}

/// riverrun, called as any program can call it.
pub struct River {
    from: Format,
    loaded: Option<Rc<Task>>,
}

/// A workload with its data.
struct Task {
    workload: Workload,
    input: Input,
}

impl River {
    /// Reads from memory or from files.
    pub fn new(from: Format) -> River {
        River { from, loaded: None }
    }

    fn task(&self) -> Result<Rc<Task>> {
        Ok(self.loaded.clone().ok_or("nothing is loaded")?)
    }
}

impl Runner for River {
    fn name(&self) -> &str {
        "riverrun"
    }

    fn load(&mut self, workload: &Workload, data: &DataSet) -> Result<Loaded> {
        let mut workload = workload.clone();
        let mut input = Input::new(&workload, &data.tables(&workload)?)?;
        if self.from != Format::Memory {
            if workload.depends_on_interleaving() {
                return Ok(Loaded::Unsupported("files are read one after the other".into()));
            }
            data.write(&workload, &[self.from])?;
            workload = workload.over_files(&data.directory, self.from);
            input.pushes.clear();
        }
        self.loaded = Some(Rc::new(Task { workload, input }));
        Ok(Loaded::Ready)
    }

    fn run(&mut self) -> Result<Sample> {
        let task = self.task()?;
        river::run(&task.workload, &task.input)
    }

    fn answer(&mut self, taker: &mut Taker<'_>) -> Result<Notes> {
        let task = self.task()?;
        let mut session = Session::open(&task.workload)?;
        session.push(&task.input, taker)?;
        // Files are read only now: what is kept at their end is never seen.
        let state = (self.from == Format::Memory).then(|| session.state());
        session.close(taker)?;
        Ok(Notes { state, version: Some(env!("CARGO_PKG_VERSION").into()) })
    }
}

/// A loop written by hand.
#[derive(Default)]
pub struct Bare {
    loaded: Option<(Loop, Rc<Task>)>,
}

impl Runner for Bare {
    fn name(&self) -> &str {
        "bare loop"
    }

    fn load(&mut self, workload: &Workload, data: &DataSet) -> Result<Loaded> {
        let Some(by_hand) = workload.bare else {
            return Ok(Loaded::Unsupported("nobody has written it by hand".into()));
        };
        let input = Input::new(workload, &data.tables(workload)?)?;
        self.loaded = Some((by_hand, Rc::new(Task { workload: workload.clone(), input })));
        Ok(Loaded::Ready)
    }

    fn run(&mut self) -> Result<Sample> {
        let (by_hand, task) = self.loaded.as_ref().ok_or("nothing is loaded")?;
        bare::run(*by_hand, &task.input)
    }

    fn answer(&mut self, taker: &mut Taker<'_>) -> Result<Notes> {
        let (by_hand, task) = self.loaded.as_ref().ok_or("nothing is loaded")?;
        let schema = Session::open(&task.workload)?.schema();
        by_hand(&task.input, &mut |columns| {
            let names = schema.fields().iter().map(|field| field.name());
            taker(RecordBatch::try_from_iter_with_nullable(
                names.zip(columns).map(|(name, column)| (name, column, true)),
            )?)
        })?;
        Ok(Notes::default())
    }
}
