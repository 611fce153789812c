//! Lengths of time and points in time, as they are written.

use std::sync::Arc;

use sqlparser::ast::{self, Expr, Spanned, UnaryOperator, Value};

use super::source::place_of;
use crate::error::{Code, Result, StatementError};
use crate::types::{Interval, Timestamp};

/// What an interval's text says, months apart from the rest because their length depends on where they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Length {
    pub(super) months: i128,
    pub(super) nanos: i128,
}

impl Length {
    /// The length, if it has no months and fits.
    fn interval(self) -> Result<Interval, String> {
        if self.months != 0 {
            return Err("months and years have no fixed length".to_string());
        }
        i64::try_from(self.nanos).map(Interval::from_nanos).map_err(|_| "the interval is too long".to_string())
    }
}

/// One unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Nanos(i128),
    Months(i128),
}

const SECOND: i128 = 1_000_000_000;

/// The unit of that name, in singular, plural or short.
fn unit(name: &str) -> Option<Unit> {
    let name = name.to_ascii_lowercase();
    Some(match name.as_str() {
        "nanosecond" | "nanoseconds" | "ns" => Unit::Nanos(1),
        "microsecond" | "microseconds" | "us" => Unit::Nanos(1_000),
        "millisecond" | "milliseconds" | "ms" => Unit::Nanos(1_000_000),
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Nanos(SECOND),
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Nanos(60 * SECOND),
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Nanos(3_600 * SECOND),
        "day" | "days" | "d" => Unit::Nanos(86_400 * SECOND),
        "week" | "weeks" | "w" => Unit::Nanos(7 * 86_400 * SECOND),
        "month" | "months" | "mon" | "mons" => Unit::Months(1),
        "quarter" | "quarters" => Unit::Months(3),
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Months(12),
        "decade" | "decades" => Unit::Months(120),
        "century" | "centuries" => Unit::Months(1_200),
        "millennium" | "millenniums" | "millennia" => Unit::Months(12_000),
        _ => return None,
    })
}

/// Whether a word names a unit of time.
pub(super) fn is_unit(name: &str) -> bool {
    unit(name).is_some()
}

/// Reads the text of an interval, such as `1 day 2 hours`, `1.5 seconds`, `-00:00:05` or `5`. A number without a unit
/// counts `default_unit`, or seconds without one.
pub(super) fn parse_length(text: &str, default_unit: Option<&str>) -> Result<Length, String> {
    let mut length = Length::default();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("an interval needs a number and a unit".to_string());
    }
    while !rest.is_empty() {
        let (number, after) = split(rest, |character| character.is_ascii_digit() || "+-.:".contains(character));
        if number.is_empty() {
            let word = rest.split_whitespace().next().unwrap_or(rest);
            return Err(format!("expected a number, found \"{word}\""));
        }
        rest = after.trim_start();
        if number.contains(':') {
            length.nanos = add(length.nanos, clock(number)?)?;
            continue;
        }
        let (name, after) = split(rest, char::is_alphabetic);
        let name = if name.is_empty() { default_unit.unwrap_or("second") } else { name };
        let unit = unit(name).ok_or_else(|| format!("\"{name}\" is no unit of time"))?;
        match unit {
            Unit::Nanos(size) => length.nanos = add(length.nanos, times(number, size)?)?,
            Unit::Months(size) => length.months = add(length.months, times(number, size)?)?,
        }
        rest = after.trim_start();
    }
    Ok(length)
}

fn add(left: i128, right: i128) -> Result<i128, String> {
    left.checked_add(right).ok_or_else(|| "the interval is too long".to_string())
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|character| !belongs(character)).unwrap_or(text.len()))
}

/// A decimal number times a whole one, exactly, cut to whole units.
fn times(number: &str, size: i128) -> Result<i128, String> {
    let bad = || format!("\"{number}\" is no number");
    let (negative, digits) = match number.as_bytes().first() {
        Some(b'-') => (true, &number[1..]),
        Some(b'+') => (false, &number[1..]),
        _ => (false, number),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return Err(bad());
    }
    if whole.len() > 19 {
        return Err("the interval is too long".to_string());
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<i128>().map_err(|_| bad())? * size / 10_i128.pow(digits.len() as u32),
    };
    let total = whole * size + part;
    Ok(if negative { -total } else { total })
}

/// `HH:MM[:SS[.fraction]]`, with a sign before all of it.
fn clock(text: &str) -> Result<i128, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parts: Vec<&str> = digits.split(':').collect();
    let signed = parts.iter().any(|part| part.contains(['-', '+']));
    let fractional = parts.iter().take(2).any(|part| part.contains('.'));
    if signed || fractional || !(2..=3).contains(&parts.len()) {
        return Err(format!("\"{text}\" is no time of the form HH:MM:SS"));
    }
    let mut nanos = 0;
    for (part, seconds) in parts.iter().zip([3_600, 60, 1]) {
        nanos += times(part, seconds * SECOND)?;
    }
    Ok(if negative { -nanos } else { nanos })
}

