//! Rows in order: a few stand in the list itself, more of them in chunks, so that a long list is not moved for each row
//! that comes or goes.

use std::cmp::Ordering;

/// A chunk of more rows is cut in two.
const CHUNK_ROWS_MAX: usize = 512;

/// So many rows need no chunk: most partitions of many have one or two.
const FEW: usize = 2;

/// Row numbers in order. What the order is, the caller's comparisons say; no two rows are equal in it.
#[derive(Default)]
pub struct Sorted {
    /// The rows, if there is no chunk.
    few: [u32; FEW],
    /// None is empty.
    chunks: Vec<Vec<u32>>,
    len: u32,
    /// For how many rows all chunks have room.
    room: u32,
}

impl Sorted {
    /// Puts a row in its place; `compare` says how another row stands to it.
    pub fn insert(&mut self, row: u32, compare: impl Fn(u32) -> Ordering) {
        let few = self.few();
        if self.chunks.is_empty() && few.len() < FEW {
            let (place, len) = (few.partition_point(|other| compare(*other) == Ordering::Less), few.len());
            self.few.copy_within(place..len, place + 1);
            self.few[place] = row;
            self.len += 1;
            return;
        }
        if self.chunks.is_empty() {
            let chunk = few.to_vec();
            self.room += chunk.capacity() as u32;
            self.chunks.reserve_exact(1);
            self.chunks.push(chunk);
        }
        self.len += 1;
        let at = self.chunk_of(&compare).min(self.chunks.len() - 1);
        let chunk = &mut self.chunks[at];
        let place = chunk.partition_point(|other| compare(*other) == Ordering::Less);
        let room = chunk.capacity();
        chunk.insert(place, row);
        self.room += (chunk.capacity() - room) as u32;
        if chunk.len() > CHUNK_ROWS_MAX {
            let half = chunk.split_off(CHUNK_ROWS_MAX / 2);
            self.room += half.capacity() as u32;
            self.chunks.insert(at + 1, half);
        }
    }

    /// Takes a row out; whether it was there. `compare` says how another row stands to it.
    pub fn remove(&mut self, row: u32, compare: impl Fn(u32) -> Ordering) -> bool {
        if let Some(place) = self.few().iter().position(|few| *few == row) {
            self.few.copy_within(place + 1.., place);
            self.len -= 1;
            return true;
        }
        let at = self.chunk_of(&compare);
        let Some(chunk) = self.chunks.get_mut(at) else { return false };
        let place = chunk.partition_point(|other| compare(*other) == Ordering::Less);
        if chunk.get(place) != Some(&row) {
            return false;
        }
        chunk.remove(place);
        self.len -= 1;
        self.drop_empty(at);
        true
    }

    /// No chunk is kept that has lost its last row.
    fn drop_empty(&mut self, at: usize) {
        if self.chunks[at].is_empty() {
            self.room -= self.chunks.remove(at).capacity() as u32;
        }
    }

    /// The rows that need no chunk.
    fn few(&self) -> &[u32] {
        if self.chunks.is_empty() { &self.few[..self.len as usize] } else { &[] }
    }

    /// The first chunk whose last row does not stand before what is compared with.
    fn chunk_of(&self, compare: impl Fn(u32) -> Ordering) -> usize {
        let before = |chunk: &Vec<u32>| chunk.last().is_some_and(|row| compare(*row) == Ordering::Less);
        self.chunks.partition_point(before)
    }

