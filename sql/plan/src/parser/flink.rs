//! Flink's way to write a window, `TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '1' MINUTE))`, becomes ours:
//! `TUMBLE(bids, at, INTERVAL '1' MINUTE)`. Done to the tokens, as PostgreSQL's grammar has no such arguments.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::WindowKind;

pub(super) fn plain_windows(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut tokens = tokens;
    let mut at = 0;
    while at < tokens.len() {
        let function = word(&tokens, at + 2).is_some_and(|name| WindowKind::of(&name).is_some() || name == "CUMULATE");
        if word(&tokens, at).as_deref() == Some("TABLE")
            && is(&tokens, at + 1, &Token::LParen)
            && function
            && let Some(end) = closing(&tokens, at + 1)
        {
            tokens.remove(end);
            tokens.drain(at..at + 2);
            if let Some(end) = closing(&tokens, at + 1) {
                let inside = arguments(tokens[at + 2..end].to_vec());
                tokens.splice(at + 2..end, inside);
            }
        }
        at += 1;
    }
    tokens
}

/// Without `TABLE`, `DESCRIPTOR( )` and the `PARTITION BY` of a session, which the groups say.
fn arguments(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match word(&tokens, at).as_deref() {
            Some("TABLE") if at == 0 => {}
            Some("PARTITION") if word(&tokens, at + 1).as_deref() == Some("BY") => {
                while at + 1 < tokens.len() && !is(&tokens, at + 1, &Token::Comma) {
                    at += 1;
                }
            }
            Some("DESCRIPTOR") if is(&tokens, at + 1, &Token::LParen) => {
                if let Some(end) = closing(&tokens, at + 1) {
                    out.extend_from_slice(&tokens[at + 2..end]);
                    at = end;
                }
            }
            _ => out.push(tokens[at].clone()),
        }
        at += 1;
    }
    out
}

/// Where the parenthesis that opens here is closed.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn word(tokens: &[TokenWithSpan], at: usize) -> Option<String> {
    match &tokens.get(at)?.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

fn is(tokens: &[TokenWithSpan], at: usize, token: &Token) -> bool {
    tokens.get(at).is_some_and(|found| found.token == *token)
}
