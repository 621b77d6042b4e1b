//! Time zones: names, abbreviations, fixed offsets, and what a zone's clocks show.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use super::abbreviations::{BY_ZONE, FIXED};
use super::calendar::{
    Civil, USECS_PER_DAY, USECS_PER_SEC, civil_from_days, day_of_week, days_from_civil, is_leap, split,
    timestamp_is_finite,
};
use crate::{Result, ValueError};

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone {
    name: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Rule {
    /// Seconds east of UTC, and the abbreviation.
    Fixed(i32, String),
    Named(Tz),
    /// An abbreviation whose meaning the zone's history tells.
    Abbreviation(Tz),
}

static BY_LOWER_NAME: LazyLock<HashMap<String, Tz>> =
    LazyLock::new(|| TZ_VARIANTS.iter().map(|zone| (zone.name().to_ascii_lowercase(), *zone)).collect());

/// PostgreSQL takes no offset of 168 hours or more from a zone's name.
const MAX_POSIX_HOURS: i32 = 24 * 7;
/// The tables end in 2099, and these 28 years hold every kind of year.
const LAST_TABLE_YEAR: i64 = 2099;
const FIRST_MODEL_YEAR: i64 = 2072;

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rule: Rule::Named(Tz::UTC) }
    }

    /// A fixed offset, in seconds east of UTC, as `INTERVAL '-08:00'` gives one.
    pub fn fixed(seconds_east: i32) -> Self {
        let text = offset_text(seconds_east);
        let name = format!("<{text}>{}", offset_text(-seconds_east));
        Self { name, rule: Rule::Fixed(seconds_east, text) }
    }

    /// The zone that `AT TIME ZONE 'text'` means: an abbreviation, a name, or a POSIX offset.
    /// POSIX counts west of UTC, so that `+02` and `UTC+2` are two hours behind UTC.
    ///
    /// Errors: 22023 for an unknown zone, 0A000 for a POSIX rule with daylight saving time.
    pub fn parse(text: &str) -> Result<Self> {
        match Self::abbreviated(text) {
            Some(zone) => Ok(zone),
            None => Self::named(text),
        }
    }

    /// The zone that `SET timezone = 'text'` means: a bare number counts hours east of UTC.
    /// Abbreviations that are no zone's name are unknown. Errors as `parse`.
    pub fn parse_setting(text: &str) -> Result<Self> {
        if let Ok(hours) = text.trim_start().parse::<f64>()
            && hours.is_finite()
        {
            if hours.abs() >= f64::from(MAX_POSIX_HOURS) {
                return Err(unknown(text));
            }
            return Ok(Self::fixed((hours * 3600.0) as i32));
        }
        Self::named(text)
    }

    /// An abbreviation such as EST.
    pub(super) fn abbreviated(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let name = || text.to_ascii_uppercase();
        if let Ok(at) = FIXED.binary_search_by(|(known, _)| (*known).cmp(&lower)) {
            return Some(Self { name: name(), rule: Rule::Fixed(FIXED[at].1, name()) });
        }
        let at = BY_ZONE.binary_search_by(|(known, _)| (*known).cmp(&lower)).ok()?;
        let zone = BY_LOWER_NAME.get(&BY_ZONE[at].1.to_ascii_lowercase())?;
        Some(Self { name: name(), rule: Rule::Abbreviation(*zone) })
    }

    /// A name of the IANA database, or a POSIX offset. Errors as `parse`.
    pub(super) fn named(text: &str) -> Result<Self> {
        if let Some(zone) = BY_LOWER_NAME.get(&text.to_ascii_lowercase()) {
            return Ok(Self { name: zone.name().into(), rule: Rule::Named(*zone) });
        }
        posix(text)
    }

    /// As the user wrote it, or the name of the IANA database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds east of UTC at a time.
    pub fn offset_seconds(&self, utc_us: i64) -> i32 {
        match &self.rule {
            Rule::Fixed(seconds, _) => *seconds,
            Rule::Named(zone) => offset_at(*zone, utc_us).0,
            Rule::Abbreviation(zone) => offset_of_abbreviation(*zone, &self.name, utc_us),
        }
    }

    /// The abbreviation at a time, such as CEST.
    pub fn abbreviation(&self, utc_us: i64) -> String {
        match &self.rule {
            Rule::Fixed(_, abbreviation) => abbreviation.clone(),
            Rule::Named(zone) => offset_at(*zone, utc_us).1,
            Rule::Abbreviation(_) => self.name.clone(),
        }
    }

    /// What the zone's clocks show. Infinities stay, and the ends of `i64` saturate.
    pub fn to_local(&self, utc_us: i64) -> i64 {
        if !timestamp_is_finite(utc_us) {
            return utc_us;
        }
        finite(utc_us.saturating_add(i64::from(self.offset_seconds(utc_us)) * USECS_PER_SEC))
    }

    /// The time at which the zone's clocks show this.
    /// In the gap of spring the offset before it holds, in the overlap of autumn the offset after it.
    /// Infinities stay, and the ends of `i64` saturate.
    pub fn to_utc(&self, local_us: i64) -> i64 {
        if !timestamp_is_finite(local_us) {
            return local_us;
        }
        finite(local_us.saturating_sub(i64::from(self.offset_of_local(local_us)) * USECS_PER_SEC))
    }

    /// Whether it is a region, whose offset depends on the time.
    pub(super) fn needs_date(&self) -> bool {
        const HALF_A_YEAR: i64 = 183 * USECS_PER_DAY;
        let Rule::Named(zone) = &self.rule else { return false };
        let name = zone.name();
        let region = name.contains('/') && !name.starts_with("Etc/");
        region || self.offset_seconds(0) != self.offset_seconds(HALF_A_YEAR)
    }

    /// Seconds east of UTC, where the zone is nothing else.
    pub(super) fn fixed_offset(&self) -> Option<i32> {
        if let Rule::Fixed(seconds, _) = &self.rule { Some(*seconds) } else { None }
    }

    /// Seconds east of UTC where the zone's clocks show this.
    pub(super) fn offset_of_local(&self, local_us: i64) -> i32 {
        if let Rule::Fixed(seconds, _) = &self.rule {
            return *seconds;
        }
        // No zone is a day away from UTC, so that these lie on both sides of a change.
        let before = self.offset_seconds(local_us.saturating_sub(USECS_PER_DAY));
        let after = self.offset_seconds(local_us.saturating_add(USECS_PER_DAY));
        let holds = |offset: i32| {
            let utc = local_us.saturating_sub(i64::from(offset) * USECS_PER_SEC);
            self.offset_seconds(utc) == offset
        };
        if holds(after) { after } else { before }
    }
}

