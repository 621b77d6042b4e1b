//! Values as PostgreSQL writes and reads them.

use datafusion::common::ScalarValue;
use ebap_values::{
    Numeric, PgType, ValueError,
    float::{parse_f32, parse_f64},
    time::{Zone, parse_date, parse_interval, parse_time, parse_timestamp, parse_timestamptz},
};
use uuid::Uuid;

use super::{Result, array, interval, json, jsonb, numeric};

/// Characters of a value that a message shows.
const EXCERPT: usize = 100;

/// Reads one value; times without a zone are in `zone`.
pub(super) fn value(of: &PgType, text: &str, zone: &Zone) -> Result<ScalarValue> {
    Ok(match of {
        PgType::Bool => ScalarValue::Boolean(Some(boolean(text)?)),
        PgType::Int2 => ScalarValue::Int16(Some(integer(text, "smallint")?)),
        PgType::Int4 => ScalarValue::Int32(Some(integer(text, "integer")?)),
        PgType::Int8 => ScalarValue::Int64(Some(integer(text, "bigint")?)),
        PgType::Float4 => ScalarValue::Float32(Some(parse_f32(text)?)),
        PgType::Float8 => ScalarValue::Float64(Some(parse_f64(text)?)),
        PgType::Numeric => numeric(&Numeric::parse(text)?),
        PgType::Bytea => ScalarValue::Binary(Some(bytea(text)?)),
        PgType::Date => ScalarValue::Date32(Some(parse_date(text)?)),
        PgType::Timestamp => ScalarValue::TimestampMicrosecond(Some(parse_timestamp(text)?), None),
        PgType::Timestamptz => {
            ScalarValue::TimestampMicrosecond(Some(parse_timestamptz(text, zone)?), Some("+00:00".into()))
        }
        PgType::Time => ScalarValue::Time64Microsecond(Some(parse_time(text)?)),
        PgType::Interval => interval(&parse_interval(text)?)?,
        PgType::Uuid => {
            let uuid = Uuid::try_parse(text.trim()).map_err(|_| ValueError::syntax("uuid", &excerpt(text)))?;
            ScalarValue::Utf8(Some(uuid.hyphenated().to_string()))
        }
        PgType::Json => json(text)?,
        PgType::Jsonb => jsonb(text)?,
        PgType::Array(item) => array::text(item, text, zone)?,
        PgType::Text | PgType::Bpchar | PgType::Unknown | PgType::Composite | PgType::Record => {
            ScalarValue::Utf8(Some(text.to_owned()))
        }
    })
}

/// The beginning of a value, for a message.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn boolean(text: &str) -> Result<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Ok(true),
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Ok(false),
        _ => Err(ValueError::syntax("boolean", &excerpt(text))),
    }
}

fn integer<T: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str, of: &str) -> Result<T> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.trim().parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow | NegOverflow => {
            ValueError::new("22003", format!("value \"{}\" is out of range for type {of}", excerpt(text)))
        }
        _ => ValueError::syntax(of, &excerpt(text)),
    })
}

/// `\x` with two digits a byte, or text in which a backslash stands before three octal digits or another.
fn bytea(text: &str) -> Result<Vec<u8>> {
    let invalid = |what: &str| ValueError::new("22023", format!("invalid hexadecimal {what}"));
    if let Some(digits) = text.strip_prefix("\\x") {
        let mut out = Vec::with_capacity(digits.len() / 2);
        let mut high = None;
        for digit in digits.chars().filter(|letter| !letter.is_ascii_whitespace()) {
            let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
            let value = value.ok_or_else(|| invalid(&format!("digit: \"{digit}\"")))?;
            match high.take() {
                Some(high) => out.push(high << 4 | value),
                None => high = Some(value),
            }
        }
        return if high.is_none() { Ok(out) } else { Err(invalid("data: odd number of digits")) };
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return Err(ValueError::syntax("bytea", &excerpt(text))),
            (byte, after) => {
                out.push(*byte);
                after
            }
        };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(of: &PgType, text: &str) -> Result<ScalarValue> {
        value(of, text, &Zone::utc())
    }

    #[test]
    fn numbers_keep_to_their_range() {
        assert_eq!(read(&PgType::Int2, " -32768 "), Ok(ScalarValue::Int16(Some(i16::MIN))));
        for (of, text, code) in [
            (PgType::Int2, "32768", "22003"),
            (PgType::Int4, "-2147483649", "22003"),
            (PgType::Int8, "9223372036854775808", "22003"),
            (PgType::Int4, "1.5", "22P02"),
            (PgType::Int4, "", "22P02"),
            (PgType::Float8, "1e400", "22003"),
            (PgType::Float8, "one", "22P02"),
            (PgType::Numeric, "1e999999", "22003"),
            (PgType::Numeric, "1,5", "22P02"),
            (PgType::Bool, "maybe", "22P02"),
            (PgType::Uuid, "12345", "22P02"),
            (PgType::Json, "{\"a\":}", "22P02"),
            (PgType::Jsonb, "{\"a\":\"\\u0000\"}", "22P05"),
        ] {
            assert_eq!(read(&of, text).expect_err(text).sqlstate, code, "{of} {text}");
        }
    }

    #[test]
    fn bytes_are_hexadecimal_or_escaped() {
        for (text, bytes) in [
            ("\\x00fF", Ok(vec![0, 255])),
            ("\\x", Ok(vec![])),
            ("a\\\\b\\000\\377", Ok(vec![b'a', b'\\', b'b', 0, 255])),
            ("\\x0", Err("22023")),
            ("\\x0g", Err("22023")),
            ("\\400", Err("22P02")),
            ("\\", Err("22P02")),
        ] {
            assert_eq!(bytea(text).map_err(|error| error.sqlstate), bytes, "{text}");
        }
    }

    #[test]
    fn a_message_shows_the_beginning_of_a_value() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ü".repeat(200)), format!("{}…", "ü".repeat(100)));
    }
}
