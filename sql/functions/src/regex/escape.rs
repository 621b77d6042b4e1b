//! What a backslash means.

use std::iter::Peekable;
use std::str::Chars;

use ebap_values::{Result, ValueError};

use super::invalid;

/// Letters and digits of every script, and the underscore.
pub(super) const WORD: &str = r"\p{Alphabetic}\p{Nd}_";
/// Blanks as C has them, which the spaces that must not break are not.
pub(super) const SPACE: &str = r"\s&&[^\u{A0}\u{2007}\u{202F}]";

/// Appends what stands behind a backslash outside of brackets; true if it is an atom and no constraint.
pub(super) fn translate(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<bool> {
    let letter = rest.next().ok_or_else(|| invalid("invalid escape \\ sequence"))?;
    let class = match letter {
        'd' => "[0-9]".to_owned(),
        'D' => "[^0-9]".to_owned(),
        'w' => format!("[{WORD}]"),
        'W' => format!("[^{WORD}]"),
        's' => format!("[{SPACE}]"),
        'S' => format!("[^{SPACE}]"),
        'A' => return constraint(out, r"\A"),
        'Z' => return constraint(out, r"\z"),
        'm' => return constraint(out, r"\b{start}"),
        'M' => return constraint(out, r"\b{end}"),
        'y' => return constraint(out, r"\b"),
        'Y' => return constraint(out, r"\B"),
        '1'..='9' => return back_reference(letter, rest, out),
        _ => {
            push_literal(character(letter, rest)?, out);
            return Ok(true);
        }
    };
    out.push_str(&class);
    Ok(true)
}

fn constraint(out: &mut String, text: &str) -> Result<bool> {
    out.push_str(text);
    Ok(false)
}

/// A single digit is a reference; more of them may be the octal number of a character.
fn back_reference(first: char, rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<bool> {
    let octal = |c: &char| ('0'..='7').contains(c);
    if !octal(&first) || !rest.peek().is_some_and(octal) {
        return Err(ValueError::unsupported("back references in a regular expression"));
    }
    let mut value = first.to_digit(8).unwrap_or(0);
    for _ in 0..2 {
        let Some(digit) = rest.next_if(octal) else { break };
        value = value * 8 + digit.to_digit(8).unwrap_or(0);
    }
    push_literal(char::from_u32(value).ok_or_else(|| invalid("invalid escape \\ sequence"))?, out);
    Ok(true)
}

/// The largest code that PostgreSQL takes for a character, in whatever encoding.
const CODE_MAX: u32 = 0x7fff_fffe;

/// The one character that an escape stands for.
pub(super) fn character(letter: char, rest: &mut Peekable<Chars<'_>>) -> Result<char> {
    Ok(match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'B' => '\\',
        'e' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '0' => octal(rest)?,
        'c' => {
            let control = rest.next().ok_or_else(|| invalid("invalid escape \\ sequence"))?;
            char::from_u32(u32::from(control) & 0x1f).unwrap_or('\0')
        }
        'u' => hexadecimal(rest, 4, 4)?,
        'U' => hexadecimal(rest, 8, 8)?,
        'x' => hexadecimal(rest, 1, 255)?,
        c if c.is_ascii_alphanumeric() => return Err(invalid("invalid escape \\ sequence")),
        c => c,
    })
}

fn octal(rest: &mut Peekable<Chars<'_>>) -> Result<char> {
    let mut value = 0;
    for _ in 0..2 {
        let Some(digit) = rest.next_if(|c| ('0'..='7').contains(c)) else { break };
        value = value * 8 + digit.to_digit(8).unwrap_or(0);
    }
    char::from_u32(value).ok_or_else(|| invalid("invalid escape \\ sequence"))
}

fn hexadecimal(rest: &mut Peekable<Chars<'_>>, least: usize, most: usize) -> Result<char> {
    let (mut value, mut digits) = (0_u32, 0);
    while digits < most {
        let Some(digit) = rest.next_if(char::is_ascii_hexdigit) else { break };
        value = value.saturating_mul(16).saturating_add(digit.to_digit(16).unwrap_or(0));
        digits += 1;
    }
    if digits < least || value > CODE_MAX {
        return Err(invalid("invalid escape \\ sequence"));
    }
    // A code of no letter is none that a text could have, as NUL is not.
    Ok(char::from_u32(value).unwrap_or('\0'))
}

/// A character that stands for itself.
pub(super) fn push_literal(c: char, out: &mut String) {
    if matches!(
        c,
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' | '#' | '&' | '-' | '~'
    ) {
        out.push('\\');
    }
    out.push(c);
}
