//! The text of a record, as `(1,"a b",)`: <https://www.postgresql.org/docs/15/rowtypes.html#ROWTYPES-IO-SYNTAX>.

use std::fmt;

use crate::{Result, ValueError};

/// The longest text of a record, in bytes, as of any value that is computed; PostgreSQL allows a gigabyte.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Checks how many bytes a record's text has so far.
///
/// # Errors
/// 54000 for more than it may have.
pub fn checked_length(bytes: usize) -> Result<()> {
    match bytes <= TEXT_BYTES_MAX {
        true => Ok(()),
        false => Err(ValueError::new("54000", "the text of a record is too long")),
    }
}

/// Writes the text of a field, in quotes where it would mean something else without them. Each record around doubles
/// the quotes, so that forty of them would be a terabyte.
///
/// # Errors
/// 54000 for a text that is longer than may be.
pub fn put_field(text: &str, out: &mut impl fmt::Write) -> Result<()> {
    let doubled = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    checked_length(text.len() + doubled)?;
    quoted(text, out).map_err(|error| ValueError::new("XX000", error.to_string()))
}

fn quoted(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    let special = |letter: char| matches!(letter, '(' | ')' | ',' | '"' | '\\' | ' ' | '\t'..='\r');
    if !text.is_empty() && !text.contains(special) {
        return out.write_str(text);
    }
    out.write_char('"')?;
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            out.write_char(letter)?;
        }
        out.write_char(letter)?;
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::put_field;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        for (value, text) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("null", "null"),
            ("a b", "\"a b\""),
            ("a,b", "\"a,b\""),
            ("(1,2)", "\"(1,2)\""),
            ("{1}", "{1}"),
            ("say \"\\\"", "\"say \"\"\\\\\"\"\""),
        ] {
            let mut out = String::new();
            assert_eq!((put_field(value, &mut out), out.as_str()), (Ok(()), text), "{value}");
        }
    }

    #[test]
    fn a_record_within_many_is_refused_before_it_is_written() {
        let mut text = "(1,2)".to_owned();
        let refused = (0..40).find_map(|_| {
            let mut out = "(1,".to_owned();
            let put = put_field(&text, &mut out);
            text = out + ")";
            put.err()
        });
        assert_eq!(refused.map(|error| error.sqlstate), Some("54000"));
        assert!(text.len() < 200 << 20);
    }
}
