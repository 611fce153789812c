//! From key to dense group number.

mod bytes;
mod dense;
mod dictionary;
mod fixed;
mod packed;
mod slots;
mod words;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, downcast_primitive_array};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType};
use arrow::row::{RowConverter, SortField};

use crate::error::{Code, Result, StatementError};

use bytes::ByteKeys;
use dictionary::Dictionary;
use fixed::{FixedKeys, Packed};
use packed::PackedKeys;
use slots::Slots;
use words::WordKeys;

/// Numbers the distinct keys it has seen: dense `u32` slots, reused after [`GroupIndex::remove`].
///
/// Specialised by the key's types: none, one fixed-width column, one string column, two fixed-width columns,
/// several of fixed width and strings, Arrow's row format for the rest. NULL is a key like any other; -0.0 and 0.0 are one key, and all NaN are one key.
pub struct GroupIndex {
    types: Vec<DataType>,
    keys: Keys,
    slots: Slots,
}

/// The keys by group, in the form that suits their types.
enum Keys {
    /// No key columns: one group for all rows.
    Nothing,
    /// One column of at most eight bytes.
    Word(WordKeys),
    /// One column of sixteen bytes.
    DoubleWord(FixedKeys<u128>),
    /// Two columns of at most eight bytes each.
    Pair(FixedKeys<Packed>),
    /// One column of strings or bytes, or of numbers into a dictionary of them.
    Text(ByteKeys, Dictionary),
    /// Several columns of at most eight bytes, strings or bytes.
    Packed(PackedKeys),
    /// Whatever else there is, in Arrow's row format.
    Rows(RowConverter, ByteKeys),
}

impl GroupIndex {
    /// An empty index over key columns of those types.
    pub fn new(types: &[DataType]) -> Result<GroupIndex> {
        Ok(GroupIndex { types: types.to_vec(), keys: Keys::for_types(types)?, slots: Slots::default() })
    }

    /// The group of each of `rows` rows, a new one where the key is new. `groups` is cleared first.
    pub fn intern(&mut self, keys: &[ArrayRef], rows: usize, groups: &mut Vec<u32>) -> Result<()> {
        self.intern_ahead(keys, rows, groups, |_| {})
    }

    /// As [`GroupIndex::intern`], and tells `ahead` the groups of some rows at a time while it goes on, for what there is
    /// of them to be fetched meanwhile. Only keys that are found faster than memory answers are worth it: those of one
    /// column of at most eight bytes. Of others nothing is told.
    pub fn intern_ahead(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        groups: &mut Vec<u32>,
        ahead: impl FnMut(&[u32]),
    ) -> Result<()> {
        groups.clear();
        groups.reserve(rows);
        let slots = &mut self.slots;
        match (&mut self.keys, keys) {
            (Keys::Nothing, _) if rows > 0 => groups.resize(rows, slots.only()),
            (Keys::Nothing, _) => {}
            (Keys::Word(index), [key]) => index.intern(&fixed::words(key), key.nulls(), slots, groups, ahead),
            (Keys::DoubleWord(index), [key]) => index.intern(&fixed::double_words(key), key.nulls(), slots, groups),
            (Keys::Pair(index), [left, right]) => index.intern(&fixed::pairs(left, right), None, slots, groups),
            (Keys::Text(index, dictionary), [key]) => match dictionary::numbered(key) {
                Some(key) => dictionary.intern(key, index, slots, groups),
                None => intern_text(index, key, slots, groups)?,
            },
            (Keys::Packed(index), keys) => index.intern(keys, rows, slots, groups)?,
            (Keys::Rows(converter, index), keys) => {
                let keys = keys.iter().map(fixed::canonical).collect::<Vec<_>>();
                let rows = converter.convert_columns(&keys)?;
                index.intern(rows.iter().map(|row| Some(row.data())), slots, groups);
            }
            (Keys::Word(_) | Keys::DoubleWord(_) | Keys::Pair(_) | Keys::Text(..), _) => {
                return Err(
                    crate::error::InternalError::new("a group index got other keys than it was built for").into()
                );
            }
        }
        Ok(())
    }

