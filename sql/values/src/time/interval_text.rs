//! Text as an interval: verbose, as printed, and the SQL standard's.

use super::Interval;
use super::calendar::{USECS_PER_DAY, USECS_PER_HOUR, USECS_PER_MINUTE, USECS_PER_SEC, interval_out_of_range};
use super::decode::{Decoded, Problem};
use super::decode_number::{decode_clock, parse_fraction};
use super::interval_iso::decode_iso;
use super::parse::explain;
use super::tokens::{Field, Kind, split_fields};
use crate::{Result, ValueError};

/// An interval.
///
/// Errors: 22007 for bad syntax, 22015 for a field out of range.
pub fn parse_interval(text: &str) -> Result<Interval> {
    parse_interval_fields(text, None)
}

/// The interval of `INTERVAL 'text' fields`, such as `DAY`, `HOUR TO MINUTE`, `SECOND(3)` or `(3)`.
///
/// Errors: as `parse_interval`, and 42601 for unknown fields.
pub fn parse_interval_fields(text: &str, fields: Option<&str>) -> Result<Interval> {
    let restriction = match fields {
        Some(fields) => Restriction::parse(fields)?,
        None => Restriction::default(),
    };
    let decoded = match split_fields(text).ok_or(Problem::Syntax).and_then(|all| decode(&all, &restriction)) {
        Err(Problem::Syntax) => decode_iso(text),
        other => other,
    };
    match decoded {
        Ok(interval) => restriction.apply(interval),
        Err(Problem::Field) => Err(ValueError::new("22015", format!("interval field value out of range: \"{text}\""))),
        Err(problem) => Err(explain(problem, "interval", text)),
    }
}

/// What a number in an interval counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    /// A unit by any of PostgreSQL's names for it, in lower case.
    pub(super) fn named(word: &str) -> Option<Self> {
        // PostgreSQL compares no more than ten characters.
        let word = word.get(..10).unwrap_or(word);
        Some(match word {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => Self::Microsecond,
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => Self::Millisecond,
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hour,
            "d" | "day" | "days" => Self::Day,
            "w" | "week" | "weeks" => Self::Week,
            "mon" | "mons" | "month" | "months" => Self::Month,
            "qtr" | "quarter" => Self::Quarter,
            "y" | "yr" | "yrs" | "year" | "years" => Self::Year,
            "dec" | "decs" | "decade" | "decades" => Self::Decade,
            "c" | "cent" | "century" | "centuries" => Self::Century,
            "mil" | "mils" | "millennium" | "millennia" => Self::Millennium,
            _ => return None,
        })
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A number with its fraction, of the same sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) whole: i64,
    pub(super) fraction: f64,
}

/// Sums up the fields of an interval. Years stay apart until the end, and have a range of their own.
#[derive(Debug, Default)]
pub(super) struct Sum {
    years: i32,
    interval: Interval,
}

impl Sum {
    /// The interval, or its negation.
    pub(super) fn finish(self, ago: bool) -> Decoded<Interval> {
        let total = self.years.checked_mul(12).and_then(|months| months.checked_add(self.interval.months));
        let months = total.ok_or_else(|| Problem::Other(interval_out_of_range()))?;
        let interval = Interval { months, ..self.interval };
        if ago { interval.neg().map_err(|_| Problem::Field) } else { Ok(interval) }
    }

    pub(super) fn add(&mut self, amount: Amount, unit: Unit) -> Decoded<()> {
        let Amount { whole, fraction } = amount;
        match unit {
            Unit::Microsecond => self.micros(amount, 1),
            Unit::Millisecond => self.micros(amount, 1_000),
            Unit::Second => self.micros(amount, USECS_PER_SEC),
            Unit::Minute => self.micros(amount, USECS_PER_MINUTE),
            Unit::Hour => self.micros(amount, USECS_PER_HOUR),
            Unit::Day => {
                self.days(whole, 1)?;
                self.fraction_of_micros(fraction, USECS_PER_DAY)
            }
            Unit::Week => {
                self.days(whole, 7)?;
                self.fraction_of_days(fraction, 7.0)
            }
            Unit::Month => {
                self.months(whole, 1)?;
                self.fraction_of_days(fraction, 30.0)
            }
            Unit::Year => self.years(amount, 1),
            Unit::Decade => self.years(amount, 10),
            Unit::Century => self.years(amount, 100),
            Unit::Millennium => self.years(amount, 1_000),
            Unit::Quarter => Err(Problem::Syntax),
        }
    }

    fn micros(&mut self, amount: Amount, scale: i64) -> Decoded<()> {
        let whole = amount.whole.checked_mul(scale).and_then(|value| self.interval.micros.checked_add(value));
        self.interval.micros = whole.ok_or(Problem::Field)?;
        self.fraction_of_micros(amount.fraction, scale)
    }

