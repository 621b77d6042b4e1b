//! The types that operators and functions are chosen by.

use std::fmt;

/// A type of PostgreSQL. `Unknown` is a quoted literal, a NULL or a parameter that nothing has given a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PgType {
    Unknown,
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    /// `character(n)`: with blanks at its end, which comparisons leave out.
    Bpchar,
    Bytea,
    Date,
    /// Without a zone.
    Timestamp,
    Timestamptz,
    Time,
    Interval,
    Uuid,
    /// A text that is JSON, as it was written.
    Json,
    Jsonb,
    Array(Box<PgType>),
    /// A struct or a map: no operator of PostgreSQL takes it.
    Composite,
    /// A value of `ROW(…)`.
    Record,
}

impl fmt::Display for PgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Unknown => "unknown",
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bpchar => "character",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Time => "time without time zone",
            Self::Interval => "interval",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Array(of) => return write!(f, "{of}[]"),
            Self::Composite | Self::Record => "record",
        };
        f.write_str(name)
    }
}
