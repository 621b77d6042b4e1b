//! PostgreSQL's `real` and `double precision`: text, order and conversion.

mod order;
mod sum;
mod text;

#[cfg(test)]
mod tests;

pub use order::{from_order_f32, from_order_f64, key_f32, key_f64, order_f32, order_f64};
pub use sum::{OVERFLOWN, add, in_range, is_overflown, overflow};
pub use text::{parse_f32, parse_f64, print_f32, print_f64};

use crate::{Result, ValueError};

/// Rounds to the nearest integer, halves to the even one, as `round(double precision)`.
pub fn round_half_even(value: f64) -> f64 {
    value.round_ties_even()
}

/// The nearest integer, halves to the even one; 22003 beyond a smallint.
pub fn f64_to_i16(value: f64) -> Result<i16> {
    let rounded = value.round_ties_even();
    if (-32_768.0..32_768.0).contains(&rounded) {
        Ok(rounded as i16)
    } else {
        Err(ValueError::out_of_range("smallint"))
    }
}

/// The nearest integer, halves to the even one; 22003 beyond an integer.
pub fn f64_to_i32(value: f64) -> Result<i32> {
    let rounded = value.round_ties_even();
    if (-2_147_483_648.0..2_147_483_648.0).contains(&rounded) {
        Ok(rounded as i32)
    } else {
        Err(ValueError::out_of_range("integer"))
    }
}

/// The nearest integer, halves to the even one; 22003 beyond a bigint.
pub fn f64_to_i64(value: f64) -> Result<i64> {
    let rounded = value.round_ties_even();
    // The upper bound, 2^63, is exact in a double; i64::MAX is not.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
        Ok(rounded as i64)
    } else {
        Err(ValueError::out_of_range("bigint"))
    }
}

/// The nearest single float; 22003 where the value becomes infinite or zero.
pub fn f64_to_f32(value: f64) -> Result<f32> {
    let narrow = value as f32;
    if narrow.is_infinite() && !value.is_infinite() {
        return Err(overflow());
    }
    if narrow == 0.0 && value != 0.0 {
        return Err(ValueError::new("22003", "value out of range: underflow"));
    }
    Ok(narrow)
}
