//! Feeding a stream or table from the host program.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, make_array, new_null_array};
use arrow::datatypes::{DataType, Field, SchemaRef};

use crate::catalog::{Relation, Stream, Table};
use crate::error::{Code, DataError, Error, InternalError, Result, StatementError, did_you_mean};
use crate::types::type_name;
use crate::types::{Batch, IntoRow, OP_COLUMN, RowKind, RowKinds, changelog_schema, rows_to_batch};

use super::Engine;
use super::core::Core;

/// Feeds one stream or table. Running an append has run all that follows from it.
#[derive(Debug)]
pub struct Appender {
    engine: Engine,
    name: Arc<str>,
    schema: SchemaRef,
}

impl Appender {
    pub(super) fn new(engine: Engine, name: &str) -> Result<Appender> {
        let schema = engine.with_core(|core| core.fed_relation(name).map(|relation| relation.schema().clone()))?;
        Ok(Appender { engine, name: name.into(), schema })
    }

    /// The columns that a batch must have.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Appends rows to a stream; puts them into a table, where each replaces the row of its key.
    ///
    /// # Errors
    /// If the columns are not those of the stream, naming the first that differs, or if the stream is closed.
    pub fn append(&mut self, rows: RecordBatch) -> Result<()> {
        self.append_conforming(conform(&self.name, &self.schema, rows)?)
    }

    fn append_conforming(&mut self, rows: RecordBatch) -> Result<()> {
        self.engine.with_core(|core| {
            core.tick()?;
            core.append(&self.name, rows, RowKind::Insert)
        })
    }

    /// Appends one row: a tuple or a vector of values.
    pub fn append_row(&mut self, row: impl IntoRow) -> Result<()> {
        self.append_conforming(rows_to_batch(&self.schema, &[row.into_row()])?)
    }

    /// Puts rows into a table, where each replaces the row of its key. The same as [`Appender::append`].
    pub fn upsert(&mut self, rows: RecordBatch) -> Result<()> {
        self.append(rows)
    }

    /// Deletes rows from a table by their key.
    ///
    /// `keys` has the columns of the primary key, by name; other columns are not looked at. A key that is not there
    /// changes nothing.
    pub fn delete(&mut self, keys: &RecordBatch) -> Result<()> {
        self.engine.with_core(|core| {
            core.tick()?;
            core.delete_keys(&self.name, keys).map(drop)
        })
    }

    /// Does to a table what the rows of a changelog say, in order.
    ///
    /// `changes` has a first column `op` of `+I`, `-U`, `+U` and `-D`, and then the columns of the table: what a query
    /// gives that changes can be put in as it is. A row that comes replaces the row of its key, and one that goes takes
    /// away the row of its key; a key that is not there changes nothing.
    ///
    /// # Errors
    /// If the columns are others, or a row does nothing of the four; then nothing is changed.
    pub fn apply(&mut self, changes: RecordBatch) -> Result<()> {
        self.engine.with_core(|core| {
            core.tick()?;
            core.apply(&self.name, changes)
        })
    }

    /// Ends the stream or table: no row will come any more, through any appender.
    pub fn close(&mut self) -> Result<()> {
        self.engine.with_core(|core| {
            core.tick()?;
            core.close_relation(&self.name)
        })
    }
}

impl Core {
    /// The stream or table `name`, if it is fed by the host.
    pub(super) fn fed_relation(&self, name: &str) -> Result<&Relation> {
        let refused = |what: &str| {
            let message = format!("\"{name}\" is {what}: rows cannot be put into it");
            Err(StatementError::new(Code::InvalidArgument, message)
                .hint("Only streams and tables that were created without WITH and without AS are fed.")
                .into())
        };
        match self.catalog.relations.get(name) {
            Some(Relation::Stream(Stream { options, .. }) | Relation::Table(Table { options, .. }))
                if !options.is_empty() =>
            {
                refused("read from a file")
            }
            Some(Relation::View(_)) => refused("a view"),
            Some(Relation::Derived(_)) => refused("defined by a query"),
            Some(Relation::Materialized(_)) => refused("a materialized view"),
            Some(relation @ (Relation::Stream(_) | Relation::Table(_))) => Ok(relation),
            None if self.catalog.sinks.contains_key(name) => refused("a sink"),
            None => {
                let error = StatementError::new(Code::UnknownRelation, format!("relation \"{name}\" not found"));
                let hint = did_you_mean(name, self.catalog.relations.keys().map(String::as_str));
                Err(hint.into_iter().fold(error, StatementError::hint).into())
            }
        }
    }

    /// Puts rows that have the relation's columns into it.
    pub(super) fn append(&mut self, name: &Arc<str>, rows: RecordBatch, kind: RowKind) -> Result<()> {
        let batch = match self.fed_relation(name)? {
            Relation::Table(_) => {
                let kinds = RowKinds::all(kind, rows.num_rows());
                Batch::changelog(rows, kinds)
            }
            Relation::Stream(_) | Relation::View(_) | Relation::Derived(_) | Relation::Materialized(_) => {
                Batch::append_only(rows)
            }
        };
        self.change(name, batch)
    }

    /// Does what a changelog says to a table that is fed, or appends rows without kinds to a stream that is.
    pub(super) fn change(&mut self, name: &Arc<str>, batch: Batch) -> Result<()> {
        self.check_open(name)?;
        match batch.kinds() {
            _ if batch.is_empty() => Ok(()),
            Some(_) => self.graph.push_table(name, batch, &self.settings),
            None => self.graph.push(name, batch, &self.settings),
        }
    }

