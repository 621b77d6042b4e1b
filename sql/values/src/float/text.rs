//! Floats as PostgreSQL reads and prints them.

use num_bigint::BigUint;
use num_traits::FromPrimitive;

use crate::{Result, ValueError};

/// Doubles below this are further from their neighbours' midpoints than any short text.
const FIRST_MIDPOINT_F64: f64 = 9_007_199_254_740_992.0;
/// As [`FIRST_MIDPOINT_F64`], for single floats.
const FIRST_MIDPOINT_F32: f32 = 16_777_216.0;

/// Shorter texts than this are never as near to the float as another text of their length.
const FIRST_TIE_F64: usize = 14;
/// As [`FIRST_TIE_F64`], for single floats.
const FIRST_TIE_F32: usize = 5;

/// The shortest text that reads back as the same double.
pub fn print_f64(value: f64) -> String {
    if let Some(name) = special_name(value) {
        return name.to_owned();
    }
    let mut scientific = format!("{value:e}");
    let mut digits = digits_after_point(&scientific);
    if digits >= FIRST_TIE_F64 && ends_odd(&scientific) {
        // An exact rounding takes the even digit of two that are equally near.
        let rounded = format!("{value:.digits$e}");
        if rounded.parse() == Ok(value) {
            scientific = rounded;
        }
    }
    let size = value.abs();
    if size >= FIRST_MIDPOINT_F64 {
        let neighbours = [size.next_down(), size.next_up()];
        while digits < 16 && is_midpoint(&scientific, size, neighbours) {
            digits += 1;
            scientific = format!("{value:.digits$e}");
        }
    }
    print_plain(&scientific, 15)
}

/// The shortest text that reads back as the same single float.
pub fn print_f32(value: f32) -> String {
    if let Some(name) = special_name(f64::from(value)) {
        return name.to_owned();
    }
    let mut scientific = format!("{value:e}");
    let mut digits = digits_after_point(&scientific);
    if digits >= FIRST_TIE_F32 && ends_odd(&scientific) {
        let rounded = format!("{value:.digits$e}");
        if rounded.parse() == Ok(value) {
            scientific = rounded;
        }
    }
    let size = value.abs();
    if size >= FIRST_MIDPOINT_F32 {
        let neighbours = [f64::from(size.next_down()), f64::from(size.next_up())];
        while digits < 8 && is_midpoint(&scientific, f64::from(size), neighbours) {
            digits += 1;
            scientific = format!("{value:.digits$e}");
        }
    }
    print_plain(&scientific, 6)
}

/// Whether a text lies exactly between a float and a neighbour.
///
/// Such a text reads back as the float whose bits are even, but PostgreSQL does not print it.
fn is_midpoint(scientific: &str, size: f64, neighbours: [f64; 2]) -> bool {
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return false };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", integer.trim_start_matches('-'));
    let zeros = exponent.parse::<u32>().unwrap_or(0).checked_sub(fraction.len() as u32);
    // Digits after the point cannot be, as both floats are integers and the text is shortest.
    let (Some(zeros), Ok(digits)) = (zeros, digits.parse::<u64>()) else { return false };
    let Some(size) = BigUint::from_f64(size) else { return false };
    let twice = BigUint::from(digits) * BigUint::from(10u8).pow(zeros) * 2u8;
    let mut sums = neighbours.into_iter().filter_map(BigUint::from_f64).map(|near| near + &size);
    sums.any(|sum| sum == twice)
}

/// Digits of the mantissa after its point.
fn digits_after_point(scientific: &str) -> usize {
    let mantissa = scientific.split('e').next().unwrap_or(scientific);
    mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len())
}

/// Whether a text ends in an odd digit. Between two equally near texts PostgreSQL takes the even.
fn ends_odd(scientific: &str) -> bool {
    let mantissa = scientific.split('e').next().unwrap_or(scientific);
    mantissa.bytes().last().is_some_and(|digit| digit % 2 == 1)
}

fn special_name(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("Infinity")
    } else if value == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}

/// Rewrites scientific notation: no exponent from 0.0001 up to 10^`plain_digits`.
fn print_plain(scientific: &str, plain_digits: i32) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..plain_digits).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", mantissa),
    };
    let digits = unsigned.replace('.', "");
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let integer_length = exponent as usize + 1;
    if digits.len() <= integer_length {
        return format!("{sign}{digits:0<integer_length$}");
    }
    let (integer, fraction) = digits.split_at(integer_length);
    format!("{sign}{integer}.{fraction}")
}

/// Reads PostgreSQL's `double precision`; 22P02 for other text, 22003 beyond its range.
pub fn parse_f64(text: &str) -> Result<f64> {
    const NAME: &str = "double precision";
    let trimmed = text.trim_matches(is_blank);
    if !is_number(trimmed) {
        return parse_special(trimmed).ok_or_else(|| ValueError::syntax(NAME, text));
    }
    let value: f64 = trimmed.parse().map_err(|_| ValueError::syntax(NAME, text))?;
    if value.is_infinite() || (value == 0.0 && has_nonzero_digit(trimmed)) {
        return Err(beyond(trimmed, NAME));
    }
    Ok(value)
}

/// Reads PostgreSQL's `real`; 22P02 for other text, 22003 beyond its range.
pub fn parse_f32(text: &str) -> Result<f32> {
    const NAME: &str = "real";
    let trimmed = text.trim_matches(is_blank);
    if !is_number(trimmed) {
        let special = parse_special(trimmed).map(|value| value as f32);
        return special.ok_or_else(|| ValueError::syntax(NAME, text));
    }
    let value: f32 = trimmed.parse().map_err(|_| ValueError::syntax(NAME, text))?;
    if value.is_infinite() || (value == 0.0 && has_nonzero_digit(trimmed)) {
        return Err(beyond(trimmed, NAME));
    }
    Ok(value)
}

/// The blanks of C's `isspace`, which PostgreSQL skips around a number.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

/// Whether this is a decimal number. Rust's parser reads these, and names that are not ours.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let begins = unsigned.bytes().find(|byte| *byte != b'.');
    begins.is_some_and(|byte| byte.is_ascii_digit())
}

fn has_nonzero_digit(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

fn parse_special(text: &str) -> Option<f64> {
    let (sign, name) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if name.eq_ignore_ascii_case("inf") || name.eq_ignore_ascii_case("infinity") {
        Some(sign * f64::INFINITY)
    } else if name.eq_ignore_ascii_case("nan") {
        Some(f64::NAN)
    } else {
        None
    }
}

fn beyond(text: &str, name: &str) -> ValueError {
    ValueError::new("22003", format!("\"{text}\" is out of range for type {name}"))
}
