//! Windows: random rows out of order, and which windows a row is in and late for as a program that a person can check.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use proptest::prelude::*;

use crate::data::{self, After, Column, Row, Value};
use crate::feeding::{Happening, Step, happening_steps};
use crate::sessions::Sessions;

pub const SECOND: i64 = 1_000_000_000;

/// Windows, in seconds.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    Tumble {
        size: i64,
        offset: i64,
    },
    Hop {
        slide: i64,
        size: i64,
        offset: i64,
    },
    Cumulate {
        step: i64,
        steps: i64,
        offset: i64,
    },
    /// Of the rows of a `k`.
    Session {
        gap: i64,
    },
}

/// How a query asks for windows.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// `GROUP BY k, TUMBLE(…)`
    Key,
    /// `FROM TUMBLE(…) GROUP BY k, window_start, window_end`
    Relation,
}

#[derive(Debug, Clone)]
pub struct Case {
    pub shape: Shape,
    pub form: Form,
    /// How far the watermark is behind the latest time.
    pub delay: i64,
    /// `ALLOW LATENESS`
    pub lateness: i64,
    /// Rows with a lesser `v`, or none, are left out before.
    pub least: Option<i64>,
    pub happenings: Vec<Happening>,
}

/// A row in a window: its number, and the window's bounds.
pub type Placed = (usize, i64, i64);

/// Windows that follow from the time of a row alone.
pub fn fixed() -> impl Strategy<Value = Shape> {
    let (size, part) = (1i64..8, 1i64..5);
    prop_oneof![
        (size.clone(), -3i64..9).prop_map(|(size, offset)| Shape::Tumble { size, offset }),
        (part.clone(), size, -3i64..9).prop_map(|(slide, size, offset)| Shape::Hop { slide, size, offset }),
        (part, 1i64..4, -3i64..9).prop_map(|(step, steps, offset)| Shape::Cumulate { step, steps, offset }),
    ]
}

/// Cases whose windows are kept for so long at most.
pub fn case(lateness_most: i64) -> impl Strategy<Value = Case> {
    let shape = prop_oneof![3 => fixed(), 2 => (1i64..8).prop_map(|gap| Shape::Session { gap })];
    let row = (
        data::nullable((0i64..3).prop_map(Value::Whole)),
        data::nullable((-9i64..10).prop_map(Value::Whole)),
        data::nullable((-12i64..25).prop_map(|seconds| Value::Whole(seconds * SECOND))),
    );
    let happening = prop_oneof![
        8 => (row, data::after()).prop_map(|((k, v, at), after)| Happening::Row(vec![k, v, at], after)),
        1 => (1i64..4).prop_map(Happening::Seconds),
    ];
    let form = prop_oneof![Just(Form::Key), Just(Form::Relation)];
    let happenings = prop::collection::vec(happening, 0..=30);
    let least = prop::option::weighted(0.3, -5i64..3);
    (shape, form, 0i64..9, 0..=lateness_most, least, happenings).prop_map(
        |(shape, form, delay, lateness, least, happenings)| Case {
            shape,
            form,
            delay,
            lateness,
            least,
            happenings: numbered(happenings),
        },
    )
}

/// Puts `id` before the other columns.
fn numbered(mut happenings: Vec<Happening>) -> Vec<Happening> {
    let rows = happenings.iter_mut().filter_map(|happening| match happening {
        Happening::Row(row, _) => Some(row),
        Happening::Seconds(_) => None,
    });
    for (row, id) in rows.zip(0..) {
        row.insert(0, Value::Whole(id));
    }
    happenings
}

fn timestamp(name: &'static str) -> Column {
    (name, "TIMESTAMP", DataType::Timestamp(TimeUnit::Nanosecond, None))
}

fn columns() -> Vec<Column> {
    vec![
        ("id", "BIGINT", DataType::Int64),
        ("k", "BIGINT", DataType::Int64),
        ("v", "BIGINT", DataType::Int64),
        timestamp("at"),
    ]
}

