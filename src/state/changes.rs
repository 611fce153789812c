//! Which groups have changed since the last snapshot, and which of those it holds are gone.
//!
//! Nothing is noted before the first snapshot, which holds everything: where nobody takes one, nothing of this grows.
//! After it a group is listed once however often it changes, which a stamp by group number tells without hashing a
//! key, and a key is only remembered as gone if some snapshot holds it. So what is noted is bounded by the groups
//! that are there and those that a snapshot holds.

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;

use crate::error::Result;
use crate::state::{GroupIndex, StateTable, grow_to, table};
use crate::types::Epoch;

/// The name of the table in a snapshot that has the keys of groups that are gone.
pub const GONE: &str = "gone";

/// Keeps track of changed groups from one snapshot to the next.
#[derive(Default)]
pub struct Changes {
    /// The number of the next snapshot; none while there is no snapshot to note changes against.
    stamp: Option<u32>,
    /// The groups that have changed, each once; some may have been freed since.
    listed: Vec<u32>,
    marks: Vec<Mark>,
    gone: Vec<Gone>,
    /// Bytes of the keys that are gone.
    gone_bytes: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// For which snapshot the group was last listed.
    listed: Option<u32>,
    /// Changed since the last snapshot, and not freed since.
    changed: bool,
    /// Whether a snapshot holds the group.
    saved: bool,
}

/// The keys of some groups, column by column, and how many they are: there may be no column.
struct Gone {
    keys: Vec<ArrayRef>,
    rows: usize,
}

/// What a snapshot has to hold.
pub struct Changed {
    /// The groups to save.
    pub groups: Vec<u32>,
    /// The keys of groups that an earlier snapshot holds and that are gone, under the name [`GONE`].
    pub gone: Option<StateTable>,
}

impl Changes {
    /// For an operator that is built from snapshots that hold `groups`.
    pub fn resumed(groups: &[u32]) -> Changes {
        let mut changes = Changes { stamp: Some(0), ..Changes::default() };
        changes.saved(groups);
        changes
    }

    /// `group` has changed.
    pub fn mark(&mut self, group: u32) {
        let Some(stamp) = self.stamp else { return };
        let mark = self.at(group);
        mark.changed = true;
        if mark.listed.replace(stamp) != Some(stamp) {
            self.listed.push(group);
        }
    }

    /// `groups` are about to be freed: call it while `index` still knows their keys.
    pub fn bury(&mut self, index: &GroupIndex, groups: &[u32]) -> Result<()> {
        if self.stamp.is_none() {
            return Ok(());
        }
        let mut saved = vec![];
        for group in groups {
            let mark = self.at(*group);
            mark.changed = false;
            if std::mem::take(&mut mark.saved) {
                saved.push(*group);
            }
        }
        if !saved.is_empty() {
            let keys = index.keys(&saved)?;
            self.gone_bytes += keys.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
            self.gone.push(Gone { keys, rows: saved.len() });
        }
        Ok(())
    }

    /// `groups` are about to be freed, of which something else in the snapshot says that they are gone.
    pub fn drop(&mut self, groups: &[u32]) {
        if self.stamp.is_some() {
            for group in groups {
                let mark = self.at(*group);
                (mark.changed, mark.saved) = (false, false);
            }
        }
    }

    /// What the next snapshot has to hold, which is everything if there was none or `since` is the beginning.
    pub fn take(&mut self, index: &GroupIndex, since: Epoch) -> Result<Changed> {
        let listed = std::mem::take(&mut self.listed);
        let gone = std::mem::take(&mut self.gone);
        self.gone_bytes = 0;
        let Some(stamp) = self.stamp.replace(self.stamp.map_or(0, |stamp| stamp.wrapping_add(1))) else {
            return Ok(self.everything(index));
        };
        debug_assert!(listed.iter().all(|group| self.marks[*group as usize].listed == Some(stamp)));
        let changed = |group: &u32| std::mem::take(&mut self.marks[*group as usize].changed);
        let groups: Vec<u32> = listed.into_iter().filter(changed).collect();
        if since == Epoch::ZERO {
            return Ok(self.everything(index));
        }
        self.saved(&groups);
        Ok(Changed { groups, gone: joined(&gone)? })
    }

