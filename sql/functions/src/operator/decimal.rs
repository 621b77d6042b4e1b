//! Operators of NUMERIC. Declared ones stay Decimal128 while the exact result fits its 38 digits.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, PrimitiveBuilder};
use arrow::datatypes::{DataType, Decimal128Type, Field};
use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result, ValueError};

use super::operator;
use crate::decimals::Num;
use crate::error::internal;
use crate::kernel::{Call, Operand};
use crate::types::pg_type_of;
use crate::udf::{FieldOf, PgFunction};

/// The most digits that a Decimal128 holds.
const MAX_DIGITS: u16 = 38;

pub(super) fn binary(op: &str, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    if pg_type_of(left) != PgType::Numeric || pg_type_of(right) != PgType::Numeric {
        return None;
    }
    if let (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) = (left, right)
        && let Some(exact) = Exact::of(op, (*p1, *s1), (*p2, *s2))
    {
        return Some(exact.udf(op));
    }
    type Pair = (Num, Num);
    match op {
        "+" => operator::<Pair, Num>(op, |(a, b)| a.add(&b)),
        "-" => operator::<Pair, Num>(op, |(a, b)| a.sub(&b)),
        "*" => operator::<Pair, Num>(op, |(a, b)| a.mul(&b)),
        "/" => operator::<Pair, Num>(op, |(a, b)| a.div(&b)),
        "%" => operator::<Pair, Num>(op, |(a, b)| a.rem(&b)),
        "^" => operator::<Pair, Num>(op, |(a, b)| a.power(&b)),
        _ => None,
    }
}

pub(super) fn unary(op: &str, of: &DataType) -> Option<Arc<ScalarUDF>> {
    if pg_type_of(of) != PgType::Numeric {
        return None;
    }
    if let (DataType::Decimal128(p, s), "-" | "@") = (of, op) {
        return Some(same_digits(op, *p, *s, if op == "-" { i128::wrapping_neg } else { i128::wrapping_abs }));
    }
    match op {
        "-" => operator::<(Num,), Num>(op, |(a,)| Ok(a.neg())),
        "@" => operator::<(Num,), Num>(op, |(a,)| Ok(a.abs())),
        _ => None,
    }
}

/// A function that changes the coefficient of each value, and no value's number of digits.
pub(crate) fn same_digits(name: &str, precision: u8, scale: i8, f: fn(i128) -> i128) -> Arc<ScalarUDF> {
    let of = DataType::Decimal128(precision, scale);
    let (key, field) = (format!("{of}"), Field::new("", of, true));
    let body = Arc::new(move |call: &Call<'_>| {
        let operand = call.operands.first().ok_or_else(|| internal("an argument is missing"))?;
        let values = decimals(operand)?.unary::<_, Decimal128Type>(f);
        Ok(Arc::new(values.with_data_type(DataType::Decimal128(precision, scale))) as ArrayRef)
    });
    PgFunction::new(name, &key, FieldOf::Always(Arc::new(field)), body).into_udf()
}

fn decimals(operand: &Operand) -> Result<Decimal128Array> {
    operand.array.as_primitive_opt::<Decimal128Type>().cloned().ok_or_else(|| internal("an argument is no decimal"))
}

/// An operation of two Decimal128 whose every result fits one.
#[derive(Clone, Copy)]
struct Exact {
    op: char,
    left: i128,
    right: i128,
    precision: u8,
    scale: i8,
}

impl Exact {
    fn of(op: &str, (p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> Option<Self> {
        if s1 < 0 || s2 < 0 {
            return None;
        }
        let (p1, p2) = (i32::from(p1), i32::from(p2));
        let (t1, t2) = (i32::from(s1), i32::from(s2));
        let scale = t1.max(t2);
        let (op, precision, scale) = match op {
            "+" | "-" => (op.chars().next()?, (p1 - t1).max(p2 - t2) + scale + 1, scale),
            "*" => ('*', p1 + p2, t1 + t2),
            _ => return None,
        };
        if precision > i32::from(MAX_DIGITS) {
            return None;
        }
        let to = |from: i32| if op == '*' { Some(1) } else { power_of_ten(scale - from) };
        let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
        Some(Self { op, left: to(t1)?, right: to(t2)?, precision, scale })
    }

    fn compute(self, a: i128, b: i128) -> Result<i128> {
        let aligned = a.checked_mul(self.left).zip(b.checked_mul(self.right));
        let value = aligned.and_then(|(a, b)| match self.op {
            '+' => a.checked_add(b),
            '-' => a.checked_sub(b),
            _ => a.checked_mul(b),
        });
        // Only values with more digits than their type declares can come here.
        value.ok_or_else(|| ValueError::new("22003", "numeric field overflow"))
    }

    fn udf(self, op: &str) -> Arc<ScalarUDF> {
        let of = DataType::Decimal128(self.precision, self.scale);
        let key = format!("{of} {} {}", self.left, self.right);
        let field = Field::new("", of, true);
        let body = Arc::new(move |call: &Call<'_>| self.columns(call));
        PgFunction::new(op, &key, FieldOf::Always(Arc::new(field)), body).into_udf()
    }

    fn columns(self, call: &Call<'_>) -> Result<ArrayRef> {
        let [left, right] = call.operands else { return Err(internal("an operator has two arguments")) };
        let (a, b) = (decimals(left)?, decimals(right)?);
        let mut values = PrimitiveBuilder::<Decimal128Type>::with_capacity(call.rows);
        for row in 0..call.rows {
            let (i, j) = (left.at(row), right.at(row));
            if arrow::array::Array::is_null(&a, i) || arrow::array::Array::is_null(&b, j) {
                values.append_null();
            } else {
                values.append_value(self.compute(a.value(i), b.value(j))?);
            }
        }
        let of = DataType::Decimal128(self.precision, self.scale);
        Ok(Arc::new(values.finish().with_data_type(of)))
    }
}

fn power_of_ten(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}
