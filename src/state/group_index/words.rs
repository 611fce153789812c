//! Keys of at most eight bytes: close together in a column of places, or else in a hash table.

use arrow::buffer::{NullBuffer, ScalarBuffer};

use super::dense::{Dense, NONE};
use super::fixed::FixedKeys;
use super::slots::Slots;

/// With so many keys in the hash table it is looked for the first time whether they have come to lie close together.
const RECONSIDERED_AT_FIRST: usize = 1_024;

/// Words by group, found in whichever way suits the words that have come.
pub(super) struct WordKeys {
    keys: FixedKeys<u64>,
    /// As long as words lie close together; otherwise they are hashed.
    dense: Option<Dense>,
    /// How many words `dense` has.
    close: usize,
    /// With how many hashed keys it is looked again.
    reconsidered_at: usize,
}

impl Default for WordKeys {
    fn default() -> Self {
        let dense = Some(Dense::default());
        WordKeys { keys: FixedKeys::default(), dense, close: 0, reconsidered_at: RECONSIDERED_AT_FIRST }
    }
}

impl WordKeys {
    /// Appends the group of each word; a row that `nulls` marks is NULL whatever its word. Tells `ahead` the groups of
    /// the words.
    pub fn intern(
        &mut self,
        words: &ScalarBuffer<u64>,
        nulls: Option<&NullBuffer>,
        slots: &mut Slots,
        groups: &mut Vec<u32>,
        mut ahead: impl FnMut(&[u32]),
    ) {
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
            return self.intern_valid(words, slots, groups, &mut ahead);
        };
        let mut row = 0;
        for (start, end) in nulls.valid_slices() {
            self.push_null(start - row, slots, groups);
            self.intern_valid(&words[start..end], slots, groups, &mut ahead);
            row = end;
        }
        self.push_null(words.len() - row, slots, groups);
    }

    /// Appends the group of so many NULLs.
    fn push_null(&mut self, rows: usize, slots: &mut Slots, groups: &mut Vec<u32>) {
        if rows > 0 {
            let group = self.keys.intern_null(slots);
            groups.extend(std::iter::repeat_n(group, rows));
        }
    }

    /// Appends the group of each word.
    fn intern_valid(
        &mut self,
        words: &[u64],
        slots: &mut Slots,
        groups: &mut Vec<u32>,
        ahead: &mut impl FnMut(&[u32]),
    ) {
        for words in words.chunks(u64::BITS as usize) {
            let start = groups.len();
            let mut unknown = match &self.dense {
                Some(dense) => push_found(words, |word| dense.find(word), groups),
                None => push_found(words, |word| self.keys.find(word).unwrap_or(NONE), groups),
            };
            while unknown != 0 {
                let row = unknown.trailing_zeros() as usize;
                groups[start + row] = self.intern_unknown(words[row], slots);
                unknown &= unknown - 1;
            }
            ahead(&groups[start..]);
        }
    }

    /// The group of a word that had none when it was looked up. By now it may have one.
    fn intern_unknown(&mut self, word: u64, slots: &mut Slots) -> u32 {
        let found = match &self.dense {
            Some(dense) => dense.find(word),
            None => self.keys.find(word).unwrap_or(NONE),
        };
        if found == NONE { self.insert(word, slots) } else { found }
    }

    #[inline(never)]
    fn insert(&mut self, word: u64, slots: &mut Slots) -> u32 {
        let group = slots.take();
        self.keys.put(group, word, slots);
        match &mut self.dense {
            Some(dense) => match dense.insert(word, group, self.close + 1) {
                true => self.close += 1,
                false => {
                    self.dense = None;
                    self.rehash(slots);
                }
            },
            None => {
                self.keys.hash(group);
                self.reconsider();
            }
        }
        group
    }

    /// Hashes every word, because one lies far from the others.
    fn rehash(&mut self, slots: &Slots) {
        self.close = 0;
        for group in 0..slots.slots() as u32 {
            if slots.is_live(group) && !self.keys.is_null(group) {
                self.keys.hash(group);
            }
        }
        self.reconsidered_at = RECONSIDERED_AT_FIRST.max(2 * self.keys.len());
    }

    /// Words that come in any order lie close together only once most of them have come.
    fn reconsider(&mut self) {
        if self.keys.len() < self.reconsidered_at {
            return;
        }
        self.reconsidered_at = 2 * self.keys.len();
        if let Some(dense) = Dense::of(self.keys.found()) {
            self.close = self.keys.len();
            self.keys.unhash();
            self.dense = Some(dense);
        }
    }

    /// Forgets the key of `group`.
    pub fn remove(&mut self, group: u32) {
        match &mut self.dense {
            None => self.keys.remove(group),
            Some(_) if self.keys.remove_null(group) => {}
            Some(dense) => {
                dense.remove(self.keys.word(group));
                self.close -= 1;
            }
        }
    }

    /// The words of `groups`.
    pub fn words(&self, groups: &[u32]) -> Vec<u64> {
        self.keys.words(groups)
    }

    /// Which of `groups` is the NULL group, if any is.
    pub fn nulls(&self, groups: &[u32]) -> Option<NullBuffer> {
        self.keys.nulls(groups)
    }

    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.dense.as_ref().map_or(0, Dense::bytes)
    }
}

/// Appends the groups of at most 64 words, and gives a bit for each that has none.
///
/// Whether one has is noted without a branch: so short a loop lets the processor fetch the groups of many words at the
/// same time, where they are far apart in memory.
#[inline]
fn push_found(words: &[u64], find: impl Fn(u64) -> u32, groups: &mut Vec<u32>) -> u64 {
    let mut unknown = 0;
    groups.extend(words.iter().enumerate().map(|(row, word)| {
        let group = find(*word);
        unknown |= u64::from(group == NONE) << row;
        group
    }));
    unknown
}
