//! Functions that change parts of a text.

use std::collections::HashMap;

use ebap_values::{Result, ValueError};

use super::text::{count, substring};
use crate::error::checked_length;
use crate::registry::Book;
use crate::values::{Int4, Text};

pub(super) fn register(book: &mut Book) {
    for (name, sides) in [("btrim", BOTH), ("trim", BOTH), ("ltrim", LEFT), ("rtrim", RIGHT)] {
        book.add::<(Text,), Text>(name, move |(s,)| Ok(trim(s, " ", sides).to_owned()));
        book.add::<(Text, Text), Text>(name, move |(s, of)| Ok(trim(s, of, sides).to_owned()));
    }
    book.add::<(Text, Text, Text), Text>("replace", |(s, from, to)| replace(s, from, to));
    book.add::<(Text, Text, Text), Text>("translate", |(s, from, to)| translate(s, from, to));
    book.add::<(Text, Text, Int4), Text>("overlay", |(s, new, from)| {
        overlay(s, new, from, count(new.chars().count())?)
    });
    book.add::<(Text, Text, Int4, Int4), Text>("overlay", |(s, new, from, n)| overlay(s, new, from, n));
}

/// Which ends are trimmed.
#[derive(Clone, Copy)]
struct Sides {
    left: bool,
    right: bool,
}

const BOTH: Sides = Sides { left: true, right: true };
const LEFT: Sides = Sides { left: true, right: false };
const RIGHT: Sides = Sides { left: false, right: true };

fn trim<'t>(text: &'t str, of: &str, sides: Sides) -> &'t str {
    let within = |c: char| of.contains(c);
    let text = if sides.left { text.trim_start_matches(within) } else { text };
    if sides.right { text.trim_end_matches(within) } else { text }
}

/// An empty part is nowhere, so that nothing is replaced.
fn replace(text: &str, from: &str, to: &str) -> Result<String> {
    if from.is_empty() {
        return Ok(text.to_owned());
    }
    let found = text.matches(from).count();
    let grown = to.len().checked_mul(found).and_then(|n| n.checked_add(text.len() - from.len() * found));
    checked_length(grown)?;
    Ok(text.replace(from, to))
}

/// Characters of `from` become those at the same place of `to`, or nothing where `to` is shorter.
fn translate(text: &str, from: &str, to: &str) -> Result<String> {
    let mut to = to.chars();
    let mut table = HashMap::new();
    for c in from.chars() {
        let new = to.next();
        // The first place of a character counts.
        table.entry(c).or_insert(new);
    }
    checked_length(text.len().checked_mul(4).map(|n| n.min(text.len().saturating_add(1 << 20))))?;
    Ok(text.chars().filter_map(|c| table.get(&c).map_or(Some(c), |new| *new)).collect())
}

fn overlay(text: &str, new: &str, from: i32, length: i32) -> Result<String> {
    if from <= 0 {
        return Err(ValueError::new("22011", "negative substring length not allowed"));
    }
    let behind = from.checked_add(length).ok_or_else(|| ValueError::out_of_range("integer"))?;
    let before = substring(text, 1, Some(from - 1))?;
    let after = substring(text, behind, None)?;
    checked_length(before.len().checked_add(new.len()).and_then(|n| n.checked_add(after.len())))?;
    Ok([before, new, after].concat())
}
