//! PostgreSQL's NUMERIC: an exact decimal, or one of NaN, Infinity and -Infinity.
//!
//! A finite value is an integer coefficient and the number of digits shown after the point.
//! Coefficients that fit an `i128` stay on the stack, so ordinary values never allocate.

pub mod aggregate;
mod arithmetic;
mod binary;
mod bytes;
mod convert;
mod digits;
mod exponential;
mod integers;
mod logarithm;
mod order;
mod power;
mod round;
mod scale;
mod text;
mod wire;

#[cfg(test)]
mod tests;

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use crate::{Result, ValueError};

/// The most digits a value may have before its point.
pub const MAX_INTEGER_DIGITS: u32 = 131_072;
/// The most digits a value may have after its point.
pub const MAX_SCALE: u16 = 16_383;

/// A value of NUMERIC. Ordered and hashed by value, so 1.0 equals 1.00 and NaN equals itself.
#[derive(Clone, Debug)]
pub struct Numeric(Value);

/// What a NUMERIC may be. A finite value keeps its coefficient and its display scale.
#[derive(Clone, Debug)]
enum Value {
    Small(i128, u16),
    /// Only for coefficients beyond `i128`, so that equal values have one shape per scale.
    Big(Box<BigInt>, u16),
    NaN,
    Infinity,
    NegativeInfinity,
}

impl Numeric {
    /// 0, without digits after the point.
    pub const fn zero() -> Self {
        Self(Value::Small(0, 0))
    }

    /// 1, without digits after the point.
    pub const fn one() -> Self {
        Self(Value::Small(1, 0))
    }

    /// Not a number: equal to itself and greater than every other value.
    pub const fn nan() -> Self {
        Self(Value::NaN)
    }

    /// Infinity, or -Infinity when `negative`.
    pub const fn infinity(negative: bool) -> Self {
        Self(if negative { Value::NegativeInfinity } else { Value::Infinity })
    }

    /// Whether this is NaN.
    pub const fn is_nan(&self) -> bool {
        matches!(self.0, Value::NaN)
    }

    /// Whether this is neither NaN nor an infinity.
    pub const fn is_finite(&self) -> bool {
        matches!(self.0, Value::Small(..) | Value::Big(..))
    }

    /// Whether this is Infinity or -Infinity.
    pub const fn is_infinite(&self) -> bool {
        matches!(self.0, Value::Infinity | Value::NegativeInfinity)
    }

    /// Whether this is zero.
    pub const fn is_zero(&self) -> bool {
        matches!(self.0, Value::Small(0, _))
    }

    /// Whether this is below zero. NaN is not.
    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Value::Small(coefficient, _) => *coefficient < 0,
            Value::Big(coefficient, _) => coefficient.is_negative(),
            Value::NegativeInfinity => true,
            Value::NaN | Value::Infinity => false,
        }
    }

    /// -1, 0 or 1 by the sign of the value; NaN counts as positive.
    fn signum(&self) -> i32 {
        if self.is_zero() {
            0
        } else if self.is_negative() {
            -1
        } else {
            1
        }
    }

    /// A finite value whose coefficient fits.
    const fn small(coefficient: i128, dscale: u16) -> Self {
        Self(Value::Small(coefficient, dscale))
    }

    /// A finite value without a check of its length, for results that cannot grow.
    fn unchecked(coefficient: BigInt, dscale: u16) -> Self {
        match coefficient.to_i128() {
            Some(small) => Self::small(small, dscale),
            None => Self(Value::Big(Box::new(coefficient), dscale)),
        }
    }

    /// A finite value, or 22003 when it is too long for PostgreSQL.
    fn finite(coefficient: BigInt, dscale: u32) -> Result<Self> {
        let Ok(scale) = u16::try_from(dscale) else { return Err(overflow()) };
        if scale > MAX_SCALE || digits::is_longer_than(&coefficient, MAX_INTEGER_DIGITS + dscale) {
            return Err(overflow());
        }
        Ok(Self::unchecked(coefficient, scale))
    }

    /// The coefficient as a big integer; zero for NaN and the infinities.
    fn coefficient(&self) -> BigInt {
        match &self.0 {
            Value::Small(coefficient, _) => BigInt::from(*coefficient),
            Value::Big(coefficient, _) => (**coefficient).clone(),
            _ => BigInt::zero(),
        }
    }

    /// The digits after the point; 0 for NaN and the infinities.
    const fn dscale(&self) -> u16 {
        match &self.0 {
            Value::Small(_, dscale) | Value::Big(_, dscale) => *dscale,
            _ => 0,
        }
    }
}

/// 22003, as PostgreSQL says it of a result that is too long.
fn overflow() -> ValueError {
    ValueError::new("22003", "value overflows numeric format")
}
