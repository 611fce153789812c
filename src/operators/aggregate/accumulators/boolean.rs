//! `bool_and` and `bool_or`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::ScalarBuffer;

use super::saved;
use crate::error::{InternalError, Result};
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input, argument_nulls};

/// What connects the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connective {
    And,
    Or,
}

/// The values of a group, connected; NULLs are passed over.
pub struct Both {
    connective: Connective,
    values: Vec<Option<bool>>,
}

impl Both {
    pub fn new(connective: Connective) -> Self {
        Both { connective, values: vec![] }
    }
}

fn booleans(array: &ArrayRef) -> Result<&BooleanArray> {
    array.as_boolean_opt().ok_or_else(|| InternalError::new("bool_and and bool_or take booleans").into())
}

fn step(connective: Connective, state: &mut Option<bool>, value: bool) {
    *state = Some(match (*state, connective) {
        (None, _) => value,
        (Some(state), Connective::And) => state && value,
        (Some(state), Connective::Or) => state || value,
    });
}

impl GroupAccumulator for Both {
    fn grow(&mut self, slots: usize) {
        self.values.resize(slots.max(self.values.len()), None);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let given = booleans(&input.arguments[0])?;
        let (connective, states) = (self.connective, &mut self.values);
        input.each(argument_nulls(input), |row, group, _| {
            step(connective, &mut states[group], given.value(row));
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let given = booleans(&input.arguments[0])?;
        let connective = self.connective;
        let mut said = Vec::with_capacity(input.groups.len());
        let step = |states: &mut Vec<Option<bool>>, row, group: usize, _| {
            step(connective, &mut states[group], given.value(row));
            Ok(())
        };
        let say = |states: &Vec<Option<bool>>, group: usize| said.push(states[group]);
        input.each_running(argument_nulls(input), &mut self.values, step, say)?;
        Ok(Arc::new(BooleanArray::from(said)))
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        Ok(Arc::new(groups.iter().map(|group| self.values[*group as usize]).collect::<BooleanArray>()))
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.values[*group as usize] = None;
        }
    }

    fn merges(&self) -> bool {
        true
    }

    fn merge(&mut self, into: u32, from: u32, _: i64) -> Result<()> {
        if let Some(value) = self.values[from as usize].take() {
            step(self.connective, &mut self.values[into as usize], value);
        }
        Ok(())
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.read(groups, &ScalarBuffer::default())?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let values = booleans(saved(columns, 0)?)?;
        for (row, group) in groups.iter().enumerate() {
            self.values[*group as usize] = values.is_valid(row).then(|| values.value(row));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<bool>>()
    }
}
