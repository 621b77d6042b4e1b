//! `LIKE` as PostgreSQL matches it, with its errors.

use ebap_values::{Result, ValueError};

use super::text::lower;

/// The pattern with another escape than a backslash, written with backslashes. None of an empty one.
pub(super) fn escaped(pattern: &str, escape: &str) -> Result<String> {
    let mut letters = escape.chars();
    let escape = match (letters.next(), letters.next()) {
        (None, _) => None,
        (Some(one), None) => Some(one),
        _ => {
            return Err(ValueError::new("22025", "invalid escape string"));
        }
    };
    let mut out = String::with_capacity(pattern.len());
    let mut after_escape = false;
    for letter in pattern.chars() {
        if Some(letter) == escape && !after_escape {
            out.push('\\');
            after_escape = true;
            continue;
        }
        if letter == '\\' && !(after_escape && escape == Some('\\')) {
            // Between an escape and this one there is another backslash already.
            if !after_escape {
                out.push('\\');
            }
            out.push('\\');
        } else {
            out.push(letter);
        }
        after_escape = false;
    }
    Ok(out)
}

/// How far a match got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Match,
    Other,
    /// The text is too short, wherever it is begun.
    TooShort,
}

/// Whether the text matches a pattern whose escape is a backslash.
///
/// # Errors
/// 22025 where the match gets to an escape at the end of the pattern.
pub(crate) fn matches(text: &str, pattern: &str) -> Result<bool> {
    Ok(found(text, pattern)? == Found::Match)
}

/// As `matches`, of letters in lower case.
///
/// # Errors
/// As `matches`.
pub(crate) fn matches_any_case(text: &str, pattern: &str) -> Result<bool> {
    let folded = |text: &str| text.chars().map(lower).collect::<String>();
    matches(&folded(text), &folded(pattern))
}

fn unfinished() -> ValueError {
    ValueError::new("22025", "LIKE pattern must not end with escape character")
}

fn split(text: &str) -> Option<(char, &str)> {
    let mut letters = text.chars();
    letters.next().map(|letter| (letter, letters.as_str()))
}

fn found(mut text: &str, mut pattern: &str) -> Result<Found> {
    while let (Some((letter, text_rest)), Some((wanted, rest))) = (split(text), split(pattern)) {
        match wanted {
            '%' => return any(text, rest),
            '_' => {}
            '\\' => {
                let (wanted, rest) = split(rest).ok_or_else(unfinished)?;
                if wanted != letter {
                    return Ok(Found::Other);
                }
                (text, pattern) = (text_rest, rest);
                continue;
            }
            _ if wanted != letter => return Ok(Found::Other),
            _ => {}
        }
        (text, pattern) = (text_rest, rest);
    }
    if !text.is_empty() {
        return Ok(Found::Other);
    }
    Ok(if pattern.trim_start_matches('%').is_empty() { Found::Match } else { Found::TooShort })
}

/// What stands behind a `%`, anywhere in the text.
fn any(mut text: &str, mut pattern: &str) -> Result<Found> {
    loop {
        match split(pattern) {
            None => return Ok(Found::Match),
            Some(('%', rest)) => pattern = rest,
            Some(('_', rest)) => match split(text) {
                Some((_, text_rest)) => (text, pattern) = (text_rest, rest),
                None => return Ok(Found::TooShort),
            },
            Some(_) => break,
        }
    }
    let first = match split(pattern) {
        Some(('\\', rest)) => split(rest).ok_or_else(unfinished)?.0,
        Some((letter, _)) => letter,
        None => return Ok(Found::Match),
    };
    while let Some((letter, rest)) = split(text) {
        if letter == first {
            let found = found(text, pattern)?;
            if found != Found::Other {
                return Ok(found);
            }
        }
        text = rest;
    }
    Ok(Found::TooShort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_postgresql() {
        for (text, pattern, expected) in [
            ("abc", "a%c", Ok(true)),
            ("abc", "_b_", Ok(true)),
            ("abc", "a_", Ok(false)),
            ("a%c", "a\\%c", Ok(true)),
            ("abc", "a\\%c", Ok(false)),
            ("", "%", Ok(true)),
            ("aXbXc", "%X%c", Ok(true)),
            ("é😀", "__", Ok(true)),
            ("ab", "a\\", Err("22025")),
            ("x", "a\\", Ok(false)),
            ("ab", "%\\", Err("22025")),
        ] {
            assert_eq!(matches(text, pattern).map_err(|error| error.sqlstate), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn another_escape_becomes_a_backslash() {
        for (pattern, escape, expected) in [
            ("a!%", "!", "a\\%"),
            ("a\\b", "!", "a\\\\b"),
            ("a\\b", "", "a\\\\b"),
            ("%%", "%", "\\%"),
            ("\\_", "\\", "\\_"),
        ] {
            assert_eq!(escaped(pattern, escape).as_deref(), Ok(expected), "{pattern} {escape}");
        }
        assert_eq!(escaped("a", "xx").map_err(|error| error.sqlstate), Err("22025"));
    }
}
