//! Numbers in the text of a date or a time: which field a number is depends on what came before it.

use super::calendar::USECS_PER_SEC;
use super::decode::{Decoded, Problem, State, seen};
use super::tokens::{DateWord, date_word};

/// The parts of `hh:mm:ss.ffffff`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) micros: i64,
}

/// PostgreSQL's greatest offset from UTC is 15:59:59.
const MAX_OFFSET_HOURS: i64 = 15;

/// Digits as a number of 32 bits.
pub(super) fn integer(digits: &str) -> Decoded<i64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Syntax);
    }
    digits.parse::<i32>().map(i64::from).map_err(|_| Problem::Field)
}

/// Digits after a point as microseconds, rounded to the nearest.
pub(super) fn fraction_micros(digits: &str) -> Decoded<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Syntax);
    }
    let fraction = if digits.is_empty() { 0.0 } else { parse_fraction(digits)? };
    Ok((fraction * USECS_PER_SEC as f64).round_ties_even() as i64)
}

pub(super) fn parse_fraction(digits: &str) -> Decoded<f64> {
    format!("0.{digits}").parse().map_err(|_| Problem::Syntax)
}

/// `hh:mm`, `hh:mm:ss`, `hh:mm:ss.f` or `mm:ss.f`. The two-field form is `mm:ss` when `minute_to_second`.
pub(super) fn decode_clock(text: &str, minute_to_second: bool) -> Decoded<Clock> {
    let (hour, rest) = text.split_once(':').ok_or(Problem::Syntax)?;
    let hour = wide_integer(hour)?;
    let (whole, fraction) = match rest.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (rest, None),
    };
    let micros = fraction.map_or(Ok(0), fraction_micros)?;
    let clock = match whole.split_once(':') {
        Some((minute, second)) => Clock { hour, minute: integer(minute)?, second: integer_or_zero(second)?, micros },
        // A fraction makes the two fields minutes and seconds.
        None if fraction.is_some() || minute_to_second => {
            Clock { hour: 0, minute: hour, second: integer_or_zero(whole)?, micros }
        }
        None => Clock { hour, minute: integer_or_zero(whole)?, second: 0, micros },
    };
    let fits = (0..60).contains(&clock.minute) && (0..=60).contains(&clock.second);
    if fits { Ok(clock) } else { Err(Problem::Field) }
}

fn wide_integer(digits: &str) -> Decoded<i64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Syntax);
    }
    digits.parse().map_err(|_| Problem::Field)
}

/// PostgreSQL reads the missing number of `04:` as zero.
fn integer_or_zero(digits: &str) -> Decoded<i64> {
    if digits.is_empty() { Ok(0) } else { integer(digits) }
}

/// `+hh`, `+hhmm`, `+hh:mm` or `+hh:mm:ss`, in seconds east of UTC.
pub(super) fn decode_offset(text: &str) -> Decoded<i32> {
    let sign = match text.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Problem::Syntax),
    };
    let mut parts = text[1..].split(':');
    let first = parts.next().unwrap_or_default();
    let mut hours = offset_part(first)?;
    // PostgreSQL reads the missing number of `+02:` as zero.
    let mut rest = || parts.next().filter(|digits| !digits.is_empty()).map_or(Ok(0), offset_part);
    let mut minutes = rest()?;
    let seconds = rest()?;
    if parts.next().is_some() {
        return Err(Problem::Syntax);
    }
    if !text.contains(':') && text.len() > 3 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    if hours > MAX_OFFSET_HOURS || minutes > 59 || seconds > 59 {
        return Err(Problem::Displacement);
    }
    // At most 16 hours of seconds fit in 32 bits.
    Ok(sign * ((hours * 60 + minutes) * 60 + seconds) as i32)
}

fn offset_part(digits: &str) -> Decoded<i64> {
    match integer(digits) {
        Err(Problem::Field) => Err(Problem::Displacement),
        other => other,
    }
}

