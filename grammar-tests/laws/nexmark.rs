//! The queries of Nexmark as they stand in `benches/nexmark`: each is run over its 100,000 events, and answers what
//! DataFusion answers over the same rows as tables.

use std::collections::HashSet;
use std::sync::OnceLock;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use riverrun::{Access, Code, Engine};

use crate::answers::{self, Answer, Difference, Fold, exact, same_multiset};
use crate::oracle;

/// How many parts the rows of a table are fed in.
const STEPS: usize = 50;
const TABLES: [&str; 3] = ["person", "auction", "bid"];

/// Streams with the columns of the connector, fed by the test.
const FED: &str = "
  CREATE STREAM person (
    id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR,
    date_time TIMESTAMP(3), extra VARCHAR);
  CREATE STREAM auction (
    id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3),
    expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR);
  CREATE STREAM bid (
    auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP(3),
    extra VARCHAR);";

/// A file of `benches/nexmark`.
struct Script {
    name: &'static str,
    text: &'static str,
}

macro_rules! script {
    ($name:literal) => {
        Script {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/nexmark/", $name, ".sql")),
        }
    };
}

impl Script {
    /// What it creates, and its query.
    fn parts(&self) -> (&str, &str) {
        let (setup, query) = self.text.rsplit_once(");\n\n").expect("the query stands behind an empty line");
        (setup, query.trim_end().trim_end_matches(';'))
    }

    /// What it answers as it stands.
    fn answer(&self) -> Answer {
        let failed = |error: riverrun::Error| -> ! { panic!("{}: {error}", self.name) };
        let (setup, query) = self.parts();
        let engine = Engine::new();
        engine.execute(&format!("{setup})")).unwrap_or_else(|error| failed(error));
        let query = engine.query(query).unwrap_or_else(|error| failed(error));
        let batches = query.collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| failed(error));
        let mut fold = Fold::default();
        batches.iter().try_for_each(|batch| fold.apply(batch)).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        fold.answer()
    }

    fn expect(&self, expected: &Answer, answered: &Answer) {
        assert!(!expected.is_empty(), "{} has no rows", self.name);
        if !same_multiset(expected, answered) {
            let (expected, answered) = (only_in(expected, answered), only_in(answered, expected));
            panic!("{}: {}", self.name, Difference { expected: &expected, answered: &answered });
        }
    }
}

/// The first rows that are in one answer and not in the other.
fn only_in(one: &Answer, other: &Answer) -> Answer {
    let known: HashSet<String> = other.iter().map(|row| exact(row)).collect();
    one.iter().filter(|row| !known.contains(&exact(row))).take(5).cloned().collect()
}

/// The events as tables.
fn tables() -> &'static [(&'static str, RecordBatch)] {
    static MADE: OnceLock<Vec<(&str, RecordBatch)>> = OnceLock::new();
    MADE.get_or_init(|| {
        let engine = Engine::new();
        let rows = TABLES.map(|table| {
            let create = format!("CREATE STREAM {table} WITH (connector = 'nexmark', events = 100000, rate = 1000)");
            engine.execute(&create).expect("the connector has the table");
            let query = engine.query(&format!("SELECT * FROM {table}")).expect("it can be read");
            let batches = query.collect::<Result<Vec<_>, _>>().expect("it can be read");
            (table, concat_batches(&batches[0].schema(), &batches).expect("batches of one table"))
        });
        rows.into()
    })
}

fn asked_of_oracle(name: &str, text: &str) -> Answer {
    oracle::answer_over(text, tables()).unwrap_or_else(|| panic!("the oracle refuses {name}"))
}

/// Queries that say the same of tables as of streams.
const SAME_OF_TABLES: [Script; 17] = [
    script!("q0"),
    script!("q1"),
    script!("q2"),
    script!("q3"),
    script!("q4"),
    script!("q6"),
    script!("q9"),
    script!("q14"),
    script!("q15"),
    script!("q16"),
    script!("q17"),
    script!("q18"),
    script!("q19"),
    script!("q20"),
    script!("q21"),
    script!("q22"),
    script!("q23"),
];