    fn fraction_of_micros(&mut self, fraction: f64, scale: i64) -> Decoded<()> {
        let exact = fraction * scale as f64;
        let mut micros = exact.trunc() as i64;
        let rest = exact - exact.trunc();
        if rest > 0.5 {
            micros += 1;
        } else if rest < -0.5 {
            micros -= 1;
        }
        self.interval.micros = self.interval.micros.checked_add(micros).ok_or(Problem::Field)?;
        Ok(())
    }

    fn days(&mut self, value: i64, scale: i64) -> Decoded<()> {
        let days = value.checked_mul(scale).and_then(|days| days.checked_add(i64::from(self.interval.days)));
        self.interval.days = days.and_then(|days| i32::try_from(days).ok()).ok_or(Problem::Field)?;
        Ok(())
    }

    fn fraction_of_days(&mut self, fraction: f64, scale: f64) -> Decoded<()> {
        let days = fraction * scale;
        self.days(days.trunc() as i64, 1)?;
        self.fraction_of_micros(days - days.trunc(), USECS_PER_DAY)
    }

    fn months(&mut self, value: i64, scale: i64) -> Decoded<()> {
        let months = value.checked_mul(scale).and_then(|months| months.checked_add(i64::from(self.interval.months)));
        self.interval.months = months.and_then(|months| i32::try_from(months).ok()).ok_or(Problem::Field)?;
        Ok(())
    }

    fn years(&mut self, amount: Amount, scale: i64) -> Decoded<()> {
        let years = amount.whole.checked_mul(scale).and_then(|years| years.checked_add(i64::from(self.years)));
        self.years = years.and_then(|years| i32::try_from(years).ok()).ok_or(Problem::Field)?;
        let months = (amount.fraction * scale as f64 * 12.0).round_ties_even();
        self.months(months as i64, 1)
    }
}

/// A time gives the hours, minutes and seconds.
const CLOCK: u32 = 1 << Unit::Hour as u32 | 1 << Unit::Minute as u32 | ALL_SECONDS;
const ALL_SECONDS: u32 = 1 << Unit::Second as u32 | 1 << Unit::Millisecond as u32 | 1 << Unit::Microsecond as u32;

/// Reads the fields from the last to the first, so that a unit is known before its number.
fn decode(fields: &[Field], restriction: &Restriction) -> Decoded<Interval> {
    let mut sum = Sum::default();
    let mut unit = None;
    let mut seen = 0;
    let mut ago = false;
    for field in fields.iter().rev() {
        let added = match field.kind {
            Kind::Text | Kind::Special => {
                match field.text.as_str() {
                    "@" => {}
                    "ago" => {
                        ago = true;
                        unit = None;
                    }
                    "at" | "on" => {}
                    word => unit = Some(Unit::named(word).ok_or(Problem::Syntax)?),
                }
                continue;
            }
            Kind::Time => {
                sum.interval.micros = clock_micros(&field.text, restriction)?;
                // A number before a time counts days, as in '1 04:05:06'.
                unit = Some(Unit::Day);
                CLOCK
            }
            Kind::Signed if field.text.contains(':') && clock_micros(&field.text[1..], restriction).is_ok() => {
                let micros = clock_micros(&field.text[1..], restriction)?;
                sum.interval.micros = if field.text.starts_with('-') { -micros } else { micros };
                unit = Some(Unit::Day);
                CLOCK
            }
            // A number before `ago` must have its unit.
            Kind::Signed | Kind::Date | Kind::Number if ago && unit.is_none() => return Err(Problem::Syntax),
            Kind::Signed | Kind::Date | Kind::Number => {
                number(&mut sum, &field.text, unit.get_or_insert(restriction.last_unit()))?
            }
        };
        if seen & added != 0 {
            return Err(Problem::Syntax);
        }
        seen |= added;
    }
    if seen == 0 {
        return Err(Problem::Syntax);
    }
    sum.finish(ago)
}

fn clock_micros(text: &str, restriction: &Restriction) -> Decoded<i64> {
    let clock = decode_clock(text, restriction.is_minute_to_second())?;
    let micros = clock.hour.checked_mul(USECS_PER_HOUR).and_then(|hours| {
        hours.checked_add(clock.minute.checked_mul(USECS_PER_MINUTE)? + clock.second * USECS_PER_SEC + clock.micros)
    });
    micros.ok_or(Problem::Field)
}

