//! `ASOF JOIN` and `FOR SYSTEM_TIME AS OF` event time: which row is the nearest, or which version was valid, is asked of
//! DataFusion over the rows that are not late.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use proptest::prelude::*;
use proptest::sample::select;

use crate::answers::{self, Answer};
use crate::data::{self, After, Column, Row, Value};
use crate::feeding::{Step, run};
use crate::{WINDOW_CASES, expect_multiset, expect_sequence, folds, holds, holds_in, oracle, ways};

const INTEGERS: [&str; 6] = ["id", "k", "v", "at", "seq", "gone"];

/// What the right side is, and what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// Both sides have event time: what is said is final.
    Timed,
    /// No side has: what is said is corrected.
    Plain,
    /// The right side is a table by `id`, whose rows may go: what is said is corrected.
    Rows,
    /// The versions of a stream.
    Versions,
    /// The versions of a table by `k`.
    TableVersions,
}

#[derive(Debug, Clone)]
enum Happening {
    Left(Row),
    Right(Row),
    /// A row of the table goes.
    Gone(i64),
}

#[derive(Debug, Clone)]
struct Case {
    mode: Mode,
    /// How the left time compares with the right one.
    compares: &'static str,
    keeps_lone: bool,
    /// A further condition on versions.
    further: &'static str,
    /// How far the watermark of each side is behind the latest time.
    delays: [i64; 2],
    happenings: Vec<(Happening, After)>,
}

fn case() -> impl Strategy<Value = Case> {
    let modes = vec![Mode::Timed, Mode::Timed, Mode::Plain, Mode::Rows, Mode::Versions, Mode::TableVersions];
    let row = (
        data::nullable((0i64..3).prop_map(Value::Whole)),
        (-3i64..4).prop_map(Value::Whole),
        data::nullable((-5i64..20).prop_map(Value::Whole)),
    );
    let row = row.prop_map(|(k, v, at)| vec![k, v, at]).boxed();
    let happening = prop_oneof![
        5 => row.clone().prop_map(Happening::Left),
        5 => row.prop_map(Happening::Right),
        1 => (0i64..3).prop_map(Happening::Gone),
    ];
    let happenings = prop::collection::vec((happening, data::after()), 0..=40);
    let compares = select(vec![">=", ">", "<=", "<"]);
    (select(modes), compares, any::<bool>(), select(vec!["", "b.v <= a.v"]), [0i64..9, 0i64..9], happenings).prop_map(
        |(mode, compares, keeps_lone, further, delays, happenings)| {
            let versions = matches!(mode, Mode::Versions | Mode::TableVersions);
            Case {
                mode,
                compares: if versions { ">=" } else { compares },
                keeps_lone,
                further: if versions { further } else { "" },
                delays,
                happenings: numbered(mode, happenings),
            }
        },
    )
}

/// Puts `id` before the other columns. Few rows of a table have their own, so that most are replaced.
fn numbered(mode: Mode, mut happenings: Vec<(Happening, After)>) -> Vec<(Happening, After)> {
    for (id, (happening, _)) in (0i64..).zip(&mut happenings) {
        match happening {
            Happening::Right(row) if mode == Mode::Rows => row.insert(0, Value::Whole(id % 5)),
            Happening::Left(row) | Happening::Right(row) => row.insert(0, Value::Whole(id)),
            Happening::Gone(_) => {}
        }
        if let (Happening::Right(row), Mode::TableVersions) = (happening, mode)
            && row[1] == Value::Null
        {
            row[1] = Value::Whole(0);
        }
    }
    let is_table = matches!(mode, Mode::Rows | Mode::TableVersions);
    happenings.retain(|(happening, _)| is_table || !matches!(happening, Happening::Gone(_)));
    happenings
}

fn columns(count: usize) -> Vec<Column> {
    INTEGERS.into_iter().take(count).map(|name| (name, "BIGINT", DataType::Int64)).collect()
}

/// How far event time has come.
struct Watermark {
    delay: i64,
    at: i64,
}

impl Watermark {
    /// Whether a row comes in time, after which it counts. What has no time is never late.
    fn takes(&mut self, time: &Value) -> bool {
        let Value::Whole(at) = time else { return true };
        let in_time = *at >= self.at;
        self.at = self.at.max(at - self.delay);
        in_time
    }
}

impl Case {
    fn setup(&self) -> Vec<String> {
        let watermarks = self.delays.map(|delay| format!(", WATERMARK FOR at AS at - {delay}"));
        let timed = matches!(self.mode, Mode::Timed | Mode::Versions | Mode::TableVersions);
        let [left, right] = if timed { watermarks } else { Default::default() };
        let (kind, key) = match self.mode {
            Mode::Timed | Mode::Plain | Mode::Versions => ("STREAM", ""),
            Mode::Rows => ("TABLE", ", PRIMARY KEY (id)"),
            Mode::TableVersions => ("TABLE", ", PRIMARY KEY (k)"),
        };
        let columns = "id BIGINT, k BIGINT, v BIGINT, at BIGINT";
        vec![format!("CREATE STREAM a ({columns}{left})"), format!("CREATE {kind} b ({columns}{key}{right})")]
    }

