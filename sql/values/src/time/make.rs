//! Values from their parts.

use super::calendar::{
    Civil, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, USECS_PER_DAY, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC,
    checked_civil_timestamp, date_in_range, days_from_civil, days_in_month, in_range, interval_out_of_range,
    timestamp_out_of_range, timestamp_to_timestamptz,
};
use super::{Interval, Zone};
use crate::{Result, ValueError};

/// A date. A negative year is before Christ. 22008: no such day.
pub fn make_date(year: i32, month: i32, day: i32) -> Result<i32> {
    let wrong = || ValueError::new("22008", format!("date field value out of range: {year}-{month:02}-{day:02}"));
    checked_date(i64::from(year), i64::from(month), i64::from(day))
        .and_then(|date| date_in_range(days_from_civil(date)))
        .ok_or_else(wrong)
}

/// A negative year is before Christ. None is no day of the calendar.
pub(crate) fn checked_date(year: i64, month: i64, day: i64) -> Option<Civil> {
    let year = match year {
        0 => return None,
        // There is no year zero: 1 BC comes before 1 AD.
        _ if year < 0 => year.checked_add(1)?,
        _ => year,
    };
    let exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    exists.then_some(Civil { year, month, day })
}

/// The parts of a time of day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeOfDay {
    pub hour: i32,
    pub minute: i32,
    pub seconds: f64,
}

/// A time, in microseconds of the day. 22008: no such time.
pub fn make_time(hour: i32, minute: i32, seconds: f64) -> Result<i64> {
    let wrong = || ValueError::new("22008", format!("time field value out of range: {hour}:{minute:02}:{seconds:02}"));
    let whole = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&seconds);
    if !whole {
        return Err(wrong());
    }
    let micros = i64::from(hour) * USECS_PER_HOUR
        + i64::from(minute) * USECS_PER_MINUTE
        + (seconds * USECS_PER_SEC as f64).round_ties_even() as i64;
    if micros <= USECS_PER_DAY { Ok(micros) } else { Err(wrong()) }
}

/// A timestamp. 22008: no such time, or beyond the range.
pub fn make_timestamp(year: i32, month: i32, day: i32, time: TimeOfDay) -> Result<i64> {
    let wrong = || ValueError::new("22008", format!("date field value out of range: {year}-{month:02}-{day:02}"));
    let date = checked_date(i64::from(year), i64::from(month), i64::from(day)).ok_or_else(wrong)?;
    let micros = make_time(time.hour, time.minute, time.seconds)?;
    checked_civil_timestamp(date, micros).ok_or_else(timestamp_out_of_range)
}

/// A timestamp of the zone's clocks. 22008: no such time, or beyond the range.
pub fn make_timestamptz(year: i32, month: i32, day: i32, time: TimeOfDay, zone: &Zone) -> Result<i64> {
    timestamp_to_timestamptz(make_timestamp(year, month, day, time)?, zone)
}

/// An interval of years, months, weeks, days, hours and minutes, and of seconds. 22008: a field overflows.
pub fn make_interval(parts: [i32; 6], seconds: f64) -> Result<Interval> {
    let [years, months, weeks, days, hours, minutes] = parts.map(i64::from);
    let narrow = |value: i64| i32::try_from(value).map_err(|_| interval_out_of_range());
    let fraction = (seconds * USECS_PER_SEC as f64).round_ties_even();
    // The greatest i64 is no f64, so that the bound is the power of two above it.
    if !fraction.is_finite() || fraction.abs() >= 9_223_372_036_854_775_808.0 {
        return Err(interval_out_of_range());
    }
    let whole = hours * USECS_PER_HOUR + minutes * USECS_PER_MINUTE;
    Ok(Interval {
        months: narrow(years * 12 + months)?,
        days: narrow(weeks * 7 + days)?,
        micros: whole.checked_add(fraction as i64).ok_or_else(interval_out_of_range)?,
    })
}

/// The timestamp that is this many seconds after 1970-01-01 in UTC. 22008: NaN, or beyond the range.
pub fn to_timestamp_f64(seconds: f64) -> Result<i64> {
    if seconds.is_nan() {
        return Err(ValueError::new("22008", "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(if seconds > 0.0 { TIMESTAMP_INFINITY } else { TIMESTAMP_NEG_INFINITY });
    }
    let wrong = || ValueError::new("22008", format!("timestamp out of range: \"{seconds}\""));
    // PostgreSQL rounds the distance to 2000-01-01, which decides the last digit.
    const EPOCH_2000: i64 = 946_684_800;
    let micros = ((seconds - EPOCH_2000 as f64) * USECS_PER_SEC as f64).round_ties_even();
    if micros.abs() >= 9_223_372_036_854_775_808.0 {
        return Err(wrong());
    }
    (micros as i64).checked_add(EPOCH_2000 * USECS_PER_SEC).and_then(in_range).ok_or_else(wrong)
}
