//! Within what of each other the times of matching rows are, as the condition of a join says it.
//!
//! ```text
//! b.at BETWEEN a.at AND a.at + INTERVAL '1 hour'       b.at - a.at from 0 to 1 hour
//! a.window_end = b.window_end                          b.window_end - a.window_end from 0 to 0
//! b.at >= a.at                                         from 0, and no end: a left row waits for ever
//! ```
//!
//! Conditions that say nothing of it are passed over, as all of them are checked of each pair anyway.

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::logical_plan as logical;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator};

use super::lower::{Lowered, Lowering};
use crate::plan::event_time::{event_time, window_bounds};
use crate::plan::node::{ChangelogMode, JoinKind, Node, NullKeys, SideTime, TimeOf, Within};
use crate::types::Tick;

const DAY: i128 = 86_400_000_000_000;

/// Within what of each other the times of the sides are, if the join can go by that.
///
/// Both sides have event time and rows that are only added, and the condition says of both ends how far the times are
/// from each other. A mark is said of every row at once.
pub(super) fn within(
    join: &logical::Join,
    sides: [&Lowered; 2],
    (kind, null_keys): (JoinKind, NullKeys),
) -> Lowering<Option<Within>> {
    let appends = sides.iter().all(|side| side.mode() == ChangelogMode::AppendOnly);
    if !appends || null_keys != NullKeys::Nothing || kind == JoinKind::Mark {
        return Ok(None);
    }
    let schema = join.left.schema().join(join.right.schema())?;
    let width = join.left.schema().fields().len();
    let [lefts, rights] = sides.map(|side| times(&side.node));
    let pairs = lefts.iter().flat_map(|left| rights.iter().map(move |right| [*left, *right]));
    let found = pairs.filter_map(|times| Pair::of(times, &schema, width)?.within(join));
    // Of windows it is their ends that count, as everywhere; else what is closest.
    Ok(found.min_by_key(|within| {
        let windows = within.times.iter().all(|time| time.of == TimeOf::WindowEnd);
        (!windows, within.upper.saturating_sub(within.lower))
    }))
}

/// The event times of a side: which column, of what, and what it counts in.
fn times(node: &Node) -> Vec<(usize, TimeOf, Tick)> {
    let (schema, bounds) = (node.schema(), window_bounds(node));
    let of = |column: usize| match bounds.iter().any(|bounds| bounds.end == column) {
        true => TimeOf::WindowEnd,
        false => TimeOf::Event,
    };
    let columns = event_time(node).into_iter();
    columns.filter_map(|column| Some((column, of(column), Tick::of(schema.field(column).data_type())?))).collect()
}

/// A time of each side.
struct Pair<'a> {
    times: [SideTime; 2],
    /// The finer unit of the two, and how many nanoseconds (or what integers count) that and the coarser one are.
    tick: Tick,
    fine: i128,
    coarse: i128,
    /// The columns of both sides, and of how many of them the left side's are.
    schema: &'a DFSchema,
    width: usize,
}

/// How far the right time is from the left one, in ticks, as far as that is known.
#[derive(Clone, Copy, Default)]
struct Range {
    lower: Option<i64>,
    upper: Option<i64>,
}

/// Times and lengths added up.
#[derive(Clone, Copy, Default)]
struct Sum {
    /// How often the time of each side is in it.
    times: [i128; 2],
    /// The lengths: nanoseconds for times, and numbers for integers.
    nanos: i128,
    number: i128,
    /// Whether a length is none of whole units, and may have been rounded, and whether one is told in days.
    rounded: bool,
    days: bool,
}

