//! `EMIT EVERY`: random queries, rows and a clock that is advanced at random.

use std::fmt;

use proptest::prelude::*;

use crate::answers::{Answer, Fold};
use crate::data::{self, After, Row};
use crate::feeding::{Happening, Step, happening_steps, run};
use crate::queries::{self, Emit, Query, Reader};

#[derive(Debug, Clone)]
pub struct Case {
    pub query: Query,
    pub seconds: i64,
    happenings: Vec<Happening>,
}

/// What the changes add up to at one moment.
pub struct Moment {
    pub answer: Answer,
    /// How many rows had come.
    pub rows: usize,
    /// Whether the query spoke at it.
    pub spoke: bool,
}

pub fn case() -> impl Strategy<Value = Case> {
    let rows = data::rows(30);
    let pauses = prop::collection::vec(prop::option::weighted(0.3, 1i64..5), 30);
    (queries::changes_query(), 1i64..6, rows, pauses).prop_map(|(query, seconds, rows, pauses)| {
        let mut happenings = vec![];
        for ((row, after), pause) in rows.into_iter().zip(pauses) {
            happenings.push(Happening::Row(row, after));
            happenings.extend(pause.map(Happening::Seconds));
        }
        Case { query, seconds, happenings }
    })
}

impl Case {
    pub fn emit(&self) -> Emit {
        Emit::Every(self.seconds)
    }

    /// The rows that come.
    pub fn rows(&self) -> Vec<Row> {
        let rows = self.happenings.iter().filter_map(|happening| match happening {
            Happening::Row(row, _) => Some(row.clone()),
            Happening::Seconds(_) => None,
        });
        rows.collect()
    }

    /// What has been said after each advance of the clock, and at the end.
    pub fn moments(&self, cut: impl Fn(After) -> After) -> Result<Vec<Moment>, String> {
        let setup = ["SET clock = 'manual'".into(), data::create("t", &data::columns())];
        let text = self.query.sql(Some(self.emit()), Reader::Engine);
        let steps = happening_steps(&data::columns(), &self.happenings, cut);
        let brought = run(&setup, &text, &steps).map_err(|error| format!("{text}\n{error}"))?;
        let (mut fold, mut moments, mut rows) = (Fold::default(), vec![], 0);
        for (step, batches) in steps.iter().zip(&brought) {
            batches.iter().try_for_each(|batch| fold.apply(batch))?;
            let spoke = batches.iter().any(|batch| batch.num_rows() > 0);
            match step {
                Step::Push(_, pushed) => rows += pushed.num_rows(),
                Step::Say(_) | Step::Close(_) => moments.push(Moment { answer: fold.answer(), rows, spoke }),
                Step::Restart => {}
            }
            if spoke && matches!(step, Step::Push(..) | Step::Restart) {
                return Err(format!("it spoke after {rows} rows, before the clock was advanced"));
            }
        }
        Ok(moments)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "SET clock = 'manual';\n{};", data::create("t", &data::columns()))?;
        writeln!(f, "DECLARE c CURSOR FOR {};", self.query.sql(Some(self.emit()), Reader::Engine))?;
        for happening in &self.happenings {
            writeln!(f, "{}", happening.statement(&data::columns()))?;
        }
        writeln!(f, "CLOSE STREAM t;")
    }
}
