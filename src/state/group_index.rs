//! From key to dense group number.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::error::Result;

/// Numbers the distinct keys it has seen: dense `u32` slots, reused after [`GroupIndex::remove`].
///
/// Specialised by the key's types: none, one fixed-width column, one string column, two fixed-width columns,
/// Arrow's row format for the rest. NULL is a key like any other; -0.0 and 0.0 are one key, and all NaN are one key.
pub struct GroupIndex {
    types: Vec<DataType>,
}

impl GroupIndex {
    /// An empty index over key columns of those types.
    pub fn new(types: &[DataType]) -> Result<GroupIndex> {
        Ok(GroupIndex { types: types.to_vec() })
    }

    /// The group of each of `rows` rows, a new one where the key is new. `groups` is cleared first.
    pub fn intern(&mut self, keys: &[ArrayRef], rows: usize, groups: &mut Vec<u32>) -> Result<()> {
        let _ = (keys, rows, groups, &self.types);
        Ok(())
    }

    /// The key columns of `groups`.
    pub fn keys(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let _ = groups;
        Ok(vec![])
    }

    /// Forgets `groups`; their numbers may be given to other keys.
    pub fn remove(&mut self, groups: &[u32]) {
        let _ = groups;
    }

    /// The live groups, in the order in which they first appeared (a group that was removed and seen again is new).
    pub fn groups_in_order(&self) -> Vec<u32> {
        vec![]
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the largest group number in use: the length of arrays by group.
    pub fn slots(&self) -> usize {
        0
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        0
    }
}
