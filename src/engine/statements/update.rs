//! `UPDATE` and `DELETE`. One statement is one batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::array_value_to_string;

use crate::catalog::Table;
use crate::error::{Code, Error, InternalError, Result};
use crate::plan::{self, Parameters};
use crate::sql::{Delete, Name, Update};
use crate::state::GroupIndex;
use crate::types::{Batch, RowKind};

use super::super::appender::conform;
use super::super::core::{Core, Done};
use super::{at, placed, rows};

impl Core {
    /// Everything that can be refused is refused before the first row changes.
    pub(super) fn update(&mut self, update: &Update, parameters: &Parameters) -> Result<Done> {
        let table = self.table_of(&update.target, "updated")?;
        self.tick()?;
        let name: Arc<str> = update.target.value.as_str().into();
        let there = self.table_rows(&name)?;
        let files = Default::default();
        let context = self.context(&files, parameters);
        let values = plan::plan_update(update, &table.schema, &context)?;
        let chosen = chosen(&there, update.predicate.as_ref(), &update.target, &table, &context)?;
        let old = filter_record_batch(&there, &chosen)?;
        let columns = values.iter().map(|value| value.evaluate(&old)).collect::<Result<Vec<_>>>()?;
        let fields = table.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let new = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<Field>>())), columns)?;
        let new = conform(&name, &table.schema, new)?;
        let moved = moved(&there, &chosen, &new, &update.target, &table)?;
        let gone = filter_record_batch(&old, &moved)?;
        let kinds = std::iter::repeat_n(RowKind::Delete, gone.num_rows())
            .chain(std::iter::repeat_n(RowKind::Insert, new.num_rows()))
            .collect();
        let count = new.num_rows();
        let batch = Batch::changelog(concat_batches(&table.schema, [&gone, &new])?, kinds);
        self.change(&name, batch).map_err(|error| placed(error, &update.target))?;
        self.graph.flush()?;
        Ok(Done::Message(format!("updated {}", rows(count))))
    }

    pub(super) fn delete(&mut self, delete: &Delete, parameters: &Parameters) -> Result<Done> {
        let table = self.table_of(&delete.target, "deleted")?;
        self.tick()?;
        let name: Arc<str> = delete.target.value.as_str().into();
        let there = self.table_rows(&name)?;
        let files = Default::default();
        let context = self.context(&files, parameters);
        let chosen = chosen(&there, delete.predicate.as_ref(), &delete.target, &table, &context)?;
        let doomed = filter_record_batch(&there, &chosen)?;
        let count = doomed.num_rows();
        self.append(&name, doomed, RowKind::Delete).map_err(|error| placed(error, &delete.target))?;
        self.graph.flush()?;
        Ok(Done::Message(format!("deleted {}", rows(count))))
    }

    /// The table whose rows are to be `done`.
    fn table_of(&self, target: &Name, done: &str) -> Result<Table> {
        self.fed(target)?;
        self.fed_table(&target.value, done).cloned().map_err(|error| placed(error, target))
    }
}

/// Which of the rows that are there satisfy the condition.
fn chosen(
    there: &RecordBatch,
    predicate: Option<&sqlparser::ast::Expr>,
    target: &Name,
    table: &Table,
    context: &plan::Context<'_>,
) -> Result<BooleanArray> {
    match predicate {
        Some(predicate) => plan::plan_predicate(predicate, target, &table.schema, context)?.evaluate_predicate(there),
        None => Ok(BooleanArray::from(vec![true; there.num_rows()])),
    }
}

/// Which of the chosen rows get another key, if each key is there once afterwards.
fn moved(
    there: &RecordBatch,
    chosen: &BooleanArray,
    new: &RecordBatch,
    target: &Name,
    table: &Table,
) -> Result<BooleanArray> {
    let keys = |rows: &RecordBatch| -> Vec<ArrayRef> {
        table.primary_key.iter().filter_map(|column| rows.columns().get(*column).cloned()).collect()
    };
    let types: Vec<DataType> = keys(there).iter().map(|key| key.data_type().clone()).collect();
    let mut index = GroupIndex::new(&types)?;
    let (mut before, mut after) = (vec![], vec![]);
    index.intern(&keys(there), there.num_rows(), &mut before)?;
    index.intern(&keys(new), new.num_rows(), &mut after)?;
    let mut taken = vec![false; index.slots()];
    let mut take = |group: &u32| taken.get_mut(*group as usize).map(|taken| std::mem::replace(taken, true));
    let mut old = Vec::with_capacity(after.len());
    for (group, chosen) in before.iter().zip(chosen.values()) {
        match chosen {
            true => old.push(*group),
            false => drop(take(group)),
        }
    }
    if let Some(row) = after.iter().position(|group| take(group) != Some(false)) {
        return Err(collision(new, row, target, table)?);
    }
    Ok(old.iter().zip(&after).map(|(old, new)| Some(old != new)).collect())
}

/// Row `row` of the new rows has the key of another row.
fn collision(new: &RecordBatch, row: usize, target: &Name, table: &Table) -> Result<Error> {
    let mut key = vec![];
    for column in &table.primary_key {
        let (Some(values), Some(field)) = (new.columns().get(*column), table.schema.fields().get(*column)) else {
            return Err(InternalError::new("a table lacks a column of its key").into());
        };
        key.push(format!("{} = {}", field.name(), array_value_to_string(values, row)?));
    }
    let message = format!("two rows of \"{}\" would have the primary key {}", target.value, key.join(", "));
    Ok(at(target, Code::Value, message).hint("Nothing is updated; choose values that differ.").into())
}
