//! Rows that say what they do: a changelog in a file, and back again.
//!
//! ```text
//! with an op column               Debezium
//! op,id,city                      {"before": null, "after": {"id": 1, "city": "Rome"}, "op": "c"}
//! +I,1,Rome                       {"before": {"id": 1, …}, "after": {"id": 1, "city": "Oslo"}, "op": "u"}
//! -D,1,Rome                       {"payload": {"before": {"id": 1, …}, "after": null, "op": "d"}}
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, StructArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter_record_batch, interleave, take};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::options::{FileOptions, Form, OnError};
use super::{Access, Columns, Source, SourceCounts, open_source};
use crate::error::{Code, DataError, Error, InternalError, Result};
use crate::types::{Batch, RowKind, RowKinds, changelog_schema};

/// The columns of Debezium's envelope: what the row was, what it is, and what was done.
const ENVELOPE: [&str; 3] = ["before", "after", "op"];

/// A file of changes to a table.
pub struct ChangeSource {
    source: Box<dyn Source>,
    form: Form,
    /// The columns of the table.
    schema: SchemaRef,
    origin: String,
    on_error: OnError,
    max_errors: Option<u64>,
    skipped: u64,
}

/// Some changes, in order.
pub struct Changes {
    /// What they do. Of a row that goes only the key is sure to be there.
    pub batch: Batch,
    /// The row of the file, counted from 1, that each row of the batch comes from.
    places: Vec<u64>,
    bad: Vec<Bad>,
}

/// A change that cannot be made.
struct Bad {
    row: u64,
    column: Option<String>,
    reason: String,
}

/// What becomes of the rows of one batch.
struct Sorted<'a> {
    schema: &'a SchemaRef,
    /// Which of the sides a row comes from, and its place there.
    picked: Vec<(usize, usize)>,
    kinds: Vec<RowKind>,
    places: Vec<u64>,
    bad: Vec<Bad>,
}

impl ChangeSource {
    /// Opens what `options` names, to read changes to a table of columns `schema`.
    pub fn open(options: &FileOptions, schema: &SchemaRef, access: &Access) -> Result<ChangeSource> {
        let columns = match &options.form {
            Form::Debezium => envelope(schema),
            Form::Op(op) => {
                let mut fields = vec![Arc::new(Field::new(op, DataType::Utf8, false))];
                fields.extend(schema.fields().iter().cloned());
                Arc::new(Schema::new(fields))
            }
            Form::Rows => schema.clone(),
        };
        Ok(ChangeSource {
            source: open_source(options, Some(columns), Columns::default(), access)?,
            form: options.form.clone(),
            schema: schema.clone(),
            origin: options.path.clone(),
            on_error: options.on_error,
            max_errors: options.max_errors,
            skipped: 0,
        })
    }

    /// The next changes; none at the end.
    pub fn next_changes(&mut self) -> Result<Option<Changes>> {
        let Some(rows) = self.source.next_batch()? else { return Ok(None) };
        let before = self.source.position().row.saturating_sub(rows.num_rows() as u64);
        match self.form {
            Form::Debezium => debezium(&self.schema, &rows, before).map(Some),
            Form::Op(_) => with_op(&self.schema, &rows, before).map(Some),
            Form::Rows => Err(InternalError::new("rows without changes are read as changes").into()),
        }
    }

    /// Counts the changes that cannot be made, `missing` of the batch among them: they delete what is not there.
    ///
    /// # Errors
    /// The first of them, unless such rows are to be left out.
    pub fn reject(&mut self, changes: Changes, missing: &[usize]) -> Result<()> {
        let mut bad = changes.bad;
        bad.extend(missing.iter().filter_map(|row| changes.places.get(*row)).map(|row| Bad {
            row: *row,
            column: None,
            reason: "it deletes a key that is not there".into(),
        }));
        bad.sort_by_key(|bad| bad.row);
        for bad in bad {
            self.skipped += 1;
            let most = self.max_errors.filter(|most| self.counts().skipped > *most);
            let (reason, hint) = match (self.on_error, most) {
                (OnError::Skip | OnError::DeadLetter, None) => continue,
                (OnError::Skip | OnError::DeadLetter, Some(most)) => {
                    (format!("more than {most} bad rows: {}", bad.reason), "Raise max_errors, or mend the rows.")
                }
                (OnError::Fail, _) => (bad.reason, "Add on_error = 'skip' to leave such rows out."),
            };
            let error = DataError::new(Code::BadRow, format!("row {}: {reason}", bad.row)).origin(&*self.origin);
            return Err(bad.column.into_iter().fold(error, DataError::column).hint(hint).into());
        }
        Ok(())
    }

    /// What was read, and how many rows of it were bad.
    pub fn counts(&self) -> SourceCounts {
        let counts = self.source.counts();
        SourceCounts {
            rows: counts.rows.saturating_sub(self.skipped),
            skipped: counts.skipped + self.skipped,
            ..counts
        }
    }
}

