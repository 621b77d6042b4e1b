//! Times from their parts, and times moved to another zone.

use ebap_values::time::{
    Interval, TimeOfDay, Zone, make_date, make_interval, make_time, make_timestamp, make_timestamptz,
    timestamp_to_date, timestamp_to_timestamptz, timestamptz_to_timestamp,
};
use ebap_values::{Result, ValueError};

use super::formatting::zone;
use super::time_fields::Zones;
use crate::registry::Book;
use crate::values::{Date, Float8, Int4, Span, Text, Time, Timestamp, Timestamptz};

pub(super) fn register(book: &mut Book) {
    book.add::<(Int4, Int4, Int4), Date>("make_date", |(y, m, d)| make_date(y, m, d));
    book.add::<(Int4, Int4, Float8), Time>("make_time", |(hour, minute, seconds)| make_time(hour, minute, seconds));
    book.add::<(Int4, Int4, Int4, Int4, Int4, Float8), Timestamp>(
        "make_timestamp",
        |(y, m, d, hour, minute, seconds)| make_timestamp(y, m, d, TimeOfDay { hour, minute, seconds }),
    );
    book.add_with::<(Int4, Int4, Int4, Int4, Int4, Float8), Timestamptz, _>(
        "make_timestamptz",
        zone,
        |zone, (y, m, d, hour, minute, seconds)| make_timestamptz(y, m, d, TimeOfDay { hour, minute, seconds }, zone),
    );
    book.add_with::<(Int4, Int4, Int4, Int4, Int4, Float8, Text), Timestamptz, _>(
        "make_timestamptz",
        |_| Ok(Zones::default()),
        |zones, (y, m, d, hour, minute, seconds, zone)| {
            make_timestamptz(y, m, d, TimeOfDay { hour, minute, seconds }, zones.get(zone)?)
        },
    );
    intervals(book);
    zones(book);
    book.add::<(Timestamp,), Date>("date", |(v,)| Ok(timestamp_to_date(v)));
    book.add_with::<(Timestamptz,), Date, _>("date", zone, |zone, (v,)| {
        Ok(timestamp_to_date(timestamptz_to_timestamp(v, zone)?))
    });
}

/// All arguments may be left out from the right.
fn intervals(book: &mut Book) {
    let name = "make_interval";
    book.add::<(), Span>(name, |()| make_interval([0; 6], 0.0));
    book.add::<(Int4,), Span>(name, |(y,)| make_interval([y, 0, 0, 0, 0, 0], 0.0));
    book.add::<(Int4, Int4), Span>(name, |(y, m)| make_interval([y, m, 0, 0, 0, 0], 0.0));
    book.add::<(Int4, Int4, Int4), Span>(name, |(y, m, w)| make_interval([y, m, w, 0, 0, 0], 0.0));
    book.add::<(Int4, Int4, Int4, Int4), Span>(name, |(y, m, w, d)| make_interval([y, m, w, d, 0, 0], 0.0));
    book.add::<(Int4, Int4, Int4, Int4, Int4), Span>(name, |(y, m, w, d, h)| make_interval([y, m, w, d, h, 0], 0.0));
    book.add::<(Int4, Int4, Int4, Int4, Int4, Int4), Span>(name, |(y, m, w, d, h, min)| {
        make_interval([y, m, w, d, h, min], 0.0)
    });
    book.add::<(Int4, Int4, Int4, Int4, Int4, Int4, Float8), Span>(name, |(y, m, w, d, h, min, s)| {
        make_interval([y, m, w, d, h, min], s)
    });
}

/// What AT TIME ZONE calls.
fn zones(book: &mut Book) {
    book.add_with::<(Text, Timestamptz), Timestamp, _>(
        "timezone",
        |_| Ok(Zones::default()),
        |zones, (zone, v)| timestamptz_to_timestamp(v, zones.get(zone)?),
    );
    book.add_with::<(Text, Timestamp), Timestamptz, _>(
        "timezone",
        |_| Ok(Zones::default()),
        |zones, (zone, v)| timestamp_to_timestamptz(v, zones.get(zone)?),
    );
    book.add::<(Span, Timestamptz), Timestamp>("timezone", |(offset, v)| timestamptz_to_timestamp(v, &fixed(&offset)?));
    book.add::<(Span, Timestamp), Timestamptz>("timezone", |(offset, v)| timestamp_to_timestamptz(v, &fixed(&offset)?));
}

/// An interval as an offset; months and days have no fixed length.
fn fixed(offset: &Interval) -> Result<Zone> {
    if offset.months != 0 || offset.days != 0 {
        let text = ebap_values::time::print_interval(offset);
        let message = format!("interval time zone \"{text}\" must not include months or days");
        return Err(ValueError::new("22023", message));
    }
    let seconds = i32::try_from(offset.micros / 1_000_000).map_err(|_| ValueError::out_of_range("interval"))?;
    Ok(Zone::fixed(seconds))
}
