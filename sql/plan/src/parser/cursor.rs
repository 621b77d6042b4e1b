//! Walking the tokens of one statement.

use datafusion::sql::sqlparser::{
    ast::{Expr, Query},
    parser::Parser,
    tokenizer::{Token, TokenWithSpan},
};

use super::dialect::Postgres;
use crate::{
    Error, Result,
    error::{from_parser, position_of},
};

pub(super) struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<TokenWithSpan>,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// `tokens` without white space; `text` is what positions are counted in.
    pub(super) fn new(text: &'a str, tokens: Vec<TokenWithSpan>) -> Self {
        Self { text, tokens, at: 0 }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn rest(&self) -> &[TokenWithSpan] {
        &self.tokens[self.at..]
    }

    pub(super) fn word(&self, ahead: usize) -> Option<String> {
        match &self.tokens.get(self.at + ahead)?.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
            _ => None,
        }
    }

    /// True where these words come next.
    pub(super) fn at(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| self.word(ahead).as_deref() == Some(*word))
    }

    pub(super) fn skip(&mut self, tokens: usize) {
        self.at += tokens;
    }

    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let found = self.at(words);
        if found {
            self.at += words.len();
        }
        found
    }

    pub(super) fn expect(&mut self, words: &[&str]) -> Result<()> {
        if self.take(words) { Ok(()) } else { Err(self.unexpected().detail(format!("Expected {}.", words.join(" ")))) }
    }

    pub(super) fn is(&self, token: &Token) -> bool {
        self.tokens.get(self.at).is_some_and(|found| found.token == *token)
    }

    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        let found = self.is(token);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.unexpected().detail(format!("Expected \"{token}\"."))) }
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.at >= self.tokens.len() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn finished(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn unexpected(&self) -> Error {
        match self.tokens.get(self.at) {
            Some(token) => self.near(token),
            None => Error::syntax("syntax error at end of input").at(self.text.chars().count() + 1),
        }
    }

    pub(super) fn near(&self, token: &TokenWithSpan) -> Error {
        if token.token == Token::EOF {
            return Error::syntax("syntax error at end of input").at(self.text.chars().count() + 1);
        }
        let error = Error::syntax(format!("syntax error at or near \"{}\"", token.token));
        match position_of(self.text, token.span.start.line as usize, token.span.start.column as usize) {
            Some(position) => error.at(position),
            None => error,
        }
    }

    /// Character the next token starts at.
    pub(super) fn position(&self) -> usize {
        let start = self.tokens.get(self.at).map(|token| token.span.start);
        start
            .and_then(|start| position_of(self.text, start.line as usize, start.column as usize))
            .unwrap_or_else(|| self.text.chars().count() + 1)
    }

    /// An identifier, folded to lower case unless quoted.
    pub(super) fn identifier(&mut self) -> Result<String> {
        match self.tokens.get(self.at).map(|token| &token.token) {
            Some(Token::Word(word)) => {
                let name = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A name, `public.` allowed before it.
    pub(super) fn object_name(&mut self) -> Result<String> {
        let position = self.position();
        let first = self.identifier()?;
        if !self.take_token(&Token::Period) {
            return Ok(first);
        }
        if first != "public" {
            return Err(Error::new("3F000", format!("schema \"{first}\" cannot hold objects"))
                .at(position)
                .hint("Objects live in schema public."));
        }
        self.identifier()
    }

    pub(super) fn string(&mut self) -> Result<String> {
        match self.tokens.get(self.at).map(|token| &token.token) {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// The next token as it is written, for option values and types.
    pub(super) fn next(&mut self) -> Result<Token> {
        let token = self.tokens.get(self.at).ok_or_else(|| self.unexpected())?.token.clone();
        self.at += 1;
        Ok(token)
    }

    /// The tokens inside of the parentheses that open here; moves behind the closing one.
    pub(super) fn group(&mut self) -> Result<Vec<TokenWithSpan>> {
        self.expect_token(&Token::LParen)?;
        let (start, mut depth) = (self.at, 0);
        while let Some(token) = self.tokens.get(self.at) {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => {
                    let inside = self.tokens[start..self.at].to_vec();
                    self.at += 1;
                    return Ok(inside);
                }
                Token::RParen => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
        Err(self.unexpected())
    }

    pub(super) fn inside(&self, tokens: Vec<TokenWithSpan>) -> Self {
        Self { text: self.text, tokens, at: 0 }
    }

    /// An expression; stops where sqlparser does.
    pub(super) fn expr(&mut self) -> Result<Expr> {
        let mut parser = Parser::new(&Postgres).with_tokens_with_locations(self.rest().to_vec());
        let expr = parser.parse_expr().map_err(|error| from_parser(&error, self.text))?;
        self.at += parser.index();
        Ok(expr)
    }

    /// A query that takes all that is left.
    pub(super) fn query(&mut self) -> Result<Box<Query>> {
        if self.finished() {
            return Err(self.unexpected());
        }
        let mut parser = Parser::new(&Postgres).with_tokens_with_locations(self.rest().to_vec());
        let query = parser.parse_query().map_err(|error| from_parser(&error, self.text))?;
        let next = parser.peek_token();
        if next.token != Token::EOF {
            return Err(self.near(&next));
        }
        self.at = self.tokens.len();
        Ok(query)
    }

    /// What is left becomes what `change` makes of it.
    pub(super) fn replace(&mut self, change: impl FnOnce(Vec<TokenWithSpan>) -> Vec<TokenWithSpan>) {
        let rest = self.tokens.split_off(self.at);
        self.tokens.extend(change(rest));
    }

    /// Takes the tokens `[from, to)`, counted from here, out of the statement.
    pub(super) fn cut(&mut self, from: usize, to: usize) -> Vec<TokenWithSpan> {
        self.tokens.drain(self.at + from..self.at + to).collect()
    }
}