/// Parts of a date with separators between them, such as 2026-01-02 or 02-jan-2026.
pub(super) fn decode_date(state: &mut State, text: &str) -> Decoded<u32> {
    let parts = date_parts(text)?;
    let before = state.seen;
    let mut added = 0;
    let mut numbers = Vec::new();
    // A month's name is unambiguous, so that it comes first.
    for part in parts {
        if !part.starts_with(|c: char| c.is_ascii_alphabetic()) {
            numbers.push(part);
            continue;
        }
        match date_word(part) {
            Some(DateWord::Ignore) => {}
            Some(DateWord::Month(month)) if (before | added) & seen::MONTH == 0 => {
                state.month = month;
                state.text_month = true;
                added |= seen::MONTH;
            }
            _ => return Err(Problem::Syntax),
        }
    }
    for number in numbers {
        let field = decode_number(state, number, before | added)?;
        if (before | added) & field != 0 {
            return Err(Problem::Syntax);
        }
        added |= field;
    }
    let complete = (before | added) & !(seen::DAY_OF_YEAR | seen::ZONE) == seen::DATE;
    if complete { Ok(added) } else { Err(Problem::Syntax) }
}

/// Runs of digits and runs of letters.
fn date_parts(text: &str) -> Decoded<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.find(|c: char| c.is_ascii_alphanumeric()).ok_or(Problem::Syntax)?;
        rest = &rest[start..];
        let digits = rest.starts_with(|c: char| c.is_ascii_digit());
        let same = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let end = rest.find(|c: char| !same(c)).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        // One character after a part is a separator, whatever it is.
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    Ok(parts)
}

/// A number of which only what came before tells the field.
pub(super) fn decode_number(state: &mut State, text: &str, before: u32) -> Decoded<u32> {
    let value = match text.split_once('.') {
        Some((whole, _)) if whole.len() > 2 => return decode_concatenated(state, text, before | seen::DATE),
        Some((whole, fraction)) => {
            state.micros = fraction_micros(fraction)?;
            integer(whole)?
        }
        None => integer(text)?,
    };
    let length = text.len();
    let date = before & seen::DATE;
    if length == 3 && date == seen::YEAR && (1..=366).contains(&value) {
        state.day_of_year = value;
        return Ok(seen::DAY_OF_YEAR | seen::MONTH | seen::DAY);
    }
    let field = match date {
        0 if length >= 3 => seen::YEAR,
        0 => seen::MONTH,
        seen::YEAR => seen::MONTH,
        seen::MONTH if state.text_month && length >= 3 => seen::YEAR,
        seen::MONTH => seen::DAY,
        YEAR_MONTH if state.text_month && length >= 3 && state.two_digit_year => {
            // The first number was the day after all, as in 02-jan-2026.
            state.day = state.year;
            state.year = value;
            state.two_digit_year = false;
            return Ok(seen::DAY);
        }
        YEAR_MONTH => seen::DAY,
        seen::DAY => seen::MONTH,
        MONTH_DAY => seen::YEAR,
        seen::DATE => return decode_concatenated(state, text, before),
        _ => return Err(Problem::Syntax),
    };
    match field {
        seen::YEAR => {
            state.year = value;
            state.two_digit_year = length <= 2;
        }
        seen::MONTH => state.month = value,
        _ => state.day = value,
    }
    Ok(field)
}

const YEAR_MONTH: u32 = seen::YEAR | seen::MONTH;
const MONTH_DAY: u32 = seen::MONTH | seen::DAY;

/// A date or a time without separators: 20260102, 040506.7 or 0405.
pub(super) fn decode_concatenated(state: &mut State, text: &str, before: u32) -> Decoded<u32> {
    let digits = match text.split_once('.') {
        Some((digits, fraction)) => {
            state.micros = fraction_micros(fraction)?;
            digits
        }
        None if before & seen::DATE != seen::DATE && text.len() >= 6 => {
            let length = text.len();
            state.year = integer(&text[..length - 4])?;
            state.month = integer(&text[length - 4..length - 2])?;
            state.day = integer(&text[length - 2..])?;
            state.two_digit_year = length == 6;
            return Ok(seen::DATE);
        }
        None => text,
    };
    if before & seen::TIME != 0 || !matches!(digits.len(), 4 | 6) {
        return Err(Problem::Syntax);
    }
    state.hour = integer(&digits[..2])?;
    state.minute = integer(&digits[2..4])?;
    state.second = if digits.len() == 6 { integer(&digits[4..])? } else { 0 };
    Ok(seen::TIME)
}
