//! `count(*)` a key in windows. The rows come in order of time, which these loops rely on where riverrun may not.

use std::collections::BTreeMap;

use super::{Map, Result, Sink, array_of, numbers};
use crate::bench::input::Input;

const SIZE: i64 = 10_000;
const SLIDE: i64 = 2_000;
/// How far the watermark is behind.
const DELAY: i64 = 1_000;

/// The counts of the keys between two times, by their beginning.
type Panes = BTreeMap<i64, Map<i64, i64>>;

/// J: one table for each window.
pub fn tumbling_counts(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut panes = Panes::new();
    for push in &input.pushes {
        let times = numbers(&push.rows, "date_time")?;
        count(&mut panes, numbers(&push.rows, "auction")?, times, SIZE);
        let closed = times.last().map_or(i64::MIN, |last| last - DELAY - SIZE);
        while let Some(pane) = panes.first_entry().filter(|pane| *pane.key() <= closed) {
            let (start, counts) = pane.remove_entry();
            say(start, &counts, sink)?;
        }
    }
    panes.iter().try_for_each(|(start, counts)| say(*start, counts, sink))
}

/// J: one table for each slide, and five of them added where a window closes.
pub fn hopping_counts(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut panes = Panes::new();
    let mut next = None;
    for push in &input.pushes {
        let times = numbers(&push.rows, "date_time")?;
        count(&mut panes, numbers(&push.rows, "auction")?, times, SLIDE);
        let first = panes.keys().next().copied().unwrap_or(0);
        let next = next.get_or_insert(first + SLIDE - SIZE);
        let closed = times.last().map_or(i64::MIN, |last| last - DELAY - SIZE);
        while *next <= closed {
            close(&mut panes, *next, sink)?;
            *next += SLIDE;
        }
    }
    let (Some(mut start), Some(last)) = (next, panes.keys().next_back().copied()) else { return Ok(()) };
    while start <= last {
        close(&mut panes, start, sink)?;
        start += SLIDE;
    }
    Ok(())
}

/// J: a session is told when the next of its key begins, or at the end.
pub fn sessions(input: &Input, sink: &mut Sink<'_>) -> Result<()> {
    let mut open: Map<i64, (i64, i64, i64)> = Map::default();
    for push in &input.pushes {
        let (mut keys, mut starts, mut counts) = (vec![], vec![], vec![]);
        for (key, at) in numbers(&push.rows, "bidder")?.iter().zip(numbers(&push.rows, "date_time")?) {
            let session = open.entry(*key).or_insert((*at, *at, 0));
            if at - session.1 > SIZE {
                keys.push(*key);
                starts.push(session.0);
                counts.push(session.2);
                *session = (*at, *at, 0);
            }
            session.1 = *at;
            session.2 += 1;
        }
        sink(vec![array_of(keys), array_of(starts), array_of(counts)])?;
    }
    let keys = open.keys().copied().collect();
    let starts = open.values().map(|session| session.0).collect();
    let counts = open.values().map(|session| session.2).collect();
    sink(vec![array_of(keys), array_of(starts), array_of(counts)])
}

/// Adds rows to the tables they belong to. Rows that follow each other most often share one.
fn count(panes: &mut Panes, keys: &[i64], times: &[i64], size: i64) {
    let mut row = 0;
    while let Some(at) = times.get(row) {
        let start = at - at.rem_euclid(size);
        let pane = panes.entry(start).or_default();
        while let (Some(key), Some(at)) = (keys.get(row), times.get(row)) {
            if *at < start || *at >= start + size {
                break;
            }
            *pane.entry(*key).or_insert(0) += 1;
            row += 1;
        }
    }
}

/// Tells the window that begins at `start`, and drops what no later one needs.
fn close(panes: &mut Panes, start: i64, sink: &mut Sink<'_>) -> Result<()> {
    let mut sum: Map<i64, i64> = Map::default();
    for counts in panes.range(start..start + SIZE).map(|(_, counts)| counts) {
        counts.iter().for_each(|(key, n)| *sum.entry(*key).or_insert(0) += n);
    }
    panes.remove(&start);
    say(start, &sum, sink)
}

fn say(start: i64, counts: &Map<i64, i64>, sink: &mut Sink<'_>) -> Result<()> {
    let keys = counts.keys().copied().collect();
    sink(vec![array_of(keys), array_of(vec![start; counts.len()]), array_of(counts.values().copied().collect())])
}
