//! A state machine of our own: sessions that end when a user logs out, or has been silent for 30 seconds.

use std::sync::Arc;

use riverrun::arrow::datatypes::{DataType, Field, Schema};
use riverrun::logic::{Answer, Keep, StatefulLogic, per_row};
use riverrun::{Engine, Error, Interval, Row, Timestamp, Value};

const SILENCE: Interval = Interval::from_millis(30_000);

/// One session of one user.
struct Session {
    user: String,
    clicks: i64,
    last: Timestamp,
}

impl Session {
    fn end(&self, why: &str) -> Answer {
        (vec![vec![self.user.as_str().into(), self.clicks.into(), why.into()]], Keep::Discard)
    }
}

impl StatefulLogic for Session {
    fn on_item(&mut self, row: Row<'_>, now: Timestamp) -> Result<Answer, Error> {
        self.last = now;
        if row.get::<String>("action")? == "logout" {
            return Ok(self.end("logout"));
        }
        self.clicks += 1;
        Ok((vec![], Keep::Retain))
    }

    fn on_notify(&mut self, _: Timestamp) -> Result<Answer, Error> {
        Ok(self.end("silence"))
    }

    fn on_eof(&mut self) -> Result<Answer, Error> {
        Ok(self.end("end"))
    }

    fn notify_at(&self) -> Option<Timestamp> {
        Some(self.last + SILENCE)
    }

    fn snapshot(&self) -> Result<Vec<u8>, Error> {
        Ok([self.clicks.to_le_bytes(), self.last.nanos().to_le_bytes()].concat())
    }
}

/// A new session, or one that goes on from a snapshot.
fn session(key: Row<'_>, snapshot: Option<&[u8]>) -> Result<Session, Error> {
    let number = |at: usize| {
        let bytes = snapshot.and_then(|bytes| bytes.get(at..at + 8)).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, i64::from_le_bytes)
    };
    Ok(Session { user: key.get(0)?, clicks: number(0), last: Timestamp::from_nanos(number(8)) })
}

fn main() -> Result<(), Error> {
    let engine = Engine::new();
    let output = Arc::new(Schema::new(vec![
        Field::new("user_id", DataType::Utf8, true),
        Field::new("clicks", DataType::Int64, true),
        Field::new("ended_by", DataType::Utf8, true),
    ]));
    engine.register_logic("session_tracker", per_row(output, session));
    engine.execute("SET clock = 'manual'; CREATE STREAM events (user_id VARCHAR, action VARCHAR)")?;
    let mut sessions = engine.query("SELECT * FROM session_tracker(TABLE events PARTITION BY user_id)")?;

    let mut events = engine.appender("events")?;
    let rows: [[Value; 2]; 5] = [
        ["ada".into(), "click".into()],
        ["bob".into(), "click".into()],
        ["ada".into(), "click".into()],
        ["ada".into(), "logout".into()],
        ["eve".into(), "click".into()],
    ];
    for row in rows {
        engine.execute("ADVANCE CLOCK BY INTERVAL '10 seconds'")?;
        events.append_row(row.to_vec())?;
    }
    // A restart in the middle changes nothing.
    engine.execute("CHECKPOINT; RESTART; ADVANCE CLOCK BY INTERVAL '20 seconds'; CLOSE STREAM events")?;
    for session in sessions.rows::<(String, i64, String)>() {
        let (user, clicks, why) = session?;
        println!("{user}: {clicks} clicks, ended by {why}");
    }
    Ok(())
}
