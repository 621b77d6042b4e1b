//! Functions of texts: measures, letters and parts.

use ebap_values::{Result, ValueError};

use super::like;
use crate::registry::Book;
use crate::values::{Bool, Bpchar, Int4, Text};

pub(super) fn register(book: &mut Book) {
    for name in ["length", "char_length", "character_length"] {
        book.add::<(Text,), Int4>(name, |(s,)| count(s.chars().count()));
    }
    book.add::<(Text,), Int4>("octet_length", |(s,)| count(s.len()));
    book.add::<(Bpchar,), Int4>("octet_length", |(s,)| count(s.len()));
    book.add::<(Text,), Int4>("bit_length", |(s,)| count(s.len().saturating_mul(8)));
    book.add::<(Text,), Int4>("ascii", |(s,)| {
        Ok(s.chars().next().map_or(0, |c| i32::try_from(u32::from(c)).unwrap_or(0)))
    });
    book.add::<(Int4,), Text>("chr", |(n,)| chr(n));
    book.add::<(Text,), Text>("upper", |(s,)| Ok(s.chars().map(upper).collect()));
    book.add::<(Text,), Text>("lower", |(s,)| Ok(s.chars().map(lower).collect()));
    book.add::<(Text,), Text>("initcap", |(s,)| Ok(initcap(s)));
    book.add::<(Text,), Text>("reverse", |(s,)| Ok(s.chars().rev().collect()));
    book.add::<(Text, Text), Text>("like_escape", |(pattern, escape)| like::escaped(pattern, escape));
    book.add::<(Text, Text), Bool>("text like", |(s, pattern)| like::matches(s, pattern));
    book.add::<(Text, Text), Bool>("text ilike", |(s, pattern)| like::matches_any_case(s, pattern));
    for name in ["strpos", "position"] {
        book.add::<(Text, Text), Int4>(name, |(s, part)| position(s, part));
    }
    book.add::<(Text, Text), Bool>("starts_with", |(s, part)| Ok(s.starts_with(part)));
    book.add::<(Text, Int4), Text>("left", |(s, n)| Ok(left(s, n).to_owned()));
    book.add::<(Text, Int4), Text>("right", |(s, n)| Ok(right(s, n).to_owned()));
    for name in ["substr", "substring"] {
        book.add::<(Text, Int4), Text>(name, |(s, from)| substring(s, from, None).map(str::to_owned));
        book.add::<(Text, Int4, Int4), Text>(name, |(s, from, n)| substring(s, from, Some(n)).map(str::to_owned));
    }
    normalization(book);
}

fn normalization(book: &mut Book) {
    use unicode_normalization::UnicodeNormalization;
    book.add::<(Text,), Text>("normalize", |(s,)| Ok(s.nfc().collect()));
    book.add::<(Text, Text), Text>("normalize", |(s, form)| match form.to_ascii_uppercase().as_str() {
        "NFC" => Ok(s.nfc().collect()),
        "NFD" => Ok(s.nfd().collect()),
        "NFKC" => Ok(s.nfkc().collect()),
        "NFKD" => Ok(s.nfkd().collect()),
        _ => Err(ValueError::new("22023", format!("invalid normalization form: {form}"))),
    });
}

/// A number of characters or bytes as an integer.
pub(super) fn count(n: usize) -> Result<i32> {
    i32::try_from(n).map_err(|_| ValueError::out_of_range("integer"))
}

fn chr(n: i32) -> Result<String> {
    let number = u32::try_from(n).map_err(|_| ValueError::new("22023", "character number must be positive"))?;
    if number == 0 {
        return Err(ValueError::new("54000", "null character not permitted"));
    }
    let refused = if number > 0x0010_ffff { "too large" } else { "not valid" };
    let message = || ValueError::new("54000", format!("requested character {refused} for encoding: {n}"));
    char::from_u32(number).map(String::from).ok_or_else(message)
}

/// The one capital of a letter. PostgreSQL in its C.UTF-8 has no letters that become two, as ß would.
fn upper(c: char) -> char {
    let mut capital = c.to_uppercase();
    match (capital.next(), capital.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

pub(super) fn lower(c: char) -> char {
    // A capital I with a dot loses the dot that has become a character of its own.
    c.to_lowercase().next().unwrap_or(c)
}

fn initcap(text: &str) -> String {
    let mut inside = false;
    let letter = |c: char| {
        let changed = if inside { lower(c) } else { upper(c) };
        inside = c.is_alphanumeric();
        changed
    };
    text.chars().map(letter).collect()
}

/// 1 for the first character, 0 where there is no such part.
fn position(text: &str, part: &str) -> Result<i32> {
    match text.find(part) {
        Some(at) => count(text.get(..at).map_or(0, |before| before.chars().count()) + 1),
        None => Ok(0),
    }
}

/// Where the character of this number begins.
pub(super) fn byte_at(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

fn left(text: &str, n: i32) -> &str {
    let magnitude = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
    let kept = if n >= 0 { magnitude } else { text.chars().count().saturating_sub(magnitude) };
    text.get(..byte_at(text, kept)).unwrap_or("")
}

fn right(text: &str, n: i32) -> &str {
    if n == i32::MIN {
        // PostgreSQL negates it, which overflows, and leaves out nothing.
        return text;
    }
    let magnitude = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
    let skipped = if n >= 0 { text.chars().count().saturating_sub(magnitude) } else { magnitude };
    text.get(byte_at(text, skipped)..).unwrap_or("")
}

/// Characters from a place on. A place before the first one counts towards the length.
pub(super) fn substring(text: &str, from: i32, length: Option<i32>) -> Result<&str> {
    let (skipped, kept) = window(from, length)?;
    let rest = text.get(byte_at(text, skipped)..).unwrap_or("");
    Ok(match kept {
        Some(kept) => rest.get(..byte_at(rest, kept)).unwrap_or(""),
        None => rest,
    })
}

/// How many to skip and, if there is a length, how many to take.
pub(super) fn window(from: i32, length: Option<i32>) -> Result<(usize, Option<usize>)> {
    let from = i64::from(from);
    let start = from.max(1);
    let skipped = usize::try_from(start - 1).unwrap_or(0);
    let Some(length) = length else { return Ok((skipped, None)) };
    if length < 0 {
        return Err(ValueError::new("22011", "negative substring length not allowed"));
    }
    let end = from + i64::from(length);
    Ok((skipped, Some(usize::try_from(end - start).unwrap_or(0))))
}