    /// The last row that does not stand behind what `compare` compares rows with.
    pub fn last_until(&self, compare: impl Fn(u32) -> Ordering) -> Option<u32> {
        let until = |row: u32| compare(row) != Ordering::Greater;
        let after = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|row| until(*row)));
        let chunk = if self.chunks.is_empty() { self.few() } else { &self.chunks[after.checked_sub(1)?] };
        let place = chunk.partition_point(|row| until(*row));
        chunk.get(place.checked_sub(1)?).copied()
    }

    /// The rows from the first on that does not stand before what `compare` compares rows with, in order.
    pub fn from(&self, compare: impl Fn(u32) -> Ordering) -> impl Iterator<Item = u32> + '_ {
        let at = self.chunk_of(&compare);
        let chunk = self.chunks.get(at).map_or(self.few(), Vec::as_slice);
        let place = chunk.partition_point(|row| compare(*row) == Ordering::Less);
        let rest = self.chunks.get(at + 1..).unwrap_or_default();
        chunk[place..].iter().chain(rest.iter().flatten()).copied()
    }

    /// Takes the last row out.
    pub fn pop(&mut self) -> Option<u32> {
        let row = self.last()?;
        if let Some(last) = self.chunks.last_mut() {
            last.pop();
            self.drop_empty(self.chunks.len() - 1);
        }
        self.len -= 1;
        Some(row)
    }

    /// Takes the first row out.
    pub fn pop_first(&mut self) -> Option<u32> {
        let row = self.iter().next()?;
        match self.chunks.first_mut() {
            Some(first) => {
                first.remove(0);
                self.drop_empty(0);
            }
            None => self.few.copy_within(1.., 0),
        }
        self.len -= 1;
        Some(row)
    }

    /// The last row.
    pub fn last(&self) -> Option<u32> {
        self.chunks.last().map_or(self.few(), Vec::as_slice).last().copied()
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.few().iter().chain(self.chunks.iter().flatten()).copied()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held. Looks at no row.
    pub fn bytes(&self) -> usize {
        self.room as usize * size_of::<u32>() + self.chunks.capacity() * size_of::<Vec<u32>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_stays_in_order() {
        let mut sorted = Sorted::default();
        for row in (0..5_000u32).map(|row| row * 7_919 % 5_000) {
            sorted.insert(row, |other| other.cmp(&row));
        }
        assert!(sorted.iter().eq(0..5_000));
        let room = |sorted: &Sorted| sorted.chunks.iter().map(Vec::capacity).sum::<usize>() as u32;
        assert_eq!(sorted.room, room(&sorted));
        for row in (0..5_000).filter(|row| row % 3 > 0) {
            assert!(sorted.remove(row, |other| other.cmp(&row)));
            assert!(!sorted.remove(row, |other| other.cmp(&row)));
        }
        assert!(sorted.iter().eq((0..5_000).filter(|row| row % 3 == 0)));
        assert_eq!((sorted.len(), sorted.last()), (1_667, Some(4_998)));
        assert_eq!(sorted.last_until(|row| row.cmp(&100)), Some(99));
        assert_eq!(sorted.last_until(|row| row.cmp(&99)), Some(99));
        assert_eq!(Sorted::default().last_until(|_| Ordering::Less), None);
        assert!(sorted.from(|row| row.cmp(&100)).eq((102..5_000).filter(|row| row % 3 == 0)));
        assert_eq!(sorted.from(|_| Ordering::Less).next(), None);
        assert_eq!((sorted.pop_first(), sorted.pop_first()), (Some(0), Some(3)));
        assert_eq!(sorted.room, room(&sorted));
        while sorted.pop().is_some() {}
        assert!(sorted.is_empty() && sorted.iter().next().is_none());
        assert_eq!(sorted.room, 0);
    }

    /// Every list of at most four rows, made in every order, and each of its rows taken out in every way.
    #[test]
    fn a_short_list_stays_in_order() {
        let made = |rows: &[u32]| {
            let mut sorted = Sorted::default();
            rows.iter().for_each(|row| sorted.insert(*row, |other| other.cmp(row)));
            sorted
        };
        for rows in (0..4_u32.pow(4)).map(|code| [0, 2, 4, 6].map(|shift| code >> shift & 3)) {
            let rows: Vec<u32> = rows.into_iter().take(1 + rows[3] as usize).collect();
            let unlike = (1..rows.len()).all(|at| !rows[..at].contains(&rows[at]));
            if !unlike {
                continue;
            }
            let (sorted, mut ordered) = (made(&rows), rows.clone());
            ordered.sort_unstable();
            assert!(sorted.iter().eq(ordered.iter().copied()) && sorted.len() == rows.len());
            assert_eq!(sorted.last(), ordered.last().copied());
            for row in 0..4 {
                let until = ordered.iter().rev().find(|other| **other <= row).copied();
                assert_eq!(sorted.last_until(|other| other.cmp(&row)), until);
                assert!(sorted.from(|other| other.cmp(&row)).eq(ordered.iter().copied().filter(|other| *other >= row)));
                let mut less = made(&rows);
                assert_eq!(less.remove(row, |other| other.cmp(&row)), rows.contains(&row));
                assert!(less.iter().eq(ordered.iter().copied().filter(|other| *other != row)));
            }
            let (mut first, mut last) = (made(&rows), made(&rows));
            assert_eq!((first.pop_first(), last.pop()), (ordered.first().copied(), ordered.last().copied()));
            assert!(first.iter().eq(ordered[1..].iter().copied()));
            assert!(last.iter().eq(ordered[..ordered.len() - 1].iter().copied()));
            std::iter::from_fn(|| first.pop()).for_each(drop);
            assert_eq!((first.len(), first.room, first.pop_first(), first.last()), (0, 0, None, None));
        }
    }
}
