//! PostgreSQL's binary format: a header of four 16-bit fields and digits in base 10000.

use num_bigint::{BigInt, BigUint, Sign};

use super::{MAX_SCALE, Numeric, Value, digits};
use crate::{Result, ValueError};

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;
/// Bytes before the first digit.
const HEADER: usize = 8;

impl Numeric {
    /// Appends the value in PostgreSQL's binary format.
    pub fn to_wire(&self, out: &mut Vec<u8>) {
        let sign = match &self.0 {
            Value::NaN => NAN,
            Value::Infinity => INFINITY,
            Value::NegativeInfinity => NEGATIVE_INFINITY,
            _ if self.is_negative() => NEGATIVE,
            _ => POSITIVE,
        };
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&sign.to_be_bytes());
        // PostgreSQL itself sends this scale with an infinity.
        let dscale = if self.is_infinite() { 0x20 } else { self.dscale() };
        out.extend_from_slice(&dscale.to_be_bytes());
        if self.is_zero() || !self.is_finite() {
            return;
        }
        let weight = (self.leading_position() - 1).div_euclid(4);
        self.wire_digits(weight, out);
        while out.len() > start + HEADER && out.ends_with(&[0, 0]) {
            out.truncate(out.len() - 2);
        }
        let count = (out.len() - start - HEADER) / 2;
        out[start..start + 2].copy_from_slice(&(count as u16).to_be_bytes());
        out[start + 2..start + 4].copy_from_slice(&(weight as i16).to_be_bytes());
    }

    /// Appends the digits in base 10000, of which the first stands at `weight`.
    fn wire_digits(&self, weight: i32, out: &mut Vec<u8>) {
        // The decimal digits that stand before the first one within its base digit.
        let mut missing = (weight + 1) * 4 - self.leading_position();
        let count = self.leading_position() + i32::from(self.dscale());
        let padding = (-(missing + count)).rem_euclid(4);
        let mut current = 0u16;
        let mut push = |digit: u8| {
            current = current * 10 + u16::from(digit);
            missing = (missing + 1) % 4;
            if missing == 0 {
                out.extend_from_slice(&current.to_be_bytes());
                current = 0;
            }
        };
        match &self.0 {
            Value::Small(coefficient, _) => {
                let mut buffer = [0; digits::MAX_SMALL_DIGITS];
                let decimals = digits::small_digits(coefficient.unsigned_abs(), &mut buffer);
                decimals.iter().for_each(|digit| push(*digit));
            }
            Value::Big(coefficient, _) => {
                coefficient.magnitude().to_radix_be(10).iter().for_each(|digit| push(*digit));
            }
            _ => {}
        }
        for _ in 0..padding {
            push(0);
        }
    }

    /// Reads PostgreSQL's binary format. Digits beyond the stated scale are cut, as it does.
    pub fn from_wire(bytes: &[u8]) -> Result<Self> {
        let (header, body) = bytes.split_first_chunk::<HEADER>().ok_or_else(truncated)?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (count, weight, sign, dscale) = (field(0), field(2) as i16, field(4), field(6));
        if body.len() != usize::from(count) * 2 {
            return Err(truncated());
        }
        let negative = match sign {
            POSITIVE => false,
            NEGATIVE => true,
            NAN => return Ok(Self::nan()),
            INFINITY => return Ok(Self::infinity(false)),
            NEGATIVE_INFINITY => return Ok(Self::infinity(true)),
            _ => return Err(invalid("sign")),
        };
        if dscale > MAX_SCALE {
            return Err(invalid("scale"));
        }
        let digits: Vec<u16> = body.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        if digits.iter().any(|digit| *digit > 9999) {
            return Err(invalid("digit"));
        }
        assemble(&digits, i32::from(weight), negative, dscale)
    }
}

/// Builds the value of base-10000 digits, of which the first stands at `weight`.
fn assemble(wire: &[u16], weight: i32, negative: bool, dscale: u16) -> Result<Numeric> {
    // The decimal places down to which the scale keeps digits, in whole base digits.
    let kept_places = weight + 1 + i32::from(dscale.div_ceil(4));
    let kept = &wire[..wire.len().min(kept_places.max(0) as usize)];
    let start = kept.iter().take_while(|digit| **digit == 0).count();
    let significant = &kept[start..];
    if significant.is_empty() {
        return Ok(Numeric::small(0, dscale));
    }
    // What must be appended (or cut) so that the coefficient ends at the scale.
    let shift = (weight + 1 - kept.len() as i32) * 4 + i32::from(dscale);
    let sign = if negative { Sign::Minus } else { Sign::Plus };
    if significant.len() <= 9 {
        let size = significant.iter().fold(0, |sum, digit| sum * 10_000 + i128::from(*digit));
        let signed = if negative { -size } else { size };
        let places = shift.unsigned_abs();
        let shifted = if shift >= 0 {
            digits::scale_up(signed, places)
        } else {
            digits::small_power(places).map(|power| signed / power)
        };
        if let Some(coefficient) = shifted {
            return Ok(Numeric::small(coefficient, dscale));
        }
    }
    let base_100: Vec<u8> = significant.iter().flat_map(|digit| [(digit / 100) as u8, (digit % 100) as u8]).collect();
    let magnitude = BigUint::from_radix_be(&base_100, 100).ok_or_else(truncated)?;
    let mut coefficient = BigInt::from_biguint(sign, magnitude);
    if shift >= 0 {
        coefficient *= digits::power(shift.unsigned_abs());
    } else {
        coefficient /= digits::power(shift.unsigned_abs());
    }
    Numeric::finite(coefficient, u32::from(dscale))
}

/// 22P03: the count of digits is not the count of bytes.
fn truncated() -> ValueError {
    ValueError::new("22P03", "incorrect binary data format of a numeric value")
}

fn invalid(field: &str) -> ValueError {
    ValueError::new("22P03", format!("invalid {field} in external \"numeric\" value"))
}
