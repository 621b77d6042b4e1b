//! Sums and differences of times, and what lies between them.

use super::calendar::{
    Civil, USECS_PER_DAY, checked_civil_timestamp, civil_from_days, date_in_range, date_is_finite, date_out_of_range,
    days_in_month, in_range, interval_out_of_range, join, split, timestamp_is_finite, timestamp_out_of_range,
    timestamp_to_timestamptz, timestamptz_to_timestamp,
};
use super::{Interval, Zone};
use crate::{Result, ValueError};

/// Adds the months, then the days, then the time. A day that the month lacks becomes its last.
/// 22008: beyond the range of timestamps. Infinities stay.
pub fn timestamp_add(timestamp: i64, interval: &Interval) -> Result<i64> {
    if !timestamp_is_finite(timestamp) {
        return Ok(timestamp);
    }
    let moved = add_months_and_days(timestamp, interval)?;
    moved.checked_add(interval.micros).and_then(in_range).ok_or_else(timestamp_out_of_range)
}

/// As `timestamp_add`, with months and days counted by the zone's clocks, and the time in UTC.
pub fn timestamptz_add(timestamp: i64, interval: &Interval, zone: &Zone) -> Result<i64> {
    if !timestamp_is_finite(timestamp) {
        return Ok(timestamp);
    }
    let mut moved = timestamp;
    // Each step goes through the zone, since a local time can fall into a gap.
    for step in [Interval { days: 0, micros: 0, ..*interval }, Interval { months: 0, micros: 0, ..*interval }] {
        if step != Interval::default() {
            let local = timestamptz_to_timestamp(moved, zone)?;
            moved = timestamp_to_timestamptz(add_months_and_days(local, &step)?, zone)?;
        }
    }
    moved.checked_add(interval.micros).and_then(in_range).ok_or_else(timestamp_out_of_range)
}

fn add_months_and_days(timestamp: i64, interval: &Interval) -> Result<i64> {
    let (mut days, micros) = split(timestamp);
    if interval.months != 0 {
        let date = civil_from_days(days);
        let months = date.year * 12 + date.month - 1 + i64::from(interval.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let moved = Civil { year, month, day: date.day.min(days_in_month(year, month)) };
        let at = checked_civil_timestamp(moved, micros).ok_or_else(timestamp_out_of_range)?;
        days = split(at).0;
    }
    join(days + i64::from(interval.days), micros).ok_or_else(timestamp_out_of_range)
}

/// Adds days to a date. 22008: beyond the range of dates. Infinities stay.
pub fn date_add_days(date: i32, days: i64) -> Result<i32> {
    if !date_is_finite(date) {
        return Ok(date);
    }
    i64::from(date).checked_add(days).and_then(date_in_range).ok_or_else(date_out_of_range)
}

/// Days from the second date to the first. 22008: one of them is infinite.
pub fn date_sub(left: i32, right: i32) -> Result<i32> {
    if !date_is_finite(left) || !date_is_finite(right) {
        return Err(ValueError::new("22008", "cannot subtract infinite dates"));
    }
    left.checked_sub(right).ok_or_else(date_out_of_range)
}

/// Adds the time of an interval to a time of day, and wraps at midnight.
pub fn time_add(time: i64, interval: &Interval) -> i64 {
    time.rem_euclid(USECS_PER_DAY).wrapping_add(interval.micros % USECS_PER_DAY).rem_euclid(USECS_PER_DAY)
}

/// Days and time from the second timestamp to the first. 22008: one of them is infinite.
pub fn timestamp_sub(left: i64, right: i64) -> Result<Interval> {
    if !timestamp_is_finite(left) || !timestamp_is_finite(right) {
        return Err(ValueError::new("22008", "cannot subtract infinite timestamps"));
    }
    let micros = left.checked_sub(right).ok_or_else(interval_out_of_range)?;
    Interval { months: 0, days: 0, micros }.justify_hours()
}

/// Years, months, days and time from the second timestamp to the first. 22008: one of them is infinite.
pub fn age(left: i64, right: i64) -> Result<Interval> {
    if !timestamp_is_finite(left) || !timestamp_is_finite(right) {
        return Err(timestamp_out_of_range());
    }
    let negative = left < right;
    let (later, earlier) = if negative { (right, left) } else { (left, right) };
    let (later_days, later_micros) = split(later);
    let (earlier_days, earlier_micros) = split(earlier);
    let (to, from) = (civil_from_days(later_days), civil_from_days(earlier_days));
    let mut micros = later_micros - earlier_micros;
    let mut days = to.day - from.day;
    let mut months = (to.year - from.year) * 12 + to.month - from.month;
    if micros < 0 {
        micros += USECS_PER_DAY;
        days -= 1;
    }
    // A missing month has the days of the earlier month.
    if days < 0 {
        days += days_in_month(from.year, from.month);
        months -= 1;
    }
    let narrow = |value: i64| i32::try_from(value).map_err(|_| interval_out_of_range());
    let interval = Interval { months: narrow(months)?, days: narrow(days)?, micros };
    if negative { interval.neg() } else { Ok(interval) }
}

/// As `age`, by the zone's clocks.
pub fn age_timestamptz(left: i64, right: i64, zone: &Zone) -> Result<Interval> {
    age(timestamptz_to_timestamp(left, zone)?, timestamptz_to_timestamp(right, zone)?)
}

/// The start of the bin that a timestamp falls into. Bins are a stride wide and one starts at the origin.
///
/// Errors: 0A000 for a stride of months, 22008 for a stride of zero or less and for what is out of range.
pub fn date_bin(stride: &Interval, timestamp: i64, origin: i64) -> Result<i64> {
    if !timestamp_is_finite(timestamp) {
        return Ok(timestamp);
    }
    if !timestamp_is_finite(origin) {
        return Err(ValueError::new("22008", "origin out of range"));
    }
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(ValueError::unsupported(message));
    }
    let width = i64::from(stride.days).checked_mul(USECS_PER_DAY).and_then(|days| days.checked_add(stride.micros));
    let width = width.ok_or_else(interval_out_of_range)?;
    if width <= 0 {
        return Err(ValueError::new("22008", "stride must be greater than zero"));
    }
    let distance = timestamp.checked_sub(origin).ok_or_else(interval_out_of_range)?;
    timestamp.checked_sub(distance.rem_euclid(width)).and_then(in_range).ok_or_else(timestamp_out_of_range)
}
