//! From text to tokens, and from tokens to statements.

use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::dialect::RiverrunDialect;

/// The tokens of a text without whitespace and comments, and what stopped the reading of it, if anything did.
pub(super) struct Lexed {
    pub(super) tokens: Vec<TokenWithSpan>,
    pub(super) error: Option<TokenizerError>,
}

pub(super) fn lex(text: &str) -> Lexed {
    let dialect = RiverrunDialect::new(&[]);
    let mut tokens = Vec::new();
    let error = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut tokens).err();
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    Lexed { tokens, error }
}

/// Whether the text is a whole number of statements: it ends with a semicolon, and not in a string, a comment or an
/// open parenthesis. A prompt asks for another line until it is.
pub fn is_complete(text: &str) -> bool {
    let Lexed { tokens, error } = lex(text);
    let mut open = 0_i64;
    for token in &tokens {
        match token.token {
            Token::LParen => open += 1,
            Token::RParen => open = (open - 1).max(0),
            _ => {}
        }
    }
    error.is_none() && open == 0 && tokens.last().is_some_and(|last| last.token == Token::SemiColon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_complete_at_its_semicolon() {
        for text in ["SELECT 1;", "SELECT ';' ; -- done", "SELECT (1); /* ; */", ";"] {
            assert!(is_complete(text), "{text}");
        }
        for text in ["", "SELECT 1", "SELECT ';", "SELECT 1 -- ;", "SELECT (1;", "SELECT /* ;", "SELECT 1; SELECT"] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
