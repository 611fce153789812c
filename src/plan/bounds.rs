//! How each node's state is bounded.

use std::fmt;

use crate::error::{Code, StatementError};
use crate::expr::{AggregateCall, RunningCall, WindowCall};
use crate::operators::aggregate::keeps_values;
use crate::plan::changelog::mode;
use crate::plan::event_time::event_time;
use crate::plan::keys::upsert_key;
use crate::plan::node::{
    Aggregate, AsofJoin, Bounded, ChangelogMode, Closing, Join, JoinEmit, JoinKeep, KeyedJoin, LookupJoin, Node,
    OrderedEmit, Over, Rank, Settles, Sort, TopN, Window, WindowAggregate, Windows, Within,
};
use crate::types::Interval;

/// What bounds a node's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// It keeps nothing that grows.
    None,
    /// It keeps a fixed amount for each of these keys.
    Keys(String),
    /// It keeps the rows of this input, which ends by itself.
    Side(String),
    /// It keeps the first so many rows.
    Rows(usize),
    /// It keeps so many rows for each of these keys.
    RowsOfKeys(String, usize),
    /// It keeps each row for so long after it came.
    Ttl(Interval),
    /// It keeps rows until their window closes by size or time.
    Window,
    /// It keeps rows until the watermark has passed them, and one for each of these keys.
    PassedOfKeys(String),
    /// It keeps rows until the watermark has passed all those that are so close to them in time.
    Within(String),
    /// It keeps all its rows until its input, which ends by itself, has ended.
    Input,
    /// It keeps what grows with the rows of an input that need not end.
    Unbounded(&'static str),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::None => f.write_str("no state"),
            Bound::Keys(keys) => write!(f, "state bounded by keys ({keys})"),
            Bound::Side(name) => write!(f, "state bounded by {name}, which ends"),
            Bound::Rows(rows) => write!(f, "state bounded by LIMIT ({rows} rows)"),
            Bound::RowsOfKeys(keys, 1) => write!(f, "state bounded by keys ({keys}), 1 row each"),
            Bound::RowsOfKeys(keys, rows) => write!(f, "state bounded by keys ({keys}), {rows} rows each"),
            Bound::Ttl(ttl) => write!(f, "state bounded by state_ttl ({ttl})"),
            Bound::PassedOfKeys(keys) => write!(f, "state bounded by the watermark and keys ({keys}), 1 row each"),
            Bound::Within(times) => write!(f, "state bounded by the watermark ({times})"),
            Bound::Window => f.write_str("state bounded by open windows"),
            Bound::Input => f.write_str("state bounded by the input, which ends"),
            Bound::Unbounded(hint) => write!(f, "state not bounded: {hint}"),
        }
    }
}

/// What bounds the state of `node` itself, not of its inputs.
pub fn bound(node: &Node) -> Bound {
    match node {
        Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) => Bound::None,
        Node::Unnest(_) | Node::Expand(_) | Node::Union(_) | Node::Limit(_) => Bound::None,
        Node::Aggregate(node) if keeps_what_may_go(node) => there(
            &node.input,
            "of rows that may go an aggregate keeps every value, and these rows have no key that bounds them",
        ),
        Node::Aggregate(node) if node.aggregates.iter().any(grows) => {
            rows_kept(&node.input, "an aggregate keeps every value of its group; a COLLECT bounds it by windows")
        }
        Node::Aggregate(node) => keys(&node.keys, "one group"),
        Node::Join(node) if let Some(within) = &node.within => near(node, within),
        Node::Join(node) if node.inputs.iter().all(|input| ends(input)) => Bound::Input,
        Node::Join(Join { ttl: [Some(left), Some(right)], .. }) => Bound::Ttl(*left.max(right)),
        Node::Join(node) => sides(node),
        Node::KeyedJoin(KeyedJoin { closed_by: Some(_), .. }) => Bound::Window,
        Node::KeyedJoin(node) => match (node.keep, node.sides.first()) {
            (JoinKeep::First | JoinKeep::Last, Some(side)) => keys(&side.keys, "one key"),
            _ if node.sides.iter().all(|side| ends(&side.input)) => Bound::Input,
            (JoinKeep::First | JoinKeep::Last | JoinKeep::Product, _) => Bound::Unbounded(match node.emit {
                JoinEmit::Complete => {
                    "KEEP PRODUCT keeps every row until its key is complete; KEEP FIRST or LAST bounds it by keys"
                }
                JoinEmit::Running | JoinEmit::Final => {
                    "KEEP PRODUCT keeps every row; KEEP FIRST or LAST bounds it by keys"
                }
            }),
        },
        Node::AsofJoin(node) => nearest(node),
        Node::LookupJoin(node) => looked_up(node),
        Node::Collect(_) => Bound::Window,
        Node::Logic(node) => keys(&node.keys, "one instance"),
        // Of a changelog every row is kept: one of the first may be taken back, and let a later one in.
        Node::Sort(Sort { fetch: Some(rows), input, .. }) if mode(input) == ChangelogMode::AppendOnly => {
            Bound::Rows(*rows)
        }
        Node::TopN(TopN { closed_by: Some(_), .. }) | Node::Over(Over { closed_by: Some(_), .. }) => Bound::Window,
        Node::TopN(node) => first_rows(node),
        Node::Over(node) => looked_at(node),
        Node::Windows(Windows { window, .. }) if !window.is_session() => Bound::None,
        Node::Windows(Windows { window, input, .. }) | Node::WindowAggregate(WindowAggregate { window, input, .. }) => {
            open_windows(window, input)
        }
        Node::Sort(node) => {
            rows_kept(&node.input, "ORDER BY keeps every row; a LIMIT over rows that are only added bounds it")
        }
    }
}

