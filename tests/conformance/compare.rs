//! When two answers are the same, and which differences are on purpose.

use ebap_tests::wire::{Answer, Rows, readable};

/// A kind of difference from PostgreSQL's answer, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// The server ended, or did not answer in time.
    Ended,
    /// Another value, or another number of rows.
    Value,
    /// The right value under another type.
    Type,
    /// PostgreSQL refuses, EBAP answers.
    Lax,
    /// PostgreSQL answers, EBAP refuses.
    Refused,
    /// The same, by `0A000`: said to be not supported.
    Unsupported,
    /// Both refuse, with different SQLSTATEs.
    Code,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Ended, Self::Value, Self::Type, Self::Lax, Self::Refused, Self::Unsupported, Self::Code];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Value => "value",
            Self::Type => "type",
            Self::Lax => "lax",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::Code => "code",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The demands on two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// The same bytes.
    Exact,
    /// Doubles to fifteen digits, as sums depend on the order of rows; NUMERIC as numbers, of quotients sixteen digits.
    Numbers,
}

const FLOATS: [u32; 2] = [700, 701];
const NUMERIC: u32 = 1700;

/// Compares the second answer with the first, which is PostgreSQL's.
pub(crate) fn difference(right: &Answer, ours: &Answer, strictness: Strictness) -> Option<Kind> {
    match (right, ours) {
        (_, Answer::Lost(_)) => Some(Kind::Ended),
        // Nothing to compare with.
        (Answer::Lost(_), _) => None,
        (Answer::Error(right, _), Answer::Error(ours, _)) if ours == "0A000" || right == ours => None,
        (Answer::Error(..), Answer::Error(..)) => Some(Kind::Code),
        (Answer::Error(..), Answer::Rows(_)) => Some(Kind::Lax),
        (Answer::Rows(_), Answer::Error(code, _)) if code == "0A000" => Some(Kind::Unsupported),
        (Answer::Rows(_), Answer::Error(..)) => Some(Kind::Refused),
        (Answer::Rows(right), Answer::Rows(ours)) => rows_differ(right, ours, strictness),
    }
}

fn rows_differ(right: &Rows, ours: &Rows, strictness: Strictness) -> Option<Kind> {
    if right.rows.len() != ours.rows.len() || right.types.len() != ours.types.len() {
        return Some(Kind::Value);
    }
    let same = right.rows.iter().zip(&ours.rows).all(|(right_row, our_row)| {
        let cells = right_row.iter().zip(our_row).zip(&right.types);
        cells.into_iter().all(|((right, ours), of)| same_value(right.as_deref(), ours.as_deref(), *of, strictness))
    });
    match same {
        false => Some(Kind::Value),
        true => (right.types != ours.types).then_some(Kind::Type),
    }
}

pub(crate) fn same_value(right: Option<&[u8]>, ours: Option<&[u8]>, of: u32, strictness: Strictness) -> bool {
    match (right, ours) {
        (Some(right), Some(ours)) if right == ours => true,
        (Some(right), Some(ours)) if strictness == Strictness::Numbers => {
            let (right, ours) = (readable(right), readable(ours));
            match of {
                of if FLOATS.contains(&of) => near(&right, &ours, if of == 700 { 1e-5 } else { 1e-9 }),
                NUMERIC => same_numeric(&right, &ours),
                _ => false,
            }
        }
        (None, None) => true,
        _ => false,
    }
}

fn near(right: &str, ours: &str, relative: f64) -> bool {
    let (Ok(right), Ok(ours)) = (right.parse::<f64>(), ours.parse::<f64>()) else { return false };
    right == ours || (right - ours).abs() <= relative * right.abs().max(ours.abs()).max(1e-3)
}

/// The same number up to zeros at its end, or two quotients that agree in sixteen digits.
fn same_numeric(right: &str, ours: &str) -> bool {
    let plain = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let (right, ours) = (plain(right), plain(ours));
    if right == ours {
        return true;
    }
    let digits = |text: &str| text.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit).count();
    let (short, long) = if right.len() < ours.len() { (&right, &ours) } else { (&ours, &right) };
    short.contains('.') && digits(short) >= 16 && long.len() > short.len() && near(short, long, 1e-15)
}

