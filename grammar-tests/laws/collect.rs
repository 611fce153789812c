//! `COLLECT`: random rows and clock, and the rules of the manual as a program that a person can check.

use std::fmt;

use arrow::datatypes::DataType;
use proptest::prelude::*;

use crate::answers::{Answer, Cell};
use crate::data::{self, After, Column, Value};
use crate::feeding::{Happening, Step, happening_steps};

#[derive(Debug, Clone)]
pub struct Case {
    pub max_rows: Option<usize>,
    pub timeout: Option<i64>,
    pub max_wait: Option<i64>,
    pub happenings: Vec<Happening>,
}

pub fn case() -> impl Strategy<Value = Case> {
    let key = data::nullable((0i64..3).prop_map(Value::Whole));
    let happening = prop_oneof![
        4 => (key, data::after()).prop_map(|(key, after)| Happening::Row(vec![key], after)),
        1 => (1i64..5).prop_map(Happening::Seconds),
    ];
    let bounds = (prop::option::of(1usize..5), prop::option::of(1i64..6), prop::option::of(1i64..9));
    (bounds, prop::collection::vec(happening, 0..=30)).prop_map(|((max_rows, timeout, max_wait), happenings)| {
        // At least one bound is needed.
        let max_rows = max_rows.or((timeout.is_none() && max_wait.is_none()).then_some(3));
        Case { max_rows, timeout, max_wait, happenings: numbered(happenings) }
    })
}

/// Puts `id` before the key.
fn numbered(mut happenings: Vec<Happening>) -> Vec<Happening> {
    let rows = happenings.iter_mut().filter_map(|happening| match happening {
        Happening::Row(row, _) => Some(row),
        Happening::Seconds(_) => None,
    });
    for (row, id) in rows.zip(1..) {
        row.insert(0, Value::Whole(id));
    }
    happenings
}

fn columns() -> Vec<Column> {
    vec![("id", "BIGINT", DataType::Int64), ("k", "BIGINT", DataType::Int64)]
}

struct Window {
    key: Value,
    ids: Vec<usize>,
    first: i64,
    last: i64,
}

impl Case {
    pub fn setup(&self) -> Vec<String> {
        vec!["SET clock = 'manual'".into(), data::create("t", &columns())]
    }

    pub fn sql(&self) -> String {
        let mut bounds = vec![];
        bounds.extend(self.max_rows.map(|rows| format!("max_rows => {rows}")));
        bounds.extend(self.timeout.map(|seconds| format!("timeout => INTERVAL '{seconds} seconds'")));
        bounds.extend(self.max_wait.map(|seconds| format!("max_wait => INTERVAL '{seconds} seconds'")));
        format!(
            "SELECT k, array_agg(id) AS ids, count(*) AS n, close_reason() AS why FROM t GROUP BY k, COLLECT({})",
            bounds.join(", ")
        )
    }

    pub fn steps(&self, cut: impl Fn(After) -> After) -> Vec<Step> {
        happening_steps(&columns(), &self.happenings, cut)
    }

    /// What the rules say.
    pub fn expected(&self) -> Answer {
        let (mut windows, mut out): (Vec<Window>, Answer) = (vec![], vec![]);
        let (mut now, mut id) = (0, 0);
        for happening in &self.happenings {
            match happening {
                Happening::Seconds(seconds) => {
                    now += seconds;
                    self.close_due(&mut windows, now, &mut out);
                }
                Happening::Row(row, _) => {
                    id += 1;
                    self.arrive(&mut windows, &row[1], id, now, &mut out);
                }
            }
        }
        windows.sort_by_key(|window| window.ids[0]);
        out.extend(windows.iter().map(|window| closed(window, "end")));
        out
    }

    fn arrive(&self, windows: &mut Vec<Window>, key: &Value, id: usize, now: i64, out: &mut Answer) {
        let at = windows.iter().position(|window| window.key == *key).unwrap_or_else(|| {
            windows.push(Window { key: key.clone(), ids: vec![], first: now, last: now });
            windows.len() - 1
        });
        windows[at].ids.push(id);
        windows[at].last = now;
        if self.max_rows.is_some_and(|rows| windows[at].ids.len() >= rows) {
            out.push(closed(&windows.remove(at), "size"));
        }
    }

    /// Closes what is due by `now`, in the order of due times, then of first rows.
    fn close_due(&self, windows: &mut Vec<Window>, now: i64, out: &mut Answer) {
        windows.sort_by_key(|window| (self.due(window).map(|(due, _)| due), window.ids[0]));
        windows.retain(|window| match self.due(window) {
            Some((due, why)) if due <= now => {
                out.push(closed(window, why));
                false
            }
            Some(_) | None => true,
        });
    }

    /// When the clock closes the window, and why. Silence is named before age if both are due at once.
    fn due(&self, window: &Window) -> Option<(i64, &'static str)> {
        let silence = self.timeout.map(|timeout| (window.last + timeout, "timeout"));
        let age = self.max_wait.map(|wait| (window.first + wait, "max_wait"));
        [silence, age].into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}

fn closed(window: &Window, why: &str) -> Vec<Cell> {
    let ids: Vec<String> = window.ids.iter().map(usize::to_string).collect();
    let key = match &window.key {
        Value::Whole(key) => Cell::Text(key.to_string()),
        Value::Null | Value::Float(_) | Value::Text(_) | Value::Truth(_) => Cell::Null,
    };
    vec![key, Cell::Text(format!("[{}]", ids.join(", "))), Cell::Text(ids.len().to_string()), Cell::Text(why.into())]
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for statement in self.setup() {
            writeln!(f, "{statement};")?;
        }
        writeln!(f, "DECLARE c CURSOR FOR {};", self.sql())?;
        for happening in &self.happenings {
            writeln!(f, "{}", happening.statement(&columns()))?;
        }
        Ok(())
    }
}
