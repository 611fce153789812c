//! The rows that workloads read: tables in memory, in batches, in the order in which they arrive.

use std::collections::BTreeMap;
use std::sync::Arc;

use riverrun::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringBuilder};
use riverrun::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::Result;

/// How many rows a batch has.
pub const BATCH_ROWS: usize = 8192;

/// Tables by name.
#[derive(Debug, Default, Clone)]
pub struct Tables(BTreeMap<&'static str, Arc<Table>>);

/// A table: batches in the order in which they arrive.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

impl Tables {
    /// Takes a table in.
    pub fn insert(&mut self, table: Table) {
        self.0.insert(table.name, Arc::new(table));
    }

    /// The table `name`.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn table(&self, name: &str) -> Result<&Arc<Table>> {
        let missing = || format!("there is no data \"{name}\": there are {}", self.names().join(", "));
        Ok(self.0.get(name).ok_or_else(missing)?)
    }

    /// The names of the tables.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}

impl Table {
    /// How many rows it has.
    #[cfg(test)]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// What a column of a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// BIGINT
    Number,
    /// VARCHAR
    Text,
}

/// A value on its way into a table.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// A value for [`Kind::Number`].
    Number(i64),
    /// A value for [`Kind::Text`].
    Text(&'a str),
}

/// Makes a table of rows.
pub struct TableBuilder {
    name: &'static str,
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    batches: Vec<RecordBatch>,
}

enum Column {
    Numbers(Vec<i64>),
    Texts(StringBuilder),
}

impl TableBuilder {
    /// A table of those columns without rows.
    pub fn new(name: &'static str, columns: &[(&str, Kind)]) -> TableBuilder {
        let field = |(name, kind): &(&str, Kind)| {
            let data_type = match kind {
                Kind::Number => DataType::Int64,
                Kind::Text => DataType::Utf8,
            };
            Field::new(*name, data_type, true)
        };
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let column = |(_, kind): &(&str, Kind)| match kind {
            Kind::Number => Column::Numbers(Vec::with_capacity(BATCH_ROWS)),
            Kind::Text => Column::Texts(StringBuilder::new()),
        };
        TableBuilder { name, schema, columns: columns.iter().map(column).collect(), rows: 0, batches: vec![] }
    }

    /// Adds a row: a cell for each column, of its kind.
    pub fn row(&mut self, cells: &[Cell<'_>]) -> Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            match (column, cell) {
                (Column::Numbers(numbers), Cell::Number(number)) => numbers.push(*number),
                (Column::Texts(texts), Cell::Text(text)) => texts.append_value(text),
                (Column::Numbers(_), Cell::Text(_)) | (Column::Texts(_), Cell::Number(_)) => {
                    return Err(format!("a value of \"{}\" has the wrong type", self.name).into());
                }
            }
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let finish = |column: &mut Column| -> ArrayRef {
            match column {
                Column::Numbers(numbers) => {
                    let full = std::mem::replace(numbers, Vec::with_capacity(BATCH_ROWS));
                    Arc::new(Int64Array::from(full))
                }
                Column::Texts(texts) => Arc::new(texts.finish()),
            }
        };
        let columns = self.columns.iter_mut().map(finish).collect();
        self.batches.push(RecordBatch::try_new(self.schema.clone(), columns)?);
        self.rows = 0;
        Ok(())
    }

    /// The table.
    pub fn finish(mut self) -> Result<Table> {
        if self.rows > 0 || self.batches.is_empty() {
            self.flush()?;
        }
        Ok(Table { name: self.name, schema: self.schema, batches: self.batches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_in_batches() {
        let mut builder = TableBuilder::new("t", &[("n", Kind::Number), ("s", Kind::Text)]);
        for n in 0..10_000 {
            builder.row(&[Cell::Number(n), Cell::Text("x")]).unwrap();
        }
        let table = builder.finish().unwrap();
        assert_eq!((table.batches.len(), table.rows()), (2, 10_000));
    }

    #[test]
    fn a_cell_of_the_wrong_type_is_an_error() {
        let mut builder = TableBuilder::new("t", &[("n", Kind::Number)]);
        assert!(builder.row(&[Cell::Text("x")]).is_err());
    }
}
