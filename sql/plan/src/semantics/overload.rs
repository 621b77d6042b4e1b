//! Which of several operators or functions of one name is meant, by the types of the arguments.
//!
//! The rules are those of PostgreSQL's manual, sections 10.2 "Operators" and 10.3 "Functions".

use ebap_functions::{CastContext, can_cast};
use ebap_values::PgType;

/// The groups of types among which PostgreSQL prefers one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Unknown,
    Numeric,
    String,
    DateTime,
    Timespan,
    Boolean,
    Array,
    User,
    Composite,
}

pub(super) fn category(of: &PgType) -> Category {
    match of {
        PgType::Unknown => Category::Unknown,
        PgType::Bool => Category::Boolean,
        PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8 | PgType::Numeric => {
            Category::Numeric
        }
        PgType::Text | PgType::Bpchar => Category::String,
        PgType::Date | PgType::Timestamp | PgType::Timestamptz | PgType::Time => Category::DateTime,
        PgType::Interval => Category::Timespan,
        PgType::Bytea | PgType::Uuid | PgType::Json | PgType::Jsonb => Category::User,
        PgType::Array(_) => Category::Array,
        PgType::Composite | PgType::Record => Category::Composite,
    }
}

/// The type of its group that others give way to.
pub(super) fn is_preferred(of: &PgType) -> bool {
    matches!(of, PgType::Bool | PgType::Float8 | PgType::Text | PgType::Timestamptz | PgType::Interval)
}

pub(super) fn is_implicit(from: &PgType, to: &PgType) -> bool {
    from == to || *from == PgType::Unknown || can_cast(from, to, CastContext::Implicit)
}

/// What one place of a candidate takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Of(PgType),
    /// Any type, without a conversion.
    Any,
    AnyArray,
}

impl Place {
    fn takes(&self, given: &PgType) -> bool {
        match self {
            Self::Of(of) => is_implicit(given, of),
            Self::Any => true,
            Self::AnyArray => matches!(given, PgType::Array(_) | PgType::Unknown),
        }
    }

    fn is_exact(&self, given: &PgType) -> bool {
        match self {
            Self::Of(of) => of == given,
            Self::Any | Self::AnyArray => *given != PgType::Unknown,
        }
    }

    fn category(&self) -> Category {
        match self {
            Self::Of(of) => category(of),
            Self::Any => Category::Unknown,
            Self::AnyArray => Category::Array,
        }
    }

    fn is_preferred(&self) -> bool {
        matches!(self, Self::Of(of) if is_preferred(of))
    }
}

/// Why none was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoChoice {
    /// 42883
    None,
    /// 42725
    Ambiguous,
}

/// The index of the candidate that is meant. Each candidate has as many places as there are arguments.
pub(super) fn choose(candidates: &[Vec<Place>], given: &[PgType]) -> Result<usize, NoChoice> {
    let takes = |at: &usize| candidates[*at].iter().zip(given).all(|(place, given)| place.takes(given));
    let all: Vec<usize> = (0..candidates.len()).filter(takes).collect();
    let exact = |at: &usize| candidates[*at].iter().zip(given).all(|(place, given)| place.is_exact(given));
    if let Some(found) = all.iter().find(|at| exact(at)) {
        return Ok(*found);
    }
    if let [unknown_as_other] = &same_as_other(candidates, given, &all)[..] {
        return Ok(*unknown_as_other);
    }
    let count_exact = |at: usize| {
        let places = candidates[at].iter().zip(given);
        places.filter(|(place, given)| **given != PgType::Unknown && place.is_exact(given)).count()
    };
    let left = with_most(&all, count_exact);
    let left = with_most(&left, |at| {
        let places = candidates[at].iter().zip(given).filter(|(_, given)| **given != PgType::Unknown);
        places.filter(|(place, given)| place.is_exact(given) || place.is_preferred()).count()
    });
    let left = by_category(candidates, given, left);
    match left[..] {
        [one] => Ok(one),
        [] => Err(NoChoice::None),
        _ => last_resort(candidates, given, &left),
    }
}

/// Of an operator with one unknown side: the candidate that has the other's type on both sides.
fn same_as_other(candidates: &[Vec<Place>], given: &[PgType], all: &[usize]) -> Vec<usize> {
    let [left, right] = given else { return Vec::new() };
    let of = match (left, right) {
        (PgType::Unknown, of) | (of, PgType::Unknown) if *of != PgType::Unknown => of,
        _ => return Vec::new(),
    };
    let same = |at: &&usize| candidates[**at].iter().all(|place| *place == Place::Of(of.clone()));
    all.iter().filter(same).copied().collect()
}

fn with_most(of: &[usize], count: impl Fn(usize) -> usize) -> Vec<usize> {
    let most = of.iter().map(|at| count(*at)).max().unwrap_or(0);
    of.iter().copied().filter(|at| count(*at) == most).collect()
}

