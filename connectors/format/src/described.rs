//! The columns that the newest schema of a subject describes, as SQL types.
//!
//! None is `NOT NULL`: a field that today's schema requires may be missing in the next one, whose records are not to be
//! rejected for it.

use arrow::datatypes::{DataType, Field, Fields};
use ebap_connector::{Error, Options, Result};
use ebap_schema_registry::{Kind, Schema, SchemaRegistry, subject};
use prost_reflect::{FieldDescriptor, Kind as Proto, MessageDescriptor};
use serde_json::Value;

use crate::{
    avro::AvroReader,
    protobuf::{Messages, wrapped},
};

/// Name and type.
pub type Column = (String, String);
/// A type, or the reason why there is none.
type Type = Result<String, String>;

/// Asks the registry of these options for the columns of format `avro`, `json-schema`, `protobuf` or `debezium-avro`.
///
/// # Errors
/// `Option` where there is no such subject, or its schema is of another kind or has what no column can hold; `Unreachable`
/// where the registry does not answer.
pub async fn columns(options: &Options) -> Result<Vec<Column>> {
    let format = options.get("format").unwrap_or_default();
    let kind = match format {
        "avro" | "debezium-avro" => Kind::Avro,
        "json-schema" => Kind::Json,
        "protobuf" => Kind::Protobuf,
        other => return Err(Error::option("format", format!("\"{other}\" has no schemas in a registry"))),
    };
    let (registry, subject) = (SchemaRegistry::new(options)?, subject(options)?);
    let Some(schema) = registry.latest(&subject).await? else {
        let message =
            format!("{} has no subject \"{subject}\"; declare the columns, or name another", registry.system());
        return Err(Error::option("subject", message));
    };
    if schema.kind != kind {
        let message = format!("\"{format}\" is not what \"{subject}\" holds, which is {}", schema.kind);
        return Err(Error::option("format", message));
    }
    let found = match (kind, format) {
        (Kind::Avro, "debezium-avro") => of_changes(&schema),
        (Kind::Avro, _) => of_avro(&schema),
        (Kind::Json, _) => of_json(&schema),
        (Kind::Protobuf, _) => of_protobuf(&schema),
    };
    found.map_err(|reason| {
        Error::schema(format!("the columns of \"{subject}\" (schema {}): {reason}; declare the columns", schema.id))
    })
}

fn of_avro(schema: &Schema) -> Result<Vec<Column>, String> {
    of_fields(AvroReader::new(schema, |_| true)?.schema().fields())
}

fn of_changes(schema: &Schema) -> Result<Vec<Column>, String> {
    let reader = AvroReader::new(schema, |name| name == "after")?;
    match reader.schema().field_with_name("after").map(Field::data_type) {
        Ok(DataType::Struct(fields)) => of_fields(fields),
        _ => Err("it is no change event of Debezium, which has a record \"after\"".to_owned()),
    }
}

fn of_fields(fields: &Fields) -> Result<Vec<Column>, String> {
    let one = |field: &std::sync::Arc<Field>| {
        let of = arrow_type(field).map_err(|reason| format!("\"{}\" {reason}", field.name()))?;
        Ok((field.name().clone(), of))
    };
    fields.iter().map(one).collect()
}

fn arrow_type(field: &Field) -> Type {
    Ok(match field.data_type() {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int32 | DataType::Time32(_) => "INTEGER".to_owned(),
        DataType::Int64 | DataType::Time64(_) => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE PRECISION".to_owned(),
        // An enumeration.
        DataType::Utf8 | DataType::Dictionary(..) => "TEXT".to_owned(),
        DataType::FixedSizeBinary(16) if is_uuid(field) => "UUID".to_owned(),
        DataType::Binary | DataType::FixedSizeBinary(_) => "BYTEA".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Decimal128(precision, scale) => format!("NUMERIC({precision}, {scale})"),
        DataType::Struct(fields) => {
            let parts = of_fields(fields)?.into_iter().map(|(name, of)| format!("{} {of}", quoted(&name)));
            format!("STRUCT<{}>", parts.collect::<Vec<_>>().join(", "))
        }
        DataType::List(item) => format!("{}[]", arrow_type(item)?),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) if parts.len() == 2 => format!("MAP<TEXT, {}>", arrow_type(&parts[1])?),
            _ => return Err("is a map without values".to_owned()),
        },
        DataType::Union(..) => return Err("is a union of several types".to_owned()),
        DataType::Decimal256(precision, _) => return Err(format!("has {precision} digits, more than 38")),
        other => return Err(format!("is of type {other}, which no column has")),
    })
}

