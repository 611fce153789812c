//! From bytes to fields: the grammar of CSV.
//!
//! A field is either plain, and then it goes to the next delimiter or the end of the line, or it begins with a quote,
//! and then it goes to the next quote that is neither doubled nor escaped, over lines if need be. A line ends with
//! a line feed, a carriage return, or both. Empty lines and comments are no rows.

use std::borrow::Cow;

use crate::io::options::CsvOptions;

/// A field's place in the bytes, and how it was written.
///
/// There is one for every field of a batch, so the two facts about it ride in the highest bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

const FLAG: u32 = 1 << 31;

impl Span {
    fn new(start: usize, end: usize, quoted: bool, escaped: bool) -> Span {
        // A batch is far below 2 GiB: `max_row_bytes` and the bytes of a batch see to it.
        let place = |at: usize, flag: bool| (at as u32 & !FLAG) | if flag { FLAG } else { 0 };
        Span { start: place(start, quoted), end: place(end, escaped) }
    }

    /// Whether it was written in quotes.
    pub fn is_quoted(self) -> bool {
        self.start & FLAG != 0
    }

    /// Whether it holds doubled or escaped quotes.
    pub fn is_escaped(self) -> bool {
        self.end & FLAG != 0
    }

    /// Its bytes, without the quotes around them.
    pub fn bytes(self) -> std::ops::Range<usize> {
        (self.start & !FLAG) as usize..(self.end & !FLAG) as usize
    }
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// A row; its fields were added to the spans.
    Row { start: usize, next: usize },
    /// Something that is no row, up to `next`.
    Malformed { start: usize, next: usize },
    /// A quote that is never closed.
    Unclosed { start: usize },
    /// The beginning of something: more bytes are needed. What is before `start` is done with.
    More { start: usize },
    /// Nothing more.
    End { start: usize },
}

/// The characters that mean something.
#[derive(Debug, Clone)]
pub(super) struct Grammar {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<u8>,
    /// Which bytes end a plain field.
    ends_plain: [bool; 256],
}

enum Step {
    /// A delimiter: another field follows at this place.
    Field(usize),
    /// The end of the line: the next row begins at this place.
    Row(usize),
    Stop(Stop),
}

enum Stop {
    More,
    Unclosed,
    Malformed(usize),
}

impl Grammar {
    pub fn new(options: &CsvOptions) -> Grammar {
        let mut ends_plain = [false; 256];
        for byte in [options.delimiter, b'\n', b'\r'] {
            ends_plain[usize::from(byte)] = true;
        }
        let CsvOptions { delimiter, quote, escape, comment, .. } = *options;
        Grammar { delimiter, quote, escape, comment, ends_plain }
    }

    /// Reads the row at or after `at`, and adds its fields to `spans`. `ended` says that no bytes come after these.
    pub fn scan(&self, bytes: &[u8], at: usize, ended: bool, spans: &mut Vec<Span>) -> Scan {
        let (start, found) = self.skip_to_row(bytes, at, ended);
        if !found {
            return if ended { Scan::End { start } } else { Scan::More { start } };
        }
        let known = spans.len();
        let mut at = start;
        loop {
            match self.field(bytes, at, ended, spans) {
                Step::Field(next) => at = next,
                Step::Row(next) => return Scan::Row { start, next },
                Step::Stop(stop) => {
                    spans.truncate(known);
                    return match stop {
                        Stop::More => Scan::More { start },
                        Stop::Unclosed => Scan::Unclosed { start },
                        Stop::Malformed(next) => Scan::Malformed { start, next },
                    };
                }
            }
        }
    }

    /// Passes over empty lines and comments. Says whether there is something after them.
    fn skip_to_row(&self, bytes: &[u8], mut at: usize, ended: bool) -> (usize, bool) {
        while let Some(byte) = bytes.get(at) {
            if *byte == b'\n' || *byte == b'\r' {
                at += 1;
            } else if self.comment == Some(*byte) {
                match bytes[at..].iter().position(|byte| *byte == b'\n') {
                    Some(end) => at += end + 1,
                    None => return (if ended { bytes.len() } else { at }, false),
                }
            } else {
                return (at, true);
            }
        }
        (at, false)
    }

    fn field(&self, bytes: &[u8], at: usize, ended: bool, spans: &mut Vec<Span>) -> Step {
        if self.quote.is_some() && self.quote == bytes.get(at).copied() {
            return self.quoted_field(bytes, at, ended, spans);
        }
        let length = bytes[at..].iter().position(|byte| self.ends_plain[usize::from(*byte)]);
        let end = length.map_or(bytes.len(), |length| at + length);
        let step = self.after_field(bytes, end, ended);
        if !matches!(step, Step::Stop(_)) {
            spans.push(Span::new(at, end, false, false));
        }
        step
    }

