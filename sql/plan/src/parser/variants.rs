//! Forms of SQL that sqlparser does not know, as those that it does: `TABLE t`, `FROM ONLY t`, `ORDER BY x USING >`, strings
//! over several lines.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{Query, SetExpr, VisitorMut},
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Whitespace, Word},
};

use super::Postgres;
use crate::{Error, Result, error::position_of, names::quoted};

/// Strings with a line feed between them as one, as in SQL.
///
/// # Errors
/// 42601 for two strings side by side, of which sqlparser takes the second for a name.
pub(super) fn joined(tokens: Vec<TokenWithSpan>, text: &str) -> Result<Vec<TokenWithSpan>> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut breaks = false;
    // Where the last token that is no blank stands.
    let mut last: Option<usize> = None;
    for token in tokens {
        if let Token::Whitespace(blank) = &token.token {
            breaks |= matches!(blank, Whitespace::Newline | Whitespace::SingleLineComment { .. });
            out.push(token);
            continue;
        }
        if let Token::SingleQuotedString(more) = &token.token
            && let Some(before) = last.and_then(|at| out.get_mut(at))
            && let Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) = &before.token
        {
            if !breaks {
                // It may be what nobody is to see.
                let lower = text.to_lowercase();
                let mut error = Error::syntax(match lower.contains("password") || lower.contains("secret") {
                    true => "syntax error at or near a string".to_owned(),
                    false => format!("syntax error at or near \"'{more}'\""),
                });
                let start = token.span.start;
                error.position = position_of(text, start.line as usize, start.column as usize);
                return Err(error);
            }
            before.span.end = token.span.end;
            match &mut before.token {
                // The tokenizer has not seen that its escapes go on.
                Token::EscapedStringLiteral(_) if more.contains('\\') => {
                    let what = "an E'…' string with escapes in its next line";
                    return Err(Error::unsupported(
                        what,
                        "Write the lines as strings of their own and join them by ||.",
                    ));
                }
                Token::SingleQuotedString(first) | Token::EscapedStringLiteral(first) => first.push_str(more),
                _ => {}
            }
            continue;
        }
        breaks = false;
        last = Some(out.len());
        out.push(token);
    }
    Ok(out)
}

/// `TABLE t` within a query as `SELECT * FROM t`.
pub(super) struct Tables;

impl VisitorMut for Tables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        selected(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn selected(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            selected(left);
            selected(right);
        }
        SetExpr::Table(table) => {
            let names = [&table.schema_name, &table.table_name].into_iter().flatten().map(|name| quoted(name));
            let text = format!("SELECT * FROM {}", names.collect::<Vec<_>>().join("."));
            let parsed = Parser::new(&Postgres).try_with_sql(&text).and_then(|mut parser| parser.parse_query());
            if let Ok(query) = parsed {
                *body = *query.body;
            }
        }
        SetExpr::Select(_)
        | SetExpr::Query(_)
        | SetExpr::Values(_)
        | SetExpr::Insert(_)
        | SetExpr::Update(_)
        | SetExpr::Delete(_)
        | SetExpr::Merge(_) => {}
    }
}

/// The words of a query as sqlparser takes them.
pub(super) fn plain(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1).map(|token| &token.token);
        let is_name = matches!(next, Some(Token::Word(_)));
        let before = out.last().and_then(word);
        match (word(token), next) {
            (Some("TABLE"), _) if is_name && at == 0 => {
                for keyword in ["SELECT", "*", "FROM"] {
                    out.push(TokenWithSpan { token: spelled(keyword), span: token.span });
                }
            }
            (Some("ONLY"), _) if is_name && matches!(before, Some("FROM" | "JOIN")) => {}
            (Some("USING"), Some(Token::Gt)) => out.push(TokenWithSpan { token: spelled("DESC"), span: token.span }),
            (Some("USING"), Some(Token::Lt)) => out.push(TokenWithSpan { token: spelled("ASC"), span: token.span }),
            (None, _)
                if matches!(token.token, Token::Gt | Token::Lt) && at > 0 && word(&tokens[at - 1]) == Some("USING") => {
            }
            _ => out.push(token.clone()),
        }
    }
    out
}

/// A word without quotes, of those that stand here.
fn word(token: &TokenWithSpan) -> Option<&'static str> {
    let Token::Word(Word { value, quote_style: None, .. }) = &token.token else { return None };
    const WORDS: [&str; 5] = ["TABLE", "ONLY", "USING", "FROM", "JOIN"];
    WORDS.into_iter().find(|word| value.eq_ignore_ascii_case(word))
}

fn spelled(word: &str) -> Token {
    if word == "*" { Token::Mul } else { Token::make_keyword(word) }
}
