//! The table of all types that expressions and queries are over, made from a seed for both servers.

use ebap_tests::random::Random;
use ebap_values::PgType;
use serde_json::{Map, Value, json};

use super::values::{ELEMENTS, TYPES, quoted, sql_name, values};

const ROWS: usize = 40;

/// Columns with the types that records can bring, and what is usual in them.
pub(crate) fn columns() -> Vec<(&'static str, &'static str, PgType)> {
    let ints = PgType::Array(Box::new(PgType::Int4));
    let texts = PgType::Array(Box::new(PgType::Text));
    vec![
        ("i2", "SMALLINT", PgType::Int2),
        ("i4", "INTEGER", PgType::Int4),
        ("i8", "BIGINT", PgType::Int8),
        ("f4", "REAL", PgType::Float4),
        ("f8", "DOUBLE PRECISION", PgType::Float8),
        ("nu", "NUMERIC(12,3)", PgType::Numeric),
        ("nv", "NUMERIC(30,10)", PgType::Numeric),
        ("tx", "TEXT", PgType::Text),
        ("ty", "TEXT", PgType::Text),
        ("bo", "BOOLEAN", PgType::Bool),
        ("bp", "BOOLEAN", PgType::Bool),
        ("tz", "TIMESTAMPTZ", PgType::Timestamptz),
        ("ts", "TIMESTAMP", PgType::Timestamp),
        ("da", "DATE", PgType::Date),
        ("uu", "UUID", PgType::Uuid),
        ("js", "JSONB", PgType::Jsonb),
        ("li", "INTEGER[]", ints),
        ("lt", "TEXT[]", texts),
    ]
}

/// Columns of text that hold the values of a type which no record need be able to bring; read through a cast.
pub(crate) fn hostile_columns() -> Vec<(String, PgType)> {
    let arrays = ELEMENTS.iter().map(|of| PgType::Array(Box::new(of.clone())));
    let types = TYPES.iter().filter(|of| **of != PgType::Text).cloned().chain(arrays);
    types.map(|of| (format!("h_{}", sql_name(&of).replace("[]", "s")), of)).collect()
}

/// The columns of `d` as both servers declare them.
pub(crate) fn declaration() -> String {
    let plain = columns().into_iter().map(|(name, declared, _)| format!("{name} {declared}"));
    let hostile = hostile_columns().into_iter().map(|(name, _)| format!("{name} TEXT"));
    let all: Vec<String> = plain.chain(hostile).collect();
    format!("id BIGINT PRIMARY KEY, {}", all.join(", "))
}

/// One row as an object of JSON.
pub(crate) fn rows(seed: u64) -> Vec<Map<String, Value>> {
    let mut random = Random::new(seed);
    (0..ROWS).map(|id| row(&mut random, id)).collect()
}

fn row(random: &mut Random, id: usize) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("id".to_owned(), json!(id));
    for (name, _, of) in columns() {
        let value = if random.one_in(9) { Value::Null } else { usual(random, name, &of) };
        row.insert(name.to_owned(), value);
    }
    for (name, of) in hostile_columns() {
        let all = values(&of);
        // In turn, so that each value is there; with one more place for NULL.
        let value = all.get(id % (all.len() + 1)).map_or(Value::Null, |text| json!(text));
        row.insert(name, value);
    }
    row
}

/// Values that a record in JSON can bring.
fn usual(random: &mut Random, name: &str, of: &PgType) -> Value {
    let texts: &[&str] = match (name, of) {
        ("nu", _) => &["0", "1", "-1", "0.001", "-0.005", "2.5", "3.5", "1234.5", "99999999.999", "999999999.999"],
        ("nv", _) => &["0", "1.5", "-2.25", "0.0000000001", "1234567890.123", "10", "99999999999999999999.9999999999"],
        (_, PgType::Float4) => &["0", "1.5", "-1.5", "0.1", "2.5", "100.25", "1e10"],
        (_, PgType::Float8) => &["0", "-0.5", "0.5", "1.5", "2.5", "3.5", "0.1", "1e15", "1e-7", "123456.789", "-99.5"],
        (_, PgType::Timestamptz) => &[
            "2026-01-01T00:00:00Z",
            "2026-03-29T00:59:59.999Z",
            "2026-03-29T01:00:00Z",
            "2024-02-29T12:00:00Z",
            "1969-12-31T23:59:59.5Z",
            "2026-12-31T23:59:59.999999Z",
        ],
        (_, PgType::Timestamp) => &[
            "2026-01-01T00:00:00",
            "2024-02-29T12:34:56.789",
            "1970-01-01T00:00:00",
            "1969-07-20T20:17:40",
            "2026-03-29T02:30:00",
        ],
        (_, PgType::Date) => &["2026-01-01", "2024-02-29", "2026-01-31", "1969-07-20", "9999-12-31"],
        (_, PgType::Array(element)) if **element == PgType::Int4 => {
            return random.of(&[json!([1, 2, null]), json!([]), json!([3, 1, 3]), json!([2_147_483_647])]).clone();
        }
        (_, PgType::Array(_)) => {
            return random.of(&[json!(["a", "", null]), json!([]), json!(["b", "NULL"]), json!(["ä,\""])]).clone();
        }
        (_, PgType::Jsonb) => {
            return random.of(&[json!({"a": 1, "b": [true, "x"]}), json!([1, 2]), json!("s")]).clone();
        }
        (_, of) => values(of),
    };
    let text = *random.of(texts);
    match of {
        PgType::Bool => json!(text == "t"),
        PgType::Int2 | PgType::Int4 | PgType::Int8 => text.parse::<i64>().map_or(Value::Null, |value| json!(value)),
        PgType::Float4 | PgType::Float8 => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => json!(value),
            _ => json!(text),
        },
        _ => json!(text),
    }
}

/// The row as PostgreSQL takes it.
pub(crate) fn inserted(table: &str, row: &Map<String, Value>) -> String {
    let names: Vec<&str> = row.keys().map(String::as_str).collect();
    let texts: Vec<String> = row.iter().map(|(name, value)| sql_value(name, value)).collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), texts.join(", "))
}

fn sql_value(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        _ if name == "js" => quoted(&value.to_string()),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| sql_value("", item)).collect();
            let of = if name == "li" { "int4" } else { "text" };
            format!("ARRAY[{}]::{of}[]", items.join(", "))
        }
        other => other.to_string(),
    }
}
