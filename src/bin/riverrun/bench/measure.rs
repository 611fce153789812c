//! Wall clock, processor time and memory of one run, and what several runs come to.

use std::fs;
use std::time::Instant;

/// What one run has cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Seconds by the clock on the wall.
    pub seconds: f64,
    /// The same without a fixed cost a run, where the runner tells it.
    pub net_seconds: Option<f64>,
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// Rows that went in.
    pub rows_in: u64,
    /// Rows that came out.
    pub rows_out: u64,
    /// The most memory that was resident, the data included.
    pub peak_bytes: u64,
    /// How much of it was not resident before the run.
    pub grown_bytes: u64,
}

/// Runs from its start until it is read.
pub struct Stopwatch {
    start: Instant,
    cpu: f64,
    resident: u64,
}

impl Stopwatch {
    /// Starts now; the peak of memory is counted from here where the system allows it.
    pub fn start() -> Stopwatch {
        // Where the peak cannot be reset, it is that of the whole process so far: too much, never too little.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let resident = status_bytes("VmRSS:");
        Stopwatch { resident, cpu: cpu_seconds(), start: Instant::now() }
    }

    /// What the run has cost until now.
    pub fn read(&self, rows_in: u64, rows_out: u64) -> Sample {
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds() - self.cpu;
        let peak_bytes = status_bytes("VmHWM:");
        let grown_bytes = peak_bytes.saturating_sub(self.resident);
        Sample { seconds, net_seconds: None, cpu_seconds, rows_in, rows_out, peak_bytes, grown_bytes }
    }
}

/// Processor time of the main thread: riverrun and the bare loops work on the caller's thread alone.
fn cpu_seconds() -> f64 {
    let nanos = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    nanos.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// A line of this process's status; 0 where there is none.
fn status_bytes(name: &str) -> u64 {
    status_bytes_of("self", name)
}

/// A line of the status of a process; 0 where there is none.
pub fn status_bytes_of(process: &str, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The middle of some numbers; not a number if there are none.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match (numbers.get(middle), middle.checked_sub(1).and_then(|before| numbers.get(before))) {
        (Some(upper), Some(lower)) if numbers.len().is_multiple_of(2) => f64::midpoint(*lower, *upper),
        (Some(upper), _) => *upper,
        (None, _) => f64::NAN,
    }
}

/// The runs of one runner.
#[derive(Debug, Clone, Default)]
pub struct Series(pub Vec<Sample>);

impl Series {
    /// The median of something of the runs.
    pub fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.0.iter().map(of))
    }

    /// The median of the wall clock.
    pub fn seconds(&self) -> f64 {
        self.median(|sample| sample.seconds)
    }

    /// The fastest and the slowest run.
    pub fn range(&self) -> (f64, f64) {
        let seconds = || self.0.iter().map(|sample| sample.seconds);
        (seconds().fold(f64::INFINITY, f64::min), seconds().fold(0.0, f64::max))
    }

    /// The rows that went into each run.
    pub fn rows_in(&self) -> u64 {
        self.0.first().map_or(0, |sample| sample.rows_in)
    }

    /// The rows that came out of each run.
    pub fn rows_out(&self) -> u64 {
        self.0.first().map_or(0, |sample| sample.rows_out)
    }

    /// The median of the wall clock without a fixed cost a run, where the runner tells it: in favour of the others.
    pub fn net_seconds(&self) -> f64 {
        self.median(|sample| sample.net_seconds.unwrap_or(sample.seconds))
    }

    /// Rows in a net second.
    pub fn rows_per_second(&self) -> f64 {
        self.rows_in() as f64 / self.net_seconds()
    }

    /// Nanoseconds for a row, given seconds for all.
    pub fn nanos_a_row(&self, seconds: f64) -> f64 {
        seconds * 1e9 / self.rows_in() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn work_takes_time_and_memory() {
        let watch = Stopwatch::start();
        let work: Vec<u64> = (0..10_000).collect();
        let sample = watch.read(work.len() as u64, 0);
        assert!(sample.seconds > 0.0 && sample.rows_in == 10_000);
    }
}
