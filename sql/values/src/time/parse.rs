//! Text as a date, a time or a timestamp.

use super::Zone;
use super::calendar::{
    DATE_INFINITY, DATE_NEG_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, USECS_PER_DAY, USECS_PER_SEC,
    checked_civil_timestamp, date_in_range, days_from_civil, in_range,
};
use super::decode::{Moment, Place, Problem, State, decode};
use super::tokens::split_fields;
use crate::{Result, ValueError};

/// A timestamp without a zone. A zone in the text is ignored.
///
/// Errors: 22007 for bad syntax, 22008 for a field or a timestamp out of range, 22009 for an offset out of range,
/// 22023 for an unknown zone, and 0A000 for words that a clock must explain, such as `now`.
pub fn parse_timestamp(text: &str) -> Result<i64> {
    let state = read(text, "timestamp", false)?;
    match state.moment() {
        Some(moment) => Ok(moment_micros(moment)),
        None => local_micros(&state, text),
    }
}

/// A timestamp in UTC. Text that says no zone is in the zone given. Errors as `parse_timestamp`.
pub fn parse_timestamptz(text: &str, zone: &Zone) -> Result<i64> {
    let state = read(text, "timestamp with time zone", false)?;
    if let Some(moment) = state.moment() {
        return Ok(moment_micros(moment));
    }
    let local = local_micros(&state, text)?;
    let offset = match &state.place {
        Place::Unsaid => zone.offset_of_local(local),
        Place::Offset(seconds) => *seconds,
        Place::In(zone) => zone.offset_of_local(local),
    };
    local
        .checked_sub(i64::from(offset) * USECS_PER_SEC)
        .and_then(in_range)
        .ok_or_else(|| out_of_range("timestamp", text))
}

/// A date. A time and a zone in the text are ignored. Errors as `parse_timestamp`.
pub fn parse_date(text: &str) -> Result<i32> {
    let state = read(text, "date", false)?;
    match state.moment() {
        Some(Moment::Epoch) => return Ok(0),
        Some(Moment::Infinity) => return Ok(DATE_INFINITY),
        Some(Moment::NegInfinity) => return Ok(DATE_NEG_INFINITY),
        None => {}
    }
    date_in_range(days_from_civil(state.date())).ok_or_else(|| out_of_range("date", text))
}

/// A time of day, in microseconds. A date and a zone in the text are ignored. Errors as `parse_timestamp`.
pub fn parse_time(text: &str) -> Result<i64> {
    let micros = read(text, "time", true)?.time_of_day();
    if (0..=USECS_PER_DAY).contains(&micros) { Ok(micros) } else { Err(field_out_of_range(text)) }
}

fn read(text: &str, of: &str, time_only: bool) -> Result<State> {
    let Some(fields) = split_fields(text) else { return Err(bad_syntax(of, text)) };
    decode(&fields, time_only).map_err(|problem| explain(problem, of, text))
}

/// The error that PostgreSQL reports.
pub(super) fn explain(problem: Problem, of: &str, text: &str) -> ValueError {
    match problem {
        Problem::Syntax => bad_syntax(of, text),
        Problem::Field => field_out_of_range(text),
        Problem::Displacement => ValueError::new("22009", format!("time zone displacement out of range: \"{text}\"")),
        Problem::Other(error) => error,
    }
}

fn bad_syntax(of: &str, text: &str) -> ValueError {
    ValueError::new("22007", format!("invalid input syntax for type {of}: \"{text}\""))
}

fn field_out_of_range(text: &str) -> ValueError {
    ValueError::new("22008", format!("date/time field value out of range: \"{text}\""))
}

fn out_of_range(of: &str, text: &str) -> ValueError {
    ValueError::new("22008", format!("{of} out of range: \"{text}\""))
}

fn moment_micros(moment: Moment) -> i64 {
    match moment {
        Moment::Epoch => 0,
        Moment::Infinity => TIMESTAMP_INFINITY,
        Moment::NegInfinity => TIMESTAMP_NEG_INFINITY,
    }
}

fn local_micros(state: &State, text: &str) -> Result<i64> {
    checked_civil_timestamp(state.date(), state.time_of_day()).ok_or_else(|| out_of_range("timestamp", text))
}
