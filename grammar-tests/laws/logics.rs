//! A state machine of the host: random rows and clock, and the same machine as a loop over all keys.
//!
//! It adds the numbers of its key. It says the total when a row without a number comes, when no row has come for
//! three seconds, and at the end. After a NULL it is discarded, after a silence it goes on.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use proptest::prelude::*;
use riverrun::logic::{Answer as Said, Keep, StatefulLogic, per_row};
use riverrun::{Engine, Interval, Result, Row, Timestamp};

use crate::answers::{Answer, Cell};
use crate::data::{self, After, Column, Value};
use crate::feeding::{Happening, Step, happening_steps};

const SILENCE: i64 = 3;

#[derive(Debug, Clone)]
pub struct Case {
    happenings: Vec<Happening>,
}

pub fn case() -> impl Strategy<Value = Case> {
    let whole = |range: std::ops::Range<i64>| data::nullable(range.prop_map(Value::Whole));
    let happening = prop_oneof![
        4 => (whole(0..3), whole(1..9), data::after()).prop_map(|(k, v, after)| Happening::Row(vec![k, v], after)),
        1 => (1i64..5).prop_map(Happening::Seconds),
    ];
    prop::collection::vec(happening, 0..=30).prop_map(|happenings| Case { happenings })
}

fn columns() -> Vec<Column> {
    vec![("k", "BIGINT", DataType::Int64), ("v", "BIGINT", DataType::Int64)]
}

/// The total of one key.
struct Total {
    key: Option<i64>,
    total: i64,
    due: Option<Timestamp>,
}

impl Total {
    fn say(&self, why: &str, keep: Keep) -> Said {
        (vec![vec![self.key.into(), self.total.into(), why.into()]], keep)
    }
}

impl StatefulLogic for Total {
    fn on_item(&mut self, row: Row<'_>, now: Timestamp) -> Result<Said> {
        match row.get::<Option<i64>>("v")? {
            None => Ok(self.say("null", Keep::Discard)),
            Some(number) => {
                self.total += number;
                self.due = Some(now + Interval::from_millis(SILENCE * 1_000));
                Ok((vec![], Keep::Retain))
            }
        }
    }

    fn on_notify(&mut self, _: Timestamp) -> Result<Said> {
        self.due = None;
        Ok(self.say("silence", Keep::Retain))
    }

    fn on_eof(&mut self) -> Result<Said> {
        Ok(self.say("end", Keep::Discard))
    }

    fn notify_at(&self) -> Option<Timestamp> {
        self.due
    }

    fn snapshot(&self) -> Result<Vec<u8>> {
        let due = self.due.map_or(i64::MIN, Timestamp::nanos);
        Ok([self.total.to_le_bytes(), due.to_le_bytes()].concat())
    }
}

impl Case {
    /// An engine that knows the machine.
    pub fn engine(&self) -> Engine {
        let engine = Engine::new();
        let fields = [("k", DataType::Int64), ("total", DataType::Int64), ("why", DataType::Utf8)];
        let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
        let build = |key: Row<'_>, saved: Option<&[u8]>| {
            let number = |at: usize| saved.map(|saved| i64::from_le_bytes(saved[at..at + 8].try_into().unwrap()));
            let due = number(8).filter(|due| *due != i64::MIN).map(Timestamp::from_nanos);
            Ok(Total { key: key.get(0)?, total: number(0).unwrap_or(0), due })
        };
        engine.register_logic("totals", per_row(Arc::new(Schema::new(fields.to_vec())), build));
        engine
    }

    pub fn setup(&self) -> Vec<String> {
        vec!["SET clock = 'manual'".into(), data::create("t", &columns())]
    }

    pub fn steps(&self, cut: impl Fn(After) -> After) -> Vec<Step> {
        happening_steps(&columns(), &self.happenings, cut)
    }

    /// What the machine says.
    pub fn expected(&self) -> Answer {
        /// A key, its total, and when its silence is over.
        type State = (Value, i64, Option<i64>);
        let (mut states, mut out, mut now): (Vec<State>, Answer, i64) = (vec![], vec![], 0);
        let said = |state: &State, why: &str| {
            let key = match &state.0 {
                Value::Whole(key) => Cell::Text(key.to_string()),
                Value::Null | Value::Float(_) | Value::Text(_) | Value::Truth(_) => Cell::Null,
            };
            vec![key, Cell::Text(state.1.to_string()), Cell::Text(why.into())]
        };
        for happening in &self.happenings {
            match happening {
                Happening::Seconds(seconds) => {
                    now += seconds;
                    let mut due: Vec<(i64, usize)> = states
                        .iter()
                        .enumerate()
                        .filter_map(|(at, state)| state.2.filter(|due| *due <= now).map(|due| (due, at)))
                        .collect();
                    due.sort_unstable();
                    for (_, at) in due {
                        states[at].2 = None;
                        out.push(said(&states[at], "silence"));
                    }
                }
                Happening::Row(row, _) => {
                    let at = states.iter().position(|state| state.0 == row[0]).unwrap_or_else(|| {
                        states.push((row[0].clone(), 0, None));
                        states.len() - 1
                    });
                    if let Value::Whole(number) = &row[1] {
                        states[at].1 += number;
                        states[at].2 = Some(now + SILENCE);
                    } else {
                        out.push(said(&states.remove(at), "null"));
                    }
                }
            }
        }
        out.extend(states.iter().map(|state| said(state, "end")));
        out
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for happening in &self.happenings {
            writeln!(f, "{}", happening.statement(&columns()))?;
        }
        Ok(())
    }
}
