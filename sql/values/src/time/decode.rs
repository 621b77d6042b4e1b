//! Gives the fields of a date or a time their meaning, by PostgreSQL's rules with datestyle MDY.

use super::Zone;
use super::calendar::{
    Civil, UNIX_EPOCH_JDATE, USECS_PER_DAY, USECS_PER_SEC, civil_from_days, days_from_civil, days_in_month,
};
use super::decode_number::{decode_clock, decode_concatenated, decode_date, decode_number, decode_offset, integer};
use super::tokens::{DateWord, Field, Kind, date_word};
use crate::ValueError;

/// Why a text is no date, time or interval.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Problem {
    /// 22007.
    Syntax,
    /// 22008: a field is beyond its range.
    Field,
    /// 22009: the offset from UTC is beyond its range.
    Displacement,
    /// An error with its own message.
    Other(ValueError),
}

pub(super) type Decoded<T> = Result<T, Problem>;

/// Which fields have been seen: a bit for each.
pub(super) mod seen {
    pub(in crate::time) const YEAR: u32 = 1;
    pub(in crate::time) const MONTH: u32 = 2;
    pub(in crate::time) const DAY: u32 = 4;
    pub(in crate::time) const DATE: u32 = YEAR | MONTH | DAY;
    pub(in crate::time) const TIME: u32 = 8;
    pub(in crate::time) const ZONE: u32 = 16;
    pub(in crate::time) const DAY_OF_YEAR: u32 = 32;
    pub(in crate::time) const WEEKDAY: u32 = 64;
    pub(in crate::time) const HALF_DAY: u32 = 128;
    pub(in crate::time) const ERA: u32 = 256;
    pub(in crate::time) const DAYLIGHT: u32 = 512;
    pub(in crate::time) const MOMENT: u32 = 1024;
}

/// What the text says of the zone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    Unsaid,
    /// Seconds east of UTC.
    Offset(i32),
    In(Zone),
}

/// The moments that a word names as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Epoch,
    Infinity,
    NegInfinity,
}

/// What has been read so far.
#[derive(Debug)]
pub(super) struct State {
    pub(super) seen: u32,
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) day_of_year: i64,
    pub(super) text_month: bool,
    pub(super) two_digit_year: bool,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) micros: i64,
    pub(super) place: Place,
    julian: bool,
    before_christ: bool,
    afternoon: Option<bool>,
    label: Option<DateWord>,
    moment: Option<Moment>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            seen: 0,
            year: 0,
            month: 0,
            day: 0,
            day_of_year: 0,
            text_month: false,
            two_digit_year: false,
            hour: 0,
            minute: 0,
            second: 0,
            micros: 0,
            place: Place::Unsaid,
            julian: false,
            before_christ: false,
            afternoon: None,
            label: None,
            moment: None,
        }
    }

    pub(super) fn has(&self, fields: u32) -> bool {
        self.seen & fields == fields
    }

    /// A field of the day, month or year may not come twice.
    fn add(&mut self, fields: u32) -> Decoded<()> {
        if self.seen & fields != 0 {
            return Err(Problem::Syntax);
        }
        self.seen |= fields;
        Ok(())
    }

    fn set_date(&mut self, date: Civil) {
        (self.year, self.month, self.day) = (date.year, date.month, date.day);
    }

    /// Microseconds of the day.
    pub(super) fn time_of_day(&self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * USECS_PER_SEC + self.micros
    }

    pub(super) fn date(&self) -> Civil {
        Civil { year: self.year, month: self.month, day: self.day }
    }

    pub(super) fn moment(&self) -> Option<Moment> {
        self.moment
    }
}

/// Reads all fields. The date need not be complete when `time_only`.
pub(super) fn decode(fields: &[Field], time_only: bool) -> Decoded<State> {
    let mut state = State::new();
    for (at, field) in fields.iter().enumerate() {
        let added = match field.kind {
            Kind::Date if time_only => date_in_time(&mut state, at, fields)?,
            Kind::Date => date_field(&mut state, &field.text)?,
            Kind::Time => time_field(&mut state, &field.text)?,
            Kind::Signed => {
                state.place = Place::Offset(decode_offset(&field.text)?);
                seen::ZONE
            }
            Kind::Number if time_only && dated_number(at, fields) => decode_date(&mut state, &field.text)?,
            Kind::Number => number_field(&mut state, &field.text, time_only)?,
            Kind::Text | Kind::Special => word_field(&mut state, &field.text, fields.get(at + 1), time_only)?,
        };
        state.add(added)?;
    }
    finish(&mut state)?;
    let complete = if time_only {
        // Only a date tells the offset of a zone, and PostgreSQL insists on knowing it.
        let known = !matches!(&state.place, Place::In(zone) if zone.needs_date()) || state.has(seen::DATE);
        if state.minute > 59 || state.second > 60 {
            return Err(Problem::Field);
        }
        state.has(seen::TIME) && known
    } else {
        state.has(seen::DATE) || state.moment.is_some()
    };
    if complete { Ok(state) } else { Err(Problem::Syntax) }
}

