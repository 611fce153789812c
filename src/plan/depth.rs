//! Plans may be deep, and walking down one takes stack.

/// Planning recurses with the query; it never runs on less stack than this.
const PLANNING_BYTES: usize = 64 << 20;
/// What a piece of stack made for it has besides, so that it is still enough for who asks further down.
const PLANNING_BYTES_MORE: usize = 8 << 20;

/// Below so much stack a walk goes on on a new piece of it.
const RED_ZONE_BYTES: usize = 128 * 1024;
const GROWTH_BYTES: usize = 4 * 1024 * 1024;

/// Plans with stack enough, on a new piece of it if need be.
///
/// To make one and touch its pages takes a twentieth of the time that a query takes to plan: what parses and then plans
/// does well to do both in this.
pub(crate) fn with_stack<T>(plan: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(PLANNING_BYTES, PLANNING_BYTES + PLANNING_BYTES_MORE, plan)
}

/// Walks a node further down a plan; however deep that is, there is stack for it.
pub(crate) fn deeper<T>(walk: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(RED_ZONE_BYTES, GROWTH_BYTES, walk)
}
