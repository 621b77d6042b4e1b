//! Moments in text and in numbers.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use ebap_connector::{Error, Options, Result};

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

impl EpochUnit {
    /// Option `timestamp_unit`.
    pub(crate) fn of(options: &Options) -> Result<Self> {
        let unit = options.get("timestamp_unit").unwrap_or("auto");
        let wrong = || Error::option("timestamp_unit", format!("\"{unit}\" is not one of s, ms, us, ns, auto"));
        Self::parse(unit).ok_or_else(wrong)
    }

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

    /// Microseconds since 1970.
    pub(crate) fn micros(self, number: i64) -> Option<i64> {
        match self.of_number(number) {
            Self::Seconds => number.checked_mul(1_000_000),
            Self::Millis => number.checked_mul(1_000),
            Self::Nanos => Some(number.div_euclid(1_000)),
            Self::Micros | Self::Auto | Self::AutoFine => Some(number),
        }
    }

    /// Microseconds since 1970 of a number with a fraction, which is cut behind the microseconds.
    pub(crate) fn micros_of_fraction(self, text: &str) -> Option<i64> {
        const DIGITS: usize = 9;
        if text.contains(['e', 'E']) {
            let plain = text.parse::<f64>().ok()?.to_string();
            return match plain.parse() {
                Ok(number) => self.micros(number),
                Err(_) => self.micros_of_fraction(&plain),
            };
        }
        let (whole, fraction) = text.split_once('.')?;
        let number: i64 = whole.parse().ok()?;
        let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(DIGITS);
        let fraction = digits.fold(0, |value, digit| value * 10 + i64::from(digit.wrapping_sub(b'0')));
        let fraction = match self.of_number(number) {
            Self::Seconds => fraction / 1_000,
            Self::Millis => fraction / 1_000_000,
            Self::Micros | Self::Nanos | Self::Auto | Self::AutoFine => 0,
        };
        self.micros(number)?.checked_add(if whole.starts_with('-') { -fraction } else { fraction })
    }
}

/// ISO 8601 with `Z` or an offset; `T` or a space between date and time. Fractions beyond
/// microseconds are cut.
pub(crate) fn moment(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"))
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z"))
        .ok()
        .map(|time| time.timestamp_micros())
}

/// A reading of a clock without a zone.
pub(crate) fn wall_clock(text: &str) -> Option<i64> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"))
        .ok()
        .map(|time| time.and_utc().timestamp_micros())
}

/// Days since 1970.
pub(crate) fn date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// `2026-01-01T00:00:00.123Z` and, where there is no zone to tell, the same without `Z`; `None` for any
/// other form, which `moment` and `wall_clock` may know.
pub(crate) fn plain_moment(text: &[u8], zoned: bool) -> Option<i64> {
    let (clock, rest) = text.split_first_chunk()?;
    let [y0, y1, y2, y3, _, m0, m1, _, d0, d1, _, hour0, hour1, _, minute0, minute1, _, second0, second1] =
        digits(clock, b"0000-00-00T00:00:00")?;
    let days = days(number([y0, y1, y2, y3]), number([m0, m1]), number([d0, d1]))?;
    let (hour, minute, second) = (number([hour0, hour1]), number([minute0, minute1]), number([second0, second1]));
    // The 61st second of a leap second is the library's to judge.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let rest = if zoned { rest.strip_suffix(b"Z")? } else { rest };
    let micros = match rest {
        [] => 0,
        [b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => {
            let all = fraction
                .iter()
                .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))?;
            match fraction.len() {
                length @ 0..=6 => all * 10_i64.pow(6 - length as u32),
                length => all / 10_i64.pow(length as u32 - 6),
            }
        }
        _ => return None,
    };
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + micros)
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
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_the_forms_producers_write() {
        let expected = Some(1_767_225_600_123_000);
        for text in [
            "2026-01-01T00:00:00.123Z",
            "2026-01-01 00:00:00.123+00:00",
            "2026-01-01T01:00:00.123+01:00",
            "2026-01-01 00:00:00.123+00",
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
        for text in ["2026-01-01", "2026-01-01T00:00:00", "yesterday", ""] {
            assert_eq!(moment(text), None, "{text}");
        }
        assert_eq!(wall_clock("2026-01-01T00:00:00.123"), expected);
        assert_eq!(date("1970-01-02"), Some(1));
    }

    #[test]
    fn the_short_way_reads_the_same_times() {
        let first = NaiveDate::from_ymd_opt(1, 1, 1).expect("a date");
        for day in
            first.iter_days().step_by(97).take_while(|day| *day < NaiveDate::from_ymd_opt(9999, 1, 1).expect("a date"))
        {
            let text = format!("{day}T23:59:59.000001Z");
            assert_eq!(plain_moment(text.as_bytes(), true), moment(&text), "{text}");
            assert_eq!(plain_date(day.to_string().as_bytes()), date(&day.to_string()).map(i64::from), "{day}");
        }
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.1Z",
            "2026-01-01T12:34:56.123456789Z",
            "2024-02-29T00:00:00.999999Z",
            "0000-02-29T00:00:00Z",
        ] {
            assert_eq!(plain_moment(text.as_bytes(), true), moment(text), "{text}");
            let clock = text.trim_end_matches('Z');
            assert_eq!(plain_moment(clock.as_bytes(), false), wall_clock(clock), "{clock}");
        }
        for text in
            ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.Z", ""]
        {
            assert_eq!(plain_moment(text.as_bytes(), true), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_read_by_magnitude() {
        for number in [1_767_225_600, 1_767_225_600_000, 1_767_225_600_000_000, 1_767_225_600_000_000_000] {
            assert_eq!(EpochUnit::Auto.micros(number), Some(1_767_225_600_000_000), "{number}");
        }
        assert_eq!(EpochUnit::Seconds.micros(i64::MAX), None);
    }

    #[test]
    fn fractions_of_numbers_are_times_too() {
        for (unit, text, expected) in [
            (EpochUnit::Auto, "1767225600.5", Some(1_767_225_600_500_000)),
            (EpochUnit::Auto, "1767225600.0000019", Some(1_767_225_600_000_001)),
            (EpochUnit::Auto, "1767225600123.25", Some(1_767_225_600_123_250)),
            (EpochUnit::Auto, "1.7672256005e9", Some(1_767_225_600_500_000)),
            (EpochUnit::Auto, "1.7672256e9", Some(1_767_225_600_000_000)),
            (EpochUnit::Seconds, "-0.5", Some(-500_000)),
            (EpochUnit::Micros, "7.9", Some(7)),
            (EpochUnit::Seconds, "1e300", None),
            (EpochUnit::Seconds, "1e-300", Some(0)),
        ] {
            assert_eq!(unit.micros_of_fraction(text), expected, "{text}");
        }
    }
}
