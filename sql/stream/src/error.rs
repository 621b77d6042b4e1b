//! Errors of the engine.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use ebap_connector::{Blame, Retry};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// From a connector; SQLSTATE by its own kind.
    #[error(transparent)]
    Connector(Arc<ebap_connector::Error>),
    /// From planning or running an expression.
    #[error(transparent)]
    DataFusion(Arc<DataFusionError>),
    /// 58030
    #[error("the state of \"{name}\" cannot be stored")]
    Store { name: String, source: Arc<object_store::Error> },
    /// XX001
    #[error("checkpoint file \"{path}\" cannot be read: {message}")]
    Unreadable { path: String, message: String },
    /// 55000: the other process goes on, this one stands by.
    #[error("another process runs \"{name}\" (its epoch {epoch} exists)")]
    Fenced { name: String, epoch: u64 },
    /// 55000: it was created there, or was taken over while this process started again.
    #[error("another process runs \"{name}\"")]
    Elsewhere { name: String },
    /// 53200
    #[error("\"{job}\" needs more memory than it may have: {message}")]
    Memory { job: String, message: String },
    /// 57P01
    #[error("the server is shutting down")]
    ShuttingDown,
    /// XX000
    #[error("{0}")]
    Internal(String),
}

impl Error {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Connector(error) => error.blame(),
            Self::Store { .. }
            | Self::Unreadable { .. }
            | Self::Fenced { .. }
            | Self::Elsewhere { .. }
            | Self::ShuttingDown => Blame::External,
            Self::DataFusion(_) | Self::Memory { .. } => Blame::User,
            Self::Internal(_) => Blame::Internal,
        }
    }

    pub fn retry(&self) -> Retry {
        match self {
            Self::Connector(error) => error.retry(),
            Self::Store { .. } => Retry::Backoff,
            Self::DataFusion(_)
            | Self::Unreadable { .. }
            | Self::Fenced { .. }
            | Self::Elsewhere { .. }
            | Self::Memory { .. }
            | Self::ShuttingDown
            | Self::Internal(_) => Retry::Never,
        }
    }

    /// A value that its type cannot hold, as PostgreSQL reports it.
    pub(crate) fn out_of_range(of: impl std::fmt::Display) -> Self {
        Self::sql("22003", format!("{of} out of range"))
    }

    /// True where the next record is not there any more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Connector(error) if matches!(**error, ebap_connector::Error::Gone { .. }))
    }

    /// An error that a client sees as it is.
    pub(crate) fn sql(sqlstate: &'static str, message: impl Into<String>) -> Self {
        ebap_sql::Error::new(sqlstate, message).into()
    }

    /// State that an older version has written and that cannot be taken further: the view is built again.
    pub(crate) fn outdated(what: &str) -> Self {
        Self::DataFusion(Arc::new(DataFusionError::External(Box::new(Outdated(what.to_owned())))))
    }

    pub(crate) fn is_outdated(&self) -> bool {
        let Self::DataFusion(inner) = self else { return false };
        matches!(inner.find_root(), DataFusionError::External(root) if root.is::<Outdated>())
    }

    /// Why a job has failed, for `ebap.jobs`: with the SQLSTATE where a user can do something about it.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Memory { .. } => format!("53200: {}", self.chain()),
            Self::DataFusion(inner) => {
                let mapped = ebap_sql::from_datafusion(DataFusionError::Shared(Arc::clone(inner)), "");
                // Class 22 is about data; what else DataFusion says is told as it is.
                match mapped.sqlstate.starts_with("22") {
                    true => format!("{}: {}", mapped.sqlstate, mapped.message),
                    false => self.chain(),
                }
            }
            _ => self.chain(),
        }
    }

    /// The SQLSTATE, where it is about data, and the message without it.
    pub(crate) fn sqlstate_and_message(&self) -> (Option<String>, String) {
        let reason = self.reason();
        match reason.split_once(": ") {
            Some((state, message)) if state.len() == 5 && state.starts_with(|c: char| c.is_ascii_digit()) => {
                (Some(state.to_owned()), message.to_owned())
            }
            Some(_) | None => (None, reason),
        }
    }

    /// The error and its causes in one line, for a status column.
    pub fn chain(&self) -> String {
        if let Self::DataFusion(inner) = self
            && let DataFusionError::External(root) = inner.find_root()
            && let Some(own) = root.downcast_ref::<ebap_sql::Error>()
        {
            return own.message.clone();
        }
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

#[derive(Debug, thiserror::Error)]
#[error("an older version has saved {0}")]
struct Outdated(String);

impl From<ebap_sql::Error> for Error {
    fn from(error: ebap_sql::Error) -> Self {
        Self::DataFusion(Arc::new(DataFusionError::External(Box::new(error))))
    }
}

impl From<ebap_connector::Error> for Error {
    fn from(error: ebap_connector::Error) -> Self {
        Self::Connector(Arc::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Self::DataFusion(Arc::new(error))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::DataFusion(Arc::new(DataFusionError::ArrowError(Box::new(error), None)))
    }
}
