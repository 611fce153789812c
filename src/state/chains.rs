//! For each slot the rows that belong to it, in order, as a chain through columns of row numbers.

use super::grow_to;

/// No row.
const NONE: u32 = u32::MAX;

/// Chains of rows, one a slot. A row is in one chain at most.
pub struct Chains {
    ends: Vec<Ends>,
    next: Vec<u32>,
    /// What is before each row; empty where rows are never taken out.
    before: Vec<u32>,
    unlinks: bool,
}

#[derive(Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

const EMPTY: Ends = Ends { first: NONE, last: NONE };

impl Chains {
    /// No chain yet. `unlinks` says whether rows will be taken out.
    pub fn new(unlinks: bool) -> Chains {
        Chains { ends: vec![], next: vec![], before: vec![], unlinks }
    }

    /// Makes room for chains of slots below `slots`.
    pub fn grow(&mut self, slots: usize) {
        grow_to(&mut self.ends, slots, EMPTY);
    }

    /// Puts a row at the end of a chain.
    pub fn push(&mut self, slot: u32, row: u32) {
        let at = row as usize;
        grow_to(&mut self.next, at + 1, NONE);
        self.next[at] = NONE;
        let ends = &mut self.ends[slot as usize];
        if self.unlinks {
            grow_to(&mut self.before, at + 1, NONE);
            self.before[at] = ends.last;
        }
        match ends.last {
            NONE => ends.first = row,
            last => self.next[last as usize] = row,
        }
        ends.last = row;
    }

    /// Takes a row out of its chain.
    pub fn unlink(&mut self, slot: u32, row: u32) {
        let (before, next) = (self.before[row as usize], self.next[row as usize]);
        let ends = &mut self.ends[slot as usize];
        match before {
            NONE => ends.first = next,
            before => self.next[before as usize] = next,
        }
        match next {
            NONE => ends.last = before,
            next => self.before[next as usize] = before,
        }
    }

    /// The first row of a chain.
    #[inline]
    pub fn first(&self, slot: u32) -> Option<u32> {
        self.ends.get(slot as usize).map(|ends| ends.first).filter(|row| *row != NONE)
    }

    /// The row behind `row` in its chain.
    #[inline]
    pub fn next(&self, row: u32) -> Option<u32> {
        Some(self.next[row as usize]).filter(|row| *row != NONE)
    }

    /// The rows of a chain, in order.
    pub fn rows(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.first(slot), |row| self.next(*row))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.ends.capacity() * size_of::<Ends>() + (self.next.capacity() + self.before.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_taken_out_wherever_it_is() {
        let mut chains = Chains::new(true);
        chains.grow(2);
        (0..4).for_each(|row| chains.push(1, row));
        chains.push(0, 7);
        for (gone, left) in [(2, vec![0, 1, 3]), (0, vec![1, 3]), (3, vec![1]), (1, vec![])] {
            chains.unlink(1, gone);
            assert_eq!(chains.rows(1).collect::<Vec<_>>(), left);
        }
        chains.push(1, 2);
        assert_eq!((chains.first(1), chains.next(2), chains.first(0)), (Some(2), None, Some(7)));
    }
}
