//! The operators of PostgreSQL between two values: which there are, and what they answer with.

use std::sync::LazyLock;

use ebap_values::PgType;

use super::overload::{NoChoice, Place, choose};
use crate::{Error, Result};

/// An operator that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) left: PgType,
    pub(super) right: PgType,
    pub(super) returns: PgType,
}

type Row = (PgType, PgType, PgType);

const INTS: [PgType; 3] = [PgType::Int2, PgType::Int4, PgType::Int8];
const MOMENTS: [PgType; 3] = [PgType::Date, PgType::Timestamp, PgType::Timestamptz];

/// The operators of one name.
struct Operators {
    rows: Vec<Row>,
    places: Vec<Vec<Place>>,
}

impl Operators {
    fn new(rows: Vec<Row>) -> Self {
        let places = rows.iter().map(|(left, right, _)| vec![Place::Of(left.clone()), Place::Of(right.clone())]);
        Self { places: places.collect(), rows }
    }
}

/// True for an operator that answers with true or false by comparing.
pub(super) fn is_comparison(op: &str) -> bool {
    matches!(op, "=" | "<>" | "<" | "<=" | ">" | ">=")
}

/// True for a match with a pattern: regular expressions and LIKE.
pub(super) fn is_match(op: &str) -> bool {
    matches!(op, "~" | "~*" | "!~" | "!~*" | "~~" | "~~*" | "!~~" | "!~~*")
}

/// The operator that `left op right` means.
///
/// # Errors
/// 42883 where there is none, 42725 where more than one fits.
pub(super) fn binary(op: &str, left: &PgType, right: &PgType) -> Result<Operation> {
    if let Some(found) = polymorphic(op, left, right) {
        return Ok(found);
    }
    let table = table(op);
    match choose(&table.places, &[left.clone(), right.clone()]) {
        Ok(at) => {
            let (left, right, returns) = table.rows[at].clone();
            Ok(Operation { left, right, returns })
        }
        Err(NoChoice::None) => Err(Error::new("42883", format!("operator does not exist: {left} {op} {right}"))
            .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")),
        Err(NoChoice::Ambiguous) => Err(Error::new("42725", format!("operator is not unique: {left} {op} {right}"))
            .hint("Could not choose a best candidate operator. You might need to add explicit type casts.")),
    }
}

/// Operators that take more than the types of a table: on arrays, and `||` of a text with anything.
fn polymorphic(op: &str, left: &PgType, right: &PgType) -> Option<Operation> {
    let operation = |left: &PgType, right: &PgType, returns: PgType| {
        Some(Operation { left: left.clone(), right: right.clone(), returns })
    };
    let array = match (left, right) {
        (PgType::Array(_), PgType::Unknown) => Some(left),
        (PgType::Unknown, PgType::Array(_)) => Some(right),
        (PgType::Array(_), PgType::Array(_)) if left == right => Some(left),
        _ => None,
    };
    if let Some(array) = array
        && (is_comparison(op) || matches!(op, "||" | "&&" | "@>" | "<@"))
    {
        return operation(array, array, if op == "||" { array.clone() } else { PgType::Bool });
    }
    match (op, left, right) {
        ("||", PgType::Array(of), other) if **of == *other => operation(left, other, left.clone()),
        ("||", other, PgType::Array(of)) if **of == *other => operation(other, right, right.clone()),
        ("||", PgType::Text, other) | ("||", other, PgType::Text) if !matches!(other, PgType::Array(_)) => {
            operation(&PgType::Text, &PgType::Text, PgType::Text)
        }
        // A quoted literal beside a value that is no text: the value becomes text.
        ("||", PgType::Unknown, other) | ("||", other, PgType::Unknown)
            if !matches!(other, PgType::Array(_) | PgType::Bytea) =>
        {
            operation(&PgType::Text, &PgType::Text, PgType::Text)
        }
        _ => None,
    }
}

fn table(op: &str) -> &'static Operators {
    static ADD: LazyLock<Operators> = LazyLock::new(|| Operators::new(add()));
    static SUBTRACT: LazyLock<Operators> = LazyLock::new(|| Operators::new(subtract()));
    static MULTIPLY: LazyLock<Operators> = LazyLock::new(|| Operators::new(multiply()));
    static DIVIDE: LazyLock<Operators> = LazyLock::new(|| Operators::new(divide()));
    static MODULO: LazyLock<Operators> = LazyLock::new(|| Operators::new(modulo()));
    static POWER: LazyLock<Operators> = LazyLock::new(|| Operators::new(power()));
    static BITS: LazyLock<Operators> = LazyLock::new(|| Operators::new(alike(&INTS, None)));
    static SHIFT: LazyLock<Operators> = LazyLock::new(|| Operators::new(shift()));
    static CONCAT: LazyLock<Operators> = LazyLock::new(|| Operators::new(alike(&[PgType::Text, PgType::Bytea], None)));
    static COMPARE: LazyLock<Operators> = LazyLock::new(|| Operators::new(compare()));
    static MATCH: LazyLock<Operators> = LazyLock::new(|| Operators::new(alike(&[PgType::Text], Some(PgType::Bool))));
    static NONE: LazyLock<Operators> = LazyLock::new(|| Operators::new(Vec::new()));
    match op {
        "+" => &ADD,
        "-" => &SUBTRACT,
        "*" => &MULTIPLY,
        "/" => &DIVIDE,
        "%" => &MODULO,
        "^" => &POWER,
        "&" | "|" | "#" => &BITS,
        "<<" | ">>" => &SHIFT,
        "||" => &CONCAT,
        "^@" => &MATCH,
        op if is_comparison(op) => &COMPARE,
        op if is_match(op) => &MATCH,
        _ => &NONE,
    }
}

