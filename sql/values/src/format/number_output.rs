//! to_char of numbers.

use super::decimal::{float_scientific, is_decimal, round, scientific, shift_point};
use super::number_pattern::Shape;
use super::number_write::{Number, write, write_fixed};
use crate::{Result, ValueError};

/// Decimal digits that a double holds for certain.
const DOUBLE_DIGITS: usize = 15;
/// Decimal digits that a single float holds for certain.
const REAL_DIGITS: usize = 6;
/// A pattern with V asks for this many digits at most.
const MAX_SHIFT: usize = 1_000;

/// to_char of a NUMERIC in plain decimal text, such as `-12.340`, `NaN` or `-Infinity`.
///
/// Errors: 42601 for patterns that contradict each other, 54000 for a pattern that is too long,
/// 22003 for a number without a Roman form in 32 bits, 22P02 for other text.
pub fn to_char_numeric(digits: &str, pattern: &str) -> Result<String> {
    let Some(shape) = shape_of(pattern)? else { return Ok(String::new()) };
    let plain = digits.strip_prefix('-').unwrap_or(digits);
    let is_special = matches!(plain, "NaN" | "Infinity");
    if !is_special && !is_decimal(plain) {
        return Err(ValueError::syntax("numeric", digits));
    }
    if shape.roman {
        if is_special {
            let name = if plain == "NaN" { "NaN" } else { "infinity" };
            return Err(ValueError::unsupported(format!("cannot convert {name} to integer")));
        }
        let whole = round(digits, 0).parse::<i32>().map_err(|_| ValueError::out_of_range("integer"))?;
        return write(&shape, &Number::roman(i64::from(whole)));
    }
    if shape.exponent {
        return Ok(if is_special { hashes_with_exponent(&shape) } else { scientific(digits, shape.post) });
    }
    let text = match (is_special, shift_of(&shape)?) {
        (true, _) => digits.into(),
        (false, shift) => round(&shift_point(digits, shift), shape.post),
    };
    write_fixed(&shape, &text)
}

/// to_char of a double. Errors as `to_char_numeric`.
pub fn to_char_float(value: f64, pattern: &str) -> Result<String> {
    float_with_digits(value, DOUBLE_DIGITS, pattern)
}

/// to_char of a single float. Errors as `to_char_numeric`.
pub fn to_char_real(value: f32, pattern: &str) -> Result<String> {
    float_with_digits(value.into(), REAL_DIGITS, pattern)
}

fn float_with_digits(value: f64, digits: usize, pattern: &str) -> Result<String> {
    let Some(mut shape) = shape_of(pattern)? else { return Ok(String::new()) };
    if shape.roman {
        // NaN becomes zero, and what is too great saturates: none of them has a Roman form.
        return write(&shape, &Number::roman(value.round_ties_even() as i64));
    }
    if shape.exponent {
        return Ok(if value.is_finite() { float_scientific(value, shape.post) } else { hashes_with_exponent(&shape) });
    }
    let shifted = value * 10_f64.powi(i32::try_from(shift_of(&shape)?).unwrap_or(0));
    let name = match shifted {
        _ if shifted.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    };
    let whole_digits = match name {
        Some(name) => name.trim_start_matches('-').len(),
        None => format!("{:.0}", shifted.abs()).len(),
    };
    // More digits than the float holds would be noise.
    shape.post = shape.post.min(digits.saturating_sub(whole_digits));
    match name {
        Some(name) => write_fixed(&shape, name),
        None => write_fixed(&shape, &format!("{shifted:.*}", shape.post)),
    }
}

/// to_char of a bigint. 22003: a pattern with V makes it too great. Errors as `to_char_numeric`.
pub fn to_char_int(value: i64, pattern: &str) -> Result<String> {
    let Some(shape) = shape_of(pattern)? else { return Ok(String::new()) };
    if shape.roman {
        let whole = i32::try_from(value).map_err(|_| ValueError::out_of_range("integer"))?;
        return write(&shape, &Number::roman(i64::from(whole)));
    }
    if shape.exponent {
        return Ok(scientific(&value.to_string(), shape.post));
    }
    let power = u32::try_from(shift_of(&shape)?).ok().and_then(|shift| 10_i64.checked_pow(shift));
    let shifted = power.and_then(|power| value.checked_mul(power));
    let shifted = shifted.ok_or_else(|| ValueError::out_of_range("bigint"))?;
    write_fixed(&shape, &round(&shifted.to_string(), shape.post))
}

/// None is an empty pattern, which prints nothing.
fn shape_of(pattern: &str) -> Result<Option<Shape>> {
    super::check_length(pattern)?;
    if pattern.is_empty() { Ok(None) } else { Shape::parse(pattern).map(Some) }
}

fn shift_of(shape: &Shape) -> Result<usize> {
    match shape.multi {
        shift if shift > MAX_SHIFT => Err(ValueError::new("54000", "a format pattern has too many digits after \"V\"")),
        shift => Ok(shift),
    }
}

/// What stands for NaN and the infinities. Six characters are the sign, the point and the exponent.
fn hashes_with_exponent(shape: &Shape) -> String {
    let mut text = vec!['#'; shape.pre + shape.post + 6];
    text[0] = ' ';
    text[shape.pre + 1] = '.';
    text.into_iter().collect()
}
