//! An embedded LaminarDB with a workload's streams, from its opening to its end.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use laminar_core::state::KeyGroupCount;
use laminar_core::streaming::{RecvError, StreamingError};
use laminar_db::subscription::SubscribeStart;
use laminar_db::{LaminarDB, UntypedSourceHandle};
use tokio::time::sleep;

use crate::request::Result;
use crate::subscriber::Subscriber;
use crate::workloads::{Cycle, Plan};

/// More than any limit is reached with, and few enough that LaminarDB can double it.
const UNLIMITED: usize = 1 << 40;
/// How many bytes of rows may wait in a source. Behind its own limit LaminarDB forgets the oldest batches without a
/// word once more than 2,048 wait; batches of 8,192 rows are large enough that these bytes are fewer.
const WAITING_BYTES: usize = 256 << 20;
/// How many bytes of an answer may wait for the subscriber, who is cut off when more do.
const UNREAD: &str = "200mb";
/// Into how many parts keys are divided. No slower than one, and the rows of a closed window come in as many batches,
/// none of which may have more than 8 MiB.
const KEY_GROUPS: u16 = 16;
/// How long a full source is left alone.
const FULL: Duration = Duration::from_millis(1);
const HOUR_NS: u64 = 3_600_000_000_000;

/// A running LaminarDB.
pub struct Engine {
    db: Arc<LaminarDB>,
}

/// The schemas that LaminarDB gives to the sources of a plan, which it has to take as a whole.
///
/// # Errors
///
/// If it does not take a statement.
pub async fn schemas(plan: &Plan) -> Result<Vec<SchemaRef>> {
    let sources = create(&open(plan.cycle).await?, plan).await?;
    Ok(sources.iter().map(|source| source.schema().clone()).collect())
}

/// Opens a LaminarDB, plans a workload and starts it: the engine, its sources, and the subscriber to the answer.
///
/// # Errors
///
/// If LaminarDB does not take a statement, or does not start.
pub async fn start(plan: &Plan) -> Result<(Engine, Vec<UntypedSourceHandle>, Subscriber)> {
    let db = open(plan.cycle).await?;
    let sources = create(&db, plan).await?;
    db.start().await?;
    let answer = db.open_subscription("answer", None, SubscribeStart::Tail).await?;
    Ok((Engine { db: db.clone() }, sources, Subscriber::new(db, answer)))
}

impl Engine {
    /// All rows of a query over what its views hold now.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let mut query = self.db.execute(sql).await?.into_query()?;
        let mut rows = query.subscribe_raw()?;
        let mut batches = vec![];
        loop {
            match rows.recv_async().await {
                Ok(batch) => batches.push(batch),
                Err(RecvError::Disconnected) => return Ok(batches),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes sure that it has taken in at least so many rows and has lost none.
    ///
    /// # Errors
    ///
    /// If rows are missing.
    pub fn verify(&self, rows: usize) -> Result<()> {
        healthy(&self.db)?;
        let metrics = self.db.metrics();
        let (taken, dropped) = (metrics.total_events_ingested, metrics.total_events_dropped);
        if taken < rows as u64 || dropped > 0 {
            return Err(format!("it took {taken} of {rows} rows and dropped {dropped}").into());
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn stop(self) -> Result<()> {
        Ok(self.db.shutdown().await?)
    }
}

/// A LaminarDB with nothing in it, and the settings that favour it. It keeps no checkpoints unless it is told to.
async fn open(cycle: Cycle) -> Result<Arc<LaminarDB>> {
    let drain_ns = match cycle {
        Cycle::Batch => 0,
        Cycle::Queue => 1_000_000,
    };
    let db = LaminarDB::builder()
        .key_groups(KeyGroupCount::try_from(KEY_GROUPS)?)
        .target_partitions(1)
        .push_source_max_bytes(WAITING_BYTES)
        .source_queue_max_bytes(WAITING_BYTES)
        .pipeline_channel_capacity(64)
        .pipeline_batch_window(Duration::ZERO)
        .pipeline_drain_budget_ns(drain_ns)
        .pipeline_query_budget_ns(HOUR_NS)
        .pipeline_max_input_buf_batches(0)
        .pipeline_max_managed_state_bytes(UNLIMITED)
        .datafusion_memory_limit_bytes(UNLIMITED)
        .materialized_view_max_rows(UNLIMITED)
        .materialized_view_max_bytes(UNLIMITED)
        .event_time_max_future_skew(Duration::ZERO);
    Ok(db.build().await?)
}

async fn create(db: &Arc<LaminarDB>, plan: &Plan) -> Result<Vec<UntypedSourceHandle>> {
    for source in &plan.sources {
        db.execute(&source.statement()).await?;
    }
    for statement in &plan.statements {
        // As much history as a stream keeps, so far its subscriber may be behind.
        let history = format!("WITH ('retain_history' = '{UNREAD}')");
        let history = if statement.starts_with("CREATE STREAM answer") { history } else { String::new() };
        db.execute(&format!("{statement} {history}")).await?;
    }
    plan.sources.iter().map(|source| Ok(db.source_untyped(&source.name)?)).collect()
}

/// Makes sure that it runs and that no cycle has failed: LaminarDB goes on after one that has, without its rows.
///
/// # Errors
///
/// If it has stopped, or has lost rows.
pub fn healthy(db: &LaminarDB) -> Result<()> {
    if let Some(fault) = db.last_fault() {
        return Err(fault.into());
    }
    let failed = db.engine_metrics().map_or(0, |metrics| metrics.pipeline_cycle_errors_total.get());
    if failed > 0 {
        return Err(format!("{failed} cycles failed, and their rows are lost").into());
    }
    Ok(())
}

/// Pushes a batch, and waits while there is no room for it.
///
/// # Errors
///
/// If the source does not take it even then.
pub async fn push(source: &UntypedSourceHandle, batch: &RecordBatch) -> Result<()> {
    loop {
        match source.push_arrow(batch.clone()) {
            Ok(()) => break,
            Err(StreamingError::ChannelFull) => sleep(FULL).await,
            Err(error) => return Err(error.into()),
        }
    }
    // What moves the rows on runs in this same thread.
    tokio::task::yield_now().await;
    Ok(())
}
