//! Functions of floating point, with what they refuse.

use ebap_values::{Result, ValueError, float};

use super::as_in_c;
use crate::operator::checked;
use crate::registry::Book;
use crate::values::{Float4, Float8, Int4};

pub(super) fn register(book: &mut Book) {
    book.add::<(Float4,), Float4>("abs", |(a,)| Ok(a.abs()));
    book.add::<(Float8,), Float8>("abs", |(a,)| Ok(a.abs()));
    for name in ["ceil", "ceiling"] {
        book.add::<(Float8,), Float8>(name, |(a,)| Ok(a.ceil()));
    }
    book.add::<(Float8,), Float8>("floor", |(a,)| Ok(a.floor()));
    book.add::<(Float8,), Float8>("round", |(a,)| Ok(float::round_half_even(a)));
    book.add::<(Float8,), Float8>("trunc", |(a,)| Ok(a.trunc()));
    book.add::<(Float8,), Float8>("sign", |(a,)| Ok(sign(a)));
    for name in ["power", "pow"] {
        book.add::<(Float8, Float8), Float8>(name, |(a, b)| power(a, b));
    }
    book.add::<(Float8,), Float8>("sqrt", |(a,)| sqrt(a));
    book.add::<(Float8,), Float8>("cbrt", |(a,)| Ok(a.cbrt()));
    book.add::<(Float8,), Float8>("exp", |(a,)| {
        let value = a.exp();
        checked(value, &[a], value == 0.0 && a.is_finite())
    });
    book.add::<(Float8,), Float8>("ln", |(a,)| logarithm(a, f64::ln));
    for name in ["log", "log10"] {
        book.add::<(Float8,), Float8>(name, |(a,)| logarithm(a, f64::log10));
    }
    book.add::<(Float8,), Float8>("degrees", |(a,)| checked(a / (std::f64::consts::PI / 180.0), &[a], false));
    book.add::<(Float8,), Float8>("radians", |(a,)| Ok(a * (std::f64::consts::PI / 180.0)));
    book.add::<(), Float8>("pi", |()| Ok(std::f64::consts::PI));
    book.add::<(Float8, Float8, Float8, Int4), Int4>("width_bucket", |(v, low, high, n)| width_bucket(v, low, high, n));
    trigonometry(book);
}

fn trigonometry(book: &mut Book) {
    book.add::<(Float8,), Float8>("sin", |(a,)| finite(a).map(f64::sin));
    book.add::<(Float8,), Float8>("cos", |(a,)| finite(a).map(f64::cos));
    book.add::<(Float8,), Float8>("tan", |(a,)| finite(a).map(f64::tan));
    book.add::<(Float8,), Float8>("cot", |(a,)| finite(a).map(|a| 1.0 / a.tan()));
    book.add::<(Float8,), Float8>("asin", |(a,)| within(a, a.abs() <= 1.0).map(f64::asin));
    book.add::<(Float8,), Float8>("acos", |(a,)| within(a, a.abs() <= 1.0).map(f64::acos));
    book.add::<(Float8,), Float8>("atan", |(a,)| Ok(a.atan()));
    book.add::<(Float8, Float8), Float8>("atan2", |(a, b)| Ok(a.atan2(b)));
    book.add::<(Float8,), Float8>("sinh", |(a,)| Ok(a.sinh()));
    book.add::<(Float8,), Float8>("cosh", |(a,)| Ok(a.cosh()));
    book.add::<(Float8,), Float8>("tanh", |(a,)| Ok(a.tanh()));
    book.add::<(Float8,), Float8>("asinh", |(a,)| Ok(as_in_c::asinh(a)));
    book.add::<(Float8,), Float8>("acosh", |(a,)| within(a, a >= 1.0).map(as_in_c::acosh));
    book.add::<(Float8,), Float8>("atanh", |(a,)| within(a, a.abs() <= 1.0).map(as_in_c::atanh));
}

/// Zero of either sign has the sign 0, and so has NaN.
fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

pub(super) fn finite(value: f64) -> Result<f64> {
    within(value, !value.is_infinite())
}

/// The value, or 22003 where the function has no value there. NaN stays NaN.
pub(super) fn within(value: f64, defined: bool) -> Result<f64> {
    if defined || value.is_nan() { Ok(value) } else { Err(ValueError::new("22003", "input is out of range")) }
}

fn logarithm(value: f64, of: fn(f64) -> f64) -> Result<f64> {
    if value == 0.0 {
        return Err(ValueError::new("2201E", "cannot take logarithm of zero"));
    }
    if value < 0.0 {
        return Err(ValueError::new("2201E", "cannot take logarithm of a negative number"));
    }
    Ok(of(value))
}

/// The square root; 2201F of a negative number.
pub(crate) fn sqrt(value: f64) -> Result<f64> {
    if value < 0.0 {
        return Err(ValueError::new("2201F", "cannot take square root of a negative number"));
    }
    Ok(value.sqrt())
}

/// A power, with the special cases of POSIX and PostgreSQL's errors.
pub(crate) fn power(base: f64, exponent: f64) -> Result<f64> {
    if base.is_nan() {
        return Ok(if exponent == 0.0 { 1.0 } else { base });
    }
    if exponent.is_nan() {
        return Ok(if base == 1.0 { 1.0 } else { exponent });
    }
    if base == 0.0 && exponent < 0.0 {
        return Err(ValueError::new("2201F", "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.is_finite() && exponent.floor() != exponent {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(ValueError::new("2201F", message));
    }
    let value = base.powf(exponent);
    let finite = base.is_finite() && exponent.is_finite();
    checked(value, &[base, exponent], finite && value == 0.0 && base != 0.0)
}

/// Which of `count` parts of the range a value is in; 0 and `count + 1` are beside it.
fn width_bucket(value: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    let refuse = |message: &str| Err(ValueError::new("2201G", message));
    if count <= 0 {
        return refuse("count must be greater than zero");
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return refuse("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return refuse("lower and upper bounds must be finite");
    }
    if low == high {
        return refuse("lower bound cannot equal upper bound");
    }
    let (before, behind) = if low < high { (value < low, value >= high) } else { (value > low, value <= high) };
    if before {
        return Ok(0);
    }
    if behind {
        return count.checked_add(1).ok_or_else(|| ValueError::out_of_range("integer"));
    }
    // Halves keep differences of the greatest numbers finite.
    let (value, low, high) = (value / 2.0, low / 2.0, high / 2.0);
    #[allow(clippy::cast_possible_truncation)]
    let bucket = (f64::from(count) * ((value - low) / (high - low))) as i32;
    Ok(bucket.clamp(0, count - 1) + 1)
}
