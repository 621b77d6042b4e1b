//! The types that are compared, and of each the values at which implementations go wrong.

use ebap_values::PgType;

/// Every type of an expression but arrays.
pub(crate) const TYPES: [PgType; 16] = [
    PgType::Bool,
    PgType::Int2,
    PgType::Int4,
    PgType::Int8,
    PgType::Float4,
    PgType::Float8,
    PgType::Numeric,
    PgType::Text,
    PgType::Bytea,
    PgType::Date,
    PgType::Timestamp,
    PgType::Timestamptz,
    PgType::Time,
    PgType::Interval,
    PgType::Uuid,
    PgType::Jsonb,
];

/// The element types of arrays.
pub(crate) const ELEMENTS: [PgType; 7] =
    [PgType::Int4, PgType::Text, PgType::Numeric, PgType::Float8, PgType::Bool, PgType::Timestamptz, PgType::Uuid];

const BOOL: &[&str] = &["t", "f"];
const INT2: &[&str] = &["0", "1", "-1", "2", "7", "100", "32767", "-32768"];
const INT4: &[&str] = &["0", "1", "-1", "2", "3", "10", "31", "32", "42", "1000", "32768", "2147483647", "-2147483648"];
const INT8: &[&str] = &[
    "0",
    "1",
    "-1",
    "5",
    "63",
    "200",
    "2147483648",
    "-2147483649",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
];
const FLOAT4: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1.5",
    "0.1",
    "2.5",
    "NaN",
    "Infinity",
    "-Infinity",
    "3.4028235e+38",
    "1e-45",
    "16777217",
    "1e10",
];
const FLOAT8: &[&str] = &[
    "0",
    "-0",
    "1",
    "-0.5",
    "0.1",
    "1.5",
    "2.5",
    "-99.5",
    "NaN",
    "Infinity",
    "-Infinity",
    "1.7976931348623157e+308",
    "5e-324",
    "2.2250738585072014e-308",
    "9007199254740993",
    "1e15",
    "1e16",
    "123456.789",
    "1e-7",
];
const NUMERIC: &[&str] = &[
    "0",
    "1",
    "-1",
    "2.5",
    "3.5",
    "-2.5",
    "0.001",
    "-0.005",
    "1.10",
    "100.00",
    "99999999.999",
    "NaN",
    "Infinity",
    "-Infinity",
    "12345678901234567890.12345678901234567890",
    "99999999999999999999999999999999999999",
    "170141183460469231731687303715884105728",
    "-99999999999999999999999999999999999999.99999999",
    "0.00000000000000000000000000000000000000000001",
    "1e100",
    "9223372036854775808",
    "0.5",
    "0.000",
];
const TEXT: &[&str] = &[
    "",
    "a",
    "A",
    "abc",
    "aB c",
    " x ",
    "ä",
    "straße",
    "İstanbul",
    "ǆ",
    "10",
    "-9",
    "1.5",
    "%",
    "a_b",
    "x,y,,z",
    "日本語",
    "e\u{301}",
    "null",
    "NULL",
    "t",
    "\\",
    "'",
    "\"",
    "a\tb\nc",
    "👩‍👩‍👧",
    "\u{feff}bom",
    "\u{200b}",
    "2024-02-29",
    "{1,2}",
    "$1",
    "a.b",
    "(",
    "[a-c]+",
    "UTC",
];
const BYTEA: &[&str] = &["\\x", "\\x00", "\\xff", "\\xdeadbeef", "\\x616263", "\\xc328", "\\x0001ff80"];
const DATE: &[&str] = &[
    "1970-01-01",
    "1969-07-20",
    "2000-02-29",
    "2024-02-29",
    "2025-12-29",
    "2026-01-31",
    "0001-01-01",
    "0001-12-31 BC",
    "4713-01-01 BC",
    "9999-12-31",
    "294246-12-31",
    "5874897-12-31",
    "infinity",
    "-infinity",
    "1582-10-15",
];
const TIMESTAMP: &[&str] = &[
    "1970-01-01 00:00:00",
    "1969-12-31 23:59:59.999999",
    "2024-02-29 12:34:56.789",
    "2026-01-31 23:00:00",
    "2026-03-29 02:30:00",
    "2026-10-25 02:30:00",
    "0001-01-01 00:00:00",
    "0044-03-15 12:00:00 BC",
    "4713-01-01 00:00:00 BC",
    "9999-12-31 23:59:59.999999",
    "294246-12-31 23:59:59.999999",
    "infinity",
    "-infinity",
    "1900-01-01 00:00:00.000001",
];
const TIMESTAMPTZ: &[&str] = &[
    "1970-01-01 00:00:00+00",
    "1969-12-31 23:59:59.5+00",
    "2024-02-29 23:59:59+00",
    "2026-03-29 00:59:59.999+00",
    "2026-03-29 01:00:00+00",
    "2026-10-25 00:30:00+00",
    "2026-06-15 10:20:30+05:30",
    "0001-01-01 00:00:00+00",
    "0044-03-15 12:00:00+00 BC",
    "9999-12-31 23:59:59.999999+00",
    "294246-12-31 00:00:00+00",
    "infinity",
    "-infinity",
    "1880-01-01 00:00:00+00",
];
const TIME: &[&str] = &["00:00:00", "12:34:56.789", "23:59:59.999999", "24:00:00", "00:00:00.000001"];
const INTERVAL: &[&str] = &[
    "00:00:00",
    "1 day",
    "-1 days",
    "1 mon",
    "1 year 2 mons 3 days 04:05:06.789",
    "-1 mons +1 day -00:00:01",
    "24:00:00",
    "30 days",
    "00:00:00.000001",
    "178000000 years",
    "-178000000 years",
    "2147483647 days",
    "2562047:47:16.854775",
    "-2562047:47:16.854775",
];
const UUID: &[&str] = &[
    "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];
const JSON: &[&str] = &[
    "{}",
    "[]",
    "null",
    "1",
    "-0",
    "1.50",
    "1e400",
    "\"ä\\u0041\"",
    "{\"a\": 1, \"b\": [true, null, \"x\"]}",
    "{\"b\": 1, \"a\": 2}",
    "[1, 2.0, {\"a\": {\"b\": \"c\"}}]",
    "\"\"",
];

/// Texts of the values of a type; all of them PostgreSQL takes.
pub(crate) fn values(of: &PgType) -> &'static [&'static str] {
    match of {
        PgType::Bool => BOOL,
        PgType::Int2 => INT2,
        PgType::Int4 => INT4,
        PgType::Int8 => INT8,
        PgType::Float4 => FLOAT4,
        PgType::Float8 => FLOAT8,
        PgType::Numeric => NUMERIC,
        PgType::Bytea => BYTEA,
        PgType::Date => DATE,
        PgType::Timestamp => TIMESTAMP,
        PgType::Timestamptz => TIMESTAMPTZ,
        PgType::Time => TIME,
        PgType::Interval => INTERVAL,
        PgType::Uuid => UUID,
        PgType::Jsonb => JSON,
        PgType::Array(element) => match element.as_ref() {
            PgType::Int4 => &["{}", "{1,2,NULL}", "{2147483647}", "{3,1,2,1}"],
            PgType::Text => &["{}", "{a,\"\",NULL}", "{\"a,b\",\"\\\"\",ä}", "{NULL}", "{null,\"NULL\"}"],
            PgType::Numeric => &["{}", "{1.5,NULL,NaN}", "{99999999999999999999999999999999999999,0.10}"],
            PgType::Float8 => &["{}", "{0,-0,NaN}", "{Infinity,NULL,1.5}"],
            PgType::Bool => &["{}", "{t,f,NULL}"],
            PgType::Timestamptz => &["{}", "{\"2026-01-01 00:00:00+00\",NULL}", "{infinity}"],
            PgType::Uuid => &["{}", "{6f9619ff-8b86-d011-b42d-00c04fc964ff,NULL}"],
            _ => &["{}"],
        },
        _ => TEXT,
    }
}

