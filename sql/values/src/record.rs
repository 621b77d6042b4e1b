//! The text of a record, as `(1,"a b",)`: <https://www.postgresql.org/docs/15/rowtypes.html#ROWTYPES-IO-SYNTAX>.

use std::fmt;

/// Writes the text of a field, in quotes where it would mean something else without them.
///
/// # Errors
/// Those of `out`.
pub fn put_field(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
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
}
