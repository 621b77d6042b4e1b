//! The template patterns of dates and times.

use std::{cell::RefCell, rc::Rc};

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Field(Pattern),
    Space(char),
    /// A printable character that is neither a letter nor a digit.
    Separator(char),
    Character(char),
}

/// A template pattern with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pattern {
    pub(super) key: Key,
    /// As the pattern spells it, which error messages repeat.
    pub(super) name: &'static str,
    /// FM: no padding.
    pub(super) fill: bool,
    /// TM: a name in the language of the locale, which has no padding either.
    pub(super) translated: bool,
    /// TH or th: an ordinal number.
    pub(super) ordinal: Option<Case>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Capital,
    Lower,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// AD or BC, with points between the letters when true.
    Era(bool, Case),
    /// AM or PM, with points between the letters when true.
    HalfDay(bool, Case),
    Century,
    Month(Case),
    ShortMonth(Case),
    MonthNumber,
    RomanMonth(Case),
    Day(Case),
    ShortDay(Case),
    DayOfYear,
    IsoDayOfYear,
    DayOfMonth,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Quarter,
    Julian,
    /// With a comma after the thousands.
    CommaYear,
    /// The last digits of the year.
    Year(u8),
    IsoYear(u8),
    Hour12,
    Hour24,
    Minute,
    Second,
    SecondsOfDay,
    Millisecond,
    Microsecond,
    /// Digits of the fraction of a second.
    Fraction(u8),
    Zone(Case),
    ZoneHours,
    ZoneMinutes,
    Offset,
    FixedWidth,
}

/// Names that mean the same in upper and lower case.
const EITHER_CASE: &[(&str, &str, Key)] = &[
    ("CC", "cc", Key::Century),
    ("DDD", "ddd", Key::DayOfYear),
    ("DD", "dd", Key::DayOfMonth),
    ("D", "d", Key::DayOfWeek),
    ("FF1", "ff1", Key::Fraction(1)),
    ("FF2", "ff2", Key::Fraction(2)),
    ("FF3", "ff3", Key::Fraction(3)),
    ("FF4", "ff4", Key::Fraction(4)),
    ("FF5", "ff5", Key::Fraction(5)),
    ("FF6", "ff6", Key::Fraction(6)),
    ("FX", "fx", Key::FixedWidth),
    ("HH24", "hh24", Key::Hour24),
    ("HH12", "hh12", Key::Hour12),
    ("HH", "hh", Key::Hour12),
    ("IDDD", "iddd", Key::IsoDayOfYear),
    ("ID", "id", Key::IsoDayOfWeek),
    ("IW", "iw", Key::IsoWeek),
    ("IYYY", "iyyy", Key::IsoYear(4)),
    ("IYY", "iyy", Key::IsoYear(3)),
    ("IY", "iy", Key::IsoYear(2)),
    ("I", "i", Key::IsoYear(1)),
    ("J", "j", Key::Julian),
    ("MI", "mi", Key::Minute),
    ("MM", "mm", Key::MonthNumber),
    ("MS", "ms", Key::Millisecond),
    ("OF", "of", Key::Offset),
    ("Q", "q", Key::Quarter),
    ("SSSSS", "sssss", Key::SecondsOfDay),
    ("SSSS", "ssss", Key::SecondsOfDay),
    ("SS", "ss", Key::Second),
    ("TZH", "tzh", Key::ZoneHours),
    ("TZM", "tzm", Key::ZoneMinutes),
    ("US", "us", Key::Microsecond),
    ("WW", "ww", Key::WeekOfYear),
    ("W", "w", Key::WeekOfMonth),
    ("Y,YYY", "y,yyy", Key::CommaYear),
    ("YYYY", "yyyy", Key::Year(4)),
    ("YYY", "yyy", Key::Year(3)),
    ("YY", "yy", Key::Year(2)),
    ("Y", "y", Key::Year(1)),
];

