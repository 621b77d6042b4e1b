//! Intervals of ISO 8601: `P1Y2M3DT4H5M6S`, `P0001-02-03T04:05:06` and `P00010203T040506`.

use super::Interval;
use super::decode::{Decoded, Problem};
use super::interval_text::{Amount, Sum, Unit};

pub(super) fn decode_iso(text: &str) -> Decoded<Interval> {
    let mut reader = Reader { rest: text.strip_prefix('P').ok_or(Problem::Syntax)?, sum: Sum::default() };
    if reader.rest.is_empty() {
        return Err(Problem::Syntax);
    }
    let mut in_date = true;
    let mut any = false;
    while !reader.rest.is_empty() {
        if let Some(rest) = reader.rest.strip_prefix('T') {
            reader.rest = rest;
            (in_date, any) = (false, false);
            continue;
        }
        let digits = reader.rest.bytes().take_while(u8::is_ascii_digit).count();
        let amount = reader.number()?;
        let letter = reader.rest.chars().next();
        if let Some(unit) = letter.and_then(|letter| named_unit(letter, in_date)) {
            reader.rest = &reader.rest[1..];
            reader.sum.add(amount, unit)?;
            any = true;
            continue;
        }
        if any {
            return Err(Problem::Syntax);
        }
        match (in_date, letter) {
            (true, None | Some('T')) if digits == 8 => reader.basic_date(amount)?,
            (true, None | Some('T' | '-')) => reader.extended([Unit::Year, Unit::Month, Unit::Day], amount, '-')?,
            (false, None) if digits == 6 => reader.basic_time(amount)?,
            (false, None | Some(':')) => reader.extended([Unit::Hour, Unit::Minute, Unit::Second], amount, ':')?,
            _ => return Err(Problem::Syntax),
        }
        if !reader.rest.is_empty() && (!in_date || !reader.rest.starts_with('T')) {
            return Err(Problem::Syntax);
        }
    }
    reader.sum.finish(false)
}

fn named_unit(letter: char, in_date: bool) -> Option<Unit> {
    match (letter, in_date) {
        ('Y', true) => Some(Unit::Year),
        ('M', true) => Some(Unit::Month),
        ('W', true) => Some(Unit::Week),
        ('D', true) => Some(Unit::Day),
        ('H', false) => Some(Unit::Hour),
        ('M', false) => Some(Unit::Minute),
        ('S', false) => Some(Unit::Second),
        _ => None,
    }
}

struct Reader<'a> {
    rest: &'a str,
    sum: Sum,
}

impl Reader<'_> {
    fn number(&mut self) -> Decoded<Amount> {
        let unsigned = self.rest.strip_prefix(['-', '+']).unwrap_or(self.rest);
        // A plus sign begins no number here.
        if self.rest.starts_with('+') {
            return Err(Problem::Syntax);
        }
        let mut length = unsigned.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        length += exponent_length(&unsigned[length..]);
        let value: f64 = unsigned[..length].parse().map_err(|_| Problem::Syntax)?;
        // Beyond this a double has no room for a fraction.
        if value > 1e15 {
            return Err(Problem::Field);
        }
        let sign = if self.rest.starts_with('-') { -1 } else { 1 };
        self.rest = &unsigned[length..];
        let whole = value.floor();
        Ok(Amount { whole: sign * whole as i64, fraction: sign as f64 * (value - whole) })
    }

    /// `yyyymmdd`.
    fn basic_date(&mut self, amount: Amount) -> Decoded<()> {
        let part = |whole| Amount { whole, fraction: 0.0 };
        self.sum.add(part(amount.whole / 10_000), Unit::Year)?;
        self.sum.add(part(amount.whole / 100 % 100), Unit::Month)?;
        self.sum.add(Amount { whole: amount.whole % 100, fraction: amount.fraction }, Unit::Day)
    }

    /// `hhmmss`.
    fn basic_time(&mut self, amount: Amount) -> Decoded<()> {
        let part = |whole| Amount { whole, fraction: 0.0 };
        self.sum.add(part(amount.whole / 10_000), Unit::Hour)?;
        self.sum.add(part(amount.whole / 100 % 100), Unit::Minute)?;
        self.sum.add(Amount { whole: amount.whole % 100, fraction: amount.fraction }, Unit::Second)
    }

    /// `yyyy-mm-dd` or `hh:mm:ss`, of which the last parts may be missing.
    fn extended(&mut self, units: [Unit; 3], first: Amount, separator: char) -> Decoded<()> {
        self.sum.add(first, units[0])?;
        for unit in &units[1..] {
            let Some(rest) = self.rest.strip_prefix(separator) else { return Ok(()) };
            self.rest = rest;
            let amount = self.number()?;
            self.sum.add(amount, *unit)?;
        }
        Ok(())
    }
}

/// The length of `e5` at the start, which PostgreSQL takes in these numbers.
fn exponent_length(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let digits = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 { 0 } else { text.len() - digits.len() + count }
}