#[test]
fn nexmark_as_it_stands_answers_what_it_says_of_tables() {
    for script in SAME_OF_TABLES {
        script.expect(&asked_of_oracle(script.name, script.parts().1), &script.answer());
    }
}

/// Queries over windows, and the same asked of tables, which know no windows.
const OVER_WINDOWS: [(Script, &str); 4] = [
    (
        script!("q5"),
        "SELECT auction, bids, window_start, window_start + INTERVAL '10 seconds' FROM (
           SELECT auction, window_start, count(*) AS bids FROM (
             SELECT auction, date_bin(INTERVAL '2 seconds', date_time) - back AS window_start
             FROM bid CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'),
               (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS slides (back)
           ) GROUP BY auction, window_start
         ) QUALIFY rank() OVER (PARTITION BY window_start ORDER BY bids DESC) = 1",
    ),
    (
        script!("q7"),
        "SELECT auction, bidder, price, date_time, extra FROM bid
         QUALIFY rank() OVER (PARTITION BY date_bin(INTERVAL '10 seconds', date_time) ORDER BY price DESC) = 1",
    ),
    (
        script!("q8"),
        "SELECT DISTINCT p.id, p.name, date_bin(INTERVAL '10 seconds', p.date_time)
         FROM person AS p JOIN auction AS a ON p.id = a.seller
         AND date_bin(INTERVAL '10 seconds', p.date_time) = date_bin(INTERVAL '10 seconds', a.date_time)",
    ),
    (
        script!("q11"),
        "SELECT bidder, count(*), min(date_time), max(date_time) + INTERVAL '10 seconds' FROM (
           SELECT bidder, date_time,
             sum(CASE WHEN date_time - before > INTERVAL '10 seconds' THEN 1 ELSE 0 END) OVER (
               PARTITION BY bidder ORDER BY date_time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS nth
           FROM (SELECT bidder, date_time, lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) AS before FROM bid)
         ) GROUP BY bidder, nth",
    ),
];

#[test]
fn nexmark_over_windows_answers_what_groups_of_times_give() {
    for (script, of_tables) in OVER_WINDOWS {
        script.expect(&asked_of_oracle(script.name, of_tables), &script.answer());
    }
}

/// A query by the clock: what it says of the bids that come while that stands still is what groups give.
#[test]
fn nexmark_by_the_clock_counts_every_bid() {
    let script = script!("q12");
    let (setup, query) = script.parts();
    let engine = Engine::new();
    engine.execute(&format!("SET clock = 'manual'; {setup})")).expect("the stream is there");
    let rows = engine.query(&format!("SELECT bidder, bids FROM ({query})"));
    let rows = rows.and_then(Iterator::collect::<Result<Vec<_>, _>>).expect("it answers");
    let groups = asked_of_oracle("q12", "SELECT bidder, count(*) FROM bid GROUP BY bidder");
    script.expect(&groups, &answers::rows(&rows));
}

/// The side table is there before the first bid comes, so a lookup finds what a join does.
#[test]
fn nexmark_looks_up_what_a_join_finds() {
    let script = script!("q13");
    let (setup, query) = script.parts();
    let (_, side) = setup.rsplit_once("VALUES").expect("the rows of the side table stand in the script");
    let joined = query.replace(
        "side_input FOR SYSTEM_TIME AS OF proctime()",
        &format!("(VALUES {side})) AS side_input (key, value)"),
    );
    assert_ne!(query, joined);
    script.expect(&asked_of_oracle("q13", &joined), &script.answer());
}

