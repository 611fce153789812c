//! The rows of each partition in order: by a key, and rows of equal keys as they came.
//!
//! ```text
//! partition a:   3 1 7      heap   0 .. key | row      a row is bytes: its key, then all of its columns
//!           b:   0 2               1 .. key | row
//! ```
//!
//! Keys and rows are in Arrow's row format, whose bytes are in the order of the values.
//! Rows that may be taken back are found by what is in them. How they were cut into batches must not be seen in the
//! order of equals, and what was folded within a batch has no order of arrival: so there rows of equal keys stand in
//! the order of their values.
//!
//! In a snapshot a row has its number in the order of arrival, under which a later snapshot says that it is gone.

mod heap;
mod sorted;
mod written;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{SortOptions, concat_batches, take};
use arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use arrow::row::{RowConverter, Rows, SortField};

use super::group_index::{canonical, decoded, row_converter};
use super::{GroupIndex, Snapshot, StateTable, table};
use crate::error::{InternalError, Result};
use crate::types::{Epoch, Interval, Timestamp};

use heap::Heap;
pub use sorted::Sorted;
use written::{WRITTEN, Written};

/// Keys of partitions, columns, a number in the order of arrival and one of its partition: the rows that have come.
const ROWS: &str = "rows";
/// Numbers of rows that earlier snapshots hold and that are gone.
const TAKEN_OUT: &str = "taken out";

/// So many rows are noted without a look whether they have gone.
const NOTED_MIN: usize = 1_024;

/// Where rows of equal keys stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equals {
    /// As they came.
    ByArrival,
    /// In the order of their values.
    ByValue,
}

/// The rows of each partition, in order.
pub struct OrderedRows {
    schema: SchemaRef,
    types: Vec<DataType>,
    equals: Equals,
    /// What makes keys of the columns that are sorted by, if there are any.
    keys: Option<RowConverter>,
    /// What makes bytes of the columns of rows, if they have any.
    rows: Option<RowConverter>,
    partitions: GroupIndex,
    width: usize,
    orders: Vec<Sorted>,
    /// Bytes of all orders, so that nobody has to look at them to know.
    order_bytes: usize,
    heap: Heap,
    next: u64,
    changes: Option<Changes>,
    /// When partitions were last written, if they are forgotten for want of it.
    written: Option<Written>,
}

/// What has come and gone since the last snapshot; nothing is noted while there is none.
struct Changes {
    /// Rows with smaller numbers in the order of arrival are in a snapshot.
    saved: u64,
    /// Rows, their partitions and their numbers in the order of arrival; some may have gone since.
    come: Vec<(u32, u32, u64)>,
    /// The numbers of rows that a snapshot holds.
    gone: Vec<u64>,
}

impl Changes {
    /// Those from the row on that is the next to come.
    fn from(saved: u64) -> Changes {
        Changes { saved, come: vec![], gone: vec![] }
    }

    /// Notes a row that has come. Those that have gone since are not noted for ever.
    fn note(&mut self, heap: &Heap, row: (u32, u32, u64)) {
        if self.come.len() > 2 * heap.len() + NOTED_MIN {
            self.come.retain(|row| is_there(heap, row));
        }
        self.come.push(row);
    }

    fn bytes(&self) -> usize {
        self.come.capacity() * size_of::<(u32, u32, u64)>() + self.gone.capacity() * size_of::<u64>()
    }
}

/// Rows on their way in or out, as bytes.
pub struct Encoded {
    keys: Option<Rows>,
    rows: Option<Rows>,
    /// Which of the keys are theirs, if not all.
    chosen: Option<Vec<u32>>,
}

impl Encoded {
    /// The key of a row.
    #[inline]
    pub fn key(&self, row: usize) -> &[u8] {
        let row = self.chosen.as_ref().map_or(row, |chosen| chosen[row] as usize);
        self.keys.as_ref().map(|keys| keys.row(row).data()).unwrap_or_default()
    }

    /// The columns of a row.
    #[inline]
    fn row(&self, row: usize) -> &[u8] {
        self.rows.as_ref().map(|rows| rows.row(row).data()).unwrap_or_default()
    }
}

