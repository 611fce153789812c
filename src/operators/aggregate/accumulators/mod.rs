//! The aggregate functions that have a columnar form of their own, a file each, and the adapter for the rest.

mod adapter;
mod afresh;
mod average;
mod boolean;
mod count;
mod distinct;
mod extreme;
mod floats;
mod fold;
mod kept;
mod lists;
mod missing;
mod multiset;
mod number_lists;
mod ordered;
mod pairs;
mod replayed;
mod strings;
mod sum;
mod variance;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int64Type};

pub use distinct::Distinct;

use afresh::Afresh;

use super::accumulator::GroupAccumulator;
use crate::error::{InternalError, Result};
use crate::expr::AggregateCall;
use crate::plan::node::ChangelogMode;

/// An accumulator for a call.
pub struct Created {
    pub accumulator: Box<dyn GroupAccumulator>,
    /// Whether it has to be given each value of a group once, because the call says `DISTINCT` and it does not know.
    pub distinct: bool,
}

impl Created {
    fn new(accumulator: Box<dyn GroupAccumulator>) -> Created {
        Created { accumulator, distinct: false }
    }

    fn retracts(&self) -> bool {
        self.accumulator.retracts() && !self.distinct
    }
}

/// The accumulator for a call: our own where there is one for its types, else DataFusion's, one a group.
/// Over rows that may be taken back, one that cannot do that is given the rows that are left.
pub fn create(call: &AggregateCall, mode: ChangelogMode) -> Result<Created> {
    let retracting = match mode {
        ChangelogMode::AppendOnly => None,
        ChangelogMode::Changelog => retracting(call)?,
    };
    if let Some(accumulator) = retracting {
        return Ok(Created::new(accumulator));
    }
    let created = whole(call, mode)?;
    if mode == ChangelogMode::AppendOnly || created.retracts() {
        return Ok(created);
    }
    let inner = Afresh::new(call, whole(call, ChangelogMode::AppendOnly)?)?;
    Ok(Created::new(Box::new(replayed::Replayed::new(call, inner)?)))
}

/// The accumulator for a call over rows that are only added, of groups that can be merged: where it cannot do that
/// itself, because the order of the rows matters to it, the rows of each group are kept until it is asked for.
pub fn create_merging(call: &AggregateCall) -> Result<Created> {
    let created = whole(call, ChangelogMode::AppendOnly)?;
    match created.accumulator.merges() {
        true => Ok(created),
        false => Ok(Created::new(Box::new(kept::Kept::new(call, Afresh::new(call, created)?)?))),
    }
}

/// Whether a call gives the same whatever the order of the rows, and can be put together from parts of them.
pub fn is_unordered(call: &AggregateCall) -> Result<bool> {
    match call.function.as_ref() {
        "first_value" | "last_value" => Ok(false),
        _ => Ok(whole(call, ChangelogMode::AppendOnly)?.accumulator.merges()),
    }
}

/// Whether a call keeps the values of each group only because rows may be taken back.
pub fn keeps_values(call: &AggregateCall) -> Result<bool> {
    Ok(retracting(call)?.is_some() || !whole(call, ChangelogMode::Changelog)?.retracts())
}

/// What has a form of its own over rows that may be taken back.
fn retracting(call: &AggregateCall) -> Result<Option<Box<dyn GroupAccumulator>>> {
    Ok(match call.function.as_ref() {
        "min" => multiset::create(call, extreme::Extreme::Min),
        "max" => multiset::create(call, extreme::Extreme::Max),
        _ => None,
    })
}

fn whole(call: &AggregateCall, mode: ChangelogMode) -> Result<Created> {
    let repeats_matter = match call.function.as_ref() {
        "first_value" | "last_value" | "min" | "max" | "bool_and" | "bool_or" => false,
        _ => call.distinct,
    };
    // DataFusion says which orders go with DISTINCT, and sorts by them.
    let own = if repeats_matter && !call.order_by.is_empty() { None } else { plain(call, mode)? };
    Ok(match own {
        Some(accumulator) => Created { accumulator, distinct: repeats_matter },
        None => Created::new(Box::new(adapter::Adapter::new(call.clone())?)),
    })
}

