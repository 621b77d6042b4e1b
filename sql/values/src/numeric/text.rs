//! NUMERIC from text and to text.

use std::fmt;

use num_bigint::{BigInt, BigUint, Sign};

use super::{MAX_INTEGER_DIGITS, MAX_SCALE, Numeric, Value, digits, overflow};
use crate::{Result, ValueError};

/// PostgreSQL refuses an exponent of this size before it looks at the digits.
const MAX_EXPONENT: i64 = i32::MAX as i64 / 2;

/// A decimal number as written, before its size is known to be acceptable.
struct Written<'a> {
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl Numeric {
    /// Reads PostgreSQL's input syntax: blanks around, a sign, digits, an exponent, or a special.
    pub fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim_matches(is_blank);
        if let Some(special) = parse_special(trimmed) {
            return Ok(special);
        }
        let Some(written) = split(trimmed.as_bytes()) else {
            return Err(ValueError::syntax("numeric", text));
        };
        if written.exponent.abs() >= MAX_EXPONENT {
            return Err(overflow());
        }
        assemble(&written)
    }
}

/// The blanks of C's `isspace`, which PostgreSQL skips around a number.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

fn parse_special(text: &str) -> Option<Numeric> {
    if text.eq_ignore_ascii_case("nan") {
        return Some(Numeric::nan());
    }
    let (negative, name) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let known = name.eq_ignore_ascii_case("inf") || name.eq_ignore_ascii_case("infinity");
    known.then(|| Numeric::infinity(negative))
}

/// Takes the leading decimal digits off `rest`.
fn take_digits<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, tail) = rest.split_at(length);
    *rest = tail;
    digits
}

/// Takes a sign off `rest` and says whether it was a minus.
fn take_sign(rest: &mut &[u8]) -> bool {
    match rest.split_first() {
        Some((b'-', tail)) => {
            *rest = tail;
            true
        }
        Some((b'+', tail)) => {
            *rest = tail;
            false
        }
        _ => false,
    }
}

fn split(text: &[u8]) -> Option<Written<'_>> {
    let mut rest = text;
    let negative = take_sign(&mut rest);
    let integer = take_digits(&mut rest);
    let mut fraction: &[u8] = &[];
    if let Some((b'.', tail)) = rest.split_first() {
        rest = tail;
        fraction = take_digits(&mut rest);
    }
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut exponent = 0;
    if let Some((b'e' | b'E', tail)) = rest.split_first() {
        rest = tail;
        exponent = take_exponent(&mut rest)?;
    }
    rest.is_empty().then_some(Written { negative, integer, fraction, exponent })
}

/// Reads an exponent as C's `strtol` does, which also skips blanks. Too large a one saturates.
fn take_exponent(rest: &mut &[u8]) -> Option<i64> {
    let blanks = rest.iter().take_while(|byte| is_blank(char::from(**byte))).count();
    *rest = &rest[blanks..];
    let negative = take_sign(rest);
    let digits = take_digits(rest);
    if digits.is_empty() {
        return None;
    }
    let size = digits.iter().fold(0i64, |size, digit| size.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -size } else { size })
}

/// Builds the value once its length is known to stay within PostgreSQL's limits.
fn assemble(written: &Written<'_>) -> Result<Numeric> {
    let dscale = (written.fraction.len() as i64 - written.exponent).max(0);
    if dscale > i64::from(MAX_SCALE) {
        return Err(overflow());
    }
    let all = [written.integer, written.fraction].concat();
    let leading = all.iter().take_while(|digit| **digit == b'0').count();
    let significant = &all[leading..];
    if significant.is_empty() {
        return Ok(Numeric::small(0, dscale as u16));
    }
    let position = significant.len() as i64 - written.fraction.len() as i64 + written.exponent;
    if position > i64::from(MAX_INTEGER_DIGITS) {
        return Err(overflow());
    }
    // A positive exponent beyond the written fraction appends zeros; the checks above bound them.
    let zeros = (written.exponent - written.fraction.len() as i64).max(0) as u32;
    if significant.len() + zeros as usize <= 38 {
        let digits = significant.iter().fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        if let Some(coefficient) = digits::scale_up(digits, zeros) {
            let signed = if written.negative { -coefficient } else { coefficient };
            return Ok(Numeric::small(signed, dscale as u16));
        }
    }
    let Some(magnitude) = BigUint::parse_bytes(significant, 10) else { return Err(overflow()) };
    let sign = if written.negative { Sign::Minus } else { Sign::Plus };
    let coefficient = BigInt::from_biguint(sign, magnitude) * digits::power(zeros);
    Numeric::finite(coefficient, dscale as u32)
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Value::Small(coefficient, dscale) => {
                let mut buffer = [0; digits::MAX_SMALL_DIGITS];
                let digits = digits::small_digits(coefficient.unsigned_abs(), &mut buffer);
                let start = digits::MAX_SMALL_DIGITS - digits.len();
                buffer[start..].iter_mut().for_each(|digit| *digit += b'0');
                let text = std::str::from_utf8(&buffer[start..]).map_err(|_| fmt::Error)?;
                write_plain(f, *coefficient < 0, text, *dscale)
            }
            Value::Big(coefficient, dscale) => {
                let text = coefficient.magnitude().to_string();
                write_plain(f, coefficient.sign() == Sign::Minus, &text, *dscale)
            }
            Value::NaN => f.write_str("NaN"),
            Value::Infinity => f.write_str("Infinity"),
            Value::NegativeInfinity => f.write_str("-Infinity"),
        }
    }
}

/// Writes the digits of a coefficient with the point `dscale` places from the right.
fn write_plain(f: &mut fmt::Formatter<'_>, negative: bool, digits: &str, dscale: u16) -> fmt::Result {
    if negative {
        f.write_str("-")?;
    }
    let scale = usize::from(dscale);
    let (integer, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    f.write_str(if integer.is_empty() { "0" } else { integer })?;
    if scale > 0 {
        f.write_str(".")?;
        for _ in fraction.len()..scale {
            f.write_str("0")?;
        }
        f.write_str(fraction)?;
    }
    Ok(())
}
