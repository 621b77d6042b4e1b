//! NUMERIC against what PostgreSQL 15 answers.

mod arithmetic;
mod bytes;
mod convert;
mod functions;
mod text;

use super::Numeric;
use crate::Result;

/// The value of a text that the test knows to be right.
fn number(text: &str) -> Numeric {
    Numeric::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A result as text, or its error with SQLSTATE.
fn show<T: ToString>(result: Result<T>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => format!("ERR {} {error}", error.sqlstate),
    }
}
