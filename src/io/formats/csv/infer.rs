//! The types of columns, as far as the first rows tell.

use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampNanosecondType};

/// The narrowest type that every value seen so far has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Inferred {
    /// No value was seen.
    #[default]
    Unknown,
    Boolean,
    Integer,
    Float,
    Date,
    Timestamp,
    Text,
}

impl Inferred {
    /// The type of one value.
    fn of(value: &str) -> Inferred {
        let value = value.trim_ascii();
        let Some(first) = value.bytes().next() else { return Inferred::Unknown };
        if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
            return Inferred::Boolean;
        }
        if ["NaN", "nan", "inf", "-inf"].contains(&value) {
            return Inferred::Float;
        }
        let numeric = first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.');
        if !numeric {
            return Inferred::Text;
        }
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number too long for BIGINT is an identifier: as a DOUBLE it would lose digits.
            return if value.parse::<i64>().is_ok() { Inferred::Integer } else { Inferred::Text };
        }
        if value.bytes().any(|byte| byte.is_ascii_digit()) && value.parse::<f64>().is_ok_and(f64::is_finite) {
            return Inferred::Float;
        }
        Inferred::of_time(value)
    }

    fn of_time(value: &str) -> Inferred {
        let shape = value.as_bytes();
        if shape.len() < 10 || shape[4] != b'-' || shape[7] != b'-' {
            return Inferred::Text;
        }
        if shape.len() == 10 && Date32Type::parse(value).is_some() {
            return Inferred::Date;
        }
        let timed = shape.len() > 10 && matches!(shape[10], b'T' | b' ');
        if timed && TimestampNanosecondType::parse(value).is_some() { Inferred::Timestamp } else { Inferred::Text }
    }

    /// The type after one more value.
    pub fn with(self, value: &str) -> Inferred {
        if self == Inferred::Text {
            return self;
        }
        match (self, Inferred::of(value)) {
            (known, Inferred::Unknown) | (Inferred::Unknown, known) => known,
            (known, new) if known == new => known,
            (Inferred::Integer, Inferred::Float) | (Inferred::Float, Inferred::Integer) => Inferred::Float,
            (Inferred::Date, Inferred::Timestamp) | (Inferred::Timestamp, Inferred::Date) => Inferred::Timestamp,
            (_, _) => Inferred::Text,
        }
    }

    /// The type that it becomes. Timestamps have no zone: one that is written is taken into account, to UTC.
    pub fn data_type(self) -> DataType {
        match self {
            Inferred::Boolean => DataType::Boolean,
            Inferred::Integer => DataType::Int64,
            Inferred::Float => DataType::Float64,
            Inferred::Date => DataType::Date32,
            Inferred::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Inferred::Unknown | Inferred::Text => DataType::Utf8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(values: &[&str]) -> Inferred {
        values.iter().fold(Inferred::default(), |known, value| known.with(value))
    }

    #[test]
    fn the_narrowest_type_that_fits_is_found() {
        assert_eq!(inferred(&["1", "", "-2"]), Inferred::Integer);
        assert_eq!(inferred(&["1", "2.5", "1e3", "NaN"]), Inferred::Float);
        assert_eq!(inferred(&["true", "FALSE"]), Inferred::Boolean);
        assert_eq!(inferred(&["2013-01-01"]), Inferred::Date);
        assert_eq!(inferred(&["2013-01-01", "2013-01-01T10:00:00Z", "2013-01-01 10:00:00.5"]), Inferred::Timestamp);
        for text in ["1", "true", "2013-01-01"] {
            assert_eq!(inferred(&[text, "NA"]), Inferred::Text);
        }
        assert_eq!(inferred(&["99999999999999999999"]), Inferred::Text);
        assert_eq!(inferred(&["-", "2013-13-01", "2013-1-1"]), Inferred::Text);
        assert_eq!(inferred(&["10.0.0.1"]), Inferred::Text);
        assert_eq!(inferred(&["é23456789012"]), Inferred::Text);
        assert_eq!(inferred(&[]), Inferred::Unknown);
    }
}
