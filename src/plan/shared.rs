//! Which subtrees of a plan are the same, and so computed once.
//!
//! ```text
//! Join ─┬─ Project ── Aggregate ── Source          the first: computed
//!       └─ Filter ─── Aggregate ── Source          again: reads what the first says
//! ```
//!
//! That is worth it where something is kept: a CTE that is named twice keeps its groups once. What only passes rows on
//! is computed anew for each reader, fused with what the reader does.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::plan::bounds::{Bound, bound};
use crate::plan::depth::deeper;
use crate::plan::explain::title;
use crate::plan::node::Node;

/// A subtree that is the same as one before it. Nodes are numbered in the tree's order, a node before its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// The root of the one that is computed.
    pub first: usize,
    /// The root of the one that is not.
    pub again: usize,
    /// How many nodes each of them has.
    pub nodes: usize,
}

/// The subtrees that need not be computed, in the tree's order; none is part of another.
pub(super) fn shared(root: &Node) -> Vec<Shared> {
    let mut outlines = vec![];
    outline(root, &mut outlines);
    let mut search = Search { outlines, known: HashMap::new(), found: vec![] };
    search.visit(root, 0);
    search.found
}

/// What is known of a subtree at a glance.
#[derive(Clone, Copy)]
struct Outline {
    /// The same for equal subtrees.
    hash: u64,
    nodes: usize,
    /// Whether anything in it keeps state.
    keeps: bool,
}

/// Notes the outlines of a node and of all nodes below it.
fn outline(node: &Node, outlines: &mut Vec<Outline>) -> Outline {
    let number = outlines.len();
    outlines.push(Outline { hash: 0, nodes: 0, keeps: false });
    let mut hasher = DefaultHasher::new();
    title(node).hash(&mut hasher);
    let mut keeps = bound(node) != Bound::None;
    for input in node.inputs() {
        let below = deeper(|| outline(input, outlines));
        below.hash.hash(&mut hasher);
        keeps |= below.keeps;
    }
    let outline = Outline { hash: hasher.finish(), nodes: outlines.len() - number, keeps };
    outlines[number] = outline;
    outline
}

struct Search<'a> {
    /// By the number of the subtree's root.
    outlines: Vec<Outline>,
    /// The subtrees that have been met, by their hash.
    known: HashMap<u64, Vec<(usize, &'a Node)>>,
    found: Vec<Shared>,
}

impl<'a> Search<'a> {
    /// Looks for subtrees that have been met before, the largest first, and goes on behind them.
    fn visit(&mut self, node: &'a Node, number: usize) {
        let Outline { hash, nodes, keeps } = self.outlines[number];
        if !keeps {
            return;
        }
        let known = self.known.entry(hash).or_default();
        if let Some((first, _)) = known.iter().find(|(_, other)| *other == node) {
            self.found.push(Shared { first: *first, again: number, nodes });
            return;
        }
        known.push((number, node));
        let mut next = number + 1;
        for input in node.inputs() {
            deeper(|| self.visit(input, next));
            next += self.outlines[next].nodes;
        }
    }
}
