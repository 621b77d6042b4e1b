//! The proleptic Gregorian calendar, and the ends of the ranges.

use super::Zone;
use crate::{Result, ValueError};

pub(crate) const USECS_PER_SEC: i64 = 1_000_000;
pub(crate) const USECS_PER_MINUTE: i64 = 60 * USECS_PER_SEC;
pub(crate) const USECS_PER_HOUR: i64 = 60 * USECS_PER_MINUTE;
/// Microseconds of a day.
pub const USECS_PER_DAY: i64 = 24 * USECS_PER_HOUR;

/// `infinity` of a timestamp.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// `-infinity` of a timestamp.
pub const TIMESTAMP_NEG_INFINITY: i64 = i64::MIN;
/// `infinity` of a date.
pub const DATE_INFINITY: i32 = i32::MAX;
/// `-infinity` of a date.
pub const DATE_NEG_INFINITY: i32 = i32::MIN;

/// The Julian day number of 1970-01-01.
pub(crate) const UNIX_EPOCH_JDATE: i64 = 2_440_588;
/// 4714-11-24 BC, the first day of PostgreSQL's calendar.
const FIRST_DAY: i64 = -UNIX_EPOCH_JDATE;
/// The first day after 5874897-12-31.
const DAYS_END: i64 = 2_147_483_494 - UNIX_EPOCH_JDATE;
const FIRST_TIMESTAMP: i64 = FIRST_DAY * USECS_PER_DAY;

/// A day of the calendar. Year 0 is 1 BC, year -1 is 2 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

