//! WHAT WENT WRONG? One error, sorted by who can put it right.
//!
//! - [`Error::Statement`]: the author of the SQL. Carries the place in the text.
//! - [`Error::Data`]: whoever feeds the rows. Carries file, line and column where there are any.
//! - [`Error::Outside`]: the world around the engine: a file that is missing, a disk that is full, access that was refused.
//! - [`Error::Limit`]: a limit that the host has set and may raise.
//! - [`Error::Internal`]: us. It is a bug; the query that met it is stopped and the others go on.
//!
//! Every error has a stable [`Code`], a message, a place where there is one, and a hint where there is one.
//! Rendering with a caret is the console's work; an error only carries what is needed for it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What every fallible function of the crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by who can put it right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement is wrong.
    #[error("{0}")]
    Statement(Box<StatementError>),
    /// A row is wrong.
    #[error("{0}")]
    Data(Box<DataError>),
    /// Something outside the engine failed or was refused.
    #[error("{0}")]
    Outside(Box<OutsideError>),
    /// A limit was reached.
    #[error("{0}")]
    Limit(Box<LimitError>),
    /// A bug in riverrun.
    #[error("{0}")]
    Internal(Box<InternalError>),
}

/// A stable name for a kind of error, for programs to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The text is not SQL.
    Syntax,
    /// SQL that is understood, and that riverrun does not do.
    Unsupported,
    /// No stream, table, view or sink of that name.
    UnknownRelation,
    /// No column of that name.
    UnknownColumn,
    /// No function, aggregate or logic of that name.
    UnknownFunction,
    /// No cursor, setting or option of that name.
    UnknownName,
    /// A name that is taken already.
    Duplicate,
    /// A name that could mean two things.
    Ambiguous,
    /// Types that do not go together.
    Type,
    /// An argument, option or setting outside what it may be.
    InvalidArgument,
    /// An emit or keep mode that cannot be honoured here.
    EmitMode,
    /// A join of a shape that is not supported.
    JoinShape,
    /// A query whose state has no bound, where one is required.
    UnboundedState,
    /// A parameter that was not given, or one too many.
    Parameter,
    /// A value that cannot be computed: overflow, division by zero, a cast that fails.
    Value,
    /// A row or file that cannot be read.
    BadRow,
    /// A row or batch that does not fit its stream.
    SchemaMismatch,
    /// A stream that has been closed.
    Closed,
    /// A file or network error.
    Io,
    /// Access that the host has not granted.
    AccessDenied,
    /// A limit was reached.
    Limit,
    /// A query has kept more than it may.
    StateLimit,
    /// The statement was cancelled.
    Cancelled,
    /// A bug in riverrun.
    Internal,
}

impl Code {
    /// The code as it is printed and documented.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Syntax => "syntax",
            Code::Unsupported => "unsupported",
            Code::UnknownRelation => "unknown-relation",
            Code::UnknownColumn => "unknown-column",
            Code::UnknownFunction => "unknown-function",
            Code::UnknownName => "unknown-name",
            Code::Duplicate => "duplicate",
            Code::Ambiguous => "ambiguous",
            Code::Type => "type",
            Code::InvalidArgument => "invalid-argument",
            Code::EmitMode => "emit-mode",
            Code::JoinShape => "join-shape",
            Code::UnboundedState => "unbounded-state",
            Code::Parameter => "parameter",
            Code::Value => "value",
            Code::BadRow => "bad-row",
            Code::SchemaMismatch => "schema-mismatch",
            Code::Closed => "closed",
            Code::Io => "io",
            Code::AccessDenied => "access-denied",
            Code::Limit => "limit",
            Code::StateLimit => "state-limit",
            Code::Cancelled => "cancelled",
            Code::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A range of a statement's text.
///
/// It owns the whole text, so an error can be shown with its line long after the statement is gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    text: Arc<str>,
    bytes: Range<usize>,
}

