//! The texts of `bytea`.

use std::fmt::Write;

use ebap_values::{Result, ValueError};

/// `\x…`, or the older form with `\\` and three octal digits.
pub(crate) fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex.as_bytes()),
        None => parse_escaped(text),
    }
}

/// Pairs of hexadecimal digits, with blanks between pairs.
pub(crate) fn parse_hex(text: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut rest = text.iter().copied();
    while let Some(high) = rest.next() {
        if matches!(high, b' ' | b'\n' | b'\t' | b'\r') {
            continue;
        }
        let high = hex_digit(high)?;
        let Some(low) = rest.next() else {
            return Err(ValueError::new("22023", "invalid hexadecimal data: odd number of digits"));
        };
        bytes.push(high << 4 | hex_digit(low)?);
    }
    Ok(bytes)
}

fn hex_digit(digit: u8) -> Result<u8> {
    let value = char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    value.ok_or_else(|| ValueError::new("22023", format!("invalid hexadecimal digit: \"{}\"", char::from(digit))))
}

/// A backslash stands before another one, or before three octal digits of a byte.
pub(crate) fn parse_escaped(text: &str) -> Result<Vec<u8>> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        if byte != b'\\' {
            out.push(byte);
            at += 1;
            continue;
        }
        match bytes.get(at + 1..) {
            Some([b'\\', ..]) => {
                out.push(b'\\');
                at += 2;
            }
            Some([a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                at += 4;
            }
            _ => return Err(ValueError::new("22P02", "invalid input syntax for type bytea")),
        }
    }
    Ok(out)
}

/// PostgreSQL's output, in its hexadecimal form.
pub(crate) fn print_bytea(bytes: &[u8], out: &mut String) {
    out.push_str("\\x");
    push_hex(bytes, out);
}

/// Two digits of each byte.
pub(crate) fn push_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // A String takes everything that is written to it.
        let _ = write!(out, "{byte:02x}");
    }
}

/// The older form: bytes that are no printable ASCII as three octal digits.
pub(crate) fn push_escaped(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 0x80..=0xff => {
                let _ = write!(out, "\\{byte:03o}");
            }
            _ => out.push(char::from(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_bytea_are_read() {
        assert_eq!(parse_bytea("\\x00 fF"), Ok(vec![0, 255]));
        assert_eq!(parse_bytea("a\\\\b\\001"), Ok(vec![b'a', b'\\', b'b', 1]));
        assert_eq!(parse_bytea("\\x0").map_err(|e| e.sqlstate), Err("22023"));
        assert_eq!(parse_bytea("\\9").map_err(|e| e.sqlstate), Err("22P02"));
    }
}
