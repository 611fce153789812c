//! The workloads in LaminarDB's SQL, and how the end of each answer is recognised.

use crate::request::{Failure, Request, Result};

/// What a workload is to LaminarDB.
pub struct Plan {
    /// The tables that are pushed. Of batches that begin at the same time that of the first goes first.
    pub sources: Vec<Source>,
    /// What is created over them; the stream `answer` is subscribed to.
    pub statements: Vec<String>,
    /// How many neighbouring batches of the files, of 8,192 rows each, are pushed as one.
    pub together: usize,
    /// How many of the pushed batches are computed with at once.
    pub cycle: Cycle,
    /// When the answer is whole.
    pub end: End,
    /// The query that reads the answer at the end. The subscription then only tells of the end.
    pub view: Option<&'static str>,
    /// The columns of the answer.
    pub columns: &'static [&'static str],
}

/// A table that is pushed.
pub struct Source {
    /// Its name, and that of its file.
    pub name: String,
    columns: String,
}

impl Source {
    fn new(name: &str, columns: impl Into<String>) -> Source {
        Source { name: name.into(), columns: columns.into() }
    }

    /// The statement that declares it.
    pub fn statement(&self) -> String {
        format!("CREATE SOURCE {} ({})", self.name, self.columns)
    }
}

/// How many of the batches that wait LaminarDB computes with in one go, after which it emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cycle {
    /// One: each batch has its changes, as it has with riverrun, and no join gives more than the 262,144 rows that it
    /// may give in a cycle.
    Batch,
    /// As many as there is room for: 64.
    Queue,
}

/// When an answer is whole. LaminarDB's streams have no end of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Once the counts `n` that stand in a changelog add up to the rows that were pushed.
    Changes,
    /// Once the counts `n` of closed windows add up to so many times the rows that were pushed. A marker row, far
    /// later than all others, closes the last windows and is in none of them.
    Windows { times: i64 },
    /// Once a marker row that was pushed after all others has come out, and once more: what was still on its way beside
    /// the first marker has arrived before the second.
    Marker,
}

const BIDS: &str = "auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT";
const AUCTIONS: &str = "id BIGINT, seller BIGINT, category BIGINT, initial_bid BIGINT, date_time BIGINT";
const PERSONS: &str = "id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR, date_time BIGINT";
/// Streams are joined on numbers and texts alone, so hours are numbers here.
const FLIGHTS: &str = "carrier VARCHAR, origin VARCHAR, time_hour BIGINT, dep_delay BIGINT";
const WEATHER: &str = "origin VARCHAR, time_hour BIGINT, precip DOUBLE";

/// The columns of bids that have an event time, and how late a bid may be.
fn timed(late: &str) -> String {
    let columns = "auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time TIMESTAMP NOT NULL";
    format!("{columns}, WATERMARK FOR date_time AS date_time - INTERVAL {late}")
}

/// The columns of a table that is joined. LaminarDB joins streams only within an interval of event time, so all rows
/// have the same: the interval leaves none out, and no row is ever old enough to be forgotten.
fn joined(columns: &str) -> String {
    format!("{columns}, moment TIMESTAMP NOT NULL, WATERMARK FOR moment AS moment - INTERVAL '1' SECOND")
}

/// The interval that all rows are in.
const ALWAYS: &str = "r.moment BETWEEN l.moment AND l.moment + INTERVAL '1' SECOND";

/// A window that all rows are in, and no marker: an aggregate without a window would give its changes in each cycle.
const ONCE: &str = "tumble(date_time, INTERVAL '36500' DAY)";

/// How late a row may be that goes into that window: none is too late.
const NEVER_LATE: &str = "'3650' DAY";

/// So many batches together that more would make nothing faster. A bid has one auction and a flight one weather, so
/// a join gives about as many rows as these are, and may give twice as many.
const LARGE: usize = 16;

