//! What DataFusion finds wrong with a query, said in our words and with its place.
//!
//! DataFusion's texts change between releases, so whatever depends on them is in this file, with tests.

use std::sync::Arc;

use datafusion_common::{DataFusionError, Diagnostic, SchemaError};
use sqlparser::tokenizer::{Location, Span};

use crate::error::{Code, Error, InternalError, Place, StatementError};
use crate::sql;

/// Carries an error of ours through DataFusion's planner.
pub(super) fn smuggle(error: impl Into<Error>) -> DataFusionError {
    DataFusionError::External(Box::new(error.into()))
}

/// An error of DataFusion's planner or of ours that went through it.
pub(super) fn diagnose(error: &DataFusionError, text: &Arc<str>, functions: &[String]) -> Error {
    let error = first(error);
    let diagnostic = error.diagnostic();
    let place = diagnostic.and_then(|diagnostic| diagnostic.span.as_ref()).map(|span| place_of(text, span));
    let root = error.find_root();
    if let DataFusionError::External(inner) = root
        && let Some(ours) = inner.downcast_ref::<Error>()
    {
        return with_place(ours.clone(), place);
    }
    let message = root_message(root);
    if let Some(call) = quoted_after(&message, "name and argument types '") {
        let error = StatementError::new(Code::Type, format!("{} does not take such arguments", calls(&call)));
        return locate(error.hint("Cast the arguments to the types that the function takes."), &message, place, text);
    }
    if let DataFusionError::Internal(message) = root {
        return match explained_internal(message) {
            Some(error) => locate(error, message, place, text),
            None => InternalError::new(message.clone()).into(),
        };
    }
    if let DataFusionError::SchemaError(schema, _) = root {
        return schema_error(schema, place, text);
    }
    if let Some(error) = misplaced_subquery(&message) {
        return with_place(error.into(), place);
    }
    if message.contains("unique expression names") {
        let name = message.split('"').nth(1).map(|expr| expr.rsplit(" AS ").next().unwrap_or(expr));
        return duplicate(name.unwrap_or_default(), place, text);
    }
    if let Some(name) = quoted_after(&message, "Invalid function '") {
        return unknown_function(&name, place, text, functions);
    }
    let said = diagnostic.map_or_else(|| tidy(&message), |diagnostic| tidy(&diagnostic.message));
    let mut ours = StatementError::new(code_of(root, &message), said);
    if let Some(hint) = diagnostic.and_then(hint_of) {
        ours = ours.hint(hint);
    }
    locate(ours, &message, place, text)
}

/// Several errors may come at once; the first is enough to go on with.
fn first(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Collection(errors) => errors.first().map_or(error, first),
        DataFusionError::Shared(inner) => first(inner),
        other => other,
    }
}

/// A place from DataFusion's span.
pub(super) fn place_of(text: &Arc<str>, span: &datafusion_common::Span) -> Place {
    let location = |at: datafusion_common::Location| Location::new(at.line, at.column);
    sql::place_of(text, Span::new(location(span.start), location(span.end)))
}

fn with_place(error: Error, place: Option<Place>) -> Error {
    match (error, place) {
        (Error::Statement(inner), Some(place)) if Error::Statement(inner.clone()).place().is_none() => {
            inner.at(place).into()
        }
        (error, _) => error,
    }
}

fn schema_error(error: &SchemaError, place: Option<Place>, text: &Arc<str>) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<String> = valid_fields.iter().map(|column| column.name.clone()).collect();
            let ours = StatementError::new(Code::UnknownColumn, format!("column \"{}\" not found", field.flat_name()));
            let ours = match crate::error::did_you_mean(&field.name, names.iter().map(String::as_str)) {
                Some(hint) => ours.hint(hint),
                None if names.is_empty() => ours,
                None => ours.hint(format!("The columns here are {}.", list(&valid_fields_text(valid_fields)))),
            };
            locate_name(ours, &field.name, place, text)
        }
        SchemaError::AmbiguousReference { field } => {
            let ours = StatementError::new(Code::Ambiguous, format!("column \"{}\" is ambiguous", field.name))
                .hint("Write the relation's name before it, as in a.column.");
            locate_name(ours, &field.name, place, text)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            duplicate(name, place, text)
        }
    }
}

