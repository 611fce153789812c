//! What the harness asks for, and how it is refused.

use std::path::PathBuf;

use serde_json::Value;

/// The answer, or why there is none.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a request came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// LaminarDB cannot do this, or this peer cannot with it.
    Unsupported(String),
    /// Something went wrong.
    Error(Box<dyn std::error::Error>),
}

impl<E: Into<Box<dyn std::error::Error>>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Error(error.into())
    }
}

/// A workload over the files of a directory.
pub struct Request {
    /// Its name without `_uniform`.
    pub workload: String,
    /// The table of bids that it reads.
    pub bids: &'static str,
    /// Where the tables are as files.
    pub data: PathBuf,
}

impl Request {
    /// Reads what the harness said with `load`.
    ///
    /// # Errors
    ///
    /// If it names no workload or no data, or a source other than memory.
    pub fn parse(said: &Value) -> Result<Request> {
        let text = |name: &str| said[name].as_str().ok_or_else(|| format!("\"load\" needs \"{name}\""));
        let (workload, data) = (text("workload")?, text("data")?);
        if text("source")? != "memory" {
            return Err(Failure::Unsupported("measured from memory alone".into()));
        }
        let (workload, bids) = match workload.strip_suffix("_uniform") {
            Some(plain) => (plain, "bidu"),
            None => (workload, "bidn"),
        };
        Ok(Request { workload: workload.into(), bids, data: data.into() })
    }
}
