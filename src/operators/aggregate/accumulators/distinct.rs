//! `count(DISTINCT x)`: one index of (group, value) for all groups.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field};

use super::{argument_type, integers, running_by_reading, saved};
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input};
use crate::state::GroupIndex;

pub fn create(call: &AggregateCall) -> Result<Option<Box<dyn GroupAccumulator>>> {
    if call.arguments.len() != 1 {
        return Ok(None);
    }
    let data_type = argument_type(call);
    let index = GroupIndex::new(&[DataType::UInt32, data_type.clone()])?;
    Ok(Some(Box::new(Distinct { index, entries: vec![], known: vec![], data_type })))
}

/// The distinct values of each group.
struct Distinct {
    index: GroupIndex,
    /// For each group its entries in the index, in the order in which they came.
    entries: Vec<Vec<u32>>,
    /// Which entries have been given to their group.
    known: Vec<bool>,
    data_type: DataType,
}

impl Distinct {
    fn insert(&mut self, groups: &UInt32Array, values: &ArrayRef) -> Result<()> {
        let mut entries = Vec::new();
        self.index.intern(&[Arc::new(groups.clone()), values.clone()], groups.len(), &mut entries)?;
        self.known.resize(self.index.slots().max(self.known.len()), false);
        for (group, entry) in groups.values().iter().zip(entries) {
            if !std::mem::replace(&mut self.known[entry as usize], true) {
                self.entries[*group as usize].push(entry);
            }
        }
        Ok(())
    }
}

impl GroupAccumulator for Distinct {
    fn grow(&mut self, slots: usize) {
        self.entries.resize(slots.max(self.entries.len()), vec![]);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let nulls = input.arguments[0].logical_nulls();
        let mut counted = vec![false; input.groups.len()];
        input.each(nulls.as_ref(), |row, _, _| {
            counted[row] = true;
            Ok(())
        })?;
        let counted = counted.into();
        let groups = UInt32Array::from(input.groups.to_vec());
        let groups = filter(&groups, &counted)?;
        let values = filter(&input.arguments[0], &counted)?;
        let Some(groups) = groups.as_primitive_opt::<arrow::datatypes::UInt32Type>() else {
            return Err(InternalError::new("group numbers are not numbers").into());
        };
        self.insert(groups, &values)
    }

    fn update_running(&mut self, input: &Input<'_>) -> Result<ArrayRef> {
        running_by_reading(self, input)
    }

    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(integers(groups.iter().map(|group| self.entries[*group as usize].len() as i64)))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            let entries = std::mem::take(&mut self.entries[*group as usize]);
            for entry in &entries {
                self.known[*entry as usize] = false;
            }
            self.index.remove(&entries);
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let entries: Vec<u32> = groups.iter().flat_map(|group| &self.entries[*group as usize]).copied().collect();
        let mut keys = self.index.keys(&entries)?;
        let values = keys.pop().ok_or_else(|| InternalError::new("an index of values has no values"))?;
        let lengths = groups.iter().map(|group| self.entries[*group as usize].len());
        let field = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        Ok(vec![Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, None)?)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("a saved set of values is no list");
        let lists = saved(columns, 0)?.as_list_opt::<i32>().ok_or_else(missing)?;
        for (row, group) in groups.iter().enumerate() {
            let values = lists.value(row);
            self.insert(&UInt32Array::from(vec![*group; values.len()]), &values)?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let entries: usize = self.entries.iter().map(|entries| entries.capacity() * size_of::<u32>()).sum();
        self.index.bytes() + self.entries.capacity() * size_of::<Vec<u32>>() + entries
    }
}