    /// The key columns of `groups`.
    pub fn keys(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(match &self.keys {
            Keys::Nothing => vec![],
            Keys::Word(index) => vec![fixed::word_array(&self.types[0], index.words(groups), index.nulls(groups))?],
            Keys::DoubleWord(index) => {
                vec![fixed::double_word_array(&self.types[0], index.words(groups), index.nulls(groups))?]
            }
            Keys::Pair(index) => fixed::pair_arrays(&self.types, &index.words(groups))?,
            Keys::Text(index, _) => vec![cast(&index.array(groups), &self.types[0])?],
            Keys::Packed(index) => index.arrays(&self.types, groups)?,
            Keys::Rows(converter, index) => {
                let rows = groups.iter().map(|group| index.get(*group).unwrap_or_default());
                decoded(converter, &self.types, rows)?
            }
        })
    }

    /// The bits of the keys of `groups`, in an index over one column of numbers; in others nothing.
    pub fn words(&self, groups: &[u32]) -> Vec<u64> {
        match &self.keys {
            Keys::Word(index) => index.words(groups),
            _ => vec![],
        }
    }

    /// The key of a group, a column a part; no columns for no group.
    pub fn key_of(&self, group: Option<u32>) -> Vec<ArrayRef> {
        group.and_then(|group| self.keys(&[group]).ok()).unwrap_or_default()
    }

    /// Forgets `groups`; their numbers may be given to other keys.
    pub fn remove(&mut self, groups: &[u32]) {
        if let Keys::Text(_, dictionary) = &mut self.keys {
            dictionary.forget();
        }
        for group in groups.iter().copied() {
            if !self.slots.release(group) {
                continue;
            }
            match &mut self.keys {
                Keys::Nothing => {}
                Keys::Word(index) => index.remove(group),
                Keys::DoubleWord(index) => index.remove(group),
                Keys::Pair(index) => index.remove(group),
                Keys::Packed(index) => index.remove(group),
                Keys::Text(index, _) | Keys::Rows(_, index) => index.remove(group),
            }
        }
    }

    /// Forgets every group and gives the memory back.
    pub fn clear(&mut self) {
        match &mut self.keys {
            Keys::Nothing => {}
            Keys::Word(index) => *index = WordKeys::default(),
            Keys::DoubleWord(index) => *index = FixedKeys::default(),
            Keys::Pair(index) => *index = FixedKeys::default(),
            Keys::Packed(index) => index.keys = ByteKeys::default(),
            Keys::Text(index, dictionary) => (*index, *dictionary) = Default::default(),
            Keys::Rows(_, index) => *index = ByteKeys::default(),
        }
        self.slots = Slots::default();
    }

    /// The live groups, in the order in which they first appeared (a group that was removed and seen again is new).
    pub fn groups_in_order(&self) -> Vec<u32> {
        self.slots.in_order()
    }

    /// A number for each of `groups` that grows with the order of first appearance: what a snapshot keeps of that order.
    pub fn sequence(&self, groups: &[u32]) -> Vec<u64> {
        groups.iter().map(|group| self.slots.sequence(*group)).collect()
    }

    /// Gives `groups` their places in the order of first appearance back.
    pub fn set_sequence(&mut self, groups: &[u32], sequence: &[u64]) {
        for (group, sequence) in groups.iter().zip(sequence) {
            self.slots.set_sequence(*group, *sequence);
        }
    }

