//! WHAT WAS SAID? From text to [`Statement`]. Syntax only: no name is looked up here.

mod statement;

pub use statement::*;