/// How LaminarDB does a workload.
///
/// # Errors
///
/// If it cannot.
pub fn plan(request: &Request) -> Result<Plan> {
    let bids = request.bids;
    let unsupported = |why: &str| Err(Failure::Unsupported(why.into()));
    Ok(match request.workload.as_str() {
        // Only keys of which there are many in a batch are faster in a large one.
        "a1_auction" => totals(bids, "auction", 1, &["auction", "n", "best", "total"]),
        "a2_bidder" => totals(bids, "bidder", LARGE, &["bidder", "n", "best", "total"]),
        "a3_channel" => totals(bids, "channel", LARGE, &["channel", "n", "best", "total"]),
        "c_changes" => changes(bids),
        "e_q1" => conversion(bids),
        "e_q2" => selection(bids),
        "g_flights" => flights(),
        "h_q3" => sellers(),
        "h_q20" => bids_of_category(bids),
        "i_best_total" => best_totals(bids),
        "j_tumble" => {
            let window = "tumble(date_time, INTERVAL '10' SECOND)";
            windows(bids, "auction", window, 1, &["auction", "window_start", "n"])
        }
        "j_hop" => {
            let window = "hop(date_time, INTERVAL '2' SECOND, INTERVAL '10' SECOND)";
            windows(bids, "auction", window, 5, &["auction", "window_start", "n"])
        }
        "j_session" => {
            let window = "session(date_time, INTERVAL '10' SECOND)";
            windows(bids, "bidder", window, 1, &["bidder", "window_start", "n"])
        }
        "b_running" => return unsupported("its aggregates emit once a cycle, not once a row"),
        "f_collect" => return unsupported("its streams aggregate with COUNT, SUM, AVG, MIN and MAX alone"),
        name if name.starts_with("d_join") => {
            return unsupported("it has no join that keeps the last row of each side");
        }
        name if name.starts_with("nexmark_") => return unsupported("Nexmark's queries are not written for it"),
        name => return unsupported(&format!("no workload {name}")),
    })
}

fn totals(bids: &str, key: &str, together: usize, columns: &'static [&'static str]) -> Plan {
    Plan {
        sources: vec![Source::new(bids, timed(NEVER_LATE))],
        statements: vec![format!(
            "CREATE STREAM answer AS SELECT {key}, count(*) AS n, max(price) AS best, sum(price) AS total \
             FROM {bids} GROUP BY {key}, {ONCE} EMIT FINAL"
        )],
        together,
        cycle: Cycle::Queue,
        end: End::Windows { times: 1 },
        view: None,
        columns,
    }
}

/// LaminarDB takes no maximum of rows that change, so totals are final before the largest are sought. They are counted
/// only for the end to be recognised.
fn best_totals(bids: &str) -> Plan {
    let totals = format!(
        "CREATE STREAM totals AS SELECT auction, count(*) AS n, sum(price) AS total \
         FROM {bids} GROUP BY auction, {ONCE} EMIT FINAL"
    );
    let best = "CREATE STREAM answer AS SELECT auction % 1000 AS shard, max(total) AS best, sum(n) AS n \
         FROM totals GROUP BY auction % 1000";
    Plan {
        sources: vec![Source::new(bids, timed(NEVER_LATE))],
        statements: vec![totals, best.into()],
        together: 1,
        cycle: Cycle::Queue,
        end: End::Windows { times: 1 },
        view: None,
        columns: &["shard", "best"],
    }
}

fn changes(bids: &str) -> Plan {
    Plan {
        sources: vec![Source::new(bids, BIDS)],
        statements: vec![format!(
            "CREATE STREAM answer AS SELECT auction, count(*) AS n, max(price) AS best, sum(price) AS total \
             FROM {bids} GROUP BY auction EMIT CHANGES"
        )],
        together: 1,
        cycle: Cycle::Batch,
        end: End::Changes,
        view: None,
        columns: &["auction", "n", "best", "total"],
    }
}

