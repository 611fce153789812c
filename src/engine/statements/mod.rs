//! What each statement does, one file a family.

mod checkpoint;
mod copy;
mod create;
mod cursor;
mod drop;
mod explain;
mod insert;
mod query;
mod show;
mod time;
mod update;
mod why;

use crate::catalog::Relation;
use crate::error::{Code, Error, Result, StatementError, did_you_mean};
use crate::plan::Parameters;
use crate::sql::{self, Body, ObjectKind};

use super::core::{Core, Done};

impl Core {
    /// Runs one statement.
    pub(super) fn run(&mut self, statement: &sql::Statement, parameters: &Parameters) -> Result<Done> {
        self.graph.progress.begin();
        match &statement.body {
            Body::Query(query) => self.run_query(query, parameters),
            Body::CreateStream(create) => self.create_stream(create, parameters),
            Body::CreateTable(create) => self.create_table(create, parameters),
            Body::CreateView(create) => self.create_view(create, parameters),
            Body::CreateSink(create) => self.create_sink(create, parameters),
            Body::Insert(insert) => self.insert(insert, parameters),
            Body::Update(update) => self.update(update, parameters),
            Body::Delete(delete) => self.delete(delete, parameters),
            Body::Copy(copy) => self.copy(copy, parameters),
            Body::Drop(drop) => self.drop_object(drop),
            Body::ShowObjects(kind) => self.show_objects(*kind),
            Body::ShowSetting(name) => self.show_setting(name),
            Body::Describe(name) => self.describe(name),
            Body::Set(option) => self.set(option),
            Body::Explain(explain) => self.explain(explain, parameters),
            Body::ExplainWhy(silent) => self.explain_why(silent, parameters),
            Body::Declare(declare) => self.declare(declare, parameters),
            Body::Fetch(fetch) => self.fetch_cursor(fetch),
            Body::CloseCursor(name) => self.close_cursor(name),
            Body::CloseStream(name) => self.close_stream(name),
            Body::AdvanceClock(advance) => self.advance_clock_statement(*advance),
            Body::AdvanceWatermark(advance) => self.advance_watermark(advance),
            Body::Checkpoint => self.checkpoint(),
            Body::Restart => self.restart(),
        }
    }

    /// What kind of thing has that name, if there is one.
    fn kind_of(&self, name: &str) -> Option<ObjectKind> {
        if self.catalog.sinks.contains_key(name) {
            return Some(ObjectKind::Sink);
        }
        Some(match self.catalog.relations.get(name)? {
            Relation::Stream(_) | Relation::Derived(_) => ObjectKind::Stream,
            Relation::Table(_) => ObjectKind::Table,
            Relation::Materialized(_) => ObjectKind::MaterializedView,
            Relation::View(_) => self.views.get(name).map_or(ObjectKind::View, |view| view.kind),
        })
    }

    /// There is nothing of that name.
    fn not_found(&self, what: &str, name: &sql::Name) -> Error {
        let known = self.catalog.relations.keys().chain(self.catalog.sinks.keys()).map(String::as_str);
        let error = StatementError::new(Code::UnknownRelation, format!("{what} \"{}\" not found", name.value));
        let hint = did_you_mean(&name.value, known).unwrap_or_else(|| "SHOW ALL lists what there is.".into());
        error.at(name.place.clone()).hint(hint).into()
    }
}

/// How SQL calls a kind of thing.
fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Stream => "stream",
        ObjectKind::Table => "table",
        ObjectKind::View => "view",
        ObjectKind::MaterializedView => "materialized view",
        ObjectKind::Sink => "sink",
        ObjectKind::Function => "function",
        ObjectKind::All => "object",
    }
}

/// An error in what `name` names, with its place.
fn at(name: &sql::Name, code: Code, message: impl Into<String>) -> StatementError {
    StatementError::new(code, message).at(name.place.clone())
}

/// An error that has no place yet gets the place of `name`.
fn placed(error: Error, name: &sql::Name) -> Error {
    match error {
        Error::Statement(statement) if statement.place().is_none() => statement.at(name.place.clone()).into(),
        Error::Statement(_) | Error::Data(_) | Error::Outside(_) | Error::Limit(_) | Error::Internal(_) => error,
    }
}

/// `1 row`, `2 rows`.
fn rows(count: usize) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}
