//! Each row once for each window it is in: `FROM TUMBLE(…)`, `HOP(…)` and `CUMULATE(…)`.
//!
//! ```text
//! a 7   with HOP(at, 2, 5)   →   a 7 | 4 9
//!                                a 7 | 6 11
//! ```
//!
//! The windows of one row come together, the earliest first. Rows without a time are counted and left out.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::kernels::aggregate::{max, min};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use crate::error::{Code, DataError, InternalError, Result};
use crate::expr::Expr;
use crate::operators::expand::apart;
use crate::operators::rows::{BATCH_ROWS, record_batch};
use crate::operators::{Operator, Output, Port};
use crate::plan::node;
use crate::plan::node::WindowShape;
use crate::state::Snapshot;
use crate::types::{Batch, Tick, ticks, times};

/// The operator of `node`.
pub fn build(node: &node::Windows, _: &[Snapshot]) -> Result<Box<dyn Operator>> {
    let time = &node.window.time;
    let Some(tick) = Tick::of(time.data_type()) else {
        return Err(InternalError::new("windows over what is no time").into());
    };
    let Some(shape) = Shape::of(&node.window.shape) else {
        return Err(InternalError::new("rows cannot be put into these windows one by one").into());
    };
    Ok(Box::new(Windows { time: time.clone(), tick, shape, schema: node.schema.clone() }))
}

struct Windows {
    time: Expr,
    tick: Tick,
    shape: Shape,
    schema: SchemaRef,
}

/// Which windows there are, in ticks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// One begins each `slide`.
    Every { slide: i64, size: i64, offset: i64 },
    /// They begin together each `size`, and end each `step` later.
    Growing { step: i64, size: i64, offset: i64 },
}

/// Rows in windows: which row of the batch, and the bounds of a window that it is in.
#[derive(Default)]
struct Placed {
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

impl Operator for Windows {
    fn on_batch(&mut self, _: Port, batch: Batch, out: &mut Output) -> Result<()> {
        let at = ticks(&self.time.evaluate(batch.rows())?)?;
        min(&at).into_iter().chain(max(&at)).try_for_each(|at| self.shape.check(at))?;
        let rows = u32::try_from(at.len()).map_err(|_| InternalError::new("a batch of too many rows"))?;
        out.untimed(at.null_count());
        let mut placed = Placed::default();
        for row in 0..rows {
            if at.is_valid(row as usize) {
                self.shape.each(at.value(row as usize), |start, end| placed.push(row, start, end));
            }
            if placed.rows.len() >= BATCH_ROWS {
                out.push(self.said(&batch, std::mem::take(&mut placed))?);
            }
        }
        out.push(self.said(&batch, placed)?);
        Ok(())
    }
}

impl Windows {
    /// The rows with their windows.
    fn said(&self, batch: &Batch, placed: Placed) -> Result<Batch> {
        let Placed { rows, starts, ends } = placed;
        let length = rows.len();
        // Most often every row is in one window.
        let all = length == batch.num_rows() && rows.iter().zip(0..).all(|(row, place)| *row == place);
        let rows = UInt32Array::from(rows);
        let mut columns = match all {
            true => batch.rows().columns().to_vec(),
            false => repeated(batch.rows(), &rows)?,
        };
        let before_end = self.tick.before_end();
        let last = Int64Array::from_iter_values(ends.iter().map(|end| end - before_end));
        for bound in [Int64Array::from(starts), Int64Array::from(ends), last] {
            columns.push(times(bound, self.time.data_type())?);
        }
        let windows = record_batch(&self.schema, columns, length)?;
        let watermarks = batch.watermarks_of(rows.values().iter().map(|row| *row as usize));
        let windows = match batch.kinds() {
            None => Batch::append_only(windows),
            // The row before an update may be in other windows than the row after it.
            Some(kinds) => {
                Batch::changelog(windows, rows.values().iter().map(|row| apart(kinds.get(*row as usize))).collect())
            }
        };
        Ok(windows.with_watermarks(watermarks))
    }
}

fn repeated(batch: &RecordBatch, rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
    batch.columns().iter().map(|column| Ok(take(column, rows, None)?)).collect()
}

impl Shape {
    /// That of windows which follow from the time of a row alone; nothing for others.
    pub fn of(shape: &WindowShape) -> Option<Shape> {
        match *shape {
            WindowShape::Tumble { size, offset } => Some(Shape::Every { slide: size, size, offset }),
            WindowShape::Hop { slide, size, offset } => Some(Shape::Every { slide, size, offset }),
            WindowShape::Cumulate { step, size, offset } => Some(Shape::Growing { step, size, offset }),
            WindowShape::Session { .. } | WindowShape::Given { .. } => None,
        }
    }

