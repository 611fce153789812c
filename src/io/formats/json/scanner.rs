//! Walks over the text of one line: what is common is read here, and all else by the library.

use jiter::Jiter;

/// There is more than one way to read a line, or none.
pub(super) struct NotPlain;

/// What is left of a line.
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

/// The digits of which every number fits into 64 bits.
const SHORT_DIGITS: usize = 18;

impl<'a> Scanner<'a> {
    pub fn new(line: &'a [u8]) -> Scanner<'a> {
        Scanner { rest: line }
    }

    /// What has not been read, from the next word on.
    pub fn rest(&mut self) -> &'a [u8] {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest
    }

    /// Reads this byte if it is the next one.
    pub fn skips(&mut self, byte: u8) -> bool {
        self.skips_word(&[byte])
    }

    /// Reads this text if it is the next.
    pub fn skips_word(&mut self, word: &[u8]) -> bool {
        match self.rest().strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub fn expect(&mut self, byte: u8) -> Result<(), NotPlain> {
        if self.skips(byte) { Ok(()) } else { Err(NotPlain) }
    }

    /// The line must end here.
    pub fn end(&mut self) -> Result<(), NotPlain> {
        if self.rest().is_empty() { Ok(()) } else { Err(NotPlain) }
    }

    /// Reads an integer that surely fits; nothing if what comes is anything else.
    pub fn short_integer(&mut self) -> Option<i64> {
        let rest = self.rest();
        let (negative, digits) = match rest {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let mut value = 0;
        let mut length = 0;
        while let Some(digit) = digits.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            // It may wrap in a number of many digits, which is refused below.
            value = i64::wrapping_add(i64::wrapping_mul(value, 10), i64::from(digit));
            length += 1;
        }
        let leading_zero = length > 1 && digits.first() == Some(&b'0');
        let goes_on = matches!(digits.get(length), Some(b'.' | b'e' | b'E'));
        if length == 0 || length > SHORT_DIGITS || leading_zero || goes_on {
            return None;
        }
        self.rest = &digits[length..];
        Some(if negative { -value } else { value })
    }

    /// Reads a text of plain ASCII; nothing if what comes is anything else.
    pub fn short_text(&mut self) -> Option<&'a str> {
        let text = self.rest().strip_prefix(b"\"")?;
        let length = text.iter().position(|byte| !IS_PLAIN[usize::from(*byte)])?;
        let (text, rest) = text.split_at(length);
        self.rest = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    /// Reads any value, for nobody.
    pub fn skip_value(&mut self) -> Result<(), NotPlain> {
        if self.short_integer().is_some() || self.short_text().is_some() {
            return Ok(());
        }
        self.by_library(|json| Ok(json.next_skip()?))
    }

    /// Has the library read what comes.
    pub fn by_library<T>(&mut self, read: impl FnOnce(&mut Jiter<'a>) -> Result<T, NotPlain>) -> Result<T, NotPlain> {
        let mut json = Jiter::new(self.rest);
        let value = read(&mut json)?;
        self.rest = self.rest.get(json.current_index()..).ok_or(NotPlain)?;
        Ok(value)
    }
}

/// Which bytes stand for themselves within a text, and are a character each.
const IS_PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

impl From<jiter::JiterError> for NotPlain {
    fn from(_: jiter::JiterError) -> NotPlain {
        NotPlain
    }
}
