//! `first_value` and `last_value`, by arrival or by an order, and `min` and `max` of what has no numbers.
//!
//! A value is kept as a row of Arrow's row format, and so is the key by which it was picked: keys compare as bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, UInt32Array, UInt64Array, new_null_array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{cast, interleave, take};
use arrow::datatypes::{DataType, UInt64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::{argument_type, saved};
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
    data_type: DataType,
    values: RowConverter,
    /// What orders the values: the keys of the call's `ORDER BY`, or the value itself.
    keys: Option<RowConverter>,
    kept: Vec<Option<Kept>>,
    /// Bytes of all values and keys.
    kept_bytes: usize,
    /// Within a batch, for each group the row of the batch that holds its value, if one does.
    won: Vec<Option<u32>>,
    /// How many rows have come: the arrival of the next.
    arrivals: u64,
}

/// A value, its key, and when it came. Vectors, so that a later value is written over an earlier one in place.
#[derive(Debug, Clone, Default)]
struct Kept {
    value: Vec<u8>,
    key: Vec<u8>,
    arrival: u64,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.value.capacity() + self.key.capacity()
    }
}

impl Picked {
    pub fn new(call: &AggregateCall, pick: Pick) -> Result<Picked> {
        let data_type = argument_type(call);
        let values = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let by_value = matches!(pick, Pick::Smallest | Pick::Largest);
        let sorted = call
            .order_by
            .iter()
            .map(|key| SortField::new_with_options(key.expr.data_type().clone(), key.options))
            .collect::<Vec<_>>();
        let keys = match (by_value, sorted.is_empty()) {
            (true, _) => Some(RowConverter::new(vec![SortField::new(data_type.clone())])?),
            (false, false) => Some(RowConverter::new(sorted)?),
            (false, true) => None,
        };
        let skip_nulls = by_value || call.ignore_nulls;
        Ok(Picked { pick, skip_nulls, data_type, values, keys, kept: vec![], kept_bytes: 0, won: vec![], arrivals: 0 })
    }

    fn nulls(&self, input: &Input<'_>) -> Option<NullBuffer> {
        if self.skip_nulls { input.arguments[0].logical_nulls() } else { None }
    }

    fn keys(&self, input: &Input<'_>) -> Result<Option<Rows>> {
        let by_value = matches!(self.pick, Pick::Smallest | Pick::Largest);
        let columns = if by_value { &input.arguments[..1] } else { &input.arguments[1..] };
        Ok(self.keys.as_ref().map(|keys| keys.convert_columns(columns)).transpose()?)
    }

    /// Lets a row compete for its group. Its key is kept at once; its value only if it is still the one in the end.
    fn compete(&mut self, keys: Option<&Rows>, row: usize, group: usize) {
        let key = keys.map(|keys| keys.row(row));
        let key = key.as_ref().map(|key| key.data());
        let kept = &mut self.kept[group];
        if kept.as_ref().is_some_and(|kept| !takes(self.pick, &kept.key, key)) {
            return;
        }
        let kept = kept.get_or_insert_default();
        self.kept_bytes += overwrite(&mut kept.key, key.unwrap_or_default());
        kept.arrival = self.arrivals + row as u64;
        self.won[group] = Some(row as u32);
    }

    /// Keeps the values of the rows that have won.
    fn settle(&mut self, input: &Input<'_>) -> Result<()> {
        let mut groups = vec![];
        let mut rows = vec![];
        for group in input.groups {
            if let Some(row) = self.won[*group as usize].take() {
                groups.push(*group);
                rows.push(row);
            }
        }
        let values = take(&input.arguments[0], &UInt32Array::from(rows), None)?;
        let values = self.values.convert_columns(&[values])?;
        for (row, group) in groups.iter().enumerate() {
            if let Some(kept) = &mut self.kept[*group as usize] {
                self.kept_bytes += overwrite(&mut kept.value, values.row(row).data());
            }
        }
        self.arrivals += input.groups.len() as u64;
        Ok(())
    }
}

/// Writes bytes over others, and gives how many bytes more are held.
fn overwrite(place: &mut Vec<u8>, bytes: &[u8]) -> usize {
    let before = place.capacity();
    place.clear();
    place.extend_from_slice(bytes);
    place.capacity() - before
}

