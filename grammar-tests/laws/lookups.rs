//! `FOR SYSTEM_TIME AS OF proctime()`: what a row finds when it comes, as a program that a person can check.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use proptest::prelude::*;
use proptest::sample::select;

use crate::answers::{self, Answer};
use crate::data::{self, After, Column, Row, Value};
use crate::feeding::{Step, run};
use crate::{expect_multiset, expect_sequence, folds, holds, ways};

const CONDITIONS: [&str; 6] =
    ["true", "a.k = b.k", "a.k = b.id", "a.k = b.k AND a.v > b.v", "a.k = b.k AND a.v = b.v", "a.v > b.v"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

#[derive(Debug, Clone)]
enum Happening {
    /// A row of a stream comes, or one of a table takes the place of that with its `id`.
    Put(Side, Row),
    Gone(Side, i64),
}

#[derive(Debug, Clone)]
struct Case {
    /// Which sides are tables by `id`; the others are streams.
    tables: [bool; 2],
    condition: &'static str,
    keeps_lone: bool,
    happenings: Vec<(Happening, After)>,
}

fn case() -> impl Strategy<Value = Case> {
    let side = || select(vec![Side::Left, Side::Right]);
    let small = |most: i64| (0..most).prop_map(Value::Whole);
    let row = (small(5), data::nullable(small(3)), data::nullable(small(3))).prop_map(|(id, k, v)| vec![id, k, v]);
    let happening = prop_oneof![
        5 => (side(), row).prop_map(|(side, row)| Happening::Put(side, row)),
        1 => (side(), 0i64..5).prop_map(|(side, id)| Happening::Gone(side, id)),
    ];
    let happenings = prop::collection::vec((happening, data::after()), 0..=30);
    (any::<[bool; 2]>(), select(CONDITIONS.to_vec()), any::<bool>(), happenings).prop_map(
        |(tables, condition, keeps_lone, mut happenings)| {
            happenings.retain(|(happening, _)| match happening {
                Happening::Put(..) => true,
                Happening::Gone(side, _) => tables[*side as usize],
            });
            Case { tables, condition, keeps_lone, happenings }
        },
    )
}

fn columns() -> Vec<Column> {
    ["id", "k", "v"].into_iter().map(|name| (name, "BIGINT", DataType::Int64)).collect()
}

fn equal(left: &Value, right: &Value) -> bool {
    *left != Value::Null && left == right
}

fn greater(left: &Value, right: &Value) -> bool {
    matches!((left, right), (Value::Whole(left), Value::Whole(right)) if left > right)
}

fn matches(condition: &str, a: &Row, b: &Row) -> bool {
    condition.split(" AND ").all(|part| match part {
        "true" => true,
        "a.k = b.k" => equal(&a[1], &b[1]),
        "a.k = b.id" => equal(&a[1], &b[0]),
        "a.v = b.v" => equal(&a[2], &b[2]),
        "a.v > b.v" => greater(&a[2], &b[2]),
        other => panic!("{other} is no part of a condition"),
    })
}

/// The rows of a side; those of a table by their `id`.
#[derive(Default)]
struct Rows {
    stream: Vec<Row>,
    table: BTreeMap<i64, Row>,
}

impl Case {
    fn setup(&self) -> Vec<String> {
        let create = |(name, table): (&str, bool)| match table {
            true => format!("CREATE TABLE {name} (id BIGINT, k BIGINT, v BIGINT, PRIMARY KEY (id))"),
            false => data::create(name, &columns()),
        };
        [("a", self.tables[0]), ("b", self.tables[1])].map(create).to_vec()
    }

    fn sql(&self) -> String {
        let join = match (self.condition, self.keeps_lone) {
            ("true", false) => "CROSS JOIN b FOR SYSTEM_TIME AS OF proctime()".to_string(),
            (condition, false) => format!("JOIN b FOR SYSTEM_TIME AS OF proctime() ON {condition}"),
            (condition, true) => format!("LEFT JOIN b FOR SYSTEM_TIME AS OF proctime() ON {condition}"),
        };
        format!("SELECT a.id, a.v, b.id AS bid, b.k AS bk, b.v AS bv FROM a {join}")
    }

    /// What has been said, and not been taken back, after so many happenings: each left row with what it found.
    fn expected(&self, made: usize) -> Answer {
        let mut right = Rows::default();
        let mut said: Vec<(Row, Vec<Row>)> = vec![];
        for (happening, _) in &self.happenings[..made] {
            match happening {
                Happening::Put(Side::Right, row) if self.tables[1] => {
                    drop(right.table.insert(whole(&row[0]), row.clone()))
                }
                Happening::Put(Side::Right, row) => right.stream.push(row.clone()),
                Happening::Gone(Side::Right, id) => drop(right.table.remove(id)),
                // An update that changes nothing is none.
                Happening::Put(Side::Left, row) if self.tables[0] && said.iter().any(|(left, _)| left == row) => {}
                Happening::Put(Side::Left, row) => {
                    said.retain(|(left, _)| !self.tables[0] || left[0] != row[0]);
                    let there = right.stream.iter().chain(right.table.values());
                    let found: Vec<Row> = there.filter(|other| matches(self.condition, row, other)).cloned().collect();
                    said.push((row.clone(), found));
                }
                Happening::Gone(Side::Left, id) => said.retain(|(left, _)| left[0] != Value::Whole(*id)),
            }
        }
        answers::rows(&[self.batch(&said)])
    }

    fn batch(&self, said: &[(Row, Vec<Row>)]) -> RecordBatch {
        let mut rows: Vec<Row> = vec![];
        for (left, found) in said {
            let lone = vec![Value::Null; 3];
            let alone = (found.is_empty() && self.keeps_lone).then_some(&lone);
            rows.extend(
                found.iter().chain(alone).map(|right| [&[left[0].clone(), left[2].clone()][..], &right[..]].concat()),
            );
        }
        let columns = ["id", "v", "bid", "bk", "bv"].map(|name| (name, "BIGINT", DataType::Int64));
        data::batch(&columns, &rows)
    }

    /// The steps, each with how many happenings there have been after it.
    fn steps(&self, cut: impl Fn(After) -> After) -> Vec<(Step, usize)> {
        let mut steps: Vec<(Step, usize)> = vec![];
        let mut open = false;
        for (made, (happening, after)) in (1..).zip(&self.happenings) {
            let after = cut(*after);
            match happening {
                Happening::Gone(side, id) => {
                    steps.push((Step::Say(format!("DELETE FROM {} WHERE id = {id}", name(*side))), made));
                }
                Happening::Put(side, row) => {
                    let batch = data::batch(&columns(), std::slice::from_ref(row));
                    match steps.last_mut() {
                        Some((Step::Push(last, rows), last_made)) if open && *last == name(*side) => {
                            let both = arrow::compute::concat_batches(&rows.schema(), [&*rows, &batch]);
                            (*rows, *last_made) = (both.expect("rows of one relation"), made);
                        }
                        _ => steps.push((Step::Push(name(*side).into(), batch), made)),
                    }
                }
            }
            open = after == After::Nothing && matches!(happening, Happening::Put(..));
            if after == After::Restart {
                steps.push((Step::Restart, made));
            }
        }
        let ends = ["b", "a"].map(|name| (Step::Close(name.into()), self.happenings.len()));
        steps.into_iter().chain(ends).collect()
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Left => "a",
        Side::Right => "b",
    }
}

fn whole(value: &Value) -> i64 {
    match value {
        Value::Whole(value) => *value,
        other => panic!("{other:?} is no key"),
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.setup().iter().try_for_each(|statement| writeln!(f, "{statement};"))?;
        writeln!(f, "DECLARE c CURSOR FOR {};", self.sql())?;
        for (happening, after) in &self.happenings {
            match happening {
                Happening::Put(side, row) => {
                    let statement = data::insert(name(*side), &columns(), std::slice::from_ref(row));
                    writeln!(f, "{} -- then {after:?}", statement.replace("\n ", ""))?;
                }
                Happening::Gone(side, id) => {
                    writeln!(f, "DELETE FROM {} WHERE id = {id}; -- then {after:?}", name(*side))?;
                }
            }
        }
        writeln!(f, "CLOSE STREAM b; CLOSE STREAM a;")
    }
}

#[test]
fn a_row_finds_what_is_there_when_it_comes_and_takes_that_back_when_it_goes() {
    holds(case(), |case| {
        let mut drawn: Option<Answer> = None;
        for (how, cut) in ways() {
            let (steps, made): (Vec<Step>, Vec<usize>) = case.steps(cut).into_iter().unzip();
            let brought = run(&case.setup(), &case.sql(), &steps).map_err(|error| format!("{how}: {error}"))?;
            folds(how, &steps, &brought, |at, folded| {
                expect_multiset(&format!("{how}, after {}", made[at]), &case.expected(made[at]), folded)
            })?;
            let answered = answers::rows(&brought.concat());
            expect_sequence(how, drawn.get_or_insert(answered.clone()), &answered)?;
        }
        Ok(())
    });
}