fn with_op(schema: &SchemaRef, rows: &RecordBatch, before: u64) -> Result<Changes> {
    let op = rows.columns().first().and_then(|op| op.as_string_opt::<i32>()).ok_or_else(misshapen)?;
    let sides = [rows.columns().get(1..).ok_or_else(misshapen)?];
    let mut sorted = Sorted::new(schema);
    for row in 0..rows.num_rows() {
        let place = before + row as u64 + 1;
        match RowKind::parse(op.value(row)) {
            Some(kind) => sorted.note(&sides, (0, row), kind, place),
            None => {
                let reason = format!("\"{}\" is none of +I, -U, +U and -D", op.value(row));
                sorted.bad.push(Bad { row: place, column: Some(rows.schema().field(0).name().clone()), reason });
            }
        }
    }
    sorted.finish(&sides)
}

fn debezium(schema: &SchemaRef, rows: &RecordBatch, first: u64) -> Result<Changes> {
    let outer: Vec<&ArrayRef> = rows.columns().iter().take(ENVELOPE.len()).collect();
    let payload = rows.columns().last().and_then(|payload| payload.as_struct_opt()).ok_or_else(misshapen)?;
    let inner: Vec<&ArrayRef> = payload.columns().iter().collect();
    let row_of = |column: Option<&&ArrayRef>| column.and_then(|rows| rows.as_struct_opt().cloned());
    let op_of = |column: Option<&&ArrayRef>| column.and_then(|op| op.as_string_opt::<i32>().cloned());
    let (mut structs, mut ops) = (vec![], vec![]);
    for envelope in [outer, inner] {
        structs.push(row_of(envelope.first()).ok_or_else(misshapen)?);
        structs.push(row_of(envelope.get(1)).ok_or_else(misshapen)?);
        ops.push(op_of(envelope.get(2)).ok_or_else(misshapen)?);
    }
    let sides: Vec<&[ArrayRef]> = structs.iter().map(StructArray::columns).collect();
    let mut sorted = Sorted::new(schema);
    for row in 0..rows.num_rows() {
        let place = first + row as u64 + 1;
        let wrapped = usize::from(payload.is_valid(row));
        let side = |nth: usize| Some((2 * wrapped + nth, row)).filter(|(side, row)| structs[*side].is_valid(*row));
        let op = if ops[wrapped].is_valid(row) { ops[wrapped].value(row) } else { "" };
        match (op, side(0), side(1)) {
            ("c" | "r", _, Some(after)) | ("u", None, Some(after)) => {
                sorted.note(&sides, after, RowKind::Insert, place);
            }
            ("u", Some(before), Some(after)) => {
                sorted.note(&sides, before, RowKind::UpdateBefore, place);
                sorted.note(&sides, after, RowKind::UpdateAfter, place);
            }
            ("d", Some(before), _) => sorted.note(&sides, before, RowKind::Delete, place),
            ("c" | "r" | "u", _, None) => sorted.refuse(place, "after", "it has no row \"after\""),
            ("d", None, _) => sorted.refuse(place, "before", "it has no row \"before\""),
            ("", _, _) => sorted.refuse(place, "op", "it has no \"op\""),
            (other, _, _) => sorted.refuse(place, "op", &format!("\"{other}\" is none of c, r, u and d")),
        }
    }
    sorted.finish(&sides)
}

impl<'a> Sorted<'a> {
    fn new(schema: &'a SchemaRef) -> Sorted<'a> {
        Sorted { schema, picked: vec![], kinds: vec![], places: vec![], bad: vec![] }
    }

    /// Takes a row, unless it is NULL in a column that must not be. Of one that goes only its key is looked at,
    /// and that by the table.
    fn note(&mut self, sides: &[&[ArrayRef]], at: (usize, usize), kind: RowKind, place: u64) {
        let columns = sides.get(at.0).copied().unwrap_or_default();
        let null = |(field, column): &(&Arc<Field>, &ArrayRef)| !field.is_nullable() && column.is_null(at.1);
        let null = self.schema.fields().iter().zip(columns).find(null);
        if let Some((field, _)) = null.filter(|_| kind.weight() > 0) {
            return self.refuse(place, field.name(), "NULL in a NOT NULL column");
        }
        self.picked.push(at);
        self.kinds.push(kind);
        self.places.push(place);
    }

    fn refuse(&mut self, row: u64, column: &str, reason: &str) {
        self.bad.push(Bad { row, column: Some(column.into()), reason: reason.into() });
    }

    fn finish(self, sides: &[&[ArrayRef]]) -> Result<Changes> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in 0..self.schema.fields().len() {
            let values: Option<Vec<&dyn Array>> = sides.iter().map(|side| Some(side.get(column)?.as_ref())).collect();
            columns.push(interleave(&values.ok_or_else(misshapen)?, &self.picked)?);
        }
        let fields = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?;
        let batch = Batch::changelog(rows, self.kinds.into_iter().collect::<RowKinds>());
        Ok(Changes { batch, places: self.places, bad: self.bad })
    }
}

