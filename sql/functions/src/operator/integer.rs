//! Operators of integers: overflow is an error, and shifts go as far as the processor's do.

use std::sync::Arc;

use datafusion_expr::ScalarUDF;
use ebap_values::{PgType, Result, ValueError};

use super::operator;
use crate::values::{Int2, Int4, Int8};

macro_rules! operators_of {
    ($binary:ident, $unary:ident, $of:ident, $native:ty, $name:literal) => {
        fn $binary(op: &str) -> Option<Arc<ScalarUDF>> {
            type Pair = ($of, $of);
            match op {
                "+" => operator::<Pair, $of>(op, |(a, b)| in_range(a.checked_add(b), $name)),
                "-" => operator::<Pair, $of>(op, |(a, b)| in_range(a.checked_sub(b), $name)),
                "*" => operator::<Pair, $of>(op, |(a, b)| in_range(a.checked_mul(b), $name)),
                "/" => operator::<Pair, $of>(op, |(a, b)| {
                    if b == 0 { Err(ValueError::division_by_zero()) } else { in_range(a.checked_div(b), $name) }
                }),
                // The smallest value by -1 leaves nothing, although the quotient is out of range.
                "%" => operator::<Pair, $of>(op, |(a, b)| {
                    if b == 0 { Err(ValueError::division_by_zero()) } else { Ok(a.wrapping_rem(b)) }
                }),
                "&" => operator::<Pair, $of>(op, |(a, b)| Ok(a & b)),
                "|" => operator::<Pair, $of>(op, |(a, b)| Ok(a | b)),
                "#" => operator::<Pair, $of>(op, |(a, b)| Ok(a ^ b)),
                _ => None,
            }
        }

        fn $unary(op: &str) -> Option<Arc<ScalarUDF>> {
            match op {
                "-" => operator::<($of,), $of>(op, |(a,)| in_range(a.checked_neg(), $name)),
                "@" => operator::<($of,), $of>(op, |(a,)| in_range(a.checked_abs(), $name)),
                "~" => operator::<($of,), $of>(op, |(a,)| Ok(!a)),
                _ => None,
            }
        }
    };
}

operators_of!(binary2, unary2, Int2, i16, "smallint");
operators_of!(binary4, unary4, Int4, i32, "integer");
operators_of!(binary8, unary8, Int8, i64, "bigint");

/// 22003 where a value has overflowed.
pub(crate) fn in_range<T>(value: Option<T>, of: &str) -> Result<T> {
    value.ok_or_else(|| ValueError::out_of_range(of))
}

pub(super) fn binary(op: &str, left: &PgType, right: &PgType) -> Option<Arc<ScalarUDF>> {
    if let ("<<" | ">>", PgType::Int4) = (op, right) {
        return shift(op, left);
    }
    match (left, right) {
        (PgType::Int2, PgType::Int2) => binary2(op),
        (PgType::Int4, PgType::Int4) => binary4(op),
        (PgType::Int8, PgType::Int8) => binary8(op),
        _ => None,
    }
}

pub(super) fn unary(op: &str, of: &PgType) -> Option<Arc<ScalarUDF>> {
    match of {
        PgType::Int2 => unary2(op),
        PgType::Int4 => unary4(op),
        PgType::Int8 => unary8(op),
        _ => None,
    }
}

/// PostgreSQL shifts as C does: a count beyond the width wraps, and a smallint is widened before.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn shift(op: &str, of: &PgType) -> Option<Arc<ScalarUDF>> {
    match (of, op) {
        (PgType::Int2, "<<") => {
            operator::<(Int2, Int4), Int2>(op, |(a, n)| Ok(i32::from(a).wrapping_shl(n as u32) as i16))
        }
        (PgType::Int2, _) => {
            operator::<(Int2, Int4), Int2>(op, |(a, n)| Ok(i32::from(a).wrapping_shr(n as u32) as i16))
        }
        (PgType::Int4, "<<") => operator::<(Int4, Int4), Int4>(op, |(a, n)| Ok(a.wrapping_shl(n as u32))),
        (PgType::Int4, _) => operator::<(Int4, Int4), Int4>(op, |(a, n)| Ok(a.wrapping_shr(n as u32))),
        (PgType::Int8, "<<") => operator::<(Int8, Int4), Int8>(op, |(a, n)| Ok(a.wrapping_shl(n as u32))),
        (PgType::Int8, _) => operator::<(Int8, Int4), Int8>(op, |(a, n)| Ok(a.wrapping_shr(n as u32))),
        _ => None,
    }
}
