//! Numbers by group, those of one group side by side.

use crate::state::grow_to;
use crate::state::prefetch::prefetch;

/// How far groups lie apart is told from one of so many.
const SAMPLED_EACH: usize = 16;
/// Records that lie within so many bytes are taken to be in the cache: it is what the fastest one holds.
const AT_HAND_BYTES: usize = 32 * 1024;

/// A record of numbers for each group.
///
/// Where keys come in any order, a group's numbers have to be fetched from far away each time. Those of a record come
/// together, and are at hand for whoever adds to the next of them.
#[derive(Debug)]
pub struct Records<N> {
    numbers: Vec<N>,
    /// What a new record holds.
    blank: Vec<N>,
}

impl<N: Copy> Records<N> {
    /// Records of one number, which is that at first.
    pub fn new(blank: N) -> Records<N> {
        Records { numbers: vec![], blank: vec![blank] }
    }

    /// Gives each record one more number, while there are no records yet. Gives its place.
    pub fn widen(&mut self, blank: N) -> usize {
        debug_assert!(self.numbers.is_empty(), "records that hold numbers do not change their form");
        self.blank.push(blank);
        self.blank.len() - 1
    }

    /// How many records there are.
    pub fn slots(&self) -> usize {
        self.numbers.len() / self.blank.len()
    }

    /// Makes room for groups below `slots`.
    pub fn grow(&mut self, slots: usize) {
        let (had, width) = (self.numbers.len(), self.blank.len());
        let length = slots * width;
        if length <= had {
            return;
        }
        grow_to(&mut self.numbers, length, self.blank[0]);
        for (place, blank) in self.blank.iter().enumerate().skip(1) {
            self.numbers[had..].iter_mut().skip(place).step_by(width).for_each(|number| *number = *blank);
        }
    }

    /// Has the records of `groups` fetched, as far as there are any, for whoever needs them soon. Where groups lie close
    /// together, their records are at hand already.
    #[inline]
    pub fn prefetch(&self, groups: &[u32]) {
        let width = self.blank.len();
        let some = || groups.iter().step_by(SAMPLED_EACH);
        let apart = some().max().zip(some().min()).map_or(0, |(last, first)| last - first);
        if (apart as usize) * width * size_of::<N>() < AT_HAND_BYTES {
            return;
        }
        for group in groups {
            // One may lie across two lines of the cache.
            let start = *group as usize * width;
            let record = self.numbers.get(start..start + width).unwrap_or_default();
            record.first().into_iter().chain(record.last()).for_each(prefetch);
        }
    }

    /// A number of a group.
    #[inline]
    pub fn get(&self, group: u32, place: usize) -> N {
        self.numbers[group as usize * self.blank.len() + place]
    }

    /// The numbers at that place in all records.
    #[inline]
    pub fn column(&mut self, place: usize) -> Column<'_, N> {
        let numbers = self.numbers.get_mut(place..).unwrap_or_default();
        Column { width: self.blank.len(), blank: self.blank[place], numbers }
    }

    /// The number at that place in each record.
    pub fn each(&self, place: usize) -> impl Iterator<Item = N> + '_ {
        self.numbers.iter().skip(place).step_by(self.blank.len()).copied()
    }

    /// A copy of the records of `groups`, in their order. They are fetched once, whatever is read of them then.
    pub fn of(&self, groups: &[u32]) -> Records<N> {
        let numbers = match self.blank.len() {
            1 => self.numbers_of::<1>(groups),
            2 => self.numbers_of::<2>(groups),
            3 => self.numbers_of::<3>(groups),
            4 => self.numbers_of::<4>(groups),
            width => {
                let records = groups.iter().map(|group| *group as usize * width);
                records.flat_map(|start| &self.numbers[start..start + width]).copied().collect()
            }
        };
        Records { numbers, blank: self.blank.clone() }
    }

    /// The records of `groups`, each that is marked as `known` behind what it was: the next record of `earlier`.
    pub fn beside(&self, earlier: &Records<N>, known: &[bool], groups: &[u32]) -> Records<N> {
        let numbers = match self.blank.len() {
            1 => self.numbers_beside::<1>(earlier, known, groups),
            2 => self.numbers_beside::<2>(earlier, known, groups),
            3 => self.numbers_beside::<3>(earlier, known, groups),
            4 => self.numbers_beside::<4>(earlier, known, groups),
            width => {
                let mut earlier = earlier.numbers.chunks_exact(width);
                let mut numbers = Vec::with_capacity(earlier.len() + groups.len() * width);
                for (known, group) in known.iter().zip(groups) {
                    if *known && let Some(before) = earlier.next() {
                        numbers.extend_from_slice(before);
                    }
                    numbers.extend_from_slice(&self.numbers[*group as usize * width..][..width]);
                }
                numbers
            }
        };
        Records { numbers, blank: self.blank.clone() }
    }

    /// As [`Records::beside`], of records of so many numbers.
    fn numbers_beside<const WIDTH: usize>(&self, earlier: &Records<N>, known: &[bool], groups: &[u32]) -> Vec<N> {
        let ((earlier, _), (records, _)) = (earlier.numbers.as_chunks::<WIDTH>(), self.numbers.as_chunks::<WIDTH>());
        let mut both = Vec::with_capacity(earlier.len() + groups.len());
        let mut earlier = earlier.iter();
        for (known, group) in known.iter().zip(groups) {
            if *known && let Some(before) = earlier.next() {
                both.push(*before);
            }
            both.push(records[*group as usize]);
        }
        both.into_flattened()
    }

    /// The numbers of the records of `groups`, which have so many.
    fn numbers_of<const WIDTH: usize>(&self, groups: &[u32]) -> Vec<N> {
        let (records, _) = self.numbers.as_chunks::<WIDTH>();
        groups.iter().map(|group| records[*group as usize]).collect::<Vec<_>>().into_flattened()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.numbers.capacity() * size_of::<N>()
    }
}

