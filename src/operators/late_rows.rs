//! Which rows of a batch are late. Each is judged by the watermark just before it, so wherever the batch was cut.

use arrow::array::BooleanArray;

use crate::operators::Output;
use crate::types::{Batch, Tick, Timestamp};

/// The highest watermark before any row of a batch, in ticks: where it makes none late, no row is.
pub(super) fn highest(batch: &Batch, tick: Tick) -> i64 {
    let before = batch.watermarks().and_then(|before| before.iter().copied().max());
    before.map_or(i64::MIN, |before| tick.floor(Timestamp::from_nanos(before)))
}

/// Which of some rows are in time, if not all of them: `late` says by how many ticks one is not. Late ones are counted.
pub(super) fn in_time(
    rows: usize,
    tick: Tick,
    late: impl Fn(usize) -> Option<i64>,
    out: &mut Output,
) -> Option<BooleanArray> {
    let kept: BooleanArray = (0..rows).map(|row| Some(late(row).is_none())).collect();
    if kept.false_count() == 0 {
        return None;
    }
    out.late(kept.false_count());
    (0..rows).filter_map(late).for_each(|by| out.late_by(tick.time(by).nanos()));
    Some(kept)
}