/// The type of a column that rows are sorted by, and how.
pub type KeyType = (DataType, SortOptions);

impl OrderedRows {
    /// No rows yet, of those columns, in partitions by keys of those types.
    ///
    /// # Errors
    /// If there are values among them that cannot be compared.
    pub fn new(schema: &SchemaRef, partition: &[DataType], order: &[KeyType], equals: Equals) -> Result<OrderedRows> {
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        // For what it says about types that have no order.
        row_converter(&order.iter().map(|(data_type, _)| data_type.clone()).collect::<Vec<_>>())?;
        let fields = order.iter().map(|(data_type, options)| SortField::new_with_options(data_type.clone(), *options));
        Ok(OrderedRows {
            schema: schema.clone(),
            equals,
            keys: (!order.is_empty()).then(|| RowConverter::new(fields.collect())).transpose()?,
            rows: (!types.is_empty()).then(|| row_converter(&types)).transpose()?,
            types,
            partitions: GroupIndex::new(partition)?,
            width: partition.len(),
            orders: vec![],
            order_bytes: 0,
            heap: Heap::default(),
            next: 0,
            changes: None,
            written: None,
        })
    }

    /// The same, forgetting partitions that were not written for so long.
    #[must_use]
    pub fn forgetting(self, ttl: Option<Interval>) -> OrderedRows {
        OrderedRows { written: ttl.map(Written::new), ..self }
    }

    /// Whether partitions are forgotten, so that a row that goes may not be there.
    pub fn forgets(&self) -> bool {
        self.written.is_some()
    }

    /// Notes that partitions are written at `now`.
    pub fn touch(&mut self, partitions: &[u32], now: Timestamp) {
        if let Some(written) = &mut self.written {
            written.touch(partitions, now);
        }
    }

