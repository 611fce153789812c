//! The rows of `t` in a Parquet file, which may have texts as numbers into a dictionary.

use std::fmt;
use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use riverrun::Engine;

use crate::data::{self, Row};

/// Queries that only ask of the text `s` which rows agree in it, and some that ask more, in one place or in another.
pub const BY_TEXT: [&str; 8] = [
    "SELECT s, count(*) AS n, sum(k) AS total FROM t GROUP BY s",
    "SELECT s, count(DISTINCT i) AS n, max(k) AS most FROM t WHERE k > 0 GROUP BY s",
    "SELECT s, count(*) AS n FROM t GROUP BY s HAVING count(*) > 1",
    "SELECT DISTINCT s FROM t",
    "SELECT s, min(s) AS same, count(*) AS n FROM t GROUP BY s",
    "SELECT s, count(*) AS n FROM t WHERE s <> 'a' GROUP BY s",
    "SELECT s, b, count(*) AS n FROM t GROUP BY s, b",
    "SELECT upper(s) AS s, count(*) AS n FROM t GROUP BY upper(s)",
];
/// The same where the file is read twice.
pub const BY_TEXT_TWICE: [&str; 2] = [
    "SELECT x.s, x.n, y.total FROM (SELECT s, count(*) AS n FROM t GROUP BY s) AS x JOIN (SELECT s, sum(k) AS total FROM t GROUP BY s) AS y ON x.s = y.s",
    "SELECT s, count(*) AS n FROM t GROUP BY s UNION ALL SELECT lower(s) AS s, k AS n FROM t",
];

/// How the rows are in the file and how they are read.
#[derive(Debug, Clone)]
pub struct Layout {
    /// How many rows share a dictionary.
    group_rows: usize,
    batch_rows: usize,
    has_dictionary: bool,
    /// Everything is dropped from memory and resumed after each batch of the answer.
    restarts: bool,
}

pub fn layout() -> impl Strategy<Value = Layout> {
    let (group_rows, batch_rows) = (1usize..40, 1usize..12);
    (group_rows, batch_rows, prop::bool::weighted(0.8), any::<bool>()).prop_map(
        |(group_rows, batch_rows, has_dictionary, restarts)| Layout {
            group_rows,
            batch_rows,
            has_dictionary,
            restarts,
        },
    )
}

impl Layout {
    /// What `query` says over the file.
    pub fn answer(&self, rows: &[Row], query: &str) -> Result<Vec<RecordBatch>, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        self.write(rows, &directory.path().join("t.parquet")).map_err(|error| error.to_string())?;
        let engine = Engine::builder().allow_directory(directory.path()).build();
        let engine = engine.map_err(|error| error.to_string())?;
        self.read(&engine, directory.path(), query).map_err(|error| format!("{query}\n{error}"))
    }

    fn write(&self, rows: &[Row], path: &Path) -> parquet::errors::Result<()> {
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(self.group_rows))
            .set_dictionary_enabled(self.has_dictionary)
            .build();
        let batch = data::batch(&data::columns(), rows);
        let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.close().map(drop)
    }

    fn read(&self, engine: &Engine, directory: &Path, query: &str) -> riverrun::Result<Vec<RecordBatch>> {
        let (create, path) = (data::create("t", &data::columns()), directory.join("t.parquet"));
        engine.execute(&format!("{create} WITH (path = '{}', batch_rows = {})", path.display(), self.batch_rows))?;
        let mut said = vec![];
        for batch in engine.query(query)? {
            said.push(batch?);
            if self.restarts {
                engine.execute("CHECKPOINT; RESTART;")?;
            }
        }
        Ok(said)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-- in a file: {self:?}")
    }
}
