//! Keyed joins: random arrivals, and the rules of the manual as a program that a person can check.

use std::fmt;

use arrow::datatypes::DataType;
use proptest::prelude::*;
use proptest::sample::select;

use crate::answers::{Answer, Cell};
use crate::data::{self, After, Column, Row, Value};
use crate::feeding::{Step, arrival_steps, write_case};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    First,
    Last,
    Product,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speak {
    Complete,
    Running,
    Final,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Inner,
    Left,
    Full,
}

/// Where the sides get their rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Feed {
    /// Each side from a stream of its own.
    Streams,
    /// All from one stream: side `n` takes the rows whose `id` is divided by `n + 1`.
    OneStream,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Key {
    OneByOn,
    OneByUsing,
    TwoByOn,
    TwoByUsing,
}

/// A keyed join and the rows that arrive: each with the number of its stream.
#[derive(Debug, Clone)]
pub struct Case {
    pub sides: usize,
    pub key: Key,
    pub keep: Keep,
    pub speak: Speak,
    pub kind: Kind,
    pub feed: Feed,
    pub filter: Option<usize>,
    pub arrivals: Vec<(usize, Row, After)>,
}

pub fn case() -> impl Strategy<Value = Case> {
    let shape = (
        2usize..=4,
        select(vec![Key::OneByOn, Key::OneByUsing, Key::TwoByOn, Key::TwoByUsing]),
        select(vec![Keep::Last, Keep::First, Keep::Product]),
        select(vec![Speak::Running, Speak::Complete, Speak::Final]),
        select(vec![Kind::Full, Kind::Left, Kind::Inner]),
        prop_oneof![4 => Just(Feed::Streams), 1 => Just(Feed::OneStream)],
        prop::option::weighted(0.2, 0usize..4),
    );
    let key = data::nullable((0i64..3).prop_map(Value::Whole));
    let word = data::nullable(select(vec!["a", "b"]).prop_map(|word| Value::Text(word.into())));
    let arrivals = prop::collection::vec((0usize..4, key, word, data::after()), 0..=24);
    (shape, arrivals).prop_map(|((sides, key, keep, speak, kind, feed, filter), arrivals)| {
        let arrive = |(index, (side, k, j, after)): (usize, (usize, Value, Value, After))| {
            let stream = if feed == Feed::OneStream { 0 } else { side % sides };
            (stream, vec![Value::Whole(index as i64 + 1), k, j], after)
        };
        let arrivals = arrivals.into_iter().enumerate().map(arrive).collect();
        // Only combinations of all sides can be complete.
        let kind = if speak == Speak::Complete { Kind::Inner } else { kind };
        // The planner takes USING over four sides as ambiguous, unless the join is FULL.
        let key = match key {
            Key::OneByUsing if sides > 3 && kind != Kind::Full => Key::OneByOn,
            Key::TwoByUsing if sides > 3 && kind != Kind::Full => Key::TwoByOn,
            Key::OneByOn | Key::OneByUsing | Key::TwoByOn | Key::TwoByUsing => key,
        };
        Case { sides, key, keep, speak, kind, feed, filter: filter.filter(|side| *side < sides), arrivals }
    })
}

fn columns() -> Vec<Column> {
    vec![("id", "BIGINT", DataType::Int64), ("k", "BIGINT", DataType::Int64), ("j", "VARCHAR", DataType::Utf8)]
}

impl Case {
    fn streams(&self) -> usize {
        if self.feed == Feed::OneStream { 1 } else { self.sides }
    }

    pub fn setup(&self) -> Vec<String> {
        (0..self.streams()).map(|stream| data::create(&format!("s{stream}"), &columns())).collect()
    }

    pub fn sql(&self) -> String {
        let ids: Vec<String> = (0..self.sides).map(|side| format!("a{side}.id AS id{side}")).collect();
        let mut text = format!("SELECT {} FROM {}", ids.join(", "), self.side(0));
        let join = match self.kind {
            Kind::Inner => "JOIN",
            Kind::Left => "LEFT JOIN",
            Kind::Full => "FULL JOIN",
        };
        for side in 1..self.sides {
            let on = match self.key {
                Key::OneByOn => format!("ON a0.k = a{side}.k"),
                Key::OneByUsing => "USING (k)".into(),
                Key::TwoByOn => format!("ON a0.k = a{side}.k AND a0.j = a{side}.j"),
                Key::TwoByUsing => "USING (k, j)".into(),
            };
            text += &format!(" {join} {} {on}", self.side(side));
        }
        let (keep, speak) = (format!("{:?}", self.keep), format!("{:?}", self.speak));
        text += &format!(" KEEP {} EMIT {}", keep.to_uppercase(), speak.to_uppercase());
        match self.filter {
            Some(side) => text + &format!(" WHERE a{side}.id % 2 = 0"),
            None => text,
        }
    }

