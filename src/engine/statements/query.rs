//! A query as a statement: its whole answer, or a live query.

use std::collections::BTreeSet;

use crate::catalog::Relation;
use crate::error::Result;
use crate::plan::node::{Node, Source};
use crate::plan::{Bounded, ChangelogMode, Parameters, Plan, Reads};
use crate::sql::{self, EmitMode};
use crate::types::Batch;

use super::super::core::{Collected, Core, Done, Planned};
use super::super::names::leaves;
use super::super::options::QueryOptions;

impl Core {
    pub(super) fn run_query(&mut self, query: &sql::Query, parameters: &Parameters) -> Result<Done> {
        self.tick()?;
        let planned = self.plan_asked(query, parameters, QueryOptions::default())?;
        let (schema, mode) = (planned.visible_schema(), planned.plan.mode);
        match self.collect(planned)? {
            Collected::All(batches) => Done::rows(schema, mode, batches),
            Collected::Open(id) => Ok(Done::Started(id)),
        }
    }
}

impl Core {
    /// Plans a query that is asked once.
    ///
    /// If it reads a materialized view, and nothing that is open but views and tables, it is asked of the rows that
    /// are there now, and so it ends: all of them are as of the same step. An `EMIT` that speaks of changes makes it go
    /// on instead.
    pub(in crate::engine) fn plan_asked(
        &self,
        query: &sql::Query,
        parameters: &Parameters,
        options: QueryOptions,
    ) -> Result<Planned> {
        let plan = |reads| self.plan_reading(query, parameters, options, reads);
        self.present_or(query, || plan(Reads::Present), || plan(Reads::Changes))
    }

    /// The plan over the rows that are there now if the query asks for them, else the plan that goes on.
    pub(in crate::engine) fn present_or(
        &self,
        query: &sql::Query,
        present: impl FnOnce() -> Result<Planned>,
        going_on: impl FnOnce() -> Result<Planned>,
    ) -> Result<Planned> {
        let is_view = |relation: &Relation| matches!(relation, Relation::Materialized(_));
        if follows(query) || !self.catalog.relations.values().any(is_view) {
            return going_on();
        }
        let Ok(planned) = present() else { return going_on() };
        let kept = kept_relations(&planned.plan);
        let asks_views = kept.iter().any(|name| self.catalog.relations.get(*name).is_some_and(is_view));
        let ends = planned.plan.bounded == Bounded::Yes && !self.any_view_follows(&planned.depends_on);
        // Where nothing that is kept is read, both plans are the same.
        if kept.is_empty() || (asks_views && ends) { Ok(planned) } else { going_on() }
    }

    /// Whether one of `relations` is a view whose query asks for changes, or reads such a view.
    fn any_view_follows(&self, relations: &BTreeSet<String>) -> bool {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = relations.iter().collect();
        while let Some(name) = next.pop() {
            let Some(Relation::View(view)) = self.catalog.relations.get(name) else { continue };
            if follows(&view.query) {
                return true;
            }
            if seen.insert(name) {
                next.extend(self.views.get(name).into_iter().flat_map(|view| &view.depends_on));
            }
        }
        false
    }
}

/// The relations of which a plan reads the rows that are there now.
fn kept_relations(plan: &Plan) -> Vec<&str> {
    let mut kept = vec![];
    for leaf in leaves(plan) {
        if let Node::Source(Source { relation, reads: Reads::Present, .. }) = leaf {
            kept.push(&**relation);
        }
    }
    kept
}

/// Whether a query asks for changes as they happen.
fn follows(query: &sql::Query) -> bool {
    query.clauses.iter().any(|clause| match clause.emit {
        Some(EmitMode::Changes | EmitMode::Running | EmitMode::Every(_) | EmitMode::EveryAndFinal(_)) => true,
        Some(EmitMode::Final | EmitMode::OnWindowClose | EmitMode::Complete) | None => false,
    })
}

impl Done {
    /// Rows as users see them.
    pub(super) fn rows(schema: arrow::datatypes::SchemaRef, mode: ChangelogMode, batches: Vec<Batch>) -> Result<Done> {
        let batches = batches.into_iter().map(Batch::into_record_batch).collect::<Result<_>>()?;
        Ok(Done::Rows { schema, batches, mode })
    }
}
