//! Fields of times, and times cut to one.

use ebap_values::time::{
    Extracted, Interval, Zone, age, age_timestamptz, date_bin, date_is_finite, date_part_date, date_part_interval,
    date_part_time, date_part_timestamp, date_part_timestamptz, extract_date, extract_interval, extract_time,
    extract_timestamp, extract_timestamptz, timestamp_is_finite, trunc_interval, trunc_timestamp, trunc_timestamptz,
};
use ebap_values::{Numeric, Result};

use super::formatting::zone;
use crate::decimals::Num;
use crate::kernel::Opt;
use crate::registry::Book;
use crate::values::{Bool, Date, Float8, Span, Text, Time, Timestamp, Timestamptz};

pub(super) fn register(book: &mut Book) {
    truncation(book);
    parts(book);
    extraction(book);
    book.add::<(Span, Timestamp, Timestamp), Timestamp>("date_bin", |(stride, v, origin)| date_bin(&stride, v, origin));
    book.add::<(Span, Timestamptz, Timestamptz), Timestamptz>("date_bin", |(stride, v, origin)| {
        date_bin(&stride, v, origin)
    });
    book.add::<(Timestamp, Timestamp), Span>("age", |(a, b)| age(a, b));
    book.add_with::<(Timestamptz, Timestamptz), Span, _>("age", zone, |zone, (a, b)| age_timestamptz(a, b, zone));
    book.add::<(Span,), Span>("justify_days", |(v,)| v.justify_days());
    book.add::<(Span,), Span>("justify_hours", |(v,)| v.justify_hours());
    book.add::<(Span,), Span>("justify_interval", |(v,)| v.justify_interval());
    book.add::<(Date,), Bool>("isfinite", |(v,)| Ok(date_is_finite(v)));
    book.add::<(Timestamp,), Bool>("isfinite", |(v,)| Ok(timestamp_is_finite(v)));
    book.add::<(Timestamptz,), Bool>("isfinite", |(v,)| Ok(timestamp_is_finite(v)));
    book.add::<(Span,), Bool>("isfinite", |(_,)| Ok(true));
}

fn truncation(book: &mut Book) {
    book.add::<(Text, Timestamp), Timestamp>("date_trunc", |(unit, v)| trunc_timestamp(unit, v));
    book.add_with::<(Text, Timestamptz), Timestamptz, _>("date_trunc", zone, |zone, (unit, v)| {
        trunc_timestamptz(unit, v, zone)
    });
    book.add_with::<(Text, Timestamptz, Text), Timestamptz, _>(
        "date_trunc",
        |_| Ok(Zones::default()),
        |zones, (unit, v, zone)| trunc_timestamptz(unit, v, zones.get(zone)?),
    );
    book.add::<(Text, Span), Span>("date_trunc", |(unit, v)| trunc_interval(unit, &v));
}

/// Zones that arguments name; the last one is kept, as it is mostly the same for all rows.
#[derive(Default)]
pub(super) struct Zones {
    last: Option<(String, Zone)>,
}

impl Zones {
    pub(super) fn get(&mut self, name: &str) -> Result<&Zone> {
        if self.last.as_ref().is_none_or(|(known, _)| known != name) {
            self.last = Some((name.to_owned(), Zone::parse(name)?));
        }
        match &self.last {
            Some((_, zone)) => Ok(zone),
            None => Err(crate::error::internal("a zone has been lost")),
        }
    }
}

fn parts(book: &mut Book) {
    book.add::<(Text, Timestamp), Opt<Float8>>("date_part", |(field, v)| date_part_timestamp(field, v));
    book.add_with::<(Text, Timestamptz), Opt<Float8>, _>("date_part", zone, |zone, (field, v)| {
        date_part_timestamptz(field, v, zone)
    });
    book.add::<(Text, Date), Opt<Float8>>("date_part", |(field, v)| date_part_date(field, v));
    book.add::<(Text, Time), Opt<Float8>>("date_part", |(field, v)| date_part_time(field, v));
    book.add::<(Text, Span), Opt<Float8>>("date_part", |(field, v)| date_part_interval(field, &v));
}

fn extraction(book: &mut Book) {
    book.add::<(Text, Timestamp), Opt<Num>>("extract", |(field, v)| Ok(number(extract_timestamp(field, v)?)));
    book.add_with::<(Text, Timestamptz), Opt<Num>, _>("extract", zone, |zone, (field, v)| {
        Ok(number(extract_timestamptz(field, v, zone)?))
    });
    book.add::<(Text, Date), Opt<Num>>("extract", |(field, v)| Ok(number(extract_date(field, v)?)));
    book.add::<(Text, Time), Opt<Num>>("extract", |(field, v)| Ok(number(extract_time(field, v)?)));
    book.add::<(Text, Span), Opt<Num>>("extract", |(field, v): (&str, Interval)| {
        Ok(number(extract_interval(field, &v)?))
    });
}

fn number(extracted: Extracted) -> Option<Numeric> {
    Some(match extracted {
        Extracted::Null => return None,
        Extracted::Infinity => Numeric::infinity(false),
        Extracted::NegInfinity => Numeric::infinity(true),
        Extracted::Decimal { unscaled, scale } => Numeric::from_i128(unscaled, i8::try_from(scale).unwrap_or(i8::MAX)),
    })
}
