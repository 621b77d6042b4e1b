//! Moments in text and in numbers. The usual forms are read by hand, in one pass; what is rare is left to `chrono`.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use ebap_connector::{Error, Options, Result};

use crate::number::Written;

const DAY_MICROS: i64 = 86_400_000_000;
/// 4714-11-24 BC, where PostgreSQL's calendar begins, and what it has for infinity. Microseconds since 1970.
const FIRST_MICROS: i64 = -2_440_588 * DAY_MICROS;
const INFINITY: i64 = i64::MAX;

/// What a number that stands for a moment counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpochUnit {
    Seconds,
    Millis,
    Micros,
    Nanos,
    /// By magnitude: numbers of ten digits are seconds today, of thirteen milliseconds, and so on.
    Auto,
    /// By magnitude, and never seconds: Debezium has none.
    AutoFine,
}

/// The form in which a stream's records write moments. All become microseconds since 1970; finer digits are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moments {
    unit: EpochUnit,
    /// A number may be written as text.
    numbers_in_text: bool,
}

/// Why a value is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMoment {
    /// It is written in no form that is known.
    Syntax,
    /// No timestamp is that early or that late.
    Range,
}

impl EpochUnit {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "s" => Self::Seconds,
            "ms" => Self::Millis,
            "us" => Self::Micros,
            "ns" => Self::Nanos,
            "auto" => Self::Auto,
            _ => return None,
        })
    }

    /// The unit of this number.
    fn of_number(self, number: i64) -> Self {
        match self {
            Self::Seconds | Self::Millis | Self::Micros | Self::Nanos => self,
            Self::Auto => match number.unsigned_abs() {
                0..100_000_000_000 => Self::Seconds,
                100_000_000_000..100_000_000_000_000 => Self::Millis,
                100_000_000_000_000..100_000_000_000_000_000 => Self::Micros,
                _ => Self::Nanos,
            },
            Self::AutoFine => match Self::Auto.of_number(number) {
                Self::Seconds => Self::Millis,
                unit => unit,
            },
        }
    }

    /// Microseconds since 1970, within `i64`.
    fn micros(self, number: i64) -> Option<i64> {
        match self.of_number(number) {
            Self::Seconds => number.checked_mul(1_000_000),
            Self::Millis => number.checked_mul(1_000),
            Self::Nanos => Some(number.div_euclid(1_000)),
            Self::Micros | Self::Auto | Self::AutoFine => Some(number),
        }
    }

    /// The power of ten that makes microseconds of a unit that is not told by magnitude.
    fn power(self) -> i32 {
        match self {
            Self::Seconds => 6,
            Self::Millis => 3,
            Self::Micros | Self::Auto | Self::AutoFine => 0,
            Self::Nanos => -3,
        }
    }
}

impl Moments {
    /// By the option `timestamp_unit`. Where it is given, a number may be written as text.
    ///
    /// # Errors
    /// `Option` for a value that is no unit.
    pub(crate) fn of(options: &Options) -> Result<Self> {
        let Some(unit) = options.get("timestamp_unit") else {
            return Ok(Self { unit: EpochUnit::Auto, numbers_in_text: false });
        };
        let wrong = || Error::option("timestamp_unit", format!("\"{unit}\" is not one of s, ms, us, ns, auto"));
        Ok(Self { unit: EpochUnit::parse(unit).ok_or_else(wrong)?, numbers_in_text: true })
    }

    /// The same of a format whose values are all text.
    pub(crate) fn in_text(self) -> Self {
        Self { numbers_in_text: true, ..self }
    }

    /// The same of Debezium.
    pub(crate) fn never_seconds_by_magnitude(self) -> Self {
        match self.unit {
            EpochUnit::Auto => Self { unit: EpochUnit::AutoFine, ..self },
            EpochUnit::Seconds | EpochUnit::Millis | EpochUnit::Micros | EpochUnit::Nanos | EpochUnit::AutoFine => self,
        }
    }

    /// Reads a number without a fraction. None is out of range.
    pub(crate) fn of_integer(self, number: i64) -> Option<i64> {
        in_range(self.unit.micros(number)?)
    }

    /// Reads a number with a fraction. None is out of range.
    pub(crate) fn of_decimal(self, number: Written) -> Option<i64> {
        let whole = i64::try_from(number.floor(0)?).ok()?;
        let micros = number.floor(self.unit.of_number(whole).power())?;
        in_range(i64::try_from(micros).ok()?)
    }

    /// Reads a number as it is written. Its digits count, not the double that is nearest to it.
    pub(crate) fn of_number(self, text: &str) -> Result<i64, NoMoment> {
        let number = Written::parse(text).ok_or(NoMoment::Syntax)?;
        self.of_decimal(number).ok_or(NoMoment::Range)
    }

    /// Reads text: ISO 8601 with `T` or a space between date and time, with `Z`, an offset, or in UTC; or a date alone,
    /// which is its midnight.
    pub(crate) fn of_text(self, text: &str) -> Result<i64, NoMoment> {
        if let Some(micros) = plain_moment(text.as_bytes()) {
            return Ok(micros);
        }
        let found = match rare_moment(text) {
            Some(micros) => in_range(micros).ok_or(NoMoment::Range),
            None => Err(NoMoment::Syntax),
        };
        match found {
            Err(NoMoment::Syntax) if self.numbers_in_text => self.of_number(text),
            found => found,
        }
    }
}

fn in_range(micros: i64) -> Option<i64> {
    (FIRST_MICROS..INFINITY).contains(&micros).then_some(micros)
}

