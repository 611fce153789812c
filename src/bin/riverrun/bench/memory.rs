//! How much memory a run takes, in a process of its own.
//!
//! Within one process a run reuses what the runs before it have given back, and seems to take none.

use std::process::{Command, Stdio};

use super::Result;
use super::dataset::DataSet;
use super::files::Format;
use super::runner::{Loaded, Runner};
use super::workloads::Workload;

/// By how many bytes the resident memory of a process grows when `runner` runs a workload once over data that is there.
pub fn of(workload: &Workload, data: &DataSet, runner: &str, from: Format) -> Result<u64> {
    // What is read from other files is there as Arrow too: that is where such a process learns what there is.
    data.write(workload, &[Format::Arrow])?;
    if from != Format::Memory {
        data.write(workload, &[from])?;
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", &workload.asked, "--memory-of", runner, "--from", from.name()]);
    command.args(["--events", &data.events.to_string()]).arg("--flights").arg(&data.flights);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let bytes = String::from_utf8_lossy(&output.stdout).trim().parse();
    Ok(bytes.map_err(|_| "the process that was to tell its memory has failed")?)
}

/// What such a process does: it takes its data from the files that were written for it.
pub fn tell(workload: &Workload, data: &DataSet, runner: &mut dyn Runner) -> Result<u64> {
    match runner.load(workload, data)? {
        Loaded::Ready => Ok(runner.run()?.grown_bytes),
        Loaded::Unsupported(why) => Err(why.into()),
    }
}