    fn sql(&self) -> String {
        let left = if self.keeps_lone { "LEFT " } else { "" };
        let join = match self.mode {
            Mode::Timed | Mode::Plain | Mode::Rows => {
                format!("{left}ASOF JOIN b MATCH_CONDITION (a.at {} b.at) ON a.k = b.k", self.compares)
            }
            Mode::Versions | Mode::TableVersions => {
                let further = if self.further.is_empty() { String::new() } else { format!(" AND {}", self.further) };
                format!("{left}JOIN b FOR SYSTEM_TIME AS OF a.at ON a.k = b.k{further}")
            }
        };
        format!("SELECT a.id, a.k, a.at, b.id AS bid, b.at AS bat FROM a {join}")
    }

    /// What the oracle is asked: the first row in the order of nearness.
    fn batch_sql(&self) -> String {
        let left = if self.keeps_lone { "LEFT " } else { "" };
        let order = if self.compares.starts_with('>') { "DESC" } else { "ASC" };
        let further = if self.further.is_empty() { "true" } else { self.further };
        let ranked = format!(
            "SELECT a.id, a.k, a.at, b.id AS bid, b.at AS bat, b.gone = 0 AND {further} AS valid, \
             row_number() OVER (PARTITION BY a.id ORDER BY b.at {order}, b.seq DESC) AS nth \
             FROM a {left}JOIN b ON a.k = b.k AND a.at {} b.at",
            self.compares
        );
        match self.keeps_lone {
            true => format!(
                "SELECT id, k, at, CASE WHEN valid THEN bid END, CASE WHEN valid THEN bat END FROM ({ranked}) WHERE nth = 1"
            ),
            false => format!("SELECT id, k, at, bid, bat FROM ({ranked}) WHERE nth = 1 AND valid"),
        }
    }

