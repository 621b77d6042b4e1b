//! A sum of doubles that may pass the largest one.
//!
//! PostgreSQL raises 22003 where finite doubles add up to more than a double can be; an infinity that came as a value
//! stays one. A partial sum is one double all the same: what has passed the largest is one NaN that no arithmetic
//! makes. So state of a sum keeps its layout, and adding asks nothing more than whether the sum is finite.

use crate::{Result, ValueError};

/// A sum that has passed the largest double.
pub const OVERFLOWN: f64 = f64::from_bits(0x7ff8_6f76_6572_666c);

pub fn is_overflown(sum: f64) -> bool {
    sum.to_bits() == OVERFLOWN.to_bits()
}

/// The sum with one value or partial sum more.
#[inline]
pub fn add(sum: f64, value: f64) -> f64 {
    let added = sum + value;
    if added.is_finite() { added } else { beyond(sum, value) }
}

/// NaN wins over Infinity, and Infinity over a sum that has passed the largest double, whichever came first.
#[cold]
fn beyond(sum: f64, value: f64) -> f64 {
    let came_so = |part: f64| !part.is_finite() && !is_overflown(part);
    match (came_so(sum), came_so(value)) {
        (false, false) => OVERFLOWN,
        (true, false) => sum,
        (false, true) => value,
        (true, true) => sum + value,
    }
}

/// # Errors
/// 22003 where the sum has passed the largest double.
pub fn in_range(sum: f64) -> Result<f64> {
    if is_overflown(sum) { Err(overflow()) } else { Ok(sum) }
}

pub fn overflow() -> ValueError {
    ValueError::new("22003", "value out of range: overflow")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        values.iter().fold(0.0, |sum, value| add(sum, *value))
    }

    #[test]
    fn finite_values_overflow_and_infinite_ones_do_not() {
        assert_eq!(sum(&[1.5, 2.5]), 4.0);
        assert_eq!(sum(&[f64::INFINITY, 1e308, 1e308]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        for values in [&[1e308, 1e308][..], &[-1e308, -1e308], &[f64::MAX, f64::MAX, 1.0], &[1e308, 1e308, -1e308]] {
            assert!(is_overflown(sum(values)), "{values:?}");
            assert_eq!(in_range(sum(values)).expect_err("too large").sqlstate, "22003");
        }
        for value in [0.0, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(in_range(value).expect("in range").to_bits(), value.to_bits());
        }
    }

    /// Parts of a sum come in any order.
    #[test]
    fn what_came_decides_and_not_in_which_order() {
        let large = sum(&[1e308, 1e308]);
        for (odd, expected) in
            [(f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::NEG_INFINITY), (1.0, large), (large, large)]
        {
            assert_eq!(add(large, odd).to_bits(), expected.to_bits(), "{odd}");
            assert_eq!(add(odd, large).to_bits(), expected.to_bits(), "{odd}");
        }
        for sum in [add(large, f64::NAN), add(f64::NAN, large), add(add(large, f64::INFINITY), f64::NEG_INFINITY)] {
            assert!(sum.is_nan() && !is_overflown(sum));
        }
    }
}