impl Place {
    /// The bytes `bytes` of `text`, cut to the text and to whole characters.
    pub fn new(text: Arc<str>, bytes: Range<usize>) -> Self {
        let floor = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(bytes.start);
        let end = floor(bytes.end).max(start);
        Place { text, bytes: start..end }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place as a range of bytes of the text.
    pub fn bytes(&self) -> Range<usize> {
        self.bytes.clone()
    }

    /// The offending part of the text.
    pub fn offending(&self) -> &str {
        &self.text[self.bytes.clone()]
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// The column in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.before().rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1
    }

    fn before(&self) -> &str {
        &self.text[..self.bytes.start]
    }
}

/// An error in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementError {
    code: Code,
    message: String,
    place: Option<Place>,
    hint: Option<String>,
}

impl StatementError {
    /// An error of kind `code`. The message is lower case, without a full stop, names in double quotes.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        StatementError { code, message: message.into(), place: None, hint: None }
    }

    /// Where, if it has been said.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Says what to do about it, as a sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.place {
            Some(place) => write!(f, " at line {}, column {}", place.line(), place.column()),
            None => Ok(()),
        }
    }
}

/// An error in the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataError {
    code: Code,
    message: String,
    hint: Option<String>,
    /// The file, stream or column the row came from.
    pub origin: Option<String>,
    /// The line in the file, counted from 1.
    pub line: Option<u64>,
    /// The column of the row.
    pub column: Option<String>,
}

impl DataError {
    /// An error of kind `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        DataError { code, message: message.into(), hint: None, origin: None, line: None, column: None }
    }

    /// Says which file or stream.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Says which line of the file, counted from 1.
    #[must_use]
    pub fn line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Says which column of the row.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Says what to do about it, as a sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(column) = &self.column {
            write!(f, "column \"{column}\": ")?;
        }
        f.write_str(&self.message)
    }
}

/// An error of the world around the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideError {
    code: Code,
    message: String,
    hint: Option<String>,
}

impl OutsideError {
    /// An error of kind `code`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        OutsideError { code, message: message.into(), hint: None }
    }

    /// An I/O error at `path`.
    pub fn io(path: impl fmt::Display, error: &std::io::Error) -> Self {
        OutsideError::new(Code::Io, format!("{path}: {error}"))
    }

    /// Says what to do about it, as a sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for OutsideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The setting that limits what one query may keep.
pub const MAX_STATE_BYTES: &str = "max_state_bytes";
/// The setting that limits what all queries and tables may keep together.
pub const MAX_TOTAL_STATE_BYTES: &str = "max_total_state_bytes";

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitError {
    /// The setting that holds the limit.
    pub setting: &'static str,
    /// What was kept and by whom, if it is a limit of state.
    pub state: Option<StateLimit>,
    message: String,
}

/// A query that has kept more than it may.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateLimit {
    /// What messages call the query: `cursor "c"`, `stream "s"`, `sink "o"`.
    pub query: String,
    /// The operator that has gone beyond the limit, as `EXPLAIN` calls it.
    pub operator: String,
    /// How many bytes that operator keeps or is about to hand on.
    pub bytes: usize,
    /// How many bytes the operators that the limit is for keep in all.
    pub total: usize,
    /// How many they may.
    pub limit: usize,
    /// Whether the query was started with that limit of its own, and no setting says it.
    pub own: bool,
}

impl LimitError {
    /// The limit `setting` was reached; `message` says by what and how far.
    pub fn new(setting: &'static str, message: impl Into<String>) -> Self {
        LimitError { setting, state: None, message: message.into() }
    }

    /// An operator has gone beyond the limit `setting` of what may be kept.
    pub fn state(setting: &'static str, state: StateLimit) -> Self {
        let StateLimit { query, operator, bytes, total, limit, own: _ } = &state;
        let message = match setting {
            MAX_STATE_BYTES => {
                format!("{query} keeps {total} bytes, and {limit} are allowed; {bytes} of them are in \"{operator}\"")
            }
            _ => format!(
                "all queries and tables keep {total} bytes, and {limit} are allowed; {query} was stopped when it had \
                 {bytes} in \"{operator}\""
            ),
        };
        LimitError { setting, state: Some(state), message }
    }

