//! Why nothing comes out of a query: the nodes to which rows have come, and of which none has gone on.
//!
//! ```text
//! Project      in 0, out 0
//! └─ Join      in 5, out 0        ← no keys have met
//!    ├─ a      in 2, out 2
//!    └─ Filter in 9, out 3
//! ```

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::expr::Expr;
use crate::operators::Waits;
use crate::plan::NodeMetrics;
use crate::plan::depth::deeper;
use crate::plan::explain::{relation_name, title};
use crate::plan::node::{
    Aggregate, AggregateEmit, Closing, Collect, Join, JoinEmit, JoinKind, KeyedJoin, Limit, Node, OrderedEmit, Over,
    Settles, TopN, WindowAggregate, WindowShape, Windows,
};
use crate::types::{Interval, Tick, Timestamp};

/// How a node stands.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What it has done in the time that is asked about.
    pub metrics: NodeMetrics,
    /// What its operator waits for.
    pub waits: Waits,
    /// When it wants to be notified.
    pub due: Option<Timestamp>,
    /// Whether more rows may come to it.
    pub open: bool,
    /// The watermark of each input; nothing for one that has ended.
    pub watermarks: Vec<Option<Timestamp>>,
}

impl Seen {
    /// A node that has done that.
    pub fn of(metrics: NodeMetrics) -> Seen {
        Seen { metrics, ..Seen::default() }
    }
}

/// Why nothing comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No row of this relation has come.
    Unfed(Arc<str>),
    /// A window is open until the watermark of this relation, which is behind the others, gets further.
    Open(String, Arc<str>),
    /// Anything else.
    Said(String),
}

/// Why nothing has come out of `root`, whose nodes stand so, a node before its inputs; nothing if something has.
pub fn why(root: &Node, seen: &[Seen]) -> Vec<Cause> {
    let mut asked = Asked { seen, causes: vec![] };
    asked.ask(root, 0);
    asked.causes
}

/// The relation whose watermark holds back that of `root`, whose nodes stand so.
pub fn behind(root: &Node, seen: &[Seen]) -> Option<Arc<str>> {
    Asked { seen, causes: vec![] }.behind(root, 0)
}

struct Asked<'a> {
    seen: &'a [Seen],
    causes: Vec<Cause>,
}

