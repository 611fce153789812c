//! Sessions, one row after the other, as a program that a person can check.

use crate::data::Value;
use crate::windows::Placed;

/// All sessions there ever were.
pub struct Sessions {
    gap: i64,
    lateness: i64,
    all: Vec<Session>,
}

struct Session {
    key: Value,
    start: i64,
    end: i64,
    rows: Vec<usize>,
}

impl Sessions {
    pub fn new(gap: i64, lateness: i64) -> Sessions {
        Sessions { gap, lateness, all: vec![] }
    }

    /// The bounds of the session that the row of that number is in from now on; nothing if it is late.
    ///
    /// It is late if the session that it would make by itself is gone, unless it is within one that is not; and if it is
    /// in one that is gone. Else it makes one of itself and of all that it touches.
    pub fn take(&mut self, id: usize, key: &Value, at: i64, watermark: i64) -> Option<(i64, i64)> {
        let gone = |end: i64| watermark >= end + self.lateness;
        let (start, end) = (at, at + self.gap);
        let ours = || self.all.iter().filter(|session| session.key == *key);
        let within = ours().any(|session| !gone(session.end) && session.start <= at && at <= session.end);
        if gone(end) && !within || ours().any(|session| gone(session.end) && session.start <= at && at < session.end) {
            return None;
        }
        let touches = |session: &mut Session| {
            session.key == *key && !gone(session.end) && session.start <= end && start <= session.end
        };
        let mut one = Session { key: key.clone(), start, end, rows: vec![id] };
        for other in self.all.extract_if(.., touches) {
            (one.start, one.end) = (one.start.min(other.start), one.end.max(other.end));
            one.rows.extend(other.rows);
        }
        let bounds = (one.start, one.end);
        self.all.push(one);
        Some(bounds)
    }

    /// The rows in their sessions.
    pub fn placed(&self) -> Vec<Placed> {
        let rows = |session: &Session| {
            let (start, end) = (session.start, session.end);
            session.rows.iter().map(|id| (*id, start, end)).collect::<Vec<_>>()
        };
        let mut placed: Vec<Placed> = self.all.iter().flat_map(rows).collect();
        placed.sort_unstable();
        placed
    }
}
