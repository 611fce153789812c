//! The windows of keys: once the watermark has closed one, its keys are through.
//!
//! ```text
//! key (k, window_end), KEEP LAST EMIT FINAL, FULL
//! left:  a 10 | b 20    right:  a 10       watermark 12:  a 10 a 10       watermark 20:  b 20 -
//! ```

use std::collections::BTreeMap;

use arrow::array::Int64Array;

use crate::error::{InternalError, Result};
use crate::expr::Expr;
use crate::operators::Output;
use crate::operators::closing::in_time;
use crate::plan::node::KeyedJoin;
use crate::types::{Batch, Tick, Timestamp, ticks};

/// A key of a window: when it appeared, and its slot.
type Key = (u64, u32);

/// The windows that are open.
pub(super) struct Windows {
    /// Which part of the key is the end of a window, and that part of each side's key.
    pub part: usize,
    ends: Vec<Expr>,
    tick: Tick,
    /// The keys of each by its end, also those that have been complete since. A window may have rows without a key only.
    open: BTreeMap<i64, Vec<Key>>,
    keys: usize,
}

impl Windows {
    /// Those that the keys of `node` are of, if the watermark closes them.
    pub fn of(node: &KeyedJoin) -> Result<Option<Windows>> {
        let Some(part) = node.closed_by else { return Ok(None) };
        let unknown = || InternalError::new("the end of a window is no time");
        let ends = node.sides.iter().map(|side| side.keys.get(part).cloned());
        let ends: Vec<Expr> = ends.collect::<Option<_>>().ok_or_else(unknown)?;
        let tick = ends.first().and_then(|end| Tick::of(end.data_type())).ok_or_else(unknown)?;
        Ok(Some(Windows { part, ends, tick, open: BTreeMap::new(), keys: 0 }))
    }

    /// The rows of a side that are not late for their window, with the ends of their windows. Late ones are counted.
    pub fn in_time(&self, side: usize, batch: Batch, out: &mut Output) -> Result<(Batch, Int64Array)> {
        let ends = |batch: &Batch| ticks(&self.ends[side].evaluate(batch.rows())?);
        let all = ends(&batch)?;
        let batch = in_time(batch, &all, self.tick, out)?;
        let ends = if batch.num_rows() == all.len() { all } else { ends(&batch)? };
        Ok((batch, ends))
    }

    /// A key has appeared in the window that ends then.
    pub fn note(&mut self, end: i64, key: Key) {
        self.open.entry(end).or_default().push(key);
        self.keys += 1;
    }

    /// A row without a key has come to the window that ends then.
    pub fn note_alone(&mut self, end: i64) {
        self.open.entry(end).or_default();
    }

    /// Up to where a watermark closes windows; nothing if none of those that are open ends by then.
    pub fn reached(&self, watermark: Timestamp) -> Option<i64> {
        let reached = self.tick.floor(watermark);
        self.open.first_key_value().is_some_and(|(end, _)| *end <= reached).then_some(reached)
    }

    /// Closes the windows that end by then, and says their keys, each with its end.
    pub fn close(&mut self, reached: i64) -> Vec<(i64, Key)> {
        let mut closed = vec![];
        while let Some(first) = self.open.first_entry().filter(|first| *first.key() <= reached) {
            let (end, keys) = first.remove_entry();
            self.keys -= keys.len();
            closed.extend(keys.into_iter().map(|key| (end, key)));
        }
        closed
    }

    /// The end of the first window that is open.
    pub fn first_open(&self) -> Option<i64> {
        self.open.keys().next().copied()
    }

    pub fn bytes(&self) -> usize {
        let window = size_of::<i64>() + size_of::<Vec<Key>>();
        self.open.len() * window + self.keys * size_of::<Key>()
    }
}