    fn everything(&mut self, index: &GroupIndex) -> Changed {
        let groups = index.groups_in_order();
        self.saved(&groups);
        Changed { groups, gone: None }
    }

    fn saved(&mut self, groups: &[u32]) {
        for group in groups {
            self.at(*group).saved = true;
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.gone_bytes + self.listed.capacity() * size_of::<u32>() + self.marks.capacity() * size_of::<Mark>()
    }

    fn at(&mut self, group: u32) -> &mut Mark {
        let at = group as usize;
        grow_to(&mut self.marks, at + 1, Mark::default());
        &mut self.marks[at]
    }
}

/// Several pieces of key columns as one table.
fn joined(pieces: &[Gone]) -> Result<Option<StateTable>> {
    let Some(first) = pieces.first() else { return Ok(None) };
    let column = |index: usize| -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = pieces.iter().map(|piece| piece.keys[index].as_ref()).collect();
        Ok(concat(&parts)?)
    };
    let keys = (0..first.keys.len()).map(column).collect::<Result<_>>()?;
    Ok(Some(table(GONE, keys, pieces.iter().map(|piece| piece.rows).sum())?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Int64Type};

    use super::*;

    const FIRST: Epoch = Epoch::ZERO.next();

    /// An index and the changes of its groups.
    struct State {
        index: GroupIndex,
        changes: Changes,
    }

    impl State {
        fn new() -> State {
            State { index: GroupIndex::new(&[DataType::Int64]).unwrap(), changes: Changes::default() }
        }

        fn touch(&mut self, key: i64) -> u32 {
            let mut groups = vec![];
            self.index.intern(&[Arc::new(Int64Array::from(vec![key])) as ArrayRef], 1, &mut groups).unwrap();
            self.changes.mark(groups[0]);
            groups[0]
        }

        fn free(&mut self, group: u32) {
            self.changes.bury(&self.index, &[group]).unwrap();
            self.index.remove(&[group]);
        }

        /// The groups that a snapshot holds, and the keys that it says are gone.
        fn take(&mut self, since: Epoch) -> (Vec<u32>, Vec<i64>) {
            let changed = self.changes.take(&self.index, since).unwrap();
            let keys = |table: StateTable| table.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            (changed.groups, changed.gone.map(keys).unwrap_or_default())
        }
    }

    #[test]
    fn nothing_is_noted_before_the_first_snapshot() {
        let mut state = State::new();
        for key in 0..1_000 {
            let group = state.touch(key);
            state.free(group);
        }
        assert_eq!(state.changes.bytes(), 0);
        let group = state.touch(7);
        assert_eq!(state.take(Epoch::ZERO), (vec![group], vec![]));
    }

    #[test]
    fn a_group_is_saved_once_however_often_it_changes() {
        let mut state = State::new();
        let (a, b) = (state.touch(1), state.touch(2));
        assert_eq!(state.take(Epoch::ZERO), (vec![a, b], vec![]));
        state.touch(2);
        state.touch(2);
        assert_eq!(state.take(FIRST), (vec![b], vec![]));
        assert_eq!(state.take(FIRST), (vec![], vec![]));
    }

    #[test]
    fn only_a_key_that_a_snapshot_holds_is_gone() {
        let mut state = State::new();
        let saved = state.touch(1);
        state.take(Epoch::ZERO);
        state.free(saved);
        for _ in 0..3 {
            let fresh = state.touch(2);
            state.free(fresh);
        }
        assert_eq!(state.take(FIRST), (vec![], vec![1]));
        assert_eq!(state.take(FIRST), (vec![], vec![]));
    }

    #[test]
    fn a_key_that_goes_and_comes_again_is_gone_and_saved() {
        let mut state = State::new();
        let before = state.touch(1);
        state.take(Epoch::ZERO);
        state.free(before);
        let after = state.touch(1);
        assert_eq!(state.take(FIRST), (vec![after], vec![1]));
    }

    #[test]
    fn what_was_resumed_from_is_known() {
        let mut state = State::new();
        let (a, b) = (state.touch(1), state.touch(2));
        state.changes = Changes::resumed(&[a, b]);
        state.touch(2);
        state.free(a);
        assert_eq!(state.take(FIRST), (vec![b], vec![1]));
    }
}
