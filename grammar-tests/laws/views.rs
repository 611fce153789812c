//! What materialized views hold after each step, and what their readers are told.

use arrow::array::RecordBatch;
use riverrun::Engine;

use crate::answers::{self, Answer, Fold};
use crate::feeding::{Step, all, take};

/// A view over a view: of the view of columns `k`, `v` and `s`.
const OVER: &str = "SELECT x.k, count(*) AS n, max(x.v) AS v FROM ({x}) AS x GROUP BY x.k";

/// What there is to see after one step.
pub struct Seen {
    /// The rows of the view.
    pub whole: Answer,
    /// The rows of the view over it.
    pub over: Answer,
    /// What a query over both has found to differ between them, asked at the end.
    pub apart: Answer,
    /// What the changes add up to that a query has been told which was opened in the middle.
    pub followed: Option<Answer>,
}

/// The query of the view over a view of `text`, in one piece.
pub fn over(text: &str) -> String {
    OVER.replace("{x}", text)
}

/// Makes a view of `text` and one over it, and looks at them after each step.
pub fn watch(setup: &[String], text: &str, steps: &[Step]) -> Result<Vec<Seen>, String> {
    attempt(setup, text, steps).map_err(|error| format!("{}: {error}", error.code()))?
}

fn attempt(setup: &[String], text: &str, steps: &[Step]) -> riverrun::Result<Result<Vec<Seen>, String>> {
    let engine = Engine::new();
    setup.iter().try_for_each(|statement| engine.execute(statement))?;
    engine.execute(&format!("CREATE MATERIALIZED VIEW m AS {text}"))?;
    engine.execute(&format!("CREATE MATERIALIZED VIEW o AS {}", over("SELECT * FROM m")))?;
    let mut follower = None;
    let mut seen = vec![];
    for (at, step) in steps.iter().enumerate() {
        take(&engine, step)?;
        let waits = matches!(steps.get(at + 1), Some(Step::Restart));
        if let (Some((query, fold)), false) = (&mut follower, waits) {
            let fold: &mut Fold = fold;
            let told = all(query)?;
            if let Err(error) = told.iter().try_for_each(|batch| fold.apply(batch)) {
                return Ok(Err(error));
            }
        }
        if at == steps.len() / 2 {
            follower = Some((engine.query("SELECT * FROM m EMIT CHANGES")?, Fold::default()));
        }
        let ends = at + 1 == steps.len();
        let apart = format!("SELECT * FROM o EXCEPT {}", over("SELECT * FROM m"));
        seen.push(Seen {
            whole: answers::rows(&read(&engine, "SELECT * FROM m")?),
            over: answers::rows(&[engine.view("o")?.rows()?]),
            apart: if ends { answers::rows(&read(&engine, &apart)?) } else { vec![] },
            followed: follower.as_ref().filter(|_| at > steps.len() / 2 && !waits).map(|(_, fold)| fold.answer()),
        });
    }
    Ok(Ok(seen))
}

fn read(engine: &Engine, sql: &str) -> riverrun::Result<Vec<RecordBatch>> {
    all(&mut engine.query(sql)?)
}
