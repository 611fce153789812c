//! Which group numbers are in use, and in which order they came.

/// The sequence number of a slot that no group uses.
const FREE: u64 = u64::MAX;

/// Gives group numbers out and takes them back.
#[derive(Default)]
pub(super) struct Slots {
    /// For each slot when its group first appeared, or [`FREE`].
    sequence: Vec<u64>,
    free: Vec<u32>,
    next: u64,
    /// Whether the order of slots may no longer be the order of appearance.
    shuffled: bool,
}

impl Slots {
    /// A number for a new group.
    pub fn take(&mut self) -> u32 {
        let sequence = self.next;
        self.next += 1;
        if let Some(slot) = self.free.pop() {
            self.sequence[slot as usize] = sequence;
            return slot;
        }
        self.sequence.push(sequence);
        u32::try_from(self.sequence.len() - 1).expect("memory ends long before four billion groups")
    }

    /// The number of the only group there is.
    pub fn only(&mut self) -> u32 {
        if self.len() == 0 { self.take() } else { 0 }
    }

    /// Takes a number back; whether it was in use.
    pub fn release(&mut self, slot: u32) -> bool {
        if !self.is_live(slot) {
            return false;
        }
        self.sequence[slot as usize] = FREE;
        self.free.push(slot);
        self.shuffled = true;
        true
    }

    pub fn is_live(&self, slot: u32) -> bool {
        self.sequence.get(slot as usize).is_some_and(|sequence| *sequence != FREE)
    }

    pub fn sequence(&self, slot: u32) -> u64 {
        self.sequence[slot as usize]
    }

    pub fn set_sequence(&mut self, slot: u32, sequence: u64) {
        self.sequence[slot as usize] = sequence;
        self.next = self.next.max(sequence + 1);
        self.shuffled = true;
    }

    pub fn move_to_end(&mut self, slot: u32) {
        self.set_sequence(slot, self.next);
    }

    pub fn in_order(&self) -> Vec<u32> {
        let mut slots = (0..self.sequence.len() as u32).collect::<Vec<_>>();
        if self.shuffled {
            slots.retain(|slot| self.is_live(*slot));
            slots.sort_unstable_by_key(|slot| self.sequence[*slot as usize]);
        }
        slots
    }

    pub fn len(&self) -> usize {
        self.sequence.len() - self.free.len()
    }

    pub fn slots(&self) -> usize {
        self.sequence.len()
    }

    pub fn bytes(&self) -> usize {
        self.sequence.capacity() * size_of::<u64>() + self.free.capacity() * size_of::<u32>()
    }
}