impl Asked<'_> {
    /// Looks for causes at a node and below it.
    fn ask(&mut self, node: &Node, number: usize) {
        if self.rows_out(number) > 0 {
            return;
        }
        let inputs = numbered(node, number);
        let silent: Vec<&(usize, &Node)> = inputs.iter().filter(|(number, _)| self.rows_out(*number) == 0).collect();
        let has_rows = silent.len() < inputs.len();
        if silent.is_empty() || has_rows && waits_for_end(node) {
            let cause = self.cause(node, number);
            if !self.causes.contains(&cause) {
                self.causes.push(cause);
            }
            return;
        }
        for (number, input) in silent {
            deeper(|| self.ask(input, *number));
        }
    }

    fn rows_out(&self, number: usize) -> u64 {
        self.seen.get(number).map_or(0, |seen| seen.metrics.rows_out)
    }

    /// Why a node says nothing of what has come to it.
    fn cause(&self, node: &Node, number: usize) -> Cause {
        let seen = self.seen.get(number).cloned().unwrap_or_default();
        let came = rows(seen.metrics.rows_in);
        Cause::Said(match node {
            Node::Source(source) => return Cause::Unfed(source.relation.clone()),
            Node::Values(_) => "there are no rows in VALUES".into(),
            Node::Filter(filter) => {
                format!("the filter {} has left out {}", filter.predicate, all(seen.metrics.rows_in))
            }
            _ if seen.metrics.rows_in > 0 && seen.metrics.forgotten.untimed as u64 >= seen.metrics.rows_in => {
                format!("the time of {} is NULL", all(seen.metrics.rows_in))
            }
            Node::WindowAggregate(node) if node.says_late => none_late(seen.metrics.rows_in),
            _ if let Some(time) = closed_by_watermark(node) => return self.windows(node, number, &seen, time),
            Node::Join(join) if let Some(late) = all_late(join, &seen) => late,
            Node::Join(join) if join.within.is_some() && join.waits() && seen.open => {
                let until = "rows without a match wait until the watermark has passed all that they could match";
                return self.held_back(node, number, &seen, &near_time(join), until.into());
            }
            _ if waits_for_end(node) && seen.open => self.end(node, number),
            Node::Unnest(_) => format!("there is nothing in the lists of {}", all(seen.metrics.rows_in)),
            Node::Aggregate(node) => aggregate(node, &seen),
            Node::Join(node) => join(node, &seen),
            Node::KeyedJoin(node) => keyed_join(node, &seen),
            Node::Collect(node) => collect(node, &seen),
            Node::Logic(node) => format!("the state machine {} has answered nothing to {came}", node.name),
            Node::Limit(node) => limit(node, seen.metrics.rows_in),
            Node::TopN(node) => top_n(node, &came),
            Node::WindowAggregate(WindowAggregate { window, .. }) | Node::Windows(Windows { window, .. })
                if window.closing == Closing::Clock =>
            {
                clock(&seen)
            }
            Node::Project(_)
            | Node::Expand(_)
            | Node::Union(_)
            | Node::AsofJoin(_)
            | Node::LookupJoin(_)
            | Node::Sort(_)
            | Node::Over(_)
            | Node::Windows(_)
            | Node::WindowAggregate(_) => format!("{came} have come to {}, which has said nothing", title(node)),
        })
    }

    /// Why windows over a time of that type say nothing.
    fn windows(&self, node: &Node, number: usize, seen: &Seen, time: &DataType) -> Cause {
        let (came, forgotten) = (seen.metrics.rows_in, seen.metrics.forgotten);
        // A row that is in several windows may be late for some of them only.
        let counts = !in_several(node) || seen.waits.open_until.is_none();
        if counts && forgotten.late > 0 && (forgotten.late + forgotten.untimed) as u64 >= came {
            return Cause::Said(late(came, forgotten.late_by, time));
        }
        let end = seen.waits.open_until.map(|end| moment(time, end));
        let until = match (node, end) {
            (Node::AsofJoin(_), Some(time)) => format!("the left rows, from {time} on, wait"),
            (Node::AsofJoin(_), None) => "no right row is near a left one".into(),
            (Node::TopN(TopN { settles: true, .. }), Some(time)) => format!("the first rows, of {time}, wait"),
            (_, Some(end)) if is_session(node) => format!("the session until {end} is open"),
            (_, None) if is_session(node) => "a session is open".into(),
            (_, Some(end)) => format!("the window until {end} is open"),
            (_, None) => "a window is open".into(),
        };
        self.held_back(node, number, seen, time, until)
    }

    /// That a node waits for the watermark to come so far, where that is, and by what it is held back.
    fn held_back(&self, node: &Node, number: usize, seen: &Seen, time: &DataType, until: String) -> Cause {
        let watermark = seen.watermarks.iter().flatten().min().filter(|watermark| **watermark > Timestamp::MIN);
        let at = match (watermark, Tick::of(time)) {
            (Some(watermark), Some(tick)) => format!("the watermark is at {}", moment(time, tick.floor(*watermark))),
            _ => "there is no watermark yet".into(),
        };
        match self.behind(node, number) {
            Some(relation) => Cause::Open(format!("{until}, and {at}"), relation),
            None => Cause::Said(format!("{until}, and {at}")),
        }
    }

    /// The relation whose watermark holds back that of a node.
    fn behind(&self, node: &Node, number: usize) -> Option<Arc<str>> {
        if let Node::Source(source) = node {
            return Some(source.relation.clone());
        }
        let watermarks = &self.seen.get(number)?.watermarks;
        let inputs = numbered(node, number).into_iter().zip(watermarks);
        let open = inputs.filter_map(|(input, watermark)| watermark.map(|watermark| (watermark, input)));
        let (_, (number, input)) = open.min_by_key(|(watermark, _)| *watermark)?;
        deeper(|| self.behind(input, number))
    }

    /// What has to end before a node says anything.
    fn end(&self, node: &Node, number: usize) -> String {
        let mut open = vec![];
        self.open_relations(node, number, &mut open);
        let (relations, are) = (open.join(" and "), if open.len() == 1 { "has" } else { "have" });
        format!("{} speaks when its input ends, and {relations} {are} not been closed", title(node))
    }

    /// The relations below a node that have not ended.
    fn open_relations(&self, node: &Node, number: usize, found: &mut Vec<String>) {
        if let Node::Source(source) = node
            && self.seen.get(number).is_some_and(|seen| seen.open)
        {
            let name = format!("\"{}\"", relation_name(&source.relation));
            if !found.contains(&name) {
                found.push(name);
            }
        }
        for (number, input) in numbered(node, number) {
            deeper(|| self.open_relations(input, number, found));
        }
    }
}

/// The inputs of a node with their numbers, if its own is `number`.
fn numbered(node: &Node, number: usize) -> Vec<(usize, &Node)> {
    let mut next = number + 1;
    let number = |input| {
        let number = next;
        next += size(input);
        (number, input)
    };
    node.inputs().into_iter().map(number).collect()
}