/// Adds a number, or the SQL standard's years and months such as 1-2. Tells which fields it gave.
fn number(sum: &mut Sum, text: &str, unit: &mut Unit) -> Decoded<u32> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    let (digits, rest) = unsigned.split_at(end);
    let sign = if negative { "-" } else { "" };
    // PostgreSQL reads a number without digits before the point as zero.
    let digits = if digits.is_empty() && rest.starts_with('.') { "0" } else { digits };
    if digits.is_empty() {
        return Err(Problem::Syntax);
    }
    let mut amount = Amount { whole: format!("{sign}{digits}").parse().map_err(|_| Problem::Field)?, fraction: 0.0 };
    if let Some(months) = rest.strip_prefix('-') {
        *unit = Unit::Month;
        amount.whole = years_and_months(amount.whole, months, negative)?;
    } else if let Some(fraction) = rest.strip_prefix('.') {
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Problem::Syntax);
        }
        let part = if fraction.is_empty() { 0.0 } else { parse_fraction(fraction)? };
        amount.fraction = if negative { -part } else { part };
    } else if !rest.is_empty() {
        return Err(Problem::Syntax);
    }
    sum.add(amount, *unit)?;
    // A second with a fraction gives the milliseconds and microseconds too.
    let fine = *unit == Unit::Second && amount.fraction != 0.0;
    Ok(if fine { ALL_SECONDS } else { unit.bit() })
}

fn years_and_months(years: i64, months: &str, negative: bool) -> Decoded<i64> {
    if months.is_empty() || !months.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Syntax);
    }
    let months = months.parse::<i64>().ok().filter(|months| *months < 12).ok_or(Problem::Field)?;
    let months = if negative { -months } else { months };
    years.checked_mul(12).and_then(|all| all.checked_add(months)).ok_or(Problem::Field)
}

/// The fields and the precision that a type such as `INTERVAL DAY TO SECOND(3)` keeps.
#[derive(Debug, Default)]
struct Restriction {
    first: Option<Unit>,
    last: Option<Unit>,
    /// Digits after the point of a second.
    precision: Option<u32>,
}

impl Restriction {
    fn parse(fields: &str) -> Result<Self> {
        let bad = || ValueError::new("42601", format!("invalid fields of an interval: \"{fields}\""));
        let lower = fields.trim().to_ascii_lowercase();
        let (words, precision) = match lower.split_once('(') {
            Some((words, rest)) => {
                let digits = rest.strip_suffix(')').ok_or_else(bad)?;
                (words.trim(), Some(digits.trim().parse::<u32>().map_err(|_| bad())?.min(6)))
            }
            None => (lower.as_str(), None),
        };
        let unit = |word: &str| match word {
            "year" | "month" | "day" | "hour" | "minute" | "second" => Unit::named(word).ok_or_else(bad),
            _ => Err(bad()),
        };
        let (first, last) = match words.split_whitespace().collect::<Vec<_>>()[..] {
            [] => (None, None),
            [only] => (Some(unit(only)?), Some(unit(only)?)),
            [first, "to", last] => (Some(unit(first)?), Some(unit(last)?)),
            _ => return Err(bad()),
        };
        let known = match (first, last) {
            (Some(first), Some(last)) if first == last => true,
            (Some(Unit::Year), Some(Unit::Month)) => true,
            (Some(Unit::Day | Unit::Hour | Unit::Minute), Some(last)) => {
                first.is_some_and(|first| (last as u32) < first as u32)
            }
            (None, None) => true,
            _ => false,
        };
        let precise = precision.is_none() || matches!(last, None | Some(Unit::Second));
        if known && precise { Ok(Self { first, last, precision }) } else { Err(bad()) }
    }

    /// What a number without a unit counts.
    fn last_unit(&self) -> Unit {
        self.last.unwrap_or(Unit::Second)
    }

    fn is_minute_to_second(&self) -> bool {
        self.first == Some(Unit::Minute) && self.last == Some(Unit::Second)
    }

    /// Drops what is finer than the last field, and rounds seconds to the precision.
    fn apply(&self, mut interval: Interval) -> Result<Interval> {
        match self.last {
            Some(Unit::Year) => interval = Interval { months: interval.months / 12 * 12, ..Interval::default() },
            Some(Unit::Month) => interval = Interval { months: interval.months, ..Interval::default() },
            Some(Unit::Day) => interval.micros = 0,
            Some(Unit::Hour) => interval.micros -= interval.micros % USECS_PER_HOUR,
            Some(Unit::Minute) => interval.micros -= interval.micros % USECS_PER_MINUTE,
            _ => {}
        }
        let Some(precision) = self.precision else { return Ok(interval) };
        let scale = 10_i64.pow(6 - precision);
        let half = if interval.micros < 0 { -(scale / 2) } else { scale / 2 };
        let rounded = interval.micros.checked_add(half).ok_or_else(interval_out_of_range)?;
        interval.micros = rounded - rounded % scale;
        Ok(interval)
    }
}
