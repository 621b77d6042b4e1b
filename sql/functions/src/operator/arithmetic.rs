//! Operators of floating point that DataFusion has not, or that are errors in PostgreSQL.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result, ValueError};

use super::operator;
use crate::library::float;
use crate::types::pg_type_of;
use crate::values::{Float4, Float8};

/// The power, the only operator of floats that DataFusion has not.
pub(super) fn binary(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    match (op, left, right) {
        ("^", PgType::Float8, PgType::Float8) => operator::<(Float8, Float8), Float8>(op, |(a, b)| float::power(a, b)),
        _ => None,
    }
}

/// `+ - * /` of two floats with PostgreSQL's errors for overflow and division by zero.
/// DataFusion's own are faster and give infinities instead, so that `binary` leaves the choice.
pub fn strict_float(op: &str, of: &DataType) -> Option<Arc<ScalarUDF>> {
    type Pair = (Float8, Float8);
    match (pg_type_of(of), op) {
        (PgType::Float4, _) => single(op),
        (PgType::Float8, "+") => operator::<Pair, Float8>(op, |(a, b)| no_overflow(a + b, &[a, b])),
        (PgType::Float8, "-") => operator::<Pair, Float8>(op, |(a, b)| no_overflow(a - b, &[a, b])),
        (PgType::Float8, "*") => operator::<Pair, Float8>(op, |(a, b)| multiply(a, b)),
        (PgType::Float8, "/") => operator::<Pair, Float8>(op, |(a, b)| divide(a, b)),
        _ => None,
    }
}

fn single(op: &str) -> Option<Arc<ScalarUDF>> {
    type Pair = (Float4, Float4);
    let wide = |a: f32, b: f32| [f64::from(a), f64::from(b)];
    match op {
        "+" => operator::<Pair, Float4>(op, move |(a, b)| narrow(a + b, no_overflow((a + b).into(), &wide(a, b)))),
        "-" => operator::<Pair, Float4>(op, move |(a, b)| narrow(a - b, no_overflow((a - b).into(), &wide(a, b)))),
        "*" => operator::<Pair, Float4>(op, move |(a, b)| {
            let value = a * b;
            let underflow = value == 0.0 && a != 0.0 && b != 0.0;
            narrow(value, checked(value.into(), &wide(a, b), underflow))
        }),
        "/" => operator::<Pair, Float4>(op, move |(a, b)| {
            let value = a / b;
            if b == 0.0 && !a.is_nan() {
                return Err(ValueError::division_by_zero());
            }
            let underflow = value == 0.0 && a != 0.0 && b.is_finite();
            narrow(value, checked(value.into(), &wide(a, b), underflow))
        }),
        _ => None,
    }
}

fn narrow(value: f32, checked: Result<f64>) -> Result<f32> {
    checked.map(|_| value)
}

fn multiply(a: f64, b: f64) -> Result<f64> {
    let value = a * b;
    checked(value, &[a, b], value == 0.0 && a != 0.0 && b != 0.0)
}

fn divide(a: f64, b: f64) -> Result<f64> {
    if b == 0.0 && !a.is_nan() {
        return Err(ValueError::division_by_zero());
    }
    let value = a / b;
    checked(value, &[a, b], value == 0.0 && a != 0.0 && b.is_finite())
}

fn no_overflow(value: f64, of: &[f64]) -> Result<f64> {
    checked(value, of, false)
}

/// 22003 for an infinity that no argument was, and for a zero that the result is not.
pub(crate) fn checked(value: f64, of: &[f64], underflow: bool) -> Result<f64> {
    if value.is_infinite() && !of.iter().any(|v| v.is_infinite()) {
        return Err(ValueError::new("22003", "value out of range: overflow"));
    }
    if underflow {
        return Err(ValueError::new("22003", "value out of range: underflow"));
    }
    Ok(value)
}

pub(super) fn unary(op: &str, of: &PgType) -> Option<Arc<ScalarUDF>> {
    match (op, of) {
        ("@", PgType::Float4) => operator::<(Float4,), Float4>(op, |(a,)| Ok(a.abs())),
        ("@", PgType::Float8) => operator::<(Float8,), Float8>(op, |(a,)| Ok(a.abs())),
        ("|/", PgType::Float8) => operator::<(Float8,), Float8>(op, |(a,)| float::sqrt(a)),
        ("||/", PgType::Float8) => operator::<(Float8,), Float8>(op, |(a,)| Ok(a.cbrt())),
        _ => None,
    }
}
