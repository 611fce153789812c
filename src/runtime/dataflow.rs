//! A dataflow: the operators of one plan and the edges between them.
//!
//! A plan is a tree, so every operator has one reader, and the last one's reader is the result; only a subtree that
//! stands several times in the tree has several, as it is there once ([`crate::plan::Shared`]).
//! Operators stand in topological order: what feeds an operator stands before it.
//! A filter or projection over another one is fused into the same [`Stage`]: rows pass from step to step
//! without going through the driver's queue.

use std::time::Duration;

use crate::error::{InternalError, Result};
use crate::operators::{self, Operator, Port, StateSize};
use crate::plan::depth::deeper;
use crate::plan::node::{Limit, Node};
use crate::plan::{self, NodeMetrics, Plan, Seen, Shared};
use crate::state::Snapshot;
use crate::types::{Epoch, Timestamp};

/// The operators of one plan and the edges between them.
pub struct Dataflow {
    pub(super) stages: Vec<Stage>,
    pub(super) inputs: Vec<Input>,
    /// What of the tree is not computed again.
    shared: Vec<Shared>,
    /// By node, in the tree's order from the root; nothing for what is not computed again.
    pub(super) metrics: Vec<NodeMetrics>,
    pub(super) ended: bool,
    /// No row of the result is expected before it.
    pub(super) watermark: Timestamp,
    /// When it has last said something, by the engine's clock, and what each node had done by then.
    spoke: Option<(Timestamp, Vec<NodeMetrics>)>,
    /// Bytes of all stages, as they were last weighed.
    state_bytes: usize,
}

/// One or more operators that pass their rows on directly.
pub(super) struct Stage {
    pub(super) steps: Vec<Step>,
    /// Where its rows go: to one reader, or to several where the same is read more than once.
    pub(super) targets: Vec<Target>,
    pub(super) ports: Vec<PortState>,
    /// The combined watermark the operator has been told last.
    pub(super) watermark: Timestamp,
    /// When the operator wants to be notified, asked after its last call.
    pub(super) due: Option<Timestamp>,
    /// After how many rows out nothing more can come: the rest of its input need not be read.
    pub(super) stop_after: Option<u64>,
    /// The port whose end is the end of all; of every port together for `None`.
    pub(super) ends_with: Option<usize>,
    /// Whether it has been told that every input has ended.
    pub(super) done: bool,
    /// Whether more filters and projections may be fused behind it.
    fusible: bool,
    /// Bytes that its operators kept when it was last weighed.
    bytes: usize,
}

pub(super) struct Step {
    pub(super) operator: Box<dyn Operator>,
    /// Its node's number in the tree's order.
    pub(super) node: usize,
    /// How EXPLAIN calls it.
    pub(super) title: String,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PortState {
    pub(super) watermark: Timestamp,
    pub(super) ended: bool,
}

/// Where rows go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Stage(usize, Port),
    Result,
}

/// A leaf of the tree: rows come in here.
pub(super) struct Input {
    pub(super) target: Target,
    pub(super) node: usize,
    pub(super) ended: bool,
}

/// What a dataflow needs to go on from where it was.
#[derive(Clone, Debug, Default)]
pub struct DataflowSnapshot {
    /// For each node, in the tree's order: its snapshots, the oldest first.
    pub operators: Vec<Vec<Snapshot>>,
    metrics: Vec<NodeMetrics>,
    inputs_ended: Vec<bool>,
    stages: Vec<StageSnapshot>,
    ended: bool,
    watermark: Timestamp,
    spoke: Option<(Timestamp, Vec<NodeMetrics>)>,
}

#[derive(Clone, Debug)]
struct StageSnapshot {
    ports: Vec<PortState>,
    watermark: Timestamp,
    done: bool,
}

impl DataflowSnapshot {
    /// Whether the result had ended.
    pub fn ended(&self) -> bool {
        self.ended
    }
}

/// What feeds a node: a leaf or a stage.
#[derive(Clone, Copy)]
enum Feeder {
    Input(usize),
    Stage(usize),
}

impl Dataflow {
    /// The dataflow of `plan`. Its leaves become inputs, numbered from left to right.
    /// With a snapshot the operators are born with the state they had.
    pub fn new(plan: &Plan, snapshot: Option<&DataflowSnapshot>) -> Result<Dataflow> {
        let mut dataflow = Dataflow { shared: plan.shared.clone(), ..Dataflow::empty() };
        let operators = snapshot.map_or(&[][..], |snapshot| &snapshot.operators);
        let root = dataflow.add(&plan.root, operators)?;
        dataflow.connect(root, Target::Result);
        if let Some(snapshot) = snapshot {
            dataflow.resume(snapshot)?;
        }
        dataflow.weigh_all();
        Ok(dataflow)
    }

