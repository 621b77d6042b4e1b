//! Functions that make texts longer.

use ebap_values::Result;

use super::text::byte_at;
use crate::error::checked_length;
use crate::registry::Book;
use crate::values::{Int4, Text};

pub(super) fn register(book: &mut Book) {
    book.add::<(Text, Int4), Text>("lpad", |(s, n)| pad(s, n, " ", true));
    book.add::<(Text, Int4, Text), Text>("lpad", |(s, n, fill)| pad(s, n, fill, true));
    book.add::<(Text, Int4), Text>("rpad", |(s, n)| pad(s, n, " ", false));
    book.add::<(Text, Int4, Text), Text>("rpad", |(s, n, fill)| pad(s, n, fill, false));
    book.add::<(Text, Int4), Text>("repeat", |(s, n)| {
        let times = usize::try_from(n).unwrap_or(0);
        checked_length(s.len().checked_mul(times))?;
        Ok(s.repeat(times))
    });
}

/// A text of so many characters: cut at its end, or filled at one side.
pub(super) fn pad(text: &str, length: i32, fill: &str, at_left: bool) -> Result<String> {
    let length = usize::try_from(length).unwrap_or(0);
    // With nothing to fill with, a text only becomes shorter.
    let length = if fill.is_empty() { length.min(text.chars().count()) } else { length };
    // PostgreSQL allows for the widest characters too.
    checked_length(length.checked_mul(4))?;
    let has = text.chars().count();
    if has >= length {
        return Ok(text.get(..byte_at(text, length)).unwrap_or("").to_owned());
    }
    let filling: String = fill.chars().cycle().take(length - has).collect();
    Ok(if at_left { filling + text } else { text.to_owned() + &filling })
}
