//! The tables as files, for other engines and for reading from files.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use riverrun::arrow::csv::WriterBuilder;
use riverrun::arrow::ipc::reader::FileReader;
use riverrun::arrow::ipc::writer::FileWriter;
use riverrun::arrow::json::LineDelimitedWriter;

use super::Result;
use super::data::Table;

/// How many rows a row group of Parquet has: as DuckDB and pyarrow write it.
const ROW_GROUP_ROWS: usize = 122_880;
const TIMESTAMPS: &str = "%Y-%m-%dT%H:%M:%S%.f";

/// Where the measured time finds the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// In memory, decoded
    Memory,
    /// In an Arrow IPC file
    Arrow,
    /// In a Parquet file
    Parquet,
    /// In a CSV file
    Csv,
    /// In a file with a JSON object a line
    Jsonl,
}

impl Format {
    /// How other engines are told of it; also the extension of the files.
    pub fn name(self) -> &'static str {
        match self {
            Format::Memory => "memory",
            Format::Arrow => "arrow",
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::Jsonl => "jsonl",
        }
    }
}

/// Where a table is as a file.
pub fn path(directory: &Path, table: &str, format: Format) -> PathBuf {
    directory.join(format!("{table}.{}", format.name()))
}

/// Writes a table. A file that is half written has another name, so one that is there is whole.
pub fn write(table: &Table, directory: &Path, format: Format) -> Result<()> {
    fs::create_dir_all(directory)?;
    let path = path(directory, table.name, format);
    let half = path.with_extension("part");
    let file = BufWriter::with_capacity(1 << 20, File::create(&half)?);
    match format {
        Format::Memory => return Ok(()),
        Format::Arrow => {
            let mut writer = FileWriter::try_new(file, &table.schema)?;
            table.batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()?;
            writer.into_inner()?.flush()?;
        }
        Format::Parquet => write_parquet(table, file)?,
        Format::Csv => {
            let builder = WriterBuilder::new().with_header(true).with_timestamp_format(TIMESTAMPS.into());
            let mut writer = builder.build(file);
            table.batches.iter().try_for_each(|batch| writer.write(batch))?;
        }
        Format::Jsonl => {
            let mut writer = LineDelimitedWriter::new(file);
            table.batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()?;
        }
    }
    Ok(fs::rename(half, path)?)
}

/// Reads a table that was written as Arrow.
pub fn read(name: &'static str, directory: &Path) -> Result<Table> {
    let file = BufReader::with_capacity(1 << 20, File::open(path(directory, name, Format::Arrow))?);
    let reader = FileReader::try_new(file, None)?;
    let schema = reader.schema();
    Ok(Table { name, schema, batches: reader.collect::<std::result::Result<_, _>>()? })
}

fn write_parquet(table: &Table, file: impl Write + Send) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let mut writer = ArrowWriter::try_new(file, table.schema.clone(), Some(properties))?;
    table.batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.close()?;
    Ok(())
}
