//! Rounding, cutting, and the scale of a value.

use num_bigint::BigInt;
use num_integer::Integer;

use super::{MAX_INTEGER_DIGITS, MAX_SCALE, Numeric, Value, digits};
use crate::{Result, ValueError};

/// Rounding at this scale gives zero for every value, so a lower one means the same.
const MIN_ROUND_SCALE: i32 = -(MAX_INTEGER_DIGITS as i32) - 1;

impl Numeric {
    /// Rounds to `scale` digits after the point, halves away from zero; negative is before it.
    pub fn round(&self, scale: i32) -> Result<Self> {
        self.round_to(scale.clamp(MIN_ROUND_SCALE, i32::from(MAX_SCALE)))
    }

    /// As [`Numeric::round`], for a scale that is bounded already.
    pub(super) fn round_to(&self, scale: i32) -> Result<Self> {
        if !self.is_finite() {
            return Ok(self.clone());
        }
        let dscale = scale.max(0) as u16;
        let dropped = i32::from(self.dscale()) - scale;
        if dropped <= 0 {
            return Ok(self.extend_to(dscale));
        }
        if dropped - i32::from(self.dscale()) > self.leading_position() {
            return Ok(Self::small(0, dscale));
        }
        if let (Value::Small(coefficient, _), Some(power)) = (&self.0, digits::small_power(dropped.unsigned_abs())) {
            let quotient = digits::divide_rounded_small(*coefficient, power);
            if let Some(restored) = digits::scale_up(quotient, scale.min(0).unsigned_abs()) {
                return Ok(Self::small(restored, dscale));
            }
        }
        let power = digits::power(dropped.unsigned_abs());
        let quotient = digits::divide_rounded(&self.coefficient(), &power);
        let restored = quotient * digits::power(scale.min(0).unsigned_abs());
        Self::finite(restored, u32::from(dscale))
    }

    /// Cuts to `scale` digits after the point; negative is before it.
    pub fn trunc(&self, scale: i32) -> Self {
        if !self.is_finite() {
            return self.clone();
        }
        let scale = scale.clamp(MIN_ROUND_SCALE, i32::from(MAX_SCALE));
        let dscale = scale.max(0) as u16;
        let dropped = i32::from(self.dscale()) - scale;
        if dropped <= 0 {
            return self.extend_to(dscale);
        }
        if let (Value::Small(coefficient, _), Some(power)) = (&self.0, digits::small_power(dropped.unsigned_abs()))
            && let Some(restored) = digits::scale_up(coefficient / power, scale.min(0).unsigned_abs())
        {
            return Self::small(restored, dscale);
        }
        let quotient = self.coefficient() / digits::power(dropped.unsigned_abs());
        Self::unchecked(quotient * digits::power(scale.min(0).unsigned_abs()), dscale)
    }

    /// The same finite value with `dscale` digits after the point, which are not fewer than now.
    fn extend_to(&self, dscale: u16) -> Self {
        let zeros = u32::from(dscale.saturating_sub(self.dscale()));
        if let Value::Small(coefficient, _) = &self.0
            && let Some(stretched) = digits::scale_up(*coefficient, zeros)
        {
            return Self::small(stretched, dscale);
        }
        Self::unchecked(self.coefficient() * digits::power(zeros), dscale)
    }

    /// The least integer not below the value.
    pub fn ceil(&self) -> Result<Self> {
        self.to_integer(|value, power| value.div_ceil(power))
    }

    /// The greatest integer not above the value.
    pub fn floor(&self) -> Result<Self> {
        self.to_integer(|value, power| value.div_floor(power))
    }

    fn to_integer(&self, divide: fn(&BigInt, &BigInt) -> BigInt) -> Result<Self> {
        if !self.is_finite() || self.dscale() == 0 {
            return Ok(self.clone());
        }
        let power = digits::power(u32::from(self.dscale()));
        Self::finite(divide(&self.coefficient(), &power), 0)
    }

    /// The digits shown after the point; none for NaN and the infinities.
    pub fn scale(&self) -> Option<i32> {
        self.is_finite().then(|| i32::from(self.dscale()))
    }

    /// The digits needed after the point; none for NaN and the infinities.
    pub fn min_scale(&self) -> Option<i32> {
        self.trim_scale().scale()
    }

    /// The same value without trailing zeros after the point.
    pub fn trim_scale(&self) -> Self {
        match &self.0 {
            Value::Small(coefficient, dscale) => {
                let mut rest = *coefficient;
                let removed = digits::strip_small(&mut rest, u32::from(*dscale));
                Self::small(rest, dscale - removed as u16)
            }
            Value::Big(coefficient, dscale) => {
                let mut rest = (**coefficient).clone();
                let removed = digits::strip(&mut rest, u32::from(*dscale));
                Self::unchecked(rest, dscale - removed as u16)
            }
            _ => self.clone(),
        }
    }

    /// The form in which equal values have equal bytes: without trailing zeros after the point.
    pub fn key(&self) -> Self {
        self.trim_scale()
    }

    /// Rounds to `numeric(precision, scale)`, or 22003 where the value needs more digits.
    pub fn with_typmod(&self, precision: u16, scale: i16) -> Result<Self> {
        if self.is_nan() {
            return Ok(Self::nan());
        }
        if self.is_infinite() || scale > MAX_SCALE as i16 {
            return Err(field_overflow());
        }
        let rounded = self.round_to(i32::from(scale))?;
        let limit = i32::from(precision) - i32::from(scale);
        if !rounded.is_zero() && rounded.leading_position() > limit {
            return Err(field_overflow());
        }
        Ok(rounded)
    }

    /// The coefficient at `scale`, for a decimal of `precision` digits.
    ///
    /// Rounds halves away from zero; 22003 where the value needs more digits or is not finite.
    pub fn to_unscaled_i128(&self, precision: u8, scale: i8) -> Result<i128> {
        let rounded = self.with_typmod(u16::from(precision), i16::from(scale))?;
        // A negative scale leaves an integer whose last digits are zeros.
        let divisor = digits::small_power(u32::from(scale.min(0).unsigned_abs()));
        match (&rounded.0, divisor) {
            (Value::Small(coefficient, _), Some(divisor)) => Ok(coefficient / divisor),
            (Value::Big(coefficient, _), _) => {
                let divisor = digits::power(u32::from(scale.min(0).unsigned_abs()));
                i128::try_from(&**coefficient / divisor).map_err(|_| field_overflow())
            }
            (Value::Small(..), None) => Ok(0),
            _ => Err(field_overflow()),
        }
    }
}

/// 22003, as PostgreSQL says it of a column that is too narrow.
fn field_overflow() -> ValueError {
    ValueError::new("22003", "numeric field overflow")
}
