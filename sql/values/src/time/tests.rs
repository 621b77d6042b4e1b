//! What PostgreSQL 15 answered. An error is its SQLSTATE.

mod arithmetic;
mod fields;
mod random;
mod text;

use super::*;
use crate::Result;

fn shown(result: Result<String>) -> String {
    result.unwrap_or_else(|error| error.sqlstate.into())
}

fn zone(name: &str) -> Zone {
    Zone::parse_setting(name).expect("a zone")
}

fn interval(text: &str) -> Result<Interval> {
    parse_interval(text)
}
