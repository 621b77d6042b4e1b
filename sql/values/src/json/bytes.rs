//! Bytes that stand for a `jsonb`: equal values have equal ones, and their order is that of `<`.
//!
//! By PostgreSQL's manual: object > array > boolean > number > string > null; of two arrays, and of two objects, the one
//! with more parts is greater. An empty array that stands alone is less than everything.

use super::Json;

const EMPTY: u8 = 0;
const NULL: u8 = 1;
const STRING: u8 = 2;
const NUMBER: u8 = 3;
const BOOL: u8 = 4;
const ARRAY: u8 = 5;
const OBJECT: u8 = 6;

impl Json {
    /// Appends what the value is compared by.
    pub fn encode_key(&self, out: &mut Vec<u8>) {
        match self {
            Self::Array(items) if items.is_empty() => out.push(EMPTY),
            _ => self.encode_part(out),
        }
    }

    fn encode_part(&self, out: &mut Vec<u8>) {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
        match self {
            Self::Null => out.push(NULL),
            Self::String(text) => {
                out.push(STRING);
                encode_text(text, out);
            }
            Self::Number(number) => {
                out.push(NUMBER);
                number.key().encode(out);
            }
            Self::Bool(value) => out.extend([BOOL, u8::from(*value)]),
            Self::Array(items) => {
                out.push(ARRAY);
                out.extend(count(items.len()));
                items.iter().for_each(|item| item.encode_part(out));
            }
            Self::Object(members) => {
                out.push(OBJECT);
                out.extend(count(members.len()));
                for (key, value) in members {
                    encode_text(key, out);
                    value.encode_part(out);
                }
            }
        }
    }

    /// The value with numbers in one form of those that are equal.
    pub fn canonical(self) -> Self {
        match self {
            Self::Number(number) => Self::Number(number.trim_scale()),
            Self::Array(items) => Self::Array(items.into_iter().map(Self::canonical).collect()),
            Self::Object(members) => {
                Self::Object(members.into_iter().map(|(key, value)| (key, value.canonical())).collect())
            }
            other => other,
        }
    }
}

/// No text has the character 0, so that it ends one.
fn encode_text(text: &str, out: &mut Vec<u8>) {
    out.extend(text.as_bytes());
    out.push(0);
}
