//! The plan as a tree of text.

use std::fmt::Write;

use arrow::datatypes::DataType;

use crate::expr::SortKey;
use crate::operators::aggregate::keeps_values;
use crate::plan::bounds::{bound, passing_side};
use crate::plan::changelog::mode;
use crate::plan::event_time;
use crate::plan::node::{
    AggregateEmit, AsofJoin, Bounded, ChangelogMode, Closing, GroupingSet, Join, JoinEmit, JoinKeep, JoinKind,
    KeyedJoin, LookupJoin, Nearest, Node, NullKeys, OrderedEmit, Over, Rank, Reads, Settles, Source, TopN, Window,
    WindowAggregate, WindowShape,
};
use crate::plan::{DEAD_LETTERS_PREFIX, NodeMetrics, Plan, Shared, upsert_key};
use crate::types::{Interval, Tick};

/// The plan as a tree of text, a line a node; metrics are by node, a node before its inputs.
pub(super) fn explain(plan: &Plan, metrics: Option<&[NodeMetrics]>) -> String {
    let mut tree = Tree { text: String::new(), shared: &plan.shared, metrics, next: 0 };
    tree.draw(&plan.root, "", "");
    tree.text.trim_end().to_string()
}

struct Tree<'a> {
    text: String,
    shared: &'a [Shared],
    metrics: Option<&'a [NodeMetrics]>,
    next: usize,
}

impl Tree<'_> {
    fn draw(&mut self, node: &Node, first: &str, rest: &str) {
        let number = self.next;
        if let Some(again) = self.shared.iter().find(|shared| shared.again == number) {
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "{first}{}  [as above, computed once]", title(node));
            self.next += again.nodes;
            return;
        }
        let metrics = self.metrics.and_then(|metrics| metrics.get(number)).copied();
        self.next += 1;
        let mut notes = vec![mode_name(mode(node)).to_string()];
        notes.extend(key_note(node).filter(|_| number == 0));
        notes.extend(event_time_note(node));
        notes.extend(state_note(node));
        notes.extend(retraction_note(node));
        notes.extend(side_note(node));
        notes.extend(self.readers_note(number));
        notes.extend(metrics.map(metrics_note));
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{first}{}  [{}]", title(node), notes.join("; "));
        let inputs = node.inputs();
        let last = inputs.len().saturating_sub(1);
        for (nth, input) in inputs.into_iter().enumerate() {
            let (branch, below) = if nth == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.draw(input, &format!("{rest}{branch}"), &format!("{rest}{below}"));
        }
    }

    /// How many nodes read a subtree that is computed once for all of them.
    fn readers_note(&self, number: usize) -> Option<String> {
        let more = self.shared.iter().filter(|shared| shared.first == number).count();
        (more > 0).then(|| format!("read {} times", more + 1))
    }
}

fn mode_name(mode: ChangelogMode) -> &'static str {
    match mode {
        ChangelogMode::AppendOnly => "append-only",
        ChangelogMode::Changelog => "changelog",
    }
}

/// By which columns the rows of a changelog take one another's place, if that is known.
fn key_note(node: &Node) -> Option<String> {
    let key = upsert_key(node).filter(|_| mode(node) == ChangelogMode::Changelog)?;
    let schema = node.schema();
    let names: Vec<&str> = key.iter().map(|column| schema.field(*column).name().as_str()).collect();
    Some(if names.is_empty() { "one row".into() } else { format!("upsert key ({})", names.join(", ")) })
}

fn event_time_note(node: &Node) -> Option<String> {
    let times = event_time::names(node);
    (!times.is_empty()).then(|| format!("event time {}", times.join(", ")))
}

/// Nodes that never keep anything do not say so.
fn state_note(node: &Node) -> Option<String> {
    match bound(node) {
        crate::plan::bounds::Bound::None => None,
        bound => Some(bound.to_string()),
    }
}

/// Which side of a join is not kept.
fn side_note(node: &Node) -> Option<String> {
    let Node::Join(node) = node else { return None };
    let side = passing_side(node)?;
    Some(format!("rows of {} are not kept once {} has ended", node.names[side], node.names[1 - side]))
}

