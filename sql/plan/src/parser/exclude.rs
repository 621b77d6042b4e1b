//! `EXCLUDE` of a window frame, which sqlparser does not know. `EXCLUDE NO OTHERS` says what is so without it.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Error, Result, error::position_of};

/// Words behind `EXCLUDE`, before the bracket that ends the window.
const REFUSED: [&[&str]; 3] = [&["CURRENT", "ROW"], &["GROUP"], &["TIES"]];
const DEFAULT: [&str; 2] = ["NO", "OTHERS"];

/// Takes `EXCLUDE NO OTHERS` away.
///
/// # Errors
/// 0A000 for the others.
pub(super) fn without_default(tokens: &mut Vec<TokenWithSpan>, text: &str) -> Result<()> {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(tokens.get(at), "EXCLUDE") {
            let behind = at + 1;
            if ends_with(tokens, behind, &DEFAULT) {
                tokens.drain(at..=behind + 1);
                continue;
            }
            if let Some(words) = REFUSED.iter().find(|words| ends_with(tokens, behind, words)) {
                let what = format!("EXCLUDE {} of a window frame", words.join(" "));
                let hint = "Compute what is left out beside it, such as sum(x) OVER w - x.";
                let mut error = Error::unsupported(what, hint);
                let start = tokens[at].span.start;
                error.position = position_of(text, start.line as usize, start.column as usize);
                return Err(error);
            }
        }
        at += 1;
    }
    Ok(())
}

fn ends_with(tokens: &[TokenWithSpan], from: usize, words: &[&str]) -> bool {
    let all = words.iter().enumerate().all(|(at, word)| is_word(tokens.get(from + at), word));
    all && tokens.get(from + words.len()).is_some_and(|token| token.token == Token::RParen)
}

fn is_word(token: Option<&TokenWithSpan>, word: &str) -> bool {
    match token.map(|token| &token.token) {
        Some(Token::Word(found)) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
        Some(_) | None => false,
    }
}
