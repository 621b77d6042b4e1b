//! Functions of `bytea`.

use ebap_values::{Result, ValueError};

use super::text::{count, window};
use crate::registry::Book;
use crate::values::{Bytea, Int4};

pub(super) fn register(book: &mut Book) {
    for name in ["length", "octet_length"] {
        book.add::<(Bytea,), Int4>(name, |(b,)| count(b.len()));
    }
    book.add::<(Bytea,), Int4>("bit_length", |(b,)| count(b.len().saturating_mul(8)));
    book.add::<(Bytea, Int4), Int4>("get_byte", |(b, at)| index(b, at).map(|at| b.get(at).map_or(0, |v| (*v).into())));
    book.add::<(Bytea, Int4, Int4), Bytea>("set_byte", |(b, at, value)| {
        let at = index(b, at)?;
        let mut bytes = b.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            // PostgreSQL takes the low byte of what it is given.
            *byte = value.to_le_bytes()[0];
        }
        Ok(bytes)
    });
    for name in ["substr", "substring"] {
        book.add::<(Bytea, Int4), Bytea>(name, |(b, from)| substring(b, from, None).map(<[u8]>::to_vec));
        book.add::<(Bytea, Int4, Int4), Bytea>(name, |(b, from, n)| substring(b, from, Some(n)).map(<[u8]>::to_vec));
    }
    book.add::<(Bytea, Bytea), Int4>("position", |(b, part)| position(b, part));
    book.add::<(Bytea, Bytea, Int4), Bytea>("overlay", |(b, new, from)| overlay(b, new, from, count(new.len())?));
    book.add::<(Bytea, Bytea, Int4, Int4), Bytea>("overlay", |(b, new, from, n)| overlay(b, new, from, n));
    for (name, left, right) in
        [("btrim", true, true), ("trim", true, true), ("ltrim", true, false), ("rtrim", false, true)]
    {
        book.add::<(Bytea, Bytea), Bytea>(name, move |(b, of)| Ok(trim(b, of, left, right).to_vec()));
    }
}

fn index(bytes: &[u8], at: i32) -> Result<usize> {
    let valid = usize::try_from(at).ok().filter(|at| *at < bytes.len());
    let last = i64::try_from(bytes.len()).unwrap_or(i64::MAX) - 1;
    valid.ok_or_else(|| ValueError::new("2202E", format!("index {at} out of valid range, 0..{last}")))
}

fn substring(bytes: &[u8], from: i32, length: Option<i32>) -> Result<&[u8]> {
    let (skipped, kept) = window(from, length)?;
    let rest = bytes.get(skipped..).unwrap_or_default();
    Ok(kept.and_then(|kept| rest.get(..kept)).unwrap_or(rest))
}

fn overlay(bytes: &[u8], new: &[u8], from: i32, length: i32) -> Result<Vec<u8>> {
    if from <= 0 {
        return Err(ValueError::new("22011", "negative substring length not allowed"));
    }
    let behind = from.checked_add(length).ok_or_else(|| ValueError::out_of_range("integer"))?;
    let before = substring(bytes, 1, Some(from - 1))?;
    Ok([before, new, substring(bytes, behind, None)?].concat())
}

fn position(bytes: &[u8], part: &[u8]) -> Result<i32> {
    if part.is_empty() {
        return Ok(1);
    }
    bytes.windows(part.len()).position(|w| w == part).map_or(Ok(0), |at| count(at + 1))
}

fn trim<'b>(bytes: &'b [u8], of: &[u8], left: bool, right: bool) -> &'b [u8] {
    let outside = |b: &u8| !of.contains(b);
    let start = if left { bytes.iter().position(outside).unwrap_or(bytes.len()) } else { 0 };
    let end = if right { bytes.iter().rposition(outside).map_or(0, |at| at + 1) } else { bytes.len() };
    bytes.get(start..end.max(start)).unwrap_or_default()
}
