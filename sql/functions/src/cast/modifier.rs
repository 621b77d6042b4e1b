//! What brackets behind a type do: digits, lengths and fractions of seconds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, PrimitiveBuilder};
use arrow::datatypes::{DataType, Decimal128Type};
use ebap_values::time::Interval;
use ebap_values::{PgType, Result, ValueError};

use crate::decimals::{Num, NumColumn};
use crate::error::checked_length;
use crate::kernel::{Call, Input, Operand, Output, each_row};
use crate::session::Session;
use crate::types::{Target, Typmod};
use crate::values::{Span, Text, Time, Timestamp, Timestamptz};

/// Makes values of a type such as its brackets say.
pub(super) fn apply(array: &ArrayRef, to: &Target, explicit: bool) -> Result<ArrayRef> {
    match (&to.of, to.typmod) {
        (PgType::Numeric, Some(Typmod::Decimal(p, s))) => numeric(array, to, p, s),
        (PgType::Numeric, None) => plain_numeric(array),
        (PgType::Text, Some(Typmod::Varchar(n))) => each::<Text, Text>(array, |v| varchar(v, n, explicit)),
        (PgType::Bpchar, Some(Typmod::Char(n))) => each::<Text, Text>(array, |v| character(v, n, explicit)),
        (PgType::Timestamp, Some(Typmod::Fraction(n))) => {
            each::<Timestamp, Timestamp>(array, |v| Ok(rounded_timestamp(v, n)))
        }
        (PgType::Timestamptz, Some(Typmod::Fraction(n))) => {
            each::<Timestamptz, Timestamptz>(array, |v| Ok(rounded_timestamp(v, n)))
        }
        (PgType::Time, Some(Typmod::Fraction(n))) => each::<Time, Time>(array, |v| Ok(rounded(v, n))),
        (PgType::Interval, Some(Typmod::Fraction(n))) => {
            each::<Span, Span>(array, |v| Ok(Interval { micros: rounded(v.micros, n), ..v }))
        }
        _ => Ok(array.clone()),
    }
}

fn each<A: Input, R: Output>(array: &ArrayRef, f: impl Fn(A::Item<'_>) -> Result<R::Value>) -> Result<ArrayRef> {
    let operands = [Operand { array: array.clone(), constant: false, of: PgType::Unknown }];
    let options = datafusion_common::config::ConfigOptions::default();
    let session = Session::new(&options);
    let call = Call { operands: &operands, rows: array.len(), session: &session };
    each_row::<(A,), R>(&call, |(v,)| f(v))
}

fn numeric(array: &ArrayRef, to: &Target, precision: u16, scale: i16) -> Result<ArrayRef> {
    let DataType::Decimal128(p, s) = to.arrow_type() else {
        return each::<Num, Num>(array, |v| v.with_typmod(precision, scale));
    };
    let column = Num::column(array)?;
    if let (NumColumn::Small(values, _), DataType::Decimal128(from_p, from_s)) = (&column, array.data_type())
        && *from_s == s
        && *from_p <= p
    {
        return Ok(Arc::new(values.clone().with_data_type(DataType::Decimal128(p, s))));
    }
    let mut values = PrimitiveBuilder::<Decimal128Type>::with_capacity(array.len());
    for row in 0..array.len() {
        if array.is_null(row) {
            values.append_null();
        } else {
            values.append_value(Num::get(&column, row)?.to_unscaled_i128(p, s)?);
        }
    }
    Ok(Arc::new(values.finish().with_data_type(DataType::Decimal128(p, s))))
}

/// Without brackets a NUMERIC has the digits that it has, so that it is no decimal.
fn plain_numeric(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::LargeBinary => Ok(array.clone()),
        _ => each::<Num, Num>(array, Ok),
    }
}

/// A cast that is asked for cuts; else only blanks may be too much.
fn varchar(text: &str, length: u32, explicit: bool) -> Result<String> {
    let (kept, rest) = split_at_char(text, length);
    if explicit || rest.bytes().all(|b| b == b' ') {
        return Ok(kept.to_owned());
    }
    Err(ValueError::new("22001", format!("value too long for type character varying({length})")))
}

fn character(text: &str, length: u32, explicit: bool) -> Result<String> {
    let (kept, rest) = split_at_char(text, length);
    if explicit || rest.bytes().all(|b| b == b' ') {
        let missing = usize::try_from(length).unwrap_or(0).saturating_sub(kept.chars().count());
        checked_length(kept.len().checked_add(missing))?;
        return Ok(format!("{kept}{}", " ".repeat(missing)));
    }
    Err(ValueError::new("22001", format!("value too long for type character({length})")))
}

fn split_at_char(text: &str, length: u32) -> (&str, &str) {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let at = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
    text.split_at(at)
}

/// PostgreSQL counts from 2000, so that halves go away from that year.
fn rounded_timestamp(timestamp: i64, digits: u8) -> i64 {
    const YEAR_2000: i64 = 946_684_800_000_000;
    match timestamp.checked_sub(YEAR_2000) {
        Some(value) if timestamp != i64::MAX => rounded(value, digits).saturating_add(YEAR_2000),
        _ => timestamp,
    }
}

/// Rounds microseconds to so many digits of a second, halves away from zero.
fn rounded(micros: i64, digits: u8) -> i64 {
    let unit = 10_i64.pow(6_u32.saturating_sub(digits.into()));
    let half = unit / 2;
    match micros.checked_add(if micros < 0 { -half } else { half }) {
        Some(value) => value / unit * unit,
        None => micros,
    }
}
