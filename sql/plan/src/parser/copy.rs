//! `COPY (query) TO STDOUT` and `COPY relation TO STDOUT`, with today's options in parentheses and those of before.

use datafusion::sql::sqlparser::{
    ast,
    tokenizer::{Token, TokenWithSpan},
};

use super::{Statement, cursor::Cursor, portals::rows};
use crate::{Error, Result, names::quoted};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
}

/// The form in which `COPY` writes rows. Each sign is one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: u8,
    pub null: String,
    pub header: bool,
    pub quote: u8,
    pub escape: u8,
    pub force_quote: ForceQuote,
}

/// Columns of CSV whose values are quoted always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForceQuote {
    These(Vec<String>),
    All,
}

/// `COPY … TO STDOUT`
#[derive(Clone, Debug)]
pub struct Copy {
    pub query: Box<ast::Statement>,
    /// The query as text, where it was made of the name of a relation.
    pub text: Option<String>,
    pub options: CopyOptions,
}

/// Options that the statement names; the others are filled in later.
#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<bool>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<ForceQuote>,
}

pub(super) fn copy(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(1);
    let (query, text) = match cursor.is(&Token::LParen) {
        true => {
            let inside = cursor.group()?;
            (rows(&mut cursor.inside(inside))?, None)
        }
        false => {
            let (query, text) = relation(cursor)?;
            (query, Some(text))
        }
    };
    let position = cursor.position();
    if cursor.take(&["FROM"]) {
        let hint = "Data come in through streams and tables.";
        return Err(Error::unsupported("COPY … FROM", hint).at(position));
    }
    cursor.expect(&["TO"])?;
    if !cursor.take(&["STDOUT"]) {
        let hint = "Write COPY … TO STDOUT; \\copy of psql puts that into a file of the client.";
        return Err(Error::unsupported("COPY to a file or a program of the server", hint).at(cursor.position()));
    }
    let position = cursor.position();
    cursor.take(&["WITH"]);
    let given = if cursor.is(&Token::LParen) { listed(cursor)? } else { unlisted(cursor)? };
    cursor.end()?;
    let options = options(given).map_err(|error| error.at(position))?;
    Ok(Statement::Copy(Box::new(Copy { query, text, options })))
}

/// `name [(column, …)]` as a query.
fn relation(cursor: &mut Cursor<'_>) -> Result<(Box<ast::Statement>, String)> {
    let mut parts = vec![quoted(&cursor.identifier()?)];
    while cursor.take_token(&Token::Period) {
        parts.push(quoted(&cursor.identifier()?));
    }
    let columns = match cursor.is(&Token::LParen) {
        true => names(&mut {
            let inside = cursor.group()?;
            cursor.inside(inside)
        })?
        .iter()
        .map(|name| quoted(name))
        .collect(),
        false => vec!["*".to_owned()],
    };
    let text = format!("SELECT {} FROM {}", columns.join(", "), parts.join("."));
    let tokens: Vec<TokenWithSpan> = super::solid_tokens(&text)?;
    Ok((rows(&mut Cursor::new(&text, tokens))?, text))
}

fn names(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut all = vec![cursor.identifier()?];
    while cursor.take_token(&Token::Comma) {
        all.push(cursor.identifier()?);
    }
    cursor.end()?;
    Ok(all)
}

/// `(FORMAT csv, HEADER, …)`
fn listed(cursor: &mut Cursor<'_>) -> Result<Given> {
    let inside = cursor.group()?;
    let (mut inside, mut given) = (cursor.inside(inside), Given::default());
    loop {
        let position = inside.position();
        let name = inside.identifier()?;
        let twice = |is: bool| match is {
            true => Err(Error::syntax("conflicting or redundant options").at(position)),
            false => Ok(()),
        };
        match name.as_str() {
            "format" => {
                let wanted = if let Ok(text) = inside.string() { text } else { inside.identifier()? };
                let format = match wanted.as_str() {
                    "text" => CopyFormat::Text,
                    "csv" => CopyFormat::Csv,
                    "binary" => CopyFormat::Binary,
                    other => {
                        let message = format!("COPY format \"{other}\" not recognized");
                        return Err(Error::new("22023", message).at(position).hint("There are text, csv and binary."));
                    }
                };
                twice(given.format.replace(format).is_some())?;
            }
            "delimiter" => twice(given.delimiter.replace(inside.string()?).is_some())?,
            "null" => twice(given.null.replace(inside.string()?).is_some())?,
            "quote" => twice(given.quote.replace(inside.string()?).is_some())?,
            "escape" => twice(given.escape.replace(inside.string()?).is_some())?,
            "header" => twice(given.header.replace(boolean(&mut inside)?).is_some())?,
            "freeze" => drop(boolean(&mut inside)?),
            "force_quote" => {
                let columns = match inside.take_token(&Token::Mul) {
                    true => ForceQuote::All,
                    false => ForceQuote::These(names(&mut {
                        let group = inside.group()?;
                        inside.inside(group)
                    })?),
                };
                twice(given.force_quote.replace(columns).is_some())?;
            }
            "encoding" => {
                let encoding = inside.string()?;
                if !["utf8", "utf-8", "unicode"].contains(&encoding.to_lowercase().as_str()) {
                    let what = format!("COPY in the encoding \"{encoding}\"");
                    return Err(Error::unsupported(what, "Rows are UTF8.").at(position));
                }
            }
            other => return Err(Error::syntax(format!("option \"{other}\" not recognized")).at(position)),
        }
        if !inside.take_token(&Token::Comma) {
            inside.end()?;
            return Ok(given);
        }
    }
}

