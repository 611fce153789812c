//! Data of several sizes, made when it is asked for: small to compare whole answers, large to measure, and in between
//! for engines that would take hours.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Result;
use super::data::Tables;
use super::files::{self, Format};
use super::flights;
use super::generate;
use super::progress::Progress;
use super::workloads::Workload;

/// Data of one size.
pub struct DataSet {
    /// How many events were made.
    pub events: usize,
    /// Where it is as files.
    pub directory: PathBuf,
    /// The directory of the flights.
    pub flights: PathBuf,
    origin: Origin,
    tables: RefCell<Tables>,
    /// The files that are known to be whole.
    written: RefCell<BTreeSet<(String, &'static str)>>,
    progress: Rc<Progress>,
}

/// Where rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// They are generated, and the flights read from where they are published.
    Made,
    /// They were written as Arrow files by another process, just now.
    Written,
}

impl DataSet {
    /// Data of `events` events, as files in a directory of its own below `directory`; the flights are always the same.
    pub fn new(events: usize, directory: &Path, flights: &Path, origin: Origin, progress: Rc<Progress>) -> DataSet {
        DataSet {
            events,
            directory: directory.join(events.to_string()),
            flights: flights.to_owned(),
            origin,
            tables: RefCell::default(),
            written: RefCell::default(),
            progress,
        }
    }

    /// The tables that a workload reads, and perhaps more.
    pub fn tables(&self, workload: &Workload) -> Result<Tables> {
        for stream in &workload.streams {
            if self.tables.borrow().table(&stream.name).is_ok() {
                continue;
            }
            let mut tables = self.tables.borrow_mut();
            if self.origin == Origin::Written {
                tables.insert(files::read(known(&stream.name)?, &self.directory)?);
                continue;
            }
            match stream.name.as_str() {
                "bidn" | "auction" | "person" => generate::nexmark(self.events, &mut tables, &self.progress)?,
                "bidu" => tables.insert(generate::uniform(self.events, &self.progress)?),
                "flights" | "weather" => flights::load(&self.flights, &mut tables)?,
                other => known(other).map(drop)?,
            }
        }
        Ok(self.tables.borrow().clone())
    }

    /// Makes sure that the tables of a workload are there as files. They are written once a run: files of an earlier
    /// run may be those of another version.
    pub fn write(&self, workload: &Workload, formats: &[Format]) -> Result<()> {
        if self.origin == Origin::Written {
            return Ok(());
        }
        let tables = self.tables(workload)?;
        for stream in &workload.streams {
            for format in formats {
                if self.written.borrow_mut().insert((stream.name.clone(), format.name())) {
                    self.progress.tell(|| format!("writing {}.{}", stream.name, format.name()));
                    files::write(tables.table(&stream.name)?, &self.directory, *format)?;
                }
            }
        }
        Ok(())
    }
}

/// Data of every size that has been asked for.
pub struct DataSets {
    directory: PathBuf,
    flights: PathBuf,
    origin: Origin,
    progress: Rc<Progress>,
    made: RefCell<BTreeMap<usize, Rc<DataSet>>>,
}

impl DataSets {
    /// Data that is written below `directory` where it is wanted as files.
    pub fn new(directory: PathBuf, flights: PathBuf, origin: Origin, progress: Rc<Progress>) -> DataSets {
        DataSets { directory, flights, origin, progress, made: RefCell::default() }
    }

    /// Data of `events` events.
    pub fn of(&self, events: usize) -> Rc<DataSet> {
        let make = || Rc::new(DataSet::new(events, &self.directory, &self.flights, self.origin, self.progress.clone()));
        self.made.borrow_mut().entry(events).or_insert_with(make).clone()
    }
}

/// The names of all tables.
const TABLES: [&str; 6] = ["bidn", "bidu", "auction", "person", "flights", "weather"];

/// The table that feeds a stream.
fn known(stream: &str) -> Result<&'static str> {
    let known = TABLES.into_iter().find(|table| *table == stream);
    Ok(known.ok_or_else(|| format!("there is no data for a stream \"{stream}\": there is {}", TABLES.join(", ")))?)
}
