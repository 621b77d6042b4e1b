//! Calls that SQL writes with words between their arguments, where sqlparser knows only some of the forms; and strings
//! with Unicode escapes.

use datafusion::sql::sqlparser::{
    ast::{Expr, UnaryOperator, Value},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use super::dialect::{OTHER, call};

/// What stands at this place, if it is one of those: `TRIM(…)`, `SUBSTRING(…)`, `OPERATOR(…) x`, `U&'…'`.
pub(super) fn at(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("u") && is_unicode_string(parser) {
        return Some(unicode_string(parser));
    }
    if word.quote_style.is_some() || parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    let read = match word.keyword {
        Keyword::TRIM => trim,
        Keyword::SUBSTRING => substring,
        Keyword::OPERATOR => operator,
        _ => return None,
    };
    parser.advance_token();
    parser.advance_token();
    Some(read(parser))
}

/// `U`, `&` and a string, with nothing between them.
fn is_unicode_string(parser: &Parser) -> bool {
    let [letter, sign, string] = [0, 1, 2].map(|at| parser.peek_nth_token_ref(at));
    let adjacent = letter.span.end == sign.span.start && sign.span.end == string.span.start;
    adjacent && sign.token == Token::Ampersand && matches!(string.token, Token::SingleQuotedString(_))
}

fn unicode_string(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.advance_token();
    let Token::SingleQuotedString(text) = parser.next_token().token else { return Err(invalid_escape()) };
    let mut escape = '\\';
    let is_uescape =
        matches!(&parser.peek_token_ref().token, Token::Word(word) if word.value.eq_ignore_ascii_case("uescape"));
    if is_uescape {
        parser.advance_token();
        let Token::SingleQuotedString(given) = parser.next_token().token else { return Err(invalid_escape()) };
        let mut letters = given.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(invalid_escape()) };
        if letter.is_ascii_hexdigit() || letter.is_whitespace() || "+'\"".contains(letter) {
            return Err(ParserError::ParserError("invalid Unicode escape character".to_owned()));
        }
        escape = letter;
    }
    let text = unescaped(&text, escape).ok_or_else(invalid_escape)?;
    Ok(Expr::Value(Value::SingleQuotedString(text).into()))
}

fn invalid_escape() -> ParserError {
    ParserError::ParserError("invalid Unicode escape".to_owned())
}

/// `\XXXX` and `\+XXXXXX` as their characters; two halves of a pair are one. None of what is no character.
fn unescaped(text: &str, escape: char) -> Option<String> {
    let (mut out, mut rest, mut half) = (String::with_capacity(text.len()), text, None::<u32>);
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        let code = match (letter == escape, rest.strip_prefix(escape), rest.strip_prefix('+')) {
            (false, ..) => u32::from(letter),
            (true, Some(behind), _) => {
                rest = behind;
                u32::from(escape)
            }
            (true, None, longer) => {
                let (digits, from) = match longer {
                    Some(longer) => (6, longer),
                    None => (4, rest),
                };
                let written = from.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
                rest = &from[digits..];
                u32::from_str_radix(written, 16).ok()?
            }
        };
        match (half.take(), code) {
            (Some(first), 0xDC00..0xE000) => {
                out.push(char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (code - 0xDC00))?);
            }
            (None, 0xD800..0xDC00) => half = Some(code),
            (None, 1..) => out.push(char::from_u32(code)?),
            _ => return None,
        }
    }
    half.is_none().then_some(out)
}

fn closed(parser: &mut Parser, name: &str, args: Vec<Expr>) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::RParen)?;
    Ok(call(name, args))
}

/// `[BOTH | LEADING | TRAILING] [characters] FROM text`, or `text [, characters]`
fn trim(parser: &mut Parser) -> Result<Expr, ParserError> {
    let name = match parser.parse_one_of_keywords(&[Keyword::LEADING, Keyword::TRAILING, Keyword::BOTH]) {
        Some(Keyword::LEADING) => "ltrim",
        Some(Keyword::TRAILING) => "rtrim",
        _ => "btrim",
    };
    if parser.parse_keyword(Keyword::FROM) {
        let args = parser.parse_comma_separated(Parser::parse_expr)?;
        return closed(parser, name, args);
    }
    let mut args = parser.parse_comma_separated(Parser::parse_expr)?;
    if args.len() == 1 && parser.parse_keyword(Keyword::FROM) {
        let characters = args;
        args = parser.parse_comma_separated(Parser::parse_expr)?;
        args.extend(characters);
    }
    closed(parser, name, args)
}

/// `text FROM start FOR length`, in any order, `text SIMILAR pattern ESCAPE escape`, or arguments between commas.
fn substring(parser: &mut Parser) -> Result<Expr, ParserError> {
    let name = "substring";
    let text = parser.parse_expr()?;
    if parser.parse_keyword(Keyword::SIMILAR) {
        let pattern = parser.parse_expr()?;
        parser.expect_keyword(Keyword::ESCAPE)?;
        let escape = parser.parse_expr()?;
        return closed(parser, name, vec![text, pattern, escape]);
    }
    if parser.parse_keyword(Keyword::FROM) {
        let mut args = vec![text, parser.parse_expr()?];
        if parser.parse_keyword(Keyword::FOR) {
            args.push(parser.parse_expr()?);
        }
        return closed(parser, name, args);
    }
    if parser.parse_keyword(Keyword::FOR) {
        let length = parser.parse_expr()?;
        let from = match parser.parse_keyword(Keyword::FROM) {
            true => parser.parse_expr()?,
            false => Expr::Value(Value::Number("1".to_owned(), false).into()),
        };
        return closed(parser, name, vec![text, from, length]);
    }
    let mut args = vec![text];
    while parser.consume_token(&Token::Comma) {
        args.push(parser.parse_expr()?);
    }
    closed(parser, name, args)
}

/// `OPERATOR(pg_catalog.-) x`
fn operator(parser: &mut Parser) -> Result<Expr, ParserError> {
    let mut written = String::new();
    while !parser.consume_token(&Token::RParen) {
        let token = parser.next_token();
        if token.token == Token::EOF {
            return Err(ParserError::ParserError("syntax error at end of input".to_owned()));
        }
        written.push_str(&token.to_string());
    }
    let op = match written.to_lowercase().trim_start_matches("pg_catalog.") {
        "-" => UnaryOperator::Minus,
        "+" => UnaryOperator::Plus,
        "~" => UnaryOperator::BitwiseNot,
        "@" => UnaryOperator::PGAbs,
        "|/" => UnaryOperator::PGSquareRoot,
        "||/" => UnaryOperator::PGCubeRoot,
        other => return Err(ParserError::ParserError(format!("syntax error at or near \"{other}\""))),
    };
    Ok(Expr::UnaryOp { op, expr: Box::new(parser.parse_subexpr(OTHER)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicode_escapes_are_characters() {
        for (text, escape, expected) in [
            ("d\\0061t\\+000061", '\\', Some("data")),
            ("\\d83d\\de00\\+01F600", '\\', Some("😀😀")),
            ("d!0061!!", '!', Some("da!")),
            ("\\d83d", '\\', None),
            ("\\0000", '\\', None),
            ("\\12", '\\', None),
            ("\\de00", '\\', None),
        ] {
            assert_eq!(unescaped(text, escape).as_deref(), expected, "{text}");
        }
    }
}
