//! The order-preserving bytes of a value: comparing two byte strings compares the values.
//!
//! A class byte comes first. A positive value continues with the position of its first digit,
//! its digits in base 100, and a terminator; a negative value complements these bytes.
//! The scale ends every value, so equal values of different scales differ only there.

use num_bigint::{BigInt, BigUint, Sign};

use super::{MAX_INTEGER_DIGITS, MAX_SCALE, Numeric, Value, digits};
use crate::{Result, ValueError};

const NEGATIVE_INFINITY: u8 = 1;
const NEGATIVE: u8 = 2;
const ZERO: u8 = 3;
const POSITIVE: u8 = 4;
const INFINITY: u8 = 5;
const NAN: u8 = 6;

/// Added to the position of the first digit, so that negative positions order below positive.
const POSITION_BIAS: u32 = 1 << 31;
/// Ends the digits; it is below every digit byte, so a shorter number orders first.
const TERMINATOR: u8 = 0;

impl Numeric {
    /// Appends the value's bytes. Their order is the order of the values, then of the scales.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let class = match &self.0 {
            Value::NegativeInfinity => NEGATIVE_INFINITY,
            Value::Infinity => INFINITY,
            Value::NaN => NAN,
            _ if self.is_zero() => ZERO,
            _ if self.is_negative() => NEGATIVE,
            _ => POSITIVE,
        };
        out.push(class);
        if matches!(class, NEGATIVE | POSITIVE) {
            let start = out.len();
            self.encode_magnitude(out);
            if class == NEGATIVE {
                out[start..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        out.extend_from_slice(&self.dscale().to_be_bytes());
    }

    fn encode_magnitude(&self, out: &mut Vec<u8>) {
        let position = self.leading_position();
        out.extend_from_slice(&POSITION_BIAS.wrapping_add_signed(position).to_be_bytes());
        let start = out.len();
        match &self.0 {
            Value::Small(coefficient, _) => {
                let mut buffer = [0; digits::MAX_SMALL_DIGITS];
                let decimals = digits::small_digits(coefficient.unsigned_abs(), &mut buffer);
                for pair in decimals.chunks(2) {
                    out.push(pair[0] * 10 + pair.get(1).copied().unwrap_or(0) + 1);
                }
            }
            Value::Big(coefficient, dscale) => {
                // Base 100 must begin at the first decimal digit, so an odd count is made even.
                let odd = (position + i32::from(*dscale)) % 2 != 0;
                let even = coefficient.magnitude() * if odd { 10u8 } else { 1 };
                out.extend(even.to_radix_be(100).iter().map(|digit| digit + 1));
            }
            _ => {}
        }
        let kept = out[start..].iter().rposition(|byte| *byte != 1).map_or(0, |last| last + 1);
        out.truncate(start + kept);
        out.push(TERMINATOR);
    }

    /// Reads what [`Numeric::encode`] wrote; 22P03 for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let (body, dscale) = bytes.split_last_chunk::<2>().ok_or_else(garbage)?;
        let dscale = u16::from_be_bytes(*dscale);
        let (class, body) = body.split_first().ok_or_else(garbage)?;
        if dscale > MAX_SCALE {
            return Err(garbage());
        }
        match (*class, body.is_empty(), dscale) {
            (NEGATIVE_INFINITY, true, 0) => Ok(Self::infinity(true)),
            (INFINITY, true, 0) => Ok(Self::infinity(false)),
            (NAN, true, 0) => Ok(Self::nan()),
            (ZERO, true, _) => Ok(Self::small(0, dscale)),
            (POSITIVE, false, _) => decode_magnitude(body, 0x00, dscale),
            (NEGATIVE, false, _) => decode_magnitude(body, 0xFF, dscale),
            _ => Err(garbage()),
        }
    }
}

/// Reads position and digits; `mask` undoes the complement of a negative value.
fn decode_magnitude(body: &[u8], mask: u8, dscale: u16) -> Result<Numeric> {
    let (position, rest) = body.split_first_chunk::<4>().ok_or_else(garbage)?;
    let biased = u32::from_be_bytes(position.map(|byte| byte ^ mask));
    let position = i64::from(biased) - i64::from(POSITION_BIAS);
    let (terminator, encoded) = rest.split_last().ok_or_else(garbage)?;
    let first = encoded.first().ok_or_else(garbage)? ^ mask;
    let last = encoded.last().ok_or_else(garbage)? ^ mask;
    let well_formed = encoded.iter().all(|byte| (1..=100).contains(&(byte ^ mask)));
    if terminator ^ mask != TERMINATOR || !well_formed || first <= 10 || last == 1 {
        return Err(garbage());
    }
    // An even count of digits is written; the last may be the zero that completes a pair.
    let padding = usize::from((last - 1).is_multiple_of(10));
    let significant = (encoded.len() * 2 - padding) as i64;
    let total = position + i64::from(dscale);
    if position > i64::from(MAX_INTEGER_DIGITS) || total < significant {
        return Err(garbage());
    }
    let zeros = total - encoded.len() as i64 * 2;
    let sign = if mask == 0 { Sign::Plus } else { Sign::Minus };
    Ok(if total <= 38 {
        decode_small(encoded, mask, zeros as i32, dscale)
    } else {
        decode_big(encoded, sign, zeros as i32, dscale)
    })
}

/// Builds a coefficient of at most 38 digits.
fn decode_small(encoded: &[u8], mask: u8, zeros: i32, dscale: u16) -> Numeric {
    let digit = |byte: &u8| i128::from(byte ^ mask) - 1;
    let (last, leading) = match encoded.split_last() {
        Some((last, leading)) => (digit(last), leading),
        None => (0, encoded),
    };
    let upper = leading.iter().fold(0, |sum, byte| sum * 100 + digit(byte));
    // A padding zero beyond the scale is -1 zeros; leaving it out also keeps 38 digits in bounds.
    let size = if zeros < 0 {
        upper * 10 + last / 10
    } else {
        digits::scale_up(upper * 100 + last, zeros as u32).unwrap_or(0)
    };
    Numeric::small(if mask == 0 { size } else { -size }, dscale)
}

/// Builds a coefficient of any length the checks of [`decode_magnitude`] allow.
fn decode_big(encoded: &[u8], sign: Sign, zeros: i32, dscale: u16) -> Numeric {
    let mask = if sign == Sign::Minus { 0xFF } else { 0 };
    let base_100: Vec<u8> = encoded.iter().map(|byte| (byte ^ mask) - 1).collect();
    let magnitude = BigUint::from_radix_be(&base_100, 100).unwrap_or_default();
    let mut coefficient = BigInt::from_biguint(sign, magnitude);
    if zeros < 0 {
        coefficient /= 10;
    } else {
        coefficient *= digits::power(zeros as u32);
    }
    Numeric::unchecked(coefficient, dscale)
}

/// 22P03: the bytes are no value.
fn garbage() -> ValueError {
    ValueError::new("22P03", "invalid bytes of a numeric value")
}
