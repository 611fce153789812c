//! Reading a materialized view from the host program, without SQL.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::catalog::{Materialized, Relation};
use crate::error::{Code, Result, StatementError, did_you_mean};
use crate::operators::StateSize;
use crate::types::{IntoRow, rows_to_batch};

use super::Engine;
use super::core::Core;
use super::pipeline::Pipeline;

/// A materialized view, as the host program reads it: its rows as they are now, and single rows by their key.
///
/// ```
/// # use riverrun::Engine;
/// let engine = Engine::new();
/// engine.execute(
///     "CREATE STREAM orders (customer VARCHAR, amount DOUBLE);
///      CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(amount) AS total FROM orders GROUP BY customer;
///      INSERT INTO orders VALUES ('ada', 9.5), ('bob', 3.0), ('ada', 0.5)",
/// )?;
/// let totals = engine.view("totals")?;
/// assert_eq!(totals.rows()?.num_rows(), 2);
/// assert!(totals.get(("eve",))?.is_none());
///
/// let row = totals.get(("ada",))?.expect("ada has ordered");
/// let total: f64 = riverrun::Row::new(&row, 0).expect("it is one row").get("total")?;
/// assert_eq!(total, 10.0);
/// # Ok::<(), riverrun::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct View {
    engine: Engine,
    name: Arc<str>,
}

impl View {
    pub(super) fn new(engine: Engine, name: &str) -> Result<View> {
        engine.with_core(|core| core.materialized(name).map(|_| ()))?;
        Ok(View { engine, name: name.into() })
    }

    /// The columns of its rows.
    ///
    /// # Errors
    /// Here and below if the view has been dropped.
    pub fn schema(&self) -> Result<SchemaRef> {
        self.engine.with_core(|core| core.materialized(&self.name).map(|view| view.schema.clone()))
    }

    /// The columns in which no two of its rows agree, by which [`View::get`] finds a row; `None` if there are none.
    pub fn key(&self) -> Result<Option<Vec<String>>> {
        let names = |view: &Materialized| {
            let key = view.key.as_ref()?;
            Some(key.iter().map(|column| view.schema.field(*column).name().clone()).collect())
        };
        self.engine.with_core(|core| core.materialized(&self.name).map(names))
    }

    /// The rows as they are now, in the order in which they, or their keys, became present.
    ///
    /// # Errors
    /// What has stopped the view.
    pub fn rows(&self) -> Result<RecordBatch> {
        self.engine.with_core(|core| {
            core.tick()?;
            core.materialized(&self.name)?;
            core.graph.view(&self.name)?.current_rows()
        })
    }

    /// The row whose key has these values, in the order of [`View::key`], as a batch of one row.
    ///
    /// It is found by an index, in a time that does not grow with the view. NULL is a value like any other.
    ///
    /// # Errors
    /// If the view has no key, if the values do not fit it, and what has stopped the view.
    pub fn get(&self, key: impl IntoRow) -> Result<Option<RecordBatch>> {
        let key = key.into_row();
        self.engine.with_core(|core| {
            core.tick()?;
            let view = core.materialized(&self.name)?;
            let Some(columns) = &view.key else { return Err(no_key(&self.name)) };
            let fields = columns.iter().map(|column| view.schema.fields()[*column].clone());
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            let key = rows_to_batch(&schema, &[key])?;
            let row = core.graph.view(&self.name)?.find(key.columns())?;
            Ok((row.num_rows() > 0).then_some(row))
        })
    }

    /// How much its rows and the operators before them keep.
    pub fn state_size(&self) -> Result<StateSize> {
        self.engine.with_core(|core| {
            core.materialized(&self.name)?;
            let running = core.graph.derived.get(&self.name).and_then(|id| core.graph.pipelines.get(id));
            Ok(running.map_or_else(StateSize::default, Pipeline::state_size))
        })
    }
}

impl Core {
    /// The materialized view of that name.
    fn materialized(&self, name: &str) -> Result<&Materialized> {
        match self.catalog.relations.get(name) {
            Some(Relation::Materialized(view)) => Ok(view),
            Some(_) => {
                let message = format!("\"{name}\" is not a materialized view");
                Err(StatementError::new(Code::InvalidArgument, message)
                    .hint("CREATE MATERIALIZED VIEW … AS keeps the rows of a query.")
                    .into())
            }
            None => {
                let error =
                    StatementError::new(Code::UnknownRelation, format!("materialized view \"{name}\" not found"));
                let hint = did_you_mean(name, self.catalog.relations.keys().map(String::as_str));
                Err(hint.into_iter().fold(error, StatementError::hint).into())
            }
        }
    }
}

fn no_key(name: &str) -> crate::Error {
    StatementError::new(Code::InvalidArgument, format!("view \"{name}\" has no key to find a row by"))
        .hint("A GROUP BY gives it one, and so does the primary key of a table that it keeps.")
        .into()
}