/// An infinity is no result of shifting a finite timestamp.
fn finite(timestamp: i64) -> i64 {
    timestamp.clamp(i64::MIN + 1, i64::MAX - 1)
}

fn unknown(text: &str) -> ValueError {
    ValueError::new("22023", format!("time zone \"{text}\" not recognized"))
}

/// Such as `+05:30`, with minutes and seconds where they are not zero.
pub(super) fn offset_text(seconds_east: i32) -> String {
    let sign = if seconds_east < 0 { '-' } else { '+' };
    let all = seconds_east.unsigned_abs();
    let mut text = format!("{sign}{:02}", all / 3600);
    if !all.is_multiple_of(3600) {
        text.push_str(&format!(":{:02}", all / 60 % 60));
    }
    if !all.is_multiple_of(60) {
        text.push_str(&format!(":{:02}", all % 60));
    }
    text
}

/// A POSIX zone: an abbreviation, perhaps in angle brackets, and hours west of UTC.
fn posix(text: &str) -> Result<Zone> {
    let (abbreviation, rest) = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').ok_or_else(|| unknown(text))?,
        None => {
            let end = text.find(|c: char| c.is_ascii_digit() || matches!(c, ',' | '-' | '+')).unwrap_or(text.len());
            text.split_at(end)
        }
    };
    let (west, rest) = posix_offset(rest).ok_or_else(|| unknown(text))?;
    if !abbreviation.is_ascii() || abbreviation.contains(|c: char| c.is_ascii_whitespace() || c == '/') {
        return Err(unknown(text));
    }
    if !rest.is_empty() {
        if rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '<') {
            return Err(ValueError::unsupported(format!("the daylight saving rule of time zone \"{text}\"")));
        }
        return Err(unknown(text));
    }
    Ok(Zone { name: text.into(), rule: Rule::Fixed(-west, abbreviation.into()) })
}

