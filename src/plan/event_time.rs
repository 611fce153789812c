//! Which columns carry event time, and which are the bounds of windows.
//!
//! ```text
//! Project: at, price                 event time: at
//!   Filter: price > 0                event time: at
//!     Source: bids(at, price, url)   event time: at, as WATERMARK FOR at AS … declares it
//! ```

use arrow::datatypes::Schema;

use crate::expr::Expr;
use crate::plan::depth::deeper;
use crate::plan::node::{
    AsofJoin, ChangelogMode, Closing, JoinSide, KeyedJoin, LookupJoin, Node, OrderedEmit, Settles, Source,
    UnnestColumn, Window, WindowAggregate,
};

/// What the window functions call the columns of a window.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// The columns of `node`'s result in which no row is expected to be before the watermark.
pub fn event_time(node: &Node) -> Vec<usize> {
    times(node, Closing::Watermark)
}

/// The columns of `node`'s result in which no row is expected to be before the engine's clock: bounds of windows that it
/// closes.
pub(crate) fn clock_time(node: &Node) -> Vec<usize> {
    times(node, Closing::Clock)
}

/// The columns in which no row is expected to be before what closes windows.
fn times(node: &Node, by: Closing) -> Vec<usize> {
    deeper(|| match node {
        Node::Source(node) if by == Closing::Watermark => node.event_time.clone(),
        Node::Filter(node) => times(&node.input, by),
        Node::Limit(node) => times(&node.input, by),
        Node::Project(node) => places(&node.exprs, &times(&node.input, by)),
        Node::Unnest(node) => {
            let times = times(&node.input, by);
            let carries = |column: &UnnestColumn| matches!(column, UnnestColumn::Repeat(at) if times.contains(at));
            (0..node.columns.len()).filter(|column| carries(&node.columns[*column])).collect()
        }
        // A key that is not in a set is NULL, and no earlier than anything.
        Node::Expand(node) => times(&node.input, by),
        Node::Union(node) => common(&node.inputs, by),
        // Rows of a session come out when it closes, long after the watermark has passed them.
        Node::Windows(node) if node.window.is_session() => closed(&node.window, node.input.schema().fields().len(), by),
        Node::Windows(node) => {
            let first = node.input.schema().fields().len();
            times(&node.input, by).into_iter().chain(closed(&node.window, first, by)).collect()
        }
        Node::WindowAggregate(node) if node.says_late => vec![],
        Node::WindowAggregate(node) => closed(&node.window, node.keys.len(), by),
        Node::TopN(node) if node.by_arrival() => times(&node.input, by),
        Node::TopN(node) if node.settles && by == Closing::Watermark => {
            node.order.iter().filter_map(|key| key.expr.column_index()).collect()
        }
        Node::TopN(node) => closing_key(&node.partition, node.closed_by, by),
        Node::Over(node) if node.emit == OrderedEmit::Running => times(&node.input, by),
        Node::Over(node) => closing_key(&node.partition, node.closed_by, by),
        Node::AsofJoin(node) => match (node.settles, by) {
            (Settles::Watermark, Closing::Watermark) if node.nearest.looks_back() => {
                node.times[0].column_index().into_iter().collect()
            }
            (Settles::Watermark | Settles::End | Settles::Never, _) => vec![],
        },
        // A left row is said as it comes. The right side holds nothing back.
        Node::LookupJoin(node) if node.mode() == ChangelogMode::AppendOnly => times(&node.inputs[0], by),
        // The join delays its watermark by as much as either may be before it.
        Node::Join(node) if by == Closing::Watermark => (0..2).filter_map(|side| node.time_place(side)).collect(),
        // What they say of a row does not wait for the watermark, or does not keep to it.
        Node::KeyedJoin(node) if by == Closing::Watermark => side_ends(node),
        Node::Source(_) | Node::Values(_) | Node::Aggregate(_) | Node::Join(_) | Node::KeyedJoin(_) => vec![],
        Node::LookupJoin(_) | Node::Collect(_) | Node::Logic(_) | Node::Sort(_) => vec![],
    })
}