fn duplicate(name: &str, place: Option<Place>, text: &Arc<str>) -> Error {
    let ours = StatementError::new(Code::Duplicate, format!("two columns are named \"{name}\""));
    locate_name(ours.hint("Give one of them another name with AS."), name, place, text)
}

fn valid_fields_text(fields: &[datafusion_common::Column]) -> Vec<String> {
    fields.iter().take(12).map(|column| format!("\"{}\"", column.name)).collect()
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

fn unknown_function(name: &str, place: Option<Place>, text: &Arc<str>, functions: &[String]) -> Error {
    let ours = StatementError::new(Code::UnknownFunction, format!("function \"{name}\" not found"));
    let ours = match crate::error::did_you_mean(name, functions.iter().map(String::as_str)) {
        Some(hint) => ours.hint(hint),
        None => ours.hint("SHOW FUNCTIONS lists them all."),
    };
    locate_name(ours, name, place, text)
}

/// A subquery that DataFusion could not make a join of: it names the whole syntax tree.
fn misplaced_subquery(message: &str) -> Option<StatementError> {
    let (_, expr) = message.split_once("support logical expression ")?;
    let subquery = ["InSubquery", "Exists", "ScalarSubquery", "SetComparison", "OuterReferenceColumn"];
    subquery.iter().any(|name| expr.starts_with(name)).then(|| {
        let error = StatementError::new(Code::Unsupported, "a subquery like this cannot stand here");
        error.hint("Put it into the WHERE or HAVING, or join with it.")
    })
}

/// Internal errors of DataFusion that are really the author's.
fn explained_internal(message: &str) -> Option<StatementError> {
    let typed = ["not supported", "coerc", "data type", "Function '", "arguments"];
    typed.iter().any(|word| message.contains(word)).then(|| StatementError::new(Code::Type, tidy(message)))
}

fn code_of(root: &DataFusionError, message: &str) -> Code {
    match root {
        DataFusionError::NotImplemented(_) => Code::Unsupported,
        DataFusionError::SQL(..) => Code::Syntax,
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => Code::Value,
        _ if message.contains("placeholder") || message.contains("parameter") => Code::Parameter,
        _ if message.contains("coerc") || message.contains("type") || message.contains("Cannot infer") => Code::Type,
        _ => Code::InvalidArgument,
    }
}

/// `sum(Utf8)` as `sum(VARCHAR)`: DataFusion names types by Arrow's names.
fn calls(call: &str) -> String {
    const NAMES: [(&str, &str); 9] = [
        ("Utf8View", "VARCHAR"),
        ("LargeUtf8", "VARCHAR"),
        ("Utf8", "VARCHAR"),
        ("Int64", "BIGINT"),
        ("Int32", "INT"),
        ("Int16", "SMALLINT"),
        ("Int8", "TINYINT"),
        ("Float64", "DOUBLE"),
        ("Timestamp(ns)", "TIMESTAMP"),
    ];
    NAMES.iter().fold(call.to_string(), |call, (arrow, sql)| call.replace(arrow, sql))
}

fn hint_of(diagnostic: &Diagnostic) -> Option<String> {
    if diagnostic.message.contains("incompatible types") {
        let types: Vec<String> =
            diagnostic.notes.iter().map(|note| calls(note.message.trim_start_matches("has type "))).collect();
        return Some(match types.as_slice() {
            [left, right] => format!("One side is {left}, the other {right}: cast one of them."),
            _ => "Cast one side to the type of the other.".into(),
        });
    }
    let said = diagnostic.helps.first().map(|help| &help.message);
    let said = said.or_else(|| diagnostic.notes.first().map(|note| &note.message))?;
    let mut hint = tidy(said).replace('\'', "\"");
    if let Some(first) = hint.get(..1) {
        hint = first.to_uppercase() + &hint[1..];
    }
    if !hint.ends_with(['.', '?', '!']) {
        hint.push('.');
    }
    Some(hint)
}

/// The text of the innermost error, without the prefixes that DataFusion puts before it.
fn root_message(root: &DataFusionError) -> String {
    root.message().into_owned()
}

/// A message in our style: one line, lower case, no full stop, names in double quotes.
fn tidy(message: &str) -> String {
    let message = message.split("\n\nbacktrace").next().unwrap_or(message);
    let mut message = message.trim().trim_start_matches("Error during planning: ").to_string();
    if let Some(at) = message.find("\n\tCandidate functions") {
        message.truncate(at);
    }
    let mut message = message.split_whitespace().map(requoted).collect::<Vec<_>>().join(" ");
    while message.ends_with('.') {
        message.pop();
    }
    let mut letters = message.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => message,
    }
}

