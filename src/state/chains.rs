//! For each slot the rows that belong to it, in order, as a chain through columns of row numbers.
//!
//! ```text
//! slot   0: last 4            row      0 1 2 3 4
//!        1: last 3            before   - - 0 1 2        0 2 4 are the rows of slot 0
//! ```
//!
//! A chain is walked from its last row back, so that a new row touches nothing but its slot.

use super::grow_to;

/// No row.
const NONE: u32 = u32::MAX;

/// Chains of rows, one a slot. A row is in one chain at most.
pub struct Chains {
    last: Vec<u32>,
    before: Vec<u32>,
    /// What is behind each row; empty where rows are never taken out.
    next: Vec<u32>,
    unlinks: bool,
}

impl Chains {
    /// No chain yet. `unlinks` says whether rows will be taken out.
    pub fn new(unlinks: bool) -> Chains {
        Chains { last: vec![], before: vec![], next: vec![], unlinks }
    }

    /// Makes room for chains of slots below `slots`, and for rows below `rows`.
    pub fn grow(&mut self, slots: usize, rows: usize) {
        grow_to(&mut self.last, slots, NONE);
        grow_to(&mut self.before, rows, NONE);
        if self.unlinks {
            grow_to(&mut self.next, rows, NONE);
        }
    }

    /// Puts a row at the end of a chain.
    #[inline]
    pub fn push(&mut self, slot: u32, row: u32) {
        let before = std::mem::replace(&mut self.last[slot as usize], row);
        self.before[row as usize] = before;
        if self.unlinks {
            self.next[row as usize] = NONE;
            if before != NONE {
                self.next[before as usize] = row;
            }
        }
    }

    /// Takes all rows out. `slots` are those that have any.
    pub fn clear(&mut self, slots: &[u32]) {
        for slot in slots {
            self.last[*slot as usize] = NONE;
        }
        self.before.clear();
        self.next.clear();
    }

    /// Takes a row out of its chain.
    pub fn unlink(&mut self, slot: u32, row: u32) {
        let (before, next) = (self.before[row as usize], self.next[row as usize]);
        if before != NONE {
            self.next[before as usize] = next;
        }
        match next {
            NONE => self.last[slot as usize] = before,
            next => self.before[next as usize] = before,
        }
    }

    /// Whether a chain has no row.
    pub fn is_empty(&self, slot: u32) -> bool {
        self.last.get(slot as usize).is_none_or(|row| *row == NONE)
    }

    /// Adds the rows of a chain to `rows`, in order.
    #[inline]
    pub fn append_to(&self, slot: u32, rows: &mut Vec<u32>) {
        let start = rows.len();
        let mut row = self.last.get(slot as usize).copied().unwrap_or(NONE);
        while row != NONE {
            rows.push(row);
            row = self.before[row as usize];
        }
        if rows.len() > start + 1 {
            rows[start..].reverse();
        }
    }

    /// Takes all rows of a chain out, and adds them to `rows`, in order.
    pub fn take(&mut self, slot: u32, rows: &mut Vec<u32>) {
        self.append_to(slot, rows);
        if let Some(last) = self.last.get_mut(slot as usize) {
            *last = NONE;
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.last.capacity() + self.before.capacity() + self.next.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(chains: &Chains, slot: u32) -> Vec<u32> {
        let mut rows = vec![];
        chains.append_to(slot, &mut rows);
        rows
    }

    #[test]
    fn chains_begin_anew_once_they_are_cleared() {
        let mut chains = Chains::new(false);
        chains.grow(2, 3);
        [(0, 0), (1, 1), (0, 2)].into_iter().for_each(|(slot, row)| chains.push(slot, row));
        chains.clear(&[0, 1]);
        chains.grow(2, 1);
        chains.push(1, 0);
        assert_eq!([rows(&chains, 0), rows(&chains, 1)], [vec![], vec![0]]);
    }

    #[test]
    fn a_row_is_taken_out_wherever_it_is() {
        let mut chains = Chains::new(true);
        chains.grow(2, 8);
        (0..4).for_each(|row| chains.push(1, row));
        chains.push(0, 7);
        for (gone, left) in [(2, vec![0, 1, 3]), (0, vec![1, 3]), (3, vec![1]), (1, vec![])] {
            chains.unlink(1, gone);
            assert_eq!(rows(&chains, 1), left);
        }
        assert!(chains.is_empty(1));
        chains.push(1, 2);
        chains.push(1, 5);
        assert_eq!((rows(&chains, 1), rows(&chains, 0)), (vec![2, 5], vec![7]));
    }

    #[test]
    fn a_chain_is_taken_as_a_whole() {
        let mut chains = Chains::new(false);
        chains.grow(2, 3);
        [(0, 0), (1, 1), (0, 2)].into_iter().for_each(|(slot, row)| chains.push(slot, row));
        let mut taken = vec![];
        chains.take(0, &mut taken);
        chains.take(9, &mut taken);
        assert_eq!((taken, rows(&chains, 0), rows(&chains, 1)), (vec![0, 2], vec![], vec![1]));
    }

    #[test]
    fn rows_that_stay_need_no_way_forward() {
        let mut chains = Chains::new(false);
        chains.grow(1, 3);
        (0..3).for_each(|row| chains.push(0, row));
        assert_eq!(rows(&chains, 0), [0, 1, 2]);
        assert!(chains.is_empty(9));
    }
}