    fn side(&self, side: usize) -> String {
        match self.feed {
            Feed::Streams => format!("s{side} AS a{side}"),
            Feed::OneStream => format!("(SELECT id, k, j FROM s0 WHERE id % {} = 0) AS a{side}", side + 1),
        }
    }

    pub fn steps(&self, cut: impl Fn(After) -> After) -> Vec<Step> {
        arrival_steps(&columns(), &self.arrivals, self.streams(), cut)
    }

    /// What the rules say.
    pub fn expected(&self) -> Answer {
        let mut states: Vec<(Vec<Value>, State)> = vec![];
        let mut out = vec![];
        for (id, side, key) in self.side_arrivals() {
            let known = states.iter().position(|(known, _)| *known == key && !key.contains(&Value::Null));
            let at = known.unwrap_or_else(|| {
                states.push((key, vec![vec![]; self.sides]));
                states.len() - 1
            });
            let state = &mut states[at].1;
            self.keep.offer(state, side, id);
            match self.speak {
                Speak::Complete if state.iter().all(|rows| !rows.is_empty()) => {
                    out.extend(self.kind.combinations(&states.remove(at).1));
                }
                Speak::Running => out.extend(self.kind.combinations(state)),
                Speak::Complete | Speak::Final => {}
            }
        }
        if self.speak == Speak::Final {
            out.extend(states.iter().flat_map(|(_, state)| self.kind.combinations(state)));
        }
        out.retain(|row| self.filter.is_none_or(|side| row[side].is_some_and(|id| id % 2 == 0)));
        let cell = |id: Option<i64>| id.map_or(Cell::Null, |id| Cell::Text(id.to_string()));
        out.into_iter().map(|row| row.into_iter().map(cell).collect()).collect()
    }

    /// Each arrival of a row at a side: its id, the side, its key.
    fn side_arrivals(&self) -> Vec<(i64, usize, Vec<Value>)> {
        let mut arrivals = vec![];
        for (index, (stream, row, _)) in self.arrivals.iter().enumerate() {
            let id = index as i64 + 1;
            let key = match self.key {
                Key::OneByOn | Key::OneByUsing => row[1..2].to_vec(),
                Key::TwoByOn | Key::TwoByUsing => row[1..3].to_vec(),
            };
            let sides = match self.feed {
                Feed::Streams => *stream..*stream + 1,
                Feed::OneStream => 0..self.sides,
            };
            let reaches = |side: &usize| self.feed == Feed::Streams || id % (*side as i64 + 1) == 0;
            arrivals.extend(sides.filter(reaches).map(|side| (id, side, key.clone())));
        }
        arrivals
    }
}

impl Kind {
    /// All combinations that this kind of join keeps, the leftmost side varying slowest.
    pub fn combinations(self, state: &State) -> Vec<Vec<Option<i64>>> {
        let mut rows: Vec<Vec<Option<i64>>> = vec![vec![]];
        for side in state {
            let choices: Vec<Option<i64>> =
                if side.is_empty() { vec![None] } else { side.iter().map(|id| Some(*id)).collect() };
            rows = rows.iter().flat_map(|row| choices.iter().map(|id| [row.as_slice(), &[*id]].concat())).collect();
        }
        rows.retain(|row| match self {
            Kind::Inner => row.iter().all(Option::is_some),
            Kind::Left => row[0].is_some(),
            Kind::Full => true,
        });
        rows
    }
}

impl Keep {
    /// A row of a side has come.
    pub fn offer(self, state: &mut State, side: usize, id: i64) {
        match self {
            Keep::First if !state[side].is_empty() => {}
            Keep::First | Keep::Product => state[side].push(id),
            Keep::Last => state[side] = vec![id],
        }
    }
}

/// The ids of the stored rows of each side.
pub type State = Vec<Vec<i64>>;

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_case(f, &self.setup(), &self.sql(), &columns(), &self.arrivals)
    }
}