/// `'name'` as `"name"`.
fn requoted(word: &str) -> String {
    match word.strip_prefix('\'').and_then(|rest| rest.rsplit_once('\'')) {
        Some((name, rest)) if !name.is_empty() && !name.contains('\'') => format!("\"{name}\"{rest}"),
        Some(_) | None => word.to_string(),
    }
}

fn quoted_after(message: &str, before: &str) -> Option<String> {
    let rest = &message[message.find(before)? + before.len()..];
    rest.split('\'').next().map(str::to_string)
}

/// The place DataFusion gave or, if it gave none, the only place in the text where a name that the message quotes occurs.
fn locate(error: StatementError, message: &str, place: Option<Place>, text: &Arc<str>) -> Error {
    if let Some(place) = place {
        return error.at(place).into();
    }
    let mut quoted = message.split(['\'', '"', '`']).skip(1).step_by(2);
    match quoted.find_map(|name| only_place(name, text)) {
        Some(place) => error.at(place).into(),
        None => error.into(),
    }
}

fn locate_name(error: StatementError, name: &str, place: Option<Place>, text: &Arc<str>) -> Error {
    match place.or_else(|| only_place(name, text)) {
        Some(place) => error.at(place).into(),
        None => error.into(),
    }
}

/// Where `name` stands in the text as a whole word, if it stands there once.
pub(super) fn only_place(name: &str, text: &Arc<str>) -> Option<Place> {
    let mut places = word_places(name, text).into_iter();
    let place = places.next()?;
    places.next().is_none().then_some(place)
}

/// The first place where `name` stands in the text as a whole word.
pub(super) fn first_place(name: &str, text: &Arc<str>) -> Option<Place> {
    word_places(name, text).into_iter().next()
}

fn word_places(name: &str, text: &Arc<str>) -> Vec<Place> {
    if name.is_empty() {
        return vec![];
    }
    let part_of_word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let (lower, name) = (text.to_ascii_lowercase(), name.to_ascii_lowercase());
    let places = lower.match_indices(&name).map(|(start, found)| start..start + found.len()).filter(|bytes| {
        !part_of_word(lower[..bytes.start].chars().next_back()) && !part_of_word(lower[bytes.end..].chars().next())
    });
    places.map(|bytes| Place::new(text.clone(), bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_one_lower_case_line() {
        assert_eq!(tidy("Error during planning: Cannot do\n  that."), "cannot do that");
        assert_eq!(tidy("SQL is fine"), "SQL is fine");
        assert_eq!(tidy("'a.v' isn't there, nor is 'b'."), "\"a.v\" isn't there, nor is \"b\"");
    }

    #[test]
    fn a_name_is_placed_only_where_it_is_a_word_and_alone() {
        let text: Arc<str> = "SELECT nope, nope2 FROM t".into();
        assert_eq!(only_place("nope", &text).map(|place| place.bytes()), Some(7..11));
        assert!(only_place("t", &"t t".into()).is_none());
    }
}