/// The end and the time of windows whose columns begin at `first`, if that closes them.
fn closed(window: &Window, first: usize, by: Closing) -> Vec<usize> {
    if window.closing == by { vec![first + 1, first + 2] } else { vec![] }
}

/// The end of the window that partitions are of. Of other times there may be some long before it.
fn closing_key(partition: &[Expr], closed_by: Option<usize>, by: Closing) -> Vec<usize> {
    let end =
        closed_by.filter(|_| by == Closing::Watermark).and_then(|key| partition.get(key)).and_then(Expr::column_index);
    end.into_iter().collect()
}

/// Which key of a partition of `input`'s rows is the end of a window that the watermark closes.
pub(crate) fn closed_by(partition: &[Expr], input: &Node) -> Option<usize> {
    closing_keys(partition, input).first().copied()
}

/// Which part of the key of a join is the end of a window that the watermark closes, on every side.
pub(crate) fn sides_closed_by(sides: &[JoinSide]) -> Option<usize> {
    let (first, others) = sides.split_first()?;
    let on_all = |part: &usize| others.iter().all(|side| closing_keys(&side.keys, &side.input).contains(part));
    closing_keys(&first.keys, &first.input).into_iter().find(on_all)
}

fn closing_keys(keys: &[Expr], input: &Node) -> Vec<usize> {
    let (times, bounds) = (event_time(input), window_bounds(input));
    let closes = |column: usize| times.contains(&column) && bounds.iter().any(|bounds| bounds.end == column);
    (0..keys.len()).filter(|key| keys[*key].column_index().is_some_and(closes)).collect()
}

/// The ends of the windows that close the keys of a join: what it says of a window comes before that is closed.
fn side_ends(node: &KeyedJoin) -> Vec<usize> {
    let Some(part) = node.closed_by else { return vec![] };
    let (mut ends, mut before) = (vec![], 0);
    for side in &node.sides {
        let end = side.keys.get(part).and_then(Expr::column_index);
        let place = side.columns.iter().position(|column| Some(*column) == end);
        ends.extend(place.map(|place| before + place));
        before += side.columns.len();
    }
    ends
}

/// Where those columns stand among `exprs`.
fn places(exprs: &[Expr], columns: &[usize]) -> Vec<usize> {
    // That of one side or the other, as behind FULL JOIN … USING, is no earlier than either.
    let is_one = |expr: &Expr| {
        let choices = expr.choices();
        !choices.is_empty() && choices.iter().all(|column| columns.contains(column))
    };
    (0..exprs.len()).filter(|place| is_one(&exprs[*place])).collect()
}

/// What carries event time in every input. Rows that are written in the statement are over before it begins.
fn common(inputs: &[Node], by: Closing) -> Vec<usize> {
    let mut inputs = inputs.iter().filter(|input| !matches!(input, Node::Values(_))).map(|input| times(input, by));
    let first = inputs.next().unwrap_or_default();
    inputs.fold(first, |common: Vec<usize>, times| common.into_iter().filter(|time| times.contains(time)).collect())
}

/// Two columns that are the start and the end of the same window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub start: usize,
    pub end: usize,
}