/// All columns come out, so what a cycle gives is as large as what it takes, and has to fit in what a subscriber may be
/// behind: these batches are not large.
fn conversion(bids: &str) -> Plan {
    Plan {
        sources: vec![Source::new(bids, BIDS)],
        statements: vec![format!(
            "CREATE STREAM answer AS SELECT auction, bidder, price * 0.908e0 AS price, channel, date_time FROM {bids}"
        )],
        together: 1,
        cycle: Cycle::Queue,
        end: End::Marker,
        view: None,
        columns: &["auction", "bidder", "price", "channel", "date_time"],
    }
}

fn selection(bids: &str) -> Plan {
    Plan {
        sources: vec![Source::new(bids, BIDS)],
        statements: vec![format!("CREATE STREAM answer AS SELECT auction, price FROM {bids} WHERE auction % 123 = 0")],
        together: LARGE,
        cycle: Cycle::Queue,
        end: End::Marker,
        view: None,
        columns: &["auction", "price"],
    }
}

fn windows(bids: &str, key: &str, window: &str, times: i64, columns: &'static [&'static str]) -> Plan {
    Plan {
        sources: vec![Source::new(bids, timed("'1' SECOND"))],
        statements: vec![format!(
            "CREATE STREAM answer AS SELECT {key}, {window} AS window_start, count(*) AS n \
             FROM {bids} GROUP BY {key}, {window} EMIT ON WINDOW CLOSE"
        )],
        together: 1,
        cycle: Cycle::Queue,
        end: End::Windows { times },
        view: None,
        columns,
    }
}

fn sellers() -> Plan {
    Plan {
        sources: vec![Source::new("person", joined(PERSONS)), Source::new("auction", joined(AUCTIONS))],
        statements: vec![format!(
            "CREATE STREAM answer AS SELECT l.name AS name, l.city AS city, l.state AS state, r.id AS auction \
             FROM person l JOIN auction r ON l.id = r.seller AND {ALWAYS}"
        )],
        together: LARGE,
        cycle: Cycle::Batch,
        end: End::Marker,
        view: None,
        columns: &["name", "city", "state", "auction"],
    }
}

/// The condition comes after the join: LaminarDB joins sources, and no streams that are made of them.
fn bids_of_category(bids: &str) -> Plan {
    Plan {
        sources: vec![Source::new("auction", joined(AUCTIONS)), Source::new(bids, joined(BIDS))],
        statements: vec![format!(
            "CREATE STREAM answer AS SELECT r.auction AS auction, r.bidder AS bidder, r.price AS price, \
             r.channel AS channel, r.date_time AS date_time, l.seller AS seller, l.category AS category, \
             l.initial_bid AS initial_bid \
             FROM auction l JOIN {bids} r ON l.id = r.auction AND {ALWAYS} WHERE l.category = 10"
        )],
        together: LARGE,
        cycle: Cycle::Batch,
        end: End::Marker,
        view: None,
        columns: &["auction", "bidder", "price", "channel", "date_time", "seller", "category", "initial_bid"],
    }
}

fn flights() -> Plan {
    let flown = format!(
        "CREATE STREAM flown AS SELECT r.carrier AS carrier, l.precip AS precip, r.dep_delay AS dep_delay \
         FROM weather l JOIN flights r ON l.origin = r.origin AND l.time_hour = r.time_hour AND {ALWAYS} \
         WHERE r.dep_delay IS NOT NULL"
    );
    let delays = "CREATE MATERIALIZED VIEW delays AS SELECT carrier, precip > 0 AS rain, avg(dep_delay) AS delay, \
         count(*) AS n FROM flown GROUP BY carrier, precip > 0";
    let markers = "CREATE STREAM answer AS SELECT dep_delay AS auction FROM flown WHERE carrier = ''";
    Plan {
        sources: vec![Source::new("weather", joined(WEATHER)), Source::new("flights", joined(FLIGHTS))],
        statements: vec![flown, delays.into(), markers.into()],
        together: LARGE,
        cycle: Cycle::Batch,
        end: End::Marker,
        view: Some("SELECT * FROM delays WHERE carrier <> ''"),
        columns: &["carrier", "rain", "delay", "n"],
    }
}
