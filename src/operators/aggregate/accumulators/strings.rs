//! `string_agg` in order of arrival.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::saved;
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input};

pub fn create(call: &AggregateCall) -> Result<Option<Box<dyn GroupAccumulator>>> {
    let text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let all_text = call.arguments.iter().all(|argument| text(argument.data_type()));
    if call.arguments.len() != 2 || !all_text || !text(call.output.data_type()) {
        return Ok(None);
    }
    Ok(Some(Box::new(Strings { strings: vec![], output: call.output.data_type().clone() })))
}

/// The values of each group with a delimiter between them. NULLs are passed over.
struct Strings {
    strings: Vec<Option<String>>,
    output: DataType,
}

fn text(array: &ArrayRef) -> Result<StringArray> {
    let array = cast(array, &DataType::Utf8)?;
    array.as_string_opt::<i32>().cloned().ok_or_else(|| InternalError::new("string_agg takes text").into())
}

fn append(state: &mut Option<String>, delimiter: &str, value: &str) {
    match state {
        Some(state) => {
            state.push_str(delimiter);
            state.push_str(value);
        }
        None => *state = Some(value.to_owned()),
    }
}

/// The delimiter of a row; a NULL is none.
fn delimiter(delimiters: &StringArray, row: usize) -> &str {
    if delimiters.is_valid(row) { delimiters.value(row) } else { "" }
}

impl Strings {
    fn say(&self, strings: StringArray) -> Result<ArrayRef> {
        Ok(cast(&strings, &self.output)?)
    }
}

impl GroupAccumulator for Strings {
    fn grow(&mut self, slots: usize) {
        self.strings.resize(slots.max(self.strings.len()), None);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let (values, delimiters) = (text(&input.arguments[0])?, text(&input.arguments[1])?);
        let strings = &mut self.strings;
        input.each(values.nulls(), |row, group, _| {
            append(&mut strings[group], delimiter(&delimiters, row), values.value(row));
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let (values, delimiters) = (text(&input.arguments[0])?, text(&input.arguments[1])?);
        let mut said: Vec<Option<String>> = Vec::with_capacity(input.groups.len());
        let step = |strings: &mut Vec<Option<String>>, row, group: usize, _| {
            append(&mut strings[group], delimiter(&delimiters, row), values.value(row));
            Ok(())
        };
        let say = |strings: &Vec<Option<String>>, group: usize| said.push(strings[group].clone());
        input.each_running(values.nulls(), &mut self.strings, step, say)?;
        self.say(StringArray::from(said))
    }

    fn read(&mut self, groups: &[u32], _: &[i64]) -> Result<ArrayRef> {
        let strings = groups.iter().map(|group| self.strings[*group as usize].as_deref());
        self.say(strings.collect::<StringArray>())
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.strings[*group as usize] = None;
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let strings = groups.iter().map(|group| self.strings[*group as usize].as_deref());
        Ok(vec![Arc::new(strings.collect::<StringArray>())])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let strings = text(saved(columns, 0)?)?;
        for (row, group) in groups.iter().enumerate() {
            self.strings[*group as usize] = strings.is_valid(row).then(|| strings.value(row).to_owned());
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let text: usize = self.strings.iter().flatten().map(String::capacity).sum();
        text + self.strings.capacity() * size_of::<Option<String>>()
    }
}
