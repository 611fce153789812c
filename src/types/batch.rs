//! A batch of rows and, for a changelog, what each row does to the result.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::Result;
use crate::types::Timestamp;

/// The name of the first column of a changelog result.
pub const OP_COLUMN: &str = "op";

/// What a row of a changelog does to the result (Flink's row kinds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum RowKind {
    /// `+I`: a row that was not there.
    Insert = 0,
    /// `-U`: the row as it was before an update. The next row of the batch is its `+U`.
    UpdateBefore = 1,
    /// `+U`: the row as it is after an update. The row before it in the batch is its `-U`.
    UpdateAfter = 2,
    /// `-D`: a row that is gone.
    Delete = 3,
}

impl RowKind {
    /// `+I`, `-U`, `+U` or `-D`.
    pub fn as_str(self) -> &'static str {
        match self {
            RowKind::Insert => "+I",
            RowKind::UpdateBefore => "-U",
            RowKind::UpdateAfter => "+U",
            RowKind::Delete => "-D",
        }
    }

    /// Those of [`RowKind::as_str`].
    fn bytes(self) -> [u8; 2] {
        match self {
            RowKind::Insert => *b"+I",
            RowKind::UpdateBefore => *b"-U",
            RowKind::UpdateAfter => *b"+U",
            RowKind::Delete => *b"-D",
        }
    }

    /// 1 for a row that comes, -1 for a row that goes.
    pub fn weight(self) -> i64 {
        match self {
            RowKind::Insert | RowKind::UpdateAfter => 1,
            RowKind::UpdateBefore | RowKind::Delete => -1,
        }
    }

    /// The row kind of that text, if it is one.
    pub fn parse(text: &str) -> Option<RowKind> {
        [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    fn from_code(code: i8) -> RowKind {
        match code {
            1 => RowKind::UpdateBefore,
            2 => RowKind::UpdateAfter,
            3 => RowKind::Delete,
            _ => RowKind::Insert,
        }
    }
}

impl fmt::Display for RowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The row kinds of a batch, one a row. Slicing and cloning are free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKinds(ScalarBuffer<i8>);

impl RowKinds {
    /// The kind of row `row`.
    pub fn get(&self, row: usize) -> RowKind {
        RowKind::from_code(self.0[row])
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = RowKind> + '_ {
        self.0.iter().map(|code| RowKind::from_code(*code))
    }

    /// `rows` rows of one kind.
    pub fn all(kind: RowKind, rows: usize) -> RowKinds {
        RowKinds(vec![kind as i8; rows].into())
    }

    fn slice(&self, offset: usize, rows: usize) -> RowKinds {
        RowKinds(self.0.slice(offset, rows))
    }
}

impl FromIterator<RowKind> for RowKinds {
    fn from_iter<I: IntoIterator<Item = RowKind>>(kinds: I) -> Self {
        RowKinds(kinds.into_iter().map(|kind| kind as i8).collect())
    }
}

/// Some rows of a relation, in order.
///
/// An append-only relation's batches have no row kinds; a changelog's batches have one for each row.
/// In a changelog a `-U` is always followed, in the same batch, by its `+U`.
/// Where something judges rows by event time, a batch carries the watermark that held just before each row.
#[derive(Debug, Clone)]
pub struct Batch {
    rows: RecordBatch,
    kinds: Option<RowKinds>,
    watermarks: Option<ScalarBuffer<i64>>,
}

impl Batch {
    /// Rows of an append-only relation.
    pub fn append_only(rows: RecordBatch) -> Batch {
        Batch { rows, kinds: None, watermarks: None }
    }

    /// Rows of a changelog. `kinds` has one entry a row.
    pub fn changelog(rows: RecordBatch, kinds: RowKinds) -> Batch {
        debug_assert_eq!(rows.num_rows(), kinds.len());
        Batch { rows, kinds: Some(kinds), watermarks: None }
    }

    /// The rows, without their kinds.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The kinds, if the relation is a changelog.
    pub fn kinds(&self) -> Option<&RowKinds> {
        self.kinds.as_ref()
    }

    /// The kind of row `row`; a row of an append-only relation is an insert.
    pub fn kind(&self, row: usize) -> RowKind {
        self.kinds.as_ref().map_or(RowKind::Insert, |kinds| kinds.get(row))
    }

    /// How many rows.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    /// For each row the watermark of its partition just before it, in nanoseconds (of integer event time the number
    /// itself). It never falls. Without it no row of the batch is late.
    pub fn watermarks(&self) -> Option<&ScalarBuffer<i64>> {
        self.watermarks.as_ref()
    }

    /// The watermark just before row `row`; one before everything if that is not known.
    pub fn watermark(&self, row: usize) -> Timestamp {
        self.watermarks.as_ref().map_or(Timestamp::MIN, |watermarks| Timestamp::from_nanos(watermarks[row]))
    }

    /// The rows with the watermark that held before each of them.
    #[must_use]
    pub fn with_watermarks(self, watermarks: Option<ScalarBuffer<i64>>) -> Batch {
        debug_assert!(watermarks.as_ref().is_none_or(|watermarks| watermarks.len() == self.num_rows()));
        Batch { watermarks, ..self }
    }

    /// The watermarks of the rows `rows` of this batch, in that order, for a batch that is made of them.
    pub fn watermarks_of(&self, rows: impl Iterator<Item = usize>) -> Option<ScalarBuffer<i64>> {
        let watermarks = self.watermarks.as_ref()?;
        Some(rows.map(|row| watermarks[row]).collect())
    }

    /// Rows `offset..offset + rows`, without a copy.
    #[must_use]
    pub fn slice(&self, offset: usize, rows: usize) -> Batch {
        Batch {
            rows: self.rows.slice(offset, rows),
            kinds: self.kinds.as_ref().map(|kinds| kinds.slice(offset, rows)),
            watermarks: self.watermarks.as_ref().map(|watermarks| watermarks.slice(offset, rows)),
        }
    }

    /// Other columns for the same rows, kinds and watermarks kept.
    #[must_use]
    pub fn with_rows(&self, rows: RecordBatch) -> Batch {
        debug_assert_eq!(rows.num_rows(), self.num_rows());
        Batch { rows, kinds: self.kinds.clone(), watermarks: self.watermarks.clone() }
    }

    /// The rows without the updates after which a row is what it was: the change was in a column that is gone.
    ///
    /// Rows with lists or structures are left as they are.
    pub fn without_idle_updates(self) -> Result<Batch> {
        let Some(kinds) = &self.kinds else { return Ok(self) };
        let (rows, pairs) = (self.num_rows(), self.num_rows().saturating_sub(1));
        let nested = self.rows.columns().iter().any(|column| column.data_type().is_nested());
        if nested || !kinds.iter().any(|kind| kind == RowKind::UpdateBefore) {
            return Ok(self);
        }
        // Whether a row is a `-U` whose `+U`, which is the next, is the same.
        let mut idle: BooleanBuffer = (0..pairs).map(|row| kinds.get(row) == RowKind::UpdateBefore).collect();
        for column in self.rows.columns().iter().filter(|column| *column.data_type() != DataType::Null) {
            let same = not_distinct(&column.slice(0, pairs), &column.slice(1, pairs))?;
            idle = &idle & same.values();
        }
        if idle.count_set_bits() == 0 {
            return Ok(self);
        }
        let kept = (0..rows).map(|row| (row == pairs || !idle.value(row)) && (row == 0 || !idle.value(row - 1)));
        let kept = BooleanArray::new(kept.collect(), None);
        let kinds = (0..rows).filter(|row| kept.value(*row)).map(|row| kinds.get(row)).collect();
        let watermarks = self.watermarks_of((0..rows).filter(|row| kept.value(*row)));
        Ok(Batch { rows: compute::filter_record_batch(&self.rows, &kept)?, kinds: Some(kinds), watermarks })
    }

    /// The batch as users see it: a changelog with its kinds in a first column `op`.
    pub fn into_record_batch(self) -> Result<RecordBatch> {
        let Some(kinds) = &self.kinds else { return Ok(self.rows) };
        let op: ArrayRef = Arc::new(op_column(kinds)?);
        let mut columns = vec![op];
        columns.extend_from_slice(self.rows.columns());
        Ok(RecordBatch::try_new(changelog_schema(&self.rows.schema()), columns)?)
    }

    /// Several batches of one relation as one.
    pub fn concat(schema: &SchemaRef, batches: &[Batch]) -> Result<Batch> {
        if let [batch] = batches {
            return Ok(batch.clone());
        }
        let rows = compute::concat_batches(schema, batches.iter().map(|batch| &batch.rows))?;
        let changelog = batches.iter().any(|batch| batch.kinds.is_some());
        let kinds = changelog.then(|| batches.iter().flat_map(|b| (0..b.num_rows()).map(|row| b.kind(row))).collect());
        let watermarked = batches.iter().any(|batch| batch.watermarks.is_some());
        let before = |batch: &Batch| (0..batch.num_rows()).map(|row| batch.watermark(row).nanos()).collect::<Vec<_>>();
        let watermarks = watermarked.then(|| batches.iter().flat_map(before).collect());
        Ok(Batch { rows, kinds, watermarks })
    }
}

/// Updates, and their kinds as text: most batches of a changelog that have no new key are nothing else.
static UPDATES: LazyLock<(RowKinds, StringArray)> = LazyLock::new(|| {
    let kinds = [RowKind::UpdateBefore, RowKind::UpdateAfter].repeat(UPDATES_MADE);
    let text = kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>();
    (kinds.iter().copied().collect(), StringArray::from(text))
});
/// As many as there are in a batch of the usual size.
const UPDATES_MADE: usize = 4_096;

/// The kinds as text.
fn op_column(kinds: &RowKinds) -> Result<StringArray> {
    if UPDATES.0.0.starts_with(&kinds.0) {
        return Ok(UPDATES.1.slice(0, kinds.len()));
    }
    let text: Vec<[u8; 2]> = kinds.iter().map(RowKind::bytes).collect();
    let offsets = OffsetBuffer::from_repeated_length(2, kinds.len());
    Ok(StringArray::try_new(offsets, Buffer::from_vec(text.into_flattened()), None)?)
}

/// The schema of a changelog as users see it: `op` before the columns of `schema`.
pub(crate) fn changelog_schema(schema: &Schema) -> SchemaRef {
    let mut fields = vec![Arc::new(Field::new(OP_COLUMN, DataType::Utf8, false))];
    fields.extend(schema.fields().iter().cloned());
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}
