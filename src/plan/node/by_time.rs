//! Joins by time.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{ChangelogMode, JoinKind, Node, Residual};
use crate::expr::Expr;

/// Each left row with the right row of its key that is nearest in time: `ASOF JOIN`, and `FOR SYSTEM_TIME AS OF` the
/// left side's event time.
///
/// Port 0 is the left side. The result's columns are those of both sides. Of right rows at one time the last to come
/// counts or, if rows may also be taken back, the last in the order of their values.
///
/// If each row is said once and only the right side's rows may go, its rows are versions: one that takes the place of
/// another leaves that valid before its own time, and one that is deleted is valid until then.
#[derive(Debug, Clone, PartialEq)]
pub struct AsofJoin {
    /// Where the rows come from.
    pub inputs: [Box<Node>; 2],
    /// How EXPLAIN calls the sides.
    pub names: [Arc<str>; 2],
    /// The keys that have to be equal, of the same types on both sides; may be none. A NULL is equal to nothing.
    pub keys: [Vec<Expr>; 2],
    /// The times that are compared, of one type.
    pub times: [Expr; 2],
    /// Which row is the nearest.
    pub nearest: Nearest,
    /// [`JoinKind::Inner`], or [`JoinKind::Left`] to say left rows without a match beside NULLs.
    pub kind: JoinKind,
    /// When a left row is said.
    pub settles: Settles,
    /// Whether the input of each side retracts.
    pub input_modes: [ChangelogMode; 2],
    /// The columns of the result.
    pub schema: SchemaRef,
}

impl AsofJoin {
    /// Whether rows of the result are only added.
    pub fn mode(&self) -> ChangelogMode {
        match self.settles {
            Settles::Watermark | Settles::End => ChangelogMode::AppendOnly,
            Settles::Never => ChangelogMode::Changelog,
        }
    }
}

/// Each left row with the right rows that are there when it arrives: `FOR SYSTEM_TIME AS OF proctime()`.
///
/// Port 0 is the left side. The result's columns are those of both sides. What becomes of the right side later changes
/// nothing that was said; a left row that goes takes back what was said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupJoin {
    /// Where the rows come from.
    pub inputs: [Box<Node>; 2],
    /// How EXPLAIN calls the sides.
    pub names: [Arc<str>; 2],
    /// The keys that have to be equal, of the same types on both sides; may be none. A NULL is equal to nothing.
    pub keys: [Vec<Expr>; 2],
    /// The rest of the condition.
    pub residual: Option<Residual>,
    /// [`JoinKind::Inner`], or [`JoinKind::Left`] to say left rows without a match beside NULLs.
    pub kind: JoinKind,
    /// Whether the input of each side retracts.
    pub input_modes: [ChangelogMode; 2],
    /// The columns of the result.
    pub schema: SchemaRef,
}

impl LookupJoin {
    /// Whether rows of the result are only added.
    pub fn mode(&self) -> ChangelogMode {
        self.input_modes[0]
    }
}

/// Which right row is the nearest to a left one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearest {
    /// The last one that is not after it: `>=`.
    AtOrBefore,
    /// The last one before it: `>`.
    Before,
    /// The first one that is not before it: `<=`.
    AtOrAfter,
    /// The first one after it: `<`.
    After,
}

impl Nearest {
    /// Whether it is looked for among rows that come before.
    pub fn looks_back(self) -> bool {
        matches!(self, Nearest::AtOrBefore | Nearest::Before)
    }

    /// Whether a row at the same time is near.
    pub fn or_equal(self) -> bool {
        matches!(self, Nearest::AtOrBefore | Nearest::AtOrAfter)
    }
}

/// When a join by time says a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settles {
    /// Once the watermark has passed it: nothing that comes later can change it.
    Watermark,
    /// At the end of the input.
    End,
    /// At once, and what comes later corrects it.
    Never,
}
