//! A schema with those that it names put in their places.

use std::collections::HashMap;

use ebap_schema_registry::Schema;
use serde_json::{Map, Value};

/// The text of the schema; of each schema that it names the definition stands where it is named first.
pub(super) fn inlined(schema: &Schema) -> Result<String, serde_json::Error> {
    if schema.references.is_empty() {
        return Ok(schema.text.clone());
    }
    let mut named = HashMap::new();
    for reference in &schema.references {
        let mut definition: Value = serde_json::from_str(&reference.text)?;
        if let Value::Object(object) = &mut definition
            && !object.contains_key("namespace")
        {
            // Not that of the place where it comes to stand.
            object.insert("namespace".to_owned(), Value::String(String::new()));
        }
        named.insert(reference.name.clone(), definition);
    }
    let mut root: Value = serde_json::from_str(&schema.text)?;
    Inliner { named }.place(&mut root, "");
    Ok(root.to_string())
}

struct Inliner {
    /// Not put anywhere yet.
    named: HashMap<String, Value>,
}

impl Inliner {
    /// A place where a type stands.
    fn place(&mut self, at: &mut Value, namespace: &str) {
        match at {
            Value::String(name) => {
                let full = if name.contains('.') || namespace.is_empty() {
                    name.clone()
                } else {
                    format!("{namespace}.{name}")
                };
                let found = self.named.remove(&full).or_else(|| self.named.remove(name.as_str()));
                if let Some(mut definition) = found {
                    self.place(&mut definition, "");
                    *at = definition;
                }
            }
            Value::Array(branches) => branches.iter_mut().for_each(|branch| self.place(branch, namespace)),
            Value::Object(object) => self.definition(object, namespace),
            _ => {}
        }
    }

    fn definition(&mut self, object: &mut Map<String, Value>, namespace: &str) {
        let own = match (object.get("namespace").and_then(Value::as_str), object.get("name").and_then(Value::as_str)) {
            (_, Some(name)) if name.contains('.') => {
                name.rsplit_once('.').map_or(String::new(), |(namespace, _)| namespace.to_owned())
            }
            (Some(own), _) => own.to_owned(),
            (None, _) => namespace.to_owned(),
        };
        if let Some(Value::Array(fields)) = object.get_mut("fields") {
            for of in fields.iter_mut().filter_map(|field| field.get_mut("type")) {
                self.place(of, &own);
            }
        }
        for part in ["items", "values"] {
            if let Some(of) = object.get_mut(part) {
                self.place(of, &own);
            }
        }
        // `{"type": {"type": "record", …}}`
        if let Some(of) = object.get_mut("type").filter(|of| !of.is_string()) {
            self.place(of, &own);
        }
    }
}

#[cfg(test)]
mod tests {
    use ebap_schema_registry::{Kind, Reference};

    use super::*;

    #[test]
    fn a_definition_stands_where_it_is_named_first() {
        let money = r#"{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"unit","type":"Unit"}]}"#;
        let unit = r#"{"type":"enum","name":"Unit","namespace":"shop","symbols":["EUR"]}"#;
        let order = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
            {"name":"net","type":"shop.Money"},{"name":"tax","type":["null","Money"]},
            {"name":"more","type":{"type":"array","items":"Money"}}]}"#;
        let reference = |name: &str, text: &str| Reference { name: name.to_owned(), text: text.to_owned() };
        let references = vec![reference("shop.Unit", unit), reference("shop.Money", money)];
        let schema = Schema { id: 1, kind: Kind::Avro, text: order.to_owned(), references };
        let text = inlined(&schema).expect("JSON");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["fields"][0]["type"]["name"], "Money");
        assert_eq!(json["fields"][0]["type"]["fields"][0]["type"]["symbols"][0], "EUR");
        assert_eq!(json["fields"][1]["type"][1], "Money");
        assert_eq!(json["fields"][2]["type"]["items"], "Money");
        assert!(crate::avro::reader::AvroReader::new(&schema, |_| true).is_ok());
    }
}
