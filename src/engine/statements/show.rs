//! `SHOW` and `DESCRIBE`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::catalog::Relation;
use crate::error::{Code, Error, Result};
use crate::plan::ChangelogMode;
use crate::sql::{Name, ObjectKind};
use crate::types::type_name;

use super::super::core::{ClockMode, Core, Done};
use super::super::pipeline::{Destination, Pipeline};
use super::super::settings::NAMES;
use super::super::sinks::SinkState;
use super::kind_name;

/// A column of an answer.
enum Column {
    Text(Vec<Option<String>>),
    Number(Vec<Option<i64>>),
}

impl Core {
    pub(super) fn show_objects(&self, kind: ObjectKind) -> Result<Done> {
        match kind {
            ObjectKind::Stream => self.show_streams(),
            ObjectKind::Table => self.show_tables(),
            ObjectKind::View => self.show_views(),
            ObjectKind::Sink => self.show_sinks(),
            ObjectKind::Function => self.show_functions(),
            ObjectKind::MaterializedView => self.show_materialized_views(),
            ObjectKind::All => self.show_names(),
        }
    }

    fn show_names(&self) -> Result<Done> {
        let mut names: Vec<&String> = self.catalog.relations.keys().chain(self.catalog.sinks.keys()).collect();
        names.sort_unstable();
        let kinds = names.iter().filter_map(|name| self.kind_of(name)).map(|kind| text(kind_name(kind))).collect();
        answer(vec![("name", texts(names)), ("kind", Column::Text(kinds))])
    }

    fn show_streams(&self) -> Result<Done> {
        let names: Vec<&String> =
            self.catalog.relations.keys().filter(|name| self.is_kind(name, ObjectKind::Stream)).collect();
        let states = names.iter().map(|name| text(self.stream_state(name))).collect();
        let count = |of: fn(&crate::io::SourceCounts) -> u64| {
            let counted = names.iter().map(|name| self.graph.counts.get(name.as_str()).map(|counts| of(counts) as i64));
            Column::Number(counted.collect())
        };
        answer(vec![
            ("name", texts(names.iter().copied())),
            ("state", Column::Text(states)),
            ("rows", count(|counts| counts.rows)),
            ("skipped", count(|counts| counts.skipped)),
            ("dead_lettered", count(|counts| counts.dead_lettered)),
        ])
    }

