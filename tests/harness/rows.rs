//! Reading answers.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio_postgres::{Client, SimpleQueryMessage, types::ToSql};

/// The text of every column of every row; `NULL` for a null.
pub async fn texts(client: &Client, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let messages = client.simple_query(sql).await.with_context(|| sql.to_owned())?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.map(|row| (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect()).collect())
}

/// The one number that a query gives, by the extended protocol.
pub async fn number(client: &Client, sql: &str) -> anyhow::Result<i64> {
    let none: [&(dyn ToSql + Sync); 0] = [];
    let row = client.query_one(sql, &none).await.with_context(|| sql.to_owned())?;
    row.try_get::<_, Option<i64>>(0).map(Option::unwrap_or_default).with_context(|| sql.to_owned())
}

/// Runs statements one by one, so that an error names its own.
pub async fn execute(client: &Client, statements: &[&str]) -> anyhow::Result<()> {
    for sql in statements {
        client.simple_query(sql).await.with_context(|| (*sql).to_owned())?;
    }
    Ok(())
}

/// Microseconds since 1970.
pub fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
    }
}

/// SQLSTATE and message of a statement that must fail.
pub async fn error_of(client: &Client, sql: &str) -> anyhow::Result<(String, String)> {
    let error = client.simple_query(sql).await.err().with_context(|| format!("should have failed: {sql}"))?;
    let error = error.as_db_error().with_context(|| format!("not an error of the server: {error}"))?;
    Ok((error.code().code().to_owned(), error.message().to_owned()))
}
