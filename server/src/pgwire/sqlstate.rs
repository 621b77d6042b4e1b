//! Every error as the client sees it: one exhaustive match per error enum.

use std::fmt;

use datafusion::error::DataFusionError;
use ebap_connector::Error as ConnectorError;
use ebap_stream::Error as EngineError;
use ebap_values::ValueError;
use pgwire::error::{ErrorInfo, PgWireError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SqlError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Character in the text the client sent, from 1.
    pub(crate) position: Option<usize>,
}

impl SqlError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None, position: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Moves the position from the statement to the text it stands in.
    pub(crate) fn shifted(mut self, characters: usize) -> Self {
        self.position = self.position.map(|position| position + characters);
        self
    }

    /// An error that ends the connection.
    pub(crate) fn fatal(self) -> PgWireError {
        PgWireError::UserError(Box::new(self.info("FATAL")))
    }

    pub(crate) fn info(self, severity: &str) -> ErrorInfo {
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_owned(), self.message);
        info.detail = self.detail;
        info.hint = self.hint;
        info.position = self.position.map(|position| position.to_string());
        info
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for SqlError {}

impl From<SqlError> for PgWireError {
    fn from(error: SqlError) -> Self {
        Self::UserError(Box::new(error.info("ERROR")))
    }
}

impl From<ebap_sql::Error> for SqlError {
    fn from(error: ebap_sql::Error) -> Self {
        let ebap_sql::Error { sqlstate, message, detail, hint, position } = error;
        Self { code: sqlstate, message, detail, hint, position }
    }
}

impl From<ValueError> for SqlError {
    fn from(error: ValueError) -> Self {
        Self::new(error.sqlstate, error.message)
    }
}

impl From<ConnectorError> for SqlError {
    fn from(error: ConnectorError) -> Self {
        from_connector(&error)
    }
}

fn from_connector(error: &ConnectorError) -> SqlError {
    let code = match error {
        ConnectorError::Option { .. } => "22023",
        ConnectorError::Schema { .. } => "42804",
        ConnectorError::Unreachable { .. } => "08006",
        ConnectorError::Refused { .. } | ConnectorError::Gone { .. } => "58000",
        ConnectorError::Fenced { .. } => "55000",
        ConnectorError::Limit { .. } => "53200",
        ConnectorError::Internal { .. } => "XX000",
    };
    let mut mapped = SqlError::new(code, error.to_string());
    if let ConnectorError::Unreachable { system, message } = error {
        mapped.message = format!("{system} cannot be reached");
        mapped.detail = Some(message.clone());
    }
    mapped
}

impl From<EngineError> for SqlError {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::Connector(inner) => from_connector(inner),
            EngineError::DataFusion(inner) => {
                ebap_sql::from_datafusion(DataFusionError::Shared(inner.clone()), "").into()
            }
            EngineError::Store { .. } => Self::new("58030", error.chain()),
            EngineError::Unreadable { .. } => Self::new("XX001", error.to_string()),
            EngineError::Fenced { .. } | EngineError::Elsewhere { .. } => {
                Self::new("55000", error.to_string()).hint("ALTER ... RESUME, said to this server, takes it over.")
            }
            EngineError::Memory { .. } => Self::new("53200", error.to_string()),
            EngineError::ShuttingDown => Self::new("57P01", error.to_string()),
            EngineError::Internal(_) => Self::new("XX000", error.to_string()),
        }
    }
}

/// An error of a query; `text` is the statement.
pub(crate) fn from_query(error: DataFusionError, text: &str) -> SqlError {
    if let DataFusionError::External(inner) = error.find_root() {
        if let Some(own) = inner.downcast_ref::<EngineError>() {
            return own.clone().into();
        }
        if let Some(own) = inner.downcast_ref::<SqlError>() {
            return own.clone();
        }
        if let Some(own) = inner.downcast_ref::<ValueError>() {
            return own.clone().into();
        }
    }
    if let DataFusionError::ResourcesExhausted(what) = error.find_root() {
        let mut mapped = SqlError::new("53200", "out of memory");
        mapped.detail = Some(format!("{}.", what.trim_end_matches('.')));
        return mapped.hint("Select fewer rows, or raise the setting that is named.");
    }
    ebap_sql::from_datafusion(error, text).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_error_has_its_code() {
        let unreachable = || ConnectorError::unreachable("kafka 127.0.0.1:9092", "connection refused");
        let table: Vec<(SqlError, &str, &str)> = vec![
            (ConnectorError::option("topic", "is required").into(), "22023", "option \"topic\": is required"),
            (unreachable().into(), "08006", "kafka 127.0.0.1:9092 cannot be reached"),
            (EngineError::Connector(Arc::new(unreachable())).into(), "08006", "kafka 127.0.0.1:9092 cannot be reached"),
            (EngineError::ShuttingDown.into(), "57P01", "the server is shutting down"),
            (
                EngineError::Memory { job: "v".to_owned(), message: "the limit is 10 rows".to_owned() }.into(),
                "53200",
                "\"v\" needs more memory than it may have: the limit is 10 rows",
            ),
            (
                from_query(DataFusionError::Plan("table 'ebap.public.x' not found".to_owned()), "SELECT * FROM x"),
                "42P01",
                "relation \"x\" does not exist",
            ),
        ];
        for (error, code, message) in table {
            assert_eq!((error.code, error.message.as_str()), (code, message));
        }
    }
}