/// What an aggregate keeps beyond its results because rows of its input may go.
fn retraction_note(node: &Node) -> Option<String> {
    let Node::Aggregate(node) = node else { return None };
    if node.input_mode == ChangelogMode::AppendOnly {
        return None;
    }
    let keeping = node.aggregates.iter().filter(|call| keeps_values(call).unwrap_or(false));
    let keeping: Vec<String> = keeping.map(ToString::to_string).collect();
    match keeping.as_slice() {
        [] => None,
        [one] => Some(format!("{one} keeps all its values, because rows may go")),
        several => Some(format!("{} keep all their values, because rows may go", several.join(", "))),
    }
}

fn metrics_note(metrics: NodeMetrics) -> String {
    let mut note = format!("rows in {}, out {}", metrics.rows_in, metrics.rows_out);
    if metrics.skipped > 0 {
        let _ = write!(note, ", skipped {}", metrics.skipped);
    }
    if metrics.forgotten.expired > 0 {
        let _ = write!(note, ", expired {}", metrics.forgotten.expired);
    }
    if metrics.forgotten.ignored > 0 {
        let _ = write!(note, ", ignored {}", metrics.forgotten.ignored);
    }
    if metrics.forgotten.late > 0 {
        let _ = write!(note, ", late {}", metrics.forgotten.late);
    }
    if metrics.forgotten.untimed > 0 {
        let _ = write!(note, ", without time {}", metrics.forgotten.untimed);
    }
    if metrics.state.rows > 0 || metrics.state.bytes > 0 {
        let _ = write!(note, ", state {} rows in {} bytes", metrics.state.rows, metrics.state.bytes);
    }
    if let Some(time) = metrics.time {
        let _ = write!(note, ", {:.3} ms", time.as_secs_f64() * 1e3);
    }
    note
}

/// What a node is, in one line.
pub(super) fn title(node: &Node) -> String {
    match node {
        Node::Source(node) => {
            let watermark = node.watermark.as_ref().filter(|_| !node.event_time.is_empty());
            let watermark = watermark.map(|watermark| format!(", {watermark}")).unwrap_or_default();
            format!("Source: {} ({}){watermark}", relation_name(&node.relation), source_note(node))
        }
        Node::Values(node) => format!("Values: {}", rows(node.rows.num_rows())),
        Node::Filter(node) => format!("Filter: {}", node.predicate),
        Node::Project(node) => {
            let columns = node.exprs.iter().zip(node.schema.fields());
            let columns = columns.map(|(expr, field)| match expr.to_string() {
                text if is_named(&text, field.name()) => text,
                text => format!("{text} AS {}", field.name()),
            });
            format!("Project: {}", columns.collect::<Vec<_>>().join(", "))
        }
        Node::Unnest(node) => format!("Unnest: {}", field_names(&node.schema)),
        Node::Expand(node) => {
            let names: Vec<&str> = node.schema.fields().iter().map(|field| field.name().as_str()).collect();
            let held = |set: &GroupingSet| {
                let keys = names.iter().zip(&set.holds).filter(|(_, holds)| **holds).map(|(name, _)| *name);
                format!("({})", keys.collect::<Vec<_>>().join(", "))
            };
            format!("Expand: grouping sets {}", node.sets.iter().map(held).collect::<Vec<_>>().join(", "))
        }
        Node::Union(node) => format!("Union: {} inputs", node.inputs.len()),
        Node::Aggregate(node) => {
            let (keys, calls) = (list(&node.keys), list(&node.aggregates));
            format!("Aggregate: keys ({keys}), aggregates ({calls}), {}{}", emit_name(node.emit), ttl_name(node.ttl))
        }
        Node::Join(node) => join_title(node),
        Node::KeyedJoin(node) => keyed_join_title(node),
        Node::AsofJoin(node) => asof_title(node),
        Node::LookupJoin(node) => lookup_title(node),
        Node::Collect(node) => {
            let mut bounds = vec![];
            bounds.extend(node.max_rows.map(|rows| format!("max_rows {rows}")));
            bounds.extend(node.timeout.map(|timeout| format!("timeout {timeout}")));
            bounds.extend(node.max_wait.map(|wait| format!("max_wait {wait}")));
            format!(
                "Collect: keys ({}), aggregates ({}), {}",
                list(&node.keys),
                list(&node.aggregates),
                bounds.join(", ")
            )
        }
        Node::Logic(node) => format!("Logic: {}, keys ({})", node.name, list(&node.keys)),
        Node::Sort(node) => {
            let fetch = node.fetch.map(|rows| format!(", first {rows}")).unwrap_or_default();
            format!("Sort: {}{fetch}, EMIT FINAL", sort_keys(&node.keys))
        }
        Node::Limit(node) => {
            let wanted = node.fetch.map_or_else(|| "all rows".into(), rows);
            match node.skip {
                0 => format!("Limit: {wanted}"),
                skip => format!("Limit: {wanted} after {skip}"),
            }
        }
        Node::TopN(node) => top_n_title(node),
        Node::Over(node) => over_title(node),
        Node::Windows(node) if node.window.is_session() => {
            format!("Windows: {}, keys ({})", window_name(&node.window, &node.input), list(&node.keys))
        }
        Node::Windows(node) => format!("Windows: {}", window_name(&node.window, &node.input)),
        Node::WindowAggregate(node) => window_title(node),
    }
}