    /// The rows of both sides that count after so many happenings, those of the right one with the order in which they
    /// came, and whether from then on there is none.
    fn tables(&self, made: usize) -> [(&'static str, RecordBatch); 2] {
        let timed = matches!(self.mode, Mode::Timed | Mode::Versions | Mode::TableVersions);
        let mut watermarks = self.delays.map(|delay| Watermark { delay, at: i64::MIN / 2 });
        let (mut left, mut right): (Vec<Row>, Vec<Row>) = (vec![], vec![]);
        let mut there: BTreeMap<i64, Row> = BTreeMap::new();
        for (seq, (happening, _)) in (0i64..).zip(&self.happenings[..made]) {
            match happening {
                Happening::Left(row) if !timed || watermarks[0].takes(&row[3]) => left.push(row.clone()),
                Happening::Left(_) => {}
                Happening::Right(row) => {
                    let version = row.iter().cloned().chain([seq, 0].map(Value::Whole)).collect();
                    let counts = !timed || watermarks[1].takes(&row[3]);
                    match (self.mode, whole(&row[0]), whole(&row[1])) {
                        (Mode::Rows, id, _) => drop(there.insert(id, version)),
                        (Mode::TableVersions, _, k) => {
                            there.insert(k, row.clone());
                            right.extend(counts.then_some(version));
                        }
                        (Mode::Timed | Mode::Plain | Mode::Versions, _, _) => right.extend(counts.then_some(version)),
                    }
                }
                Happening::Gone(key) => {
                    if there.remove(key).is_some() && self.mode == Mode::TableVersions {
                        let of_key = right.iter().filter(|row| row[1] == Value::Whole(*key));
                        let latest = of_key.map(|row| whole(&row[3])).max().unwrap_or(i64::MIN);
                        let end = [-1, *key, 0, latest.max(watermarks[1].at), seq, 1];
                        right.push(end.map(Value::Whole).to_vec());
                    }
                }
            }
        }
        if self.mode == Mode::Rows {
            // Of rows at one time the last in the order of their values counts.
            let by_value = |(id, mut row): (i64, Row)| {
                row[4] = Value::Whole(id);
                row
            };
            right = there.into_iter().map(by_value).collect();
        }
        [("a", data::batch(&columns(4), &left)), ("b", data::batch(&columns(6), &right))]
    }

    fn expected(&self, made: usize) -> Result<Answer, String> {
        let text = self.batch_sql();
        oracle::answer_over(&text, &self.tables(made)).ok_or_else(|| format!("the oracle refuses {text}"))
    }

    /// The steps, each with how many happenings there have been after it.
    fn steps(&self, cut: impl Fn(After) -> After) -> Vec<(Step, usize)> {
        let mut steps: Vec<(Step, usize)> = vec![];
        let mut open = false;
        for (made, (happening, after)) in (1..).zip(&self.happenings) {
            let (name, row) = match happening {
                Happening::Left(row) => ("a", row),
                Happening::Right(row) => ("b", row),
                Happening::Gone(key) => {
                    let column = if self.mode == Mode::Rows { "id" } else { "k" };
                    steps.push((Step::Say(format!("DELETE FROM b WHERE {column} = {key}")), made));
                    open = false;
                    continue;
                }
            };
            let batch = data::batch(&columns(4), std::slice::from_ref(row));
            match steps.last_mut() {
                Some((Step::Push(last, rows), last_made)) if open && *last == name => {
                    let both = arrow::compute::concat_batches(&rows.schema(), [&*rows, &batch]);
                    (*rows, *last_made) = (both.expect("rows of one stream"), made);
                }
                _ => steps.push((Step::Push(name.into(), batch), made)),
            }
            let after = cut(*after);
            open = after == After::Nothing;
            if after == After::Restart {
                steps.push((Step::Restart, made));
            }
        }
        let ends = ["a", "b"].map(|name| (Step::Close(name.into()), self.happenings.len()));
        steps.into_iter().chain(ends).collect()
    }
}

fn whole(value: &Value) -> i64 {
    match value {
        Value::Whole(value) => *value,
        _ => i64::MIN,
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.setup().iter().try_for_each(|statement| writeln!(f, "{statement};"))?;
        writeln!(f, "DECLARE c CURSOR FOR {};", self.sql())?;
        for (happening, after) in &self.happenings {
            match happening {
                Happening::Left(row) | Happening::Right(row) => {
                    let name = if matches!(happening, Happening::Left(_)) { "a" } else { "b" };
                    let statement = data::insert(name, &columns(4), std::slice::from_ref(row));
                    writeln!(f, "{} -- then {after:?}", statement.replace("\n ", ""))?;
                }
                Happening::Gone(key) => writeln!(f, "DELETE FROM b WHERE -- {key}")?,
            }
        }
        writeln!(f, "CLOSE STREAM a; CLOSE STREAM b;\n-- {}", self.batch_sql())
    }
}

#[test]
fn joins_by_event_time_are_the_batch_answer_over_what_is_not_late() {
    let settled = case().prop_filter("it is final", |case| !matches!(case.mode, Mode::Plain | Mode::Rows));
    holds(settled, |case| {
        let expected = case.expected(case.happenings.len())?;
        let mut drawn: Option<Answer> = None;
        for (how, cut) in ways() {
            let steps: Vec<Step> = case.steps(cut).into_iter().map(|(step, _)| step).collect();
            let brought = run(&case.setup(), &case.sql(), &steps).map_err(|error| format!("{how}: {error}"))?;
            let answered = answers::rows(&brought.concat());
            expect_multiset(how, &expected, &answered)?;
            expect_sequence(how, drawn.get_or_insert(answered.clone()), &answered)?;
        }
        Ok(())
    });
}

#[test]
fn an_asof_join_without_event_time_folds_to_the_batch_answer_after_every_step() {
    let changing = case().prop_filter("it is corrected", |case| matches!(case.mode, Mode::Plain | Mode::Rows));
    // The oracle is asked after every step.
    holds_in(WINDOW_CASES, changing, |case| {
        let mut known: HashMap<usize, Answer> = HashMap::new();
        for (how, cut) in ways() {
            let (steps, made): (Vec<Step>, Vec<usize>) = case.steps(cut).into_iter().unzip();
            let brought = run(&case.setup(), &case.sql(), &steps).map_err(|error| format!("{how}: {error}"))?;
            folds(how, &steps, &brought, |at, folded| {
                let expected = match known.entry(made[at]) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => unknown.insert(case.expected(made[at])?),
                };
                expect_multiset(&format!("{how}, after {}", made[at]), expected, folded)
            })?;
        }
        Ok(())
    });
}

#[test]
fn an_asof_join_over_what_ends_says_the_batch_answer_at_the_end() {
    let plain = case().prop_filter("its rows stay", |case| case.mode == Mode::Plain);
    holds(plain, |case| {
        let expected = case.expected(case.happenings.len())?;
        for (how, cut) in ways() {
            let steps: Vec<Step> = case.steps(cut).into_iter().map(|(step, _)| step).collect();
            let text = format!("{} EMIT FINAL", case.sql());
            let brought = run(&case.setup(), &text, &steps).map_err(|error| format!("{how}: {error}"))?;
            expect_multiset(how, &expected, &answers::rows(&brought.concat()))?;
        }
        Ok(())
    });
}
