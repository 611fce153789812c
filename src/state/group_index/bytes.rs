//! Keys that are byte strings: text, and rows in Arrow's row format.

use std::hash::BuildHasher;
use std::ops::Range;

use arrow::array::{ArrayRef, BinaryBuilder};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::sync::Arc;

use super::slots::Slots;

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

/// The hash is kept so that most unequal keys are told apart, and the table grows, without a look at the bytes.
struct Entry {
    hash: u64,
    group: u32,
}

impl ByteKeys {
    /// Appends the group of each key; `None` is NULL.
    pub fn intern<'a>(
        &mut self,
        keys: impl Iterator<Item = Option<&'a [u8]>>,
        slots: &mut Slots,
        groups: &mut Vec<u32>,
    ) {
        for key in keys {
            groups.push(match key {
                Some(key) => self.intern_one(key, slots),
                None => *self.null.get_or_insert_with(|| slots.take()),
            });
        }
    }

    fn intern_one(&mut self, key: &[u8], slots: &mut Slots) -> u32 {
        let hash = self.hasher.hash_one(key);
        let (memory, places) = (&self.memory, &self.places);
        let same = |entry: &Entry| entry.hash == hash && &memory[places[entry.group as usize].clone()] == key;
        if let Some(entry) = self.table.find(hash, same) {
            return entry.group;
        }
        let group = slots.take();
        self.table.insert_unique(hash, Entry { hash, group }, |entry| entry.hash);
        if self.places.len() < slots.slots() {
            self.places.resize(slots.slots(), 0..0);
        }
        let start = self.memory.len();
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
        let hash = self.hasher.hash_one(&self.memory[place.clone()]);
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
    }

    pub fn bytes(&self) -> usize {
        self.table.allocation_size() + self.memory.capacity() + self.places.capacity() * size_of::<Range<usize>>()
    }
}
