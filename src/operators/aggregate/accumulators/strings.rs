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
    Ok(Some(Box::new(Strings { strings: vec![], text_bytes: 0, output: call.output.data_type().clone() })))
}

/// The values of each group with a delimiter between them. NULLs are passed over.
struct Strings {
    strings: Vec<Option<String>>,
    /// Bytes of all texts.
    text_bytes: usize,
    output: DataType,
}

fn text(array: &ArrayRef) -> Result<StringArray> {
    let array = cast(array, &DataType::Utf8)?;
    array.as_string_opt::<i32>().cloned().ok_or_else(|| InternalError::new("string_agg takes text").into())
}

/// Appends a value, and gives how many bytes more are held.
fn append(state: &mut Option<String>, delimiter: &str, value: &str) -> usize {
    match state {
        Some(state) => {
            let before = state.capacity();
            state.push_str(delimiter);
            state.push_str(value);
            state.capacity() - before
        }
        None => state.insert(value.to_owned()).capacity(),
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
        let Strings { strings, text_bytes, .. } = self;
        input.each(values.nulls(), |row, group, _| {
            *text_bytes += append(&mut strings[group], delimiter(&delimiters, row), values.value(row));
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let (values, delimiters) = (text(&input.arguments[0])?, text(&input.arguments[1])?);
        let mut said: Vec<Option<String>> = Vec::with_capacity(input.groups.len());
        let mut grown = 0;
        let step = |strings: &mut Vec<Option<String>>, row, group: usize, _| {
            grown += append(&mut strings[group], delimiter(&delimiters, row), values.value(row));
            Ok(())
        };
        let say = |strings: &Vec<Option<String>>, group: usize| said.push(strings[group].clone());
        input.each_running(values.nulls(), &mut self.strings, step, say)?;
        self.text_bytes += grown;
        self.say(StringArray::from(said))
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let strings = groups.iter().map(|group| self.strings[*group as usize].as_deref());
        self.say(strings.collect::<StringArray>())
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.text_bytes -= self.strings[*group as usize].take().map_or(0, |text| text.capacity());
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let strings = groups.iter().map(|group| self.strings[*group as usize].as_deref());
        Ok(vec![Arc::new(strings.collect::<StringArray>())])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let strings = text(saved(columns, 0)?)?;
        for (row, group) in groups.iter().enumerate() {
            let text = strings.is_valid(row).then(|| strings.value(row).to_owned());
            self.text_bytes += text.as_ref().map_or(0, String::capacity);
            self.strings[*group as usize] = text;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.text_bytes + self.strings.capacity() * size_of::<Option<String>>()
    }
}
