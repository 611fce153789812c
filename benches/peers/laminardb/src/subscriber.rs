//! The subscriber to an answer.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use laminar_db::LaminarDB;
use laminar_db::subscription::{PortalFrame, SubscriptionPortal};
use tokio::time::timeout;

use crate::engine::healthy;
use crate::request::Result;

/// How often LaminarDB is asked for its health while nothing comes.
const SILENCE: Duration = Duration::from_secs(1);
/// After how many silences without a cycle it counts as stuck. One cycle may well take minutes.
const STUCK: u32 = 600;

/// Takes what comes out of the stream `answer`.
pub struct Subscriber {
    db: Arc<LaminarDB>,
    portal: SubscriptionPortal,
    cycles: u64,
    silences: u32,
}

impl Subscriber {
    /// Takes what comes through a portal of `db`.
    pub fn new(db: Arc<LaminarDB>, portal: SubscriptionPortal) -> Subscriber {
        Subscriber { db, portal, cycles: 0, silences: 0 }
    }

    /// The next rows, whenever they come.
    ///
    /// # Errors
    ///
    /// If LaminarDB has failed, has lost rows, or does nothing any more.
    pub async fn next(&mut self) -> Result<RecordBatch> {
        loop {
            match timeout(SILENCE, self.portal.next_frame()).await {
                Ok(Some(PortalFrame::Batch { batch, .. })) => return Ok(batch),
                Ok(Some(PortalFrame::Barrier { .. })) => {}
                Ok(Some(PortalFrame::Lagged(batches))) => {
                    return Err(format!("the subscriber was cut off, {batches} batches behind").into());
                }
                Ok(Some(PortalFrame::Error { message })) => return Err(message.into()),
                Ok(None) => return Err("the subscription has ended".into()),
                Err(_) => self.still_alive()?,
            }
        }
    }

    fn still_alive(&mut self) -> Result<()> {
        healthy(&self.db)?;
        let cycles = self.db.metrics().total_cycles;
        self.silences = if cycles == self.cycles { self.silences + 1 } else { 0 };
        self.cycles = cycles;
        if self.silences == STUCK {
            return Err("it does nothing any more, and the answer is not whole".into());
        }
        Ok(())
    }
}