fn window_title(node: &WindowAggregate) -> String {
    let window = window_name(&node.window, &node.input);
    if node.says_late {
        return format!("LateRows: {window}, keys ({})", list(&node.keys));
    }
    let (keys, calls, emit) = (list(&node.keys), list(&node.aggregates), emit_name(node.emit));
    format!("WindowAggregate: {window}, keys ({keys}), aggregates ({calls}), {emit}")
}

fn keyed_join_title(node: &KeyedJoin) -> String {
    let sides = node.sides.iter().map(|side| format!("{} on ({})", side.name, list(&side.keys)));
    let sides = sides.collect::<Vec<_>>().join(", ");
    let closing = node.closed_by.map(|_| {
        let mut relations: Vec<String> = node.sides.iter().flat_map(|side| watermarks(&side.input)).collect();
        relations.dedup();
        format!(", closed by the watermark of {}", relations.join(" and "))
    });
    let (kind, closing) = (join_kind(&node.required), closing.unwrap_or_default());
    let (keep, emit) = (keep_name(node.keep), join_emit_name(node.emit));
    format!("KeyedJoin: {kind} {sides}{closing}, {keep}, {emit}{}", ttl_name(node.ttl))
}

/// Windows over the rows of `input`, and what closes them.
fn window_name(window: &Window, input: &Node) -> String {
    let time = &window.time;
    let length = |units: i64| length_name(time.data_type(), units);
    let from = |offset: i64| if offset == 0 { String::new() } else { format!(", offset {}", length(offset)) };
    let shape = match &window.shape {
        WindowShape::Tumble { size, offset } => format!("TUMBLE({time}, {}{})", length(*size), from(*offset)),
        WindowShape::Hop { slide, size, offset } => {
            format!("HOP({time}, {}, {}{})", length(*slide), length(*size), from(*offset))
        }
        WindowShape::Cumulate { step, size, offset } => {
            format!("CUMULATE({time}, {}, {}{})", length(*step), length(*size), from(*offset))
        }
        WindowShape::Session { gap } => format!("SESSION({time}, {})", length(*gap)),
        WindowShape::Given { start } => format!("{start} to {time}"),
    };
    let closing = match window.closing {
        Closing::Watermark => format!(", closed by the watermark of {}", watermarks(input).join(" and ")),
        Closing::Clock => ", closed by the clock".into(),
        Closing::End => ", closed by the end of the input".into(),
    };
    let kept = if window.lateness == 0 { String::new() } else { format!(", kept {} longer", length(window.lateness)) };
    format!("{shape}{closing}{kept}")
}

/// The relations that a watermark comes from.
fn watermarks(node: &Node) -> Vec<String> {
    let mut relations = match node {
        Node::Source(source) if !source.event_time.is_empty() => vec![relation_name(&source.relation)],
        Node::LookupJoin(lookup) => watermarks(&lookup.inputs[0]),
        other => other.inputs().into_iter().flat_map(watermarks).collect(),
    };
    relations.dedup();
    relations
}

/// So many units of a type of time.
fn length_name(time: &DataType, units: i64) -> String {
    match Tick::of(time).and_then(Tick::nanos) {
        Some(nanos) => {
            units.checked_mul(nanos).map_or_else(|| units.to_string(), |n| Interval::from_nanos(n).to_string())
        }
        None => units.to_string(),
    }
}

