//! Functions of regular expressions that give texts.

use ebap_values::{Result, ValueError};

use crate::error::checked_length;
use crate::kernel::Opt;
use crate::regex::{Found, Options, Pattern, Patterns, similar_to_regex};
use crate::registry::Book;
use crate::session::Session;
use crate::values::{Bool, Int4, Text, Texts};

/// What is made once per call.
pub(super) fn patterns(_: &Session<'_>) -> Result<Patterns> {
    Ok(Patterns::default())
}

pub(super) fn register(book: &mut Book) {
    book.add_with::<(Text, Text), Bool, _>("regexp_like", patterns, |p, (s, re)| Ok(p.get(re, "")?.is_match(s)));
    book.add_with::<(Text, Text, Text), Bool, _>("regexp_like", patterns, |p, (s, re, flags)| {
        Ok(p.get(re, not_global("regexp_like", flags)?)?.is_match(s))
    });
    book.add_with::<(Text, Text), Opt<Text>, _>("substring", patterns, |p, (s, re)| Ok(substring(p.get(re, "")?, s)));
    book.add_with::<(Text, Text, Text), Opt<Text>, _>("substring", patterns, |p, (s, re, escape)| {
        Ok(substring(p.get(&similar_to_regex(re, escape)?, "")?, s))
    });
    for name in ["similar_to_regex", "similar_to_escape"] {
        book.add::<(Text,), Text>(name, |(re,)| similar_to_regex(re, "\\"));
        book.add::<(Text, Text), Text>(name, |(re, escape)| similar_to_regex(re, escape));
    }
    replacing(book);
    matching(book);
}

fn replacing(book: &mut Book) {
    let name = "regexp_replace";
    book.add_with::<(Text, Text, Text), Text, _>(name, patterns, |p, (s, re, new)| {
        replace(p.get(re, "")?, s, new, Place { start: 1, number: 1 })
    });
    book.add_with::<(Text, Text, Text, Text), Text, _>(name, patterns, |p, (s, re, new, flags)| {
        let number = i32::from(!Options::parse(flags)?.global);
        replace(p.get(re, flags)?, s, new, Place { start: 1, number })
    });
    book.add_with::<(Text, Text, Text, Int4), Text, _>(name, patterns, |p, (s, re, new, start)| {
        replace(p.get(re, "")?, s, new, Place { start, number: 1 })
    });
    book.add_with::<(Text, Text, Text, Int4, Int4), Text, _>(name, patterns, |p, (s, re, new, start, number)| {
        replace(p.get(re, "")?, s, new, Place { start, number })
    });
    book.add_with::<(Text, Text, Text, Int4, Int4, Text), Text, _>(
        name,
        patterns,
        |p, (s, re, new, start, number, flags)| replace(p.get(re, flags)?, s, new, Place { start, number }),
    );
}

fn matching(book: &mut Book) {
    book.add_with::<(Text, Text), Opt<Texts>, _>("regexp_match", patterns, |p, (s, re)| first(p.get(re, "")?, s));
    book.add_with::<(Text, Text, Text), Opt<Texts>, _>("regexp_match", patterns, |p, (s, re, flags)| {
        first(p.get(re, not_global("regexp_match", flags)?)?, s)
    });
    book.add_with::<(Text, Text), Texts, _>("regexp matches", patterns, |p, (s, re)| matches(p, s, re, ""));
    book.add_with::<(Text, Text, Text), Texts, _>("regexp matches", patterns, |p, (s, re, flags)| {
        matches(p, s, re, flags)
    });
    book.add_with::<(Text, Text), Texts, _>("regexp_split_to_array", patterns, |p, (s, re)| split(p.get(re, "")?, s));
    book.add_with::<(Text, Text, Text), Texts, _>("regexp_split_to_array", patterns, |p, (s, re, flags)| {
        split(p.get(re, not_global("regexp_split_to_array", flags)?)?, s)
    });
}

/// The groups of each match, or of the first alone, as the text of an array.
fn matches(patterns: &mut Patterns, text: &str, pattern: &str, flags: &str) -> Result<Vec<Option<String>>> {
    let global = Options::parse(flags)?.global;
    let pattern = patterns.get(pattern, &flags.replace('g', ""))?;
    let groups = || if pattern.groups() == 0 { 0..=0 } else { 1..=pattern.groups() };
    let shown = |group: Option<&str>| match group {
        Some(group) => format!("\"{}\"", group.replace('\\', "\\\\").replace('"', "\\\"")),
        None => "NULL".to_owned(),
    };
    let mut found = Vec::new();
    for one in pattern.all(text, 0) {
        let groups: Vec<String> = groups().map(|at| shown(one.group(text, at))).collect();
        found.push(Some(format!("{{{}}}", groups.join(","))));
        if !global {
            break;
        }
    }
    Ok(found)
}