    /// A dataflow of nothing, for a query that has failed before it began.
    pub fn empty() -> Dataflow {
        Dataflow {
            stages: vec![],
            inputs: vec![],
            shared: vec![],
            metrics: vec![],
            ended: false,
            watermark: Timestamp::MIN,
            spoke: None,
            state_bytes: 0,
        }
    }

    /// Whether input `input` has ended, or can no longer change the result.
    pub fn input_ended(&self, input: usize) -> bool {
        self.inputs.get(input).is_none_or(|input| input.ended)
    }

    /// The watermark of the result: the one its last operator has told, over all its inputs.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Whether the result has ended.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// What each node has done, in the tree's order from the root.
    pub fn metrics(&self) -> Vec<NodeMetrics> {
        let mut metrics = self.metrics.clone();
        for step in self.steps() {
            metrics[step.node].kept(step.operator.state_size());
        }
        self.repeat(&mut metrics);
        metrics
    }

    /// Notes that it has said something at `now`.
    pub fn note_spoke(&mut self, now: Timestamp) {
        match &mut self.spoke {
            Some((at, metrics)) => {
                *at = now;
                metrics.clone_from(&self.metrics);
            }
            None => self.spoke = Some((now, self.metrics.clone())),
        }
    }

    /// When it has last said something, by the engine's clock.
    pub fn spoke(&self) -> Option<Timestamp> {
        self.spoke.as_ref().map(|(at, _)| *at)
    }

    /// How each node stands, in the tree's order from the root: what it has done since the dataflow last said something.
    pub fn seen(&self) -> Vec<Seen> {
        let before = self.spoke.as_ref().map(|(_, metrics)| metrics.as_slice()).unwrap_or_default();
        let since = |(number, metrics): (usize, &NodeMetrics)| match before.get(number) {
            Some(before) => metrics.since(before),
            None => *metrics,
        };
        let mut seen: Vec<Seen> = self.metrics.iter().enumerate().map(since).map(Seen::of).collect();
        for stage in &self.stages {
            for step in &stage.steps {
                let node = &mut seen[step.node];
                (node.waits, node.due, node.open) = (step.operator.waits(), step.operator.notify_at(), !stage.done);
                let open = |port: &PortState| (!port.ended).then_some(port.watermark);
                node.watermarks = stage.ports.iter().map(open).collect();
            }
        }
        for input in &self.inputs {
            seen[input.node].open = !input.ended;
        }
        self.repeat(&mut seen);
        seen
    }

    /// Says of the nodes that are not computed again what there is to say of those that are.
    fn repeat<T: Clone>(&self, nodes: &mut [T]) {
        for Shared { first, again, nodes: count } in &self.shared {
            (0..*count).for_each(|nth| nodes[again + nth] = nodes[first + nth].clone());
        }
    }

    /// The node of input `input`, in the tree's order.
    pub fn input_node(&self, input: usize) -> Option<usize> {
        self.inputs.get(input).map(|input| input.node)
    }

    /// Reading for input `input` took so long, if that was measured.
    pub(super) fn input_took(&mut self, input: usize, time: Option<Duration>) {
        if let Some(metrics) = self.input_node(input).and_then(|node| self.metrics.get_mut(node)) {
            metrics.took(time);
        }
    }

    /// How much is kept in all.
    pub fn state_size(&self) -> StateSize {
        let mut total = StateSize::default();
        for step in self.steps() {
            let size = step.operator.state_size();
            total.rows += size.rows;
            total.bytes += size.bytes;
        }
        total
    }

    /// How many bytes were kept when each stage was last weighed.
    pub fn state_bytes(&self) -> usize {
        self.state_bytes
    }

    /// Asks every operator how much it keeps.
    pub fn weigh_all(&mut self) {
        (0..self.stages.len()).for_each(|stage| self.weigh(stage));
    }

    /// Asks the operators of a stage how much they keep.
    pub(super) fn weigh(&mut self, stage: usize) {
        let stage = &mut self.stages[stage];
        let bytes = stage.steps.iter().map(|step| step.operator.state_size().bytes).sum();
        let before = std::mem::replace(&mut stage.bytes, bytes);
        self.state_bytes = self.state_bytes + bytes - before;
    }

    /// What the stages other than this one kept when they were last weighed.
    pub(super) fn bytes_beside(&self, stage: usize) -> usize {
        self.state_bytes - self.stages[stage].bytes
    }

    /// The earliest time at which an operator wants to be notified, and its number; of several the first.
    pub fn next_due(&self) -> Option<(Timestamp, usize)> {
        self.stages.iter().enumerate().filter_map(|(number, stage)| stage.due.map(|due| (due, number))).min()
    }