impl Shape {
    /// The call, with `{}` where the windows as a relation have their input.
    pub fn call(self) -> String {
        let seconds = |name: &str, seconds: i64| format!("{name} => INTERVAL '{seconds} seconds'");
        match self {
            Shape::Tumble { size, offset } => {
                format!("TUMBLE({{}}at, {}, {})", seconds("size", size), seconds("offset", offset))
            }
            Shape::Hop { slide, size, offset } => format!(
                "HOP({{}}at, {}, {}, {})",
                seconds("slide", slide),
                seconds("size", size),
                seconds("offset", offset)
            ),
            Shape::Cumulate { step, steps, offset } => format!(
                "CUMULATE({{}}at, {}, {}, {})",
                seconds("step", step),
                seconds("max_size", step * steps),
                seconds("offset", offset)
            ),
            Shape::Session { gap } => format!("SESSION({{}}at, {})", seconds("gap", gap)),
        }
    }

    pub fn is_session(self) -> bool {
        matches!(self, Shape::Session { .. })
    }

    /// Whether a row is in one window and no more.
    pub fn has_one_a_row(self) -> bool {
        matches!(self, Shape::Tumble { .. } | Shape::Session { .. })
    }

    /// The windows that a time is in, the earliest first: those that begin where they may and hold it.
    pub fn windows(self, at: i64) -> Vec<(i64, i64)> {
        let (slide, offset, sizes): (i64, i64, Vec<i64>) = match self {
            Shape::Tumble { size, offset } => (size, offset, vec![size]),
            Shape::Hop { slide, size, offset } => (slide, offset, vec![size]),
            Shape::Cumulate { step, steps, offset } => {
                (step * steps, offset, (1..=steps).map(|nth| nth * step).collect())
            }
            Shape::Session { .. } => unreachable!("a session is made by its rows"),
        };
        let begins = |start: &i64| (start - offset).rem_euclid(slide) == 0;
        let starts = (at - 100..=at).filter(begins);
        let windows = starts.flat_map(|start| sizes.iter().map(move |size| (start, start + size)));
        windows.filter(|(_, end)| at < *end).collect()
    }
}

impl Case {
    pub fn setup(&self) -> Vec<String> {
        let columns = data::create("t", &columns());
        let columns = columns.trim_end_matches(')');
        let delay = self.delay;
        let stream = format!("{columns}, WATERMARK FOR at AS at - INTERVAL '{delay} seconds')");
        let kept = self.least.map(|least| format!("CREATE VIEW kept AS SELECT * FROM t WHERE v >= {least}"));
        ["SET clock = 'manual'".into(), stream].into_iter().chain(kept).collect()
    }