/// Days since 1970-01-01. Months beyond 1..=12 must have been carried into the year before.
pub(crate) fn days_from_civil(date: Civil) -> i64 {
    // Years begin in March, so that the leap day is the last day of a year.
    let year = if date.month <= 2 { date.year - 1 } else { date.year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((date.month + 9) % 12) + 2) / 5 + date.day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The day that is this many days after 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> Civil {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil { year, month, day }
}

pub(crate) fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// The month must be in 1..=12.
pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 is Sunday.
pub(crate) fn day_of_week(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// The Monday that ISO week 1 of this year begins with.
pub(crate) fn iso_year_start(year: i64) -> i64 {
    let fourth = days_from_civil(Civil { year, month: 1, day: 4 });
    fourth - (day_of_week(fourth) + 6) % 7
}

/// The ISO year and the ISO week of a day.
pub(crate) fn iso_year_week(days: i64) -> (i64, i64) {
    // The Thursday of a week lies in the week's ISO year.
    let monday = days - (day_of_week(days) + 6) % 7;
    let year = civil_from_days(monday + 3).year;
    (year, (monday - iso_year_start(year)) / 7 + 1)
}

/// The day, and the microseconds of the day, of a finite timestamp.
pub(crate) fn split(timestamp: i64) -> (i64, i64) {
    (timestamp.div_euclid(USECS_PER_DAY), timestamp.rem_euclid(USECS_PER_DAY))
}

/// A timestamp from days and microseconds. None is beyond the range.
pub(crate) fn join(days: i64, micros: i64) -> Option<i64> {
    days.checked_mul(USECS_PER_DAY)?.checked_add(micros).and_then(in_range)
}

/// None is a timestamp before 4714 BC, or an infinity.
pub(crate) fn in_range(timestamp: i64) -> Option<i64> {
    (FIRST_TIMESTAMP..TIMESTAMP_INFINITY).contains(&timestamp).then_some(timestamp)
}

/// None is a day outside PostgreSQL's calendar.
pub(crate) fn date_in_range(days: i64) -> Option<i32> {
    if (FIRST_DAY..DAYS_END).contains(&days) { i32::try_from(days).ok() } else { None }
}

/// A timestamp of a day and microseconds of it. None is beyond the range.
pub(crate) fn checked_civil_timestamp(date: Civil, micros: i64) -> Option<i64> {
    // Years beyond this cannot be in range, and would overflow the arithmetic on days.
    if !(-10_000..=6_000_000).contains(&date.year) {
        return None;
    }
    join(days_from_civil(date), micros)
}

pub(crate) fn timestamp_out_of_range() -> ValueError {
    ValueError::new("22008", "timestamp out of range")
}

pub(crate) fn date_out_of_range() -> ValueError {
    ValueError::new("22008", "date out of range")
}

pub(crate) fn interval_out_of_range() -> ValueError {
    ValueError::new("22008", "interval out of range")
}

/// False for `infinity` and `-infinity`.
pub fn timestamp_is_finite(timestamp: i64) -> bool {
    timestamp != TIMESTAMP_INFINITY && timestamp != TIMESTAMP_NEG_INFINITY
}

/// False for `infinity` and `-infinity`.
pub fn date_is_finite(date: i32) -> bool {
    date != DATE_INFINITY && date != DATE_NEG_INFINITY
}

/// Midnight of the day. 22008: the day is beyond the range of timestamps.
pub fn date_to_timestamp(date: i32) -> Result<i64> {
    match date {
        DATE_INFINITY => Ok(TIMESTAMP_INFINITY),
        DATE_NEG_INFINITY => Ok(TIMESTAMP_NEG_INFINITY),
        _ => join(i64::from(date), 0).ok_or_else(|| ValueError::new("22008", "date out of range for timestamp")),
    }
}

/// Midnight of the day in the zone. 22008: the day is beyond the range of timestamps.
pub fn date_to_timestamptz(date: i32, zone: &Zone) -> Result<i64> {
    timestamp_to_timestamptz(date_to_timestamp(date)?, zone)
}

/// The day of a timestamp. No timestamp is beyond the range of dates.
pub fn timestamp_to_date(timestamp: i64) -> i32 {
    match timestamp {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_NEG_INFINITY => DATE_NEG_INFINITY,
        // A day of an `i64` of microseconds always fits in 32 bits.
        _ => split(timestamp).0 as i32,
    }
}

/// `timestamp AT TIME ZONE zone`. 22008: beyond the range in UTC.
pub fn timestamp_to_timestamptz(local: i64, zone: &Zone) -> Result<i64> {
    if !timestamp_is_finite(local) {
        return Ok(local);
    }
    let offset = zone.offset_of_local(local);
    local.checked_sub(i64::from(offset) * USECS_PER_SEC).and_then(in_range).ok_or_else(timestamp_out_of_range)
}

/// `timestamptz AT TIME ZONE zone`. 22008: beyond the range in the zone.
pub fn timestamptz_to_timestamp(utc: i64, zone: &Zone) -> Result<i64> {
    if !timestamp_is_finite(utc) {
        return Ok(utc);
    }
    let offset = zone.offset_seconds(utc);
    utc.checked_add(i64::from(offset) * USECS_PER_SEC).and_then(in_range).ok_or_else(timestamp_out_of_range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_of_each_other() {
        for days in (-2_440_588..2_145_042_906).step_by(100_003) {
            assert_eq!(days_from_civil(civil_from_days(days)), days);
        }
        assert_eq!(civil_from_days(0), Civil { year: 1970, month: 1, day: 1 });
        assert_eq!(civil_from_days(FIRST_DAY), Civil { year: -4713, month: 11, day: 24 });
        assert_eq!(civil_from_days(DAYS_END - 1), Civil { year: 5_874_897, month: 12, day: 31 });
    }

    #[test]
    fn a_week_belongs_to_the_year_of_its_thursday() {
        let days = |year, month, day| days_from_civil(Civil { year, month, day });
        assert_eq!(iso_year_week(days(2005, 1, 1)), (2004, 53));
        assert_eq!(iso_year_week(days(2012, 12, 31)), (2013, 1));
        assert_eq!(iso_year_week(days(2026, 1, 1)), (2026, 1));
    }
}