    /// Fails if a window of a time would begin or end beyond what 64 bits hold.
    #[inline]
    pub fn check(self, at: i64) -> Result<()> {
        let size = match self {
            Shape::Every { slide, size, .. } => slide.saturating_add(size),
            Shape::Growing { size, .. } => size,
        };
        // A window begins within one size before a row, and ends within one after it; its offset is less than that.
        let reach = size.checked_mul(3);
        match reach.is_some_and(|reach| at.checked_sub(reach).and(at.checked_add(reach)).is_some()) {
            true => Ok(()),
            false => Err(DataError::new(Code::Value, "a time is too far away for the window that it is in").into()),
        }
    }

    /// Whether a row may be in several windows.
    pub fn overlaps(self) -> bool {
        match self {
            Shape::Every { slide, size, .. } => slide < size,
            Shape::Growing { step, size, .. } => step < size,
        }
    }

    /// The times around a checked one that are in the same windows.
    pub fn alike(self, at: i64) -> Range<i64> {
        match self {
            Shape::Every { slide, size, offset } => {
                let start = at - (at - offset).rem_euclid(slide);
                // Windows end so long after one begins.
                match start + size.rem_euclid(slide) {
                    end if end == start => start..start + slide,
                    end if at < end => start..end,
                    end => end..start + slide,
                }
            }
            Shape::Growing { step, size, offset } => {
                let start = at - (at - offset).rem_euclid(size);
                let from = start + (at - start) / step * step;
                from..(from + step).min(start + size)
            }
        }
    }

    /// How much later the next of the windows of a row begins and ends.
    pub fn step(self) -> (i64, i64) {
        match self {
            Shape::Every { slide, .. } => (slide, slide),
            Shape::Growing { step, .. } => (0, step),
        }
    }

