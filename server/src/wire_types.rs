//! Arrow's types and PostgreSQL's: what a column is called on the wire, and what a client's type is here.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use ebap_functions::{TOLD_KEY, TYPE_KEY};
use ebap_values::PgType;
use postgres_types::Type;

/// PostgreSQL's typmod of NUMERIC counts the length word in front.
const TYPMOD_OFFSET: i32 = 4;

/// PostgreSQL's type of a column, as values of it travel. Operators see wider numbers and nested arrays
/// otherwise (`ebap_functions::pg_type`).
pub(crate) fn of_field(field: &Field) -> PgType {
    match field.metadata().get(TYPE_KEY).map(String::as_str) {
        Some("uuid") => PgType::Uuid,
        Some("json" | "jsonb" | "bpchar" | "record") => ebap_functions::pg_type(field),
        _ => of_arrow(field.data_type()),
    }
}

fn of_arrow(of: &DataType) -> PgType {
    match of {
        DataType::Null => PgType::Unknown,
        DataType::Boolean => PgType::Bool,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => PgType::Int2,
        DataType::Int32 | DataType::UInt16 => PgType::Int4,
        DataType::Int64 | DataType::UInt32 => PgType::Int8,
        DataType::Float16 | DataType::Float32 => PgType::Float4,
        DataType::Float64 => PgType::Float8,
        DataType::UInt64
        | DataType::LargeBinary
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => PgType::Numeric,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PgType::Text,
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => PgType::Bytea,
        DataType::Date32 | DataType::Date64 => PgType::Date,
        DataType::Timestamp(_, None) => PgType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PgType::Timestamptz,
        DataType::Time32(_) | DataType::Time64(_) => PgType::Time,
        DataType::Interval(_) | DataType::Duration(_) => PgType::Interval,
        DataType::Dictionary(_, value) => of_arrow(value),
        DataType::RunEndEncoded(_, values) => of_field(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => match of_field(item) {
            // An array of arrays is an array of more dimensions.
            PgType::Array(item) => PgType::Array(item),
            PgType::Composite => PgType::Composite,
            PgType::Unknown => PgType::Array(Box::new(PgType::Text)),
            item => PgType::Array(Box::new(item)),
        },
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => PgType::Composite,
    }
}

/// A column that is told as another type, whose values have the same form on the wire.
pub(crate) fn told_as(field: Field, of: &Type) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(TOLD_KEY.to_owned(), of.oid().to_string());
    field.with_metadata(metadata)
}

/// The type that a client is told of a column.
pub(crate) fn told(field: &Field) -> Type {
    let named = field.metadata().get(TOLD_KEY).and_then(|oid| Type::from_oid(oid.parse().ok()?));
    named.unwrap_or_else(|| on_wire(&of_field(field)))
}

/// The type as a row description names it.
pub(crate) fn on_wire(of: &PgType) -> Type {
    match of {
        PgType::Bool => Type::BOOL,
        PgType::Int2 => Type::INT2,
        PgType::Int4 => Type::INT4,
        PgType::Int8 => Type::INT8,
        PgType::Float4 => Type::FLOAT4,
        PgType::Float8 => Type::FLOAT8,
        PgType::Numeric => Type::NUMERIC,
        PgType::Bpchar => Type::BPCHAR,
        PgType::Bytea => Type::BYTEA,
        PgType::Date => Type::DATE,
        PgType::Timestamp => Type::TIMESTAMP,
        PgType::Timestamptz => Type::TIMESTAMPTZ,
        PgType::Time => Type::TIME,
        PgType::Interval => Type::INTERVAL,
        PgType::Uuid => Type::UUID,
        PgType::Json => Type::JSON,
        PgType::Jsonb => Type::JSONB,
        PgType::Array(item) => array_on_wire(item),
        PgType::Record => Type::RECORD,
        // Few clients can read composite types, and every one can show text.
        PgType::Text | PgType::Unknown | PgType::Composite => Type::TEXT,
    }
}

fn array_on_wire(item: &PgType) -> Type {
    match item {
        PgType::Bool => Type::BOOL_ARRAY,
        PgType::Int2 => Type::INT2_ARRAY,
        PgType::Int4 => Type::INT4_ARRAY,
        PgType::Int8 => Type::INT8_ARRAY,
        PgType::Float4 => Type::FLOAT4_ARRAY,
        PgType::Float8 => Type::FLOAT8_ARRAY,
        PgType::Numeric => Type::NUMERIC_ARRAY,
        PgType::Bpchar => Type::BPCHAR_ARRAY,
        PgType::Bytea => Type::BYTEA_ARRAY,
        PgType::Date => Type::DATE_ARRAY,
        PgType::Timestamp => Type::TIMESTAMP_ARRAY,
        PgType::Timestamptz => Type::TIMESTAMPTZ_ARRAY,
        PgType::Time => Type::TIME_ARRAY,
        PgType::Interval => Type::INTERVAL_ARRAY,
        PgType::Uuid => Type::UUID_ARRAY,
        PgType::Json => Type::JSON_ARRAY,
        PgType::Jsonb => Type::JSONB_ARRAY,
        PgType::Record => Type::RECORD_ARRAY,
        PgType::Text | PgType::Unknown | PgType::Composite | PgType::Array(_) => Type::TEXT_ARRAY,
    }
}