fn misshapen() -> Error {
    InternalError::new("a file of changes has not the columns that were asked for").into()
}

/// `before`, `after`, `op`, and once more within `payload`.
fn envelope(schema: &Schema) -> SchemaRef {
    let bare: Fields = enveloped(schema).fields().clone();
    let payload = Field::new("payload", DataType::Struct(bare.clone()), true);
    Arc::new(Schema::new(bare.iter().map(|field| field.as_ref().clone()).chain([payload]).collect::<Vec<_>>()))
}

fn enveloped(schema: &Schema) -> SchemaRef {
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    let row = DataType::Struct(schema.fields().iter().map(nullable).collect());
    let [before, after, op] = ENVELOPE;
    Arc::new(Schema::new(vec![
        Field::new(before, row.clone(), true),
        Field::new(after, row, true),
        Field::new(op, DataType::Utf8, true),
    ]))
}

/// The columns of a file to which rows of `schema` are written in that form.
pub fn written_schema(form: &Form, schema: &SchemaRef) -> SchemaRef {
    match form {
        Form::Debezium => enveloped(schema),
        Form::Op(_) => changelog_schema(schema),
        Form::Rows => schema.clone(),
    }
}

/// The changes without the rows that others take the place of: what is left is said by key.
pub fn without_replaced(batch: &Batch) -> Result<Batch> {
    let Some(kinds) = batch.kinds() else { return Ok(batch.clone()) };
    let stays: BooleanArray = kinds.iter().map(|kind| Some(kind != RowKind::UpdateBefore)).collect();
    let rows = filter_record_batch(batch.rows(), &stays)?;
    Ok(Batch::changelog(rows, kinds.iter().filter(|kind| *kind != RowKind::UpdateBefore).collect()))
}

/// Rows in that form.
pub fn written(form: &Form, batch: &Batch) -> Result<RecordBatch> {
    match form {
        Form::Debezium => in_envelopes(batch),
        Form::Op(_) if batch.kinds().is_none() => {
            let kinds = RowKinds::all(RowKind::Insert, batch.num_rows());
            Batch::changelog(batch.rows().clone(), kinds).into_record_batch()
        }
        Form::Op(_) | Form::Rows => batch.clone().into_record_batch(),
    }
}

/// A `-U` and its `+U` are one envelope.
fn in_envelopes(batch: &Batch) -> Result<RecordBatch> {
    let (mut before, mut after, mut ops) = (vec![], vec![], vec![]);
    for row in 0..batch.num_rows() {
        let here = Some(row as u64);
        let (was, is, op) = match batch.kind(row) {
            RowKind::Insert => (None, here, "c"),
            RowKind::Delete => (here, None, "d"),
            RowKind::UpdateBefore => continue,
            RowKind::UpdateAfter => (row.checked_sub(1).map(|row| row as u64), here, "u"),
        };
        before.push(was);
        after.push(is);
        ops.push(op);
    }
    let schema = enveloped(&batch.rows().schema());
    let rows = |picked: Vec<Option<u64>>, field: &Field| -> Result<ArrayRef> {
        let DataType::Struct(fields) = field.data_type() else { return Err(misshapen()) };
        let there = picked.iter().map(Option::is_some).collect::<NullBuffer>();
        let picked = UInt64Array::from(picked);
        let columns = batch.rows().columns().iter().map(|column| take(column, &picked, None));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), columns, Some(there))?))
    };
    let columns = vec![
        rows(before, schema.field(0))?,
        rows(after, schema.field(1))?,
        Arc::new(StringArray::from(ops)) as ArrayRef,
    ];
    Ok(RecordBatch::try_new(schema, columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_one_envelope_and_comes_back_as_two_rows() {
        let fields = ["id", "v"].map(|name| Field::new(name, DataType::Int64, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 1, 1, 1]));
        let rows = RecordBatch::try_new(schema.clone(), vec![ids.clone(), ids]).unwrap();
        let kinds = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
        let batch = Batch::changelog(rows, kinds.into_iter().collect());
        let written = in_envelopes(&batch).unwrap();
        assert_eq!(written.num_rows(), 3);
        let payload = arrow::array::new_null_array(envelope(&schema).field(3).data_type(), 3);
        let columns = written.columns().iter().cloned().chain([payload]).collect();
        let read = RecordBatch::try_new(envelope(&schema), columns).unwrap();
        let changes = debezium(&schema, &read, 0).unwrap();
        assert_eq!(changes.batch.kinds().unwrap().iter().collect::<Vec<_>>(), kinds);
        assert_eq!(changes.places, [1, 2, 2, 3]);
        assert!(changes.bad.is_empty());
    }
}