/// The columns of `node`'s result that are the bounds of windows.
pub(crate) fn window_bounds(node: &Node) -> Vec<Bounds> {
    let first = |first: usize| Bounds { start: first, end: first + 1 };
    deeper(|| match node {
        Node::Source(node) => named_bounds(node),
        Node::Project(node) => projected(&window_bounds(&node.input), &node.exprs),
        Node::Filter(_) | Node::Limit(_) | Node::Sort(_) | Node::TopN(_) | Node::Over(_) | Node::Expand(_) => {
            node.inputs().first().map(|input| window_bounds(input)).unwrap_or_default()
        }
        Node::Unnest(node) => moved(&window_bounds(&node.input), &|bound| {
            node.columns.iter().position(|column| *column == UnnestColumn::Repeat(bound))
        }),
        Node::Union(node) => {
            let mut inputs = node.inputs.iter().map(window_bounds);
            let first = inputs.next().unwrap_or_default();
            inputs.fold(first, |common, bounds| common.into_iter().filter(|bound| bounds.contains(bound)).collect())
        }
        Node::Join(node) => {
            let side = |side: usize| {
                let before = if side == 0 { 0 } else { node.columns[0].len() };
                let place = |bound: usize| node.columns[side].iter().position(|column| *column == bound);
                moved(&window_bounds(&node.inputs[side]), &|bound| place(bound).map(|place| before + place))
            };
            [side(0), side(1)].concat()
        }
        Node::AsofJoin(AsofJoin { inputs, .. }) | Node::LookupJoin(LookupJoin { inputs, .. }) => {
            let width = inputs[0].schema().fields().len();
            let right = moved(&window_bounds(&inputs[1]), &|bound| Some(width + bound));
            [window_bounds(&inputs[0]), right].concat()
        }
        Node::KeyedJoin(node) => {
            let mut before = 0;
            let mut bounds = vec![];
            for side in &node.sides {
                let place = |bound: usize| side.columns.iter().position(|column| *column == bound);
                bounds.extend(moved(&window_bounds(&side.input), &|bound| place(bound).map(|place| before + place)));
                before += side.columns.len();
            }
            bounds
        }
        Node::Aggregate(node) => projected(&window_bounds(&node.input), &node.keys),
        Node::Collect(node) => projected(&window_bounds(&node.input), &node.keys),
        Node::Windows(node) => {
            let mut bounds = window_bounds(&node.input);
            bounds.push(first(node.input.schema().fields().len()));
            bounds
        }
        Node::WindowAggregate(WindowAggregate { says_late: true, input, .. }) => {
            let mut bounds = window_bounds(input);
            bounds.push(first(input.schema().fields().len()));
            bounds
        }
        Node::WindowAggregate(node) => {
            let mut bounds = projected(&window_bounds(&node.input), &node.keys);
            bounds.push(first(node.keys.len()));
            bounds
        }
        Node::Values(_) | Node::Logic(_) => vec![],
    })
}

/// The bounds of the windows of a shared stream: its columns of those names, if the end carries event time.
fn named_bounds(source: &Source) -> Vec<Bounds> {
    let [start, end, _] = WINDOW_COLUMNS.map(|name| source.schema.index_of(name).ok());
    let bounds = start.zip(end).map(|(start, end)| Bounds { start, end });
    bounds.into_iter().filter(|bounds| source.event_time.contains(&bounds.end)).collect()
}

/// The bounds among `exprs`: of the same windows, or of those of one side or the other in both.
fn projected(bounds: &[Bounds], exprs: &[Expr]) -> Vec<Bounds> {
    let choices: Vec<Vec<usize>> = exprs.iter().map(Expr::choices).collect();
    let starts = |choices: &Vec<usize>| {
        let start = |end: &usize| bounds.iter().find(|bounds| bounds.end == *end).map(|bounds| bounds.start);
        choices.iter().map(start).collect::<Option<Vec<usize>>>().filter(|starts| !starts.is_empty())
    };
    let ends = choices.iter().enumerate().filter_map(|(end, choices)| Some((end, starts(choices)?)));
    let both = |(end, starts): (usize, Vec<usize>)| {
        let start = choices.iter().position(|choices| *choices == starts)?;
        Some(Bounds { start, end })
    };
    ends.filter_map(both).collect()
}

/// The bounds whose columns both have a place.
fn moved(bounds: &[Bounds], place: &dyn Fn(usize) -> Option<usize>) -> Vec<Bounds> {
    let moved = |bounds: &Bounds| Some(Bounds { start: place(bounds.start)?, end: place(bounds.end)? });
    bounds.iter().filter_map(moved).collect()
}

/// The columns of event time by name, for EXPLAIN.
pub(super) fn names(node: &Node) -> Vec<String> {
    let schema: &Schema = &node.schema();
    event_time(node).into_iter().map(|column| schema.field(column).name().clone()).collect()
}