/// The numbers at one place in all records. What is needed for each row is at hand here.
pub struct Column<'a, N> {
    /// From the first of them on.
    numbers: &'a mut [N],
    width: usize,
    blank: N,
}

impl<N: Copy> Column<'_, N> {
    /// The number of a group.
    #[inline]
    pub fn get(&self, group: u32) -> N {
        self.numbers[group as usize * self.width]
    }

    /// The number of a group, to be changed.
    #[inline]
    pub fn get_mut(&mut self, group: u32) -> &mut N {
        &mut self.numbers[group as usize * self.width]
    }

    /// Makes the number of a group as new, and gives what it was.
    pub fn reset(&mut self, group: u32) -> N {
        let blank = self.blank;
        std::mem::replace(self.get_mut(group), blank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_a_new_record_is_what_its_place_starts_with() {
        let mut records = Records::new(0);
        assert_eq!((records.widen(7), records.widen(-1)), (1, 2));
        records.grow(2);
        *records.column(1).get_mut(1) += 1;
        records.grow(3);
        let all: Vec<i64> =
            (0..3).flat_map(|group| (0..3).map(move |place| (group, place))).map(|(g, p)| records.get(g, p)).collect();
        assert_eq!((records.slots(), all), (3, vec![0, 7, -1, 0, 8, -1, 0, 7, -1]));
        assert_eq!((records.column(1).reset(1), records.get(1, 1)), (8, 7));
    }

    #[test]
    fn what_a_record_was_stands_before_what_it_is() {
        for width in 1..=6 {
            let mut records = Records::new(0);
            (1..width).for_each(|blank| assert_eq!(records.widen(blank as i64), blank));
            records.grow(3);
            let earlier = records.of(&[2, 1]);
            (0..3).for_each(|group| *records.column(0).get_mut(group) = i64::from(group) + 5);
            let both = records.beside(&earlier, &[true, false, true], &[2, 0, 1]);
            assert_eq!(both.each(0).collect::<Vec<_>>(), [0, 7, 5, 0, 6]);
            let last = width as i64 - 1;
            assert!(last == 0 || both.each(width - 1).all(|number| number == last));
        }
    }

    #[test]
    fn what_is_asked_for_ahead_need_not_be_there() {
        let mut records = Records::new(0);
        records.widen(1);
        records.prefetch(&[0, u32::MAX]);
        records.grow(2);
        records.prefetch(&[0, 1, 2, u32::MAX]);
        assert_eq!((records.get(1, 0), records.get(1, 1)), (0, 1));
    }

    #[test]
    fn records_are_copied_whole_whatever_their_width() {
        for width in 1..=6 {
            let mut records = Records::new(0);
            (1..width).for_each(|blank| assert_eq!(records.widen(blank as i64), blank));
            records.grow(4);
            (0..4).for_each(|group| *records.column(0).get_mut(group) = i64::from(group) * 100);
            let copy = records.of(&[3, 1, 3]);
            let last = width - 1;
            let ends = [0, 1, 2].map(|row| (copy.get(row, 0), copy.get(row, last)));
            let wanted = [300, 100, 300].map(|first| (first, if last == 0 { first } else { last as i64 }));
            assert_eq!((copy.slots(), ends), (3, wanted));
        }
    }
}
