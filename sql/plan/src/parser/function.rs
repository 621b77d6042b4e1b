//! `CREATE FUNCTION`: arguments, a type, and an expression in quotes.

use datafusion::sql::sqlparser::{
    ast::Expr,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use super::dialect::Postgres;
use super::{ColumnType, cursor::Cursor, tokenizer, types};
use crate::{Error, Result, macros::sql_type, names::quoted};

/// A function: an expression over its arguments, which is put in the place of a call.
#[derive(Clone, Debug)]
pub(crate) struct FunctionBody {
    pub(crate) arguments: Vec<Argument>,
    pub(crate) returns: ColumnType,
    /// The expression as it is written between the quotes.
    pub(crate) text: String,
    /// Parsed from `text`, where its places are.
    pub(crate) expr: Expr,
    quotes: Quotes,
}

#[derive(Clone, Debug)]
pub(crate) struct Argument {
    /// An argument without a name is called by its number alone.
    pub(crate) name: Option<String>,
    pub(crate) column_type: ColumnType,
}

/// Where the text between the quotes stands in the statement.
#[derive(Clone, Copy, Debug)]
struct Quotes {
    /// Character the literal starts at.
    start: usize,
    /// Characters before the text; `None` where escapes make places inside of it unknown.
    lead: Option<usize>,
    /// A quote inside is written twice.
    doubled: bool,
}

impl FunctionBody {
    /// `(part BIGINT, total BIGINT)`
    pub(crate) fn signature(&self) -> String {
        let one = |argument: &Argument| match &argument.name {
            Some(name) => format!("{} {}", quoted(name), argument.column_type.text),
            None => argument.column_type.text.clone(),
        };
        format!("({})", self.arguments.iter().map(one).collect::<Vec<_>>().join(", "))
    }

    /// The error of a place in the expression as one of a place in the statement.
    pub(crate) fn in_statement(&self, error: Error) -> Error {
        self.quotes.in_statement(error, &self.text)
    }
}

impl Quotes {
    fn in_statement(self, mut error: Error, text: &str) -> Error {
        error.position = error.position.map(|position| match self.lead {
            Some(lead) => {
                let before = text.chars().take(position - 1);
                let quotes = if self.doubled { before.filter(|c| *c == '\'').count() } else { 0 };
                self.start + lead + position - 1 + quotes
            }
            None => self.start,
        });
        error
    }
}

/// What stands behind the name.
pub(super) fn function(cursor: &mut Cursor<'_>) -> Result<FunctionBody> {
    let arguments = arguments(cursor)?;
    cursor.expect(&["RETURNS"])?;
    let returns = returns(cursor)?;
    let mut body = None;
    while !cursor.finished() {
        let position = cursor.position();
        if cursor.take(&["AS"]) {
            if body.replace(expression(cursor)?).is_some() {
                return Err(Error::syntax("a function has one expression").at(position));
            }
        } else if cursor.take(&["LANGUAGE"]) {
            let position = cursor.position();
            let language = if cursor.word(0).is_some() { cursor.identifier()? } else { cursor.string()? };
            if !language.eq_ignore_ascii_case("sql") {
                let hint = "A function is an expression in SQL; leave LANGUAGE out.";
                return Err(Error::unsupported(format!("LANGUAGE {language}"), hint).at(position));
            }
        } else if !cursor.take(&["IMMUTABLE"]) {
            let Some(word) = cursor.word(0) else { return Err(cursor.unexpected()) };
            let hint = "A function has RETURNS type AS 'expression', and may be IMMUTABLE and LANGUAGE sql.";
            return Err(Error::unsupported(format!("{word} of a function"), hint).at(position));
        }
    }
    let Some((quotes, text, expr)) = body else { return Err(cursor.unexpected().detail("Expected AS.")) };
    Ok(FunctionBody { arguments, returns, text, expr, quotes })
}

fn arguments(cursor: &mut Cursor<'_>) -> Result<Vec<Argument>> {
    let inside = cursor.group()?;
    let mut list = cursor.inside(inside);
    let mut found: Vec<Argument> = Vec::new();
    while !list.finished() {
        let position = list.position();
        let argument = argument(&mut list)?;
        if let Some(name) = &argument.name
            && found.iter().any(|other| other.name.as_ref() == Some(name))
        {
            return Err(Error::new("42P13", format!("argument name \"{name}\" used more than once")).at(position));
        }
        found.push(argument);
        if !list.take_token(&Token::Comma) {
            break;
        }
    }
    list.end()?;
    Ok(found)
}

/// `name type` or `type`.
fn argument(list: &mut Cursor<'_>) -> Result<Argument> {
    let mut alone = list.inside(list.rest().to_vec());
    let is_type = types::column_type(&mut alone).is_ok() && (alone.finished() || alone.is(&Token::Comma));
    // A name that is no type is the beginning of `name type`, unless nothing comes behind it.
    let has_name = !is_type && list.rest().get(1).is_some_and(|next| matches!(next.token, Token::Word(_)));
    let name = if has_name { Some(list.identifier()?) } else { None };
    Ok(Argument { name, column_type: supported(list)? })
}

fn supported(cursor: &mut Cursor<'_>) -> Result<ColumnType> {
    let position = cursor.position();
    let found = types::column_type(cursor)?;
    match sql_type(&found.arrow) {
        Some(_) => Ok(found),
        None => {
            let construct = format!("a function of type {}", found.text);
            Err(Error::unsupported(construct, "Use the types of its parts, as of a field or of a value.").at(position))
        }
    }
}

fn returns(cursor: &mut Cursor<'_>) -> Result<ColumnType> {
    let position = cursor.position();
    let found = supported(cursor)?;
    match found.marker {
        // What an expression makes has not been checked, as a column of these types is.
        Some(_) => Err(Error::unsupported(format!("RETURNS {}", found.text), "Use RETURNS TEXT.").at(position)),
        None => Ok(found),
    }
}

fn expression(cursor: &mut Cursor<'_>) -> Result<(Quotes, String, Expr)> {
    let start = cursor.position();
    let unexpected = cursor.unexpected();
    let (quotes, text) = match cursor.next()? {
        Token::SingleQuotedString(text) => (Quotes { start, lead: Some(1), doubled: true }, text),
        Token::EscapedStringLiteral(text) => (Quotes { start, lead: None, doubled: false }, text),
        Token::DollarQuotedString(quoted) => {
            let tag = quoted.tag.as_ref().map_or(0, |tag| tag.chars().count());
            (Quotes { start, lead: Some(tag + 2), doubled: false }, quoted.value)
        }
        _ => return Err(unexpected),
    };
    match scalar(&text) {
        Ok(expr) => Ok((quotes, text, expr)),
        Err(error) => Err(quotes.in_statement(error, &text)),
    }
}

/// The text as one expression.
fn scalar(text: &str) -> Result<Expr> {
    let tokens = Tokenizer::new(&Postgres, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| tokenizer(&error, text))?;
    let solid: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut cursor = Cursor::new(text, solid);
    if cursor.at(&["SELECT"]) || cursor.at(&["WITH"]) || cursor.at(&["VALUES"]) {
        let hint = "Write the expression alone, as in AS 'a + b'.";
        return Err(Error::unsupported("a function that is a query", hint).at(cursor.position()));
    }
    if cursor.finished() {
        return Err(cursor.unexpected());
    }
    let expr = cursor.expr()?;
    cursor.end()?;
    Ok(expr)
}
