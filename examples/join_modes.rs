//! What a keyed join keeps, and when it speaks: the same five rows in every mode.

use riverrun::{Engine, Error};

fn main() -> Result<(), Error> {
    for keep in ["FIRST", "LAST", "PRODUCT"] {
        for emit in ["COMPLETE", "RUNNING", "FINAL"] {
            let kind = if emit == "COMPLETE" { "JOIN" } else { "FULL JOIN" };
            let engine = Engine::new();
            engine.execute("CREATE STREAM l (k VARCHAR, v VARCHAR); CREATE STREAM r (k VARCHAR, v VARCHAR)")?;
            let mut pairs =
                engine.query(&format!("SELECT l.v, r.v AS w FROM l {kind} r USING (k) KEEP {keep} EMIT {emit}"))?;
            engine.execute(
                "INSERT INTO l VALUES ('a', 'L1'), ('a', 'L2');
                 INSERT INTO r VALUES ('a', 'R1'), ('a', 'R2');
                 INSERT INTO l VALUES ('a', 'L3');
                 CLOSE STREAM l; CLOSE STREAM r",
            )?;
            let show = |value: Option<String>| value.unwrap_or_else(|| "-".into());
            let mut shown = vec![];
            for pair in pairs.rows::<(Option<String>, Option<String>)>() {
                let (left, right) = pair?;
                shown.push(format!("{}{}", show(left), show(right)));
            }
            println!("KEEP {keep} EMIT {emit}: {}", shown.join(" "));
        }
    }
    Ok(())
}
