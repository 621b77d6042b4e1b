//! The four operations, remainders and signs.

use num_bigint::BigInt;
use num_traits::Signed;

use super::scale::division_scale;
use super::{MAX_SCALE, Numeric, Value, digits};
use crate::{Result, ValueError};

impl Numeric {
    /// The sum, with the longer of the two scales.
    pub fn add(&self, other: &Self) -> Result<Self> {
        if let (Value::Small(left, left_scale), Value::Small(right, right_scale)) = (&self.0, &other.0)
            && let Some((left, right, dscale)) = align_small((*left, *left_scale), (*right, *right_scale))
            && let Some(sum) = left.checked_add(right)
        {
            return Ok(Self::small(sum, dscale));
        }
        if !(self.is_finite() && other.is_finite()) {
            return Ok(add_special(self, other));
        }
        let (left, right, dscale) = align(self, other);
        Self::finite(left + right, u32::from(dscale))
    }

    /// The difference, with the longer of the two scales.
    pub fn sub(&self, other: &Self) -> Result<Self> {
        if let (Value::Small(left, left_scale), Value::Small(right, right_scale)) = (&self.0, &other.0)
            && let Some((left, right, dscale)) = align_small((*left, *left_scale), (*right, *right_scale))
            && let Some(difference) = left.checked_sub(right)
        {
            return Ok(Self::small(difference, dscale));
        }
        self.add(&other.neg())
    }

    /// The exact product; its scale is the sum of the two, cut to what a value may have.
    pub fn mul(&self, other: &Self) -> Result<Self> {
        let dscale = u32::from(self.dscale()) + u32::from(other.dscale());
        if let (Value::Small(left, _), Value::Small(right, _)) = (&self.0, &other.0)
            && dscale <= u32::from(MAX_SCALE)
            && let Some(product) = left.checked_mul(*right)
        {
            return Ok(Self::small(product, dscale as u16));
        }
        if !(self.is_finite() && other.is_finite()) {
            return Ok(multiply_special(self, other));
        }
        let product = self.coefficient() * other.coefficient();
        let excess = dscale.saturating_sub(u32::from(MAX_SCALE));
        if excess > 0 {
            let rounded = digits::divide_rounded(&product, &digits::power(excess));
            return Self::finite(rounded, u32::from(MAX_SCALE));
        }
        Self::finite(product, dscale)
    }

    /// The quotient, rounded to at least 16 significant digits as PostgreSQL chooses them.
    pub fn div(&self, other: &Self) -> Result<Self> {
        if let Some(special) = divide_special(self, other)? {
            return Ok(special);
        }
        self.divide_to(other, division_scale(self, other))
    }

    /// The quotient of finite values rounded to `scale`; the divisor is not zero.
    pub(super) fn divide_to(&self, other: &Self, scale: u16) -> Result<Self> {
        let shift = i32::from(scale) + i32::from(other.dscale()) - i32::from(self.dscale());
        if let (Value::Small(left, _), Value::Small(right, _)) = (&self.0, &other.0)
            && *right != -1
            && let Ok(exponent) = u32::try_from(shift)
            && let Some(numerator) = digits::scale_up(*left, exponent)
        {
            return Ok(Self::small(digits::divide_rounded_small(numerator, *right), scale));
        }
        let (mut numerator, mut denominator) = (self.coefficient(), other.coefficient());
        if shift >= 0 {
            numerator *= digits::power(shift.unsigned_abs());
        } else {
            denominator *= digits::power(shift.unsigned_abs());
        }
        Self::finite(digits::divide_rounded(&numerator, &denominator), u32::from(scale))
    }

    /// The quotient cut to an integer, as PostgreSQL's `div()`.
    pub fn div_trunc(&self, other: &Self) -> Result<Self> {
        if let Some(special) = divide_special(self, other)? {
            return Ok(special);
        }
        let (left, right, _) = align(self, other);
        Self::finite(left / right, 0)
    }

