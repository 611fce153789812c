//! `DISTINCT` within calls: one index of (group, value) for all calls of an argument, before their accumulators.
//!
//! ```text
//! count(DISTINCT bidder), count(DISTINCT bidder) FILTER (WHERE price < 100)
//!
//! value   bidder 7 -> 0, bidder 9 -> 1
//! entry   (group 0, value 0) -> had by both calls, (group 0, value 1) -> had by the first
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt8Array, UInt64Array};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::compute::{concat, filter};
use arrow::datatypes::{DataType, Field, UInt8Type};

use super::{saved, values};
use crate::error::{InternalError, Result};
use crate::state::{Chains, GroupIndex, grow_to};

/// Lets each value of a group through once to each call, when it first appears there.
pub struct Distinct {
    /// The values of all groups.
    values: GroupIndex,
    /// How many groups have each value.
    uses: Vec<u32>,
    /// Group and value, in one word.
    entries: GroupIndex,
    /// Which calls have had each entry, a bit a call.
    had: Vec<u8>,
    /// The entries of each group.
    groups: Chains,
}

impl Distinct {
    /// So many calls have a bit.
    pub const CALLS_MAX: usize = u8::BITS as usize;
    /// How many columns its saved state has.
    pub const WIDTH: usize = 2;

    /// No value yet of an argument of that type.
    pub fn new(data_type: &DataType) -> Result<Distinct> {
        Ok(Distinct {
            values: GroupIndex::new(std::slice::from_ref(data_type))?,
            uses: vec![],
            entries: GroupIndex::new(&[DataType::UInt64])?,
            had: vec![],
            groups: Chains::new(false),
        })
    }

    /// Makes room for groups below `slots`.
    pub fn grow(&mut self, slots: usize) {
        self.groups.grow(slots, 0);
    }

    /// For each call the rows that bring it a value of their group which it has not had. `wanted` has the rows that
    /// its filter lets through, or none for all.
    pub fn admit(
        &mut self,
        groups: &[u32],
        values: &ArrayRef,
        wanted: &[Option<&BooleanArray>],
    ) -> Result<Vec<BooleanArray>> {
        let mut calls = vec![0_u8; groups.len()];
        for (call, wanted) in wanted.iter().enumerate() {
            match wanted {
                None => calls.iter_mut().for_each(|calls| *calls |= 1 << call),
                Some(rows) => rows.values().set_indices().for_each(|row| calls[row] |= 1 << call),
            }
        }
        self.note(groups, values, &mut calls)?;
        Ok(by_call(&calls, wanted.len()))
    }

    /// Notes which calls have the value of each row, and leaves those in `calls` that had not had it.
    fn note(&mut self, groups: &[u32], values: &ArrayRef, calls: &mut [u8]) -> Result<()> {
        let asked = BooleanBuffer::collect_bool(calls.len(), |row| calls[row] != 0);
        if asked.count_set_bits() == calls.len() {
            return self.note_rows(groups, values, calls.iter_mut());
        }
        let rows: BooleanArray = asked.into();
        let groups: Vec<u32> = rows.values().set_indices().map(|row| groups[row]).collect();
        self.note_rows(&groups, &filter(values, &rows)?, calls.iter_mut().filter(|calls| **calls != 0))
    }

