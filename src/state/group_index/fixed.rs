//! Keys of a fixed width, packed into machine words.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, make_array};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Float16Type, Float32Type, Float64Type};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::slots::Slots;
use crate::error::Result;
use crate::state::grow_to;

/// Two words, and in the two low bits of `nulls` which of them is NULL. The word of a NULL is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Packed {
    left: u64,
    right: u64,
    nulls: u8,
}

/// Words by group, and where each is found by its hash.
pub(super) struct FixedKeys<W> {
    hasher: DefaultHashBuilder,
    /// Groups by the hash of their words. The words are not repeated here: a small table is in the cache more often.
    table: HashTable<u32>,
    null: Option<u32>,
    words: Vec<W>,
}

impl<W> Default for FixedKeys<W> {
    fn default() -> Self {
        FixedKeys { hasher: DefaultHashBuilder::default(), table: HashTable::new(), null: None, words: vec![] }
    }
}

impl<W: Copy + Eq + Hash + Default> FixedKeys<W> {
    /// Appends the group of each word; a row that `nulls` marks is NULL whatever its word.
    pub fn intern(&mut self, words: &[W], nulls: Option<&NullBuffer>, slots: &mut Slots, groups: &mut Vec<u32>) {
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            None => groups.extend(words.iter().map(|word| self.intern_one(*word, slots))),
            Some(nulls) => groups.extend(words.iter().zip(nulls).map(|(word, valid)| match valid {
                true => self.intern_one(*word, slots),
                false => self.intern_null(slots),
            })),
        }
    }

    fn intern_one(&mut self, word: W, slots: &mut Slots) -> u32 {
        match self.find(word) {
            Some(group) => group,
            None => {
                let group = slots.take();
                self.put(group, word, slots);
                self.hash(group);
                group
            }
        }
    }

    /// The group of a word that is in the table.
    #[inline]
    pub fn find(&self, word: W) -> Option<u32> {
        let words = &self.words;
        self.table.find(self.hasher.hash_one(word), |group| words[*group as usize] == word).copied()
    }

    pub fn intern_null(&mut self, slots: &mut Slots) -> u32 {
        if let Some(group) = self.null {
            return group;
        }
        let group = slots.take();
        self.null = Some(group);
        self.put(group, W::default(), slots);
        group
    }

    /// Notes the word of a group, which is not found by it yet.
    pub fn put(&mut self, group: u32, word: W, slots: &Slots) {
        grow_to(&mut self.words, slots.slots(), W::default());
        self.words[group as usize] = word;
    }

    /// Lets a group be found by its word.
    pub fn hash(&mut self, group: u32) {
        let (words, hasher) = (&self.words, &self.hasher);
        let hash = |group: &u32| hasher.hash_one(words[*group as usize]);
        self.table.insert_unique(hash(&group), group, hash);
    }

    /// Forgets where words are found, but not the words.
    pub fn unhash(&mut self) {
        self.table = HashTable::new();
    }

    /// The words that are found, and their groups.
    pub fn found(&self) -> impl Iterator<Item = (W, u32)> + Clone + '_ {
        self.table.iter().map(|group| (self.words[*group as usize], *group))
    }

    /// How many words are found.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// The word of a group.
    pub fn word(&self, group: u32) -> W {
        self.words[group as usize]
    }

    /// Whether `group` is that of NULL.
    pub fn is_null(&self, group: u32) -> bool {
        self.null == Some(group)
    }

    /// Forgets the NULL group, if `group` is it.
    pub fn remove_null(&mut self, group: u32) -> bool {
        self.null.take_if(|null| *null == group).is_some()
    }

    /// Forgets the key of `group`.
    pub fn remove(&mut self, group: u32) {
        if self.remove_null(group) {
            return;
        }
        let hash = self.hasher.hash_one(self.words[group as usize]);
        if let Ok(entry) = self.table.find_entry(hash, |entry| *entry == group) {
            entry.remove();
        }
    }

    /// The words of `groups`.
    pub fn words(&self, groups: &[u32]) -> Vec<W> {
        groups.iter().map(|group| self.words[*group as usize]).collect()
    }

    /// Which of `groups` is the NULL group, if any is.
    pub fn nulls(&self, groups: &[u32]) -> Option<NullBuffer> {
        let null = self.null?;
        groups.contains(&null).then(|| groups.iter().map(|group| *group != null).collect())
    }

    pub fn bytes(&self) -> usize {
        self.table.allocation_size() + self.words.capacity() * size_of::<W>()
    }
}

