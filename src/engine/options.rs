//! What a query may be asked for besides its SQL: from the host, or in `WITH (…)`.

use crate::error::{Code, OutsideError, Result, StatementError, did_you_mean};
use crate::sql;
use crate::types::Interval;

use super::settings::{self, LimitsChange, Settings};

/// What holds for one query instead of the engine's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryOptions {
    /// How many bytes its operators may keep; 0 for no limit. `None` for the setting `max_state_bytes`.
    pub max_state_bytes: Option<usize>,
    /// For how long it keeps what a key has after its last row; no time for as long as it may matter. `None` for the
    /// setting `state_ttl`.
    pub state_ttl: Option<Interval>,
}

/// The options of a `WITH (…)` that are for the query behind it.
const KEYS: [&str; 2] = ["max_state_bytes", "state_ttl"];

impl QueryOptions {
    /// Takes the options of a query out of a `WITH (…)`, and gives the others.
    pub(super) fn split(
        options: &[sql::SqlOption],
        settings: &Settings,
    ) -> Result<(QueryOptions, Vec<sql::SqlOption>)> {
        let mut query = QueryOptions::default();
        let (own, others): (Vec<_>, Vec<_>) =
            options.iter().cloned().partition(|option| KEYS.contains(&option.key.value.as_str()));
        for (index, option) in own.iter().enumerate() {
            let key = option.key.value.as_str();
            if own[..index].iter().any(|earlier| earlier.key.value == key) {
                let twice = StatementError::new(Code::Duplicate, format!("the option \"{key}\" is given twice"));
                return Err(twice.at(option.key.place.clone()).into());
            }
            match key {
                "max_state_bytes" => query.max_state_bytes = Some(state_bytes(option, settings)?),
                "state_ttl" => query.state_ttl = Some(settings::length(option)?),
                _ => {}
            }
        }
        Ok((query, others))
    }

    /// As [`QueryOptions::split`], where there are no others.
    pub(super) fn all(options: &[sql::SqlOption], settings: &Settings) -> Result<QueryOptions> {
        let (query, others) = QueryOptions::split(options, settings)?;
        let Some(other) = others.first() else { return Ok(query) };
        let key = other.key.value.as_str();
        let error = StatementError::new(Code::UnknownName, format!("there is no option \"{key}\" of a query"));
        let hint = did_you_mean(key, KEYS).unwrap_or_else(|| format!("The options are {}.", KEYS.join(", ")));
        Err(error.at(other.key.place.clone()).hint(hint).into())
    }

    /// Refuses options of a query where there is none.
    pub(super) fn refuse(options: &[sql::SqlOption], why: &str) -> Result<()> {
        let Some(option) = options.iter().find(|option| KEYS.contains(&option.key.value.as_str())) else {
            return Ok(());
        };
        let message = format!("\"{}\" is an option of a query, and {why}", option.key.value);
        let hint = format!("SET {} holds for the queries that are started from then on.", option.key.value);
        Err(StatementError::new(Code::InvalidArgument, message).at(option.key.place.clone()).hint(hint).into())
    }
}

/// A limit of its own. Where the host has fixed the setting it cannot allow more.
fn state_bytes(option: &sql::SqlOption, settings: &Settings) -> Result<usize> {
    let (bytes, fixed) = (settings::bytes(option)?, settings.max_state_bytes);
    let allows_more = fixed > 0 && (bytes == 0 || bytes > fixed);
    if settings.limits == LimitsChange::Refused && allows_more {
        let message = format!("the host has fixed \"{}\" at {fixed}", option.key.value);
        return Err(OutsideError::new(Code::AccessDenied, message).into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::option;
    use super::*;

    #[test]
    fn a_query_cannot_allow_itself_more_than_the_host_has_fixed() {
        let settings = Settings { max_state_bytes: 100, limits: LimitsChange::Refused, ..Settings::default() };
        let bytes = |value| QueryOptions::all(&[option("max_state_bytes", value)], &settings);
        assert_eq!(bytes("50").unwrap().max_state_bytes, Some(50));
        for value in ["0", "101", "1kB"] {
            assert_eq!(bytes(value).unwrap_err().code(), Code::AccessDenied);
        }
    }

    #[test]
    fn the_options_of_a_sink_are_left_to_it() {
        let options = [option("path", "a.csv"), option("max_state_bytes", "1")];
        let (query, others) = QueryOptions::split(&options, &Settings::default()).unwrap();
        assert_eq!((query.max_state_bytes, others), (Some(1), vec![option("path", "a.csv")]));
    }
}
