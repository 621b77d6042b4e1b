//! Numbers in text that a template pattern reads.

use super::template::{Key, Node, Pattern, is_space};

/// The whole characters within so many bytes.
pub(super) fn start_of(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// As strtol within so many bytes: spaces, a sign and digits. Too great a number saturates.
pub(super) fn leading_integer(text: &str, limit: usize) -> Option<(i64, usize)> {
    let bytes = &text.as_bytes()[..text.len().min(limit)];
    let spaces = bytes.iter().take_while(|b| is_space(char::from(**b))).count();
    let sign = usize::from(matches!(bytes.get(spaces), Some(b'+' | b'-')));
    let negative = bytes.get(spaces) == Some(&b'-');
    let mut value: i64 = 0;
    let mut end = spaces + sign;
    while let Some(digit) = bytes.get(end).filter(|b| b.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
        end += 1;
    }
    if end == spaces + sign {
        return None;
    }
    Some((if negative { -value } else { value }, end))
}

/// Whether what follows cannot be a digit, so that a number may have any length.
pub(super) fn ends_number(field: &Pattern, following: &[Node]) -> bool {
    if field.ordinal.is_some() {
        return true;
    }
    match following.first() {
        None | Some(Node::Space(_) | Node::Separator(_)) => true,
        Some(Node::Character(c)) => !c.is_ascii_digit(),
        Some(Node::Field(next)) => !is_number(next.key),
    }
}

fn is_number(key: Key) -> bool {
    !matches!(
        key,
        Key::Era(..)
            | Key::HalfDay(..)
            | Key::Month(_)
            | Key::ShortMonth(_)
            | Key::RomanMonth(_)
            | Key::Day(_)
            | Key::ShortDay(_)
            | Key::Zone(_)
            | Key::ZoneHours
            | Key::Offset
            | Key::FixedWidth
    )
}

/// The year that ends with these digits and lies nearest to 2020.
pub(super) fn nearest_to_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}
