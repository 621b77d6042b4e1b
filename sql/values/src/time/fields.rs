//! EXTRACT and date_part.

use super::calendar::{
    Civil, UNIX_EPOCH_JDATE, USECS_PER_DAY, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, civil_from_days,
    date_is_finite, date_to_timestamp, day_of_week, days_from_civil, iso_year_week, split, timestamp_is_finite,
};
use super::interval_text::Unit;
use super::{Interval, Zone};
use crate::{Result, ValueError};

/// What EXTRACT gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extracted {
    /// The field of an infinite time that comes round again, such as the hour.
    Null,
    Infinity,
    NegInfinity,
    /// `unscaled / 10^scale`, printed with all digits of the scale.
    Decimal {
        unscaled: i128,
        scale: u8,
    },
}

impl Extracted {
    fn whole(value: i64) -> Self {
        Self::scaled(value, 0)
    }

    fn scaled(unscaled: i64, scale: u8) -> Self {
        Self::Decimal { unscaled: i128::from(unscaled), scale }
    }

    /// None is NULL.
    pub fn to_f64(self) -> Option<f64> {
        match self {
            Self::Null => None,
            Self::Infinity => Some(f64::INFINITY),
            Self::NegInfinity => Some(f64::NEG_INFINITY),
            Self::Decimal { unscaled, scale } => Some(unscaled as f64 / 10_f64.powi(i32::from(scale))),
        }
    }
}

/// A field of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeField {
    Unit(Unit),
    Epoch,
    Julian,
    IsoYear,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

impl TimeField {
    /// 22023: an unknown name.
    pub(super) fn named(name: &str, of: &str) -> Result<Self> {
        let lower = name.to_ascii_lowercase();
        if let Some(unit) = Unit::named(&lower) {
            return Ok(Self::Unit(unit));
        }
        // PostgreSQL compares no more than ten characters.
        Ok(match lower.get(..10).unwrap_or(&lower) {
            "epoch" => Self::Epoch,
            "j" | "jd" | "julian" => Self::Julian,
            "isoyear" => Self::IsoYear,
            "dow" => Self::DayOfWeek,
            "isodow" => Self::IsoDayOfWeek,
            "doy" => Self::DayOfYear,
            "timezone" => Self::Timezone,
            "timezone_h" => Self::TimezoneHour,
            "timezone_m" => Self::TimezoneMinute,
            _ => return Err(unknown_unit(name, of)),
        })
    }

    /// Only grows as time passes, so that it is infinite at infinity.
    fn only_grows(self) -> bool {
        use Unit::{Century, Decade, Millennium, Year};
        matches!(self, Self::Epoch | Self::Julian | Self::IsoYear | Self::Unit(Year | Decade | Century | Millennium))
    }
}

pub(super) const TIMESTAMP: &str = "timestamp without time zone";
pub(super) const TIMESTAMPTZ: &str = "timestamp with time zone";
const DATE: &str = "date";
const TIME: &str = "time without time zone";
pub(super) const INTERVAL: &str = "interval";

/// 22023: no type has such a field.
pub(super) fn unknown_unit(name: &str, of: &str) -> ValueError {
    ValueError::new("22023", format!("unit \"{}\" not recognized for type {of}", name.to_ascii_lowercase()))
}

/// 0A000: the type has no such field.
pub(super) fn unsupported(name: &str, of: &str) -> ValueError {
    ValueError::unsupported(format!("unit \"{}\" not supported for type {of}", name.to_ascii_lowercase()))
}

/// EXTRACT from a timestamp. Errors: 22023 for an unknown field, 0A000 for one that the type lacks.
pub fn extract_timestamp(field: &str, timestamp: i64) -> Result<Extracted> {
    let known = TimeField::named(field, TIMESTAMP)?;
    if !timestamp_is_finite(timestamp) {
        return Ok(at_infinity(known, timestamp > 0));
    }
    local_field(known, timestamp).ok_or_else(|| unsupported(field, TIMESTAMP))
}

/// EXTRACT from a timestamptz, by the zone's clocks. Errors as `extract_timestamp`.
pub fn extract_timestamptz(field: &str, timestamp: i64, zone: &Zone) -> Result<Extracted> {
    let known = TimeField::named(field, TIMESTAMPTZ)?;
    if !timestamp_is_finite(timestamp) {
        return Ok(at_infinity(known, timestamp > 0));
    }
    let offset = i64::from(zone.offset_seconds(timestamp));
    let value = match known {
        TimeField::Timezone => Some(Extracted::whole(offset)),
        TimeField::TimezoneHour => Some(Extracted::whole(offset / 3600)),
        TimeField::TimezoneMinute => Some(Extracted::whole(offset / 60 % 60)),
        TimeField::Epoch => Some(Extracted::scaled(timestamp, 6)),
        _ => local_field(known, zone.to_local(timestamp)),
    };
    value.ok_or_else(|| unsupported(field, TIMESTAMPTZ))
}

