//! Powers. Their cost is bounded by the digits of the result, not by the exponent.

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::One;

use super::exponential::{LOG10_E, exp_of};
use super::scale::{MIN_SIGNIFICANT_DIGITS, bounded};
use super::{MAX_INTEGER_DIGITS, Numeric, binary, digits, overflow};
use crate::{Result, ValueError};

/// Beyond this product of exponent and logarithm a power cannot be a value.
const MAX_LOGARITHM: f64 = 6020.0;
/// Powers up to this many bits are computed exactly.
const EXACT_BITS: u64 = 65_536;
/// Bits against the rounding errors of repeated multiplication.
const GUARD_BITS: u64 = 160;

impl Numeric {
    /// This value raised to `exponent`; 2201F where PostgreSQL leaves the power undefined.
    pub fn power(&self, exponent: &Self) -> Result<Self> {
        let one = Self::one();
        // These hold even of NaN, as the other operand does not matter.
        if (*self == one && !(exponent.is_finite())) || (exponent.is_zero() && !self.is_finite()) {
            return Ok(one);
        }
        if self.is_nan() || exponent.is_nan() {
            return Ok(Self::nan());
        }
        if self.is_zero() && exponent.is_negative() {
            return Err(undefined("zero raised to a negative power is undefined"));
        }
        if self.is_negative() && exponent.is_finite() && !exponent.is_integer() {
            return Err(undefined("a negative number raised to a non-integer power yields a complex result"));
        }
        if !(self.is_finite() && exponent.is_finite()) {
            return Ok(power_special(self, exponent));
        }
        if exponent.is_integer()
            && let Ok(whole) = exponent.to_i32()
        {
            return power_integer(self, whole);
        }
        if self.is_zero() {
            return Ok(Self::small(0, MIN_SIGNIFICANT_DIGITS as u16));
        }
        let magnitude = power_by_logarithm(&self.abs(), exponent)?;
        let negative = self.is_negative() && exponent.is_odd();
        Ok(if negative { magnitude.neg() } else { magnitude })
    }

    /// Whether a finite value has no digits after its point.
    fn is_integer(&self) -> bool {
        self.min_scale() == Some(0)
    }

    /// Whether a value is an odd integer.
    fn is_odd(&self) -> bool {
        self.is_integer() && self.trim_scale().coefficient().is_odd()
    }
}

fn undefined(why: &str) -> ValueError {
    ValueError::new("2201F", why)
}

/// A power where one operand is infinite and none is NaN.
fn power_special(base: &Numeric, exponent: &Numeric) -> Numeric {
    if base.is_zero() {
        return Numeric::zero();
    }
    if exponent.is_infinite() {
        let size = base.abs();
        if size == Numeric::one() {
            return Numeric::one();
        }
        let grows = (size > Numeric::one()) != exponent.is_negative();
        return if grows { Numeric::infinity(false) } else { Numeric::zero() };
    }
    if exponent.is_negative() {
        return Numeric::zero();
    }
    Numeric::infinity(base.is_negative() && exponent.is_odd())
}

/// A power of a positive base through logarithms, rounded at the places PostgreSQL rounds at.
fn power_by_logarithm(base: &Numeric, exponent: &Numeric) -> Result<Numeric> {
    let weight = base.logarithm_weight();
    let (rough, rough_scale) = logarithm_times(base, exponent, (8 - weight).max(0));
    let estimate = approximate(&rough, rough_scale);
    if estimate > MAX_LOGARITHM {
        return Err(overflow());
    }
    if estimate < -MAX_LOGARITHM {
        return Ok(Numeric::small(0, 1000));
    }
    let result_weight = (estimate * LOG10_E) as i32;
    let scale = bounded(MIN_SIGNIFICANT_DIGITS - result_weight, &[base, exponent]);
    let significant = (i32::from(scale) + result_weight).max(0);
    let (product, product_scale) = logarithm_times(base, exponent, (significant - weight + 8).max(0));
    exp_of(&product, product_scale, approximate(&product, product_scale), scale)
}

/// `exponent` * ln(`base`): the logarithm and the product are each rounded to `scale`.
fn logarithm_times(base: &Numeric, exponent: &Numeric, scale: i32) -> (BigInt, u32) {
    let product = base.ln_coefficient(scale) * exponent.coefficient();
    let excess = digits::power(u32::from(exponent.dscale()));
    (digits::divide_rounded(&product, &excess), scale.unsigned_abs())
}