/// `[+-]hh[:mm[:ss]]` at the start of a text, in seconds, and what follows.
fn posix_offset(text: &str) -> Option<(i32, &str)> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0;
    for (unit, limit) in [(3600, MAX_POSIX_HOURS), (60, 60), (1, 61)] {
        if unit != 3600 {
            match rest.strip_prefix(':') {
                Some(next) => rest = next,
                None => break,
            }
        }
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let value = rest[..end].parse::<i32>().ok().filter(|value| *value < limit)?;
        seconds += value * unit;
        rest = &rest[end..];
    }
    Some((sign * seconds, rest))
}

/// The offset, in seconds east of UTC, and the abbreviation.
fn offset_at(zone: Tz, utc_us: i64) -> (i32, String) {
    let at = within_tables(zone, utc_us);
    // The model year is far inside the range of `DateTime`, as is the year 1.
    let Some(time) = DateTime::from_timestamp(at, 0) else { return (0, "UTC".into()) };
    let offset = zone.offset_from_utc_datetime(&time.naive_utc());
    let seconds = offset.fix().local_minus_utc();
    // Zones without an abbreviation of their own show the offset without colons, as in +0330.
    let name = offset.abbreviation().map_or_else(|| offset_text(seconds).replace(':', ""), String::from);
    (seconds, name)
}

/// Seconds since 1970 of a time at which the zone's clocks behave as at this time.
fn within_tables(zone: Tz, utc_us: i64) -> i64 {
    let (days, micros) = split(utc_us);
    let date = civil_from_days(days);
    let seconds = |days: i64| days * 86_400 + micros / USECS_PER_SEC;
    if date.year <= LAST_TABLE_YEAR {
        // Nothing changed before the first clock was set, so that one early year stands for all.
        return seconds(days).max(days_from_civil(Civil { year: 1, month: 1, day: 1 }) * 86_400);
    }
    let offset_of = |month| {
        let days = days_from_civil(Civil { year: LAST_TABLE_YEAR, month, day: 1 });
        DateTime::from_timestamp(days * 86_400, 0)
            .map(|time| zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc())
    };
    if offset_of(1) == offset_of(7) {
        return days_from_civil(Civil { year: LAST_TABLE_YEAR, month: 12, day: 31 }) * 86_400;
    }
    let first_weekday = |year| day_of_week(days_from_civil(Civil { year, month: 1, day: 1 }));
    let same_kind =
        |year: &i64| is_leap(*year) == is_leap(date.year) && first_weekday(*year) == first_weekday(date.year);
    let model = (FIRST_MODEL_YEAR..=LAST_TABLE_YEAR).find(same_kind).unwrap_or(LAST_TABLE_YEAR);
    seconds(days_from_civil(Civil { year: model, ..date }))
}

/// What an abbreviation meant when the zone last used it before a time.
fn offset_of_abbreviation(zone: Tz, abbreviation: &str, utc_us: i64) -> i32 {
    // No zone used an abbreviation less than half a year at a stretch, nor skipped it for longer than two years.
    for back in 0..16 {
        let (offset, name) = offset_at(zone, utc_us.saturating_sub(back * 60 * USECS_PER_DAY));
        if name == abbreviation {
            return offset;
        }
    }
    // Before its first use, an abbreviation that is still used means what it means now.
    const A_RECENT_TIME: i64 = 1_735_689_600_000_000;
    let (offset, name) = offset_at(zone, A_RECENT_TIME);
    if name == abbreviation && utc_us < A_RECENT_TIME { offset } else { offset_at(zone, utc_us).0 }
}
