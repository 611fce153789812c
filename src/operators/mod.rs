//! WHAT HAPPENS? Each node of a plan as a state machine.
//!
//! An operator never blocks, spawns, reads a clock or touches a file.
//! It is told what happened and writes what follows into [`Output`].
//! [`deliver`] is the only place an operator is called from, and [`build`] the only place one is born.

pub mod aggregate;
pub mod asof;
pub mod chain;
pub mod collect;
pub mod expand;
pub mod filter;
pub mod join;
pub mod kept_rows;
pub mod keyed_join;
pub mod limit;
pub mod logic;
pub mod lookup;
pub mod over;
pub mod project;
pub mod session;
pub mod sort;
pub mod top_n;
pub mod union;
pub mod unnest;
pub mod upsert;
pub mod window;
pub mod windows;

mod closing;
mod difference;
mod late_rows;
mod matching;
mod ordered;
mod rows;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::ops::AddAssign;

use arrow::array::ArrayRef;

use crate::error::{Error, InternalError, LimitError, MAX_STATE_BYTES, Result, StateLimit};
use crate::plan::Node;
use crate::state::{Snapshot, row_bytes};
use crate::types::{Batch, Epoch, Timestamp};

/// Which input of an operator, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub usize);

/// What an operator says in answer to an event, in order. A buffer that the driver reuses.
#[derive(Debug, Default)]
pub struct Output {
    now: Timestamp,
    batches: Vec<Batch>,
    watermark: Option<Timestamp>,
    /// What the operator may still keep, if that is limited.
    room: Option<Room>,
    forgotten: Forgotten,
}

/// What an operator has left behind, in rows or keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Keys or rows that were not written for `state_ttl`.
    pub expired: usize,
    /// Rows that took back what had been forgotten.
    pub ignored: usize,
    /// Rows that were late, once for each window they were late for.
    pub late: usize,
    /// By how much late rows were late, the least and the most: nanoseconds, or what event time counts.
    pub late_by: Option<(i64, i64)>,
    /// Rows without a time.
    pub untimed: usize,
}

impl Forgotten {
    /// What has been left behind since that had been.
    #[must_use]
    pub fn since(self, before: Forgotten) -> Forgotten {
        Forgotten {
            expired: self.expired.saturating_sub(before.expired),
            ignored: self.ignored.saturating_sub(before.ignored),
            late: self.late.saturating_sub(before.late),
            late_by: self.late_by,
            untimed: self.untimed.saturating_sub(before.untimed),
        }
    }
}

/// What an operator may keep and have said at once.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: usize,
    /// Bytes of what has been said and not yet been handed on.
    said: usize,
}

impl AddAssign for Forgotten {
    fn add_assign(&mut self, other: Forgotten) {
        let Forgotten { expired, ignored, late, late_by, untimed } = other;
        self.expired += expired;
        self.ignored += ignored;
        self.late += late;
        self.late_by = match (self.late_by, late_by) {
            (Some((least, most)), Some((other_least, other_most))) => {
                Some((least.min(other_least), most.max(other_most)))
            }
            (one, other) => one.or(other),
        };
        self.untimed += untimed;
    }
}

impl Output {
    /// When the event happens, by the engine's clock: the arrival time of the rows of this activation.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Sets the time of the events that follow.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Says a batch. An empty one is not worth saying and is left out.
    pub fn push(&mut self, batch: Batch) {
        if !batch.is_empty() {
            if let Some(room) = &mut self.room {
                room.said += row_bytes(batch.rows());
            }
            self.batches.push(batch);
        }
    }

    /// Limits what the operator may keep from now on, and what it and those before it may have said: `said` is what
    /// waits of that already. No limit for `None`.
    pub fn limit(&mut self, bytes: Option<usize>, said: usize) {
        self.room = bytes.map(|bytes| Room { bytes, said });
    }

    /// Fails if an operator that keeps `kept` bytes has no room for that and for what it has said.
    ///
    /// The driver looks after each call. An operator asks in the midst of one whose answer may be many times its batch.
    pub fn check_room(&self, kept: usize) -> Result<()> {
        match self.room {
            Some(Room { bytes, said }) if kept + said > bytes => Err(over(kept + said)),
            Some(_) | None => Ok(()),
        }
    }

    /// Says that no row before `watermark` will come any more.
    pub fn advance(&mut self, watermark: Timestamp) {
        self.watermark = Some(watermark);
    }

    /// Says that so many keys or rows were not written for `state_ttl` and are forgotten.
    pub fn expire(&mut self, count: usize) {
        self.forgotten.expired += count;
    }

    /// Says that so many rows took back what had been forgotten, and did nothing.
    pub fn ignore(&mut self, rows: usize) {
        self.forgotten.ignored += rows;
    }

    /// Says that so many rows were late for a window, and left out of it.
    pub fn late(&mut self, rows: usize) {
        self.forgotten.late += rows;
    }

    /// Says by how much a row was late, in nanoseconds or in what event time counts.
    pub fn late_by(&mut self, by: i64) {
        self.forgotten += Forgotten { late_by: Some((by, by)), ..Forgotten::default() };
    }

    /// Says that so many rows had no time, and did nothing.
    pub fn untimed(&mut self, rows: usize) {
        self.forgotten.untimed += rows;
    }

    /// What has been left behind so far, taken out.
    pub fn take_forgotten(&mut self) -> Forgotten {
        std::mem::take(&mut self.forgotten)
    }