fn nearest(node: &AsofJoin) -> Bound {
    match node.settles {
        _ if node.inputs.iter().all(|input| ends(input)) => Bound::Input,
        Settles::Watermark if node.nearest.looks_back() => match keys(&node.keys[1], "one key") {
            Bound::Keys(keys) => Bound::PassedOfKeys(keys),
            other => other,
        },
        Settles::Watermark => {
            Bound::Unbounded("looking ahead, left rows wait until a right row comes; >= and > keep one right row a key")
        }
        Settles::End | Settles::Never => Bound::Unbounded(
            "an ASOF join keeps every row of both sides; event time of both, which WATERMARK FOR … AS … declares, bounds it",
        ),
    }
}

/// The right side is kept, and of a left side that changes what was said of its rows.
fn looked_up(node: &LookupJoin) -> Bound {
    let sides = match node.mode() {
        ChangelogMode::AppendOnly => 1..2,
        ChangelogMode::Changelog => 0..2,
    };
    if sides.clone().all(|side| ends(&node.inputs[side])) {
        return if sides.len() == 1 { Bound::Side(node.names[1].to_string()) } else { Bound::Input };
    }
    let key = |side: usize| key_names_of(&node.inputs[side], &node.names[side]);
    match sides.map(key).collect::<Option<Vec<_>>>() {
        Some(names) => keys(&names.concat(), "one row"),
        None => Bound::Unbounded(
            "a lookup keeps every row that may be looked up, and what it said of left rows that may go; primary keys bound them",
        ),
    }
}

fn first_rows(node: &TopN) -> Bound {
    let rows = node.skip.saturating_add(node.fetch);
    match node.rank {
        _ if node.by_arrival() => keys(&node.partition, "one number"),
        _ if node.input_mode == ChangelogMode::Changelog => there(
            &node.input,
            "of rows that may be taken back all are kept: one of the first may go, and let a later one in",
        ),
        Rank::RowNumber if rows == usize::MAX => rows_kept(&node.input, "OFFSET keeps every row; a LIMIT bounds it"),
        Rank::RowNumber if node.partition.is_empty() => Bound::Rows(rows),
        Rank::RowNumber => Bound::RowsOfKeys(names(&node.partition), rows),
        Rank::Rank | Rank::DenseRank => rows_kept(
            &node.input,
            "rank() keeps all rows that are equal to the last one; row_number() bounds it by keys",
        ),
    }
}

fn open_windows(window: &Window, input: &Node) -> Bound {
    match window.closing {
        Closing::Watermark | Closing::Clock => Bound::Window,
        Closing::End => rows_kept(
            input,
            "nothing closes these windows before the end: their time is not the event time of the input; \
             WATERMARK FOR … AS … declares it",
        ),
    }
}

fn looked_at(node: &Over) -> Bound {
    let reach = |call: &WindowCall| match &call.running {
        Some(RunningCall::Total(total)) if grows(total) => None,
        Some(RunningCall::Total(_)) => Some(0),
        Some(RunningCall::Recent(usize::MAX, _)) | None => None,
        Some(RunningCall::Recent(rows, _)) => Some(*rows),
    };
    let reaches = node.calls.iter().map(reach).collect::<Option<Vec<_>>>();
    match reaches.and_then(|reaches| reaches.into_iter().max()).filter(|_| node.emit == OrderedEmit::Running) {
        Some(0) => keys(&node.partition, "one row"),
        Some(rows) if node.partition.is_empty() => Bound::RowsOfKeys("one partition".into(), rows),
        Some(rows) => Bound::RowsOfKeys(names(&node.partition), rows),
        None => rows_kept(
            &node.input,
            "OVER keeps every row; without ORDER BY and with ROWS BETWEEN n PRECEDING AND CURRENT ROW it keeps n for each key",
        ),
    }
}

/// The bound of a join of which not both sides end and not both forget.
fn sides(node: &Join) -> Bound {
    if let Some(side) = passing_side(node) {
        return Bound::Side(node.names[1 - side].to_string());
    }
    let key = |side: usize| key_names_of(&node.inputs[side], &node.names[side]);
    let timed = node.inputs.iter().all(|input| !event_time(input).is_empty());
    match key(0).zip(key(1)) {
        Some((left, right)) => keys(&[left, right].concat(), "one row"),
        None if timed && node.input_modes == [ChangelogMode::AppendOnly; 2] => Bound::Unbounded(
            "a join keeps every row of both sides; a condition such as b.at BETWEEN a.at AND a.at + INTERVAL '1 hour' \
             on their event times bounds it, and so does SET state_ttl",
        ),
        None => Bound::Unbounded(
            "a join keeps every row of both sides; KEEP FIRST or LAST bounds it by keys, SET state_ttl by time",
        ),
    }
}