/// How many nodes there are at a node and below it.
fn size(node: &Node) -> usize {
    1 + node.inputs().into_iter().map(|input| deeper(|| size(input))).sum::<usize>()
}

/// Whether a node says nothing before its input ends.
fn waits_for_end(node: &Node) -> bool {
    match node {
        Node::Aggregate(node) => node.emit == AggregateEmit::Final,
        Node::Join(node) => node.at_end,
        Node::KeyedJoin(node) => node.emit == JoinEmit::Final && node.closed_by.is_none(),
        Node::AsofJoin(node) => node.settles == Settles::End,
        Node::LookupJoin(_) => false,
        Node::Sort(_) => true,
        Node::TopN(node) => {
            node.emit == OrderedEmit::Final && !node.by_arrival() && node.closed_by.is_none() && !node.settles
        }
        Node::Over(node) => node.emit == OrderedEmit::Final && node.closed_by.is_none(),
        Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) | Node::Unnest(_) => false,
        Node::Expand(_) | Node::Union(_) | Node::Collect(_) | Node::Logic(_) | Node::Limit(_) => false,
        Node::WindowAggregate(node) => node.emit == AggregateEmit::Final && node.window.closing == Closing::End,
        Node::Windows(Windows { window, .. }) => window.is_session() && window.closing == Closing::End,
    }
}

/// The type of the time of what a node waits for, if that is the watermark.
fn closed_by_watermark(node: &Node) -> Option<&DataType> {
    match node {
        Node::WindowAggregate(WindowAggregate { window, .. }) if window.closing == Closing::Watermark => {
            Some(window.time.data_type())
        }
        Node::Windows(Windows { window, .. }) if window.is_session() && window.closing == Closing::Watermark => {
            Some(window.time.data_type())
        }
        Node::AsofJoin(node) if node.settles == Settles::Watermark => Some(node.times[0].data_type()),
        Node::TopN(node) if node.settles => node.order.first().map(|key| key.expr.data_type()),
        Node::TopN(TopN { partition, closed_by, .. }) | Node::Over(Over { partition, closed_by, .. }) => {
            Some(partition.get((*closed_by)?)?.data_type())
        }
        Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) | Node::Unnest(_) => None,
        Node::KeyedJoin(node) if node.emit == JoinEmit::Final => {
            Some(node.sides.first()?.keys.get(node.closed_by?)?.data_type())
        }
        Node::Expand(_) | Node::Union(_) | Node::Aggregate(_) | Node::Join(_) | Node::KeyedJoin(_) => None,
        Node::Collect(_) | Node::Logic(_) | Node::Sort(_) | Node::Limit(_) => None,
        Node::AsofJoin(_) | Node::LookupJoin(_) | Node::Windows(_) | Node::WindowAggregate(_) => None,
    }
}

fn is_session(node: &Node) -> bool {
    match node {
        Node::WindowAggregate(WindowAggregate { window, .. }) | Node::Windows(Windows { window, .. }) => {
            window.is_session()
        }
        Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) | Node::Unnest(_) => false,
        Node::Expand(_) | Node::Union(_) | Node::Aggregate(_) | Node::Join(_) | Node::KeyedJoin(_) => false,
        Node::AsofJoin(_) | Node::Collect(_) | Node::Logic(_) | Node::Sort(_) | Node::Limit(_) => false,
        Node::TopN(_) | Node::Over(_) | Node::LookupJoin(_) => false,
    }
}

/// Whether a row may be in several windows of a node.
fn in_several(node: &Node) -> bool {
    let Node::WindowAggregate(node) = node else { return false };
    match node.window.shape {
        WindowShape::Hop { .. } | WindowShape::Cumulate { .. } => true,
        WindowShape::Tumble { .. } | WindowShape::Session { .. } | WindowShape::Given { .. } => false,
    }
}

/// A moment of event time of that type.
fn moment(time: &DataType, tick: i64) -> String {
    match Tick::of(time) {
        Some(of) if of.nanos().is_some() => of.time(tick).to_string(),
        Some(_) | None => tick.to_string(),
    }
}

/// That all rows were late, and by how much.
fn late(came: u64, by: Option<(i64, i64)>, time: &DataType) -> String {
    let late = format!("{} {} late", all(came), if came == 1 { "was" } else { "were" });
    let Some((least, most)) = by else { return late };
    let length = |length: i64| match Tick::of(time).and_then(Tick::nanos) {
        Some(_) => Interval::from_nanos(length).to_string(),
        None => length.to_string(),
    };
    match least == most {
        true => format!("{late} by {}", length(most)),
        false => format!("{late} by {} to {}", length(least), length(most)),
    }
}