    fn apply(&mut self, name: &Arc<str>, changes: RecordBatch) -> Result<()> {
        let schema = self.fed_table(name, "changed")?.schema.clone();
        let mut changes = conform(name, &changelog_schema(&schema), changes)?;
        let op = changes.remove_column(0);
        let mut kinds = Vec::with_capacity(op.len());
        for (row, text) in op.as_string::<i32>().iter().enumerate() {
            let text = text.unwrap_or_default();
            kinds.push(RowKind::parse(text).ok_or_else(|| {
                let message = format!("row {}: \"{text}\" is none of +I, -U, +U and -D", row + 1);
                DataError::new(Code::Value, message).origin(&**name).column(OP_COLUMN)
            })?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(changes.num_rows()));
        let rows = RecordBatch::try_new_with_options(schema, changes.columns().to_vec(), &options)?;
        self.change(name, Batch::changelog(rows, kinds.into_iter().collect()))
    }

    /// The table of that name, whose rows are to be `done`.
    pub(super) fn fed_table(&self, name: &str, done: &str) -> Result<&Table> {
        match self.fed_relation(name)? {
            Relation::Table(table) => Ok(table),
            Relation::Stream(_) | Relation::View(_) | Relation::Derived(_) | Relation::Materialized(_) => {
                let message = format!("\"{name}\" is a stream: its rows stay in it");
                let error = StatementError::new(Code::InvalidArgument, message);
                Err(error.hint(format!("Only rows of a table can be {done}.")).into())
            }
        }
    }

    /// Deletes the rows of a table that have the keys in `keys`; gives how many keys there were.
    pub(super) fn delete_keys(&mut self, name: &Arc<str>, keys: &RecordBatch) -> Result<usize> {
        let table = self.fed_table(name, "deleted")?;
        let columns = (table.schema.fields().iter().enumerate()).map(|(index, field)| {
            if !table.primary_key.contains(&index) {
                return placeholder(field, keys.num_rows());
            }
            match keys.column_by_name(field.name()) {
                Some(column) if column.logical_null_count() > 0 => Err(null(name, field.name()).into()),
                Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
                Some(column) => Err(mistyped(name, field.name(), field.data_type(), column.data_type())),
                None => Err(DataError::new(Code::SchemaMismatch, "a column of the primary key is missing")
                    .origin(&**name)
                    .column(field.name())
                    .into()),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(keys.num_rows()));
        let rows = RecordBatch::try_new_with_options(table.schema.clone(), columns, &options)?;
        self.append(name, rows, RowKind::Delete)?;
        Ok(keys.num_rows())
    }

    /// Ends a stream or table that the host feeds.
    pub(super) fn close_relation(&mut self, name: &Arc<str>) -> Result<()> {
        self.fed_relation(name)?;
        self.check_open(name)?;
        self.graph.close(name)
    }

    fn check_open(&self, name: &str) -> Result<()> {
        if self.graph.closed.contains(name) {
            return Err(StatementError::new(Code::Closed, format!("\"{name}\" is closed")).into());
        }
        Ok(())
    }
}

/// The rows with exactly the columns of `schema`, or an error that names the first column that does not fit.
pub(super) fn conform(name: &str, schema: &SchemaRef, rows: RecordBatch) -> Result<RecordBatch> {
    if Arc::ptr_eq(schema, rows.schema_ref()) {
        return Ok(rows);
    }
    if rows.num_columns() != schema.fields().len() {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let message = format!("the batch has {} columns, but there are {}", rows.num_columns(), names.len());
        let hint = format!("The columns are {}.", names.join(", "));
        return Err(DataError::new(Code::SchemaMismatch, message).origin(name).hint(hint).into());
    }
    for ((field, column), given) in schema.fields().iter().zip(rows.columns()).zip(rows.schema_ref().fields()) {
        if given.name() != field.name() {
            let message = format!("the batch has \"{}\" in its place", given.name());
            return Err(mismatch(name, field.name(), message).hint("Columns are taken in order.").into());
        }
        if column.data_type() != field.data_type() {
            return Err(mistyped(name, field.name(), field.data_type(), column.data_type()));
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(null(name, field.name()).into());
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)
        .map_err(|error| InternalError::new(error.to_string()).into())
}

/// Values for a column that is not looked at, because the rows are only to be found by their keys.
fn placeholder(field: &Field, rows: usize) -> Result<ArrayRef> {
    let nulls = new_null_array(field.data_type(), rows);
    if field.is_nullable() {
        return Ok(nulls);
    }
    // What lies below the NULLs are values all the same: zeros and empty texts.
    Ok(make_array(nulls.to_data().into_builder().nulls(None).build()?))
}

fn mismatch(name: &str, column: &str, message: String) -> DataError {
    DataError::new(Code::SchemaMismatch, message).origin(name).column(column)
}

fn null(name: &str, column: &str) -> DataError {
    mismatch(name, column, "a value is NULL, but the column is NOT NULL".into())
}

fn mistyped(name: &str, column: &str, expected: &DataType, given: &DataType) -> Error {
    let message =
        format!("expected {} ({expected}), the batch has {} ({given})", type_name(expected), type_name(given));
    mismatch(name, column, message).hint("Cast the column first, with arrow::compute::cast.").into()
}