fn top_n_title(node: &TopN) -> String {
    let wanted = match (node.fetch, node.skip) {
        (usize::MAX, skip) => format!("all rows after {skip}"),
        (fetch, 0) => format!("first {fetch}"),
        (fetch, skip) => format!("first {fetch} after {skip}"),
    };
    let rank = match node.rank {
        Rank::RowNumber => "row_number",
        Rank::Rank => "rank",
        Rank::DenseRank => "dense_rank",
    };
    let order = if node.order.is_empty() { "arrival".into() } else { sort_keys(&node.order) };
    let emit = if node.by_arrival() { OrderedEmit::Running } else { node.emit };
    let keys = list(&node.partition);
    let settles = if node.settles { ", settled by the watermark" } else { "" };
    let emit = format!("{}{}", ordered_emit_name(emit), ttl_name(node.ttl));
    format!("TopN: {wanted} by {rank}, keys ({keys}), order ({order}){settles}, {emit}")
}

fn over_title(node: &Over) -> String {
    format!("Over: {}, {}{}", list(&node.calls), ordered_emit_name(node.emit), ttl_name(node.ttl))
}

fn sort_keys(keys: &[SortKey]) -> String {
    let key = |key: &SortKey| {
        let direction = if key.options.descending { "DESC" } else { "ASC" };
        format!("{} {direction}", key.expr)
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn ordered_emit_name(emit: OrderedEmit) -> &'static str {
    match emit {
        OrderedEmit::Final => "EMIT FINAL",
        OrderedEmit::Running => "EMIT RUNNING",
        OrderedEmit::Changes => "EMIT CHANGES",
    }
}

fn join_title(node: &Join) -> String {
    let [left, right] = &node.names;
    let [left_keys, right_keys] = &node.keys;
    let equal = match node.null_keys {
        NullKeys::Nothing | NullKeys::Anything => "=",
        NullKeys::Null => "IS NOT DISTINCT FROM",
    };
    let keys = left_keys.iter().zip(right_keys).map(|(left, right)| format!("{left} {equal} {right}"));
    let rest = node.residual.iter().map(|residual| residual.predicate.to_string());
    let condition = keys.chain(rest).collect::<Vec<_>>().join(" AND ");
    let on = if condition.is_empty() { String::new() } else { format!(" on {condition}") };
    let says = match node.within {
        Some(_) if node.waits() => format!(", settled by the watermark of {}", settling(&node.inputs)),
        Some(_) | None if node.at_end => ", EMIT FINAL".into(),
        Some(_) | None => String::new(),
    };
    format!("Join: {} {left}, {right}{on}{says}{}", relational_kind(node), join_ttl(node.ttl))
}

/// The relations whose watermark settles what a join by time says.
fn settling(inputs: &[Box<Node>; 2]) -> String {
    inputs.iter().flat_map(|input| watermarks(input)).collect::<Vec<_>>().join(" and ")
}

fn asof_title(node: &AsofJoin) -> String {
    let [left, right] = &node.names;
    let kind = if node.kind == JoinKind::Left { "LEFT" } else { "INNER" };
    let nearest = match node.nearest {
        Nearest::AtOrBefore => ">=",
        Nearest::Before => ">",
        Nearest::AtOrAfter => "<=",
        Nearest::After => "<",
    };
    let keys = node.keys[0].iter().zip(&node.keys[1]).map(|(left, right)| format!("{left} = {right}"));
    let on = keys.collect::<Vec<_>>().join(" AND ");
    let on = if on.is_empty() { String::new() } else { format!(" on {on}") };
    let settles = match node.settles {
        Settles::Watermark => format!(", settled by the watermark of {}", settling(&node.inputs)),
        Settles::End => ", EMIT FINAL".into(),
        Settles::Never => ", EMIT CHANGES".into(),
    };
    format!("AsofJoin: {kind} {left}, {right}{on}, nearest {} {nearest} {}{settles}", node.times[0], node.times[1])
}

fn lookup_title(node: &LookupJoin) -> String {
    let [left, right] = &node.names;
    let kind = match node.kind {
        JoinKind::Left => "LEFT",
        _ if node.keys[0].is_empty() && node.residual.is_none() => "CROSS",
        _ => "INNER",
    };
    let keys = node.keys[0].iter().zip(&node.keys[1]).map(|(left, right)| format!("{left} = {right}"));
    let rest = node.residual.iter().map(|residual| residual.predicate.to_string());
    let on = keys.chain(rest).collect::<Vec<_>>().join(" AND ");
    let on = if on.is_empty() { String::new() } else { format!(" on {on}") };
    format!("LookupJoin: {kind} {left}, {right} as of now{on}")
}

fn relational_kind(node: &Join) -> &'static str {
    match node.kind {
        JoinKind::Inner if node.keys[0].is_empty() && node.residual.is_none() => "CROSS",
        JoinKind::Inner => "INNER",
        JoinKind::Left => "LEFT",
        JoinKind::Right => "RIGHT",
        JoinKind::Full => "FULL",
        JoinKind::Semi => "SEMI",
        JoinKind::Anti if node.null_keys == NullKeys::Anything => "NOT IN",
        JoinKind::Anti => "ANTI",
        JoinKind::Mark => "MARK",
    }
}