fn aggregate(node: &Aggregate, seen: &Seen) -> String {
    let came = rows(seen.metrics.rows_in);
    match (node.emit, seen.due) {
        (AggregateEmit::Every(interval) | AggregateEmit::EveryAndFinal(interval), Some(due)) => {
            format!("{came} have come to an aggregate that speaks every {interval}, next when the clock reaches {due}")
        }
        _ => format!("{came} have changed nothing that {} says", title(&Node::Aggregate(node.clone()))),
    }
}

/// The type of the time of a join that goes by the watermark.
fn near_time(node: &Join) -> DataType {
    let schema = node.inputs[0].schema();
    let time = node.within.as_ref().and_then(|within| schema.fields().get(within.times[0].column));
    time.map_or(DataType::Null, |time| time.data_type().clone())
}

/// That all rows of a join that goes by the watermark were late, if they were.
fn all_late(node: &Join, seen: &Seen) -> Option<String> {
    let (came, forgotten) = (seen.metrics.rows_in, seen.metrics.forgotten);
    let all = forgotten.late > 0 && (forgotten.late + forgotten.untimed) as u64 >= came;
    all.then(|| late(came, forgotten.late_by, &near_time(node)))
}

fn join(node: &Join, seen: &Seen) -> String {
    let [left, right] = &node.names;
    let (of_left, of_right) = (unmet(&node.keys[0], seen, 0), unmet(&node.keys[1], seen, 1));
    match node.kind {
        JoinKind::Anti => format!("the rows of {left} all have a match in {right}"),
        _ if seen.waits.met => {
            let rest = node.residual.as_ref().map(|residual| residual.predicate.to_string()).unwrap_or_default();
            let rest = if rest.is_empty() { "have brought nothing".into() } else { format!("do not fulfil {rest}") };
            format!("rows of {left} and {right} with equal keys {rest}")
        }
        _ => format!("no keys of {left} and {right} have met: {left} has {of_left}, {right} has {of_right}"),
    }
}

fn keyed_join(node: &KeyedJoin, seen: &Seen) -> String {
    let (came, forgotten) = (seen.metrics.rows_in, seen.metrics.forgotten);
    let end = node.closed_by.and_then(|part| node.sides.first()?.keys.get(part));
    if let Some(end) = end.filter(|_| came > 0 && forgotten.late as u64 >= came) {
        return late(came, forgotten.late_by, end.data_type());
    }
    let sides = node.sides.iter().enumerate();
    let sides = sides.map(|(at, side)| format!("{} has {}", side.name, unmet(&side.keys, seen, at)));
    let sides = sides.collect::<Vec<_>>().join(", ");
    format!("no key has a row on every side of the join: {sides}")
}

/// A key of a side that has met none, as an example.
fn unmet(keys: &[Expr], seen: &Seen, side: usize) -> String {
    let values = seen.waits.unmet.get(side).map(Vec::as_slice).unwrap_or_default();
    if values.is_empty() {
        return "no key that waits".into();
    }
    let parts = keys.iter().zip(values).map(|(key, value)| format!("{key} = {}", shown(value)));
    parts.collect::<Vec<_>>().join(", ")
}

/// The first value of a column.
fn shown(column: &ArrayRef) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options);
    formatter.map(|formatter| formatter.value(0).to_string()).unwrap_or_default()
}

fn collect(node: &Collect, seen: &Seen) -> String {
    let mut text = format!("{} have come to a COLLECT whose windows are open", rows(seen.metrics.rows_in));
    // Writing to a String cannot fail.
    if let Some(most) = node.max_rows {
        let _ = write!(text, ", none with {most} rows");
    }
    if let Some(due) = seen.due {
        let _ = write!(text, "; the first closes when the clock reaches {due}");
    }
    text
}

/// What a window by the clock waits for.
fn clock(seen: &Seen) -> String {
    match seen.due {
        Some(due) => format!("a window is open until the clock reaches {due}"),
        None => "no window is open".into(),
    }
}

fn limit(node: &Limit, came: u64) -> String {
    match node.fetch {
        Some(fetch) if node.skip == 0 => format!("LIMIT {fetch} lets nothing more through"),
        Some(_) | None => format!("OFFSET {} passes over {}", node.skip, all(came)),
    }
}

fn top_n(node: &TopN, came: &str) -> String {
    format!("{came} came and got no place in {}", title(&Node::TopN(node.clone())))
}

/// All rows that came.
fn all(count: u64) -> String {
    if count == 1 { "the only row that came".into() } else { format!("all {count} rows that came") }
}

fn none_late(came: u64) -> String {
    match came {
        1 => "the only row that came was not late".into(),
        came => format!("none of the {came} rows that came was late"),
    }
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row".into() } else { format!("{count} rows") }
}
