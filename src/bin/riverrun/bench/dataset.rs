//! Data of several sizes, made when it is asked for: small to compare whole answers, large to measure, and in between
//! for engines that would take hours.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use super::Result;
use super::data::Tables;
use super::files::{self, Format};
use super::flights;
use super::generate;
use super::nexmark;
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

/// Which tables a workload reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Collection {
    /// Those made for the workloads, with the columns that these need.
    Workloads,
    /// Nexmark's own, with all their columns.
    Nexmark,
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
    /// The tables that a workload reads, and perhaps more.
    pub fn tables(&self, workload: &Workload) -> Result<Tables> {
        for stream in &workload.streams {
            if self.tables.borrow().table(&stream.name).is_ok() {
                continue;
            }
            let mut tables = self.tables.borrow_mut();
            if self.origin == Origin::Written {
                let names = [&TABLES[..], &nexmark::TABLES].concat();
                tables.insert(files::read(find(&names, &stream.name)?, &self.directory)?);
                continue;
            }
            match workload.collection {
                Collection::Workloads => self.make(&stream.name, &mut tables)?,
                Collection::Nexmark => {
                    let name = find(&nexmark::TABLES, &stream.name)?;
                    tables.insert(nexmark::table(name, self.events, &self.progress)?);
                }
            }
        }
        Ok(self.tables.borrow().clone())
    }

    /// Makes a table of the workloads, and perhaps others with it.
    fn make(&self, name: &str, tables: &mut Tables) -> Result<()> {
        match name {
            "bidn" | "auction" | "person" => generate::nexmark(self.events, tables, &self.progress),
            "bidu" => {
                tables.insert(generate::uniform(self.events, &self.progress)?);
                Ok(())
            }
            "flights" | "weather" => flights::load(&self.flights, tables),
            other => find(&TABLES, other).map(drop),
        }
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
    made: RefCell<BTreeMap<(Collection, usize), Rc<DataSet>>>,
}

impl DataSets {
    /// Data that is written below `directory` where it is wanted as files.
    pub fn new(directory: PathBuf, flights: PathBuf, origin: Origin, progress: Rc<Progress>) -> DataSets {
        DataSets { directory, flights, origin, progress, made: RefCell::default() }
    }

    /// Data of `events` events, as files in a directory of its own; the flights are always the same.
    pub fn of(&self, collection: Collection, events: usize) -> Rc<DataSet> {
        let directory = match collection {
            Collection::Workloads => self.directory.join(events.to_string()),
            Collection::Nexmark => self.directory.join("nexmark").join(events.to_string()),
        };
        let make = || {
            Rc::new(DataSet {
                events,
                directory,
                flights: self.flights.clone(),
                origin: self.origin,
                tables: RefCell::default(),
                written: RefCell::default(),
                progress: self.progress.clone(),
            })
        };
        self.made.borrow_mut().entry((collection, events)).or_insert_with(make).clone()
    }
}

/// The names of the tables of the workloads.
const TABLES: [&str; 6] = ["bidn", "bidu", "auction", "person", "flights", "weather"];

/// The table of `tables` that feeds a stream.
fn find(tables: &[&'static str], stream: &str) -> Result<&'static str> {
    let found = tables.iter().find(|table| **table == stream);
    let missing = || format!("there is no data for a stream \"{stream}\": there is {}", tables.join(", "));
    Ok(found.copied().ok_or_else(missing)?)
}