/// Names whose case shows in the output.
const BY_CASE: &[(&str, Key)] = &[
    ("A.D.", Key::Era(true, Case::Upper)),
    ("B.C.", Key::Era(true, Case::Upper)),
    ("a.d.", Key::Era(true, Case::Lower)),
    ("b.c.", Key::Era(true, Case::Lower)),
    ("AD", Key::Era(false, Case::Upper)),
    ("BC", Key::Era(false, Case::Upper)),
    ("ad", Key::Era(false, Case::Lower)),
    ("bc", Key::Era(false, Case::Lower)),
    ("A.M.", Key::HalfDay(true, Case::Upper)),
    ("P.M.", Key::HalfDay(true, Case::Upper)),
    ("a.m.", Key::HalfDay(true, Case::Lower)),
    ("p.m.", Key::HalfDay(true, Case::Lower)),
    ("AM", Key::HalfDay(false, Case::Upper)),
    ("PM", Key::HalfDay(false, Case::Upper)),
    ("am", Key::HalfDay(false, Case::Lower)),
    ("pm", Key::HalfDay(false, Case::Lower)),
    ("MONTH", Key::Month(Case::Upper)),
    ("Month", Key::Month(Case::Capital)),
    ("month", Key::Month(Case::Lower)),
    ("MON", Key::ShortMonth(Case::Upper)),
    ("Mon", Key::ShortMonth(Case::Capital)),
    ("mon", Key::ShortMonth(Case::Lower)),
    ("DAY", Key::Day(Case::Upper)),
    ("Day", Key::Day(Case::Capital)),
    ("day", Key::Day(Case::Lower)),
    ("DY", Key::ShortDay(Case::Upper)),
    ("Dy", Key::ShortDay(Case::Capital)),
    ("dy", Key::ShortDay(Case::Lower)),
    ("RM", Key::RomanMonth(Case::Upper)),
    ("rm", Key::RomanMonth(Case::Lower)),
    ("TZ", Key::Zone(Case::Upper)),
    ("tz", Key::Zone(Case::Lower)),
];

/// The longest name that the text begins with.
fn keyword(text: &str) -> Option<(&'static str, Key)> {
    let either = EITHER_CASE.iter().flat_map(|(upper, lower, key)| [(*upper, *key), (*lower, *key)]);
    let all = either.chain(BY_CASE.iter().copied());
    all.filter(|(name, _)| text.starts_with(name)).max_by_key(|(name, _)| name.len())
}

/// FM and TM before a name: whether it is FM, and what follows.
fn prefix(text: &str) -> Option<(bool, &str)> {
    for (name, fill) in [("FM", true), ("fm", true), ("TM", false), ("tm", false)] {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((fill, rest));
        }
    }
    None
}

/// TH and SP after a name. SP changes nothing, as in PostgreSQL.
fn suffix(text: &str) -> Option<(Option<Case>, &str)> {
    for (name, case) in [("TH", Some(Case::Upper)), ("th", Some(Case::Lower)), ("SP", None)] {
        if let Some(rest) = text.strip_prefix(name) {
            return Some((case, rest));
        }
    }
    None
}

pub(super) fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

/// What C takes for white space.
pub(super) fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

/// Takes the next character of a text apart. Quotes and backslashes quote, as in patterns of dates and numbers.
pub(super) fn literal<'a>(text: &'a str, each: &mut dyn FnMut(char, bool)) -> &'a str {
    let Some(quoted) = text.strip_prefix('"') else {
        // Outside quotes a backslash quotes nothing but a quote.
        let text = if text.starts_with("\\\"") { &text[1..] } else { text };
        let mut characters = text.chars();
        if let Some(c) = characters.next() {
            each(c, false);
        }
        return characters.as_str();
    };
    let mut characters = quoted.chars();
    while let Some(mut c) = characters.next() {
        if c == '"' {
            break;
        }
        if c == '\\' {
            c = characters.next().unwrap_or('\\');
        }
        each(c, true);
    }
    characters.as_str()
}

thread_local! {
    /// The template of the last pattern: most calls of a query have one pattern.
    static LAST: RefCell<(String, Rc<[Node]>)> = RefCell::new((String::new(), Rc::from([])));
}

/// The parts of the pattern.
pub(super) fn parse(pattern: &str) -> Rc<[Node]> {
    LAST.with_borrow_mut(|(known, nodes)| {
        if known != pattern {
            (*known, *nodes) = (pattern.to_owned(), Rc::from(parsed(pattern)));
        }
        Rc::clone(nodes)
    })
}

fn parsed(pattern: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let (mut fill, mut translated) = (false, false);
        if let Some((is_fill, after)) = prefix(rest) {
            (fill, translated) = (is_fill, !is_fill);
            rest = after;
        }
        if let Some((name, key)) = keyword(rest) {
            rest = &rest[name.len()..];
            let mut ordinal = None;
            if let Some((case, after)) = suffix(rest) {
                ordinal = case;
                rest = after;
            }
            nodes.push(Node::Field(Pattern { key, name, fill, translated, ordinal }));
        } else {
            rest = literal(rest, &mut |c, quoted| {
                nodes.push(match c {
                    _ if quoted => Node::Character(c),
                    _ if is_separator(c) => Node::Separator(c),
                    _ if is_space(c) => Node::Space(c),
                    _ => Node::Character(c),
                });
            });
        }
    }
    nodes
}
