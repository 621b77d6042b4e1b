//! The endings of ordinal numbers.

use crate::{Result, ValueError};

/// ST, ND, RD or TH for a number in decimal text. 22P02: the text does not end with a digit.
pub(super) fn ordinal(number: &str, upper: bool) -> Result<&'static str> {
    let bytes = number.as_bytes();
    let last = bytes.last().copied().filter(u8::is_ascii_digit);
    let last = last.ok_or_else(|| ValueError::new("22P02", format!("\"{number}\" is not a number")))?;
    // 11, 12 and 13 end in TH.
    let teen = bytes.len() > 1 && bytes[bytes.len() - 2] == b'1';
    let (high, low) = match last {
        b'1' if !teen => ("ST", "st"),
        b'2' if !teen => ("ND", "nd"),
        b'3' if !teen => ("RD", "rd"),
        _ => ("TH", "th"),
    };
    Ok(if upper { high } else { low })
}