/// Bytes of a value, as `pg_type.typlen` has it: -1 where they vary.
pub(crate) fn length(of: &PgType) -> i16 {
    match of {
        PgType::Bool => 1,
        PgType::Int2 => 2,
        PgType::Int4 | PgType::Float4 | PgType::Date => 4,
        PgType::Int8 | PgType::Float8 | PgType::Timestamp | PgType::Timestamptz | PgType::Time => 8,
        PgType::Interval | PgType::Uuid => 16,
        PgType::Numeric
        | PgType::Text
        | PgType::Bpchar
        | PgType::Bytea
        | PgType::Json
        | PgType::Jsonb
        | PgType::Array(_)
        | PgType::Unknown
        | PgType::Composite
        | PgType::Record => -1,
    }
}

/// The same of the type that a client is told.
pub(crate) fn told_length(field: &Field) -> i16 {
    match told(field) {
        Type::NAME => 64,
        Type::CHAR => 1,
        Type::OID | Type::REGTYPE => 4,
        _ => length(&of_field(field)),
    }
}

/// Precision and scale of a NUMERIC in one number; -1 where it has none, and for all other types.
pub(crate) fn modifier(of: &DataType) -> i32 {
    match of {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + TYPMOD_OFFSET
        }
        _ => -1,
    }
}

/// The type that a client declares for a parameter; `None` where it leaves that to the server.
///
/// # Errors
/// The type's name, where values of it cannot be read.
pub(crate) fn declared(of: &Type) -> Result<Option<PgType>, String> {
    if *of == Type::UNKNOWN {
        return Ok(None);
    }
    let scalar = |of: &Type| {
        Some(match *of {
            Type::BOOL => PgType::Bool,
            Type::INT2 => PgType::Int2,
            Type::INT4 => PgType::Int4,
            Type::INT8 | Type::OID | Type::REGCLASS | Type::REGTYPE | Type::REGPROC => PgType::Int8,
            Type::FLOAT4 => PgType::Float4,
            Type::FLOAT8 => PgType::Float8,
            Type::NUMERIC => PgType::Numeric,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN => PgType::Text,
            Type::BYTEA => PgType::Bytea,
            Type::DATE => PgType::Date,
            Type::TIMESTAMP => PgType::Timestamp,
            Type::TIMESTAMPTZ => PgType::Timestamptz,
            Type::TIME => PgType::Time,
            Type::INTERVAL => PgType::Interval,
            Type::UUID => PgType::Uuid,
            Type::JSON => PgType::Json,
            Type::JSONB => PgType::Jsonb,
            _ => return None,
        })
    };
    let found = match of.kind() {
        postgres_types::Kind::Array(item) => scalar(item).map(|item| PgType::Array(Box::new(item))),
        _ => scalar(of),
    };
    found.map(Some).ok_or_else(|| of.name().to_owned())
}

/// A column of the type as it is kept here.
pub(crate) fn field(of: &PgType) -> FieldRef {
    let of = if matches!(of, PgType::Unknown | PgType::Composite | PgType::Record) { &PgType::Text } else { of };
    Arc::new(ebap_functions::arrow_field(Field::LIST_FIELD_DEFAULT_NAME, of, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_declares_is_what_it_is_told() {
        for of in [
            Type::BOOL,
            Type::INT2,
            Type::INT8_ARRAY,
            Type::NUMERIC,
            Type::NUMERIC_ARRAY,
            Type::BYTEA,
            Type::TIMESTAMPTZ_ARRAY,
            Type::INTERVAL,
            Type::UUID,
            Type::UUID_ARRAY,
            Type::JSON,
            Type::JSONB,
            Type::JSON_ARRAY,
        ] {
            let known = declared(&of).expect("it can be read").expect("it is declared");
            assert_eq!(of_field(&field(&known)), known, "{of}");
            assert_eq!(on_wire(&known), of);
        }
        assert_eq!(declared(&Type::UNKNOWN), Ok(None));
        assert_eq!(declared(&Type::INET), Err("inet".to_owned()));
    }

    #[test]
    fn a_decimal_keeps_precision_and_scale() {
        assert_eq!(modifier(&DataType::Decimal128(10, 2)), 655_366);
        assert_eq!(modifier(&DataType::Int32), -1);
    }
}