/// A time takes a date only as the first field, before a time or a zone's name.
fn date_in_time(state: &mut State, at: usize, fields: &[Field]) -> Decoded<u32> {
    let text = &fields[at].text;
    let kind_of = |field: Option<&Field>| field.map(|field| field.kind);
    let before_time = kind_of(fields.get(1)) == Some(Kind::Time) || kind_of(fields.last()) == Some(Kind::Date);
    if at == 0 && fields.len() > 1 && before_time {
        return decode_date(state, text);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return clock_and_offset(state, text);
    }
    state.place = Place::In(Zone::named(text).map_err(Problem::Other)?);
    Ok(seen::ZONE)
}

/// A date with points before the zone's name that ends a time.
fn dated_number(at: usize, fields: &[Field]) -> bool {
    let zone_ends = fields.len() > 1 && fields.last().is_some_and(|field| field.kind == Kind::Date);
    at == 0 && zone_ends && fields[0].text.contains('.')
}

fn date_field(state: &mut State, text: &str) -> Decoded<u32> {
    if state.label == Some(DateWord::Julian) {
        state.label = None;
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(Problem::Syntax)?;
        julian(state, integer(&text[..digits])?)?;
        state.place = Place::Offset(decode_offset(&text[digits..])?);
        return Ok(seen::DATE | seen::TIME | seen::ZONE);
    }
    if state.label.is_none() && !state.has(seen::MONTH | seen::DAY) {
        return decode_date(state, text);
    }
    if state.label.is_none() && !text.starts_with(|c: char| c.is_ascii_digit()) {
        state.place = Place::In(Zone::named(text).map_err(Problem::Other)?);
        return Ok(seen::ZONE);
    }
    clock_and_offset(state, text)
}

/// A time without colons and an offset, such as 040506-08.
fn clock_and_offset(state: &mut State, text: &str) -> Decoded<u32> {
    if state.label.take().is_some_and(|label| label != DateWord::IsoTime) || state.has(seen::TIME) {
        return Err(Problem::Syntax);
    }
    let sign = text.find('-').ok_or(Problem::Syntax)?;
    state.place = Place::Offset(decode_offset(&text[sign..])?);
    Ok(decode_concatenated(state, &text[..sign], state.seen | seen::DATE)? | seen::ZONE)
}

fn time_field(state: &mut State, text: &str) -> Decoded<u32> {
    if state.label.take().is_some_and(|label| label != DateWord::IsoTime) {
        return Err(Problem::Syntax);
    }
    let clock = decode_clock(text, false)?;
    (state.hour, state.minute, state.second, state.micros) = (clock.hour, clock.minute, clock.second, clock.micros);
    check_clock(state)?;
    Ok(seen::TIME)
}

/// 24:00:00 is the last time of a day.
fn check_clock(state: &State) -> Decoded<()> {
    if state.hour > 24 || state.time_of_day() > USECS_PER_DAY { Err(Problem::Field) } else { Ok(()) }
}

fn julian(state: &mut State, day: i64) -> Decoded<()> {
    state.set_date(civil_from_days(day - UNIX_EPOCH_JDATE));
    state.julian = true;
    Ok(())
}

fn number_field(state: &mut State, text: &str, time_only: bool) -> Decoded<u32> {
    match state.label.take() {
        Some(DateWord::Julian) => {
            let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
            julian(state, integer(whole)?)?;
            let Some(fraction) = fraction else { return Ok(seen::DATE) };
            let part = format!("0.{fraction}").parse::<f64>().map_err(|_| Problem::Syntax)?;
            let micros = (part * USECS_PER_DAY as f64) as i64;
            (state.hour, state.minute, state.second, state.micros) =
                (0, 0, micros / USECS_PER_SEC, micros % USECS_PER_SEC);
            return Ok(seen::DATE | seen::TIME);
        }
        Some(DateWord::IsoTime) => {
            let added = decode_concatenated(state, text, state.seen | seen::DATE)?;
            return if added == seen::TIME { Ok(added) } else { Err(Problem::Syntax) };
        }
        Some(_) => return Err(Problem::Syntax),
        None => {}
    }
    let point = text.find('.');
    let no_date = state.seen & seen::DATE == 0;
    if time_only {
        return decode_concatenated(state, text, state.seen | seen::DATE);
    }
    match point {
        Some(_) if no_date => decode_date(state, text),
        Some(at) if at > 2 => decode_concatenated(state, text, state.seen),
        None if text.len() >= 6 && (no_date || !state.has(seen::TIME)) => decode_concatenated(state, text, state.seen),
        _ => decode_number(state, text, state.seen),
    }
}