/// EXTRACT from a date. Errors as `extract_timestamp`: a date has no hours.
pub fn extract_date(field: &str, date: i32) -> Result<Extracted> {
    use Unit::{Hour, Microsecond, Millisecond, Minute, Second};
    let known = TimeField::named(field, DATE)?;
    let finer = matches!(known, TimeField::Unit(Microsecond | Millisecond | Second | Minute | Hour));
    if finer || is_zone_field(known) {
        return Err(unsupported(field, DATE));
    }
    if !date_is_finite(date) {
        return Ok(at_infinity(known, date > 0));
    }
    let days = i64::from(date);
    Ok(match known {
        TimeField::Epoch => Extracted::whole(days * 86_400),
        TimeField::Julian => Extracted::whole(days + UNIX_EPOCH_JDATE),
        _ => day_field(known, days).ok_or_else(|| unsupported(field, DATE))?,
    })
}

/// EXTRACT from a time. Errors as `extract_timestamp`: a time has no days.
pub fn extract_time(field: &str, time: i64) -> Result<Extracted> {
    let known = TimeField::named(field, TIME)?;
    let value = match known {
        TimeField::Epoch => Some(Extracted::scaled(time, 6)),
        TimeField::Unit(unit) => clock_field(unit, time),
        _ => None,
    };
    value.ok_or_else(|| unsupported(field, TIME))
}

/// EXTRACT from an interval. Errors as `extract_timestamp`: an interval has no weeks.
pub fn extract_interval(field: &str, interval: &Interval) -> Result<Extracted> {
    let known = TimeField::named(field, INTERVAL)?;
    let months = i64::from(interval.months);
    let whole = match known {
        TimeField::Epoch => {
            // A year has 365.25 days here, and a month 30.
            let quarters = 1461 * (months / 12) + 120 * (months % 12) + 4 * i64::from(interval.days);
            let micros = i128::from(quarters) * i128::from(USECS_PER_DAY / 4) + i128::from(interval.micros);
            return Ok(Extracted::Decimal { unscaled: micros, scale: 6 });
        }
        TimeField::Unit(unit) => match unit {
            Unit::Day => Some(i64::from(interval.days)),
            Unit::Month => Some(months % 12),
            Unit::Quarter => Some(months % 12 / 3 + 1),
            Unit::Year => Some(months / 12),
            Unit::Decade => Some(months / 120),
            Unit::Century => Some(months / 1_200),
            Unit::Millennium => Some(months / 12_000),
            Unit::Week => None,
            _ => return clock_field(unit, interval.micros).ok_or_else(|| unsupported(field, INTERVAL)),
        },
        _ => None,
    };
    whole.map(Extracted::whole).ok_or_else(|| unsupported(field, INTERVAL))
}

/// date_part of a timestamp. None is NULL. Errors as `extract_timestamp`.
pub fn date_part_timestamp(field: &str, timestamp: i64) -> Result<Option<f64>> {
    let extracted = extract_timestamp(field, timestamp)?;
    Ok(double_of_timestamp(TimeField::named(field, TIMESTAMP)?, timestamp, extracted))
}

/// date_part of a timestamptz. None is NULL. Errors as `extract_timestamp`.
pub fn date_part_timestamptz(field: &str, timestamp: i64, zone: &Zone) -> Result<Option<f64>> {
    let extracted = extract_timestamptz(field, timestamp, zone)?;
    Ok(double_of_timestamp(TimeField::named(field, TIMESTAMPTZ)?, zone.to_local(timestamp), extracted))
}

/// date_part of a date, which PostgreSQL takes as the timestamp of midnight. Errors as `extract_timestamp`.
pub fn date_part_date(field: &str, date: i32) -> Result<Option<f64>> {
    date_part_timestamp(field, date_to_timestamp(date)?)
}

/// date_part of a time. Errors as `extract_time`.
pub fn date_part_time(field: &str, time: i64) -> Result<Option<f64>> {
    let extracted = extract_time(field, time)?;
    Ok(double_of_clock(TimeField::named(field, TIME)?, time).or_else(|| extracted.to_f64()))
}

/// date_part of an interval. Errors as `extract_interval`.
pub fn date_part_interval(field: &str, interval: &Interval) -> Result<Option<f64>> {
    let extracted = extract_interval(field, interval)?;
    let known = TimeField::named(field, INTERVAL)?;
    if known == TimeField::Epoch {
        const DAY: f64 = 86_400.0;
        let seconds = interval.micros as f64 / USECS_PER_SEC as f64 + 365.25 * DAY * f64::from(interval.months / 12);
        return Ok(Some(seconds + 30.0 * DAY * f64::from(interval.months % 12) + DAY * f64::from(interval.days)));
    }
    Ok(double_of_clock(known, interval.micros).or_else(|| extracted.to_f64()))
}