/// Answers ordered by their rows, for queries whose order is not said.
pub(crate) fn sorted(answer: Answer) -> Answer {
    match answer {
        Answer::Rows(Rows { types, mut rows }) => {
            rows.sort_by_cached_key(|row| {
                row.iter().zip(&types).map(|(cell, of)| key(cell.as_deref(), *of)).collect::<Vec<_>>()
            });
            Answer::Rows(Rows { types, rows })
        }
        other => other,
    }
}

/// Numbers that count as the same have one key, but for those at the edge of rounding.
fn key(cell: Option<&[u8]>, of: u32) -> Option<String> {
    let text = readable(cell?);
    match text.parse::<f64>() {
        Ok(value) if FLOATS.contains(&of) => Some(format!("{:.5e} {text}", value + 0.0)),
        Ok(value) if of == NUMERIC => {
            Some(format!("{:.12e}{}", value + 0.0, text.split('.').next().unwrap_or_default()))
        }
        _ => Some(text),
    }
}

/// The reason, where a difference is one that EBAP has on purpose. `docs/sql/expressions.md` lists the same.
pub(crate) fn on_purpose(kind: Kind, shape: &str, right: &Answer, ours: &Answer) -> Option<&'static str> {
    let float = shape.contains("<float4>") || shape.contains("<float8>");
    let arithmetic = [" + ", " - ", " * ", " / "].iter().any(|op| shape.contains(op));
    let texts = || -> Option<(String, String)> {
        let (Answer::Rows(right), Answer::Rows(ours)) = (right, ours) else { return None };
        let column = right.types.len().checked_sub(1)?;
        Some((right.text(0, column)?, ours.text(0, column)?))
    };
    match (kind, right, ours) {
        (Kind::Lax, Answer::Error(code, _), _)
            if float && arithmetic && ["22003", "22012"].contains(&code.as_str()) =>
        {
            Some("arithmetic of floats is that of IEEE 754")
        }
        (Kind::Value, ..) if ["cbrt(", "acosh(", "atanh(", "(||/ "].iter().any(|name| shape.contains(name)) => {
            let bits = doubles(right, ours).map(|(right, ours)| right.to_bits().abs_diff(ours.to_bits()));
            let near = |(right, ours): (String, String)| near(&right, &ours, 1e-14);
            (bits.is_some_and(|bits| bits <= 1) || texts().is_some_and(near))
                .then_some("the last digit of these functions")
        }
        (Kind::Refused, _, Answer::Error(code, message)) if code == "22008" && message.contains("interval") => {
            Some("the hours of an interval end at 2562047")
        }
        (Kind::Refused, Answer::Rows(rows), Answer::Error(code, _)) if code == "22008" => {
            let text = rows.text(0, rows.types.len().saturating_sub(1)).unwrap_or_default();
            let year: String = text.chars().take_while(char::is_ascii_digit).collect();
            let far = year.parse::<u32>().is_ok_and(|year| year >= 294_247);
            (far || text.contains("29427")).then_some("timestamps end in the year 294247")
        }
        (Kind::Refused, _, Answer::Error(code, _)) if code == "22003" && declared_numeric(shape) => {
            let Answer::Rows(rows) = right else { return None };
            let value = rows.rows.first().and_then(|row| row.last().cloned()).flatten();
            let nan = value.is_some_and(|value| value == b"NaN" || value == NAN_IN_BINARY);
            nan.then_some("a declared NUMERIC has no NaN")
        }
        (Kind::Value, ..) if doubles(right, ours).is_some_and(|(right, ours)| right.is_nan() && ours.is_nan()) => {
            Some("the bits of a NaN")
        }
        _ => None,
    }
}

/// The last values of the first rows, where they are doubles in binary.
fn doubles(right: &Answer, ours: &Answer) -> Option<(f64, f64)> {
    let one = |answer: &Answer| {
        let Answer::Rows(rows) = answer else { return None };
        let value = rows.rows.first()?.last()?.as_deref()?;
        (rows.types.last() == Some(&FLOAT8)).then(|| Some(f64::from_be_bytes(value.try_into().ok()?)))?
    };
    Some((one(right)?, one(ours)?))
}

/// Number of the type `float8`.
const FLOAT8: u32 = 701;

/// A NUMERIC that is no number, as it is sent in binary.
const NAN_IN_BINARY: [u8; 8] = [0, 0, 0, 0, 0xc0, 0, 0, 0];

fn declared_numeric(shape: &str) -> bool {
    shape.contains("::numeric(")
}