    /// The batches said so far, taken out.
    pub fn drain(&mut self) -> impl Iterator<Item = Batch> + '_ {
        self.batches.drain(..)
    }

    /// The watermark said last, taken out.
    pub fn take_watermark(&mut self) -> Option<Timestamp> {
        self.watermark.take()
    }
}

/// A state machine over batches.
///
/// Within one activation the order is: due notifications, then rows, then the end of the input, then the snapshot.
/// A notification that is due before a row's arrival runs before it.
/// An operator is born with its state (see [`build`]), so none is ever half restored.
pub trait Operator: Send {
    /// Rows have arrived on `port`.
    fn on_batch(&mut self, port: Port, batch: Batch, out: &mut Output) -> Result<()>;

    /// No row before `watermark` will come any more on any input.
    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        out.advance(watermark);
        Ok(())
    }

    /// The clock has reached `now`, which is not before what [`Operator::notify_at`] asked for.
    fn on_notify(&mut self, now: Timestamp, out: &mut Output) -> Result<()> {
        let _ = (now, out);
        Ok(())
    }

    /// No more rows will come on `port`; said of each, and said again to an operator that is restored.
    fn on_port_end(&mut self, port: Port) -> Result<()> {
        let _ = port;
        Ok(())
    }

    /// Every input has ended.
    fn on_eof(&mut self, out: &mut Output) -> Result<()> {
        let _ = out;
        Ok(())
    }

    /// When to call [`Operator::on_notify`]; asked again after each call.
    fn notify_at(&self) -> Option<Timestamp> {
        None
    }

    /// What of the state has changed since the snapshot of epoch `since`; all of it for [`Epoch::ZERO`].
    /// `None` from an operator that keeps nothing.
    fn snapshot(&mut self, since: Epoch) -> Result<Option<Snapshot>> {
        let _ = since;
        Ok(None)
    }

    /// How much is kept.
    fn state_size(&self) -> StateSize {
        StateSize::default()
    }

    /// What it waits for before it says more, as far as there is something to tell.
    fn waits(&self) -> Waits {
        Waits::default()
    }
}

/// What an operator waits for, for `EXPLAIN WHY`.
#[derive(Debug, Clone, Default)]
pub struct Waits {
    /// Of a join: for each side a key of which the others have no row, a column a part; no columns if there is none.
    pub unmet: Vec<Vec<ArrayRef>>,
    /// Of a join: whether there is a key of which every side has a row.
    pub met: bool,
    /// Of windows: the end of the first that is open, in ticks of their time.
    pub open_until: Option<i64>,
}

/// An operator has gone beyond what it may keep. The driver knows which, and the engine what the limit is.
fn over(bytes: usize) -> Error {
    LimitError::state(MAX_STATE_BYTES, StateLimit { bytes, total: bytes, ..StateLimit::default() }).into()
}

/// How much an operator keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Keys, groups or rows, whichever the operator counts its state in.
    pub rows: usize,
    /// Bytes, as exactly as the operator can tell.
    pub bytes: usize,
}

/// The operator of a node, with the state that its snapshots hold, in order.
///
/// This is the one place where an operator is born. Sources and written rows are inputs of a dataflow and have none.
pub fn build(node: &Node, snapshots: &[Snapshot]) -> Result<Box<dyn Operator>> {
    match node {
        Node::Source(_) | Node::Values(_) => Err(InternalError::new("an input has no operator").into()),
        Node::Filter(_) | Node::Project(_) => Ok(chain::build_chain(chain::Step::of(node).into_iter().collect())),
        Node::Unnest(node) => unnest::build(node, snapshots),
        Node::Expand(node) => expand::build(node, snapshots),
        Node::Union(node) => union::build(node, snapshots),
        Node::Aggregate(node) => aggregate::build(node, snapshots),
        Node::Join(node) => join::build(node, snapshots),
        Node::KeyedJoin(node) => keyed_join::build(node, snapshots),
        Node::AsofJoin(node) => asof::build(node, snapshots),
        Node::LookupJoin(node) => lookup::build(node, snapshots),
        Node::Collect(node) => collect::build(node, snapshots),
        Node::Logic(node) => logic::build(node, snapshots),
        Node::Sort(node) => sort::build(node, snapshots),
        Node::Limit(node) => limit::build(node, snapshots),
        Node::TopN(node) => top_n::build(node, snapshots),
        Node::Over(node) => over::build(node, snapshots),
        Node::Windows(node) if node.window.is_session() => session::build_rows(node, snapshots),
        Node::Windows(node) => windows::build(node, snapshots),
        Node::WindowAggregate(node) if node.window.is_session() => session::build(node, snapshots),
        Node::WindowAggregate(node) => window::build(node, snapshots),
    }
}

/// What can happen to an operator.
#[derive(Debug)]
pub enum Event {
    /// Rows on a port.
    Batch(Port, Batch),
    /// The combined watermark of all inputs.
    Watermark(Timestamp),
    /// The clock.
    Notify(Timestamp),
    /// The end of every input.
    Eof,
}

/// Calls `operator` with `event`: the only place where one is called.
pub fn deliver(operator: &mut dyn Operator, event: Event, out: &mut Output) -> Result<()> {
    match event {
        Event::Batch(port, batch) => operator.on_batch(port, batch, out),
        Event::Watermark(watermark) => operator.on_watermark(watermark, out),
        Event::Notify(now) => operator.on_notify(now, out),
        Event::Eof => operator.on_eof(out),
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
