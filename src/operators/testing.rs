//! An operator against a drawn script of events, restarted after each.
//!
//! ```text
//! 0: a 1 | b 2      -> a 1 | b 2     rows on port 0, and what the operator says
//! clock 5           ->               the clock reaches 5 ms; what is due runs in order before
//! watermark 7       ->               the combined watermark reaches 7 ms, or 7 ns as `7ns`
//! end               -> a 1           every input has ended
//! ```
//!
//! A row of a changelog begins with its kind. What goes on in the next line without an arrow belongs to the line before.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::catalog::{Catalog, Relation, Stream};
use crate::error::Result;
use crate::operators::{Event, Operator, Output, Port, deliver};
use crate::plan::node::{Bounded, Values};
use crate::plan::{self, Context, Node, Parameters};
use crate::sql;
use crate::state::Snapshot;
use crate::types::{Batch, Epoch, RowKind, Timestamp, Value, rows_to_batch};

/// Columns as `name:type`, with `int`, `text`, `bool`, `float`, `u8`, `timestamp`, `list` (of int) and `lists` (of those).
pub(crate) fn columns(text: &str) -> SchemaRef {
    let fields = text.split_whitespace().map(|column| {
        let (name, data_type) = column.split_once(':').unwrap();
        Field::new(name, column_type(data_type), true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn column_type(name: &str) -> DataType {
    let list = |element| DataType::List(Arc::new(Field::new("item", element, true)));
    match name {
        "int" => DataType::Int64,
        "text" => DataType::Utf8View,
        "bool" => DataType::Boolean,
        "float" => DataType::Float64,
        "u8" => DataType::UInt8,
        "timestamp" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        "list" => list(DataType::Int64),
        "lists" => list(list(DataType::Int64)),
        other => panic!("no column type {other}"),
    }
}

/// A node that stands where an input is asked for and only its schema matters.
pub(crate) fn no_input(schema: &SchemaRef) -> Box<Node> {
    Box::new(Node::Values(Values { rows: RecordBatch::new_empty(schema.clone()) }))
}

/// Drives what `build` gives through `script` in every way, and each way must answer as drawn:
/// straight through, restarted after every event from all snapshots so far, and from a single full one;
/// each of them with the rows of a line as one batch, and one by one.
pub(crate) fn check(inputs: &[SchemaRef], script: &str, build: impl Fn(&[Snapshot]) -> Result<Box<dyn Operator>>) {
    for cut in [Cut::Whole, Cut::Rows] {
        check_cut(inputs, script, cut, &build);
    }
}

/// How the rows of a line become batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cut {
    /// One batch a line.
    Whole,
    /// One batch a row, or a pair of rows that belong together.
    Rows,
}

/// As [`check`], with one way of cutting: for operators that fold the changes of a batch.
pub(crate) fn check_cut(
    inputs: &[SchemaRef],
    script: &str,
    cut: Cut,
    build: impl Fn(&[Snapshot]) -> Result<Box<dyn Operator>>,
) {
    let lines = parse(script);
    let expected = lines.iter().map(|(_, rows)| rows.clone()).collect::<Vec<_>>();
    for restart in [Restart::Never, Restart::FromAll, Restart::FromFull] {
        let mut run = Run::new(&build, restart);
        let answers: Vec<Vec<String>> = lines.iter().map(|(event, _)| run.line(inputs, event, cut)).collect();
        assert_eq!(draw(&lines, &answers), draw(&lines, &expected), "{cut:?}, restarted: {restart:?}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Restart {
    Never,
    FromAll,
    FromFull,
}

/// The events, and what is drawn as the answer to each.
fn parse(script: &str) -> Vec<(String, Vec<String>)> {
    let mut lines: Vec<(String, String)> = vec![];
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match (line.split_once("->"), lines.last_mut()) {
            (Some((event, answer)), _) => lines.push((event.trim().to_owned(), answer.to_owned())),
            (None, Some((_, answer))) => answer.push_str(line),
            (None, None) => panic!("a script begins with an event: {line}"),
        }
    }
    let rows = |text: &str| text.split(" | ").map(|row| row.trim().to_owned()).filter(|row| !row.is_empty()).collect();
    lines.into_iter().map(|(event, answer)| (event, rows(&answer))).collect()
}

fn draw(lines: &[(String, Vec<String>)], answers: &[Vec<String>]) -> String {
    lines.iter().zip(answers).map(|((event, _), rows)| format!("{event} -> {}\n", rows.join(" | "))).collect()
}

struct Run<'a, Build> {
    build: &'a Build,
    restart: Restart,
    operator: Box<dyn Operator>,
    snapshots: Vec<Snapshot>,
    epoch: Epoch,
    now: Timestamp,
}

impl<'a, Build: Fn(&[Snapshot]) -> Result<Box<dyn Operator>>> Run<'a, Build> {
    fn new(build: &'a Build, restart: Restart) -> Self {
        let operator = build(&[]).unwrap();
        Run { build, restart, operator, snapshots: vec![], epoch: Epoch::ZERO, now: Timestamp::default() }
    }

    /// Runs one line of a script and gives what the operator says to it.
    fn line(&mut self, inputs: &[SchemaRef], line: &str, cut: Cut) -> Vec<String> {
        let millis = |text: &str| match text.trim().strip_suffix("ns") {
            Some(nanos) => Timestamp::from_nanos(nanos.parse().unwrap()),
            None => Timestamp::from_millis(text.trim().parse().unwrap()),
        };
        if let Some(time) = line.strip_prefix("clock ") {
            return self.clock(millis(time));
        }
        if let Some(time) = line.strip_prefix("watermark ") {
            return self.event(Event::Watermark(millis(time)));
        }
        if line == "end" {
            return self.event(Event::Eof);
        }
        let (port, rows) = line.split_once(':').unwrap();
        let port: usize = port.parse().unwrap();
        let batch = batch(&inputs[port], rows);
        cuts(&batch, cut).into_iter().flat_map(|part| self.event(Event::Batch(Port(port), part))).collect()
    }

    fn clock(&mut self, now: Timestamp) -> Vec<String> {
        let mut said = vec![];
        while let Some(due) = self.operator.notify_at().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            said.extend(self.event(Event::Notify(self.now)));
            assert!(self.operator.notify_at().is_none_or(|next| next > due || next > now), "notified in vain");
        }
        self.now = now;
        said
    }

    fn event(&mut self, event: Event) -> Vec<String> {
        let mut out = Output::default();
        out.set_now(self.now);
        deliver(self.operator.as_mut(), event, &mut out).unwrap();
        let said = out.drain().flat_map(|batch| row_texts(&batch)).collect();
        self.restart();
        said
    }

    fn restart(&mut self) {
        match self.restart {
            Restart::Never => return,
            Restart::FromAll => {
                self.snapshots.extend(self.operator.snapshot(self.epoch).unwrap());
                self.epoch = self.epoch.next();
            }
            Restart::FromFull => self.snapshots = self.operator.snapshot(Epoch::ZERO).unwrap().into_iter().collect(),
        }
        self.operator = (self.build)(&self.snapshots).unwrap();
    }
}

/// The rows of a batch as a script draws them.
pub(crate) fn row_texts(batch: &Batch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter> =
        batch.rows().columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let text = |row: usize| {
        let kind = batch.kinds().map(|kinds| kinds.get(row).to_string());
        kind.into_iter().chain(columns.iter().map(|column| column.value(row).to_string())).collect::<Vec<_>>().join(" ")
    };
    (0..batch.num_rows()).map(text).collect()
}

/// A batch as a script draws it.
pub(crate) fn batch(schema: &SchemaRef, text: &str) -> Batch {
    let mut kinds = vec![];
    let mut rows = vec![];
    for row in text.split(" | ") {
        let mut cells = row.split_whitespace().peekable();
        kinds.extend(cells.peek().and_then(|cell| RowKind::parse(cell)).inspect(|_| _ = cells.next()));
        rows.push(cells.zip(schema.fields()).map(|(cell, field)| value(field.data_type(), cell)).collect());
    }
    let rows = rows_to_batch(schema, &rows).unwrap();
    if kinds.is_empty() { Batch::append_only(rows) } else { Batch::changelog(rows, kinds.into_iter().collect()) }
}

fn value(data_type: &DataType, cell: &str) -> Value {
    match data_type {
        _ if cell == "NULL" => Value::Null,
        DataType::Int64 | DataType::UInt8 => Value::Int(cell.parse().unwrap()),
        DataType::Float64 => Value::Float(cell.parse().unwrap()),
        DataType::Boolean => Value::Bool(cell.parse().unwrap()),
        DataType::Timestamp(_, _) => Value::Timestamp(Timestamp::from_millis(cell.parse().unwrap())),
        DataType::List(element) => Value::List(elements(cell).map(|cell| value(element.data_type(), cell)).collect()),
        _ => Value::Text(cell.to_owned()),
    }
}

/// The elements of `[a,[b,c]]`.
fn elements(cell: &str) -> impl Iterator<Item = &str> {
    let inside = &cell[1..cell.len() - 1];
    let mut depth = 0;
    inside
        .split(move |character| {
            depth += i32::from(character == '[') - i32::from(character == ']');
            character == ',' && depth == 0
        })
        .filter(|cell| !cell.is_empty())
}

fn cuts(batch: &Batch, cut: Cut) -> Vec<Batch> {
    if cut == Cut::Whole {
        return vec![batch.clone()];
    }
    let mut parts = vec![];
    let mut row = 0;
    while row < batch.num_rows() {
        let rows = if batch.kind(row) == RowKind::UpdateBefore { 2 } else { 1 };
        parts.push(batch.slice(row, rows));
        row += rows;
    }
    parts
}

/// The plan of a query over the stream `s` of those columns.
pub(crate) fn planned(stream: &SchemaRef, text: &str) -> Node {
    let mut catalog = Catalog::default();
    plan::register_builtin_functions(&mut catalog);
    let stream = Stream {
        schema: stream.clone(),
        options: vec![],
        bounded: Bounded::UntilClosed,
        state_ttl: None,
        event_time: None,
    };
    catalog.relations.insert("s".into(), Relation::Stream(stream));
    let (files, parameters) = (HashMap::new(), Parameters::default());
    let closed = std::collections::BTreeSet::new();
    let context = Context {
        catalog: &catalog,
        files: &files,
        closed: &closed,
        parameters: &parameters,
        state_ttl: None,
        require_bounded_state: false,
        unordered: false,
        reads: plan::Reads::Changes,
    };
    let statements = sql::parse(text, &sql::Limits::default()).unwrap();
    let sql::Body::Query(query) = &statements[0].body else { panic!("not a query: {text}") };
    plan::plan_query(query, &context).unwrap_or_else(|error| panic!("{text}: {error}")).root
}
