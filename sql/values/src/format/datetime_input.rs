//! Reads text by a template pattern, field by field.

use super::datetime_number::{ends_number, leading_integer, nearest_to_2020, start_of};
use super::datetime_output::{DAYS, MONTHS, ROMAN_MONTHS};
use super::template::{Key, Node, Pattern, is_separator, is_space};
use crate::{Result, ValueError};

/// The fields that were read. Zero is what was not.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) hour: i64,
    pub(super) afternoon: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) seconds_of_day: i64,
    pub(super) millis: i64,
    pub(super) micros: i64,
    /// Digits that the fraction is rounded to. Zero is all of them.
    pub(super) precision: u8,
    pub(super) week_day: i64,
    pub(super) day: i64,
    pub(super) day_of_year: i64,
    pub(super) month: i64,
    pub(super) year: i64,
    /// Digits of the pattern that the year came from.
    pub(super) year_digits: u8,
    pub(super) before_christ: i64,
    pub(super) century: i64,
    pub(super) week: i64,
    pub(super) week_of_month: i64,
    pub(super) julian: i64,
    pub(super) half_day_clock: bool,
    /// Zero when no zone was read.
    pub(super) zone_sign: i64,
    pub(super) zone_hours: i64,
    pub(super) zone_minutes: i64,
    pub(super) iso: Option<bool>,
}

/// 22007: the text does not match the pattern. 22008: a number is out of range.
pub(super) fn read(text: &str, nodes: &[Node]) -> Result<Read> {
    let mut reader = Reader { text, at: 0, fixed: false, skipped: 0, read: Read::default() };
    for (at, node) in nodes.iter().enumerate() {
        if reader.rest().is_empty() {
            break;
        }
        reader.node(node, at == 0, &nodes[at + 1..])?;
    }
    Ok(reader.read)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// FX: no spaces are skipped.
    fixed: bool,
    /// Characters skipped beyond those that the pattern has.
    skipped: i64,
    read: Read,
}

