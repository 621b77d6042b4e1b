//! date_trunc.

use super::calendar::{
    Civil, USECS_PER_DAY, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, checked_civil_timestamp, civil_from_days,
    day_of_week, in_range, join, split, timestamp_is_finite, timestamp_out_of_range, timestamp_to_timestamptz,
    timestamptz_to_timestamp,
};
use super::fields::{INTERVAL, TIMESTAMP, TIMESTAMPTZ, unknown_unit, unsupported};
use super::interval_text::Unit;
use super::{Interval, Zone};
use crate::{Result, ValueError};

/// The start of the hour, day, week and so on. Infinities stay.
///
/// Errors: 22023 for an unknown unit, 0A000 for one that cannot be truncated to, 22008 beyond the range.
pub fn trunc_timestamp(unit: &str, timestamp: i64) -> Result<i64> {
    if !timestamp_is_finite(timestamp) {
        return Ok(timestamp);
    }
    let known = unit_of(unit, TIMESTAMP)?;
    trunc_local(known, timestamp)
}

/// As `trunc_timestamp`, by the zone's clocks.
pub fn trunc_timestamptz(unit: &str, timestamp: i64, zone: &Zone) -> Result<i64> {
    if !timestamp_is_finite(timestamp) {
        return Ok(timestamp);
    }
    let known = unit_of(unit, TIMESTAMPTZ)?;
    let local = timestamptz_to_timestamp(timestamp, zone)?;
    let start = trunc_local(known, local)?;
    if width(known).is_some() {
        // The hour of an overlap is the one that the time was in, so that the offset stays.
        return timestamp.checked_sub(local - start).and_then(in_range).ok_or_else(timestamp_out_of_range);
    }
    timestamp_to_timestamptz(start, zone)
}

/// Drops what is finer than the unit. Errors as `trunc_timestamp`: an interval has no weeks.
pub fn trunc_interval(unit: &str, interval: &Interval) -> Result<Interval> {
    let known = unit_of(unit, INTERVAL)?;
    if known == Unit::Week {
        return Err(unsupported(unit, INTERVAL));
    }
    let Interval { months, days, micros } = *interval;
    let of_months = |count: i32| Interval { months: months - months % count, days: 0, micros: 0 };
    Ok(match known {
        Unit::Millennium => of_months(12_000),
        Unit::Century => of_months(1_200),
        Unit::Decade => of_months(120),
        Unit::Year => of_months(12),
        Unit::Quarter => of_months(3),
        Unit::Month => of_months(1),
        _ => {
            let width = width(known).unwrap_or(USECS_PER_DAY);
            let micros = if known == Unit::Day { 0 } else { micros - micros % width };
            Interval { months, days, micros }
        }
    })
}

fn unit_of(name: &str, of: &str) -> Result<Unit> {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("timezone") {
        return Err(unsupported(name, of));
    }
    Unit::named(&lower).ok_or_else(|| unknown_unit(name, of))
}

/// Microseconds of a unit finer than a day.
fn width(unit: Unit) -> Option<i64> {
    match unit {
        Unit::Microsecond => Some(1),
        Unit::Millisecond => Some(1_000),
        Unit::Second => Some(USECS_PER_SEC),
        Unit::Minute => Some(USECS_PER_MINUTE),
        Unit::Hour => Some(USECS_PER_HOUR),
        _ => None,
    }
}

fn trunc_local(unit: Unit, timestamp: i64) -> Result<i64> {
    let out_of_range: fn() -> ValueError = timestamp_out_of_range;
    let (days, micros) = split(timestamp);
    if let Some(width) = width(unit) {
        return join(days, micros - micros % width).ok_or_else(out_of_range);
    }
    let Civil { year, month, .. } = civil_from_days(days);
    // Centuries and millennia begin with a year 1, and there is no year zero.
    let first_of = |count: i64| (year - 1).div_euclid(count) * count + 1;
    let (year, month) = match unit {
        Unit::Day => return join(days, 0).ok_or_else(out_of_range),
        Unit::Week => return join(days - (day_of_week(days) + 6) % 7, 0).ok_or_else(out_of_range),
        Unit::Month => (year, month),
        Unit::Quarter => (year, (month - 1) / 3 * 3 + 1),
        Unit::Decade => (year.div_euclid(10) * 10, 1),
        Unit::Century => (first_of(100), 1),
        Unit::Millennium => (first_of(1_000), 1),
        _ => (year, 1),
    };
    checked_civil_timestamp(Civil { year, month, day: 1 }, 0).ok_or_else(out_of_range)
}