    /// Puts `group` at the end of the order of first appearance, as if it had been removed and seen again.
    pub fn move_to_end(&mut self, group: u32) {
        self.slots.move_to_end(group);
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the largest group number in use: the length of arrays by group.
    pub fn slots(&self) -> usize {
        self.slots.slots()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let keys = match &self.keys {
            Keys::Nothing => 0,
            Keys::Word(index) => index.bytes(),
            Keys::DoubleWord(index) => index.bytes(),
            Keys::Pair(index) => index.bytes(),
            Keys::Text(index, dictionary) => index.bytes() + dictionary.bytes(),
            Keys::Packed(index) => index.keys.bytes(),
            Keys::Rows(converter, index) => converter.size() + index.bytes(),
        };
        keys + self.slots.bytes()
    }
}

impl Keys {
    fn for_types(types: &[DataType]) -> Result<Keys> {
        Ok(match types {
            [] => Keys::Nothing,
            [key] if fixed::is_word(key) => Keys::Word(WordKeys::default()),
            [DataType::Decimal128(_, _)] => Keys::DoubleWord(FixedKeys::default()),
            [left, right] if fixed::is_word(left) && fixed::is_word(right) => Keys::Pair(FixedKeys::default()),
            [key] if is_text(key) => Keys::Text(ByteKeys::default(), Dictionary::default()),
            types => match PackedKeys::of(types) {
                Some(keys) => Keys::Packed(keys),
                None => Keys::Rows(row_converter(types)?, ByteKeys::default()),
            },
        })
    }
}

/// A column with its values as an index gives them back: a float column with one zero and one NaN.
pub(crate) fn canonical(column: &ArrayRef) -> ArrayRef {
    fixed::canonical(column)
}

/// Turns rows of those types into bytes that are equal, and ordered, as the rows are.
pub(crate) fn row_converter(types: &[DataType]) -> Result<RowConverter> {
    let fields = types.iter().map(|key| SortField::new(key.clone())).collect::<Vec<_>>();
    if let Some(key) = types.iter().find(|key| !RowConverter::supports_fields(&[SortField::new((*key).clone())])) {
        let error = StatementError::new(Code::Type, format!("values of type {key} cannot be a key"));
        return Err(error.hint("Take a part of the value, or cast it to VARCHAR.").into());
    }
    Ok(RowConverter::new(fields)?)
}

/// The columns of rows that were turned into bytes.
pub(crate) fn decoded<'a>(
    converter: &RowConverter,
    types: &[DataType],
    rows: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<ArrayRef>> {
    let parser = converter.parser();
    let columns = converter.convert_rows(rows.map(|row| parser.parse(row)))?;
    columns.iter().zip(types).map(|(column, to)| Ok(zeroed(&cast(column, to)?))).collect()
}

fn is_text(key: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    matches!(key, Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView)
}

fn intern_text(index: &mut ByteKeys, key: &ArrayRef, slots: &mut Slots, groups: &mut Vec<u32>) -> Result<()> {
    match key.data_type() {
        DataType::Utf8 => {
            index.intern(key.as_string::<i32>().iter().map(|text| text.map(str::as_bytes)), slots, groups)
        }
        DataType::Utf8View => {
            index.intern(key.as_string_view().iter().map(|text| text.map(str::as_bytes)), slots, groups)
        }
        DataType::Binary => index.intern(key.as_binary::<i32>().iter(), slots, groups),
        DataType::BinaryView => index.intern(key.as_binary_view().iter(), slots, groups),
        _ => index.intern(cast(key, &DataType::LargeBinary)?.as_binary::<i64>().iter(), slots, groups),
    }
    Ok(())
}

/// A column with zeros where it is NULL: the row format leaves anything there, and some functions compute with it.
fn zeroed(column: &ArrayRef) -> ArrayRef {
    if column.null_count() == 0 {
        return column.clone();
    }
    downcast_primitive_array! {
        column => zeroed_values(column),
        _ => column.clone(),
    }
}

fn zeroed_values<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>) -> ArrayRef {
    let values: PrimitiveArray<T> = column.iter().collect();
    Arc::new(values.with_data_type(column.data_type().clone()))
}

#[cfg(test)]
mod tests;
