//! Makes a date or a timestamp of the fields that a pattern read.

use super::datetime_input::{Read, read};
use super::template::parse;
use crate::time::{
    Civil, UNIX_EPOCH_JDATE, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, Zone, checked_civil_timestamp,
    civil_from_days, date_in_range, days_from_civil, days_in_month, in_range, iso_year_start, timestamp_to_timestamptz,
};
use crate::{Result, ValueError};

/// to_date. Fields that the pattern lacks are those of 0001-01-01 BC.
///
/// Errors: 22007 where the text does not match, 22008 for what is out of range, 0A000 for patterns of to_char alone.
pub fn to_date(text: &str, pattern: &str) -> Result<i32> {
    super::check_length(pattern)?;
    let (date, _) = assemble(&read(text, &parse(pattern))?, text)?;
    let wrong = || ValueError::new("22008", format!("date out of range: \"{text}\""));
    if date.year.abs() > 10_000_000 {
        return Err(wrong());
    }
    date_in_range(days_from_civil(date)).ok_or_else(wrong)
}

/// to_timestamp: a timestamp in UTC. Without TZH the text is in the zone given. Errors as `to_date`.
pub fn to_timestamp(text: &str, pattern: &str, zone: &Zone) -> Result<i64> {
    super::check_length(pattern)?;
    let fields = read(text, &parse(pattern))?;
    let (date, micros) = assemble(&fields, text)?;
    let wrong = || ValueError::new("22008", "timestamp out of range");
    let local = checked_civil_timestamp(date, micros).ok_or_else(wrong)?;
    if fields.zone_sign == 0 {
        return round(timestamp_to_timestamptz(local, zone)?, fields.precision);
    }
    let east = fields.zone_sign * (fields.zone_hours * USECS_PER_HOUR + fields.zone_minutes * USECS_PER_MINUTE);
    round(local.checked_sub(east).and_then(in_range).ok_or_else(wrong)?, fields.precision)
}

/// Rounds a timestamp to digits after the second. A half goes away from 2000-01-01, PostgreSQL's own epoch.
fn round(timestamp: i64, digits: u8) -> Result<i64> {
    const EPOCH_2000: i64 = 946_684_800 * USECS_PER_SEC;
    if !(1..6).contains(&digits) {
        return Ok(timestamp);
    }
    let scale = 10_i64.pow(6 - u32::from(digits));
    let rounded = || {
        let distance = timestamp.checked_sub(EPOCH_2000)?;
        let moved = distance.checked_add(if distance < 0 { -scale / 2 } else { scale / 2 })?;
        in_range((moved / scale * scale).checked_add(EPOCH_2000)?)
    };
    rounded().ok_or_else(|| ValueError::new("22008", "timestamp out of range"))
}

fn field_out_of_range(text: &str) -> ValueError {
    ValueError::new("22008", format!("date/time field value out of range: \"{text}\""))
}

fn assemble(read: &Read, text: &str) -> Result<(Civil, i64)> {
    let micros = clock(read)?;
    let date = date(read)?.filter(|date| date.day <= days_in_month(date.year, date.month));
    let date = date.ok_or_else(|| field_out_of_range(text))?;
    let micros = micros.ok_or_else(|| field_out_of_range(text))?;
    const MAX_ZONE_HOURS: i64 = 15;
    if !(0..=MAX_ZONE_HOURS).contains(&read.zone_hours) || !(0..60).contains(&read.zone_minutes) {
        return Err(ValueError::new("22009", format!("time zone displacement out of range: \"{text}\"")));
    }
    Ok((date, micros))
}

/// None is a field out of range.
fn clock(read: &Read) -> Result<Option<i64>> {
    let or = |value: i64, other: i64| if value != 0 { value } else { other };
    let seconds = read.seconds_of_day;
    let mut hour = or(read.hour, seconds / 3600);
    let minute = or(read.minute, seconds % 3600 / 60);
    let second = or(read.second, seconds % 60);
    if read.half_day_clock {
        if !(1..=12).contains(&hour) {
            let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
            return Err(ValueError::new("22007", message));
        }
        hour = hour % 12 + if read.afternoon != 0 { 12 } else { 0 };
    }
    let micros = read.millis * 1_000 + read.micros;
    let fits = (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..USECS_PER_SEC).contains(&micros);
    let total = || hour * USECS_PER_HOUR + minute * USECS_PER_MINUTE + second * USECS_PER_SEC + micros;
    Ok(fits.then(total))
}

/// None is a month or a day out of range.
fn date(read: &Read) -> Result<Option<Civil>> {
    let year = year(read);
    let mut date = Civil { year: year.unwrap_or(0), month: 1, day: 1 };
    if read.julian != 0 {
        date = civil_from_days(read.julian - UNIX_EPOCH_JDATE);
    }
    let (mut day, mut day_of_year) = (read.day, read.day_of_year);
    let iso = read.iso == Some(true);
    if read.week != 0 {
        if iso {
            date = iso_week(date.year, read);
        } else {
            day_of_year = (read.week - 1) * 7 + 1;
        }
    }
    if read.week_of_month != 0 {
        day = (read.week_of_month - 1) * 7 + 1;
    }
    if day != 0 {
        date.day = day;
    }
    if read.month != 0 {
        date.month = read.month;
    }
    if day_of_year != 0 && (date.month <= 1 || date.day <= 1) {
        if date.year == 0 && read.before_christ == 0 {
            return Err(ValueError::new("22007", "cannot calculate day of year without year information"));
        }
        date = if iso {
            civil_from_days(iso_year_start(date.year) + day_of_year - 1)
        } else {
            day_in_year(date, day_of_year)
        };
    }
    let fits = (1..=12).contains(&date.month) && (1..=31).contains(&date.day);
    Ok(fits.then_some(date))
}

/// Year 0 is 1 BC. None is a text without a year.
fn year(read: &Read) -> Option<i64> {
    let before_christ = read.before_christ != 0;
    let century = if before_christ { -read.century } else { read.century };
    if read.year == 0 {
        // The first year of the century. 1 BC has the number 0.
        return (read.century != 0).then_some(if century >= 0 { (century - 1) * 100 + 1 } else { century * 100 + 1 });
    }
    if read.century != 0 && read.year_digits <= 2 {
        let in_century = read.year % 100;
        return Some(match (in_century, century) {
            (0, 0..) => century * 100,
            (0, _) => century * 100 + 1,
            (_, 0..) => (century - 1) * 100 + in_century,
            _ => (century + 1) * 100 - in_century + 1,
        });
    }
    let year = if before_christ { -read.year } else { read.year };
    Some(if year < 0 { year + 1 } else { year })
}

/// A day of an ISO week: the Monday where no day was read.
fn iso_week(year: i64, read: &Read) -> Civil {
    let monday = iso_year_start(year) + (read.week - 1) * 7;
    let day = match read.week_day {
        0 => 0,
        // Sunday is the first day of the common count, and the last of an ISO week.
        1.. if read.week_day > 1 => read.week_day - 2,
        _ => 6,
    };
    civil_from_days(monday + day)
}

/// Takes the month and the day from the day of the year, where they were not read.
fn day_in_year(date: Civil, day_of_year: i64) -> Civil {
    let mut month = 1;
    let mut before = 0;
    while month <= 12 && day_of_year > before + days_in_month(date.year, month) {
        before += days_in_month(date.year, month);
        month += 1;
    }
    Civil {
        year: date.year,
        month: if date.month <= 1 { month } else { date.month },
        day: if date.day <= 1 { day_of_year - before } else { date.day },
    }
}
