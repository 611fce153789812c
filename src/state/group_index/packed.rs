//! Several key columns, numbers and texts, packed into one byte string a row.
//!
//! ```text
//! 'EWR', 7   ->   4 0 0 0 E W R | 1 7 0 0 0 0 0 0 0      a text after its length plus one, a number after a one
//! NULL,  7   ->   0 0 0 0       | 1 7 0 0 0 0 0 0 0      NULL is a zero
//! ```
//!
//! Arrow's row format also sorts, which nobody asks of a key here; without that, packing costs a third.
//! Most keys are two columns of numbers and short texts: those are looked up by a word of each, and only packed when
//! they are new.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BinaryViewArray, GenericByteArray, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, ByteArrayType, DataType};

use super::bytes::{ByteKeys, Short};
use super::fixed;
use super::slots::Slots;
use crate::error::{InternalError, Result};

/// The bytes of a number, and of a text's length.
const WORD: usize = 8;
const LENGTH: usize = 4;

/// How many keys are made ready before the first is looked up.
const AHEAD: usize = 64;

/// The longest text that fits into a word with its length above it, and the word of NULL.
const SHORT_TEXT: usize = WORD - 1;
const NULL_TEXT: u64 = 8 << 56;

/// The tag of a row of two columns: a bit for each that is a NULL number, and this one if a text does not fit into a word.
/// A row that is packed nevertheless has more bytes than that, as [`Short`] asks for.
const LONG: u8 = 4;

