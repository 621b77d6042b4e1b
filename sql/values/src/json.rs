//! `json` and `jsonb`. A `json` is its text, of which parts are taken as they are written; a `jsonb` is a tree in
//! PostgreSQL's own form: keys in order and once each, numbers with the digits of NUMERIC.

mod bytes;
mod edit;
mod find;
mod read;
mod text;

#[cfg(test)]
mod tests;

use crate::Numeric;

pub use edit::Change;
pub use find::Step;
pub use read::{Kind, Node, parse, parse_strictly};
pub use text::quote;

/// A value of `jsonb`.
#[derive(Clone, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    Number(Numeric),
    String(String),
    Array(Vec<Json>),
    /// Keys in the order of their lengths, then of their bytes; each of them once.
    Object(Vec<(String, Json)>),
}

/// Levels that one value may have. PostgreSQL's limit is that of its stack, some thousands.
const DEPTH_MAX: usize = 1_000;

impl Json {
    /// The name that `jsonb_typeof` gives.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// An object of these members; of equal keys the last one counts.
    pub fn object(members: Vec<(String, Self)>) -> Self {
        let mut all: Vec<(usize, (String, Self))> = members.into_iter().enumerate().collect();
        all.sort_by(|(at, (a, _)), (other, (b, _))| key_order(a, b).then(other.cmp(at)));
        all.dedup_by(|(_, (next, _)), (_, (kept, _))| next == kept);
        Self::Object(all.into_iter().map(|(_, member)| member).collect())
    }

    /// True for what is neither an array nor an object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }
}

/// Shorter keys come first.
fn key_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}
