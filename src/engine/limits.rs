//! How much queries may keep, and what happens to one that goes beyond it.
//!
//! The driver weighs an operator after each call, and an operator whose answer may be many times its batch looks in the
//! midst of one; nothing is weighed where there is no limit.

use std::sync::Arc;

use crate::error::{Error, LimitError, MAX_STATE_BYTES, MAX_TOTAL_STATE_BYTES, Result, StateLimit};
use crate::operators::Operator;
use crate::recovery::PipelineId;
use crate::state::row_bytes;
use crate::types::Batch;

use super::graph::Graph;
use super::settings::Settings;

/// The limits that hold for all queries; 0 for none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StateLimits {
    /// Bytes of one query.
    query: usize,
    /// Bytes of all queries and tables.
    total: usize,
}

/// How much one pipeline may keep.
pub(super) struct Limit {
    /// Bytes of its operators.
    pub(super) bytes: usize,
    setting: &'static str,
    /// Whether the pipeline's own options say it.
    own: bool,
    /// What the setting, or the option, says.
    allowed: usize,
    /// How much is kept that counts and is not the pipeline's.
    beside: usize,
}

impl Graph {
    /// Takes the limits of settings over, for all queries.
    pub(super) fn limit_state(&mut self, settings: &Settings) {
        self.limits = StateLimits { query: settings.max_state_bytes, total: settings.max_total_state_bytes };
        // So far nobody may have looked.
        self.state_bytes = 0;
        for pipeline in self.pipelines.values_mut() {
            pipeline.weigh_all();
            self.state_bytes += pipeline.state_bytes();
        }
    }

    /// How much a pipeline may keep, if that is limited: by its own options or the settings, and by what is left of
    /// what all may keep.
    pub(super) fn limit(&self, id: PipelineId) -> Option<Limit> {
        let pipeline = self.pipelines.get(&id)?;
        let asked = pipeline.options.max_state_bytes;
        let bytes = asked.unwrap_or(self.limits.query);
        let limit = Limit { bytes, setting: MAX_STATE_BYTES, own: asked.is_some(), allowed: bytes, beside: 0 };
        let own = (bytes > 0).then_some(limit);
        if self.limits.total == 0 {
            return own;
        }
        let beside = self.state_bytes - pipeline.state_bytes() + self.table_bytes();
        let bytes = self.limits.total.saturating_sub(beside);
        let left = Limit { bytes, setting: MAX_TOTAL_STATE_BYTES, own: false, allowed: self.limits.total, beside };
        Some(own.filter(|own| own.bytes <= bytes).unwrap_or(left))
    }

    /// Fails if a materialized view keeps more than it may, once it has taken rows in.
    pub(super) fn check_view(&mut self, id: PipelineId, limit: &Limit) -> Result<()> {
        let Some(pipeline) = self.pipelines.get_mut(&id) else { return Ok(()) };
        pipeline.weigh_view();
        let (bytes, total) = (pipeline.view_bytes(), pipeline.state_bytes());
        if bytes == 0 || total <= limit.bytes {
            return Ok(());
        }
        let state = StateLimit { operator: "the rows of the view".into(), bytes, total, ..StateLimit::default() };
        Err(limit.explained(LimitError::state(MAX_STATE_BYTES, state).into(), &pipeline.label))
    }

    /// Fails if a table has no room for rows that come, before anything changes.
    pub(super) fn check_table(&self, name: &Arc<str>, batch: &Batch) -> Result<()> {
        if self.limits.total == 0 {
            return Ok(());
        }
        let comes = (0..batch.num_rows()).any(|row| batch.kind(row).weight() > 0);
        let total = self.state_bytes + self.table_bytes() + row_bytes(batch.rows());
        if !comes || total <= self.limits.total {
            return Ok(());
        }
        let kept = self.tables.get(name).map_or(0, |table| table.state_size().bytes);
        let state = StateLimit {
            query: format!("an insert into \"{name}\""),
            operator: format!("Table: {name}"),
            bytes: kept + row_bytes(batch.rows()),
            total,
            limit: self.limits.total,
            own: false,
        };
        Err(LimitError::state(MAX_TOTAL_STATE_BYTES, state).into())
    }

    fn table_bytes(&self) -> usize {
        self.tables.values().map(|table| table.state_size().bytes).sum()
    }
}

impl Limit {
    /// The error of a query that is called `label`: one that it has gone beyond this limit says so.
    pub(super) fn explained(&self, error: Error, label: &str) -> Error {
        match error {
            Error::Limit(over) => match over.state {
                Some(state) => {
                    let total = state.total + self.beside;
                    let state = StateLimit { query: label.into(), total, limit: self.allowed, own: self.own, ..state };
                    LimitError::state(self.setting, state).into()
                }
                None => Error::Limit(over),
            },
            Error::Statement(_) | Error::Data(_) | Error::Outside(_) | Error::Internal(_) => error,
        }
    }
}