/// Reads what the short way does not know: years of other than four digits, months and hours of one, leap seconds, white
/// space before an offset, fractions of more than nine digits.
#[cold]
fn rare_moment(text: &str) -> Option<i64> {
    let zoned = || {
        DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z"))
            .ok()
            .map(|time| time.timestamp_micros())
    };
    let local = || {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
            .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
            .ok()
            .map(|time| time.and_utc().timestamp_micros())
    };
    zoned().or_else(local).or_else(|| i64::from(date(text)?).checked_mul(DAY_MICROS))
}

/// Days since 1970.
pub(crate) fn date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// `2026-01-01T00:00:00.123Z`, also with a space, an offset or neither, and `2026-01-01`; `None` for any other form.
/// Years of four digits are in range.
#[inline]
pub(crate) fn plain_moment(text: &[u8]) -> Option<i64> {
    let Some((clock, rest)) = text.split_first_chunk() else { return midnight(text) };
    let [y0, y1, y2, y3, _, m0, m1, _, d0, d1, _, hour0, hour1, _, minute0, minute1, _, second0, second1] =
        match digits(clock, b"0000-00-00T00:00:00") {
            Some(digits) => digits,
            None => digits_behind_space(clock)?,
        };
    let days = days(number([y0, y1, y2, y3]), number([m0, m1]), number([d0, d1]))?;
    let (hour, minute, second) = (number([hour0, hour1]), number([minute0, minute1]), number([second0, second1]));
    // The 61st second of a leap second is the library's to judge.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Most times are in UTC, so that offsets are looked for last.
    let micros = match rest.strip_suffix(b"Z").unwrap_or(rest) {
        [] => 0,
        [b'.', fraction @ ..] => match micros_of_fraction(fraction) {
            Some(micros) => micros,
            None => micros_with_offset(rest)?,
        },
        _ => micros_with_offset(rest)?,
    };
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + micros)
}

/// Reads a date alone.
#[cold]
fn midnight(date: &[u8]) -> Option<i64> {
    Some(plain_date(date)? * DAY_MICROS)
}

/// Reads a date and a clock with a space between them.
#[cold]
fn digits_behind_space(clock: &[u8; 19]) -> Option<[u8; 19]> {
    digits(clock, b"0000-00-00 00:00:00")
}

/// Reads one to nine digits and nothing else.
#[inline]
fn micros_of_fraction(digits: &[u8]) -> Option<i64> {
    if !(1..=9).contains(&digits.len()) {
        return None;
    }
    let (mut all, mut wrong) = (0, false);
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        wrong |= digit > 9;
        all = all * 10 + i64::from(digit);
    }
    if wrong {
        return None;
    }
    Some(match digits.len() {
        length @ 0..=6 => all * 10_i64.pow(6 - length as u32),
        length => all / 10_i64.pow(length as u32 - 6),
    })
}

/// Reads an optional fraction and an offset, and subtracts the offset.
#[cold]
fn micros_with_offset(rest: &[u8]) -> Option<i64> {
    let at = rest.iter().position(|byte| matches!(byte, b'+' | b'-' | b'z'))?;
    let (fraction, zone) = rest.split_at(at);
    let micros = match fraction.strip_prefix(b".") {
        Some(digits) => micros_of_fraction(digits)?,
        None if fraction.is_empty() => 0,
        None => return None,
    };
    Some(micros - if zone == b"z" { 0 } else { offset_minutes(zone)? * 60_000_000 })
}

/// Reads `+02`, `+0200` or `+02:00`.
fn offset_minutes(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [h0, h1] => ([*h0, *h1], [b'0', b'0']),
        [h0, h1, m0, m1] | [h0, h1, b':', m0, m1] => ([*h0, *h1], [*m0, *m1]),
        _ => return None,
    };
    let (hours, minutes) = (number(digits(&hours, b"00")?), number(digits(&minutes, b"00")?));
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Days since 1970 of `2026-01-01`.
pub(crate) fn plain_date(text: &[u8]) -> Option<i64> {
    let [y0, y1, y2, y3, _, m0, m1, _, d0, d1] = digits(text.try_into().ok()?, b"0000-00-00")?;
    days(number([y0, y1, y2, y3]), number([m0, m1]), number([d0, d1]))
}

/// What the bytes are above those of the shape: digits where it has zeros, else the same byte. Without
/// branches, so that sixteen are looked at in one go.
fn digits<const LENGTH: usize>(text: &[u8; LENGTH], shape: &[u8; LENGTH]) -> Option<[u8; LENGTH]> {
    let (mut digits, mut wrong) = ([0; LENGTH], false);
    for at in 0..LENGTH {
        digits[at] = text[at].wrapping_sub(shape[at]);
        wrong |= digits[at] > if shape[at] == b'0' { 9 } else { 0 };
    }
    (!wrong).then_some(digits)
}

fn number<const LENGTH: usize>(digits: [u8; LENGTH]) -> i64 {
    digits.iter().fold(0, |value, digit| value * 10 + i64::from(*digit))
}

/// Days since 1970 ("chrono-Compatible Low-Level Date Algorithms", H. Hinnant); `None` where there is no
/// such day. Years have four digits, so nothing is below zero.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    const LENGTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = LENGTHS.get(usize::try_from(month - 1).ok()?)? + i64::from(leap && month == 2);
    if day < 1 || day > length {
        return None;
    }
    // Years begin with March, so that the leap day is the last; one more, so that January of year 0 fits.
    let year = year + 400 - i64::from(month <= 2);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (year / 400, year % 400);
    Some((era - 1) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests;
