//! `first_value` and `last_value`, by arrival or by an order, and `min` and `max` of what has no numbers.
//!
//! A value is kept as a row of Arrow's row format, and so is the key by which it was picked: keys compare as bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::row::{RowConverter, SortField};

use super::{argument_type, running_by_reading, saved};
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{GroupAccumulator, Input};

/// Which value of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The first by the call's order or, without one, by arrival. Of equals the first to arrive.
    First,
    /// The last by the call's order or, without one, by arrival. Of equals the last to arrive.
    Last,
    /// The smallest that is not NULL.
    Smallest,
    /// The largest that is not NULL.
    Largest,
}

/// One value of each group.
pub struct Picked {
    pick: Pick,
    skip_nulls: bool,
    values: RowConverter,
    /// What orders the values: the keys of the call's `ORDER BY`, or the value itself.
    keys: Option<RowConverter>,
    kept: Vec<Option<Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    value: Box<[u8]>,
    key: Box<[u8]>,
}

impl Picked {
    pub fn new(call: &AggregateCall, pick: Pick) -> Result<Picked> {
        let values = RowConverter::new(vec![SortField::new(argument_type(call))])?;
        let by_value = matches!(pick, Pick::Smallest | Pick::Largest);
        let sorted = call
            .order_by
            .iter()
            .map(|key| SortField::new_with_options(key.expr.data_type().clone(), key.options))
            .collect::<Vec<_>>();
        let keys = match (by_value, sorted.is_empty()) {
            (true, _) => Some(RowConverter::new(vec![SortField::new(argument_type(call))])?),
            (false, false) => Some(RowConverter::new(sorted)?),
            (false, true) => None,
        };
        Ok(Picked { pick, skip_nulls: by_value || call.ignore_nulls, values, keys, kept: vec![] })
    }

    fn takes(pick: Pick, kept: &Option<Kept>, key: Option<&[u8]>) -> bool {
        match (kept, key) {
            (None, _) => true,
            (Some(_), None) => pick == Pick::Last,
            (Some(kept), Some(key)) => match pick {
                Pick::First | Pick::Smallest => key < kept.key.as_ref(),
                Pick::Largest => key > kept.key.as_ref(),
                Pick::Last => key >= kept.key.as_ref(),
            },
        }
    }
}

impl GroupAccumulator for Picked {
    fn grow(&mut self, slots: usize) {
        self.kept.resize(slots.max(self.kept.len()), None);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let nulls = if self.skip_nulls { input.arguments[0].logical_nulls() } else { None };
        let values = self.values.convert_columns(&input.arguments[..1])?;
        let by_value = matches!(self.pick, Pick::Smallest | Pick::Largest);
        let key_columns = if by_value { &input.arguments[..1] } else { &input.arguments[1..] };
        let keys = self.keys.as_ref().map(|keys| keys.convert_columns(key_columns)).transpose()?;
        let (pick, kept) = (self.pick, &mut self.kept);
        input.each(nulls.as_ref(), |row, group, _| {
            let key = keys.as_ref().map(|keys| keys.row(row).data().to_owned());
            if Picked::takes(pick, &kept[group], key.as_deref()) {
                let value = values.row(row).data().into();
                kept[group] = Some(Kept { value, key: key.unwrap_or_default().into() });
            }
            Ok(())
        })
    }

    fn update_running(&mut self, input: &Input<'_>) -> Result<ArrayRef> {
        running_by_reading(self, input)
    }

    fn read(&mut self, groups: &[u32]) -> Result<ArrayRef> {
        let parser = self.values.parser();
        let null = self.null_row()?;
        let rows = groups.iter().map(|group| match &self.kept[*group as usize] {
            Some(kept) => parser.parse(&kept.value),
            None => parser.parse(&null),
        });
        let mut columns = self.values.convert_rows(rows)?;
        columns.pop().ok_or_else(|| InternalError::new("a row of values has no column").into())
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.kept[*group as usize] = None;
        }
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let kept = || groups.iter().map(|group| self.kept[*group as usize].as_ref());
        let values: BinaryArray = kept().map(|kept| kept.map(|kept| kept.value.as_ref())).collect();
        let keys: BinaryArray = kept().map(|kept| kept.map(|kept| kept.key.as_ref())).collect();
        Ok(vec![Arc::new(values), Arc::new(keys)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("a saved value is not in its form");
        let values = saved(columns, 0)?.as_binary_opt::<i32>().ok_or_else(missing)?;
        let keys = saved(columns, 1)?.as_binary_opt::<i32>().ok_or_else(missing)?;
        for (row, group) in groups.iter().enumerate() {
            let kept = || Kept { value: values.value(row).into(), key: keys.value(row).into() };
            self.kept[*group as usize] = values.is_valid(row).then(kept);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let inner: usize = self.kept.iter().flatten().map(|kept| kept.value.len() + kept.key.len()).sum();
        self.kept.capacity() * size_of::<Option<Kept>>() + inner
    }
}

impl Picked {
    /// The row of a NULL.
    fn null_row(&self) -> Result<Box<[u8]>> {
        let null = arrow::array::new_null_array(&self.data_type()?, 1);
        Ok(self.values.convert_columns(&[null])?.row(0).data().into())
    }

    fn data_type(&self) -> Result<arrow::datatypes::DataType> {
        let empty = self.values.convert_rows(std::iter::empty::<arrow::row::Row<'_>>())?;
        let column = empty.first().ok_or_else(|| InternalError::new("a row of values has no column"))?;
        Ok(column.data_type().clone())
    }
}
