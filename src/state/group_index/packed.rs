//! Several key columns, numbers and texts, packed into one byte string a row.
//!
//! ```text
//! 'EWR', 7   ->   4 0 0 0 E W R | 1 7 0 0 0 0 0 0 0      a text after its length plus one, a number after a one
//! NULL,  7   ->   0 0 0 0       | 1 7 0 0 0 0 0 0 0      NULL is a zero
//! ```
//!
//! Arrow's row format also sorts, which nobody asks of a key here; without that, packing costs a third.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BinaryViewArray, LargeBinaryArray, LargeStringArray,
    StringArray, StringViewArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::bytes::{ByteKeys, SHORT};
use super::fixed;
use super::slots::Slots;
use crate::error::{InternalError, Result};

/// The bytes of a number, and of a text's length.
const WORD: usize = 8;
const LENGTH: usize = 4;

/// How many keys are made ready before the first is looked up.
const AHEAD: usize = 64;

/// Packed keys by group.
pub(super) struct PackedKeys {
    pub keys: ByteKeys,
    row: Vec<u8>,
}

/// The values of a key column as they are packed.
enum Column<'a> {
    Words(ScalarBuffer<u64>, Option<&'a NullBuffer>),
    Utf8(&'a StringArray),
    Utf8View(&'a StringViewArray),
    LargeUtf8(&'a LargeStringArray),
    Binary(&'a BinaryArray),
    BinaryView(&'a BinaryViewArray),
    LargeBinary(&'a LargeBinaryArray),
}

impl PackedKeys {
    /// Keys of columns of those types, if they can be packed.
    pub fn of(types: &[DataType]) -> Option<PackedKeys> {
        let packs = |key: &DataType| fixed::is_word(key) || super::is_text(key);
        types.iter().all(packs).then(|| PackedKeys { keys: ByteKeys::default(), row: vec![] })
    }

    /// Appends the group of each of `rows` rows.
    pub fn intern(&mut self, keys: &[ArrayRef], rows: usize, slots: &mut Slots, groups: &mut Vec<u32>) -> Result<()> {
        let columns = keys.iter().map(Column::of).collect::<Result<Vec<_>>>()?;
        let mut ready = Ready::default();
        let mut shorts = Vec::with_capacity(AHEAD);
        for start in (0..rows).step_by(AHEAD) {
            // Keys are made ready some at a time, so that the looks into the table wait for memory together.
            let rows = start..rows.min(start + AHEAD);
            ready.clear(rows.len());
            columns.iter().for_each(|column| column.ready(rows.clone(), &mut ready));
            let short = |at| ready.get(at).map(|(key, length)| self.keys.short(key, length));
            shorts.clear();
            shorts.extend((0..rows.len()).map(short));
            for (row, short) in rows.zip(&shorts) {
                groups.push(match short {
                    Some(short) => self.keys.intern_short(short, slots),
                    None => self.intern_long(&columns, row, slots),
                });
            }
        }
        Ok(())
    }

    fn intern_long(&mut self, columns: &[Column<'_>], row: usize, slots: &mut Slots) -> u32 {
        self.row.clear();
        columns.iter().for_each(|column| column.pack(row, &mut self.row));
        self.keys.intern_one(&self.row, slots)
    }

    /// The key columns of `groups`.
    pub fn arrays(&self, types: &[DataType], groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut rests: Vec<&[u8]> = groups.iter().map(|group| self.keys.get(*group).unwrap_or_default()).collect();
        let column = |to: &DataType| match fixed::is_word(to) {
            true => unpack_words(to, &mut rests),
            false => unpack_texts(to, &mut rests),
        };
        types.iter().map(column).collect()
    }
}

/// Packed keys of some rows that never touch memory, while they fit into two words: the first byte is the lowest.
#[derive(Default)]
struct Ready {
    keys: Vec<u128>,
    lengths: Vec<usize>,
}

impl Ready {
    /// The keys of `rows` rows, empty.
    fn clear(&mut self, rows: usize) {
        self.keys.clear();
        self.keys.resize(rows, 0);
        self.lengths.clear();
        self.lengths.resize(rows, 0);
    }

    /// Puts a part of `bytes` bytes behind the key of row `at`.
    #[inline]
    fn push(&mut self, at: usize, part: u128, bytes: usize) {
        let length = &mut self.lengths[at];
        if *length < SHORT {
            self.keys[at] |= part << (8 * *length);
        }
        *length += bytes;
    }

    /// The key of row `at`, unless it is too long or too short for it.
    #[inline]
    fn get(&self, at: usize) -> Option<(u128, usize)> {
        let length = self.lengths[at];
        (WORD..=SHORT).contains(&length).then(|| (self.keys[at], length))
    }
}

/// Up to eight bytes as a number, the first one lowest.
#[inline]
fn number(bytes: &[u8]) -> Option<u64> {
    let half = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)));
    match bytes {
        [a, b, c, d, e, f, g, h] => Some(u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        [_, _, _, _, ..] if bytes.len() < WORD => {
            Some(half(bytes.first_chunk()) | half(bytes.last_chunk()) << (8 * (bytes.len() - 4)))
        }
        [a, b, c] => Some(u64::from(*a) | u64::from(*b) << 8 | u64::from(*c) << 16),
        [a, b] => Some(u64::from(*a) | u64::from(*b) << 8),
        [a] => Some(u64::from(*a)),
        [] => Some(0),
        _ => None,
    }
}

impl<'a> Column<'a> {
    fn of(array: &'a ArrayRef) -> Result<Column<'a>> {
        Ok(match array.data_type() {
            DataType::Utf8 => Column::Utf8(array.as_string()),
            DataType::Utf8View => Column::Utf8View(array.as_string_view()),
            DataType::LargeUtf8 => Column::LargeUtf8(array.as_string()),
            DataType::Binary => Column::Binary(array.as_binary()),
            DataType::BinaryView => Column::BinaryView(array.as_binary_view()),
            DataType::LargeBinary => Column::LargeBinary(array.as_binary()),
            other if fixed::is_word(other) => {
                Column::Words(fixed::words(array), array.nulls().filter(|nulls| nulls.null_count() > 0))
            }
            other => return Err(InternalError::new(format!("a key of type {other} cannot be packed")).into()),
        })
    }

    /// What [`Column::pack`] writes for `rows`, put behind the keys that are being made ready.
    fn ready(&self, rows: Range<usize>, ready: &mut Ready) {
        match self {
            Column::Words(words, nulls) => {
                for (at, row) in rows.enumerate() {
                    match nulls {
                        Some(nulls) if nulls.is_null(row) => ready.push(at, 0, 1),
                        _ => ready.push(at, 1 | u128::from(words[row]) << 8, 1 + WORD),
                    }
                }
            }
            Column::Utf8(texts) => ready_texts(rows, ready, |row| texts.is_valid(row).then(|| texts.value(row))),
            Column::Utf8View(texts) => ready_texts(rows, ready, |row| texts.is_valid(row).then(|| texts.value(row))),
            Column::LargeUtf8(_) | Column::Binary(_) | Column::BinaryView(_) | Column::LargeBinary(_) => {
                (0..rows.len()).for_each(|at| ready.push(at, 0, SHORT + 1));
            }
        }
    }

    #[inline]
    fn pack(&self, row: usize, to: &mut Vec<u8>) {
        match self {
            Column::Words(_, Some(nulls)) if nulls.is_null(row) => to.push(0),
            Column::Words(words, _) => {
                to.push(1);
                to.extend_from_slice(&words[row].to_le_bytes());
            }
            Column::Utf8(texts) => pack_text(texts.is_valid(row).then(|| texts.value(row).as_bytes()), to),
            Column::Utf8View(texts) => pack_text(texts.is_valid(row).then(|| texts.value(row).as_bytes()), to),
            Column::LargeUtf8(texts) => pack_text(texts.is_valid(row).then(|| texts.value(row).as_bytes()), to),
            Column::Binary(texts) => pack_text(texts.is_valid(row).then(|| texts.value(row)), to),
            Column::BinaryView(texts) => pack_text(texts.is_valid(row).then(|| texts.value(row)), to),
            Column::LargeBinary(texts) => pack_text(texts.is_valid(row).then(|| texts.value(row)), to),
        }
    }
}

#[inline]
fn ready_texts<'t>(rows: Range<usize>, ready: &mut Ready, text: impl Fn(usize) -> Option<&'t str>) {
    for (at, row) in rows.enumerate() {
        match text(row).map(|text| (text.len(), number(text.as_bytes()))) {
            None => ready.push(at, 0, LENGTH),
            Some((length, Some(text))) => {
                ready.push(at, u128::from(length as u32 + 1) | u128::from(text) << (8 * LENGTH), LENGTH + length);
            }
            Some((_, None)) => ready.push(at, 0, SHORT + 1),
        }
    }
}

#[inline]
fn pack_text(text: Option<&[u8]>, to: &mut Vec<u8>) {
    let Some(text) = text else { return to.extend_from_slice(&[0; 4]) };
    to.extend_from_slice(&(text.len() as u32).wrapping_add(1).to_le_bytes());
    to.extend_from_slice(text);
}

/// The next number of each row.
fn unpack_words(to: &DataType, rests: &mut [&[u8]]) -> Result<ArrayRef> {
    let mut words = Vec::with_capacity(rests.len());
    let mut valid = Vec::with_capacity(rests.len());
    for rest in rests {
        let there = rest.split_off_first().is_some_and(|flag| *flag == 1);
        let word = if there { rest.split_off(..8) } else { None };
        let bytes = word.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        words.push(bytes.map_or(0, u64::from_le_bytes));
        valid.push(there);
    }
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    fixed::word_array(to, &words, nulls)
}

/// The next text of each row.
fn unpack_texts(to: &DataType, rests: &mut [&[u8]]) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::with_capacity(rests.len(), 0);
    for rest in rests {
        let length = rest.split_off(..4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_le_bytes);
        let length = length.and_then(|length| length.checked_sub(1));
        builder.append_option(length.and_then(|length| rest.split_off(..length as usize)));
    }
    let texts: ArrayRef = Arc::new(builder.finish());
    Ok(cast(&texts, to)?)
}
