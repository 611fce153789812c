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

/// The hash is kept so that most unequal keys are told apart, and the table grows, without a look at the bytes; where
/// they start, so that equal ones are found with one look.
struct Entry {
    hash: u64,
    start: usize,
    group: u32,
    /// Its low 32 bits: enough to tell most unequal keys apart.
    length: u32,
}

impl ByteKeys {
    /// Appends the group of each key; `None` is NULL.
    pub fn intern<'a>(
        &mut self,
        keys: impl Iterator<Item = Option<&'a [u8]>>,
        slots: &mut Slots,
        groups: &mut Vec<u32>,
    ) {
        groups.extend(keys.map(|key| match key {
            Some(key) => self.intern_one(key, slots),
            None => *self.null.get_or_insert_with(|| slots.take()),
        }));
    }

    /// The group of a key that is not NULL.
    pub fn intern_one(&mut self, key: &[u8], slots: &mut Slots) -> u32 {
        let hash = self.hash(key);
        let memory = &self.memory;
        let same = |entry: &Entry| {
            entry.hash == hash
                && entry.length == key.len() as u32
                && memory.get(entry.start..entry.start + key.len()) == Some(key)
        };
        match self.table.find(hash, same) {
            Some(entry) => entry.group,
            None => self.insert(hash, key, slots),
        }
    }

    /// The hash mixes the length in by itself, so that it need not be written before the bytes.
    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    #[inline(never)]
    fn insert(&mut self, hash: u64, key: &[u8], slots: &mut Slots) -> u32 {
        let group = slots.take();
        let start = self.memory.len();
        let length = key.len() as u32;
        self.table.insert_unique(hash, Entry { hash, start, group, length }, |entry| entry.hash);
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
        let place = std::mem::take(&mut self.places[group as usize]);
        let hash = self.hash(&self.memory[place.clone()]);
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
            entry.start = self.places[entry.group as usize].start;
        }
    }

    pub fn bytes(&self) -> usize {
        self.table.allocation_size() + self.memory.capacity() + self.places.capacity() * size_of::<Range<usize>>()
    }
}