    /// What the windows are over.
    pub fn input(&self) -> &'static str {
        if self.least.is_some() { "kept" } else { "t" }
    }

    /// The windows as a relation.
    fn placed_sql(&self) -> String {
        let input = match self.shape {
            Shape::Session { .. } => format!("TABLE {} PARTITION BY k, ", self.input()),
            Shape::Tumble { .. } | Shape::Hop { .. } | Shape::Cumulate { .. } => format!("{}, ", self.input()),
        };
        self.shape.call().replace("{}", &input)
    }

    /// The rows in their windows.
    pub fn relation(&self) -> String {
        format!("SELECT id, window_start, window_end FROM {}", self.placed_sql())
    }

    /// The aggregates over the windows, with that clause behind them.
    pub fn sql(&self, emit: &str) -> String {
        let call = self.shape.call();
        let (from, key) = match self.form {
            Form::Key => (self.input().to_string(), call.replace("{}", "")),
            Form::Relation => (self.placed_sql(), "window_start, window_end".into()),
        };
        let lateness = match self.lateness {
            0 => String::new(),
            seconds => format!(" ALLOW LATENESS INTERVAL '{seconds} seconds'"),
        };
        let calls = "count(*) AS n, sum(v) AS s, max(v) AS most, array_agg(id ORDER BY id) AS ids";
        format!("SELECT k, window_start, window_end, {calls} FROM {from} GROUP BY k, {key}{lateness} {emit}")
    }

    /// What the oracle is asked over the rows that are not late; `placed` are they.
    pub fn batch_sql(&self) -> &'static str {
        "SELECT k, ws, we, count(*) AS n, sum(v) AS s, max(v) AS most, array_agg(id ORDER BY id) AS ids \
         FROM placed GROUP BY k, ws, we ORDER BY we, ws, min(id)"
    }

    /// The rows that come.
    pub fn rows(&self) -> Vec<&Row> {
        let rows = self.happenings.iter().filter_map(|happening| match happening {
            Happening::Row(row, _) => Some(row),
            Happening::Seconds(_) => None,
        });
        rows.collect()
    }

    /// The rows that have a time and are not left out, each with its number, its time and the watermark just before it:
    /// the latest time of any row so far less the delay.
    fn timed(&self) -> Vec<(usize, i64, i64)> {
        let (mut timed, mut watermark) = (vec![], i64::MIN);
        for (id, row) in self.rows().into_iter().enumerate() {
            let Value::Whole(nanos) = row[3] else { continue };
            let at = nanos / SECOND;
            if self.keeps(row) {
                timed.push((id, at, watermark));
            }
            watermark = watermark.max(at - self.delay);
        }
        timed
    }

    /// Whether a row is not left out before the windows.
    pub fn keeps(&self, row: &Row) -> bool {
        self.least.is_none_or(|least| matches!(row[2], Value::Whole(v) if v >= least))
    }

    /// The rows in their windows: those that are not late for it, and those that are.
    ///
    /// A row is late for a window when the watermark just before it had reached the window's end, or the end of its
    /// being kept.
    pub fn placed(&self) -> (Vec<Placed>, Vec<Placed>) {
        if let Shape::Session { gap } = self.shape {
            let (_, sessions, late) = self.sessions(gap);
            return (sessions.placed(), late);
        }
        let (mut in_time, mut late) = (vec![], vec![]);
        for (id, at, watermark) in self.timed() {
            for (start, end) in self.shape.windows(at) {
                let to = if watermark >= end + self.lateness { &mut late } else { &mut in_time };
                to.push((id, start, end));
            }
        }
        (in_time, late)
    }

    /// The rows that are not late, each with its window as it was just behind it.
    pub fn placed_at_once(&self) -> Vec<Placed> {
        match self.shape {
            Shape::Session { gap } => self.sessions(gap).0,
            Shape::Tumble { .. } | Shape::Hop { .. } | Shape::Cumulate { .. } => self.placed().0,
        }
    }

    /// The rows that are not late with their sessions just behind them; the sessions in the end; and the rows that are
    /// late with those that they would have made.
    fn sessions(&self, gap: i64) -> (Vec<Placed>, Sessions, Vec<Placed>) {
        let mut sessions = Sessions::new(gap, self.lateness);
        let (mut at_once, mut late) = (vec![], vec![]);
        for (id, at, watermark) in self.timed() {
            match sessions.take(id, &self.rows()[id][1], at, watermark) {
                Some((start, end)) => at_once.push((id, start, end)),
                None => late.push((id, at, at + gap)),
            }
        }
        (at_once, sessions, late)
    }

    /// The rows that are not before the watermark, each from its time on.
    pub fn in_time(&self) -> Vec<Placed> {
        let in_time = self.timed().into_iter().filter(|(_, at, watermark)| at >= watermark);
        in_time.map(|(id, at, _)| (id, at, at)).collect()
    }

    /// Rows in windows as a batch, with the columns `id`, `k`, `v`, `ws` and `we`.
    pub fn batch(&self, placed: &[Placed]) -> RecordBatch {
        let rows = self.rows();
        let row = |(id, start, end): &Placed| {
            let bounds = [*start, *end].map(|bound| Value::Whole(bound * SECOND));
            rows[*id][..3].iter().cloned().chain(bounds).collect()
        };
        let mut columns = columns();
        columns.truncate(3);
        columns.extend([timestamp("ws"), timestamp("we")]);
        data::batch(&columns, &placed.iter().map(row).collect::<Vec<Row>>())
    }

    pub fn steps(&self, cut: impl Fn(After) -> After) -> Vec<Step> {
        happening_steps(&columns(), &self.happenings, cut)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for statement in self.setup() {
            writeln!(f, "{statement};")?;
        }
        writeln!(f, "DECLARE c CURSOR FOR {};", self.sql(""))?;
        for happening in &self.happenings {
            writeln!(f, "{}", happening.statement(&columns()))?;
        }
        writeln!(f, "CLOSE STREAM t;\nFETCH ALL FROM c;")
    }
}
