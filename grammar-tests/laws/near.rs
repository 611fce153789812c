//! Joins whose times are within something of each other: random rows out of order, and which of them are late as a
//! program that a person can check.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use proptest::prelude::*;
use proptest::sample::select;
use riverrun::{Code, Engine};

use crate::answers::{self, Answer};
use crate::data::{self, After, Column, Row, Value};
use crate::feeding::{Step, run};
use crate::{expect_multiset, holds_in, oracle, ways};

const CASES: u32 = 120;
const STREAMS: [&str; 2] = ["l", "r"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Inner,
    Left,
    Right,
    Full,
    Semi,
    Anti,
}

impl Kind {
    /// How it is written between two sides, if it is.
    fn join(self) -> Option<&'static str> {
        match self {
            Kind::Inner => Some("JOIN"),
            Kind::Left => Some("LEFT JOIN"),
            Kind::Right => Some("RIGHT JOIN"),
            Kind::Full => Some("FULL JOIN"),
            Kind::Semi | Kind::Anti => None,
        }
    }
}

/// What times count in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    Number,
    Second,
    Day,
}

/// A bound of how far the right time is from the left one.
#[derive(Debug, Clone, Copy)]
struct Bound {
    length: i64,
    /// `<` and not `<=`
    strict: bool,
    /// Whether the length stands beside the right time.
    turned: bool,
}

/// How a query says that times are near.
#[derive(Debug, Clone, Copy)]
enum Form {
    Between {
        lower: Bound,
        upper: Bound,
    },
    Equal {
        plus: i64,
    },
    /// Rows in the same window of that size.
    Windows {
        size: i64,
    },
    /// Groups of the same window of that size.
    Groups {
        size: i64,
    },
}

/// Something that happens to one of the streams.
#[derive(Debug, Clone)]
enum Happening {
    Row(usize, Row, After),
    /// `ADVANCE WATERMARK`
    Raise(usize, i64),
}

#[derive(Debug, Clone)]
pub struct Case {
    kind: Kind,
    unit: Unit,
    form: Form,
    /// Whether keys have to be equal as well.
    keyed: bool,
    /// Whether a stream is joined with itself.
    itself: bool,
    /// How far the watermark of each stream is behind its latest time.
    delays: [i64; 2],
    happenings: Vec<Happening>,
}

pub fn case() -> impl Strategy<Value = Case> {
    let bound = || (-4i64..7, any::<bool>(), any::<bool>());
    let bound = move || bound().prop_map(|(length, strict, turned)| Bound { length, strict, turned });
    let form = prop_oneof![
        6 => (bound(), bound()).prop_map(|(lower, upper)| Form::Between { lower, upper }),
        1 => (-3i64..4).prop_map(|plus| Form::Equal { plus }),
        2 => (1i64..6).prop_map(|size| Form::Windows { size }),
        1 => (1i64..6).prop_map(|size| Form::Groups { size }),
    ];
    let kind = select(vec![Kind::Inner, Kind::Left, Kind::Right, Kind::Full, Kind::Semi, Kind::Anti]);
    let row = (data::nullable((0i64..3).prop_map(Value::Whole)), data::nullable((-9i64..16).prop_map(Value::Whole)));
    let happening = prop_oneof![
        9 => (0usize..2, row, data::after()).prop_map(|(stream, (k, at), after)| {
            Happening::Row(stream, vec![k, at], after)
        }),
        1 => (0usize..2, -9i64..16).prop_map(|(stream, to)| Happening::Raise(stream, to)),
    ];
    let unit = select(vec![Unit::Number, Unit::Second, Unit::Day]);
    let asked = (kind, unit, form, any::<bool>(), prop::bool::weighted(0.2), [0i64..6, 0i64..6]);
    (asked, prop::collection::vec(happening, 0..=24)).prop_map(
        |((kind, unit, form, keyed, itself, delays), mut happenings)| {
            // Windows are told by their number.
            let unit = if matches!(form, Form::Windows { .. } | Form::Groups { .. }) { Unit::Number } else { unit };
            for (happening, id) in happenings.iter_mut().zip(1..) {
                match happening {
                    Happening::Row(stream, row, _) => {
                        row.insert(0, Value::Whole(id));
                        *stream = if itself { 0 } else { *stream };
                    }
                    Happening::Raise(stream, _) => *stream = if itself { 0 } else { *stream },
                }
            }
            Case { kind, unit, form, keyed, itself, delays, happenings }
        },
    )
}