#[test]
fn nexmark_writes_the_bids_it_is_to_log() {
    let script = script!("q10");
    let (setup, copy) = script.parts();
    let directory = tempfile::tempdir().expect("there is room for a file");
    let path = directory.path().join("q10.csv").display().to_string();
    let access = Access::directories([directory.path()]).expect("the directory is there");
    let engine = Engine::builder().access(access).build().expect("an engine");
    engine.execute(&format!("{setup}); {}", copy.replace("q10.csv", &path))).expect("the bids are written");
    let written = format!(
        "CREATE STREAM written (auction BIGINT, bidder BIGINT, price BIGINT, date_time TIMESTAMP(3), extra VARCHAR, \
         day VARCHAR, minute VARCHAR) WITH (path = '{path}')"
    );
    engine.execute(&written).expect("the file is there");
    let rows = engine.query("SELECT * FROM written").and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let query = copy.trim_start_matches("COPY (").trim_end_matches(") TO 'q10.csv'");
    script.expect(&asked_of_oracle("q10", query), &answers::rows(&rows.expect("the file can be read")));
}

/// State that is so little says more of how tables grow than of what is in them.
const LITTLE_BYTES: usize = 1 << 18;

/// Whether a query over so many events gets by with so much state.
fn gets_by(script: &Script, events: usize, bytes: usize) -> bool {
    let (setup, query) = script.parts();
    let setup = setup.replace("events = 100000", &format!("events = {events}"));
    let engine = Engine::new();
    engine.execute(&format!("{setup}); SET max_state_bytes = {bytes};")).expect("the streams are there");
    let answered = engine.query(query).and_then(|mut query| query.try_for_each(|batch| batch.map(drop)));
    match answered {
        Ok(()) => true,
        Err(error) if error.code() == Code::StateLimit => false,
        Err(error) => panic!("{}: {error}", script.name),
    }
}

/// How much state a query over so many events needs, to the next 32nd.
fn needs(script: &Script, events: usize) -> usize {
    let mut enough = 1 << 12;
    while !gets_by(script, events, enough) {
        enough *= 2;
    }
    let mut step = enough / 4;
    while step >= enough / 32 {
        if gets_by(script, events, enough - step) {
            enough -= step;
        }
        step /= 2;
    }
    enough
}

#[test]
fn nexmark_over_windows_needs_no_more_state_for_ten_times_the_events() {
    for script in [script!("q5"), script!("q7"), script!("q8"), script!("q11")] {
        let bytes = needs(&script, 100_000).max(LITTLE_BYTES);
        assert!(gets_by(&script, 1_000_000, bytes + bytes / 5), "{} needs more than {bytes} bytes", script.name);
    }
}

/// The rows of one step.
fn part(rows: &RecordBatch, step: usize) -> RecordBatch {
    let at = |step: usize| rows.num_rows() * step / STEPS;
    rows.slice(at(step), at(step + 1) - at(step))
}

/// What the changes come to once all events have been fed.
fn follow(text: &str) -> Result<Answer, String> {
    let shown = |error: riverrun::Error| error.to_string();
    let engine = Engine::new();
    engine.execute(FED).map_err(shown)?;
    let mut query = engine.query(text).map_err(shown)?;
    let mut fold = Fold::default();
    for step in 0..STEPS {
        for (stream, rows) in tables() {
            engine.appender(stream).and_then(|mut appender| appender.append(part(rows, step))).map_err(shown)?;
        }
        query.poll().map_err(shown)?.iter().try_for_each(|batch| fold.apply(batch))?;
    }
    engine.execute("CLOSE STREAM person; CLOSE STREAM auction; CLOSE STREAM bid;").map_err(shown)?;
    query.poll().map_err(shown)?.iter().try_for_each(|batch| fold.apply(batch))?;
    Ok(fold.answer())
}

#[test]
fn nexmark_over_streams_ends_at_nexmark_over_tables() {
    for script in [
        script!("q3"),
        script!("q4"),
        script!("q6"),
        script!("q9"),
        script!("q15"),
        script!("q16"),
        script!("q17"),
        script!("q18"),
        script!("q19"),
        script!("q20"),
    ] {
        let (name, text) = (script.name, script.parts().1);
        let answered = follow(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        script.expect(&asked_of_oracle(name, text), &answered);
    }
}
