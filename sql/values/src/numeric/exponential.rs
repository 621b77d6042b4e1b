//! Square root and e^x.

use num_bigint::BigInt;

use super::logarithm::EXTRA_DIGITS;
use super::scale::{MIN_SIGNIFICANT_DIGITS, bounded};
use super::{Numeric, binary, digits, overflow};
use crate::{Result, ValueError};

/// log10(e) as PostgreSQL writes it; the scale of a result depends on its exact digits.
#[expect(clippy::approx_constant, reason = "one bit more would give another scale at times")]
pub(super) const LOG10_E: f64 = 0.434294481903252;
/// The exponents from which PostgreSQL gives up on e^x.
const MAX_EXPONENT: f64 = 6000.0;
/// Arguments up to this need no halving before the series of e^x.
const LARGEST_SERIES_ARGUMENT: f64 = 0.01;
/// The largest weight of a result that its scale takes into account.
const MAX_WEIGHT: f64 = 2000.0;

impl Numeric {
    /// The square root; 2201F of a negative value.
    pub fn sqrt(&self) -> Result<Self> {
        if self.is_negative() {
            return Err(ValueError::new("2201F", "cannot take square root of a negative number"));
        }
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let weight = (self.leading().weight + 1) * 2 - 1;
        self.sqrt_to(i32::from(bounded(MIN_SIGNIFICANT_DIGITS - weight, &[self])))
    }

    /// The square root of a finite value, not negative, rounded to `scale`.
    pub(super) fn sqrt_to(&self, scale: i32) -> Result<Self> {
        // One digit more than wanted decides the rounding, as the root itself is cut.
        let shift = 2 * scale + 2 - i32::from(self.dscale());
        let power = digits::power(shift.unsigned_abs());
        let radicand = if shift >= 0 { self.coefficient() * power } else { self.coefficient() / power };
        Self::finite((radicand.sqrt() + 5) / 10, scale.unsigned_abs())
    }

    /// e raised to this value.
    pub fn exp(&self) -> Result<Self> {
        if !self.is_finite() {
            return Ok(if self.is_infinite() && self.is_negative() { Self::zero() } else { self.clone() });
        }
        let weight = (self.approximate() * LOG10_E).clamp(-MAX_WEIGHT, MAX_WEIGHT);
        self.exp_to(bounded(MIN_SIGNIFICANT_DIGITS - weight as i32, &[self]))
    }

    /// e raised to this finite value, rounded to `scale`.
    pub(super) fn exp_to(&self, scale: u16) -> Result<Self> {
        exp_of(&self.coefficient(), u32::from(self.dscale()), self.approximate(), scale)
    }

    /// The nearest double; infinite or zero where the value is beyond doubles.
    pub(super) fn approximate(&self) -> f64 {
        if let Ok(value) = self.to_f64() {
            return value;
        }
        let infinite = if self.is_negative() { f64::NEG_INFINITY } else { f64::INFINITY };
        if self.leading_position() > 0 { infinite } else { 0.0 }
    }
}

/// e raised to `coefficient` * 10^-`scale`, whose nearest double is `approximate`.
pub(super) fn exp_of(coefficient: &BigInt, scale: u32, approximate: f64, result_scale: u16) -> Result<Numeric> {
    if approximate >= MAX_EXPONENT {
        return Err(overflow());
    }
    if approximate <= -MAX_EXPONENT {
        return Ok(Numeric::small(0, result_scale));
    }
    let result_scale = u32::from(result_scale);
    // PostgreSQL rounds its last steps to eight more digits, which decides halves.
    let extra = EXTRA_DIGITS.unsigned_abs();
    if approximate.abs() <= LARGEST_SERIES_ARGUMENT {
        return exp_of_small(coefficient, scale, result_scale);
    }
    let fine = binary::exponential(coefficient, scale, result_scale + extra);
    Numeric::finite(digits::divide_rounded(&fine, &digits::power(extra)), result_scale)
}

/// e^x near 0. PostgreSQL adds 1 + x without rounding there, and rounds each later term.
fn exp_of_small(coefficient: &BigInt, scale: u32, result_scale: u32) -> Result<Numeric> {
    let term_scale = result_scale + EXTRA_DIGITS.unsigned_abs();
    let unit = digits::power(scale);
    let mut tail = BigInt::ZERO;
    let (mut term, mut from) = (coefficient.clone(), scale);
    for divisor in 2u32.. {
        let product = rescale(&(&term * coefficient), from + scale, term_scale);
        from = term_scale;
        term = digits::divide_rounded(&product, &BigInt::from(divisor));
        if term == BigInt::ZERO {
            break;
        }
        tail += &term;
    }
    let long = scale.max(term_scale);
    let sum = rescale(&(unit + coefficient), scale, long) + rescale(&tail, term_scale, long);
    Numeric::finite(rescale(&sum, long, result_scale), result_scale)
}

/// A coefficient of scale `from` at scale `to`, rounded where that is shorter.
fn rescale(coefficient: &BigInt, from: u32, to: u32) -> BigInt {
    if from <= to {
        coefficient * digits::power(to - from)
    } else {
        digits::divide_rounded(coefficient, &digits::power(from - to))
    }
}
