//! The operators of PostgreSQL between two values: which there are, and what they answer with.

use std::sync::LazyLock;

use ebap_values::PgType;

use super::overload::{NoChoice, Place, choose, common_type};
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
    if op == "||"
        && let Some(found) = of_compatible(left, right)
    {
        return Some(found);
    }
    match (op, left, right) {
        ("||", PgType::Array(of), other) if **of == *other => operation(left, other, left.clone()),
        ("||", other, PgType::Array(of)) if **of == *other => operation(other, right, right.clone()),
        ("||", PgType::Text, other) | ("||", other, PgType::Text) if !matches!(other, PgType::Array(_)) => {
            operation(&PgType::Text, &PgType::Text, PgType::Text)
        }
        // A quoted literal beside a value that is no text: the value becomes text.
        ("||", PgType::Unknown, other) | ("||", other, PgType::Unknown)
            if !matches!(other, PgType::Array(_) | PgType::Bytea | PgType::Jsonb) =>
        {
            operation(&PgType::Text, &PgType::Text, PgType::Text)
        }
        _ => None,
    }
}

/// `||` of an array with an array or an element of another type, where both have one in common.
fn of_compatible(left: &PgType, right: &PgType) -> Option<Operation> {
    let element = |of: &PgType| match of {
        PgType::Array(of) => of.as_ref().clone(),
        other => other.clone(),
    };
    let types = [element(left), element(right)];
    let arrays = [left, right].map(|of| matches!(of, PgType::Array(_)));
    if arrays == [false, false] || types[0] == types[1] || types.contains(&PgType::Unknown) {
        return None;
    }
    let of = common_type(&types)?;
    let array = PgType::Array(Box::new(of.clone()));
    let [left, right] = arrays.map(|is_array| if is_array { array.clone() } else { of.clone() });
    Some(Operation { left, right, returns: array })
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
    static CONCAT: LazyLock<Operators> =
        LazyLock::new(|| Operators::new(alike(&[PgType::Text, PgType::Bytea, PgType::Jsonb], None)));
    static COMPARE: LazyLock<Operators> = LazyLock::new(|| Operators::new(compare()));
    static STARTS: LazyLock<Operators> = LazyLock::new(|| Operators::new(alike(&[PgType::Text], Some(PgType::Bool))));
    static MATCH: LazyLock<Operators> = LazyLock::new(|| {
        let of_text = |of| (of, PgType::Text, PgType::Bool);
        Operators::new([PgType::Text, PgType::Bpchar].map(of_text).into())
    });
    static JSON: LazyLock<Vec<(&'static str, Operators)>> =
        LazyLock::new(|| JSON_OPERATORS.map(|op| (op, Operators::new(json(op)))).into());
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
        "^@" => &STARTS,
        op if is_comparison(op) => &COMPARE,
        op if is_match(op) => &MATCH,
        op => JSON.iter().find(|(own, _)| *own == op).map_or(&NONE, |(_, found)| found),
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
    rows.extend(json("-"));
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
    use PgType::{Bool, Bytea, Interval, Jsonb, Text, Time, Uuid};
    let mut rows: Vec<Row> = numbers().into_iter().map(|(left, right, _)| (left, right, Bool)).collect();
    rows.extend(alike(&[Bool, Text, Bytea, Time, Interval, Uuid, Jsonb, PgType::Bpchar], Some(Bool)));
    for left in &MOMENTS {
        rows.extend(MOMENTS.iter().map(|right| (left.clone(), right.clone(), Bool)));
    }
    rows
}

/// Operators that only `json` and `jsonb` have; those of arrays are `polymorphic`.
const JSON_OPERATORS: [&str; 10] = ["->", "->>", "#>", "#>>", "@>", "<@", "?", "?|", "?&", "#-"];

fn json(op: &str) -> Vec<Row> {
    use PgType::{Bool, Int4, Json, Jsonb, Text};
    let texts = PgType::Array(Box::new(Text));
    let of_both = |right: &PgType, returns: Option<PgType>| {
        [Json, Jsonb].map(|of| (of.clone(), right.clone(), returns.clone().unwrap_or(of)))
    };
    match op {
        "->" => [of_both(&Text, None), of_both(&Int4, None)].concat(),
        "->>" => [of_both(&Text, Some(Text)), of_both(&Int4, Some(Text))].concat(),
        "#>" => of_both(&texts, None).into(),
        "#>>" => of_both(&texts, Some(Text)).into(),
        "@>" | "<@" => vec![(Jsonb, Jsonb, Bool)],
        "?" => vec![(Jsonb, Text, Bool)],
        "?|" | "?&" => vec![(Jsonb, texts, Bool)],
        "-" => [Text, texts, Int4].map(|right| (Jsonb, right, Jsonb)).into(),
        "#-" => vec![(Jsonb, texts, Jsonb)],
        _ => Vec::new(),
    }
}

/// The function that PostgreSQL has behind an operator, where it is called by this layer.
pub(super) fn function_of(op: &str, operation: &Operation) -> Option<&'static str> {
    let (is_json, by_place) = (operation.left == PgType::Json, operation.right == PgType::Int4);
    let is_array = matches!(operation.left, PgType::Array(_));
    Some(match (op, is_json, by_place) {
        ("->", true, false) => "json_object_field",
        ("->", true, true) => "json_array_element",
        ("->", false, false) => "jsonb_object_field",
        ("->", false, true) => "jsonb_array_element",
        ("->>", true, false) => "json_object_field_text",
        ("->>", true, true) => "json_array_element_text",
        ("->>", false, false) => "jsonb_object_field_text",
        ("->>", false, true) => "jsonb_array_element_text",
        ("#>", true, _) => "json #>",
        ("#>", false, _) => "jsonb #>",
        ("#>>", true, _) => "json #>>",
        ("#>>", false, _) => "jsonb #>>",
        ("@>", ..) => {
            if is_array {
                "arraycontains"
            } else {
                "jsonb_contains"
            }
        }
        ("<@", ..) => {
            if is_array {
                "arraycontained"
            } else {
                "jsonb_contained"
            }
        }
        ("&&", ..) if is_array => "arrayoverlap",
        ("?", ..) => "jsonb_exists",
        ("?|", ..) => "jsonb_exists_any",
        ("?&", ..) => "jsonb_exists_all",
        ("#-", ..) => "jsonb_delete_path",
        ("-", ..) if operation.left == PgType::Jsonb => match operation.right {
            PgType::Array(_) => "jsonb -",
            _ => "jsonb_delete",
        },
        ("||", ..) if operation.left == PgType::Jsonb => "jsonb_concat",
        _ => return None,
    })
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
