//! One run: a fresh database, its query, all rows pushed in and the whole answer taken out.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use laminar_db::subscription::{PortalFrame, SubscribeStart, SubscriptionPortal};
use laminar_db::{LaminarDB, UntypedSourceHandle};

use crate::workload::{Shape, Workload};
use crate::Result;

pub const VERSION: &str = "0.33.0";

const GIB: usize = 1 << 30;
const BIDS: &str =
    "CREATE SOURCE bids (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT)";

/// Longer than any step of a run takes, so that a lost row is an error instead of a wait without end.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
pub enum Keep {
    Counts,
    Rows,
}

#[derive(Default)]
pub struct Answer {
    pub rows: usize,
    pub batches: Vec<RecordBatch>,
}

impl Answer {
    fn take(&mut self, batch: RecordBatch, keep: Keep) {
        self.rows += batch.num_rows();
        match keep {
            Keep::Counts => {}
            Keep::Rows => self.batches.push(batch),
        }
    }
}

/// Every limit is out of the way, nothing is stored, and no checkpoint is taken.
pub async fn run(workload: &Workload, rows: &[RecordBatch], keep: Keep) -> Result<Answer> {
    let db = LaminarDB::builder()
        .target_partitions(1)
        .push_source_max_bytes(GIB)
        .datafusion_memory_limit_bytes(4 * GIB)
        .pipeline_max_managed_state_bytes(8 * GIB)
        .materialized_view_max_rows(100_000_000)
        .materialized_view_max_bytes(8 * GIB)
        .build()
        .await?;
    db.execute(BIDS).await?;
    let answer = match workload.shape {
        Shape::View => view(&db, workload, rows, keep).await,
        Shape::Rows | Shape::Changes => stream(&db, workload, rows, keep).await,
    };
    db.shutdown().await?;
    answer
}

async fn view(db: &std::sync::Arc<LaminarDB>, workload: &Workload, rows: &[RecordBatch], keep: Keep) -> Result<Answer> {
    db.execute(&format!("CREATE MATERIALIZED VIEW answer AS {}", workload.query)).await?;
    db.start().await?;
    let source = db.source_untyped("bids")?;
    for batch in rows {
        push(&source, batch).await?;
    }
    while source.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The view lags a little behind the queue of its source; it is whole once it has counted every bid.
    let expected = workload.expected(rows);
    loop {
        let (answer, counted) = tokio::time::timeout(PATIENCE, read(db, workload, keep)).await??;
        if counted == expected {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read(db: &LaminarDB, workload: &Workload, keep: Keep) -> Result<(Answer, i64)> {
    let mut query = db.execute("SELECT * FROM answer").await?.into_query()?;
    let mut batches = query.subscribe_raw()?;
    let (mut answer, mut counted) = (Answer::default(), 0);
    while let Ok(batch) = batches.recv_async().await {
        counted += workload.progress(&batch);
        answer.take(batch, keep);
    }
    Ok((answer, counted))
}

async fn stream(
    db: &std::sync::Arc<LaminarDB>,
    workload: &Workload,
    rows: &[RecordBatch],
    keep: Keep,
) -> Result<Answer> {
    db.execute(&format!("CREATE STREAM answer AS {} WITH ('retain_history' = '512mb')", workload.query)).await?;
    db.start().await?;
    let answers = db.open_subscription("answer", None, SubscribeStart::Tail).await?;
    let source = db.source_untyped("bids")?;
    let pushing = async {
        for batch in rows {
            push(&source, batch).await?;
        }
        Ok(())
    };
    let (pushed, answer) = tokio::join!(pushing, follow(answers, workload, workload.expected(rows), keep));
    pushed.and(answer)
}

async fn follow(mut answers: SubscriptionPortal, workload: &Workload, expected: i64, keep: Keep) -> Result<Answer> {
    let (mut answer, mut seen) = (Answer::default(), 0);
    while seen < expected {
        let envelope = tokio::time::timeout(PATIENCE, answers.next_envelope()).await?;
        match envelope.ok_or("the stream ended early")?.frame {
            PortalFrame::Batch { batch, .. } => {
                seen += workload.progress(&batch);
                answer.take(batch, keep);
            }
            PortalFrame::Barrier { .. } => {}
            PortalFrame::Lagged(skipped) => return Err(format!("{skipped} entries were lost").into()),
            PortalFrame::Error { message } => return Err(message.into()),
        }
    }
    Ok(answer)
}

/// A full queue refuses a batch; the rest of the program then gets its turn.
async fn push(source: &UntypedSourceHandle, batch: &RecordBatch) -> Result<()> {
    while source.is_backpressured() {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    source.push_arrow(batch.clone())?;
    tokio::task::yield_now().await;
    Ok(())
}