    /// When the next partitions may be due to be forgotten.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.written.as_ref().and_then(Written::next)
    }

    /// Forgets the partitions that are due, and gives how many.
    pub fn forget_due(&mut self, now: Timestamp) -> usize {
        let due = self.written.as_mut().map(|written| written.due(now)).unwrap_or_default();
        self.forget(&due);
        due.len()
    }

    /// The partition of each of some rows, a new one where it is new.
    pub fn partitions(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let mut partitions = vec![];
        self.partitions.intern(keys, rows, &mut partitions)?;
        while self.orders.len() < self.partitions.slots() {
            self.orders.push(Sorted::default());
        }
        Ok(partitions)
    }

    /// The keys alone of rows that are sorted by those columns.
    pub fn encode_keys(&self, order: &[ArrayRef]) -> Result<Encoded> {
        let keys = self.keys.as_ref().map(|keys| keys.convert_columns(order)).transpose()?;
        Ok(Encoded { keys, rows: None, chosen: None })
    }

    /// Rows whose keys are the chosen ones, as bytes.
    pub fn encode_chosen(&self, keys: Encoded, chosen: Vec<u32>, rows: &RecordBatch) -> Result<Encoded> {
        Ok(Encoded { rows: self.encode_rows(rows)?, chosen: Some(chosen), ..keys })
    }

    /// Rows that are sorted by those columns as bytes.
    pub fn encode(&self, order: &[ArrayRef], rows: &RecordBatch) -> Result<Encoded> {
        Ok(Encoded { rows: self.encode_rows(rows)?, ..self.encode_keys(order)? })
    }

    fn encode_rows(&self, rows: &RecordBatch) -> Result<Option<Rows>> {
        let columns: Vec<ArrayRef> = match self.equals {
            Equals::ByArrival => rows.columns().to_vec(),
            // Who came with the one zero may go with the other.
            Equals::ByValue => rows.columns().iter().map(canonical).collect(),
        };
        Ok(self.rows.as_ref().map(|rows| rows.convert_columns(&columns)).transpose()?)
    }

    /// Takes a row into a partition and gives its number.
    pub fn insert(&mut self, partition: u32, rows: &Encoded, row: usize) -> Result<u32> {
        let (sequence, too_many) = (self.next, || InternalError::new("more rows in order than can be numbered"));
        let number = self.heap.push(rows.key(row), rows.row(row), sequence).ok_or_else(too_many)?;
        self.next += 1;
        if let Some(changes) = &mut self.changes {
            changes.note(&self.heap, (number, partition, sequence));
        }
        let equals = self.equals;
        self.reorder(partition, |order, heap| order.insert(number, |other| compare(heap, equals, other, number)));
        Ok(number)
    }

    /// Changes the order of a partition, and with it how many bytes all of them have.
    fn reorder<T>(&mut self, partition: u32, change: impl FnOnce(&mut Sorted, &Heap) -> T) -> T {
        let order = &mut self.orders[partition as usize];
        let before = order.bytes();
        let changed = change(order, &self.heap);
        self.order_bytes = self.order_bytes + order.bytes() - before;
        changed
    }

    /// The row of a partition that is the same as this one, of several the last to come.
    pub fn find(&self, partition: u32, rows: &Encoded, row: usize) -> Option<u32> {
        let (key, rest) = (rows.key(row), rows.row(row));
        let compared = |other: u32| self.heap.key(other).cmp(key).then_with(|| self.heap.rest(other).cmp(rest));
        let found = self.orders[partition as usize].last_until(compared);
        found.filter(|found| compared(*found) == Ordering::Equal)
    }

    /// The row of a partition that this one would come behind, or comes behind if it is there as well.
    pub fn last_before(&self, partition: u32, rows: &Encoded, row: usize) -> Option<u32> {
        let (key, rest) = (rows.key(row), rows.row(row));
        let compared = |other: u32| self.heap.key(other).cmp(key).then_with(|| self.heap.rest(other).cmp(rest));
        self.orders[partition as usize].last_until(compared)
    }

    /// The row of a partition that is the next behind this one, which may have been taken out.
    pub fn next_after(&self, partition: u32, row: u32) -> Option<u32> {
        let behind = |other: u32| match self.compare(other, row) {
            Ordering::Less | Ordering::Equal => Ordering::Less,
            Ordering::Greater => Ordering::Greater,
        };
        self.orders[partition as usize].from(behind).next()
    }

    /// Takes a row out of the order. It can still be looked at, until it is freed.
    pub fn take_out(&mut self, partition: u32, row: u32) -> bool {
        let equals = self.equals;
        self.reorder(partition, |order, heap| order.remove(row, |other| compare(heap, equals, other, row)))
    }

    /// Takes the last row of a partition out of the order. It can still be looked at, until it is freed.
    pub fn pop(&mut self, partition: u32) -> Option<u32> {
        self.reorder(partition, |order, _| order.pop())
    }

    /// Takes the first row of a partition out of the order. It can still be looked at, until it is freed.
    pub fn pop_first(&mut self, partition: u32) -> Option<u32> {
        self.reorder(partition, |order, _| order.pop_first())
    }

    /// Frees rows that were taken out.
    pub fn free(&mut self, rows: &[u32]) {
        for row in rows {
            let sequence = self.heap.sequence(*row);
            if let Some(changes) = self.changes.as_mut().filter(|changes| sequence < changes.saved) {
                changes.gone.push(sequence);
            }
            self.heap.free(*row);
        }
    }

    /// Forgets those of `partitions` that have no row.
    pub fn forget_empty(&mut self, partitions: &[u32]) {
        let empty: Vec<u32> =
            partitions.iter().copied().filter(|partition| self.orders[*partition as usize].is_empty()).collect();
        if let Some(written) = &mut self.written {
            written.forget(&empty);
        }
        self.partitions.remove(&empty);
    }

    /// How two rows stand to each other.
    #[inline]
    pub fn compare(&self, one: u32, other: u32) -> Ordering {
        compare(&self.heap, self.equals, one, other)
    }

    /// A partition that had no row and has one now is new, wherever the batches were cut.
    pub fn appeared(&mut self, partition: u32) {
        self.partitions.move_to_end(partition);
    }

    /// The rows of a partition, in order.
    #[inline]
    pub fn order(&self, partition: u32) -> &Sorted {
        &self.orders[partition as usize]
    }

    /// The partitions, in the order in which they first appeared.
    pub fn partitions_in_order(&self) -> Vec<u32> {
        self.partitions.groups_in_order()
    }

    /// The keys of partitions, a column each.
    pub fn keys(&self, partitions: &[u32]) -> Result<Vec<ArrayRef>> {
        self.partitions.keys(partitions)
    }

    /// Forgets partitions with all their rows.
    pub fn forget(&mut self, partitions: &[u32]) {
        let mut gone = vec![];
        for partition in partitions {
            while let Some(row) = self.pop(*partition) {
                gone.push(row);
            }
        }
        self.free(&gone);
        self.forget_empty(partitions);
    }

    /// What a row is sorted by: the bytes of two rows are equal if they are peers.
    #[inline]
    pub fn key(&self, row: u32) -> &[u8] {
        self.heap.key(row)
    }

    /// The columns of a row: the bytes of two rows are equal if they are alike.
    #[inline]
    pub fn row(&self, row: u32) -> &[u8] {
        self.heap.rest(row)
    }

    /// The columns of rows.
    pub fn gather(&self, rows: &[u32]) -> Result<Vec<ArrayRef>> {
        match &self.rows {
            Some(converter) => decoded(converter, &self.types, rows.iter().map(|row| self.heap.rest(*row))),
            None => Ok(vec![]),
        }
    }

    /// The columns' schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows.
    pub fn num_rows(&self) -> usize {
        self.heap.len()
    }

    /// Bytes held. Looks at no row and no partition: it is asked after each batch.
    pub fn bytes(&self) -> usize {
        let orders = self.orders.capacity() * size_of::<Sorted>() + self.order_bytes;
        let noted = self.changes.as_ref().map_or(0, Changes::bytes);
        let written = self.written.as_ref().map_or(0, Written::bytes);
        self.heap.size() + self.partitions.bytes() + orders + noted + written
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        let rows: Vec<u32> = self.orders.iter().flat_map(Sorted::iter).collect();
        self.free(&rows);
        if let Some(written) = &mut self.written {
            written.forget(&self.partitions.groups_in_order());
        }
        if let Some(changes) = &mut self.changes {
            changes.come.clear();
        }
        (self.heap, self.orders, self.order_bytes) = (Heap::default(), vec![], 0);
        self.partitions.clear();
    }

    /// The rows that have come and gone since `since`.
    pub fn save(&mut self, since: Epoch) -> Result<Vec<StateTable>> {
        let noted = self.changes.replace(Changes::from(self.next)).filter(|_| since != Epoch::ZERO);
        let (mut tables, mut rows) = (vec![], vec![]);
        match noted {
            Some(changes) => {
                let come = changes.come.iter().filter(|row| is_there(&self.heap, row));
                rows.extend(come.map(|(row, partition, _)| (*row, *partition)));
                let gone = changes.gone.len();
                tables.push(table(TAKEN_OUT, vec![Arc::new(UInt64Array::from(changes.gone))], gone)?);
            }
            None => {
                for partition in self.partitions.groups_in_order() {
                    rows.extend(self.orders[partition as usize].iter().map(|row| (row, partition)));
                }
            }
        }
        let (rows, partitions): (Vec<u32>, Vec<u32>) = rows.into_iter().unzip();
        let mut columns = self.partitions.keys(&partitions)?;
        columns.extend(self.gather(&rows)?);
        columns.push(Arc::new(rows.iter().map(|row| Some(self.heap.sequence(*row))).collect::<UInt64Array>()));
        columns.push(Arc::new(UInt64Array::from(self.partitions.sequence(&partitions))));
        tables.push(table(ROWS, columns, rows.len())?);
        if let Some(written) = &mut self.written {
            tables.push(written.save(&self.partitions, since)?);
        }
        Ok(tables)
    }

    /// Takes the rows of snapshots in; `order` gives the columns that rows are sorted by.
    pub fn restore(
        &mut self,
        snapshots: &[Snapshot],
        order: impl Fn(&RecordBatch) -> Result<Vec<ArrayRef>>,
    ) -> Result<()> {
        let Some(saved) = left(snapshots)? else { return Ok(()) };
        let wrong = || InternalError::new("saved rows in order are not in their form");
        let (keys, rest) = saved.columns().split_at_checked(self.width).ok_or_else(wrong)?;
        let (columns, numbers) = rest.split_at_checked(self.types.len()).ok_or_else(wrong)?;
        let [sequence, of_partition] = numbers else { return Err(wrong().into()) };
        let sequence = sequence.as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
        let of_partition = of_partition.as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(saved.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns.to_vec(), &options)?;
        let partitions = self.partitions(keys, rows.num_rows())?;
        self.partitions.set_sequence(&partitions, of_partition.values());
        let encoded = self.encode(&order(&rows)?, &rows)?;
        for (row, (partition, sequence)) in partitions.iter().zip(sequence.values()).enumerate() {
            self.next = *sequence;
            self.insert(*partition, &encoded, row)?;
        }
        self.changes = Some(Changes::from(self.next));
        self.resume_written(snapshots)
    }

    /// Takes in when partitions were last written; those of which no row is left are not there.
    fn resume_written(&mut self, snapshots: &[Snapshot]) -> Result<()> {
        if self.written.is_none() {
            return Ok(());
        }
        for saved in snapshots.iter().filter_map(|snapshot| snapshot.table(WRITTEN)) {
            let wrong = || InternalError::new("saved partitions are not in their form");
            let (keys, _) = saved.columns().split_at_checked(self.width).ok_or_else(wrong)?;
            let partitions = self.partitions(keys, saved.num_rows())?;
            if let Some(written) = &mut self.written {
                written.resume(&partitions, saved)?;
            }
            self.forget_empty(&partitions);
        }
        if let Some(written) = &mut self.written {
            written.resumed(&self.partitions);
        }
        Ok(())
    }
}