fn invalid(value: &str, name: &str) -> ValueError {
    ValueError::new("22007", format!("invalid value \"{value}\" for \"{name}\""))
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
            self.skipped += 1;
        }
    }

    fn node(&mut self, node: &Node, first: bool, following: &[Node]) -> Result<()> {
        let is_field = matches!(node, Node::Field(_));
        let is_fixed = matches!(node, Node::Field(Pattern { key: Key::FixedWidth, .. }));
        if !self.fixed && !is_fixed && (is_field || first) {
            self.skip_spaces();
        }
        match node {
            Node::Field(field) => {
                self.field(field, following)?;
                if !self.fixed {
                    self.skipped = 0;
                    self.skip_spaces();
                }
            }
            _ if self.fixed => self.skip(),
            Node::Space(_) | Node::Separator(_) => {
                // One such character of the pattern matches one of the text, or none.
                self.skipped -= 1;
                if self.peek().is_some_and(|c| is_space(c) || is_separator(c)) {
                    self.at += 1;
                    self.skipped += 1;
                }
            }
            // What was skipped before counts for this character.
            Node::Character(_) if self.skipped > 0 => self.skipped -= 1,
            Node::Character(_) => self.skip(),
        }
        Ok(())
    }

    fn field(&mut self, field: &Pattern, following: &[Node]) -> Result<()> {
        self.set_convention(field.key)?;
        let length = field.name.len();
        match field.key {
            Key::FixedWidth => self.fixed = true,
            Key::Zone(_) | Key::Offset => {
                let message = format!("formatting field \"{}\" is only supported in to_char", field.name);
                return Err(ValueError::unsupported(message));
            }
            Key::Quarter => {
                // The quarter says nothing that a date could be made of, but must be a number.
                self.integer(length, field, following)?;
                self.skip_ordinal(field);
            }
            Key::CommaYear => self.comma_year(field)?,
            Key::ZoneHours => self.zone_hours(field, following)?,
            Key::Era(..)
            | Key::HalfDay(..)
            | Key::Month(_)
            | Key::ShortMonth(_)
            | Key::Day(_)
            | Key::ShortDay(_)
            | Key::RomanMonth(_) => self.name(field)?,
            Key::Millisecond | Key::Microsecond | Key::Fraction(_) => self.fraction(field, following)?,
            Key::Year(digits) | Key::IsoYear(digits) => {
                let (year, used) = self.integer(length, field, following)?;
                set(&mut self.read.year, year, field)?;
                if digits < 4 && used < 4 {
                    self.read.year = nearest_to_2020(self.read.year);
                }
                self.read.year_digits = digits;
                self.skip_ordinal(field);
            }
            _ => self.number(field, following)?,
        }
        Ok(())
    }

    /// Gregorian dates and ISO weeks do not mix.
    fn set_convention(&mut self, key: Key) -> Result<()> {
        let iso = match key {
            Key::IsoDayOfYear | Key::IsoDayOfWeek | Key::IsoWeek | Key::IsoYear(_) => true,
            Key::DayOfYear
            | Key::DayOfMonth
            | Key::DayOfWeek
            | Key::Month(_)
            | Key::ShortMonth(_)
            | Key::MonthNumber
            | Key::RomanMonth(_)
            | Key::WeekOfYear
            | Key::WeekOfMonth
            | Key::Year(_)
            | Key::CommaYear => false,
            _ => return Ok(()),
        };
        if self.read.iso.is_some_and(|before| before != iso) {
            return Err(ValueError::new("22007", "invalid combination of date conventions"));
        }
        self.read.iso = Some(iso);
        Ok(())
    }

    /// A whole number that goes into one field.
    fn number(&mut self, field: &Pattern, following: &[Node]) -> Result<()> {
        let length = match field.key {
            Key::Hour12 | Key::Hour24 => 2,
            Key::IsoDayOfYear => 3,
            Key::IsoDayOfWeek => 1,
            Key::ZoneMinutes => 2,
            _ => field.name.len(),
        };
        let (value, _) = self.integer(length, field, following)?;
        let read = &mut self.read;
        match field.key {
            Key::Hour12 => {
                set(&mut read.hour, value, field)?;
                read.half_day_clock = true;
            }
            Key::Hour24 => set(&mut read.hour, value, field)?,
            Key::Minute => set(&mut read.minute, value, field)?,
            Key::Second => set(&mut read.second, value, field)?,
            Key::SecondsOfDay => set(&mut read.seconds_of_day, value, field)?,
            Key::MonthNumber => set(&mut read.month, value, field)?,
            Key::DayOfYear | Key::IsoDayOfYear => set(&mut read.day_of_year, value, field)?,
            Key::DayOfMonth => set(&mut read.day, value, field)?,
            Key::DayOfWeek => set(&mut read.week_day, value, field)?,
            Key::IsoDayOfWeek => {
                set(&mut read.week_day, value, field)?;
                // Sunday comes first in the common count, and last in the ISO's.
                read.week_day = if read.week_day >= 7 { 1 } else { read.week_day + 1 };
            }
            Key::WeekOfYear | Key::IsoWeek => set(&mut read.week, value, field)?,
            Key::WeekOfMonth => set(&mut read.week_of_month, value, field)?,
            Key::Century => set(&mut read.century, value, field)?,
            Key::Julian => set(&mut read.julian, value, field)?,
            Key::ZoneMinutes => {
                if read.zone_sign == 0 {
                    read.zone_sign = 1;
                }
                return set(&mut read.zone_minutes, value, field);
            }
            _ => {}
        }
        self.skip_ordinal(field);
        Ok(())
    }

    fn fraction(&mut self, field: &Pattern, following: &[Node]) -> Result<()> {
        let (digits, full) = match field.key {
            Key::Millisecond => (3, 3),
            Key::Fraction(digits) => {
                self.read.precision = digits;
                (usize::from(digits), 6)
            }
            _ => (6, 6),
        };
        let target = |read: &mut Read| if full == 3 { read.millis } else { read.micros };
        let before = target(&mut self.read);
        let (value, used) = self.integer(digits, field, following)?;
        let mut stored = before;
        set(&mut stored, value, field)?;
        // 25 and 250 are both a quarter of a second.
        let missing = u32::try_from(full - used.min(full)).unwrap_or(0);
        let scaled = if used == 0 { stored } else { stored.saturating_mul(10_i64.pow(missing)) };
        if full == 3 {
            self.read.millis = scaled;
        } else {
            self.read.micros = scaled;
        }
        self.skip_ordinal(field);
        Ok(())
    }

    fn zone_hours(&mut self, field: &Pattern, following: &[Node]) -> Result<()> {
        self.read.zone_sign = match self.peek() {
            Some(sign @ ('+' | '-' | ' ')) => {
                self.at += 1;
                if sign == '-' { -1 } else { 1 }
            }
            // The minus may have been taken for a separator.
            _ if self.skipped > 0 && self.text[..self.at].ends_with('-') => -1,
            _ => 1,
        };
        let (value, _) = self.integer(2, field, following)?;
        set(&mut self.read.zone_hours, value, field)
    }

    fn comma_year(&mut self, field: &Pattern) -> Result<()> {
        let bad = || ValueError::new("22007", "invalid input string for \"Y,YYY\"");
        let start = self.rest();
        let (thousands, after) = leading_integer(start, usize::MAX).ok_or_else(bad)?;
        let rest = start.get(after..).and_then(|rest| rest.strip_prefix(',')).ok_or_else(bad)?;
        // Spaces do not count for the three digits.
        let spaces = rest.len() - rest.trim_start_matches(is_space).len();
        let (years, used) = leading_integer(rest, spaces + 3).ok_or_else(bad)?;
        let year = thousands.checked_mul(1_000).and_then(|all| all.checked_add(years));
        let year = year.filter(|year| i32::try_from(*year).is_ok()).ok_or_else(|| out_of_range(field))?;
        set(&mut self.read.year, year, field)?;
        self.read.year_digits = 4;
        self.at += after + 1 + used;
        self.skip_ordinal(field);
        Ok(())
    }

    fn name(&mut self, field: &Pattern) -> Result<()> {
        const ERAS: [&str; 2] = ["ad", "bc"];
        const POINTED_ERAS: [&str; 2] = ["a.d.", "b.c."];
        const HALVES: [&str; 2] = ["am", "pm"];
        const POINTED_HALVES: [&str; 2] = ["a.m.", "p.m."];
        let short = |names: &[&'static str]| names.iter().map(|name| &name[..3]).collect::<Vec<_>>();
        let names = match field.key {
            Key::Era(true, _) => POINTED_ERAS.to_vec(),
            Key::Era(false, _) => ERAS.to_vec(),
            Key::HalfDay(true, _) => POINTED_HALVES.to_vec(),
            Key::HalfDay(false, _) => HALVES.to_vec(),
            Key::Month(_) => MONTHS.to_vec(),
            Key::ShortMonth(_) => short(&MONTHS),
            Key::Day(_) => DAYS.to_vec(),
            Key::ShortDay(_) => short(&DAYS),
            _ => ROMAN_MONTHS.to_vec(),
        };
        let rest = self.rest();
        let matches = |name: &&str| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let Some(at) = names.iter().position(matches) else {
            let word = rest.split(is_space).next().unwrap_or_default();
            return Err(invalid(word, field.name));
        };
        self.at += names[at].len();
        let value = at as i64;
        let read = &mut self.read;
        match field.key {
            Key::Era(..) => set(&mut read.before_christ, value, field),
            Key::HalfDay(..) => {
                set(&mut read.afternoon, value, field)?;
                read.half_day_clock = true;
                Ok(())
            }
            Key::Month(_) | Key::ShortMonth(_) => set(&mut read.month, value + 1, field),
            Key::Day(_) | Key::ShortDay(_) => {
                set(&mut read.week_day, value, field)?;
                read.week_day += 1;
                Ok(())
            }
            _ => set(&mut read.month, 12 - value, field),
        }
    }

    /// The number, and the characters that it took with the spaces before it.
    fn integer(&mut self, length: usize, field: &Pattern, following: &[Node]) -> Result<(i64, usize)> {
        let start = self.at;
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        let rest = self.rest();
        let free = field.fill || ends_number(field, following);
        if !free && rest.len() < length {
            let message = format!("source string too short for \"{}\" formatting field", field.name);
            return Err(ValueError::new("22007", message));
        }
        let limit = if free { usize::MAX } else { length };
        let copy = start_of(rest, length);
        let Some((value, used)) = leading_integer(rest, limit) else { return Err(invalid(copy, field.name)) };
        if !free && used < length {
            return Err(invalid(copy, field.name));
        }
        self.at += used;
        if i32::try_from(value).is_err() {
            return Err(out_of_range(field));
        }
        Ok((value, self.at - start))
    }

    fn skip_ordinal(&mut self, field: &Pattern) {
        if field.ordinal.is_some() {
            self.skip();
            self.skip();
        }
    }
}

fn out_of_range(field: &Pattern) -> ValueError {
    ValueError::new("22008", format!("value for \"{}\" in source string is out of range", field.name))
}

/// A field that comes twice must say the same.
fn set(target: &mut i64, value: i64, field: &Pattern) -> Result<()> {
    if *target != 0 && *target != value {
        let message = format!("conflicting values for \"{}\" field in formatting string", field.name);
        return Err(ValueError::new("22007", message));
    }
    *target = value;
    Ok(())
}