    /// The remainder, which has the sign of `self` and the longer of the two scales.
    pub fn rem(&self, other: &Self) -> Result<Self> {
        if self.is_nan() || other.is_nan() {
            return Ok(Self::nan());
        }
        if other.is_zero() {
            return Err(ValueError::division_by_zero());
        }
        if self.is_infinite() {
            return Ok(Self::nan());
        }
        if other.is_infinite() {
            return Ok(self.clone());
        }
        if let (Value::Small(left, left_scale), Value::Small(right, right_scale)) = (&self.0, &other.0)
            && let Some((left, right, dscale)) = align_small((*left, *left_scale), (*right, *right_scale))
        {
            return Ok(Self::small(left.checked_rem(right).unwrap_or(0), dscale));
        }
        let (left, right, dscale) = align(self, other);
        Self::finite(left % right, u32::from(dscale))
    }

    /// The value with the other sign.
    pub fn neg(&self) -> Self {
        match &self.0 {
            Value::Small(coefficient, dscale) => match coefficient.checked_neg() {
                Some(negated) => Self::small(negated, *dscale),
                None => Self::unchecked(-BigInt::from(*coefficient), *dscale),
            },
            Value::Big(coefficient, dscale) => Self::unchecked(-&**coefficient, *dscale),
            Value::NaN => Self::nan(),
            Value::Infinity => Self::infinity(true),
            Value::NegativeInfinity => Self::infinity(false),
        }
    }

    /// The value without its sign.
    pub fn abs(&self) -> Self {
        if self.is_negative() { self.neg() } else { self.clone() }
    }

    /// -1, 0 or 1; NaN of NaN.
    pub fn sign(&self) -> Self {
        if self.is_nan() {
            return Self::nan();
        }
        Self::small(i128::from(self.signum()), 0)
    }

    /// The greatest common divisor, with the longer of the two scales.
    pub fn gcd(&self, other: &Self) -> Result<Self> {
        if !(self.is_finite() && other.is_finite()) {
            return Ok(Self::nan());
        }
        let (left, right, dscale) = align(self, other);
        Self::finite(num_integer::gcd(left, right), u32::from(dscale))
    }

    /// The least common multiple, with the longer of the two scales.
    pub fn lcm(&self, other: &Self) -> Result<Self> {
        if !(self.is_finite() && other.is_finite()) {
            return Ok(Self::nan());
        }
        let (left, right, dscale) = align(self, other);
        Self::finite(num_integer::lcm(left, right).abs(), u32::from(dscale))
    }
}

/// Two coefficients brought to the longer scale, where both then fit.
fn align_small(left: (i128, u16), right: (i128, u16)) -> Option<(i128, i128, u16)> {
    let dscale = left.1.max(right.1);
    let one = digits::scale_up(left.0, u32::from(dscale - left.1))?;
    let two = digits::scale_up(right.0, u32::from(dscale - right.1))?;
    Some((one, two, dscale))
}

/// The coefficients of two finite values brought to the longer scale.
pub(super) fn align(left: &Numeric, right: &Numeric) -> (BigInt, BigInt, u16) {
    let dscale = left.dscale().max(right.dscale());
    let stretch = |value: &Numeric| value.coefficient() * digits::power(u32::from(dscale - value.dscale()));
    (stretch(left), stretch(right), dscale)
}

/// A sum where one side is not finite: opposite infinities have none.
fn add_special(left: &Numeric, right: &Numeric) -> Numeric {
    if left.is_nan() || right.is_nan() {
        return Numeric::nan();
    }
    match (left.is_infinite(), right.is_infinite()) {
        (true, true) if left.is_negative() != right.is_negative() => Numeric::nan(),
        (true, _) => left.clone(),
        _ => right.clone(),
    }
}

/// A product where one side is not finite: zero times an infinity has none.
fn multiply_special(left: &Numeric, right: &Numeric) -> Numeric {
    if left.is_nan() || right.is_nan() || left.is_zero() || right.is_zero() {
        return Numeric::nan();
    }
    Numeric::infinity(left.is_negative() != right.is_negative())
}

/// The quotient where it needs no division, or 22012 for a zero divisor.
fn divide_special(left: &Numeric, right: &Numeric) -> Result<Option<Numeric>> {
    if left.is_nan() || right.is_nan() || (left.is_infinite() && right.is_infinite()) {
        return Ok(Some(Numeric::nan()));
    }
    if right.is_zero() {
        return Err(ValueError::division_by_zero());
    }
    if left.is_infinite() {
        return Ok(Some(Numeric::infinity(left.is_negative() != right.is_negative())));
    }
    Ok(right.is_infinite().then(Numeric::zero))
}
