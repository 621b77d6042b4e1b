//! Which casts there are, and where PostgreSQL makes them without being asked.

use ebap_values::PgType;

/// How much a cast may change what a statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    /// Anywhere in an expression.
    Implicit,
    /// Where a value is stored in a column.
    Assignment,
    /// Only where CAST or `::` asks for it.
    Explicit,
}

/// Whether there is a cast in this context.
pub fn can_cast(from: &PgType, to: &PgType, context: CastContext) -> bool {
    least_context(from, to).is_some_and(|least| context >= least)
}

/// The least context in which PostgreSQL makes the cast.
fn least_context(from: &PgType, to: &PgType) -> Option<CastContext> {
    use CastContext::{Assignment, Explicit, Implicit};
    match (from, to) {
        (PgType::Record, PgType::Text | PgType::Bpchar) => Some(Assignment),
        (PgType::Composite | PgType::Record, _) | (_, PgType::Composite | PgType::Record | PgType::Unknown) => {
            (from == to).then_some(Implicit)
        }
        (from, to) if from == to => Some(Implicit),
        (PgType::Unknown, _) => Some(Implicit),
        (PgType::Array(from), PgType::Array(to)) => least_context(from, to),
        (PgType::Text, PgType::Bpchar) | (PgType::Bpchar, PgType::Text) => Some(Implicit),
        (_, PgType::Text | PgType::Bpchar) => Some(Assignment),
        (PgType::Text | PgType::Bpchar, _) => Some(Explicit),
        _ => of_numbers(from, to).or_else(|| of_times(from, to)),
    }
}

/// Where a number stands in the order of widening casts.
fn number_rank(of: &PgType) -> Option<u8> {
    Some(match of {
        PgType::Int2 => 0,
        PgType::Int4 => 1,
        PgType::Int8 => 2,
        PgType::Numeric => 3,
        PgType::Float4 => 4,
        PgType::Float8 => 5,
        _ => return None,
    })
}

fn of_numbers(from: &PgType, to: &PgType) -> Option<CastContext> {
    if let (Some(a), Some(b)) = (number_rank(from), number_rank(to)) {
        return Some(if a < b { CastContext::Implicit } else { CastContext::Assignment });
    }
    let of_json = number_rank(to).is_some() || *to == PgType::Bool;
    match (from, to) {
        (PgType::Bool, PgType::Int4) | (PgType::Int4, PgType::Bool) => Some(CastContext::Explicit),
        (PgType::Jsonb, _) if of_json => Some(CastContext::Explicit),
        (PgType::Json, PgType::Jsonb) | (PgType::Jsonb, PgType::Json) => Some(CastContext::Assignment),
        _ => None,
    }
}

fn of_times(from: &PgType, to: &PgType) -> Option<CastContext> {
    match (from, to) {
        (PgType::Date, PgType::Timestamp | PgType::Timestamptz)
        | (PgType::Timestamp, PgType::Timestamptz)
        | (PgType::Time, PgType::Interval) => Some(CastContext::Implicit),
        (PgType::Timestamp, PgType::Date | PgType::Time)
        | (PgType::Timestamptz, PgType::Date | PgType::Time | PgType::Timestamp)
        | (PgType::Interval, PgType::Time) => Some(CastContext::Assignment),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_those_of_pg_cast() {
        use CastContext::{Assignment, Explicit, Implicit};
        let cases = [
            (PgType::Int2, PgType::Int8, Some(Implicit)),
            (PgType::Int8, PgType::Float4, Some(Implicit)),
            (PgType::Int8, PgType::Int4, Some(Assignment)),
            (PgType::Float4, PgType::Numeric, Some(Assignment)),
            (PgType::Numeric, PgType::Float8, Some(Implicit)),
            (PgType::Float8, PgType::Float4, Some(Assignment)),
            (PgType::Int4, PgType::Bool, Some(Explicit)),
            (PgType::Int2, PgType::Bool, None),
            (PgType::Date, PgType::Timestamptz, Some(Implicit)),
            (PgType::Timestamptz, PgType::Timestamp, Some(Assignment)),
            (PgType::Date, PgType::Time, None),
            (PgType::Interval, PgType::Text, Some(Assignment)),
            (PgType::Text, PgType::Interval, Some(Explicit)),
            (PgType::Date, PgType::Int4, None),
        ];
        for (from, to, expected) in cases {
            assert_eq!(least_context(&from, &to), expected, "{from} to {to}");
        }
    }
}