/// The length that `INTERVAL '…' [unit]` or a negated one says; `text` is the statement's, for the place of an error.
///
/// Months and years are refused: state and clocks need a length that is the same everywhere.
pub fn interval_of(text: &Arc<str>, expr: &Expr) -> Result<Interval> {
    length_of(expr).and_then(Length::interval).map_err(|message| {
        StatementError::new(Code::InvalidArgument, message)
            .at(place_of(text, expr.span()))
            .hint("Write an interval of fixed length, such as INTERVAL '5 seconds'.")
            .into()
    })
}

/// The length that a text such as `1 hour` says; if it says none, the error says why.
pub fn parse_interval(text: &str) -> Result<Interval, String> {
    parse_length(text, None).and_then(Length::interval)
}

/// What an interval expression says.
pub(super) fn length_of(expr: &Expr) -> Result<Length, String> {
    match expr {
        Expr::Nested(inner) => length_of(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            let Length { months, nanos } = length_of(expr)?;
            Ok(Length { months: -months, nanos: -nanos })
        }
        Expr::Interval(interval) => interval_literal(interval),
        _ => Err("expected an interval".to_string()),
    }
}

fn interval_literal(interval: &ast::Interval) -> Result<Length, String> {
    if interval.last_field.is_some() || interval.leading_precision.is_some() {
        return Err("an interval has one unit and no precision".to_string());
    }
    let unit = interval.leading_field.as_ref().map(ToString::to_string);
    let text = match &*interval.value {
        Expr::Value(value) => literal_text(&value.value),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Expr::Value(value) => literal_text(&value.value).map(|text| format!("-{text}")),
            _ => None,
        },
        _ => None,
    };
    parse_length(&text.ok_or("expected the interval as a literal")?, unit.as_deref())
}

/// The text of a string or number literal.
fn literal_text(value: &Value) -> Option<String> {
    match value {
        Value::SingleQuotedString(text) | Value::Number(text, _) => Some(text.clone()),
        _ => None,
    }
}

/// The point in time that a text such as `2026-01-01`, `2026-01-01 00:00:00.123` or `2026-01-01T00:00:00Z` says; UTC
/// without an offset.
pub fn parse_timestamp(text: &str) -> Result<Timestamp> {
    let nanos = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text.trim());
    nanos.map(Timestamp::from_nanos).map_err(|_| {
        StatementError::new(Code::InvalidArgument, format!("\"{text}\" is no point in time"))
            .hint("Write it as '2026-01-01 00:00:00.123', with 'Z' or an offset such as '+02:00' if it is not UTC.")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(text: &str, unit: Option<&str>) -> Result<i64, String> {
        parse_length(text, unit).and_then(Length::interval).map(Interval::nanos)
    }

    #[test]
    fn units_and_combinations() {
        const S: i64 = 1_000_000_000;
        let cases: [(&str, Option<&str>, i64); 16] = [
            ("5 seconds", None, 5 * S),
            ("5", None, 5 * S),
            ("5", Some("MINUTES"), 300 * S),
            ("1 day 2 hours", None, 26 * 3_600 * S),
            ("1day2h", None, 26 * 3_600 * S),
            ("500 milliseconds", None, S / 2),
            ("1.5 seconds", None, 3 * S / 2),
            (".5", Some("second"), S / 2),
            ("-1 day +1 hour", None, -23 * 3_600 * S),
            ("01:02:03", None, 3_723 * S),
            ("1 day 00:00:00.25", None, 86_400 * S + S / 4),
            ("-00:01", None, -60 * S),
            ("3 us 7 ns", None, 3_007),
            ("1 WEEK", None, 7 * 86_400 * S),
            ("0.1234567891234567891 seconds", None, 123_456_789),
            ("  2  min  ", None, 120 * S),
        ];
        for (text, unit, nanos) in cases {
            assert_eq!(interval(text, unit), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_no_interval_is_said() {
        for (text, message) in [
            ("", "an interval needs a number and a unit"),
            ("5 bananas", "\"bananas\" is no unit of time"),
            ("seconds", "expected a number, found \"seconds\""),
            ("1 month", "months and years have no fixed length"),
            ("2 years", "months and years have no fixed length"),
            ("1.2.3 days", "\"1.2.3\" is no number"),
            ("--1 day", "\"--1\" is no number"),
            ("1:2:3:4", "\"1:2:3:4\" is no time of the form HH:MM:SS"),
            ("99999999999999999999 days", "the interval is too long"),
            ("9999999999999 days", "the interval is too long"),
            ("é", "expected a number, found \"é\""),
        ] {
            assert_eq!(interval(text, None), Err(message.to_string()), "{text}");
        }
    }

    #[test]
    fn timestamps() {
        const DAY: i64 = 1_767_225_600_000;
        for (text, millis) in [
            ("2026-01-01", DAY),
            ("2026-01-01 00:00:00.123", DAY + 123),
            ("2026-01-01T00:00:01", DAY + 1_000),
            ("2026-01-01T00:00:00Z", DAY),
            ("2026-01-01T02:00:00+02:00", DAY),
        ] {
            assert_eq!(parse_timestamp(text), Ok(Timestamp::from_millis(millis)), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "2026-01-01 25:00:00", "9999-01-01"] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }
}
