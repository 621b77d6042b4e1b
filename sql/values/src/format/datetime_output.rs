//! to_char of timestamps and intervals.

use super::ordinal::ordinal;
use super::template::{Case, Key, Node, Pattern, parse};
use crate::time::{
    Civil, Interval, Zone, civil_from_days, day_of_week, days_from_civil, iso_year_start, iso_year_week,
};
use crate::time::{UNIX_EPOCH_JDATE, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, split, timestamp_is_finite};
use crate::{Result, ValueError};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// From December to January.
pub(super) const ROMAN_MONTHS: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];
/// The longest name of a month or a day: others are padded to it.
const NAME_WIDTH: usize = 9;

/// to_char of a timestamp that a clock shows. With a zone, also the time in UTC, from which TZ and OF are told.
/// None is NULL: an infinite timestamp, or an empty pattern.
///
/// Errors: 54000 for a pattern that is too long.
pub fn to_char_timestamp(local: i64, zone: Option<(&Zone, i64)>, pattern: &str) -> Result<Option<String>> {
    super::check_length(pattern)?;
    if pattern.is_empty() || !timestamp_is_finite(local) {
        return Ok(None);
    }
    let (days, micros) = split(local);
    let date = civil_from_days(days);
    let parts = Parts {
        year: date.year,
        month: date.month,
        day: date.day,
        micros,
        day_of_year: days - days_from_civil(Civil { month: 1, day: 1, ..date }) + 1,
        calendar_day: Some(days),
        zone,
    };
    print(&parts, pattern).map(Some)
}

/// to_char of an interval. None is NULL: an empty pattern.
///
/// Errors: 22007 for patterns that an interval has not, 54000 for a pattern that is too long,
/// and 0A000 for those of which PostgreSQL's result has no meaning: J, IW, IDDD and the ISO years.
pub fn to_char_interval(interval: &Interval, pattern: &str) -> Result<Option<String>> {
    super::check_length(pattern)?;
    if pattern.is_empty() {
        return Ok(None);
    }
    let months = i64::from(interval.months);
    let parts = Parts {
        year: months / 12,
        month: months % 12,
        day: i64::from(interval.days),
        micros: interval.micros,
        day_of_year: months * 30 + i64::from(interval.days),
        calendar_day: None,
        zone: None,
    };
    print(&parts, pattern).map(Some)
}

/// A timestamp or an interval.
struct Parts<'a> {
    year: i64,
    month: i64,
    day: i64,
    /// Since midnight, or all of an interval's time, which may be negative.
    micros: i64,
    day_of_year: i64,
    /// Days since 1970-01-01. None is an interval.
    calendar_day: Option<i64>,
    zone: Option<(&'a Zone, i64)>,
}

fn print(parts: &Parts<'_>, pattern: &str) -> Result<String> {
    let mut text = String::new();
    for node in parse(pattern).iter() {
        match node {
            Node::Space(c) | Node::Separator(c) | Node::Character(c) => text.push(*c),
            Node::Field(field) => {
                let value = parts.field(field)?;
                text.push_str(&value.text);
                if let Some(case) = field.ordinal.filter(|_| value.is_number) {
                    text.push_str(ordinal(&value.text, case == Case::Upper)?);
                }
            }
        }
    }
    Ok(text)
}

/// A field's text. Only numbers become ordinal.
struct Value {
    text: String,
    is_number: bool,
}

fn word(text: String) -> Value {
    Value { text, is_number: false }
}

/// A number of at least so many digits, besides its sign. FM asks for no padding.
fn number(value: i64, digits: usize, field: &Pattern) -> Value {
    let width = if field.fill { 0 } else { digits + usize::from(value < 0) };
    Value { text: format!("{value:0width$}"), is_number: true }
}

fn cased(name: &str, case: Case) -> String {
    match case {
        Case::Upper => name.to_ascii_uppercase(),
        Case::Capital => name.into(),
        Case::Lower => name.to_ascii_lowercase(),
    }
}

fn padded(name: &str, case: Case, width: usize, field: &Pattern) -> Value {
    let translated = field.translated && !matches!(field.key, Key::RomanMonth(_));
    let width = if field.fill || translated { 0 } else { width };
    word(format!("{:width$}", cased(name, case)))
}

