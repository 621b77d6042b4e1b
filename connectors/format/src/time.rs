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
    fn numbers_are_read_by_magnitude() {
        for number in [1_767_225_600, 1_767_225_600_000, 1_767_225_600_000_000, 1_767_225_600_000_000_000] {
            assert_eq!(EpochUnit::Auto.micros(number), Some(1_767_225_600_000_000), "{number}");
        }
        assert_eq!(EpochUnit::Seconds.micros(i64::MAX), None);
    }
}
