//! Names and numbers of PostgreSQL's types, as clients ask for them.

use std::{collections::HashMap, sync::LazyLock};

use postgres_types::Type;

/// Numbers below which PostgreSQL's own types are.
const OIDS: std::ops::Range<u32> = 16..5_100;
/// Names that a type has beside its own and its long one.
const OTHER_NAMES: [(&str, Type); 9] = [
    ("bool", Type::BOOL),
    ("int", Type::INT4),
    ("float", Type::FLOAT8),
    ("decimal", Type::NUMERIC),
    ("dec", Type::NUMERIC),
    ("char", Type::BPCHAR),
    ("time", Type::TIME),
    ("timestamp", Type::TIMESTAMP),
    ("varchar", Type::VARCHAR),
];

static NUMBERS: LazyLock<HashMap<String, i32>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for of in OIDS.filter_map(Type::from_oid) {
        let Ok(oid) = i32::try_from(of.oid()) else { continue };
        all.insert(of.name().to_owned(), oid);
        all.entry(format(oid, -1)).or_insert(oid);
    }
    let others =
        OTHER_NAMES.into_iter().filter_map(|(name, of)| Some((name.to_owned(), i32::try_from(of.oid()).ok()?)));
    all.extend(others);
    all
});

/// The number of a type by any of its names. The length of a type is passed over.
pub(super) fn number(name: &str) -> Option<i32> {
    let name = name.trim();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let (name, list) = match name.strip_suffix("[]") {
        Some(of) => (of.trim_end(), true),
        None => (name, false),
    };
    let words = name.split('(').next().unwrap_or(name).to_lowercase();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let number = NUMBERS.get(&words).copied()?;
    match list {
        false => Some(number),
        true => {
            let element = Type::from_oid(u32::try_from(number).ok()?)?;
            NUMBERS.get(&format!("_{}", element.name())).copied()
        }
    }
}

/// PostgreSQL's long name of a type, with what its modifier says.
pub(super) fn format(oid: i32, modifier: i32) -> String {
    let Some(of) = u32::try_from(oid).ok().and_then(Type::from_oid) else { return "???".to_owned() };
    let (of, list) = match of.kind() {
        postgres_types::Kind::Array(inner) => (inner.clone(), "[]"),
        _ => (of, ""),
    };
    let sized = (modifier >= 4).then(|| modifier - 4);
    let name = match of {
        Type::BOOL => "boolean".to_owned(),
        Type::INT2 => "smallint".to_owned(),
        Type::INT4 => "integer".to_owned(),
        Type::INT8 => "bigint".to_owned(),
        Type::FLOAT4 => "real".to_owned(),
        Type::FLOAT8 => "double precision".to_owned(),
        Type::VARCHAR => sized.map_or_else(|| "character varying".to_owned(), |n| format!("character varying({n})")),
        Type::BPCHAR => sized.map_or_else(|| "character".to_owned(), |n| format!("character({n})")),
        Type::CHAR => "\"char\"".to_owned(),
        Type::NUMERIC => sized.map_or_else(|| "numeric".to_owned(), |n| format!("numeric({},{})", n >> 16, n & 0xffff)),
        Type::TIMESTAMP => "timestamp without time zone".to_owned(),
        Type::TIMESTAMPTZ => "timestamp with time zone".to_owned(),
        Type::TIME => "time without time zone".to_owned(),
        Type::TIMETZ => "time with time zone".to_owned(),
        other => other.name().to_owned(),
    };
    format!("{name}{list}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_their_long_names() {
        for (of, modifier, name) in [
            (Type::INT8, -1, "bigint"),
            (Type::TEXT, -1, "text"),
            (Type::TIMESTAMPTZ, -1, "timestamp with time zone"),
            (Type::NUMERIC, (10 << 16 | 2) + 4, "numeric(10,2)"),
            (Type::NUMERIC, -1, "numeric"),
            (Type::FLOAT8_ARRAY, -1, "double precision[]"),
            (Type::VARCHAR, 34, "character varying(30)"),
        ] {
            assert_eq!(format(of.oid() as i32, modifier), name);
        }
        assert_eq!(format(999_999, -1), "???");
    }

    #[test]
    fn a_type_is_found_by_each_of_its_names() {
        for (name, of) in [
            ("int", Type::INT4),
            ("INTEGER", Type::INT4),
            (" int8 ", Type::INT8),
            ("double  precision", Type::FLOAT8),
            ("pg_catalog.text", Type::TEXT),
            ("timestamptz", Type::TIMESTAMPTZ),
            ("timestamp with time zone", Type::TIMESTAMPTZ),
            ("numeric(10,2)", Type::NUMERIC),
            ("decimal", Type::NUMERIC),
            ("int[]", Type::INT4_ARRAY),
            ("_text", Type::TEXT_ARRAY),
            ("\"char\"", Type::CHAR),
            ("char", Type::BPCHAR),
        ] {
            assert_eq!(number(name), i32::try_from(of.oid()).ok(), "{name}");
        }
        assert_eq!((number("hstore"), number(""), number("[]")), (None, None, None));
    }
}
