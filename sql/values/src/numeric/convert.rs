//! NUMERIC from and to integers, floats and fixed decimals.

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::{Numeric, Value, digits};
use crate::float;
use crate::{Result, ValueError};

/// Powers of ten that a double holds exactly.
const EXACT_F64_SCALE: u16 = 22;
/// Integers up to this size are exact in a double.
const EXACT_F64_INTEGER: u128 = 1 << 53;

impl Numeric {
    /// `value` * 10^-`scale`.
    pub fn from_i128(value: i128, scale: i8) -> Self {
        let zeros = u32::from(scale.min(0).unsigned_abs());
        let dscale = scale.max(0) as u16;
        match digits::scale_up(value, zeros) {
            Some(coefficient) => Self::small(coefficient, dscale),
            None => Self::unchecked(BigInt::from(value) * digits::power(zeros), dscale),
        }
    }

    /// An integer.
    pub const fn from_i64(value: i64) -> Self {
        Self::small(value as i128, 0)
    }

    /// `bytes` * 10^-`scale`, where the bytes are a two's complement integer, lowest byte first.
    ///
    /// Meant for decimals of 256 bits; longer integers are cut to the digits a value may have.
    pub fn from_unscaled_bytes_le(bytes: &[u8], scale: i8) -> Self {
        let value = BigInt::from_signed_bytes_le(&bytes[..bytes.len().min(4096)]);
        let zeros = u32::from(scale.min(0).unsigned_abs());
        Self::unchecked(value * digits::power(zeros), scale.max(0) as u16)
    }

    /// The 15 significant digits of a double, as PostgreSQL's cast gives them.
    pub fn from_f64(value: f64) -> Self {
        if value.is_finite() {
            // Below 10^15 an integer has no more than 15 digits, so none is rounded away.
            if value.abs() < 1e15 && value.fract() == 0.0 {
                return Self::small(value as i128, 0);
            }
            return from_scientific(&format!("{value:.14e}"));
        }
        from_special_float(value.is_nan(), value < 0.0)
    }

    /// The 6 significant digits of a single float, as PostgreSQL's cast gives them.
    pub fn from_f32(value: f32) -> Self {
        if value.is_finite() {
            return from_scientific(&format!("{value:.5e}"));
        }
        from_special_float(value.is_nan(), value < 0.0)
    }

    /// The nearest double, or 22003 where the value is too large or too small for one.
    pub fn to_f64(&self) -> Result<f64> {
        match &self.0 {
            Value::Small(coefficient, dscale)
                if *dscale <= EXACT_F64_SCALE && coefficient.unsigned_abs() <= EXACT_F64_INTEGER =>
            {
                // Both operands are exact, so the one division rounds correctly.
                Ok(*coefficient as f64 / 10f64.powi(i32::from(*dscale)))
            }
            Value::NaN => Ok(f64::NAN),
            Value::Infinity => Ok(f64::INFINITY),
            Value::NegativeInfinity => Ok(f64::NEG_INFINITY),
            _ => float::parse_f64(&self.to_string()),
        }
    }

    /// The nearest single float, or 22003 where the value is too large or too small for one.
    pub fn to_f32(&self) -> Result<f32> {
        match &self.0 {
            Value::NaN => Ok(f32::NAN),
            Value::Infinity => Ok(f32::INFINITY),
            Value::NegativeInfinity => Ok(f32::NEG_INFINITY),
            _ => float::parse_f32(&self.to_string()),
        }
    }

    /// The nearest integer, halves away from zero; 22003 beyond a smallint.
    pub fn to_i16(&self) -> Result<i16> {
        let value = self.nearest_integer("smallint")?;
        value.to_i16().ok_or_else(|| ValueError::out_of_range("smallint"))
    }

    /// The nearest integer, halves away from zero; 22003 beyond an integer.
    pub fn to_i32(&self) -> Result<i32> {
        let value = self.nearest_integer("integer")?;
        value.to_i32().ok_or_else(|| ValueError::out_of_range("integer"))
    }

    /// The nearest integer, halves away from zero; 22003 beyond a bigint.
    pub fn to_i64(&self) -> Result<i64> {
        let value = self.nearest_integer("bigint")?;
        value.to_i64().ok_or_else(|| ValueError::out_of_range("bigint"))
    }

    fn nearest_integer(&self, target: &str) -> Result<i128> {
        if self.is_nan() {
            return Err(ValueError::unsupported(format!("cannot convert NaN to {target}")));
        }
        if self.is_infinite() {
            return Err(ValueError::unsupported(format!("cannot convert infinity to {target}")));
        }
        match self.round_to(0)?.0 {
            Value::Small(integer, _) => Ok(integer),
            _ => Err(ValueError::out_of_range(target)),
        }
    }
}

fn from_special_float(is_nan: bool, negative: bool) -> Numeric {
    if is_nan { Numeric::nan() } else { Numeric::infinity(negative) }
}

/// The value of Rust's scientific notation, without trailing zeros after the point.
fn from_scientific(text: &str) -> Numeric {
    // A float's own notation always parses; NaN would only show a fault of this module.
    Numeric::parse(text).map_or_else(|_| Numeric::nan(), |value| value.trim_scale())
}