/// The nearest double of `coefficient` * 10^-`scale`.
fn approximate(coefficient: &BigInt, scale: u32) -> f64 {
    // Seventeen digits beyond the point decide a double of the size that matters here.
    let excess = scale.saturating_sub(1000);
    let kept = coefficient / digits::power(excess);
    Numeric::unchecked(kept, (scale - excess) as u16).approximate()
}

/// A power with an integer exponent of 32 bits.
fn power_integer(base: &Numeric, exponent: i32) -> Result<Numeric> {
    let scale = bounded(MIN_SIGNIFICANT_DIGITS, &[base]);
    if exponent == 0 {
        return Numeric::one().round_to(i32::from(scale));
    }
    if base.is_zero() {
        return Ok(Numeric::small(0, scale));
    }
    let (top, count) = base.leading_decimals();
    let power_of_ten = base.leading_position() - count as i32;
    let logarithm = f64::from(exponent) * ((top as f64).log10() + f64::from(power_of_ten));
    if logarithm > f64::from(MAX_INTEGER_DIGITS) + 1.0 {
        return Err(overflow());
    }
    if logarithm + 1.0 < -f64::from(scale) {
        return Ok(Numeric::small(0, scale));
    }
    let trimmed = base.trim_scale();
    let coefficient = trimmed.coefficient();
    let fraction = match integer_power(&trimmed, exponent.unsigned_abs()) {
        Some(exact) => exact,
        None => approximate_power(&trimmed, exponent.unsigned_abs(), (logarithm, scale)),
    };
    let (above, below) = if exponent > 0 { fraction } else { (fraction.1, fraction.0) };
    let size = digits::divide_rounded(&(above * digits::power(u32::from(scale))), &below);
    let negative = coefficient.sign() == Sign::Minus && exponent % 2 != 0;
    Numeric::finite(if negative { -size } else { size }, u32::from(scale))
}

/// The magnitude of a power as a fraction, exactly, where that is short enough.
fn integer_power(base: &Numeric, exponent: u32) -> Option<(BigInt, BigInt)> {
    let size = BigInt::from(base.coefficient().magnitude().clone());
    let decimals = u64::from(base.dscale()) * u64::from(exponent);
    if size.bits() * u64::from(exponent) > EXACT_BITS || decimals > EXACT_BITS / 4 {
        return None;
    }
    Some((size.pow(exponent), digits::power(decimals as u32)))
}

/// The magnitude of a power as a fraction with enough digits for `result`: logarithm and scale.
fn approximate_power(base: &Numeric, exponent: u32, result: (f64, u16)) -> (BigInt, BigInt) {
    let digits = result.0 as i32 + i32::from(result.1) + 1;
    let bits = binary::bits_of_digits(digits) + GUARD_BITS;
    let decimals = u64::from(base.dscale()) * u64::from(exponent);
    let size = BigInt::from(base.coefficient().magnitude().clone());
    let above = Float::power(size, u64::from(exponent), bits);
    let below = Float::power(BigInt::from(5u8), decimals, bits);
    // 10^n is 5^n * 2^n, and the factors of two only move the point.
    let shift = above.exponent - below.exponent - decimals as i64;
    if shift >= 0 {
        (above.mantissa << shift.unsigned_abs(), below.mantissa)
    } else {
        (above.mantissa, below.mantissa << shift.unsigned_abs())
    }
}

/// `mantissa` * 2^`exponent`, with a mantissa of bounded length.
struct Float {
    mantissa: BigInt,
    exponent: i64,
}

impl Float {
    fn power(base: BigInt, exponent: u64, bits: u64) -> Self {
        let mut result = Self { mantissa: BigInt::one(), exponent: 0 };
        let mut square = Self { mantissa: base, exponent: 0 };
        let mut rest = exponent;
        while rest > 0 {
            if rest & 1 == 1 {
                result = result.multiply(&square, bits);
            }
            rest >>= 1;
            if rest > 0 {
                square = square.multiply(&square, bits);
            }
        }
        result
    }

    fn multiply(&self, other: &Self, bits: u64) -> Self {
        let product = &self.mantissa * &other.mantissa;
        let excess = product.bits().saturating_sub(bits);
        Self { mantissa: product >> excess, exponent: self.exponent + other.exponent + excess as i64 }
    }
}