fn is_uuid(field: &Field) -> bool {
    field.metadata().values().any(|value| value.contains("uuid"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn of_json(schema: &Schema) -> Result<Vec<Column>, String> {
    let json: Value = serde_json::from_str(&schema.text).map_err(|error| format!("it cannot be read: {error}"))?;
    let Some(properties) = json["properties"].as_object() else {
        return Err("it is no object with properties, so its values have no columns".to_owned());
    };
    Ok(properties.iter().map(|(name, of)| (name.clone(), json_type(of))).collect())
}

/// What has no type of ours is JSON.
fn json_type(of: &Value) -> String {
    let names: Vec<&str> = match &of["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => Vec::new(),
    };
    let text = match (names.as_slice(), of["format"].as_str()) {
        (["string"], Some("date-time")) => "TIMESTAMPTZ",
        (["string"], Some("date")) => "DATE",
        (["string"], Some("uuid")) => "UUID",
        (["string"], _) => "TEXT",
        (["integer"], _) => "BIGINT",
        (["number"], _) => "DOUBLE PRECISION",
        (["boolean"], _) => "BOOLEAN",
        (["array"], _) if of["items"].is_object() => return format!("{}[]", json_type(&of["items"])),
        (["object"], _) => match of["properties"].as_object().filter(|properties| !properties.is_empty()) {
            Some(properties) => {
                let one = |(name, of): (&String, &Value)| format!("{} {}", quoted(name), json_type(of));
                return format!("STRUCT<{}>", properties.iter().map(one).collect::<Vec<_>>().join(", "));
            }
            None => "JSONB",
        },
        _ => "JSONB",
    };
    text.to_owned()
}

fn of_protobuf(schema: &Schema) -> Result<Vec<Column>, String> {
    let messages = Messages::new(schema)?;
    let first = messages.first().ok_or("it has no message")?;
    of_message(&first, &mut Vec::new())
}

/// `within` are the messages around, which this one must not be inside of again.
fn of_message(message: &MessageDescriptor, within: &mut Vec<String>) -> Result<Vec<Column>, String> {
    if within.iter().any(|outer| outer == message.full_name()) {
        return Err(format!("{} holds itself", message.full_name()));
    }
    within.push(message.full_name().to_owned());
    let one = |field: FieldDescriptor| {
        let of = proto_type(&field, within).map_err(|reason| format!("\"{}\": {reason}", field.name()))?;
        Ok((field.name().to_owned(), of))
    };
    let columns = message.fields().map(one).collect();
    within.pop();
    columns
}

fn proto_type(field: &FieldDescriptor, within: &mut Vec<String>) -> Type {
    if field.is_map() {
        let kind = field.kind();
        let value =
            kind.as_message().map(MessageDescriptor::map_entry_value_field).ok_or("it is a map without values")?;
        return Ok(format!("MAP<TEXT, {}>", single_type(&value, within)?));
    }
    let single = single_type(field, within)?;
    Ok(if field.is_list() { format!("{single}[]") } else { single })
}

fn single_type(field: &FieldDescriptor, within: &mut Vec<String>) -> Type {
    Ok(match field.kind() {
        Proto::Bool => "BOOLEAN".to_owned(),
        Proto::Int32 | Proto::Sint32 | Proto::Sfixed32 => "INTEGER".to_owned(),
        Proto::Int64 | Proto::Sint64 | Proto::Sfixed64 | Proto::Uint32 | Proto::Fixed32 => "BIGINT".to_owned(),
        Proto::Uint64 | Proto::Fixed64 => "NUMERIC(20, 0)".to_owned(),
        Proto::Float => "REAL".to_owned(),
        Proto::Double => "DOUBLE PRECISION".to_owned(),
        Proto::String | Proto::Enum(_) => "TEXT".to_owned(),
        Proto::Bytes => "BYTEA".to_owned(),
        Proto::Message(message) => match (wrapped(&message), message.full_name()) {
            (Some(inner), _) => single_type(&inner, within)?,
            (None, "google.protobuf.Timestamp") => "TIMESTAMPTZ".to_owned(),
            (None, _) => {
                let parts = of_message(&message, within)?;
                if parts.is_empty() {
                    return Err(format!("{} has no fields", message.full_name()));
                }
                let parts = parts.into_iter().map(|(name, of)| format!("{} {of}", quoted(&name)));
                format!("STRUCT<{}>", parts.collect::<Vec<_>>().join(", "))
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(kind: Kind, text: &str) -> Schema {
        Schema { id: 1, kind, text: text.to_owned(), references: Vec::new() }
    }

    fn shown(columns: Result<Vec<Column>, String>) -> String {
        let columns = columns.expect("columns");
        columns.into_iter().map(|(name, of)| format!("{name} {of}")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn avro() {
        let text = r#"{"type":"record","name":"E","fields":[
            {"name":"id","type":{"type":"string","logicalType":"uuid"}},{"name":"n","type":["null","int"]},
            {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"kind","type":{"type":"enum","name":"K","symbols":["A"]}},
            {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
            {"name":"inner","type":{"type":"record","name":"I","fields":[{"name":"Odd","type":"double"}]}},
            {"name":"tags","type":{"type":"array","items":"string"}},{"name":"m","type":{"type":"map","values":"long"}}]}"#;
        assert_eq!(
            shown(of_avro(&schema(Kind::Avro, text))),
            "id UUID, n INTEGER, at TIMESTAMPTZ, kind TEXT, price NUMERIC(9, 2), inner STRUCT<\"Odd\" DOUBLE PRECISION>, \
             tags TEXT[], m MAP<TEXT, BIGINT>"
        );
        let union = r#"{"type":"record","name":"E","fields":[{"name":"u","type":["int","string"]}]}"#;
        assert_eq!(of_avro(&schema(Kind::Avro, union)), Err("\"u\" is a union of several types".to_owned()));
    }

    #[test]
    fn json_schema() {
        let text = r#"{"type":"object","properties":{"id":{"type":"string","format":"uuid"},
            "at":{"type":["string","null"],"format":"date-time"},"n":{"type":"integer"},
            "any":{"oneOf":[{"type":"string"},{"type":"integer"}]},
            "inner":{"type":"object","properties":{"a":{"type":"number"}}},"tags":{"type":"array","items":{"type":"string"}}}}"#;
        let found = shown(of_json(&schema(Kind::Json, text)));
        for part in [
            "id UUID",
            "at TIMESTAMPTZ",
            "n BIGINT",
            "any JSONB",
            "inner STRUCT<\"a\" DOUBLE PRECISION>",
            "tags TEXT[]",
        ] {
            assert!(found.contains(part), "{part} in {found}");
        }
    }

    #[test]
    fn protobuf() {
        let text = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto";
            message E { string id = 1; optional int32 n = 2; google.protobuf.Timestamp at = 3; Kind kind = 4;
              google.protobuf.DoubleValue price = 5; I inner = 6; repeated string tags = 7; map<string, uint64> m = 8;
              enum Kind { A = 0; } message I { double odd = 1; } }"#;
        assert_eq!(
            shown(of_protobuf(&schema(Kind::Protobuf, text))),
            "id TEXT, n INTEGER, at TIMESTAMPTZ, kind TEXT, price DOUBLE PRECISION, inner STRUCT<\"odd\" DOUBLE PRECISION>, \
             tags TEXT[], m MAP<TEXT, NUMERIC(20, 0)>"
        );
        let endless = "syntax = \"proto3\"; message A { A a = 1; }";
        assert_eq!(of_protobuf(&schema(Kind::Protobuf, endless)), Err("\"a\": A holds itself".to_owned()));
    }
}