    fn hint(&self) -> String {
        let setting = self.setting;
        let raise = match &self.state {
            Some(state) if state.own => format!("Start the query with a higher {setting}"),
            Some(_) | None => format!("Raise it with SET {setting}"),
        };
        let rest = match &self.state {
            Some(_) => {
                ": state_ttl forgets what is old, KEEP FIRST or LAST and COLLECT bound what is kept, a narrower SELECT \
                 keeps fewer columns"
            }
            None => "",
        };
        format!("{raise}, or let the query keep less{rest}.")
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A bug in riverrun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalError {
    message: String,
}

impl InternalError {
    /// Says what could not be.
    pub fn new(message: impl Into<String>) -> Self {
        InternalError { message: message.into() }
    }
}

impl fmt::Display for InternalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (this is a bug in riverrun)", self.message)
    }
}

impl Error {
    /// The stable name of this kind of error.
    pub fn code(&self) -> Code {
        match self {
            Error::Statement(error) => error.code,
            Error::Data(error) => error.code,
            Error::Outside(error) => error.code,
            Error::Limit(error) if error.state.is_some() => Code::StateLimit,
            Error::Limit(_) => Code::Limit,
            Error::Internal(_) => Code::Internal,
        }
    }

    /// The message alone: no place, no hint.
    pub fn message(&self) -> String {
        match self {
            Error::Statement(error) => error.message.clone(),
            Error::Data(error) => error.to_string(),
            Error::Outside(error) => error.message.clone(),
            Error::Limit(error) => error.message.clone(),
            Error::Internal(error) => error.to_string(),
        }
    }

    /// Where in the statement, if it is known.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Error::Statement(error) => error.place.as_ref(),
            Error::Data(_) | Error::Outside(_) | Error::Limit(_) | Error::Internal(_) => None,
        }
    }

    /// An error of data that says of no relation or file that it is there is one of `relation`.
    pub(crate) fn in_relation(self, relation: &str) -> Error {
        match self {
            Error::Data(error) if error.origin.is_none() => error.origin(relation).into(),
            Error::Statement(_) | Error::Data(_) | Error::Outside(_) | Error::Limit(_) | Error::Internal(_) => self,
        }
    }

    /// What to do about it, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Statement(error) => error.hint.clone(),
            Error::Data(error) => error.hint.clone(),
            Error::Outside(error) => error.hint.clone(),
            Error::Limit(error) => Some(error.hint()),
            Error::Internal(_) => None,
        }
    }
}

macro_rules! sorted {
    ($($from:ident => $into:ident),*) => {$(
        impl From<$from> for Error {
            fn from(error: $from) -> Self {
                Error::$into(Box::new(error))
            }
        }
    )*};
}

sorted!(StatementError => Statement, DataError => Data, OutsideError => Outside, LimitError => Limit, InternalError => Internal);

impl From<arrow::error::ArrowError> for Error {
    /// Arrow fails on values: an overflow, a cast, a division by zero.
    fn from(error: arrow::error::ArrowError) -> Self {
        DataError::new(Code::Value, error.to_string()).into()
    }
}

/// A hint that names the candidate nearest to a misspelled name, if one is near enough.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
    let (nearest, errors) =
        candidates.into_iter().map(|candidate| (candidate, distance(candidate))).min_by_key(|(_, errors)| *errors)?;
    // A third of the letters may be wrong, and at least one.
    let near = errors <= (name.chars().count() / 3).max(1);
    near.then(|| format!("Did you mean \"{nearest}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_columns_in_characters() {
        let place = Place::new("SELECT 'é',\n  nope".into(), 15..19);
        assert_eq!((place.line(), place.column(), place.offending()), (2, 3, "nope"));
    }

    #[test]
    fn a_place_outside_the_text_is_cut_to_it() {
        let place = Place::new("é".into(), 1..9);
        assert_eq!((place.bytes(), place.column()), (0..2, 1));
    }
}
