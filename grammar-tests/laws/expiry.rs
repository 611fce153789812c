//! `state_ttl`: what is forgotten depends on the clock alone, not on how rows are cut or where a run is resumed.

use std::fmt::{self, Display};

use proptest::prelude::*;
use proptest::sample::select;
use riverrun::Engine;

use crate::answers::{self, Answer, Fold};
use crate::{CASES, expect_multiset, expect_sequence, holds, holds_in};

const SETUP: &str = "SET clock = 'manual';
SET state_ttl = INTERVAL '5 seconds';
CREATE STREAM a (k BIGINT, v BIGINT);
CREATE STREAM b (k BIGINT, v BIGINT);
CREATE TABLE t (k BIGINT, v BIGINT, PRIMARY KEY (k));";

/// None of them reads the changes of an aggregate by their values: a change that is folded away renews nothing.
const QUERIES: [&str; 36] = [
    "SELECT k, count(*) AS n, sum(v) AS s FROM a GROUP BY k EMIT CHANGES",
    "SELECT k, count(*) AS n, array_agg(v) AS vs FROM a GROUP BY k EMIT RUNNING",
    "SELECT k, max(v) AS m FROM a GROUP BY k EMIT FINAL",
    "SELECT k, count(*) AS n FROM a GROUP BY k EMIT EVERY INTERVAL '3 seconds'",
    "SELECT k, count(*) AS n FROM a GROUP BY k EMIT EVERY INTERVAL '7 seconds'",
    "SELECT DISTINCT v FROM a EMIT CHANGES",
    "SELECT v, count(*) AS n, max(k) AS m FROM t GROUP BY v EMIT CHANGES",
    "SELECT v, array_agg(k) AS ks FROM t GROUP BY v EMIT FINAL",
    "SELECT a.k, a.v, b.v AS w FROM a JOIN b ON a.k = b.k",
    "SELECT a.k, a.v, b.v AS w FROM a LEFT JOIN b ON a.k = b.k",
    "SELECT a.k, a.v, b.k AS l, b.v AS w FROM a FULL JOIN b ON a.k = b.k AND a.v <= b.v",
    "SELECT a.k, b.v FROM a JOIN b ON a.v = b.v",
    "SELECT t.k, t.v, b.v AS w FROM t LEFT JOIN b ON t.v = b.k",
    "SELECT t.k, a.v AS w FROM a RIGHT JOIN t ON t.v = a.v",
    "SELECT a.k, a.v, t.v AS w FROM a FULL JOIN t ON a.k = t.k",
    "SELECT k, v FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
    "SELECT k, v FROM t WHERE EXISTS (SELECT 1 FROM b WHERE b.k = t.v)",
    "SELECT k, v FROM t WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = t.v)",
    "SELECT k, v FROM a WHERE NOT EXISTS (SELECT 1 FROM t WHERE t.k = a.k)",
    "SELECT x.k, x.n, b.v FROM (SELECT k, count(*) AS n FROM a GROUP BY k) AS x LEFT JOIN b ON x.k = b.k",
    "SELECT a.k, a.v, b.v AS w FROM a FULL JOIN b ON a.k = b.k KEEP LAST EMIT RUNNING",
    "SELECT a.k, a.v, b.v AS w FROM a JOIN b ON a.k = b.k KEEP PRODUCT EMIT COMPLETE",
    "SELECT a.k, a.v, b.v AS w FROM a FULL JOIN b ON a.k = b.k KEEP PRODUCT EMIT FINAL",
    "SELECT k, v FROM a QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC) <= 2",
    "SELECT k, v, rank() OVER (PARTITION BY k ORDER BY v) AS n FROM a QUALIFY n <= 2",
    "SELECT k, v, dense_rank() OVER (PARTITION BY v ORDER BY k) AS n FROM t QUALIFY n <= 2",
    "SELECT k, v FROM t QUALIFY row_number() OVER (PARTITION BY v ORDER BY k) = 1 EMIT FINAL",
    "SELECT k, v, row_number() OVER (PARTITION BY k) AS n FROM a QUALIFY n BETWEEN 2 AND 3",
    "SELECT k, v FROM a QUALIFY row_number() OVER (PARTITION BY k ORDER BY v) <= 2 EMIT FINAL",
    "SELECT DISTINCT ON (v) k, v FROM a ORDER BY v, k DESC",
    "SELECT k, v, sum(k) OVER (PARTITION BY v) AS s FROM t",
    "SELECT k, v, lag(k) OVER (PARTITION BY v ORDER BY k) AS l FROM t EMIT FINAL",
    "SELECT k, v, rank() OVER (PARTITION BY k ORDER BY v) AS r FROM a",
    "SELECT k, v, lead(v) OVER (PARTITION BY k ORDER BY v) AS l FROM a EMIT FINAL",
    "SELECT k, v, sum(v) OVER (PARTITION BY k ROWS UNBOUNDED PRECEDING) AS s, lag(v) OVER (PARTITION BY k) AS l FROM a",
    "SELECT k, v, min(v) OVER (PARTITION BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS m FROM a",
];

#[derive(Debug, Clone)]
enum Happening {
    /// A row for a stream or table, and whether the batch ends behind it.
    Row(&'static str, Option<i64>, i64, bool),
    /// A key of the table goes.
    Delete(i64),
    Seconds(i64),
}

#[derive(Debug, Clone)]
struct Case {
    query: &'static str,
    happenings: Vec<Happening>,
}

/// How a case is run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    AsDrawn,
    RowByRow,
    Restarted,
}

