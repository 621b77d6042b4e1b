//! The error of every connector. It answers who has to act and whether trying again can help.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// What the user wrote: an option, a type, a template.
    User,
    /// Another system: a broker, a catalog, a disk.
    External,
    /// EBAP itself.
    Internal,
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Never,
    Backoff,
}

/// `Display` prints this error alone; whoever reports it walks `source()`.
#[derive(Debug)]
pub enum Error {
    /// A `WITH` option is unknown, missing or has a bad value (SQLSTATE 22023).
    Option { option: String, message: String },
    /// The declared columns do not fit the connector or the outside table (42804).
    Schema { message: String },
    /// An outside system does not answer or answers with a passing fault (08006).
    Unreachable { system: String, message: String },
    /// An outside system refused for a reason that trying again does not change (58000).
    Refused { system: String, message: String },
    /// The next record is not there any more (58000).
    Gone { message: String },
    /// Another instance of this pipeline is writing (55000). The loser stops.
    Fenced { message: String },
    /// A bound of the configuration was reached (53200).
    Limit { message: String },
    /// What must not happen (XX000).
    Internal { message: String },
}

impl Error {
    pub fn option(option: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Option { option: option.into(), message: message.into() }
    }

    pub fn schema(message: impl Into<String>) -> Self {
        Self::Schema { message: message.into() }
    }

    pub fn unreachable(system: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::Unreachable { system: system.into(), message: message.to_string() }
    }

    pub fn refused(system: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::Refused { system: system.into(), message: message.to_string() }
    }

    pub fn internal(message: impl fmt::Display) -> Self {
        Self::Internal { message: message.to_string() }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::Option { .. } | Self::Schema { .. } | Self::Limit { .. } => Blame::User,
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Gone { .. } | Self::Fenced { .. } => {
                Blame::External
            }
            Self::Internal { .. } => Blame::Internal,
        }
    }

    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } => Retry::Backoff,
            Self::Option { .. }
            | Self::Schema { .. }
            | Self::Refused { .. }
            | Self::Gone { .. }
            | Self::Fenced { .. }
            | Self::Limit { .. }
            | Self::Internal { .. } => Retry::Never,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { option, message } => write!(f, "option \"{option}\": {message}"),
            Self::Schema { message }
            | Self::Gone { message }
            | Self::Fenced { message }
            | Self::Limit { message }
            | Self::Internal { message } => f.write_str(message),
            Self::Unreachable { system, message } => write!(f, "{system} cannot be reached: {message}"),
            Self::Refused { system, message } => write!(f, "{system} refused: {message}"),
        }
    }
}

impl std::error::Error for Error {}

/// The text of an error that is not ours and of all that lie behind it: what is behind "error sending request" is what
/// helps.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