/// PostgreSQL adds up some fields in doubles, which NUMERIC rounds differently.
fn double_of_timestamp(field: TimeField, local: i64, extracted: Extracted) -> Option<f64> {
    if !timestamp_is_finite(local) {
        return extracted.to_f64();
    }
    let (days, micros) = split(local);
    if field == TimeField::Julian {
        return Some((days + UNIX_EPOCH_JDATE) as f64 + seconds(micros) / 86_400.0);
    }
    double_of_clock(field, micros).or_else(|| extracted.to_f64())
}

fn double_of_clock(field: TimeField, micros: i64) -> Option<f64> {
    match field {
        TimeField::Unit(Unit::Second) => Some(seconds(micros % USECS_PER_MINUTE)),
        TimeField::Unit(Unit::Millisecond) => {
            let whole = micros % USECS_PER_MINUTE / USECS_PER_SEC;
            Some(whole as f64 * 1_000.0 + (micros % USECS_PER_SEC) as f64 / 1_000.0)
        }
        _ => None,
    }
}

fn seconds(micros: i64) -> f64 {
    (micros / USECS_PER_SEC) as f64 + (micros % USECS_PER_SEC) as f64 / USECS_PER_SEC as f64
}

fn is_zone_field(field: TimeField) -> bool {
    matches!(field, TimeField::Timezone | TimeField::TimezoneHour | TimeField::TimezoneMinute)
}

fn at_infinity(field: TimeField, positive: bool) -> Extracted {
    match field.only_grows() {
        false => Extracted::Null,
        true if positive => Extracted::Infinity,
        true => Extracted::NegInfinity,
    }
}

fn local_field(field: TimeField, timestamp: i64) -> Option<Extracted> {
    let (days, micros) = split(timestamp);
    match field {
        TimeField::Epoch => Some(Extracted::scaled(timestamp, 6)),
        TimeField::Julian => Some(julian(days, micros)),
        TimeField::Unit(unit) => clock_field(unit, micros).or_else(|| day_field(field, days)),
        _ => day_field(field, days),
    }
}

/// Hours and finer, of microseconds that may be negative.
fn clock_field(unit: Unit, micros: i64) -> Option<Extracted> {
    Some(match unit {
        Unit::Microsecond => Extracted::whole(micros % USECS_PER_MINUTE),
        Unit::Millisecond => Extracted::scaled(micros % USECS_PER_MINUTE, 3),
        Unit::Second => Extracted::scaled(micros % USECS_PER_MINUTE, 6),
        Unit::Minute => Extracted::whole(micros / USECS_PER_MINUTE % 60),
        Unit::Hour => Extracted::whole(micros / USECS_PER_HOUR),
        _ => return None,
    })
}

/// Days and coarser.
fn day_field(field: TimeField, days: i64) -> Option<Extracted> {
    let Civil { year, month, day } = civil_from_days(days);
    // There is no year zero: 1 BC is -1.
    let without_zero = |year: i64| if year > 0 { year } else { year - 1 };
    // The first century is that of the years 1 to 100.
    let count = |years: i64| if year > 0 { (year + years - 1) / years } else { -((years - year) / years) };
    let value = match field {
        TimeField::Unit(Unit::Day) => day,
        TimeField::Unit(Unit::Week) => iso_year_week(days).1,
        TimeField::Unit(Unit::Month) => month,
        TimeField::Unit(Unit::Quarter) => (month - 1) / 3 + 1,
        TimeField::Unit(Unit::Year) => without_zero(year),
        TimeField::Unit(Unit::Decade) => year.div_euclid(10),
        TimeField::Unit(Unit::Century) => count(100),
        TimeField::Unit(Unit::Millennium) => count(1_000),
        TimeField::IsoYear => without_zero(iso_year_week(days).0),
        TimeField::DayOfWeek => day_of_week(days),
        TimeField::IsoDayOfWeek => (day_of_week(days) + 6) % 7 + 1,
        TimeField::DayOfYear => days - days_from_civil(Civil { year, month: 1, day: 1 }) + 1,
        _ => return None,
    };
    Some(Extracted::whole(value))
}

/// The Julian day, with as many digits as PostgreSQL's division by the microseconds of a day gives.
fn julian(days: i64, micros: i64) -> Extracted {
    // NUMERIC divides in digits of base 10000, and takes its scale from the first digits.
    let scale: u8 = match micros {
        100_000_000.. | 8_650_000..=99_999_999 => 20,
        865.. => 24,
        _ => 28,
    };
    let power = 10_i128.pow(u32::from(scale));
    let day = i128::from(USECS_PER_DAY);
    // At most 8.64e30 before the doubling, which fits in 128 bits.
    let fraction = (i128::from(micros) * power * 2 + day) / (2 * day);
    Extracted::Decimal { unscaled: i128::from(days + UNIX_EPOCH_JDATE) * power + fraction, scale }
}
