//! Text in, text out: the shell without a terminal.

mod errors;
mod render;
mod value;

pub use errors::{Colour, render as render_error};
pub use render::Format;