/// Whether a row with its partition and number in the order of arrival has not gone.
fn is_there(heap: &Heap, (row, _, sequence): &(u32, u32, u64)) -> bool {
    heap.sequence(*row) == *sequence
}

/// How one row stands to another.
#[inline]
fn compare(heap: &Heap, equals: Equals, one: u32, other: u32) -> Ordering {
    let by_bytes = match equals {
        Equals::ByArrival => heap.key(one).cmp(heap.key(other)),
        Equals::ByValue => heap.all(one).cmp(heap.all(other)),
    };
    by_bytes.then_with(|| heap.sequence(one).cmp(&heap.sequence(other)))
}

/// The rows that snapshots hold and that are not gone, in order of arrival.
fn left(snapshots: &[Snapshot]) -> Result<Option<RecordBatch>> {
    let wrong = || InternalError::new("a saved row has no number");
    let numbers = |rows: &RecordBatch, from_end: usize| {
        let at = rows.num_columns().checked_sub(from_end)?;
        rows.columns().get(at)?.as_primitive_opt::<UInt64Type>().cloned()
    };
    let mut parts: Vec<&RecordBatch> = vec![];
    let (mut places, mut rows) = (HashMap::new(), 0u32);
    for snapshot in snapshots {
        if let Some(gone) = snapshot.table(TAKEN_OUT) {
            for number in numbers(gone, 1).ok_or_else(wrong)?.values() {
                places.remove(number);
            }
        }
        let Some(saved) = snapshot.table(ROWS) else { continue };
        for number in numbers(saved, 2).ok_or_else(wrong)?.values() {
            places.insert(*number, rows);
            rows += 1;
        }
        parts.push(saved);
    }
    let Some(schema) = parts.first().map(|first| first.schema()) else { return Ok(None) };
    let all = concat_batches(&schema, parts)?;
    let mut left: Vec<(u64, u32)> = places.into_iter().collect();
    left.sort_unstable();
    let at = UInt32Array::from_iter_values(left.iter().map(|(_, place)| *place));
    let columns = all.columns().iter().map(|column| take(column, &at, None)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(RecordBatch::try_new(all.schema(), columns)?))
}