/// Whether a column of that type fits into words of eight bytes.
pub(super) fn is_word(key: &DataType) -> bool {
    // The two interval types that are structs may be aligned less strictly than a word of their size.
    let interval = matches!(key, DataType::Interval(_));
    matches!(key, DataType::Boolean) || (!interval && key.primitive_width().is_some_and(|width| width <= 8))
}

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

fn canonical_f16(value: F16) -> F16 {
    if value.is_nan() { F16::NAN } else { value + F16::ZERO }
}

fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// A float column with one zero and one NaN; any other column as it is.
pub(super) fn canonical(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float16 => Arc::new(array.as_primitive::<Float16Type>().unary::<_, Float16Type>(canonical_f16)),
        DataType::Float32 => Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(canonical_f32)),
        DataType::Float64 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical_f64)),
        _ => array.clone(),
    }
}

/// The bits of each value, whatever the type; those of eight bytes without a copy. What stands for a NULL is arbitrary.
pub(super) fn words(array: &ArrayRef) -> ScalarBuffer<u64> {
    let array = canonical(array);
    if let Some(bits) = array.as_boolean_opt() {
        return bits.values().iter().map(u64::from).collect();
    }
    let data = array.to_data();
    match array.data_type().primitive_width() {
        Some(1) => widened::<u8>(&data),
        Some(2) => widened::<u16>(&data),
        Some(4) => widened::<u32>(&data),
        _ => ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len()),
    }
}

fn widened<N: ArrowNativeType + Into<u64>>(data: &ArrayData) -> ScalarBuffer<u64> {
    data.buffer::<N>(0)[..data.len()].iter().map(|value| (*value).into()).collect()
}

/// [`words`] of sixteen bytes.
pub(super) fn double_words(array: &ArrayRef) -> Vec<u128> {
    let data = array.to_data();
    data.buffer::<u128>(0)[..data.len()].to_vec()
}

/// The bits of two columns, row by row.
pub(super) fn pairs(left: &ArrayRef, right: &ArrayRef) -> Vec<Packed> {
    let pack = |(left, right)| Packed { left, right, nulls: 0 };
    let mut pairs = words(left).iter().copied().zip(words(right).iter().copied()).map(pack).collect::<Vec<_>>();
    for row in null_rows(left) {
        pairs[row].left = 0;
        pairs[row].nulls |= 1;
    }
    for row in null_rows(right) {
        pairs[row].right = 0;
        pairs[row].nulls |= 2;
    }
    pairs
}

fn null_rows(array: &ArrayRef) -> impl Iterator<Item = usize> + '_ {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    nulls.into_iter().flat_map(|nulls| (0..nulls.len()).filter(|row| nulls.is_null(*row)))
}

/// A column of type `to` from the bits of its values.
pub(super) fn word_array(to: &DataType, words: Vec<u64>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let rows = words.len();
    let values = match to.primitive_width() {
        None => return Ok(Arc::new(BooleanArray::new(words.iter().map(|word| *word != 0).collect(), nulls))),
        Some(1) => Buffer::from_vec(words.iter().map(|word| *word as u8).collect()),
        Some(2) => Buffer::from_vec(words.iter().map(|word| *word as u16).collect::<Vec<_>>()),
        Some(4) => Buffer::from_vec(words.iter().map(|word| *word as u32).collect::<Vec<_>>()),
        Some(_) => Buffer::from_vec(words),
    };
    primitive_array(to, rows, values, nulls)
}

/// [`word_array`] of sixteen bytes.
pub(super) fn double_word_array(to: &DataType, words: Vec<u128>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    primitive_array(to, words.len(), Buffer::from_vec(words), nulls)
}

fn primitive_array(to: &DataType, len: usize, values: Buffer, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let data = ArrayData::builder(to.clone()).len(len).nulls(nulls).add_buffer(values).build()?;
    Ok(make_array(data))
}

/// The two columns of `pairs`.
pub(super) fn pair_arrays(types: &[DataType], pairs: &[Packed]) -> Result<Vec<ArrayRef>> {
    let left = pairs.iter().map(|pair| pair.left).collect::<Vec<_>>();
    let right = pairs.iter().map(|pair| pair.right).collect::<Vec<_>>();
    Ok(vec![word_array(&types[0], left, pair_nulls(pairs, 1))?, word_array(&types[1], right, pair_nulls(pairs, 2))?])
}

fn pair_nulls(pairs: &[Packed], bit: u8) -> Option<NullBuffer> {
    let any = pairs.iter().any(|pair| pair.nulls & bit != 0);
    any.then(|| pairs.iter().map(|pair| pair.nulls & bit == 0).collect())
}
