//! Queries that go on while other statements run.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::render::Part;
use crate::engine::Query;
use crate::error::Result;

/// The live queries of a console, by number.
#[derive(Default)]
pub(super) struct LiveQueries {
    queries: BTreeMap<usize, Live>,
    last: usize,
}

struct Live {
    statement: usize,
    text: String,
    query: Query,
    part: Part,
}

/// What a live query has said since it was last asked.
pub(super) struct News {
    /// The number of the statement that started it.
    pub statement: usize,
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Whether it has spoken before.
    pub part: Part,
}

impl LiveQueries {
    /// Takes a query in and gives its number. `text` is how `.live` calls it.
    pub fn add(&mut self, statement: usize, text: &str, query: Query) -> usize {
        self.last += 1;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.queries.insert(self.last, Live { statement, text, query, part: Part::First });
        self.last
    }

    /// Ends a query; whether there was one of that number.
    pub fn stop(&mut self, number: usize) -> bool {
        self.queries.remove(&number).is_some()
    }

    /// The numbers of the queries, in the order in which they were started.
    pub fn numbers(&self) -> Vec<usize> {
        self.queries.keys().copied().collect()
    }

    /// The queries with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.queries.iter().map(|(number, live)| (*number, live.text.as_str()))
    }

    /// What query `number` has to say. One that fails or has ended is gone afterwards.
    pub fn poll(&mut self, number: usize) -> Result<Option<News>> {
        let Some(live) = self.queries.get_mut(&number) else { return Ok(None) };
        let polled = live.query.poll();
        let schema = live.query.schema();
        let (statement, part) = (live.statement, live.part);
        if polled.is_err() || live.query.is_finished() {
            self.queries.remove(&number);
        }
        let batches = polled?;
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(None);
        }
        if let Some(live) = self.queries.get_mut(&number) {
            live.part = Part::Continued;
        }
        Ok(Some(News { statement, schema, batches, part }))
    }
}