/// Whether an expression of that text has that name anyway.
pub(super) fn is_named(text: &str, name: &str) -> bool {
    text == name || unqualified(text) == name
}

/// A text without the relations before its columns: `sum(a.v)` as `sum(v)`.
fn unqualified(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    for letter in text.chars() {
        let word = short.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_').map_or(0, |at| at + 1);
        match letter {
            '.' if short[word..].starts_with(|first: char| first.is_alphabetic() || first == '_') => {
                short.truncate(word)
            }
            letter => short.push(letter),
        }
    }
    short
}

fn rows(count: usize) -> String {
    if count == 1 { "1 row".into() } else { format!("{count} rows") }
}

/// A relation as it is named in a query.
pub(super) fn relation_name(relation: &str) -> String {
    match relation.strip_prefix(DEAD_LETTERS_PREFIX) {
        Some(stream) => format!("ERRORS({stream})"),
        None => relation.to_string(),
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn field_names(schema: &arrow::datatypes::Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}

/// What is read of a relation, and whether more may come.
fn source_note(node: &Source) -> &'static str {
    match (node.reads, &node.only) {
        (Reads::Changes, _) => bounded_name(node.bounded),
        (Reads::Present, None) => "present rows",
        (Reads::Present, Some(_)) => "present row of a key",
    }
}

fn bounded_name(bounded: Bounded) -> &'static str {
    match bounded {
        Bounded::Yes => "bounded",
        Bounded::UntilClosed => "until closed",
        Bounded::Never => "unbounded",
    }
}

fn emit_name(emit: AggregateEmit) -> String {
    match emit {
        AggregateEmit::Final => "EMIT FINAL".into(),
        AggregateEmit::Running => "EMIT RUNNING".into(),
        AggregateEmit::Changes => "EMIT CHANGES".into(),
        AggregateEmit::Every(interval) => format!("EMIT EVERY {interval}"),
        AggregateEmit::EveryAndFinal(interval) => format!("EMIT EVERY {interval} AND FINAL"),
    }
}

fn join_ttl(ttl: [Option<Interval>; 2]) -> String {
    match ttl {
        [left, right] if left == right => ttl_name(left),
        [left, right] => {
            let of = |ttl: Option<Interval>| ttl.map_or_else(|| "none".into(), |ttl| ttl.to_string());
            format!(", state_ttl {} on the left, {} on the right", of(left), of(right))
        }
    }
}

fn ttl_name(ttl: Option<Interval>) -> String {
    ttl.map(|ttl| format!(", state_ttl {ttl}")).unwrap_or_default()
}

fn keep_name(keep: JoinKeep) -> &'static str {
    match keep {
        JoinKeep::First => "KEEP FIRST",
        JoinKeep::Last => "KEEP LAST",
        JoinKeep::Product => "KEEP PRODUCT",
    }
}

fn join_emit_name(emit: JoinEmit) -> &'static str {
    match emit {
        JoinEmit::Complete => "EMIT COMPLETE",
        JoinEmit::Running => "EMIT RUNNING",
        JoinEmit::Final => "EMIT FINAL",
    }
}

fn join_kind(required: &[bool]) -> &'static str {
    match (required.iter().all(|required| *required), required.iter().any(|required| *required)) {
        (true, _) => "INNER",
        (false, true) => "LEFT",
        (false, false) => "FULL",
    }
}
