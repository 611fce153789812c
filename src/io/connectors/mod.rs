//! Where rows come from and go to.

pub mod file;
pub mod memory;
