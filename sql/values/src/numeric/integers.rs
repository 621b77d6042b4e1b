//! Functions of whole numbers: factorials and buckets.

use num_bigint::BigInt;

use super::scale::division_scale;
use super::{Numeric, overflow};
use crate::{Result, ValueError};

/// The largest argument whose factorial PostgreSQL computes.
const MAX_FACTORIAL: i64 = 32_177;

impl Numeric {
    /// The product of the integers from 1 to `of`.
    pub fn factorial(of: i64) -> Result<Self> {
        if of < 0 {
            return Err(ValueError::new("22003", "factorial of a negative number is undefined"));
        }
        if of > MAX_FACTORIAL {
            return Err(overflow());
        }
        Self::finite(product(1, of as u64), 0)
    }

    /// The bucket of `operand` among `count` equal ones from `low` to `high`; 0 is below them.
    pub fn width_bucket(operand: &Self, low: &Self, high: &Self, count: i32) -> Result<i32> {
        let refuse = |why: &str| Err(ValueError::new("2201G", why));
        if count <= 0 {
            return refuse("count must be greater than zero");
        }
        if operand.is_nan() || low.is_nan() || high.is_nan() {
            return refuse("operand, lower bound, and upper bound cannot be NaN");
        }
        if !(low.is_finite() && high.is_finite()) {
            return refuse("lower and upper bounds must be finite");
        }
        if low == high {
            return refuse("lower bound cannot equal upper bound");
        }
        let rising = low < high;
        let (before, beyond) = if rising { (operand < low, operand >= high) } else { (operand > low, operand <= high) };
        if before {
            return Ok(0);
        }
        if beyond {
            return count.checked_add(1).ok_or_else(|| ValueError::out_of_range("integer"));
        }
        inner_bucket(&operand.sub(low)?.abs(), &high.sub(low)?.abs(), count)
    }
}

/// The bucket at `distance` from the first bound, where all buckets together are `width` wide.
fn inner_bucket(distance: &Numeric, width: &Numeric, count: i32) -> Result<i32> {
    let scaled = distance.mul(&Numeric::from_i64(i64::from(count)))?;
    let quotient = scaled.divide_to(width, division_scale(&scaled, width))?;
    // The quotient is rounded, so it may reach the count. PostgreSQL 15 then goes beyond it, too.
    let bucket = quotient.floor()?.to_i64()?.saturating_add(1);
    i32::try_from(bucket).map_err(|_| ValueError::out_of_range("integer"))
}

/// The product of `from..=to`, by halves so that the factors stay of similar length.
fn product(from: u64, to: u64) -> BigInt {
    if to < from {
        return BigInt::from(1u8);
    }
    if to - from < 8 {
        return (from..=to).map(BigInt::from).product();
    }
    let middle = from + (to - from) / 2;
    product(from, middle) * product(middle + 1, to)
}
