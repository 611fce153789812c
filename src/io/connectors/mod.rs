//! Where rows come from and go to.

pub(super) mod file;
pub mod memory;