fn happening() -> impl Strategy<Value = Happening> {
    let key = prop::option::weighted(0.9, 0i64..3);
    prop_oneof![
        6 => (select(vec!["a", "b"]), key, 0i64..3, any::<bool>())
            .prop_map(|(relation, k, v, ends)| Happening::Row(relation, k, v, ends)),
        3 => (0i64..3, 0i64..3, any::<bool>()).prop_map(|(k, v, ends)| Happening::Row("t", Some(k), v, ends)),
        1 => (0i64..3).prop_map(Happening::Delete),
        3 => (1i64..5).prop_map(Happening::Seconds),
    ]
}

impl Case {
    /// The statements that do it; after those that are marked the answers are compared.
    fn statements(&self, way: Way) -> Vec<(String, bool)> {
        let mut statements: Vec<(String, bool)> = vec![];
        let mut open = None;
        for happening in &self.happenings {
            match happening {
                Happening::Row(relation, k, v, ends) => {
                    let row = format!("({}, {v})", k.map_or("NULL".into(), |k| k.to_string()));
                    match statements.last_mut().filter(|_| open == Some(*relation)) {
                        Some((last, _)) => *last = format!("{last}, {row}"),
                        None => statements.push((format!("INSERT INTO {relation} VALUES {row}"), false)),
                    }
                    open = (way != Way::RowByRow && !ends).then_some(*relation);
                }
                Happening::Delete(k) => {
                    open = None;
                    statements.push((format!("DELETE FROM t WHERE k = {k}"), false));
                }
                Happening::Seconds(seconds) => {
                    open = None;
                    statements.push((format!("ADVANCE CLOCK BY INTERVAL '{seconds} seconds'"), true));
                }
            }
        }
        statements.push(("CLOSE STREAM a; CLOSE STREAM b; CLOSE STREAM t".into(), true));
        statements
    }

    /// What has come out by each of the moments at which it is compared, and whether its order counts.
    fn answers(&self, way: Way) -> Result<(Vec<Answer>, bool), String> {
        let failed = |error: riverrun::Error| format!("{way:?}: {}: {error}", error.code());
        let engine = Engine::new();
        engine.execute(SETUP).map_err(failed)?;
        let mut query = engine.query(self.query).map_err(failed)?;
        let changes = query.schema().field(0).name() == "op";
        let (mut fold, mut rows, mut answers) = (Fold::default(), Answer::new(), vec![]);
        for (statement, compared) in self.statements(way) {
            engine.execute(&statement).map_err(failed)?;
            if way == Way::Restarted {
                engine.execute("CHECKPOINT; RESTART").map_err(failed)?;
            }
            for batch in query.poll().map_err(failed)? {
                match changes {
                    true => fold.apply(&batch).map_err(|error| format!("{way:?}: {error}"))?,
                    false => rows.extend(answers::rows(&[batch])),
                }
            }
            if compared {
                answers.push(if changes { fold.answer() } else { rows.clone() });
            }
        }
        Ok((answers, !changes))
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{SETUP}\nDECLARE c CURSOR FOR {};", self.query)?;
        self.statements(Way::AsDrawn).iter().try_for_each(|(statement, _)| writeln!(f, "{statement};"))
    }
}

#[test]
fn what_is_forgotten_depends_on_the_clock_alone() {
    let cases = (select(QUERIES.to_vec()), prop::collection::vec(happening(), 1..30));
    holds(cases.prop_map(|(query, happenings)| Case { query, happenings }), |case| {
        let (expected, in_order) = case.answers(Way::AsDrawn)?;
        for way in [Way::RowByRow, Way::Restarted] {
            let (answered, _) = case.answers(way)?;
            for (moment, (expected, answered)) in expected.iter().zip(&answered).enumerate() {
                let what = format!("{way:?}, moment {moment}");
                match in_order {
                    true => expect_sequence(&what, expected, answered)?,
                    false => expect_multiset(&what, expected, answered)?,
                }
            }
        }
        Ok(())
    });
}

/// What no run of a case ever reaches.
const UNREACHED: &str = "SET state_ttl = INTERVAL '1 hour'; SET max_state_bytes = '1 GB'";

#[test]
fn limits_that_are_never_reached_change_nothing() {
    let cases = (select(QUERIES.to_vec()), prop::collection::vec(happening(), 1..30));
    holds_in(CASES / 2, cases.prop_map(|(query, happenings)| Case { query, happenings }), |case| {
        let said = |limits: &str| {
            let failed = |error: riverrun::Error| format!("{limits}: {}: {error}", error.code());
            let engine = Engine::new();
            engine.execute(SETUP).and_then(|()| engine.execute(limits)).map_err(failed)?;
            let mut query = engine.query(case.query).map_err(failed)?;
            let step = |(statement, _): (String, bool)| {
                engine.execute(&statement).map_err(failed)?;
                Ok(answers::rows(&query.poll().map_err(failed)?))
            };
            case.statements(Way::AsDrawn).into_iter().map(step).collect::<Result<Vec<Answer>, String>>()
        };
        // Rows that a join forgets are kept by their values, so those that are alike come out together.
        let joins = case.query.contains("JOIN") && !case.query.contains("KEEP");
        let expect = if joins { expect_multiset } else { expect_sequence };
        let (free, limited) = (said("SET state_ttl = 0")?, said(UNREACHED)?);
        free.iter().zip(&limited).try_for_each(|(free, limited)| expect("without limits and with", free, limited))
    });
}