impl Unit {
    fn column(self) -> Column {
        match self {
            Unit::Number => ("at", "BIGINT", DataType::Int64),
            Unit::Second => ("at", "TIMESTAMP", DataType::Timestamp(TimeUnit::Nanosecond, None)),
            Unit::Day => ("at", "DATE", DataType::Date32),
        }
    }

    /// A length as SQL has it.
    fn length(self, units: i64) -> String {
        match self {
            Unit::Number => format!("({units})"),
            Unit::Second => format!("INTERVAL '{units} seconds'"),
            Unit::Day => format!("INTERVAL '{units} days'"),
        }
    }

    /// A time as its column holds it.
    fn value(self, units: i64) -> Value {
        Value::Whole(if self == Unit::Second { units * 1_000_000_000 } else { units })
    }
}

impl Case {
    fn columns(&self) -> Vec<Column> {
        vec![("id", "BIGINT", DataType::Int64), ("k", "BIGINT", DataType::Int64), self.unit.column()]
    }

    fn streams(&self) -> &'static [&'static str] {
        if self.itself { &STREAMS[..1] } else { &STREAMS }
    }

    fn setup(&self) -> Vec<String> {
        let stream = |(name, delay): (&&str, &i64)| {
            let columns = data::create(name, &self.columns());
            let delay = self.unit.length(*delay);
            format!("{}, WATERMARK FOR at AS at - {delay})", columns.trim_end_matches(')'))
        };
        self.streams().iter().zip(&self.delays).map(stream).collect()
    }

    /// The condition on the times of `a` and `b`, of whose windows the oracle knows the number.
    fn condition(&self, oracle: bool) -> String {
        let keyed = if self.keyed { "a.k = b.k AND " } else { "" };
        let times = match self.form {
            Form::Between { lower, upper } => {
                let compare = |bound: Bound, below: bool| {
                    let sign = match (below, bound.strict) {
                        (true, false) => "<=",
                        (true, true) => "<",
                        (false, false) => ">=",
                        (false, true) => ">",
                    };
                    let length = self.unit.length(bound.length);
                    match bound.turned {
                        true => format!("b.at - {length} {sign} a.at"),
                        false => format!("b.at {sign} a.at + {length}"),
                    }
                };
                format!("{} AND {}", compare(lower, false), compare(upper, true))
            }
            Form::Equal { plus } => format!("a.at + {} = b.at", self.unit.length(plus)),
            Form::Windows { .. } | Form::Groups { .. } if oracle => "a.w = b.w".into(),
            Form::Windows { .. } | Form::Groups { .. } => {
                "a.window_start = b.window_start AND a.window_end = b.window_end".into()
            }
        };
        format!("{keyed}{times}")
    }

    fn side(&self, side: usize, oracle: bool) -> String {
        let name = if self.itself { STREAMS[0] } else { STREAMS[side] };
        match (self.form, oracle) {
            (Form::Windows { size }, false) => format!("TUMBLE({name}, at, {size})"),
            (Form::Groups { size }, false) => format!(
                "(SELECT k, window_start, window_end, count(*) AS id FROM {name} GROUP BY k, TUMBLE(at, {size}))"
            ),
            (Form::Groups { .. }, true) => format!("(SELECT k, w, count(*) AS id FROM {name} GROUP BY k, w)"),
            (Form::Windows { .. } | Form::Between { .. } | Form::Equal { .. }, _) => name.into(),
        }
    }

    /// The query, of the engine or the oracle; it gives those columns of `a` and `b`.
    fn sql(&self, columns: [&str; 2], oracle: bool) -> String {
        let [left, right] = [0, 1].map(|side| self.side(side, oracle));
        let (condition, [of_left, of_right]) = (self.condition(oracle), columns);
        let Some(join) = self.kind.join() else {
            let not = if self.kind == Kind::Anti { "NOT " } else { "" };
            return format!(
                "SELECT a.{of_left} AS x FROM {left} AS a WHERE {not}EXISTS (SELECT 1 FROM {right} AS b WHERE {condition})"
            );
        };
        format!("SELECT a.{of_left} AS x, b.{of_right} AS y FROM {left} AS a {join} {right} AS b ON {condition}")
    }

    /// How many rows of either side the windows of a join by windows have, if it is one.
    fn sql_of_windows(&self, oracle: bool) -> Option<String> {
        let Form::Windows { size } = self.form else { return None };
        let (join, [left, right]) = (self.kind.join()?, [0, 1].map(|side| self.side(side, oracle)));
        let (number, on, bounds) = match oracle {
            true => ("coalesce(a.w, b.w)".into(), "ON a.k = b.k AND a.w = b.w", "1"),
            false => {
                let bounds = "window_start, window_end";
                (format!("window_start / {size}"), "USING (k, window_start, window_end)", bounds)
            }
        };
        Some(format!(
            "SELECT {number}, count(*), count(a.at), count(b.at) FROM {left} AS a {join} {right} AS b {on} GROUP BY {bounds}"
        ))
    }

    /// The rows of each stream that are not late: those that are not before the watermark, or whose window has not ended.
    ///
    /// The watermark is the latest time so far less the delay.
    fn in_time(&self) -> [Vec<Row>; 2] {
        let mut kept = [vec![], vec![]];
        let mut watermarks = [i64::MIN; 2];
        for happening in &self.happenings {
            match happening {
                Happening::Raise(stream, to) => watermarks[*stream] = watermarks[*stream].max(*to),
                Happening::Row(stream, row, _) => {
                    let Value::Whole(at) = row[2] else {
                        kept[*stream].push(row.clone());
                        continue;
                    };
                    let passed = match self.form {
                        Form::Windows { size } | Form::Groups { size } => at.div_euclid(size) * size + size - 1,
                        Form::Between { .. } | Form::Equal { .. } => at,
                    };
                    if watermarks[*stream] <= passed {
                        kept[*stream].push(row.clone());
                    }
                    watermarks[*stream] = watermarks[*stream].max(at - self.delays[*stream]);
                }
            }
        }
        kept
    }

    /// Rows as a batch for the oracle, with the number of the window of each.
    fn table(&self, rows: &[Row]) -> RecordBatch {
        let mut columns = self.columns();
        columns.push(("w", "BIGINT", DataType::Int64));
        let size = match self.form {
            Form::Windows { size } | Form::Groups { size } => Some(size),
            Form::Between { .. } | Form::Equal { .. } => None,
        };
        // Rows without a time are in no window.
        let rows = rows.iter().filter(|row| size.is_none() || row[2] != Value::Null);
        let row = |row: &Row| {
            let mut row = self.as_stored(row);
            let window = match (size, &row[2]) {
                (Some(size), Value::Whole(at)) => Value::Whole(at.div_euclid(size)),
                (_, _) => Value::Null,
            };
            row.push(window);
            row
        };
        data::batch(&columns, &rows.map(row).collect::<Vec<Row>>())
    }

    fn as_stored(&self, row: &Row) -> Row {
        let mut row = row.clone();
        if let Value::Whole(at) = row[2] {
            row[2] = self.unit.value(at);
        }
        row
    }

    /// What the oracle says of a text over the rows that are not late.
    fn expected(&self, text: &str) -> Option<Answer> {
        let [left, right] = self.in_time();
        oracle::answer_over(text, &[("l", self.table(&left)), ("r", self.table(&right))])
    }

    fn raise(&self, stream: usize, to: i64) -> String {
        // Of numbers it is told as so many nanoseconds.
        let nanos = match self.unit {
            Unit::Number => 1,
            Unit::Second => 1_000_000_000,
            Unit::Day => 86_400_000_000_000,
        };
        let to = chrono::DateTime::from_timestamp_nanos(to * nanos).format("%Y-%m-%d %H:%M:%S%.9f");
        format!("ADVANCE WATERMARK OF {} TO TIMESTAMP '{to}'", STREAMS[stream])
    }

    /// What happens as steps. Consecutive rows of one stream are one batch unless they are cut.
    fn steps(&self, cut: impl Fn(After) -> After) -> Vec<Step> {
        let (mut steps, mut held): (Vec<Step>, (usize, Vec<Row>)) = (vec![], (0, vec![]));
        let push = |(stream, rows): &mut (usize, Vec<Row>), steps: &mut Vec<Step>| {
            if !rows.is_empty() {
                steps.push(Step::Push(STREAMS[*stream].into(), data::batch(&self.columns(), rows)));
                rows.clear();
            }
        };
        for happening in &self.happenings {
            let (stream, row, after) = match happening {
                Happening::Row(stream, row, after) => (*stream, row, cut(*after)),
                Happening::Raise(stream, to) => {
                    push(&mut held, &mut steps);
                    steps.push(Step::Say(self.raise(*stream, *to)));
                    continue;
                }
            };
            if held.0 != stream {
                push(&mut held, &mut steps);
                held.0 = stream;
            }
            held.1.push(self.as_stored(row));
            if after != After::Nothing {
                push(&mut held, &mut steps);
            }
            if after == After::Restart {
                steps.push(Step::Restart);
            }
        }
        push(&mut held, &mut steps);
        steps.extend(self.streams().iter().map(|stream| Step::Close((*stream).into())));
        steps
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for statement in self.setup() {
            writeln!(f, "{statement};")?;
        }
        writeln!(f, "DECLARE c CURSOR FOR {};", self.sql(["id"; 2], false))?;
        for happening in &self.happenings {
            match happening {
                Happening::Raise(stream, to) => writeln!(f, "{};", self.raise(*stream, *to))?,
                Happening::Row(stream, row, after) => {
                    let row = self.as_stored(row);
                    let statement = data::insert(STREAMS[*stream], &self.columns(), &[row]);
                    writeln!(f, "{} -- then {after:?}", statement.replace("\n ", ""))?;
                }
            }
        }
        writeln!(f, "{}", self.streams().iter().map(|name| format!("CLOSE STREAM {name};")).collect::<String>())?;
        writeln!(f, "FETCH ALL FROM c;")
    }
}

