//! An error of one value, with PostgreSQL's SQLSTATE.

use std::fmt;

pub type Result<T> = std::result::Result<T, ValueError>;

/// Why a value cannot be read or computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// Five characters, as PostgreSQL's appendix A lists them.
    pub sqlstate: &'static str,
    pub message: String,
}

impl ValueError {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into() }
    }

    /// 22P02: the text is no value of this type.
    pub fn syntax(of: &str, text: &str) -> Self {
        Self::new("22P02", format!("invalid input syntax for type {of}: \"{text}\""))
    }

    /// 22003, such as "integer out of range".
    pub fn out_of_range(of: &str) -> Self {
        Self::new("22003", format!("{of} out of range"))
    }

    /// 22012.
    pub fn division_by_zero() -> Self {
        Self::new("22012", "division by zero")
    }

    /// 0A000: right in PostgreSQL, not supported here.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new("0A000", what)
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}
