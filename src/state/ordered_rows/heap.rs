//! The bytes of rows one behind the other, under numbers that are used again.

/// Rows stand in chunks of so many bytes, so that those that are there do not move when more come.
const CHUNK: usize = 1 << 20;
/// Less garbage than that is not worth collecting.
const GARBAGE_MIN: usize = 64 * 1024;

/// When a row came that is not there.
const NEVER: u64 = u64::MAX;

/// Where the bytes of a row are, and when it came.
#[derive(Clone, Copy)]
struct Row {
    chunk: u32,
    start: u32,
    /// How many bytes its key has, and how many it has in all.
    key: u32,
    len: u32,
    /// Its place in the order of arrival.
    sequence: u64,
}

/// Some of the bytes.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// How many of them are of rows that are there.
    live: usize,
}

/// Rows as bytes: a key, then the rest.
#[derive(Default)]
pub(super) struct Heap {
    chunks: Vec<Chunk>,
    /// Those that have no bytes.
    spare: Vec<u32>,
    /// The one that takes the next row, if it has room.
    open: Option<u32>,
    /// How many bytes of all chunks are of rows that were there, and how many are of any.
    garbage: usize,
    used: usize,
    /// For how many bytes there is room in all chunks.
    held: usize,
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
        let (chunk, start) = self.write(key, rest);
        let row = Row { chunk, start, key: key_len, len, sequence };
        match self.free.pop() {
            Some(number) => self.rows[number as usize] = row,
            None => self.rows.push(row),
        }
        Some(number)
    }

    /// Forgets a row; its number may be given to another one.
    pub fn free(&mut self, row: u32) {
        let place = &mut self.rows[row as usize];
        let (chunk, len) = (place.chunk, place.len as usize);
        (place.len, place.key, place.sequence) = (0, 0, NEVER);
        self.free.push(row);
        self.garbage += len;
        let left = &mut self.chunks[chunk as usize];
        left.live -= len;
        if left.live == 0 {
            self.empty(chunk);
        } else if self.garbage > GARBAGE_MIN && self.garbage > self.used / 2 {
            self.collect();
        }
    }

    /// Writes bytes where there is room; gives the chunk, and where they begin in it.
    fn write(&mut self, key: &[u8], rest: &[u8]) -> (u32, u32) {
        let len = key.len() + rest.len();
        let has_room = |chunk: &u32| self.chunks[*chunk as usize].bytes.len() + len <= CHUNK;
        let chunk = match self.open.filter(has_room) {
            Some(chunk) => chunk,
            None => self.open(len),
        };
        let Chunk { bytes, live } = &mut self.chunks[chunk as usize];
        let (start, held) = (bytes.len() as u32, bytes.capacity());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(rest);
        *live += len;
        self.used += len;
        self.held += bytes.capacity() - held;
        (chunk, start)
    }

    /// Opens a chunk with room for so many bytes. The only one grows with what is in it.
    fn open(&mut self, len: usize) -> u32 {
        let chunk = self.spare.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            self.chunks.len() as u32 - 1
        });
        if self.used > 0 {
            let bytes = Vec::with_capacity(CHUNK.max(len));
            self.held += bytes.capacity();
            self.chunks[chunk as usize].bytes = bytes;
        }
        self.open = Some(chunk);
        chunk
    }

    /// Gives back the bytes of a chunk in which no row is left; the open one keeps its room.
    fn empty(&mut self, chunk: u32) {
        let is_open = self.open == Some(chunk);
        let bytes = &mut self.chunks[chunk as usize].bytes;
        self.garbage -= bytes.len();
        self.used -= bytes.len();
        bytes.clear();
        if !is_open {
            self.held -= bytes.capacity();
            *bytes = vec![];
            self.spare.push(chunk);
        }
    }

    /// Moves rows together out of the chunks of which a quarter is garbage. As it is called when half of all is, it is
    /// long until it is called again.
    fn collect(&mut self) {
        let mut sparse: Vec<Option<Vec<u8>>> = vec![];
        for (number, chunk) in self.chunks.iter_mut().enumerate() {
            let is_sparse = chunk.live < chunk.bytes.len() / 4 * 3;
            sparse.push(is_sparse.then(|| std::mem::take(&mut chunk.bytes)));
            let Some(Some(bytes)) = sparse.last() else { continue };
            self.garbage -= bytes.len() - chunk.live;
            self.used -= bytes.len();
            self.held -= bytes.capacity();
            chunk.live = 0;
            self.spare.push(number as u32);
            self.open.take_if(|open| *open == number as u32);
        }
        for row in 0..self.rows.len() {
            let Row { chunk, start, key, len, sequence } = self.rows[row];
            let Some(Some(bytes)) = sparse.get(chunk as usize).filter(|_| sequence != NEVER) else { continue };
            let (start, key, len) = (start as usize, key as usize, len as usize);
            let (key, rest) = (&bytes[start..start + key], &bytes[start + key..start + len]);
            (self.rows[row].chunk, self.rows[row].start) = self.write(key, rest);
        }
    }

    /// The bytes of a row from the one to the other.
    #[inline]
    fn part(&self, row: u32, part: impl Fn(&Row) -> (u32, u32)) -> &[u8] {
        let row = &self.rows[row as usize];
        let (from, to) = part(row);
        &self.chunks[row.chunk as usize].bytes[(row.start + from) as usize..(row.start + to) as usize]
    }

    /// All bytes of a row.
    #[inline]
    pub fn all(&self, row: u32) -> &[u8] {
        self.part(row, |row| (0, row.len))
    }

    /// The key of a row.
    #[inline]
    pub fn key(&self, row: u32) -> &[u8] {
        self.part(row, |row| (0, row.key))
    }

    /// What a row has behind its key.
    #[inline]
    pub fn rest(&self, row: u32) -> &[u8] {
        self.part(row, |row| (row.key, row.len))
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
        let chunks = self.held + self.chunks.capacity() * size_of::<Chunk>();
        let numbers = (self.free.capacity() + self.spare.capacity()) * size_of::<u32>();
        chunks + self.rows.capacity() * size_of::<Row>() + numbers
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

    /// Rows of all lengths that come and go at random, and now and then all.
    #[test]
    fn rows_stay_what_they_are_while_others_come_and_go() {
        let mut heap = Heap::default();
        let mut there: Vec<(u32, Vec<u8>)> = vec![];
        let mut dice = 17_usize;
        for sequence in 0..60_000_usize {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let roll = dice >> 33;
            if roll.is_multiple_of(20_000) {
                there.drain(..).for_each(|(row, _)| heap.free(row));
            } else if roll % 5 < 2 && !there.is_empty() {
                let (row, bytes) = there.swap_remove(roll % there.len());
                assert_eq!(heap.all(row), bytes);
                heap.free(row);
            } else {
                let long = if roll.is_multiple_of(3_000) { CHUNK + 7 } else { roll % 300 };
                let bytes: Vec<u8> = (0..long).map(|byte| (byte + sequence) as u8).collect();
                let (key, rest) = bytes.split_at(long / 3);
                let row = heap.push(key, rest, sequence as u64).unwrap();
                assert_eq!((heap.key(row), heap.rest(row)), (key, rest));
                there.push((row, bytes));
            }
        }
        assert!(there.iter().all(|(row, bytes)| heap.all(*row) == bytes));
        let bytes = |heap: &Heap| heap.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
        let live: usize = there.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!((heap.used, heap.used - heap.garbage), (bytes(&heap), live));
        assert_eq!(heap.held, heap.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum::<usize>());
        there.drain(..).for_each(|(row, _)| heap.free(row));
        assert_eq!((heap.len(), heap.used, heap.garbage), (0, 0, 0));
        assert!(heap.held <= CHUNK + 7, "{}", heap.held);
    }
}
