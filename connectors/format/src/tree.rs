//! A JSON value with its numbers as they are written: a double would lose digits of them.

use std::fmt;

use arrow::datatypes::Fields;
use serde_json::Value;

use crate::{
    names,
    scan::{Outcome, Scanner, Unusual, unescape},
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Object),
}

/// The members of an object in their order. Of two with one name, the last counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(Vec<(String, Json)>);

impl Object {
    pub(crate) fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().rposition(|(key, _)| key == name)?;
        Some(std::mem::replace(&mut self.0[at].1, Json::Null))
    }

    /// Takes what is read for the field `name` of `declared`, as `names::place` has it.
    ///
    /// # Errors
    /// The reason why it cannot be told which that is.
    pub(crate) fn take(&mut self, declared: &Fields, name: &str, path: &str) -> Result<Option<Json>, String> {
        let at = names::place(self.0.iter().map(|(key, _)| key.as_str()), declared, name, path)?;
        Ok(at.map(|at| std::mem::replace(&mut self.0[at].1, Json::Null)))
    }

    /// The value that `take` would take; none also where it cannot be told.
    pub(crate) fn read(&self, declared: &Fields, name: &str) -> Option<&Json> {
        let at = names::place(self.0.iter().map(|(key, _)| key.as_str()), declared, name, name).ok()??;
        Some(&self.0[at].1)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().rfind(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, name: String, value: Json) {
        self.0.push((name, value));
    }

    /// With one member.
    pub(crate) fn of(name: &str, value: Json) -> Self {
        Self(vec![(name.to_owned(), value)])
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// One member for each name.
    pub(crate) fn into_members(self) -> Vec<(String, Json)> {
        let mut members: Vec<(String, Json)> = Vec::with_capacity(self.0.len());
        let mut places = std::collections::HashMap::new();
        for (name, value) in self.0 {
            match places.get(&name) {
                Some(at) => members[*at] = (name, value),
                None => {
                    places.insert(name.clone(), members.len());
                    members.push((name, value));
                }
            }
        }
        members
    }
}

impl Json {
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let wrong = || match serde_json::from_slice::<Value>(text) {
            Err(error) => format!("invalid JSON: {error}"),
            Ok(_) => "invalid JSON".to_owned(),
        };
        if simdutf8::basic::from_utf8(text).is_err() {
            return Err(wrong());
        }
        let mut scanner = Scanner::new(text, &(0..text.len()));
        let value = value(&mut scanner, 0).and_then(|value| scanner.end().map(|()| value));
        value.map_err(|Unusual| wrong())
    }

    /// The character 0 in a string or a name, which no text of PostgreSQL has.
    pub(crate) fn has_zero(&self) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => false,
            Self::String(text) => text.contains('\0'),
            Self::Array(values) => values.iter().any(Self::has_zero),
            Self::Object(Object(members)) => {
                members.iter().any(|(name, value)| name.contains('\0') || value.has_zero())
            }
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

fn value(scanner: &mut Scanner<'_>, depth: usize) -> Outcome<Json> {
    let kind = scanner.peek()?;
    Ok(match kind {
        b'"' => Json::String(text(scanner)?),
        b't' => scanner.literal("true").map(|()| Json::Bool(true))?,
        b'f' => scanner.literal("false").map(|()| Json::Bool(false))?,
        b'n' => scanner.literal("null").map(|()| Json::Null)?,
        b'{' => {
            let mut object = Object::default();
            inside(scanner, b'}', depth, |scanner| {
                let name = text(scanner)?;
                scanner.take(b':')?;
                object.insert(name, value(scanner, depth + 1)?);
                Ok(())
            })?;
            Json::Object(object)
        }
        b'[' => {
            let mut values = Vec::new();
            inside(scanner, b']', depth, |scanner| {
                values.push(value(scanner, depth + 1)?);
                Ok(())
            })?;
            Json::Array(values)
        }
        _ => {
            let number = scanner.number()?;
            let digits = std::str::from_utf8(number.raw).map_err(|_| Unusual)?;
            // As everywhere in JSON here, what no double can hold is no number.
            if !number.is_double() {
                return Err(Unusual);
            }
            Json::Number(digits.to_owned())
        }
    })
}

/// The parts of an object or an array, up to its end.
fn inside<'a>(
    scanner: &mut Scanner<'a>,
    close: u8,
    depth: usize,
    mut part: impl FnMut(&mut Scanner<'a>) -> Outcome<()>,
) -> Outcome<()> {
    if depth >= crate::scan::DEPTH_MAX {
        return Err(Unusual);
    }
    scanner.advance(1);
    if scanner.takes(close)? {
        return Ok(());
    }
    loop {
        part(scanner)?;
        if scanner.takes(close)? {
            return Ok(());
        }
        scanner.take(b',')?;
    }
}

fn text(scanner: &mut Scanner<'_>) -> Outcome<String> {
    let quoted = scanner.string()?;
    let raw = std::str::from_utf8(quoted.raw).map_err(|_| Unusual)?;
    if !quoted.escaped {
        return Ok(raw.to_owned());
    }
    let mut text = String::with_capacity(raw.len());
    unescape(raw, &mut text)?;
    Ok(text)
}

/// A value that was never text.
impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number.to_string()),
            Value::String(text) => Self::String(text),
            Value::Array(values) => Self::Array(values.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Object(Object(members.into_iter().map(|(name, value)| (name, Self::from(value))).collect()))
            }
        }
    }
}

/// Without white space.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(digits) => f.write_str(digits),
            Self::String(text) => quoted(f, text),
            Self::Array(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { "," })?;
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(Object(members)) => {
                f.write_str("{")?;
                for (at, (name, value)) in members.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { "," })?;
                    quoted(f, name)?;
                    f.write_str(":")?;
                    value.fmt(f)?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_names_and_their_order_stay_as_they_are_written() {
        let text = r#"{"b":12345678901234567890.10,"a":[1e2,-0,0.30000000000000004],"b":"\u00e4\"","":{}}"#;
        let value = Json::parse(text.as_bytes()).expect("valid");
        assert_eq!(value.to_string(), text.replace("\\u00e4", "ä"));
        let Json::Object(mut object) = value else { panic!("an object") };
        assert_eq!(object.remove("b"), Some(Json::String("ä\"".to_owned())));
        assert_eq!(object.remove("c"), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("{\"a\":1", "EOF"),
            ("[1,]", "trailing comma"),
            ("01", "invalid number"),
            ("\"\\ud800 \"", "hex escape"),
            ("1e400", "number out of range"),
            ("1 2", "trailing characters"),
        ] {
            let error = Json::parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
        assert!(Json::parse("[".repeat(500).as_bytes()).expect_err("deep").contains("recursion limit"));
    }
}
