//! When two answers are the same.

use std::collections::HashMap;

use serde_json::Value;

/// A row of a changelog: 1 for a row that comes, -1 for a row that goes.
pub type Change = (i64, Vec<Value>);

/// The rows of an answer with their weights; `op` is taken out of a changelog.
pub fn changes(columns: &[String], rows: &[Vec<Value>]) -> Vec<Change> {
    let changelog = columns.first().is_some_and(|name| name == "op");
    rows.iter()
        .map(|row| match (changelog, row.split_first()) {
            (true, Some((op, rest))) => (weight(op), rest.to_vec()),
            (true, None) | (false, _) => (1, row.clone()),
        })
        .collect()
}

fn weight(op: &Value) -> i64 {
    match op.as_str() {
        Some("-U" | "-D") => -1,
        _ => 1,
    }
}

/// What changes add up to: the rows whose weights do not cancel out, each as often as its weight says.
pub fn fold(changes: &[Change]) -> Vec<Change> {
    let mut folded: Vec<(String, Change)> = Vec::new();
    let mut positions = HashMap::new();
    for (weight, row) in changes {
        let text = canonical_text(row);
        let position = *positions.entry(text.clone()).or_insert(folded.len());
        match folded.get_mut(position) {
            Some((_, (total, _))) => *total += weight,
            None => folded.push((text, (*weight, row.clone()))),
        }
    }
    folded
        .into_iter()
        .flat_map(|(_, (weight, row))| {
            let count = usize::try_from(weight.unsigned_abs()).unwrap_or(usize::MAX);
            std::iter::repeat_n((weight.signum(), row), count)
        })
        .collect()
}

/// Whether the two are equal as multisets.
pub fn same_rows(expected: &[Change], actual: &[Change], tolerance: f64) -> bool {
    let (expected, actual) = (fold(&canonical(expected)), fold(&canonical(actual)));
    if expected.len() != actual.len() {
        return false;
    }
    // Most rows are equal to the letter, and need not be looked for.
    let mut exact: HashMap<String, usize> = HashMap::new();
    actual.iter().for_each(|change| *exact.entry(text_of(change)).or_default() += 1);
    let mut taken = |change: &&Change| match exact.get_mut(&text_of(change)) {
        Some(count) if *count > 0 => (true, *count -= 1).0,
        Some(_) | None => false,
    };
    let wanted: Vec<&Change> = expected.iter().filter(|change| !taken(change)).collect();
    let mut left: Vec<&Change> = actual.iter().filter(taken).collect();
    wanted.into_iter().all(|wanted| {
        let found = left.iter().position(|change| same_change(wanted, change, tolerance));
        found.map(|position| left.swap_remove(position)).is_some()
    })
}

/// Whether the two are equal row by row.
pub fn same_sequence(expected: &[Change], actual: &[Change], tolerance: f64) -> bool {
    let (expected, actual) = (canonical(expected), canonical(actual));
    expected.len() == actual.len() && expected.iter().zip(&actual).all(|(a, b)| same_change(a, b, tolerance))
}

fn same_change(a: &Change, b: &Change, tolerance: f64) -> bool {
    a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(&b.1).all(|(a, b)| same_value(a, b, tolerance))
}

/// Integers exactly, other numbers within a relative tolerance. `a` is what is expected.
fn same_value(a: &Value, b: &Value, tolerance: f64) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if is_integer(a) && is_integer(b) => a == b,
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs()),
            (_, _) => false,
        },
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b, tolerance))
        }
        // Some answers were recorded from printed tables: there `t` is true, and text made of digits looks like a number.
        (Value::String(text), Value::Bool(truth)) => text == if *truth { "t" } else { "f" },
        (Value::Number(number), Value::String(text)) => {
            text.parse().is_ok_and(|read| same_value(&Value::Number(number.clone()), &Value::Number(read), tolerance))
        }
        (a, b) => a == b,
    }
}

fn is_integer(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64()
}

/// The changes with every text in the form in which it is compared: times by their instant, blanks in a run as one.
fn canonical(changes: &[Change]) -> Vec<Change> {
    changes.iter().map(|(weight, row)| (*weight, row.iter().map(canonical_value).collect())).collect()
}

fn canonical_value(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(canonical_string(text)),
        Value::Array(values) => Value::Array(values.iter().map(canonical_value).collect()),
        value => value.clone(),
    }
}

fn text_of((weight, row): &Change) -> String {
    format!("{weight} {}", canonical_text(row))
}

fn canonical_text(row: &[Value]) -> String {
    serde_json::to_string(row).unwrap_or_default()
}

/// A date is its midnight, `T` is a blank, a fraction loses its trailing zeros, and a run of blanks is one.
fn canonical_string(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape == "0000-00-00" {
        return format!("{text} 00:00:00");
    }
    if shape.starts_with("0000-00-00T00:00") || shape.starts_with("0000-00-00 00:00") {
        let text = text.replacen('T', " ", 1);
        return trim_fraction(text.trim_end_matches("+00:00").trim_end_matches('Z')).to_owned();
    }
    if shape.starts_with("00:00:00.") {
        return trim_fraction(&text).to_owned();
    }
    text
}

fn trim_fraction(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}