/// Packed keys by group.
pub(super) struct PackedKeys {
    pub keys: ByteKeys,
    /// Which columns are texts.
    texts: Vec<bool>,
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
        let texts = types.iter().map(super::is_text).collect();
        types.iter().all(packs).then(|| PackedKeys { keys: ByteKeys::default(), texts, row: vec![] })
    }

    /// Appends the group of each of `rows` rows.
    pub fn intern(&mut self, keys: &[ArrayRef], rows: usize, slots: &mut Slots, groups: &mut Vec<u32>) -> Result<()> {
        let columns = keys.iter().map(Column::of).collect::<Result<Vec<_>>>()?;
        match &columns[..] {
            [left, right] => self.intern_pairs([left, right], rows, slots, groups),
            _ => groups.extend((0..rows).map(|row| {
                let key = pack(&columns, row, &mut self.row);
                self.keys.intern_one(key, slots)
            })),
        }
        Ok(())
    }

    /// Appends the group of each of `rows` rows of two columns, found by a word of each where both fit.
    fn intern_pairs(&mut self, columns: [&Column<'_>; 2], rows: usize, slots: &mut Slots, groups: &mut Vec<u32>) {
        let mut shorts = Vec::with_capacity(AHEAD);
        for start in (0..rows).step_by(AHEAD) {
            // Keys are made ready some at a time, so that the looks into the table wait for memory together.
            let rows = start..rows.min(start + AHEAD);
            let (mut words, mut tags) = ([[0; AHEAD]; 2], [0; AHEAD]);
            for (nth, column) in columns.iter().enumerate() {
                column.words(rows.clone(), &mut words[nth], &mut tags, 1 << nth);
            }
            let [left, right] = &words;
            let pairs = left.iter().zip(right).zip(&tags).take(rows.len());
            shorts.clear();
            shorts.extend(pairs.map(|((left, right), tag)| self.keys.short(*left, *right, *tag)));
            for (row, short) in rows.zip(&shorts) {
                let found = if short.tag & LONG == 0 { self.keys.find_short(short) } else { None };
                groups.push(found.unwrap_or_else(|| self.insert(columns, row, short, slots)));
            }
        }
    }

    /// The group of a key that is not there by its words.
    #[inline(never)]
    fn insert(&mut self, columns: [&Column<'_>; 2], row: usize, short: &Short, slots: &mut Slots) -> u32 {
        let key = pack(columns, row, &mut self.row);
        match short.tag & LONG {
            0 => self.keys.insert_short(short, key, slots),
            _ => self.keys.intern_one(key, slots),
        }
    }

    /// Forgets the key of `group`.
    pub fn remove(&mut self, group: u32) {
        match self.keys.get(group).and_then(|key| self.short(key)) {
            Some(short) => self.keys.remove_short(group, &short),
            None => self.keys.remove(group),
        }
    }

    /// The words of a packed key of two columns, if both fit.
    fn short(&self, mut key: &[u8]) -> Option<Short> {
        let [left, right] = self.texts[..] else { return None };
        let mut words = [0; 2];
        let mut tag = 0;
        for (nth, text) in [left, right].into_iter().enumerate() {
            match text {
                true => {
                    words[nth] = take_text(&mut key).map_or(Some(NULL_TEXT), |text| text_word(text, 0..text.len()))?
                }
                false => match take_word(&mut key) {
                    Some(word) => words[nth] = word,
                    None => tag |= 1 << nth,
                },
            }
        }
        let [left, right] = words;
        Some(self.keys.short(left, right, tag))
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

/// The packed key of a row.
fn pack<'a, 'c>(columns: impl IntoIterator<Item = &'c Column<'c>>, row: usize, to: &'a mut Vec<u8>) -> &'a [u8] {
    to.clear();
    columns.into_iter().for_each(|column| column.pack(row, to));
    to
}

/// A text of at most seven bytes, the first one lowest, with its length above them.
#[inline]
fn text_word(texts: &[u8], text: Range<usize>) -> Option<u64> {
    if text.len() > SHORT_TEXT {
        return None;
    }
    let bytes = match texts[text.start..].first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes) & !(u64::MAX << (8 * text.len())),
        None => texts[text.clone()].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    Some(bytes | (text.len() as u64) << 56)
}

/// [`text_word`] of a text that is in its view.
#[inline]
fn view_word(view: u128) -> Option<u64> {
    let length = view as u32;
    (length as usize <= SHORT_TEXT).then(|| (view >> 32) as u64 | u64::from(length) << 56)
}

/// The words of texts, as `word` gives them. That there is none, because the text is too long, is said in `tags`.
#[inline]
fn text_words(
    rows: Range<usize>,
    nulls: Option<&NullBuffer>,
    word: impl Fn(usize) -> Option<u64>,
    words: &mut [u64],
    tags: &mut [u8],
) {
    for ((row, to), tag) in rows.zip(words).zip(tags) {
        match nulls {
            Some(nulls) if nulls.is_null(row) => *to = NULL_TEXT,
            _ => match word(row) {
                Some(word) => *to = word,
                None => *tag |= LONG,
            },
        }
    }
}

/// The word of each text of an array that has them one after the other.
#[inline]
fn word_of<T: ByteArrayType>(texts: &GenericByteArray<T>) -> impl Fn(usize) -> Option<u64> + '_ {
    let (offsets, bytes) = (texts.value_offsets(), texts.value_data());
    move |row| text_word(bytes, offsets[row].as_usize()..offsets[row + 1].as_usize())
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

    /// The word of each of `rows`. In `tags` it is said where it is a NULL number, by `null`, and where there is none.
    fn words(&self, rows: Range<usize>, words: &mut [u64], tags: &mut [u8], null: u8) {
        match self {
            Column::Words(all, nulls) => {
                words[..rows.len()].copy_from_slice(&all[rows.clone()]);
                let Some(nulls) = nulls else { return };
                for ((row, word), tag) in rows.zip(words).zip(tags) {
                    if nulls.is_null(row) {
                        (*word, *tag) = (0, *tag | null);
                    }
                }
            }
            Column::Utf8(texts) => text_words(rows, texts.nulls(), word_of(texts), words, tags),
            Column::LargeUtf8(texts) => text_words(rows, texts.nulls(), word_of(texts), words, tags),
            Column::Binary(texts) => text_words(rows, texts.nulls(), word_of(texts), words, tags),
            Column::LargeBinary(texts) => text_words(rows, texts.nulls(), word_of(texts), words, tags),
            Column::Utf8View(texts) => {
                text_words(rows, texts.nulls(), |row| view_word(texts.views()[row]), words, tags);
            }
            Column::BinaryView(texts) => {
                text_words(rows, texts.nulls(), |row| view_word(texts.views()[row]), words, tags);
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
fn pack_text(text: Option<&[u8]>, to: &mut Vec<u8>) {
    let Some(text) = text else { return to.extend_from_slice(&[0; 4]) };
    to.extend_from_slice(&(text.len() as u32).wrapping_add(1).to_le_bytes());
    to.extend_from_slice(text);
}

/// The next number of a packed key.
fn take_word(rest: &mut &[u8]) -> Option<u64> {
    let there = rest.split_off_first().is_some_and(|flag| *flag == 1);
    let word = if there { rest.split_off(..WORD) } else { None };
    word.and_then(|bytes| <[u8; WORD]>::try_from(bytes).ok()).map(u64::from_le_bytes)
}

/// The next text of a packed key.
fn take_text<'k>(rest: &mut &'k [u8]) -> Option<&'k [u8]> {
    let length = rest.split_off(..LENGTH).and_then(|bytes| <[u8; LENGTH]>::try_from(bytes).ok());
    let length = length.map(u32::from_le_bytes)?.checked_sub(1)?;
    rest.split_off(..length as usize)
}

/// The next number of each row.
fn unpack_words(to: &DataType, rests: &mut [&[u8]]) -> Result<ArrayRef> {
    let (words, valid): (Vec<_>, Vec<_>) =
        rests.iter_mut().map(take_word).map(|word| (word.unwrap_or_default(), word.is_some())).unzip();
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    fixed::word_array(to, words, nulls)
}

/// The next text of each row.
fn unpack_texts(to: &DataType, rests: &mut [&[u8]]) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::with_capacity(rests.len(), 0);
    rests.iter_mut().for_each(|rest| builder.append_option(take_text(rest)));
    let texts: ArrayRef = Arc::new(builder.finish());
    Ok(cast(&texts, to)?)
}
