//! Where rows come from and go to.

pub(super) mod file;
pub(super) mod file_sink;
pub mod memory;
#[cfg(feature = "nexmark")]
pub(super) mod nexmark;
pub mod nexmark_options;