/// The bound of a join whose times are within something of each other.
fn near(node: &Join, within: &Within) -> Bound {
    let name = |side: usize| {
        let schema = node.inputs[side].schema();
        format!("{}.{}", node.names[side], schema.field(within.times[side].column).name())
    };
    let (left, right) = (name(0), name(1));
    Bound::Within(match (within.lower, within.upper) {
        (0, 0) => format!("{left} = {right}"),
        (lower, upper) => {
            let (lower, upper) = (length(within, lower, -1), length(within, upper, 1));
            format!("{right} - {left} from {lower} to {upper}")
        }
    })
}

/// A length of so many ticks, or by the tick that is next to it, if that is the rounder one: `<` has left it out.
fn length(within: &Within, ticks: i64, step: i64) -> String {
    let Some(nanos) = within.tick.nanos() else { return ticks.to_string() };
    let shown = |ticks: i64| Interval::from_nanos(ticks.saturating_mul(nanos)).to_string();
    let (within, without) = (shown(ticks), shown(ticks.saturating_add(step)));
    if without.len() < within.len() { format!("just within {without}") } else { within }
}

/// The side whose rows a join lets go once the other one has ended, if that one ends by itself; of both the right one.
///
/// It finds their matches when they come, and nobody asks for them later.
pub(super) fn passing_side(node: &Join) -> Option<usize> {
    let counts = |side: usize| node.kind.alone(side) || (side == 0 && !node.kind.pairs());
    let passes = |side: &usize| {
        let waits = node.kind.alone(*side) && node.waits();
        ends(&node.inputs[1 - side]) && !counts(1 - side) && !waits && node.ttl.iter().all(Option::is_none)
    };
    (0..2).rev().find(passes)
}

/// What bounds that all rows are kept that are there.
fn there(input: &Node, hint: &'static str) -> Bound {
    match key_names(input) {
        _ if ends(input) => Bound::Input,
        Some(names) => keys(&names, "one row"),
        None => Bound::Unbounded(hint),
    }
}

/// The keys of which there are as many as rows, whether they are passed on or not, unless new ones come with time.
fn key_names(node: &Node) -> Option<Vec<String>> {
    match node {
        Node::Filter(node) => key_names(&node.input),
        Node::Project(node) => key_names(&node.input),
        node if has_windows(node) => None,
        node => {
            let schema = node.schema();
            Some(upsert_key(node)?.into_iter().map(|column| schema.field(column).name().clone()).collect())
        }
    }
}

/// The same under the name of a side of a join.
fn key_names_of(node: &Node, side: &str) -> Option<Vec<String>> {
    Some(key_names(node)?.into_iter().map(|name| format!("{side}.{name}")).collect())
}

fn has_windows(node: &Node) -> bool {
    matches!(node, Node::Windows(_) | Node::WindowAggregate(_)) || node.inputs().into_iter().any(has_windows)
}

/// Whether an aggregate keeps the values of its groups because rows may go.
fn keeps_what_may_go(node: &Aggregate) -> bool {
    let keeps = |call: &AggregateCall| keeps_values(call).unwrap_or(false);
    node.input_mode == ChangelogMode::Changelog && node.aggregates.iter().any(keeps)
}

fn rows_kept(input: &Node, hint: &'static str) -> Bound {
    match ends(input) {
        true => Bound::Input,
        false => Bound::Unbounded(hint),
    }
}

/// Whether what an aggregate keeps for a group grows with the group's rows.
pub(super) fn grows(call: &AggregateCall) -> bool {
    let function = call.function.as_ref();
    let repeats_matter = !matches!(function, "min" | "max" | "bool_and" | "bool_or");
    (call.distinct && repeats_matter)
        || matches!(function, "array_agg" | "string_agg" | "median" | "percentile_cont" | "nth_value")
}

fn keys<T: fmt::Display>(keys: &[T], none: &str) -> Bound {
    match keys {
        [] => Bound::Keys(none.into()),
        keys => Bound::Keys(names(keys)),
    }
}

fn names<T: fmt::Display>(keys: &[T]) -> String {
    keys.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether everything below ends by itself.
pub(super) fn ends(node: &Node) -> bool {
    match node {
        Node::Source(source) => source.bounded == Bounded::Yes,
        Node::LookupJoin(lookup) => ends(&lookup.inputs[0]),
        other => other.inputs().into_iter().all(ends),
    }
}

/// The first node whose state is not bounded, and the error that says so.
pub(super) fn unbounded(node: &Node) -> Option<(&Node, StatementError)> {
    if let Bound::Unbounded(hint) = bound(node) {
        let name = super::explain::title(node);
        let error = StatementError::new(Code::UnboundedState, format!("the state of {name} is not bounded"));
        return Some((node, error.hint(format!("SET require_bounded_state = false allows it; {hint}."))));
    }
    node.inputs().into_iter().find_map(unbounded)
}
