//! Expressions in brackets, as `[^a-z[:digit:]]`.

use std::iter::Peekable;
use std::str::Chars;

use ebap_values::Result;

use super::escape::{self, SPACE, WORD, push_literal};
use super::invalid;
use super::options::Options;

/// One part of a bracket expression.
enum Item {
    Character(char),
    Class(String),
}

/// Appends the expression whose opening bracket has been read.
pub(super) fn translate(rest: &mut Peekable<Chars<'_>>, options: &Options, out: &mut String) -> Result<()> {
    if let Some(constraint) = word_constraint(rest) {
        out.push_str(constraint);
        return Ok(());
    }
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
        if options.stop_at_newline {
            out.push_str("\\n");
        }
    }
    let mut first = true;
    loop {
        let c = rest.next().ok_or_else(|| invalid("brackets [] not balanced"))?;
        if c == ']' && !first {
            break;
        }
        first = false;
        push_item(c, rest, out)?;
    }
    out.push(']');
    Ok(())
}

fn push_item(c: char, rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<()> {
    let from = match item(c, rest)? {
        Item::Class(class) => {
            out.push_str(&class);
            return Ok(());
        }
        Item::Character(c) => c,
    };
    let mut ahead = rest.clone();
    // A hyphen before the closing bracket is itself.
    if ahead.next() != Some('-') || matches!(ahead.peek(), Some(']') | None) {
        push_literal(from, out);
        return Ok(());
    }
    rest.next();
    let next = rest.next().ok_or_else(|| invalid("brackets [] not balanced"))?;
    let Item::Character(to) = item(next, rest)? else { return Err(invalid("invalid character range")) };
    if to < from {
        return Err(invalid("invalid character range"));
    }
    push_literal(from, out);
    out.push('-');
    push_literal(to, out);
    Ok(())
}

fn item(c: char, rest: &mut Peekable<Chars<'_>>) -> Result<Item> {
    match c {
        '[' if matches!(rest.peek(), Some(':' | '.' | '=')) => {
            let kind = rest.next().unwrap_or(':');
            let name = name(rest, kind)?;
            if kind == ':' { class(&name).map(Item::Class) } else { collating(&name).map(Item::Character) }
        }
        '\\' => {
            let letter = rest.next().ok_or_else(|| invalid("invalid escape \\ sequence"))?;
            Ok(match letter {
                'd' => Item::Class("0-9".to_owned()),
                'w' => Item::Class(WORD.to_owned()),
                's' => Item::Class(format!("[{SPACE}]")),
                'D' => Item::Class("[^0-9]".to_owned()),
                'W' => Item::Class(format!("[^{WORD}]")),
                'S' => Item::Class(format!("[^{SPACE}]")),
                _ => Item::Character(escape::character(letter, rest)?),
            })
        }
        c => Ok(Item::Character(c)),
    }
}

/// Up to the sign that closes a name, such as `:]`.
fn name(rest: &mut Peekable<Chars<'_>>, kind: char) -> Result<String> {
    let mut name = String::new();
    loop {
        let c = rest.next().ok_or_else(|| invalid("brackets [] not balanced"))?;
        if c == kind && rest.next_if_eq(&']').is_some() {
            return Ok(name);
        }
        name.push(c);
    }
}

fn class(name: &str) -> Result<String> {
    Ok(match name {
        "alpha" => r"\p{Alphabetic}".to_owned(),
        "alnum" => r"\p{Alphabetic}\p{Nd}".to_owned(),
        "word" => WORD.to_owned(),
        "digit" => "0-9".to_owned(),
        "xdigit" => "0-9A-Fa-f".to_owned(),
        "lower" => r"\p{Lowercase}".to_owned(),
        "upper" => r"\p{Uppercase}".to_owned(),
        "space" => format!("[{SPACE}]"),
        "blank" => r"\t\p{Zs}".to_owned(),
        "punct" => r"\p{P}\p{S}".to_owned(),
        "cntrl" => r"\p{Cc}".to_owned(),
        "graph" => r"[^\p{C}\p{Z}]".to_owned(),
        "print" => r"[^\p{C}]".to_owned(),
        _ => return Err(invalid("invalid character class")),
    })
}

/// A character under its own name; longer names are those of control characters, which nobody writes.
fn collating(name: &str) -> Result<char> {
    let mut chars = name.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(invalid("invalid collating element")),
    }
}

/// `[[:<:]]` and `[[:>:]]` are no brackets but the borders of a word.
fn word_constraint(rest: &mut Peekable<Chars<'_>>) -> Option<&'static str> {
    let ahead: String = rest.clone().take(6).collect();
    let found = match ahead.as_str() {
        "[:<:]]" => r"\b{start}",
        "[:>:]]" => r"\b{end}",
        _ => return None,
    };
    rest.nth(5);
    Some(found)
}