impl<'a> Pair<'a> {
    /// Nothing if one of them is a number and the other is not.
    fn of(times: [(usize, TimeOf, Tick); 2], schema: &'a DFSchema, width: usize) -> Option<Pair<'a>> {
        let [(_, _, left), (_, _, right)] = times;
        let (tick, units) = match (left.nanos(), right.nanos()) {
            (None, None) => (left, [1, 1]),
            (Some(one), Some(other)) => (if one <= other { left } else { right }, [one, other]),
            (None, Some(_)) | (Some(_), None) => return None,
        };
        let [fine, coarse] = [units[0].min(units[1]), units[0].max(units[1])];
        let side = |side: usize| SideTime { column: times[side].0, unit: units[side] / fine, of: times[side].1 };
        let times = [side(0), side(1)];
        Some(Pair { times, tick, fine: fine.into(), coarse: coarse.into(), schema, width })
    }

    /// What a join says of them, if that has both ends.
    fn within(&self, join: &logical::Join) -> Option<Within> {
        let mut range = Range::default();
        for (left, right) in &join.on {
            range = range.and(self.compared(left, Operator::Eq, right));
        }
        for condition in join.filter.iter().flat_map(|filter| split_conjunction(filter)) {
            range = range.and(self.said_by(condition));
        }
        Some(Within { times: self.times, tick: self.tick, lower: range.lower?, upper: range.upper? })
    }

    fn said_by(&self, condition: &Expr) -> Range {
        match condition {
            Expr::Alias(alias) => self.said_by(&alias.expr),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.compared(left, *op, right),
            Expr::Between(Between { expr, negated: false, low, high }) => {
                self.compared(expr, Operator::GtEq, low).and(self.compared(expr, Operator::LtEq, high))
            }
            // DataFusion's expressions are not ours to enumerate.
            _ => Range::default(),
        }
    }

    /// What a comparison says.
    fn compared(&self, left: &Expr, op: Operator, right: &Expr) -> Range {
        let difference = self.sum(left).zip(self.sum(right)).map(|(left, right)| left.plus(right, -1));
        match difference {
            // Of an interval days are more than any number of hours, and of a time they are 24 of them.
            Some(sum) if sum.days && matches!(left.get_type(self.schema), Ok(DataType::Interval(_))) => {
                Range::default()
            }
            // right - left + length  op  0
            Some(sum) if sum.times == [-1, 1] => self.range(op, sum, -1),
            // left - right + length  op  0
            Some(sum) if sum.times == [1, -1] => op.swap().map_or_else(Range::default, |op| self.range(op, sum, 1)),
            Some(_) | None => Range::default(),
        }
    }

    /// What it says that the right time less the left one compares so to the length of a sum, taken `sign` times.
    fn range(&self, op: Operator, sum: Sum, sign: i128) -> Range {
        let length = match self.tick.nanos() {
            None => sum.number,
            // Dates less dates are numbers of days.
            Some(_) if self.fine == DAY => sum.nanos + DAY * sum.number,
            Some(_) => sum.nanos,
        };
        // What has been rounded is off by less than a unit, on either side of the comparison.
        let slack = if sum.rounded { 2 * self.coarse } else { 0 };
        let least = (sign * length - slack).div_euclid(self.fine);
        let most = -(-(sign * length + slack)).div_euclid(self.fine);
        let (lower, upper) = match op {
            Operator::Eq => (Some(least), Some(most)),
            Operator::GtEq => (Some(least), None),
            Operator::Gt => (Some(least + 1), None),
            Operator::LtEq => (None, Some(most)),
            Operator::Lt => (None, Some(most - 1)),
            _ => (None, None),
        };
        let ticks = |ticks: Option<i128>| ticks.and_then(|ticks| i64::try_from(ticks).ok());
        Range { lower: ticks(lower), upper: ticks(upper) }
    }

    /// An expression as a sum of the two times and lengths; nothing if it is none.
    fn sum(&self, expr: &Expr) -> Option<Sum> {
        match expr {
            Expr::Alias(alias) => self.sum(&alias.expr),
            Expr::Column(column) => self.time(self.schema.maybe_index_of_column(column)?),
            Expr::Literal(value, _) => self.length(value),
            Expr::Negative(expr) => Some(Sum::default().plus(self.sum(expr)?, -1)),
            Expr::Cast(cast) => {
                let from = cast.expr.get_type(self.schema).ok()?;
                keeps(&from, cast.field.data_type()).then(|| self.sum(&cast.expr))?
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
                Some(self.sum(left)?.plus(self.sum(right)?, 1))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
                Some(self.sum(left)?.plus(self.sum(right)?, -1))
            }
            _ => None,
        }
    }

    /// A column of both sides, if it is one of the two times.
    fn time(&self, column: usize) -> Option<Sum> {
        let [left, right] = self.times;
        match column {
            column if column == left.column => Some(Sum { times: [1, 0], ..Sum::default() }),
            column if column == self.width + right.column => Some(Sum { times: [0, 1], ..Sum::default() }),
            _ => None,
        }
    }

    /// A length that is the same whenever it begins: of no months, and of no days where a day may have another hour.
    fn length(&self, value: &ScalarValue) -> Option<Sum> {
        let (days, nanos) = match value {
            ScalarValue::IntervalMonthDayNano(Some(length)) if length.months == 0 => {
                (length.days, i128::from(length.nanoseconds))
            }
            ScalarValue::IntervalDayTime(Some(length)) => (length.days, 1_000_000 * i128::from(length.milliseconds)),
            ScalarValue::DurationSecond(Some(length)) => (0, 1_000_000_000 * i128::from(*length)),
            ScalarValue::DurationMillisecond(Some(length)) => (0, 1_000_000 * i128::from(*length)),
            ScalarValue::DurationMicrosecond(Some(length)) => (0, 1_000 * i128::from(*length)),
            ScalarValue::DurationNanosecond(Some(length)) => (0, i128::from(*length)),
            value if value.data_type().is_integer() => {
                let number = value.to_string().parse().ok()?;
                return Some(Sum { number, ..Sum::default() });
            }
            _ => return None,
        };
        if days != 0 && self.is_local() {
            return None;
        }
        let nanos = nanos + DAY * i128::from(days);
        Some(Sum { nanos, rounded: nanos % self.coarse != 0, days: days != 0, ..Sum::default() })
    }

    /// Whether a time is somewhere where days may have other lengths.
    fn is_local(&self) -> bool {
        let here = |time: &SideTime, first: usize| matches!(self.schema.field(first + time.column).data_type(), DataType::Timestamp(_, Some(zone)) if !is_utc(zone));
        here(&self.times[0], 0) || here(&self.times[1], self.width)
    }
}

impl Sum {
    fn plus(self, other: Sum, times: i128) -> Sum {
        Sum {
            times: [self.times[0] + times * other.times[0], self.times[1] + times * other.times[1]],
            nanos: self.nanos + times * other.nanos,
            number: self.number + times * other.number,
            rounded: self.rounded || other.rounded,
            days: self.days || other.days,
        }
    }
}

impl Range {
    /// What two conditions say together.
    fn and(self, other: Range) -> Range {
        let tighter = |one: Option<i64>, other: Option<i64>, tighter: fn(i64, i64) -> i64| match (one, other) {
            (Some(one), Some(other)) => Some(tighter(one, other)),
            (one, other) => one.or(other),
        };
        Range { lower: tighter(self.lower, other.lower, i64::max), upper: tighter(self.upper, other.upper, i64::min) }
    }
}

/// Whether a cast of a time leaves it the same moment, or the same number.
fn keeps(from: &DataType, to: &DataType) -> bool {
    let finer = || match (Tick::of(from).and_then(Tick::nanos), Tick::of(to).and_then(Tick::nanos)) {
        (Some(from), Some(to)) => to <= from,
        (_, _) => false,
    };
    match (from, to) {
        (DataType::Timestamp(_, from), DataType::Timestamp(_, to)) => from.is_some() == to.is_some() && finer(),
        (DataType::Duration(_), DataType::Interval(IntervalUnit::MonthDayNano)) => true,
        (DataType::Date32 | DataType::Date64, DataType::Timestamp(_, None) | DataType::Date64) => finer(),
        (from, to) if from.is_integer() && to.is_integer() => {
            from.primitive_width() <= to.primitive_width()
                && (from.is_signed_integer() == to.is_signed_integer()
                    || from.primitive_width() < to.primitive_width() && to.is_signed_integer())
        }
        (_, _) => false,
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Z" | "+00:00" | "+00" | "+0000")
}
