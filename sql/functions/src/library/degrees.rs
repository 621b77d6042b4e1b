//! Angles in degrees. The angles of which the answer is a plain number give just that, as PostgreSQL takes care of.

use ebap_values::Result;

use super::float::{finite, within};
use crate::registry::Book;
use crate::values::Float8;

const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

pub(super) fn register(book: &mut Book) {
    book.add::<(Float8,), Float8>("sind", |(a,)| finite(a).map(sind));
    book.add::<(Float8,), Float8>("cosd", |(a,)| finite(a).map(cosd));
    book.add::<(Float8,), Float8>("tand", |(a,)| finite(a).map(tand));
    book.add::<(Float8,), Float8>("cotd", |(a,)| finite(a).map(cotd));
    book.add::<(Float8,), Float8>("asind", |(a,)| asind(a));
    book.add::<(Float8,), Float8>("acosd", |(a,)| acosd(a));
    book.add::<(Float8,), Float8>("atand", |(a,)| Ok(a.atan() / 1_f64.atan() * 45.0));
    book.add::<(Float8, Float8), Float8>("atan2d", |(a, b)| Ok(a.atan2(b) / 1_f64.atan() * 45.0));
}

fn sine_to_30(x: f64) -> f64 {
    let of_30 = (30.0 * RADIANS_PER_DEGREE).sin();
    (x * RADIANS_PER_DEGREE).sin() / of_30 / 2.0
}

fn cosine_to_60(x: f64) -> f64 {
    let of_60 = 1.0 - (60.0 * RADIANS_PER_DEGREE).cos();
    1.0 - (1.0 - (x * RADIANS_PER_DEGREE).cos()) / of_60 / 2.0
}

/// Of an angle from 0 to 90.
fn sine(x: f64) -> f64 {
    if x <= 30.0 { sine_to_30(x) } else { cosine_to_60(90.0 - x) }
}

fn cosine(x: f64) -> f64 {
    if x <= 60.0 { cosine_to_60(x) } else { sine_to_30(90.0 - x) }
}

/// The angle in the first quarter of the circle, and the sign that the answer has by the quarter it comes from.
fn quarter(x: f64, odd: bool, turns_behind_90: bool) -> (f64, f64) {
    let (mut x, mut sign) = (x % 360.0, 1.0);
    if x < 0.0 {
        x = -x;
        sign = if odd { -sign } else { sign };
    }
    if x > 180.0 {
        x = 360.0 - x;
        sign = if odd { -sign } else { sign };
    }
    if x > 90.0 {
        x = 180.0 - x;
        sign = if turns_behind_90 { -sign } else { sign };
    }
    (x, sign)
}

fn sind(x: f64) -> f64 {
    let (x, sign) = quarter(x, true, false);
    sign * sine(x)
}

fn cosd(x: f64) -> f64 {
    let (x, sign) = quarter(x, false, true);
    sign * cosine(x)
}

fn tand(x: f64) -> f64 {
    let (x, sign) = quarter(x, true, true);
    let of_45 = sine(45.0) / cosine(45.0);
    without_sign_of_zero(sign * (sine(x) / cosine(x) / of_45))
}

fn cotd(x: f64) -> f64 {
    let (x, sign) = quarter(x, true, true);
    let of_45 = cosine(45.0) / sine(45.0);
    without_sign_of_zero(sign * (cosine(x) / sine(x) / of_45))
}

fn without_sign_of_zero(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x }
}

/// Of a value from 0 to 1.
fn arc_sine(x: f64) -> f64 {
    if x <= 0.5 { x.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - x.acos() / 0.5_f64.acos() * 60.0 }
}

fn arc_cosine(x: f64) -> f64 {
    if x <= 0.5 { 90.0 - x.asin() / 0.5_f64.asin() * 30.0 } else { x.acos() / 0.5_f64.acos() * 60.0 }
}

fn asind(x: f64) -> Result<f64> {
    let x = within(x, x.abs() <= 1.0)?;
    Ok(if x >= 0.0 || x.is_nan() { arc_sine(x) } else { -arc_sine(-x) })
}

fn acosd(x: f64) -> Result<f64> {
    let x = within(x, x.abs() <= 1.0)?;
    Ok(if x >= 0.0 || x.is_nan() { arc_cosine(x) } else { 90.0 + arc_sine(-x) })
}
