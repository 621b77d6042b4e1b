//! JSON in the wire format of a schema registry: a record must be valid by the schema it names, and is then read as JSON.

use async_trait::async_trait;
use ebap_connector::{DecodeSpec, Decoded, Decoder, Error, Records, Rejected, Result};
use ebap_schema_registry::{Kind, Schema, wire};
use jsonschema::{Registry, Validator};
use serde_json::Value;

use crate::{cell::shown, json::JsonDecoder, registered::Registered};

/// What names of other schemas are relative to. Nothing is fetched from there.
const BASE: &str = "https://registry.invalid/";

pub(crate) struct JsonSchemaDecoder {
    json: JsonDecoder,
    schemas: Registered<Validator>,
}

impl JsonSchemaDecoder {
    pub(crate) fn new(spec: &DecodeSpec) -> Result<Self> {
        Ok(Self { json: JsonDecoder::new(spec)?, schemas: Registered::new(&spec.options, Kind::Json)? })
    }

    /// # Errors
    /// The reason why the record is rejected.
    fn check(&mut self, value: &[u8]) -> Result<Result<(), String>> {
        let (id, text) = match wire::split(value) {
            Ok(split) => split,
            Err(reason) => return Ok(Err(reason)),
        };
        let validator = match self.schemas.get(id)? {
            Ok(validator) => validator,
            Err(reason) => return Ok(Err(reason)),
        };
        let value: Value = match serde_json::from_slice(text) {
            Ok(value) => value,
            Err(error) => return Ok(Err(format!("invalid JSON: {error}"))),
        };
        Ok(match validator.validate(&value) {
            Ok(()) => Ok(()),
            Err(error) => {
                let path = error.instance_path().to_string();
                let at = if path.is_empty() { String::new() } else { format!(" at {path}") };
                Err(format!("violates schema {id}{at}: {}", shown_long(&error.to_string())))
            }
        })
    }
}

/// It may repeat the whole value.
fn shown_long(text: &str) -> String {
    const LONG: usize = 200;
    if text.chars().count() > LONG { format!("{}{}", shown(text), " (shortened)") } else { text.to_owned() }
}

/// # Errors
/// The reason why nothing can be valid by it.
pub(crate) fn validator(schema: &Schema) -> Result<Validator, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("it cannot be read: {error}");
    let json: Value = serde_json::from_str(&schema.text).map_err(|error| unreadable(&error))?;
    let mut registry = Registry::new();
    for reference in &schema.references {
        let value: Value = serde_json::from_str(&reference.text).map_err(|error| unreadable(&error))?;
        let uri = if reference.name.contains("://") {
            reference.name.clone()
        } else {
            format!("{BASE}{}", reference.name.trim_start_matches('/'))
        };
        registry = registry.add(uri, value).map_err(|error| unreadable(&error))?;
    }
    let registry = registry.prepare().map_err(|error| unreadable(&error))?;
    let options = jsonschema::options().with_base_uri(BASE).with_registry(&registry);
    options.build(&json).map_err(|error| unreadable(&error))
}

#[async_trait]
impl Decoder for JsonSchemaDecoder {
    async fn prepare(&mut self, records: &[&Records]) -> Result<()> {
        self.schemas.prepare(records.iter().map(|records| &records.values), validator).await
    }

    fn decode(&mut self, records: &Records) -> Result<Decoded> {
        let mut checked = Vec::with_capacity(records.len());
        for at in 0..records.len() {
            checked.push(self.check(records.values.get(at).unwrap_or_default())?);
        }
        let record = |at: usize| u32::try_from(at).map_err(Error::internal);
        let mut invalid = Vec::new();
        for (at, outcome) in checked.iter().enumerate() {
            if let Err(reason) = outcome {
                invalid.push(Rejected { record: record(at)?, reason: reason.clone() });
            }
        }
        let mut decoded = self.json.decode_behind(records, wire::PREFIX_BYTES, |at| checked[at].is_ok())?;
        decoded.rejected.extend(invalid);
        decoded.rejected.sort_unstable_by_key(|rejected| rejected.record);
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::AsArray,
        datatypes::{DataType, Field, Float64Type, Schema as ArrowSchema},
    };
    use ebap_connector::{Offset, Options, SplitId, Wanted};
    use ebap_schema_registry::Reference;

    use super::*;

    #[test]
    fn what_the_schema_forbids_is_rejected_with_the_place_and_the_rest_is_read() {
        let money = r#"{"type":"number","minimum":0}"#.to_owned();
        let text = r#"{"type":"object","required":["id"],"properties":{
            "id":{"type":"string"},"amount":{"$ref":"money.json"}}}"#;
        let references = vec![Reference { name: "money.json".to_owned(), text: money }];
        let schema = Schema { id: 1, kind: Kind::Json, text: text.to_owned(), references };
        let mut options = Options::default();
        options.set("schema_registry", "http://127.0.0.1:1");
        let fields = vec![Field::new("id", DataType::Utf8, false), Field::new("amount", DataType::Float64, true)];
        let spec = DecodeSpec {
            format: "json-schema".to_owned(),
            schema: Arc::new(ArrowSchema::new(fields)),
            key: Vec::new(),
            options,
            wanted: Wanted::All,
        };
        let mut decoder = JsonSchemaDecoder::new(&spec).expect("options fit");
        decoder.schemas.put(1, validator(&schema));
        let mut records = Records::new(SplitId::new("0"), 0, Offset(0));
        let lines =
            [r#"{"id":"a","amount":1.5}"#, r#"{"amount":1}"#, r#"{"id":"b","amount":-1}"#, "{", r#"{"id":"c"}"#];
        for (at, line) in lines.iter().enumerate() {
            let value = [&wire::prefix(1)[..], line.as_bytes()].concat();
            records.push(at as i64, -1, None, Some(&value));
        }
        records.push(5, -1, None, Some(b"{\"id\": \"without a prefix\"}"));
        let decoded = decoder.decode(&records).expect("decodes");
        assert_eq!(decoded.rows, [0, 4]);
        let amounts = decoded.batch.column(1).as_primitive::<Float64Type>();
        assert_eq!(amounts.iter().collect::<Vec<_>>(), [Some(1.5), None]);
        let reasons: Vec<&str> = decoded.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
        assert_eq!(reasons[0], "violates schema 1: \"id\" is a required property");
        assert!(reasons[1].starts_with("violates schema 1 at /amount: -1 is less than"), "{}", reasons[1]);
        assert!(reasons[2].starts_with("invalid JSON: "), "{}", reasons[2]);
        assert!(reasons[3].contains("begins with the byte 0x7b"), "{}", reasons[3]);
    }
}