/// The same type on both sides; the result is of it too, unless another is given.
fn alike(types: &[PgType], returns: Option<PgType>) -> Vec<Row> {
    let row = |of: &PgType| (of.clone(), of.clone(), returns.clone().unwrap_or_else(|| of.clone()));
    types.iter().map(row).collect()
}

/// Every pair of integers, every pair of floats, and NUMERIC.
fn numbers() -> Vec<Row> {
    let floats = [PgType::Float4, PgType::Float8];
    let mut rows = alike(&[PgType::Numeric], None);
    for group in [&INTS[..], &floats[..]] {
        for (left_at, left) in group.iter().enumerate() {
            for (right_at, right) in group.iter().enumerate() {
                rows.push((left.clone(), right.clone(), group[left_at.max(right_at)].clone()));
            }
        }
    }
    rows
}

fn add() -> Vec<Row> {
    use PgType::{Date, Int4, Interval, Time, Timestamp, Timestamptz};
    let mut rows = numbers();
    rows.push((Interval, Interval, Interval));
    let both = [
        (Date, Int4, Date),
        (Date, Interval, Timestamp),
        (Date, Time, Timestamp),
        (Timestamp, Interval, Timestamp),
        (Timestamptz, Interval, Timestamptz),
        (Time, Interval, Time),
    ];
    for (left, right, returns) in both {
        rows.push((left.clone(), right.clone(), returns.clone()));
        rows.push((right, left, returns));
    }
    rows
}

fn subtract() -> Vec<Row> {
    use PgType::{Date, Int4, Interval, Time, Timestamp, Timestamptz};
    let mut rows = numbers();
    rows.extend([
        (Date, Int4, Date),
        (Date, Date, Int4),
        (Date, Interval, Timestamp),
        (Timestamp, Timestamp, Interval),
        (Timestamptz, Timestamptz, Interval),
        (Timestamp, Interval, Timestamp),
        (Timestamptz, Interval, Timestamptz),
        (Time, Time, Interval),
        (Time, Interval, Time),
        (Interval, Interval, Interval),
    ]);
    rows
}

fn multiply() -> Vec<Row> {
    use PgType::{Float8, Interval};
    let mut rows = numbers();
    rows.extend([(Interval, Float8, Interval), (Float8, Interval, Interval)]);
    rows
}

fn divide() -> Vec<Row> {
    let mut rows = numbers();
    rows.push((PgType::Interval, PgType::Float8, PgType::Interval));
    rows
}

fn modulo() -> Vec<Row> {
    let mut rows = alike(&INTS, None);
    rows.extend(alike(&[PgType::Numeric], None));
    rows
}

fn power() -> Vec<Row> {
    alike(&[PgType::Float8, PgType::Numeric], None)
}

fn shift() -> Vec<Row> {
    INTS.iter().map(|of| (of.clone(), PgType::Int4, of.clone())).collect()
}

fn compare() -> Vec<Row> {
    use PgType::{Bool, Bytea, Interval, Json, Text, Time, Uuid};
    let mut rows: Vec<Row> = numbers().into_iter().map(|(left, right, _)| (left, right, Bool)).collect();
    rows.extend(alike(&[Bool, Text, Bytea, Time, Interval, Uuid, Json], Some(Bool)));
    for left in &MOMENTS {
        rows.extend(MOMENTS.iter().map(|right| (left.clone(), right.clone(), Bool)));
    }
    rows
}

/// The type that both sides of a comparison are brought to.
pub(super) fn compared_as(operation: &Operation) -> PgType {
    let order = [
        PgType::Int2,
        PgType::Int4,
        PgType::Int8,
        PgType::Float4,
        PgType::Float8,
        PgType::Date,
        PgType::Timestamp,
        PgType::Timestamptz,
    ];
    let rank = |of: &PgType| order.iter().position(|other| other == of);
    if rank(&operation.left) >= rank(&operation.right) { operation.left.clone() } else { operation.right.clone() }
}
