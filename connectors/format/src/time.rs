//! Moments in text and in numbers.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// What a number that stands for a moment counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpochUnit {
    Seconds,
    Millis,
    Micros,
    Nanos,
    /// By magnitude: numbers of ten digits are seconds today, of thirteen milliseconds, and so on.
    Auto,
}

impl EpochUnit {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "s" => Self::Seconds,
            "ms" => Self::Millis,
            "us" => Self::Micros,
            "ns" => Self::Nanos,
            "auto" => Self::Auto,
            _ => return None,
        })
    }

    /// Microseconds since 1970.
    pub(crate) fn micros(self, number: i64) -> Option<i64> {
        match self {
            Self::Seconds => number.checked_mul(1_000_000),
            Self::Millis => number.checked_mul(1_000),
            Self::Micros => Some(number),
            Self::Nanos => Some(number.div_euclid(1_000)),
            Self::Auto => match number.unsigned_abs() {
                0..100_000_000_000 => Self::Seconds.micros(number),
                100_000_000_000..100_000_000_000_000 => Self::Millis.micros(number),
                100_000_000_000_000..100_000_000_000_000_000 => Some(number),
                _ => Self::Nanos.micros(number),
            },
        }
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
    let (clock, rest) = text.split_at_checked(19)?;
    let days = plain_date(&clock[..10])?;
    if clock[10] != b'T' || clock[13] != b':' || clock[16] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits(&clock[11..13])?, digits(&clock[14..16])?, digits(&clock[17..19])?);
    // The 61st second of a leap second is the library's to judge.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let rest = if zoned { rest.strip_suffix(b"Z")? } else { rest };
    let micros = match rest {
        [] => 0,
        [b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => {
            let known = fraction.len().min(6);
            let all = digits(fraction)?;
            match fraction.len() {
                0..=6 => all * 10_i64.pow(6 - known as u32),
                more => all / 10_i64.pow(more as u32 - 6),
            }
        }
        _ => return None,
    };
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + micros)
}

/// Days since 1970 of `2026-01-01`.
pub(crate) fn plain_date(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..])?);
    let date = NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)?;
    Some(date.signed_duration_since(NaiveDate::default()).num_days())
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
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
}
