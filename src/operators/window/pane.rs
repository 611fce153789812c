//! One open window: groups, and what is computed for them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::error::{InternalError, Result};
use crate::expr::{AggregateCall, Expr};
use crate::operators::aggregate::Groups;
use crate::operators::aggregate::changes::Changes;
use crate::operators::rows::record_batch;
use crate::operators::{Operator, Output, StateSize};
use crate::plan::node::{AggregateEmit, ChangelogMode, WindowAggregate};
use crate::state::Snapshot;
use crate::types::{Batch, Epoch, Interval, Tick, Timestamp, times};

use super::{Bounds, constant};

/// How the panes of a node are made, and how what they say becomes rows of its result.
pub(super) struct Panes {
    keys: Vec<Expr>,
    aggregates: Vec<AggregateCall>,
    input_mode: ChangelogMode,
    /// The columns of a pane: keys and aggregates.
    own: SchemaRef,
    schema: SchemaRef,
    time: DataType,
    kind: Kind,
}

/// What panes say.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// All groups, once.
    Once,
    /// A row for each row.
    Running,
    /// What has changed since they spoke last, after each batch.
    Changes,
    /// The same, gathered over batches.
    Gathered,
}

/// One open window.
pub(super) struct Pane {
    groups: Said,
    /// Whether it has said a row for each row, and has nothing to say at the end.
    running: bool,
    /// Whether a snapshot holds it already, so that the next needs its changes alone.
    pub saved: bool,
}

enum Said {
    Once(Groups),
    Changes(Changes),
}

/// Batches of panes, each with its window.
#[derive(Default)]
pub(super) struct Widened(Vec<(Batch, Bounds)>);

impl Widened {
    pub fn extend(&mut self, batches: Vec<Batch>, window: Bounds) {
        self.0.extend(batches.into_iter().map(|batch| (batch, window)));
    }
}

impl Panes {
    pub fn new(node: &WindowAggregate) -> Panes {
        let width = node.keys.len();
        let fields = node.schema.fields().iter().enumerate().filter(|(index, _)| !(width..width + 3).contains(index));
        let own = Schema::new(fields.map(|(_, field)| field.clone()).collect::<Vec<_>>());
        Panes {
            keys: node.keys.clone(),
            aggregates: node.aggregates.clone(),
            input_mode: node.input_mode,
            own: Arc::new(own),
            schema: node.schema.clone(),
            time: node.window.time.data_type().clone(),
            kind: match node.emit {
                AggregateEmit::Final if node.window.lateness == 0 => Kind::Once,
                AggregateEmit::Running => Kind::Running,
                AggregateEmit::Changes => Kind::Changes,
                AggregateEmit::Final | AggregateEmit::Every(_) | AggregateEmit::EveryAndFinal(_) => Kind::Gathered,
            },
        }
    }

    /// A pane as its snapshots have left it.
    pub fn open(&self, snapshots: &[Snapshot]) -> Result<Pane> {
        let mut groups = Groups::new(&self.keys, &self.aggregates, self.input_mode, &self.own)?;
        groups.restore(snapshots)?;
        let groups = match self.kind {
            Kind::Once | Kind::Running => Said::Once(groups),
            Kind::Changes => Said::Changes(Changes::new(groups, None, snapshots)?),
            // The window knows when it is time to speak.
            Kind::Gathered => Said::Changes(Changes::new(groups, Some(Interval::default()), snapshots)?),
        };
        Ok(Pane { groups, running: self.kind == Kind::Running, saved: !snapshots.is_empty() })
    }

    /// Says what panes have said, with the bounds of their windows.
    pub fn say(&self, said: Widened, out: &mut Output) -> Result<()> {
        let mut batches = Vec::with_capacity(said.0.len());
        for (batch, window) in said.0 {
            let rows = self.widened(batch.rows().clone(), window)?;
            batches.push(match self.kind {
                Kind::Once | Kind::Running => Batch::append_only(rows),
                Kind::Changes | Kind::Gathered => {
                    let kinds = (0..batch.num_rows()).map(|row| batch.kind(row)).collect();
                    Batch::changelog(rows, kinds)
                }
            });
        }
        // Many small windows make one batch.
        match batches.len() {
            0 => {}
            1 => batches.into_iter().for_each(|batch| out.push(batch)),
            _ => out.push(Batch::concat(&self.schema, &batches)?),
        }
        Ok(())
    }

    /// Rows of a pane, with the bounds of its window between their keys and their aggregates.
    pub fn widened(&self, rows: RecordBatch, window: Bounds) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let last = window.end - Tick::of(&self.time).map_or(1, Tick::before_end);
        let mut columns = rows.columns()[..self.keys.len()].to_vec();
        for bound in [window.start, window.end, last] {
            columns.push(times(constant(bound, count), &self.time)?);
        }
        columns.extend_from_slice(&rows.columns()[self.keys.len()..]);
        record_batch(&self.schema, columns, count)
    }
}

impl Pane {
    /// Takes rows in, and says nothing of them yet.
    pub fn take(&mut self, batch: Batch, out: &mut Output) -> Result<()> {
        match &mut self.groups {
            Said::Once(groups) => groups.take(batch, out),
            Said::Changes(changes) => changes.take(batch, out),
        }
    }

    /// Takes rows in, and gives for each the row of its group after it.
    pub fn take_running(&mut self, batch: &Batch, now: Timestamp) -> Result<RecordBatch> {
        match &mut self.groups {
            Said::Once(groups) => groups.take_running(batch, now),
            Said::Changes(_) => Err(InternalError::new("changes are not said row by row").into()),
        }
    }

    /// Adds what another pane has taken in, and leaves that as it is.
    pub fn absorb(&mut self, other: &mut Pane) -> Result<()> {
        match (&mut self.groups, &mut other.groups) {
            (Said::Once(own), Said::Once(other)) => own.absorb(other),
            _ => Err(InternalError::new("panes that say changes are not put together").into()),
        }
    }

    /// What has changed since it spoke last.
    pub fn flush(&mut self, now: Timestamp) -> Result<Vec<Batch>> {
        let mut own = Output::default();
        own.set_now(now);
        if let Said::Changes(changes) = &mut self.groups {
            changes.flush(&mut own)?;
        }
        Ok(own.drain().collect())
    }

    /// The last that it says: all its groups, or what has changed since it spoke last.
    pub fn close(&mut self, now: Timestamp) -> Result<Vec<Batch>> {
        let mut own = Output::default();
        own.set_now(now);
        match &mut self.groups {
            Said::Once(_) if self.running => {}
            Said::Once(groups) => groups.say_all(None, &mut own)?,
            Said::Changes(changes) => changes.flush(&mut own)?,
        }
        Ok(own.drain().collect())
    }

    /// What has changed since `since`; everything for [`Epoch::ZERO`].
    pub fn save(&mut self, since: Epoch) -> Result<Snapshot> {
        let since = if std::mem::replace(&mut self.saved, true) { since } else { Epoch::ZERO };
        match &mut self.groups {
            Said::Once(groups) => groups.save(since),
            Said::Changes(changes) => Ok(changes.snapshot(since)?.unwrap_or_default()),
        }
    }

    /// How much it keeps.
    pub fn size(&self) -> StateSize {
        match &self.groups {
            Said::Once(groups) => groups.size(),
            Said::Changes(changes) => changes.state_size(),
        }
    }
}