fn pointed(letters: &str, points: bool, case: Case) -> Value {
    let text = if points { letters.chars().flat_map(|c| [c, '.']).collect() } else { String::from(letters) };
    word(cased(&text, case))
}

impl Parts<'_> {
    fn is_interval(&self) -> bool {
        self.calendar_day.is_none()
    }

    /// 22007 for an interval.
    fn calendar_day(&self) -> Result<i64> {
        self.calendar_day.ok_or_else(|| ValueError::new("22007", "invalid format specification for an interval value"))
    }

    fn iso_day(&self, field: &Pattern) -> Result<i64> {
        self.calendar_day
            .ok_or_else(|| ValueError::unsupported(format!("the pattern \"{}\" of an interval", field.name)))
    }

    /// There is no year zero: 1 BC prints as 1.
    fn printed_year(&self, year: i64) -> i64 {
        if self.is_interval() || year > 0 { year } else { 1 - year }
    }

    fn field(&self, field: &Pattern) -> Result<Value> {
        Ok(match field.key {
            Key::FixedWidth => word(String::new()),
            Key::Zone(_) | Key::ZoneHours | Key::ZoneMinutes | Key::Offset => self.zone_field(field)?,
            Key::HalfDay(..)
            | Key::Hour12
            | Key::Hour24
            | Key::Minute
            | Key::Second
            | Key::SecondsOfDay
            | Key::Millisecond
            | Key::Microsecond
            | Key::Fraction(_) => self.clock_field(field),
            Key::CommaYear | Key::Year(_) | Key::IsoYear(_) | Key::Century | Key::Era(..) => self.year_field(field)?,
            Key::Month(_) | Key::ShortMonth(_) | Key::MonthNumber | Key::RomanMonth(_) | Key::Quarter => {
                self.month_field(field)?
            }
            _ => self.day_field(field)?,
        })
    }

    fn clock_field(&self, field: &Pattern) -> Value {
        let micros = self.micros;
        let hour = micros / USECS_PER_HOUR;
        let fraction = micros % USECS_PER_SEC;
        let of_second = |digits: u8| Value {
            // FM does not shorten fractions.
            text: format!("{:0width$}", fraction / 10_i64.pow(6 - u32::from(digits)), width = usize::from(digits)),
            is_number: true,
        };
        match field.key {
            Key::HalfDay(points, case) => pointed(if hour % 24 >= 12 { "PM" } else { "AM" }, points, case),
            Key::Hour12 => {
                let shown = if hour % 12 == 0 { 12 } else { hour % 12 };
                // The padding follows the sign of the hour itself.
                let width = if field.fill { 0 } else { 2 + usize::from(hour < 0) };
                Value { text: format!("{shown:0width$}"), is_number: true }
            }
            Key::Hour24 => number(hour, 2, field),
            Key::Minute => number(micros / USECS_PER_MINUTE % 60, 2, field),
            Key::Second => number(micros / USECS_PER_SEC % 60, 2, field),
            Key::SecondsOfDay => Value { text: (micros / USECS_PER_SEC).to_string(), is_number: true },
            Key::Millisecond => of_second(3),
            Key::Fraction(digits) => of_second(digits),
            _ => of_second(6),
        }
    }

    fn year_field(&self, field: &Pattern) -> Result<Value> {
        Ok(match field.key {
            Key::Era(points, case) => {
                self.calendar_day()?;
                pointed(if self.year <= 0 { "BC" } else { "AD" }, points, case)
            }
            Key::Century => {
                let century = match self.year {
                    year if self.is_interval() => year / 100,
                    year if year > 0 => (year - 1) / 100 + 1,
                    year => year / 100 - 1,
                };
                if century.abs() > 99 {
                    Value { text: century.to_string(), is_number: true }
                } else {
                    number(century, 2, field)
                }
            }
            Key::CommaYear => {
                let year = self.printed_year(self.year);
                let thousands = year / 1_000;
                Value { text: format!("{thousands},{:03}", year - thousands * 1_000), is_number: true }
            }
            Key::IsoYear(digits) => {
                let year = self.printed_year(iso_year_week(self.iso_day(field)?).0);
                last_digits(year, digits, field)
            }
            Key::Year(digits) => last_digits(self.printed_year(self.year), digits, field),
            _ => word(String::new()),
        })
    }

    fn month_field(&self, field: &Pattern) -> Result<Value> {
        let month = usize::try_from(self.month - 1).ok().and_then(|at| MONTHS.get(at)).copied();
        Ok(match field.key {
            Key::MonthNumber => number(self.month, 2, field),
            Key::Quarter if self.month == 0 => word(String::new()),
            Key::Quarter => number((self.month - 1) / 3 + 1, 1, field),
            Key::RomanMonth(_) if self.month == 0 && self.year == 0 => word(String::new()),
            Key::RomanMonth(case) => {
                let at = match self.month {
                    0 if self.year >= 0 => 0,
                    0 => 11,
                    month if month < 0 => -(month + 1),
                    month => 12 - month,
                };
                let name = usize::try_from(at).ok().and_then(|at| ROMAN_MONTHS.get(at)).copied();
                padded(name.unwrap_or_default(), case, 4, field)
            }
            Key::Month(case) => {
                self.calendar_day()?;
                padded(month.unwrap_or_default(), case, NAME_WIDTH, field)
            }
            Key::ShortMonth(case) => {
                self.calendar_day()?;
                word(cased(&month.unwrap_or_default()[..3], case))
            }
            _ => word(String::new()),
        })
    }

    fn day_field(&self, field: &Pattern) -> Result<Value> {
        let name = |day: i64| DAYS[day_of_week(day) as usize % 7];
        Ok(match field.key {
            Key::Day(case) => padded(name(self.calendar_day()?), case, NAME_WIDTH, field),
            Key::ShortDay(case) => word(cased(&name(self.calendar_day()?)[..3], case)),
            Key::DayOfYear => plain(self.day_of_year, 3, field),
            Key::IsoDayOfYear => {
                let day = self.iso_day(field)?;
                number(day - iso_year_start(iso_year_week(day).0) + 1, 3, field)
            }
            Key::DayOfMonth => plain(self.day, 2, field),
            Key::DayOfWeek => number(day_of_week(self.calendar_day()?) + 1, 1, field),
            Key::IsoDayOfWeek => number((day_of_week(self.calendar_day()?) + 6) % 7 + 1, 1, field),
            Key::WeekOfYear => plain((self.day_of_year - 1) / 7 + 1, 2, field),
            Key::IsoWeek => number(iso_year_week(self.iso_day(field)?).1, 2, field),
            Key::WeekOfMonth => number((self.day - 1) / 7 + 1, 1, field),
            Key::Julian => number(self.iso_day(field)? + UNIX_EPOCH_JDATE, 1, field),
            _ => word(String::new()),
        })
    }

    fn zone_field(&self, field: &Pattern) -> Result<Value> {
        self.calendar_day()?;
        let offset = self.zone.map_or(0, |(zone, utc)| zone.offset_seconds(utc));
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
        Ok(word(match field.key {
            Key::Zone(case) => {
                let name = self.zone.map(|(zone, utc)| zone.abbreviation(utc)).unwrap_or_default();
                if case == Case::Lower { name.to_ascii_lowercase() } else { name }
            }
            Key::ZoneHours => format!("{sign}{hours:02}"),
            Key::ZoneMinutes => format!("{minutes:02}"),
            _ => {
                let width = if field.fill { 0 } else { 2 };
                let text = format!("{sign}{hours:0width$}");
                if minutes == 0 && offset % 3600 == 0 { text } else { format!("{text}:{minutes:02}") }
            }
        }))
    }
}

/// A number whose sign counts as one of its digits.
fn plain(value: i64, width: usize, field: &Pattern) -> Value {
    let width = if field.fill { 0 } else { width };
    Value { text: format!("{value:0width$}"), is_number: true }
}

/// The last digits of a year: all of it for four.
fn last_digits(year: i64, digits: u8, field: &Pattern) -> Value {
    match digits {
        4 => {
            let width = if field.fill { 0 } else { 4 + usize::from(year < 0) };
            Value { text: format!("{year:0width$}"), is_number: true }
        }
        1 => Value { text: (year % 10).to_string(), is_number: true },
        _ => {
            let width = if field.fill { 0 } else { usize::from(digits) + usize::from(year < 0) };
            Value { text: format!("{:0width$}", year % 10_i64.pow(u32::from(digits))), is_number: true }
        }
    }
}
