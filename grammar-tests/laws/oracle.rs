//! The oracle: DataFusion, over the same rows as a batch.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::answers::{self, Answer};
use crate::data::{self, Row};
use crate::queries::{Query, Reader};

/// What DataFusion answers to the query over these rows of `t`.
///
/// `None` if it panics: with checked arithmetic it does over some inputs without rows, and then it has no opinion.
pub fn answer(query: &Query, rows: &[Row]) -> Option<Answer> {
    let text = query.sql(None, Reader::Oracle);
    let answer = catch_unwind(AssertUnwindSafe(|| block_on(ask(query, &text, rows)))).ok()?;
    Some(answer.unwrap_or_else(|error| panic!("the oracle refuses {text}: {error}")))
}

/// What DataFusion answers to a text over these tables; `None` if it cannot, and then it has no opinion.
pub fn answer_over(text: &str, tables: &[(&str, RecordBatch)]) -> Option<Answer> {
    let ask = async {
        let context = context();
        for (name, rows) in tables {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]])?;
            context.register_table(*name, Arc::new(table))?;
        }
        context.sql(text).await?.collect().await
    };
    let batches = catch_unwind(AssertUnwindSafe(|| block_on(ask))).ok()?.ok()?;
    Some(answers::rows(&batches))
}

/// A query over tables that is planned once, and asked as often as their rows are others: planning is most of the work.
pub struct Planned {
    context: SessionContext,
    plan: Arc<dyn ExecutionPlan>,
    tables: HashMap<String, Arc<Now>>,
}

impl Planned {
    /// `None` if it cannot be planned, and then it has no opinion.
    pub fn new(text: &str, tables: &[(&str, SchemaRef)]) -> Option<Planned> {
        let context = context();
        let mut known = HashMap::new();
        for (name, schema) in tables {
            let now =
                Arc::new(Now { schema: schema.clone(), rows: Mutex::new(RecordBatch::new_empty(schema.clone())) });
            let table = StreamingTable::try_new(schema.clone(), vec![now.clone()]).ok()?;
            context.register_table(*name, Arc::new(table)).ok()?;
            known.insert((*name).to_string(), now);
        }
        let plan = catch_unwind(AssertUnwindSafe(|| {
            block_on(async { context.sql(text).await?.create_physical_plan().await })
        }));
        Some(Planned { plan: plan.ok()?.ok()?, context, tables: known })
    }

    /// What it answers over these rows; `None` if it cannot.
    pub fn answer(&self, rows: &[(&str, RecordBatch)]) -> Option<Answer> {
        for (name, rows) in rows {
            *self.tables.get(*name)?.rows.lock().ok()? = rows.clone();
        }
        let plan = reset_plan_states(self.plan.clone()).ok()?;
        let asked = catch_unwind(AssertUnwindSafe(|| block_on(collect(plan, self.context.task_ctx()))));
        Some(answers::rows(&asked.ok()?.ok()?))
    }
}

/// The rows of a table, which are others each time it is asked.
#[derive(Debug)]
struct Now {
    schema: SchemaRef,
    rows: Mutex<RecordBatch>,
}

impl PartitionStream for Now {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().expect("nobody panics with it").clone();
        Box::pin(MemoryStream::try_new(vec![rows], self.schema.clone(), None).expect("the rows are of the schema"))
    }
}

async fn ask(query: &Query, text: &str, rows: &[Row]) -> Result<Answer> {
    let context = context();
    register(&context, "t", vec![data::batch(&data::columns(), rows)])?;
    if query.source.branches.len() > 1 {
        // A union has several partitions, so its branches are asked for one by one.
        let mut united = vec![];
        for branch in &query.source.branches {
            united.extend(context.sql(branch).await?.collect().await?);
        }
        let schema = data::schema(&data::columns());
        let united = united.iter().map(|batch| RecordBatch::try_new(schema.clone(), cast(batch)));
        register(&context, "united", united.collect::<std::result::Result<_, _>>()?)?;
    }
    let batches = context.sql(text).await?.collect().await?;
    Ok(answers::rows(&batches))
}

fn context() -> SessionContext {
    // This rule answers an aggregate from the statistics of its input, and forgets its FILTER.
    let rules = PhysicalOptimizer::new().rules.into_iter().filter(|rule| rule.name() != "aggregate_statistics");
    let state = SessionStateBuilder::new()
        .with_config(SessionConfig::new().with_target_partitions(1))
        .with_default_features()
        .with_physical_optimizer_rules(rules.collect())
        .build();
    SessionContext::new_with_state(state)
}

fn cast(batch: &RecordBatch) -> Vec<arrow::array::ArrayRef> {
    let to = data::columns();
    let columns = batch.columns().iter().zip(&to);
    columns.map(|(column, (_, _, to))| arrow::compute::cast(column, to).expect("the types are close")).collect()
}

fn register(context: &SessionContext, name: &str, batches: Vec<RecordBatch>) -> Result<()> {
    let table = MemTable::try_new(data::schema(&data::columns()), vec![batches])?;
    context.register_table(name, Arc::new(table))?;
    Ok(())
}

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread").block_on(future)
}
