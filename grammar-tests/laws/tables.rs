//! Inputs that are tables: rows that are inserted, replaced and deleted.

use std::fmt;

use proptest::prelude::*;

use crate::data::{self, After, Row, Value};
use crate::feeding::Step;
use crate::queries::{self, Emit, Query, Reader};

/// What is done to the table.
#[derive(Debug, Clone)]
enum Change {
    /// The row takes the place of the one with its `id`.
    Put(Row),
    Delete(i64),
}

#[derive(Debug, Clone)]
pub struct Case {
    pub query: Query,
    changes: Vec<(Change, After)>,
}

/// Few, so that most are replaced or deleted.
const IDS: i64 = 6;

pub fn case() -> impl Strategy<Value = Case> {
    let change = (data::rows(1), 1..=IDS, any::<prop::sample::Index>(), data::after());
    let change = change.prop_map(|(rows, id, kind, after)| {
        let put = rows.into_iter().next().filter(|_| kind.index(4) > 0).map(|(mut row, _)| {
            row[0] = Value::Whole(id);
            row[1] = Value::Whole(IDS - id);
            Change::Put(row)
        });
        (put.unwrap_or(Change::Delete(id)), after)
    });
    (queries::table_query(), prop::collection::vec(change, 0..=25)).prop_map(|(query, changes)| Case { query, changes })
}

impl Case {
    pub fn setup(&self) -> Vec<String> {
        let create = data::create("t", &data::columns());
        vec![create.replace("STREAM", "TABLE").replace("id BIGINT", "id BIGINT PRIMARY KEY")]
    }

    /// The steps, each with how many of the changes have been made after it.
    pub fn steps(&self, cut: impl Fn(After) -> After) -> Vec<(Step, usize)> {
        let (mut steps, mut held): (Vec<(Step, usize)>, Vec<Row>) = (vec![], vec![]);
        let push = |held: &mut Vec<Row>, made: usize, steps: &mut Vec<(Step, usize)>| {
            if !held.is_empty() {
                steps.push((Step::Push("t".into(), data::batch(&data::columns(), held)), made));
                held.clear();
            }
        };
        for (before, (change, after)) in self.changes.iter().enumerate() {
            let after = cut(*after);
            match change {
                Change::Put(row) => held.push(row.clone()),
                Change::Delete(id) => {
                    push(&mut held, before, &mut steps);
                    steps.push((Step::Say(format!("DELETE FROM t WHERE id = {id}")), before + 1));
                }
            }
            if after != After::Nothing {
                push(&mut held, before + 1, &mut steps);
            }
            if after == After::Restart {
                steps.push((Step::Restart, before + 1));
            }
        }
        push(&mut held, self.changes.len(), &mut steps);
        steps.push((Step::Close("t".into()), self.changes.len()));
        steps
    }

    /// The rows that are there after so many changes.
    pub fn rows(&self, made: usize) -> Vec<Row> {
        let mut there: Vec<Row> = vec![];
        for (change, _) in &self.changes[..made] {
            let id = match change {
                Change::Put(row) => row[0].clone(),
                Change::Delete(id) => Value::Whole(*id),
            };
            there.retain(|row| row[0] != id);
            if let Change::Put(row) = change {
                there.push(row.clone());
            }
        }
        there
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.setup().iter().try_for_each(|statement| writeln!(f, "{statement};"))?;
        writeln!(f, "DECLARE c CURSOR FOR {};", self.query.sql(Some(Emit::Changes), Reader::Engine))?;
        for (change, after) in &self.changes {
            match change {
                Change::Put(row) => {
                    let statement = data::insert("t", &data::columns(), std::slice::from_ref(row));
                    writeln!(f, "{} -- then {after:?}", statement.replace("\n ", ""))?;
                }
                Change::Delete(id) => writeln!(f, "DELETE FROM t WHERE id = {id}; -- then {after:?}")?,
            }
        }
        writeln!(f, "CLOSE STREAM t;")
    }
}
