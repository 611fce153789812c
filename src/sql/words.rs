//! Small questions about tokens.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Whether a token is this word, unquoted, in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Whether a token is one of these words.
pub(super) fn is_one_of(token: &Token, words: &[&str]) -> bool {
    words.iter().any(|word| is_word(token, word))
}

/// The keyword a token is, if it is one.
pub(super) fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Whether the tokens at `at` are these words and signs.
pub(super) fn starts_with(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> bool {
    let found = tokens.get(at..at.saturating_add(words.len()));
    found.is_some_and(|found| {
        found.iter().zip(words).all(|(token, word)| match &token.token {
            Token::Word(_) => is_word(&token.token, word),
            other => other.to_string() == **word,
        })
    })
}

/// The token at `at`; the end of the input behind the last.
pub(super) fn token_at(tokens: &[TokenWithSpan], at: usize) -> &Token {
    tokens.get(at).map_or(&Token::EOF, |token| &token.token)
}

/// Whether the token at `at` can only be a name, because of the dot or the `AS` before it.
pub(super) fn is_named(tokens: &[TokenWithSpan], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| {
        let before = token_at(tokens, before);
        *before == Token::Period || keyword(before) == Keyword::AS
    })
}

/// The word of `words` that `found` was probably meant to be: one letter changed, missing, added or swapped.
pub(super) fn closest<'a>(found: &str, words: &[&'a str]) -> Option<&'a str> {
    let found = found.to_ascii_uppercase();
    let most = if found.len() < 6 { 1 } else { 2 };
    let near = words.iter().map(|word| (distance(&found, word), *word)).filter(|(far, _)| (1..=most).contains(far));
    near.min_by_key(|(far, _)| *far).map(|(_, word)| word)
}

/// How many letters must be changed, added, removed or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().take(40).collect(), right.chars().collect());
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let changed = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
                    let swapped = i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
                    let swap = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                    changed.min(swap).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
                }
            };
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_found() {
        let words = ["FROM", "SELECT", "WHERE"];
        assert_eq!(closest("form", &words), Some("FROM"));
        assert_eq!(closest("selct", &words), Some("SELECT"));
        assert_eq!(closest("bids", &words), None);
        assert_eq!(closest("from", &words), None);
    }
}
