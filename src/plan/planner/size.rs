//! Refuses a short text that stands for a plan without end.
//!
//! A CTE or view that is named twice is planned twice, so forty lines that each name the one before twice
//! would make a plan of a million million nodes. The size is weighed on the syntax tree, before anything is planned.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{self, Visit, Visitor};

use crate::catalog::{Catalog, Relation};
use crate::error::{Code, Result, StatementError};
use crate::sql;

/// How many relations a query may name once every CTE and view is written out.
const RELATIONS_MAX: u64 = 1_000;

/// An error if the query is too large once everything it names is written out.
pub(super) fn check(query: &sql::Query, catalog: &Catalog) -> Result<()> {
    let mut scales = Scales { catalog, known: HashMap::new() };
    if scales.weigh(&query.ast) <= RELATIONS_MAX {
        return Ok(());
    }
    let message =
        format!("the query names more than {RELATIONS_MAX} relations once its CTEs and views are written out");
    let error = StatementError::new(Code::Limit, message);
    Err(error.hint("Name a CTE or view once, or make it a derived stream with CREATE STREAM … AS.").into())
}

struct Scales<'a> {
    catalog: &'a Catalog,
    /// The weights of CTEs and views, by name.
    known: HashMap<String, u64>,
}

impl Scales<'_> {
    fn weigh(&mut self, query: &ast::Query) -> u64 {
        // The visitor meets inner queries first, so the CTEs of a query are known before it is weighed.
        let _: ControlFlow<()> = sql::visit(query, self);
        self.relations_of(query)
    }

    fn relations_of(&mut self, part: &impl Visit) -> u64 {
        let mut names = vec![];
        let _: ControlFlow<()> = sql::visit_relations(part, |relation| {
            names.push(relation.to_string().to_lowercase());
            ControlFlow::Continue(())
        });
        names.into_iter().fold(0, |sum: u64, name| sum.saturating_add(self.weight(name)))
    }

    fn weight(&mut self, name: String) -> u64 {
        if let Some(weight) = self.known.get(&name) {
            return *weight;
        }
        let catalog = self.catalog;
        let weight = match catalog.relations.get(&name) {
            // A view sees no CTE of the query that names it.
            Some(Relation::View(view)) => Scales { catalog, known: HashMap::new() }.weigh(&view.query.ast),
            Some(Relation::Stream(_) | Relation::Table(_) | Relation::Derived(_) | Relation::Materialized(_))
            | None => 1,
        };
        self.known.insert(name, weight);
        weight
    }
}

impl Visitor for Scales<'_> {
    type Break = ();

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let weight = self.relations_of(cte.query.as_ref()).max(1);
            self.known.insert(cte.alias.name.value.to_lowercase(), weight);
        }
        ControlFlow::Continue(())
    }
}
