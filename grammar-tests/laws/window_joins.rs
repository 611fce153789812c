//! Keyed joins within windows: random arrivals out of order, and the rules as a program that a person can check.

use std::fmt;

use arrow::datatypes::{DataType, TimeUnit};
use proptest::prelude::*;
use proptest::sample::select;

use crate::answers::{Answer, Cell};
use crate::data::{self, After, Column, Row, Value};
use crate::feeding::{Step, arrival_steps, write_case};
use crate::joins::{Keep, Kind, Speak, State};
use crate::windows::{SECOND, Shape, fixed};

/// A keyed join of windows over streams, and the rows that arrive: each with the number of its stream.
#[derive(Debug, Clone)]
pub struct Case {
    sides: usize,
    shape: Shape,
    keep: Keep,
    speak: Speak,
    kind: Kind,
    /// How far the watermark of each stream is behind its latest time.
    delay: i64,
    arrivals: Vec<(usize, Row, After)>,
}

pub fn case() -> impl Strategy<Value = Case> {
    let join = (
        2usize..=3,
        select(vec![Keep::Last, Keep::First, Keep::Product]),
        select(vec![Speak::Final, Speak::Running, Speak::Complete]),
        select(vec![Kind::Full, Kind::Left, Kind::Inner]),
    );
    let key = data::nullable((0i64..3).prop_map(Value::Whole));
    let at = data::nullable((-12i64..25).prop_map(|seconds| Value::Whole(seconds * SECOND)));
    let arrivals = prop::collection::vec((0usize..6, key, at, data::after()), 0..=24);
    (join, fixed(), 0i64..9, arrivals).prop_map(|((sides, keep, speak, kind), shape, delay, arrivals)| {
        let arrive = |(index, (side, k, at, after)): (usize, (usize, Value, Value, After))| {
            (side % sides, vec![Value::Whole(index as i64 + 1), k, at], after)
        };
        let arrivals = arrivals.into_iter().enumerate().map(arrive).collect();
        // Only combinations of all sides can be complete.
        let kind = if speak == Speak::Complete { Kind::Inner } else { kind };
        Case { sides, shape, keep, speak, kind, delay, arrivals }
    })
}

fn columns() -> Vec<Column> {
    vec![
        ("id", "BIGINT", DataType::Int64),
        ("k", "BIGINT", DataType::Int64),
        ("at", "TIMESTAMP", DataType::Timestamp(TimeUnit::Nanosecond, None)),
    ]
}

impl Case {
    pub fn setup(&self) -> Vec<String> {
        let delay = self.delay;
        let stream = |stream: usize| {
            let columns = data::create(&format!("s{stream}"), &columns());
            let columns = columns.trim_end_matches(')');
            format!("{columns}, WATERMARK FOR at AS at - INTERVAL '{delay} seconds')")
        };
        (0..self.sides).map(stream).collect()
    }

    pub fn sql(&self) -> String {
        let side = |side: usize| format!("{} AS a{side}", self.shape.call().replace("{}", &format!("s{side}, ")));
        let ids: Vec<String> = (0..self.sides).map(|side| format!("a{side}.id AS id{side}")).collect();
        let mut text = format!("SELECT {} FROM {}", ids.join(", "), side(0));
        let join = match self.kind {
            Kind::Inner => "JOIN",
            Kind::Left => "LEFT JOIN",
            Kind::Full => "FULL JOIN",
        };
        for nth in 1..self.sides {
            let equal = |column: &str| format!("a0.{column} = a{nth}.{column}");
            let on = ["k", "window_start", "window_end"].map(equal).join(" AND ");
            text += &format!(" {join} {} ON {on}", side(nth));
        }
        let (keep, speak) = (format!("{:?}", self.keep), format!("{:?}", self.speak));
        text + &format!(" KEEP {} EMIT {}", keep.to_uppercase(), speak.to_uppercase())
    }

    pub fn steps(&self, cut: impl Fn(After) -> After) -> Vec<Step> {
        arrival_steps(&columns(), &self.arrivals, self.sides, cut)
    }

    /// What the rules say: the rules of keyed joins, with the window as a part of the key, for the rows that are not late
    /// for it by the watermark of their own stream. In the end the windows come in the order of their ends.
    pub fn expected(&self) -> Answer {
        let mut states: Vec<(i64, (Value, i64), State)> = vec![];
        let mut watermarks = vec![i64::MIN; self.sides];
        let mut out = vec![];
        for (side, row, _) in &self.arrivals {
            let (Value::Whole(id), key, Value::Whole(nanos)) = (&row[0], &row[1], &row[2]) else { continue };
            let at = nanos / SECOND;
            for (start, end) in self.shape.windows(at).into_iter().filter(|(_, end)| watermarks[*side] < *end) {
                let key = (key.clone(), start);
                let is_it = |(closes, known, _): &(i64, (Value, i64), State)| {
                    *closes == end && *known == key && key.0 != Value::Null
                };
                let place = states.iter().position(is_it).unwrap_or_else(|| {
                    states.push((end, key.clone(), vec![vec![]; self.sides]));
                    states.len() - 1
                });
                let state = &mut states[place].2;
                self.keep.offer(state, *side, *id);
                match self.speak {
                    Speak::Complete if state.iter().all(|rows| !rows.is_empty()) => {
                        out.extend(self.kind.combinations(&states.remove(place).2));
                    }
                    Speak::Running => out.extend(self.kind.combinations(state)),
                    Speak::Complete | Speak::Final => {}
                }
            }
            watermarks[*side] = watermarks[*side].max(at - self.delay);
        }
        if self.speak == Speak::Final {
            states.sort_by_key(|(end, _, _)| *end);
            out.extend(states.iter().flat_map(|(_, _, state)| self.kind.combinations(state)));
        }
        let cell = |id: Option<i64>| id.map_or(Cell::Null, |id| Cell::Text(id.to_string()));
        out.into_iter().map(|row| row.into_iter().map(cell).collect()).collect()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_case(f, &self.setup(), &self.sql(), &columns(), &self.arrivals)
    }
}
