//! Integers that lie close together, found by their distance from the smallest.
//!
//! Numbers that were handed out one after the other (identifiers, days, hours) need no hashing: their group stands in
//! a column at the key's place. Such keys cost one load a row and four bytes a key.

use crate::state::grow_to;

/// Where no group is.
pub(super) const NONE: u32 = u32::MAX;
/// So many places are worth having whatever the number of keys.
const PLACES_FREE: usize = 4_096;
/// How many places there may be for each key: more cost more memory than a hash table.
const PLACES_PER_KEY: usize = 4;

/// The group of each word between two bounds.
#[derive(Default)]
pub(super) struct Dense {
    /// The word of the first place. Words are compared by their distance, so it may be that of a negative number.
    base: u64,
    places: Vec<u32>,
}

impl Dense {
    /// The places of `words`, if they lie close enough together.
    pub fn of(words: impl Iterator<Item = (u64, u32)> + Clone) -> Option<Dense> {
        let signed = || words.clone().map(|(word, _)| word as i64);
        let (smallest, largest) = (signed().min()?, signed().max()?);
        let span = usize::try_from(largest.checked_sub(smallest)?).ok()?.checked_add(1)?;
        if span > places_max(words.clone().count()) {
            return None;
        }
        let mut dense = Dense { base: smallest as u64, places: vec![NONE; span] };
        for (word, group) in words {
            dense.places[word.wrapping_sub(dense.base) as usize] = group;
        }
        Some(dense)
    }

    /// The group of a word, or [`NONE`].
    #[inline]
    pub fn find(&self, word: u64) -> u32 {
        self.places.get(word.wrapping_sub(self.base) as usize).copied().unwrap_or(NONE)
    }

    /// Gives a word its group, `keys` counting it. `false` if it lies too far from the others.
    pub fn insert(&mut self, word: u64, group: u32, keys: usize) -> bool {
        if self.places.is_empty() {
            self.base = word;
        }
        let distance = word.wrapping_sub(self.base) as i64;
        let places = self.places.len();
        let wanted = match usize::try_from(distance) {
            Ok(place) if place < places => places,
            Ok(place) => place.saturating_add(1),
            Err(_) => {
                usize::try_from(distance.unsigned_abs()).map_or(usize::MAX, |before| places.saturating_add(before))
            }
        };
        if wanted > places_max(keys) {
            return false;
        }
        if distance < 0 {
            // Room before the first for as much again, so that falling numbers do not move all of it each time.
            let room = (wanted + wanted / 2).min(places_max(keys)) - places;
            self.places.splice(0..0, std::iter::repeat_n(NONE, room));
            self.base = self.base.wrapping_sub(room as u64);
        } else if wanted > places {
            grow_to(&mut self.places, wanted, NONE);
        }
        self.places[word.wrapping_sub(self.base) as usize] = group;
        true
    }

    pub fn remove(&mut self, word: u64) {
        if let Some(place) = self.places.get_mut(word.wrapping_sub(self.base) as usize) {
            *place = NONE;
        }
    }

    pub fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
    }
}

fn places_max(keys: usize) -> usize {
    PLACES_FREE.max(keys.saturating_mul(PLACES_PER_KEY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_on_both_sides_of_zero() {
        let mut dense = Dense::default();
        for (group, number) in [5_i64, -7, 0, 900, -1].into_iter().enumerate() {
            assert!(dense.insert(number as u64, group as u32, group + 1));
        }
        let found = |number: i64| dense.find(number as u64);
        assert_eq!((found(5), found(-7), found(0), found(900), found(-1)), (0, 1, 2, 3, 4));
        assert_eq!((found(6), found(i64::MIN), found(i64::MAX)), (NONE, NONE, NONE));
        dense.remove(0);
        assert_eq!(dense.find(0), NONE);
    }

    #[test]
    fn a_word_far_away_is_refused_and_changes_nothing() {
        let mut dense = Dense::default();
        assert!(dense.insert(10, 0, 1));
        for far in [i64::MAX, i64::MIN, 1 << 40, -(1 << 40)] {
            assert!(!dense.insert(far as u64, 1, 2));
        }
        assert_eq!(dense.find(10), 0);
    }

    #[test]
    fn places_are_made_of_words_that_lie_close_together() {
        let words = |step: u64| (0..10_000_u32).map(move |group| (u64::from(group) * step, group));
        assert_eq!(Dense::of(words(3)).map(|dense| dense.find(6)), Some(2));
        assert!(Dense::of(words(1_000)).is_none());
        let extremes = [(i64::MIN as u64, 0), (i64::MAX as u64, 1)];
        assert!(Dense::of(extremes.into_iter()).is_none());
    }
}
