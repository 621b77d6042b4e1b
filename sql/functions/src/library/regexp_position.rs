//! Functions that count matches of regular expressions, or say where one is.

use ebap_values::Result;

use super::regexp::{bad_parameter, not_global, not_negative, patterns, positive, start_byte};
use super::text::count;
use crate::kernel::Opt;
use crate::regex::{Found, Pattern};
use crate::registry::Book;
use crate::values::{Int4, Text};

pub(super) fn register(book: &mut Book) {
    book.add_with::<(Text, Text), Int4, _>("regexp_count", patterns, |p, (s, re)| matches(p.get(re, "")?, s, 1));
    book.add_with::<(Text, Text, Int4), Int4, _>("regexp_count", patterns, |p, (s, re, start)| {
        matches(p.get(re, "")?, s, start)
    });
    book.add_with::<(Text, Text, Int4, Text), Int4, _>("regexp_count", patterns, |p, (s, re, start, flags)| {
        matches(p.get(re, not_global("regexp_count", flags)?)?, s, start)
    });
    substr(book);
    instr(book);
}

fn substr(book: &mut Book) {
    let name = "regexp_substr";
    book.add_with::<(Text, Text), Opt<Text>, _>(name, patterns, |p, (s, re)| text_of(p.get(re, "")?, s, (1, 1, 0)));
    book.add_with::<(Text, Text, Int4), Opt<Text>, _>(name, patterns, |p, (s, re, start)| {
        text_of(p.get(re, "")?, s, (start, 1, 0))
    });
    book.add_with::<(Text, Text, Int4, Int4), Opt<Text>, _>(name, patterns, |p, (s, re, start, n)| {
        text_of(p.get(re, "")?, s, (start, n, 0))
    });
    book.add_with::<(Text, Text, Int4, Int4, Text), Opt<Text>, _>(name, patterns, |p, (s, re, start, n, flags)| {
        text_of(p.get(re, not_global(name, flags)?)?, s, (start, n, 0))
    });
    book.add_with::<(Text, Text, Int4, Int4, Text, Int4), Opt<Text>, _>(
        name,
        patterns,
        |p, (s, re, start, n, flags, group)| text_of(p.get(re, not_global(name, flags)?)?, s, (start, n, group)),
    );
}

fn instr(book: &mut Book) {
    let name = "regexp_instr";
    book.add_with::<(Text, Text), Int4, _>(name, patterns, |p, (s, re)| place(p.get(re, "")?, s, (1, 1, 0), 0));
    book.add_with::<(Text, Text, Int4), Int4, _>(name, patterns, |p, (s, re, start)| {
        place(p.get(re, "")?, s, (start, 1, 0), 0)
    });
    book.add_with::<(Text, Text, Int4, Int4), Int4, _>(name, patterns, |p, (s, re, start, n)| {
        place(p.get(re, "")?, s, (start, n, 0), 0)
    });
    book.add_with::<(Text, Text, Int4, Int4, Int4), Int4, _>(name, patterns, |p, (s, re, start, n, end)| {
        place(p.get(re, "")?, s, (start, n, 0), end)
    });
    book.add_with::<(Text, Text, Int4, Int4, Int4, Text), Int4, _>(
        name,
        patterns,
        |p, (s, re, start, n, end, flags)| place(p.get(re, not_global(name, flags)?)?, s, (start, n, 0), end),
    );
    book.add_with::<(Text, Text, Int4, Int4, Int4, Text, Int4), Int4, _>(
        name,
        patterns,
        |p, (s, re, start, n, end, flags, group)| {
            place(p.get(re, not_global(name, flags)?)?, s, (start, n, group), end)
        },
    );
}

fn matches(pattern: &Pattern, text: &str, start: i32) -> Result<i32> {
    count(pattern.all(text, start_byte(text, start)?).count())
}

/// First character, number of the match and number of the group.
type Wanted = (i32, i32, i32);

fn wanted(pattern: &Pattern, text: &str, (start, number, group): Wanted) -> Result<Option<(Found, usize)>> {
    let from = start_byte(text, start)?;
    let (number, group) = (positive("n", number)?, not_negative("subexpr", group)?);
    // Without any group the whole match is the only one.
    if group > pattern.groups() {
        return Ok(None);
    }
    Ok(pattern.all(text, from).nth(number - 1).map(|found| (found, group)))
}

fn text_of(pattern: &Pattern, text: &str, at: Wanted) -> Result<Option<String>> {
    let found = wanted(pattern, text, at)?;
    Ok(found.and_then(|(found, group)| found.group(text, group).map(str::to_owned)))
}

/// The number of the first character, or of the one behind the last.
fn place(pattern: &Pattern, text: &str, at: Wanted, end: i32) -> Result<i32> {
    if !matches!(end, 0 | 1) {
        return Err(bad_parameter("endoption", end));
    }
    let Some((start, behind)) = wanted(pattern, text, at)?.and_then(|(found, group)| found.span(group)) else {
        return Ok(0);
    };
    let byte = if end == 0 { start } else { behind };
    count(text.get(..byte).map_or(0, |before| before.chars().count()) + 1)
}