    /// Where the rows of a stream come from, and whether more can come.
    fn stream_state(&self, name: &str) -> &'static str {
        match self.catalog.relations.get(name) {
            Some(Relation::View(_)) => "query, read anew",
            Some(Relation::Stream(stream)) if !stream.options.is_empty() => "file",
            Some(_) if self.graph.closed.contains(name) => "closed",
            Some(Relation::Derived(_)) => "query",
            Some(Relation::Stream(_) | Relation::Table(_) | Relation::Materialized(_)) | None => "open",
        }
    }

    fn show_tables(&self) -> Result<Done> {
        let (mut names, mut keys, mut rows) = (vec![], vec![], vec![]);
        for (name, relation) in &self.catalog.relations {
            if let Relation::Table(table) = relation {
                keys.push(Some(names_of(&table.schema, &table.primary_key)));
                rows.push(Some(self.table_rows(name)?.num_rows() as i64));
                names.push(name);
            }
        }
        answer(vec![("name", texts(names)), ("primary_key", Column::Text(keys)), ("rows", Column::Number(rows))])
    }

    fn show_views(&self) -> Result<Done> {
        let (mut names, mut columns) = (vec![], vec![]);
        for (name, relation) in &self.catalog.relations {
            if self.is_kind(name, ObjectKind::View) || self.is_kind(name, ObjectKind::MaterializedView) {
                let all: Vec<usize> = (0..relation.schema().fields().len()).collect();
                columns.push(Some(names_of(relation.schema(), &all)));
                names.push(name);
            }
        }
        answer(vec![("name", texts(names)), ("columns", Column::Text(columns))])
    }

    fn show_materialized_views(&self) -> Result<Done> {
        let (mut names, mut keys, mut rows, mut states) = (vec![], vec![], vec![], vec![]);
        for (name, relation) in &self.catalog.relations {
            let Relation::Materialized(view) = relation else { continue };
            let running = self.graph.derived.get(name.as_str()).and_then(|id| self.graph.pipelines.get(id));
            let Some(Pipeline { destination: Destination::View(_, kept), error, .. }) = running else { continue };
            keys.push(view.key.as_ref().map(|key| names_of(&view.schema, key)));
            rows.push(Some(kept.count() as i64));
            states.push(Some(match error {
                Some(error) => format!("failed: {error}"),
                None if self.graph.closed.contains(name.as_str()) => "ended".into(),
                None => "open".into(),
            }));
            names.push(name);
        }
        answer(vec![
            ("name", texts(names)),
            ("key", Column::Text(keys)),
            ("rows", Column::Number(rows)),
            ("state", Column::Text(states)),
        ])
    }

    fn show_sinks(&self) -> Result<Done> {
        let (mut names, mut paths, mut rows, mut states) = (vec![], vec![], vec![], vec![]);
        for (name, sink) in &self.catalog.sinks {
            let Some(open) = self.graph.sinks.get(name) else { continue };
            paths.push(sink.options.iter().find(|option| option.key.value == "path").map(|path| path.value.clone()));
            rows.push(Some(open.rows as i64));
            states.push(Some(match &open.state {
                SinkState::Open => "open".into(),
                SinkState::Finished => "finished".into(),
                SinkState::Failed(error) => format!("failed: {error}"),
            }));
            names.push(name);
        }
        answer(vec![
            ("name", texts(names)),
            ("path", Column::Text(paths)),
            ("rows", Column::Number(rows)),
            ("state", Column::Text(states)),
        ])
    }

    fn show_functions(&self) -> Result<Done> {
        let scalars = self.catalog.scalars.keys().map(|name| (name, "scalar"));
        let aggregates = self.catalog.aggregates.keys().map(|name| (name, "aggregate"));
        let logics = self.catalog.logics.keys().map(|name| (name, "logic"));
        let mut functions: Vec<(&String, &str)> = scalars.chain(aggregates).chain(logics).collect();
        functions.sort_unstable();
        let kinds = functions.iter().map(|(_, kind)| text(kind)).collect();
        answer(vec![("name", texts(functions.into_iter().map(|(name, _)| name))), ("kind", Column::Text(kinds))])
    }

    pub(super) fn show_setting(&self, name: &Name) -> Result<Done> {
        let value = match name.value.as_str() {
            "clock" if self.clock == ClockMode::Manual => "manual".to_owned(),
            "clock" => "system".to_owned(),
            "settings" => return self.show_settings(name),
            _ => self.settings.get(name)?,
        };
        answer(vec![(name.value.as_str(), Column::Text(vec![Some(value)]))])
    }

    fn show_settings(&self, asked: &Name) -> Result<Done> {
        let (mut names, mut values) = (vec![], vec![]);
        for name in NAMES {
            let value = match (name, self.clock) {
                ("clock", ClockMode::Manual) => "manual".to_owned(),
                ("clock", ClockMode::System) => "system".to_owned(),
                (_, _) => self.settings.get(&Name { value: name.to_owned(), place: asked.place.clone() })?,
            };
            names.push(text(name));
            values.push(Some(value));
        }
        answer(vec![("name", Column::Text(names)), ("value", Column::Text(values))])
    }

    pub(super) fn describe(&self, name: &Name) -> Result<Done> {
        let sink = self.catalog.sinks.get(&name.value);
        let relation = self.catalog.relations.get(&name.value);
        let schema: SchemaRef = match (relation, sink) {
            (Some(relation), _) => relation.schema().clone(),
            (None, Some(sink)) => match &sink.schema {
                Some(schema) => schema.clone(),
                None => return Err(no_columns(name)),
            },
            (None, None) => return Err(self.not_found("relation", name)),
        };
        let (keys, note): (&[usize], &str) = match relation {
            Some(Relation::Table(table)) => (&table.primary_key, "primary"),
            Some(Relation::Materialized(view)) => (view.key.as_deref().unwrap_or_default(), "unique"),
            Some(Relation::Stream(_) | Relation::View(_) | Relation::Derived(_)) | None => (&[], ""),
        };
        let fields = schema.fields();
        let types = fields.iter().map(|field| Some(type_name(field.data_type()))).collect();
        let nullable = fields.iter().map(|field| text(if field.is_nullable() { "yes" } else { "no" })).collect();
        let mut columns = vec![
            ("column", texts(fields.iter().map(|field| field.name()))),
            ("type", Column::Text(types)),
            ("nullable", Column::Text(nullable)),
        ];
        if !keys.is_empty() {
            let key = (0..fields.len()).map(|index| text(if keys.contains(&index) { note } else { "" })).collect();
            columns.push(("key", Column::Text(key)));
        }
        answer(columns)
    }
}

fn no_columns(name: &Name) -> Error {
    super::at(name, Code::InvalidArgument, format!("sink \"{}\" has no columns yet", name.value))
        .hint("The first query that is written into it gives it its columns.")
        .into()
}

/// The names of those columns, with commas between them.
fn names_of(schema: &SchemaRef, columns: &[usize]) -> String {
    let names = columns.iter().map(|column| schema.field(*column).name().as_str());
    names.collect::<Vec<_>>().join(", ")
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn texts<'a>(values: impl IntoIterator<Item = &'a String>) -> Column {
    Column::Text(values.into_iter().map(|value| Some(value.clone())).collect())
}

fn answer(columns: Vec<(&str, Column)>) -> Result<Done> {
    let (mut fields, mut arrays) = (vec![], Vec::<ArrayRef>::new());
    for (name, column) in columns {
        let (data_type, array): (DataType, ArrayRef) = match column {
            Column::Text(values) => (DataType::Utf8, Arc::new(StringArray::from(values))),
            Column::Number(values) => (DataType::Int64, Arc::new(Int64Array::from(values))),
        };
        fields.push(Field::new(name, data_type, true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    Ok(Done::Rows { schema, batches: vec![batch], mode: ChangelogMode::AppendOnly })
}