/// The value of an option, which is true where none is written.
fn boolean(cursor: &mut Cursor<'_>) -> Result<bool> {
    if cursor.finished() || cursor.is(&Token::Comma) {
        return Ok(true);
    }
    let unexpected = cursor.unexpected();
    match cursor.next()? {
        Token::Word(word) => of_text(&word.value),
        Token::SingleQuotedString(text) => of_text(&text),
        Token::Number(digits, _) => of_text(&digits),
        _ => None,
    }
    .ok_or(unexpected)
}

fn of_text(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `[BINARY] [DELIMITER [AS] 'c'] [NULL [AS] 's'] [CSV [HEADER] [QUOTE [AS] 'c'] [ESCAPE [AS] 'c'] [FORCE QUOTE …]]`
fn unlisted(cursor: &mut Cursor<'_>) -> Result<Given> {
    let mut given = Given::default();
    let sign = |cursor: &mut Cursor<'_>| {
        cursor.take(&["AS"]);
        cursor.string()
    };
    while !cursor.finished() {
        if cursor.take(&["BINARY"]) {
            given.format = Some(CopyFormat::Binary);
        } else if cursor.take(&["CSV"]) {
            given.format = Some(CopyFormat::Csv);
        } else if cursor.take(&["HEADER"]) {
            given.header = Some(true);
        } else if cursor.take(&["DELIMITER"]) || cursor.take(&["DELIMITERS"]) {
            given.delimiter = Some(sign(cursor)?);
        } else if cursor.take(&["NULL"]) {
            given.null = Some(sign(cursor)?);
        } else if cursor.take(&["QUOTE"]) {
            given.quote = Some(sign(cursor)?);
        } else if cursor.take(&["ESCAPE"]) {
            given.escape = Some(sign(cursor)?);
        } else if cursor.take(&["FORCE", "QUOTE"]) {
            given.force_quote = Some(match cursor.take_token(&Token::Mul) {
                true => ForceQuote::All,
                false => {
                    let mut all = vec![cursor.identifier()?];
                    while cursor.take_token(&Token::Comma) {
                        all.push(cursor.identifier()?);
                    }
                    ForceQuote::These(all)
                }
            });
        } else {
            return Err(cursor.unexpected());
        }
    }
    Ok(given)
}

