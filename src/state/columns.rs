//! Columns by group number.

/// Makes a column `slots` long.
///
/// Grown by a quarter and not by doubling: a large column is moved by remapping its pages, so growing is cheap, and
/// at most a fifth of what is held is not in use.
pub fn grow_to<T: Clone>(column: &mut Vec<T>, slots: usize, value: T) {
    if slots > column.capacity() {
        let wanted = slots.max(column.len() + column.len() / 4).max(64);
        column.reserve_exact(wanted - column.len());
    }
    if slots > column.len() {
        column.resize(slots, value);
    }
}
