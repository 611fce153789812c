//! The benchmark Nexmark: its queries as they stand in `benches/nexmark`, over its events in memory instead of by the
//! connector.

use riverrun::Engine;
use riverrun::arrow::compute::BatchCoalescer;
use riverrun::arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use riverrun::sql::{self, Body, CreateStream, Limits};

use super::Result;
use super::compare::{Comparison, Outcome};
use super::data::{BATCH_ROWS, Table};
use super::dataset::Collection;
use super::measure::Series;
use super::probes::{Finding, Limit};
use super::progress::Progress;
use super::targets::OWN;
use super::workloads::{StreamText, Target, Workload, Yardstick, title};

/// What the queries are called by, before their own names.
pub const PREFIX: &str = "nexmark_";
/// The tables, in the order in which the first rows of them happen.
pub const TABLES: [&str; 3] = ["person", "auction", "bid"];

/// The engine that Nexmark is a benchmark of.
const YARDSTICK: &str = "flink";
const TARGETS: &[Target] = &[Target { of: Yardstick::Peer(YARDSTICK), ratio_min: 3.0 }];
/// How many times as fast riverrun is to be in the geometric mean of the queries.
const MEAN_MIN: f64 = 10.0;
/// Windows of the clock would end somewhere else in each run, and no two answers could be compared: it stands still.
const CLOCK: &str = "SET clock = 'manual'";

/// A query by its name and the text of its file.
macro_rules! query {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/nexmark/", $name, ".sql")))
    };
}

const QUERIES: &[(&str, &str)] = &[
    query!("q0"),
    query!("q1"),
    query!("q2"),
    query!("q3"),
    query!("q4"),
    query!("q5"),
    query!("q6"),
    query!("q7"),
    query!("q8"),
    query!("q9"),
    query!("q10"),
    query!("q11"),
    query!("q12"),
    query!("q13"),
    query!("q14"),
    query!("q15"),
    query!("q16"),
    query!("q17"),
    query!("q18"),
    query!("q19"),
    query!("q20"),
    query!("q21"),
    query!("q22"),
    query!("q23"),
];

/// Every query as a workload.
///
/// # Errors
/// If a file is no such query.
pub fn workloads() -> Result<Vec<Workload>> {
    let parsed = |(name, text): &(&str, &str)| parse(name, text).map_err(|error| format!("{name}.sql: {error}").into());
    QUERIES.iter().map(parsed).collect()
}

/// The workload that a file's text is: its streams are fed instead of made, and what it would write into a file is its
/// answer.
fn parse(name: &str, text: &str) -> Result<Workload> {
    let (mut setup, mut streams, mut queries) = (vec![CLOCK.to_owned()], vec![], vec![]);
    for statement in sql::parse(text, &Limits::default())? {
        let written = text.get(statement.bytes.clone()).unwrap_or_default();
        match &statement.body {
            Body::CreateStream(stream) => streams.push(fed(stream, text, statement.bytes.start)?),
            Body::Query(_) => queries.push(written.to_owned()),
            Body::Copy(_) => queries.push(copied(written)?.to_owned()),
            _ => setup.push(written.to_owned()),
        }
    }
    let [query] = <[String; 1]>::try_from(queries).map_err(|_| "it has not one query")?;
    let name = format!("{PREFIX}{name}");
    Ok(Workload {
        asked: name.clone(),
        name,
        title: title(text),
        collection: Collection::Nexmark,
        setup,
        streams,
        query,
        directory: None,
        bare: None,
        targets: TARGETS,
    })
}

/// The stream without its connector, but with the columns that it had of it.
fn fed(stream: &CreateStream, text: &str, start: usize) -> Result<StreamText> {
    let name = &stream.name.value;
    let option = stream.options.first().ok_or("a stream without a connector")?;
    let before = text.get(start..option.key.place.bytes().start).unwrap_or_default();
    let (head, _) = before.rsplit_once("WITH").ok_or("a stream without WITH")?;
    let columns = columns(name)?;
    let text = match (&stream.watermark, head.split_once('(')) {
        (Some(_), Some((head, watermark))) => format!("{head}({columns}, {watermark}"),
        (Some(_), None) | (None, _) => format!("{head}({columns})"),
    };
    Ok(StreamText { name: name.clone(), text: text.trim_end().to_owned() })
}

/// The query of `COPY (query) TO 'path'`.
fn copied(written: &str) -> Result<&str> {
    let (_, after) = written.split_once('(').ok_or("COPY without a query")?;
    let (query, _) = after.rsplit_once(") TO").ok_or("COPY to nowhere")?;
    Ok(query)
}

