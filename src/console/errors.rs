//! An error as people read it: the code, the message, the line with a caret, and what to do about it.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use crate::error::{Error, Place};

/// Whether text may carry terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// It may.
    On,
    /// It may not.
    #[default]
    Off,
}

/// How long a line of SQL may be before only the part around the error is shown.
const WIDTH: usize = 140;

/// What stands for a file's name in the drawing of a statement that was typed.
const STATEMENT: &str = "<statement>";

/// The error on several lines, without a line break at the end.
///
/// `origin` names the file that the statement came from, if it came from one.
///
/// ```text
/// error[unknown-column]: no column "amuont"
///  --> line 1, column 8
///   |
/// 1 | SELECT amuont FROM orders
///   |        ^^^^^^
///   |
///   = help: Did you mean "amount"?
/// ```
pub fn render(error: &Error, origin: Option<&str>, colour: Colour) -> String {
    let message = error.message();
    let hint = error.hint();
    let title = Group::with_title(Level::ERROR.primary_title(message).id(error.code().as_str()));
    let Some(place) = error.place() else {
        let title = renderer(colour).render(&[title]);
        return hint.map_or(title.clone(), |hint| format!("{title}\n  = help: {hint}"));
    };
    let group = title.element(snippet(place, origin)).elements(hint.map(|hint| Level::HELP.message(hint)));
    let text = renderer(colour).render(&[group]);
    if origin.is_some() { text } else { without_file(&text, place) }
}

fn snippet<'a>(place: &'a Place, origin: Option<&'a str>) -> Snippet<'a, Annotation<'a>> {
    Snippet::source(place.text())
        .path(origin.unwrap_or(STATEMENT))
        .annotation(AnnotationKind::Primary.span(place.bytes()))
}

/// A typed statement has no file to name before its line and column.
fn without_file(text: &str, place: &Place) -> String {
    let (line, column) = (place.line(), place.column());
    text.replacen(&format!("{STATEMENT}:{line}:{column}"), &format!("line {line}, column {column}"), 1)
}

fn renderer(colour: Colour) -> Renderer {
    match colour {
        Colour::On => Renderer::styled(),
        Colour::Off => Renderer::plain(),
    }
    .term_width(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, DataError, StatementError};

    fn misspelt() -> Error {
        let place = Place::new("SELECT 1;\nSELECT amuont FROM orders".into(), 17..23);
        StatementError::new(Code::UnknownColumn, "no column \"amuont\"")
            .at(place)
            .hint("Did you mean \"amount\"?")
            .into()
    }

    #[test]
    fn an_error_points_at_its_place() {
        let expected = "\
error[unknown-column]: no column \"amuont\"
 --> line 2, column 8
  |
2 | SELECT amuont FROM orders
  |        ^^^^^^
  |
  = help: Did you mean \"amount\"?";
        assert_eq!(render(&misspelt(), None, Colour::Off), expected);
    }

    #[test]
    fn an_error_without_a_place_is_a_line() {
        let error = DataError::new(Code::Value, "divide by zero");
        assert_eq!(render(&error.clone().into(), None, Colour::Off), "error[value]: divide by zero");
        let expected = "error[value]: divide by zero\n  = help: Use nullif.";
        assert_eq!(render(&error.hint("Use nullif.").into(), None, Colour::Off), expected);
    }

    #[test]
    fn colour_is_only_added_when_asked_for() {
        assert!(render(&misspelt(), None, Colour::On).contains('\u{1b}'));
        assert!(!render(&misspelt(), None, Colour::Off).contains('\u{1b}'));
    }

    #[test]
    fn an_error_at_the_end_of_the_text_is_shown() {
        let error: Error = StatementError::new(Code::Syntax, "the statement ends too early")
            .at(Place::new("SELECT".into(), 6..6))
            .into();
        assert!(render(&error, Some("a.sql"), Colour::Off).contains("--> a.sql:1:7"));
    }
}
