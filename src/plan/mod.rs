//! WHAT DOES IT MEAN? From a statement to a [`Node`]. Pure: no I/O, no clock, the same plan on every run.

pub mod node;

pub use node::Node;
