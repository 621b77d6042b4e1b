//! Formats: from the bytes of a record to a row of the declared columns.
//!
//! Strict where guessing would hide a broken producer: a text column takes JSON strings alone, an
//! integer must be integral and in range. Lenient where evolution needs it: unknown fields are
//! ignored, missing ones are NULL. A record that does not fit is rejected whole, with the path of the
//! column and what was found there.

mod cell;
mod change;
mod columns;
mod csv;
mod debezium;
mod json;
mod plain;
mod scan;
mod time;

use ebap_connector::{DecodeSpec, Decoder, Error, Result};

/// The decoder for the option `format`: `json`, `csv`, `raw` or `debezium-json`.
///
/// # Errors
/// `Option` for another format or a bad option of it; `Schema` where the columns do not fit it.
pub fn decoder(spec: &DecodeSpec) -> Result<Box<dyn Decoder>> {
    match spec.format.as_str() {
        "json" => Ok(Box::new(json::JsonDecoder::new(spec)?)),
        "csv" => Ok(Box::new(csv::CsvDecoder::new(spec)?)),
        "raw" => Ok(Box::new(csv::RawDecoder::new(spec)?)),
        "debezium-json" => Ok(Box::new(debezium::DebeziumDecoder::new(spec)?)),
        other => Err(Error::option(
            "format",
            format!("\"{other}\" is not supported; there are json, csv, raw and, for a table, debezium-json"),
        )),
    }
}