#[test]
fn a_join_by_time_says_what_the_rows_that_are_not_late_make_however_they_are_cut_and_restarted() {
    holds_in(CASES, case(), |case| {
        let Some(expected) = case.expected(&case.sql(["id"; 2], true)) else { return Ok(()) };
        let text = case.sql(["id"; 2], false);
        for (how, cut) in ways() {
            let brought = run(&case.setup(), &text, &case.steps(cut))?;
            expect_multiset(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn windows_over_joins_by_windows_close_once_all_their_rows_have_been_said() {
    let joined = case().prop_filter("it has windows", |case| case.sql_of_windows(true).is_some());
    holds_in(CASES / 2, joined, |case| {
        let [Some(expected), Some(text)] = [true, false].map(|oracle| case.sql_of_windows(oracle)) else {
            return Ok(());
        };
        let Some(expected) = case.expected(&expected) else { return Ok(()) };
        for (how, cut) in ways() {
            let brought = run(&case.setup(), &format!("{text} EMIT FINAL"), &case.steps(cut))?;
            expect_multiset(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}

#[test]
fn no_row_of_a_join_by_time_is_late_for_a_window_over_it() {
    let of_times = case().prop_filter("the times come out", |case| {
        matches!(case.form, Form::Between { .. } | Form::Equal { .. }) && case.unit == Unit::Number
    });
    holds_in(CASES / 2, of_times, |case| {
        let sides: &[&str] = if matches!(case.kind, Kind::Semi | Kind::Anti) { &["x"] } else { &["x", "y"] };
        for time in sides {
            let pairs = |oracle| case.sql(["at"; 2], oracle);
            let text = format!(
                "SELECT nth, count(*) FROM (SELECT floor({time} / 3.0) AS nth FROM ({})) WHERE nth IS NOT NULL GROUP BY nth",
                pairs(true)
            );
            let Some(expected) = case.expected(&text) else { return Ok(()) };
            let text = format!(
                "SELECT floor(window_start / 3.0), count(*) FROM ({}) GROUP BY TUMBLE({time}, 3)",
                pairs(false)
            );
            for (how, cut) in ways() {
                let brought = run(&case.setup(), &text, &case.steps(cut))?;
                expect_multiset(&format!("{how}, by {time}"), &expected, &answers::rows(&brought.concat()))?;
            }
        }
        Ok(())
    });
}

/// What a join may keep for twenty thousand rows is enough for two hundred thousand.
#[test]
fn what_a_join_by_time_keeps_does_not_grow_with_the_rows() {
    let near = "a.k = b.k AND b.at BETWEEN a.at - 20 AND a.at + 100";
    let in_windows = |name: &str| format!("(SELECT k, window_end FROM {name} GROUP BY k, TUMBLE(at, 50))");
    let queries = [
        format!("SELECT a.k, b.at FROM l AS a JOIN r AS b ON {near}"),
        format!("SELECT a.k, b.at FROM l AS a FULL JOIN r AS b ON {near}"),
        format!("SELECT a.at FROM l AS a WHERE NOT EXISTS (SELECT 1 FROM r AS b WHERE {near})"),
        format!(
            "SELECT a.k, b.k AS other FROM {} AS a LEFT JOIN {} AS b ON a.k = b.k AND a.window_end = b.window_end",
            in_windows("l"),
            in_windows("r")
        ),
    ];
    for query in queries {
        let enough = (14..).map(|power| 1 << power).find(|bytes| gets_by(&query, 20_000, *bytes));
        let enough = enough.expect("some limit is enough");
        assert!(gets_by(&query, 200_000, enough + enough / 5), "{query} needs more than {enough} bytes");
    }
}

fn gets_by(query: &str, rows: i64, bytes: usize) -> bool {
    let engine = Engine::new();
    let streams =
        STREAMS.map(|name| format!("CREATE STREAM {name} (k BIGINT, at BIGINT, WATERMARK FOR at AS at - 10);"));
    engine.execute(&format!("{} SET max_state_bytes = {bytes};", streams.concat())).expect("the streams are there");
    let mut query = engine.query(query).expect("the query is right");
    let columns = [("k", "BIGINT", DataType::Int64), ("at", "BIGINT", DataType::Int64)];
    for first in (0..rows).step_by(500) {
        for (stream, name) in STREAMS.iter().enumerate() {
            let row = |row: i64| vec![Value::Whole(row * (7 + stream as i64) % 40), Value::Whole(row - row * 31 % 10)];
            let batch = data::batch(&columns, &(first..first + 500).map(row).collect::<Vec<Row>>());
            match engine.appender(name).and_then(|mut appender| appender.append(batch)).and_then(|()| query.poll()) {
                Ok(_) => {}
                Err(error) if error.code() == Code::StateLimit => return false,
                Err(error) => panic!("{error}"),
            }
        }
    }
    true
}
