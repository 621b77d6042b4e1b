//! What a registry holds.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Avro,
    Json,
    Protobuf,
}

impl Kind {
    /// By the registry's word for it. One that names none means Avro.
    pub(crate) fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("AVRO") => Some(Self::Avro),
            Some("JSON") => Some(Self::Json),
            Some("PROTOBUF") => Some(Self::Protobuf),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        })
    }
}

/// A schema that another one names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// As the other one writes it: a full name in Avro, a path in Protobuf, a URI in JSON Schema.
    pub name: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub id: u32,
    pub kind: Kind,
    pub text: String,
    /// All that it needs, each behind those that it needs itself.
    pub references: Vec<Reference>,
}
