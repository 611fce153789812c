//! `min` and `max` over rows that may be taken back: each group's values in order, and how often each is there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, ListArray, PrimitiveArray, downcast_primitive};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeTypeOp, ArrowPrimitiveType, DataType, Field, Int64Type};

use super::extreme::Extreme;
use super::{argument_type, saved};
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::operators::aggregate::accumulator::{Absent, GroupAccumulator, Input, argument_nulls};

pub fn create(call: &AggregateCall, extreme: Extreme) -> Option<Box<dyn GroupAccumulator>> {
    let data_type = argument_type(call);
    if data_type != *call.output.data_type() {
        return None;
    }
    macro_rules! numbers {
        ($type:ty, $data_type:expr) => {
            return Some(Multisets::<Numbers<$type>>::boxed(extreme, $data_type.clone()))
        };
    }
    downcast_primitive! {
        data_type => (numbers, data_type),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary => {
            return Some(Multisets::<Texts>::boxed(extreme, data_type));
        }
        _ => {}
    }
    None
}

/// How values of a column are kept.
trait Kind: Send + 'static {
    type Value: Ord + Clone + Send;

    /// A column in the form that [`Kind::value`] takes values from.
    fn readable(column: &ArrayRef) -> Result<ArrayRef>;
    fn value(column: &ArrayRef, row: usize) -> Self::Value;
    fn column(values: impl Iterator<Item = Option<Self::Value>>, data_type: &DataType) -> Result<ArrayRef>;
    /// Bytes held beside the value itself.
    fn extra_bytes(value: &Self::Value) -> usize;
}

/// Numbers and times. NaN is larger than every number.
struct Numbers<T>(PhantomData<fn() -> T>);

/// A number in its total order.
#[derive(Clone, Copy)]
struct Ordered<N>(N);

impl<N: ArrowNativeTypeOp> PartialEq for Ordered<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_eq(other.0)
    }
}

impl<N: ArrowNativeTypeOp> Eq for Ordered<N> {}

impl<N: ArrowNativeTypeOp> PartialOrd for Ordered<N> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<N: ArrowNativeTypeOp> Ord for Ordered<N> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.compare(other.0)
    }
}

impl<T: ArrowPrimitiveType> Kind for Numbers<T> {
    type Value = Ordered<T::Native>;

    fn readable(column: &ArrayRef) -> Result<ArrayRef> {
        match column.as_primitive_opt::<T>() {
            Some(_) => Ok(column.clone()),
            None => Err(InternalError::new(format!("a multiset was given {}", column.data_type())).into()),
        }
    }

    #[inline]
    fn value(column: &ArrayRef, row: usize) -> Self::Value {
        Ordered(column.as_primitive::<T>().value(row))
    }

    fn column(values: impl Iterator<Item = Option<Self::Value>>, data_type: &DataType) -> Result<ArrayRef> {
        let array: PrimitiveArray<T> = values.map(|value| value.map(|value| value.0)).collect();
        Ok(Arc::new(array.with_data_type(data_type.clone())))
    }

    fn extra_bytes(_: &Self::Value) -> usize {
        0
    }
}

/// Texts and bytes.
struct Texts;

impl Kind for Texts {
    type Value = Box<[u8]>;

    fn readable(column: &ArrayRef) -> Result<ArrayRef> {
        Ok(cast(column, &DataType::Binary)?)
    }

    fn value(column: &ArrayRef, row: usize) -> Self::Value {
        column.as_binary::<i32>().value(row).into()
    }

    fn column(values: impl Iterator<Item = Option<Self::Value>>, data_type: &DataType) -> Result<ArrayRef> {
        let array: BinaryArray = values.collect();
        Ok(cast(&array, data_type)?)
    }

    fn extra_bytes(value: &Self::Value) -> usize {
        value.len()
    }
}

/// For each group its values.
struct Multisets<K: Kind> {
    extreme: Extreme,
    data_type: DataType,
    groups: Vec<BTreeMap<K::Value, u32>>,
    /// About how many nodes the trees have, and the bytes of their values beside themselves.
    nodes: usize,
    extra_bytes: usize,
}

/// How many values a node of a tree has room for, and about how many it has.
const NODE_ROOM: usize = 11;
const NODE_VALUES: usize = 7;

