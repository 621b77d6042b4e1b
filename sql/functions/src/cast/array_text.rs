//! The texts of arrays, as `{1,NULL,"a b"}`.

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use ebap_values::{Result, ValueError};

use crate::error::internal;
use crate::values::as_type;

/// All elements one behind the other, where each array begins, and which are NULL.
pub(super) type Elements = (StringArray, OffsetBuffer<i32>, Option<NullBuffer>);

/// Splits each text of a column into the texts of its elements.
pub(super) fn read(array: &ArrayRef) -> Result<Elements> {
    let texts = as_type(array, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut elements = StringBuilder::new();
    let mut offsets = Vec::with_capacity(texts.len() + 1);
    offsets.push(0);
    let mut count = 0_i32;
    for text in texts {
        for element in text.map_or_else(|| Ok(Vec::new()), split)? {
            elements.append_option(element);
            count = count.checked_add(1).ok_or_else(|| ValueError::new("54000", "array size exceeds the maximum"))?;
        }
        offsets.push(count);
    }
    let offsets = OffsetBuffer::new(offsets.into());
    if offsets.len() != texts.len() + 1 {
        return Err(internal("an array has lost its elements"));
    }
    Ok((elements.finish(), offsets, texts.nulls().cloned()))
}

/// The elements of one array; a word NULL without quotes is none.
pub(crate) fn split(text: &str) -> Result<Vec<Option<String>>> {
    let malformed = || ValueError::new("22P02", format!("malformed array literal: \"{text}\""));
    let trimmed = text.trim_matches(is_space);
    if trimmed.starts_with('[') {
        return Err(ValueError::unsupported("arrays with bounds of their own"));
    }
    let inner = trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(malformed)?;
    if inner.trim_matches(is_space).is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = inner.chars().peekable();
    let mut elements = Vec::new();
    loop {
        while rest.next_if(|c| is_space(*c)).is_some() {}
        if rest.peek() == Some(&'{') {
            return Err(ValueError::unsupported("arrays of more than one dimension"));
        }
        let (element, more) = split_one(&mut rest).ok_or_else(malformed)?;
        elements.push(element);
        if !more {
            return Ok(elements);
        }
    }
}

/// One element, and whether a comma follows; None where the text is malformed.
fn split_one(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<(Option<String>, bool)> {
    let (mut element, mut quoted, mut kept) = (String::new(), false, 0);
    let more = loop {
        match rest.next() {
            None => break false,
            Some(',') => break true,
            Some('{' | '}') => return None,
            Some('"') if element.is_empty() && !quoted => {
                quoted = true;
                read_quoted(rest, &mut element)?;
                kept = element.len();
            }
            Some('"') => return None,
            Some('\\') if !quoted => {
                element.push(rest.next()?);
                kept = element.len();
            }
            Some(c) if is_space(c) => {
                if !quoted {
                    element.push(c);
                }
            }
            // Nothing but blanks may follow the closing quote.
            Some(_) if quoted => return None,
            Some(c) => {
                element.push(c);
                kept = element.len();
            }
        }
    };
    element.truncate(kept);
    if quoted {
        return Some((Some(element), more));
    }
    if element.is_empty() {
        return None;
    }
    let null = element.eq_ignore_ascii_case("null");
    Some(((!null).then_some(element), more))
}

/// Up to the closing quote; a backslash stands before a character that means itself.
fn read_quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, element: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            '"' => return Some(()),
            '\\' => element.push(rest.next()?),
            c => element.push(c),
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// An element as array output has it: with quotes where it would be read as something else.
pub(super) fn print(element: &str, out: &mut String) {
    let special = |c| matches!(c, '{' | '}' | ',' | '"' | '\\') || is_space(c);
    if !element.is_empty() && !element.eq_ignore_ascii_case("null") && !element.chars().any(special) {
        out.push_str(element);
        return;
    }
    out.push('"');
    for c in element.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(elements: &[Option<&str>]) -> Vec<Option<String>> {
        elements.iter().map(|e| e.map(str::to_owned)).collect()
    }

    #[test]
    fn elements_are_read_with_quotes_escapes_and_nulls() {
        let read = split(r#" {1, 2 ,NULL,"a b", "x\"y" , nUlL, "NULL", a\,b} "#);
        let expected = [Some("1"), Some("2"), None, Some("a b"), Some("x\"y"), None, Some("NULL"), Some("a,b")];
        assert_eq!(read, Ok(texts(&expected)));
        assert_eq!(split("{}"), Ok(Vec::new()));
        assert_eq!(split("{\"\"}"), Ok(texts(&[Some("")])));
    }

    #[test]
    fn malformed_arrays_are_refused() {
        for text in ["", "1", "{1,}", "{,1}", "{1", "{\"a}", "{\"a\"b}", "{a\"b\"}", "{1}}", "{1}2"] {
            assert_eq!(split(text).map_err(|e| e.sqlstate), Err("22P02"), "{text}");
        }
        assert_eq!(split("{{1},{2}}").map_err(|e| e.sqlstate), Err("0A000"));
    }
}
