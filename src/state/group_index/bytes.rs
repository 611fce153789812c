//! Keys that are byte strings: text, and rows in Arrow's row format.

use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

use arrow::array::{ArrayRef, BinaryBuilder};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::sync::Arc;

use super::slots::Slots;
use crate::state::grow_to;

/// Byte strings by group, one after the other in one piece of memory.
#[derive(Default)]
pub(super) struct ByteKeys {
    hasher: DefaultHashBuilder,
    table: HashTable<Entry>,
    null: Option<u32>,
    memory: Vec<u8>,
    /// For each slot where its bytes are.
    places: Vec<Range<usize>>,
    /// How many bytes of `memory` belong to no group any more.
    dead: usize,
}

/// Up to so many bytes are compared as two words.
const SHORT: usize = 16;

/// A short key is told by its words and its length alone. Of a longer one the hash is kept, so that most unequal keys
/// are told apart and the table grows without a look at the bytes, and where they start, so that equal ones are found
/// with one look.
struct Entry {
    /// The first word of a short key, the hash of a longer one.
    first: u64,
    /// The last word of a short key, where a longer one starts.
    last: u64,
    group: u32,
    /// Its low 32 bits: enough to tell most unequal keys apart.
    length: u32,
}

/// The first and the last word of a short key; where they overlap they share bytes, so that with the length they are
/// all of it.
#[inline]
fn words(key: &[u8]) -> Option<(u64, u64)> {
    fn word(bytes: Option<&[u8; 8]>) -> u64 {
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
    fn half(bytes: Option<&[u8; 4]>) -> u64 {
        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
    }
    match key {
        [] => Some((0, 0)),
        [first, .., last] if key.len() < 4 => {
            Some((u64::from(*first) | u64::from(key[key.len() / 2]) << 8 | u64::from(*last) << 16, 0))
        }
        [only] => Some((u64::from(*only), 0)),
        _ if key.len() < 8 => Some((half(key.first_chunk()), half(key.last_chunk()))),
        _ if key.len() <= SHORT => Some((word(key.first_chunk()), word(key.last_chunk()))),
        _ => None,
    }
}

fn hash_words(hasher: &DefaultHashBuilder, first: u64, last: u64, length: u32) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u64(first ^ u64::from(length).rotate_right(8));
    hasher.write_u64(last);
    hasher.finish()
}

/// A key that two words and a tag tell from every other, ready to be looked up. The tag takes the place of the length,
/// so keys that are told by their bytes must have more of them in the same table than the largest tag.
#[derive(Clone, Copy)]
pub(super) struct Short {
    first: u64,
    last: u64,
    hash: u64,
    pub tag: u8,
}

impl Entry {
    fn hash(&self, hasher: &DefaultHashBuilder) -> u64 {
        match self.length as usize {
            0..=SHORT => hash_words(hasher, self.first, self.last, self.length),
            _ => self.first,
        }
    }
}

