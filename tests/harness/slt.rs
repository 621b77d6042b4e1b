//! The PostgreSQL engine of the `.slt` files: a session over a real socket.

use std::{process::Command, process::Output, time::Duration};

use async_trait::async_trait;
use ebap_connector::time;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use tokio_postgres::{Client, SimpleQueryMessage, types::Type};

/// As text `SQLSTATE: message`, then position, detail and hint where there are any: what a user is
/// told is part of the contract.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(String);

impl EngineError {
    pub fn connect(error: &anyhow::Error) -> Self {
        Self(format!("connection: {error:#}"))
    }
}

/// Runs each statement by the simple protocol, and asks for its columns by the extended one, so that
/// both have to know it.
pub struct Engine(Client);

impl Engine {
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl From<tokio_postgres::Error> for EngineError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else { return Self(format!("connection: {error}")) };
        let mut text = format!("{}: {}", db.code().code(), db.message());
        if let Some(tokio_postgres::error::ErrorPosition::Original(at)) = db.position() {
            text.push_str(&format!("\nPOSITION: {at}"));
        }
        for (name, value) in [("DETAIL", db.detail()), ("HINT", db.hint())] {
            if let Some(value) = value {
                text.push_str(&format!("\n{name}: {value}"));
            }
        }
        Self(text)
    }
}

#[async_trait]
impl AsyncDB for Engine {
    type Error = EngineError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, EngineError> {
        let messages = self.0.simple_query(sql).await?;
        let (mut columns, mut rows, mut affected) = (None, Vec::new(), 0);
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(described) => columns = Some(described),
                SimpleQueryMessage::Row(row) => {
                    let cell = |at| match row.get(at) {
                        None => "NULL".to_owned(),
                        Some("") => "(empty)".to_owned(),
                        Some(text) => text.to_owned(),
                    };
                    rows.push((0..row.len()).map(cell).collect());
                }
                SimpleQueryMessage::CommandComplete(count) => affected = count,
                _ => {}
            }
        }
        let Some(columns) = columns else { return Ok(DBOutput::StatementComplete(affected)) };
        let prepared = self.0.prepare(sql).await?;
        let simple: Vec<&str> = columns.iter().map(|column| column.name()).collect();
        let extended: Vec<&str> = prepared.columns().iter().map(|column| column.name()).collect();
        if simple != extended {
            return Err(EngineError(format!("the protocols differ: simple {simple:?}, extended {extended:?}")));
        }
        let types = prepared.columns().iter().map(|column| column_type(column.type_())).collect();
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "ebap"
    }

    async fn sleep(duration: Duration) {
        time::sleep(duration).await;
    }

    async fn run_command(mut command: Command) -> std::io::Result<Output> {
        command.output()
    }

    fn error_sql_state(error: &EngineError) -> Option<String> {
        error.0.split(':').next().map(str::to_owned)
    }
}

fn column_type(of: &Type) -> DefaultColumnType {
    match *of {
        Type::INT2 | Type::INT4 | Type::INT8 => DefaultColumnType::Integer,
        Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}
