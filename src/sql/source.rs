//! From the parser's lines and columns to bytes of the text.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use sqlparser::tokenizer::{Location, Span};

use crate::error::Place;

/// A text and a memory of where it was last looked at.
///
/// The parser counts lines and columns, in characters, from 1; a [`Place`] counts bytes. Most questions come in the
/// order of the text, so each goes on from the last answer, and a long text is walked through about once.
#[derive(Debug)]
pub(super) struct Source {
    text: Arc<str>,
    /// A point no later question is likely to lie before: where the statement begins.
    base: Cell<Point>,
    last: Cell<Point>,
    /// Where the statement ends.
    end: Cell<usize>,
}

/// A position, counted both ways.
#[derive(Debug, Clone, Copy)]
struct Point {
    line: u64,
    column: u64,
    byte: usize,
}

const START: Point = Point { line: 1, column: 1, byte: 0 };

impl Source {
    pub(super) fn new(text: Arc<str>) -> Self {
        let end = Cell::new(text.len());
        Source { text, base: Cell::new(START), last: Cell::new(START), end }
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Says which part of the text is the statement that the next questions are about, and returns its bytes.
    pub(super) fn begin(&self, start: Location, end: Location) -> Range<usize> {
        let start = self.byte(start);
        self.base.set(self.last.get());
        let end = self.byte(end).max(start);
        self.end.set(end);
        start..end
    }

    /// The byte at `location`, or the end of the text if it lies behind it.
    pub(super) fn byte(&self, location: Location) -> usize {
        let reached = |from: Point| (from.line, from.column) <= (location.line, location.column);
        let from = [self.last.get(), self.base.get()].into_iter().find(|point| reached(*point)).unwrap_or(START);
        let point = self.walk(from, location);
        self.last.set(point);
        point.byte
    }

    fn walk(&self, mut point: Point, to: Location) -> Point {
        for character in self.text[point.byte..].chars() {
            if (point.line, point.column) >= (to.line, to.column) {
                break;
            }
            point.byte += character.len_utf8();
            if character == '\n' {
                point.line += 1;
                point.column = 1;
            } else {
                point.column += 1;
            }
        }
        point
    }

    /// The place of a span. The empty span, which the parser gives to what has no position, is the end of the statement.
    pub(super) fn place(&self, span: Span) -> Place {
        if span.start.line == 0 {
            let end = self.end.get();
            return Place::new(self.text.clone(), end..end);
        }
        let start = self.byte(span.start);
        let end = self.byte(span.end).max(start);
        Place::new(self.text.clone(), start..end)
    }
}

/// The place of a span of the parser in `text`.
pub fn place_of(text: &Arc<str>, span: Span) -> Place {
    Source::new(text.clone()).place(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offending(text: &str, start: (u64, u64), end: (u64, u64)) -> String {
        let span = Span::new(Location::new(start.0, start.1), Location::new(end.0, end.1));
        place_of(&text.into(), span).offending().to_string()
    }

    #[test]
    fn columns_count_characters_and_tabs_as_one() {
        assert_eq!(offending("SELECT 'é',\r\n\tnope", (2, 2), (2, 6)), "nope");
        assert_eq!(offending("äöü x", (1, 5), (1, 6)), "x");
    }

    #[test]
    fn a_span_behind_the_text_is_its_end() {
        assert_eq!(offending("a", (7, 1), (7, 9)), "");
        assert_eq!(place_of(&"abc".into(), Span::empty()).bytes(), 3..3);
    }

    #[test]
    fn looking_back_gives_the_same_answer() {
        let source = Source::new("one\ntwo\nthree".into());
        let at = |line, column| Location::new(line, column);
        assert_eq!(source.byte(at(3, 2)), 9);
        assert_eq!(source.byte(at(1, 2)), 1);
        assert_eq!(source.begin(at(2, 1), at(3, 6)), 4..13);
        assert_eq!((source.byte(at(3, 1)), source.byte(at(2, 2)), source.byte(at(1, 1))), (8, 5, 0));
    }
}