impl ByteKeys {
    /// Appends the group of each key; `None` is NULL.
    pub fn intern<'a>(
        &mut self,
        keys: impl Iterator<Item = Option<&'a [u8]>>,
        slots: &mut Slots,
        groups: &mut Vec<u32>,
    ) {
        groups.extend(keys.map(|key| self.intern_key(key, slots)));
    }

    /// The group of a key; `None` is NULL.
    #[inline]
    pub fn intern_key(&mut self, key: Option<&[u8]>, slots: &mut Slots) -> u32 {
        match key {
            Some(key) => self.intern_one(key, slots),
            None => *self.null.get_or_insert_with(|| slots.take()),
        }
    }

    /// The group of a key that is not NULL.
    #[inline]
    pub fn intern_one(&mut self, key: &[u8], slots: &mut Slots) -> u32 {
        let Some((first, last)) = words(key) else { return self.intern_long(key, slots) };
        let length = key.len() as u32;
        let hash = hash_words(&self.hasher, first, last, length);
        let same = |entry: &Entry| entry.first == first && entry.last == last && entry.length == length;
        match self.table.find(hash, same) {
            Some(entry) => entry.group,
            None => self.insert(hash, (first, last, length), key, slots),
        }
    }

    /// What [`ByteKeys::find_short`] looks for.
    #[inline]
    pub fn short(&self, first: u64, last: u64, tag: u8) -> Short {
        Short { first, last, hash: hash_words(&self.hasher, first, last, u32::from(tag)), tag }
    }

    /// The group of a key that is told by its words.
    #[inline]
    pub fn find_short(&self, short: &Short) -> Option<u32> {
        let Short { first, last, hash, tag } = *short;
        let same = |entry: &Entry| entry.first == first && entry.last == last && entry.length == u32::from(tag);
        self.table.find(hash, same).map(|entry| entry.group)
    }

    /// Gives a group to a key that is told by its words and is not there yet.
    pub fn insert_short(&mut self, short: &Short, key: &[u8], slots: &mut Slots) -> u32 {
        let Short { first, last, hash, tag } = *short;
        self.insert(hash, (first, last, u32::from(tag)), key, slots)
    }

    fn intern_long(&mut self, key: &[u8], slots: &mut Slots) -> u32 {
        let hash = self.hash(key);
        let memory = &self.memory;
        let same = |entry: &Entry| {
            entry.first == hash
                && entry.length == key.len() as u32
                && memory.get(entry.last as usize..entry.last as usize + key.len()) == Some(key)
        };
        match self.table.find(hash, same) {
            Some(entry) => entry.group,
            None => self.insert(hash, (hash, self.memory.len() as u64, key.len() as u32), key, slots),
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        match words(key) {
            Some((first, last)) => hash_words(&self.hasher, first, last, key.len() as u32),
            // The hash mixes the length in by itself, so that it need not be written before the bytes.
            None => {
                let mut hasher = self.hasher.build_hasher();
                hasher.write(key);
                hasher.finish()
            }
        }
    }

    #[inline(never)]
    fn insert(&mut self, hash: u64, (first, last, length): (u64, u64, u32), key: &[u8], slots: &mut Slots) -> u32 {
        let group = slots.take();
        let start = self.memory.len();
        let entry = Entry { first, last, group, length };
        self.table.insert_unique(hash, entry, |entry| entry.hash(&self.hasher));
        grow_to(&mut self.places, slots.slots(), 0..0);
        self.memory.extend_from_slice(key);
        self.places[group as usize] = start..self.memory.len();
        group
    }

    /// The bytes of `group`, `None` for NULL.
    pub fn get(&self, group: u32) -> Option<&[u8]> {
        if self.null == Some(group) {
            return None;
        }
        self.places.get(group as usize).map(|place| &self.memory[place.clone()])
    }

    /// The keys of `groups` as a binary column.
    pub fn array(&self, groups: &[u32]) -> ArrayRef {
        let bytes = groups.iter().map(|group| self.get(*group).map_or(0, <[u8]>::len)).sum();
        let mut builder = BinaryBuilder::with_capacity(groups.len(), bytes);
        groups.iter().for_each(|group| builder.append_option(self.get(*group)));
        Arc::new(builder.finish())
    }

    /// Forgets the key of `group`.
    pub fn remove(&mut self, group: u32) {
        if self.null == Some(group) {
            self.null = None;
            return;
        }
        let hash = self.hash(&self.memory[self.places[group as usize].clone()]);
        self.remove_hashed(group, hash);
    }

    /// [`ByteKeys::remove`] of a key that is told by its words.
    pub fn remove_short(&mut self, group: u32, short: &Short) {
        self.remove_hashed(group, short.hash);
    }

    fn remove_hashed(&mut self, group: u32, hash: u64) {
        let place = std::mem::take(&mut self.places[group as usize]);
        if let Ok(entry) = self.table.find_entry(hash, |entry| entry.group == group) {
            entry.remove();
        }
        self.dead += place.len();
        if self.dead > self.memory.len() / 2 && self.dead > 4096 {
            self.compact();
        }
    }

    /// Moves the living bytes together. Costs no more than the removals that led to it.
    fn compact(&mut self) {
        let mut memory = Vec::with_capacity(self.memory.len() - self.dead);
        for place in &mut self.places {
            let start = memory.len();
            memory.extend_from_slice(&self.memory[place.clone()]);
            *place = start..memory.len();
        }
        self.memory = memory;
        self.dead = 0;
        for entry in &mut self.table {
            if entry.length as usize > SHORT {
                entry.last = self.places[entry.group as usize].start as u64;
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.table.allocation_size() + self.memory.capacity() + self.places.capacity() * size_of::<Range<usize>>()
    }
}
