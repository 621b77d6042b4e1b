//! Why an alert is in the state that it is in, in words.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};

use super::{AlertInfo, AlertRow, State};

/// Keys that are told of, at the most; those that fire first.
const KEYS_SHOWN: usize = 50;

/// A line for the alert and one for each key.
pub(crate) fn explain(info: &AlertInfo, now_us: i64) -> String {
    let plan = &info.plan;
    let mut text = format!("Alert {} on {}: WHEN {}", plan.name, plan.from_name, plan.condition);
    let _ = write!(text, " FOR {}", seconds(plan.hold_us));
    if plan.keep_us > 0 {
        let _ = write!(text, " KEEP FIRING FOR {}", seconds(plan.keep_us));
    }
    if let Some(after_us) = plan.no_data_us {
        let _ = write!(text, " NO DATA AFTER {}", seconds(after_us));
    }
    let by: Vec<&str> = plan.by.iter().map(|at| plan.schema.field(*at).name().as_str()).collect();
    let what = match (plan.window.is_some(), plan.closed_only) {
        (true, true) => "decided by windows, when they close",
        (true, false) => "decided by windows, as far as the stream has come",
        (false, _) => "decided by the rows there are after each step",
    };
    let _ = write!(text, "\n  by ({}), {what}", by.join(", "));
    match info.at_us.filter(|at_us| *at_us != i64::MIN) {
        Some(at_us) => drop(write!(text, "\n  the stream has come to {}", time(at_us))),
        None => text.push_str("\n  nothing has been read yet"),
    }
    if plan.run.paused {
        text.push_str("\n  paused: nothing is decided (ALTER ALERT … RESUME)");
    }
    if let Some(until_us) = plan.silenced_until_us.filter(|until_us| *until_us > now_us) {
        let _ = write!(text, "\n  silenced until {}: nobody is told", time(until_us));
    }
    if info.waits > 0 {
        let _ = write!(text, "\n  {} changes wait for somebody to be told", info.waits);
    }
    if info.undecided {
        text.push_str("\n  nothing is decided: whether a key is normal is not known");
    }
    if let Some(message) = &info.message {
        let _ = write!(text, "\n  {message}");
    }
    let mut rows: Vec<&AlertRow> = info.rows.iter().collect();
    rows.sort_by_key(|row| match row.state {
        State::Firing => 0,
        State::Pending => 1,
        State::Normal => 2,
    });
    for row in rows.iter().take(KEYS_SHOWN) {
        let _ = write!(text, "\n{}: {}", row.key, because(row, plan.keep_us, plan.hold_us));
    }
    if rows.len() > KEYS_SHOWN {
        let _ = write!(text, "\nand {} more keys", rows.len() - KEYS_SHOWN);
    }
    text
}

fn because(row: &AlertRow, keep_us: i64, hold_us: i64) -> String {
    let value = row.value.map_or("no value".to_owned(), |value| format!("value {value}"));
    let since = row.since_us.map_or("ever".to_owned(), time);
    let told = if row.told { "told" } else { "nobody was told" };
    match row.state {
        State::Firing if row.no_data => format!("firing since {since}, as no row came ({told})"),
        State::Firing => {
            let fired = row.fires_us.map_or("?".to_owned(), time);
            let held = row.held_us.map_or("?".to_owned(), time);
            let keep = if keep_us > 0 { format!(", and fires for {} longer", seconds(keep_us)) } else { String::new() };
            format!(
                "firing, {value}: the condition holds since {since}, for {} at {fired}; it held last at {held}{keep} ({told})",
                seconds(hold_us)
            )
        }
        State::Pending => {
            let fires = row.fires_us.map_or("?".to_owned(), time);
            format!("pending, {value}: the condition holds since {since}; it fires at {fires} if it still does")
        }
        State::Normal => format!("normal since {since}, {value}"),
    }
}

fn seconds(us: i64) -> String {
    format!("{} s", us as f64 / 1e6)
}

fn time(us: i64) -> String {
    DateTime::from_timestamp_micros(us)
        .map_or_else(|| us.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