/// The columns of a table of the connector, as `CREATE STREAM` names them.
fn columns(table: &str) -> Result<String> {
    let declared = |field: &Field| -> Result<String> {
        let data_type = match field.data_type() {
            DataType::Int64 => "BIGINT",
            DataType::Utf8 => "VARCHAR",
            DataType::Timestamp(TimeUnit::Millisecond, None) => "TIMESTAMP(3)",
            other => return Err(format!("no name for the type {other}").into()),
        };
        Ok(format!("{} {data_type}", field.name()))
    };
    let schema: SchemaRef = made(table, 0)?.schema();
    let columns = schema.fields().iter().map(|field| declared(field)).collect::<Result<Vec<_>>>()?;
    Ok(columns.join(", "))
}

/// Every row of a table, by the connector: 10,000 events a second of event time, in order.
fn made(table: &str, events: usize) -> Result<riverrun::Query> {
    let engine = Engine::new();
    engine.execute(&format!("CREATE STREAM {table} WITH (connector = 'nexmark', events = {events})"))?;
    Ok(engine.query(&format!("SELECT * FROM {table}"))?)
}

/// One of the tables of so many events, with all its columns.
pub fn table(name: &'static str, events: usize, progress: &Progress) -> Result<Table> {
    let rows = made(name, events)?;
    let schema = rows.schema();
    let mut coalescer = BatchCoalescer::new(schema.clone(), BATCH_ROWS);
    let mut read = 0;
    for batch in rows {
        let batch = batch?;
        read += batch.num_rows();
        progress.tell(|| format!("making Nexmark's table {name}: {read} rows"));
        coalescer.push_batch(batch)?;
    }
    coalescer.finish_buffered_batch()?;
    let batches = std::iter::from_fn(|| coalescer.next_completed_batch()).collect();
    Ok(Table { name, schema, batches })
}

/// How many times as fast as each other engine riverrun is, in the geometric mean of the queries that both have run.
pub fn means(results: &[Comparison]) -> Vec<Finding> {
    let nexmark = || results.iter().filter(|result| result.workload.collection == Collection::Nexmark);
    let Some(first) = nexmark().next() else { return vec![] };
    let rate =
        |result: &Comparison, runner: &str| result.of(runner).and_then(Outcome::series).map(Series::rows_per_second);
    let mut findings = vec![];
    for other in first.results.iter().map(|outcome| outcome.runner.as_str()).filter(|runner| *runner != OWN) {
        let ratios: Vec<f64> = nexmark().filter_map(|result| Some(rate(result, OWN)? / rate(result, other)?)).collect();
        if ratios.is_empty() {
            continue;
        }
        findings.push(Finding {
            probe: "nexmark",
            what: format!("times as fast as {other}, geometric mean of {} queries", ratios.len()),
            found: geometric_mean(&ratios),
            unit: "x",
            limit: (other == YARDSTICK).then_some(Limit::AtLeast(MEAN_MIN)),
        });
    }
    findings
}

fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::river;

    #[test]
    fn every_query_runs_over_streams_that_are_fed() {
        for workload in workloads().unwrap() {
            let engine = river::engine(&workload).unwrap_or_else(|error| panic!("{}: {error}", workload.name));
            engine.query(&workload.query).unwrap_or_else(|error| panic!("{}: {error}", workload.name));
        }
    }

    #[test]
    fn a_stream_keeps_its_watermark_and_gets_its_columns() {
        let text = "CREATE STREAM person (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
          WITH (connector = 'nexmark', events = 100000);
          COPY (SELECT id FROM person) TO 'x.csv';";
        let workload = parse("q", text).unwrap();
        assert_eq!(
            workload.streams[0].text,
            "CREATE STREAM person (id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, \
             state VARCHAR, date_time TIMESTAMP(3), extra VARCHAR, \
             WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')"
        );
        assert_eq!(workload.query, "SELECT id FROM person");
    }

    #[test]
    fn a_table_comes_in_full_batches() {
        let table = table("bid", 10_000, &Progress::hidden()).unwrap();
        let rows: Vec<usize> = table.batches.iter().map(|batch| batch.num_rows()).collect();
        assert_eq!(rows, [BATCH_ROWS, 9200 - BATCH_ROWS]);
    }

    #[test]
    fn twice_and_eight_times_as_fast_is_four_times_as_fast() {
        assert!((geometric_mean(&[2.0, 8.0]) - 4.0).abs() < 1e-12);
    }
}
