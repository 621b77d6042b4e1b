//! How many digits a result shows. PostgreSQL derives this from digits in base 10000.

use super::{Numeric, Value, digits};

/// The significant digits PostgreSQL aims for in a result that has no exact end.
pub(super) const MIN_SIGNIFICANT_DIGITS: i32 = 16;
/// The most digits after the point such a result may be given.
pub(super) const MAX_RESULT_SCALE: i32 = 1000;
/// Digits of one place of PostgreSQL's base.
const BASE_DIGITS: i32 = 4;

/// A value's leading digit in base 10000 and the power of that base it stands at.
#[derive(Clone, Copy)]
pub(super) struct Leading {
    pub(super) digit: u32,
    pub(super) weight: i32,
}

impl Numeric {
    /// The leading digit in base 10000. Zero is digit 0 at weight 0.
    pub(super) fn leading(&self) -> Leading {
        if self.is_zero() || !self.is_finite() {
            return Leading { digit: 0, weight: 0 };
        }
        let position = self.leading_position();
        let weight = (position - 1).div_euclid(BASE_DIGITS);
        let wanted = (position - weight * BASE_DIGITS) as u32;
        let (top, count) = self.leading_decimals();
        let digit = if count >= wanted { top / 10u64.pow(count - wanted) } else { top * 10u64.pow(wanted - count) };
        Leading { digit: digit as u32, weight }
    }

    /// Up to 17 leading decimal digits as one integer, and how many there are.
    pub(super) fn leading_decimals(&self) -> (u64, u32) {
        const WANTED: u32 = 17;
        match &self.0 {
            Value::Small(coefficient, _) => {
                let size = coefficient.unsigned_abs();
                let count = digits::count_small(size);
                let dropped = count.saturating_sub(WANTED);
                ((size / 10u128.pow(dropped)) as u64, count - dropped)
            }
            Value::Big(coefficient, _) => {
                let dropped = digits::count(coefficient.magnitude()) - WANTED;
                let top = coefficient.magnitude() / digits::power(dropped).magnitude();
                (u64::try_from(top).unwrap_or(u64::MAX), WANTED)
            }
            _ => (0, 0),
        }
    }
}

/// A result scale within what PostgreSQL allows, and not below the scales of the arguments.
pub(super) fn bounded(wanted: i32, arguments: &[&Numeric]) -> u16 {
    let longest = arguments.iter().map(|value| i32::from(value.dscale())).max().unwrap_or(0);
    wanted.max(longest).clamp(0, MAX_RESULT_SCALE) as u16
}

/// The scale of a quotient: at least 16 significant digits, whatever the divisor's size.
pub(super) fn division_scale(left: &Numeric, right: &Numeric) -> u16 {
    let (one, two) = (left.leading(), right.leading());
    let mut weight = one.weight - two.weight;
    if one.digit <= two.digit {
        weight -= 1;
    }
    bounded(MIN_SIGNIFICANT_DIGITS - weight * BASE_DIGITS, &[left, right])
}
