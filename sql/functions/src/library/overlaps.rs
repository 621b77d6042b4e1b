//! OVERLAPS, with SQL's rules for NULL.

use ebap_values::Result;
use ebap_values::time::{Interval, Zone, time_add, timestamp_add, timestamptz_add};

use super::formatting::zone;
use crate::kernel::Opt;
use crate::registry::Book;
use crate::values::{Bool, Span, Time, Timestamp, Timestamptz};

pub(super) fn register(book: &mut Book) {
    type T = Opt<Timestamp>;
    type Z = Opt<Timestamptz>;
    type D = Opt<Time>;
    type I = Opt<Span>;
    let name = "overlaps";
    book.add::<(T, T, T, T), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, b, c, d])));
    book.add::<(T, I, T, I), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, local(a, b)?, c, local(c, d)?])));
    book.add::<(T, T, T, I), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, b, c, local(c, d)?])));
    book.add::<(T, I, T, T), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, local(a, b)?, c, d])));
    book.add::<(Z, Z, Z, Z), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, b, c, d])));
    book.add_with::<(Z, I, Z, I), Opt<Bool>, _>(name, zone, |z, (a, b, c, d)| {
        Ok(overlaps([a, zoned(a, b, z)?, c, zoned(c, d, z)?]))
    });
    book.add_with::<(Z, Z, Z, I), Opt<Bool>, _>(name, zone, |z, (a, b, c, d)| Ok(overlaps([a, b, c, zoned(c, d, z)?])));
    book.add_with::<(Z, I, Z, Z), Opt<Bool>, _>(name, zone, |z, (a, b, c, d)| Ok(overlaps([a, zoned(a, b, z)?, c, d])));
    book.add::<(D, D, D, D), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, b, c, d])));
    book.add::<(D, I, D, I), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, of_day(a, b), c, of_day(c, d)])));
    book.add::<(D, D, D, I), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, b, c, of_day(c, d)])));
    book.add::<(D, I, D, D), Opt<Bool>>(name, |(a, b, c, d)| Ok(overlaps([a, of_day(a, b), c, d])));
}

fn local(start: Option<i64>, length: Option<Interval>) -> Result<Option<i64>> {
    start.zip(length).map(|(start, length)| timestamp_add(start, &length)).transpose()
}

fn zoned(start: Option<i64>, length: Option<Interval>, zone: &Zone) -> Result<Option<i64>> {
    start.zip(length).map(|(start, length)| timestamptz_add(start, &length, zone)).transpose()
}

fn of_day(start: Option<i64>, length: Option<Interval>) -> Option<i64> {
    start.zip(length).map(|(start, length)| time_add(start, &length))
}

/// Whether two periods share a time. Ends may be given in any order; NULL where an unknown end decides.
fn overlaps([s1, e1, s2, e2]: [Option<i64>; 4]) -> Option<bool> {
    let (s1, e1) = ordered(s1, e1)?;
    let (s2, e2) = ordered(s2, e2)?;
    // The later start is within the other period, unless that has ended; an unknown end leaves both open.
    let reaches = |end: Option<i64>, start: i64, own_end: Option<i64>| {
        if start < end? { Some(true) } else { own_end.map(|_| false) }
    };
    match s1.cmp(&s2) {
        std::cmp::Ordering::Greater => reaches(e2, s1, e1),
        std::cmp::Ordering::Less => reaches(e1, s2, e2),
        // Periods with one start share it, if both are known.
        std::cmp::Ordering::Equal => (e1.is_some() && e2.is_some()).then_some(true),
    }
}

/// The known end of a period first.
fn ordered(start: Option<i64>, end: Option<i64>) -> Option<(i64, Option<i64>)> {
    match (start, end) {
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
        (Some(known), None) | (None, Some(known)) => Some((known, None)),
        (None, None) => None,
    }
}