/// An unknown argument takes the group that a text may be, else the one that all candidates agree on.
fn by_category(candidates: &[Vec<Place>], given: &[PgType], mut left: Vec<usize>) -> Vec<usize> {
    if left.len() < 2 {
        return left;
    }
    for (at, _) in given.iter().enumerate().filter(|(_, given)| **given == PgType::Unknown) {
        let group = |candidate: usize| candidates[candidate][at].category();
        let chosen = match left.iter().any(|candidate| group(*candidate) == Category::String) {
            true => Category::String,
            false => match left.first().map(|first| group(*first)) {
                Some(first) if left.iter().all(|candidate| group(*candidate) == first) => first,
                _ => return left,
            },
        };
        let of_group: Vec<usize> = left.iter().copied().filter(|candidate| group(*candidate) == chosen).collect();
        let preferred = |candidate: &usize| candidates[*candidate][at].is_preferred();
        let best: Vec<usize> = of_group.iter().copied().filter(preferred).collect();
        left = if best.is_empty() { of_group } else { best };
    }
    left
}

/// Where all known arguments are of one type, the unknown ones are too.
fn last_resort(candidates: &[Vec<Place>], given: &[PgType], left: &[usize]) -> Result<usize, NoChoice> {
    let mut known = given.iter().filter(|given| **given != PgType::Unknown);
    let Some(first) = known.next() else { return Err(NoChoice::Ambiguous) };
    if known.any(|other| other != first) || given.iter().all(|given| *given != PgType::Unknown) {
        return Err(NoChoice::Ambiguous);
    }
    let takes = |at: &usize| candidates[*at].iter().all(|place| place.takes(first));
    match left.iter().copied().filter(takes).collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        _ => Err(NoChoice::Ambiguous),
    }
}

/// The type that several values share, as of `CASE`, `UNION`, `VALUES` and `IN`; `None` where there is none.
/// Source: section 10.5, "UNION, CASE, and Related Constructs".
pub(super) fn common_type(types: &[PgType]) -> Option<PgType> {
    let mut known = types.iter().filter(|of| **of != PgType::Unknown);
    let Some(first) = known.next() else { return Some(PgType::Text) };
    let mut found = first.clone();
    for next in known {
        if *next == found {
            continue;
        }
        if category(next) != category(&found) {
            return None;
        }
        if !is_preferred(&found) && is_implicit(&found, next) && !is_implicit(next, &found) {
            found = next.clone();
        }
    }
    types.iter().all(|of| is_implicit(of, &found)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::operators::{Operation, binary};

    fn chosen(op: &str, left: PgType, right: PgType) -> Option<(PgType, PgType, PgType)> {
        binary(op, &left, &right).ok().map(|Operation { left, right, returns }| (left, right, returns))
    }

    #[test]
    fn an_operator_is_the_one_of_postgresql() {
        use PgType::{Date, Float4, Float8, Int2, Int4, Int8, Interval, Numeric, Text, Timestamp, Unknown};
        for (op, left, right, meant) in [
            ("+", Int2, Int4, (Int2, Int4, Int4)),
            ("+", Int4, Float4, (Float8, Float4, Float8)),
            ("+", Int8, Numeric, (Numeric, Numeric, Numeric)),
            ("*", Numeric, Float4, (Float8, Float4, Float8)),
            ("+", Date, Int2, (Date, Int4, Date)),
            ("+", Date, Interval, (Date, Interval, Timestamp)),
            ("-", Timestamp, Unknown, (Timestamp, Timestamp, Interval)),
            ("+", Timestamp, Unknown, (Timestamp, Interval, Timestamp)),
            ("*", Interval, Int4, (Interval, Float8, Interval)),
            (">", Int4, Unknown, (Int4, Int4, PgType::Bool)),
            ("<", Date, Timestamp, (Date, Timestamp, PgType::Bool)),
            ("||", Text, Int4, (Text, Text, Text)),
            ("||", Unknown, Unknown, (Text, Text, Text)),
            ("<<", Int8, Int4, (Int8, Int4, Int8)),
        ] {
            assert_eq!(chosen(op, left.clone(), right.clone()), Some(meant), "{left} {op} {right}");
        }
    }

    #[test]
    fn what_postgresql_has_no_operator_for_is_refused() {
        use PgType::{Bool, Date, Int4, Int8, Text, Unknown};
        for (op, left, right) in
            [("=", Text, Int4), ("+", Text, Int4), ("+", Date, Int8), ("=", Bool, Int4), ("+", Unknown, Unknown)]
        {
            assert_eq!(chosen(op, left.clone(), right.clone()), None, "{left} {op} {right}");
        }
    }

    #[test]
    fn branches_share_the_type_of_postgresql() {
        use PgType::{Date, Float8, Int4, Int8, Numeric, Text, Timestamp, Unknown};
        assert_eq!(common_type(&[Int4, Numeric, Int8]), Some(Numeric));
        assert_eq!(common_type(&[Numeric, Float8]), Some(Float8));
        assert_eq!(common_type(&[Unknown, Int4]), Some(Int4));
        assert_eq!(common_type(&[Unknown, Unknown]), Some(Text));
        assert_eq!(common_type(&[Date, Timestamp]), Some(Timestamp));
        assert_eq!(common_type(&[Text, Int4]), None);
    }
}