    /// Says the bounds of the windows that a time is in, the earliest first. The time has been checked.
    #[inline]
    pub fn each(self, at: i64, mut say: impl FnMut(i64, i64)) {
        match self {
            Shape::Every { slide, size, offset } => {
                let last = at - (at - offset).rem_euclid(slide);
                // The first that begins no earlier than a size before the row.
                let mut start = last - (size - 1 - (at - last)).div_euclid(slide) * slide;
                while start <= last {
                    say(start, start + size);
                    start += slide;
                }
            }
            Shape::Growing { step, size, offset } => {
                let start = at - (at - offset).rem_euclid(size);
                let mut end = start + ((at - start) / step + 1) * step;
                while end <= start + size {
                    say(start, end);
                    end += step;
                }
            }
        }
    }
}

impl Placed {
    fn push(&mut self, row: u32, start: i64, end: i64) {
        self.rows.push(row);
        self.starts.push(start);
        self.ends.push(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::testing::{batch, check, columns, no_input};
    use crate::plan::node::{Closing, Window};

    fn node(shape: WindowShape) -> (SchemaRef, node::Windows) {
        let input = columns("k:text at:int");
        let time = Expr::column(&input, 1);
        let window = Window { time, shape, closing: Closing::End, lateness: 0 };
        let schema = columns("k:text at:int window_start:int window_end:int window_time:int");
        (input.clone(), node::Windows { input: no_input(&input), keys: vec![], window, schema })
    }

    fn windows(shape: WindowShape, script: &str) {
        let (input, node) = node(shape);
        check(&[input], script, |snapshots| build(&node, snapshots));
    }

    #[test]
    fn tumbling_windows_lie_side_by_side_on_both_sides_of_zero() {
        windows(
            WindowShape::Tumble { size: 10, offset: 0 },
            "0: a 0 | b 9 | c NULL | d 10 | e -1 | f -10 ->
             a 0 0 10 9 | b 9 0 10 9 | d 10 10 20 19 | e -1 -10 0 -1 | f -10 -10 0 -1",
        );
        windows(WindowShape::Tumble { size: 10, offset: 3 }, "0: a 2 | b 3 -> a 2 -7 3 2 | b 3 3 13 12");
    }

    #[test]
    fn hopping_windows_overlap() {
        windows(
            WindowShape::Hop { slide: 2, size: 5, offset: 0 },
            "0: a 7 | b 8 | c -1 ->
             a 7 4 9 8 | a 7 6 11 10 | b 8 4 9 8 | b 8 6 11 10 | b 8 8 13 12 | c -1 -4 1 0 | c -1 -2 3 2",
        );
    }

    #[test]
    fn hopping_windows_may_leave_gaps() {
        windows(
            WindowShape::Hop { slide: 10, size: 3, offset: 1 },
            "0: a 0 | b 1 | c 3 | d 4 | e 11 | f -9 -> b 1 1 4 3 | c 3 1 4 3 | e 11 11 14 13 | f -9 -9 -6 -7",
        );
    }

    #[test]
    fn cumulating_windows_begin_together() {
        windows(
            WindowShape::Cumulate { step: 2, size: 6, offset: 0 },
            "0: a 0 | b 2 | c 5 | d -1 ->
             a 0 0 2 1 | a 0 0 4 3 | a 0 0 6 5 | b 2 0 4 3 | b 2 0 6 5 | c 5 0 6 5 | d -1 -6 0 -1",
        );
    }

    #[test]
    fn times_around_one_are_in_the_same_windows() {
        let shapes = [
            Shape::Every { slide: 10, size: 10, offset: 3 },
            Shape::Every { slide: 2, size: 5, offset: 0 },
            Shape::Every { slide: 5, size: 10, offset: -1 },
            Shape::Every { slide: 10, size: 3, offset: 1 },
            Shape::Growing { step: 2, size: 6, offset: 1 },
        ];
        let windows = |shape: Shape, at: i64| {
            let mut windows = vec![];
            shape.each(at, |start, end| windows.push((start, end)));
            windows
        };
        for shape in shapes {
            for at in -30..30 {
                let alike = shape.alike(at);
                assert!(alike.contains(&at), "{shape:?} {at}");
                assert!(alike.clone().all(|other| windows(shape, other) == windows(shape, at)), "{shape:?} {at}");
                let (begin, end) = shape.step();
                let steps = windows(shape, at).windows(2).all(|two| two[1] == (two[0].0 + begin, two[0].1 + end));
                assert!(steps, "{shape:?} {at}");
            }
        }
    }

    #[test]
    fn the_halves_of_an_update_go_apart() {
        windows(
            WindowShape::Tumble { size: 10, offset: 0 },
            "0: -U a 1 | +U a 12 | -D b 5 -> -D a 1 0 10 9 | +I a 12 10 20 19 | -D b 5 0 10 9",
        );
    }

    #[test]
    fn the_watermark_before_a_row_goes_with_each_of_its_windows() -> Result<()> {
        let (input, node) = node(WindowShape::Hop { slide: 2, size: 4, offset: 0 });
        let mut operator = build(&node, &[])?;
        let mut out = Output::default();
        let rows = batch(&input, "a 1 | b NULL | c 4").with_watermarks(Some(vec![5, 6, 7].into()));
        operator.on_batch(Port(0), rows, &mut out)?;
        let said: Vec<Batch> = out.drain().collect();
        assert_eq!(said[0].watermarks().map(|watermarks| watermarks.to_vec()), Some(vec![5, 5, 7, 7]));
        Ok(())
    }

    #[test]
    fn a_time_at_the_end_of_all_times_is_an_error() -> Result<()> {
        let (input, node) = node(WindowShape::Tumble { size: 10, offset: 0 });
        for time in ["9223372036854775807", "-9223372036854775808"] {
            let rows = batch(&input, &format!("a {time}"));
            assert!(build(&node, &[])?.on_batch(Port(0), rows, &mut Output::default()).is_err());
        }
        Ok(())
    }
}