    fn note_rows<'a>(
        &mut self,
        groups: &[u32],
        values: &ArrayRef,
        calls: impl Iterator<Item = &'a mut u8>,
    ) -> Result<()> {
        let (mut numbers, mut entries) = (vec![], vec![]);
        self.values.intern(std::slice::from_ref(values), groups.len(), &mut numbers)?;
        let words = groups.iter().zip(&numbers).map(|(group, number)| u64::from(*group) << 32 | u64::from(*number));
        let words: ArrayRef = Arc::new(UInt64Array::from_iter_values(words));
        self.entries.intern(&[words], groups.len(), &mut entries)?;
        grow_to(&mut self.uses, self.values.slots(), 0);
        grow_to(&mut self.had, self.entries.slots(), 0);
        self.groups.grow(0, self.entries.slots());
        for (row, (entry, calls)) in entries.into_iter().zip(calls).enumerate() {
            let had = &mut self.had[entry as usize];
            if *had == 0 {
                self.groups.push(groups[row], entry);
                self.uses[numbers[row] as usize] += 1;
            }
            let new = *calls & !*had;
            *had |= *calls;
            *calls = new;
        }
        Ok(())
    }

    /// Makes groups as new.
    pub fn reset(&mut self, groups: &[u32]) {
        let mut entries = vec![];
        groups.iter().for_each(|group| self.groups.take(*group, &mut entries));
        let mut unused = vec![];
        for number in self.numbers(&entries) {
            self.uses[number as usize] -= 1;
            if self.uses[number as usize] == 0 {
                unused.push(number);
            }
        }
        entries.iter().for_each(|entry| self.had[*entry as usize] = 0);
        self.entries.remove(&entries);
        self.values.remove(&unused);
    }

    /// Puts the values of group `from` to those of group `into`, and makes `from` as new. Gives those values, and for
    /// each of `calls` which of them it had there and had not had here.
    pub fn merge(&mut self, into: u32, from: u32, calls: usize) -> Result<(ArrayRef, Vec<BooleanArray>)> {
        let (values, had, _) = self.of(&[from])?;
        self.reset(&[from]);
        let had = by_call(&had, calls);
        let new = self.admit(&vec![into; values.len()], &values, &had.iter().map(Some).collect::<Vec<_>>())?;
        Ok((values, new))
    }

    /// The state of groups as columns, for a snapshot.
    pub fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let (values, had, lengths) = self.of(groups)?;
        let list = |values: ArrayRef| -> Result<ArrayRef> {
            let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
            Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
        };
        Ok(vec![list(values)?, list(Arc::new(UInt8Array::from(had)))?])
    }

    /// Puts a saved state back: row `n` of the columns is the state of `groups[n]`.
    pub fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let missing = || InternalError::new("a saved set of values is no list");
        let lists = saved(columns, 0)?.as_list_opt::<i32>().ok_or_else(missing)?;
        let had = saved(columns, 1)?.as_list_opt::<i32>().ok_or_else(missing)?;
        let owners = (0..groups.len()).flat_map(|row| std::iter::repeat_n(groups[row], lists.value(row).len()));
        let owners: Vec<u32> = owners.collect();
        let joined = |lists: &ListArray| -> Result<ArrayRef> {
            let parts: Vec<ArrayRef> = (0..groups.len()).map(|row| lists.value(row)).collect();
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            Ok(if parts.is_empty() { lists.values().slice(0, 0) } else { concat(&parts)? })
        };
        let mut had = values::<UInt8Type>(&joined(had)?)?.to_vec();
        if had.len() != owners.len() {
            return Err(InternalError::new("a saved set of values does not say who has had them").into());
        }
        self.note(&owners, &joined(lists)?, &mut had)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let counted = self.uses.capacity() * size_of::<u32>() + self.had.capacity();
        self.values.bytes() + self.entries.bytes() + self.groups.bytes() + counted
    }

    /// The values of groups with who has had them, and how many each group has.
    fn of(&self, groups: &[u32]) -> Result<(ArrayRef, Vec<u8>, Vec<usize>)> {
        let mut entries = vec![];
        let mut lengths = Vec::with_capacity(groups.len());
        for group in groups {
            let before = entries.len();
            self.groups.append_to(*group, &mut entries);
            lengths.push(entries.len() - before);
        }
        let values = self.values.keys(&self.numbers(&entries))?.pop();
        let values = values.ok_or_else(|| InternalError::new("an index of values has no values"))?;
        let had = entries.iter().map(|entry| self.had[*entry as usize]).collect();
        Ok((values, had, lengths))
    }

    /// The numbers of the values of entries.
    fn numbers(&self, entries: &[u32]) -> Vec<u32> {
        self.entries.words(entries).into_iter().map(|word| word as u32).collect()
    }
}

/// For each call the rows that have its bit.
fn by_call(bits: &[u8], calls: usize) -> Vec<BooleanArray> {
    let has = |call: usize, row: usize| bits[row] >> call & 1 == 1;
    (0..calls).map(|call| BooleanBuffer::collect_bool(bits.len(), |row| has(call, row)).into()).collect()
}
