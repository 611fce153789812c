//! Which group numbers are in use, and in which order they came.

/// The sequence number of a slot that no group uses.
const FREE: u64 = u64::MAX;

/// Gives group numbers out and takes them back.
#[derive(Default)]
pub(super) struct Slots {
    /// How many numbers were ever in use at once.
    slots: u32,
    /// For each slot when its group first appeared, or [`FREE`]. As long as no number was taken back, groups appeared
    /// in the order of their numbers and this is not kept.
    sequence: Option<Vec<u64>>,
    free: Vec<u32>,
    next: u64,
}

impl Slots {
    /// A number for a new group.
    pub fn take(&mut self) -> u32 {
        let sequence = self.next;
        self.next += 1;
        if let Some(slot) = self.free.pop() {
            self.shuffled()[slot as usize] = sequence;
            return slot;
        }
        if let Some(kept) = &mut self.sequence {
            kept.push(sequence);
        }
        let slot = self.slots;
        self.slots = slot.checked_add(1).expect("memory ends long before four billion groups");
        slot
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
        self.shuffled()[slot as usize] = FREE;
        self.free.push(slot);
        true
    }

    pub fn is_live(&self, slot: u32) -> bool {
        slot < self.slots && self.sequence(slot) != FREE
    }

    pub fn sequence(&self, slot: u32) -> u64 {
        self.sequence.as_ref().map_or(u64::from(slot), |kept| kept[slot as usize])
    }

    pub fn set_sequence(&mut self, slot: u32, sequence: u64) {
        self.shuffled()[slot as usize] = sequence;
        self.next = self.next.max(sequence + 1);
    }

    pub fn move_to_end(&mut self, slot: u32) {
        self.set_sequence(slot, self.next);
    }

    pub fn in_order(&self) -> Vec<u32> {
        let mut slots = (0..self.slots).collect::<Vec<_>>();
        if let Some(sequence) = &self.sequence {
            slots.retain(|slot| self.is_live(*slot));
            slots.sort_unstable_by_key(|slot| sequence[*slot as usize]);
        }
        slots
    }

    pub fn len(&self) -> usize {
        self.slots() - self.free.len()
    }

    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    pub fn bytes(&self) -> usize {
        let sequence = self.sequence.as_ref().map_or(0, |kept| kept.capacity() * size_of::<u64>());
        sequence + self.free.capacity() * size_of::<u32>()
    }

    /// The sequence numbers, kept from now on.
    fn shuffled(&mut self) -> &mut Vec<u64> {
        self.sequence.get_or_insert_with(|| (0..u64::from(self.slots)).collect())
    }
}
