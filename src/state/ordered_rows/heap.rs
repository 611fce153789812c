//! The bytes of rows one behind the other, under numbers that are used again.

/// Less garbage than that is not worth collecting.
const GARBAGE_MIN: usize = 64 * 1024;

/// When a row came that is not there.
const NEVER: u64 = u64::MAX;

/// Where the bytes of a row are, and when it came.
#[derive(Clone, Copy, Default)]
struct Row {
    start: usize,
    /// How many bytes its key has, and how many it has in all.
    key: u32,
    len: u32,
    /// Its place in the order of arrival.
    sequence: u64,
}

/// Rows as bytes: a key, then the rest.
#[derive(Default)]
pub(super) struct Heap {
    bytes: Vec<u8>,
    garbage: usize,
    rows: Vec<Row>,
    free: Vec<u32>,
}

impl Heap {
    /// Takes a row in and gives its number, if there is one left and the row is not too long for one.
    pub fn push(&mut self, key: &[u8], rest: &[u8], sequence: u64) -> Option<u32> {
        let number = match self.free.last() {
            Some(number) => *number,
            None => u32::try_from(self.rows.len()).ok()?,
        };
        let (key_len, len) = (u32::try_from(key.len()).ok()?, u32::try_from(key.len() + rest.len()).ok()?);
        let row = Row { start: self.bytes.len(), key: key_len, len, sequence };
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(rest);
        match self.free.pop() {
            Some(number) => self.rows[number as usize] = row,
            None => self.rows.push(row),
        }
        Some(number)
    }

    /// Forgets a row; its number may be given to another one.
    pub fn free(&mut self, row: u32) {
        let place = &mut self.rows[row as usize];
        self.garbage += place.len as usize;
        *place = Row { sequence: NEVER, ..Row::default() };
        self.free.push(row);
        if self.garbage > GARBAGE_MIN && self.garbage > self.bytes.len() / 2 {
            self.collect();
        }
    }

    /// Moves what is in use together.
    fn collect(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.garbage);
        for row in &mut self.rows {
            let from = row.start;
            row.start = bytes.len();
            bytes.extend_from_slice(&self.bytes[from..from + row.len as usize]);
        }
        (self.bytes, self.garbage) = (bytes, 0);
    }

    /// All bytes of a row.
    #[inline]
    pub fn all(&self, row: u32) -> &[u8] {
        let row = &self.rows[row as usize];
        &self.bytes[row.start..row.start + row.len as usize]
    }

    /// The key of a row.
    #[inline]
    pub fn key(&self, row: u32) -> &[u8] {
        let row = &self.rows[row as usize];
        &self.bytes[row.start..row.start + row.key as usize]
    }

    /// What a row has behind its key.
    #[inline]
    pub fn rest(&self, row: u32) -> &[u8] {
        let row = &self.rows[row as usize];
        &self.bytes[row.start + row.key as usize..row.start + row.len as usize]
    }

    /// The place of a row in the order of arrival.
    #[inline]
    pub fn sequence(&self, row: u32) -> u64 {
        self.rows[row as usize].sequence
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Bytes held.
    pub fn size(&self) -> usize {
        self.bytes.capacity() + self.rows.capacity() * size_of::<Row>() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_go_make_room() {
        let mut heap = Heap::default();
        let long = [7; 1000];
        let kept = heap.push(b"key", b"rest", 0).unwrap();
        for sequence in 1..10_000 {
            let row = heap.push(&long, b"", sequence).unwrap();
            assert_eq!(heap.all(row), long);
            heap.free(row);
        }
        assert!(heap.size() < 400_000, "{} bytes", heap.size());
        assert_eq!((heap.key(kept), heap.rest(kept)), (b"key".as_slice(), b"rest".as_slice()));
        assert_eq!((heap.len(), heap.sequence(kept)), (1, 0));
    }
}
