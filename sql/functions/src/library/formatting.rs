//! to_char, to_date, to_timestamp and to_number.

use ebap_values::format::{
    to_char_float, to_char_int, to_char_interval, to_char_numeric, to_char_real, to_char_timestamp, to_date, to_number,
    to_timestamp,
};
use ebap_values::time::{Zone, timestamp_is_finite, timestamptz_to_timestamp, to_timestamp_f64};
use ebap_values::{Numeric, Result};

use crate::decimals::Num;
use crate::kernel::Opt;
use crate::registry::Book;
use crate::session::Session;
use crate::values::{Date, Float4, Float8, Int4, Int8, Span, Text, Timestamp, Timestamptz};

pub(super) fn zone(session: &Session<'_>) -> Result<Zone> {
    session.zone()
}

pub(super) fn register(book: &mut Book) {
    book.add::<(Int4, Text), Text>("to_char", |(v, pattern)| to_char_int(v.into(), pattern));
    book.add::<(Int8, Text), Text>("to_char", |(v, pattern)| to_char_int(v, pattern));
    book.add::<(Float4, Text), Text>("to_char", |(v, pattern)| to_char_real(v, pattern));
    book.add::<(Float8, Text), Text>("to_char", |(v, pattern)| to_char_float(v, pattern));
    book.add::<(Num, Text), Text>("to_char", |(v, pattern)| to_char_numeric(&v.to_string(), pattern));
    book.add::<(Span, Text), Opt<Text>>("to_char", |(v, pattern)| to_char_interval(&v, pattern));
    book.add::<(Timestamp, Text), Opt<Text>>("to_char", |(v, pattern)| to_char_timestamp(v, None, pattern));
    book.add_with::<(Timestamptz, Text), Opt<Text>, _>("to_char", zone, |zone, (v, pattern)| {
        if !timestamp_is_finite(v) {
            return Ok(None);
        }
        to_char_timestamp(timestamptz_to_timestamp(v, zone)?, Some((zone, v)), pattern)
    });
    book.add::<(Text, Text), Date>("to_date", |(s, pattern)| to_date(s, pattern));
    book.add::<(Float8,), Timestamptz>("to_timestamp", |(seconds,)| to_timestamp_f64(seconds));
    book.add_with::<(Text, Text), Timestamptz, _>("to_timestamp", zone, |zone, (s, pattern)| {
        to_timestamp(s, pattern, zone)
    });
    book.add::<(Text, Text), Opt<Num>>("to_number", |(s, pattern)| {
        to_number(s, pattern)?.map(|digits| Numeric::parse(&digits)).transpose()
    });
}
