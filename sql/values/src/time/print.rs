//! Values as text: datestyle ISO and intervalstyle postgres.

use super::calendar::{
    DATE_INFINITY, DATE_NEG_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, USECS_PER_HOUR, USECS_PER_MINUTE,
    USECS_PER_SEC, civil_from_days, split,
};
use super::zone::offset_text;
use super::{Interval, Zone};

/// Such as `2026-01-01 12:00:00.5`.
pub fn print_timestamp(timestamp: i64) -> String {
    match infinity(timestamp) {
        Some(text) => text.into(),
        None => with_offset(timestamp, ""),
    }
}

/// Such as `2026-01-01 13:00:00+01`, the time that the zone's clocks show.
pub fn print_timestamptz(timestamp: i64, zone: &Zone) -> String {
    match infinity(timestamp) {
        Some(text) => text.into(),
        None => with_offset(zone.to_local(timestamp), &offset_text(zone.offset_seconds(timestamp))),
    }
}

/// Such as `2026-01-01` or `0044-03-15 BC`.
pub fn print_date(date: i32) -> String {
    match date {
        DATE_INFINITY => "infinity".into(),
        DATE_NEG_INFINITY => "-infinity".into(),
        _ => {
            let (text, era) = date_parts(i64::from(date));
            text + era
        }
    }
}

/// Such as `04:05:06.789`.
pub fn print_time(micros: i64) -> String {
    clock(micros.unsigned_abs())
}

/// Such as `1 year 2 mons -3 days +04:05:06.7`. An empty interval is `00:00:00`.
pub fn print_interval(interval: &Interval) -> String {
    let mut text = String::new();
    let mut after_negative = false;
    let parts = [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")];
    for (value, unit) in parts.into_iter().filter(|(value, _)| *value != 0) {
        let space = if text.is_empty() { "" } else { " " };
        // A part after a negative one needs its sign, or it would read as negative too.
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        text.push_str(&format!("{space}{plus}{value} {unit}{plural}"));
        after_negative = value < 0;
    }
    if interval.micros != 0 || text.is_empty() {
        if !text.is_empty() {
            text.push(' ');
        }
        if interval.micros < 0 {
            text.push('-');
        } else if after_negative {
            text.push('+');
        }
        text.push_str(&clock(interval.micros.unsigned_abs()));
    }
    text
}

fn infinity(timestamp: i64) -> Option<&'static str> {
    match timestamp {
        TIMESTAMP_INFINITY => Some("infinity"),
        TIMESTAMP_NEG_INFINITY => Some("-infinity"),
        _ => None,
    }
}

fn with_offset(local: i64, offset: &str) -> String {
    let (days, micros) = split(local);
    let (date, era) = date_parts(days);
    format!("{date} {}{offset}{era}", clock(micros.unsigned_abs()))
}

/// The date without its era, and the era.
fn date_parts(days: i64) -> (String, &'static str) {
    let date = civil_from_days(days);
    let (year, era) = if date.year > 0 { (date.year, "") } else { (1 - date.year, " BC") };
    (format!("{year:04}-{:02}-{:02}", date.month, date.day), era)
}

fn clock(micros: u64) -> String {
    let hours = micros / USECS_PER_HOUR.unsigned_abs();
    let minutes = micros / USECS_PER_MINUTE.unsigned_abs() % 60;
    let seconds = micros / USECS_PER_SEC.unsigned_abs() % 60;
    let fraction = micros % USECS_PER_SEC.unsigned_abs();
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_before_christ_and_beyond_four_digits_print_as_postgresql_does() {
        assert_eq!(print_timestamp(0), "1970-01-01 00:00:00");
        assert_eq!(print_timestamp(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(print_date(-719_163), "0001-12-31 BC");
        assert_eq!(print_date(2_932_897), "10000-01-01");
        assert_eq!(print_timestamp(i64::MAX - 1), "294247-01-10 04:00:54.775806");
    }

    #[test]
    fn a_part_after_a_negative_one_has_a_sign() {
        let interval = Interval { months: -14, days: 3, micros: 14_706_700_000 };
        assert_eq!(print_interval(&interval), "-1 years -2 mons +3 days 04:05:06.7");
        assert_eq!(print_interval(&Interval { months: 0, days: -1, micros: 1 }), "-1 days +00:00:00.000001");
        assert_eq!(print_interval(&Interval::default()), "00:00:00");
    }
}