/// Whether a row with that key takes the place of one with the key that is kept.
fn takes(pick: Pick, kept: &[u8], key: Option<&[u8]>) -> bool {
    match (pick, key) {
        (pick, None) => pick == Pick::Last,
        (Pick::First | Pick::Smallest, Some(key)) => key < kept,
        (Pick::Largest, Some(key)) => key > kept,
        (Pick::Last, Some(key)) => key >= kept,
    }
}

impl GroupAccumulator for Picked {
    fn grow(&mut self, slots: usize) {
        let slots = slots.max(self.kept.len());
        self.kept.resize(slots, None);
        self.won.resize(slots, None);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let (nulls, keys) = (self.nulls(input), self.keys(input)?);
        input.each(nulls.as_ref(), |row, group, _| {
            self.compete(keys.as_ref(), row, group);
            Ok(())
        })?;
        self.settle(input)
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let (nulls, keys) = (self.nulls(input), self.keys(input)?);
        // The value after a row is that of a row of this batch, or else what it was before the batch.
        let before = self.read(input.groups, &ScalarBuffer::default())?;
        let mut places = Vec::with_capacity(input.groups.len());
        let compete = |picked: &mut Picked, row: usize, group: usize, _| {
            picked.compete(keys.as_ref(), row, group);
            Ok(())
        };
        let say = |picked: &Picked, group: usize| {
            places.push(picked.won[group].map_or((0, places.len()), |row| (1, row as usize)));
        };
        input.each_running(nulls.as_ref(), self, compete, say)?;
        self.settle(input)?;
        Ok(interleave(&[before.as_ref(), input.arguments[0].as_ref()], &places)?)
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let parser = self.values.parser();
        let null = self.values.convert_columns(&[new_null_array(&self.data_type, 1)])?;
        let rows = groups.iter().map(|group| match &self.kept[*group as usize] {
            Some(kept) => parser.parse(&kept.value),
            None => null.row(0),
        });
        let mut columns = self.values.convert_rows(rows)?;
        let column = columns.pop().ok_or_else(|| InternalError::new("a row of values has no column"))?;
        // The row format gives the values of a dictionary without it.
        Ok(if *column.data_type() == self.data_type { column } else { cast(&column, &self.data_type)? })
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            self.kept_bytes -= self.kept[*group as usize].take().map_or(0, |kept| kept.bytes());
        }
    }

    fn merges(&self) -> bool {
        true
    }

    fn merge(&mut self, into: u32, from: u32, _: i64) -> Result<()> {
        let Some(other) = self.kept[from as usize].take() else { return Ok(()) };
        let own = &mut self.kept[into as usize];
        let wins = match own {
            None => true,
            // Of two in the order in which they came the later one takes the place of the earlier one, or does not.
            Some(own) if own.arrival < other.arrival => {
                takes(self.pick, &own.key, self.keys.as_ref().map(|_| &*other.key))
            }
            Some(own) => !takes(self.pick, &other.key, self.keys.as_ref().map(|_| &*own.key)),
        };
        let gone = if wins { own.replace(other) } else { Some(other) };
        self.kept_bytes -= gone.map_or(0, |gone| gone.bytes());
        Ok(())
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let kept = || groups.iter().map(|group| self.kept[*group as usize].as_ref());
        let values: BinaryArray = kept().map(|kept| kept.map(|kept| kept.value.as_slice())).collect();
        let keys: BinaryArray = kept().map(|kept| kept.map(|kept| kept.key.as_slice())).collect();
        let arrivals: UInt64Array = kept().map(|kept| kept.map(|kept| kept.arrival)).collect();
        Ok(vec![Arc::new(values), Arc::new(keys), Arc::new(arrivals)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("a saved value is not in its form");
        let values = saved(columns, 0)?.as_binary_opt::<i32>().ok_or_else(missing)?;
        let keys = saved(columns, 1)?.as_binary_opt::<i32>().ok_or_else(missing)?;
        let arrivals = saved(columns, 2)?.as_primitive_opt::<UInt64Type>().ok_or_else(missing)?;
        for (row, group) in groups.iter().enumerate() {
            let arrival = arrivals.value(row);
            let kept = || Kept { value: values.value(row).into(), key: keys.value(row).into(), arrival };
            let kept = values.is_valid(row).then(kept);
            self.arrivals = self.arrivals.max(arrival + 1);
            self.kept_bytes += kept.as_ref().map_or(0, Kept::bytes);
            self.kept[*group as usize] = kept;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let won = self.won.capacity() * size_of::<Option<u32>>();
        self.kept.capacity() * size_of::<Option<Kept>>() + won + self.kept_bytes
    }
}
