//! Logarithms.

use num_bigint::BigInt;

use super::scale::{MIN_SIGNIFICANT_DIGITS, bounded};
use super::{Numeric, binary, digits};
use crate::{Result, ValueError};

/// Digits PostgreSQL carries beyond those of the result.
pub(super) const EXTRA_DIGITS: i32 = 8;

impl Numeric {
    /// The natural logarithm; 2201E of zero and negative values.
    pub fn ln(&self) -> Result<Self> {
        check_positive(self)?;
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let scale = bounded(MIN_SIGNIFICANT_DIGITS - self.logarithm_weight(), &[self]);
        Self::finite(self.ln_coefficient(i32::from(scale)), u32::from(scale))
    }

    /// The logarithm to base 10; 2201E of zero and negative values.
    pub fn log10(&self) -> Result<Self> {
        Self::log(&Self::from_i64(10), self)
    }

    /// The logarithm of `of` to `base`; 2201E of zero and negative values, 22012 for base 1.
    pub fn log(base: &Self, of: &Self) -> Result<Self> {
        if base.is_nan() || of.is_nan() {
            return Ok(Self::nan());
        }
        // Beside an infinity PostgreSQL looks for negative values before it looks for zero.
        let finite = base.is_finite() && of.is_finite();
        if !finite && (base.is_negative() || of.is_negative()) {
            return Err(of_negative());
        }
        check_positive(base)?;
        check_positive(of)?;
        match (base.is_infinite(), of.is_infinite()) {
            (true, true) => return Ok(Self::nan()),
            (true, false) => return Ok(Self::zero()),
            (false, true) => return Ok(Self::infinity(false)),
            (false, false) => {}
        }
        let (base_weight, of_weight) = (base.logarithm_weight(), of.logarithm_weight());
        let weight = of_weight - base_weight;
        let scale = bounded(MIN_SIGNIFICANT_DIGITS - weight, &[base, of]);
        // Both logarithms get more significant digits than the result, and are rounded to them.
        let wanted = i32::from(scale) + weight + EXTRA_DIGITS;
        let base_scale = (wanted - base_weight).max(0);
        let of_scale = (wanted - of_weight).max(0);
        let denominator = base.ln_coefficient(base_scale);
        if denominator == BigInt::ZERO {
            return Err(ValueError::division_by_zero());
        }
        let numerator = of.ln_coefficient(of_scale);
        let shift = i32::from(scale) + base_scale - of_scale;
        let power = digits::power(shift.unsigned_abs());
        let quotient = if shift >= 0 {
            digits::divide_rounded(&(numerator * power), &denominator)
        } else {
            digits::divide_rounded(&numerator, &(denominator * power))
        };
        Self::finite(quotient, u32::from(scale))
    }

    /// The natural logarithm of a positive finite value times 10^`scale`, rounded.
    pub(super) fn ln_coefficient(&self, scale: i32) -> BigInt {
        // PostgreSQL rounds its last steps to eight more digits, which decides halves.
        let finer = scale + EXTRA_DIGITS;
        let bits = binary::bits_of_digits(finer) + 32;
        let fine = binary::to_decimal(&binary::logarithm(self, bits), bits, finer.unsigned_abs());
        digits::divide_rounded(&fine, &digits::power(EXTRA_DIGITS.unsigned_abs()))
    }

    /// Roughly the power of ten of the natural logarithm's first digit, as PostgreSQL sees it.
    pub(super) fn logarithm_weight(&self) -> i32 {
        let near_one = *self >= Self::small(9, 1) && *self <= Self::small(11, 1);
        if near_one {
            // Here ln(1 + x) is nearly x, whose size is exact at any distance.
            let scale = u32::from(self.dscale());
            let distance = self.coefficient() - digits::power(scale);
            let distance = Self::unchecked(distance, self.dscale()).abs();
            return if distance.is_zero() { 0 } else { distance.leading_position() - 1 };
        }
        if self.is_zero() {
            return 0;
        }
        let (value, power) = self.leading_eight();
        let logarithm = f64::from(value).ln() + f64::from(power) * std::f64::consts::LN_10;
        logarithm.abs().log10() as i32
    }

    /// The first two digits in base 10000 as one integer, and the power of ten to multiply by.
    fn leading_eight(&self) -> (u32, i32) {
        let weight = self.leading().weight;
        let position = self.leading_position();
        let (top, count) = self.leading_decimals();
        let wanted = (position - weight * 4 + 4) as u32;
        let value = if count >= wanted { top / 10u64.pow(count - wanted) } else { top * 10u64.pow(wanted - count) };
        (value as u32, (weight - 1) * 4)
    }
}

fn of_negative() -> ValueError {
    ValueError::new("2201E", "cannot take logarithm of a negative number")
}

fn check_positive(value: &Numeric) -> Result<()> {
    if value.is_zero() {
        return Err(ValueError::new("2201E", "cannot take logarithm of zero"));
    }
    if value.is_negative() { Err(of_negative()) } else { Ok(()) }
}