fn word_field(state: &mut State, word: &str, next: Option<&Field>, time_only: bool) -> Decoded<u32> {
    if let Some(zone) = Zone::abbreviated(word) {
        state.place = Place::In(zone);
        return Ok(seen::ZONE);
    }
    let Some(meaning) = date_word(word) else {
        let zone = Zone::named(word).map_err(|_| Problem::Syntax)?;
        state.place = Place::In(zone);
        return Ok(seen::ZONE);
    };
    match meaning {
        DateWord::Ignore => Ok(0),
        DateWord::Clock => Err(Problem::Other(ValueError::unsupported(format!(
            "\"{word}\" in a date or a time: use now() or current_date"
        )))),
        DateWord::Epoch => whole_moment(state, Moment::Epoch, time_only),
        DateWord::Infinity => whole_moment(state, Moment::Infinity, time_only),
        DateWord::NegInfinity => whole_moment(state, Moment::NegInfinity, time_only),
        DateWord::Allballs => {
            state.place = Place::Offset(0);
            (state.hour, state.minute, state.second, state.micros) = (0, 0, 0, 0);
            Ok(seen::TIME | seen::ZONE | seen::MOMENT)
        }
        DateWord::Month(_) | DateWord::Weekday if time_only => Err(Problem::Syntax),
        DateWord::Month(month) => {
            let added = text_month(state);
            state.month = month;
            Ok(added)
        }
        DateWord::Weekday => Ok(seen::WEEKDAY),
        DateWord::Am | DateWord::Pm => {
            state.afternoon = Some(meaning == DateWord::Pm);
            Ok(seen::HALF_DAY)
        }
        DateWord::Ad | DateWord::Bc => {
            state.before_christ = meaning == DateWord::Bc;
            Ok(seen::ERA)
        }
        DateWord::DaylightSaving => daylight_saving(state),
        DateWord::Julian | DateWord::Unit if state.label.is_some() => Err(Problem::Syntax),
        DateWord::Julian | DateWord::Unit => {
            state.label = Some(meaning);
            Ok(0)
        }
        DateWord::IsoTime => {
            let before_time = next.is_some_and(|field| matches!(field.kind, Kind::Number | Kind::Time | Kind::Date));
            if !before_time || !(time_only || state.has(seen::DATE)) {
                return Err(Problem::Syntax);
            }
            state.label = Some(meaning);
            Ok(0)
        }
    }
}

fn whole_moment(state: &mut State, moment: Moment, time_only: bool) -> Decoded<u32> {
    if time_only {
        return Err(Problem::Syntax);
    }
    state.moment = Some(moment);
    Ok(seen::MOMENT)
}

/// A number before the month's name was taken for the month, but was the day.
fn text_month(state: &mut State) -> u32 {
    let was_day =
        state.has(seen::MONTH) && !state.text_month && !state.has(seen::DAY) && (1..=31).contains(&state.month);
    state.text_month = true;
    if was_day {
        state.day = state.month;
        return seen::DAY;
    }
    seen::MONTH
}

/// `MET DST` is an hour ahead of MET.
fn daylight_saving(state: &mut State) -> Decoded<u32> {
    let offset = match &state.place {
        Place::In(zone) => zone.fixed_offset(),
        Place::Offset(seconds) => Some(*seconds),
        Place::Unsaid => None,
    };
    state.place = Place::Offset(offset.ok_or(Problem::Syntax)? + 3600);
    Ok(seen::DAYLIGHT)
}

/// Checks what could not be checked field by field.
fn finish(state: &mut State) -> Decoded<()> {
    finish_date(state)?;
    if let Some(afternoon) = state.afternoon {
        if state.hour > 12 {
            return Err(Problem::Field);
        }
        state.hour = state.hour % 12 + if afternoon { 12 } else { 0 };
    }
    Ok(())
}

fn finish_date(state: &mut State) -> Decoded<()> {
    if state.has(seen::YEAR) && !state.julian {
        if state.before_christ {
            state.year = if state.year > 0 { 1 - state.year } else { return Err(Problem::Field) };
        } else if state.two_digit_year {
            state.year += if state.year < 70 { 2000 } else { 1900 };
        } else if state.year <= 0 {
            return Err(Problem::Field);
        }
    }
    if state.has(seen::DAY_OF_YEAR) {
        let first = days_from_civil(Civil { year: state.year, month: 1, day: 1 });
        state.set_date(civil_from_days(first + state.day_of_year - 1));
    }
    if state.has(seen::MONTH) && !(1..=12).contains(&state.month) {
        return Err(Problem::Field);
    }
    if state.has(seen::DAY) && !(1..=31).contains(&state.day) {
        return Err(Problem::Field);
    }
    if state.has(seen::DATE) && state.day > days_in_month(state.year, state.month) {
        return Err(Problem::Field);
    }
    Ok(())
}
