//! to_char, to_date, to_timestamp and to_number: PostgreSQL's template patterns.
//!
//! Names of months and days are English, and the decimal point is a point, as in PostgreSQL's locale C.

mod assemble;
mod datetime_input;
mod datetime_number;
mod datetime_output;
mod decimal;
mod number_input;
mod number_output;
mod number_pattern;
mod number_write;
mod ordinal;
mod template;
#[cfg(test)]
mod tests;

pub use assemble::{to_date, to_timestamp};
pub use datetime_output::{to_char_interval, to_char_timestamp};
pub use number_input::to_number;
pub use number_output::{to_char_float, to_char_int, to_char_numeric, to_char_real};

use crate::{Result, ValueError};

/// Each character of a pattern gives a few of the output, so that a bound on one bounds the other.
const MAX_PATTERN_BYTES: usize = 65_536;

/// 54000: a pattern that is longer than any sensible one.
fn check_length(pattern: &str) -> Result<()> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(ValueError::new("54000", format!("a format pattern is longer than {MAX_PATTERN_BYTES} bytes")));
    }
    Ok(())
}
