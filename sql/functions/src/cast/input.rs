//! Values from their texts.

use arrow::array::ArrayRef;
use ebap_values::time::{parse_date, parse_interval, parse_time, parse_timestamp, parse_timestamptz};
use ebap_values::{Numeric, PgType, Result, ValueError, float, json};

use crate::decimals::Num;
use crate::kernel::{Call, each_row, each_row_with};
use crate::values::{
    Bool, Bytea, Date, Float4, Float8, Int2, Int4, Int8, Json, Jsonb, Span, Text, Time, Timestamp, Timestamptz, Uuid,
};

/// Reads a column of texts as values of a type that is no array.
pub(super) fn read(call: &Call<'_>, to: &PgType) -> Result<ArrayRef> {
    type From = (Text,);
    match to {
        PgType::Bool => each_row::<From, Bool>(call, |(v,)| parse_bool(v)),
        PgType::Int2 => each_row::<From, Int2>(call, |(v,)| parse_int(v, "smallint")),
        PgType::Int4 => each_row::<From, Int4>(call, |(v,)| parse_int(v, "integer")),
        PgType::Int8 => each_row::<From, Int8>(call, |(v,)| parse_int(v, "bigint")),
        PgType::Float4 => each_row::<From, Float4>(call, |(v,)| float::parse_f32(v)),
        PgType::Float8 => each_row::<From, Float8>(call, |(v,)| float::parse_f64(v)),
        PgType::Numeric => each_row::<From, Num>(call, |(v,)| Numeric::parse(v)),
        PgType::Text | PgType::Bpchar | PgType::Unknown => each_row::<From, Text>(call, |(v,)| Ok(v.to_owned())),
        PgType::Bytea => each_row::<From, Bytea>(call, |(v,)| super::parse_bytea(v)),
        PgType::Date => each_row::<From, Date>(call, |(v,)| parse_date(v)),
        PgType::Time => each_row::<From, Time>(call, |(v,)| parse_time(v)),
        PgType::Timestamp => each_row::<From, Timestamp>(call, |(v,)| parse_timestamp(v)),
        PgType::Timestamptz => {
            let zone = call.session.zone()?;
            each_row_with::<From, Timestamptz, _>(call, zone, |zone, (v,)| parse_timestamptz(v, zone))
        }
        PgType::Interval => each_row::<From, Span>(call, |(v,)| parse_interval(v)),
        PgType::Uuid => each_row::<From, Uuid>(call, |(v,)| parse_uuid(v)),
        PgType::Json => each_row::<From, Json>(call, |(v,)| json::parse(v).map(|_| v.to_owned())),
        PgType::Jsonb => each_row::<From, Jsonb>(call, |(v,)| json::Json::parse(v).map(|value| value.to_string())),
        PgType::Array(_) | PgType::Composite | PgType::Record => Err(super::no_cast(&PgType::Text, to)),
    }
}

/// The blanks that C's `isspace` knows.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// Any beginning of a word that says yes or no, as long as only one of them begins so.
fn parse_bool(text: &str) -> Result<bool> {
    let word = text.trim_matches(is_space).to_ascii_lowercase();
    let begins = |of: &str| !word.is_empty() && of.starts_with(&word);
    match word.as_str() {
        "on" | "1" => Ok(true),
        "of" | "off" | "0" => Ok(false),
        _ if begins("true") || begins("yes") => Ok(true),
        _ if begins("false") || begins("no") => Ok(false),
        _ => Err(ValueError::syntax("boolean", text)),
    }
}

fn parse_int<T: TryFrom<i128>>(text: &str, of: &str) -> Result<T> {
    let digits = text.trim_matches(is_space);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ValueError::syntax(of, text));
    }
    let value = digits.parse::<i128>().ok().and_then(|v| T::try_from(v).ok());
    value.ok_or_else(|| ValueError::new("22003", format!("value \"{text}\" is out of range for type {of}")))
}

/// 32 hexadecimal digits, with braces around them and hyphens behind any four if one likes.
pub(crate) fn parse_uuid(text: &str) -> Result<String> {
    let invalid = || ValueError::syntax("uuid", text);
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => text,
    };
    let mut digits = String::with_capacity(36);
    let (mut count, mut hyphen_before) = (0, true);
    for c in inner.chars() {
        if c == '-' && count % 4 == 0 && !hyphen_before && count < 32 {
            hyphen_before = true;
            continue;
        }
        if !c.is_ascii_hexdigit() || count == 32 {
            return Err(invalid());
        }
        if matches!(count, 8 | 12 | 16 | 20) {
            digits.push('-');
        }
        digits.push(c.to_ascii_lowercase());
        count += 1;
        hyphen_before = false;
    }
    if count == 32 { Ok(digits) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_from_the_beginnings_of_words() {
        for (text, expected) in [("t", true), (" on ", true), ("yE", true), ("of", false), ("n", false), ("0", false)] {
            assert_eq!(parse_bool(text), Ok(expected), "{text}");
        }
        for text in ["", "o", "-1", "trueish", "maybe"] {
            assert_eq!(parse_bool(text).map_err(|e| e.sqlstate), Err("22P02"), "{text}");
        }
    }

    #[test]
    fn integers_beyond_their_type_are_out_of_range_and_not_bad_syntax() {
        assert_eq!(parse_int::<i16>(" -32768 ", "smallint"), Ok(-32768));
        assert_eq!(parse_int::<i16>("32768", "smallint").map_err(|e| e.sqlstate), Err("22003"));
        assert_eq!(parse_int::<i64>(&"9".repeat(60), "bigint").map_err(|e| e.sqlstate), Err("22003"));
        for text in ["", "+", "1.0", "0x10", "1 2", "--1"] {
            assert_eq!(parse_int::<i32>(text, "integer").map_err(|e| e.sqlstate), Err("22P02"), "{text}");
        }
    }

    #[test]
    fn uuids_are_read_with_hyphens_behind_any_four_digits() {
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(parse_uuid(text).as_deref(), Ok(canonical), "{text}");
        }
        for text in ["", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11", "x"] {
            assert!(parse_uuid(text).is_err(), "{text}");
        }
    }
}
