//! Plans may be deep, and walking down one takes stack.

/// Below so much stack a walk goes on on a new piece of it.
const RED_ZONE_BYTES: usize = 128 * 1024;
const GROWTH_BYTES: usize = 4 * 1024 * 1024;

/// Walks a node further down a plan; however deep that is, there is stack for it.
pub(crate) fn deeper<T>(walk: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(RED_ZONE_BYTES, GROWTH_BYTES, walk)
}
