//! Formats: from the bytes of a record to a row of the declared columns.
//!
//! Strict where guessing would hide a broken producer: a text column takes JSON strings alone, an
//! integer must be integral and in range. Lenient where evolution needs it: unknown fields are
//! ignored, missing ones are NULL. A record that does not fit is rejected whole, with the path of the
//! column and what was found there.

mod avro;
mod cell;
mod change;
mod columns;
mod csv;
mod debezium_avro;
mod debezium_json;
mod described;
mod fit;
mod json;
mod json_schema;
mod names;
mod number;
mod plain;
mod protobuf;
mod raw;
mod registered;
mod scan;
mod time;
mod tree;

pub use described::{Column, columns};
use ebap_connector::{DecodeSpec, Decoder, Error, Result};

/// The decoder for the option `format`: `json`, `avro`, `json-schema`,
/// `protobuf`, `csv`, `raw`, `debezium-json` or `debezium-avro`.
///
/// # Errors
/// `Option` for another format or a bad option of it; `Schema` where the columns do not fit it.
pub fn decoder(spec: &DecodeSpec) -> Result<Box<dyn Decoder>> {
    match spec.format.as_str() {
        "json" => Ok(Box::new(json::JsonDecoder::new(spec)?)),
        "csv" => Ok(Box::new(csv::CsvDecoder::new(spec)?)),
        "raw" => Ok(Box::new(raw::RawDecoder::new(spec)?)),
        "json-schema" => Ok(Box::new(json_schema::JsonSchemaDecoder::new(spec)?)),
        "protobuf" => Ok(Box::new(protobuf::ProtobufDecoder::new(spec)?)),
        "avro" => Ok(Box::new(avro::AvroDecoder::new(spec)?)),
        "debezium-avro" => Ok(Box::new(debezium_avro::DebeziumAvroDecoder::new(spec)?)),
        "debezium-json" => Ok(Box::new(debezium_json::DebeziumDecoder::new(spec)?)),
        other => Err(Error::option(
            "format",
            format!(
                "\"{other}\" is not supported; there are json, avro, json-schema, protobuf, csv, raw and, for a table, debezium-json and debezium-avro"
            ),
        )),
    }
}