/// The columnar form of a call without its DISTINCT.
fn plain(call: &AggregateCall, mode: ChangelogMode) -> Result<Option<Box<dyn GroupAccumulator>>> {
    Ok(match call.function.as_ref() {
        "count" if call.arguments.len() <= 1 => Some(Box::new(count::Count::default())),
        "array_agg" => match number_lists::create(call) {
            Some(lists) => Some(lists),
            None => Some(Box::new(lists::Lists::new(call)?)),
        },
        "first_value" => Some(Box::new(ordered::Picked::new(call, ordered::Pick::First)?)),
        "last_value" => Some(Box::new(ordered::Picked::new(call, ordered::Pick::Last)?)),
        "min" => extreme::create(call, extreme::Extreme::Min)?,
        "max" => extreme::create(call, extreme::Extreme::Max)?,
        "bool_and" => Some(Box::new(boolean::Both::new(boolean::Connective::And))),
        "bool_or" => Some(Box::new(boolean::Both::new(boolean::Connective::Or))),
        "sum" => sum::create(call, mode),
        "avg" => average::create(call, mode),
        "var" | "var_pop" | "stddev" | "stddev_pop" => variance::create(call),
        "string_agg" if call.order_by.is_empty() => strings::create(call)?,
        _ => pairs::create(call),
    })
}

/// The first argument's type.
pub fn argument_type(call: &AggregateCall) -> DataType {
    call.arguments.first().map_or(DataType::Null, |argument| argument.data_type().clone())
}

/// The values of a column of numbers of type `T`.
fn values<T: ArrowPrimitiveType>(array: &dyn Array) -> Result<&[T::Native]> {
    match array.as_primitive_opt::<T>() {
        Some(array) => Ok(array.values()),
        None => {
            Err(InternalError::new(format!("an aggregate of {} was given {}", T::DATA_TYPE, array.data_type())).into())
        }
    }
}

/// A column of numbers as an array of the type that is asked for.
fn numbers<T: ArrowPrimitiveType>(values: impl Iterator<Item = Option<T::Native>>, data_type: &DataType) -> ArrayRef {
    let array: PrimitiveArray<T> = values.collect();
    Arc::new(array.with_data_type(data_type.clone()))
}

fn integers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(PrimitiveArray::<Int64Type>::from_iter_values(values))
}

/// Column `index` of a saved state.
fn saved(columns: &[ArrayRef], index: usize) -> Result<&ArrayRef> {
    columns.get(index).ok_or_else(|| InternalError::new("a saved aggregate misses a column").into())
}

/// Reads group after group: the default way to answer row by row where a value cannot be told cheaply.
fn running_by_reading(
    accumulator: &mut dyn GroupAccumulator,
    input: &super::accumulator::Input<'_>,
) -> Result<ArrayRef> {
    // Who reads instead of counting does not ask for the counts.
    let unknown = ScalarBuffer::default();
    let mut said = Vec::with_capacity(input.groups.len());
    for row in 0..input.groups.len() {
        let arguments: Vec<ArrayRef> = input.arguments.iter().map(|argument| argument.slice(row, 1)).collect();
        let selection = input.selection.map(|selection| selection.slice(row, 1));
        let one = super::accumulator::Input {
            groups: &input.groups[row..=row],
            arguments: &arguments,
            selection: selection.as_ref(),
            kinds: None,
            absent: input.absent,
        };
        accumulator.update(&one)?;
        said.push(accumulator.read(one.groups, &unknown)?);
    }
    if said.is_empty() {
        return accumulator.read(&[], &unknown);
    }
    let said: Vec<&dyn Array> = said.iter().map(|array| array.as_ref()).collect();
    Ok(arrow::compute::concat(&said)?)
}
