//! Functions of integers.

use ebap_values::{Numeric, Result, ValueError};

use crate::decimals::Num;
use crate::operator::in_range;
use crate::registry::Book;
use crate::values::{Int2, Int4, Int8, Text};

pub(super) fn register(book: &mut Book) {
    book.add::<(Int2,), Int2>("abs", |(a,)| in_range(a.checked_abs(), "smallint"));
    book.add::<(Int4,), Int4>("abs", |(a,)| in_range(a.checked_abs(), "integer"));
    book.add::<(Int8,), Int8>("abs", |(a,)| in_range(a.checked_abs(), "bigint"));
    book.add::<(Int2, Int2), Int2>("mod", |(a, b)| remainder(a, b, i16::checked_rem));
    book.add::<(Int4, Int4), Int4>("mod", |(a, b)| remainder(a, b, i32::checked_rem));
    book.add::<(Int8, Int8), Int8>("mod", |(a, b)| remainder(a, b, i64::checked_rem));
    book.add::<(Int4, Int4), Int4>("gcd", |(a, b)| gcd(a.into(), b.into()).and_then(|v| narrow(v, "integer")));
    book.add::<(Int8, Int8), Int8>("gcd", |(a, b)| gcd(a.into(), b.into()).and_then(|v| narrow(v, "bigint")));
    book.add::<(Int4, Int4), Int4>("lcm", |(a, b)| lcm(a.into(), b.into()).and_then(|v| narrow(v, "integer")));
    book.add::<(Int8, Int8), Int8>("lcm", |(a, b)| lcm(a.into(), b.into()).and_then(|v| narrow(v, "bigint")));
    book.add::<(Int8,), Num>("factorial", |(n,)| Numeric::factorial(n));
    book.add::<(Int4,), Text>("to_hex", |(a,)| Ok(format!("{a:x}")));
    book.add::<(Int8,), Text>("to_hex", |(a,)| Ok(format!("{a:x}")));
}

/// The least integer by -1 overflows in the quotient alone; its remainder is 0.
fn remainder<T: Copy + Default + PartialEq>(a: T, b: T, rem: fn(T, T) -> Option<T>) -> Result<T> {
    if b == T::default() {
        return Err(ValueError::division_by_zero());
    }
    Ok(rem(a, b).unwrap_or_default())
}

fn gcd(mut a: i128, mut b: i128) -> Result<i128> {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Ok(a.abs())
}

fn lcm(a: i128, b: i128) -> Result<i128> {
    if a == 0 || b == 0 {
        return Ok(0);
    }
    Ok((a / gcd(a, b)? * b).abs())
}

fn narrow<T: TryFrom<i128>>(value: i128, of: &str) -> Result<T> {
    T::try_from(value).map_err(|_| ValueError::out_of_range(of))
}