    /// Adds to `snapshot` what has changed since epoch `since`; all of it for [`Epoch::ZERO`], which replaces it.
    pub fn snapshot(&mut self, since: Epoch, snapshot: &mut DataflowSnapshot) -> Result<()> {
        if since == Epoch::ZERO {
            snapshot.operators.clear();
        }
        snapshot.operators.resize_with(self.metrics.len(), Vec::new);
        for step in self.stages.iter_mut().flat_map(|stage| &mut stage.steps) {
            snapshot.operators[step.node].extend(step.operator.snapshot(since)?);
        }
        snapshot.metrics.clone_from(&self.metrics);
        snapshot.inputs_ended = self.inputs.iter().map(|input| input.ended).collect();
        snapshot.ended = self.ended;
        snapshot.watermark = self.watermark;
        snapshot.spoke.clone_from(&self.spoke);
        snapshot.stages = self
            .stages
            .iter()
            .map(|stage| StageSnapshot { ports: stage.ports.clone(), watermark: stage.watermark, done: stage.done })
            .collect();
        Ok(())
    }

    fn resume(&mut self, snapshot: &DataflowSnapshot) -> Result<()> {
        self.ended = snapshot.ended;
        self.watermark = snapshot.watermark;
        self.spoke.clone_from(&snapshot.spoke);
        if snapshot.metrics.len() == self.metrics.len() {
            self.metrics.clone_from(&snapshot.metrics);
        }
        for (input, ended) in self.inputs.iter_mut().zip(&snapshot.inputs_ended) {
            input.ended = *ended;
        }
        for (stage, snapshot) in self.stages.iter_mut().zip(&snapshot.stages) {
            stage.ports.clone_from(&snapshot.ports);
            stage.watermark = snapshot.watermark;
            stage.done = snapshot.done;
            stage.resume_ends()?;
            stage.ask_due();
        }
        Ok(())
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| &stage.steps)
    }

    fn add(&mut self, node: &Node, snapshots: &[Vec<Snapshot>]) -> Result<Feeder> {
        deeper(|| self.add_node(node, snapshots))
    }

    fn add_node(&mut self, node: &Node, snapshots: &[Vec<Snapshot>]) -> Result<Feeder> {
        let number = self.metrics.len();
        if let Some(Shared { first, nodes, .. }) = self.shared.iter().find(|shared| shared.again == number).copied() {
            self.metrics.resize_with(number + nodes, NodeMetrics::default);
            return self.computed(first);
        }
        let feeder = self.add_computed(node, number, snapshots)?;
        if let (Feeder::Stage(stage), true) = (feeder, self.shared.iter().any(|shared| shared.first == number)) {
            // Its other readers want what it says, and not what this one makes of it.
            self.stages[stage].fusible = false;
        }
        Ok(feeder)
    }

    /// The stage that ends with node `number`.
    fn computed(&self, number: usize) -> Result<Feeder> {
        let ends = |stage: &Stage| stage.steps.last().is_some_and(|step| step.node == number);
        let stage = self.stages.iter().position(ends);
        stage.map(Feeder::Stage).ok_or_else(|| InternalError::new(format!("node {number} is not computed")).into())
    }

    fn add_computed(&mut self, node: &Node, number: usize, snapshots: &[Vec<Snapshot>]) -> Result<Feeder> {
        self.metrics.push(NodeMetrics::default());
        if is_leaf(node) {
            self.inputs.push(Input { target: Target::Result, node: number, ended: false });
            return Ok(Feeder::Input(self.inputs.len() - 1));
        }
        let feeders = node.inputs().into_iter().map(|input| self.add(input, snapshots)).collect::<Result<Vec<_>>>()?;
        let operator = operators::build(node, snapshots.get(number).map_or(&[][..], Vec::as_slice))?;
        let step = Step { operator, node: number, title: plan::title(node) };
        if let ([Feeder::Stage(below)], true) = (feeders.as_slice(), is_row_wise(node))
            && self.stages[*below].fusible
        {
            self.stages[*below].steps.push(step);
            return Ok(Feeder::Stage(*below));
        }
        let mut stage = Stage::new(node, step, feeders.len());
        // What has no event time holds no watermark back.
        for (number, (port, input)) in stage.ports.iter_mut().zip(node.inputs()).enumerate() {
            let held_back = stage.ends_with.is_none_or(|first| first == number) && is_timed(input);
            port.watermark = if held_back { Timestamp::MIN } else { Timestamp::MAX };
        }
        self.stages.push(stage);
        let reader = self.stages.len() - 1;
        for (port, feeder) in feeders.into_iter().enumerate() {
            self.connect(feeder, Target::Stage(reader, Port(port)));
        }
        Ok(Feeder::Stage(reader))
    }

    fn connect(&mut self, feeder: Feeder, target: Target) {
        match feeder {
            Feeder::Input(input) => self.inputs[input].target = target,
            Feeder::Stage(stage) => self.stages[stage].targets.push(target),
        }
    }

    /// Ends what feeds stage `stage`, which reads no more, and nobody else that reads on.
    pub(super) fn starve(&mut self, stage: usize) {
        let reads = |stages: &[Stage], target: &Target| match target {
            Target::Stage(reader, _) => *reader != stage && !stages[*reader].done,
            Target::Result => true,
        };
        for number in (0..stage).rev() {
            if !self.stages[number].targets.iter().any(|target| reads(&self.stages, target)) {
                self.stages[number].done = true;
                self.stages[number].ask_due();
            }
        }
        for input in &mut self.inputs {
            input.ended |= !reads(&self.stages, &input.target);
        }
    }
}

