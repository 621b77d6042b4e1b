//! Statistics from sums, with the digits PostgreSQL's aggregates give.

use super::Numeric;
use super::scale::division_scale;
use crate::Result;

/// Variance of `count` values, or its square root when `root`.
///
/// `sample` divides by one less than the count. None where there are too few values.
pub fn variance(
    count: i64,
    sum: &Numeric,
    sum_of_squares: &Numeric,
    sample: bool,
    root: bool,
) -> Result<Option<Numeric>> {
    if count <= i64::from(sample) {
        return Ok(None);
    }
    if !(sum.is_finite() && sum_of_squares.is_finite()) {
        return Ok(Some(Numeric::nan()));
    }
    let counted = Numeric::from_i64(count);
    let numerator = counted.mul(sum_of_squares)?.sub(&sum.mul(sum)?)?;
    if numerator.signum() <= 0 {
        return Ok(Some(Numeric::zero()));
    }
    let divisor = if sample { i128::from(count) - 1 } else { i128::from(count) };
    let denominator = Numeric::from_i128(i128::from(count) * divisor, 0);
    let scale = division_scale(&numerator, &denominator);
    let variance = numerator.divide_to(&denominator, scale)?;
    Ok(Some(if root { variance.sqrt_to(i32::from(scale))? } else { variance }))
}
