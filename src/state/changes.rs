//! Which groups have changed since the last snapshot, and which of those it holds are gone.
//!
//! Both are bounded, also where nobody ever takes a snapshot: a group is listed once however often it changes,
//! and a key is only remembered as gone if some snapshot still holds it.

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;

use crate::error::Result;
use crate::state::GroupIndex;
use crate::types::Epoch;

/// Keeps track of changed groups from one snapshot to the next.
#[derive(Default)]
pub struct Changes {
    /// The groups that have changed, each once; some may have been freed since.
    listed: Vec<u32>,
    marks: Vec<Mark>,
    gone: Vec<Vec<ArrayRef>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    listed: bool,
    /// Changed since the last snapshot, and not freed since.
    changed: bool,
    /// Whether a snapshot holds the group.
    saved: bool,
}

impl Changes {
    /// `group` has changed.
    pub fn mark(&mut self, group: u32) {
        let mark = self.at(group);
        mark.changed = true;
        if !std::mem::replace(&mut mark.listed, true) {
            self.listed.push(group);
        }
    }

    /// `groups` are about to be freed: call it while `index` still knows their keys.
    pub fn bury(&mut self, index: &GroupIndex, groups: &[u32]) -> Result<()> {
        let mut saved = vec![];
        for group in groups {
            let mark = self.at(*group);
            mark.changed = false;
            if std::mem::take(&mut mark.saved) {
                saved.push(*group);
            }
        }
        if !saved.is_empty() {
            self.gone.push(index.keys(&saved)?);
        }
        Ok(())
    }

    /// `groups` have come from a snapshot.
    pub fn restored(&mut self, groups: &[u32]) {
        for group in groups {
            self.at(*group).saved = true;
        }
    }

    /// The groups to save and the keys that are gone (no columns if there are none); then the next snapshot begins.
    pub fn take(&mut self, index: &GroupIndex, since: Epoch) -> Result<(Vec<u32>, Vec<ArrayRef>)> {
        let mut changed = vec![];
        for group in std::mem::take(&mut self.listed) {
            let mark = self.at(group);
            mark.listed = false;
            if std::mem::take(&mut mark.changed) {
                changed.push(group);
            }
        }
        let gone = std::mem::take(&mut self.gone);
        if since == Epoch::ZERO {
            let all = index.groups_in_order();
            self.restored(&all);
            return Ok((all, vec![]));
        }
        self.restored(&changed);
        Ok((changed, joined(&gone)?))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let gone: usize = self.gone.iter().flatten().map(|column| column.get_array_memory_size()).sum();
        gone + self.listed.capacity() * size_of::<u32>() + self.marks.capacity() * size_of::<Mark>()
    }

    fn at(&mut self, group: u32) -> &mut Mark {
        let at = group as usize;
        if at >= self.marks.len() {
            self.marks.resize(at + 1, Mark::default());
        }
        &mut self.marks[at]
    }
}

/// Several pieces of key columns as one.
fn joined(pieces: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>> {
    let width = pieces.first().map_or(0, Vec::len);
    let column = |index: usize| {
        let parts: Vec<&dyn Array> = pieces.iter().map(|piece| piece[index].as_ref()).collect();
        Ok(concat(&parts)?)
    };
    (0..width).map(column).collect()
}
