//! What `SET` sets and `SHOW` shows.

use crate::error::{Code, OutsideError, Result, StatementError, did_you_mean};
use crate::sql;
use crate::types::Interval;

/// The settings of an engine. 0 stands for no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Whether a query whose state has no bound is refused.
    pub require_bounded_state: bool,
    /// At most how many rows of an input batch go through the engine at once; 0 for whole batches.
    pub batch_rows: usize,
    /// How many bytes the operators of one query may keep.
    pub max_state_bytes: usize,
    /// How many bytes the operators of all queries and the rows of all tables may keep together.
    pub max_total_state_bytes: usize,
    /// For how long queries that are started from then on keep what a key has after its last row; 0 for as long as it
    /// may matter.
    pub state_ttl: Interval,
    /// How many rows of one query may wait to be polled or fetched.
    pub max_output_rows: usize,
    /// How long and how deep statements may be.
    pub sql: sql::Limits,
    /// Whether `SET` may change the limits.
    pub limits: LimitsChange,
}

/// Whether statements may change the limits that the host has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitsChange {
    /// They may: the statements are the host's own.
    #[default]
    Allowed,
    /// They may not: the statements come from strangers.
    Refused,
}

/// Every setting.
pub(super) const NAMES: [&str; 11] = [
    "clock",
    "require_bounded_state",
    "batch_rows",
    "max_state_bytes",
    "max_total_state_bytes",
    "state_ttl",
    "max_output_rows",
    "sql_bytes",
    "sql_tokens",
    "sql_nesting",
    "sql_chain",
];

impl Settings {
    /// The value of a setting other than `clock`, as text.
    pub(super) fn get(&self, name: &sql::Name) -> Result<String> {
        Ok(match name.value.as_str() {
            "require_bounded_state" => self.require_bounded_state.to_string(),
            "batch_rows" => self.batch_rows.to_string(),
            "max_state_bytes" => self.max_state_bytes.to_string(),
            "max_total_state_bytes" => self.max_total_state_bytes.to_string(),
            "state_ttl" => self.state_ttl.to_string(),
            "max_output_rows" => self.max_output_rows.to_string(),
            "sql_bytes" => self.sql.sql_bytes.to_string(),
            "sql_tokens" => self.sql.tokens.to_string(),
            "sql_nesting" => self.sql.nesting.to_string(),
            "sql_chain" => self.sql.chain.to_string(),
            _ => return Err(unknown(name)),
        })
    }

    /// Sets a setting other than `clock`.
    pub(super) fn set(&mut self, option: &sql::SqlOption) -> Result<()> {
        let limits = self.limits;
        let limit = |place: &mut usize, value: fn(&sql::SqlOption) -> Result<usize>| -> Result<()> {
            if limits == LimitsChange::Refused {
                let message = format!("the host has fixed \"{}\"", option.key.value);
                return Err(crate::error::Error::from(OutsideError::new(Code::AccessDenied, message)));
            }
            *place = value(option)?;
            Ok(())
        };
        match option.key.value.as_str() {
            "require_bounded_state" => self.require_bounded_state = truth(option)?,
            "batch_rows" => self.batch_rows = number(option)?,
            "max_state_bytes" => limit(&mut self.max_state_bytes, bytes)?,
            "max_total_state_bytes" => limit(&mut self.max_total_state_bytes, bytes)?,
            "state_ttl" => self.state_ttl = length(option)?,
            "max_output_rows" => limit(&mut self.max_output_rows, number)?,
            "sql_bytes" => limit(&mut self.sql.sql_bytes, bytes)?,
            "sql_tokens" => limit(&mut self.sql.tokens, number)?,
            "sql_nesting" => limit(&mut self.sql.nesting, number)?,
            "sql_chain" => limit(&mut self.sql.chain, number)?,
            _ => return Err(unknown(&option.key)),
        }
        Ok(())
    }
}

/// There is no setting of that name.
fn unknown(name: &sql::Name) -> crate::Error {
    let error = StatementError::new(Code::UnknownName, format!("setting \"{}\" not found", name.value));
    let hint = did_you_mean(&name.value, NAMES).unwrap_or_else(|| format!("The settings are {}.", NAMES.join(", ")));
    error.at(name.place.clone()).hint(hint).into()
}

fn number(option: &sql::SqlOption) -> Result<usize> {
    option.value.parse().map_err(|_| invalid(option, "a whole number that is not negative"))
}

/// A number of bytes, as it is or with a unit: `65536`, `64MB`, `1.5 GiB`.
pub(super) fn bytes(option: &sql::SqlOption) -> Result<usize> {
    const UNITS: [(&str, f64); 8] = [
        ("", 1.0),
        ("b", 1.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("kib", 1024.0),
        ("mib", 1_048_576.0),
        ("gib", 1_073_741_824.0),
    ];
    if let Ok(bytes) = option.value.parse() {
        return Ok(bytes);
    }
    let text = option.value.trim().to_ascii_lowercase();
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_alphabetic()).unwrap_or(text.len()));
    let size = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size);
    let count = number.trim().parse::<f64>().ok().filter(|count| count.is_finite() && *count >= 0.0);
    let sized = count.zip(size).map(|(count, size)| count * size).filter(|bytes| *bytes < usize::MAX as f64);
    sized.map(|bytes| bytes as usize).ok_or_else(|| invalid(option, "a number of bytes, such as 65536 or '64MB'"))
}

/// A length of time that is not negative.
pub(super) fn length(option: &sql::SqlOption) -> Result<Interval> {
    let length = sql::parse_interval(&option.value).ok().filter(|length| length.nanos() >= 0);
    length.ok_or_else(|| invalid(option, "a length of time, such as INTERVAL '1 hour', or 0"))
}

fn truth(option: &sql::SqlOption) -> Result<bool> {
    match option.value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(invalid(option, "true or false")),
    }
}

/// The value of a setting is not `expected`.
pub(super) fn invalid(option: &sql::SqlOption, expected: &str) -> crate::Error {
    let message = format!("\"{}\" is not a value of \"{}\"", option.value, option.key.value);
    let hint = format!("It is {expected}.");
    StatementError::new(Code::InvalidArgument, message).at(option.place.clone()).hint(hint).into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::error::Place;

    pub(in crate::engine) fn option(key: &str, value: &str) -> sql::SqlOption {
        let place = Place::new("".into(), 0..0);
        sql::SqlOption { key: sql::Name { value: key.into(), place: place.clone() }, value: value.into(), place }
    }

    #[test]
    fn every_setting_but_the_clock_can_be_shown_and_set() {
        let mut settings = Settings::default();
        for name in NAMES.into_iter().filter(|name| *name != "clock") {
            settings.set(&option(name, "1")).unwrap();
            let shown = settings.get(&option(name, "").key).unwrap();
            assert!(["1", "true", "1 second"].contains(&shown.as_str()), "{name} is {shown}");
        }
    }

    #[test]
    fn a_misspelt_setting_is_an_error_with_a_hint() {
        let error = Settings::default().set(&option("batch_row", "1")).unwrap_err();
        assert_eq!((error.code(), error.hint().unwrap().as_str()), (Code::UnknownName, "Did you mean \"batch_rows\"?"));
    }

    #[test]
    fn a_fixed_limit_cannot_be_set() {
        let mut settings = Settings { limits: LimitsChange::Refused, ..Settings::default() };
        assert_eq!(settings.set(&option("sql_bytes", "9")).unwrap_err().code(), Code::AccessDenied);
    }
}
