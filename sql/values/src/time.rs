//! Dates, times, timestamps and intervals as PostgreSQL has them.
//!
//! A timestamp is an `i64` of microseconds since 1970-01-01. A `timestamptz` counts in UTC.
//! A plain timestamp counts as if its wall clock were UTC.
//! A date is an `i32` of days since 1970-01-01, and a time is microseconds of the day.
//! The greatest and the least integer are `infinity` and `-infinity`.
//!
//! PostgreSQL's timestamps end in 294276 AD. An `i64` of microseconds since 1970 ends 29 years earlier.
//! Everything after that is out of range (22008) here.

mod abbreviations;
mod arithmetic;
mod calendar;
mod decode;
mod decode_number;
mod fields;
mod interval;
mod interval_iso;
mod interval_text;
mod make;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod tokens;
mod trunc;
mod zone;

pub use arithmetic::{
    age, age_timestamptz, date_add_days, date_bin, date_sub, time_add, timestamp_add, timestamp_sub, timestamptz_add,
};
pub use calendar::{
    Civil, DATE_INFINITY, DATE_NEG_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, USECS_PER_DAY, date_is_finite,
    date_to_timestamp, date_to_timestamptz, timestamp_is_finite, timestamp_to_date, timestamp_to_timestamptz,
    timestamptz_to_timestamp,
};
pub use fields::{
    Extracted, date_part_date, date_part_interval, date_part_time, date_part_timestamp, date_part_timestamptz,
    extract_date, extract_interval, extract_time, extract_timestamp, extract_timestamptz,
};
pub use interval::Interval;
pub use interval_text::{parse_interval, parse_interval_fields};
pub use make::{TimeOfDay, make_date, make_interval, make_time, make_timestamp, make_timestamptz, to_timestamp_f64};
pub use parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
pub use print::{print_date, print_interval, print_time, print_timestamp, print_timestamptz};
pub use trunc::{trunc_interval, trunc_timestamp, trunc_timestamptz};
pub use zone::Zone;

pub(crate) use calendar::{
    UNIX_EPOCH_JDATE, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, checked_civil_timestamp, civil_from_days,
    date_in_range, day_of_week, days_from_civil, days_in_month, in_range, iso_year_start, iso_year_week, split,
};
