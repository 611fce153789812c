//! Joins without modes.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{ChangelogMode, Node, Within};
use crate::expr::Expr;
use crate::types::Interval;

/// Two sides joined as SQL says: at every moment the result is the join of what has arrived.
///
/// Port 0 is the left side. The result's columns are `columns` of both sides; [`JoinKind::Mark`] has the mark behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Where the rows come from.
    pub inputs: [Box<Node>; 2],
    /// Which columns of each side come out; none of the right one where the result has left rows alone.
    pub columns: [Vec<usize>; 2],
    /// How EXPLAIN calls the sides.
    pub names: [Arc<str>; 2],
    /// The keys whose equality is part of the condition, of the same types on both sides; may be none.
    pub keys: [Vec<Expr>; 2],
    /// What a NULL in a key is equal to.
    pub null_keys: NullKeys,
    /// The rest of the condition.
    pub residual: Option<Residual>,
    /// Which rows make the result.
    pub kind: JoinKind,
    /// Whether the input of each side retracts.
    pub input_modes: [ChangelogMode; 2],
    /// Whether rows that need a match to be missing wait for the end, when it is.
    pub at_end: bool,
    /// For how long a row of each side is kept after it came; as long as it may matter for `None`.
    pub ttl: [Option<Interval>; 2],
    /// Within what of each other the times of matching rows are, of rows that are only added: those that need a match to
    /// be missing wait until the watermark has passed all they could match, and so long all are kept.
    pub within: Option<Within>,
    /// The columns of the result.
    pub schema: SchemaRef,
}

impl Join {
    /// Whether rows of the result are only added.
    pub fn mode(&self) -> ChangelogMode {
        let found_later = !self.waits() && (self.kind.alone(0) || self.kind.alone(1));
        match found_later || self.input_modes.contains(&ChangelogMode::Changelog) {
            true => ChangelogMode::Changelog,
            false => ChangelogMode::AppendOnly,
        }
    }

    /// Whether rows that need a match to be missing are said when none can come any more, and not before.
    pub fn waits(&self) -> bool {
        (self.kind.alone(0) || self.kind.alone(1)) && (self.at_end || self.within.is_some())
    }

    /// Where the time of a side stands in the result, if its times are within something of each other.
    pub fn time_place(&self, side: usize) -> Option<usize> {
        let time = self.within.as_ref()?.times[side].column;
        let first = if side == 0 { 0 } else { self.columns[0].len() };
        self.columns[side].iter().position(|column| *column == time).map(|place| first + place)
    }
}

/// Which rows make the result of a [`Join`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// And left rows without a match, NULLs beside them.
    Left,
    /// And right rows without a match, NULLs beside them.
    Right,
    /// And both.
    Full,
    /// Left rows that have a match, each once: `EXISTS` and `IN`.
    Semi,
    /// Left rows that have none: `NOT EXISTS` and `NOT IN`.
    Anti,
    /// All left rows, and whether they have a match.
    Mark,
}

impl JoinKind {
    /// Whether the result has pairs of rows; else it has left rows.
    pub fn pairs(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full)
    }

    /// Whether rows of a side (0 is the left one) are part of the result for want of a match.
    pub fn alone(self, side: usize) -> bool {
        match self {
            JoinKind::Inner | JoinKind::Semi => false,
            JoinKind::Left | JoinKind::Anti | JoinKind::Mark => side == 0,
            JoinKind::Right => side == 1,
            JoinKind::Full => true,
        }
    }
}

/// What a NULL in the key of a [`Join`] is equal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NullKeys {
    /// Nothing: `=`.
    Nothing,
    /// Another NULL: `IS NOT DISTINCT FROM`, and the set operations.
    Null,
    /// Whatever there is: what `NOT IN` cannot rule out.
    Anything,
}

/// What of the condition of a [`Join`] is not equality of keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Residual {
    /// The columns of each side that it looks at.
    pub columns: [Vec<usize>; 2],
    /// The condition over those columns, the left side's first; NULL is not true.
    pub predicate: Expr,
    /// What those columns are.
    pub schema: SchemaRef,
}