/// About how many nodes a tree of so many values has.
fn nodes(values: usize) -> usize {
    match values {
        0 => 0,
        1..=NODE_ROOM => 1,
        _ => values.div_ceil(NODE_VALUES) + values / (NODE_VALUES * NODE_VALUES),
    }
}

impl<K: Kind> Multisets<K> {
    fn boxed(extreme: Extreme, data_type: DataType) -> Box<dyn GroupAccumulator> {
        Box::new(Multisets::<K> { extreme, data_type, groups: vec![], nodes: 0, extra_bytes: 0 })
    }

    fn change(&mut self, group: usize, value: K::Value, weight: i64, absent: Absent) -> Result<()> {
        let values = self.groups[group].len();
        match (self.groups[group].entry(value), weight > 0) {
            (Entry::Vacant(entry), true) => {
                self.nodes = self.nodes + nodes(values + 1) - nodes(values);
                self.extra_bytes += K::extra_bytes(entry.key());
                entry.insert(1);
            }
            (Entry::Vacant(_), false) => return absent.check(),
            (Entry::Occupied(mut entry), true) => *entry.get_mut() += 1,
            (Entry::Occupied(mut entry), false) => {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    let (value, _) = entry.remove_entry();
                    self.nodes = self.nodes + nodes(values - 1) - nodes(values);
                    self.extra_bytes -= K::extra_bytes(&value);
                }
            }
        }
        Ok(())
    }
}

impl<K: Kind> GroupAccumulator for Multisets<K> {
    fn grow(&mut self, slots: usize) {
        self.groups.resize_with(slots.max(self.groups.len()), BTreeMap::new);
    }

    fn update(&mut self, input: &Input<'_>) -> Result<()> {
        let column = K::readable(saved(input.arguments, 0)?)?;
        input.each(argument_nulls(input), |row, group, weight| {
            self.change(group, K::value(&column, row), weight, input.absent)
        })
    }

    fn update_running(&mut self, input: &Input<'_>, _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        super::running_by_reading(self, input)
    }

    fn read(&mut self, groups: &[u32], _: &ScalarBuffer<i64>) -> Result<ArrayRef> {
        let value = |group: &u32| {
            let values = &self.groups[*group as usize];
            let end = match self.extreme {
                Extreme::Min => values.first_key_value(),
                Extreme::Max => values.last_key_value(),
            };
            end.map(|(value, _)| value.clone())
        };
        K::column(groups.iter().map(value), &self.data_type)
    }

    fn reset(&mut self, groups: &[u32]) {
        for group in groups {
            let values = std::mem::take(&mut self.groups[*group as usize]);
            self.nodes -= nodes(values.len());
            self.extra_bytes -= values.keys().map(K::extra_bytes).sum::<usize>();
        }
    }

    fn retracts(&self) -> bool {
        true
    }

    fn save(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sets = || groups.iter().map(|group| &self.groups[*group as usize]);
        let offsets = || OffsetBuffer::from_lengths(sets().map(BTreeMap::len));
        let values = K::column(sets().flat_map(|set| set.keys().cloned().map(Some)), &self.data_type)?;
        let counts: Int64Array = sets().flat_map(|set| set.values().map(|count| i64::from(*count))).collect();
        let list = |values: ArrayRef| -> Result<ArrayRef> {
            let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            Ok(Arc::new(ListArray::try_new(field, offsets(), values, None)?))
        };
        Ok(vec![list(values)?, list(Arc::new(counts))?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let list = |index| -> Result<&ListArray> {
            let missing = || InternalError::new("a saved multiset is no list");
            Ok(saved(columns, index)?.as_list_opt::<i32>().ok_or_else(missing)?)
        };
        let (values, counts) = (list(0)?, list(1)?);
        for (row, group) in groups.iter().enumerate() {
            let (values, counts) = (K::readable(&values.value(row))?, counts.value(row));
            let counts = counts.as_primitive::<Int64Type>();
            for (at, count) in counts.values().iter().enumerate() {
                let value = K::value(&values, at);
                self.extra_bytes += K::extra_bytes(&value);
                self.groups[*group as usize].insert(value, *count as u32);
            }
            self.nodes += nodes(counts.len());
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let node = NODE_ROOM * (size_of::<K::Value>() + size_of::<u32>()) + 2 * size_of::<usize>();
        let groups = self.groups.capacity() * size_of::<BTreeMap<K::Value, u32>>();
        groups + self.nodes * node + self.extra_bytes
    }
}