    fn quoted_field(&self, bytes: &[u8], open: usize, ended: bool, spans: &mut Vec<Span>) -> Step {
        let mut escaped = false;
        let mut at = open + 1;
        loop {
            let special = |byte: &u8| Some(*byte) == self.quote || Some(*byte) == self.escape;
            let Some(length) = bytes.get(at..).and_then(|rest| rest.iter().position(special)) else {
                return Step::Stop(if ended { Stop::Unclosed } else { Stop::More });
            };
            at += length;
            let next = bytes.get(at + 1).copied();
            if next.is_none() && !ended {
                return Step::Stop(Stop::More);
            }
            let doubled = Some(bytes[at]) == self.quote && next == self.quote;
            let escapes = Some(bytes[at]) != self.quote;
            if !doubled && !escapes {
                break;
            }
            escaped = true;
            at += 2;
        }
        let step = self.after_field(bytes, at + 1, ended);
        if !matches!(step, Step::Stop(_)) {
            spans.push(Span::new(open + 1, at, true, escaped));
        }
        step
    }

    /// What follows a field that ended at `at`.
    fn after_field(&self, bytes: &[u8], at: usize, ended: bool) -> Step {
        match bytes.get(at) {
            Some(byte) if *byte == self.delimiter => Step::Field(at + 1),
            Some(b'\n') => Step::Row(at + 1),
            Some(b'\r') => match bytes.get(at + 1) {
                Some(b'\n') => Step::Row(at + 2),
                None if !ended => Step::Stop(Stop::More),
                Some(_) | None => Step::Row(at + 1),
            },
            None if ended => Step::Row(at),
            None => Step::Stop(Stop::More),
            // Something stands between a closing quote and the delimiter. The row goes to the end of the line.
            Some(_) => match bytes[at..].iter().position(|byte| *byte == b'\n') {
                Some(length) => Step::Stop(Stop::Malformed(at + length + 1)),
                None if ended => Step::Stop(Stop::Malformed(bytes.len())),
                None => Step::Stop(Stop::More),
            },
        }
    }

    /// What a field says: its text, with doubled and escaped quotes as they were meant.
    pub fn unescape<'a>(&self, text: &'a str, span: Span) -> Cow<'a, str> {
        let text = text.get(span.bytes()).unwrap_or_default();
        if !span.is_escaped() {
            return Cow::Borrowed(text);
        }
        let mut plain = String::with_capacity(text.len());
        let mut characters = text.chars();
        let is = |character: char, byte: Option<u8>| byte.map(char::from) == Some(character);
        while let Some(character) = characters.next() {
            // Within a field every quote has a second before or behind it, and an escape is followed by what it escapes.
            let kept = if is(character, self.quote) || is(character, self.escape) {
                characters.next()
            } else {
                Some(character)
            };
            plain.extend(kept);
        }
        Cow::Owned(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a text, read with what is there growing by `step` bytes at a time.
    fn rows(text: &str, options: &CsvOptions, step: usize) -> Vec<Vec<String>> {
        let grammar = Grammar::new(options);
        let (mut rows, mut at, mut seen) = (Vec::new(), 0, 0);
        loop {
            let mut spans = Vec::new();
            match grammar.scan(&text.as_bytes()[..seen], at, seen == text.len(), &mut spans) {
                Scan::Row { next, .. } => {
                    rows.push(spans.iter().map(|span| grammar.unescape(text, *span).into_owned()).collect());
                    at = next;
                }
                Scan::Malformed { next, .. } => {
                    rows.push(vec!["malformed".into()]);
                    at = next;
                }
                Scan::Unclosed { .. } => {
                    rows.push(vec!["unclosed".into()]);
                    return rows;
                }
                Scan::More { start } => (at, seen) = (start, (seen + step).min(text.len())),
                Scan::End { .. } => return rows,
            }
        }
    }

    fn check(text: &str, options: &CsvOptions, expected: &[&[&str]]) {
        for step in [1, 2, 3, 1000] {
            assert_eq!(rows(text, options, step), expected, "{text:?} by {step}");
        }
    }

    #[test]
    fn fields_are_told_apart() {
        let csv = CsvOptions::default();
        check("a,b\n1,2\n", &csv, &[&["a", "b"], &["1", "2"]]);
        check("a,b\r\n\r\n\n1,\r\n,2", &csv, &[&["a", "b"], &["1", ""], &["", "2"]]);
        check("\"a,\n\"\"b\"\"\",\"\"\nx\"y,z", &csv, &[&["a,\n\"b\"", ""], &["x\"y", "z"]]);
        check("é,\"ü\"\n", &csv, &[&["é", "ü"]]);
        check("a\rb\r\n", &csv, &[&["a"], &["b"]]);
        check("", &csv, &[]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let csv = CsvOptions::default();
        check("\"a\"b,c\nd,e\n", &csv, &[&["malformed"], &["d", "e"]]);
        check("a\n\"b,c\nd\n", &csv, &[&["a"], &["unclosed"]]);
    }

    #[test]
    fn every_character_can_be_chosen() {
        let csv = CsvOptions {
            delimiter: b';',
            quote: Some(b'\''),
            escape: Some(b'\\'),
            comment: Some(b'#'),
            ..CsvOptions::default()
        };
        check("# no\n'a\\'b';'c''d;'\n#\ne;'\\\\'\n# x", &csv, &[&["a'b", "c'd;"], &["e", "\\"]]);
        let unquoted = CsvOptions { quote: None, ..CsvOptions::default() };
        check("\"a,b\n", &unquoted, &[&["\"a", "b"]]);
    }
}