/// A value as a literal that has its type.
pub(crate) fn literal(of: &PgType, text: &str) -> String {
    format!("{}::{}", quoted(text), sql_name(of))
}

pub(crate) fn null(of: &PgType) -> String {
    format!("NULL::{}", sql_name(of))
}

pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The name that a cast takes, in one word where there is one.
pub(crate) fn sql_name(of: &PgType) -> String {
    let name = match of {
        PgType::Int2 => "int2",
        PgType::Int4 => "int4",
        PgType::Int8 => "int8",
        PgType::Float4 => "float4",
        PgType::Float8 => "float8",
        PgType::Timestamp => "timestamp",
        PgType::Timestamptz => "timestamptz",
        PgType::Time => "time",
        PgType::Bool => "bool",
        PgType::Array(element) => return format!("{}[]", sql_name(element)),
        other => return other.to_string(),
    };
    name.to_owned()
}

/// The type of an OID, where it is one of ours.
pub(crate) fn type_of(oid: u32) -> Option<PgType> {
    let plain = TYPES.iter().find(|of| oid_of(of) == Some(oid)).cloned();
    plain.or_else(|| {
        let element = ELEMENTS.iter().find(|of| array_oid_of(of) == Some(oid))?;
        Some(PgType::Array(Box::new(element.clone())))
    })
}

/// The OID in every PostgreSQL.
pub(crate) fn oid_of(of: &PgType) -> Option<u32> {
    Some(match of {
        PgType::Bool => 16,
        PgType::Bytea => 17,
        PgType::Int8 => 20,
        PgType::Int2 => 21,
        PgType::Int4 => 23,
        PgType::Text => 25,
        PgType::Float4 => 700,
        PgType::Float8 => 701,
        PgType::Date => 1082,
        PgType::Time => 1083,
        PgType::Timestamp => 1114,
        PgType::Timestamptz => 1184,
        PgType::Interval => 1186,
        PgType::Numeric => 1700,
        PgType::Uuid => 2950,
        PgType::Jsonb => 3802,
        PgType::Array(element) => return array_oid_of(element),
        _ => return None,
    })
}

fn array_oid_of(element: &PgType) -> Option<u32> {
    Some(match element {
        PgType::Bool => 1000,
        PgType::Int4 => 1007,
        PgType::Text => 1009,
        PgType::Float8 => 1022,
        PgType::Timestamptz => 1185,
        PgType::Numeric => 1231,
        PgType::Uuid => 2951,
        _ => return None,
    })
}