/// 22023 for the option `g` where there is one match or all of them anyway.
pub(super) fn not_global<'f>(function: &str, flags: &'f str) -> Result<&'f str> {
    if Options::parse(flags)?.global {
        let message = format!("{function}() does not support the \"global\" option");
        return Err(ValueError::new("22023", message));
    }
    Ok(flags)
}

/// The first group, or all that matches where there is no group.
fn substring(pattern: &Pattern, text: &str) -> Option<String> {
    let group = usize::from(pattern.groups() > 0);
    pattern.find(text, 0)?.group(text, group).map(str::to_owned)
}

/// The groups of the first match, or all of it where there is none.
fn first(pattern: &Pattern, text: &str) -> Result<Option<Vec<Option<String>>>> {
    let Some(found) = pattern.find(text, 0) else { return Ok(None) };
    let groups = if pattern.groups() == 0 { 0..=0 } else { 1..=pattern.groups() };
    Ok(Some(groups.map(|at| found.group(text, at).map(str::to_owned)).collect()))
}

/// An empty match at the end, or behind the one before, parts nothing.
fn split(pattern: &Pattern, text: &str) -> Result<Vec<Option<String>>> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for found in pattern.all(text, 0) {
        let empty = found.start() == found.end();
        if empty && (found.start() >= text.len() || found.start() == from) {
            continue;
        }
        parts.push(text.get(from..found.start()).map(str::to_owned));
        from = found.end();
    }
    parts.push(text.get(from..).map(str::to_owned));
    Ok(parts)
}

/// From which character on, and the how manieth match; 0 is all of them.
#[derive(Clone, Copy)]
struct Place {
    start: i32,
    number: i32,
}

fn replace(pattern: &Pattern, text: &str, new: &str, place: Place) -> Result<String> {
    let from = start_byte(text, place.start)?;
    let number = not_negative("n", place.number)?;
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for (at, found) in pattern.all(text, from).enumerate() {
        if number > 0 && at + 1 < number {
            continue;
        }
        out.push_str(text.get(copied..found.start()).unwrap_or(""));
        push_replacement(&mut out, new, text, &found);
        copied = found.end();
        checked_length(Some(out.len()))?;
        if number > 0 {
            break;
        }
    }
    out.push_str(text.get(copied..).unwrap_or(""));
    Ok(out)
}

/// `\1` to `\9` are groups, `\&` is the match, and two backslashes are one.
fn push_replacement(out: &mut String, new: &str, text: &str, found: &Found) {
    let mut rest = new.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.clone().next() {
            Some(digit @ '1'..='9') => {
                rest.next();
                let group = digit.to_digit(10).map_or(0, |d| d as usize);
                out.push_str(found.group(text, group).unwrap_or(""));
            }
            Some('&') => {
                rest.next();
                out.push_str(found.group(text, 0).unwrap_or(""));
            }
            Some('\\') => {
                rest.next();
                out.push('\\');
            }
            _ => out.push('\\'),
        }
    }
}

/// Where the character of this number begins; 22023 if there is no such number.
pub(super) fn start_byte(text: &str, start: i32) -> Result<usize> {
    let start = positive("start", start)?;
    Ok(match text.char_indices().nth(start - 1) {
        Some((at, _)) => at,
        // Behind the end there is not even an empty match.
        None if start - 1 > text.chars().count() => text.len() + 1,
        None => text.len(),
    })
}

pub(super) fn positive(name: &str, value: i32) -> Result<usize> {
    usize::try_from(value).ok().filter(|v| *v > 0).ok_or_else(|| bad_parameter(name, value))
}

pub(super) fn not_negative(name: &str, value: i32) -> Result<usize> {
    usize::try_from(value).map_err(|_| bad_parameter(name, value))
}

pub(super) fn bad_parameter(name: &str, value: i32) -> ValueError {
    ValueError::new("22023", format!("invalid value for parameter \"{name}\": {value}"))
}