impl Stage {
    fn new(node: &Node, step: Step, ports: usize) -> Stage {
        let mut stage = Stage {
            steps: vec![step],
            targets: vec![],
            ports: vec![PortState { watermark: Timestamp::MIN, ended: false }; ports],
            watermark: Timestamp::MIN,
            due: None,
            stop_after: stop_after(node),
            ends_with: ends_with(node),
            done: false,
            fusible: is_row_wise(node),
            bytes: 0,
        };
        stage.ask_due();
        stage
    }

    /// Tells its first operator, which is restored, which of its inputs had ended. The others have one input.
    fn resume_ends(&mut self) -> Result<()> {
        let Some(first) = self.steps.first_mut() else { return Ok(()) };
        let ended = self.ports.iter().enumerate().filter(|(_, port)| port.ended);
        ended.map(|(port, _)| Port(port)).try_for_each(|port| first.operator.on_port_end(port))
    }

    /// Asks its operators when they want to be notified.
    pub(super) fn ask_due(&mut self) {
        self.due = if self.done { None } else { self.steps.iter().filter_map(|step| step.operator.notify_at()).min() };
    }
}

fn stop_after(node: &Node) -> Option<u64> {
    match node {
        Node::Limit(Limit { fetch, .. }) => fetch.map(|fetch| fetch as u64),
        Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) | Node::Unnest(_) | Node::Expand(_) => {
            None
        }
        Node::Union(_)
        | Node::Aggregate(_)
        | Node::Join(_)
        | Node::KeyedJoin(_)
        | Node::AsofJoin(_)
        | Node::LookupJoin(_)
        | Node::Collect(_)
        | Node::Logic(_)
        | Node::Sort(_)
        | Node::TopN(_)
        | Node::Over(_)
        | Node::Windows(_)
        | Node::WindowAggregate(_) => None,
    }
}

/// The input that a node speaks for: once it has ended, the others bring nothing more.
fn ends_with(node: &Node) -> Option<usize> {
    match node {
        Node::LookupJoin(_) => Some(0),
        Node::Source(_) | Node::Values(_) | Node::Filter(_) | Node::Project(_) | Node::Unnest(_) => None,
        Node::Expand(_) | Node::Union(_) | Node::Aggregate(_) | Node::Join(_) | Node::KeyedJoin(_) => None,
        Node::AsofJoin(_) | Node::Collect(_) | Node::Logic(_) | Node::Sort(_) | Node::Limit(_) => None,
        Node::TopN(_) | Node::Over(_) | Node::Windows(_) | Node::WindowAggregate(_) => None,
    }
}

/// Whether something below a node has event time.
fn is_timed(node: &Node) -> bool {
    deeper(|| match node {
        Node::Source(source) => !source.event_time.is_empty(),
        other => other.inputs().into_iter().any(is_timed),
    })
}

fn is_leaf(node: &Node) -> bool {
    matches!(node, Node::Source(_) | Node::Values(_))
}

/// Whether a node gives the same answer for a row whatever came before it, so that it can be fused.
fn is_row_wise(node: &Node) -> bool {
    matches!(node, Node::Filter(_) | Node::Project(_))
}

#[cfg(test)]
impl Dataflow {
    /// One operator with so many inputs.
    pub(super) fn of(operator: Box<dyn Operator>, inputs: usize) -> Dataflow {
        let mut dataflow = Dataflow::empty();
        dataflow.metrics = vec![NodeMetrics::default(); inputs + 1];
        for port in 0..inputs {
            let target = Target::Stage(0, Port(port));
            dataflow.inputs.push(Input { target, node: port + 1, ended: false });
        }
        let union = Node::Union(crate::plan::node::Union {
            inputs: vec![],
            schema: std::sync::Arc::new(arrow::datatypes::Schema::empty()),
        });
        let step = Step { operator, node: 0, title: plan::title(&union) };
        dataflow.stages.push(Stage::new(&union, step, inputs));
        dataflow.connect(Feeder::Stage(0), Target::Result);
        dataflow
    }
}