/// # Errors
/// As PostgreSQL has them: 0A000 for what does not go together, 22023 for a sign that cannot be one.
fn options(given: Given) -> Result<CopyOptions> {
    let format = given.format.unwrap_or(CopyFormat::Text);
    let csv = format == CopyFormat::Csv;
    if format == CopyFormat::Binary {
        for (is, name) in [(given.delimiter.is_some(), "DELIMITER"), (given.null.is_some(), "NULL")] {
            if is {
                return Err(Error::syntax(format!("cannot specify {name} in BINARY mode")));
            }
        }
        if given.header == Some(true) {
            return Err(Error::new("0A000", "cannot specify HEADER in BINARY mode"));
        }
    }
    let of_csv = [
        (given.quote.is_some(), "quote"),
        (given.escape.is_some(), "escape"),
        (given.force_quote.is_some(), "force quote"),
    ];
    if let Some((_, name)) = of_csv.iter().find(|(is, _)| *is && !csv) {
        return Err(Error::new("0A000", format!("COPY {name} available only in CSV mode")));
    }
    let sign = |text: Option<String>, name: &str, otherwise: u8| match text.as_deref().map(str::as_bytes) {
        None => Ok(otherwise),
        Some([sign]) => Ok(*sign),
        Some(_) => Err(Error::new("0A000", format!("COPY {name} must be a single one-byte character"))),
    };
    let delimiter = sign(given.delimiter, "delimiter", if csv { b',' } else { b'\t' })?;
    let quote = sign(given.quote, "quote", b'"')?;
    let escape = sign(given.escape, "escape", quote)?;
    let null = given.null.unwrap_or_else(|| if csv { "" } else { "\\N" }.to_owned());
    if b"\r\n".contains(&delimiter) {
        return Err(Error::new("22023", "COPY delimiter cannot be newline or carriage return"));
    }
    if null.contains(['\r', '\n']) {
        return Err(Error::new("22023", "COPY null representation cannot use newline or carriage return"));
    }
    // A delimiter must not look like an escape of the text format.
    if !csv && (delimiter == b'\\' || delimiter == b'.' || delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit())
    {
        let delimiter = char::from(delimiter);
        return Err(Error::new("22023", format!("COPY delimiter cannot be \"{delimiter}\"")));
    }
    if csv && delimiter == quote {
        return Err(Error::new("22023", "COPY delimiter and quote must be different"));
    }
    if null.as_bytes().contains(&delimiter) && format != CopyFormat::Binary {
        return Err(Error::new("22023", "COPY delimiter must not appear in the NULL specification"));
    }
    if csv && null.as_bytes().contains(&quote) {
        return Err(Error::new("22023", "CSV quote character must not appear in the NULL specification"));
    }
    Ok(CopyOptions {
        format,
        delimiter,
        null,
        header: given.header == Some(true),
        quote,
        escape,
        force_quote: given.force_quote.unwrap_or(ForceQuote::These(Vec::new())),
    })
}

#[cfg(test)]
mod tests {
    use super::{CopyFormat, ForceQuote, Statement};
    use crate::parse;

    fn copied(text: &str) -> Result<super::Copy, String> {
        let all = parse(text).map_err(|error| format!("{} {}", error.sqlstate, error.message))?;
        match all.into_iter().next().map(|parsed| parsed.statement) {
            Some(Statement::Copy(copy)) => Ok(*copy),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn both_forms_of_options_say_the_same() {
        let new = copied(
            "COPY v (a, \"B\") TO STDOUT WITH (FORMAT csv, HEADER true, DELIMITER ';', NULL 'x', FORCE_QUOTE *)",
        );
        let old = copied("COPY v (a, \"B\") TO STDOUT DELIMITER AS ';' NULL 'x' CSV HEADER FORCE QUOTE *");
        let (new, old) = (new.expect("today's"), old.expect("those of before"));
        assert_eq!(new.options, old.options);
        assert_eq!(new.text.as_deref(), Some("SELECT a, \"B\" FROM v"));
        assert_eq!((new.options.quote, new.options.escape, new.options.force_quote), (b'"', b'"', ForceQuote::All));
        let binary = copied("COPY (SELECT 1) TO STDOUT (FORMAT \"binary\")").expect("as ADBC has it").options.format;
        assert_eq!(binary, CopyFormat::Binary);
        assert_eq!(
            copied("COPY (VALUES (1)) TO STDOUT WITH BINARY").expect("values").options.format,
            CopyFormat::Binary
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused_as_in_postgresql() {
        let refused = [
            ("COPY v FROM STDIN", "0A000"),
            ("COPY v TO '/tmp/x'", "0A000"),
            ("COPY (SELECT 1) TO STDOUT (FORMAT parquet)", "22023"),
            ("COPY (SELECT 1) TO STDOUT (FORMAT csv, FORMAT text)", "42601"),
            ("COPY (SELECT 1) TO STDOUT (QUOTE '''')", "0A000"),
            ("COPY (SELECT 1) TO STDOUT (DELIMITER 'ab')", "0A000"),
            ("COPY (SELECT 1) TO STDOUT (DELIMITER 'a')", "22023"),
            ("COPY (SELECT 1) TO STDOUT (FORMAT csv, DELIMITER '\"')", "22023"),
            ("COPY (SELECT 1) TO STDOUT (FORMAT csv, NULL 'a,b')", "22023"),
            ("COPY (SELECT 1) TO STDOUT (FORMAT binary, DELIMITER ',')", "42601"),
            ("COPY (SELECT 1) TO STDOUT (SPEED 1)", "42601"),
            ("COPY (SELECT 1) TO STDOUT CSV x", "42601"),
            ("COPY (DROP VIEW v) TO STDOUT", "42601"),
        ];
        for (text, code) in refused {
            let found = copied(text);
            assert!(found.as_ref().is_err_and(|error| error.starts_with(code)), "{text}: {found:?}");
        }
    }
}
