//! Texts that come as numbers into a dictionary.

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use arrow::datatypes::{DataType, Int32Type};

use super::bytes::ByteKeys;
use super::slots::Slots;

/// No group was looked for yet.
const UNKNOWN: u32 = u32::MAX;

/// The groups of a dictionary's entries: batch after batch comes with the same one, and each entry is looked up once.
#[derive(Default)]
pub(super) struct Dictionary {
    /// The dictionary, which is kept so that no other one takes its place in memory.
    entries: Option<ArrayRef>,
    /// For each entry its group, or [`UNKNOWN`].
    groups: Vec<u32>,
}

/// A column of texts or bytes that are numbers into a dictionary of them.
pub(super) fn numbered(key: &ArrayRef) -> Option<&DictionaryArray<Int32Type>> {
    let DataType::Dictionary(_, entries) = key.data_type() else { return None };
    matches!(**entries, DataType::Utf8 | DataType::Binary).then(|| key.as_dictionary_opt())?
}

impl Dictionary {
    /// Appends the group of each row to `groups`.
    pub fn intern(
        &mut self,
        keys: &DictionaryArray<Int32Type>,
        index: &mut ByteKeys,
        slots: &mut Slots,
        groups: &mut Vec<u32>,
    ) {
        let entries = keys.values();
        if !self.entries.as_ref().is_some_and(|known| known.to_data().ptr_eq(&entries.to_data())) {
            self.entries = Some(entries.clone());
            self.groups.clear();
            self.groups.resize(entries.len(), UNKNOWN);
        }
        let text = |entry: usize| match entries.data_type() {
            _ if entries.is_null(entry) => None,
            DataType::Binary => Some(entries.as_binary::<i32>().value(entry)),
            _ => Some(entries.as_string::<i32>().value(entry).as_bytes()),
        };
        let known = &mut self.groups;
        let mut group = |entry: Option<i32>| match entry.map(|entry| entry as usize) {
            Some(entry) if known[entry] != UNKNOWN => known[entry],
            Some(entry) => {
                known[entry] = index.intern_key(text(entry), slots);
                known[entry]
            }
            None => index.intern_key(None, slots),
        };
        match keys.null_count() {
            0 => groups.extend(keys.keys().values().iter().map(|entry| group(Some(*entry)))),
            _ => groups.extend(keys.keys().iter().map(group)),
        }
    }

    /// Groups have been forgotten, and their numbers may be given to other keys.
    pub fn forget(&mut self) {
        *self = Dictionary::default();
    }

    pub fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<u32>()
    }
}
